"""Progress: one message that tells what a turn is doing, edited as often as Discord allows."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from bot import turn_events as events
from bot.discord.delivery import (
    Delivery,
    DeliveryFailed,
    DeliveryLate,
    Destination,
    SentMessage,
)
from bot.messages import code_block, discord_markdown, plain_sentence, split_markdown
from bot.messages.lengths import last, length, shortened
from bot.outgoing import MESSAGE_CHARS, Button, OutgoingMessage
from bot.turn_events import TurnEvent
from interpreter import ClearOutput, Stream
from interpreter.logs import get_logger

log = get_logger(__name__)

#: Discord allows five edits in five seconds a channel, for everybody's messages there together.
_PAUSE_S = 1.6
_TICK_S = 4.0
#: How long an answer waits for an edit that is on its way, lest that come last.
_LAST_EDIT_S = 8.0
_TAIL_LINES, _TAIL_CHARS = 6, 500
_KEPT_CHARS = 4_000
_LINE_CHARS = 300
_MOST_NAMES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressState:
    """What a turn is doing, as far as it is known.

    Attributes:
        line: the sentence for it, without the times.
        answer: the answer's words so far.
        tail: the end of what the running cell printed.
        cell: the number of the running cell, None if none runs.
        limit_s: how long it may run.
        run_s: how long it had run at ``since``.
        since: when that was; None while its clock stands.
    """

    line: str = "Thinking…"
    answer: str = ""
    tail: str = ""
    cell: int | None = None
    limit_s: float = 0.0
    run_s: float = 0.0
    since: float | None = None

    def after(self, event: TurnEvent, now: float) -> "ProgressState":
        """The state once something has happened.

        Args:
            event: what happened.
            now: the time, in seconds of a clock that goes on.
        """
        match event:
            case events.Thinking():
                line = "Thinking…" if event.round == 1 else "Looking at the results…"
                return ProgressState(line=line)
            case events.AnswerText():
                return replace(self, answer=event.text)
            case events.ModelWaiting():
                wait = max(1, round(event.wait_s))
                reason = plain_sentence(event.reason).rstrip(".")
                return replace(self, line=f"{reason}; asking again in {wait} s…", answer="")
            case events.CellWaiting():
                line = f"Getting ready for cell {event.number}…"
                return ProgressState(line=line, answer=self.answer)
            case events.CellInstalling():
                names = [plain_sentence(name[:40]) for name in event.names[:_MOST_NAMES]]
                more = len(event.names) - len(names)
                listed = ", ".join(names) + (f" and {more} more" if more else "")
                line = f"Installing {listed or 'packages'}…"
                return replace(self, line=line, since=None, answer=self.answer)
            case events.CellRunning():
                return replace(
                    self,
                    line=f"Running cell {event.number}",
                    cell=event.number,
                    limit_s=event.limit_s,
                    run_s=event.run_s,
                    since=now,
                )
            case events.CellOutput(output=Stream(text=text)):
                return replace(self, tail=(self.tail + text)[-_KEPT_CHARS:])
            case events.CellOutput(output=ClearOutput()):
                return replace(self, tail="")
            case events.CellDone():
                line = f"Cell {event.number} is done…"
                return ProgressState(line=line, answer=self.answer)
            case _:
                return self

    def text(self, now: float) -> str:
        """The message for it; of much, the end."""
        line = shortened(self._line(now), _LINE_CHARS)
        tail = "" if self.cell is None else code_block(_tail(self.tail))
        below = [tail, f"-# {line}"] if tail else [f"-# {line}"]
        room = MESSAGE_CHARS - sum(length(piece) + 1 for piece in below)
        # Only the last words are new to somebody who reads along.
        words = split_markdown(discord_markdown(self.answer), room)[-1:]
        return "\n".join([*words, *below]) if words or tail else line

    def _line(self, now: float) -> str:
        if self.cell is None or self.since is None:
            return self.line
        run_s = self.run_s + now - self.since
        if not self.limit_s:
            return f"{self.line} ({int(run_s)} s)…"
        return f"{self.line} ({int(min(run_s, self.limit_s))} s of {self.limit_s:g} s)…"

    def saying(self, line: str) -> "ProgressState":
        """The state with a sentence of our own; a cell's clock stands."""
        return replace(self, line=line, since=None)

    @property
    def ticks(self) -> bool:
        """Whether the message changes by itself."""
        return self.since is not None


def _tail(printed: str) -> str:
    """The last lines, as a terminal shows them: what a return overwrites is gone."""
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in printed.rstrip().split("\n")]
    return last("\n".join(lines[-_TAIL_LINES:]), _TAIL_CHARS).strip("\n")


class Progress:
    """The message of one turn. Used as a context: it begins with it, and stops being edited."""

    def __init__(
        self,
        delivery: Delivery,
        to: Destination,
        *,
        stop_button: Button,
        sent: SentMessage | None = None,
        first: Callable[[], Awaitable[object]] | None = None,
        on_sent: Callable[[SentMessage], None] = lambda sent: None,
        now: Callable[[], float] = time.monotonic,
        pause_s: float = _PAUSE_S,
        tick_s: float = _TICK_S,
    ) -> None:
        """Make it.

        Args:
            delivery: sends and edits.
            to: where.
            stop_button: the button below it.
            sent: a message that is there already; None to send one.
            first: what has to be done before it is sent.
            on_sent: is told of the message that was sent.
            now: tells the time in seconds.
            pause_s: how long nothing is edited after an edit.
            tick_s: how often a running cell's time is told anew.
        """
        self._pause_s, self._tick_s = pause_s, tick_s
        self._delivery = delivery
        self._to = to
        self._stop_button = stop_button
        self._now = now
        self._state = ProgressState()
        self._changed = asyncio.Event()
        self._shown = ""
        #: Whether what is shown is older than it ought to be, because Discord was away.
        self._missed = False
        self._task: asyncio.Task[None] | None = None
        self._late: asyncio.Future[None] | None = None
        self._first = first
        self._on_sent = on_sent
        self.sent = sent

    async def __aenter__(self) -> "Progress":
        """Send it; a turn goes on without where that can't be."""
        self._task = asyncio.create_task(self._keep_up())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the edits; one that is on its way is waited for, so that it can't come last."""
        await self.end()

    def on_event(self, event: TurnEvent) -> None:
        """Take note of what happened; returns at once."""
        self._state = self._state.after(event, self._now())
        self._changed.set()

    def say(self, line: str) -> None:
        """Tell something of our own."""
        self._state = self._state.saying(line)
        self._changed.set()

    async def end(self) -> None:
        """See ``__aexit__``; :meth:`take_back` is for a message that hasn't come by then."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def leave(self, line: str) -> None:
        """Say something for good, without a button, once it has ended; one quick try."""
        if self.sent is not None:
            try:
                await self._delivery.edit(self.sent, OutgoingMessage(line), patient=False)
            except DeliveryFailed as error:
                log.info("progress not shown", reason=type(error).__name__)

    async def take_back(self) -> None:
        """Delete the message, if it came only when the turn was over: its answer stands beside."""
        if self._late is None:
            return
        await self._late
        if self.sent is not None:
            await self._delivery.delete(self.sent)

    async def _keep_up(self) -> None:
        try:
            if self._first is not None:
                await self._first()
            await self._show()
            while True:
                if not self._changed.is_set():
                    timeout = self._tick_s if self._state.ticks or self._missed else None
                    try:
                        async with asyncio.timeout(timeout):
                            await self._changed.wait()
                    except TimeoutError:
                        pass
                self._changed.clear()
                await self._show()
                await asyncio.sleep(self._pause_s)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # a message less is no reason to lose an answer
            log.warning("progress not shown", reason=type(error).__name__)

    async def _show(self) -> None:
        """Send or edit, whole: a cancelled edit could arrive after what comes next."""
        text = self._state.text(self._now())
        if text == self._shown:
            return
        showing = asyncio.ensure_future(self._put(text))
        try:
            await asyncio.shield(showing)
        except asyncio.CancelledError:
            await asyncio.wait({showing}, timeout=_LAST_EDIT_S)
            if self.sent is None and not showing.done():
                self._late = showing  # Discord may have taken it already
            else:
                showing.cancel()
            raise

    async def _put(self, text: str) -> None:
        message = OutgoingMessage(text, buttons=(self._stop_button,))
        try:
            if self.sent is None:
                self.sent = await self._delivery.send(self._to, message)
                self._on_sent(self.sent)
            else:
                self.sent = await self._delivery.edit(self.sent, message, patient=False)
        except DeliveryFailed as error:
            log.info("progress not shown", reason=type(error).__name__)
            self._missed = isinstance(error, DeliveryLate)
        else:
            self._shown, self._missed = text, False
