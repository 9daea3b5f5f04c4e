"""The terminal's foreground: which processes get Ctrl-C."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def own_foreground(terminal: int) -> Iterator[None]:
    """Have the terminal's keys go to this program alone, and not to what started it as well.

    Ctrl-C is sent to the whole foreground group. A `make` in there remembers it, and once this
    program has ended well it dies of it. Does nothing where this program leads its group already,
    runs in the background, or where that isn't the terminal it was started from.

    Args:
        terminal: A file descriptor of the terminal.
    """
    former = os.getpgrp()
    try:
        shared = former != os.getpid() and os.tcgetpgrp(terminal) == former
    except OSError:  # another's terminal
        shared = False
    if not shared:
        yield
        return
    # A shell would wait for the former group to stop, and nobody would have the terminal.
    before = signal.signal(signal.SIGTSTP, lambda number, frame: None)
    os.setpgid(0, 0)
    try:
        _give(terminal, os.getpid())
        yield
    finally:
        # The terminal or the former group may be gone, and then there is nothing to give back.
        with suppress(OSError):
            _give(terminal, former)
        with suppress(OSError):
            os.setpgid(0, former)
        signal.signal(signal.SIGTSTP, before)


def _give(terminal: int, group: int) -> None:
    # Who asks from the background is stopped, unless the signal for that is ignored.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.tcsetpgrp(terminal, group)
    finally:
        signal.signal(signal.SIGTTOU, before)
