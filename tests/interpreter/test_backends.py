"""Choosing a backend, the users of kernels, and control groups."""

import asyncio
import os
from pathlib import Path

import pytest

from interpreter import SandboxUnavailable
from interpreter.hosts import backends, cgroup
from interpreter.hosts.backends import Surroundings, choose_confinement
from interpreter.hosts.users import UserIds
from interpreter.kernel_env import KernelEnvironment, ensure_kernel_environment
from interpreter.limits import Limits
from interpreter.settings import Settings
from tests.service.waiting import until

_MIB = 1 << 20


async def _choose(wanted: str, tmp_path: Path, **changed: Path) -> backends.Confinement:
    environment = await ensure_kernel_environment(root=Settings().kernel_env_dir)
    if changed:
        environment = KernelEnvironment(**{**vars(environment), **changed})
    sessions = tmp_path / "sessions"
    sessions.mkdir(exist_ok=True)
    layers = tmp_path / "layers"
    layers.mkdir(exist_ok=True)
    around = Surroundings(
        environment=environment,
        startup=Path(backends.__file__).parents[2] / "kernel_startup",
        sessions=sessions,
        layers=layers,
        invented=tmp_path / "etc",
        kernel_uid=52525 if os.geteuid() == 0 else None,
        counted=False,
    )
    return await choose_confinement(wanted, around)


async def test_auto_takes_the_strongest_that_works(tmp_path: Path) -> None:
    confinement = await _choose("auto", tmp_path)
    assert confinement.backend == "namespaces"
    assert len(confinement.filters) == 2
    assert os.listdir(confinement.sessions) == [], "the trial has left something"


async def test_auto_says_why_neither_works(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable) as caught:
        await _choose("auto", tmp_path, path=tmp_path / "no-environment")
    assert "namespaces:" in str(caught.value) and "landlock:" in str(caught.value)


async def test_none_is_taken_only_when_asked_for_and_confines_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    confinement = await _choose("none", tmp_path)
    assert (confinement.backend, confinement.filters) == ("none", ())
    assert "NOT confined" in caplog.text


# --- users --------------------------------------------------------------------------------------


def test_no_two_kernels_get_the_same_user_and_none_that_has_processes() -> None:
    users = UserIds(os.geteuid())
    taken = [users.take() for _ in range(200)]
    assert len(set(taken)) == 200
    running = {os.stat(path).st_uid for path in Path("/proc").glob("[0-9]*")}
    assert not running & set(taken)


def test_a_user_that_was_given_back_can_be_taken_again() -> None:
    users = UserIds((1 << 32) - 4)  # there is one left from there on
    only = users.take()
    with pytest.raises(OSError, match="taken"):
        users.take()
    users.give_back(only)
    assert users.take() == only


# --- control groups -----------------------------------------------------------------------------


def _left() -> list[Path]:
    mine = f"cellmate-{os.getpid()}-"
    return [path for path in Path("/sys/fs/cgroup").rglob("cellmate-*") if mine in path.name]


async def test_a_group_bounds_its_kernel_and_goes_with_all_that_is_in_it() -> None:
    before = set(_left())
    groups = cgroup.open_control_groups()
    if groups is None:
        pytest.skip("this account may make no control groups")
    limits = Limits(memory_bytes=64 * _MIB, processes=5, cpu_percent=50)
    group = groups.create("test", limits)
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", "read go; sleep 60 & sleep 60 & wait", stdin=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    try:
        group.add(process.pid)
        process.stdin.write(b"go\n")
        await process.stdin.drain()
        await until(lambda: group.cpu_s() > 0)
        assert group.memory_bytes() > 0
        assert group.memory_kills() == 0
    finally:
        await until(group.remove)  # though its processes live
        await asyncio.to_thread(groups.close)
    assert await process.wait() == -9
    assert set(_left()) <= before


_LIMIT_FILES = {"memory.limit_in_bytes", "cpu.cfs_quota_us", "memory.max", "cpu.max", "pids.max"}


def _written(name: str) -> dict[str, str]:
    """What stands in the limits of the groups of this name."""
    groups = Path("/sys/fs/cgroup").rglob(f"kernel-{name}")
    files = [file for group in groups for file in group.iterdir() if file.name in _LIMIT_FILES]
    return {file.name: file.read_text().strip() for file in files}


async def test_limits_are_written_as_given() -> None:
    groups = cgroup.open_control_groups()
    if groups is None:
        pytest.skip("this account may make no control groups")
    limits = Limits(memory_bytes=64 * _MIB, processes=5, cpu_percent=50)
    group = groups.create("written", limits)
    try:
        found = _written("written")
        if groups.version == 1:
            assert found["memory.limit_in_bytes"] == str(64 * _MIB)
            assert found["cpu.cfs_quota_us"] == "50000"
        else:
            assert found["memory.max"] == str(64 * _MIB)
            assert found["cpu.max"] == "50000 100000"
        assert found["pids.max"] == "5"
    finally:
        await until(group.remove)
        await asyncio.to_thread(groups.close)


def test_memory_of_the_machine_is_what_there_is_at_most() -> None:
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < cgroup.machine_memory_bytes() <= physical
