"""Threads: where a guild wants questions answered in them, and whose they are."""

from datetime import UTC, datetime, timedelta
from typing import Any

from interactions import ChannelType
from interactions.client.errors import HTTPException

from bot.discord.rest import Unanswered
from bot.messages import visible
from interpreter import DatabaseUnavailable, RecordStore
from interpreter.logs import get_logger

log = get_logger(__name__)

_KIND = "threads"
_KEPT = timedelta(days=30)
_NAME_CHARS = 80
_ARCHIVED_AFTER_MIN = 1440
_HAVE_THREADS = frozenset({ChannelType.GUILD_TEXT, ChannelType.GUILD_NEWS})
_THREADS = frozenset(
    {
        ChannelType.GUILD_PUBLIC_THREAD,
        ChannelType.GUILD_PRIVATE_THREAD,
        ChannelType.GUILD_NEWS_THREAD,
    }
)


class Threads:
    """The threads that the bot opened."""

    def __init__(self, records: RecordStore) -> None:
        """Make it; ``records`` is where it is kept whose they are."""
        self._records = records

    async def open_for(self, message: Any, question: str) -> int | None:
        """Open a thread on a message; None where that can't be, or it is in one already."""
        channel = message.channel
        if getattr(channel, "type", None) not in _HAVE_THREADS:
            return None
        name = " ".join(visible(question).split())[:_NAME_CHARS].strip() or "A question"
        try:
            thread = await message.create_thread(
                name=name, auto_archive_duration=_ARCHIVED_AFTER_MIN
            )
        except (HTTPException, Unanswered) as error:  # without permission it stays in the channel
            log.info("no thread opened", reason=str(getattr(error, "code", type(error).__name__)))
            return None
        try:
            await self._records.put(
                _KIND,
                str(thread.id),
                {"user_id": str(message.author.id)},
                owner=str(message.author.id),
                expires_at=datetime.now(UTC) + _KEPT,
            )
        except DatabaseUnavailable:
            log.warning("thread not written down: the database is away")
        return int(thread.id)

    async def is_of(self, channel: Any, user_id: str) -> bool:
        """Whether a channel is a thread that the bot opened for this user."""
        if getattr(channel, "type", None) not in _THREADS:
            return False
        try:
            known = await self._records.get(_KIND, str(channel.id))
        except DatabaseUnavailable:
            return False
        return known is not None and known.get("user_id") == user_id
