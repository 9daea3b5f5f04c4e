"""The signals that a person or the system ends a program with."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from bot.console.interrupt_key import InterruptKey

INTERRUPTED_STATUS = 130
TERMINATED_STATUS = 143


async def run_until_told(
    work: Callable[[InterruptKey], Awaitable[int]], *, terminated: int = TERMINATED_STATUS
) -> int:
    """Run the program's work; on a signal cancel it, so that all it holds is let go in order.

    Args:
        work: Gets the key that passes on Ctrl-C, and gives the exit status. While it asks for
            none of them, Ctrl-C ends it.
        terminated: The exit status after SIGTERM, and after SIGHUP: the terminal is gone.

    Returns:
        The exit status.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    status: int | None = None

    def leave(with_status: int) -> None:
        nonlocal status
        status = with_status
        task.cancel()

    key = InterruptKey(lambda: leave(INTERRUPTED_STATUS))
    loop.add_signal_handler(signal.SIGINT, key.press)
    loop.add_signal_handler(signal.SIGTERM, leave, terminated)
    loop.add_signal_handler(signal.SIGHUP, leave, terminated)
    try:
        return await work(key)
    except asyncio.CancelledError:
        if status is None:
            raise
        return status
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
