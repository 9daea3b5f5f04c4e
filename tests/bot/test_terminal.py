"""The console in a real terminal, on a scripted service: keys, signals, and what is left behind."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.console.console import HINT
from tests.bot.terminal import Terminal, program_in_terminal

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with program_in_terminal("-m", "tests.bot.fake_console", cwd=tmp_path) as terminal:
        terminal.expect(HINT)
        terminal.expect("In [1]:")
        yield terminal


def test_cells_are_run_and_ctrl_d_leaves(terminal: Terminal) -> None:
    terminal.type("hello()\r")
    terminal.expect("Hello")
    between = terminal.expect("Out[1]: 1")
    assert "\x1b]0;" not in between and "\x07" not in between
    terminal.expect("In [2]:")
    terminal.type("\x04")
    assert terminal.ends() == 7


def test_ctrl_c_interrupts_the_cell_and_the_prompt_comes_back(terminal: Terminal) -> None:
    terminal.type("loop()\r")
    terminal.expect("running")
    terminal.type("\x03")
    terminal.expect("interrupting")
    terminal.expect("In [2]:")
    terminal.type("again()\r")
    terminal.expect("Out[1]: 2")
    terminal.expect("In [3]:")
    terminal.type("\x04")
    assert terminal.ends() == 7
    assert "interrupts: 1" in terminal.seen


def test_a_secret_is_not_shown(terminal: Terminal) -> None:
    terminal.type("ask()\r")
    terminal.expect("Name?")
    terminal.type("Ann\r")
    terminal.expect("In [2]:")
    terminal.type("secret()\r")
    terminal.expect("Password?")
    terminal.type("hunter2\r")
    shown = terminal.expect("In [3]:")
    assert "hunter2" not in shown and "*******" in shown
    terminal.type("\x04")
    terminal.expect("answers: ['Ann', 'hunter2']")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("busy", [False, True])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: int, busy: bool) -> None:
    with program_in_terminal("-m", "tests.bot.fake_console", cwd=tmp_path) as terminal:
        before = terminal.modes()
        terminal.expect("In [1]:")
        if busy:
            terminal.type("loop()\r")
            terminal.expect("running")
        terminal.program.send_signal(number)
        terminal.expect("answers:")
        after = terminal.modes()
        assert terminal.ends() == 143
        assert after == before, "the terminal is as it was"
        assert "Traceback" not in terminal.seen
