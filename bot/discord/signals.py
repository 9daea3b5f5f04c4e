"""StopSignals: SIGTERM and SIGINT, which a bot answers by letting running answers end.

SIGHUP is answered in the same way, and then the program is to be started again: it may have been
replaced meanwhile.
"""

import asyncio
import os
import signal
from types import TracebackType
from typing import Self

_STOP, _RELOAD = (signal.SIGTERM, signal.SIGINT), signal.SIGHUP


class StopSignals:
    """Tells of the first signal, and cancels the task it was made in at the second.

    Before there is anything that could end in peace, the first one cancels it, too.

    Attributes:
        told: is set by the first signal.
        again: whether the program is to be started again: no, once it has been told to stop.
        can_drain: whether there is something that could end in peace; set by who starts it.
    """

    def __init__(self) -> None:
        """Use it as a context."""
        self.told = asyncio.Event()
        self.again = False
        self.can_drain = False
        self._taken: tuple[signal.Signals, ...] = ()
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> Self:
        """Take the signals."""
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        # Under nohup it is ignored, and means nothing.
        heeds = signal.getsignal(_RELOAD) != signal.SIG_IGN
        self._taken = (*_STOP, _RELOAD) if heeds else _STOP
        for number in _STOP:
            loop.add_signal_handler(number, self._stop)
        if heeds:
            # With a terminal it means that the person there has gone.
            loop.add_signal_handler(_RELOAD, self._stop if _has_terminal() else self._reload)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {_RELOAD})
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go of the signals.

        If the program is to be started again, one more SIGHUP waits until that has taken it over.
        """
        if self.again:
            signal.pthread_sigmask(signal.SIG_BLOCK, {_RELOAD})
        for number in self._taken:
            asyncio.get_running_loop().remove_signal_handler(number)
        if self.again:  # other threads, while there are any, don't block it
            signal.signal(_RELOAD, lambda *_: None)

    def _stop(self) -> None:
        cancels = not self.can_drain or (self.told.is_set() and not self.again)
        self.again = False
        self._tell(cancels=cancels)

    def _reload(self) -> None:
        if not self.told.is_set():
            self.again = True
            self._tell(cancels=not self.can_drain)

    def _tell(self, *, cancels: bool) -> None:
        self.told.set()
        if cancels and self._task is not None:
            self._task.cancel()


def _has_terminal() -> bool:
    """Whether a terminal controls this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
