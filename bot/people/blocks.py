"""Blocks: users who may not use the bot."""

from datetime import UTC, datetime

from interpreter import DatabaseUnavailable, RecordStore

_KIND = "blocks"


class Blocks:
    """Who is blocked, everywhere."""

    def __init__(self, records: RecordStore) -> None:
        """Make it; ``records`` is where it is kept."""
        self._records = records
        self._known: dict[str, bool] = {}

    async def is_blocked(self, user_id: str) -> bool:
        """Whether a user is; what was known last, while the database is away."""
        try:
            blocked = await self._records.get(_KIND, user_id) is not None
        except DatabaseUnavailable:
            return self._known.get(user_id, False)
        if blocked:
            self._known[user_id] = True
        else:
            self._known.pop(user_id, None)
        return blocked

    async def block(self, user_id: str, *, by: str, reason: str = "") -> None:
        """Block a user.

        Raises:
            DatabaseUnavailable: it could not be written down.
        """
        value = {"by": by, "reason": reason[:200], "at": datetime.now(UTC)}
        await self._records.put(_KIND, user_id, value)
        self._known[user_id] = True

    async def unblock(self, user_id: str) -> bool:
        """Let a user in again; False if they weren't blocked.

        Raises:
            DatabaseUnavailable: it could not be written down.
        """
        was = await self._records.delete(_KIND, user_id)
        self._known.pop(user_id, None)
        return was

    async def list(self) -> tuple[str, ...]:
        """The ids of those who are, the latest first; at most 1000.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        return tuple(record.key for record in await self._records.list(_KIND, limit=1000))
