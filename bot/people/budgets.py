"""Budgets: how many questions and tokens a user and a guild have in a day of UTC."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from interpreter import DatabaseUnavailable, RecordStore
from interpreter.logs import get_logger

log = get_logger(__name__)

_KIND = "budgets"
#: Counts of a day are kept a little longer, for /admin stats.
_KEPT = timedelta(days=3)
_MOST_REMEMBERED = 20_000


class Budgets:
    """Counts of the day, in the database, and beside it while the database is away."""

    def __init__(
        self, records: RecordStore, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Make it.

        Args:
            records: where it is counted.
            now: tells the time, in UTC.
        """
        self._records = records
        self._now = now
        #: Counts that the database doesn't have yet.
        self._aside: dict[str, dict[str, int]] = {}

    async def spend(self, who: str, *, turns: int = 0, tokens: int = 0) -> tuple[int, int]:
        """Count; gives the day's totals of turns and tokens, these included.

        While the database is away it is counted in memory: an outage stops nobody.

        Args:
            who: "user:ID" or "guild:ID".
            turns: questions, may be negative to give them back.
            tokens: of the model.
        """
        key = f"{self._now():%Y-%m-%d} {who}"
        aside = self._aside.pop(key, {"turns": 0, "tokens": 0})
        amounts = {"turns": aside["turns"] + turns, "tokens": aside["tokens"] + tokens}
        try:
            # Owned by nobody: who has their data deleted has not asked less today.
            totals = await self._records.add(_KIND, key, amounts, expires_at=self._now() + _KEPT)
        except DatabaseUnavailable:
            log.warning("budget counted aside: the database is away")
            while len(self._aside) >= _MOST_REMEMBERED:
                del self._aside[next(iter(self._aside))]
            # Others may have counted meanwhile.
            others = self._aside.get(key, {"turns": 0, "tokens": 0})
            totals = self._aside[key] = {name: others[name] + amounts[name] for name in amounts}
        return totals["turns"], totals["tokens"]

    async def spent(self, who: str) -> tuple[int, int]:
        """The day's totals of turns and tokens so far."""
        key = f"{self._now():%Y-%m-%d} {who}"
        aside = self._aside.get(key, {"turns": 0, "tokens": 0})
        try:
            known = await self._records.get(_KIND, key) or {}
        except DatabaseUnavailable:
            known = {}
        turns, tokens = (known.get(name, 0) for name in ("turns", "tokens"))
        return int(turns) + aside["turns"], int(tokens) + aside["tokens"]

    def until_tomorrow(self) -> timedelta:
        """How long it is until the next day begins."""
        now = self._now()
        tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return tomorrow - now
