"""Questions with files around them; real kernels where a file has to be looked into."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.assistant import Assistant
from bot.chat import TurnControl
from bot.conversation import AssistantMessage, UserMessage
from bot.models import open_model
from bot.settings import BotSettings
from interpreter import NoCapacity
from tests.bot.fakes import PNG, FakeService, result, stored_file
from tests.openai_server import OpenAIServer


@pytest.fixture
async def openai() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer.open() as openai:
        yield openai


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
async def assistant(openai: OpenAIServer, service: FakeService) -> AsyncIterator[Assistant]:
    settings = BotSettings(openai_base_url=openai.base_url, openai_model="small")
    async with open_model(settings) as model:
        yield Assistant(service=service, model=model, settings=settings)  # type: ignore[arg-type]


async def test_a_question_is_answered(
    assistant: Assistant, service: FakeService, openai: OpenAIServer
) -> None:
    service.only_session.will("6 * 7", result("42"))
    openai.call("6 * 7")
    openai.say("It is 42.")
    turn = await assistant.turn(user_id="local", question=" What is 6 * 7? ")
    assert (turn.status, turn.answer) == ("answered", "It is 42.")
    assert openai.last.body["model"] == "small"
    assert openai.last.question == "What is 6 * 7?"
    assert "IPython kernel" in openai.last.system


async def test_another_model_is_asked_where_one_is_named(
    assistant: Assistant, openai: OpenAIServer
) -> None:
    openai.say("Hello.")
    await assistant.turn(user_id="local", question="Hi", model="large")
    assert openai.last.body["model"] == "large"


async def test_new_files_are_described_and_the_question_is_still_answered(
    assistant: Assistant, service: FakeService, openai: OpenAIServer
) -> None:
    service.only_session.live = False
    service.files.stored = [stored_file("old", "old.csv"), stored_file("new", "new.csv")]
    openai.say("3 rows.")
    turn = await assistant.turn(
        user_id="local", question="How many rows?", new_files=(service.files.stored[1],)
    )
    assert turn.answer == "3 rows."
    assert service.only_session.described == ["new"]
    asked = openai.last.question
    assert "a file, new" in asked and "old.csv" in asked and asked.endswith("How many rows?")
    assert turn.exchange.messages[0] == UserMessage(
        "(Sent with this: new.csv (id new))\nHow many rows?"
    )


async def test_descriptions_are_remembered(
    assistant: Assistant, service: FakeService, openai: OpenAIServer
) -> None:
    service.files.stored = [stored_file("new", "new.csv")]
    for _ in range(2):
        openai.say("3 rows.")
        await assistant.turn(user_id="local", question="How many rows?")
    assert service.only_session.described == ["new"]
    assert "a file, new" in openai.last.question


async def test_descriptions_of_deleted_users_are_forgotten(
    assistant: Assistant, service: FakeService, openai: OpenAIServer
) -> None:
    service.files.stored = [stored_file("new", "new.csv")]
    for forgotten in ("another", "local", "local"):
        openai.say("3 rows.")
        await assistant.turn(user_id="local", question="How many rows?")
        assistant.forget(forgotten)
    assert service.only_session.described == ["new", "new"]


async def test_a_file_that_can_t_be_described_is_still_there(
    assistant: Assistant,
    service: FakeService,
    openai: OpenAIServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def no_kernel(file_id: str) -> str:
        raise NoCapacity(1)

    monkeypatch.setattr(service.only_session, "describe_file", no_kernel)
    service.files.stored = [stored_file("new", "new.csv")]
    openai.say("Let me see.")
    turn = await assistant.turn(
        user_id="local", question="What is it?", new_files=tuple(service.files.stored)
    )
    assert turn.answer == "Let me see."
    assert "new.csv" in openai.last.question


async def test_a_file_alone_is_described_and_nothing_is_run(
    assistant: Assistant, service: FakeService, openai: OpenAIServer
) -> None:
    service.files.stored = [stored_file("new", "new.csv")]
    openai.say("A table. You could ask for a plot.")
    turn = await assistant.turn(user_id="local", question="", new_files=tuple(service.files.stored))
    assert turn.answer == "A table. You could ask for a plot."
    assert openai.last.tool_names == []
    assert "without a question" in openai.last.question


async def test_a_file_alone_is_described_while_the_model_is_away(
    assistant: Assistant, service: FakeService, openai: OpenAIServer
) -> None:
    service.files.stored = [stored_file("new", "new.csv")]
    openai.fail(401)
    turn = await assistant.turn(user_id="local", question="", new_files=tuple(service.files.stored))
    assert turn.status == "answered"
    assert "**new.csv**" in turn.answer and "a file, new" in turn.answer
    assert turn.note is not None and "key" in turn.note


async def test_pictures_that_come_with_a_question_are_shown(
    assistant: Assistant, service: FakeService, openai: OpenAIServer, tmp_path: Path
) -> None:
    from dataclasses import replace

    for name, content in (("a.png", PNG), ("b.png", b"no picture")):
        (tmp_path / name).write_bytes(content)
    files = tuple(
        replace(stored_file(name, name, path=tmp_path / name), file_type="png")
        for name in ("a.png", "b.png")
    )
    service.files.stored = list(files)
    openai.say("A dot.")
    await assistant.turn(user_id="local", question="What is it?", new_files=files)
    assert len(openai.last.pictures) == 1


async def test_no_question_and_no_file_is_asked_back(assistant: Assistant) -> None:
    turn = await assistant.turn(user_id="local", question="  ")
    assert turn.answer == "What would you like to know?"


async def test_a_user_with_no_tokens_left_costs_nothing(
    assistant: Assistant, openai: OpenAIServer
) -> None:
    turn = await assistant.turn(user_id="local", question="Hi", max_tokens=0)
    assert (turn.status, openai.requests) == ("tokens", [])


async def test_a_model_that_writes_its_calls_is_known_from_then_on(
    assistant: Assistant, service: FakeService, openai: OpenAIServer
) -> None:
    openai.say('<tool_call>{"name": "execute_python_code", "arguments": {"code": "1"}}</tool_call>')
    openai.say("One.")
    openai.say("```python\nprint(2)\n```")
    openai.say("Two.")
    for question in ("One?", "Two?"):
        await assistant.turn(user_id="local", question=question)
    assert service.only_session.ran == ["1", "print(2)"]


async def test_a_turn_is_stopped_while_files_are_looked_into(
    assistant: Assistant,
    service: FakeService,
    openai: OpenAIServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looking = asyncio.Event()

    async def for_ever(file_id: str) -> str:
        looking.set()
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(service.only_session, "describe_file", for_ever)
    service.files.stored = [stored_file("new", "new.csv")]
    control = TurnControl()
    asking = asyncio.create_task(
        assistant.turn(
            user_id="local",
            question="What is it?",
            new_files=tuple(service.files.stored),
            control=control,
        )
    )
    await looking.wait()
    control.stop()
    turn = await asking
    assert (turn.status, openai.requests) == ("stopped", [])


# -- without a model ---------------------------------------------------------------------------


@pytest.fixture
def alone(service: FakeService) -> Assistant:
    return Assistant(service=service, model=None, settings=BotSettings())  # type: ignore[arg-type]


async def test_without_a_model_a_question_gets_a_sentence(alone: Assistant) -> None:
    turn = await alone.turn(user_id="local", question="Hi")
    assert (turn.status, turn.answer) == ("failed", "")
    assert turn.note is not None and "OPENAI_API_KEY" in turn.note
    assert isinstance(turn.exchange.messages[-1], AssistantMessage)


async def test_without_a_model_a_file_is_described(alone: Assistant, service: FakeService) -> None:
    from dataclasses import replace

    service.files.stored = [replace(stored_file("new", "new.csv"), file_type="csv")]
    turn = await alone.turn(user_id="local", question="", new_files=tuple(service.files.stored))
    assert turn.status == "answered"
    assert "a file, new" in turn.answer and "- Which columns are correlated?" in turn.answer


async def test_no_model_is_opened_where_none_is_set() -> None:
    async with open_model(BotSettings()) as model:
        assert model is None
