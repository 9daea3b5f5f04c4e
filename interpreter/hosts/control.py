"""The service's end of a packet socket to the fork server or to one forked kernel."""

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_MESSAGE_BYTES = 65_536
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """One packet.

    Attributes:
        content: the JSON object in it; empty if there was none.
        pid: the sender's process id in this process's namespace, as attested by the system.
    """

    content: Mapping[str, Any]
    pid: int

    @property
    def event(self) -> str:
        """What the sender reports."""
        return str(self.content.get("event", ""))


class ControlChannel:
    """A socket pair to a process that we started; sends and receives JSON packets.

    The other end may be in the hands of hostile code only between packets that it can't forge: the
    process that reports is checked by its pid.
    """

    def __init__(self) -> None:
        """Make the socket pair; ``theirs`` is to be passed on and then closed."""
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._ours.setblocking(False)

    def send(self, content: Mapping[str, Any], *, pass_on: socket.socket | None = None) -> None:
        """Send one packet, with a socket attached if given.

        Raises:
            OSError: the other end is closed, or doesn't read.
        """
        packet = json.dumps(content).encode()
        if pass_on is None:
            self._ours.send(packet)
        else:
            socket.send_fds(self._ours, [packet], [pass_on.fileno()])

    async def receive(self) -> ControlMessage | None:
        """Wait for the next packet; None when the other end has closed."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return self._receive_now()
            except BlockingIOError:
                pass
            readable: asyncio.Future[None] = loop.create_future()
            loop.add_reader(self._ours, _set_done, readable)
            try:
                await readable
            finally:
                loop.remove_reader(self._ours)

    def _receive_now(self) -> ControlMessage | None:
        space = socket.CMSG_SPACE(_CREDENTIALS.size)
        try:
            packet, ancillary, _, _ = self._ours.recvmsg(_MESSAGE_BYTES, space)
        except ConnectionResetError:
            return None
        if not packet:
            return None
        pid = 0
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid = _CREDENTIALS.unpack(payload[: _CREDENTIALS.size])[0]
        content: Any = None
        with suppress(ValueError, RecursionError):
            content = json.loads(packet)
        return ControlMessage(content if isinstance(content, dict) else {}, pid)

    def finish(self) -> None:
        """Send no more, which the other end notices; what it still says can be received."""
        with suppress(OSError):
            self._ours.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close both ends that are still open here."""
        self._ours.close()
        self.theirs.close()


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
