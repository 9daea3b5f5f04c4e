"""What was said is remembered for its user, in its channel, as long and as far as promised."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from bot.conversation import AssistantMessage, Exchange, ToolCall, ToolResult, UserMessage
from bot.people.conversations import Conversations
from interpreter import RecordStore


@pytest.fixture
def conversations(records: RecordStore) -> Conversations:
    return Conversations(records, kept=timedelta(hours=1))


def exchange(text: str) -> Exchange:
    call = ToolCall("call-1", "execute_python_code", '{"code": "1"}')
    return Exchange(
        (
            UserMessage(text),
            AssistantMessage("let me see", (call,)),
            ToolResult("call-1", "1"),
            AssistantMessage("It is 1."),
        )
    )


async def test_conversation_comes_back_as_it_was(conversations: Conversations) -> None:
    for text in ("one", "two 🎈", "three"):
        await conversations.append("c", "1", exchange(text))
    assert await conversations.load("c", "1") == tuple(
        exchange(text) for text in ("one", "two 🎈", "three")
    )


async def test_conversations_of_others_and_elsewhere_are_apart(
    conversations: Conversations,
) -> None:
    await conversations.append("c", "1", exchange("mine"))
    assert await conversations.load("c", "2") == ()
    assert await conversations.load("d", "1") == ()


async def test_edited_question_replaces_the_last_exchange(conversations: Conversations) -> None:
    await conversations.append("c", "1", exchange("one"))
    await conversations.append("c", "1", exchange("tow"))
    await conversations.append("c", "1", exchange("two"), replacing=True)
    assert await conversations.load("c", "1") == (exchange("one"), exchange("two"))


async def test_what_is_just_being_added_is_forgotten_as_well(records: RecordStore) -> None:
    writing, goes_on = asyncio.Event(), asyncio.Event()

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(records, name)

        async def put(self, *args: Any, **options: Any) -> None:
            writing.set()
            await goes_on.wait()
            await records.put(*args, **options)

    slow: Any = Slow()
    conversations = Conversations(slow, kept=timedelta(hours=1))
    adding = asyncio.create_task(conversations.append("c", "1", exchange("one")))
    await writing.wait()
    clearing = asyncio.create_task(conversations.clear("c", "1"))
    await asyncio.wait({clearing}, timeout=0.1)
    goes_on.set()
    await adding
    assert await clearing
    assert await conversations.load("c", "1") == ()


async def test_oldest_exchanges_go_whole(conversations: Conversations) -> None:
    for number in range(41):
        await conversations.append("c", "1", exchange(str(number)))
    kept = await conversations.load("c", "1")
    assert kept == tuple(exchange(str(number)) for number in range(1, 41))
    await conversations.append("c", "1", exchange("x" * 399_000))
    assert len(await conversations.load("c", "1")) > 1
    await conversations.append("c", "1", exchange("x" * 500_000))
    assert len(await conversations.load("c", "1")) == 1


def only(text: str) -> Exchange:
    return Exchange((UserMessage(text),))


@pytest.mark.parametrize(("more", "kept"), [(-1, 2), (0, 2), (1, 1)])
async def test_conversation_is_bounded_in_bytes(
    conversations: Conversations, more: int, kept: int
) -> None:
    await conversations.append("c", "1", only("ü" * 100_000))
    await conversations.append("c", "1", only("x" * (200_000 + more)))
    assert len(await conversations.load("c", "1")) == kept


async def test_exchange_too_large_to_keep_is_no_error(conversations: Conversations) -> None:
    await conversations.append("c", "1", only("x" * 2_000_000))
    assert await conversations.load("c", "1") == (only("x" * 2_000_000),)
    await conversations.append("c", "1", only("x" * 2_000_001))
    assert await conversations.load("c", "1") == (only("x" * 2_000_000),)


async def test_half_a_surrogate_pair_costs_a_character_only(conversations: Conversations) -> None:
    call = ToolCall("call-\ud800", "execute_python_code", "\udfff")
    halves = Exchange(
        (
            UserMessage("a\ud800"),
            AssistantMessage("\udc00b", (call,)),
            ToolResult("call-\ud800", "c\ud800"),
        )
    )
    await conversations.append("c", "1", halves)
    call = ToolCall("call-?", "execute_python_code", "?")
    assert await conversations.load("c", "1") == (
        Exchange((UserMessage("a?"), AssistantMessage("?b", (call,)), ToolResult("call-?", "c?"))),
    )


async def test_exchanges_added_at_once_are_all_kept(conversations: Conversations) -> None:
    texts = [str(number) for number in range(8)]
    await asyncio.gather(*(conversations.append("c", "1", only(text)) for text in texts))
    kept = await conversations.load("c", "1")
    assert sorted(kept, key=str) == sorted((only(text) for text in texts), key=str)


async def test_reset_forgets_here_and_deletion_everywhere(conversations: Conversations) -> None:
    for channel in "cde":
        await conversations.append(channel, "1", exchange("mine"))
    await conversations.append("c", "2", exchange("theirs"))
    assert await conversations.clear("c", "1")
    assert not await conversations.clear("c", "1")
    assert await conversations.load("d", "1")
    assert await conversations.clear_user("1") == 2
    assert await conversations.load("d", "1") == ()
    assert await conversations.load("c", "2") == (exchange("theirs"),)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"exchanges": 7},
        {"exchanges": [[{"by": "user"}]]},
        {"exchanges": [[{"by": "assistant", "text": "x", "calls": [1]}]]},
    ],
)
async def test_what_cannot_be_read_is_forgotten(
    conversations: Conversations, records: RecordStore, value: dict[str, Any]
) -> None:
    await records.put("conversations", "c:1", value)
    assert await conversations.load("c", "1") == ()
    await conversations.append("c", "1", exchange("new"))
    assert await conversations.load("c", "1") == (exchange("new"),)


async def test_conversation_goes_on_while_the_database_is_away(
    conversations: Conversations, records: RecordStore, away: Any
) -> None:
    await conversations.append("c", "1", exchange("one"))
    conversations._records = away
    await conversations.append("d", "1", exchange("two"))
    assert await conversations.load("d", "1") == (exchange("two"),)
    conversations._records = records
    await conversations.append("d", "1", exchange("three"))
    assert await Conversations(records, kept=timedelta(hours=1)).load("d", "1") == (
        exchange("two"),
        exchange("three"),
    )


async def test_what_was_said_before_the_database_was_away_is_not_lost(
    conversations: Conversations, records: RecordStore, away: Any
) -> None:
    await conversations.append("c", "1", exchange("before"))
    conversations._records = away
    await conversations.append("c", "1", exchange("meanwhile"))
    await conversations.append("c", "1", exchange("again"), replacing=True)
    conversations._records = records
    assert await conversations.load("c", "1") == (exchange("before"), exchange("again"))
    await conversations.append("c", "1", exchange("after"))
    assert await Conversations(records, kept=timedelta(hours=1)).load("c", "1") == (
        exchange("before"),
        exchange("again"),
        exchange("after"),
    )


async def test_what_was_said_meanwhile_is_deleted_too(
    conversations: Conversations, records: RecordStore, away: Any
) -> None:
    conversations._records = away
    await conversations.append("c", "1", exchange("mine"))
    conversations._records = records
    assert await conversations.clear_user("1") == 1
    assert await conversations.load("c", "1") == ()


async def test_conversation_expires(records: RecordStore) -> None:
    gone = Conversations(records, kept=timedelta(seconds=-1))
    await gone.append("c", "1", exchange("one"))
    assert await gone.load("c", "1") == ()
