"""Whom the watcher looks at: those that may have done something, and nobody else."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from interpreter.hosts import slots
from interpreter.hosts.watch import Notes, Watcher
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
