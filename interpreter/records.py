"""RecordStore: what front ends keep. Conversations, choices, budgets, audits: named values.

A record is found by its kind and its key. It may belong to a user, with whom it is deleted, and may
expire: from that moment on it is gone for every reader, whatever the clean-up has got round to.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import bson
from pymongo import ASCENDING, DESCENDING, ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from interpreter.database import unavailable
from interpreter.documents import RecordDocument, bind
from interpreter.errors import DatabaseUnavailable, InvalidRecord
from interpreter.logs import get_logger
from interpreter.settings import Settings
from interpreter.settled import settled
from interpreter.user_files import USER_ID

__all__ = ["MAX_VALUE_BYTES", "Record", "RecordStore"]

log = get_logger(__name__)

Values: TypeAlias = AsyncCollection[dict[str, Any]]

#: Of one record's value, as MongoDB keeps it; MongoDB's own limit is 16 MB a document.
MAX_VALUE_BYTES = 4 << 20
_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
_MAX_KEY_CHARS = 256
_MAX_DEPTH = 32
_MAX_AMOUNTS = 32
_MOST_LISTED = 1000
_INT64 = 1 << 63
_MILLISECOND = timedelta(milliseconds=1)
_NEVER = datetime(9999, 12, 31, tzinfo=UTC)
#: Each round ends with the record changed, made by somebody else meanwhile, or expired and removed.
_MOST_ROUNDS = 10
# Source: MongoDB manual, "Error Codes".
_BAD_VALUE, _TYPE_MISMATCH = 2, 14


@dataclass(frozen=True, slots=True)
class Record:
    """Something that is kept.

    Attributes:
        kind: What sort of thing it is, such as "conversation".
        key: Its name among those of its kind.
        owner: Whose it is; None if it is nobody's.
        value: What is kept; lists for tuples, and times in UTC, in whole milliseconds.
        updated_at: When it was last changed; UTC. No two changes of one store share a time.
        expires_at: From when on it is gone; None for never.
    """

    kind: str
    key: str
    owner: str | None
    value: dict[str, Any]
    updated_at: datetime
    expires_at: datetime | None


class RecordStore:
    """Named values in the service's database. Made by :meth:`open`.

    Values are mappings with texts for keys; in them are None, booleans, whole numbers of 64 bits,
    floats, texts, bytes, times with a time zone, and lists, tuples and mappings of these.
    """

    def __init__(
        self, settings: Settings, collection: Values, clock: Callable[[], datetime]
    ) -> None:
        """Use :meth:`open`."""
        self._settings = settings
        self._collection = collection
        self._clock = clock
        self._last_change = datetime.min.replace(tzinfo=UTC)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        *,
        database: AsyncDatabase[dict[str, Any]],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> AsyncIterator["RecordStore"]:
        """Open the store, and remove what expires until the ``async with`` ends.

        Args:
            settings: How often to clean up.
            database: From ``open_database``.
            clock: Tells the time, with a time zone.

        Raises:
            DatabaseUnavailable: The database can't be used.
        """
        try:
            documents = await bind(RecordDocument, database)
        except PyMongoError as error:
            raise unavailable(settings, error) from error
        store = cls(settings, documents.get_pymongo_collection(), clock)
        await store.clean_up()
        cleaning = asyncio.create_task(store._clean_up_regularly())
        try:
            yield store
        finally:
            cleaning.cancel()
            with suppress(asyncio.CancelledError):
                await cleaning

    async def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """The value of a record; None if there is none, or none any more.

        Raises:
            InvalidRecord: No record can have such a kind or key.
            DatabaseUnavailable: The database can't be used.
        """
        wanted = _name(kind, key)
        with self._database_errors():
            found = await self._collection.find_one(wanted)
        if found is None or found["expires_at"] <= self._now():
            return None
        value: dict[str, Any] = _decoded(found["value"])
        return value

    async def put(
        self,
        kind: str,
        key: str,
        value: Mapping[str, Any],
        *,
        owner: str | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        """Keep a value, in place of the one there was, with its owner and expiry.

        Args:
            kind: What sort of thing it is: up to 32 small letters, digits and _.
            key: Its name among those of its kind: up to 256 characters that can be shown.
            value: What to keep; at most 4 MiB.
            owner: A user's id, for what is to be deleted with the user.
            expires_at: From when on it is gone; None for never.

        Raises:
            InvalidRecord: It can't be kept; says what is wrong.
            DatabaseUnavailable: The database can't be used; it may be kept or not.
        """
        wanted = _name(kind, key)
        change = {
            "value": _encoded_value(value),
            "owner": _checked_owner(owner),
            "expires_at": _NEVER if expires_at is None else _checked_time(expires_at),
            "updated_at": self._change_time(),
        }
        with self._database_errors():
            for _ in range(_MOST_ROUNDS):
                with suppress(DuplicateKeyError):  # two at once make it; one comes second
                    await self._collection.update_one(wanted, {"$set": change}, upsert=True)
                    return
            raise self._contended()

    async def add(
        self,
        kind: str,
        key: str,
        amounts: Mapping[str, int],
        *,
        owner: str | None = None,
        expires_at: datetime | None = None,
    ) -> dict[str, int]:
        """Add to the numbers of a record in one step; there are no others than those of before.

        Args:
            kind, key: As in :meth:`put`. Without such a record, all its numbers are 0.
            amounts: What to add to each number, negative ones to subtract; 1 to 32 of them.
            owner: Whose it is now; None leaves that as it is.
            expires_at: From when on it is gone; None leaves that as it is.

        Returns:
            The new totals of these numbers.

        Raises:
            InvalidRecord: A number isn't whole, gets too large, or is no number in the record.
            DatabaseUnavailable: The database can't be used; the amounts may be added or not.
        """
        wanted = _name(kind, key)
        given = {f"value.{_encoded_key(name)}": n for name, n in _checked_amounts(amounts)}
        optional = {
            "owner": _checked_owner(owner),
            "expires_at": None if expires_at is None else _checked_time(expires_at),
        }
        changed = {name: value for name, value in optional.items() if value is not None}
        update = {"$inc": given, "$set": {**changed, "updated_at": self._change_time()}}
        found = await self._upsert(wanted, update)
        value = _decoded(found["value"])
        return {name: int(value[name]) for name in amounts}

    async def delete(self, kind: str, key: str) -> bool:
        """Remove a record; False if there was none, or none any more.

        Raises:
            InvalidRecord: No record can have such a kind or key.
            DatabaseUnavailable: The database can't be used.
        """
        wanted = _name(kind, key)
        with self._database_errors():
            found = await self._collection.find_one_and_delete(wanted)
        return found is not None and bool(found["expires_at"] > self._now())

    async def list(
        self,
        kind: str,
        *,
        owner: str | None = None,
        limit: int = 100,
        newest_first: bool = True,
        before: datetime | None = None,
    ) -> tuple[Record, ...]:
        """The records of a kind, by the time of their last change.

        Args:
            kind: Of which kind.
            owner: Only those of this owner; None for everybody's.
            limit: At most so many, 1 to 1000.
            newest_first: Which come first, and so which are left out beyond the limit.
            before: Only those changed before this: ``updated_at`` of the last one gives what
                comes after it.

        Raises:
            InvalidRecord: There can be no such kind or owner.
            ValueError: The limit isn't from 1 to 1000.
            DatabaseUnavailable: The database can't be used.
        """
        if not 0 < limit <= _MOST_LISTED:
            raise ValueError(f"limit is {limit!r}, but it must be from 1 to {_MOST_LISTED}.")
        wanted: dict[str, Any] = {"kind": _checked_kind(kind)}
        if owner is not None:
            wanted["owner"] = _checked_owner(owner)
        if before is not None:
            wanted["updated_at"] = {"$lt": _up_to_milliseconds(before)}
        wanted["expires_at"] = {"$gt": self._now()}
        order = DESCENDING if newest_first else ASCENDING
        with self._database_errors():
            found = self._collection.find(wanted).sort("updated_at", order).limit(limit)
            return tuple(_record(document) for document in await found.to_list())

    async def delete_owner(self, owner: str) -> int:
        """Remove all records of an owner; gives how many there were.

        Raises:
            InvalidRecord: Nobody can have such an id.
            DatabaseUnavailable: The database can't be used; some may be removed.
        """
        wanted = {"owner": _checked_owner(owner)}
        with self._database_errors():
            return await self._delete_many(wanted)

    async def clean_up(self) -> int:
        """Remove what has expired; gives how many records that were. Runs by itself, too.

        Raises:
            DatabaseUnavailable: The database can't be used.
        """
        # Not $lte: by an index, the embedded server (secantusdb 0.6) misses what is equal.
        over = {"expires_at": {"$lt": self._now() + _MILLISECOND}}
        with self._database_errors():
            count: int = await settled(self._delete_many(over))
        if count:
            log.info("expired records removed", count=count)
        return count

    # -- internals -------------------------------------------------------------------------------

    async def _delete_many(self, wanted: dict[str, Any]) -> int:
        return (await self._collection.delete_many(wanted)).deleted_count

    async def _clean_up_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._settings.cleanup_interval_s)
            try:
                await self.clean_up()
            except DatabaseUnavailable as error:
                log.warning("expired records not removed", reason=str(error))

    async def _upsert(self, wanted: dict[str, str], update: dict[str, Any]) -> dict[str, Any]:
        """Change a record that hasn't expired, or make one, in one step for whoever looks at it.

        Measured with the embedded server: a find-and-modify that makes a record while another does
        gives nothing back although it is done. So the record is made first, without numbers, and
        without an expiry, which may be over already.
        """
        blank = {**update["$set"], "value": {}, "owner": None, "expires_at": _NEVER}
        with self._database_errors():
            for _ in range(_MOST_ROUNDS):
                now = self._now()
                try:
                    found = await self._collection.find_one_and_update(
                        {**wanted, "expires_at": {"$gt": now}},
                        update,
                        return_document=ReturnDocument.AFTER,
                    )
                except OperationFailure as error:
                    if error.code in (_BAD_VALUE, _TYPE_MISMATCH):
                        reason = "what is to be added to is no number, or gets too large"
                        raise InvalidRecord(reason) from error
                    raise
                if found is not None:
                    return found
                over = {**wanted, "expires_at": {"$lt": now + _MILLISECOND}}
                await self._collection.delete_one(over)
                with suppress(DuplicateKeyError):  # made at the same time
                    await self._collection.update_one(wanted, {"$setOnInsert": blank}, upsert=True)
            raise self._contended()

    def _contended(self) -> DatabaseUnavailable:
        return unavailable(self._settings, DuplicateKeyError("too many change one record at once"))

    def _now(self) -> datetime:
        return _up_to_milliseconds(self._clock())

    def _change_time(self) -> datetime:
        """The time for a change; later than that of every other, so that lists have no gaps."""
        self._last_change = max(self._now(), self._last_change + _MILLISECOND)
        return self._last_change

    @contextmanager
    def _database_errors(self) -> Iterator[None]:
        try:
            yield
        except PyMongoError as error:
            raise unavailable(self._settings, error) from error


def _record(document: Mapping[str, Any]) -> Record:
    expires_at = document["expires_at"].astimezone(UTC)
    return Record(
        kind=document["kind"],
        key=document["key"],
        owner=document["owner"],
        value=_decoded(document["value"]),
        updated_at=document["updated_at"].astimezone(UTC),
        expires_at=None if expires_at == _NEVER else expires_at,
    )


# --- what may be kept -------------------------------------------------------------------------


def _name(kind: str, key: str) -> dict[str, str]:
    """A query for one record."""
    if not isinstance(key, str) or not key.isprintable() or not 0 < len(key) <= _MAX_KEY_CHARS:
        raise InvalidRecord(f"a key has 1 to {_MAX_KEY_CHARS} characters that can be shown")
    return {"kind": _checked_kind(kind), "key": key}


def _checked_kind(kind: str) -> str:
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        reason = "a kind has 1 to 32 small letters, digits and _, and begins with a letter"
        raise InvalidRecord(reason)
    return kind


def _checked_owner(owner: str | None) -> str | None:
    if owner is not None and (not isinstance(owner, str) or not USER_ID.fullmatch(owner)):
        raise InvalidRecord("an owner has 1 to 64 characters, all of them letters, digits, _ or -")
    return owner


def _checked_time(time: datetime) -> datetime:
    if not isinstance(time, datetime) or time.tzinfo is None:
        raise InvalidRecord("a time needs a time zone")
    return min(_up_to_milliseconds(time), _NEVER)


def _up_to_milliseconds(time: datetime) -> datetime:
    # MongoDB keeps milliseconds.
    time = time.astimezone(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _checked_amounts(amounts: Mapping[str, int]) -> Sequence[tuple[str, int]]:
    if not 0 < len(amounts) <= _MAX_AMOUNTS:
        raise InvalidRecord(f"from 1 to {_MAX_AMOUNTS} numbers can be added to at once")
    for amount in amounts.values():
        if type(amount) is not int or not -_INT64 <= amount < _INT64:
            raise InvalidRecord("an amount is a whole number of 64 bits")
    return tuple(amounts.items())


def _encoded_value(value: Mapping[str, Any]) -> dict[str, Any]:
    """A value as MongoDB takes it.

    Raises:
        InvalidRecord: It can't be kept.
    """
    if not isinstance(value, Mapping):
        raise InvalidRecord("a value is a mapping")
    encoded: dict[str, Any] = _encoded(value, 0)
    size = len(bson.encode(encoded))
    if size > MAX_VALUE_BYTES:
        reason = f"its value takes {size} bytes, and at most {MAX_VALUE_BYTES} can be kept"
        raise InvalidRecord(reason)
    return encoded


def _encoded(value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise InvalidRecord(f"its value is nested more than {_MAX_DEPTH} deep")
    match value:
        case None | bool() | float() | bytes():
            return value
        case int() if -_INT64 <= value < _INT64:
            return value
        case int():
            raise InvalidRecord("a whole number in its value has more than 64 bits")
        case str():
            return _checked_text(value)
        case datetime():
            return _checked_time(value)
        case Mapping():
            return {_encoded_key(key): _encoded(one, depth + 1) for key, one in value.items()}
        case list() | tuple():
            return [_encoded(one, depth + 1) for one in value]
        case _:
            raise InvalidRecord(f"its value holds a {type(value).__name__}")


def _checked_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRecord("its value holds half a surrogate pair") from None
    return str(text)


def _encoded_key(key: Any) -> str:
    """A key of a mapping, without what means something to MongoDB."""
    if not isinstance(key, str) or not key:
        raise InvalidRecord("a key in its value is empty or no text")
    return re.sub(r"[%.$\0]", lambda found: f"%{ord(found[0]):02X}", _checked_text(key))


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            re.sub(r"%(25|2E|24|00)", lambda found: chr(int(found[1], 16)), key): _decoded(one)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return value
