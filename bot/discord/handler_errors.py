"""What happens to errors that a handler of an event, a command or a button lets out.

The person gets one sentence, the log the rest, and an id says which belongs to which.
"""

import asyncio
from secrets import token_hex
from typing import Any

from interactions import Listener
from interactions.client.errors import CommandCheckFailure, HTTPException

from bot.discord.metrics import Metrics
from bot.discord.rest import Unanswered
from bot.errors import BotError
from interpreter import InterpreterError
from interpreter.logs import get_logger

log = get_logger(__name__)

_EVENTS = ("command_error", "component_error", "modal_error")
_UNKNOWN_INTERACTION = 10062


def report_error(error: BaseException, *, where: str, metrics: Metrics) -> str:
    """Log an error, and make the sentence for the person it happened to.

    Args:
        error: what was let out.
        where: in what; a name of ours, nothing that a user wrote.
        metrics: where it is counted.
    """
    if isinstance(error, BotError | InterpreterError):
        detail = getattr(error, "detail", "")
        log.info("request declined", where=where, reason=type(error).__name__, detail=detail)
        return str(error)
    error_id = token_hex(4)
    metrics.handler_error()
    # Not what a server was sent or said: that may be a user's.
    told = str(error) if isinstance(error, HTTPException) else None
    log.error("handler failed", error_id=error_id, where=where, detail=told, exc_info=error)
    return f"That went wrong here; please try again. If it stays so, tell the operator: {error_id}."


def register(client: Any, metrics: Metrics) -> None:
    """Take the library's place where errors are told.

    Args:
        client: the library's.
        metrics: where they are counted.
    """

    async def answered(event: Any) -> None:
        ctx, error = event.ctx, event.error
        if isinstance(error, CommandCheckFailure):
            sentence = "You may not use that command."
        else:
            where = str(getattr(ctx, "invoke_target", "") or type(ctx).__name__)
            sentence = report_error(error, where=where, metrics=metrics)
        if isinstance(error, Unanswered) or getattr(error, "code", None) == _UNKNOWN_INTERACTION:
            return  # the way to the person is what is closed
        await _tell(ctx, sentence)

    async def logged(event: Any) -> None:
        # The source is the event as a text; what it was about, in brackets, is nothing for the log.
        where = str(event.source).partition("(")[0][:100]
        report_error(event.error, where=where, metrics=metrics)

    for name in _EVENTS:
        _listen(client, name, answered)
    _listen(client, "autocomplete_error", logged)
    _listen(client, "error", logged)


def _listen(client: Any, event: str, callback: Any) -> None:
    client.add_listener(Listener.create(event, disable_default_listeners=True)(callback))


async def _tell(ctx: Any, sentence: str) -> None:
    """Say it to the person alone; if that can't be, they see that Discord got no answer."""
    try:
        async with asyncio.timeout(10):
            await ctx.send(sentence, ephemeral=True, allowed_mentions={"parse": []})
    except Exception as error:
        log.info("error not told", reason=type(error).__name__)
