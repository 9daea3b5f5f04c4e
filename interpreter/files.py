"""FileStore: the files users keep. Bytes on disk, everything else in MongoDB."""

import asyncio
import math
import os
import secrets
import time
import unicodedata
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterator,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar
from weakref import WeakValueDictionary

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from interpreter.data_directory import prepare_data_directory
from interpreter.database import database_address, one_call, unavailable
from interpreter.documents import FileStoreDocument, StoredFileDocument, bind
from interpreter.errors import (
    DataDirectoryUnusable,
    FileTooLarge,
    InvalidName,
    StorageFailed,
    StoredFileNotFound,
    UnusableSource,
)
from interpreter.logs import get_logger
from interpreter.settings import Settings
from interpreter.settled import settled
from interpreter.user_files import (
    FILE_ID,
    FILE_ID_ALPHABET,
    USER_ID,
    PartialFile,
    SourceFile,
    UserFiles,
)
from kernel_startup.types import type_of_name

__all__ = [
    "CleanUpReport",
    "FileEvent",
    "FileStore",
    "StoredFile",
    "check_user_id",
    "shown_name",
]

log = get_logger(__name__)

Origin = Literal["upload", "cell"]
T = TypeVar("T")

_PIECE_BYTES = 1 << 20
_MILLISECOND = timedelta(milliseconds=1)
# At least this long between looks at what has expired, however many files expire one by one.
_EXPIRY_PAUSE_S = 1.0
_OLDEST_FIRST = ("+uploaded_at", "+sequence")
_NEWEST_FIRST = ("-uploaded_at", "-sequence")
_MAX_NAME_CHARS = 255
_MAX_SUFFIX_CHARS = 16
# What a name is cut behind: ".gz" is worth keeping, the end of a sentence is not.
_MAX_KEPT_SUFFIX_CHARS = 32


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file a user keeps.

    Attributes:
        file_id: 12 characters that can't be guessed; means nothing without the user's id.
        user_id: Whose it is.
        filename: The name it was given, for people; never part of a path.
        file_type: Name of the type that its name tells, such as "csv"; "unknown" if it tells none.
        file_size: Size in bytes.
        file_path: Where the bytes are. Read-only for everybody but the store.
        uploaded_at: When it was saved, or last touched; UTC, in whole milliseconds.
        expires_at: From when on it is gone; None for never.
        sha256: Of the bytes, in hexadecimal.
        origin: Whether the user uploaded it or a cell made it.
    """

    file_id: str
    user_id: str
    filename: str
    file_type: str
    file_size: int
    file_path: Path
    uploaded_at: datetime
    expires_at: datetime | None
    sha256: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class FileEvent:
    """What became of a file: "saved", or "deleted" by a person, the cap or its expiry."""

    kind: Literal["saved", "deleted"]
    file: StoredFile


@dataclass(frozen=True, slots=True)
class CleanUpReport:
    """How many of what a clean-up found.

    Attributes:
        expired: Files whose time was over; removed.
        evicted: Files beyond the cap, which was lowered, or missed in a crash; removed.
        records_without_bytes: Records of files that are no longer on disk; removed.
        bytes_without_record: Files on disk that no record knows; removed.
        unfinished: Files whose saving was cut short; removed.
        updated: Records brought up to date with the settings.
        strays: What is in the directory but isn't ours; left alone.
    """

    expired: int = 0
    evicted: int = 0
    records_without_bytes: int = 0
    bytes_without_record: int = 0
    unfinished: int = 0
    updated: int = 0
    strays: int = 0

    def __add__(self, other: "CleanUpReport") -> "CleanUpReport":
        mine, theirs = asdict(self), asdict(other)
        return CleanUpReport(**{name: mine[name] + theirs[name] for name in mine})


def check_user_id(user_id: str) -> None:
    """Make sure that something has the form of a user's id.

    Raises:
        InvalidName: It hasn't.
    """
    if not isinstance(user_id, str) or not USER_ID.fullmatch(user_id):
        reason = "a user's id has 1 to 64 characters, all of them letters, digits, _ or -"
        raise InvalidName(str(user_id), reason)


def shown_name(filename: str) -> str:
    """A file's name as it is shown and recorded: as given, but on one line and of bounded length.

    Separators become "_", as do control characters, line breaks and halves of surrogate pairs,
    which no encoding takes. At most 255 characters remain, the suffix among them. (What is safe as
    a name *on disk* is a question of its own: see ``kernel_startup.types.safe_name``.)
    """
    kept = "".join(
        "_" if char in "/\\" or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") else char
        for char in filename
    )
    if not kept.strip():
        return "file"
    if len(kept) <= _MAX_NAME_CHARS:
        return kept
    suffix = os.path.splitext(kept)[1]
    if len(suffix) > _MAX_KEPT_SUFFIX_CHARS:
        suffix = ""
    return kept[: _MAX_NAME_CHARS - len(suffix)] + suffix


class FileStore:
    """The files users keep, each user's apart.

    At most ``max_files_per_user``, or as many as :meth:`set_max_files` says, of at most
    ``max_file_bytes`` each: one more, and the oldest goes. Older than the retention, and a file is
    gone for every reader at once. Stores that share a database and a directory get on with one
    another: what they agree on is in there, not here.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        files: UserFiles,
        records: type[StoredFileDocument],
        clock: Callable[[], datetime],
        checkpoint: Callable[[str], None],
    ) -> None:
        """Use ``open``."""
        self._settings = settings
        self._files = files
        self._records = records
        self._clock = clock
        self._checkpoint = checkpoint
        self._callbacks: list[Callable[[FileEvent], None]] = []
        # A lock lives as long as somebody holds it or waits for it.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._cleaning = asyncio.Lock()
        # Records whose insertion was not answered, and that may be there without their bytes.
        self._doubtful: dict[str, set[str]] = {}
        # As far as known; None for as many as everybody.
        self._max_files: dict[str, int | None] = {}
        self._last_sequence = 0
        self._known_strays = 0
        retention = settings.file_retention
        # In the milliseconds that times are recorded in.
        self._retention = retention and retention // _MILLISECOND * _MILLISECOND

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        *,
        database: AsyncDatabase[dict[str, Any]],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        checkpoint: Callable[[str], None] = lambda point: None,
    ) -> AsyncIterator["FileStore"]:
        """Open the store, clean it up, and keep it clean until the ``async with`` ends.

        Args:
            settings: Where the files are and what limits hold.
            database: Where they are recorded, from ``open_database``.
            clock: Tells the time, with a time zone.
            checkpoint: Called, in any thread, with the name of each point that a crash could make
                a difference at; what it raises is what happens there. For tests.

        Raises:
            DatabaseUnavailable: The database can't be used.
            DataDirectoryUnusable: The directory can't, or its files belong to another database.
        """
        files = UserFiles(settings.data_dir / "user_files")
        try:
            await asyncio.to_thread(prepare_data_directory, settings.data_dir)
            await asyncio.to_thread(files.prepare)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataDirectoryUnusable(settings.data_dir, reason) from error
        try:
            records = await bind(StoredFileDocument, database)
            await _check_same_database(settings, files, database)
        except PyMongoError as error:
            raise unavailable(settings, error) from error
        store = cls(settings, files=files, records=records, clock=clock, checkpoint=checkpoint)
        await store.clean_up()
        cleaning = asyncio.create_task(store._clean_up_regularly())
        try:
            yield store
        finally:
            cleaning.cancel()
            with suppress(asyncio.CancelledError):
                await cleaning

    # --- for users ---

    async def save(
        self,
        *,
        user_id: str,
        filename: str,
        source: bytes | Path | AsyncIterable[bytes],
        origin: Origin = "upload",
    ) -> StoredFile:
        """Store a file; at the cap, the user's oldest file goes.

        Nothing is left behind if this fails or is cancelled. Once the file is recorded it stays,
        also if the caller is cancelled while the oldest one is being removed.

        Args:
            user_id: Whose it will be.
            filename: Its name, for people; may be any text.
            source: The bytes; or a file, which may be a link to one; or pieces as they arrive.
            origin: Whether the user uploaded it or a cell made it.

        Raises:
            InvalidName: The user's id isn't one.
            FileTooLarge: It is larger than a file may be; nothing was evicted for it.
            UnusableSource: The path is not one of a file that can be read.
            StorageFailed: The disk refused, for instance because it is full.
            DatabaseUnavailable: It could not be recorded.
        """
        check_user_id(user_id)
        name = shown_name(filename)
        limit = self._settings.max_file_bytes
        if isinstance(source, bytes) and len(source) > limit:
            raise FileTooLarge(name, len(source), limit)
        file_id = "".join(secrets.choice(FILE_ID_ALPHABET) for _ in range(12))
        disk_name = file_id + _disk_suffix(name)
        partial = PartialFile(self._files, user_id, file_id, self._checkpoint)
        try:
            async with _pieces(source, name, limit) as pieces:
                await self._on_disk(name, partial.open)
                async for piece in pieces:
                    if partial.size + len(piece) > limit:
                        raise FileTooLarge(name, None, limit)
                    await self._on_disk(name, partial.write, piece)
            await self._on_disk(name, partial.finish, disk_name)
            async with self._lock(user_id):
                with self._database_errors():
                    own_cap = await self._own_cap(user_id)
                now, sequence = self._now(), self._next_sequence()
                record = self._records(
                    file_id=file_id,
                    user_id=user_id,
                    filename=name,
                    file_type=type_of_name(name).name,
                    file_size=partial.size,
                    file_path=str(self._files.path(user_id, disk_name)),
                    uploaded_at=now,
                    sequence=sequence,
                    expires_at=self._expiry(now),
                    sha256=partial.sha256,
                    origin=origin,
                    max_files=own_cap,
                )
                with one_call():
                    await self._record(record)
                partial.release()
                return await settled(self._after_save(record))
        except BaseException:
            await settled(asyncio.to_thread(partial.discard))
            raise

    async def list(self, *, user_id: str) -> tuple[StoredFile, ...]:
        """A user's files, the oldest first.

        Raises:
            InvalidName: The user's id isn't one.
            DatabaseUnavailable: The database can't be used.
        """
        return await self._find({"user_id": user_id})

    async def find(self, *, user_id: str, sha256: str) -> tuple[StoredFile, ...]:
        """A user's files with these very bytes, the oldest first.

        Raises:
            InvalidName: The user's id isn't one.
            DatabaseUnavailable: The database can't be used.
        """
        return await self._find({"user_id": user_id, "sha256": sha256})

    async def get(self, *, user_id: str, file_id: str) -> StoredFile:
        """One of a user's files.

        Raises:
            InvalidName: The user's id isn't one.
            StoredFileNotFound: This user has no such file, or no longer.
            DatabaseUnavailable: The database can't be used.
        """
        wanted = self._one(user_id, file_id)
        with self._database_errors():
            return self._found(await self._records.find_one(wanted), file_id)

    async def delete(self, *, user_id: str, file_id: str) -> StoredFile:
        """Remove one of a user's files for good; gives what it was.

        Raises:
            InvalidName: The user's id isn't one.
            StoredFileNotFound: This user has no such file, or no longer.
            DatabaseUnavailable: The database can't be used.
        """
        wanted = self._one(user_id, file_id)
        async with self._lock(user_id):
            with self._database_errors():
                record = await self._records.find_one(wanted)
                file = self._found(record, file_id)
                if record is None or not await settled(self._remove(record)):
                    raise StoredFileNotFound(file_id)
        return file

    async def touch(self, *, user_id: str, file_id: str) -> StoredFile:
        """Make a file the user's newest, as if it had been saved just now.

        Raises:
            InvalidName: The user's id isn't one.
            StoredFileNotFound: This user has no such file, or no longer.
            DatabaseUnavailable: The database can't be used.
        """
        wanted = self._one(user_id, file_id)
        async with self._lock(user_id):
            now, sequence = self._now(), self._next_sequence()
            with self._database_errors():
                change = {
                    "uploaded_at": now,
                    "sequence": sequence,
                    "expires_at": self._expiry(now),
                    "max_files": await self._own_cap(user_id),
                }
                changed = await self._records.get_pymongo_collection().update_one(
                    wanted, {"$set": change}
                )
                if not changed.matched_count:
                    raise StoredFileNotFound(file_id)
                return self._found(await self._records.find_one(wanted), file_id)

    async def delete_all(self, *, user_id: str) -> int:
        """Remove all of a user's files for good, the bytes with them; gives how many there were.

        What is being saved at this moment is saved after that.

        Raises:
            InvalidName: The user's id isn't one.
            StorageFailed: The disk refused to delete what is on it.
            DatabaseUnavailable: The database can't be used; some may be removed.
        """
        check_user_id(user_id)
        async with self._lock(user_id):
            with self._database_errors():
                found = self._records.find({"user_id": user_id}).sort(*_OLDEST_FIRST)
                records = await found.to_list()
                count = await self._remove_all(records)
            try:
                entries = await asyncio.to_thread(self._files.entries, user_id)
                left = [*entries.complete, *entries.partial]
                await self._delete_orphans(user_id, left)
                await asyncio.to_thread(self._files.delete_directory_if_empty, user_id)
            except OSError as error:
                raise StorageFailed.from_os_error("of the user", error) from error
        return count

    def set_max_files(self, *, user_id: str, max_files: int | None) -> None:
        """Have a user keep at most so many files, from the next save on.

        Args:
            user_id: Whose files.
            max_files: How many; None for as many as everybody.
        """
        check_user_id(user_id)
        self._max_files[user_id] = max_files

    # --- for those who follow ---

    def subscribe(self, callback: Callable[[FileEvent], None]) -> None:
        """Have every change told, after it is committed; also what the clean-up removes.

        The callback is called in the event loop and must not block.
        """
        self._callbacks.append(callback)

    def unsubscribe(self, callback: Callable[[FileEvent], None]) -> None:
        """Have changes no longer told; does nothing for one who wasn't told them."""
        with suppress(ValueError):
            self._callbacks.remove(callback)

    # --- keeping order ---

    async def clean_up(self) -> CleanUpReport:
        """Remove what is expired, beyond the cap, unfinished or orphaned. Runs by itself, too.

        What is being saved at this moment is left alone, and so is everything that isn't ours. A
        user whose files can't be cleaned up doesn't keep the others' from it.

        Raises:
            DatabaseUnavailable: The database can't be used.
        """
        async with self._cleaning:
            with self._database_errors():
                recorded = await self._records.get_pymongo_collection().distinct("user_id")
            on_disk, strays = await asyncio.to_thread(self._files.users)
            report = CleanUpReport(strays=len(strays))
            for user_id in sorted({*recorded, *on_disk}):
                try:
                    async with self._lock(user_id):
                        report += await self._clean_up_user(user_id)
                except OSError as error:
                    log.error("files of a user not cleaned up", user_id=user_id, reason=str(error))
        if replace(report, strays=0) != CleanUpReport():
            log.info("files cleaned up", **asdict(report))
        if report.strays != self._known_strays:
            # Once, not at every pass.
            self._known_strays = report.strays
            log.warning("entries in user_files that are not ours", count=report.strays)
        return report

    async def _clean_up_regularly(self) -> None:
        """Clean up once in each interval, and in between remove files as they expire."""
        now = asyncio.get_running_loop().time
        clean_up_at = now() + self._settings.cleanup_interval_s
        while True:
            clean_up_due = now() >= clean_up_at
            pause_s = math.inf
            try:
                if clean_up_due:
                    await self.clean_up()
                pause_s = await self._remove_expired()
            except Exception:
                log.exception("files not cleaned up")
            if clean_up_due:
                clean_up_at = now() + self._settings.cleanup_interval_s
            await asyncio.sleep(min(pause_s, clean_up_at - now()))

    async def _remove_expired(self) -> float:
        """Remove the files whose time is over; gives after how many seconds to look again.

        No reader finds them any more, but followers, and through them kernels, have to be told.
        """
        if self._retention is None:
            return math.inf
        now = self._now()
        with self._database_errors():
            # Settled: a store that is closed at once would cancel it while it connects.
            oldest = await settled(self._records.find().sort(*_OLDEST_FIRST).first_or_none())
            # What is saved from now on expires no sooner than a retention from now.
            wait = self._retention
            if oldest is not None:
                wait = min(wait, oldest.uploaded_at + self._retention - now)
            if wait > timedelta():
                return max(wait.total_seconds(), _EXPIRY_PAUSE_S)
            # Not $lte: by an index, the embedded server (secantusdb 0.6) misses what is equal.
            over = {"uploaded_at": {"$lt": now - self._retention + _MILLISECOND}}
            count = 0
            for user_id in await self._records.get_pymongo_collection().distinct("user_id", over):
                # Read under the lock: until then, one that was just in time may have been touched.
                async with self._lock(user_id):
                    expired = await self._records.find({"user_id": user_id, **over}).to_list()
                    count += await self._remove_all(expired)
        log.info("expired files removed", count=count)
        return _EXPIRY_PAUSE_S

    async def _clean_up_user(self, user_id: str) -> CleanUpReport:
        # In this order: a file that is recorded now was on disk before it was recorded.
        with self._database_errors():
            records = await self._records.find({"user_id": user_id}).sort(*_OLDEST_FIRST).to_list()
        entries = await asyncio.to_thread(self._files.entries, user_id)
        now = self._now()
        expired = [record for record in records if self._is_expired(record, now)]
        fresh = records[len(expired) :]
        with self._database_errors():
            kept = fresh[-await self._cap(user_id) :]
        evicted = fresh[: len(fresh) - len(kept)]
        lost, updated = 0, 0
        with self._database_errors():
            expired_count = await self._remove_all(expired)
            evicted_count = await self._remove_all(evicted)
            for record in kept:
                path = await asyncio.to_thread(self._path_of, record, entries.complete)
                if path is None:
                    lost += await settled(self._remove(record))
                elif await self._bring_up_to_date(record, path):
                    updated += 1
        known = {record.file_id for record in records}
        orphans = [name for name, file_id in entries.complete.items() if file_id not in known]
        report = CleanUpReport(
            expired=expired_count,
            evicted=evicted_count,
            records_without_bytes=lost,
            bytes_without_record=await self._delete_orphans(user_id, orphans),
            unfinished=await self._delete_orphans(user_id, entries.partial),
            updated=updated,
            strays=len(entries.strays),
        )
        if not kept:
            await asyncio.to_thread(self._files.delete_directory_if_empty, user_id)
        return report

    def _is_expired(self, record: StoredFileDocument, now: datetime) -> bool:
        expiry = self._expiry(record.uploaded_at)
        return expiry is not None and expiry <= now

    async def _remove_all(self, records: Sequence[StoredFileDocument]) -> int:
        return sum([await settled(self._remove(record)) for record in records])

    def _path_of(self, record: StoredFileDocument, complete: dict[str, str]) -> Path | None:
        """Where a record's bytes are; None if they are nowhere."""
        path = Path(record.file_path)
        if path.name in complete:
            # Also after the whole data directory was moved.
            return self._files.path(record.user_id, path.name)
        if self._files.owns(path, record.user_id):
            return None
        # Of a data directory used earlier, and still good.
        return path if path.is_file() else None

    async def _bring_up_to_date(self, record: StoredFileDocument, path: Path) -> bool:
        change: dict[str, Any] = {
            "expires_at": self._expiry(record.uploaded_at),
            "file_path": str(path),
        }
        if all(getattr(record, field) == value for field, value in change.items()):
            return False
        await self._records.get_pymongo_collection().update_one(
            {"_id": record.id, "uploaded_at": record.uploaded_at}, {"$set": change}
        )
        return True

    async def _delete_orphans(self, user_id: str, names: Sequence[str]) -> int:
        """Delete what no record knows and nobody is at work on."""
        count = 0
        for name in names:
            file_id = name.lstrip(".").partition(".")[0]
            with self._files.claimed(user_id, name) as claimed:
                if not claimed:
                    continue
                with self._database_errors():
                    # Again: it may have been recorded after the records were read.
                    if await self._records.find_one({"user_id": user_id, "file_id": file_id}):
                        continue
                count += await asyncio.to_thread(self._files.delete, user_id, name)
        return count

    # --- internals ---

    def _lock(self, user_id: str) -> asyncio.Lock:
        return self._locks.setdefault(user_id, asyncio.Lock())

    def _now(self) -> datetime:
        # MongoDB keeps milliseconds: what is returned now has to equal what is read later.
        now = self._clock().astimezone(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def _next_sequence(self) -> int:
        # From the clock, so that it goes on rising after a restart.
        self._last_sequence = max(self._last_sequence + 1, time.time_ns())
        return self._last_sequence

    def _expiry(self, uploaded_at: datetime) -> datetime | None:
        return None if self._retention is None else uploaded_at + self._retention

    def _not_expired(self) -> dict[str, Any]:
        if self._retention is None:
            return {}
        return {"uploaded_at": {"$gt": self._now() - self._retention}}

    def _one(self, user_id: str, file_id: str) -> dict[str, Any]:
        """A query for one file of one user that hasn't expired."""
        check_user_id(user_id)
        if not isinstance(file_id, str) or not FILE_ID.fullmatch(file_id):
            raise StoredFileNotFound(str(file_id))
        return {"user_id": user_id, "file_id": file_id, **self._not_expired()}

    async def _find(self, query: dict[str, Any]) -> tuple[StoredFile, ...]:
        check_user_id(query["user_id"])
        with self._database_errors():
            await self._remove_doubtful(query["user_id"])
            # The newest, as many as may be kept: nobody sees one more while the oldest is removed.
            records = (
                await self._records.find({**query, **self._not_expired()})
                .sort(*_NEWEST_FIRST)
                .limit(await self._cap(query["user_id"]))
                .to_list()
            )
        return tuple(self._stored_file(record) for record in reversed(records))

    async def _own_cap(self, user_id: str) -> int | None:
        """How many files this user may keep; None for as many as everybody."""
        if user_id not in self._max_files:
            newest = self._records.find({"user_id": user_id}).sort(*_NEWEST_FIRST)
            record = await newest.first_or_none()
            self._max_files.setdefault(user_id, record and record.max_files)
        return self._max_files[user_id]

    async def _cap(self, user_id: str) -> int:
        return await self._own_cap(user_id) or self._settings.max_files_per_user

    def _found(self, record: StoredFileDocument | None, file_id: str) -> StoredFile:
        if record is None:
            raise StoredFileNotFound(file_id)
        return self._stored_file(record)

    def _stored_file(self, record: StoredFileDocument) -> StoredFile:
        uploaded_at = record.uploaded_at.astimezone(UTC)
        return StoredFile(
            file_id=record.file_id,
            user_id=record.user_id,
            filename=record.filename,
            file_type=record.file_type,
            file_size=record.file_size,
            file_path=Path(record.file_path),
            uploaded_at=uploaded_at,
            expires_at=self._expiry(uploaded_at),
            sha256=record.sha256,
            origin=record.origin,
        )

    async def _on_disk(self, name: str, call: Callable[..., T], *arguments: Any) -> T:
        """Call something that blocks; a cancelled caller waits until it is done."""
        try:
            return await settled(asyncio.to_thread(call, *arguments))
        except OSError as error:
            raise StorageFailed.from_os_error(name, error) from error

    async def _record(self, record: StoredFileDocument) -> None:
        """Record a file, or leave no record at all."""
        self._checkpoint("recording")
        try:
            with self._database_errors():
                await settled(record.insert())
        except BaseException:
            # Cancelled, or the answer was lost: the record may be there.
            self._doubtful.setdefault(record.user_id, set()).add(record.file_id)
            with suppress(PyMongoError):
                await settled(self._remove_doubtful(record.user_id))
            raise
        self._checkpoint("recorded")

    async def _remove_doubtful(self, user_id: str) -> None:
        """Remove records that nobody may find: what they tell of was not saved."""
        doubtful = self._doubtful.get(user_id)
        if doubtful:
            wanted = {"user_id": user_id, "file_id": {"$in": sorted(doubtful)}}
            await self._records.get_pymongo_collection().delete_many(wanted)
            self._doubtful.pop(user_id, None)

    async def _after_save(self, record: StoredFileDocument) -> StoredFile:
        file = self._stored_file(record)
        self._tell("saved", file)
        try:
            surplus = (
                await self._records.find({"user_id": record.user_id})
                .sort(*_NEWEST_FIRST)
                .skip(await self._cap(record.user_id))
                .to_list()
            )
            await self._remove_all(surplus)
        except PyMongoError as error:
            # The file is saved. Readers see no more files than may be; the clean-up removes them.
            log.warning("oldest file not evicted", user_id=file.user_id, reason=str(error))
        return file

    async def _remove(self, record: StoredFileDocument) -> bool:
        """Remove a file, its record first; False if somebody else did."""
        result = await record.delete()
        if result is None or not result.deleted_count:
            return False
        self._checkpoint("record deleted")
        path = Path(record.file_path)
        try:
            if self._files.owns(path, record.user_id):
                await asyncio.to_thread(self._files.delete, record.user_id, path.name)
            else:
                log.warning("file of another directory left on disk", path=str(path))
        except OSError as error:
            # No reader finds it any more; the clean-up tries again.
            log.warning("file left on disk", file_id=record.file_id, reason=str(error))
        self._tell("deleted", self._stored_file(record))
        return True

    def _tell(self, kind: Literal["saved", "deleted"], file: StoredFile) -> None:
        for callback in tuple(self._callbacks):
            try:
                callback(FileEvent(kind, file))
            except Exception:
                log.exception("a follower of files failed", file_id=file.file_id)

    @contextmanager
    def _database_errors(self) -> Iterator[None]:
        try:
            yield
        except PyMongoError as error:
            raise unavailable(self._settings, error) from error


def _disk_suffix(name: str) -> str:
    suffix = os.path.splitext(name)[1].lower()
    plain = suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) <= _MAX_SUFFIX_CHARS
    return suffix if plain else ""


async def _check_same_database(
    settings: Settings, files: UserFiles, database: AsyncDatabase[dict[str, Any]]
) -> None:
    """Make sure that these files are recorded in this database.

    With another one, and be it for a slip of the pen in its name, every file would be bytes without
    a record, and the clean-up would delete them all.
    """
    stores = await bind(FileStoreDocument, database)
    marker = await asyncio.to_thread(files.marker)
    if marker is not None:
        if await stores.find_one({"mark": marker}):
            return
        users, _ = await asyncio.to_thread(files.users)
        if users:
            reason = (
                f"the files in {str(files.root)!r} are recorded in another database than "
                f"{settings.mongodb_database!r} of {database_address(settings)}; correct "
                "MONGODB_URI and MONGODB_DATABASE, or remove that directory to start without them"
            )
            raise DataDirectoryUnusable(settings.data_dir, reason)
    marker = secrets.token_hex(16)
    await stores(mark=marker).insert()
    await asyncio.to_thread(files.set_marker, marker)


@asynccontextmanager
async def _pieces(
    source: bytes | Path | AsyncIterable[bytes], name: str, limit: int
) -> AsyncIterator[AsyncIterator[bytes]]:
    """The bytes of a source in pieces of a size worth a trip to another thread."""
    if isinstance(source, bytes):
        async with aclosing(_pieces_of_bytes(source)) as pieces:
            yield pieces
    elif isinstance(source, Path):
        file = SourceFile(source)
        try:
            size = await _from_source(source, file.open)
            if size > limit:
                raise FileTooLarge(name, size, limit)
            async with aclosing(_pieces_of_file(source, file)) as pieces:
                yield pieces
        finally:
            file.close()
    else:
        async with aclosing(_pieces_of_stream(source)) as pieces:
            yield pieces


async def _pieces_of_bytes(source: bytes) -> AsyncGenerator[bytes]:
    for start in range(0, len(source), _PIECE_BYTES):
        yield source[start : start + _PIECE_BYTES]


async def _pieces_of_file(path: Path, file: SourceFile) -> AsyncGenerator[bytes]:
    while piece := await _from_source(path, file.read, _PIECE_BYTES):
        yield piece


async def _from_source(path: Path, call: Callable[..., T], *arguments: Any) -> T:
    try:
        return await settled(asyncio.to_thread(call, *arguments))
    except OSError as error:
        raise UnusableSource(path, error.strerror or str(error)) from error
    except ValueError as error:
        raise UnusableSource(path, str(error)) from error


async def _pieces_of_stream(source: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    waiting = bytearray()
    iterator = aiter(source)
    try:
        async for piece in iterator:
            waiting += piece
            if len(waiting) >= _PIECE_BYTES:
                yield bytes(waiting)
                waiting.clear()
        if waiting:
            yield bytes(waiting)
    finally:
        # A generator that isn't read to its end would keep what it holds until it is collected.
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()
