"""The disk: what no kernel may take of it, and who sees to that while no service is there.

A service watches what kernels write. When it has gone, kernels go on for a while, and each one's
init looks after its own: one that writes to a disk that is nearly full is to end.
"""

import os
import resource
import stat
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: From so much on, in bytes between two looks, a kernel is writing.
WRITING_BYTES = 1 << 20
#: Room that no kernel may take, in bytes and as a share of the disk; the smaller one counts.
_RESERVE_BYTES, _RESERVE_SHARE = 1 << 30, 0.02
_INTERVAL_S = 1.0
#: Nobody uses up so many reserves between two looks: with more room, nothing else is looked at.
_NEAR = 8
_BLOCK_BYTES = 512  # the unit of st_blocks and ru_oublock
_MOST_FILES = 50_000


def room_on_disk(path: str | Path) -> tuple[int, float]:
    """The room that is left on the disk of a path, and the reserve; both in bytes."""
    disk = os.statvfs(path)
    whole = disk.f_blocks * disk.f_frsize
    return disk.f_bavail * disk.f_frsize, min(_RESERVE_BYTES, whole * _RESERVE_SHARE)


class DiskWatch:
    """Looks once a second whether a kernel writes to a disk that is nearly full.

    Attributes:
        fitted_ns: when that was last not so, in nanoseconds since 1970; what is newer is too much.
    """

    def __init__(
        self, directories: Sequence[str], processes: Callable[[], Collection[int]]
    ) -> None:
        """Begin without a look.

        Args:
            directories: where the kernel may write, all on one disk.
            processes: gives the kernel's processes.
        """
        self.fitted_ns = 0
        self._directories = directories
        self._processes = processes
        self._before: _Written | None = None
        self._next_at = 0.0

    @property
    def wait_s(self) -> float:
        """How long it is until the next look, in seconds."""
        return max(0.0, self._next_at - time.monotonic())

    def rest(self) -> None:
        """Begin anew with the next look: others are watching now."""
        self._before, self._next_at = None, 0.0

    def is_too_much(self) -> bool:
        """Look, if it is time; returns whether the kernel is to end."""
        if self.wait_s > 0:
            return False
        self._next_at = time.monotonic() + _INTERVAL_S
        now_ns = time.time_ns()
        before, self._before = self._before, None
        with suppress(OSError):
            room, reserve = room_on_disk(self._directories[0])
            if room < _NEAR * reserve:
                self._before = self._written()
                if before is not None and room < reserve and self._before.is_more_than(before):
                    return True
        self.fitted_ns = now_ns
        return False

    def _written(self) -> "_Written":
        # Of those that have ended, and whom nobody else has waited for.
        written = resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock * _BLOCK_BYTES
        is_hidden = False
        for pid in self._processes():
            try:
                written += _written_by(pid)
            except OSError:
                is_hidden |= os.path.exists(f"/proc/{pid}")
        return _Written(written, _used_bytes(self._directories) if is_hidden else None)


@dataclass(frozen=True, slots=True)
class _Written:
    """What a kernel has written up to now.

    Attributes:
        written_bytes: by those processes that tell.
        used_bytes: what its files take, where a process doesn't tell; else None.
    """

    written_bytes: int
    used_bytes: int | None

    def is_more_than(self, before: "_Written") -> bool:
        """Whether it was writing since."""
        grown = self.written_bytes - before.written_bytes
        if self.used_bytes is not None and before.used_bytes is not None:
            grown = max(grown, self.used_bytes - before.used_bytes)
        return grown > WRITING_BYTES


def _written_by(pid: int) -> int:
    """What a process has written to disks, and those that it has waited for.

    Raises:
        OSError: it has ended, or doesn't tell.
    """
    with open(f"/proc/{pid}/io", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
    return 0


def _used_bytes(directories: Sequence[str]) -> int:
    """Room that files take, of so many as can be looked at in a moment."""
    room = seen = 0
    pending = list(directories)
    while pending and seen < _MOST_FILES:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                seen += 1
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    room += status.st_blocks * _BLOCK_BYTES // max(1, status.st_nlink)
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(entry.path)
                if seen >= _MOST_FILES:
                    break
    return room
