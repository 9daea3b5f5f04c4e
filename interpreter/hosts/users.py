"""User ids for kernels that share the machine's namespaces: each gets one that nobody else has."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

#: How many ids from the first one on are ours. With it, all stay below 65536: a container may have
#: no others.
_RANGE = 10_000


class UserIds:
    """Hands out the user ids above ``KERNEL_UID``, which kernels in namespaces share."""

    def __init__(self, kernel_uid: int) -> None:
        """Hand out ids above this one."""
        self._first = kernel_uid + 1
        self._range = max(1, min(_RANGE, (1 << 32) - 2 - self._first))
        self._taken: set[int] = set()

    def take(self) -> int:
        """An id that no other slot has, and no process of this machine.

        Raises:
            OSError: there is none left.
        """
        in_use = self._taken | _with_processes()
        start = secrets.randbelow(self._range)  # another service may be choosing now, too
        for step in range(self._range):
            uid = self._first + (start + step) % self._range
            if uid not in in_use:
                self._taken.add(uid)
                return uid
        raise OSError("all user ids for kernels are taken")

    def mark(self, uid: int) -> None:
        """Have an id not handed out, since somebody has it already."""
        self._taken.add(uid)

    def give_back(self, uid: int) -> None:
        """Have an id handed out again; nothing of its user may be left."""
        self._taken.discard(uid)


def _with_processes() -> set[int]:
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found.add(os.stat(process).st_uid)
    return found
