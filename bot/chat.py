"""A turn: rounds of words and tool calls between a model and a kernel, until there is an answer."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

from bot import turn_events as events
from bot.abandon import abandon
from bot.chat_model import ChatModel, ModelReply, ModelRequest, Tool, Usage
from bot.conversation import (
    AssistantMessage,
    Exchange,
    Message,
    ToolCall,
    ToolResult,
    UserMessage,
)
from bot.errors import BotError, ContextTooLong, ModelError
from bot.history import cost_of, fitted, kept_exchange
from bot.interrupting import GRACE_S, interrupted
from bot.prompts import CLOSING, EMPTY_REPLY, answer_text, pictures_of, result_text
from bot.reply_assembly import tokens_of
from bot.tools import EXECUTE, UnusableCall, code_of
from bot.turn_events import TurnEvent
from bot.written_calls import words_before_call, written_calls
from interpreter import (
    ClearOutput,
    Execution,
    InterpreterError,
    OnInput,
    Output,
    Phase,
    Session,
    SessionClosed,
)
from interpreter.logs import get_logger

log = get_logger(__name__)

T = TypeVar("T")
TurnStatus: TypeAlias = Literal["answered", "stopped", "rounds", "time", "tokens", "failed", "left"]
OnEvent: TypeAlias = Callable[[TurnEvent], None]
OpenSession: TypeAlias = Callable[[], Awaitable[Session]]

#: A round that begins with less time than this is the last one.
_LAST_ROUND_S = 60.0
_LAST_ROUND_SHARE = 0.1
#: What a closing answer needs at least, with what it reads.
_CLOSING_TOKENS = 1_500
_CLOSING_OUTPUT_TOKENS = 800
#: How often the same code may run in a turn: when it failed, and when it didn't.
_SAME_FAILING, _SAME_OK = 2, 3
#: After so many refused or unusable calls in a row the model is asked for words.
_MOST_FRUITLESS = 4
_SHRINKINGS = 5
_LEAST_OUTPUT_TOKENS = 256
#: How servers say what their model can read.
_WINDOW = re.compile(r"context (?:length|size|window)\D{1,40}?(\d{3,7})", re.IGNORECASE)
_LEAST_RESULT_CHARS, _MOST_RESULT_CHARS = 1_000, 16_000
_MOST_CALLS = 20
_MOST_ANSWER_CHARS = 100_000

_NO_ANSWER = "The language model gave no answer; please put the question differently."
_DECLINED = "The language model declined to answer that."
_CUT_OFF = "The answer was cut off at its length limit; ask to go on for the rest."
_FILTERED_OFF = "A filter of the language model's server cut the answer off there."
_THOUGHT_ONLY = (
    "The language model used up its length limit before it came to an answer; please ask for less "
    "at once."
)
_CUT_SHORT_BY: Final = {"length": _CUT_OFF, "filtered": _FILTERED_OFF}
_BROKEN = "Something went wrong in here; the log has it. Please try again."
_STOPPED = "Stopped. The variables are kept."
#: Of a turn that was let go of and had nothing that goes on.
CUT_SHORT: Final = "I had to be restarted before this was done; please ask again in a minute."
_LEFT = "Left while a cell ran."
#: Where a cell goes on without anybody; one that hasn't begun, or asks somebody, doesn't.
GOES_ON: Final = frozenset({"running", "installing"})
_ENDED_HARD = (
    "The cell could not be interrupted, so it was ended with its kernel: the variables are gone, "
    "the files are still there."
)


class TurnControl:
    """Somebody's hand on a turn: it can be stopped at any moment, from the same loop."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()
        self._is_left = False

    @property
    def stopped(self) -> bool:
        """Whether it was."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Stop the turn: the cell is interrupted, its variables stay, the model isn't asked."""
        self._stopped.set()

    @property
    def is_left(self) -> bool:
        """Whether a running cell is to go on."""
        return self._is_left

    def leave(self) -> None:
        """Stop the turn, but let a cell that runs go on in its kernel, for a later run of the
        program; unless the turn is being stopped already."""
        if not self.stopped:
            self._is_left = True
            self.stop()

    async def wait(self) -> None:
        """Wait until it is stopped."""
        await self._stopped.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLimits:
    """What a turn may take.

    Attributes:
        rounds: how often the model may call tools.
        tokens: how many tokens the model's server may count.
        time_s: how long it may take altogether, in seconds.
        context_tokens: how many the model reads at once.
        output_tokens: how many it may answer at once.
        cell_s: how long a cell may run, in seconds; None for the service's own limit.
    """

    rounds: int = 10
    tokens: int = 200_000
    time_s: float = 1800.0
    context_tokens: int = 100_000
    output_tokens: int = 4096
    cell_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a turn begins with.

    Attributes:
        model: the model's name.
        system: the system prompt.
        message: what the user said, with all that the model has to know of it.
        kept: the same as history keeps it.
        history: earlier exchanges, the oldest first.
        may_run: whether there is the tool.
        sees: whether the model can be shown pictures.
        writes_calls: whether it is known to write its calls as text.
    """

    model: str
    system: str
    message: UserMessage
    kept: UserMessage
    history: tuple[Exchange, ...] = ()
    may_run: bool = True
    sees: bool = True
    writes_calls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResult:
    """What became of a turn.

    Attributes:
        status: ``answered``; ``stopped`` by somebody; ``rounds``, ``time``, ``tokens``: a limit was
            reached, and ``answer`` is what could still be said; ``failed``: there is no answer;
            ``left``: a cell of it goes on running, and nothing is to be said.
        answer: for the user, in Markdown; may be empty, unless it was answered.
        cells: what was run, in order.
        exchange: the turn as history keeps it: text only, complete in itself however it ended.
        usage: tokens, of all requests.
        note: a sentence for the user about how it ended, None where there is nothing to say.
        error: what made it fail, for the log.
        writes_calls: whether the model wrote a call as text.
    """

    status: TurnStatus
    answer: str
    cells: tuple[Execution, ...]
    exchange: Exchange
    usage: Usage
    note: str | None = None
    error: BaseException | None = None
    writes_calls: bool = False


async def run_turn(
    question: Question,
    *,
    model: ChatModel,
    open_session: OpenSession,
    limits: TurnLimits,
    on_event: OnEvent | None = None,
    on_input: OnInput | None = None,
    control: TurnControl | None = None,
    cell_note: Mapping[str, str] | None = None,
) -> TurnResult:
    """Have a model answer a question, running the cells that it asks for.

    Never raises for what the model, a cell or a kernel does. Whoever cancels it has the running
    cell interrupted.

    Args:
        question: what is asked.
        model: who answers.
        open_session: gives the user's session; asked before each cell.
        limits: what it may take.
        on_event: is told what happens, in order; must not block.
        on_input: answers ``input()`` in cells; None makes that raise in the cell.
        control: with which it can be stopped.
        cell_note: what is kept with its cells, so that they are known again after a restart.
    """
    turn = _Turn(question, model, open_session, limits, on_event, on_input, control, cell_note)
    return await turn.run()


@dataclass(frozen=True, slots=True)
class _Ending:
    """How the turn ends, and what is said."""

    status: TurnStatus
    answer: str = ""
    note: str | None = None
    error: BaseException | None = None


class _Stopped(Exception):
    """Somebody has stopped the turn."""


class _Left(Exception):
    """Somebody has let go of the turn while a cell runs, which goes on."""


class _TimeUp(Exception):
    """The turn's time is over."""


class _Turn:
    """One turn, while it goes on."""

    def __init__(
        self,
        question: Question,
        model: ChatModel,
        open_session: OpenSession,
        limits: TurnLimits,
        on_event: OnEvent | None,
        on_input: OnInput | None,
        control: TurnControl | None,
        cell_note: Mapping[str, str] | None,
    ) -> None:
        self._cell_note = cell_note
        self._question = question
        self._model = model
        self._open_session = open_session
        self._limits = limits
        self._on_event = on_event
        self._on_input = on_input
        self._control = control or TurnControl()
        self._clock = asyncio.get_running_loop().time
        self._ends_at = self._clock() + limits.time_s
        self._messages: list[Message] = []
        self._cells: list[Execution] = []
        self._usage = Usage()
        self._context_tokens = limits.context_tokens
        self._output_tokens = limits.output_tokens
        self._most_tokens = limits.context_tokens
        self._ran: Counter[str] = Counter()
        self._failed: set[str] = set()
        self._fruitless = 0
        self._refused_by_service: InterpreterError | None = None
        self._nudged = self._nudge = False
        self._writes_calls = False
        self._streamed = ""
        self._ended_hard = False
        self._phase = "queued"
        self._is_left = False
        context_chars = limits.context_tokens // 8 * 3
        self._result_chars = max(_LEAST_RESULT_CHARS, min(context_chars, _MOST_RESULT_CHARS))

    async def run(self) -> TurnResult:
        """The whole of it."""
        try:
            ending = await self._rounds()
        except _Stopped:
            ending = _Ending("stopped", self._words_so_far(), self._stopped_note())
        except _Left:
            ending = _Ending("left", note=_LEFT)
        except _TimeUp:
            ending = _Ending("time", self._words_so_far(), self._limit_note("time"))
        except (BotError, InterpreterError) as error:
            ending = _Ending("failed", self._words_so_far(), str(error), error)
        except Exception as error:
            log.exception("turn failed")
            ending = _Ending("failed", self._words_so_far(), _BROKEN, error)
        return self._result(ending)

    # -- rounds --------------------------------------------------------------------------------

    async def _rounds(self) -> _Ending:
        tools = (EXECUTE,) if self._question.may_run else ()
        for number in range(1, self._limits.rounds + 1):
            if reached := self._limit_reached(first=number == 1):
                return await self._close(reached, number)
            reply = await self._ask(number, tools)
            text, calls = self._read(reply, tools)
            if not calls:
                if ending := self._answer(reply, text):
                    return ending
                continue
            self._messages.append(AssistantMessage(text, calls))
            await self._run_calls(calls, cut_off=reply.finish == "length")
            if self._fruitless >= _MOST_FRUITLESS:
                return await self._close("rounds", number + 1)
        return await self._close("rounds", self._limits.rounds + 1)

    def _read(self, reply: ModelReply, tools: tuple[Tool, ...]) -> tuple[str, tuple[ToolCall, ...]]:
        """The words and calls of a reply, also calls that are written as words."""
        text, calls = reply.text, reply.calls[:_MOST_CALLS] if tools else ()
        if not calls and reply.finish not in ("filtered", "refused"):
            blocks = self._question.writes_calls and not self._cells and bool(tools)
            text, written = written_calls(text, blocks=blocks)
            self._writes_calls = self._writes_calls or bool(written)
            calls = written if tools else ()
        return answer_text(text), calls

    def _answer(self, reply: ModelReply, text: str) -> _Ending | None:
        """The ending that a reply without calls is; None if it has to be asked for once more."""
        if reply.finish == "refused":
            return _Ending("answered", text or _DECLINED)
        if text:
            return _Ending("answered", text, _CUT_SHORT_BY.get(reply.finish))
        if not self._nudged:
            self._nudged = self._nudge = True
            return None
        if words := self._words_so_far():
            return _Ending("answered", words)
        note = _THOUGHT_ONLY if reply.finish == "length" else _NO_ANSWER
        return _Ending("failed", note=note)

    def _limit_reached(self, *, first: bool) -> TurnStatus | None:
        """The limit that allows no further round but a closing one."""
        last_s = min(_LAST_ROUND_S, self._limits.time_s * _LAST_ROUND_SHARE)
        if not first and self._left_s() < last_s:
            return "time"
        coming = sum(map(cost_of, self._turn_messages())) + tokens_of(self._question.system)
        if self._usage.total + coming + _CLOSING_OUTPUT_TOKENS > self._limits.tokens:
            return "tokens"
        return None

    async def _close(self, reached: TurnStatus, number: int) -> _Ending:
        """End at a limit: with an answer from what there is, if there is room for one."""
        note = self._limit_note(reached)
        left = self._limits.tokens - self._usage.total
        if left < _CLOSING_TOKENS or not self._messages:
            return _Ending(reached, self._words_so_far(), note)
        output = min(self._limits.output_tokens, _CLOSING_OUTPUT_TOKENS)
        try:
            reply = await self._ask(number, (), UserMessage(CLOSING), output_tokens=output)
        except ModelError as error:
            log.warning("no closing answer", error=type(error).__name__, detail=error.detail)
            return _Ending(reached, self._words_so_far(), note)
        text, _ = self._read(reply, ())
        return _Ending(reached, text or self._words_so_far(), note)

    def _limit_note(self, reached: TurnStatus) -> str:
        match reached:
            case "tokens":
                return "The language model's budget for one answer is used up; ask to go on."
            case "time":
                minutes = self._limits.time_s / 60
                return f"Stopped after {minutes:g} minutes, the limit for one answer; ask to go on."
            case _ if self._refused_by_service is not None:
                return str(self._refused_by_service)
            case _ if self._fruitless >= _MOST_FRUITLESS:
                return "The language model kept trying the same thing in vain, so it was stopped."
            case _:
                steps = self._limits.rounds
                named = "1 step" if steps == 1 else f"{steps} steps"
                return f"Stopped after {named}, the limit for one answer; ask to go on."

    def _stopped_note(self) -> str:
        if self._control.is_left:  # its user has stopped nothing
            return f"{CUT_SHORT} {_ENDED_HARD}" if self._ended_hard else CUT_SHORT
        return f"Stopped. {_ENDED_HARD}" if self._ended_hard else _STOPPED

    def _words_so_far(self) -> str:
        """What the model was saying, or has said beside its last calls."""
        if self._streamed:
            return answer_text(self._streamed)
        said = (m.text for m in reversed(self._messages) if isinstance(m, AssistantMessage))
        return next((text for text in said if text), "")

    # -- the model -----------------------------------------------------------------------------

    async def _ask(
        self,
        number: int,
        tools: tuple[Tool, ...],
        *extra: Message,
        output_tokens: int | None = None,
    ) -> ModelReply:
        self._emit(events.Thinking(number))
        if self._nudge:
            extra, self._nudge = (*extra, UserMessage(EMPTY_REPLY)), False
        for _ in range(_SHRINKINGS):
            request = self._request(tools, extra, output_tokens or self._output_tokens)
            self._streamed = ""
            try:
                reply = await self._within(
                    self._model.reply(request, on_text=self._told_words, on_wait=self._told_wait)
                )
            except ContextTooLong as error:
                too_long = error
                self._shrink(request, error)
            else:
                self._usage += reply.usage
                self._streamed = ""
                return reply
        raise too_long

    def _request(
        self, tools: tuple[Tool, ...], extra: tuple[Message, ...], output: int
    ) -> ModelRequest:
        fixed = tokens_of(self._question.system) + sum(
            tokens_of(f"{tool.description}{tool.parameters}") for tool in tools
        )
        # A window holds what the model reads and what it writes. Where the turn's budget ends
        # before that, it's history that is left out first.
        window = min(self._context_tokens, self._limits.tokens - self._usage.total)
        output = max(min(output, window // 2), 1)
        room = min(window - fixed - output, self._most_tokens) - sum(map(cost_of, extra))
        messages = fitted(self._question.history, self._turn_messages(), tokens=room)
        return ModelRequest(
            model=self._question.model,
            system=self._question.system,
            messages=(*messages, *extra),
            tools=tools,
            max_output_tokens=output,
        )

    def _shrink(self, request: ModelRequest, error: ContextTooLong) -> None:
        """Have less sent from now on, because it was too much."""
        sent = sum(map(cost_of, request.messages))
        log.info("context shrunk", detail=error.detail, sent=sent)
        if (window := _WINDOW.search(error.detail)) and int(window[1]) < self._context_tokens:
            self._context_tokens = int(window[1])
            return
        self._most_tokens = sent // 2
        self._output_tokens = max(self._output_tokens // 2, _LEAST_OUTPUT_TOKENS)

    def _turn_messages(self) -> tuple[Message, ...]:
        return (self._question.message, *self._messages)

    def _told_words(self, text: str) -> None:
        words = words_before_call(text)
        if words and words != self._streamed:
            self._streamed = words
            self._emit(events.AnswerText(words))

    def _told_wait(self, reason: str, wait_s: float) -> None:
        self._emit(events.ModelWaiting(reason, wait_s))

    # -- cells ---------------------------------------------------------------------------------

    async def _run_calls(self, calls: tuple[ToolCall, ...], *, cut_off: bool) -> None:
        """Run the calls of one reply in order; each gets its answer, whatever happens."""
        before = ""
        for at, call in enumerate(calls):
            is_last = at == len(calls) - 1
            try:
                code = code_of(call)
            except UnusableCall as error:
                self._fruitless += 1
                hint = " It was cut off: write less at once." if cut_off and is_last else ""
                self._messages.append(ToolResult(call.call_id, f"{error}{hint}"))
                continue
            if code == before:
                again = ToolResult(
                    call.call_id, "Not run again: it is the same as the call before."
                )
                self._messages.append(again)
                continue
            before = code
            self._messages.append(await self._run_call(call, code))
            if self._control.stopped:
                raise _Stopped
            if self._left_s() <= 0:
                raise _TimeUp

    async def _run_call(self, call: ToolCall, code: str) -> ToolResult:
        key = code.strip()
        if self._ran[key] >= (_SAME_FAILING if key in self._failed else _SAME_OK):
            self._fruitless += 1
            again = "failed each time" if key in self._failed else "is answered above"
            return ToolResult(
                call.call_id,
                f"Not run: exactly this ran {self._ran[key]} times already and {again}. Do "
                "something else, or answer with what there is.",
            )
        self._ran[key] += 1
        try:
            execution = await self._run_cell(code)
        except InterpreterError as error:
            self._fruitless += 1
            self._refused_by_service = error
            log.info("cell not run", reason=type(error).__name__)
            return ToolResult(call.call_id, f"The cell was NOT RUN: {error}")
        self._fruitless, self._refused_by_service = 0, None
        text = result_text(execution, chars=self._result_chars)
        if execution.status == "ok":
            self._failed.discard(key)
        else:
            self._failed.add(key)
            if self._ran[key] > 1:
                text += "\nThe same code has failed before: do something else."
        return ToolResult(call.call_id, text, pictures_of(execution) if self._question.sees else ())

    async def _run_cell(self, code: str) -> Execution:
        try:
            execution = await self._execute(code)
        except SessionClosed:  # it was just deleted or given up: there is a new one
            execution = await self._execute(code)
        self._cells.append(execution)
        self._emit(events.CellDone(len(self._cells), execution))
        return execution

    async def _execute(self, code: str) -> Execution:
        number = len(self._cells) + 1
        session = await self._within(_awaited(self._open_session()))
        self._phase = "queued"
        self._emit(events.CellWaiting(number, code))
        cell = asyncio.create_task(
            session.execute(
                code,
                timeout_s=self._limits.cell_s,
                on_output=lambda output: self._told_output(number, output),
                on_input=self._on_input,
                on_phase=lambda phase: self._told_phase(number, phase),
                note=self._cell_note,
            )
        )
        try:
            if not await self._done(cell):
                self._leave(session, cell)
                await self._end_cell(session, cell)
        finally:
            if (
                not cell.done() and not self._is_left
            ):  # this turn was cancelled: so is its cell, which interrupts it
                await abandon(cell)
        if cell.cancelled():
            raise _Stopped if self._control.stopped else _TimeUp
        return cell.result()

    def _leave(self, session: Session, cell: "asyncio.Task[Execution]") -> None:
        """Let go of a cell that goes on by itself, if that is wanted.

        Raises:
            _Left: it is.
        """
        if self._control.is_left and self._phase in GOES_ON and session.keep_result():
            self._is_left = True
            # Its session holds it, and nobody asks any more how it ends.
            cell.add_done_callback(lambda task: task.cancelled() or task.exception())
            raise _Left

    async def _end_cell(self, session: Session, cell: "asyncio.Task[Execution]") -> None:
        """Stop a cell; give it up if it doesn't stop."""
        if self._phase == "queued":
            await abandon(cell)  # an interrupt would hit the cell before it
            return
        if not await interrupted(
            session, cell, is_collecting=lambda: self._phase == "collecting", grace_s=GRACE_S
        ):
            self._ended_hard = True
            await abandon(cell)

    def _told_output(self, number: int, output: Output | ClearOutput) -> None:
        self._emit(events.CellOutput(number, output))

    def _told_phase(self, number: int, phase: Phase) -> None:
        self._phase = phase.name
        match phase.name:
            case "installing":
                self._emit(events.CellInstalling(number, phase.names))
            case "running":
                self._emit(events.CellRunning(number, phase.limit_s or 0.0, phase.run_s))
            case _:
                pass

    # -- time, and the end ---------------------------------------------------------------------

    def _left_s(self) -> float:
        return self._ends_at - self._clock()

    async def _within(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something for as long as the turn goes on.

        Raises:
            _Stopped, _TimeUp: it ended before that.
        """
        task = asyncio.create_task(work)
        try:
            if await self._done(task):
                return task.result()
        finally:
            if not task.done():
                await abandon(task)
        raise _Stopped if self._control.stopped else _TimeUp

    async def _done(self, task: "asyncio.Task[Any]") -> bool:
        """Wait for a task; False if the turn is stopped or its time is over before that."""
        stopped = asyncio.create_task(self._control.wait())
        try:
            await asyncio.wait(
                [task, stopped],
                timeout=max(self._left_s(), 0.0),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            stopped.cancel()
        return task.done()

    def _emit(self, event: TurnEvent) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:  # what is shown of a turn must not end it
            log.exception("a turn's event could not be shown", kind=type(event).__name__)

    def _result(self, ending: _Ending) -> TurnResult:
        log.info(
            "turn ended",
            status=ending.status,
            cells=len(self._cells),
            tokens=self._usage.total,
            took_s=round(self._limits.time_s - self._left_s(), 3),
        )
        return TurnResult(
            status=ending.status,
            answer=ending.answer,
            cells=tuple(self._cells),
            exchange=self._exchange(ending),
            usage=self._usage,
            note=ending.note,
            error=ending.error,
            writes_calls=self._writes_calls,
        )

    def _exchange(self, ending: _Ending) -> Exchange:
        """The turn, complete: each call answered, and words at the end."""
        words = ending.answer
        if ending.status != "answered":
            words = f"{words}\n[{ending.note}]".strip()
        answers = (*self._messages, *self._missing_results(), AssistantMessage(words))
        return kept_exchange((self._question.kept, *answers))

    def _missing_results(self) -> Iterator[ToolResult]:
        """Answers to the calls of the last reply that were never run."""
        answered = {m.call_id for m in self._messages if isinstance(m, ToolResult)}
        for message in self._messages:
            for call in message.calls if isinstance(message, AssistantMessage) else ():
                if call.call_id not in answered:
                    yield ToolResult(call.call_id, "Not run: the turn was stopped before.")


async def _awaited(value: Awaitable[T]) -> T:
    return await value
