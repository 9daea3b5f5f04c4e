"""Gives memory back that a cell no longer needs, a moment after it: many kernels share the machine.

Python's objects that refer to each other in a circle, such as matplotlib's figures, wait for the
collector, and what C code has freed stays with the process. Both are seen to when nothing else is
to be done. What the fork server has made is frozen, and costs nothing here.
"""

import asyncio
import ctypes
import gc
import time

#: How long after a cell. The next one comes first.
_PAUSE_S = 0.4
#: A round that took long, because the user has many objects, is followed by so many times as long
#: without one.
_REST = 50


class Tidying:
    """Tidies up behind cells, in the main thread's loop."""

    def __init__(self) -> None:
        """Have nothing to do yet."""
        self._libc = ctypes.CDLL(None)
        self._due: asyncio.TimerHandle | None = None
        self._not_before = 0.0

    def put_off(self) -> None:
        """A cell runs: not now."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def plan(self) -> None:
        """A cell has run: tidy up in a moment, once."""
        self.put_off()
        pause_s = max(_PAUSE_S, self._not_before - time.monotonic())
        self._due = asyncio.get_running_loop().call_later(pause_s, self._tidy)

    def _tidy(self) -> None:
        self._due = None
        began = time.monotonic()
        if gc.isenabled():
            gc.collect()
        self._libc.malloc_trim(0)
        ended = time.monotonic()
        self._not_before = ended + _REST * (ended - began)
