"""Ending tasks that nobody waits for any more."""

import asyncio
from typing import Any


async def abandon(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks that are still at it, and wait for their end; what they raise is dropped."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # else the loop complains that nobody has looked
