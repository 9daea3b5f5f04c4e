"""HeldProcess: a process that can't be taken for another one which got its number later."""

import asyncio
import os
import signal
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Self


class HeldProcess:
    """A process and a descriptor of it. Made by :meth:`hold`; to be closed.

    Once closed it is as good as ended: the descriptor's number may be that of another process by
    then, and somebody may be about to signal this one all the same.

    Attributes:
        pid: its process id.
        started: when it started, in clock ticks since the machine did.
    """

    def __init__(self, pid: int, started: int, descriptor: int) -> None:
        """Use :meth:`hold`."""
        self.pid = pid
        self.started = started
        self._descriptor: int | None = descriptor

    @classmethod
    def hold(cls, pid: int, *, started: int | None = None) -> Self | None:
        """Hold a process.

        Args:
            pid: its process id.
            started: when it must have started; None for whenever.

        Returns:
            None if there is none of that kind.
        """
        try:
            descriptor = os.pidfd_open(pid)
        except (OSError, ValueError, OverflowError):
            return None
        # Asked once the descriptor holds on to the process.
        found = start_time(pid)
        if found is None or started not in (None, found):
            os.close(descriptor)
            return None
        return cls(pid, found, descriptor)

    def signal(self, signum: int) -> None:
        """Send it a signal; 0 only asks whether it lives.

        Raises:
            ProcessLookupError: it has ended, or was let go of.
            PermissionError: this process may not.
        """
        if self._descriptor is None:
            raise ProcessLookupError(f"process {self.pid} is not held any more")
        signal.pidfd_send_signal(self._descriptor, signum)

    def kill(self) -> None:
        """Kill it, if it lives and this process may."""
        with suppress(OSError):
            self.signal(signal.SIGKILL)

    async def ended(self) -> None:
        """Wait until it has ended; not longer if it was let go of before. Only one may wait."""
        descriptor = self._descriptor
        if descriptor is None:
            return
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        loop.add_reader(descriptor, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(descriptor)

    def close(self) -> None:
        """Let go of it, if that hasn't been done. Nobody may be waiting for its end any more."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since the machine did; None if there is none."""
    fields = _fields(pid)
    return None if fields is None else int(fields[19])


def parent_of(pid: int) -> int | None:
    """The process id of a process's parent; None if there is no such process."""
    fields = _fields(pid)
    return None if fields is None else int(fields[1])


def children_of(pid: int) -> list[int]:
    """The process ids of a process's children."""
    found: list[int] = []
    with suppress(OSError, ValueError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def namespaces_down(pid: int) -> int:
    """How many pid namespaces below this process's own a process is in; 0 if it has ended."""
    try:
        return max(0, _depth(str(pid)) - _depth("self"))
    except OSError:
        return 0


def _depth(name: str) -> int:
    for line in Path(f"/proc/{name}/status").read_text(errors="replace").splitlines():
        if line.startswith("NSpid:"):
            return len(line.split()) - 1
    return 1


@cache
def boot_id() -> str:
    """What tells this run of the machine from all others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _fields(pid: int) -> list[str] | None:
    """What /proc says of a process, from behind its name on: the name may hold anything."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return fields if len(fields) > 19 else None
