"""Interrupts that end the user's code and never the kernel around it.

ipykernel lets SIGINT raise KeyboardInterrupt anywhere while it handles a request. Between the lines
of the kernel itself that loses the reply, and with it the cell. Here the signal raises only while a
cell's code is in hand; when it comes a moment too early it is kept for the cell, and when none runs
it is ignored.
"""

import signal
from types import FrameType


class Interrupts:
    """The kernel's handler of SIGINT. Used on the main thread only."""

    def __init__(self) -> None:
        """Start with nothing to interrupt."""
        self._cell_coming = False
        self._cell_running = False
        self._kept = False

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """Be the signal's handler."""
        if self._cell_running:
            raise KeyboardInterrupt
        if self._cell_coming:
            self._kept = True

    def install(self) -> None:
        """Take over SIGINT from whatever has it."""
        signal.signal(signal.SIGINT, self.handle)

    def expect_cell(self) -> None:
        """A cell is about to run: keep a signal for it. Whatever the last cell set is undone."""
        self._kept = False
        self._cell_coming = True
        self.install()

    def begin(self) -> None:
        """The cell's code runs from here.

        Raises:
            KeyboardInterrupt: the signal has come already.
        """
        self._cell_running = True
        self._cell_coming = False
        if self._kept:
            self._kept = False
            raise KeyboardInterrupt

    def end(self) -> None:
        """The cell's code is over."""
        self._cell_running = self._cell_coming = self._kept = False
