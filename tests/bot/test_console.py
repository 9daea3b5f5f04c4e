"""The console with scripted cells: what is typed, run, interrupted and said."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from bot.console.completion import ConsoleCompleter
from bot.console.console import HINT, Console
from bot.console.interrupt_key import InterruptKey
from bot.console.output_directory import OutputDirectory
from bot.console.prompt import CellPrompt
from bot.console.screen import Screen, TerminalSize
from interpreter import Execution, FileTooLarge, KernelInfo, QueueFull, Recovered, Variable
from interpreter.delivery import Delivery
from tests.bot.fakes import FakeService, FakeSession, printed, result, stored_file


@dataclass
class Typist:
    """Somebody at the console, and what they see."""

    keys: PipeInput
    prompt: "Prompt"
    out: io.StringIO
    service: FakeService
    key: InterruptKey
    directory: Path
    running: "asyncio.Task[None]"

    @property
    def session(self) -> FakeSession:
        return self.service.only_session

    @property
    def seen(self) -> str:
        return self.out.getvalue().partition(HINT + "\n")[2]

    def type(self, text: str) -> None:
        self.keys.send_text(text)

    async def leaves(self, typed: str = "") -> str:
        """Type, then leave, and give all that was seen."""
        self.keys.send_text(typed + "\x04")
        await self.running
        return self.seen


class Prompt(CellPrompt):
    """A prompt that says when it asked, and when it got an answer."""

    def __init__(self, completer: ConsoleCompleter, keys: PipeInput) -> None:
        super().__init__(completer, history=None, input=keys, output=DummyOutput())
        self.asked = asyncio.Event()
        self.answered = asyncio.Event()

    async def ask(self, question: str, *, password: bool = False) -> str:
        self.asked.set()
        try:
            return await super().ask(question, password=password)
        finally:
            self.answered.set()


@pytest.fixture
async def typist(tmp_path: Path) -> AsyncIterator[Typist]:
    async with at_console(tmp_path) as typist:
        yield typist


@asynccontextmanager
async def at_console(
    tmp_path: Path, *uploads: Path, recovered: tuple[Recovered, ...] = ()
) -> AsyncIterator[Typist]:
    service, out, key = FakeService(), io.StringIO(), InterruptKey(lambda: None)
    service.recovered = recovered
    with create_pipe_input() as keys:
        completer = ConsoleCompleter(service, service.only_session)  # type: ignore[arg-type]
        prompt = Prompt(completer, keys)
        console = Console(
            service,  # type: ignore[arg-type]  # our own seam, faked
            service.only_session,  # type: ignore[arg-type]
            prompt=prompt,
            screen=Screen(out, size=lambda: TerminalSize(80, 24)),
            directory=OutputDirectory(tmp_path / "out"),
            interrupt_key=key,
        )
        running = asyncio.create_task(console.run(uploads=uploads))
        try:
            async with asyncio.timeout(30):
                yield Typist(keys, prompt, out, service, key, tmp_path / "out", running)
        finally:
            running.cancel()
            await asyncio.wait([running])


async def test_cells_are_run_and_answered(typist: Typist) -> None:
    typist.session.will("x = 1")
    typist.session.will("x", result("1", 2))
    assert await typist.leaves("x = 1\rx\r") == "\nOut[2]: 1\n\n"
    assert typist.session.ran == ["x = 1", "x"]


def _recovered(code: str, user_id: str, execution: Execution) -> Recovered:
    async def known() -> Execution:
        return execution

    begun = datetime.now(UTC)
    return Recovered(user_id, f"c{user_id}", {}, code, begun, asyncio.create_task(known()))


async def test_a_cell_that_outlived_the_last_console_is_shown_first(tmp_path: Path) -> None:
    done = Execution(status="ok", code="", outputs=(printed("found 3\n"),), count=4)
    mine = _recovered("\n  x = search()\nprint(x)", "local", done)
    another = _recovered("secret()", "somebody", done)
    async with at_console(tmp_path, recovered=(another, mine)) as typist:
        seen = await typist.leaves("x\r")
    first, _, rest = seen.partition("\n")
    assert first == "Last time this cell was still running: x = search()"
    assert rest.startswith("found 3\n"), "it has ended: nobody waits for it"
    assert "secret" not in seen
    assert typist.service.acknowledged == [mine]
    assert typist.session.ran == ["x"]


async def test_a_cell_that_outlived_the_last_console_can_be_interrupted(tmp_path: Path) -> None:
    stopped = asyncio.Event()

    async def running() -> Execution:
        await stopped.wait()
        return Execution(status="interrupted", code="")

    task = asyncio.create_task(running())
    cell = Recovered("local", "c", {}, "loop()", datetime.now(UTC), task)
    async with at_console(tmp_path, recovered=(cell,)) as typist:
        while "It goes on" not in typist.out.getvalue():  # noqa: ASYNC110 -- nothing announces it
            await asyncio.sleep(0.01)
        typist.key.press()
        while not typist.session.interrupts:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        stopped.set()
        await typist.leaves()
    assert typist.service.acknowledged == [cell]


async def test_a_cell_that_outlived_the_last_console_shows_its_outputs_as_they_come(
    tmp_path: Path,
) -> None:
    ended, delivery = asyncio.Event(), Delivery()

    async def running() -> Execution:
        await ended.wait()
        await delivery.finish()
        return Execution(status="ok", code="", outputs=(printed("tick 0\ntick 1\n"),), count=4)

    task = asyncio.create_task(running())
    cell = Recovered("local", "c", {}, "loop()", datetime.now(UTC), task, delivery)
    delivery.begin(lambda: (printed("tick 0\n"),))
    async with at_console(tmp_path, recovered=(cell,)) as typist:
        while "tick 0" not in typist.out.getvalue():  # noqa: ASYNC110 -- nothing announces it
            await asyncio.sleep(0.01)
        delivery.put(printed("tick 1\n"))
        while "tick 1" not in typist.out.getvalue():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert not task.done()
        ended.set()
        seen = await typist.leaves("x\r")
    assert "It goes on; Ctrl-C stops it.\ntick 0\ntick 1\n\n" in seen
    assert seen.count("tick") == 2
    assert typist.service.acknowledged == [cell]


@pytest.mark.parametrize("leave", ["\x04", ":quit\r", "exit\r", "quit()\r", ":q\r"])
async def test_there_are_several_ways_to_leave(typist: Typist, leave: str) -> None:
    typist.type(leave)
    await typist.running
    assert typist.session.ran == []


async def test_ctrl_c_at_the_prompt_clears_the_line(typist: Typist) -> None:
    await typist.leaves("wrong\x03right\r")
    assert typist.session.ran == ["right"]


async def test_ctrl_c_interrupts_the_running_cell_once(typist: Typist) -> None:
    typist.session.will_run_on("loop()")
    typist.type("loop()\r")
    await typist.session.running.wait()
    typist.key.press()
    seen = await typist.leaves("after\r")
    assert "interrupting; Ctrl-C once more to restart the kernel" in seen
    assert typist.session.interrupts == 1
    assert typist.session.restarts == 0
    assert typist.session.ran == ["loop()", "after"]


@pytest.mark.parametrize(("answer", "restarts"), [("y\r", 1), ("YES\r", 1), ("n\r", 0), ("\r", 0)])
async def test_ctrl_c_twice_offers_a_restart(typist: Typist, answer: str, restarts: int) -> None:
    typist.session.will_run_on("loop()", after_interrupt=None)
    typist.type("loop()\r")
    await typist.session.running.wait()
    typist.key.press()
    typist.key.press()
    typist.type(answer)
    await typist.prompt.answered.wait()
    if not restarts:
        typist.session.stopped.set()
    await typist.leaves("after\r")
    assert typist.session.restarts == restarts
    assert typist.session.ran == ["loop()", "after"]


async def test_an_offer_to_restart_goes_away_with_the_cell(typist: Typist) -> None:
    typist.session.will_run_on("loop()", after_interrupt=None)
    typist.type("loop()\r")
    await typist.session.running.wait()
    typist.key.press()
    typist.key.press()
    await typist.prompt.asked.wait()
    typist.session.stopped.set()
    await typist.leaves()
    assert typist.session.restarts == 0


async def test_a_cell_s_question_is_asked(typist: Typist) -> None:
    typist.session.will_ask("name = input('Name: ')", "Name: ")
    await typist.leaves("name = input('Name: ')\rAnn\r")
    assert typist.session.answers == ["Ann"]


async def test_ctrl_d_as_an_answer_is_the_end_of_input(typist: Typist) -> None:
    typist.session.will_ask("input()", "")
    await typist.leaves("input()\r\x04")
    assert typist.session.answers == ["\x04"]


async def test_ctrl_c_as_an_answer_interrupts_the_cell(typist: Typist) -> None:
    typist.session.will_ask("input()", "")
    await typist.leaves("input()\r\x03")
    assert typist.session.interrupts == 1


async def test_files_are_uploaded_listed_and_deleted(typist: Typist, tmp_path: Path) -> None:
    (tmp_path / "sales 1.csv").write_text("a\n1\n")
    (tmp_path / "b.csv").write_text("b\n")
    seen = await typist.leaves(
        f":upload '{tmp_path}/sales 1.csv' {tmp_path}/b.csv\r:files\r:delete id1 b.csv\r:files\r"
    )
    assert 'sales 1.csv (4 bytes): load_file("id1")' in seen
    assert "id1  sales 1.csv  unknown  4 bytes  upload" in seen
    assert "deleted sales 1.csv (id1)\ndeleted b.csv (id2)" in seen
    assert seen.endswith("There are no files yet; :upload PATH gives some.\n")


async def test_the_same_file_again_is_not_stored_twice(typist: Typist, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a")
    await typist.leaves(f":upload {tmp_path}/a.csv\r:upload {tmp_path}/a.csv\r")
    assert typist.service.files.saves == 1


async def test_the_same_file_is_recognised_though_its_name_is_shown_differently(
    typist: Typist, tmp_path: Path
) -> None:
    (tmp_path / "new\nline.csv").write_text("a")
    await typist.leaves(f":upload {tmp_path}/new*.csv\r:upload {tmp_path}/new*.csv\r")
    assert typist.service.files.saves == 1


async def test_what_an_upload_pushes_out_is_named(typist: Typist, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a")
    (tmp_path / "b.csv").write_text("b")
    typist.service.files.cap = 1
    seen = await typist.leaves(f":upload {tmp_path}/a.csv {tmp_path}/b.csv\r")
    assert seen.endswith(
        'b.csv (1 byte): load_file("id2")\n'
        "a.csv (id id1) went: 20 files are the most that are kept.\n"
    )


async def test_what_a_cell_s_file_pushes_out_is_named(typist: Typist) -> None:
    old = stored_file("id1", "old\x1b.csv")
    typist.service.files.stored = [old]
    typist.session.on_execute = lambda: typist.service.files.remove(old)
    seen = await typist.leaves("1\r")
    assert seen == "old\u241b.csv (id id1) went: 20 files are the most that are kept.\n\n"


async def test_what_expires_or_is_another_s_meanwhile_is_not_called_pushed_out(
    typist: Typist,
) -> None:
    expired = replace(stored_file("id1", "a.csv"), expires_at=datetime.now(UTC))
    others = replace(stored_file("id2", "b.csv"), user_id="other")
    files = typist.service.files
    files.stored = [expired, others]
    typist.session.on_execute = lambda: [files.remove(file) for file in (expired, others)]
    assert await typist.leaves("1\r") == "\n"


async def test_what_is_deleted_is_not_called_pushed_out(typist: Typist) -> None:
    typist.service.files.stored = [stored_file("id1", "a.csv")]
    assert await typist.leaves(":delete a.csv\r") == "deleted a.csv (id1)\n"


async def test_a_changed_file_is_stored_again(typist: Typist, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a")
    typist.session.will_ask("input()", "")
    typist.type(f":upload {path}\rinput()\r")
    await typist.prompt.asked.wait()
    path.write_text("b")
    await typist.leaves(f"\r:upload {path}\r")
    assert typist.service.files.saves == 2


async def test_files_named_on_the_command_line_are_uploaded_first(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a")
    async with at_console(tmp_path, tmp_path / "a.csv") as typist:
        await typist.leaves()
        assert typist.out.getvalue() == f'a.csv (1 byte): load_file("id1")\n{HINT}\n'


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (":upload /nowhere/a.csv", "There is no file '/nowhere/a.csv'."),
        (":upload /", "'/' is a directory; name the files in it."),
        (":upload /dev/null", "'/dev/null' isn't a regular file."),
        (":delete zzz", "No file has the id or name 'zzz'; :files lists them."),
        (":frobnicate", "There is no command :frobnicate; :help lists them all."),
    ],
)
async def test_a_refusal_is_one_sentence(typist: Typist, typed: str, sentence: str) -> None:
    assert await typist.leaves(typed + "\r") == sentence + "\n"


async def test_an_ambiguous_name_is_not_deleted(typist: Typist) -> None:
    typist.service.files.stored = [stored_file("a", "x.csv"), stored_file("b", "x.csv")]
    seen = await typist.leaves(":delete x.csv\r")
    assert seen == "2 files are called 'x.csv'; choose one by id: a, b.\n"
    assert len(typist.service.files.stored) == 2


async def test_the_service_s_errors_are_sentences_and_the_console_goes_on(
    typist: Typist, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("a")
    typist.service.files.refusal = FileTooLarge("a.csv", 1, 0)
    typist.session.refusal = QueueFull(1)
    seen = await typist.leaves(f":upload {tmp_path}/a.csv\r1\r")
    assert seen == f"{FileTooLarge('a.csv', 1, 0)}\n{QueueFull(1)}\n"


async def test_a_path_alone_is_offered_for_upload(typist: Typist, tmp_path: Path) -> None:
    (tmp_path / "a b.csv").write_text("a")
    seen = await typist.leaves(f"'{tmp_path}/a b.csv'\r\r")
    assert "That is a file; Enter uploads it." in seen
    assert 'a b.csv (1 byte): load_file("id1")' in seen
    assert typist.session.ran == []


async def test_variables_are_listed(typist: Typist) -> None:
    typist.session.named = (
        Variable("df", "pandas.DataFrame", "3 x 2", 2048, "   a\n0  1"),
        Variable("n", "int", None, None, "\x1b[2J"),
    )
    seen = await typist.leaves(":vars\r")
    assert seen == (
        "name  type              shape     size  value\n"
        "df    pandas.DataFrame  3 x 2  2.0 KiB     a\u240a0  1\n"
        "n     int                               \u241b[2J\n"
    )


async def test_a_restart_is_said(typist: Typist) -> None:
    seen = await typist.leaves(":restart\r")
    assert seen == "A new kernel is ready: the variables are gone, the files are here.\n"
    assert typist.session.restarts == 1


async def test_kernels_are_listed(typist: Typist) -> None:
    now = datetime.now(UTC)
    typist.service.live = (
        KernelInfo(
            user_id="local",
            kernel_id="k",
            pid=42,
            state="idle",
            started_at=now,
            last_active_at=now,
            cells=3,
            memory_bytes=36 << 20,
            cpu_s=1.25,
        ),
    )
    seen = await typist.leaves(":kernels\r")
    row = seen.splitlines()[1].split()
    assert row[:3] + row[-5:] == ["local", "idle", "42", "3", "36.0", "MiB", "1.2", "s"]


async def test_the_notebook_is_saved(typist: Typist, tmp_path: Path) -> None:
    path = tmp_path / "mine"
    seen = await typist.leaves(f"1 + 1\r:export\r:export {path}\r2\r:export {path}\r:export\r")
    lines = [line for line in seen.splitlines() if line]
    assert lines == [
        f"notebook saved: {typist.directory / 'session.ipynb'}",
        f"notebook saved: {path}.ipynb",
        f"notebook saved: {path}.ipynb",
        f"notebook saved: {typist.directory / 'session-2.ipynb'}",
    ]
    notebook = json.loads((tmp_path / "mine.ipynb").read_text())
    assert ["".join(cell["source"]) for cell in notebook["cells"]] == ["1 + 1", "2"]


async def test_a_notebook_is_never_written_over_something_else(
    typist: Typist, tmp_path: Path
) -> None:
    (tmp_path / "mine.ipynb").write_text("precious")
    seen = await typist.leaves(f":export {tmp_path}/mine.ipynb\r:export {tmp_path}\r")
    assert "exists already; choose another name." in seen
    assert "is a directory; name the notebook in it." in seen
    assert (tmp_path / "mine.ipynb").read_text() == "precious"


@pytest.mark.parametrize("target", ["/nowhere/x.ipynb", "/nowhere/x"])
async def test_a_notebook_that_can_t_be_written_is_one_sentence(
    typist: Typist, target: str
) -> None:
    seen = await typist.leaves(f":export {target}\r")
    assert seen == "'/nowhere/x.ipynb' can't be written: No such file or directory.\n"


async def test_what_a_cell_prints_can_t_command_the_terminal(typist: Typist) -> None:
    typist.session.will("evil()", printed("\x1b]0;owned\x07\x1b[2J"))
    seen = await typist.leaves("evil()\r")
    assert "\x1b" not in seen and "\x07" not in seen


async def test_a_fault_of_ours_costs_nobody_their_variables(
    typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    typist.service.kernels = fail  # type: ignore[assignment, method-assign]
    seen = await typist.leaves(":kernels\r1\r")
    assert seen.startswith("That failed for a reason of its own; the log has it.\n")
    assert typist.session.ran == ["1"]
