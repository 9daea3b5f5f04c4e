"""Outbox: messages that must not be lost. Written down before the first try, gone once they are
there; what an outage or a restart interrupted goes on by itself.

Messages may be promised before they are known. The promise and the messages that keep it are one
record, so that there is always either the one or the other, whenever the program is killed.

An interaction's token is written down nowhere: after a restart its answer is an ordinary message.
"""

import asyncio
import errno
import os
import shutil
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO, Final, TypeAlias

from bot.discord.destinations import (
    DeliveryFailed,
    DeliveryLate,
    Destination,
    FilesLate,
    InteractionRef,
    SentMessage,
)
from bot.discord.metrics import Metrics
from bot.discord.posting import Post, without_files
from bot.outgoing import MESSAGE_CHARS, Attachment, Button, OutgoingMessage
from interpreter import DatabaseUnavailable, InvalidRecord, Record, RecordStore
from interpreter.logs import get_logger

log = get_logger(__name__)

_KIND = "outbox"
_KEPT: Final = timedelta(hours=24)
#: After so long without the bot nobody waits to be told that their question came to nothing.
_PROMISE_KEPT: Final = timedelta(days=7)
_MOST_FOR_ONE = 20
_MOST_RESUMED = 1000
_RECORDING_S = 5.0
_CATCHING_UP_S = 30.0
#: 16 characters, so that two for the number of the message, and more, fit into a nonce of 25.
_ID_BYTES = 8

#: Is awaited once what was given can't be lost any more.
OnSafe: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """Messages that an earlier run of the program promised, and didn't come to write down.

    Attributes:
        key: what they were promised by.
        owner: the id of the user whose they are.
        to: where they were to go; without the interaction, whose token is written down nowhere.
        shown: a message that was shown until they come; None if none is known.
        since: when they were promised; UTC.
        note: what was to be remembered with the promise.
    """

    key: str
    owner: str
    to: Destination
    shown: SentMessage | None
    since: datetime
    note: Mapping[str, Any]


@dataclass(slots=True, eq=False)
class _Entry:
    """Messages on their way, or promised.

    Attributes:
        id: names its record and its directory, and begins the messages' nonces.
        messages: with copies of their files; none before these are made.
        given: the messages as they were given.
        note: of a promise, as long as it is one.
        sent: those that are there, in order.
        recorded: whether the database knows of it, as it is now.
        over: whether nothing of it is to stay.
        writing: held while the database is told of it.
        resumed: whether it was begun by an earlier run of the program.
        parted: of which delivery, and of which of its messages, these are the files: they are sent
            once that one goes without them.
    """

    id: str
    owner: str
    to: Destination
    messages: tuple[OutgoingMessage, ...]
    replacing: SentMessage | None
    since: datetime
    sent: list[SentMessage] = field(default_factory=list)
    done: int = 0
    recorded: bool = False
    resumed: bool = False
    parted: tuple[str, int] | None = None
    over: bool = False
    given: tuple[OutgoingMessage, ...] = ()
    note: Mapping[str, Any] | None = None
    on_safe: OnSafe | None = None
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    task: "asyncio.Task[tuple[SentMessage, ...]] | None" = None


class Outbox:
    """Made by :meth:`open`."""

    def __init__(
        self,
        post: Post,
        *,
        records: RecordStore,
        directory: Path,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        """Use :meth:`open`."""
        self._post = post
        self._records = records
        self._directory = directory
        self._metrics = metrics
        self._now = now
        self._entries: dict[str, _Entry] = {}
        self._promises: dict[str, _Entry] = {}
        #: What isn't to be left half done, whoever waits for it.
        self._steps: set[asyncio.Task[None]] = set()
        self._unstruck: set[str] = set()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        post: Post,
        *,
        records: RecordStore,
        directory: Path,
        metrics: Metrics,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> AsyncIterator["Outbox"]:
        """Have an outbox until the context ends; then what isn't delivered stays written down.

        Args:
            post: sends single messages.
            records: where what is on its way is written down.
            directory: where files on their way are kept; made if it isn't there.
            metrics: where deliveries are counted.
            now: tells the time.
        """
        await asyncio.to_thread(_make_own, directory)
        outbox = cls(post, records=records, directory=directory, metrics=metrics, now=now)
        catching_up = asyncio.create_task(outbox._catch_up())
        try:
            yield outbox
        finally:
            catching_up.cancel()
            await asyncio.wait({catching_up})
            await outbox._close()

    @property
    def waiting(self) -> int:
        """How many deliveries aren't done."""
        return len(self._entries)

    async def resume(self) -> None:
        """Go on with what an earlier run of the program left; in the background."""
        try:
            found = await self._records.list(_KIND, limit=_MOST_RESUMED, newest_first=False)
        except DatabaseUnavailable as error:
            log.warning("outbox not read", reason=str(error))
            return
        read = [self._entry_of(record) for record in found if record.key not in self._entries]
        left = [entry for entry in read if entry is not None and entry.note is None]
        whole = {entry.id: entry for entry in left}
        # All of them before any is begun: one that is sent isn't whole any more.
        double = [entry for entry in left if _is_still_whole(entry, whole)]
        for entry in left:
            if entry not in double:
                self._begin(entry)
        for entry in double:
            await self._settle(entry)
        if self._entries:
            log.info("deliveries resumed", count=len(self._entries))
        if len(found) < _MOST_RESUMED:
            await asyncio.to_thread(self._remove_strays, {*self._entries})

    async def deliver(
        self,
        to: Destination,
        messages: Sequence[OutgoingMessage],
        *,
        replacing: SentMessage | None,
        owner: str,
        key: str | None = None,
        on_safe: OnSafe | None = None,
    ) -> tuple[SentMessage, ...]:
        """Send messages in order; see ``Delivery.deliver``. Goes on when the caller is cancelled.

        Raises:
            DeliveryFailed: Discord won't take them, or not in a day.
        """
        if to.user_id is None and owner.isdecimal():
            to = replace(to, user_id=int(owner))
        entry = self._promises.pop(key or "", None)
        if entry is None:
            entry = _Entry(key or token_hex(_ID_BYTES), owner, to, (), replacing, self._now())
        entry.to, entry.replacing, entry.since = to, replacing, self._now()
        entry.given, entry.on_safe = tuple(messages), on_safe
        task = self._begin(entry)  # first: from here on it is nobody's to lose
        try:
            await asyncio.shield(self._take_step(self._make_room(owner)))
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and not _is_cancelled():
                raise DeliveryFailed("The answer was given up.", "dropped") from None
            raise

    async def forget(self, owner: str) -> None:
        """Give up what is on its way for a user, who wants everything deleted."""
        for entry in [e for e in self._promises.values() if e.owner == owner]:
            del self._promises[entry.id]
            await self._settle(entry)
        # Given up, one may leave another: files that were to follow their words.
        while mine := [entry for entry in self._entries.values() if entry.owner == owner]:
            await self._drop(mine)

    # -- promises --------------------------------------------------------------------------------

    async def promise(
        self, key: str, to: Destination, *, owner: str, note: Mapping[str, Any]
    ) -> None:
        """Write down that messages will come; see ``Delivery.promise``."""
        entry = _Entry(key, owner, to, (), None, self._now(), note=note)
        self._promises[key] = entry
        await self._record(entry)

    async def withdraw(self, key: str) -> None:
        """Have a promise forgotten that nothing is to be delivered for."""
        entry = self._promises.pop(key, None)
        if entry is not None:
            await self._settle(entry)

    def show(self, key: str, sent: SentMessage) -> None:
        """Remember with a promise, in the background, what is shown meanwhile."""
        entry = self._promises.get(key)
        if entry is not None:
            entry.replacing = sent
            self._record_soon(entry)

    def note(self, key: str, note: Mapping[str, Any]) -> None:
        """Remember something else with a promise, in the background."""
        entry = self._promises.get(key)
        if entry is not None:
            entry.note = note
            self._record_soon(entry)

    async def promised(self) -> tuple[Promised, ...]:
        """What earlier runs of the program promised and didn't come to write down; each once.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        found = await self._records.list(_KIND, limit=_MOST_RESUMED, newest_first=False)
        earlier: list[Promised] = []
        for record in found:
            if record.key in self._promises or record.key in self._entries:
                continue
            entry = self._entry_of(record)
            if entry is None or entry.note is None:
                continue
            self._promises[entry.id] = entry
            earlier.append(
                Promised(
                    key=entry.id,
                    owner=entry.owner,
                    to=entry.to,
                    shown=entry.replacing,
                    since=entry.since,
                    note=entry.note,
                )
            )
        return tuple(earlier)

    def _record_soon(self, entry: _Entry) -> "asyncio.Task[None]":
        return self._take_step(self._write_down(entry))

    def _take_step(self, step: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(step)
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)
        return task

    async def flush(self, timeout_s: float) -> int:
        """Wait for what is on its way; gives how many aren't done then."""
        tasks = [entry.task for entry in self._entries.values() if entry.task]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        return self.waiting

    # -- internals -------------------------------------------------------------------------------

    def _begin(self, entry: _Entry) -> "asyncio.Task[tuple[SentMessage, ...]]":
        self._entries[entry.id] = entry
        entry.task = asyncio.create_task(self._carry(entry))
        # Who asked may be gone, and then nobody asks how it ended: the log knows.
        entry.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return entry.task

    async def _carry(self, entry: _Entry) -> tuple[SentMessage, ...]:
        """See an entry through, whatever comes of it."""
        try:
            if not entry.resumed:
                entry.messages = await self._copied_files(entry.given, self._directory / entry.id)
                entry.note, entry.recorded = None, False
                await self._record(entry)
                if entry.recorded:
                    await self._told_safe(entry)
            while entry.done < len(entry.messages):
                await self._carry_next(entry)
        except DeliveryFailed as error:
            self._metrics.delivery("failed")
            log.warning("delivery failed", delivery=entry.id, detail=error.detail)
            await self._settle(entry)
            raise
        except asyncio.CancelledError:
            raise
        except Exception:
            self._metrics.delivery("failed")
            log.exception("delivery failed", delivery=entry.id)
            await self._settle(entry)
            raise
        self._metrics.delivery("delivered")
        await self._settle(entry)
        return tuple(entry.sent)

    async def _carry_next(self, entry: _Entry) -> None:
        try:
            await self._send_next(entry)
        except FilesLate:
            await self._let_words_go_first(entry)

    async def _let_words_go_first(self, entry: _Entry) -> None:
        """Take the next message's files out of it: they follow by themselves."""
        number = entry.done
        message = entry.messages[number]
        log.warning("files delayed", delivery=entry.id, count=len(message.attachments))
        alone = replace(message, content="", buttons=())
        files = _Entry(token_hex(_ID_BYTES), entry.owner, entry.to, (), None, self._now())
        files.parted = entry.id, number
        directory = self._directory / files.id
        try:
            files.messages = await self._copied_files((alone,), directory)
            await self._record(files)
        except BaseException:  # the message still has them, unless that is given up as well
            await self._settle(files)
            raise
        words = without_files(message, "Discord can't take files just now; these follow later")
        entry.messages = (*entry.messages[:number], words, *entry.messages[number + 1 :])
        files.resumed = True  # as far as it goes: written down, with copies of its files
        try:
            await self._record(entry)
        finally:
            self._begin(files)

    async def _send_next(self, entry: _Entry) -> None:
        number = entry.done
        message = entry.messages[number]
        left_s = (entry.since + _KEPT - self._now()).total_seconds()
        if left_s <= 0:
            raise DeliveryLate("Discord didn't take the answer for a day.", "too old")
        sent = None
        if number == 0 and entry.replacing is not None:
            sent = await self._replaced(entry.replacing, message, left_s)
        if sent is None:
            sent = await self._post.send(
                entry.to,
                message,
                nonce=f"{entry.id}-{number}",
                patience_s=left_s,
                first_try=entry.since if entry.resumed else None,
            )
            if number == 0 and entry.replacing is not None:
                await self._post.delete(entry.replacing)
        entry.sent.append(sent)
        entry.done += 1
        if entry.done < len(entry.messages):
            await self._record(entry)

    async def _replaced(
        self, there: SentMessage, message: OutgoingMessage, left_s: float
    ) -> SentMessage | None:
        """The message in the place of another one; None where it has to be sent by itself."""
        try:
            return await self._post.edit(there, message, patience_s=left_s)
        except FilesLate:
            raise
        except DeliveryFailed as error:
            log.info("message not replaced", message_id=there.message_id, reason=error.detail)
            return None

    async def _copied_files(
        self, messages: Sequence[OutgoingMessage], directory: Path
    ) -> tuple[OutgoingMessage, ...]:
        """The messages with copies of their files; cancelled, it is over once nothing is copied.

        A thread can't be stopped, and would make anew what is removed meanwhile.
        """
        copying = asyncio.ensure_future(asyncio.to_thread(_spooled, messages, directory))
        try:
            return await asyncio.shield(copying)
        finally:
            await asyncio.wait({copying})

    async def _record(self, entry: _Entry) -> None:
        """Write down what is still to be done; goes on when the caller is cancelled.

        Given up half-way, the database might come to it after it was told to delete it.
        """
        await asyncio.shield(self._record_soon(entry))

    async def _write_down(self, entry: _Entry) -> None:
        """Tell the database; without one it is done all the same."""
        async with entry.writing:
            if entry.over or not (entry.messages or entry.note is not None):
                return
            kept = _KEPT if entry.note is None else _PROMISE_KEPT
            try:
                async with asyncio.timeout(_RECORDING_S):
                    await self._records.put(
                        _KIND,
                        entry.id,
                        _written(entry),
                        owner=entry.owner,
                        expires_at=entry.since + kept,
                    )
                entry.recorded = True
            except (DatabaseUnavailable, InvalidRecord, TimeoutError) as error:
                entry.recorded = False  # what it knows, if anything, is out of date
                log.warning("delivery not recorded", delivery=entry.id, reason=str(error))

    async def _settle(self, entry: _Entry) -> None:
        """It is over: nothing of it stays."""
        async with entry.writing:
            entry.over = True
            # Perhaps it is there even if nobody said so.
            self._unstruck.add(entry.id)
            await self._strike_off()
        await self._told_safe(entry)
        await asyncio.to_thread(shutil.rmtree, self._directory / entry.id, True)
        self._entries.pop(entry.id, None)

    async def _told_safe(self, entry: _Entry) -> None:
        """Tell, once, that what was given can't be lost any more."""
        on_safe, entry.on_safe = entry.on_safe, None
        if on_safe is not None:
            try:
                await on_safe()
            except Exception:  # the messages are safe all the same
                log.exception("who delivers could not be told", delivery=entry.id)

    async def _strike_off(self) -> None:
        """Remove the records of what is over, as far as there is a database."""
        for delivery_id in list(self._unstruck):
            try:
                async with asyncio.timeout(_RECORDING_S):
                    await self._records.delete(_KIND, delivery_id)
                self._unstruck.discard(delivery_id)
            except (DatabaseUnavailable, TimeoutError) as error:
                # It expires; and a restart before finds that its messages are there.
                log.warning("delivery not struck off", delivery=delivery_id, reason=str(error))
                return

    async def _catch_up(self) -> None:
        """Tell the database what it couldn't be told while it was away."""
        while True:
            await asyncio.sleep(_CATCHING_UP_S)
            for entry in [*self._promises.values(), *self._entries.values()]:
                if not entry.recorded:
                    await self._record(entry)
            await self._strike_off()

    async def _make_room(self, owner: str) -> None:
        mine = [entry for entry in self._entries.values() if entry.owner == owner]
        await self._drop(mine[: max(0, len(mine) - _MOST_FOR_ONE)])

    async def _drop(self, entries: Sequence[_Entry]) -> None:
        for entry in entries:
            log.warning("delivery dropped", delivery=entry.id, owner=entry.owner)
            self._metrics.delivery("dropped")
            if entry.task is not None:
                entry.task.cancel()
                await asyncio.wait({entry.task})
            await self._settle(entry)

    def _remove_strays(self, known: set[str]) -> None:
        """Files of deliveries that nobody knows of any more."""
        for path in self._directory.iterdir():
            if path.name not in known and path.stat().st_mtime < self._now().timestamp() - 3600:
                shutil.rmtree(path, ignore_errors=True)

    async def _close(self) -> None:
        # Given up, one may leave another: files that were to follow their words.
        while tasks := [e.task for e in self._entries.values() if e.task and not e.task.done()]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if self._steps:  # short, and a promise is to be found after the restart
            await asyncio.wait(self._steps)

    def _entry_of(self, record: Record) -> _Entry | None:
        """What a record of an earlier run says; None if that can't be read."""
        try:
            return _read(record.key, record.owner or "", record.value, self._directory)
        except (KeyError, TypeError, ValueError):
            log.exception("outbox record unreadable", delivery=record.key)
            return None


def _is_still_whole(files: _Entry, left: Mapping[str, _Entry]) -> bool:
    """Whether files that were to follow their words are still with them: an earlier run of the
    program came to write down that they follow, and was killed before it took them out.

    Args:
        files: perhaps such.
        left: what that run left, by id.
    """
    if files.parted is None:
        return False
    delivery_id, number = files.parted
    of = left.get(delivery_id)
    return (
        of is not None
        and of.done <= number < len(of.messages)
        and bool(of.messages[number].attachments)
    )


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


# --- files on their way -----------------------------------------------------------------------


def _make_own(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)


def _spooled(messages: Sequence[OutgoingMessage], directory: Path) -> tuple[OutgoingMessage, ...]:
    """The messages with copies of their files, that nobody changes or removes meanwhile.

    A file that is gone already is named instead.
    """
    # What a run left that was killed while it copied: the copies are made anew, or refused.
    shutil.rmtree(directory, ignore_errors=True)
    return tuple(
        _spooled_message(message, directory, number) for number, message in enumerate(messages)
    )


def _spooled_message(message: OutgoingMessage, directory: Path, number: int) -> OutgoingMessage:
    kept: list[Attachment] = []
    missing: list[str] = []
    for index, attachment in enumerate(message.attachments):
        target = directory / f"{number}-{index}"
        try:
            source = _opened(attachment.source)
        except OSError as error:
            log.warning("attachment gone", reason=error.strerror)
            missing.append(attachment.filename)
            continue
        with source:
            kept.append(_copied(attachment, source, target))
    return replace(message, attachments=tuple(kept), content=_naming(message.content, missing))


def _opened(source: bytes | Path) -> BinaryIO:
    if isinstance(source, bytes):
        return BytesIO(source)
    # No link is followed, and no pipe waited for, should somebody have put one there.
    number = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(number).st_mode):
        return open(number, "rb")
    os.close(number)
    raise OSError(errno.EINVAL, "not a regular file")


def _copied(attachment: Attachment, source: BinaryIO, target: Path) -> Attachment:
    """The attachment with its file copied; as it was, where there is no room for a copy."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        with open(os.open(target, flags, 0o600), "wb") as out:
            shutil.copyfileobj(source, out)
            size = out.tell()
    except OSError as error:
        log.warning("attachment not copied", reason=error.strerror)
        target.unlink(missing_ok=True)
        return attachment
    return replace(attachment, source=target, size=size)


def _naming(content: str, missing: Sequence[str]) -> str:
    if not missing:
        return content
    names = ", ".join(f"`{name.replace('`', chr(39))}`" for name in missing)
    named = f"{content}\nNo longer there: {names}.".strip()
    return named if len(named) <= MESSAGE_CHARS else content


# --- as records -------------------------------------------------------------------------------


def _written(entry: _Entry) -> dict[str, Any]:
    return {
        "to": _written_place(entry.to),
        "replacing": entry.replacing and _written_sent(entry.replacing),
        "since": entry.since,
        "done": entry.done,
        "messages": [_written_message(message) for message in entry.messages],
        "promise": entry.note,
        "parted": entry.parted and [*entry.parted],
    }


def _written_place(to: Destination) -> dict[str, Any]:
    return {
        "channel_id": str(to.channel_id),
        "guild_id": to.guild_id and str(to.guild_id),
        "reply_to": to.reply_to and str(to.reply_to),
        "user_id": to.user_id and str(to.user_id),
        "attachment_bytes": to.attachment_bytes,
        "pings": to.pings,
        # What was for one person's eyes must not come up in the channel after a restart.
        "private": to.is_private,
    }


def _written_sent(sent: SentMessage) -> dict[str, Any]:
    return {
        "channel_id": str(sent.channel_id),
        "message_id": str(sent.message_id),
        "to": _written_place(sent.destination),
    }


def _written_message(message: OutgoingMessage) -> dict[str, Any]:
    return {
        "content": message.content,
        "buttons": [
            {"label": b.label, "custom_id": b.custom_id, "style": b.style} for b in message.buttons
        ],
        "attachments": [
            {
                "filename": a.filename,
                "name": a.source.name if isinstance(a.source, Path) else "",
                "size": a.size,
                "alt": a.alt,
                "file_id": a.file_id,
            }
            for a in message.attachments
        ],
    }


def _read(delivery_id: str, owner: str, value: Mapping[str, Any], directory: Path) -> _Entry:
    """An entry as an earlier run wrote it down.

    Raises:
        KeyError, TypeError, ValueError: it isn't one.
    """
    to, private = _read_place(value["to"])
    replacing = value["replacing"]
    note = value.get("promise")
    messages = (_read_message(m, directory / delivery_id) for m in value["messages"])
    parted = value.get("parted")
    return _Entry(
        delivery_id,
        owner,
        # Only the person is left to send it to: their interaction's token wasn't written down.
        replace(to, interaction=_over()) if private else to,
        tuple(messages),
        _read_sent(replacing) if replacing and not private else None,
        value["since"],
        done=int(value["done"]),
        recorded=True,
        resumed=note is None,
        note=note,
        parted=(str(parted[0]), int(parted[1])) if parted else None,
    )


def _over() -> InteractionRef:
    """An interaction that can't be answered any more, of a person whose eyes alone were meant."""
    return InteractionRef(0, "", datetime.min.replace(tzinfo=UTC), ephemeral=True)


def _read_place(value: Mapping[str, Any]) -> tuple[Destination, bool]:
    place = Destination(
        channel_id=int(value["channel_id"]),
        guild_id=_optional_id(value["guild_id"]),
        reply_to=_optional_id(value["reply_to"]),
        attachment_bytes=int(value["attachment_bytes"]),
        user_id=_optional_id(value["user_id"]),
        pings=bool(value["pings"]),
    )
    return place, bool(value["private"])


def _read_sent(value: Mapping[str, Any]) -> SentMessage:
    place, _ = _read_place(value["to"])
    return SentMessage(int(value["channel_id"]), int(value["message_id"]), place)


def _read_message(value: Mapping[str, Any], directory: Path) -> OutgoingMessage:
    attachments: list[Attachment] = []
    missing: list[str] = []
    for item in value["attachments"]:
        path = directory / (Path(item["name"]).name or "none")
        if path.is_file():
            attachments.append(
                Attachment(item["filename"], path, int(item["size"]), item["alt"], item["file_id"])
            )
        else:
            missing.append(item["filename"])
    buttons = (Button(b["label"], b["custom_id"], b["style"]) for b in value["buttons"])
    content = _naming(value["content"], missing)
    return OutgoingMessage(content, tuple(attachments), tuple(buttons))


def _optional_id(value: str | None) -> int | None:
    return int(value) if value else None
