"""What a process and all that it started use, read from /proc."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interpreter.hosts.base import Resources

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_BLOCK_BYTES = 512  # the unit of st_blocks
_MOST_PROCESSES = 256


@dataclass(frozen=True, slots=True)
class TreeUse:
    """What a process and its descendants use.

    Attributes:
        resources: memory and processor time.
        threads: processes and threads.
        written_bytes: what those that live now have written to disks so far.
    """

    resources: Resources
    threads: int
    written_bytes: int


def use_of_tree(pid: int) -> TreeUse | None:
    """What a process and its descendants use; None if it has ended.

    Memory is the proportional share, or where that can't be read all memory that isn't a file's.
    """
    memory = threads = written = seen = 0
    cpu = 0.0
    for process in _tree(pid):
        with suppress(OSError, ValueError, IndexError):
            used_s, tasks = _cpu_s(process)
            cpu += used_s
            threads += tasks
            seen += 1
            memory += _memory_bytes(process)
            written += _written_bytes(process)
    return TreeUse(Resources(memory, cpu), threads, written) if seen else None


def load_of_tree(pid: int) -> tuple[float, int] | None:
    """Processor time, and the number of processes and threads; None if it has ended.

    Costs next to nothing beside :func:`use_of_tree`: memory is slow to read.
    """
    cpu, threads, seen = 0.0, 0, False
    for process in _tree(pid):
        with suppress(OSError, ValueError, IndexError):
            used_s, tasks = _cpu_s(process)
            cpu += used_s
            threads += tasks
            seen = True
    return (cpu, threads) if seen else None


def limit_broken_by_tree(
    pid: int, *, most_bytes: int, most_threads: int
) -> Literal["memory", "processes"] | None:
    """Which limit a process and its descendants are above, if they are.

    Looks no further than it has to: memory is slow to read, and who forks all the while must not
    keep the reader at it.
    """
    load = load_of_tree(pid)
    if load is not None and load[1] > most_threads:
        return "processes"
    memory = threads = 0
    for process in _tree(pid):
        with suppress(OSError, ValueError, IndexError):
            threads += _cpu_s(process)[1]
            memory += _memory_bytes(process)
        if threads > most_threads:
            return "processes"
        if memory > most_bytes:
            return "memory"
    return None


def resources_of_tree(pid: int) -> Resources | None:
    """Memory (proportional share) and processor time of a process and its descendants.

    Returns:
        None if the process has ended.
    """
    use = use_of_tree(pid)
    return None if use is None else use.resources


def deleted_bytes(pid: int, device: int) -> int:
    """Room on a disk that files take which have no name any more but are open or mapped.

    Args:
        pid: of the process; its descendants count too.
        device: the disk, as ``st_dev``.
    """
    found: dict[int, int] = {}
    for process in _tree(pid):
        with suppress(OSError):
            for name in os.listdir(process / "fd"):
                with suppress(OSError):
                    status = os.stat(process / "fd" / name)
                    if not status.st_nlink and status.st_dev == device:
                        found[status.st_ino] = status.st_blocks * _BLOCK_BYTES
        with suppress(OSError, ValueError):
            for line in (process / "maps").read_text(errors="replace").splitlines():
                if line.endswith(" (deleted)"):
                    span, _, _, disk, inode = line.split()[:5]
                    if _device(disk) == device:
                        found.setdefault(int(inode), _mapped_bytes(process, span))
    return sum(found.values())


def _mapped_bytes(process: Path, span: str) -> int:
    """Room that a mapped file takes; where only root may know that, how much of it is mapped."""
    with suppress(OSError):
        return os.stat(process / "map_files" / span).st_blocks * _BLOCK_BYTES
    first, _, last = span.partition("-")
    return int(last, 16) - int(first, 16)


def _device(text: str) -> int:
    major, _, minor = text.partition(":")
    return os.makedev(int(major, 16), int(minor, 16))


def _tree(pid: int) -> Iterator[Path]:
    """A process and its descendants; not more than a kernel may have by far."""
    pending = [pid]
    seen = 0
    while pending and seen < _MOST_PROCESSES:
        process = Path("/proc") / str(pending.pop())
        with suppress(OSError, ValueError):
            for task in (process / "task").iterdir():
                pending += [int(child) for child in (task / "children").read_text().split()]
        seen += 1
        yield process


def _cpu_s(process: Path) -> tuple[float, int]:
    """Processor time in seconds, and the number of threads."""
    # The name, in brackets, may hold anything: count from behind it.
    fields = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S, int(fields[17])


def _memory_bytes(process: Path) -> int:
    try:
        for line in (process / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except PermissionError:  # of another user, and we aren't all-powerful: what everybody may see
        _, resident, shared = (process / "statm").read_text().split()[:3]
        return (int(resident) - int(shared)) * _PAGE_BYTES
    return 0


def _written_bytes(process: Path) -> int:
    with suppress(PermissionError):
        for line in (process / "io").read_text().splitlines():
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
    return 0
