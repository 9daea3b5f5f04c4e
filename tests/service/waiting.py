"""Waiting for a state that nothing announces."""

import asyncio
from collections.abc import Callable

#: Less than a test may take, whose own limit an event loop may swallow.
_HANGS_S = 100.0


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds.

    Raises:
        TimeoutError: it never does.
    """
    async with asyncio.timeout(_HANGS_S):
        while not condition():  # noqa: ASYNC110 -- nobody sets an event for it
            await asyncio.sleep(0.02)
