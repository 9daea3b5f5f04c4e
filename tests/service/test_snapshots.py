"""Sessions that are saved before their kernels end, and found again in the next one."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from interpreter import Execution, Interpreter, Session, Settings, snapshots
from interpreter.snapshot_store import SnapshotStore
from tests.service.waiting import until

STOPPED = "It was stopped."
#: Saves, but for so long that something else can happen meanwhile.
SLOW = (
    "import time\n"
    "class Slow:\n"
    "    def __reduce__(self):\n"
    "        time.sleep(1.5)\n"
    "        return int, (1,)\n"
    "slow = Slow()\n"
)


def _directory(service: Interpreter, user_id: str) -> Path:
    return service.settings.data_dir / "snapshots" / user_id


def _saved(service: Interpreter, user_id: str) -> list[str]:
    """The names of the files that are kept of a user's state; not the mark of an outdated one."""
    directory = _directory(service, user_id)
    names = os.listdir(directory) if directory.exists() else []
    return sorted(name for name in names if not name.endswith(".outdated"))


async def _state(session: Session, expression: str) -> tuple[str, Execution]:
    result = await session.execute(f"print({expression})")
    assert result.status == "ok", result.text
    return result.text.partition("\n")[0], result


async def test_state_of_a_culled_session_is_found_by_the_next_cell(session: Session) -> None:
    await session.execute(
        "import os, collections.abc as abc\nimport numpy as np\n"
        "os.mkdir('below'); os.chdir('below')"
    )
    await session.execute(
        "df = pd.DataFrame({'a': [1, 2]}); same = df; step = 1\n"
        "def add(n): return n + step\n"
        "class Box:\n    def __init__(self, held): self.held = held\n"
        "box = Box(df); figure, axes = plt.subplots(); plt.close(figure)"
    )
    await session.cull(STOPPED)
    assert not session.live
    told = (
        "same is df, box.held is df, type(box) is Box, add(1), os.path.basename(os.getcwd()), "
        "figure.axes[0] is axes, abc.Mapping.__name__, np.arange(3).sum()"
    )
    found, result = await _state(session, told)
    assert found == "True True True 2 below True Mapping 3"
    assert (result.count, result.state_lost) == (3, False)
    assert result.message == (
        f"{STOPPED} 8 variables were restored (df, same, step, add, Box, ...)."
    )
    await session.execute("step = 5")
    found, result = await _state(session, "add(1)")
    assert (found, result.message) == ("6", None)
    failed = await session.execute("add('x')")
    assert "def add(n): return n + step" in failed.text and "Cell In[2], line 2" in failed.text


async def test_user_reads_what_could_not_be_restored(session: Session) -> None:
    await session.execute("x = 1; gen = (n for n in ()); held = [open('f', 'w')]")
    await session.cull(STOPPED)
    found, result = await _state(session, "x, 'gen' in globals()")
    assert (found, result.state_lost) == ("1 False", True)
    assert result.message == (
        f"{STOPPED} 1 variable was restored (x), 2 could not be: held (it holds an open file, "
        "which can't be saved), gen (a generator can't be saved)."
    )
    assert (await session.execute("1")).message is None


async def test_restart_by_the_user_is_clean(service: Interpreter, session: Session) -> None:
    await session.execute("x = 1")
    assert await session.save_state()
    assert len(_saved(service, session.user_id)) == 2
    await session.restart()
    assert _saved(service, session.user_id) == []
    found, result = await _state(session, "'x' in globals()")
    assert (found, result.message) == ("False", None)
    await session.execute("x = 2")
    await session.cull(STOPPED)
    await session.restart()
    found, result = await _state(session, "'x' in globals()")
    assert (found, result.message) == ("False", None)


async def test_after_a_death_the_last_saved_state_is_there(session: Session) -> None:
    await session.execute("x = 1")
    assert await session.save_state()
    await session.execute("x = 2")
    died = await session.execute("import os; os._exit(3)")
    assert (died.status, died.state_lost) == ("died", True)
    assert died.message == (
        "The kernel ended itself (exit status 3). The variables are gone; what was saved of them "
        "is restored with the next cell, if possible. The files are still there."
    )
    found, result = await _state(session, "x")
    assert (found, result.state_lost) == ("1", True)
    assert result.message == "1 variable was restored (x); what was done since is lost."
    await session.execute("import os, threading; threading.Timer(0.1, os._exit, [4]).start()")
    await until(lambda: not session.live)
    found, result = await _state(session, "x")
    assert found == "1" and result.message is not None
    assert result.message.startswith("The kernel ended itself (exit status 4). 1 variable")


async def test_nothing_is_promised_of_a_snapshot_without_variables(
    service: Interpreter, session: Session
) -> None:
    await session.execute(
        "import os, fractions as f\nos.mkdir('below'); os.chdir('below'); gen = (n for n in ())"
    )
    assert await session.save_state()
    assert not await session.has_saved()
    assert await session.save_state() and len(_saved(service, session.user_id)) == 2
    died = await session.execute("os._exit(3)")
    assert died.message == (
        "The kernel ended itself (exit status 3). The variables are gone; the files are still "
        "there."
    )
    found, _ = await _state(session, "os.path.basename(os.getcwd()), f.Fraction(1)")
    assert found == "below 1"
    await session.execute("x = 1")
    assert await session.save_state()
    assert await session.has_saved()


@pytest.mark.parametrize("by", ["interrupt", "cancelling"])
async def test_cell_need_not_wait_for_what_is_restored(
    service: Interpreter, session: Session, by: str
) -> None:
    load = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)"
    await session.execute(
        f"class Slow:\n    def __reduce__(self): return exec, ({load!r},)\nslow = Slow(); x = 1"
    )
    await session.cull(STOPPED)
    slot = service.settings.data_dir / "sessions" / str(session.slot)
    first = asyncio.create_task(session.execute("x = 2"))
    await until((slot / "packages" / ".snapshot").exists)
    if by == "interrupt":
        assert await session.interrupt()
        result = await first
        assert (result.status, result.state_lost) == ("interrupted", False)
        assert result.message == "The cell was interrupted before it began."
    else:
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
    assert not session.busy
    (slot / "work" / "go").touch()
    found, result = await _state(session, "x")
    assert (found, result.state_lost) == ("1", False)
    assert result.message == f"{STOPPED} 3 variables were restored (Slow, slow, x)."
    assert (await session.execute("1")).message is None


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("while True: pass", "loading them took too long, so this is a clean kernel"),
        ("import os; os._exit(1)", "loading them ended the kernel, so this is a new one"),
    ],
)
async def test_state_that_cannot_be_loaded_is_dropped(
    service: Interpreter,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
    does: str,
    told: str,
) -> None:
    monkeypatch.setattr(snapshots, "RESTORE_S", 1.0)
    await session.execute(
        f"class Bad:\n    def __reduce__(self): return exec, ({does!r},)\nbad = Bad(); x = 1"
    )
    await session.cull(STOPPED)
    found, result = await _state(session, "'x' in globals()")
    assert (found, result.state_lost) == ("False", True)
    assert result.message == f"{STOPPED} The variables of before could not be restored: {told}."
    assert _saved(service, session.user_id) == []
    assert (await session.execute("1")).message is None


def _failing(service: Interpreter, monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> None:
    """Have a method of the host's meet a full disk so many times."""
    host = type(service._host)
    real, left = getattr(host, name), times

    async def full(host: Any, slot: str, path: Path | None, **options: Any) -> Any:
        nonlocal left
        if path is not None and left > 0:
            left -= 1
            raise OSError(errno.ENOSPC, "full")
        return await real(host, slot, path, **options)

    monkeypatch.setattr(host, name, full)


async def test_what_could_not_be_saved_is_tried_again_before_the_kernel_is_stopped(
    service: Interpreter, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    _failing(service, monkeypatch, "take_snapshot", 1)
    await session.execute("x = 1")
    assert not await session.save_state()
    assert not session.is_save_due(0.0), "not again and again"
    await session.cull(STOPPED)
    found, _ = await _state(session, "x")
    assert found == "1"


async def test_what_others_had_deleted_is_saved_again_before_the_kernel_is_stopped(
    service: Interpreter, session: Session
) -> None:
    await session.execute("x = 1")
    assert await session.save_state()
    for path in _directory(service, session.user_id).iterdir():
        path.unlink()
    await session.cull(STOPPED)
    found, _ = await _state(session, "x")
    assert found == "1"


@pytest.mark.parametrize("times", [1, 2])
async def test_state_that_the_disk_had_no_room_to_show_is_kept(
    service: Interpreter, session: Session, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    await session.execute("x = 1")
    await session.cull(STOPPED)
    kept = _saved(service, session.user_id)
    _failing(service, monkeypatch, "give_snapshot", times)
    found, result = await _state(session, "'x' in globals()")
    assert (found, result.state_lost) == (str(times == 1), times == 2)
    assert _saved(service, session.user_id) == kept


async def test_sessions_that_are_saved_at_once_do_not_take_each_others_room(
    service: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, real = type(service._host), type(service._host).take_snapshot

    async def slow(host: Any, slot: str, target: Path, *, most_bytes: int) -> int:
        size = await real(host, slot, target, most_bytes=most_bytes)
        await asyncio.sleep(0.5)  # meanwhile the others are written, too
        return size

    def room(store: SnapshotStore) -> int:
        taken = sum(path.stat().st_size for path in store._root.rglob("*") if path.is_file())
        return (5 << 19) - taken

    sessions = [await service.session(user_id=f"at-once-{n}") for n in range(4)]
    for session in sessions:
        await session.execute("import os; big = os.urandom(1 << 20)")
    with monkeypatch.context() as patched:
        patched.setattr(host, "take_snapshot", slow)
        patched.setattr(SnapshotStore, "_room", room)
        assert await asyncio.gather(*(session.save_state() for session in sessions)) == [True] * 4
        assert service._snapshots._room() >= 0
    kept = [service._snapshots.find(session.user_id) for session in sessions]
    assert sum(one is not None and one.size_bytes > 1 << 20 for one in kept) == 2
    for session in sessions:
        await session.close()


async def test_cells_run_while_a_session_is_saved(service: Interpreter, session: Session) -> None:
    await session.execute(f"x = 1\n{SLOW}")
    saving = asyncio.create_task(session.save_state())
    await asyncio.sleep(0)
    found, _ = await _state(session, "x")
    assert found == "1" and not saving.done()
    await session.execute("x = 2")
    assert not await saving  # not as it is by now
    assert len(_saved(service, session.user_id)) == 2
    kept = service._snapshots.find(session.user_id)
    assert kept is not None and kept.outdated
    assert await session.save_state()
    kept = service._snapshots.find(session.user_id)
    assert kept is not None and not kept.outdated


async def test_cell_that_never_began_leaves_no_mark_once_the_session_is_saved_again(
    service: Interpreter, session: Session
) -> None:
    def is_outdated() -> bool:
        kept = service._snapshots.find(session.user_id)
        return kept is not None and kept.outdated

    await session.execute("x = 1")
    assert await session.save_state()
    await session._saved.mark()  # as for one that is interrupted then
    assert is_outdated()
    assert await session.save_state()
    assert not is_outdated()
    await session.execute("x = 2")
    assert is_outdated()


async def test_cell_that_comes_while_a_session_is_culled_keeps_the_kernel(
    session: Session,
) -> None:
    await session.execute(SLOW)
    culling = asyncio.create_task(session.cull(STOPPED))
    await asyncio.sleep(0)
    await session.execute("x = 1")
    assert not culling.done()
    await culling
    found, result = await _state(session, "x")
    assert (found, result.message) == ("1", None)


async def test_restart_while_a_session_is_saved_leaves_nothing(
    service: Interpreter, session: Session
) -> None:
    await session.execute(SLOW)
    saving = asyncio.create_task(session.save_state())
    await asyncio.sleep(0)
    await session.restart()
    assert not await saving
    assert _saved(service, session.user_id) == []


async def test_nothing_is_saved_twice(service: Interpreter, session: Session) -> None:
    assert not await session.save_state()
    await session.execute("x = 1")
    assert await session.save_state()
    before = _saved(service, session.user_id)
    assert await session.save_state() and _saved(service, session.user_id) == before
    await session.execute("x = 2")
    assert await session.save_state() and _saved(service, session.user_id) != before


async def test_closing_and_deleting_leave_no_snapshot(
    service: Interpreter, session: Session
) -> None:
    user_id = session.user_id
    await session.execute("x = 1")
    assert await session.save_state()
    await session.close()
    assert _saved(service, user_id) == []
    again = await service.session(user_id=user_id)
    await again.execute("x = 1")
    await again.cull(STOPPED)
    assert _saved(service, user_id) != []
    await service.delete_user(user_id)
    assert not _directory(service, user_id).exists()
    newest = await service.session(user_id=user_id)
    found, result = await _state(newest, "'x' in globals()")
    assert (found, result.message) == ("False", None)
    await newest.close()


@pytest.mark.parametrize(
    "leave",
    [
        "os.symlink('/etc/passwd', path)",
        "os.mkfifo(path)",
        "os.mkdir(path)",
        "None",
        "open(path, 'wb').truncate(300 << 20)",
    ],
)
async def test_whatever_a_hostile_kernel_leaves_is_not_taken(
    service: Interpreter, session: Session, leave: str
) -> None:
    await session.execute(
        "import os\npath = os.path.expanduser('~/.snapshot')\n"
        f"def lie(asked):\n    {leave}\n    return {{'bytes': 1, 'saved': 1, 'lost': 0}}\n"
        "get_ipython().kernel._save_variables = lie"
    )
    assert not await session.save_state()
    assert [name for name in _saved(service, session.user_id) if name == "snapshot.json"] == []
    assert (await session.execute("1")).text == "1"


async def test_kernel_cannot_change_the_snapshot_it_is_given(
    service: Interpreter, session: Session
) -> None:
    await session.execute(
        "import os\n"
        "class Look:\n"
        "    def __reduce__(self):\n"
        "        code = '''import os\n"
        'path = "/packages/own/.snapshot"\n'
        "tried = [os.path.exists(path)]\n"
        'for do in (os.unlink, lambda p: open(p, "r+"), lambda p: os.chmod(p, 0o777)):\n'
        '    try: do(path); tried.append("done")\n'
        '    except OSError: tried.append("refused")\n'
        "'''\n"
        "        return eval, ('(lambda d: exec(' + repr(code) + ', d) or d[\"tried\"])({})',)\n"
        "look = Look()"
    )
    await session.cull(STOPPED)
    found, _ = await _state(session, "look, os.path.exists('/packages/own/.snapshot')")
    assert found == "[True, 'refused', 'refused', 'refused'] False"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def small(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Interpreter]:
    """A service that saves often, but not much."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("small") / "data",
        mongodb_uri=os.environ.get("TEST_MONGODB_URI"),
        mongodb_database="small",
        snapshot_bytes=2 << 20,
        snapshot_interval_s=0.2,
        warm_kernels=0,
    )
    async with Interpreter.open(settings) as service:
        yield service


async def test_sessions_are_saved_regularly(small: Interpreter, user_id: str) -> None:
    session = await small.session(user_id=user_id)
    await session.execute("x = 1")
    await until(lambda: "snapshot.json" in _saved(small, user_id))
    await session.execute("import os; os._exit(3)")
    found, _ = await _state(session, "x")
    assert found == "1"
    await session.close()


async def test_what_is_too_large_is_named_and_the_rest_is_kept(
    small: Interpreter, user_id: str
) -> None:
    session = await small.session(user_id=user_id)
    await session.execute("big = bytes(5 << 20); small = [1] * 1000")
    await session.cull(STOPPED)
    found, result = await _state(session, "len(small)")
    assert (found, result.state_lost) == ("1000", True)
    assert result.message == (
        f"{STOPPED} 1 variable was restored (small), 1 could not be: big (5 MB, more than the "
        "limit of 2 MB)."
    )
    await session.close()


async def test_snapshot_that_an_earlier_service_left_is_its_users(
    small: Interpreter, user_id: str, tmp_path: Path
) -> None:
    session = await small.session(user_id=user_id)
    await session.execute("x = 1")
    assert await session.save_state()
    settings = Settings(data_dir=tmp_path / "data", warm_kernels=0)
    shutil.copytree(_directory(small, user_id), tmp_path / "data" / "snapshots" / user_id)
    (tmp_path / "data" / ".lock").touch()  # a service has run there
    await session.close()
    async with Interpreter.open(settings) as service:
        other = await service.session(user_id="other")
        found, result = await _state(other, "'x' in globals()")
        assert (found, result.message) == ("False", None)
        again = await service.session(user_id=user_id)
        found, result = await _state(again, "x")
        assert (found, result.state_lost) == ("1", False)
        assert result.message == "1 variable was restored (x)."


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def narrow(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Interpreter]:
    """A service whose kernels have little room for files, and more for variables."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("narrow") / "data",
        mongodb_uri=os.environ.get("TEST_MONGODB_URI"),
        mongodb_database="narrow",
        working_directory_bytes=48 << 20,
        snapshot_bytes=32 << 20,
        snapshot_interval_s=-1.0,
        warm_kernels=0,
    )
    async with Interpreter.open(settings) as service:
        yield service


#: Leaves one MiB of that room, home and all.
FILL = (
    "import os, time\n"
    "def fill(name, mib):\n"
    "    with open(name, 'wb') as file:\n"
    "        file.write(os.urandom(mib << 20)); file.flush(); os.fsync(file)\n"
    "fill('full', 47)\n"
)


async def test_kernel_with_a_full_disk_is_saved_whole(narrow: Interpreter, user_id: str) -> None:
    session = await narrow.session(user_id=user_id)
    # What is largest is saved last: the watcher has time to see the rest.
    code = f"{FILL}x = os.urandom(31 << 20); total = sum(x)\n{SLOW}slow.pad = bytes(32 << 20)"
    filled = await session.execute(code)
    assert filled.status == "ok"
    before = session.hosted
    assert before is not None
    assert await session.save_state()
    assert session.hosted == before
    notes = narrow._host._forks[before.kernel_id].watch  # type: ignore[attr-defined]
    assert notes.extra_bytes() == 0
    await session.cull(STOPPED)
    found, result = await _state(session, "sum(x) == total, os.path.getsize('full') >> 20")
    assert (found, result.state_lost) == ("True 47", False)
    await session.close()


@pytest.mark.parametrize(("more_mib", "during"), [(100, True), (30, False)])
async def test_hostile_kernel_gains_no_more_by_being_saved_and_not_for_longer(
    narrow: Interpreter, user_id: str, more_mib: int, during: bool
) -> None:
    session = await narrow.session(user_id=user_id)
    await session.execute(
        f"{FILL}"
        "def lie(asked):\n"
        f"    fill('more', {more_mib})\n"
        f"    if {during}: time.sleep(60)\n"
        "    open(os.path.expanduser('~/.snapshot'), 'w').close()\n"
        "    return {'bytes': 0, 'saved': 0, 'lost': 0}\n"
        "get_ipython().kernel._save_variables = lie"
    )
    kernel = session._life.kernel
    assert kernel is not None
    # What is trimmed is what came since its files were last found to fit.
    notes = narrow._host._forks[kernel.hosted.kernel_id].watch  # type: ignore[attr-defined]
    full = narrow.settings.data_dir / "sessions" / str(session.slot) / "work" / "full"
    written_ns = full.stat().st_ctime_ns
    await until(lambda: notes.fitted_ns > written_ns)
    assert await session.save_state() is not during
    assert (await kernel.exit).cause == "room"
    found, _ = await _state(session, "__import__('os').listdir()")
    assert found == "['full']"
    await session.close()


async def test_kernel_that_saves_while_the_service_is_replaced_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interpreter.reattaching.SAVE_S", 3.0)
    settings = Settings(
        data_dir=tmp_path / "data",
        working_directory_bytes=8 << 20,
        snapshot_bytes=8 << 20,
        warm_kernels=0,
    )
    async with Interpreter.open(settings, keep_kernels=True) as first:
        for user_id in ("saving", "filling"):
            await (await first.session(user_id=user_id)).execute("x = 1")
        slots = {
            s.user_id: settings.data_dir / "sessions" / str(s.slot)
            for s in first._sessions.values()
        }
    snapshot = slots["saving"] / "home" / ".snapshot"
    for path in (snapshot, slots["filling"] / "work" / "full"):
        with open(path, "wb") as file:
            file.write(os.urandom(12 << 20))
            file.flush()
            os.fsync(file)
    async with Interpreter.open(settings) as second:
        saving, filling = [await second.session(user_id=name) for name in slots]
        before = saving.hosted
        await until(lambda: not filling.live)
        assert before is not None and saving.hosted == before
        await until(lambda: not (saving.live and snapshot.exists()))
        found, _ = await _state(saving, "x")
        assert found == "1" and saving.hosted == before
