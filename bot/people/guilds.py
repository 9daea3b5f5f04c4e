"""Guilds: what was chosen for a Discord server."""

from interpreter import RecordStore

_KIND = "guilds"


class Guilds:
    """Settings of single guilds."""

    def __init__(self, records: RecordStore) -> None:
        """Make it; ``records`` is where it is kept."""
        self._records = records

    async def threads(self, guild_id: str) -> bool:
        """Whether questions in channels are answered in threads; not unless somebody chose so.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        return (await self._records.get(_KIND, guild_id) or {}).get("threads") is True

    async def set_threads(self, guild_id: str, on: bool) -> None:
        """Have questions answered in threads, or not.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        known = await self._records.get(_KIND, guild_id) or {}
        await self._records.put(_KIND, guild_id, {**known, "threads": on})
