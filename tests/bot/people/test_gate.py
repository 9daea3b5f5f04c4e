"""Who is let in, how often, and what it takes."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.chat_model import Usage
from bot.errors import Refusal
from bot.people.blocks import Blocks
from bot.people.budgets import Budgets
from bot.people.gate import Gate, in_words
from bot.people.limit_rules import LimitRule, LimitRules
from bot.people.person import Person
from bot.people.preferences import Preferences
from bot.settings import BotSettings
from interpreter import RecordStore, SessionLimits

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
ANNA = Person(user_id="1", name="anna", guild_id="7")
BERT = Person(user_id="2", name="bert", guild_id="7")


class Clock:
    """Two clocks that tests move."""

    def __init__(self) -> None:
        self.now = NOON
        self.seconds = 0.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_gate(service: Any, records: RecordStore, clock: Clock) -> Callable[..., Gate]:
    def make(store: Any = records, **settings: Any) -> Gate:
        chosen = BotSettings(**{"user_turns_per_minute": -1, **settings})
        return Gate(
            chosen,
            service,
            blocks=Blocks(store),
            budgets=Budgets(store, now=lambda: clock.now),
            rules=LimitRules(store),
            preferences=Preferences(store, chosen),
            monotonic=lambda: clock.seconds,
        )

    return make


async def test_so_many_turns_a_minute_and_no_more(
    make_gate: Callable[..., Gate], clock: Clock
) -> None:
    gate = make_gate(user_turns_per_minute=3)
    for second in (0.0, 10.0, 20.0):
        clock.seconds = second
        await gate.admit(ANNA)
    with pytest.raises(Refusal, match="go on in 40 seconds"):
        await gate.admit(ANNA)
    await gate.admit(BERT)
    clock.seconds = 59.9
    with pytest.raises(Refusal, match="go on in 1 second"):
        await gate.admit(ANNA)
    clock.seconds = 60.0
    await gate.admit(ANNA)


async def test_so_many_turns_a_day_and_no_more(
    make_gate: Callable[..., Gate], clock: Clock
) -> None:
    gate = make_gate(user_turns_per_day=2)
    await gate.admit(ANNA)
    await gate.admit(ANNA)
    with pytest.raises(Refusal, match="new ones in 12 h"):
        await gate.admit(ANNA)
    await gate.admit(ANNA, needs_model=False)
    clock.now = NOON + timedelta(hours=11, minutes=59)
    with pytest.raises(Refusal, match="new ones in 60 seconds"):
        await gate.admit(ANNA)
    clock.now = NOON + timedelta(hours=12)
    await gate.admit(ANNA)


async def test_what_is_not_let_in_costs_nothing(make_gate: Callable[..., Gate]) -> None:
    gate = make_gate(user_turns_per_day=1, guild_turns_per_day=2)
    await gate.admit(ANNA)
    for _ in range(3):
        with pytest.raises(Refusal, match="You have used up"):
            await gate.admit(ANNA)
    assert await gate.budgets.spent("guild:7") == (1, 0)
    await gate.admit(BERT)
    carl = Person(user_id="3", name="carl", guild_id="7")
    with pytest.raises(Refusal, match="This server has used up"):
        await gate.admit(carl)
    assert await gate.budgets.spent("user:3") == (0, 0)
    await gate.admit(Person(user_id="3", name="carl"))  # in a direct message


@pytest.mark.parametrize(("spent", "is_let_in"), [(999, True), (1000, False), (1001, False)])
async def test_tokens_of_a_day(make_gate: Callable[..., Gate], spent: int, is_let_in: bool) -> None:
    gate = make_gate(user_tokens_per_day=1000)
    await gate.admit(ANNA)
    await gate.charge(ANNA, Usage(spent - 9, 9))
    if is_let_in:
        assert (await gate.admit(ANNA)).tokens == 1000 - spent
    else:
        with pytest.raises(Refusal, match="used up"):
            await gate.admit(ANNA)


@pytest.mark.parametrize(("spent", "is_let_in"), [(999, True), (1000, False), (1001, False)])
async def test_tokens_of_a_guilds_day(
    make_gate: Callable[..., Gate], spent: int, is_let_in: bool
) -> None:
    gate = make_gate(guild_tokens_per_day=1000)
    await gate.charge(BERT, Usage(spent, 0))
    if is_let_in:
        assert (await gate.admit(ANNA)).tokens == 1
    else:
        with pytest.raises(Refusal, match="This server has used up"):
            await gate.admit(ANNA)
        assert await gate.budgets.spent("user:1") == (0, 0)
    await gate.admit(Person(user_id="1", name="anna"))  # a direct message has no guild's budget


async def test_no_limit_is_no_limit(make_gate: Callable[..., Gate]) -> None:
    gate = make_gate(
        user_turns_per_day=-1,
        user_tokens_per_day=-1,
        guild_turns_per_day=-1,
        guild_tokens_per_day=-1,
    )
    await gate.charge(ANNA, Usage(10**12, 0))
    assert (await gate.admit(ANNA)).tokens is None


async def test_smaller_of_two_token_budgets_is_what_is_left(
    make_gate: Callable[..., Gate],
) -> None:
    gate = make_gate(user_tokens_per_day=1000, guild_tokens_per_day=500)
    assert (await gate.admit(ANNA)).tokens == 500
    assert (await gate.admit(Person(user_id="1", name="anna"))).tokens == 1000


async def test_users_own_rule_comes_before_the_best_of_their_roles(
    make_gate: Callable[..., Gate], service: Any
) -> None:
    gate = make_gate()
    await gate.rules.set("role", "10", LimitRule(cell_timeout_s=5.0, max_files=3))
    await gate.rules.set("role", "11", LimitRule(cell_timeout_s=50.0, turns_per_day=1))
    person = Person(user_id="1", name="anna", guild_id="7", role_ids=("10", "11", "12"))
    grant = await gate.admit(person)
    assert grant.limits == SessionLimits(cell_timeout_s=50.0, max_files=3)
    await gate.rules.set("user", "1", LimitRule(cell_timeout_s=1.0, turns_per_day=-1))
    grant = await gate.admit(person)
    assert grant.limits == SessionLimits(cell_timeout_s=1.0, max_files=3)
    assert service.limits["1"] == grant.limits
    await gate.rules.set("user", "1", LimitRule())
    with pytest.raises(Refusal, match="used up"):  # the role's one question a day
        await gate.admit(person)
    assert [key for key, _ in await gate.rules.list()] == ["role:11", "role:10"]


async def test_unlimited_is_the_most_generous(make_gate: Callable[..., Gate]) -> None:
    gate = make_gate()
    await gate.rules.set("role", "10", LimitRule(turns_per_day=-1))
    await gate.rules.set("role", "11", LimitRule(turns_per_day=1000))
    person = Person(user_id="1", name="anna", guild_id="7", role_ids=("10", "11"))
    assert (await gate.rules.of(person)).turns_per_day == -1


async def test_blocked_user_gets_a_sentence_until_unblocked(
    make_gate: Callable[..., Gate],
) -> None:
    gate = make_gate()
    await gate.blocks.block("1", by="9", reason="rude")
    with pytest.raises(Refusal, match="can't use this bot"):
        await gate.admit(ANNA)
    await gate.admit(BERT)
    assert await gate.blocks.list() == ("1",)
    assert await gate.blocks.unblock("1")
    assert not await gate.blocks.unblock("1")
    await gate.admit(ANNA)


async def test_outage_of_the_database_stops_nobody_but_the_blocked(
    make_gate: Callable[..., Gate], away: Any, records: RecordStore, clock: Clock
) -> None:
    gate = make_gate(user_turns_per_day=2)
    await gate.blocks.block("2", by="9")
    await gate.admit(ANNA)
    there = (gate.blocks._records, gate.budgets._records, gate.rules._records)
    gate.blocks._records = gate.budgets._records = gate.rules._records = away
    gate._preferences._records = away
    with pytest.raises(Refusal, match="can't use"):
        await gate.admit(BERT)
    await gate.admit(ANNA)
    gate.blocks._records, gate.budgets._records, gate.rules._records = there
    with pytest.raises(Refusal, match="used up"):  # what was asked meanwhile is counted
        await gate.admit(ANNA)
    assert await gate.budgets.spent("user:1") == (2, 0)


async def test_blocked_before_an_outage_stays_blocked_though_never_seen(
    make_gate: Callable[..., Gate], away: Any
) -> None:
    await make_gate().blocks.block("2", by="9")
    gate = make_gate()
    await gate.admit(ANNA)
    gate.blocks._records = away
    with pytest.raises(Refusal, match="can't use"):
        await gate.admit(BERT)


async def test_questions_at_once_during_an_outage_are_all_counted(
    make_gate: Callable[..., Gate], records: RecordStore, away: Any
) -> None:
    budgets = make_gate(away).budgets
    await asyncio.gather(*(budgets.spend("user:1", turns=1, tokens=10) for _ in range(5)))
    budgets._records = records
    assert await budgets.spent("user:1") == (5, 50)
    assert await budgets.spend("user:1") == (5, 50)
    assert await records.get("budgets", f"{NOON:%Y-%m-%d} user:1") == {"turns": 5, "tokens": 50}


async def test_database_that_does_not_answer_keeps_no_button_waiting(
    make_gate: Callable[..., Gate], service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent:
        def __getattr__(self, name: str) -> Any:
            async def wait(*_: Any, **__: Any) -> None:
                await asyncio.get_running_loop().create_future()

            return wait

    gate = make_gate()
    await gate.blocks.block("2", by="9")
    await gate.rules.set("user", "1", LimitRule(max_files=3))
    await gate.check(ANNA)
    monkeypatch.setattr("bot.people.gate._READING_S", 0.01)
    gate.blocks._records = gate.rules._records = Silent()  # type: ignore[assignment]  # a test's
    assert (await gate.check(ANNA)).max_files == 3
    with pytest.raises(Refusal, match="can't use"):
        await gate.check(BERT)


async def test_all_rules_are_found_however_many(
    make_gate: Callable[..., Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.people.limit_rules._LISTED_AT_ONCE", 2)
    rules = make_gate().rules
    for number in range(4):
        await rules.set("role", str(number), LimitRule(max_files=10 - number))
    assert [key for key, _ in await rules.list()] == ["role:3", "role:2", "role:1", "role:0"]
    person = Person(user_id="1", name="anna", guild_id="7", role_ids=("0", "3", "7"))
    assert (await rules.of(person)).max_files == 10


async def test_chosen_model_answers_while_it_is_allowed(
    make_gate: Callable[..., Gate], records: RecordStore
) -> None:
    gate = make_gate(openai_model="a", openai_models="b")
    assert (await gate.admit(ANNA)).model == "a"
    await gate._preferences.set_model("1", "b")
    assert (await gate.admit(ANNA)).model == "b"
    with pytest.raises(ValueError, match="isn't one"):
        await gate._preferences.set_model("1", "c")
    assert (await make_gate(openai_model="a").admit(ANNA)).model == "a"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 second"),
        (1.0, "1 second"),
        (1.001, "2 seconds"),
        (99, "99 seconds"),
        (100, "2 minutes"),
        (5940, "99 minutes"),
        (5941, "1 h 40 min"),
        (43200, "12 h"),
    ],
)
def test_wait_in_words_is_never_too_short(seconds: float, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words
