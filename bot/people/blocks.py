"""Blocks: users who may not use the bot."""

from datetime import UTC, datetime

from interpreter import RecordStore

_KIND = "blocks"


class Blocks:
    """Who is blocked, everywhere."""

    def __init__(self, records: RecordStore) -> None:
        """Make it; ``records`` is where it is kept."""
        self._records = records
        #: Who was blocked when that could be read last.
        self._known: set[str] = set()
        self._all_known = False

    async def is_blocked(self, user_id: str) -> bool:
        """Whether a user is.

        Raises:
            DatabaseUnavailable: the database can't be used; see :meth:`was_blocked`.
        """
        if not self._all_known:  # the database may be away when they come
            self._known.update(await self.list())
            self._all_known = True
        blocked = await self._records.get(_KIND, user_id) is not None
        if blocked:
            self._known.add(user_id)
        else:
            self._known.discard(user_id)
        return blocked

    def was_blocked(self, user_id: str) -> bool:
        """Whether a user was when that could be read last."""
        return user_id in self._known

    async def block(self, user_id: str, *, by: str, reason: str = "") -> None:
        """Block a user.

        Raises:
            DatabaseUnavailable: it could not be written down.
        """
        value = {"by": by, "reason": reason[:200], "at": datetime.now(UTC)}
        await self._records.put(_KIND, user_id, value)
        self._known.add(user_id)

    async def unblock(self, user_id: str) -> bool:
        """Let a user in again; False if they weren't blocked.

        Raises:
            DatabaseUnavailable: it could not be written down.
        """
        was = await self._records.delete(_KIND, user_id)
        self._known.discard(user_id)
        return was

    async def list(self) -> tuple[str, ...]:
        """The ids of those who are, the latest first; at most 1000.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        return tuple(record.key for record in await self._records.list(_KIND, limit=1000))
