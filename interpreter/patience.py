"""Patience: trying again while the database is away, within a time that all tries share."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from interpreter.errors import DatabaseUnavailable
from interpreter.logs import get_logger

log = get_logger(__name__)

T = TypeVar("T")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0


class Patience:
    """For one piece of work that is worth more than a wait: what a cell made, a kernel's start."""

    def __init__(self, seconds: float) -> None:
        """Have patience.

        Args:
            seconds: how long failing tries and the pauses between them may take altogether. A try
                that is under way then goes on to its own end.
        """
        self._left_s = seconds
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Have no more patience: what fails from now on has failed."""
        self._ended.set()

    async def have(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it works.

        Args:
            attempt: begins anew with each call.

        Raises:
            DatabaseUnavailable: the last try failed so, and there is no patience left. Whatever
                else a try raises, is raised at once.
        """
        pause_s = _FIRST_PAUSE_S
        tries = 0
        while True:
            began = time.monotonic()
            try:
                return await attempt()
            except DatabaseUnavailable as error:
                tries += 1
                if self._ended.is_set() or self._left_s <= 0:
                    log.error("gave up on the database", tries=tries, reason=str(error))
                    raise
                if tries == 1:
                    log.warning("waiting for the database", reason=str(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), min(pause_s, self._left_s))
            self._left_s -= time.monotonic() - began
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
