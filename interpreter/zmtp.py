"""ZMTP: the client's half of ZeroMQ's wire protocol over a Unix socket, bounded in every respect.

The other end may be hostile code that speaks for its kernel. libzmq bounds one frame, not how many
make a message, and reads ahead as fast as its peer sends. Here a size is checked before memory is
taken for it, nothing is read before there is time for it, and who breaks a rule is hung up on.

Source: ZeroMQ RFC 23 (ZMTP 3.0), and RFC 37 (ZMTP 3.1) for PING and PONG. Only mechanism NULL.
"""

import asyncio
import os
import socket
import stat
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

SocketType = Literal["DEALER", "SUB"]

#: Frames of one message. Jupyter's have seven, and a buffer for each array in a widget.
MOST_FRAMES = 128
#: A message up to this size is read without a reservation.
SMALL_BYTES = 256 << 10
#: Of a command; the largest honest one, READY, has a few hundred bytes.
MOST_COMMAND_BYTES = 1024
#: What may be waiting when one more message is sent. A kernel that reads leaves nothing waiting:
#: what it doesn't handle at once is in its own memory.
MOST_UNSENT_BYTES = 1 << 20
#: Read at a time; also the most that is held of messages not looked at yet.
_CHUNK_BYTES = 64 << 10
#: The longest turn of one kernel. Twenty that all begin one at once hold up the loop for 40 ms.
TURN_S = 0.002
#: What all kernels' messages together may take of the loop's time; and one kernel's, while it
#: alone has so many that it stands in line.
_SHARE = 0.5
_SHARE_ALONE = 0.8
#: Rest that was too long, as it is when the machine is busy, counts for later up to this long.
_REST_AHEAD_S = 0.02
#: Time that a kernel may use out of line: this much at once, and this part of all time.
_ALLOWANCE_S = 0.005
_ALLOWANCE_SHARE = 0.01

_MORE, _LONG, _COMMAND = 1, 2, 4
_GREETING_BYTES = 64
_MAJOR_VERSION = 3
_GREETING = b"\xff" + bytes(8) + b"\x7f" + bytes([_MAJOR_VERSION, 0]) + b"NULL".ljust(20, b"\0")
_GREETING = _GREETING.ljust(_GREETING_BYTES, b"\0")
_PEERS = {"DEALER": (b"ROUTER",), "SUB": (b"PUB", b"XPUB")}
_PING_CONTEXT_BYTES = 16


class ConnectionBroken(ConnectionError):
    """The peer has gone, or did what it must not."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the protocol itself, between or before messages."""

    name: bytes
    body: bytes


# -- bytes to messages and back: no I/O --------------------------------------------------------


def encode_message(frames: Iterable[bytes]) -> bytes:
    """A message as it goes over the wire."""
    *first, last = frames
    return b"".join([*(_frame(_MORE, body) for body in first), _frame(0, last)])


def encode_command(name: bytes, body: bytes) -> bytes:
    """A command as it goes over the wire."""
    return _frame(_COMMAND, bytes([len(name)]) + name + body)


def encode_handshake(properties: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What an end sends first: its greeting, and READY with its properties."""
    return _GREETING + encode_command(b"READY", _metadata(properties))


def _frame(flags: int, body: bytes) -> bytes:
    if len(body) > 255:
        return struct.pack(">BQ", flags | _LONG, len(body)) + body
    return bytes([flags, len(body)]) + body


def _metadata(properties: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(
        bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value
        for name, value in properties
    )


def _read_metadata(body: bytes) -> dict[bytes, bytes]:
    """The properties in a READY; names are compared without case."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(body):
        value_at = at + 1 + body[at] + 4
        end = value_at + int.from_bytes(body[value_at - 4 : value_at], "big")
        if end > len(body):
            raise ConnectionBroken("its properties are cut short")
        found[body[at + 1 : value_at - 4].lower()] = body[value_at:end]
        at = end
    return found


class Decoder:
    """Makes messages and commands out of bytes, and refuses what is out of bounds.

    Attributes:
        wanted: bytes that have to be reserved, and ``grant`` called, before anything goes on; 0 for
            none. A message asks once: for its size where the frame that makes it large is the last
            one, else for as much as any may have. Asking again and again, two could wait for each
            other.
        expects_ready: until it is set to False, only commands are taken.
    """

    def __init__(self, most_bytes: int) -> None:
        """Begin before the greeting.

        Args:
            most_bytes: of all frames of a message together.
        """
        self.wanted = 0
        self.expects_ready = True
        self._most_bytes = most_bytes
        self._greeted = False
        self._input = b""
        self._at = 0
        self._flags = 0
        self._body: bytearray | None = None
        self._filled = 0
        self._frames: list[bytes] = []
        self._message_bytes = 0
        self._granted = False

    def feed(self, received: bytes) -> None:
        """Take what was received. Only to be called when ``next`` found nothing more."""
        self._input = self._input[self._at :] + received
        self._at = 0

    def rest(self) -> memoryview | None:
        """Where the rest of an incomplete frame belongs; None between frames."""
        return None if self._body is None else memoryview(self._body)[self._filled :]

    def filled(self, count: int) -> None:
        """Note that so many bytes were put into ``rest``."""
        self._filled += count

    def grant(self) -> None:
        """Go on with the message that ``wanted`` a reservation."""
        self.wanted = 0
        self._granted = True

    def next(self) -> "list[bytes] | Command | None":
        """The next message or command; None if more has to be received or reserved first.

        Raises:
            ConnectionBroken: what came is no ZMTP, or out of bounds.
        """
        if not self._greeted and not self._take_greeting():
            return None
        while (body := self._next_body()) is not None:
            if self._flags & _COMMAND:
                return _parse_command(body)
            self._frames.append(body)
            if not self._flags & _MORE:
                message, self._frames = self._frames, []
                self._message_bytes = 0
                self._granted = False
                return message
        return None

    def _take_greeting(self) -> bool:
        greeting = self._input[:_GREETING_BYTES]
        if len(greeting) < _GREETING_BYTES:
            return False
        signed = greeting[0] == 0xFF and greeting[9] & 1
        if not signed or greeting[10] < _MAJOR_VERSION or greeting[12:32] != _GREETING[12:32]:
            raise ConnectionBroken("its greeting is not one of ZMTP 3 without security")
        self._at = _GREETING_BYTES
        self._greeted = True
        return True

    def _next_body(self) -> bytes | None:
        """The body of the next frame, once it is complete; its flags are in ``_flags``."""
        if self._body is None and not self._begin_frame():
            return None
        if self._body is None or self._filled < len(self._body):
            return None
        body, self._body = bytes(self._body), None
        return body

    def _begin_frame(self) -> bool:
        """Read a frame's head and what is there of its body."""
        left = len(self._input) - self._at
        if left < 2 or self.wanted:
            return False
        flags = self._input[self._at]
        head = 9 if flags & _LONG else 2
        if left < head:
            return False
        size = int.from_bytes(self._input[self._at + 1 : self._at + head], "big")
        if not self._admit(flags, size):
            return False
        self._flags = flags
        self._at += head
        there = self._input[self._at : self._at + size]
        self._at += len(there)
        self._body = bytearray(size)
        self._body[: len(there)] = there
        self._filled = len(there)
        return True

    def _admit(self, flags: int, size: int) -> bool:
        """Whether a frame may be read now.

        Raises:
            ConnectionBroken: it must not come at all.
        """
        if flags & ~(_MORE | _LONG | _COMMAND) or (flags & _COMMAND and flags & _MORE):
            raise ConnectionBroken("a frame has flags that there are not")
        if flags & _COMMAND:
            if size > MOST_COMMAND_BYTES:
                raise ConnectionBroken("a command is too large")
            return True
        if self.expects_ready:
            raise ConnectionBroken("a message came before READY")
        total = self._message_bytes + size
        if total > self._most_bytes:
            raise ConnectionBroken("a message is too large")
        if len(self._frames) == MOST_FRAMES:
            raise ConnectionBroken("a message has too many frames")
        if total > SMALL_BYTES and not self._granted:
            self.wanted = self._most_bytes if flags & _MORE else total
            return False
        self._message_bytes = total
        return True


def _parse_command(body: bytes) -> Command:
    if not body or len(body) < 1 + body[0]:
        raise ConnectionBroken("a command has no name")
    return Command(body[1 : 1 + body[0]], body[1 + body[0] :])


# -- what all connections of a service share ---------------------------------------------------


class Budget:
    """Bytes that all large messages together may take, given to those who ask in their order."""

    def __init__(self, total_bytes: int) -> None:
        """Begin with all of it free."""
        self.free_bytes = total_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def reserve(self, count: int) -> None:
        """Wait until ``count`` bytes are free, and take them. Each must be released once."""
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asking = (count, granted)
        self._waiting.append(asking)
        self._give()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.cancelled():
                self._waiting.remove(asking)
                self._give()
            else:
                self.release(count)
            raise

    def release(self, count: int) -> None:
        """Give bytes back."""
        self.free_bytes += count
        self._give()

    def _give(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.free_bytes:
            count, granted = self._waiting[0]
            if granted.cancelled():  # its task has yet to notice, and removes it
                return
            self._waiting.popleft()
            self.free_bytes -= count
            granted.set_result(None)


class Intake:
    """What the connections to all kernels of a service share, so that none starves the others.

    Time is shared like this: kernels take turns in a line, and after each turn there is none for as
    long as that one took. A kernel that has used little of late need not stand in line.
    """

    def __init__(
        self, *, budget_bytes: int = 64 << 20, message_s: float = 10.0, greeting_s: float = 15.0
    ) -> None:
        """Make one for a service.

        Args:
            budget_bytes: for all large messages together; at least the size of the largest.
            message_s: seconds a large message may take to come, once there is room for it.
            greeting_s: seconds a peer may take to greet and be ready.
        """
        self.budget = Budget(budget_bytes)
        self.message_s = message_s
        self.greeting_s = greeting_s
        self._line = asyncio.Lock()  # first come, first served
        self._in_line = 0
        self._free_at = 0.0

    async def turn(self) -> None:
        """Wait in line until reading may go on. The caller reads at once, then calls ``used``."""
        self._in_line += 1
        try:
            async with self._line:
                while (pause_s := self._free_at - time.monotonic()) > 0:  # noqa: ASYNC110 -- a rest
                    await asyncio.sleep(pause_s)
        finally:
            self._in_line -= 1

    def used(self, took_s: float) -> None:
        """Note the end of a turn that took so long."""
        now = time.monotonic()
        earliest = now - took_s - _REST_AHEAD_S
        share = _SHARE if self._in_line else _SHARE_ALONE
        self._free_at = max(self._free_at, earliest) + took_s / share


class Share:
    """One kernel's part of the time for reading and of the budget, for all its connections.

    It has one large message on its way at a time: it could else hold a reservation on each.
    """

    def __init__(self, intake: Intake) -> None:
        """Begin with a full allowance."""
        self.intake = intake
        self._large = asyncio.Lock()
        self._allowance_s = _ALLOWANCE_S
        self._counted_at = time.monotonic()

    async def begin(self) -> None:
        """Wait until this kernel may read. The caller reads at once, then calls ``end``."""
        now = time.monotonic()
        earned_s = (now - self._counted_at) * _ALLOWANCE_SHARE
        self._allowance_s = min(_ALLOWANCE_S, self._allowance_s + earned_s)
        self._counted_at = now
        if self._allowance_s < TURN_S:
            await self.intake.turn()

    def end(self, took_s: float) -> None:
        """Note the end of a turn that took so long."""
        self._allowance_s = max(0.0, self._allowance_s - took_s)
        self.intake.used(took_s)

    async def reserve(self, count: int) -> None:
        """Wait until there is room for a large message. It must be released once."""
        await self._large.acquire()
        try:
            await self.intake.budget.reserve(count)
        except BaseException:
            self._large.release()
            raise

    def release(self, count: int) -> None:
        """Give back what a large message reserved."""
        self.intake.budget.release(count)
        self._large.release()


# -- a connection ------------------------------------------------------------------------------


def open_socket(path: str, *, pid: int | None = None) -> socket.socket:
    """Connect to the socket at a path that hostile code can write to.

    A link there could lead to any socket of this machine, such as a database's: none is followed,
    and the process that listens has to be the expected one.

    Args:
        path: where the socket is.
        pid: of the process that must have made it, None for any.

    Raises:
        OSError: nobody listens there; as ``ConnectionBroken`` if it isn't who should.
    """
    place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(place).st_mode):
            raise ConnectionBroken("there is no socket in its place")
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.setblocking(False)
            connected.connect(f"/proc/self/fd/{place}")
            # The system noted the pid when listen() was called. Source: unix(7), SO_PEERCRED.
            credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            if pid is not None and struct.unpack("3i", credentials)[0] != pid:
                raise ConnectionBroken("another process listens in its place")
        except BaseException:
            connected.close()
            raise
        return connected
    finally:
        os.close(place)


class Connection:
    """A connection to one socket of a kernel. Never made again once it has broken.

    Attributes:
        broken: done, with the reason, once nothing more can come; also after ``close``.
    """

    def __init__(
        self,
        connected: socket.socket,
        kind: SocketType,
        *,
        share: Share,
        most_bytes: int,
        identity: bytes = b"",
    ) -> None:
        """Greet the peer. A SUB subscribes to everything.

        Args:
            connected: from :func:`open_socket`; closed with this connection.
            kind: what this end is.
            share: of the kernel that the connection leads to.
            most_bytes: of one message, all frames together.
            identity: by which a ROUTER tells its peers apart; up to 255 bytes.
        """
        self._loop = asyncio.get_running_loop()
        self.broken: asyncio.Future[str] = self._loop.create_future()
        self._socket = connected
        self._kind = kind
        self._share = share
        self._intake = share.intake
        self._decoder = Decoder(most_bytes)
        self._unsent = bytearray()
        self._ready = False
        self._writing = False
        self._reserved = 0
        self._readable: asyncio.Future[None] | None = None
        self._timer = self._limit(self._intake.greeting_s, "it did not greet in time")
        properties = [(b"Socket-Type", kind.encode())]
        if kind == "DEALER":
            properties.append((b"Identity", identity))
        self._write(encode_handshake(properties))

    @property
    def alive(self) -> bool:
        """Whether it is neither broken nor closed."""
        return not self.broken.done()

    def send(self, frames: Iterable[bytes]) -> None:
        """Send a message, or keep it until the peer takes it. Does nothing once it is broken."""
        self._send(encode_message(frames))

    async def read(
        self, take: Callable[[list[bytes]], None], *, gate: asyncio.Event | None = None
    ) -> None:
        """Hand each message to ``take``, until the connection is broken.

        Between turns others get to work. What is not read stays with the peer.

        Args:
            take: gets the frames of each message.
            gate: nothing is read while it isn't set, but what a turn has begun comes to its end.
        """
        while True:
            if gate is not None:
                await gate.wait()
            await self._share.begin()
            if not self.alive:
                return
            began = time.monotonic()
            try:
                drained = self._read_turn(take, until=began + TURN_S)
            except OSError as error:
                return self._break(str(error))
            finally:
                self._share.end(time.monotonic() - began)
            if drained:
                await self._until_readable()
            elif self._decoder.wanted:
                await self._reserve()
            else:
                await asyncio.sleep(0)

    def close(self) -> None:
        """End the connection; what was not sent is not sent any more."""
        self._break("it was closed at this end")

    def _break(self, reason: str) -> None:
        if not self.alive:
            return
        self.broken.set_result(reason)
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)
        self._unsent.clear()
        self._decoder = Decoder(0)
        self._timer.cancel()
        self._release()

    def _limit(self, time_s: float, reason: str) -> asyncio.TimerHandle:
        return self._loop.call_later(time_s, self._break, reason)

    # -- receiving -------------------------------------------------------------------------------

    async def _until_readable(self) -> None:
        if not self.alive:
            return
        self._readable = self._loop.create_future()
        self._loop.add_reader(self._socket, self._note_readable)
        try:
            await self._readable
        finally:
            self._readable = None
            if self.alive:  # else another may have the descriptor's number by now
                self._loop.remove_reader(self._socket)

    def _note_readable(self) -> None:
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    def _read_turn(self, take: Callable[[list[bytes]], None], until: float) -> bool:
        """Read until there is nothing more now (True), or no time or reservation for it (False)."""
        while True:
            while (item := self._decoder.next()) is not None:
                if isinstance(item, Command):
                    self._obey(item)
                else:
                    take(item)
                    del item
                    self._release()
                if not self.alive:
                    return True
                if time.monotonic() > until:
                    return False
            if self._decoder.wanted:
                return False
            try:
                self._receive()
            except BlockingIOError:
                return True
            if time.monotonic() > until:
                return False

    def _receive(self) -> None:
        rest = self._decoder.rest()
        if rest is None:
            received = self._socket.recv(_CHUNK_BYTES)
            count = len(received)
            self._decoder.feed(received)
        else:
            count = self._socket.recv_into(rest[: 4 * _CHUNK_BYTES])
            self._decoder.filled(count)
        if not count:
            raise ConnectionBroken("it was closed at the other end")

    async def _reserve(self) -> None:
        """Have room for a large message, which then has to come in time."""
        wanted = self._decoder.wanted
        await self._share.reserve(wanted)
        self._reserved = wanted
        if not self.alive:
            return self._release()
        self._timer = self._limit(self._intake.message_s, "it stopped in the middle of a message")
        self._decoder.grant()

    def _release(self) -> None:
        """Give back what the message that is now over has reserved, if it has."""
        if self._reserved:
            self._timer.cancel()
            self._share.release(self._reserved)
            self._reserved = 0

    def _obey(self, command: Command) -> None:
        if command.name == b"ERROR":
            raise ConnectionBroken("it reported an error")
        if not self._ready:
            self._begin(command)
        elif command.name == b"PING":
            # Two bytes say how long to wait for further pings; the rest comes back.
            self._send(encode_command(b"PONG", command.body[2 : 2 + _PING_CONTEXT_BYTES]))

    def _begin(self, command: Command) -> None:
        """Take the peer's READY; messages may be sent from now on, and not before."""
        if command.name != b"READY":
            raise ConnectionBroken("it did not begin with READY")
        if _read_metadata(command.body).get(b"socket-type") not in _PEERS[self._kind]:
            raise ConnectionBroken("it is no socket of the kind that belongs here")
        self._timer.cancel()
        self._ready = True
        self._decoder.expects_ready = False
        if self._kind == "SUB":
            self._unsent += encode_message([b"\x01"])  # subscribe, to any topic
        self._flush()

    # -- sending ---------------------------------------------------------------------------------

    def _send(self, encoded: bytes) -> None:
        if not self.alive:
            return
        if len(self._unsent) > MOST_UNSENT_BYTES:
            self._break("it does not read what is sent to it")
            return
        self._unsent += encoded
        if self._ready:
            self._flush()

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            if not self._writing:
                self._writing = True
                self._loop.add_writer(self._socket, self._flush)
            return
        except OSError as error:
            self._break(str(error))
            return
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._socket)

    def _write(self, handshake: bytes) -> None:
        """Send the first bytes of a new connection, for which there is always room."""
        try:
            if self._socket.send(handshake) == len(handshake):
                return
            self._break("it takes nothing")
        except OSError as error:
            self._break(str(error))
