"""The watcher: ends kernels that take more than their share where the system itself wouldn't.

A disk knows no limit for a directory, so what kernels write is measured. Where there are no control
groups, so are their memory and processes. And whatever the limits allow, the machine keeps some
memory and some room on the disk: if these run low, the kernel that takes most of them goes.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from interpreter.hosts import processes, slots
from interpreter.hosts.base import ExitCause
from interpreter.limits import Limits
from interpreter.logs import get_logger
from kernel_startup.disk import WRITING_BYTES, room_on_disk

log = get_logger(__name__)

_INTERVAL_S = 0.25
#: Processor time of all kernels together that may go unnoticed before each is looked at.
_UNNOTICED_S = 0.005
#: Without a number for all of them, those that sleep are looked at in every so many rounds.
_SLEEPERS_EVERY = 4
#: A round that took long is followed by a rest of so many times as long.
_REST = 3
#: On a machine with far too much to do a round takes seconds; limits are to hold there as well.
_MOST_REST_S = 2.0
#: Memory that no kernel may take, where no control group sees to it.
_MEMORY_RESERVE_BYTES, _MEMORY_RESERVE_SHARE = 256 << 20, 0.05
#: From which share of a processor on a kernel is busy, and how long it has to be to wait.
_BUSY_SHARE, _STARVED_SHARE, _LIGHT_AFTER_S = 0.5, 0.02, 2.0
_WRITE_SAMPLE_S = 0.1


class Watched(Protocol):
    """A live kernel, as the watcher sees it."""

    init_pid: int
    watch: "Notes"
    limits: Limits

    @property
    def slot(self) -> str:
        """Its slot."""

    @property
    def owner(self) -> int | None:
        """The user id that no other kernel has, if it has one."""

    def cpu_s(self) -> float | None:
        """Processor time that it has used so far; None if it has ended."""

    def weigh(self, *, light: bool) -> None:
        """Have it come first for the processor, or last."""


@dataclass(frozen=True, slots=True, eq=False)
class Allowance:
    """Room that a kernel's files may take beyond its limit for a time; and there may be one more.

    Attributes:
        bytes: how much.
    """

    bytes: int


@dataclass(slots=True)
class Notes:
    """What the watcher remembers of a kernel.

    Attributes:
        cpu_s: its processor time when its files were last measured: without more, nothing changed.
        fitted_ns: when its files last fitted, in nanoseconds since 1970.
        looked_s: when its processor time was last looked at, by the monotonic clock.
        looked_cpu_s: what it was then.
        busy_s: for how long it has been busy without a pause.
        light: whether it comes last for the processor.
        awake: whether to look at it again at once: it did something, or hasn't been measured since.
        allowances: what its files may take beyond its limit just now; the largest counts.
        changes: how often those have changed.
    """

    cpu_s: float = -1.0
    fitted_ns: int = 0
    looked_s: float = 0.0
    looked_cpu_s: float = 0.0
    busy_s: float = 0.0
    light: bool = False
    awake: bool = True
    allowances: list[Allowance] = field(default_factory=list)
    changes: int = 0

    def allow(self, allowance: Allowance) -> None:
        """Have its files take more beyond its limit from now on."""
        self.changes += 1
        self.allowances.append(allowance)

    def allow_no_more(self, allowance: Allowance) -> None:
        """Take that back, if it hasn't been."""
        if allowance in self.allowances:
            self.changes += 1  # first: who measures in a thread asks for it last
            self.allowances.remove(allowance)

    def extra_bytes(self) -> int:
        """What its files may take beyond its limit just now."""
        return max((allowance.bytes for allowance in self.allowances), default=0)

    def look(self, now_s: float, cpu_s: float) -> bool:
        """Take in its processor time; returns whether ``light`` has changed.

        A kernel that has been computing for a while waits behind those that want a moment only.
        """
        passed_s = now_s - self.looked_s
        busy = cpu_s - self.looked_cpu_s > _BUSY_SHARE * passed_s
        # Kept from the processor, it is as busy as ever.
        starved = self.light and cpu_s - self.looked_cpu_s > _STARVED_SHARE * passed_s
        self.busy_s = self.busy_s + passed_s if busy or starved else 0.0
        self.awake = cpu_s != self.looked_cpu_s or cpu_s != self.cpu_s
        self.looked_s, self.looked_cpu_s = now_s, cpu_s
        was, self.light = self.light, self.busy_s > _LIGHT_AFTER_S
        return was is not self.light


class Watcher:
    """Watches the kernels of one host."""

    def __init__(
        self,
        sessions: Path,
        *,
        counted: bool,
        kernels: Callable[[], Iterable[Watched]],
        end: Callable[[Watched, ExitCause], None],
        all_cpu_s: Callable[[], float] | None = None,
    ) -> None:
        """Make a watcher; :meth:`run` is to be a task.

        Args:
            sessions: the directory of all slots.
            counted: whether control groups bound memory and processes.
            kernels: gives the live ones.
            end: ends one, for a reason.
            all_cpu_s: gives the processor time of all kernels together, also of those that have
                ended, or raises OSError; None if nobody knows.
        """
        self._sessions = sessions
        self._counted = counted
        self._kernels = kernels
        self._end = end
        self._all_cpu_s = all_cpu_s
        self._used_s: float | None = None
        self._others_s = 0.0
        self._rounds = 0
        self._device = os.stat(sessions).st_dev

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            began = time.monotonic()
            try:
                await self.look_round()
            except (OSError, RuntimeError) as error:
                # No descriptors or threads are left, say; the next round may be luckier.
                log.debug("kernels could not be watched", reason=str(error))
            except Exception:  # no limit would hold any more
                log.exception("kernels could not be watched")
            took_s = time.monotonic() - began
            await asyncio.sleep(min(max(_INTERVAL_S, _REST * took_s), _MOST_REST_S))

    async def look_round(self) -> None:
        """Look at each kernel that may have done something, and end those that took too much."""
        kernels = list(self._kernels())
        moved = self._has_moved(kernels)
        for kernel in await asyncio.to_thread(self._look, kernels) if moved else ():
            try:
                cause = await asyncio.to_thread(self._judge, kernel)
            except OSError as error:  # gone meanwhile
                log.debug("a kernel could not be measured", reason=str(error))
                continue
            if cause is not None:
                self._end(kernel, cause)
        await self._mind_the_machine()

    def _has_moved(self, kernels: list[Watched]) -> bool:
        """Whether any may have used the processor. Hundreds that sleep cost one look together."""
        self._rounds += 1
        self._used_s, before = self._total_s(), self._used_s
        if self._used_s is None:
            moved = self._rounds % _SLEEPERS_EVERY == 0
        else:
            moved = self._used_s != before
        return bool(kernels) and (moved or any(kernel.watch.awake for kernel in kernels))

    def _total_s(self) -> float | None:
        try:
            return None if self._all_cpu_s is None else self._all_cpu_s()
        except OSError:
            return None

    def _look(self, kernels: list[Watched]) -> list[Watched]:
        """Those that have used the processor since they were last measured."""
        awake = [kernel for kernel in kernels if kernel.watch.awake]
        active = self._look_at(awake)
        if self._used_s is None:
            look_at_all = self._rounds % _SLEEPERS_EVERY == 0
        else:
            look_at_all = self._used_s - self._others_s - _looked_s(kernels) > _UNNOTICED_S
        if look_at_all:
            seen = set(map(id, awake))
            active += self._look_at([kernel for kernel in kernels if id(kernel) not in seen])
        if look_at_all and self._used_s is not None:
            # What those had used that are no more, and it doesn't grow.
            self._others_s = self._used_s - _looked_s(kernels)
        return active

    def _look_at(self, kernels: list[Watched]) -> list[Watched]:
        active = []
        for kernel in kernels:
            used_s = kernel.cpu_s()
            if used_s is None:
                kernel.watch.awake = False
                continue
            if kernel.watch.look(time.monotonic(), used_s):
                kernel.weigh(light=kernel.watch.light)
            if used_s != kernel.watch.cpu_s:
                active.append(kernel)
        return active

    def _judge(self, kernel: Watched) -> ExitCause | None:
        """Why a kernel has to end, if it has to."""
        limits = kernel.limits
        cpu_s = kernel.watch.looked_cpu_s
        if not self._counted:
            broken = processes.limit_broken_by_tree(
                kernel.init_pid, most_bytes=limits.memory_bytes, most_threads=limits.processes
            )
            if broken is not None:
                return broken
        began_ns, changes = time.time_ns(), kernel.watch.changes
        most_files = limits.disk_files + bool(kernel.watch.allowances)  # what it saves is one
        use = slots.measure(self._sessions / kernel.slot, most_files=most_files)
        room_bytes = use.room_bytes + processes.deleted_bytes(kernel.init_pid, self._device)
        is_full = room_bytes > limits.disk_bytes + kernel.watch.extra_bytes()
        if (is_full or not use.complete) and kernel.watch.changes != changes:
            return None  # it may have been allowed until just now: the next round tells
        if is_full:
            return "room"
        if kernel.owner is not None and (
            slots.shared_memory_bytes(kernel.owner) > limits.shm_bytes
        ):
            return "memory"
        if not use.complete:
            return "files"
        if room_bytes <= limits.disk_bytes and use.files <= limits.disk_files:
            kernel.watch.cpu_s, kernel.watch.fitted_ns = cpu_s, began_ns
        return None  # if only let be, it is looked at until it fits, or has to

    async def _mind_the_machine(self) -> None:
        kernels = list(self._kernels())
        if kernels and self._disk_is_low():
            before = await asyncio.to_thread(self._written, kernels)
            await asyncio.sleep(_WRITE_SAMPLE_S)
            after = await asyncio.to_thread(self._written, kernels)
            written = [now - then for now, then in zip(after, before, strict=True)]
            most = max(written)
            if most > WRITING_BYTES:
                self._end(kernels[written.index(most)], "disk")
        if kernels and not self._counted and _memory_is_low():
            memory = await asyncio.to_thread(self._memory, kernels)
            self._end(kernels[memory.index(max(memory))], "machine")

    def _disk_is_low(self) -> bool:
        room, reserve = room_on_disk(self._sessions)
        return room < reserve

    @staticmethod
    def _written(kernels: list[Watched]) -> list[int]:
        uses = [processes.use_of_tree(kernel.init_pid) for kernel in kernels]
        return [0 if use is None else use.written_bytes for use in uses]

    @staticmethod
    def _memory(kernels: list[Watched]) -> list[int]:
        uses = [processes.use_of_tree(kernel.init_pid) for kernel in kernels]
        return [0 if use is None else use.resources.memory_bytes for use in uses]


def _looked_s(kernels: list[Watched]) -> float:
    return sum(kernel.watch.looked_cpu_s for kernel in kernels)


def _memory_is_low() -> bool:
    found = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        found[name] = int(value.split()[0]) * 1024
    reserve = min(_MEMORY_RESERVE_BYTES, found["MemTotal"] * _MEMORY_RESERVE_SHARE)
    return found["MemAvailable"] < reserve
