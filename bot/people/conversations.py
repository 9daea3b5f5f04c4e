"""Conversations: what was said, by channel and user, as long as it is remembered."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.conversation import (
    AssistantMessage,
    Exchange,
    Message,
    ToolCall,
    ToolResult,
    UserMessage,
)
from interpreter import DatabaseUnavailable, RecordStore
from interpreter.logs import get_logger

log = get_logger(__name__)

_KIND = "conversations"
_MOST_EXCHANGES = 40
_MOST_CHARS = 400_000
_MOST_REMEMBERED = 500
_MOST_LISTED = 1000


class Conversations:
    """Each user's conversation in each channel; nobody else's goes into it.

    While the database is away, conversations go on in memory.
    """

    def __init__(self, records: RecordStore, *, kept: timedelta) -> None:
        """Make it.

        Args:
            records: where they are kept.
            kept: how long one is remembered after its last question.
        """
        self._records = records
        self._kept = kept
        self._aside: OrderedDict[str, tuple[Exchange, ...]] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def load(self, channel_id: str, user_id: str) -> tuple[Exchange, ...]:
        """The conversation so far, the oldest exchange first."""
        key = _key(channel_id, user_id)
        if key in self._aside:
            return self._aside[key]
        try:
            value = await self._records.get(_KIND, key)
        except DatabaseUnavailable:
            return ()
        return _exchanges(value or {})

    async def append(
        self, channel_id: str, user_id: str, exchange: Exchange, *, replacing: bool = False
    ) -> None:
        """Add what was said last; the oldest exchanges go where there are too many.

        Args:
            channel_id: where it was said.
            user_id: by whom.
            exchange: what was said.
            replacing: whether it takes the place of the last one, which was asked anew.
        """
        key = _key(channel_id, user_id)
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                known = await self.load(channel_id, user_id)
                kept = _bounded((*(known[:-1] if replacing else known), exchange))
                await self._put(key, user_id, kept)
        finally:
            if not lock.locked():
                self._locks.pop(key, None)

    async def clear(self, channel_id: str, user_id: str) -> bool:
        """Forget a conversation; False if there was none.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        key = _key(channel_id, user_id)
        was_aside = self._aside.pop(key, None) is not None
        return await self._records.delete(_KIND, key) or was_aside

    async def clear_user(self, user_id: str) -> int:
        """Forget all of a user's conversations; gives how many there were.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        for key in [key for key in self._aside if key.endswith(f":{user_id}")]:
            del self._aside[key]
        found = await self._records.list(_KIND, owner=user_id, limit=_MOST_LISTED)
        for record in found:
            await self._records.delete(_KIND, record.key)
        return len(found)

    async def _put(self, key: str, user_id: str, exchanges: tuple[Exchange, ...]) -> None:
        value = {"exchanges": [[_value(m) for m in e.messages] for e in exchanges]}
        expires_at = datetime.now(UTC) + self._kept
        try:
            await self._records.put(_KIND, key, value, owner=user_id, expires_at=expires_at)
        except DatabaseUnavailable:
            self._aside[key] = exchanges
            self._aside.move_to_end(key)
            while len(self._aside) > _MOST_REMEMBERED:
                self._aside.popitem(last=False)
        else:
            self._aside.pop(key, None)


def _key(channel_id: str, user_id: str) -> str:
    return f"{channel_id}:{user_id}"


def _bounded(exchanges: tuple[Exchange, ...]) -> tuple[Exchange, ...]:
    """The latest exchanges, as many as are kept; always the last one."""
    kept: list[Exchange] = []
    chars = 0
    for exchange in reversed(exchanges):
        chars += sum(_chars(message) for message in exchange.messages)
        if kept and (chars > _MOST_CHARS or len(kept) >= _MOST_EXCHANGES):
            break
        kept.append(exchange)
    return tuple(reversed(kept))


def _chars(message: Message) -> int:
    calls = message.calls if isinstance(message, AssistantMessage) else ()
    return len(message.text) + sum(len(call.arguments) for call in calls)


def _value(message: Message) -> dict[str, Any]:
    match message:
        case UserMessage():
            return {"by": "user", "text": message.text}
        case ToolResult():
            return {"by": "tool", "text": message.text, "call_id": message.call_id}
        case AssistantMessage():
            calls = [
                {"call_id": call.call_id, "name": call.name, "arguments": call.arguments}
                for call in message.calls
            ]
            return {"by": "assistant", "text": message.text, "calls": calls}


def _exchanges(value: Mapping[str, Any]) -> tuple[Exchange, ...]:
    """From what is kept; what can't be read is left out."""
    try:
        return tuple(
            Exchange(tuple(_message(message) for message in messages))
            for messages in value.get("exchanges", [])
        )
    except (KeyError, TypeError, AttributeError) as error:
        log.warning("conversation unreadable", reason=type(error).__name__)
        return ()


def _message(value: Mapping[str, Any]) -> Message:
    text = str(value["text"])
    if value["by"] == "user":
        return UserMessage(text)
    if value["by"] == "tool":
        return ToolResult(str(value["call_id"]), text)
    calls = tuple(
        ToolCall(str(call["call_id"]), str(call["name"]), str(call["arguments"]))
        for call in value["calls"]
    )
    return AssistantMessage(text, calls)
