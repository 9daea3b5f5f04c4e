"""RecordStore: what front ends keep comes back, expires, adds up and goes with its owner."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from interpreter.errors import InvalidRecord
from interpreter.records import MAX_VALUE_BYTES, Record, RecordStore
from interpreter.settings import Settings

Database = AsyncDatabase[dict[str, Any]]
START = datetime(2026, 5, 1, 12, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


class Clock:
    """A clock that stands still unless it is set."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def records(
    settings: Settings, database: Database, clock: Clock
) -> AsyncIterator[RecordStore]:
    async with RecordStore.open(settings, database=database, clock=clock) as opened:
        yield opened


async def test_value_comes_back_as_it_was_put(records: RecordStore) -> None:
    value = {
        "text": "grüße 🙂\0",
        "numbers": [0, -1, 2**63 - 1, -(2**63), 1.5, True, None],
        "nested": {"a.b": {"$c": [{"d%2Ee": b"\x00\xff"}]}, "$set": "%24", "nul\0": 1},
        "when": START + MILLISECOND,
    }
    await records.put("thing", "one", value)
    assert await records.get("thing", "one") == value
    await records.put("thing", "one", {"other": ("a", "tuple")})
    assert await records.get("thing", "one") == {"other": ["a", "tuple"]}


async def test_records_are_told_apart_by_kind_and_key(records: RecordStore) -> None:
    await records.put("a", "key", {"n": 1})
    await records.put("b", "key", {"n": 2})
    await records.put("a", "Key", {"n": 3})
    assert await records.get("a", "key") == {"n": 1}
    assert await records.get("b", "Key") is None
    assert await records.delete("a", "key")
    assert not await records.delete("a", "key")
    assert await records.get("a", "key") is None
    assert await records.get("a", "Key") == {"n": 3}


async def test_record_is_gone_from_the_moment_it_expires(
    records: RecordStore, clock: Clock, database: Database
) -> None:
    end = START + timedelta(hours=1)
    await records.put("thing", "short", {}, owner="7", expires_at=end)
    await records.put("thing", "long", {}, owner="7")
    clock.now = end - MILLISECOND
    assert await records.get("thing", "short") == {}
    assert [record.key for record in await records.list("thing")] == ["long", "short"]
    clock.now = end
    assert await records.get("thing", "short") is None
    assert [record.key for record in await records.list("thing", owner="7")] == ["long"]
    assert await database["records"].count_documents({}) == 2
    assert await records.clean_up() == 1
    assert await database["records"].count_documents({}) == 1


async def test_deleting_an_expired_record_deletes_nothing_for_the_caller(
    records: RecordStore,
) -> None:
    await records.put("thing", "gone", {}, expires_at=START)
    assert not await records.delete("thing", "gone")


async def test_expired_records_are_removed_by_themselves(
    settings: Settings, database: Database
) -> None:
    often = Settings(**{**dict(settings), "cleanup_interval_s": 0.05})
    async with RecordStore.open(often, database=database) as records:
        await records.put("thing", "gone", {}, expires_at=START)
        await records.put("thing", "kept", {})
        while await database["records"].count_documents({}) != 1:  # noqa: ASYNC110 -- no event
            await asyncio.sleep(0.02)
        assert await records.get("thing", "kept") == {}


async def test_additions_that_make_a_record_at_once_add_up(records: RecordStore) -> None:
    for number in range(25):
        key = f"new{number}"
        adding = (records.add("counts", key, {"turns": 1, "tokens": 0}) for _ in range(4))
        totals = await asyncio.gather(*adding)
        assert sorted(total["turns"] for total in totals) == [1, 2, 3, 4]
        assert await records.get("counts", key) == {"turns": 4, "tokens": 0}


async def test_additions_at_once_add_up(records: RecordStore) -> None:
    async def add(count: int) -> None:
        for _ in range(count):
            await records.add("budget", "42", {"turns": 1, "tokens": 10})

    await asyncio.gather(*(add(5) for _ in range(10)))
    assert await records.add("budget", "42", {"turns": 0, "tokens": -1}) == {
        "turns": 50,
        "tokens": 499,
    }
    assert await records.get("budget", "42") == {"turns": 50, "tokens": 499}


async def test_additions_begin_anew_when_the_record_has_expired(
    records: RecordStore, clock: Clock
) -> None:
    end = START + timedelta(days=1)
    for total in (1, 2):
        added = await records.add("budget", "42", {"turns": 1}, owner="42", expires_at=end)
        assert added == {"turns": total}
    clock.now = end - MILLISECOND
    assert await records.add("budget", "42", {"turns": 1}) == {"turns": 3}
    clock.now = end
    assert await records.add("budget", "42", {"turns": 1}) == {"turns": 1}
    (record,) = await records.list("budget")
    assert (record.owner, record.expires_at) == (None, None)


async def test_addition_that_expires_at_once_counts_for_nobody_else(
    records: RecordStore,
) -> None:
    for _ in range(2):
        added = await records.add("budget", "42", {"turns": 3}, expires_at=START)
        assert added == {"turns": 3}
    assert await records.get("budget", "42") is None


async def test_first_additions_of_many_at_once_are_each_answered(records: RecordStore) -> None:
    for key in ("1", "2", "3"):
        totals = await asyncio.gather(
            *(records.add("budget", key, {"turns": 1}) for _ in range(20))
        )
        assert sorted(total["turns"] for total in totals) == list(range(1, 21))


async def test_addition_keeps_what_else_is_in_the_record(records: RecordStore) -> None:
    await records.put("budget", "42", {"name": "x", "a.b": 1}, owner="42")
    assert await records.add("budget", "42", {"a.b": 2, "new": 5}) == {"a.b": 3, "new": 5}
    assert await records.get("budget", "42") == {"name": "x", "a.b": 3, "new": 5}
    assert (await records.list("budget"))[0].owner == "42"


async def test_addition_to_what_is_no_number_is_refused(records: RecordStore) -> None:
    await records.put("budget", "42", {"name": "x"})
    with pytest.raises(InvalidRecord, match="no number"):
        await records.add("budget", "42", {"name": 1})


async def test_list_gives_pages_in_order(records: RecordStore) -> None:
    for number in range(7):
        await records.put("audit", str(number), {"n": number}, owner="1" if number % 2 else None)
    await records.put("audit", "0", {"n": 0})  # changed last, so the newest now
    first = await records.list("audit", limit=4)
    rest = await records.list("audit", limit=4, before=first[-1].updated_at)
    assert [record.key for record in (*first, *rest)] == ["0", "6", "5", "4", "3", "2", "1"]
    oldest = await records.list("audit", limit=2, newest_first=False)
    assert [record.key for record in oldest] == ["1", "2"]
    mine = await records.list("audit", owner="1")
    assert [record.key for record in mine] == ["5", "3", "1"]
    assert mine[-1] == Record("audit", "1", "1", {"n": 1}, START + MILLISECOND, None)


@pytest.mark.parametrize(("limit", "allowed"), [(0, False), (1, True), (1000, True), (1001, False)])
async def test_length_of_a_list_is_limited_exactly(
    records: RecordStore, limit: int, allowed: bool
) -> None:
    if allowed:
        assert await records.list("audit", limit=limit) == ()
        return
    with pytest.raises(ValueError, match="from 1 to 1000"):
        await records.list("audit", limit=limit)


async def test_records_of_an_owner_go_together(records: RecordStore) -> None:
    await records.put("a", "1", {}, owner="42")
    await records.put("b", "2", {}, owner="42")
    await records.put("a", "3", {}, owner="43")
    await records.put("a", "4", {})
    assert await records.delete_owner("42") == 2
    assert {record.key for record in await records.list("a")} == {"3", "4"}
    assert await records.delete_owner("42") == 0


@pytest.mark.parametrize("kind", ["", "A", "1a", "a.b", "a-b", "$a", "a" * 33, None])
async def test_what_is_no_kind_is_refused(records: RecordStore, kind: Any) -> None:
    with pytest.raises(InvalidRecord, match="a kind has"):
        await records.get(kind, "key")
    with pytest.raises(InvalidRecord, match="a kind has"):
        await records.list(kind)


@pytest.mark.parametrize("key", ["", "a\nb", "\0", "\ud800", "k" * 257, 7])
async def test_what_is_no_key_is_refused(records: RecordStore, key: Any) -> None:
    with pytest.raises(InvalidRecord, match="a key has"):
        await records.put("a", key, {})


async def test_longest_kind_key_and_owner_are_taken(records: RecordStore) -> None:
    kind, key, owner = "k" * 32, "ü" * 256, "o" * 64
    await records.put(kind, key, {"n": 1}, owner=owner)
    assert await records.get(kind, key) == {"n": 1}
    with pytest.raises(InvalidRecord, match="an owner has"):
        await records.put(kind, key, {}, owner=owner + "o")
    with pytest.raises(InvalidRecord, match="an owner has"):
        await records.delete_owner("../x")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "a value is a mapping"),
        ({"n": 2**63}, "more than 64 bits"),
        ({"x": object()}, "holds a object"),
        ({"x": {1: 2}}, "no text"),
        ({"": 1}, "is empty"),
        ({"x": "\ud800"}, "surrogate"),
        ({"x": datetime(2026, 5, 1)}, "a time needs a time zone"),
    ],
)
async def test_what_can_not_be_kept_is_refused_with_the_reason(
    records: RecordStore, value: Any, reason: str
) -> None:
    with pytest.raises(InvalidRecord, match=reason):
        await records.put("a", "key", value)


@pytest.mark.parametrize(("depth", "taken"), [(32, True), (33, False)])
async def test_depth_of_a_value_is_limited_exactly(
    records: RecordStore, depth: int, taken: bool
) -> None:
    value: dict[str, Any] = {"n": 1}
    for _ in range(depth - 1):
        value = {"in": value}
    if taken:
        await records.put("a", "key", value)
        assert await records.get("a", "key") == value
        return
    with pytest.raises(InvalidRecord, match="nested"):
        await records.put("a", "key", value)


# {"t": text} takes 13 bytes beside the text itself.
@pytest.mark.parametrize(("more", "taken"), [(-1, True), (0, True), (1, False)])
async def test_size_of_a_value_is_limited_exactly(
    records: RecordStore, more: int, taken: bool
) -> None:
    value = {"t": "x" * (MAX_VALUE_BYTES - 13 + more)}
    if taken:
        await records.put("a", "key", value)
        assert await records.get("a", "key") == value
        return
    with pytest.raises(InvalidRecord, match="at most 4194304 can be kept"):
        await records.put("a", "key", value)


@pytest.mark.parametrize("amounts", [{}, {"n": 1.5}, {"n": True}, {"n": 2**63}, {"": 1}])
async def test_what_is_no_amount_is_refused(records: RecordStore, amounts: Any) -> None:
    with pytest.raises(InvalidRecord):
        await records.add("a", "key", amounts)
