"""CellRun: a cell on its kernel, from its request to the last of what it sends."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from interpreter.cell_questions import OnInstall, Questions
from interpreter.execution import Clock, Deadline, OnInput, OnPhase, Phase, PhaseName
from interpreter.hosts.base import KernelExit
from interpreter.kernel_client import SHOWN_TYPES, KernelClient, Message
from interpreter.outputs import ClearOutput, Output, OutputCollector
from interpreter.replay import Replay

_OUTPUT_TYPES = SHOWN_TYPES | {"stream", "error", "clear_output"}
#: After the reply, outputs and ``idle`` follow at once; a kernel silent for so long lost them.
_IDLE_AFTER_REPLY_S = 10.0
_MOST_COUNT = 1 << 31
_MOST_LEFT_OUT = 1_000


@dataclass(frozen=True, slots=True)
class CellEnd:
    """How a cell ended on the kernel.

    Attributes:
        reply: the content of its ``execute_reply``; None if the kernel ended before.
        count: the kernel's number of it, None if it never began.
        exit: how the kernel ended, None while it lives.
        timed_out: True if the deadline passed.
        interrupted: True if it was interrupted on request.
        input_timed_out: True if nobody answered its ``input()`` in time.
        output_lost: True if output is missing: the kernel never said that the cell was over, or
            ended with more than it had sent.
        run_s: its running time, in seconds.
        install_s: how long it waited for packages, in seconds.
    """

    reply: Mapping[str, Any] | None
    count: int | None
    exit: KernelExit | None
    timed_out: bool
    interrupted: bool
    input_timed_out: bool
    output_lost: bool
    run_s: float
    install_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SentCell:
    """A cell that an earlier service has sent.

    Attributes:
        message_id: of the message that it was sent with.
        clock: how far its deadline's clock had come.
    """

    message_id: str
    clock: Clock


#: Gets a running cell whenever its deadline's clock is set going or stopped.
OnClock: TypeAlias = Callable[[SentCell], None]


class CellRun:
    """The cell that is running now.

    Attributes:
        message_id: of its request.
        deadline: its clock.
        questions: what it asks.
        finished: done once both signs of its end have come.
        started: set once the kernel has begun with it.
        phase: what it has come to.
        reply: the content of its ``execute_reply``.
        idle: whether the kernel has said that it is over.
        interrupted: whether it was interrupted on request.
        output_lost: whether output is missing.
    """

    def __init__(
        self,
        client: KernelClient,
        message_id: str,
        *,
        collector: OutputCollector,
        deliver: Callable[[Output | ClearOutput], None],
        tell: OnPhase,
        timeout_s: float,
        clock: Clock,
        on_clock: OnClock | None,
        interrupt: Callable[[], Awaitable[None]],
        on_input: OnInput | None,
        input_timeout_s: float,
        on_install: OnInstall | None,
        install_timeout_s: float,
    ) -> None:
        """Get ready; for the arguments see ``Kernel.run_cell`` and :class:`Questions`.

        Args:
            client: of its kernel.
            message_id: of its request.
            clock: how far the deadline's clock has come already.
        """
        loop = asyncio.get_running_loop()

        def clock_changed(clock: Clock) -> None:
            if on_clock is not None:
                on_clock(SentCell(message_id, clock))

        self.message_id = message_id
        self.deadline = Deadline(timeout_s, clock=clock, on_change=clock_changed)
        self.finished: asyncio.Future[None] = loop.create_future()
        self.started = asyncio.Event()
        self.phase: PhaseName = "running"
        self.reply: Mapping[str, Any] | None = None
        self.idle = False
        self.interrupted = False
        self.output_lost = False
        self.questions = Questions(
            client,
            deadline=self.deadline,
            enter=self.enter,
            interrupt=interrupt,
            go_on=self._go_on,
            on_input=on_input,
            input_timeout_s=input_timeout_s,
            on_install=on_install,
            install_timeout_s=install_timeout_s,
        )
        self._client = client
        self._collector = collector
        self._deliver = deliver
        self._tell = tell
        self._limit_s = timeout_s
        self._over = False
        self._count: int | None = None
        self._stream_chars = 0
        self._last_message = loop.time()

    def enter(self, name: PhaseName, names: tuple[str, ...] = ()) -> None:
        """Tell the front end what the cell has come to."""
        self.phase = name
        self._tell(Phase(name, names, self._limit_s, self.deadline.elapsed_s))

    def settle(self) -> None:
        """Finish once both signs of the end have come."""
        if self.reply is not None and self.idle and not self.finished.done():
            self.finished.set_result(None)

    def take_output(self, message: Message) -> None:
        """Take what the kernel sends to all; that of other cells is left aside."""
        if message["parent_header"].get("msg_id") != self.message_id:
            return
        self._last_message = asyncio.get_running_loop().time()
        kind = message["header"]["msg_type"]
        if kind not in _OUTPUT_TYPES:
            self._take_state(kind, message)
            return
        try:
            content = self._client.content(message)
        except ValueError:
            size = len(message["content"])
            self._collector.add_left_out("stdout" if kind == "stream" else kind, size)
            return
        if kind == "stream":
            self._stream_chars += len(message["content"])
        for event in self._collector.add(kind, content, message["metadata"]):
            self._deliver(event)

    def _take_state(self, kind: str, message: Message) -> None:
        if kind == "status" and self._client.content(message).get("execution_state") == "idle":
            self.idle = True
            self.settle()
        elif kind == "execute_input":
            self.started.set()
            count = self._client.content(message).get("execution_count")
            self._count = count if type(count) is int and 0 < count < _MOST_COUNT else None

    def take_question(self, message: Message) -> None:
        """Take what the kernel asks; what other cells ask is left aside."""
        if message["parent_header"].get("msg_id") == self.message_id:
            self.questions.take(message)

    def take_reply(self, message: Message) -> None:
        """Take the reply to a request, if it is the cell's."""
        if (
            message["parent_header"].get("msg_id") != self.message_id
            or message["header"]["msg_type"] != "execute_reply"
            or self.reply is not None
        ):
            return
        try:
            self.reply = self._client.content(message)
        except ValueError:  # an exception's own message can be of any size
            self.reply = {"status": "error"}
        self.settle()
        if not self.idle:
            self.expect_idle()

    def expect_idle(self) -> None:
        """See to it that a cell whose end was never announced ends all the same."""
        loop = asyncio.get_running_loop()

        def look() -> None:
            if self.finished.done():
                return
            silent_s = loop.time() - self._last_message
            if silent_s < _IDLE_AFTER_REPLY_S:
                loop.call_later(_IDLE_AFTER_REPLY_S - silent_s, look)
                return
            self.output_lost = True
            self.idle = True
            self.settle()

        self._last_message = loop.time()
        loop.call_later(_IDLE_AFTER_REPLY_S, look)

    def take_rest(self, replay: Replay) -> None:
        """Take what a kernel says of the cell beside its messages."""
        for name in ("stdout", "stderr"):
            if replay.left_out.get(name):
                self._collector.add_left_out(name, replay.left_out[name])
        for _ in range(min(replay.left_out.get("others", 0), _MOST_LEFT_OUT)):
            self._collector.add_left_out("display_data", 0)
        if replay.reply is not None:
            self.reply = self.reply or {"status": replay.reply}
            self.deadline.pause(replay.over_at)

    def close(self) -> None:
        """Stop its clock, and wait for no answer any more."""
        self._over = True
        self.deadline.pause()
        self.questions.drop()

    def end(
        self, exit: "asyncio.Future[KernelExit]", *, timed_out: bool, left: bool = False
    ) -> CellEnd:
        """How it has ended.

        Args:
            exit: of its kernel.
            timed_out: whether its deadline had passed.
            left: whether its kernel was to end with it, though it came to its own end.
        """
        died = exit.done() and (left or not self.finished.done())
        return CellEnd(
            reply=None if died else self.reply,
            count=self._count,
            exit=exit.result() if died else None,
            timed_out=timed_out,
            interrupted=self.interrupted,
            input_timed_out=self.questions.input_timed_out,
            output_lost=self.output_lost
            or (not self.idle and self._stream_chars >= self._collector.max_chars),
            run_s=self.deadline.elapsed_s,
            install_s=self.questions.install_s,
        )

    def _go_on(self) -> None:
        """Let the clock run again, as every question has been answered."""
        if self._over:
            return
        if not self.finished.done():
            self.enter("running")
        self.deadline.run()
