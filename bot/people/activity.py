"""Activity: which users have used the bot in which guild lately; what a guild's admins may see."""

from collections import OrderedDict
from datetime import UTC, datetime, timedelta

from interpreter import DatabaseUnavailable, RecordStore

_KIND = "activity"
_KEPT = timedelta(days=7)
_AGAIN = timedelta(hours=6)
_MOST_REMEMBERED = 20_000


class Activity:
    """Who was where."""

    def __init__(self, records: RecordStore) -> None:
        """Make it; ``records`` is where it is kept."""
        self._records = records
        self._seen: OrderedDict[tuple[str, str], datetime] = OrderedDict()

    async def note(self, guild_id: str | None, user_id: str) -> None:
        """Remember that a user used the bot in a guild; written down now and then."""
        if guild_id is None:
            return
        now = datetime.now(UTC)
        key = (guild_id, user_id)
        seen = self._seen.get(key)
        if seen is not None and now - seen < _AGAIN:
            return
        try:
            await self._records.put(
                _KIND, f"{guild_id}:{user_id}", {}, owner=user_id, expires_at=now + _KEPT
            )
        except DatabaseUnavailable:
            return
        self._seen[key] = now
        while len(self._seen) > _MOST_REMEMBERED:
            self._seen.popitem(last=False)

    async def was_in(self, guild_id: str, user_id: str) -> bool:
        """Whether a user has used the bot in a guild in the last days.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        return await self._records.get(_KIND, f"{guild_id}:{user_id}") is not None

    def forget(self, user_id: str) -> None:
        """Forget what is remembered of a user besides the records."""
        for key in [key for key in self._seen if key[1] == user_id]:
            del self._seen[key]
