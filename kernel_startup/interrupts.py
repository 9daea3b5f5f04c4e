"""Interrupts that end the user's code and never the kernel around it.

ipykernel lets SIGINT raise KeyboardInterrupt anywhere while it handles a request. Between the lines
of the kernel itself that loses the reply, and with it the cell. Here the signal raises only while a
cell's code is in hand; when it comes a moment too early it is kept for the cell, and when none runs
it is ignored.
"""

import signal
from types import FrameType


class Interrupts:
    """What SIGINT does in a kernel, from moment to moment. Used on the main thread only."""

    def __init__(self) -> None:
        """Start with nothing to interrupt."""
        self._cell_coming = False
        self._kept = False

    def ignore(self) -> None:
        """No cell is in hand: the signal does nothing."""
        self._cell_coming = self._kept = False
        signal.signal(signal.SIGINT, self._handle)

    def expect_cell(self) -> None:
        """A cell is about to run: keep a signal for it. Whatever the last cell set is undone."""
        self.ignore()
        self._cell_coming = True

    def begin(self) -> None:
        """The cell's code runs from here, and the signal raises in it.

        Raises:
            KeyboardInterrupt: the signal has come already.
        """
        # Python's own handler: one of ours would stand at the end of each traceback.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._kept:
            self._kept = False
            raise KeyboardInterrupt

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self._kept = self._cell_coming
