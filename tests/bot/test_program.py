"""The program as a process, as far as it comes without a kernel."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.__main__ import main
from interpreter import Interpreter
from tests.bot.fakes import FakeService

ROOT = Path(__file__).parents[2]


def run_program(
    cwd: Path, *words: str, stdin: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m bot` with nothing on standard input but the given text."""
    return subprocess.run(
        [sys.executable, "-m", "bot", *words],
        input=stdin,
        cwd=cwd,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(cwd),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DATA_DIR": str(cwd / "data"),
            **(environment or {}),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_names_that_look_like_settings_are_said(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DISCORD_TOKN=hunter2\nCOMPOSE_FILE=a\n")
    done = run_program(tmp_path, "--run", "missing.py")
    assert done.stderr.splitlines()[:-1] == [
        "DISCORD_TOKN in .env is no setting and does nothing here: DISCORD_TOKEN may be meant."
    ]


@pytest.mark.parametrize(
    ("words", "stdin", "sentence"),
    [
        (["--run", "missing.py"], "", "'missing.py' can't be read: No such file or directory."),
        (["--run", "."], "", "'.' can't be read: Is a directory."),
        ([], "", "There are no cells in standard input; "),
        (["--run", "-"], "# %%\n\n", "There are no cells in standard input; "),
        (["--run", "-", "--file", "no.csv"], "1", "There is no file 'no.csv'."),
        (["--export", "no/x.ipynb"], "1", "'no/x.ipynb' can't be written: No such file or dir"),
        (["--export", "."], "1", "'.' is a directory; name the notebook in it."),
    ],
)
def test_what_can_t_be_done_is_one_sentence_and_status_2(
    tmp_path: Path, words: list[str], stdin: str, sentence: str
) -> None:
    done = run_program(tmp_path, *words, stdin=stdin)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists(), "nothing was started"


def test_a_notebook_is_never_exported_over_something_else(tmp_path: Path) -> None:
    mine = tmp_path / "mine.ipynb"
    mine.write_text("precious")
    done = run_program(tmp_path, "--export", "mine.ipynb", stdin="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "'mine.ipynb' exists already; choose another name.\n"
    assert mine.read_text() == "precious"
    assert not (tmp_path / "data").exists(), "nothing was started"


def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    (tmp_path / "cells.py").write_text("1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return main(["--run", "cells.py"])


def test_what_the_system_refuses_at_the_start_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @asynccontextmanager
    async def refused(*_: object, **__: object) -> AsyncIterator[FakeService]:
        Path("missing").stat()
        yield FakeService()

    monkeypatch.setattr(Interpreter, "open", refused)
    assert start(tmp_path, monkeypatch) == 2
    assert capsys.readouterr() == ("", "No such file or directory: 'missing'.\n")


def test_a_fault_in_the_middle_isn_t_taken_for_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def opened(*_: object, **__: object) -> AsyncIterator[FakeService]:
        service = FakeService()
        service.only_session.on_execute = Path("missing").stat
        yield service

    monkeypatch.setattr(Interpreter, "open", opened)
    with pytest.raises(FileNotFoundError):
        start(tmp_path, monkeypatch)


def test_all_wrong_settings_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAX_FILES_PER_USER=none\n")
    wrong = {"CODE_EXECUTION_TIMEOUT": "-5"}
    done = run_program(tmp_path, stdin="1", environment=wrong)
    assert done.returncode == 2
    assert "CODE_EXECUTION_TIMEOUT is '-5'" in done.stderr
    assert "MAX_FILES_PER_USER is 'none'" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_cells_to_run_a_discord_token_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DISCORD_TOKEN=very-secret\n")
    done = run_program(tmp_path, "--run", "missing.py")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "very-secret" not in done.stderr + done.stdout


def test_help_needs_nothing(tmp_path: Path) -> None:
    done = run_program(tmp_path, "--help", environment={"CODE_EXECUTION_TIMEOUT": "-5"})
    assert done.returncode == 0
    assert done.stdout.startswith("usage: python -m bot")


def test_help_loads_none_of_the_rest() -> None:
    program = (
        "import sys, contextlib\n"
        "from bot.__main__ import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "assert not {'asyncio', 'interpreter', 'prompt_toolkit'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
