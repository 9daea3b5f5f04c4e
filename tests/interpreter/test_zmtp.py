"""Speaking ZMTP with libzmq, and with peers that don't keep to it. Real sockets throughout."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import zmq
import zmq.asyncio

from interpreter.zmtp import (
    MOST_COMMAND_BYTES,
    MOST_FRAMES,
    MOST_UNSENT_BYTES,
    SMALL_BYTES,
    Budget,
    Command,
    Connection,
    ConnectionBroken,
    Decoder,
    Intake,
    Share,
    SocketType,
    encode_command,
    encode_message,
    open_socket,
)

GREETING = (b"\xff" + bytes(8) + b"\x7f\x03\x01NULL").ljust(64, b"\0")
MOST_BYTES = 1 << 20
Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def ready(kind: bytes = b"ROUTER") -> bytes:
    """A READY of a socket of that type."""
    value = len(kind).to_bytes(4, "big") + kind
    return encode_command(b"READY", b"\x0bSocket-Type" + value)


def greeted(most_bytes: int = MOST_BYTES) -> Decoder:
    """A decoder that has seen a greeting and takes messages."""
    decoder = Decoder(most_bytes)
    decoder.feed(GREETING)
    assert decoder.next() is None
    decoder.expects_ready = False
    return decoder


class Inbox:
    """What a connection handed on."""

    def __init__(self) -> None:
        self.messages: list[list[bytes]] = []
        self._came = asyncio.Event()

    def take(self, frames: list[bytes]) -> None:
        self.messages.append(frames)
        self._came.set()

    async def wait_for(self, count: int) -> list[list[bytes]]:
        while len(self.messages) < count:
            self._came.clear()
            await self._came.wait()
        return self.messages


@pytest.fixture
async def path(tmp_path: Path) -> str:
    return str(tmp_path / "socket")


@asynccontextmanager
async def reading(
    path: str,
    kind: SocketType = "DEALER",
    *,
    share: Share | None = None,
    most_bytes: int = MOST_BYTES,
    identity: bytes = b"",
) -> AsyncIterator[tuple[Connection, Inbox]]:
    """A connection that is being read from, closed at the end."""
    connection = Connection(
        open_socket(path),
        kind,
        share=share or Share(Intake()),
        most_bytes=most_bytes,
        identity=identity,
    )
    inbox = Inbox()
    task = asyncio.create_task(connection.read(inbox.take))
    try:
        yield connection, inbox
    finally:
        connection.close()
        await task


@asynccontextmanager
async def hostile(path: str, behave: Peer) -> AsyncIterator[None]:
    """A server at ``path`` that does to each of its connections what ``behave`` does."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await behave(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await asyncio.sleep(0)  # for the transports to close


async def shake_hands(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: bytes = b"ROUTER"
) -> None:
    """Be a proper peer, up to the first message."""
    writer.write(GREETING + ready(kind))
    await reader.readexactly(64)
    flags, size = await reader.readexactly(2)
    assert flags == 4
    assert (await reader.readexactly(size)).startswith(b"\x05READY")


def says(sent: bytes, *, properly: bool = True) -> Peer:
    """A peer that sends this, and then nothing more, and reads all that comes."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if properly:
            await shake_hands(reader, writer)
        writer.write(sent)
        while await reader.read(1 << 16):
            pass

    return behave


# -- with libzmq -------------------------------------------------------------------------------


@contextmanager
def libzmq(kind: int, path: str) -> Iterator[zmq.asyncio.Socket]:
    with zmq.asyncio.Context() as context, context.socket(kind) as bound:
        bound.linger = 0
        bound.bind(f"ipc://{path}")
        yield bound


BODIES = [
    [b""],
    [b"a"],
    [b"", b"", b""],
    [b"x" * 255],
    [b"x" * 256],
    [b"first", b"y" * 70_000, b"", b"z" * SMALL_BYTES, b"last"],
    [b"n"] * MOST_FRAMES,
]


async def test_dealer_exchanges_messages_of_all_sizes_with_a_router(path: str) -> None:
    with libzmq(zmq.ROUTER, path) as router:
        async with reading(path, identity=b"me") as (connection, inbox):
            for number, body in enumerate(BODIES, 1):
                connection.send(body)
                assert await router.recv_multipart() == [b"me", *body]
                await router.send_multipart([b"me", *body])
                assert (await inbox.wait_for(number))[-1] == body


async def test_message_sent_before_the_peer_is_ready_arrives(path: str) -> None:
    with libzmq(zmq.ROUTER, path) as router:
        connection = Connection(open_socket(path), "DEALER", share=Share(Intake()), most_bytes=1)
        connection.send([b"x" * (MOST_UNSENT_BYTES // 2)])
        task = asyncio.create_task(connection.read(lambda _: None))
        assert len((await router.recv_multipart())[-1]) == MOST_UNSENT_BYTES // 2
        connection.close()
        await task


@pytest.mark.parametrize("kind", [zmq.PUB, zmq.XPUB])
async def test_sub_gets_what_is_published(path: str, kind: int) -> None:
    with libzmq(kind, path) as publisher:
        async with reading(path, "SUB") as (_, inbox):
            while not inbox.messages:  # until the subscription has arrived, it goes to nobody
                await publisher.send_multipart([b"topic", b"text"])
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await inbox.wait_for(1)
            assert inbox.messages[0] == [b"topic", b"text"]


async def test_two_dealers_with_one_identity_reach_two_routers(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("shell", "stdin")]
    with libzmq(zmq.ROUTER, paths[0]) as shell, libzmq(zmq.ROUTER, paths[1]) as stdin:
        async with (
            reading(paths[0], identity=b"one") as (connection, _),
            reading(paths[1], identity=b"one") as (_, questions),
        ):
            connection.send([b"request"])
            identity, _ = await shell.recv_multipart()
            stdin.router_mandatory = True
            while not questions.messages:
                try:
                    await stdin.send_multipart([identity, b"question"])
                    await questions.wait_for(1)
                except zmq.ZMQError:  # not greeted yet
                    await asyncio.sleep(0)
            assert questions.messages == [[b"question"]]


async def test_end_of_the_peer_comes_after_all_it_sent(path: str) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer)
        for number in range(2000):
            writer.write(encode_message([b"%d" % number]))
        writer.write_eof()
        await reader.read()

    async with hostile(path, behave), reading(path) as (connection, inbox):
        assert "other end" in await connection.broken
        assert [frames[0] for frames in inbox.messages] == [b"%d" % n for n in range(2000)]


# -- bounds of what is decoded -----------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 2, 7, 100_000])
def test_messages_come_out_whatever_pieces_they_come_in(piece: int) -> None:
    messages = [[b"a", b"", b"b" * 300], [b"c" * 70_000], [b"d"]]
    ping = encode_command(b"PING", b"\x00\x00context")
    sent = GREETING + ready() + b"".join(map(encode_message, messages)) + ping
    decoder = Decoder(MOST_BYTES)
    found: list[list[bytes] | Command] = []
    for start in range(0, len(sent), piece):
        received = sent[start : start + piece]
        if (rest := decoder.rest()) is not None:
            into = min(len(rest), len(received))
            rest[:into] = received[:into]
            decoder.filled(into)
            received = received[into:]
        while True:
            while (item := decoder.next()) is not None:
                found.append(item)
                decoder.expects_ready = False
            if not received:
                break
            decoder.feed(received)
            received = b""
    assert isinstance(found[0], Command) and found[0].name == b"READY"
    assert found[1:-1] == messages
    assert found[-1] == Command(b"PING", b"\x00\x00context")


@pytest.mark.parametrize("count", [MOST_FRAMES - 1, MOST_FRAMES])
def test_message_may_have_frames_up_to_the_limit(count: int) -> None:
    decoder = greeted()
    decoder.feed(encode_message([b""] * count))
    assert decoder.next() == [b""] * count


def test_one_frame_more_than_allowed_breaks_the_connection() -> None:
    decoder = greeted()
    decoder.feed(encode_message([b""] * (MOST_FRAMES + 1)))
    with pytest.raises(ConnectionBroken, match="too many frames"):
        decoder.next()


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("more", [-1, 0])
def test_message_may_have_bytes_up_to_the_limit(parts: int, more: int) -> None:
    decoder = greeted(1000)
    message = [b"x"] * (parts - 1) + [b"x" * (1000 - parts + 1 + more)]
    decoder.feed(encode_message(message))
    assert decoder.next() == message


@pytest.mark.parametrize("parts", [1, 3])
def test_one_byte_more_than_allowed_breaks_the_connection(parts: int) -> None:
    decoder = greeted(1000)
    decoder.feed(encode_message([b"x"] * (parts - 1) + [b"x" * (1002 - parts)]))
    with pytest.raises(ConnectionBroken, match="too large"):
        decoder.next()


@pytest.mark.parametrize("size", [1 << 62, (1 << 64) - 1])
def test_announced_giant_is_refused_by_its_announcement(size: int) -> None:
    decoder = greeted()
    decoder.feed(struct.pack(">BQ", 2, size))
    with pytest.raises(ConnectionBroken, match="too large"):
        decoder.next()


@pytest.mark.parametrize(("size", "fits"), [(-1, True), (0, True), (1, False)])
def test_command_may_have_bytes_up_to_the_limit(size: int, fits: bool) -> None:
    decoder = greeted()
    body = b"x" * (MOST_COMMAND_BYTES + size - len(b"\x04PING"))
    decoder.feed(encode_command(b"PING", body))
    if fits:
        assert decoder.next() == Command(b"PING", body)
    else:
        with pytest.raises(ConnectionBroken, match="command is too large"):
            decoder.next()


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([SMALL_BYTES - 1], 0),
        ([SMALL_BYTES], 0),
        ([SMALL_BYTES + 1], SMALL_BYTES + 1),
        ([1, SMALL_BYTES - 1], 0),
        ([1, SMALL_BYTES], SMALL_BYTES + 1),
        ([SMALL_BYTES + 1, 1], MOST_BYTES),  # there is more to come, and it asks only once
    ],
)
def test_large_message_waits_for_its_reservation(sizes: list[int], wanted: int) -> None:
    decoder = greeted()
    message = [b"x" * size for size in sizes]
    decoder.feed(encode_message(message))
    first = decoder.next()
    assert decoder.wanted == wanted
    if wanted:
        assert first is None and decoder.rest() is None  # no memory was taken for it
        decoder.grant()
        first = decoder.next()
    assert first == message


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\x08\x01x", "flags"),
        (b"\x05\x01x", "flags"),
        (b"\x04\x00", "no name"),
        (b"\x04\x02\x05x", "no name"),
    ],
)
def test_frame_against_the_rules_breaks_the_connection(sent: bytes, reason: str) -> None:
    decoder = greeted()
    decoder.feed(sent)
    with pytest.raises(ConnectionBroken, match=reason):
        decoder.next()


# -- greetings ---------------------------------------------------------------------------------


async def test_greeting_may_come_byte_by_byte(path: str) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in GREETING + ready() + encode_message([b"hello"]):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    async with hostile(path, behave), reading(path) as (_, inbox):
        assert await inbox.wait_for(1) == [[b"hello"]]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\n" * 5, "greeting"),
        (GREETING.replace(b"NULL", b"PLAI"), "greeting"),
        (GREETING[:10] + b"\x02" + GREETING[11:], "greeting"),
        (GREETING + b"\xff" * 100_000, "flags"),
        (GREETING + b"\0" * 1000, "before READY"),
        (GREETING + ready(b"PUB"), "kind"),
        (GREETING + encode_command(b"READY", b""), "kind"),
        (GREETING + encode_command(b"READY", b"\x0bSocket-Type\0\0\0\xff"), "cut short"),
        (GREETING + encode_command(b"READY", b"\xff"), "cut short"),
        (GREETING + encode_command(b"HELLO", b""), "READY"),
        (GREETING + encode_command(b"ERROR", b"\x02no"), "error"),
        (GREETING + ready() + encode_command(b"ERROR", b"\x02no"), "error"),
    ],
)
async def test_peer_that_begins_badly_is_hung_up_on(path: str, sent: bytes, reason: str) -> None:
    async with hostile(path, says(sent, properly=False)), reading(path) as (connection, inbox):
        assert reason in await connection.broken
        assert inbox.messages == []


@pytest.mark.parametrize("sent", [b"", GREETING[:63], GREETING, GREETING + ready()[:5]])
async def test_peer_that_never_finishes_its_greeting_is_given_up(path: str, sent: bytes) -> None:
    share = Share(Intake(greeting_s=0.05))
    async with (
        hostile(path, says(sent, properly=False)),
        reading(path, share=share) as (connection, _),
    ):
        assert "greet in time" in await connection.broken


# -- floods ------------------------------------------------------------------------------------


async def test_endless_message_is_cut_off(path: str) -> None:
    sent = 0

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await shake_hands(reader, writer)
        while True:
            writer.write(b"\x01\x01x" * 1000)
            await writer.drain()
            sent += 1000

    async with hostile(path, behave), reading(path) as (connection, inbox):
        assert "too many frames" in await connection.broken
        assert inbox.messages == []
    assert sent < 1_000_000


async def test_giant_frame_is_cut_off_before_any_of_it_comes(path: str) -> None:
    giant = struct.pack(">BQ", 2, 1 << 62)
    async with hostile(path, says(giant)), reading(path) as (connection, _):
        assert "too large" in await connection.broken


async def test_peer_that_stops_in_a_large_message_holds_up_the_others_for_a_while_only(
    tmp_path: Path,
) -> None:
    intake = Intake(budget_bytes=MOST_BYTES, message_s=0.2)
    stopping, large, small = (str(tmp_path / name) for name in ("stopping", "large", "small"))
    beginning = struct.pack(">BQ", 2, MOST_BYTES) + b"x" * 1000
    message = [b"y" * MOST_BYTES]
    async with (
        hostile(stopping, says(beginning)),
        hostile(large, says(encode_message(message))),
        hostile(small, says(encode_message([b"z" * SMALL_BYTES]))),
        reading(stopping, share=Share(intake)) as (held, _),
    ):
        while intake.budget.free_bytes:  # noqa: ASYNC110 -- nobody sets an event for it
            await asyncio.sleep(0)
        async with (
            reading(large, share=Share(intake)) as (_, waiting),
            reading(small, share=Share(intake)) as (_, passing),
        ):
            await passing.wait_for(1)  # what is small needs no reservation
            assert waiting.messages == [] and held.alive
            assert "in the middle" in await held.broken
            assert await waiting.wait_for(1) == [message]
    assert intake.budget.free_bytes == MOST_BYTES


async def test_large_messages_of_one_kernel_come_one_after_the_other(tmp_path: Path) -> None:
    intake = Intake(budget_bytes=2 * MOST_BYTES, message_s=0.2)
    share = Share(intake)
    paths = [str(tmp_path / name) for name in ("one", "two")]
    beginning = struct.pack(">BQ", 2, MOST_BYTES) + b"x" * 1000
    async with (
        hostile(paths[0], says(beginning)),
        hostile(paths[1], says(encode_message([b"y" * MOST_BYTES]))),
        reading(paths[0], share=share) as (held, _),
    ):
        while intake.budget.free_bytes == 2 * MOST_BYTES:  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0)
        async with reading(paths[1], share=share) as (_, second):
            await held.broken
            assert second.messages == []
            await second.wait_for(1)


async def test_large_messages_that_come_in_time_give_back_their_reservation(path: str) -> None:
    intake = Intake(budget_bytes=MOST_BYTES)
    message = [b"x", b"y" * (MOST_BYTES // 2), b"z"]
    async with (
        hostile(path, says(encode_message(message) * 20)),
        reading(path, share=Share(intake)) as (connection, inbox),
    ):
        assert await inbox.wait_for(20) == [message] * 20
        assert connection.alive
        assert intake.budget.free_bytes == MOST_BYTES


async def test_message_above_the_limit_on_the_wire_breaks_and_one_at_it_does_not(
    path: str,
) -> None:
    at, above = ([b"x" * (MOST_BYTES + more)] for more in (0, 1))
    sent = encode_message(at) + encode_message(above)
    async with hostile(path, says(sent)), reading(path) as (connection, inbox):
        assert "too large" in await connection.broken
        assert inbox.messages == [at]


async def test_flood_of_tiny_messages_lets_the_others_through(tmp_path: Path) -> None:
    flooding, honest = str(tmp_path / "flooding"), str(tmp_path / "honest")
    intake = Intake()
    most = 1_000_000

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer)
        for _ in range(most // 1000):
            writer.write(b"\0\1x" * 1000)
            await writer.drain()
        await reader.read()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer)
        while True:
            writer.write(await reader.readexactly(3))

    counts = [0] * 5

    def count(number: int) -> Callable[[list[bytes]], None]:
        def take(_: list[bytes]) -> None:
            counts[number] += 1

        return take

    async with hostile(flooding, flood), hostile(honest, echo):
        floods = [
            Connection(open_socket(flooding), "DEALER", share=Share(intake), most_bytes=9)
            for _ in counts
        ]
        tasks = [asyncio.create_task(c.read(count(n))) for n, c in enumerate(floods)]
        async with reading(honest, share=Share(intake)) as (connection, inbox):
            for number in range(1, 101):
                connection.send([b"?"])
                await inbox.wait_for(number)
        assert min(counts) > 0  # they do get their turns,
        assert sum(counts) < most  # and a hundred exchanges take less time than those
        for flooded in floods:
            flooded.close()
        await asyncio.gather(*tasks)


async def test_turns_leave_the_loop_to_others_for_as_long() -> None:
    intake = Intake()
    took = 0.02
    loop = asyncio.get_running_loop()

    async def flood(share: Share) -> None:
        for _ in range(3):
            await share.begin()
            share.end(took)  # as if so long had been spent

    began = loop.time()
    await asyncio.gather(*(flood(Share(intake)) for _ in range(4)))
    # The first turn of each is out of line; of the others, none begins before the rests are over.
    assert loop.time() - began > (4 * 3 - 2) * took


async def test_kernel_that_used_little_need_not_stand_in_line() -> None:
    intake = Intake()
    flooding, honest = Share(intake), Share(intake)
    await flooding.begin()
    flooding.end(30.0)
    async with asyncio.timeout(10):
        await honest.begin()
    in_line = asyncio.create_task(flooding.begin())
    await asyncio.sleep(0)
    assert not in_line.done()
    in_line.cancel()


# -- a peer that does not read -----------------------------------------------------------------


async def test_ping_is_answered_with_its_context(path: str) -> None:
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer)
        writer.write(encode_command(b"PING", b"\x00\x0aabc"))
        expected = encode_command(b"PONG", b"abc")
        answers.put_nowait(await reader.readexactly(len(expected)))
        await reader.read()

    async with hostile(path, behave), reading(path):
        assert await answers.get() == encode_command(b"PONG", b"abc")


async def test_pings_of_a_peer_that_reads_no_answers_are_bounded(path: str) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer)
        while True:
            writer.write(encode_command(b"PING", b"\0\0" + b"x" * 16) * 1000)
            await writer.drain()
            await asyncio.sleep(0)

    async with hostile(path, behave), reading(path) as (connection, _):
        assert "does not read" in await connection.broken


async def test_deaf_peer_is_hung_up_on_at_the_bound(path: str) -> None:
    accepted = asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()  # and never ready, so that nothing leaves
        await reader.read()

    async with hostile(path, behave), reading(path) as (connection, _):
        await accepted.wait()
        connection.send([b"x" * (MOST_UNSENT_BYTES - 9)])  # with its head, exactly the bound
        connection.send([b"y"])
        assert connection.alive
        connection.send([b"z"])
        assert "does not read" in await connection.broken
        connection.send([b"nobody hears this"])


async def test_peer_that_stops_reading_is_hung_up_on(path: str) -> None:
    deaf = asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer)
        writer.write(encode_message([b"go"]))
        await deaf.wait()

    async with hostile(path, behave), reading(path) as (connection, inbox):
        await inbox.wait_for(1)
        sent = 0
        while connection.alive:
            connection.send([b"x" * 65_536])
            sent += 65_536
            await asyncio.sleep(0)
        assert sent < 4 * MOST_UNSENT_BYTES  # what fits into the system's buffer comes on top
        deaf.set()


async def test_slow_peer_gets_everything_in_order(path: str) -> None:
    with libzmq(zmq.ROUTER, path) as router:
        router.rcvhwm = 1
        async with reading(path) as (connection, _):
            for number in range(100):
                connection.send([b"%d" % number, b"x" * 10_000])
            for number in range(100):
                assert (await router.recv_multipart())[1] == b"%d" % number


# -- whose socket it is ------------------------------------------------------------------------


async def test_socket_of_the_expected_process_is_connected_to(path: str) -> None:
    async with hostile(path, says(b"")):
        open_socket(path, pid=os.getpid()).close()


async def test_socket_of_another_process_is_refused(path: str) -> None:
    async with hostile(path, says(b"")):
        with pytest.raises(ConnectionBroken, match="another process"):
            open_socket(path, pid=os.getpid() + 1)


async def test_link_in_place_of_the_socket_is_not_followed(path: str, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    async with hostile(path, says(b"")):
        with pytest.raises(ConnectionBroken, match="no socket"):
            open_socket(str(link))


def test_file_in_place_of_the_socket_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConnectionBroken, match="no socket"):
        open_socket(str(tmp_path / "file"))


def test_socket_that_nobody_listens_on_is_refused(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(path)
    with pytest.raises(ConnectionRefusedError):
        open_socket(path)
    with pytest.raises(FileNotFoundError):
        open_socket(path + "-none")


# -- the budget --------------------------------------------------------------------------------


async def test_budget_is_given_in_the_order_of_asking() -> None:
    budget = Budget(10)
    await budget.reserve(10)
    order: list[int] = []

    async def ask(count: int) -> None:
        await budget.reserve(count)
        order.append(count)

    asking = [asyncio.create_task(ask(count)) for count in (9, 1, 10)]
    await asyncio.sleep(0)
    budget.release(8)  # enough for the second, who is not first
    await asyncio.sleep(0)
    assert order == []
    budget.release(1)
    await asyncio.gather(*asking[:1])
    assert (order, budget.free_bytes) == ([9], 0)
    budget.release(1)
    await asking[1]
    budget.release(10)
    await asking[2]
    assert (order, budget.free_bytes) == ([9, 1, 10], 0)


@pytest.mark.parametrize("already_granted", [False, True])
async def test_cancelled_while_waiting_for_the_budget_takes_none(already_granted: bool) -> None:
    budget = Budget(10)
    await budget.reserve(10)
    first = asyncio.create_task(budget.reserve(10))
    second = asyncio.create_task(budget.reserve(5))
    await asyncio.sleep(0)
    if already_granted:
        budget.release(10)
    first.cancel()
    if not already_granted:
        budget.release(10)
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert budget.free_bytes == 5
