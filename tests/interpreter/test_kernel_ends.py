"""What a kernel leaves behind when it ends before the watcher has come by."""

import asyncio
import os
import resource
import signal
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from interpreter.hosts import slots
from interpreter.hosts.base import HostedKernel, KernelExit
from interpreter.hosts.local import LocalKernelHost
from interpreter.limits import Limits
from tests.interpreter.outliving_host import open_host
from tests.service.waiting import until

_MIB = 1 << 20
_LIMITS = Limits(disk_bytes=8 * _MIB, disk_files=100)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@contextmanager
def _unwatched() -> Iterator[Path]:
    """The data directory of hosts whose watchers look once, before there are kernels, and then not
    for an hour."""
    with (
        tempfile.TemporaryDirectory(prefix="ends-") as temporary,
        pytest.MonkeyPatch.context() as p,
    ):
        os.chmod(temporary, 0o711)
        data_dir = Path(temporary) / "data"  # that kernels can pass through
        data_dir.mkdir(mode=0o711)
        p.setattr("interpreter.hosts.watch._INTERVAL_S", 3600.0)
        yield data_dir


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host() -> AsyncIterator[LocalKernelHost]:
    """Such a host."""
    with _unwatched() as data_dir:
        async with open_host(data_dir, limits=_LIMITS) as opened:
            yield opened


def _go_deep(work: Path) -> None:
    """Make directories below each other, more than can be measured."""
    top = os.open(work, os.O_DIRECTORY)
    for _ in range(slots.MEASURED_DEPTH + 1):
        os.mkdir("d", dir_fd=top)
        below = os.open("d", os.O_DIRECTORY, dir_fd=top)
        os.close(top)
        top = below
    os.close(top)


def _make_many(work: Path) -> None:
    for number in range(_LIMITS.disk_files + 1):
        (work / f"new{number}").touch()


def _make_many_directories(work: Path) -> None:
    for number in range(_LIMITS.disk_files // 2 + 1):
        (work / f"new{number}" / "below").mkdir(parents=True)


def _write_much(work: Path) -> None:
    with open(work / "new", "wb") as file:
        file.write(os.urandom(_LIMITS.disk_bytes + _MIB))
        os.fsync(file.fileno())


async def _stop(host: LocalKernelHost, kernel: HostedKernel) -> None:
    await host.kill(kernel.kernel_id)


async def _crash(host: LocalKernelHost, kernel: HostedKernel) -> None:
    os.kill(kernel.pid, signal.SIGSEGV)


def _use(path: Path) -> slots.DiskUse:
    return slots.measure(path, most_files=_LIMITS.disk_files)


@pytest.mark.parametrize("end", [_stop, _crash])
@pytest.mark.parametrize(
    ("leave", "cause"),
    [
        (_write_much, "room"),
        (_make_many, "files"),
        (_go_deep, "files"),
        (_make_many_directories, "files"),
    ],
)
async def test_what_is_too_much_is_not_left_to_the_next_kernel(
    host: LocalKernelHost,
    end: Callable[[LocalKernelHost, HostedKernel], Awaitable[None]],
    leave: Callable[[Path], None],
    cause: str,
) -> None:
    slot = host._path(await host.open_slot())
    old = slot / "work" / "old"
    old.mkdir()
    (old / "kept").touch()
    kernel = await host.start(slot.name)
    leave(slot / "work")
    leave(old)
    await end(host, kernel)
    assert (await host.wait(kernel.kernel_id)).cause == cause
    await host.start(slot.name)
    assert os.listdir(slot / "work") == ["old"] and os.listdir(old) == ["kept"]
    use = _use(slot)
    assert use.complete and use.room_bytes <= _LIMITS.disk_bytes


async def test_what_fits_is_left_and_the_end_is_told_as_it_was(host: LocalKernelHost) -> None:
    first = await host.start(None)
    slot = host._path(first.slot)
    (slot / "work" / "made").touch()
    _write_much(slot / "home")  # which goes in any case
    await host.kill(first.kernel_id)
    assert await host.wait(first.kernel_id) == KernelExit("stopped")
    second = await host.start(first.slot)
    await _crash(host, second)
    assert await host.wait(second.kernel_id) == KernelExit("signal", signal=11)
    await host.start(first.slot)
    assert os.listdir(slot / "work") == ["made"]
    assert _use(slot).room_bytes <= _LIMITS.disk_bytes


async def test_watcher_that_is_late_does_nothing_to_the_next_kernel(host: LocalKernelHost) -> None:
    first = await host.start(None)
    fork = host._forks[first.kernel_id]
    await _crash(host, first)
    await host.wait(first.kernel_id)
    second = await host.start(first.slot)  # its descriptors get the numbers of the first one's
    ended = asyncio.create_task(host.wait(second.kernel_id))
    host._end_for(fork, "room")  # as after a measurement that took long
    done, _ = await asyncio.wait({ended}, timeout=1.0)
    assert not done and await host.signal(second.kernel_id, 0)
    assert fork.cause is None
    await host.kill(second.kernel_id)
    assert await ended == KernelExit("stopped")


async def test_allowance_that_nobody_ends_is_over_in_time_with_what_was_saved(
    host: LocalKernelHost,
) -> None:
    kernel = await host.start(None)
    notes = host._forks[kernel.kernel_id].watch
    snapshot = host._path(kernel.slot) / "home" / ".snapshot"
    snapshot.touch()
    later = host.allow(kernel.kernel_id, 20, for_s=600.0)
    host.allow(kernel.kernel_id, 30, for_s=0.01)
    assert notes.extra_bytes() == 30
    await until(lambda: notes.extra_bytes() == 20)
    assert snapshot.exists(), "it may be the later one's"
    later()
    host.allow(kernel.kernel_id, 10, for_s=0.01)
    await until(lambda: notes.extra_bytes() == 0)
    assert not snapshot.exists()
    await host.kill(kernel.kernel_id)
    host.allow(kernel.kernel_id, 10, for_s=0.01)()


async def test_end_is_noticed_also_without_descriptors(host: LocalKernelHost) -> None:
    kernel = await host.start(None)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, most[1]))
    try:
        os.kill(kernel.pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            assert await host.wait(kernel.kernel_id) == KernelExit("signal", signal=9)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
    await host.start(kernel.slot)


async def test_what_is_too_much_is_cleared_up_before_a_service_leaves_its_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trim, began, may_go_on = slots.trim, threading.Event(), threading.Event()

    def trim_later(*args: Any, **options: Any) -> bool:
        began.set()
        assert may_go_on.wait(20)
        return trim(*args, **options)

    monkeypatch.setattr(slots, "trim", trim_later)
    with _unwatched() as data_dir:
        async with open_host(data_dir, limits=_LIMITS, orphan_s=60.0) as first:
            kernel = await first.start(None)
            slot = first._path(kernel.slot)
            _write_much(slot / "work")
            await _crash(first, kernel)
            assert (await first.wait(kernel.kernel_id)).cause == "room"
            await asyncio.to_thread(began.wait, 20)
            first.detach()
            asyncio.get_running_loop().call_later(0.2, may_go_on.set)
        assert may_go_on.is_set() and _use(slot).room_bytes <= _LIMITS.disk_bytes
        async with open_host(data_dir, limits=_LIMITS, reattach=True):
            assert slot.is_dir()
