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
_MOST_FILES = 60_000  # some more than a kernel may have by default


def room_on_disk(path: str | Path) -> tuple[int, float]:
    """The room that is left on the disk of a path, and the reserve; both in bytes."""
    disk = os.statvfs(path)
    whole = disk.f_blocks * disk.f_frsize
    return disk.f_bavail * disk.f_frsize, min(_RESERVE_BYTES, whole * _RESERVE_SHARE)


def on_one_disk(first: str, *others: str) -> tuple[str, ...]:
    """A directory, and those others that are on the same disk."""
    device = os.stat(first).st_dev
    return first, *(path for path in others if os.stat(path).st_dev == device)


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
        with suppress(OSError):  # of a disk that doesn't tell, nothing can be said
            room, reserve = room_on_disk(self._directories[0])
            if room < _NEAR * reserve:
                self._before = now = self._look(room)
                if before is not None and room < reserve and now.is_more_than(before):
                    return True
        self.fitted_ns = now_ns
        return False

    def _look(self, room: int) -> "_Written":
        files = _named(self._directories)
        # Of those that have ended, and whom nobody else has waited for.
        written = resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock * _BLOCK_BYTES
        try:
            device = os.stat(self._directories[0]).st_dev
            for pid in self._processes():
                # It has ended; or it doesn't tell, as zombies never do: its files have to.
                with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                    written += _written_by(pid)
                    if files is not None:
                        files |= _unnamed(pid, device)
        except OSError:  # such as too many open files: nobody was looked at
            return _Written(room, None, None)
        return _Written(room, written, None if files is None else sum(files.values()))


@dataclass(frozen=True, slots=True)
class _Written:
    """What a kernel has written up to now, as far as one look tells.

    Processes can hide what they write: from their own user, or by children that nobody waits for.
    Files can be made to be found by nobody. So neither is believed alone.

    Attributes:
        room_bytes: what is left on the disk.
        written_bytes: by those processes that tell; None if they could not be looked at.
        used_bytes: what its files take; None if not all of them could be looked at.
    """

    room_bytes: int
    written_bytes: int | None
    used_bytes: int | None

    def is_more_than(self, before: "_Written") -> bool:
        """Whether it was writing since.

        Who can't be looked at is taken for the one who has what the disk lost.
        """
        grown = [
            now - then
            for now, then in (
                (self.written_bytes, before.written_bytes),
                (self.used_bytes, before.used_bytes),
            )
            if now is not None and then is not None
        ]
        if len(grown) < 2:
            grown.append(before.room_bytes - self.room_bytes)
        return max(grown) > WRITING_BYTES


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


def _named(directories: Sequence[str]) -> dict[int, int] | None:
    """Room that files take, by inode; None if they can't all be looked at, or not in a moment."""
    found: dict[int, int] = {}
    seen = 0
    pending = list(directories)
    while pending:
        try:
            # What has just been deleted, or moved, is seen the next time.
            with suppress(FileNotFoundError), os.scandir(pending.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if seen > _MOST_FILES:
                        return None
                    with suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        found[status.st_ino] = status.st_blocks * _BLOCK_BYTES
                        if stat.S_ISDIR(status.st_mode):
                            pending.append(entry.path)
        except OSError:  # may not be listed, or is deeper than a path can be long
            return None
    return found


def _unnamed(pid: int, device: int) -> dict[int, int]:
    """Room of a disk's files that a process holds open and that have no name, by inode.

    Raises:
        OSError: it has ended, or doesn't tell.
    """
    found: dict[int, int] = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            status = os.stat(f"/proc/{pid}/fd/{name}")
            if status.st_nlink == 0 and status.st_dev == device and stat.S_ISREG(status.st_mode):
                found[status.st_ino] = status.st_blocks * _BLOCK_BYTES
    return found
