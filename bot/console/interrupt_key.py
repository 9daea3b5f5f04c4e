"""Ctrl-C: who gets it at the moment."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class InterruptKey:
    """Passes each Ctrl-C to whoever asked last."""

    def __init__(self, otherwise: Callable[[], object]) -> None:
        """Make one.

        Args:
            otherwise: Gets it while nobody asks.
        """
        self._handler = otherwise

    def press(self) -> None:
        """Pass on one Ctrl-C; to be called by the loop's handler of SIGINT."""
        self._handler()

    @contextmanager
    def handled_by(self, handler: Callable[[], object]) -> Iterator[None]:
        """Have a handler get it for a while."""
        before, self._handler = self._handler, handler
        try:
            yield
        finally:
            self._handler = before
