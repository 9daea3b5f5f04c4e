"""One fault at a time: the service says what is wrong, goes on, and gets over it."""

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from interpreter import Interpreter, Settings
from interpreter.activity import Moment
from tests.chaos.preload import Machine, pretended_machine
from tests.chaos.processes import Standing, database_of, family_of, kill, left_over
from tests.chaos.service import Service, ServiceRefused
from tests.service.waiting import until

_numbers = itertools.count(1)
_DISK_MB = 64
_MINUTE_S = 60.0
#: What a caller may expect when the machine lacks something; anything else is a fault of ours.
_KNOWN = ("KernelStartFailed", "SandboxUnavailable", "StorageFailed", "DatabaseUnavailable")
_SETTINGS: dict[str, Any] = {
    "warm_kernels": 0,
    "interrupt_grace_s": 1.0,
    "cell_timeout_s": 20.0,
    "max_kernels": 10,
    "orphan_s": 60.0,
    "snapshot_interval_s": 3600.0,
}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def serving(work: Path, **options: Any) -> AsyncIterator[Service]:
    """A service in a process of its own that leaves nothing when it goes."""
    running = Service.running(
        work / "data", settings=_SETTINGS, log=work / "service.log", **options
    )
    async with running as service:
        yield service
        groups = Standing.of(work / "data").groups
    assert left_over(work / "data", groups) == []


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine | None]:
    """What ``service`` believes of its machine; None where there is no compiler."""
    with tempfile.TemporaryDirectory(prefix="cellmate-chaos-") as directory:
        if shutil.which("cc") is None:
            yield None
            return
        with pretended_machine(Path(directory)) as pretended:
            yield pretended


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(machine: Machine | None) -> AsyncIterator[Service]:
    """One for all tests here that leave it as it was."""
    with tempfile.TemporaryDirectory(prefix="cellmate-chaos-") as directory:
        Path(directory).chmod(0o711)
        environment = machine.environment if machine else None
        async with serving(Path(directory), environment=environment) as serves:
            yield serves


@pytest.fixture
def user() -> str:
    """A user nobody else is."""
    return f"user{next(_numbers)}"


async def run(service: Service, user: str, code: str, timeout_s: float = 20.0) -> dict[str, Any]:
    result: dict[str, Any] = await service.call(
        "execute", user=user, code=code, note={}, timeout_s=timeout_s
    )
    return result


async def save(service: Service, user: str, content: str = "x") -> dict[str, str]:
    saved: dict[str, str] = await service.call("save", user=user, name="a.txt", content=content)
    return saved


async def files(service: Service, user: str) -> set[tuple[str, str]]:
    """Names and hashes, as they are on the disk."""
    found = await service.call("files", user=user)
    return {(file["name"], file["sha256"]) for file in found}


# -- a full disk ----------------------------------------------------------------------------------


def _small_disk(at: Path) -> tuple[str, ...]:
    """A command that runs another where only it, and what it starts, sees a small disk."""
    mount = f"mount -t tmpfs -o size={_DISK_MB}m,mode=0711 small {at}"
    command = ("unshare", "--mount", "--propagation", "private", "sh", "-c")
    script = f'{mount} && exec "$@"'
    tried = subprocess.run([*command, script, "sh", "true"], capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no disk of its own can be had: {tried.stderr.decode().strip()}")
    return (*command, script, "sh")


async def test_full_disk_is_told_and_nothing_acknowledged_is_lost(work: Path) -> None:
    data = work / "data"
    data.mkdir()
    # Nobody else sees that disk: whoever came later would find no trace of its kernels.
    async with serving(work, before=_small_disk(data), keep_kernels=False) as service:
        disk = Path(f"/proc/{service.pid}/root{data}")  # as the service sees it
        kept = [await save(service, "1", "kept"), *(await run(service, "1", _WRITE))["files"]]
        await run(service, "2", "mine = 1")
        _fill(disk / "ballast")
        with pytest.raises(ServiceRefused, match=r"StorageFailed|DatabaseUnavailable"):
            await save(service, "1", "y" * 100_000)
        assert (await run(service, "2", "print(mine + 1)"))["text"] == "2\n"
        wrote = await run(service, "2", "with open('b', 'w') as f: f.write('z' * 100_000)")
        assert "No space left on device" in wrote["text"], wrote
        (disk / "ballast").unlink()
        await _once_it_works(lambda: save(service, "2", "after"))
        assert (await run(service, "2", "print(mine + 2)"))["text"] == "3\n"
        assert len((await run(service, "2", _WRITE))["files"]) >= 1
        there = await files(service, "1")
        assert {(file["name"], file["sha256"]) for file in kept} <= there
        assert (await run(service, "3", "1"))["status"] == "ok"


_WRITE = "open('made.txt', 'w').write('made');"


def _fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0")


async def _once_it_works(call: Callable[[], Any]) -> Any:
    """The test's time-out is the limit."""
    while True:
        try:
            return await call()
        except ServiceRefused:
            await asyncio.sleep(0.2)


# -- the clock ------------------------------------------------------------------------------------


class _Jumping(datetime):
    """A wall clock that can be set."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime.now(tz) + cls.ahead


@pytest.mark.parametrize("hours", [1, -1])
async def test_clock_that_jumps_neither_culls_nor_keeps_anybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    idle_s = 2.0
    monkeypatch.setattr("interpreter.service._CULL_INTERVAL_S", 0.05)
    monkeypatch.setattr("interpreter.activity.datetime", _Jumping)
    monkeypatch.setattr(_Jumping, "ahead", timedelta())
    settings = Settings(data_dir=tmp_path / "data", warm_kernels=0, kernel_idle_s=idle_s)
    loop = asyncio.get_running_loop()
    async with Interpreter.open(settings) as service:
        session = await service.session(user_id="1")
        await session.execute("x = 1")
        began = loop.time()
        monkeypatch.setattr(_Jumping, "ahead", timedelta(hours=hours))
        await until(lambda: not session.live)
        assert loop.time() - began >= idle_s - 0.1


async def test_longest_idle_kernel_makes_room_though_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interpreter.activity.datetime", _Jumping)
    settings = Settings(data_dir=tmp_path / "data", warm_kernels=0, max_kernels=2)
    async with Interpreter.open(settings) as service:
        for user_id, hours in (("a", 0), ("b", -1), ("c", -2)):
            monkeypatch.setattr(_Jumping, "ahead", timedelta(hours=hours))
            await (await service.session(user_id=user_id)).execute("x = 1")
        assert [kernel.user_id for kernel in service.kernels()] == ["b", "c"]


async def test_clock_that_jumps_between_two_services_makes_nobody_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interpreter.activity.datetime", _Jumping)
    monkeypatch.setattr(_Jumping, "ahead", timedelta())
    settings = Settings(data_dir=tmp_path / "data", warm_kernels=0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with Interpreter.open(settings, keep_kernels=True) as service:
        await (await service.session(user_id="1")).execute("x = 1")
        ended = loop.time()
    monkeypatch.setattr(_Jumping, "ahead", timedelta(hours=2))
    async with Interpreter.open(settings) as service:
        session = await service.session(user_id="1")
        assert session.live
        assert loop.time() - ended <= session.idle_s <= loop.time() - began


async def test_moment_of_another_boot_goes_by_the_wall_clock() -> None:
    now = Moment.now()
    for hours, ago_s in ((1, 3600.0), (-1, 0.0)):
        before = replace(now, at=now.at - timedelta(hours=hours))
        assert before.ago_s < 60.0
        assert replace(before, boot="another").ago_s == pytest.approx(ago_s, abs=60.0)


async def test_work_goes_on_while_the_clock_jumps(
    service: Service, machine: Machine | None, user: str
) -> None:
    if machine is None:
        pytest.skip("there is no C compiler here")
    kept = await save(service, user, "kept")
    await run(service, user, "x = 1")
    for ahead_s in (3600, -86_400, 40_000, 0):
        started = asyncio.Event()
        cell = asyncio.create_task(
            service.call(
                "execute",
                user=user,
                code="import time; time.sleep(0.3); x += 1; print(x)",
                note={},
                timeout_s=5.0,
                on_phase=lambda name, at=started: name == "running" and at.set(),
            )
        )
        await started.wait()
        machine.jump(ahead_s)
        result = await cell
        assert (result["status"], result["state_lost"]) == ("ok", False), result
        assert (kept["name"], kept["sha256"]) in await files(service, user)
        assert (await run(service, f"{user}b", f"open('{ahead_s}', 'w').write('f');"))["files"]
    assert (await run(service, user, "print(x)"))["text"] == "5\n"


# -- memory and descriptors -----------------------------------------------------------------------


async def test_fork_server_without_memory_fails_starts_not_the_service(
    service: Service, user: str
) -> None:
    await run(service, user, "x = 1")
    (server,) = family_of(service.data_dir).servers
    before = server.rlimit(psutil.RLIMIT_AS)
    server.rlimit(psutil.RLIMIT_AS, (server.memory_info().vms, before[1]))
    outcomes = await _newcomers(service, user)
    assert any(isinstance(outcome, ServiceRefused) for outcome in outcomes), outcomes
    assert (await run(service, user, "print(x)"))["text"] == "1\n"
    with suppress(psutil.NoSuchProcess):
        server.rlimit(psutil.RLIMIT_AS, before)
    await _once_it_works(lambda: run(service, f"{user}later", "1"))


async def _newcomers(service: Service, user: str) -> list[Any]:
    """Some who come now: whatever becomes of them, they get an answer."""
    starts = [run(service, f"{user}new{number}", "1") for number in range(3)]
    outcomes = await asyncio.gather(*starts, return_exceptions=True)
    for outcome in outcomes:
        assert isinstance(outcome, dict) or (
            isinstance(outcome, ServiceRefused) and outcome.name in _KNOWN
        ), outcome
    return outcomes


def _memory_group_files() -> tuple[Path, str, str] | None:
    """Where a group with a limit can be made, and its files: the limit, what was ended for it."""
    above = Path("/sys/fs/cgroup")
    if os.access(above / "memory" / "cgroup.procs", os.W_OK):
        return above / "memory", "memory.limit_in_bytes", "memory.oom_control"
    controllers = above / "cgroup.subtree_control"
    if os.access(controllers, os.W_OK) and "memory" in controllers.read_text().split():
        return above, "memory.max", "memory.events"
    return None


async def test_fork_server_killed_for_its_memory_is_replaced(service: Service, user: str) -> None:
    """In a control group of its own, whose limit it breaks as soon as it forks."""
    files = _memory_group_files()
    if files is None:
        pytest.skip("the test may make no control group here")
    groups, limit, events = files
    await run(service, user, "x = 1")
    (server,) = family_of(service.data_dir).servers
    group = groups / f"chaos-{os.getpid()}"
    group.mkdir()
    try:
        (group / limit).write_text(str(1 << 20))
        (group / "cgroup.procs").write_text(str(server.pid))
        await _newcomers(service, user)
        counts = dict(line.split() for line in (group / events).read_text().splitlines())
        assert int(counts["oom_kill"]) > 0, counts
        kill(server)  # in case the system has chosen its children
        told = await run(service, user, "print('x' in globals())")
        assert told["text"] == "True\n" or (told["state_lost"] and told["message"]), told
        for name in (user, f"{user}b", f"{user}c"):
            again = await _once_it_works(lambda name=name: run(service, name, "print(1)"))
            assert (again["status"], again["text"]) == ("ok", "1\n"), again
    finally:
        server.wait(timeout=5)
        group.rmdir()


async def test_service_without_descriptors_says_so_and_loses_none(
    service: Service, user: str
) -> None:
    await run(service, user, "x = 1")
    before = await service.call("leave_descriptors", free=2)
    try:
        outcomes = await _newcomers(service, user)
        outcomes += await asyncio.gather(
            *(save(service, f"{user}new{n}") for n in range(3)), return_exceptions=True
        )
        assert (await run(service, user, "print(x)"))["text"] == "1\n"
    finally:
        await service.call("limit", name="RLIMIT_NOFILE", soft=before)
    assert any(isinstance(outcome, ServiceRefused) for outcome in outcomes), outcomes
    for outcome in outcomes:
        assert isinstance(outcome, dict) or outcome.name in _KNOWN, outcome
    for name in (f"{user}new0", f"{user}new1"):
        assert (await run(service, name, "print(1)"))["text"].endswith("1\n")
        assert (await save(service, name))["name"] == "a.txt"


@pytest.mark.parametrize("free", [0, 1, 2])
async def test_file_saved_while_descriptors_are_missing_is_handed_out_with_the_next_cell(
    service: Service, user: str, free: int
) -> None:
    await run(service, user, "x = 1")
    most = await service.call("leave_descriptors", free=free)
    try:
        told = await run(service, user, f"{_WRITE} print(x)")
    finally:
        await service.call("limit", name="RLIMIT_NOFILE", soft=most)
    assert (told["status"], told["text"].splitlines()[0]) == ("ok", "1")
    later = await run(service, user, "1;")
    assert [file["name"] for file in [*told["files"], *later["files"]]] == ["made.txt"]
    if free == 0:
        assert "come with the next cell" in told["message"]


@pytest.mark.parametrize("free", [0, 1, 2])
async def test_kernel_that_cannot_begin_anew_without_descriptors_does_later(
    service: Service, user: str, free: int
) -> None:
    before = {kernel.pid for kernel in family_of(service.data_dir).kernels}
    await run(service, user, "x = 1; open('kept', 'w').write('kept');")
    (mine,) = [k for k in family_of(service.data_dir).kernels if k.pid not in before]
    kill(mine)
    while await service.call("live", user=user):
        pass
    most = await service.call("leave_descriptors", free=free)
    try:
        with pytest.raises(ServiceRefused) as refused:
            await run(service, user, "1")
    finally:
        await service.call("limit", name="RLIMIT_NOFILE", soft=most)
    assert refused.value.name == "KernelStartFailed"
    told = await run(service, user, "print(open('kept').read(), 'x' in globals())")
    assert told["text"].startswith("kept False\n") and told["state_lost"]


async def test_spare_that_cannot_be_made_without_descriptors_is_made_later(work: Path) -> None:
    settings = {**_SETTINGS, "warm_kernels": 1, "warm_kernels_max": 1}
    log = work / "service.log"

    def kernels() -> set[psutil.Process]:
        return {*family_of(work / "data").kernels}

    async with Service.running(work / "data", settings=settings, log=log) as service:

        async def spares(wanted: int) -> None:
            while await service.call("spares") != wanted:
                pass

        await spares(1)
        mine = kernels()
        await run(service, "first", "x = 1")
        await spares(1)
        (spare,) = kernels() - mine
        before = await service.call("leave_descriptors", free=0)
        try:
            kill(spare)
            await until(lambda: "no spare kernel could be started" in log.read_text())
            assert await service.call("spares") == 0
            assert (await run(service, "first", "print(x)"))["text"] == "1\n"
        finally:
            await service.call("limit", name="RLIMIT_NOFILE", soft=before)
        await spares(1)
        told = await run(service, "second", "print(1)")
        assert (told["text"], told["message"]) == ("1\n", None)
        assert "Traceback" not in log.read_text()


# -- the database and the disk under it -----------------------------------------------------------


@pytest.mark.timeout(240)
async def test_minute_without_the_database_costs_nobody_a_variable_or_a_file(
    service: Service, user: str
) -> None:
    other, newcomer = f"{user}b", f"{user}c"
    await run(service, user, "x = 1")
    await run(service, other, "x = 1")
    kept = await save(service, other, "kept")
    database = database_of(service.data_dir)
    assert database is not None
    database.send_signal(signal.SIGSTOP)
    over = asyncio.create_task(asyncio.sleep(_MINUTE_S))
    try:
        coming = asyncio.create_task(run(service, newcomer, "print('here')"))
        storing = asyncio.create_task(run(service, user, f"{_WRITE} print(x)"))
        refusals = 0
        while not over.done():
            with pytest.raises(ServiceRefused, match="DatabaseUnavailable"):
                await save(service, other, "refused")
            refusals += 1
            assert (await run(service, other, "print(x)"))["text"] == "1\n"
        assert refusals >= 6, "each has to be told within about 5 s, the first one too"
        assert not coming.done() and not storing.done()
    finally:
        database.send_signal(signal.SIGCONT)
    assert (await coming)["text"] == "here\n"
    stored = await storing
    assert ([file["name"] for file in stored["files"]], stored["text"]) == (["made.txt"], "1\n")
    after = await _once_it_works(lambda: save(service, other, "after"))
    there = await files(service, other)
    assert there == {(file["name"], file["sha256"]) for file in (kept, after)}
    assert {name for name, _ in await files(service, user)} == {"made.txt"}


async def test_slow_disk_makes_nobody_wait_but_who_stores(
    service: Service, machine: Machine | None, user: str
) -> None:
    if machine is None:
        pytest.skip("there is no C compiler here")
    other = f"{user}b"
    await run(service, user, "x = 1")
    await run(service, other, "x = 1")
    database = database_of(service.data_dir)
    assert database is not None
    assert machine.library in {mapped.path for mapped in database.memory_maps()}, "it is slow, too"
    machine.slow_down(0.5)
    try:
        storing = asyncio.create_task(save(service, user, "slow"))
        meanwhile = 0
        while not storing.done():
            assert (await run(service, other, "print(x)"))["text"] == "1\n"
            meanwhile += not storing.done()
        assert meanwhile >= 3
        assert (await storing)["name"] == "a.txt"
        assert len((await run(service, user, _WRITE))["files"]) == 1
    finally:
        machine.slow_down(0.0)


async def test_no_fault_is_left_out_where_tests_run_as_root() -> None:
    """What is skipped above must not hide that it can't be tried any more."""
    if os.environ.get("CI") and os.geteuid() == 0:
        assert shutil.which("cc") and shutil.which("unshare")
        # Unless whoever runs the machine has shut the groups off.
        shut = os.statvfs("/sys/fs/cgroup").f_flag & os.ST_RDONLY
        assert shut or _memory_group_files() is not None
