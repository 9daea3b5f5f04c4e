"""Something that is to be done in another thread, in a while: without waking that thread before."""

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_CLOCK_MONOTONIC = 1


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    """What `timerfd_settime` takes: when to ring again, and when at first."""

    _fields_ = (("again", _Time), ("first", _Time))


class Alarm:
    """Rings once after it has been set. A descriptor of the system: setting it is one call.

    A loop's own timer has to be set by the loop's thread. That one would run, and take the
    interpreter's lock, beside whoever wants something only later.
    """

    def __init__(self, watch: Callable[[int, Callable[[], None]], None], ring: Callable[[], Any]):
        """Make one.

        Args:
            watch: has a thread call its second argument when its first can be read.
            ring: what to do.
        """
        # Not CDLL, which would let go of the interpreter's lock for a call that takes no time.
        self._libc = ctypes.PyDLL(None)
        self._descriptor = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        self._ring = ring
        if self._descriptor >= 0:
            watch(self._descriptor, self._heard)

    def set(self, seconds: float) -> None:
        """Ring in so many seconds, and not when it was to ring before."""
        first = _Time(int(seconds), int(seconds % 1 * 1e9))
        setting = _Setting(_Time(0, 0), first)
        self._libc.timerfd_settime(self._descriptor, 0, ctypes.byref(setting), None)

    def _heard(self) -> None:
        with suppress(OSError):
            os.read(self._descriptor, 8)
        self._ring()
