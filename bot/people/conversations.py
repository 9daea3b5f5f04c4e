"""Conversations: what was said, by channel and user, as long as it is remembered."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakValueDictionary

from bot.conversation import (
    AssistantMessage,
    Exchange,
    Message,
    ToolCall,
    ToolResult,
    UserMessage,
)
from interpreter import DatabaseUnavailable, InvalidRecord, RecordStore
from interpreter.logs import get_logger

log = get_logger(__name__)

_KIND = "conversations"
_MOST_EXCHANGES = 40
#: Of all that is remembered of a conversation; its last exchange may have more, up to the second.
_MOST_BYTES, _MOST_BYTES_OF_ONE = 400_000, 2_000_000
_MOST_REMEMBERED = 500
_MOST_LISTED = 1000


class Conversations:
    """Each user's conversation in each channel; nobody else's goes into it.

    While the database is away, what is said is remembered beside it, and added to it later.
    """

    def __init__(self, records: RecordStore, *, kept: timedelta) -> None:
        """Make it.

        Args:
            records: where they are kept.
            kept: how long one is remembered after its last question.
        """
        self._records = records
        self._kept = kept
        #: What the database doesn't have yet, by conversation.
        self._aside: OrderedDict[str, tuple[Exchange, ...]] = OrderedDict()
        #: Each lives as long as somebody holds it or waits for it.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def load(self, channel_id: str, user_id: str) -> tuple[Exchange, ...]:
        """The conversation so far, the oldest exchange first."""
        key = _key(channel_id, user_id)
        try:
            known = await self._known(key)
        except DatabaseUnavailable:
            known = ()
        return (*known, *self._aside.get(key, ()))

    async def append(
        self, channel_id: str, user_id: str, exchange: Exchange, *, replacing: bool = False
    ) -> None:
        """Add what was said last; the oldest exchanges go where there are too many.

        What can't be kept is said in the log, and no error: an answer is worth more than its
        place in the conversation.

        Args:
            channel_id: where it was said.
            user_id: by whom.
            exchange: what was said.
            replacing: whether it takes the place of the last one, which was asked anew.
        """
        key = _key(channel_id, user_id)
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            aside = self._aside.get(key, ())
            try:
                known = (*await self._known(key), *aside)
                kept = _bounded((*(known[:-1] if replacing else known), exchange))
                await self._put(key, user_id, kept)
            except DatabaseUnavailable:
                # One that is in the database can't be replaced now; it stays, before the new one.
                self._remember(key, (*(aside[:-1] if replacing else aside), exchange))
            else:
                self._aside.pop(key, None)

    async def clear(self, channel_id: str, user_id: str) -> bool:
        """Forget a conversation, and what is just being added to it; False if there was none.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        key = _key(channel_id, user_id)
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            was_aside = self._aside.pop(key, None) is not None
            return await self._records.delete(_KIND, key) or was_aside

    async def clear_user(self, user_id: str) -> int:
        """Forget all of a user's conversations; gives how many there were.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        aside = {key for key in self._aside if key.endswith(f":{user_id}")}
        for key in aside:
            del self._aside[key]
        found = await self._records.list(_KIND, owner=user_id, limit=_MOST_LISTED)
        for record in found:
            await self._records.delete(_KIND, record.key)
        return len(aside | {record.key for record in found})

    async def _known(self, key: str) -> tuple[Exchange, ...]:
        return _exchanges(await self._records.get(_KIND, key) or {})

    async def _put(self, key: str, user_id: str, exchanges: tuple[Exchange, ...]) -> None:
        if not exchanges:
            return
        value = {"exchanges": [[_value(m) for m in e.messages] for e in exchanges]}
        expires_at = datetime.now(UTC) + self._kept
        try:
            await self._records.put(_KIND, key, value, owner=user_id, expires_at=expires_at)
        except InvalidRecord as error:
            log.error("conversation not kept", user_id=user_id, reason=str(error))

    def _remember(self, key: str, exchanges: tuple[Exchange, ...]) -> None:
        self._aside[key] = _bounded(exchanges)
        self._aside.move_to_end(key)
        while len(self._aside) > _MOST_REMEMBERED:
            self._aside.popitem(last=False)


def _key(channel_id: str, user_id: str) -> str:
    return f"{channel_id}:{user_id}"


def _bounded(exchanges: tuple[Exchange, ...]) -> tuple[Exchange, ...]:
    """The latest exchanges, as many as are kept; the last one always, unless it is huge itself."""
    kept: list[Exchange] = []
    size = 0
    for exchange in reversed(exchanges[-_MOST_EXCHANGES:]):
        size += sum(_size(message) for message in exchange.messages)
        if size > (_MOST_BYTES if kept else _MOST_BYTES_OF_ONE):
            if not kept:
                log.warning("exchange not kept: too large", size_bytes=size)
            break
        kept.append(exchange)
    return tuple(reversed(kept))


def _size(message: Message) -> int:
    """Of its texts, in bytes."""
    calls = message.calls if isinstance(message, AssistantMessage) else ()
    texts = (message.text, *(text for call in calls for text in (call.name, call.arguments)))
    return sum(len(text.encode(errors="replace")) for text in texts)


def _text(text: str) -> str:
    """A text as it can be kept: code may print, and a model write, half of a surrogate pair."""
    return text.encode(errors="replace").decode()


def _value(message: Message) -> dict[str, Any]:
    match message:
        case UserMessage():
            return {"by": "user", "text": _text(message.text)}
        case ToolResult():
            text = _text(message.text)
            return {"by": "tool", "text": text, "call_id": _text(message.call_id)}
        case AssistantMessage():
            calls = [
                {
                    "call_id": _text(call.call_id),
                    "name": _text(call.name),
                    "arguments": _text(call.arguments),
                }
                for call in message.calls
            ]
            return {"by": "assistant", "text": _text(message.text), "calls": calls}


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
