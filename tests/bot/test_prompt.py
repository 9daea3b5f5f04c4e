"""What keys do at the prompt."""

import asyncio
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prompt_toolkit.completion import DummyCompleter
from prompt_toolkit.history import FileHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from bot.console.prompt import CellPrompt

NewPrompt = Callable[..., CellPrompt]


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    with create_pipe_input() as pipe:
        yield pipe


@pytest.fixture
def new_prompt(keys: PipeInput) -> NewPrompt:
    def make(history: Path | None = None) -> CellPrompt:
        return CellPrompt(DummyCompleter(), history=history, input=keys, output=DummyOutput())

    return make


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("1 + 1\r", "1 + 1"),
        ("for x in y:\rx\r\r", "for x in y:\n    x"),
        ("def f():\rreturn 1\r\r", "def f():\n    return 1"),
        ("f(\r1)\r", "f(\n    1)"),
        ("'''a\rb'''\r", "'''a\nb'''"),
        ("\r\r1\r", "1"),
        (":upload a\r", ":upload a"),
        ("if a:\x1b\r", "if a:"),
        ("a\x0fb\r", "a\nb"),
        ("x\x1b[D\r\x1b[F\r", "\nx"),
        ("if a:\rb\r\x7fc\r\r", "if a:\n    b\nc"),
        ("if a:\r\x7f\tb\r\r", "if a:\n    b"),
        ("\x1b[200~if a:\r\n    b\r\n\r\n    c\x1b[201~\r\r", "if a:\n    b\n\n    c"),
        ("wrong\x03right\r", "right"),
        ("\x04", None),
    ],
)
async def test_keys(new_prompt: NewPrompt, keys: PipeInput, typed: str, read: str | None) -> None:
    keys.send_text(typed)
    async with asyncio.timeout(20):
        assert await new_prompt().read(1) == read


async def test_what_is_there_already_can_be_run(new_prompt: NewPrompt, keys: PipeInput) -> None:
    keys.send_text("\r")
    assert await new_prompt().read(1, default=":upload a") == ":upload a"


async def test_ctrl_c_drops_what_was_there_already(new_prompt: NewPrompt, keys: PipeInput) -> None:
    keys.send_text("\x031\r")
    assert await new_prompt().read(1, default=":upload a") == "1"


async def test_history_is_kept_for_the_next_time(
    new_prompt: NewPrompt, keys: PipeInput, tmp_path: Path
) -> None:
    history = tmp_path / "state" / "history"
    keys.send_text("first\r")
    await new_prompt(history).read(1)
    assert stat.S_IMODE(history.stat().st_mode) == 0o600, "code can hold secrets"
    assert list(FileHistory(history).load_history_strings()) == ["first"]


async def test_a_history_that_can_t_be_written_is_no_obstacle(
    new_prompt: NewPrompt, keys: PipeInput, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    keys.send_text("1\r")
    assert await new_prompt(tmp_path / "file" / "history").read(1) == "1"


async def test_answers_are_asked_for(new_prompt: NewPrompt, keys: PipeInput) -> None:
    prompt = new_prompt()
    keys.send_text("Ann\rsecret\r\x04")
    assert await prompt.ask("Name: ") == "Ann"
    assert await prompt.ask("\x1b[2JPassword: ", password=True) == "secret"
    with pytest.raises(EOFError):
        await prompt.ask("More: ")
    keys.send_text("\x03")
    with pytest.raises(KeyboardInterrupt):
        await prompt.ask("More: ")
