"""Waiting for work that must not be left half-done."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from interpreter.logs import get_logger

log = get_logger(__name__)

T = TypeVar("T")


async def settled(work: Coroutine[Any, Any, T]) -> T:
    """Wait for something that must not be left half-done; being cancelled has to wait for it."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled() and (failure := task.exception()):
            log.warning("cancelled work failed", reason=str(failure))
        raise cancelled
    return task.result()
