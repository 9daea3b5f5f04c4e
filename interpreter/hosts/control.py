"""The service's end of a packet socket to the fork server or to one forked kernel.

Both listen in the *control directory*, ``control`` in the data directory, which only the service's
own account can enter and no kernel sees: there a service finds what an earlier one has left.
"""

import asyncio
import json
import os
import socket
import stat
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_WAITING = 4
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


def make_private_directory(path: Path) -> None:
    """Make a directory that nobody else can enter, or make sure that the one there is such.

    Raises:
        OSError: it can't be made, or is somebody else's.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    there = path.lstat()
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid():
        raise PermissionError(f"{str(path)!r} is not a directory of this account's own")
    path.chmod(0o700)


@contextmanager
def address_in(directory: Path, name: str) -> Iterator[str]:
    """A socket's address in a directory, whatever the length of its path.

    There is room for 107 bytes in one; a directory that is open has a short path of its own.

    Raises:
        OSError: the directory can't be opened.
    """
    opened = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{opened}/{name}"
    finally:
        os.close(opened)


class ControlDirectory:
    """Where fork servers and kernels listen for a service."""

    def __init__(self, path: Path) -> None:
        """Make the directory, or make sure that it is this account's alone.

        Raises:
            OSError: it can't be made, or is somebody else's.
        """
        self.path = path
        make_private_directory(path)

    def listen(self, name: str) -> socket.socket:
        """A socket that listens at ``name``, to be passed on to a process of ours.

        Raises:
            OSError: the system refuses.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with address_in(self.path, name) as address:
                listener.bind(address)
            listener.listen(_WAITING)
        except BaseException:
            listener.close()
            raise
        return listener

    def connect(self, name: str) -> "ControlChannel":
        """A connection to the process that listens at ``name``.

        Raises:
            OSError: nobody listens there.
        """
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connected.setblocking(False)
        try:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            with address_in(self.path, name) as address:
                connected.connect(address)
        except BaseException:
            connected.close()
            raise
        return ControlChannel(connected)

    def sockets(self) -> list[str]:
        """The names at which somebody listens, or did."""
        found = []
        with os.scandir(self.path) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # gone meanwhile
                    if stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode):
                        found.append(entry.name)
        return found

    def remove(self, *names: str) -> None:
        """Remove sockets and files that nobody needs any more."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)


class ControlChannel:
    """A connection to a process that a service of ours has started; JSON packets both ways.

    The other end may be in the hands of hostile code only between packets that it can't forge: the
    process that reports is checked by its pid.
    """

    def __init__(self, connected: socket.socket, theirs: socket.socket | None = None) -> None:
        """Use :meth:`pair` or :meth:`ControlDirectory.connect`."""
        self._ours, self._theirs = connected, theirs
        self._ours.setblocking(False)

    @classmethod
    def pair(cls) -> Self:
        """Make both ends; ``theirs`` is to be passed on and then given up."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        return cls(ours, theirs)

    @property
    def theirs(self) -> socket.socket:
        """The other end, while it is here."""
        assert self._theirs is not None
        return self._theirs

    def give_up_theirs(self) -> None:
        """Leave the other end to whom it was passed on to."""
        self.theirs.close()

    def send(self, content: Mapping[str, Any], *, pass_on: Sequence[socket.socket] = ()) -> None:
        """Send one packet, with sockets attached if given.

        Raises:
            OSError: the other end is closed, or doesn't read.
        """
        packet = json.dumps(content).encode()
        if pass_on:
            socket.send_fds(self._ours, [packet], [end.fileno() for end in pass_on])
        else:
            self._ours.send(packet)

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
        """Say the last word: the other end comes to its end; what it still says can be received.

        Closing alone says that another service may come.
        """
        with suppress(OSError):
            self._ours.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close both ends that are still open here."""
        self._ours.close()
        if self._theirs is not None:
            self._theirs.close()


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
