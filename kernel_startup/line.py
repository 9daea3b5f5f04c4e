"""Line: a process's connection with the service, whichever service there is.

A service may be killed while kernels run, and the next one has to find them. So a process that is
to outlive its service has a socket to listen on, beside the connection that it was born with. When
that breaks, the next one who connects takes its place; when nobody has come for long, the process
is to leave.
"""

import contextlib
import json
import select
import socket
import time
from collections.abc import Mapping
from typing import Any

_MESSAGE_BYTES = 65_536
_MOST_DESCRIPTORS = 4
#: After a connection could not be accepted it waits still, and would be heard again at once.
_PAUSE_S = 1.0


class Line:
    """Packets of JSON to and from the service.

    The service closes its connection: then it may come again. It shuts its end for writing: then
    it has said its last word, and this process is to come to its end.

    Attributes:
        over: whether nobody is to be heard on it any more.
    """

    def __init__(
        self,
        connection: socket.socket,
        listener: socket.socket | None,
        *,
        orphan_s: float = 0.0,
        reads: bool,
    ) -> None:
        """Take over the sockets.

        Args:
            connection: to the service that started this process.
            listener: where later ones connect; None if none may.
            orphan_s: how long to wait for the next one, in seconds.
            reads: whether this process is the one that reads from ``connection``; what later
                services say is for nobody else in any case.
        """
        self.over = False
        self.orphan_s = orphan_s
        self._connection: socket.socket | None = connection
        self._listener = listener
        self._reads = reads
        self._lost_at = 0.0
        self._failed_at = float("-inf")

    @property
    def is_alone(self) -> bool:
        """Whether no service is there, and one may come."""
        return self._connection is None and not self.over

    def wait(self, *others: int, timeout_s: float | None = None) -> set[str | int]:
        """Wait until something happens, or the time is up.

        Args:
            others: further descriptors to wait for.
            timeout_s: in seconds; None for ever.

        Returns:
            Which of the others are readable; ``packet``: there is one to receive; ``joined``: a
            later service has connected; ``over``: the line is, now.
        """
        poll = select.poll()
        waits = [] if timeout_s is None else [timeout_s]
        for descriptor in others:
            poll.register(descriptor, select.POLLIN)
        if not self.over:
            if self._connection is not None:
                wanted = select.POLLRDHUP | (select.POLLIN if self._reads else 0)
                poll.register(self._connection, wanted)
            if self._listener is not None:
                if (pause_s := self._failed_at + _PAUSE_S - time.monotonic()) > 0:
                    waits.append(pause_s)
                else:
                    poll.register(self._listener, select.POLLIN)
        if self.is_alone:
            waits.append(max(0.0, self._lost_at + self.orphan_s - time.monotonic()))
        ready = dict(poll.poll(min(waits) * 1000 if waits else None))
        happened: set[str | int] = {descriptor for descriptor in others if descriptor in ready}
        if not self.over:
            happened |= self._look(ready)
        return happened

    def _look(self, ready: Mapping[int, int]) -> set[str | int]:
        happened: set[str | int] = set()
        if self._connection is not None:
            seen = ready.get(self._connection.fileno(), 0)
            if seen & (select.POLLHUP | select.POLLERR):
                self._lose()
            elif seen & select.POLLRDHUP:
                return self._end()
            elif seen & select.POLLIN:
                happened.add("packet")
        if self._listener is not None and self._listener.fileno() in ready:
            try:
                self._join(self._listener.accept()[0])
                happened = {"joined"}
            except (BlockingIOError, ConnectionAbortedError):
                pass  # it has gone again
            except OSError:  # no descriptor is left, or no memory
                self._failed_at = time.monotonic()
        if self._connection is None and time.monotonic() >= self._lost_at + self.orphan_s:
            return self._end()
        return happened

    def _join(self, connection: socket.socket) -> None:
        if self._connection is not None:  # the new one has the data directory: the old one is dead
            self._connection.close()
        self._connection, self._reads = connection, True

    def _lose(self) -> None:
        assert self._connection is not None
        self._connection.close()
        self._connection, self._lost_at = None, time.monotonic()
        if self._listener is None:
            self.orphan_s = 0.0

    def _end(self) -> set[str | int]:
        self.over = True
        return {"over"}

    def send(self, **message: Any) -> None:
        """Tell the service something, if one is there. Whether it hears that isn't known."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.send(json.dumps(message).encode(), socket.MSG_DONTWAIT)

    def receive(self) -> tuple[dict[str, Any], list[socket.socket]]:
        """Take a packet, and the sockets that came with it; nothing if there is none after all.

        How long to wait for the next service, each service may say anew.
        """
        if self._connection is None:
            return {}, []
        try:
            packet, descriptors, _, _ = socket.recv_fds(
                self._connection, _MESSAGE_BYTES, _MOST_DESCRIPTORS, socket.MSG_DONTWAIT
            )
        except OSError:
            return {}, []
        message = json.loads(packet) if packet else {}
        if "orphan_s" in message:
            self.orphan_s = float(message["orphan_s"])
        return message, [socket.socket(fileno=descriptor) for descriptor in descriptors]

    def close(self) -> None:
        """Close all of it, in this process."""
        for end in (self._connection, self._listener):
            if end is not None:
                end.close()
        self._connection = self._listener = None
        self.over = True
