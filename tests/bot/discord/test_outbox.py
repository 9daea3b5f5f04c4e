"""Outbox: what is to be delivered outlasts outages, restarts and the files' own end."""

import asyncio
import os
import shutil
import stat
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.discord.delivery import Delivery
from bot.discord.destinations import DeliveryFailed, Destination, InteractionRef
from bot.discord.metrics import Metrics
from bot.discord.posting import Backoff
from bot.discord.rest import DiscordHTTP
from bot.outgoing import Attachment, Button, OutgoingMessage
from interpreter import DatabaseUnavailable, RecordStore
from tests.discord_double import Channel, DiscordDouble, Message

QUICK = Backoff(first_s=0.005, most_s=0.02)


@dataclass
class Outside:
    """Everything around a delivery, which is opened as often as the program is started."""

    discord: DiscordDouble
    http: DiscordHTTP
    records: Any
    directory: Path
    metrics: Metrics

    def start(self) -> AbstractAsyncContextManager[Delivery]:
        return Delivery.open(
            self.http,
            records=self.records,
            directory=self.directory,
            metrics=self.metrics,
            backoff=QUICK,
            now=self.discord.clock.now,
        )

    def kept(self) -> list[str]:
        return sorted(str(p.relative_to(self.directory)) for p in self.directory.rglob("*"))


@pytest.fixture
def outside(
    discord: DiscordDouble, http: DiscordHTTP, records: RecordStore, tmp_path: Path
) -> Outside:
    return Outside(discord, http, records, tmp_path / "data" / "outbox", Metrics())


@pytest.fixture
def channel(discord: DiscordDouble) -> Channel:
    return discord.guild("lab").text_channel("data")


def to_channel(channel: Channel) -> Destination:
    assert channel.guild
    return Destination(int(channel.id), int(channel.guild.id))


def attached(*contents: bytes) -> OutgoingMessage:
    attachments = (Attachment(f"{i}.csv", c, len(c)) for i, c in enumerate(contents))
    return OutgoingMessage("here", tuple(attachments), (Button("More", "more:1"),))


def shown(messages: list[Message]) -> list[tuple[str, list[bytes]]]:
    return [(m.content, [a.content for a in m.attachments]) for m in messages]


async def test_what_is_delivered_leaves_nothing_behind(outside: Outside, channel: Channel) -> None:
    async with outside.start() as delivery:
        sent = await delivery.deliver(
            to_channel(channel), [attached(b"1", b"2"), OutgoingMessage("more")], owner="42"
        )
        assert delivery.waiting == 0
    assert [int(m.id) for m in channel.by_bot] == [s.message_id for s in sent]
    assert shown(channel.by_bot) == [("here", [b"1", b"2"]), ("more", [])]
    assert outside.kept() == []
    assert await outside.records.list("outbox") == ()
    assert b'cellmate_deliveries_total{outcome="delivered"} 1.0' in outside.metrics.text()


async def test_first_message_takes_the_place_of_progress(
    outside: Outside, channel: Channel
) -> None:
    async with outside.start() as delivery:
        progress = await delivery.send(to_channel(channel), OutgoingMessage("running"))
        await delivery.deliver(
            to_channel(channel),
            [attached(b"1"), OutgoingMessage("more")],
            replacing=progress,
            owner="42",
        )
    assert shown(channel.by_bot) == [("here", [b"1"]), ("more", [])]


async def test_progress_that_was_deleted_doesn_t_take_the_answer_with_it(
    outside: Outside, channel: Channel
) -> None:
    async with outside.start() as delivery:
        progress = await delivery.send(to_channel(channel), OutgoingMessage("running"))
        channel.by_bot[-1].remove()
        await delivery.deliver(
            to_channel(channel), [attached(b"1")], replacing=progress, owner="42"
        )
    assert shown(channel.by_bot) == [("here", [b"1"])]


async def struck(discord: DiscordDouble, hits: int) -> None:
    """Wait until so many requests have failed."""
    await discord.until(lambda: sum(r.status in (0, 503) for r in discord.requests) >= hits)


async def test_a_restart_goes_on_where_it_was_interrupted(
    outside: Outside, discord: DiscordDouble, channel: Channel
) -> None:
    messages = [OutgoingMessage("1"), attached(b"two"), OutgoingMessage("3")]
    async with outside.start() as delivery:
        discord.faults.rest(status=503, times=1, path="nowhere")
        delivering = asyncio.create_task(
            delivery.deliver(to_channel(channel), messages, owner="42")
        )
        await channel.wait_for(lambda m: m.content == "1")
        discord.faults.rest(status=503, times=10_000, method="POST")
        await struck(discord, 2)
    assert isinstance((await asyncio.gather(delivering, return_exceptions=True))[0], DeliveryFailed)
    assert shown(channel.by_bot) == [("1", [])]
    mode = os.stat(outside.directory / outside.kept()[-1]).st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert stat.S_IMODE(outside.directory.stat().st_mode) == 0o700
    discord.faults.clear()
    async with outside.start() as delivery:
        await delivery.resume()
        assert await delivery.flush(10) == 0
    assert shown(channel.by_bot) == [("1", []), ("here", [b"two"]), ("3", [])]
    assert channel.by_bot[1].button("More")
    assert outside.kept() == []
    assert await outside.records.list("outbox") == ()


async def test_message_that_was_there_before_the_restart_isn_t_sent_twice(
    outside: Outside, discord: DiscordDouble, channel: Channel
) -> None:
    async with outside.start() as delivery:
        discord.faults.drop_answer(times=1, method="POST", path="/messages")
        discord.faults.rest(status=503, times=10_000)
        delivering = asyncio.create_task(
            delivery.deliver(to_channel(channel), [attached(b"1")], owner="42")
        )
        await struck(discord, 3)
    await asyncio.gather(delivering, return_exceptions=True)
    discord.faults.clear()
    discord.clock.advance(3600)  # Discord has forgotten the nonce
    async with outside.start() as delivery:
        await delivery.resume()
        assert await delivery.flush(10) == 0
    assert shown(channel.by_bot) == [("here", [b"1"])]


async def test_what_was_for_one_person_s_eyes_comes_directly_after_a_restart(
    outside: Outside, discord: DiscordDouble, channel: Channel
) -> None:
    assert channel.guild
    anna = channel.guild.member("anna")
    interaction = InteractionRef(1, "hunter2", discord.clock.now(), ephemeral=True)
    to = replace(to_channel(channel), interaction=interaction)
    discord.faults.rest(status=503, times=10_000)
    async with outside.start() as delivery:
        delivering = asyncio.create_task(delivery.deliver(to, [attached(b"1")], owner=anna.id))
        await struck(discord, 1)
    await asyncio.gather(delivering, return_exceptions=True)
    (record,) = await outside.records.list("outbox", owner=anna.id)
    assert "hunter2" not in repr(record)
    discord.faults.clear()
    async with outside.start() as delivery:
        await delivery.resume()
        assert await delivery.flush(10) == 0
    assert shown(discord.dm(anna).by_bot) == [("here", [b"1"])]
    assert not channel.by_bot


async def test_files_are_copied_before_they_can_be_deleted(
    outside: Outside, discord: DiscordDouble, channel: Channel, tmp_path: Path
) -> None:
    stored, gone = tmp_path / "stored.csv", tmp_path / "gone.csv"
    stored.write_bytes(b"precious")
    link = tmp_path / "link.csv"
    link.symlink_to("/etc/passwd")
    message = OutgoingMessage(
        "here",
        (Attachment("a.csv", stored, 8), Attachment("b", gone, 1), Attachment("c", link, 1)),
    )
    fault = discord.faults.rest(status=503, times=10_000, method="POST")
    async with outside.start() as delivery:
        delivering = asyncio.create_task(
            delivery.deliver(to_channel(channel), [message], owner="42")
        )
        await struck(discord, 1)
        stored.unlink()
        fault.left = 0
        await delivering
    assert shown(channel.by_bot) == [("here\nNo longer there: `b`, `c`.", [b"precious"])]


class NoDatabase:
    """Records while the database is away."""

    async def put(self, *args: Any, **options: Any) -> None:
        """Fail."""
        raise DatabaseUnavailable("mongodb://db", "away")

    async def delete(self, *args: Any) -> bool:
        """Fail."""
        raise DatabaseUnavailable("mongodb://db", "away")

    async def list(self, *args: Any, **options: Any) -> tuple[Any, ...]:
        """Fail."""
        raise DatabaseUnavailable("mongodb://db", "away")


async def test_without_a_database_it_is_delivered_from_memory(
    outside: Outside, discord: DiscordDouble, channel: Channel
) -> None:
    outside.records = NoDatabase()
    discord.faults.rest(status=503, times=3)
    async with outside.start() as delivery:
        await delivery.resume()
        await delivery.deliver(to_channel(channel), [attached(b"1")], owner="42")
    assert shown(channel.by_bot) == [("here", [b"1"])]
    assert outside.kept() == []


@dataclass
class Flaky:
    """Records of a database that is away for a while."""

    records: RecordStore
    away: bool = True

    def __getattr__(self, name: str) -> Any:
        return getattr(NoDatabase() if self.away else self.records, name)


async def test_database_that_comes_back_is_told_what_it_missed(
    outside: Outside, discord: DiscordDouble, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.discord.outbox._CATCHING_UP_S", 0.01)
    records, flaky = outside.records, Flaky(outside.records)
    outside.records = flaky
    fault = discord.faults.rest(status=503, times=100_000, method="POST")
    async with outside.start() as delivery:
        delivering = asyncio.create_task(
            delivery.deliver(to_channel(channel), [attached(b"1")], owner="42")
        )
        await struck(discord, 2)
        flaky.away = False
        async with asyncio.timeout(10):
            while not await records.list("outbox"):
                pass
            flaky.away = True
            fault.left = 0
            await delivering
            assert len(await records.list("outbox")) == 1
            flaky.away = False
            while await records.list("outbox"):
                pass


async def test_database_that_was_away_for_a_step_is_told_how_far_it_is(
    outside: Outside, discord: DiscordDouble, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.discord.outbox._CATCHING_UP_S", 0.01)
    records, missed = outside.records, asyncio.Event()

    class AwayOnce(Flaky):
        async def put(self, kind: str, key: str, value: Any, **options: Any) -> None:
            if value["done"] and not missed.is_set():
                discord.faults.rest(status=503, times=100_000, method="POST")
                missed.set()
                raise DatabaseUnavailable("mongodb://db", "away")
            await records.put(kind, key, value, **options)

    outside.records = AwayOnce(records, away=False)
    async with outside.start() as delivery:
        messages = [OutgoingMessage("one"), OutgoingMessage("two")]
        delivering = asyncio.create_task(
            delivery.deliver(to_channel(channel), messages, owner="42")
        )
        await missed.wait()
        async with asyncio.timeout(5):
            while [record.value["done"] for record in await records.list("outbox")] != [1]:
                pass
        discord.faults.clear()
        await delivering
    assert [m.content for m in channel.by_bot] == ["one", "two"]


async def test_caller_that_is_cancelled_takes_nothing_with_it(
    outside: Outside, discord: DiscordDouble, channel: Channel
) -> None:
    fault = discord.faults.rest(status=503, times=10_000, method="POST")
    async with outside.start() as delivery:
        delivering = asyncio.create_task(
            delivery.deliver(to_channel(channel), [attached(b"1")], owner="42")
        )
        await struck(discord, 1)
        delivering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await delivering
        fault.left = 0
        assert await delivery.flush(10) == 0
    assert shown(channel.by_bot) == [("here", [b"1"])]


async def test_what_can_t_be_delivered_is_forgotten_and_said(
    outside: Outside, channel: Channel
) -> None:
    channel.deny_bot(["send_messages"])
    async with outside.start() as delivery:
        with pytest.raises(DeliveryFailed, match="not allowed to write there"):
            await delivery.deliver(to_channel(channel), [attached(b"1")], owner="someone")
        assert delivery.waiting == 0
    assert outside.kept() == []
    assert await outside.records.list("outbox") == ()


async def test_after_a_day_it_is_given_up(
    outside: Outside, discord: DiscordDouble, channel: Channel
) -> None:
    discord.faults.rest(status=503, times=10_000)
    async with outside.start() as delivery:
        delivering = asyncio.create_task(
            delivery.deliver(to_channel(channel), [attached(b"1")], owner="42")
        )
        await struck(discord, 1)
    await asyncio.gather(delivering, return_exceptions=True)
    discord.clock.advance(24 * 3600)
    discord.faults.clear()
    async with outside.start() as delivery:
        await delivery.resume()
        assert await delivery.flush(10) == 0
    assert channel.by_bot == []
    assert outside.kept() == []


@pytest_asyncio.fixture
async def stuck(outside: Outside, discord: DiscordDouble) -> AsyncIterator[Delivery]:
    """A delivery while Discord is away."""
    discord.faults.rest(status=503, times=100_000)
    async with outside.start() as delivery:
        yield delivery
        discord.faults.clear()


async def test_twenty_may_wait_for_a_user_and_the_oldest_makes_room(
    stuck: Delivery, outside: Outside, discord: DiscordDouble, channel: Channel
) -> None:
    def begin(number: int, owner: str) -> "asyncio.Task[Any]":
        message = OutgoingMessage(str(number))
        return asyncio.create_task(stuck.deliver(to_channel(channel), [message], owner=owner))

    other = begin(99, "43")
    tasks = []
    for number in range(20):
        tasks.append(begin(number, "42"))
        await discord.until(lambda: stuck.waiting == number + 2)  # noqa: B023
    assert not any(task.done() for task in tasks)
    tasks.append(begin(20, "42"))
    with pytest.raises(DeliveryFailed, match="given up"):
        await tasks[0]
    await discord.until(lambda: stuck.waiting == 21)
    discord.faults.clear()
    await asyncio.gather(*tasks[1:], other)
    assert {m.content for m in channel.by_bot} == {*map(str, range(1, 21)), "99"}


async def test_what_is_cancelled_while_others_make_room_is_sent_all_the_same(
    stuck: Delivery, outside: Outside, discord: DiscordDouble, channel: Channel
) -> None:
    def begin(number: int) -> "asyncio.Task[Any]":
        message = OutgoingMessage(str(number))
        return asyncio.create_task(stuck.deliver(to_channel(channel), [message], owner="42"))

    tasks = [begin(number) for number in range(20)]
    await discord.until(lambda: stuck.waiting == 20)
    last = begin(20)
    await asyncio.sleep(0)  # now it waits for the oldest to be given up
    assert not tasks[0].done()
    last.cancel()
    await asyncio.wait({last, tasks[0]})
    assert last.cancelled()
    discord.faults.clear()
    await asyncio.gather(*tasks[1:])
    with pytest.raises(DeliveryFailed, match="given up"):
        await tasks[0]
    assert await stuck.flush(10) == 0
    assert {m.content for m in channel.by_bot} == {*map(str, range(1, 21))}
    assert await outside.records.list("outbox") == ()


async def test_everything_of_a_user_can_be_forgotten(
    stuck: Delivery, outside: Outside, discord: DiscordDouble, channel: Channel
) -> None:
    mine = asyncio.create_task(stuck.deliver(to_channel(channel), [attached(b"1")], owner="42"))
    other = asyncio.create_task(stuck.deliver(to_channel(channel), [attached(b"2")], owner="43"))
    async with asyncio.timeout(10):
        while len(await outside.records.list("outbox")) < 2:
            pass
    await stuck.forget("42")
    with pytest.raises(DeliveryFailed):
        await mine
    assert [record.owner for record in await outside.records.list("outbox")] == ["43"]
    discord.faults.clear()
    await other
    assert shown(channel.by_bot) == [("here", [b"2"])]


async def test_what_is_forgotten_while_its_files_are_copied_leaves_none(
    stuck: Delivery, outside: Outside, channel: Channel, tmp_path: Path
) -> None:
    loop, threads = asyncio.get_running_loop(), threading.Barrier(2)
    loop.set_default_executor(ThreadPoolExecutor(2))  # one that copies, and one more
    large = tmp_path / "large"
    with open(large, "wb") as file:
        file.truncate(128 << 20)
    files = (Attachment("a", large, 128 << 20), Attachment("b", b"1", 1))
    sending = asyncio.create_task(
        stuck.deliver(to_channel(channel), [OutgoingMessage("here", files)], owner="42")
    )
    while not outside.kept():  # noqa: ASYNC110 -- nobody sets an event for it
        await asyncio.sleep(0)
    await stuck.forget("42")
    with pytest.raises(DeliveryFailed):
        await sending
    # Both threads are free now.
    await asyncio.gather(*(asyncio.to_thread(threads.wait) for _ in range(2)))
    assert outside.kept() == []


@dataclass
class Slow:
    """Records of a database that takes its time to write, whether or not anybody waits.

    Attributes:
        at_once: how many times it doesn't, at first.
    """

    records: RecordStore
    at_once: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    writing: "asyncio.Task[Any] | None" = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.records, name)

    async def put(self, *args: Any, **options: Any) -> None:
        """Write it down, some time."""
        if self.at_once:
            self.at_once -= 1
            await self.records.put(*args, **options)
            return
        self.writing = asyncio.create_task(self._put(*args, **options))
        await asyncio.shield(self.writing)

    async def _put(self, *args: Any, **options: Any) -> None:
        self.begun.set()
        await self.goes_on.wait()
        await self.records.put(*args, **options)


async def test_what_is_forgotten_while_it_is_written_down_leaves_no_record(
    outside: Outside, discord: DiscordDouble, channel: Channel
) -> None:
    discord.faults.rest(status=503, times=100_000)
    outside.records = slow = Slow(outside.records)
    async with outside.start() as delivery:
        sending = asyncio.create_task(
            delivery.deliver(to_channel(channel), [attached(b"1")], owner="42")
        )
        await slow.begun.wait()
        forgetting = asyncio.create_task(delivery.forget("42"))
        await asyncio.wait({sending})
        slow.goes_on.set()
        await forgetting
        assert slow.writing is not None
        await slow.writing
        assert await slow.records.list("outbox") == ()
        assert isinstance(sending.exception(), DeliveryFailed)


def _goes_on_once_given_up(delivery: Delivery, slow: Slow) -> "asyncio.Task[None]":
    """Have the database write once the only delivery there is has been given up."""
    (entry,) = (e for e in delivery._outbox._entries.values() if e.given)
    carrying = entry.task
    assert carrying is not None

    async def wait() -> None:
        while not carrying.cancelling():  # noqa: ASYNC110 -- nobody sets an event for it
            await asyncio.sleep(0.01)
        slow.goes_on.set()

    return asyncio.create_task(wait())


@pytest.mark.parametrize("at_once", [1, 2], ids=["files are written", "words are written"])
async def test_what_is_forgotten_while_its_words_are_to_go_first_leaves_nothing(
    at_once: int, outside: Outside, discord: DiscordDouble, channel: Channel
) -> None:
    discord.faults.rest(status=500, times=100_000)
    outside.records = slow = Slow(outside.records, at_once)
    async with outside.start() as delivery:
        sending = asyncio.create_task(
            delivery.deliver(to_channel(channel), [attached(b"1")], owner="42")
        )
        await slow.begun.wait()
        going_on = _goes_on_once_given_up(delivery, slow)
        await delivery.forget("42")
        with pytest.raises(DeliveryFailed, match="given up"):
            await sending
        await going_on
        assert slow.writing is not None
        await slow.writing
        assert delivery.waiting == 0
        assert await slow.records.list("outbox") == ()
        assert outside.kept() == []


@pytest.mark.parametrize("at_once", [1, 2], ids=["files are written", "words are written"])
async def test_what_a_restart_interrupts_while_its_words_are_to_go_first_comes_once(
    at_once: int, outside: Outside, discord: DiscordDouble, channel: Channel
) -> None:
    discord.faults.rest(status=500, times=100_000)
    outside.records = slow = Slow(outside.records, at_once)
    async with outside.start() as delivery:
        sending = asyncio.create_task(
            delivery.deliver(to_channel(channel), [attached(b"1")], owner="42")
        )
        await slow.begun.wait()
        going_on = _goes_on_once_given_up(delivery, slow)
    await going_on
    assert isinstance((await asyncio.gather(sending, return_exceptions=True))[0], DeliveryFailed)
    discord.faults.clear()
    async with outside.start() as delivery:
        await delivery.resume()
        assert await delivery.flush(10) == 0
    assert [a for _, files in shown(channel.by_bot) for a in files] == [b"1"]
    assert sum("here" in content for content, _ in shown(channel.by_bot)) == 1
    assert outside.kept() == []


@dataclass
class Killed:
    """Records and files as a program leaves them that is killed before a certain write.

    Attributes:
        writes: how many are still done.
        there: the files of that moment, once it has come.
    """

    records: RecordStore
    directory: Path
    there: Path
    writes: int
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.records, name)

    async def put(self, *args: Any, **options: Any) -> None:
        """Write it down, if the program lives."""
        if self.writes:
            self.writes -= 1
            await self.records.put(*args, **options)
        elif not self.dead.is_set():
            shutil.copytree(self.directory, self.there)
            self.dead.set()

    async def delete(self, *args: Any, **options: Any) -> None:
        """Delete it, if the program lives."""
        if not self.dead.is_set():
            await self.records.delete(*args, **options)


@pytest.mark.parametrize("writes", [1, 2], ids=["before files follow", "before words are alone"])
async def test_what_a_kill_interrupts_while_its_words_are_to_go_first_comes_once(
    writes: int, outside: Outside, discord: DiscordDouble, channel: Channel, tmp_path: Path
) -> None:
    records = outside.records
    discord.faults.rest(status=500, times=100_000)
    outside.records = killed = Killed(records, outside.directory, tmp_path / "there", writes)
    async with outside.start() as delivery:
        sending = asyncio.create_task(
            delivery.deliver(to_channel(channel), [attached(b"1")], owner="42")
        )
        await asyncio.wait_for(killed.dead.wait(), 10)
    await asyncio.gather(sending, return_exceptions=True)
    assert len(await records.list("outbox")) == writes
    shutil.rmtree(outside.directory)
    killed.there.rename(outside.directory)
    outside.records = records
    discord.faults.clear()
    async with outside.start() as delivery:
        await delivery.resume()
        assert await delivery.flush(10) == 0
    assert shown(channel.by_bot) == [("here", [b"1"])]
    assert await records.list("outbox") == ()
    discord.clock.advance(2 * 3600)  # then nobody is taken to be about to write of a copy
    async with outside.start() as delivery:
        await delivery.resume()
    assert outside.kept() == []


@dataclass
class KilledBeforeWords(Killed):
    """The same, of a program that is killed when so many deliveries are to go without files."""

    async def put(self, kind: str, key: str, value: Any, **options: Any) -> None:
        """Write down what has files, if the program lives."""
        if self.dead.is_set():
            return
        if value["messages"][0]["attachments"]:
            await self.records.put(kind, key, value, **options)
            return
        self.writes -= 1
        if not self.writes:
            shutil.copytree(self.directory, self.there)
            self.dead.set()
        await self.dead.wait()


@dataclass
class Waiting:
    """Records that delete nothing before something has happened."""

    records: RecordStore
    channel: Channel
    count: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.records, name)

    async def delete(self, *args: Any) -> bool:
        """Delete it once so many messages are there."""
        await self.channel.wait_for(lambda m: len(self.channel.by_bot) >= self.count)
        return await self.records.delete(*args)


async def test_files_of_several_that_were_to_follow_their_words_come_once(
    outside: Outside, discord: DiscordDouble, channel: Channel, tmp_path: Path
) -> None:
    records = outside.records
    discord.faults.rest(status=500, times=100_000)
    outside.records = killed = KilledBeforeWords(records, outside.directory, tmp_path / "there", 2)
    async with outside.start() as delivery:
        sending = [
            asyncio.create_task(delivery.deliver(to_channel(channel), [attached(c)], owner=owner))
            for c, owner in ((b"1", "42"), (b"2", "43"))
        ]
        await asyncio.wait_for(killed.dead.wait(), 10)
    await asyncio.gather(*sending, return_exceptions=True)
    assert len(await records.list("outbox")) == 4
    shutil.rmtree(outside.directory)
    killed.there.rename(outside.directory)
    outside.records = Waiting(records, channel, 2)
    discord.faults.clear()
    async with outside.start() as delivery:
        await delivery.resume()
        assert await delivery.flush(10) == 0
    assert sorted(shown(channel.by_bot)) == [("here", [b"1"]), ("here", [b"2"])]
    assert await records.list("outbox") == ()


async def test_what_was_promised_is_known_after_a_restart(
    outside: Outside, channel: Channel
) -> None:
    async with outside.start() as delivery:
        shown_now = await delivery.send(to_channel(channel), OutgoingMessage("thinking"))
        note = {"question": "why?"}
        await delivery.promise("turn1", to_channel(channel), owner="42", note=note)
        delivery.show("turn1", shown_now)
    async with outside.start() as delivery:
        await delivery.resume()
        assert await delivery.flush(1) == 0, "there is nothing to send yet"
        (promised,) = await delivery.promised()
        assert await delivery.promised() == (), "it is told once"
        assert (promised.key, promised.owner, promised.note) == ("turn1", "42", note)
        assert promised.shown is not None
        await delivery.deliver(
            promised.to,
            [OutgoingMessage("because")],
            replacing=promised.shown,
            owner="42",
            key=promised.key,
        )
    assert shown(channel.by_bot) == [("because", [])]
    assert await outside.records.list("outbox") == ()


async def test_what_this_run_promised_is_no_leftover(outside: Outside, channel: Channel) -> None:
    async with outside.start() as delivery:
        await delivery.promise("turn1", to_channel(channel), owner="42", note={})
        assert await delivery.promised() == ()


async def test_a_promise_that_is_kept_isn_t_found_again_wherever_it_is_interrupted(
    outside: Outside, discord: DiscordDouble, channel: Channel
) -> None:
    async with outside.start() as delivery:
        await delivery.promise("turn1", to_channel(channel), owner="42", note={})
        discord.faults.rest(status=503, times=10_000, method="POST")
        safe = asyncio.Event()

        async def on_safe() -> None:
            assert (await outside.records.list("outbox"))[0].value["messages"]
            safe.set()

        delivering = asyncio.create_task(
            delivery.deliver(
                to_channel(channel), [attached(b"1")], owner="42", key="turn1", on_safe=on_safe
            )
        )
        await asyncio.wait_for(safe.wait(), 10)
    await asyncio.gather(delivering, return_exceptions=True)
    discord.faults.clear()
    async with outside.start() as delivery:
        assert await delivery.promised() == ()
        await delivery.resume()
        assert await delivery.flush(10) == 0
        assert await delivery.promised() == ()
    assert shown(channel.by_bot) == [("here", [b"1"])]
    assert outside.kept() == []


async def test_files_that_were_copied_before_a_kill_don_t_hinder_the_next_run(
    outside: Outside, channel: Channel
) -> None:
    async with outside.start() as delivery:
        await delivery.promise("turn1", to_channel(channel), owner="42", note={})
        (outside.directory / "turn1").mkdir()
        (outside.directory / "turn1" / "0-0").write_bytes(b"half of it")
    async with outside.start() as delivery:
        (promised,) = await delivery.promised()
        await delivery.deliver(promised.to, [attached(b"all of it")], owner="42", key="turn1")
    assert shown(channel.by_bot) == [("here", [b"all of it"])]
    assert outside.kept() == []


async def test_promises_go_with_their_owner(outside: Outside, channel: Channel) -> None:
    async with outside.start() as delivery:
        await delivery.promise("turn1", to_channel(channel), owner="42", note={})
        await delivery.promise("turn2", to_channel(channel), owner="43", note={})
        await delivery.forget("42")
    async with outside.start() as delivery:
        assert [promised.key for promised in await delivery.promised()] == ["turn2"]


async def test_message_is_found_by_its_button(outside: Outside, channel: Channel) -> None:
    async with outside.start() as delivery:
        began = outside.discord.clock.now()
        sent = await delivery.send(
            to_channel(channel), OutgoingMessage("x", buttons=(Button("Stop", "cm:stop:42:t1"),))
        )
        to = to_channel(channel)
        found = await delivery.find(to, custom_id="cm:stop:42:t1", since=began)
        assert found is not None and found.message_id == sent.message_id
        assert await delivery.find(to, custom_id="cm:stop:42:t2", since=began) is None
