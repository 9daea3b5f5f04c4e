"""The whole program with real kernels: at a prompt in a terminal, and without one."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bot.console.console import HINT
from interpreter import Interpreter, SessionClosed, Settings
from tests.bot.terminal import ROOT, Terminal, program_in_terminal
from tests.chaos.processes import family_of

pytestmark = pytest.mark.timeout(300)

#: Those of cells, as IPython writes them, name no files like this.
OUR_TRACEBACK = 'File "'
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Data of its own; the kernels' environment is the one that all tests share."""
    given = {
        "DATA_DIR": str(tmp_path / "data"),
        "KERNEL_ENV_DIR": str(Settings(data_dir=tmp_path).kernel_env_dir),
    }
    if uri := os.environ.get("TEST_MONGODB_URI"):
        given["MONGODB_URI"] = uri
    return given


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    path.write_text("name,amount\na,1\nb,2\nc,4\n")
    return path


@pytest.fixture
def terminal(tmp_path: Path, environment: dict[str, str]) -> Iterator[Terminal]:
    words = ("-m", "bot")
    # It is killed at the end, and its kernels are to go with it.
    given = {**environment, "KERNEL_ORPHAN_MINUTES": "0"}
    with program_in_terminal(*words, cwd=tmp_path, environment=given) as terminal:
        terminal.expect(HINT, timeout_s=200)
        terminal.expect("In [1]:")
        yield terminal


def run_batch(
    cwd: Path, environment: dict[str, str], *words: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bot", *words],
        input=stdin,
        cwd=cwd,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(cwd),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=250,
    )


def code_cells(path: Path) -> list[str]:
    notebook = json.loads(path.read_text())
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_a_conversation_with_a_file(terminal: Terminal, tmp_path: Path, sales: Path) -> None:
    terminal.type(":upload sales.csv\r")
    terminal.expect("sales.csv (24 bytes): load_file(")
    terminal.expect("In [1]:")
    terminal.type("df = load_file('sales.csv'); df\r")
    table = terminal.expect("In [2]:")
    assert "  name  amount\r\n0    a       1\r\n" in table

    terminal.type("ax = df.plot();\r")
    terminal.expect("picture saved: cellmate-output/cell-2-figure-1.png")
    terminal.expect("In [3]:")
    picture = tmp_path / "cellmate-output" / "cell-2-figure-1.png"
    assert picture.read_bytes().startswith(PNG_SIGNATURE)

    terminal.type("df.to_csv('copy.csv'); int(df.amount.sum())\r")
    assert "Out[3]: 7\r\nfile saved: cellmate-output/copy.csv" in terminal.expect("In [4]:")
    assert (tmp_path / "cellmate-output" / "copy.csv").read_text().startswith(",name,amount")

    terminal.type("df.desc\t")
    terminal.expect("ribe")
    terminal.type("()\r")
    assert "mean   2.333333" in terminal.expect("In [5]:")

    terminal.type(":vars\r")
    terminal.expect("3 rows x 2 columns")
    terminal.expect("In [5]:")
    terminal.type(":files\r")
    terminal.expect("upload")
    terminal.expect("copy.csv")
    terminal.expect("In [5]:")
    terminal.type(":export\r")
    terminal.expect("notebook saved: cellmate-output/session.ipynb")
    assert code_cells(tmp_path / "cellmate-output" / "session.ipynb")[-1] == "df.describe()"
    terminal.expect("In [5]:")
    terminal.type("\x04")
    assert terminal.ends() == 0
    assert OUR_TRACEBACK not in terminal.seen


def test_what_a_cell_writes_can_t_command_the_terminal(terminal: Terminal) -> None:
    terminal.type(r"print('a\x1b]0;owned\x07b\x1b[2Jc\x1b[6nd\x9b2Je')" "\r")
    terminal.expect("\n")
    shown = terminal.expect("\r\n\r\n")
    assert "\x1b[?2004labcd2Je\r\n" in shown + "\r\n"
    terminal.type(r"raise ValueError('\x1b[2J\x1b]0;owned\x07')" "\r")
    terminal.expect("Traceback")
    assert "\x1b" not in terminal.expect("ValueError:")
    terminal.type(r"type('X', (), {'__repr__': lambda s: 'a\x1bcb'})()" "\r")
    terminal.expect("Out[3]:")
    assert "\x1bc" not in terminal.expect("In [4]:")


def test_ctrl_c_interrupts_and_the_variables_stay(terminal: Terminal) -> None:
    terminal.type("kept = 17; print('run' + 'ning', flush=True); import time; time.sleep(600)\r")
    terminal.expect("running\r\n")
    terminal.type("\x03")
    terminal.expect("interrupting")
    terminal.expect("KeyboardInterrupt")
    terminal.expect("In [2]:")
    terminal.type("kept\r")
    terminal.expect("Out[2]: 17")


def test_through_make_an_interrupted_cell_is_no_failure(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    python = ROOT / ".venv" / "bin" / "python"
    is_current = (str(python), "-I", "-S", str(ROOT / ".make" / "setup.py"), "--is-current")
    if not shutil.which("make") or not python.exists() or subprocess.run(is_current).returncode:
        pytest.skip("make has not set up .venv here")
    make = f"import os; os.execvp('make', ['make', '-C', {str(ROOT)!r}, 'run'])"
    with program_in_terminal("-c", make, cwd=tmp_path, environment=environment) as terminal:
        terminal.expect("In [1]:", timeout_s=200)
        terminal.type("print('run' + 'ning', flush=True); import time; time.sleep(600)\r")
        terminal.expect("running\r\n")
        terminal.type("\x1a\x03")  # Ctrl-Z would stop it where no shell sees it
        terminal.expect("KeyboardInterrupt")
        terminal.expect("In [2]:")
        terminal.type("1 + 1\r")
        terminal.expect("Out[2]: 2")
        terminal.expect("In [3]:")
        terminal.type("\x04")
        assert terminal.ends() == 0, terminal.seen


def test_ctrl_c_twice_restarts_a_kernel_that_doesn_t_listen(terminal: Terminal) -> None:
    terminal.type("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); gone = 1\x0f")
    terminal.type("print('run' + 'ning', flush=True)\x0fwhile True: pass\x1b\r")
    terminal.expect("running\r\n")
    terminal.type("\x03")
    terminal.expect("interrupting")
    terminal.type("\x03")
    terminal.expect("[y/N]")
    terminal.type("y\r")
    terminal.expect("In [1]:")
    terminal.type("'gone' in dir()\r")
    terminal.expect("Out[1]: False")


def test_cells_ask_for_input(terminal: Terminal) -> None:
    terminal.type("name = input('Na' 'me? '); name * 2\r")
    terminal.expect("Name?")
    terminal.type("Ann\r")
    terminal.expect("Out[1]: 'AnnAnn'")
    terminal.expect("In [2]:")
    terminal.type("from getpass import getpass; len(getpass('Sec' 'ret? '))\r")
    terminal.expect("Secret?")
    terminal.type("hunter2\r")
    assert "hunter2" not in terminal.expect("Out[2]: 7")
    terminal.expect("In [3]:")
    terminal.type("input('Mo' 're? ')\r")
    terminal.expect("More?")
    terminal.type("\x04")
    terminal.expect("EOFError")
    terminal.expect("In [4]:")
    terminal.type("input('Mo' 're? ')\r")
    terminal.expect("More?")
    terminal.type("\x03")
    terminal.expect("KeyboardInterrupt")
    terminal.expect("In [5]:")


def test_what_is_replaced_is_taken_back(terminal: Terminal) -> None:
    terminal.type("from IPython.display import clear_output; from time import sleep\r")
    terminal.expect("In [2]:")
    # Without a pause the kernel would send only what remains in the end.
    terminal.type("for i in range(2): clear_output(wait=True); print('step', i); sleep(0.5)\r")
    terminal.expect("step 0\r\n")
    terminal.expect("\r\x1b[1A\x1b[Jstep 1\r\n")


def test_a_dead_kernel_is_said_and_the_next_cell_runs(terminal: Terminal) -> None:
    terminal.type("import os; os._exit(3)\r")
    terminal.expect("exit status 3")
    terminal.expect("In [1]:")
    terminal.type("1 + 1\r")
    terminal.expect("Out[1]: 2")


def test_sigterm_ends_the_program_and_all_it_started(terminal: Terminal, tmp_path: Path) -> None:
    terminal.type("print('run' + 'ning', flush=True); import time; time.sleep(600)\r")
    terminal.expect("running\r\n")
    family = family_of(tmp_path / "data")
    started = [*psutil.Process(terminal.program.pid).children(recursive=True), *family.all()]
    assert family.kernels
    terminal.program.terminate()
    assert terminal.ends() == 0
    _, alive = psutil.wait_procs(started, timeout=20)
    assert alive == []
    assert OUR_TRACEBACK not in terminal.seen


async def test_a_run_on_the_bot_s_data_leaves_what_is_others(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    settings = Settings(
        data_dir=tmp_path / "data",
        mongodb_uri=environment.get("MONGODB_URI"),
        warm_kernels=0,
        kernel_env_dir=Path(environment["KERNEL_ENV_DIR"]),
    )
    snapshots = tmp_path / "data" / "snapshots"
    async with Interpreter.open(settings, keep_kernels=True) as bot:
        session = await bot.session(user_id="42")
        await session.execute("kept = 41; open('made', 'w').close()")
        assert await session.save_state()
        runs = asyncio.Event()
        cell = asyncio.create_task(
            session.execute(
                "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)\nkept + 1",
                on_phase=lambda phase: runs.set() if phase.name == "running" else None,
                note={"turn": "7"},
            )
        )
        await runs.wait()
    with pytest.raises(SessionClosed):
        await cell
    saved = sorted(snapshots.rglob("*"))
    assert saved

    done = await asyncio.to_thread(run_batch, tmp_path, environment, stdin="own = 1; print(own)")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert len(family_of(tmp_path / "data").kernels) == 1, "its own has ended"
    assert sorted(snapshots.rglob("*")) == saved

    async with Interpreter.open(settings) as bot:
        assert bot.find_session("local") is None
        (recovered,) = bot.recovered
        session = await bot.session(user_id="42")
        (work,) = (tmp_path / "data" / "sessions").glob("*/work")
        (work / "go").touch()
        result = await recovered.result
        assert (recovered.user_id, recovered.note, result.text) == ("42", {"turn": "7"}, "42")
        after = await session.execute("import os; kept, os.path.exists('made')")
        assert (after.text, after.state_lost) == ("(41, True)", False)
    assert family_of(tmp_path / "data").all() == ()


def test_a_cell_that_outlived_the_program_is_followed_and_interrupted(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    words = ("-m", "bot")
    with program_in_terminal(*words, cwd=tmp_path, environment=environment) as first:
        first.expect(HINT, timeout_s=200)
        first.expect("In [1]:")
        first.type("import os, time\r")
        first.expect("In [2]:")
        ticks = "open('here', 'w').close(); [print('tick', n) for n in (0, 1)]"
        wait = "while not os.path.exists('go'): time.sleep(0.02)"
        first.type(f"{ticks}; exec({wait!r}); print('tock'); time.sleep(600)\r")
        first.expect("\ntick 1")
        first.program.kill()
    given = {**environment, "KERNEL_ORPHAN_MINUTES": "0"}
    with program_in_terminal(*words, cwd=tmp_path, environment=given) as second:
        second.expect("Last time this cell was still running: open('here'", timeout_s=200)
        second.expect("It goes on; Ctrl-C stops it.")
        second.expect("tick 0\r\ntick 1")
        (here,) = (tmp_path / "data" / "sessions").glob("*/work/here")
        here.with_name("go").touch()
        second.expect("tock")
        second.type("\x03")
        second.expect("interrupting; Ctrl-C once more")
        end = second.expect("The cell was interrupted. The variables are kept.")
        assert "KeyboardInterrupt" in end
        assert "tick 0\r\n" not in end and "tock\r\n" not in end
        second.expect("In [3]:")
        second.type("os.path.exists('go')\r")
        second.expect("Out[3]: True")
        second.expect("In [4]:")
        second.type("\x04")
        assert second.ends() == 0


def test_a_second_program_on_the_same_data_says_so(
    terminal: Terminal, tmp_path: Path, environment: dict[str, str]
) -> None:
    done = run_batch(tmp_path, environment, stdin="1")
    assert done.returncode == 2
    assert done.stderr.endswith("Stop it, or set DATA_DIR to another directory.\n")
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_a_file_of_cells_is_run_without_a_terminal(
    tmp_path: Path, environment: dict[str, str], sales: Path
) -> None:
    (tmp_path / "cells.py").write_text(
        'df = load_file("sales.csv")\nprint(len(FILES), "file")\ndf.describe()\n'
        "# %% a picture\nax = df.plot();\n"
        "# %%\nint(df.amount.sum())\n"
    )
    words = ["--file", "sales.csv", "--run", "cells.py", "--output", "out", "--export", "o.ipynb"]
    done = run_batch(tmp_path, environment, *words)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "1 file"
    assert "count  3.000000" in lines
    assert lines[-2].startswith("picture saved: out/cell-2-figure-1.png (")
    assert lines[-1] == "7"
    assert (tmp_path / "out" / "cell-2-figure-1.png").read_bytes().startswith(PNG_SIGNATURE)
    assert code_cells(tmp_path / "o.ipynb")[-2:] == ["ax = df.plot();", "int(df.amount.sum())"]


def test_a_run_names_the_files_that_are_pushed_out(
    tmp_path: Path, environment: dict[str, str], sales: Path
) -> None:
    (tmp_path / "b.csv").write_text("b")
    words = ["--file", "sales.csv", "--file", "b.csv"]
    limited = {**environment, "MAX_FILES_PER_USER": "1"}
    done = run_batch(tmp_path, limited, *words, stdin="open('c.txt', 'w').write('c')")
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if " went: " in line]
    assert [line.split()[0] for line in told] == ["sales.csv", "b.csv"]
    assert all(line.endswith(" went: 1 file is the most that is kept.") for line in told)


def test_the_exit_status_tells_what_failed(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "cells.py").write_text("print(1)\n# %%\n1/0\n# %%\nprint(3)\n")
    first = run_batch(tmp_path, environment, "--run", "cells.py")
    assert (first.returncode, first.stdout) == (1, "1\n")
    assert "cell 2 of 3 (cells.py, line 3) failed: ZeroDivisionError" in first.stderr
    on = run_batch(tmp_path, environment, "--run", "cells.py", "--keep-going")
    assert (on.returncode, on.stdout) == (1, "1\n3\n")
    wrong = run_batch(tmp_path, environment, "--user", "a/b", stdin="1")
    assert wrong.returncode == 2
    assert "'a/b' can't be used" in wrong.stderr and "Traceback" not in wrong.stderr


def test_a_pipe_is_run_as_one_program(tmp_path: Path, environment: dict[str, str]) -> None:
    done = run_batch(tmp_path, environment, stdin="1 + 1\n")
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


def test_input_comes_from_the_pipe_when_the_cells_don_t(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "ask.py").write_text(
        "print(input('First? '), input('Second? '))\n"
        "try: input()\nexcept EOFError: print('no more')\n"
    )
    done = run_batch(tmp_path, environment, "--run", "ask.py", stdin="Ann\nBob\n")
    assert (done.returncode, done.stdout) == (0, "Ann Bob\nno more\n"), done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_in_order(
    tmp_path: Path, environment: dict[str, str], number: int, status: int
) -> None:
    (tmp_path / "cells.py").write_text("print('running', flush=True)\nwhile True: pass\n")
    words = ("-m", "bot", "--run", "cells.py")
    with program_in_terminal(*words, cwd=tmp_path, environment=environment) as terminal:
        terminal.expect("running\r\n", timeout_s=200)
        started = psutil.Process(terminal.program.pid).children(recursive=True)
        terminal.program.send_signal(number)
        assert terminal.ends() == status
        _, alive = psutil.wait_procs(started, timeout=20)
        assert alive == []
        assert OUR_TRACEBACK not in terminal.seen
