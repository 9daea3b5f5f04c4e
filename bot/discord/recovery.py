"""Recovery: turns that an earlier run of the program didn't bring to their end.

Cells go on in their kernels while the program is away. One that belongs to such a turn gives its
answer; who asked for another one is told that it was cut off. The turns are known by what was
promised, the cells by the turn's id in their notes, and the promise and the answer are one record:
whenever the program is killed meanwhile, the next run finds either the one or the other.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from bot.abandon import abandon
from bot.conversation import AssistantMessage, Exchange, Message, ToolCall, ToolResult, UserMessage
from bot.discord.delivery import Delivery, DeliveryFailed, Promised, SentMessage
from bot.discord.metrics import Metrics
from bot.discord.own_code import TurnLeft
from bot.discord.past_turns import PastTurns
from bot.discord.progress import Progress
from bot.discord.turns import (
    LEFT,
    AlreadyAnswered,
    Asked,
    RunningTurn,
    Turns,
    read,
    said_first,
    stop_button,
)
from bot.history import kept_exchange
from bot.interrupting import GRACE_S, interrupted
from bot.outgoing import OutgoingMessage
from bot.people.conversations import Conversations
from bot.prompts import kept_question, result_text
from bot.tools import EXECUTE
from interpreter import DatabaseUnavailable, Execution, Interpreter, InterpreterError, Recovered
from interpreter.logs import get_logger

log = get_logger(__name__)

_AGAIN_S = 5.0
_RESULT_CHARS = 4_000
_GOES_ON = "I was restarted; the code goes on, and its results come here…"
_WENT_ON = (
    "-# I was restarted meanwhile, so this is only what the running code gave; you can go on "
    "asking from here."
)
_CUT_OFF = "I was restarted before this was done. {kept} Please ask again."
_ALL_KEPT = "Your variables and files are still there."
_FILES_KEPT = "Your files are still there."
_REMEMBERED = "[The bot was restarted before this was answered.]"


class Recovery:
    """What is to be done for such turns. Made by :meth:`open`."""

    def __init__(
        self,
        service: Interpreter,
        *,
        turns: Turns,
        delivery: Delivery,
        conversations: Conversations,
        past: PastTurns,
        metrics: Metrics,
        again_s: float = _AGAIN_S,
        grace_s: float = GRACE_S,
    ) -> None:
        """Use :meth:`open`."""
        self._service = service
        self._turns = turns
        self._delivery = delivery
        self._conversations = conversations
        self._past = past
        self._metrics = metrics
        self._again_s, self._grace_s = again_s, grace_s
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, service: Interpreter, **parts: Any) -> AsyncIterator["Recovery"]:
        """See to all that was left; goes on until it is done, or the context ends.

        What runs is known to ``turns`` when the context begins, if there is a database.
        """
        recovery = cls(service, **parts)
        try:
            if not await recovery._begin():
                recovery._spawn(recovery._begin_later())
            yield recovery
        finally:
            if recovery._tasks:  # what isn't done is there for the next run
                await abandon(*recovery._tasks)

    async def _begin(self) -> bool:
        """Begin with all there is; False if the database doesn't tell yet."""
        try:
            promised = await self._delivery.promised()
        except DatabaseUnavailable as error:
            log.warning("turns of before not read", reason=str(error))
            return False
        # Of a turn's cells it is the last one that goes on.
        cells = {
            (cell.user_id, cell.note.get("turn", "")): cell for cell in self._service.recovered
        }
        wanted = []
        for promise in promised:
            cell = cells.get((promise.owner, promise.key))
            if self._see_to(promise, cell) and cell is not None:
                wanted.append(cell)
        for cell in self._service.recovered:
            if cell not in wanted:  # its answer is written down already, or nobody waits for it
                self._spawn(self._let_go(cell))
        return True

    async def _begin_later(self) -> None:
        while True:
            await asyncio.sleep(self._again_s)
            if await self._begin():
                return

    def _see_to(self, promise: Promised, cell: Recovered | None) -> bool:
        """Bring a turn to its end; False if that can't be, as nobody can read what it was."""
        try:
            asked = read(promise.note, owner=promise.owner, to=promise.to)
        except (KeyError, TypeError, ValueError):
            log.exception("turn of before unreadable", turn_id=promise.key)
            return False
        went_on = cell is not None
        log.info("turn of before", turn_id=promise.key, user_id=promise.owner, cell_goes_on=went_on)
        if cell is None:
            self._spawn(self._cut_off(promise, asked))
        else:
            self._metrics.turn_after_restart("went_on")
            self._go_on(promise, asked, cell)
        return True

    # -- a cell that goes on -----------------------------------------------------------------------

    def _go_on(self, promise: Promised, asked: Asked, cell: Recovered) -> None:
        async def answer(turn: RunningTurn, progress: Progress) -> tuple[OutgoingMessage, ...]:
            progress.say(_GOES_ON)
            execution = await self._ended(turn, cell)
            if not turn.is_forgotten:
                await self._remember(turn.asked, execution)
            await self._past.keep(turn.turn_id, promise.owner, (execution,))
            return said_first(_WENT_ON, await self._turns.composed_cell(turn, execution))

        async def shown() -> SentMessage | None:
            try:
                return await self._shown(promise)
            except AlreadyAnswered:
                self._spawn(self._let_go(cell))
                raise

        async def safe() -> None:
            await self._service.acknowledge(cell)

        self._turns.go_on(promise.key, asked, answer, shown=shown, safe=safe)

    async def _ended(self, turn: RunningTurn, cell: Recovered) -> Execution:
        """The result of a cell, which is interrupted if the turn is stopped, and ended with its
        kernel if that doesn't help.

        Raises:
            TurnLeft: the program ends before it.
            InterpreterError: there is none.
        """
        stopped = asyncio.create_task(turn.control.wait())
        try:
            await asyncio.wait({cell.result, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await abandon(stopped)
        if not cell.result.done():
            if turn.control.is_left:
                raise TurnLeft
            await self._stop(cell)
        return await asyncio.shield(cell.result)

    async def _stop(self, cell: Recovered) -> None:
        session = await self._service.session(user_id=cell.user_id)

        def is_collecting() -> bool:
            info = session.info()
            return info is not None and info.phase == "collecting"

        if not await interrupted(
            session, cell.result, is_collecting=is_collecting, grace_s=self._grace_s
        ):
            try:
                await session.restart()
            except InterpreterError as error:  # the old kernel has ended in any case
                log.warning("kernel not restarted", reason=type(error).__name__)

    async def _let_go(self, cell: Recovered) -> None:
        """Have a cell forgotten whose result nobody needs, once it is there."""
        await asyncio.wait({cell.result})
        try:
            await self._service.acknowledge(cell)
        except InterpreterError as error:  # the next run gets it once more
            log.warning("cell not acknowledged", cell_id=cell.cell_id, reason=str(error))

    # -- a turn that was cut off -------------------------------------------------------------------

    async def _cut_off(self, promise: Promised, asked: Asked) -> None:
        try:
            shown = await self._shown(promise)
        except AlreadyAnswered:
            return
        self._metrics.turn_after_restart("cut_off")
        await self._remember(asked, None)
        session = self._service.find_session(promise.owner)
        kept = _ALL_KEPT if session is not None and session.live else _FILES_KEPT
        try:
            await self._delivery.deliver(
                promise.to,
                (OutgoingMessage(_CUT_OFF.format(kept=kept)),),
                replacing=shown,
                owner=promise.owner,
                key=promise.key,
            )
        except DeliveryFailed as error:
            log.warning("end of a turn not told", turn_id=promise.key, reason=str(error))

    async def _shown(self, promise: Promised) -> SentMessage | None:
        """The progress, even where the program was killed before it knew which message it is.

        Raises:
            AlreadyAnswered: the answer is there in its place; the promise is kept.
        """
        custom_id = stop_button(promise.owner, promise.key).custom_id
        if promise.shown is None:
            return await self._delivery.find(promise.to, custom_id=custom_id, since=promise.since)
        there = await self._delivery.look(promise.shown)
        if there is None:  # whatever it says, it isn't written over
            return None
        if custom_id in there.custom_ids or there.content == LEFT:
            return promise.shown
        # The database was away when the answer came, and hadn't come back when the program ended.
        log.info("turn of before answered", turn_id=promise.key, user_id=promise.owner)
        await self._delivery.withdraw(promise.key)
        raise AlreadyAnswered

    async def _remember(self, asked: Asked, execution: Execution | None) -> None:
        """Have the conversation know what was asked, and what came of it; once."""
        if asked.is_code or not asked.question:
            return
        exchange, user_id = _exchange(asked.question, execution), asked.person.user_id
        history = await self._conversations.load(asked.channel_id, user_id)
        if history[-1:] != (exchange,):
            await self._conversations.append(asked.channel_id, user_id, exchange)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _exchange(question: str, execution: Execution | None) -> Exchange:
    asked = UserMessage(kept_question(question, ()))
    ran: tuple[Message, ...] = ()
    if execution is not None:
        arguments = json.dumps({"code": execution.code})
        call = ToolCall("recovered", EXECUTE.name, arguments)
        ran = (
            AssistantMessage("", (call,)),
            ToolResult(call.call_id, result_text(execution, chars=_RESULT_CHARS)),
        )
    return kept_exchange((asked, *ran, AssistantMessage(_REMEMBERED)))
