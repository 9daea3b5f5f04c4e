"""A service that is killed, and the one after it: kernels, cells and their results go on.

Most tests look at one great fall: an earlier service, in a process of its own, runs a cell for each
of many users, and is killed in the middle of them. Its successor lives here.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from interpreter import Execution, Interpreter, Phase, Recovered, SessionClosed, Settings
from tests.chaos.processes import database_of, family_of, kill
from tests.installing.index import PackageIndex, make_wheel
from tests.service.unrestored import leave_unrestored
from tests.service.waiting import until

_AWAY_S = 1.5
#: How long the services after it keep files: those of before have expired then.
_KEPT_S = 3.0
_UNACKNOWLEDGED = ("through", "died")
_PLAIN = make_wheel("plainly", "1.2", files={"plainly.py": "value = 'plain'\n"})
_DEAF_US = 6_000_000
_COUNT = "import time\nfor i in range(30):\n    print(i); time.sleep(0.1)\n"
#: What each user runs when the service is killed.
_CELLS: dict[str, dict[str, Any]] = {
    "killed": {"code": "import time; time.sleep(60)"},
    "buys": {"code": "import plainly; plainly.value", "timeout_s": 1.0},
    "deaf": {"code": f"import ctypes; ctypes.PyDLL(None).usleep({_DEAF_US})\nprint('heard')"},
    "asks": {"code": "try:\n    input('name? ')\nexcept EOFError: pass", "asks": True},
    "through": {
        "code": f"{_COUNT}open('made.txt', 'w').write('made')\nx += 1\nx",
        "note": {"turn": "7", "": "$.\0"},
    },
    "ended": {"code": "import time; print('soon'); time.sleep(1.6); print('over'); 1 / 0"},
    "died": {"code": "import os, time; time.sleep(1.6); os._exit(3)"},
    "late": {"code": "import time\nwhile True: time.sleep(0.05)", "timeout_s": 1.6},
}
#: They have variables, and nothing to do.
_IDLE = ("idle", "expired", "lost", "stale", "left")


@dataclass
class Earlier:
    """A service in a process of its own.

    Attributes:
        begun: whose cells were begun, in order.
        ended: whose cells have ended, with their texts, in order.
    """

    process: asyncio.subprocess.Process
    begun: list[str] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)
    _events: dict[str, asyncio.Event] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def running(cls, settings: Mapping[str, Any]) -> AsyncIterator["Earlier"]:
        """One that is killed at the end at the latest."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.service.earlier_service"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        earlier = cls(process)
        earlier._write(dict(settings))
        assert process.stdout is not None
        assert json.loads(await process.stdout.readline()) == {"open": True}
        listening = asyncio.create_task(earlier._listen())
        try:
            yield earlier
        finally:
            if process.returncode is None:
                process.kill()
            await listening
            await process.wait()

    async def run(self, user: str, code: str, **more: Any) -> str:
        """Run a cell to its end; gives its text."""
        await self.begin(user, code, **more)
        return await self.end_of(user)

    async def end_of(self, user: str) -> str:
        """Wait for the end of a user's cell that has begun last; gives its text."""
        begun = sum(name == user for name in self.begun)
        while len(texts := [t for name, t in self.ended if name == user]) < begun:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # a line comes
        return texts[-1]

    async def begin(self, user: str, code: str, *, phase: str = "running", **more: Any) -> None:
        """Have a cell run; returns once it does."""
        begun = self._events[f"{user} {phase}"] = asyncio.Event()
        self.begun.append(user)
        self._write({"user": user, "code": code, **more})
        await begun.wait()

    def _write(self, content: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(content).encode() + b"\n")

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            said = json.loads(line)
            if "ended" in said:
                self.ended.append((said["ended"], said["text"]))
            elif (begun := self._events.get(f"{said['begun']} {said['phase']}")) is not None:
                begun.set()


@dataclass
class Fall:
    """What is left after the great fall.

    Attributes:
        handed_on: whose results the earlier service had handed on since the cells began.
        kernels: how many kernels the second service found.
        recovered: the cells that it found, by user;
        results: of those.
        active: when their users were last active, by what the second service knew;
        refused: what callers in the second service got when it left.
        third: the service after that, which runs now;
        again: the cells that it found, by user;
        results_again: of those.
    """

    handed_on: list[tuple[str, str]]
    kernels: int
    recovered: dict[str, Recovered]
    results: dict[str, Execution]
    active: dict[str, datetime]
    refused: list[BaseException | Execution]
    third: Interpreter
    again: dict[str, Recovered]
    results_again: dict[str, Execution]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fall() -> AsyncIterator[Fall]:
    """The great fall, and two services after it."""
    with tempfile.TemporaryDirectory(prefix="cellmate-fall-") as directory:
        Path(directory).chmod(0o711)
        async with PackageIndex.open() as index:
            index.add(_PLAIN)
            index.page_faults["plainly"] = "silent"
            settings = {
                "data_dir": f"{directory}/data",
                "package_index": index.url,
                "warm_kernels": 0,
                "interrupt_grace_s": 2.0,
                "cell_timeout_s": 30.0,
            }
            handed_on = await _fall(settings)
            index.page_faults.clear()
            later = Settings(**settings, file_retention_hours=_KEPT_S / 3600)
            async with Interpreter.open(later, keep_kernels=True) as second:
                recovered, results = await _results(second)
                active = {
                    user: (await second.session(user_id=user)).last_active_at for user in recovered
                }
                refused = await _leave_cells(second)
                for user, cell in recovered.items():
                    if user not in _UNACKNOWLEDGED:
                        await second.acknowledge(cell)
            async with Interpreter.open(later) as third:
                again, results_again = await _results(third)
                yield Fall(
                    handed_on,
                    second.reattached,
                    recovered,
                    results,
                    active,
                    await asyncio.gather(*refused, return_exceptions=True),
                    third,
                    again,
                    results_again,
                )


async def _fall(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    data_dir = Path(settings["data_dir"])
    async with Earlier.running(settings) as earlier:
        inits = set()
        for user in (*_CELLS, *_IDLE):
            await earlier.run(user, f"x = 41; open('old.txt', 'w').write({user!r});")
            if user == "killed":
                inits = {*family_of(data_dir).inits}
        (killed,) = inits
        phases = {"asks": "input", "buys": "installing"}
        for user, cell in _CELLS.items():
            await earlier.begin(user, phase=phases.get(user, "running"), **cell)
        await earlier.begin("stale", "import time; time.sleep(0.8); 'first'")
        await asyncio.sleep(0.4)
        database = database_of(data_dir)
        assert database is not None
        kill(database, signal.SIGSTOP)  # from here on, nothing more is written down
        assert await earlier.end_of("stale") == "'first'"
        assert await earlier.run("stale", "'second'") == "'second'"
        await earlier.begin("lost", "import time; time.sleep(6); print('unknown'); x")
        await asyncio.sleep(0.1)
        earlier.process.kill()
        await earlier.process.wait()
        kill(database)
        kill(killed)
    await asyncio.sleep(_AWAY_S)
    return earlier.ended[len(_CELLS) + len(_IDLE) :]


async def _results(service: Interpreter) -> tuple[dict[str, Recovered], dict[str, Execution]]:
    cells = {cell.user_id: cell for cell in service.recovered}
    assert len(cells) == len(service.recovered)
    return cells, {user: await cell.result for user, cell in cells.items()}


async def _leave_cells(service: Interpreter) -> list["asyncio.Task[Execution]"]:
    """Have a cell run that is left by the service, one wait behind it, and one be over before."""
    running = asyncio.Event()

    def tell(phase: Phase) -> None:
        if phase.name == "running":
            running.set()

    idle = await service.session(user_id="idle")
    slow = "import time; time.sleep(1.5); x += 1; x"
    cells = [
        asyncio.create_task(idle.execute(slow, note={"turn": "8"}, on_phase=tell)),
        asyncio.create_task(idle.execute("x = 0")),
    ]
    await running.wait()
    running.clear()
    left = await service.session(user_id="left")
    over = asyncio.create_task(left.execute("import time; time.sleep(0.1); 'over'", on_phase=tell))
    await running.wait()
    assert left.keep_result()
    assert (await over).text == "'over'"
    assert not left.keep_result()
    return cells


@pytest.mark.parametrize("user", _CELLS)
async def test_no_result_is_given_to_nobody_or_twice(fall: Fall, user: str) -> None:
    assert user in fall.recovered
    assert user not in [name for name, _ in fall.handed_on]


async def test_cell_goes_on_and_its_output_has_no_gap(fall: Fall) -> None:
    result, cell = fall.results["through"], fall.recovered["through"]
    assert (result.status, result.state_lost, result.message) == ("ok", False, None)
    assert result.text == "".join(f"{i}\n" for i in range(30)) + "42"
    assert [file.filename for file in result.artifacts] == ["made.txt"]
    assert dict(cell.note) == _CELLS["through"]["note"]
    assert cell.code == result.code == _CELLS["through"]["code"]
    assert result.durations.run_s > 3.0


async def test_cell_that_ended_meanwhile_has_its_result_and_its_time(fall: Fall) -> None:
    result = fall.results["ended"]
    assert (result.status, result.state_lost) == ("error", False)
    assert result.text.startswith("soon\nover\n") and "ZeroDivisionError" in result.text
    assert 1.6 < result.durations.run_s < fall.results["late"].durations.run_s


async def test_time_without_a_service_counts(fall: Fall) -> None:
    result = fall.results["late"]
    assert (result.status, result.state_lost) == ("timeout", False)
    assert (
        result.message
        == "The cell was stopped after 1.6 s, the time limit. The variables are kept."
    )


async def test_time_of_an_installation_does_not_count(fall: Fall) -> None:
    result = fall.results["buys"]
    assert (result.status, result.text) == ("ok", "'plain'")
    assert result.installed == ("plainly==1.2",)
    assert result.durations.run_s < 1.0


async def test_cell_that_nobody_can_answer_is_interrupted(fall: Fall) -> None:
    result = fall.results["asks"]
    assert (result.status, result.state_lost) == ("interrupted", False)
    assert result.message is not None and "input()" in result.message


async def test_kernel_that_cannot_answer_yet_is_waited_for(fall: Fall) -> None:
    assert (fall.results["deaf"].status, fall.results["deaf"].text) == ("ok", "heard\n")


async def test_user_is_active_when_a_recovered_cell_ends(fall: Fall) -> None:
    through, killed = fall.recovered["through"], fall.recovered["killed"]
    run_s = fall.results["through"].durations.run_s
    assert fall.active["through"] > through.started_at + timedelta(seconds=run_s)
    assert fall.active["killed"] >= killed.started_at, "its beginning counts, too"


async def test_kernel_that_ended_itself_meanwhile_is_told_with_the_cell(fall: Fall) -> None:
    result = fall.results["died"]
    assert (result.status, result.state_lost) == ("died", True)
    assert result.message is not None
    assert result.message.startswith("The kernel ended itself (exit status 3). The variables are")
    assert await _next_cell(fall, "died") == ("False", None)


async def test_kernel_of_which_nothing_is_left_is_told_with_the_next_cell_too(fall: Fall) -> None:
    result = fall.results["killed"]
    assert (result.status, result.state_lost) == ("died", True)
    text, message = await _next_cell(fall, "killed")
    assert text.startswith("False")
    assert message == (
        "The kernel ended while the service was not running. The variables of before are gone."
    )
    assert await _next_cell(fall, "killed") == ("False", None)


async def test_cell_that_was_not_written_down_goes_on(fall: Fall) -> None:
    assert fall.recovered["lost"].note == {}
    assert fall.recovered["lost"].code == "import time; time.sleep(6); print('unknown'); x"
    assert fall.results["lost"].text == "unknown\n41"
    assert fall.results["lost"].artifacts == (), "what an earlier cell made isn't new"


async def test_cell_whose_end_was_not_written_down_is_not_given_again(fall: Fall) -> None:
    assert "stale" not in fall.recovered and "stale" not in fall.again
    assert await _next_cell(fall, "stale") == ("True", None)


@pytest.mark.parametrize("user", ["late", "asks", "buys", "expired", "lost"])
async def test_variables_and_files_last_through_both(fall: Fall, user: str) -> None:
    session = await fall.third.session(user_id=user)
    result = await session.execute(
        "import os; print(x, open('old.txt').read(), os.listdir('/files'))"
    )
    assert result.text == f"41 {user} []\n"  # what was stored has expired since
    assert (result.artifacts, result.message) == ((), None)


async def test_all_kernels_that_live_are_found(fall: Fall) -> None:
    assert fall.kernels == len(_CELLS) + len(_IDLE) - len(("died", "killed"))


async def test_cell_is_given_again_until_it_is_acknowledged(fall: Fall) -> None:
    assert {*fall.again} == {*_UNACKNOWLEDGED, "idle", "left"}
    for user in _UNACKNOWLEDGED:
        first, second = fall.results[user], fall.results_again[user]
        assert fall.again[user].cell_id == fall.recovered[user].cell_id
        if user != "died":
            assert (first.status, first.text) == (second.status, second.text)
            assert [f.filename for f in first.artifacts] == [f.filename for f in second.artifacts]
    assert fall.results_again["died"].message is not None


async def test_service_that_leaves_lets_its_cell_go_on_and_runs_no_other(fall: Fall) -> None:
    assert [type(error) for error in fall.refused] == [SessionClosed, SessionClosed]
    assert dict(fall.again["idle"].note) == {"turn": "8"}
    assert fall.results_again["idle"].text == "42"
    session = await fall.third.session(user_id="idle")
    assert (await session.execute("x")).text == "42"


async def test_result_that_is_to_be_kept_is_given_by_the_next_service(fall: Fall) -> None:
    assert fall.results_again["left"].text == "'over'"


_SLOW_TO_SAVE = """
import os, time
class Slow:
    def __reduce__(self):
        open('saving', 'w').close()
        while not os.path.exists('go'):
            time.sleep(0.01)
        return int, ()
slow, x = Slow(), 41
"""


#: Python's lock is held until somebody opens the pipe for reading.
_HOLDS_THE_LOCK = """
import ctypes, os, threading
x = 41
gate = os.path.expanduser('~/gate').encode()
os.mkfifo(gate)
libc = ctypes.PyDLL(None)
def hold():
    open('holds', 'w').close()
    libc.open(gate, os.O_WRONLY)
threading.Timer(0.3, hold).start()
"""


async def test_idle_kernel_that_is_slow_to_answer_keeps_its_variables() -> None:
    with tempfile.TemporaryDirectory(prefix="cellmate-slow-") as directory:
        Path(directory).chmod(0o711)
        settings = {"data_dir": f"{directory}/data", "warm_kernels": 0}
        async with Earlier.running(settings) as earlier:
            await earlier.run("anna", _HOLDS_THE_LOCK)
            (slot,) = Path(settings["data_dir"], "sessions").iterdir()
            await until((slot / "work" / "holds").exists)
            earlier.process.kill()
            await earlier.process.wait()
        async with Interpreter.open(Settings(**settings)) as second:
            assert second.reattached == 1
            session = await second.session(user_id="anna")
            assert session.busy
            asking = asyncio.create_task(session.execute("x"))
            os.close(os.open(slot / "home" / "gate", os.O_RDONLY | os.O_NONBLOCK))
            result = await asking
            assert (result.text, result.message) == ("41", None)


async def test_kernel_that_never_answers_is_ended_and_its_user_told() -> None:
    with tempfile.TemporaryDirectory(prefix="cellmate-mute-") as directory:
        Path(directory).chmod(0o711)
        settings = {"data_dir": f"{directory}/data", "warm_kernels": 0, "cell_timeout_s": 0.5}
        async with Earlier.running(settings) as earlier:
            await earlier.run("anna", "x = 41")
            (kernel,) = family_of(Path(settings["data_dir"])).kernels
            earlier.process.kill()
            await earlier.process.wait()
        kernel.suspend()
        async with Interpreter.open(Settings(**settings)) as second:
            session = await second.session(user_id="anna")
            result = await session.execute("'x' in globals()")
            assert result.state_lost
            assert result.text == (
                "False\nThe kernel did not answer after the service had been restarted, so it was "
                "ended. The variables of before are gone."
            )
        assert not kernel.is_running()


async def test_who_hurries_a_service_that_leaves_costs_nobody_a_kernel() -> None:
    with tempfile.TemporaryDirectory(prefix="cellmate-hurry-") as directory:
        Path(directory).chmod(0o711)
        settings = Settings(data_dir=Path(directory) / "data", warm_kernels=0)
        is_ready = asyncio.Event()

        async def serve() -> None:
            async with Interpreter.open(settings, keep_kernels=True) as first:
                session = await first.session(user_id="anna")
                await session.execute(_SLOW_TO_SAVE)
                is_ready.set()
                await asyncio.Event().wait()

        serving = asyncio.create_task(serve())
        await is_ready.wait()
        (slot,) = (settings.data_dir / "sessions").iterdir()
        serving.cancel()
        await until((slot / "work" / "saving").exists)
        serving.cancel()
        await asyncio.wait([serving])
        assert serving.cancelled()
        (slot / "work" / "go").touch()
        async with Interpreter.open(settings) as second:
            assert second.reattached == 1
            session = await second.session(user_id="anna")
            result = await session.execute("print(x, os.path.exists('saving'))")
            assert (result.text, result.message) == ("41 True\n", None)


async def test_what_a_service_had_yet_to_restore_is_restored_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(prefix="cellmate-fresh-") as directory:
        Path(directory).chmod(0o711)
        settings = Settings(data_dir=Path(directory) / "data", warm_kernels=0)
        await leave_unrestored(settings, monkeypatch)
        async with Interpreter.open(settings) as second:
            assert second.reattached == 1
            session = await second.session(user_id="anna")
            result = await session.execute("print(x)")
            assert result.text.startswith("41\n")
            assert (result.message, result.state_lost) == (
                "It was stopped. 1 variable was restored (x).",
                False,
            )
            assert (await session.execute("x")).message is None


async def test_what_a_cell_was_to_tell_of_the_kernel_before_is_told_by_the_next_service() -> None:
    with tempfile.TemporaryDirectory(prefix="cellmate-told-") as directory:
        Path(directory).chmod(0o711)
        settings = Settings(data_dir=Path(directory) / "data", warm_kernels=0)
        runs = asyncio.Event()

        def tell(phase: Phase) -> None:
            if phase.name == "running":
                runs.set()

        async with Interpreter.open(settings, keep_kernels=True) as first:
            session = await first.session(user_id="anna")
            await session.execute("x = 41; lost = (n for n in 'a')")
            assert await session.cull("It was stopped.")
            code = "import time; time.sleep(2); print(x)"
            asking = asyncio.create_task(session.execute(code, on_phase=tell))
            await runs.wait()
        await asyncio.wait([asking])
        async with Interpreter.open(settings) as second:
            (recovered,) = second.recovered
            result = await recovered.result
            assert result.text.startswith("41\n")
            assert result.message == (
                "It was stopped. 1 variable was restored (x), 1 could not be: lost (a generator "
                "can't be saved)."
            )
            assert result.state_lost
            session = await second.session(user_id="anna")
            assert (await session.execute("x")).message is None


@pytest.mark.parametrize("bare", [False, True], ids=["directory stays", "directory is gone"])
async def test_cell_lost_with_its_kernel_says_what_comes_back_and_what_is_gone(bare: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="cellmate-gone-") as directory:
        Path(directory).chmod(0o711)
        settings = {
            "data_dir": f"{directory}/data",
            "warm_kernels": 0,
            "snapshot_interval_s": 0.1,
            "orphan_s": 0,
        }
        data_dir = Path(directory) / "data"
        async with Earlier.running(settings) as earlier:
            await earlier.run("anna", "x = 41; 0")
            await until((data_dir / "snapshots" / "anna" / "snapshot.json").exists)
            (init,) = family_of(data_dir).inits
            await earlier.begin("anna", "import time; time.sleep(60)")
            await asyncio.sleep(0.3)  # until it is written down
            database = database_of(data_dir)
            earlier.process.kill()
            await earlier.process.wait()
            assert database is not None
            kill(database)
            kill(init)
        if bare:
            for slot in (data_dir / "sessions").iterdir():
                shutil.rmtree(slot)
        async with Interpreter.open(Settings(**settings)) as later:
            (lost,) = (await _results(later))[1].values()
            assert (lost.status, lost.state_lost, lost.message) == (
                "died",
                True,
                "The kernel ended while the service was not running. The variables are gone; what "
                "was saved of them is restored with the next cell, if possible."
                + ("" if bare else " The files are still there."),
            )
            session = await later.session(user_id="anna")
            result = await session.execute("print(x)")
            assert result.text.startswith("41\n")
            assert result.message is not None
            assert result.message.count("The working directory is gone") == bare
            assert (await session.execute("x")).message is None


async def test_working_directory_that_is_gone_is_told_once() -> None:
    with tempfile.TemporaryDirectory(prefix="cellmate-bare-") as directory:
        Path(directory).chmod(0o711)
        settings = Settings(data_dir=Path(directory) / "data", warm_kernels=0)
        async with Interpreter.open(settings, keep_kernels=True) as first:
            session = await first.session(user_id="anna")
            await session.execute("x = 41; open('mine.txt', 'w').close()")
            assert await session.cull("It was stopped.")
        for slot in (settings.data_dir / "sessions").iterdir():
            shutil.rmtree(slot)
        async with Interpreter.open(settings) as second:
            session = await second.session(user_id="anna")
            result = await session.execute("import os; print(x, os.listdir())")
            assert result.text.startswith("41 []\n")
            assert result.message == (
                "It was stopped. The working directory is gone, with the files in it; what was "
                "uploaded or handed out is still there. 1 variable was restored (x)."
            )
            assert (await session.execute("x")).message is None


async def _next_cell(fall: Fall, user: str) -> tuple[str, str | None]:
    session = await fall.third.session(user_id=user)
    result = await session.execute("'x' in globals()")
    return result.text, result.message
