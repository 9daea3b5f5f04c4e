"""What a process and all that it started use, read from /proc."""

import os
from contextlib import suppress
from pathlib import Path

from interpreter.hosts.base import Resources

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_MOST_PROCESSES = 256


def resources_of_tree(pid: int) -> Resources | None:
    """Memory (proportional share) and processor time of a process and its descendants.

    Returns:
        None if the process has ended.
    """
    memory = 0
    cpu = 0.0
    pending = [pid]
    seen = 0
    while pending and seen < _MOST_PROCESSES:
        process = Path("/proc") / str(pending.pop())
        with suppress(OSError, ValueError):
            for task in (process / "task").iterdir():
                pending += [int(child) for child in (task / "children").read_text().split()]
        with suppress(OSError, ValueError, IndexError):
            cpu += _cpu_s(process)
            seen += 1
            memory += _memory_bytes(process)  # last: that of a sandbox's init can't be read
    return Resources(memory, cpu) if seen else None


def _cpu_s(process: Path) -> float:
    # The name, in brackets, may hold anything: count from behind it.
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _memory_bytes(process: Path) -> int:
    for line in (process / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
