"""Past turns: their code is shown for some days, and nobody's fill the database."""

import pytest

from bot.discord import past_turns
from bot.discord.past_turns import PastTurns
from interpreter import DatabaseUnavailable, Execution, RecordStore

ANNA, BEN = "1067162944699961234", "1067162944699969999"


def cell(code: str) -> Execution:
    return Execution(status="ok", code=code, count=1)


@pytest.fixture
def past(records: RecordStore) -> PastTurns:
    return PastTurns(records)


async def test_code_is_kept_for_its_user_alone(past: PastTurns) -> None:
    await past.keep("a", ANNA, (cell("x = 1"), cell("x + 1")))
    [message] = await past.code("a", ANNA) or ()
    assert "x = 1" in message.content and "x + 1" in message.content
    assert await past.code("a", BEN) is None and await past.code("b", ANNA) is None


async def test_long_code_comes_as_the_file_it_was_and_much_too_long_code_without(
    past: PastTurns, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "\n".join(f"x = {n}" for n in range(4000))
    await past.keep("a", ANNA, (cell(code),))
    kept = await past.code("a", ANNA) or ()
    files = [file for message in kept for file in message.attachments]
    assert any(isinstance(f.source, bytes) and code.encode() in f.source for f in files)
    size = sum(file.size for file in files)
    for most, count in ((size, len(files)), (size - 1, len(files) - 1)):
        monkeypatch.setattr(past_turns, "_MOST_BYTES", most)
        await past.keep("b", ANNA, (cell(code),))
        kept = await past.code("b", ANNA) or ()
        assert sum(len(message.attachments) for message in kept) == count


async def test_oldest_goes_where_there_are_too_many(
    past: PastTurns, records: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_turns, "_MOST_KEPT", 3)
    await past.keep("0", BEN, (cell("ben"),))
    for number in range(3):
        await past.keep(str(number), ANNA, (cell("x"),))
    assert await past.code("0", ANNA) is not None
    await past.keep("3", ANNA, (cell("x"),))
    assert [await past.code(str(n), ANNA) is None for n in range(4)] == [True, False, False, False]
    assert await past.code("0", BEN) is not None
    await records.delete_owner(ANNA)
    assert await records.list("turn_lists", owner=ANNA) == ()


async def test_database_that_is_away_is_no_error(
    past: PastTurns, records: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("127.0.0.1", "it is away")

    monkeypatch.setattr(records, "put", away)
    await past.keep("a", ANNA, (cell("x"),))
