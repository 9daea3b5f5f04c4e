"""Files that are gone: told once, whatever else is to be told, and with no loss of variables."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from interpreter import Execution, HostError, Interpreter, Phase, Session, SessionClosed, Settings
from interpreter.admin import stopping
from interpreter.outputs import Stream
from tests.chaos.processes import family_of, kill
from tests.service.waiting import until

MIB = 1 << 20
STOPPED = "It was stopped."
DIRECTORY = (
    "The working directory is gone, with the files in it; what was uploaded or handed out is still "
    "there."
)
ENDED = "The kernel ended while the service was not running."
RESTORED = "1 variable was restored (x)."
LOOP = "import time\nwhile True: time.sleep(0.05)"
STUBBORN = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
ROOM = (
    "The last kernel's files took more room than its limit of 8 MB: the files that were written "
    "last are gone; earlier ones are still there."
)


@asynccontextmanager
async def bare() -> AsyncIterator[Settings]:
    """The settings of services whose user had a session, and has lost its directory."""
    with tempfile.TemporaryDirectory(prefix="cellmate-bare-") as directory:
        Path(directory).chmod(0o711)
        settings = Settings(data_dir=Path(directory) / "data", warm_kernels=0, orphan_s=30)
        async with Interpreter.open(settings, keep_kernels=True) as first:
            session = await first.session(user_id="anna")
            await session.execute("x = 41; open('mine.txt', 'w').close()")
            assert await session.cull(STOPPED)
        for slot in (settings.data_dir / "sessions").iterdir():
            shutil.rmtree(slot)
        yield settings


async def _running(session: Session, code: str) -> "asyncio.Task[Execution]":
    """A cell that has begun."""
    runs = asyncio.Event()

    def tell(phase: Phase) -> None:
        if phase.name == "running":
            runs.set()

    cell = asyncio.create_task(session.execute(code, on_phase=tell))
    await runs.wait()
    return cell


def _kill_kernel(settings: Settings) -> None:
    for init in family_of(settings.data_dir).inits:
        kill(init, signal.SIGKILL)


async def _told(service: Interpreter) -> list[tuple[str | None, bool]]:
    """What the next two cells tell, and whether variables are lost."""
    session = await service.session(user_id="anna")
    results = [await session.execute("1"), await session.execute("1")]
    return [(result.message, result.state_lost) for result in results]


async def test_directory_that_is_gone_is_told_after_a_restart_by_the_user() -> None:
    async with bare() as settings, Interpreter.open(settings) as second:
        await (await second.session(user_id="anna")).restart()
        assert await _told(second) == [(DIRECTORY, False), (None, False)]


async def test_directory_in_which_there_was_nothing_is_not_missed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", warm_kernels=0, orphan_s=30)
    async with Interpreter.open(settings, keep_kernels=True) as first:
        session = await first.session(user_id="anna")
        await session.execute("open('mine.txt', 'w').close()")
        await session.execute("import os; x = 41; os.remove('mine.txt')")
    await stopping.stop(settings, tell=lambda line: None, patience_s=0.0)
    assert not list((settings.data_dir / "sessions").iterdir())
    async with Interpreter.open(settings) as second:
        assert await _told(second) == [(f"{ENDED} {RESTORED}", False), (None, False)]


@pytest.mark.parametrize("killed", [False, True], ids=["kernel lives", "kernel is killed"])
async def test_directory_that_is_gone_is_told_by_the_service_after_the_next(killed: bool) -> None:
    async with bare() as settings:
        async with Interpreter.open(settings, keep_kernels=True) as second:
            await (await second.session(user_id="anna")).restart()
        if killed:
            _kill_kernel(settings)
        async with Interpreter.open(settings) as third:
            told = f"{ENDED} {DIRECTORY} There were no variables." if killed else DIRECTORY
            assert await _told(third) == [(told, False), (None, False)]


async def _given_up(cell: "asyncio.Task[Execution]") -> None:
    cell.cancel()
    await asyncio.wait([cell])
    assert cell.cancelled()


async def test_what_a_cell_told_that_was_given_up_is_told_with_the_next() -> None:
    async with bare() as settings, Interpreter.open(settings) as second:
        await _given_up(await _running(await second.session(user_id="anna"), LOOP))
        assert await _told(second) == [(f"{STOPPED} {DIRECTORY} {RESTORED}", False), (None, False)]


async def test_what_a_cell_told_that_was_given_up_is_told_with_one_that_waited() -> None:
    async with bare() as settings, Interpreter.open(settings) as second:
        session = await second.session(user_id="anna")
        cell = await _running(session, LOOP)
        queued = asyncio.Event()
        behind = asyncio.create_task(session.execute("1", on_phase=lambda phase: queued.set()))
        await queued.wait()
        await _given_up(cell)
        assert (await behind).message == f"{STOPPED} {DIRECTORY} {RESTORED}"
        assert await _told(second) == [(None, False), (None, False)]


async def test_what_a_cell_told_whose_caller_goes_as_it_ends_is_told_with_the_next() -> None:
    async with bare() as settings, Interpreter.open(settings) as second:
        session = await second.session(user_id="anna")
        cell = await _running(session, "1")
        (running,) = session._cells._executing
        running.add_done_callback(lambda _: cell.cancel())
        await asyncio.wait([cell])
        assert cell.cancelled()
        assert running.result() is not None
        assert await _told(second) == [(f"{STOPPED} {DIRECTORY} {RESTORED}", False), (None, False)]


async def test_what_a_cell_told_that_failed_for_the_service_is_told_with_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise HostError("it can't be reached")

    async with bare() as settings, Interpreter.open(settings) as second:
        session = await second.session(user_id="anna")
        with monkeypatch.context() as patched:
            patched.setattr("interpreter.kernel.Kernel.run_cell", fail)
            with pytest.raises(HostError):
                await session.execute("1")
        assert await _told(second) == [(f"{STOPPED} {DIRECTORY} {RESTORED}", False), (None, False)]


async def test_files_alone_are_told_after_a_restart_of_a_cell_that_was_given_up() -> None:
    async with bare() as settings, Interpreter.open(settings) as second:
        session = await second.session(user_id="anna")
        cell = await _running(session, STUBBORN)
        cell.cancel()
        await session.restart()
        await asyncio.wait([cell])
        assert await _told(second) == [(DIRECTORY, False), (None, False)]


@pytest.mark.parametrize("killed", [False, True], ids=["kernel lives", "kernel is killed"])
async def test_directory_that_is_gone_is_told_if_the_service_ends_with_the_cell_that_tells_it(
    killed: bool,
) -> None:
    async with bare() as settings:
        async with Interpreter.open(settings, keep_kernels=True) as second:
            session = await second.session(user_id="anna")
            cell = await _running(session, "import time; time.sleep(1.5)")
        assert isinstance((await asyncio.gather(cell, return_exceptions=True))[0], SessionClosed)
        if killed:
            _kill_kernel(settings)
        async with Interpreter.open(settings) as third:
            (recovered,) = third.recovered
            message = (await recovered.result).message
            assert message is not None
            if killed:
                assert "files" not in message
                (told, _), last = await _told(third)
                assert told is not None and told.startswith(f"{ENDED} {DIRECTORY} ")
                assert last == (None, False)
            else:
                assert message == f"{STOPPED} {DIRECTORY} {RESTORED}"
                assert await _told(third) == [(None, False), (None, False)]


@pytest_asyncio.fixture(loop_scope="session")
async def unwatched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Session]:
    """A session whose watcher looks once, before there are kernels, and then not for an hour."""
    monkeypatch.setattr("interpreter.hosts.watch._INTERVAL_S", 3600.0)
    settings = Settings(data_dir=tmp_path / "data", warm_kernels=0, working_directory_bytes=8 * MIB)
    async with Interpreter.open(settings) as service:
        session = await service.session(user_id="anna")
        await session.execute("open('old', 'w').close()")
        await session.restart()
        await session.execute("x = 41")
        assert await session.save_state()
        with open(settings.data_dir / "sessions" / str(session.slot) / "work" / "new", "wb") as new:
            new.write(os.urandom(12 * MIB))
            os.fsync(new.fileno())
        yield session


async def test_files_that_a_culled_kernel_left_too_many_are_told(unwatched: Session) -> None:
    assert await unwatched.cull("The kernel was stopped by an admin; the files stay.")
    result = await unwatched.execute("import os; print(os.listdir())")
    assert result.outputs == (Stream("stdout", "['old']\n"),)
    assert result.message == f"The kernel was stopped by an admin. {ROOM} {RESTORED}"
    assert result.files_gone == ROOM
    assert not result.state_lost
    assert (await unwatched.execute("1")).message is None


async def test_files_that_a_restarted_kernel_left_too_many_are_told(unwatched: Session) -> None:
    await unwatched.restart()
    result = await unwatched.execute("import os; print(os.listdir(), 'x' in globals())")
    assert result.outputs == (Stream("stdout", "['old'] False\n"),)
    assert (result.message, result.state_lost) == (ROOM, False)
    assert (await unwatched.execute("1")).message is None


async def test_files_that_a_cell_left_too_many_are_told_with_it_only(unwatched: Session) -> None:
    result = await unwatched.execute("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert result.status == "died" and result.message is not None
    assert result.message.count(ROOM) == 1
    await unwatched.restart()  # which may come before the kernel is replaced, or after
    assert (await unwatched.execute("1")).message is None


async def test_files_that_a_kernel_lost_between_cells_are_told(
    service: Interpreter, session: Session
) -> None:
    await session.execute("x = 41")
    fork = service._host._forks[session.hosted.kernel_id]
    service._host._end_for(fork, "room")
    await until(lambda: not session.live)
    result = await session.execute("1")
    assert result.message == (
        "The kernel was ended because its files took more room than its limit of 500 MB. The files "
        "that were written last are gone; earlier ones are still there. The variables of before "
        "are gone."
    )
    assert (await session.execute("1")).message is None
