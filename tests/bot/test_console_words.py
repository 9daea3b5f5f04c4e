"""Questions in words at the console."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from bot.console.completion import ConsoleCompleter
from bot.console.console import HINT_WITH_MODEL, Console
from bot.console.interrupt_key import InterruptKey
from bot.console.output_directory import OutputDirectory
from bot.console.prompt import CellPrompt
from bot.console.questions import is_question
from bot.console.screen import Screen, TerminalSize
from bot.console.talk import open_talk
from bot.settings import BotSettings
from tests.bot.fakes import FakeService, FakeSession, printed, result
from tests.openai_server import OpenAIServer


@pytest.mark.parametrize(
    "text",
    [
        *("hello world", "What is the sum of amount?", "plot it", "show correlations"),
        *("import the csv and plot it", "for each region, give the mean", "analyse this"),
        *("What is the mean (and std) of amount?", "what is 6 * 7", "What's up"),
        *("Wie viele Zeilen hat sales.csv?", "from the sales file, take amount"),
        *("can you make a chart of y = x**2 please", "load sales.csv and show its first rows"),
        "\u8bf7\u753b\u51fa\u9500\u552e\u989d\u56fe\u3002",
        "\u0427\u0442\u043e \u0432 \u0444\u0430\u0439\u043b\u0435?",
    ],
)
def test_words_are_a_question(text: str) -> None:
    assert is_question(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "hello", "x = 1", "1 +", "prnt(x))", "for i in range(10)", "x = = 3"),
        *('print "hello big world"', "import pandas sa pd", "df.head(", "a b", "df.head?", "?df"),
        *("!ls of words here", "%timeit what is this", "def f(x) return x", ":files"),
        *("if x > 3 print(x)", "a = load_file('x.csv'", "df[df.x > 3", "pip install two words"),
        *("# a comment of words", "await thing()", "x is not None", "with open('x') as f print(f)"),
        *("how = 1", "what.x is 3 and", "where(x, y)"),
    ],
)
def test_code_is_no_question_even_if_it_is_wrong(text: str) -> None:
    assert not is_question(text)


@dataclass
class Typist:
    """Somebody at a console with a model."""

    keys: PipeInput
    out: io.StringIO
    service: FakeService
    openai: OpenAIServer
    key: InterruptKey
    running: "asyncio.Task[None]"

    @property
    def session(self) -> FakeSession:
        return self.service.only_session

    async def leaves(self, typed: str = "") -> str:
        """Type, then leave, and give all that was seen."""
        self.keys.send_text(typed + "\x04")
        await self.running
        return self.out.getvalue().partition(HINT_WITH_MODEL + "\n")[2]


@pytest.fixture
async def typist(tmp_path: Path) -> AsyncIterator[Typist]:
    service, out, key = FakeService(), io.StringIO(), InterruptKey(lambda: None)
    screen = Screen(out, size=lambda: TerminalSize(80, 24))
    directory = OutputDirectory(tmp_path / "out")
    async with (
        OpenAIServer.open() as openai,
        open_talk(
            BotSettings(openai_base_url=openai.base_url),
            service,  # type: ignore[arg-type]  # our own seam, faked
            user_id="local",
            screen=screen,
            directory=directory,
        ) as talk,
    ):
        with create_pipe_input() as keys:
            completer = ConsoleCompleter(service, service.only_session)  # type: ignore[arg-type]
            console = Console(
                service,  # type: ignore[arg-type]
                service.only_session,  # type: ignore[arg-type]
                prompt=CellPrompt(
                    completer,
                    history=None,
                    input=keys,
                    output=DummyOutput(),
                    is_words=is_question,
                ),
                screen=screen,
                directory=directory,
                interrupt_key=key,
                talk=talk,
            )
            running = asyncio.create_task(console.run())
            try:
                yield Typist(keys, out, service, openai, key, running)
            finally:
                running.cancel()
                await asyncio.wait([running])


async def test_words_are_asked_and_code_is_run(typist: Typist) -> None:
    typist.session.will("6 * 7", result("42"))
    typist.openai.call("6 * 7", text="Let me see.")
    typist.openai.say("It is 42.")
    seen = await typist.leaves("what is 6 * 7\rx = 1\r")
    assert typist.session.ran == ["6 * 7", "x = 1"]
    assert "Let me see.\n" in seen
    assert "cell 1\n  | 6 * 7\nOut[1]: 42\n" in seen
    assert "It is 42.\n" in seen
    assert seen.count("It is 42.") == 1


async def test_anything_can_be_asked_with_a_command(typist: Typist) -> None:
    typist.openai.say("That's a word.")
    seen = await typist.leaves(":ask what's 'hello'?\r")
    assert typist.openai.last.question == "what's 'hello'?"
    assert "That's a word.\n" in seen


async def test_the_conversation_is_remembered_until_it_is_forgotten(typist: Typist) -> None:
    for answer in ("Hi, Ann.", "Ann.", "I don't know."):
        typist.openai.say(answer)
    await typist.leaves("hello, my name is Ann\rwhat is my name?\r:forget\rwhat is my name?\r")
    first, second, third = (request.text for request in typist.openai.requests)
    assert "Ann" in first and "Hi, Ann." in second
    assert "Ann" not in third.partition("what is my name?")[0].replace("Answer", "")


async def test_ctrl_c_stops_the_turn_and_the_next_one_works(typist: Typist) -> None:
    typist.session.will("loop()", printed("on and on\n"))
    typist.session.will_run_on("loop()")
    typist.openai.call("loop()")
    typist.openai.say("Fine.")
    typist.keys.send_text("run a loop please\r")
    await typist.session.running.wait()
    typist.key.press()
    seen = await typist.leaves("how are you today\r")
    assert "on and on\n" in seen
    assert "Stopped. The variables are kept." in seen
    assert "Fine.\n" in seen


async def test_a_model_that_is_away_is_one_sentence(typist: Typist) -> None:
    typist.openai.fail(401, message="bad key")
    seen = await typist.leaves("how are you today\r")
    assert "The language model refuses our key" in seen
    assert "bad key" not in seen


async def test_an_answer_can_t_command_the_terminal(typist: Typist) -> None:
    typist.openai.say("It is\x1b]0;owned\x07 42.\u202e")
    seen = await typist.leaves("what is 6 * 7\r")
    assert "\x1b]" not in seen and "\x07" not in seen


async def test_a_cell_asks_while_the_model_works(typist: Typist) -> None:
    typist.session.will_ask("name = input()", "Name? ")
    typist.openai.call("name = input()")
    typist.openai.say("Hello, Ann.")
    await typist.leaves("ask me for my name\rAnn\r")
    assert typist.session.answers == ["Ann"]
