"""StopSignals: SIGTERM and SIGINT, which a bot answers by letting running answers end."""

import asyncio
import signal
from types import TracebackType
from typing import Self

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Tells of the first signal, and cancels the task it was made in at the second.

    Before there is anything that could end in peace, the first one cancels it, too.

    Attributes:
        told: is set by the first signal.
        can_drain: whether there is something that could end in peace; set by who starts it.
    """

    def __init__(self) -> None:
        """Use it as a context."""
        self.told = asyncio.Event()
        self.can_drain = False
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> Self:
        """Take the signals."""
        self._task = asyncio.current_task()
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._take)
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go of the signals."""
        for number in _SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _take(self) -> None:
        if self._task is not None and (self.told.is_set() or not self.can_drain):
            self._task.cancel()
        self.told.set()
