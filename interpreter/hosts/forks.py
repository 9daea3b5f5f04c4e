"""Fork: a kernel of this machine, from its fork to its end, and what is done to its processes."""

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from interpreter.hosts import processes
from interpreter.hosts.base import ExitCause, HostedKernel, KernelExit, Resources
from interpreter.hosts.cgroup import KernelGroup
from interpreter.hosts.control import ControlChannel
from interpreter.hosts.held_process import HeldProcess, boot_id
from interpreter.hosts.record import KernelRecord
from interpreter.hosts.watch import Notes
from interpreter.limits import Limits
from interpreter.logs import get_logger

log = get_logger(__name__)

_GROUP_REMOVAL_S, _GROUP_PAUSE_S = 20.0, 0.02


@dataclass(slots=True)
class Fork:
    """A kernel between its fork and its end.

    Attributes:
        process: the kernel's own; None if it ended before the kernel was adopted.
        ending: whether its init has reported its end, and it is being cleared up behind it.
    """

    kernel: HostedKernel
    server_id: str
    init: HeldProcess
    process: HeldProcess | None
    group: KernelGroup | None
    channel: ControlChannel
    ended: asyncio.Future[KernelExit]
    watch: Notes
    limits: Limits
    owner: int | None = None
    cause: ExitCause | None = None
    ending: bool = False
    attending: "asyncio.Task[None] | None" = None
    timers: set[asyncio.TimerHandle] = field(default_factory=set)
    init_pid: int = field(init=False)

    def __post_init__(self) -> None:
        """Name the process above all of its own."""
        self.init_pid = self.init.pid

    @property
    def slot(self) -> str:
        """The slot it lives in."""
        return self.kernel.slot

    def resources(self) -> Resources | None:
        """What it uses now; None if it has ended."""
        try:
            if self.group is not None:
                return Resources(self.group.memory_bytes(), self.group.cpu_s())
            return processes.resources_of_tree(self.init_pid)
        except OSError:
            return None

    def cpu_s(self) -> float | None:
        """Processor time that it has used so far; None if it has ended."""
        try:
            if self.group is not None:
                return self.group.cpu_s()
            load = processes.load_of_tree(self.init_pid)
            return None if load is None else load[0]
        except OSError:
            return None

    def weigh(self, *, light: bool) -> None:
        """Have it come first for the processor, or last."""
        if self.group is not None:
            self.group.weigh(light=light)

    def record(self, backend: str) -> KernelRecord:
        """What the next service has to know of it."""
        return KernelRecord(
            kernel_id=self.kernel.kernel_id,
            slot=self.kernel.slot,
            backend=backend,
            key=str(self.kernel.connection["key"]),
            boot=boot_id(),
            init_pid=self.init.pid,
            init_started=self.init.started,
            kernel_pid=self.kernel.pid,
            kernel_started=0 if self.process is None else self.process.started,
            server_id=self.server_id,
            started_at=self.kernel.started_at,
            fitted_ns=self.watch.fitted_ns,
            limits=self.limits,
        )

    def close(self) -> None:
        """Let go of its processes and its connection."""
        for timer in self.timers:
            timer.cancel()
        self.channel.close()
        self.init.close()
        if self.process is not None:
            self.process.close()

    def exit_with(self, status: int | None) -> KernelExit:
        """How it has ended.

        Args:
            status: the kernel's wait status; None if nobody knows it.
        """
        if self.cause == "stopped":
            return KernelExit("stopped")
        if self.cause is not None:
            return KernelExit(self.cause, signal=9)
        killed = status is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == 9)
        with suppress(OSError):  # without descriptors nobody can tell; it has ended all the same
            if killed and self.group is not None and self.group.memory_kills() > 0:
                return KernelExit("memory" if self.group.was_full() else "machine", signal=9)
        if status is None:
            return KernelExit("signal", signal=9)
        if os.WIFSIGNALED(status):
            return KernelExit("signal", signal=os.WTERMSIG(status))
        return KernelExit("exited", code=os.waitstatus_to_exitcode(status))

    def kill_init(self) -> None:
        """Kill the init; in a pid namespace of its own, everything else ends with it."""
        if self.group is not None:
            self.group.unleash()
        self.init.kill()


def hold(pid: int) -> HeldProcess:
    """Hold a process that is being started.

    Raises:
        ProcessLookupError: it has ended.
    """
    held = HeldProcess.hold(pid)
    if held is None:
        raise ProcessLookupError("it ended before it was ready")
    return held


def weigh(group: KernelGroup | None, nice: Mapping[int, int], *, light: bool) -> None:
    """Have a kernel that is being started come last for the processor; or no longer so."""
    if group is not None:
        group.weigh(light=light)
    if os.geteuid() != 0:  # nobody else could take it back
        return
    for pid, value in nice.items():
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.setpriority(os.PRIO_PROCESS, int(thread), value)


def prefer_to_end(pid: int) -> None:
    """Have the system, should it run out of memory, end a kernel before anything else.

    Written by root, it also is the least that the kernel may set it to.
    """
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")


async def remove_group(group: KernelGroup) -> None:
    """Remove a kernel's control group, as soon as the last of its processes has gone."""
    group.unleash()
    end = time.monotonic() + _GROUP_REMOVAL_S
    while not await asyncio.to_thread(group.remove):
        if time.monotonic() > end:
            log.warning("a control group could not be removed")
            return
        await asyncio.sleep(_GROUP_PAUSE_S)
