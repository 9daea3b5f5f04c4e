"""Whom the watcher looks at: those that may have done something, and nobody else."""

import asyncio
import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from interpreter.hosts import slots
from interpreter.hosts.watch import Allowance, Notes, Watcher
from interpreter.limits import Limits

_ASLEEP_AFTER = 3


@dataclass
class _Kernel:
    """A kernel whose processor time is what a test says."""

    slot: str
    used_s: float = 0.5
    looks: int = 0
    init_pid: int = field(default_factory=os.getpid)
    watch: Notes = field(default_factory=Notes)
    limits: Limits = field(default_factory=Limits)
    owner: int | None = None

    def cpu_s(self) -> float:
        self.looks += 1
        return self.used_s

    def weigh(self, *, light: bool) -> None:
        pass


class _Watched:
    """A watcher and its kernels."""

    def __init__(self, sessions: Path, *, total: bool) -> None:
        self.ended_s = 0.0
        self.kernels = [_Kernel(f"slot{number}") for number in range(5)]
        for kernel in self.kernels:
            slots.create(sessions / kernel.slot, owner=None)
        self.watcher = Watcher(
            sessions,
            counted=True,
            kernels=lambda: self.kernels,
            end=lambda kernel, cause: pytest.fail(f"{kernel} was ended for {cause}"),
            all_cpu_s=self._all_s if total else None,
        )

    def _all_s(self) -> float:
        return self.ended_s + sum(kernel.used_s for kernel in self.kernels)

    async def rounds(self, count: int = 1) -> list[int]:
        """Look so many times; how often each kernel was looked at."""
        for kernel in self.kernels:
            kernel.looks = 0
        for _ in range(count):
            await self.watcher.look_round()
        return [kernel.looks for kernel in self.kernels]


@pytest.fixture
def watched(tmp_path: Path) -> _Watched:
    return _Watched(tmp_path, total=True)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        RuntimeError("can't start new thread"),
        ValueError("unheard of"),
    ],
)
async def test_watcher_goes_on_after_a_round_that_failed(
    watched: _Watched, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    rounds, again = [error], asyncio.Event()

    async def look_round() -> None:
        if rounds:
            raise rounds.pop()
        again.set()

    monkeypatch.setattr("interpreter.hosts.watch._INTERVAL_S", 0.001)
    monkeypatch.setattr(watched.watcher, "look_round", look_round)
    watching = asyncio.create_task(watched.watcher.run())
    try:
        await asyncio.wait_for(again.wait(), 10)
    finally:
        watching.cancel()
        await asyncio.wait({watching})
    assert watching.cancelled()


async def test_kernels_that_sleep_are_not_looked_at(watched: _Watched) -> None:
    assert min(await watched.rounds(_ASLEEP_AFTER)) > 0
    assert await watched.rounds(10) == [0, 0, 0, 0, 0]


async def test_one_that_wakes_is_looked_at_at_once_and_then_it_alone(watched: _Watched) -> None:
    await watched.rounds(_ASLEEP_AFTER)
    watched.kernels[2].used_s += 0.1
    assert await watched.rounds() == [1, 1, 1, 1, 1]
    for _ in range(10):
        watched.kernels[2].used_s += 0.2
        assert await watched.rounds() == [0, 0, 1, 0, 0]
    await watched.rounds(_ASLEEP_AFTER)
    assert await watched.rounds(10) == [0, 0, 0, 0, 0]


async def test_another_that_wakes_beside_a_busy_one_is_noticed(watched: _Watched) -> None:
    await watched.rounds(_ASLEEP_AFTER)
    for _ in range(3):
        watched.kernels[2].used_s += 0.2
        await watched.rounds()
    watched.kernels[2].used_s += 0.2
    watched.kernels[4].used_s += 0.02
    assert (await watched.rounds())[4] == 1


async def test_little_that_goes_on_adds_up(watched: _Watched) -> None:
    await watched.rounds(_ASLEEP_AFTER)
    looks = 0
    for _ in range(10):
        watched.kernels[1].used_s += 0.001
        looks += (await watched.rounds())[1]
    assert looks > 0


async def test_time_of_kernels_that_have_ended_keeps_nobody_awake(watched: _Watched) -> None:
    await watched.rounds(_ASLEEP_AFTER)
    watched.ended_s += watched.kernels.pop().used_s
    await watched.rounds(_ASLEEP_AFTER)
    assert await watched.rounds(10) == [0, 0, 0, 0]
    watched.kernels[0].used_s += 0.1
    assert (await watched.rounds())[0] == 1


async def test_a_newcomer_is_looked_at(watched: _Watched) -> None:
    await watched.rounds(_ASLEEP_AFTER)
    watched.kernels.append(_Kernel("slot0"))
    assert (await watched.rounds())[-1] == 1


async def test_without_a_total_those_that_sleep_are_looked_at_now_and_then(tmp_path: Path) -> None:
    watched = _Watched(tmp_path, total=False)
    await watched.rounds(8)
    assert await watched.rounds(8) == [2, 2, 2, 2, 2]
    watched.kernels[3].used_s += 0.1
    await watched.rounds(4)
    watched.kernels[3].used_s += 0.1
    assert (await watched.rounds())[3] == 1


class _Near:
    """A watcher and a kernel whose files take four MiB, one more than they may."""

    def __init__(self, sessions: Path) -> None:
        self.causes: list[str] = []
        self.kernel = _Kernel("slot", limits=Limits(disk_bytes=3 << 20))
        slots.create(sessions / "slot", owner=None)
        with open(sessions / "slot" / "home" / ".snapshot", "wb") as file:
            file.write(os.urandom(4 << 20))
            file.flush()
            os.fsync(file)
        self.watcher = Watcher(
            sessions,
            counted=True,
            kernels=lambda: [self.kernel],
            end=lambda _, cause: self.causes.append(cause),
            all_cpu_s=lambda: self.kernel.used_s,
        )

    async def rounds(self, count: int) -> list[str]:
        self.causes.clear()
        for _ in range(count):
            await self.watcher.look_round()
        return self.causes


async def test_kernel_may_take_what_is_allowed_and_only_as_long(tmp_path: Path) -> None:
    near = _Near(tmp_path)
    notes = near.kernel.watch
    small, large = Allowance(1 << 19), Allowance(2 << 20)
    notes.allow(small)
    assert await near.rounds(1) == ["room"]
    notes.allow(large)
    notes.allow(small)
    assert await near.rounds(5) == []
    assert notes.fitted_ns == 0, "it doesn't fit, it is only let be"
    notes.allow_no_more(large)
    notes.allow_no_more(large)
    # It has done nothing since.
    assert await near.rounds(1) == ["room"]


async def test_what_was_measured_while_an_allowance_ended_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = _Near(tmp_path)
    allowance, real = Allowance(2 << 20), slots.measure

    def measure(slot: Path, *, most_files: int) -> slots.DiskUse:
        use = real(slot, most_files=most_files)
        near.kernel.watch.allow_no_more(allowance)
        (tmp_path / "slot" / "home" / ".snapshot").unlink(missing_ok=True)
        return use

    near.kernel.watch.allow(allowance)
    monkeypatch.setattr(slots, "measure", measure)
    assert await near.rounds(2) == []


async def test_what_is_saved_is_one_file_more(tmp_path: Path) -> None:
    near = _Near(tmp_path)
    near.kernel.limits = Limits(disk_files=3)
    for number in range(3):
        (tmp_path / "slot" / "work" / str(number)).touch()
    allowance = Allowance(0)
    near.kernel.watch.allow(allowance)
    assert await near.rounds(3) == [] and near.kernel.watch.fitted_ns == 0
    near.kernel.watch.allow_no_more(allowance)
    assert await near.rounds(1) == ["files"]
