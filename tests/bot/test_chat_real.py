"""Turns with real kernels: the model is scripted, everything else is as it is."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from bot import turn_events as events
from bot.assistant import Assistant
from bot.chat import TurnControl
from bot.models import open_model
from bot.settings import BotSettings
from bot.turn_events import TurnEvent
from interpreter import Interpreter, Settings
from tests.openai_server import OpenAIServer

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


@dataclass
class Talk:
    """An assistant with real kernels, and the model's server."""

    assistant: Assistant
    service: Interpreter
    openai: OpenAIServer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def talk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Talk]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("chat") / "data",
        mongodb_uri=os.environ.get("TEST_MONGODB_URI"),
        interrupt_grace_s=2.0,
    )
    async with OpenAIServer.open() as openai, Interpreter.open(settings) as service:
        bot_settings = BotSettings(openai_base_url=openai.base_url)
        async with open_model(bot_settings) as model:
            assistant = Assistant(service=service, model=model, settings=bot_settings)
            yield Talk(assistant, service, openai)


async def test_a_table_is_described_plotted_and_remembered(talk: Talk, tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text("region,amount\nnorth,1\nsouth,2\nnorth,4\n")
    file = await talk.service.files.save(user_id="one", filename="sales.csv", source=path)
    talk.openai.call(
        f'df = load_file("{file.file_id}")\n'
        'df.groupby("region").amount.sum().plot.bar()\ndf.to_csv("copy.csv")\ndf.amount.sum()'
    )
    talk.openai.say("The sum is 7.")
    first = await talk.assistant.turn(
        user_id="one", question="Plot amount by region", new_files=(file,)
    )
    assert first.answer == "The sum is 7."
    assert [artifact.filename for artifact in first.cells[0].artifacts] == ["copy.csv"]
    described, read = talk.openai.requests[-2].question, talk.openai.last
    assert "3 rows x 2 columns" in described
    assert "7" in read.last_result and "copy.csv (id " in read.last_result
    assert len(read.pictures) == 1

    talk.openai.call("len(df)")
    talk.openai.say("3 rows.")
    second = await talk.assistant.turn(
        user_id="one", question="How many rows?", history=(first.exchange,)
    )
    assert second.cells[0].text == "3"
    assert talk.openai.last.pictures == []
    assert "The sum is 7." in talk.openai.last.text


async def test_a_cell_that_fails_is_mended_by_its_traceback(talk: Talk) -> None:
    talk.openai.call("x = 6\nx * why")
    talk.openai.call("x * 7")
    talk.openai.say("It is 42.")
    turn = await talk.assistant.turn(user_id="two", question="What is 6 * 7?")
    assert [cell.status for cell in turn.cells] == ["error", "ok"]
    results = [m["content"] for m in talk.openai.last.messages if m["role"] == "tool"]
    assert "NameError: name 'why' is not defined" in results[0] and "\x1b" not in results[0]
    assert "42" in results[1]


async def test_a_cell_past_its_limit_is_told_and_the_next_turn_works(talk: Talk) -> None:
    talk.openai.call("y = 1\nwhile True: pass")
    talk.openai.say("It took too long.")
    turn = await talk.assistant.turn(user_id="three", question="Run on", timeout_s=0.5)
    assert turn.cells[0].status == "timeout"
    assert "STOPPED at the time limit" in talk.openai.last.last_result
    talk.openai.call("y")
    talk.openai.say("1")
    turn = await talk.assistant.turn(user_id="three", question="What is y?")
    assert turn.cells[0].text == "1"


async def test_a_stop_keeps_the_variables(talk: Talk) -> None:
    control = TurnControl()
    talk.openai.call("z = 5\nprint('on')\nwhile True: pass")

    def stop_when_it_runs(event: TurnEvent) -> None:
        if isinstance(event, events.CellOutput):
            control.stop()

    turn = await talk.assistant.turn(
        user_id="four", question="Run on", control=control, on_event=stop_when_it_runs
    )
    assert (turn.status, turn.cells[0].status) == ("stopped", "interrupted")
    session = await talk.service.session(user_id="four")
    assert (await session.execute("z")).text == "5"


async def test_cancelling_a_turn_interrupts_its_cell(talk: Talk) -> None:
    running = asyncio.Event()
    talk.openai.call("w = 6\nprint('on')\nwhile True: pass")

    def tell(event: TurnEvent) -> None:
        if isinstance(event, events.CellOutput):
            running.set()

    asking = asyncio.create_task(
        talk.assistant.turn(user_id="four", question="Run on", on_event=tell)
    )
    await running.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    session = await talk.service.session(user_id="four")
    assert not session.busy
    assert (await session.execute("w")).text == "6"


async def test_a_cell_asks_the_person(talk: Talk) -> None:
    async def answer(question: str, password: bool) -> str:
        return "Ann"

    talk.openai.call("name = input('Name? ')\nname.upper()")
    talk.openai.say("Hello, Ann.")
    turn = await talk.assistant.turn(user_id="four", question="Ask me", on_input=answer)
    assert "'ANN'" in turn.cells[0].text


async def test_without_anybody_to_ask_input_is_told_to_the_model(talk: Talk) -> None:
    talk.openai.call("input('Name? ')")
    talk.openai.say("I can't ask.")
    await talk.assistant.turn(user_id="four", question="Ask me")
    assert "nobody can answer" in talk.openai.last.last_result
