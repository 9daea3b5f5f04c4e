"""Interrupting a cell, with the time that it gets to end."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from interpreter import InterpreterError, Session
from interpreter.logs import get_logger

log = get_logger(__name__)

#: How long an interrupted cell has to end before it is ended with its kernel.
GRACE_S: Final = 6.0


async def interrupted(
    session: Session,
    cell: "asyncio.Task[Any]",
    *,
    is_collecting: Callable[[], bool],
    grace_s: float = GRACE_S,
) -> bool:
    """Interrupt a cell that has begun.

    Args:
        session: whose cell.
        cell: gives its result.
        is_collecting: tells whether it has run, and what it made is on its way.
        grace_s: how long it has to end, in seconds.

    Returns:
        False if it goes on: then its kernel has to be ended.
    """
    try:
        await session.interrupt()
    except InterpreterError as error:
        log.info("cell not interrupted", reason=type(error).__name__)
    await asyncio.wait({cell}, timeout=grace_s)
    if not cell.done() and is_collecting():
        await asyncio.wait({cell})
    return cell.done()
