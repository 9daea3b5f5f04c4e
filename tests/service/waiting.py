"""Waiting for a state that nothing announces."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; the test's time-out is the limit."""
    while not condition():  # noqa: ASYNC110 -- nobody sets an event for it
        await asyncio.sleep(0.02)
