"""Gate: whether a person may ask now, and how much it may take."""

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from bot.chat_model import Usage
from bot.errors import Refusal
from bot.people.blocks import Blocks
from bot.people.budgets import Budgets
from bot.people.limit_rules import LimitRule, LimitRules
from bot.people.person import Person
from bot.people.preferences import Preferences
from bot.settings import BotSettings
from interpreter import DatabaseUnavailable, Interpreter, SessionLimits

_MINUTE_S = 60.0
#: How long it is waited for what the database knows of a person: Discord gives a button 3 s.
_READING_S = 1.0
_MOST_REMEMBERED = 10_000
_UNLIMITED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What an admitted turn may take.

    Attributes:
        model: which model answers.
        tokens: how many are left today; None for no limit.
        limits: of the person's session.
    """

    model: str
    tokens: int | None
    limits: SessionLimits


class Gate:
    """Lets turns in, one by one."""

    def __init__(
        self,
        settings: BotSettings,
        service: Interpreter,
        *,
        blocks: Blocks,
        budgets: Budgets,
        rules: LimitRules,
        preferences: Preferences,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it.

        Args:
            settings: what holds for everybody.
            service: is told the limits of single users.
            blocks: who may not.
            budgets: what was spent today.
            rules: what admins set for some.
            preferences: which model a user chose.
            monotonic: tells the time in seconds, for the limit of a minute.
        """
        self.blocks = blocks
        self.budgets = budgets
        self.rules = rules
        self._settings = settings
        self._service = service
        self._preferences = preferences
        self._monotonic = monotonic
        self._recent: OrderedDict[str, deque[float]] = OrderedDict()
        self._known_rules: OrderedDict[str, LimitRule] = OrderedDict()

    async def check(self, person: Person) -> LimitRule:
        """Whether a person may use the bot at all; sets their limits, counts nothing.

        While the database is away, what was known last holds. Never takes much longer than a
        second.

        Raises:
            Refusal: they are blocked.
        """
        blocked, rule = await asyncio.gather(self._is_blocked(person.user_id), self._rule(person))
        if blocked:
            raise Refusal(
                "You can't use this bot at the moment; please ask its operator if you think "
                "that is a mistake."
            )
        self._service.set_limits(person.user_id, rule.session)
        return rule

    async def admit(self, person: Person, *, needs_model: bool = True) -> Grant:
        """Let a turn in, and count it.

        Args:
            person: who asks.
            needs_model: whether it is a question for the model, which has a budget; code of one's
                own has the limit of a minute only.

        Raises:
            Refusal: not at all, or not now: says until when.
        """
        rule = await self.check(person)
        self._check_pace(person.user_id)
        tokens = await self._count(person, rule) if needs_model else None
        return Grant(model=await self._model(person.user_id), tokens=tokens, limits=rule.session)

    async def charge(self, person: Person, usage: Usage) -> None:
        """Count what an admitted turn has cost."""
        for who in _budgets_of(person):
            await self.budgets.spend(who, tokens=max(usage.total, 0))

    def _check_pace(self, user_id: str) -> None:
        most = self._settings.user_turns_per_minute
        if most == _UNLIMITED:
            return
        now = self._monotonic()
        recent = self._recent.setdefault(user_id, deque())
        self._recent.move_to_end(user_id)
        while recent and now - recent[0] >= _MINUTE_S:
            recent.popleft()
        if len(recent) >= most:
            wait = timedelta(seconds=_MINUTE_S - (now - recent[0]))
            raise Refusal(f"That was a lot in one minute; please go on in {in_words(wait)}.")
        recent.append(now)
        while len(self._recent) > _MOST_REMEMBERED:
            self._recent.popitem(last=False)

    async def _count(self, person: Person, rule: LimitRule) -> int | None:
        """Take a turn of the person's and the guild's budget; gives the tokens that are left."""
        settings = self._settings
        own = settings.user_turns_per_day if rule.turns_per_day is None else rule.turns_per_day
        most = {
            "user": (own, settings.user_tokens_per_day),
            "guild": (settings.guild_turns_per_day, settings.guild_tokens_per_day),
        }
        left: list[int] = []
        taken: list[str] = []
        for who in _budgets_of(person):
            kind = who.partition(":")[0]
            most_turns, most_tokens = most[kind]
            turns, tokens = await self.budgets.spend(who, turns=1)
            taken.append(who)
            is_over = most_turns != _UNLIMITED and turns > most_turns
            if is_over or (most_tokens != _UNLIMITED and tokens >= most_tokens):
                for counted in taken:  # what isn't let in costs nothing
                    await self.budgets.spend(counted, turns=-1)
                raise Refusal(self._used_up(kind))
            if most_tokens != _UNLIMITED:
                left.append(most_tokens - tokens)
        return min(left) if left else None

    def _used_up(self, kind: str) -> str:
        until = in_words(self.budgets.until_tomorrow())
        if kind == "guild":
            return (
                f"This server has used up its questions for today; there are new ones in {until}. "
                "In a direct message you may still have some of your own."
            )
        return (
            f"You have used up your questions for today; there are new ones in {until}. "
            "/run still runs code of your own."
        )

    async def _is_blocked(self, user_id: str) -> bool:
        try:
            async with asyncio.timeout(_READING_S):
                return await self.blocks.is_blocked(user_id)
        except (DatabaseUnavailable, TimeoutError):
            return self.blocks.was_blocked(user_id)

    async def _rule(self, person: Person) -> LimitRule:
        try:
            async with asyncio.timeout(_READING_S):
                rule = await self.rules.of(person)
        except (DatabaseUnavailable, TimeoutError):
            return self._known_rules.get(person.user_id, LimitRule())
        self._known_rules[person.user_id] = rule
        self._known_rules.move_to_end(person.user_id)
        while len(self._known_rules) > _MOST_REMEMBERED:
            self._known_rules.popitem(last=False)
        return rule

    async def _model(self, user_id: str) -> str:
        try:
            async with asyncio.timeout(_READING_S):
                return await self._preferences.model(user_id)
        except (DatabaseUnavailable, TimeoutError):
            return self._settings.openai_model


def _budgets_of(person: Person) -> tuple[str, ...]:
    own = f"user:{person.user_id}"
    return (own,) if person.guild_id is None else (own, f"guild:{person.guild_id}")


def in_words(wait: timedelta) -> str:
    """A time to wait, as people say it; never less than it is."""
    seconds = max(1, math.ceil(wait.total_seconds()))
    if seconds < 100:
        return f"{seconds} second{'s' * (seconds != 1)}"
    minutes = -(-seconds // 60)
    if minutes < 100:
        return f"{minutes} minutes"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
