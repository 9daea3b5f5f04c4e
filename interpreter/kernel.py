"""One live kernel: its channels, running a cell on it, and interrupting that.

Speaks the Jupyter messaging protocol, version 5.4, through jupyter_client's client, on connections
of our own (``zmtp.py``). Every message comes from a process that runs hostile code: what can't be
parsed is counted and left aside.

Source: Jupyter client documentation, "Messaging in Jupyter".
"""

import asyncio
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.session import Session as MessageSession
from traitlets import Type

from interpreter.errors import HostError, KernelStartFailed
from interpreter.execution import Clock, Deadline, OnInput, OnPhase, Phase, PhaseName
from interpreter.hosts.base import HostedKernel, KernelExit, KernelHost
from interpreter.inspection import MOST_VARIABLES
from interpreter.logs import get_logger
from interpreter.outputs import ClearOutput, Output, OutputCollector
from interpreter.replay import Replay
from interpreter.zmtp import TURN_S, Connection, Intake, Share, open_socket

log = get_logger(__name__)

#: A larger message ends the connection: nothing honest sends one. Replies can be large too: the
#: message of an exception is in them, and the completions of a dictionary's keys are.
MAX_MESSAGE_BYTES = 24 << 20
#: Questions are short.
_MAX_QUESTION_BYTES = 2 << 20
#: More than this is read only of what is shown or drawn; other messages of ours are far smaller.
_CONTENT_BYTES = 1 << 20
#: Of a message's header, parent and metadata; ours have a few hundred bytes each.
_HEADER_BYTES = 1 << 16
#: Frames of one message: five, and buffers that nothing here asks for.
_MOST_FRAMES = 16
#: Values in one message. Small ones become large in memory: 24 MB of ``[],`` would be a gigabyte.
_MOST_VALUES = 1_000_000
_CONNECT_S = 15.0
_REPLY_S = 5.0
#: After the reply, outputs and ``idle`` follow at once; a kernel silent for so long lost them.
_IDLE_AFTER_REPLY_S = 10.0
#: What a kernel sent before it died may still be on its way.
_LAST_WORDS_S = 0.2
#: A kernel that ends breaks its connections, all within this time;
_ALL_BREAK_S = 1.0
#: and how it ended is known a little later, on a machine with much to do.
_EXIT_AFTER_BREAK_S = 5.0
_MOST_QUESTIONS = 8
_PROMPT_CHARS = 2000
#: How often over a cell may have a person's time for one answer.
_MOST_INPUT_TIMEOUTS = 10
#: What a front end is told of a request for packages.
_MOST_NAMES, _NAME_CHARS = 20, 60
#: Requests for packages, of one cell; and how often over it may take the time of one.
_MOST_INSTALL_REQUESTS = 30
_MOST_INSTALL_TIMEOUTS = 3
_TOO_MANY_REQUESTS = "This cell has asked for packages too often; ask again in the next one."
#: How long the end of a cell's time may wait until it is known what the cell did meanwhile.
_CATCH_UP_S = 5.0
_MOST_LEFT_OUT = 1_000
#: ipykernel takes this for the end of the input.
_END_OF_INPUT = "\x04"

_SHOWN_TYPES = frozenset({"display_data", "update_display_data", "execute_result"})
_OUTPUT_TYPES = _SHOWN_TYPES | {"stream", "error", "clear_output"}
_LARGE_TYPES = _SHOWN_TYPES | {"picture_reply"}
_CELL_STARTED_S = 1.0
_MOST_COUNT = 1 << 31
#: Of messages, as ``order_of`` has it: microseconds, of some 30,000 years.
_MOST_NUMBER = 10**18

Message = Mapping[str, Any]
#: Gets the content of a kernel's ``install_request``, and gives that of the reply. The deadline
#: stands still meanwhile. Cancelled when the cell is interrupted.
OnInstall: TypeAlias = Callable[[Message], Awaitable[Message]]


def connection_info(hosted: HostedKernel) -> Any:
    """A kernel's connection as jupyter_client's classes take it."""
    return {**hosted.connection, "key": str(hosted.connection["key"]).encode()}


class _Channel:
    """One of a client's channels, as jupyter_client uses them."""

    def __init__(self, connection: Connection, session: MessageSession, loop: object) -> None:
        self.connection = connection
        self._session = session

    def start(self) -> None:
        """Nothing to do: it is connected, and :class:`Kernel` reads from it."""

    def stop(self) -> None:
        """Close the connection."""
        self.connection.close()

    def is_alive(self) -> bool:
        """Whether the connection is neither broken nor closed."""
        return self.connection.alive

    def send(self, message: dict[str, Any]) -> None:
        """Send a message at once or as soon as the kernel takes it; never waits."""
        self.connection.send(self._session.serialize(message))


class _Client(AsyncKernelClient):
    """jupyter_client's client on connections of ours instead of libzmq's.

    All but iopub give the session's id as their identity: by it the kernel finds the stdin
    connection of whoever sent the cell.
    """

    # jupyter_client's annotations name libzmq's class, but any that has these methods will do.
    shell_channel_class = Type(_Channel)  # type: ignore[assignment]  # see above
    iopub_channel_class = Type(_Channel)  # type: ignore[assignment]
    stdin_channel_class = Type(_Channel)  # type: ignore[assignment]
    control_channel_class = Type(_Channel)  # type: ignore[assignment]

    def __init__(self, hosted: HostedKernel, intake: Intake, identity: str | None = None) -> None:
        super().__init__()
        if identity is not None:
            self.session.session = identity
        # So no id comes twice, though there be several services, all of one identity and one pid;
        # and the later of two messages has the higher number.
        self.session.message_count = time.time_ns() // 1000
        self.load_connection_info(connection_info(hosted))
        self.connections: dict[str, Connection] = {}
        self._pid = hosted.pid
        self.share = Share(intake)

    def connect_iopub(self, identity: bytes | None = None) -> Any:
        """Called by jupyter_client; its own asks libzmq for a subscription."""
        return self._create_connected_socket("iopub", identity)

    def _create_connected_socket(self, channel: str, identity: bytes | None = None) -> Any:
        """Called by jupyter_client for each channel that is started."""
        path = f"{self.ip}-{getattr(self, channel + '_port')}"
        self.connections[channel] = connection = Connection(
            open_socket(path, pid=self._pid),
            "SUB" if channel == "iopub" else "DEALER",
            share=self.share,
            most_bytes=_MAX_QUESTION_BYTES if channel == "stdin" else MAX_MESSAGE_BYTES,
            identity=identity or b"",
        )
        return connection


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


class NobodyThere(Exception):
    """A cell asks a person who has been gone since an earlier service."""


#: Gets a running cell whenever its deadline's clock is set going or stopped.
OnClock: TypeAlias = Callable[[SentCell], None]


def order_of(message_id: str) -> int:
    """A number that is higher for the later of two messages to one kernel; -1 for nonsense."""
    number = message_id.rpartition("_")[2]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 20 else -1


@dataclass(slots=True)
class _Run:
    """The cell that is running now."""

    message_id: str
    collector: OutputCollector
    deadline: Deadline
    deliver: Callable[[Output | ClearOutput], None]
    tell: OnPhase
    limit_s: float
    on_input: OnInput | None
    on_install: OnInstall | None
    input_timeout_s: float
    finished: asyncio.Future[None]
    started: asyncio.Event = field(default_factory=asyncio.Event)
    reply: Mapping[str, Any] | None = None
    idle: bool = False
    phase: PhaseName = "running"
    count: int | None = None
    interrupted: bool = False
    input_timed_out: bool = False
    output_lost: bool = False
    last_message: float = 0.0
    stream_chars: int = 0
    input_left_s: float = 0.0
    install_left_s: float = 0.0
    install_requests: int = 0
    install_s: float = 0.0
    asking: "set[asyncio.Task[None]]" = field(default_factory=set)
    asking_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def enter(self, name: PhaseName, names: tuple[str, ...] = ()) -> None:
        """Tell the front end what the cell has come to."""
        self.phase = name
        self.tell(Phase(name, names, self.limit_s, self.deadline.elapsed_s))

    def settle(self) -> None:
        """Finish once both signs of the end have come."""
        if self.reply is not None and self.idle and not self.finished.done():
            self.finished.set_result(None)


class Kernel:
    """A connection to a live kernel. Made by :meth:`start`; ended by :meth:`kill`."""

    def __init__(self, host: KernelHost, hosted: HostedKernel, client: _Client) -> None:
        """Use :meth:`start`."""
        loop = asyncio.get_running_loop()
        self.hosted = hosted
        self.exit: asyncio.Future[KernelExit] = loop.create_future()
        self._broken: asyncio.Future[str] = loop.create_future()
        self._host = host
        self._client = client
        self._run: _Run | None = None
        self._replies: dict[str, asyncio.Future[Message]] = {}
        self._replayed: asyncio.Future[Replay] = loop.create_future()
        self._mark: str | None = None
        self._mark_seen = asyncio.Event()
        self._held: list[Message] = []
        self._iopub_ready = asyncio.Event()
        self._iopub_gate = asyncio.Event()
        self._iopub_gate.set()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def start(
        cls,
        host: KernelHost,
        slot: str | None,
        intake: Intake,
        *,
        memory_bytes: int | None = None,
        background: bool = False,
    ) -> "Kernel":
        """Start a kernel on ``host`` and connect to it.

        Args:
            host: the machine.
            slot: the sandbox directory, or None for a new one.
            intake: shared by all kernels of the service.
            memory_bytes: memory that it may use; None for as much as every kernel.
            background: whether nobody waits for it: all others come first.

        Raises:
            KernelStartFailed: it did not start, or did not answer.
        """
        hosted = await host.start(slot, memory_bytes=memory_bytes, background=background)
        kernel = cls(host, hosted, _Client(hosted, intake))
        try:
            kernel._spawn(kernel._await_exit())
            kernel._connect()
            async with asyncio.timeout(_CONNECT_S):
                await kernel._request("kernel_info_request", {}, timeout_s=_CONNECT_S)
                await kernel._iopub_ready.wait()
        except BaseException as error:
            await kernel.kill()
            if isinstance(error, TimeoutError):
                raise KernelStartFailed("it did not answer") from error
            if isinstance(error, OSError):
                raise KernelStartFailed(f"no connection to it could be made ({error})") from error
            raise
        return kernel

    @classmethod
    def attach(
        cls,
        host: KernelHost,
        hosted: HostedKernel,
        intake: Intake,
        *,
        identity: str,
        after: int = 0,
    ) -> "Kernel":
        """Connect to a kernel that an earlier service has started.

        It may be running a cell, and its shell is deaf meanwhile; so nothing is waited for. One
        that can't be spoken to is ended. :meth:`recall`, then :meth:`hear` or :meth:`run_cell`.

        Args:
            host: the machine.
            hosted: what its host has adopted; may have ended already.
            intake: shared by all kernels of the service.
            identity: of the connection that it had.
            after: the number of the last message that is known to have come over that.
        """
        kernel = cls(host, hosted, _Client(hosted, intake, identity))
        kernel._number_after(after)
        kernel._mark = ""
        kernel._spawn(kernel._await_exit())
        try:
            kernel._connect()
        except OSError as error:
            kernel._on_lost(str(error))
        else:
            kernel._spawn(kernel._ask_for_replay())
        return kernel

    def _connect(self) -> None:
        """Connect, and read from now on.

        Raises:
            OSError: a socket is not there, or not the kernel's.
        """
        self._client.start_channels(hb=False)
        handlers = {
            "iopub": self._on_iopub,
            "shell": self._on_reply,
            "control": self._on_reply,
            "stdin": self._on_stdin,
        }
        for channel, connection in self._client.connections.items():
            connection.broken.add_done_callback(self._on_broken)
            gate = self._iopub_gate if channel == "iopub" else None
            self._spawn(connection.read(partial(self._take, handlers[channel]), gate=gate))

    @property
    def identity(self) -> str:
        """By which the kernel knows this connection, and any later one in its place."""
        return str(self._client.session.session)

    @property
    def usable(self) -> bool:
        """Whether it lives and can be spoken to, as far as is known."""
        return not self.exit.done() and not self._broken.done()

    @property
    def busy(self) -> bool:
        """Whether a cell is running."""
        return self._run is not None

    @property
    def phase(self) -> PhaseName | None:
        """What the running cell has come to; None without a cell."""
        return None if self._run is None else self._run.phase

    @property
    def cell_running_s(self) -> float | None:
        """For how long the deadline's clock of the running cell has run; None without a cell."""
        return None if self._run is None else self._run.deadline.elapsed_s

    async def run_cell(
        self,
        code: str,
        *,
        collector: OutputCollector,
        deliver: Callable[[Output | ClearOutput], None],
        tell: OnPhase,
        timeout_s: float,
        grace_s: float,
        on_input: OnInput | None,
        input_timeout_s: float,
        on_install: OnInstall | None = None,
        install_timeout_s: float = 0.0,
        on_clock: OnClock | None = None,
        sent: SentCell | None = None,
    ) -> CellEnd:
        """Run a cell to its end, whichever that is.

        Past the deadline it is interrupted; if it goes on after the grace period the kernel is
        killed. Must not be called while another cell runs.

        Args:
            code: the cell.
            collector: gets its outputs.
            deliver: gets live events; must not block.
            tell: gets the phases that it goes through; must neither block nor raise.
            timeout_s: the deadline, in seconds from the sending of the request to ``idle``.
            grace_s: how long an interrupted cell may take to end, in seconds.
            on_input: answers ``input()``; None makes it raise in the cell.
            input_timeout_s: how long an answer may take, in seconds.
            on_install: installs packages that the cell asks for; None if there are none to have.
            install_timeout_s: how long one installation may take, in seconds.
            on_clock: is told when the deadline's clock is set going or stopped; must neither block
                nor raise.
            sent: the cell, if an earlier service has sent it: then it only is seen to its end. The
                kernel must be one that was attached.
        """
        loop = asyncio.get_running_loop()
        message = self._execute_request(code, on_input, on_install)
        message_id = message["header"]["msg_id"] if sent is None else sent.message_id

        def clock_changed(clock: Clock) -> None:
            if on_clock is not None:
                on_clock(SentCell(message_id, clock))

        clock = Clock() if sent is None else sent.clock
        deadline = Deadline(timeout_s, clock=clock, on_change=clock_changed)
        run = _Run(
            message_id=message_id,
            collector=collector,
            deadline=deadline,
            deliver=deliver,
            tell=tell,
            limit_s=timeout_s,
            on_input=on_input,
            on_install=on_install,
            input_timeout_s=input_timeout_s,
            install_left_s=_MOST_INSTALL_TIMEOUTS * install_timeout_s,
            finished=loop.create_future(),
            last_message=loop.time(),
            input_left_s=_MOST_INPUT_TIMEOUTS * input_timeout_s,
        )
        self._run = run
        timed_out = False
        try:
            run.enter("running")
            if sent is None:
                deadline.run()
                self._client.shell_channel.send(message)
            else:
                await self._resume(run, sent.clock)
            await _first_of(run.finished, self.exit, self._broken, deadline.expired)
            if self._broken.done():
                await self._exit_after_break(run.finished)
                run.output_lost |= not run.finished.done() and not self.exit.done()
            elif not run.finished.done() and not self.exit.done():
                timed_out = True
                await self._stop_cell(run, grace_s)
            if not run.finished.done():
                await self._hear_last_words()
        finally:
            deadline.pause()
            self._run = None
            for asking in run.asking:
                asking.cancel()
        return CellEnd(
            reply=run.reply if run.finished.done() or not self.exit.done() else None,
            count=run.count,
            exit=None if run.finished.done() or not self.exit.done() else self.exit.result(),
            timed_out=timed_out,
            interrupted=run.interrupted,
            input_timed_out=run.input_timed_out,
            output_lost=run.output_lost
            or (not run.idle and run.stream_chars >= collector.max_chars),
            run_s=deadline.elapsed_s,
            install_s=run.install_s,
        )

    def _execute_request(
        self, code: str, on_input: OnInput | None, on_install: OnInstall | None
    ) -> dict[str, Any]:
        message = self._message(
            "execute_request",
            {
                "code": code.encode(errors="replace").decode(),  # a lone surrogate can't be sent
                "silent": False,
                "store_history": True,
                "user_expressions": {},
                "allow_stdin": on_input is not None,
                "stop_on_error": False,
            },
        )
        # Kernels ask for packages where they know that somebody answers.
        message["metadata"]["packages"] = on_install is not None
        return message

    async def _hear_last_words(self) -> None:
        """Take in what a kernel sent before it ended: its end closes the connection behind that."""
        iopub = self._client.connections.get("iopub")
        if iopub is not None:
            await _first_of(iopub.broken, timeout_s=_LAST_WORDS_S)

    async def _stop_cell(self, run: _Run, grace_s: float) -> None:
        """Interrupt a cell that is past its deadline; kill the kernel if it goes on."""
        for _ in range(2):  # the first interrupt may be caught where it can't end the cell
            await self._send_interrupt(run)
            await _first_of(run.finished, self.exit, timeout_s=grace_s / 2)
            if run.finished.done() or self.exit.done():
                return
        await self.kill()

    async def interrupt(self) -> bool:
        """Interrupt the running cell. Returns False if none is running."""
        run = self._run
        if run is None:
            return False
        run.interrupted = True
        await self._send_interrupt(run)
        return True

    async def _send_interrupt(self, run: _Run) -> None:
        for asking in list(run.asking):
            if asking is not asyncio.current_task():
                asking.cancel()
        # The kernel has nothing to interrupt until it has begun with the cell.
        with suppress(TimeoutError):
            async with asyncio.timeout(_CELL_STARTED_S):
                await run.started.wait()
        if self._run is run and not run.finished.done():
            await self._host.signal(self.hosted.kernel_id, signal.SIGINT)

    async def kill(self) -> KernelExit:
        """End the kernel and everything it started, and close the connection."""
        await self._host.kill(self.hosted.kernel_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(_REPLY_S):
                await asyncio.shield(self.exit)
        self.disconnect()
        if not self.exit.done():
            self.exit.set_result(KernelExit("stopped"))
        return self.exit.result()

    def disconnect(self) -> None:
        """Close the connection; the kernel, if alive, goes on."""
        if not self._broken.done():
            self._broken.set_result("it was closed at this end")
        for task in self._tasks:
            task.cancel()
        for connection in self._client.connections.values():
            connection.close()

    async def warm_up(self, *, timeout_s: float) -> None:
        """Have it use what first cells use; leaves no trace. A cell that is sent meanwhile waits.

        Raises:
            TimeoutError: it was not done in time.
            KernelStartFailed: it ended.
            HostError: it could not.
        """
        reply = await self._request("warm_up_request", {}, timeout_s=timeout_s)
        if reply.get("status") != "ok":
            raise HostError(f"{reply.get('ename')}: {reply.get('evalue')}"[:500])

    async def variables(self) -> list[Mapping[str, Any]]:
        """The user's variables, as the kernel describes them; also while a cell runs.

        At most ``MOST_VARIABLES``, the most recent ones.

        Raises:
            TimeoutError: the kernel did not answer.
        """
        reply = await self._request("variables_request", {}, timeout_s=_REPLY_S, control=True)
        variables = reply.get("variables")
        if not isinstance(variables, list):
            return []
        return [entry for entry in variables[-MOST_VARIABLES:] if isinstance(entry, dict)]

    async def describe(self, file_id: str, *, time_s: float) -> str | None:
        """What the kernel says of a file, in at most ``time_s`` seconds; also while a cell runs.

        None if it says nothing.

        Raises:
            TimeoutError: the kernel did not answer.
        """
        content = {"file_id": file_id, "time_s": time_s}
        timeout_s = time_s + _REPLY_S
        reply = await self._request("describe_request", content, timeout_s=timeout_s, control=True)
        text = reply.get("text")
        return text if isinstance(text, str) else None

    async def picture(self, content: str, mime: str, *, time_s: float, make_do: bool) -> Message:
        """The kernel's ``picture_reply``, in at most ``time_s`` seconds; also while a cell runs.

        Args:
            content: what to draw.
            mime: its type.
            time_s: how long that may take, in seconds.
            make_do: whether to draw it less well without a package that isn't there, if that can
                be done.

        Raises:
            TimeoutError: the kernel did not answer.
        """
        asked = {"content": content, "mime": mime, "time_s": time_s, "make_do": make_do}
        timeout_s = time_s + _REPLY_S
        return await self._request("picture_request", asked, timeout_s=timeout_s, control=True)

    async def save_state(
        self, *, file_bytes: int, memory_bytes: int, disk_bytes: int, time_s: float
    ) -> Message:
        """Have it save the variables into its home. Ask while no cell runs; one may come meanwhile.

        Args:
            file_bytes: how large the file may be.
            memory_bytes: memory that it may take beyond what the kernel has.
            disk_bytes: what the kernel's directories may take together.
            time_s: how long it may take, in seconds.

        Returns:
            Its ``save_reply``.

        Raises:
            TimeoutError: the kernel did not answer.
            KernelStartFailed: it ended.
        """
        asked = {
            "file_bytes": file_bytes,
            "memory_bytes": memory_bytes,
            "disk_bytes": disk_bytes,
            "time_s": time_s,
        }
        timeout_s = time_s + _REPLY_S
        return await self._request("save_request", asked, timeout_s=timeout_s, control=True)

    async def restore_state(self, *, timeout_s: float) -> Message:
        """Have it load the snapshot that its host shows it. A cell that is sent meanwhile waits.

        Returns:
            Its ``restore_reply``.

        Raises:
            TimeoutError: the kernel did not answer in time.
            KernelStartFailed: it ended.
        """
        return await self._request("restore_request", {}, timeout_s=timeout_s)

    async def complete(self, code: str, cursor: int) -> Message:
        """The kernel's completions at a position in the code; also while a cell runs.

        Raises:
            TimeoutError: the kernel did not answer.
        """
        content = {"code": code, "cursor_pos": cursor}
        return await self._request("complete_request", content, timeout_s=_REPLY_S, control=True)

    # -- a cell that an earlier service has sent -------------------------------------------------

    async def recall(self, *, timeout_s: float) -> Replay | None:
        """What it has kept of its last cell; None if it doesn't say, which may be because it is
        busy, or has ended. Only for a kernel that was attached.

        Args:
            timeout_s: how long to wait for that, in seconds.
        """
        await _first_of(self._replayed, self.exit, self._broken, timeout_s=timeout_s)
        return self._replayed.result() if self._replayed.done() else None

    def hear(self) -> None:
        """Take in what it sends from now on."""
        self._mark = None
        held, self._held = self._held, []
        for message in held:
            self._take_parsed(self._on_iopub, message)
        self._iopub_gate.set()

    async def _ask_for_replay(self) -> None:
        await self._iopub_ready.wait()  # from here on, nothing that it sends is lost
        message = self._message("replay_request", {})
        self._mark = message["header"]["msg_id"]
        with suppress(KernelStartFailed):
            reply = await self._request_reply(message, timeout_s=None, control=True)
            await self._mark_seen.wait()
            buffers = [bytes(buffer) for buffer in reply.get("buffers", ())]
            # There may be much of it, and others are to be heard meanwhile.
            replay = await asyncio.to_thread(Replay.from_reply, reply, buffers)
            self._number_after(order_of(replay.cell))
            self._replayed.set_result(replay)

    def _number_after(self, last: int) -> None:
        """Give what is sent from now on higher numbers: the clock may have been set back."""
        session = self._client.session
        if last < _MOST_NUMBER:  # one that a kernel has invented would leave none that count
            session.message_count = max(session.message_count, last + 1)

    def _await_mark(self, message: Message) -> None:
        """Leave out what is in the replay as well: all up to the mark that was asked for."""
        kind, parent = message["header"]["msg_type"], message["parent_header"].get("msg_id")
        if self._iopub_gate.is_set():
            if kind == "replay_mark" and self._mark and parent == self._mark:
                self._iopub_gate.clear()  # what follows waits, mostly with the kernel
                self._mark_seen.set()
        else:
            self._held.append(message)

    async def _resume(self, run: _Run, clock: Clock) -> None:
        """Take in what a cell did while no service was there, and have its clock go on."""
        if clock.since is not None:
            run.deadline.run()
        catching_up = self._spawn(self._catch_up(run))
        await _first_of(catching_up, run.finished, self.exit, self._broken, timeout_s=_CATCH_UP_S)
        if not run.asking and run.reply is None:
            run.deadline.run()

    async def _catch_up(self, run: _Run) -> None:
        replay = await self._replayed
        if self._run is not run:
            return
        if replay.cell == run.message_id:
            await self._take_replay(run, replay)
        elif order_of(replay.cell) > order_of(run.message_id):  # it was over long ago
            run.reply, run.idle, run.output_lost = {"status": "error"}, True, True
        self.hear()
        run.settle()
        if replay.question is not None and replay.cell == run.message_id:
            self._take(self._on_stdin, replay.question)
        if run.reply is not None and not run.idle:
            self._expect_idle(run)

    async def _take_replay(self, run: _Run, replay: Replay) -> None:
        """Take in messages as if they came now, in turns as others have."""
        self._client.session.digest_history.clear()  # some have come live, and were left out
        share = self._client.share
        waiting = deque(replay.messages)
        while waiting:
            await share.begin()
            began = time.monotonic()
            while waiting and time.monotonic() - began < TURN_S:
                self._take(self._take_iopub, waiting.popleft())
            share.end(time.monotonic() - began)
            await asyncio.sleep(0)
        for name in ("stdout", "stderr"):
            if replay.left_out.get(name):
                run.collector.add_left_out(name, replay.left_out[name])
        for _ in range(min(replay.left_out.get("others", 0), _MOST_LEFT_OUT)):
            run.collector.add_left_out("display_data", 0)
        if replay.reply is not None:
            run.reply = run.reply or {"status": replay.reply}
            run.deadline.pause(replay.over_at)

    # -- messages --------------------------------------------------------------------------------

    def _message(self, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        message: dict[str, Any] = self._client.session.msg(kind, dict(content))
        return message

    async def _request(
        self, kind: str, content: Mapping[str, Any], *, timeout_s: float, control: bool = False
    ) -> Message:
        message = self._message(kind, content)
        return await self._request_reply(message, timeout_s=timeout_s, control=control)

    async def _request_reply(
        self, message: dict[str, Any], *, timeout_s: float | None, control: bool
    ) -> Message:
        message_id = message["header"]["msg_id"]
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._replies[message_id] = reply
        try:
            channel = self._client.control_channel if control else self._client.shell_channel
            channel.send(message)
            await _first_of(reply, self.exit, self._broken, timeout_s=timeout_s)
            if reply.done():
                return reply.result()
            if self.exit.done() or self._broken.done():
                raise KernelStartFailed("it ended before it answered")
            raise TimeoutError
        finally:
            del self._replies[message_id]

    def _take(self, handle: Callable[[Message], None], frames: list[bytes]) -> None:
        """Hand on what came on a channel, if it can be a message."""
        message = self._parse(frames)
        if message is not None:
            self._take_parsed(handle, message)

    def _take_parsed(self, handle: Callable[[Message], None], message: Message) -> None:
        try:
            handle(message)
        except Exception as error:  # hostile values can provoke any
            log.debug("a kernel sent a malformed message", reason=type(error).__name__)

    def _parse(self, frames: list[bytes]) -> Message | None:
        """A message with its content still in bytes; None if it can't be one."""
        session = self._client.session
        try:
            _, parts = session.feed_identities(frames)
            if len(parts) > _MOST_FRAMES or any(len(p) > _HEADER_BYTES for p in parts[1:4]):
                raise ValueError("out of all proportion")
            message: dict[str, Any] = session.deserialize(parts, content=False)
        except Exception as error:  # whatever hostile bytes can provoke in the parsers
            log.debug("a kernel sent an unreadable message", reason=type(error).__name__)
            return None
        return message

    def _content(self, message: Message) -> Message:
        """The content of a message that is meant for us.

        Raises:
            ValueError: it would take too much to read, or is no object.
        """
        packed: bytes = message["content"]
        if len(packed) > _CONTENT_BYTES:
            if message["header"]["msg_type"] not in _LARGE_TYPES:
                raise ValueError("larger than any of its type")
            if packed.count(b",") + packed.count(b"[") + packed.count(b"{") > _MOST_VALUES:
                raise ValueError("more values than anything shows")
        content = self._client.session.unpack(packed)
        if not isinstance(content, dict):
            raise ValueError("no object")
        return content

    def _on_iopub(self, message: Message) -> None:
        self._iopub_ready.set()
        if self._mark is not None:
            self._await_mark(message)
        else:
            self._take_iopub(message)

    def _take_iopub(self, message: Message) -> None:
        run = self._run
        if run is None or message["parent_header"].get("msg_id") != run.message_id:
            return
        run.last_message = asyncio.get_running_loop().time()
        kind = message["header"]["msg_type"]
        if kind not in _OUTPUT_TYPES:
            if kind == "status" and self._content(message).get("execution_state") == "idle":
                run.idle = True
                run.settle()
            elif kind == "execute_input":
                run.started.set()
                count = self._content(message).get("execution_count")
                run.count = count if type(count) is int and 0 < count < _MOST_COUNT else None
            return
        try:
            content = self._content(message)
        except ValueError:
            size = len(message["content"])
            run.collector.add_left_out("stdout" if kind == "stream" else kind, size)
            return
        if kind == "stream":
            run.stream_chars += len(message["content"])
        for event in run.collector.add(kind, content, message["metadata"]):
            run.deliver(event)

    def _on_reply(self, message: Message) -> None:
        parent = message["parent_header"].get("msg_id")
        waiting = self._replies.get(parent)
        if waiting is not None and not waiting.done():
            content = self._content(message)
            if message["header"]["msg_type"] == "replay_reply":
                content = {**content, "buffers": message["buffers"]}
            waiting.set_result(content)
        run = self._run
        is_reply = message["header"]["msg_type"] == "execute_reply"
        if run is not None and parent == run.message_id and is_reply and run.reply is None:
            try:
                run.reply = self._content(message)
            except ValueError:  # an exception's own message can be of any size
                run.reply = {"status": "error"}
            run.settle()
            if not run.idle:
                self._expect_idle(run)

    def _expect_idle(self, run: _Run) -> None:
        """See to it that a cell whose end was never announced ends all the same."""
        loop = asyncio.get_running_loop()

        def look() -> None:
            if run.finished.done():
                return
            silent_s = loop.time() - run.last_message
            if silent_s < _IDLE_AFTER_REPLY_S:
                loop.call_later(_IDLE_AFTER_REPLY_S - silent_s, look)
                return
            run.output_lost = True
            run.idle = True
            run.settle()

        run.last_message = loop.time()
        loop.call_later(_IDLE_AFTER_REPLY_S, look)

    def _on_stdin(self, message: Message) -> None:
        run = self._run
        if (
            run is None
            or message["parent_header"].get("msg_id") != run.message_id
            or len(run.asking) >= _MOST_QUESTIONS
        ):
            return
        kind = message["header"]["msg_type"]
        if kind == "input_request" and run.on_input is not None:
            content = self._content(message)
            prompt = str(content.get("prompt", ""))[:_PROMPT_CHARS]
            password = bool(content.get("password"))
            asking = self._spawn(self._ask(run, run.on_input, prompt, password))
        elif kind == "install_request" and run.on_install is not None:
            asking = self._spawn(self._install(run, run.on_install, message))
        else:
            return
        run.asking.add(asking)
        asking.add_done_callback(run.asking.discard)
        asking.add_done_callback(lambda _: self._go_on(run))

    def _go_on(self, run: _Run) -> None:
        if not run.asking and self._run is run:
            if not run.finished.done():
                run.enter("running")
            run.deadline.run()

    async def _ask(self, run: _Run, on_input: OnInput, prompt: str, password: bool) -> None:
        """Have a person answer; the deadline's clock stands still meanwhile."""
        run.deadline.pause()
        run.enter("input")
        answer = await self._answer(run, on_input, prompt, password)
        if answer is None:
            await self._send_interrupt(run)
        else:
            self._client.input(answer.encode(errors="replace").decode())

    async def _answer(
        self, run: _Run, on_input: OnInput, prompt: str, password: bool
    ) -> str | None:
        """What the person answers; None if there is no answer to wait for."""
        loop = asyncio.get_running_loop()
        try:
            async with run.asking_lock:  # one question at a time
                began = loop.time()
                try:
                    async with asyncio.timeout(min(run.input_timeout_s, run.input_left_s)):
                        answer = await on_input(prompt, password)
                finally:
                    run.input_left_s -= loop.time() - began
            if not isinstance(answer, str):
                raise TypeError(f"on_input gave a {type(answer).__name__}, but it must give a str")
        except TimeoutError:
            run.input_timed_out = True
        except NobodyThere:
            return None
        except EOFError:
            return _END_OF_INPUT
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            log.warning("the front end cancelled its own question")
        except Exception as error:
            log.warning("the front end could not ask for input", reason=repr(error))
        else:
            return answer
        return None

    async def _install(self, run: _Run, on_install: OnInstall, message: Message) -> None:
        """Have packages installed; the deadline's clock stands still meanwhile."""
        loop = asyncio.get_running_loop()
        run.deadline.pause()
        began = loop.time()
        run.install_requests += 1
        reply: Message = {"status": "error", "failed": {}, "message": _TOO_MANY_REQUESTS}
        try:
            if run.install_requests <= _MOST_INSTALL_REQUESTS and run.install_left_s > 0:
                content = self._content(message)
                run.enter("installing", _names(content))
                async with asyncio.timeout(run.install_left_s):
                    reply = await on_install(content)
        except TimeoutError:
            pass  # of all the time that a cell has for this
        except ValueError as error:
            reply = {"status": "error", "failed": {}, "message": f"Not installed: {error}."}
        finally:
            run.install_left_s -= loop.time() - began
            run.install_s += loop.time() - began
        answer = self._message("install_reply", reply)
        answer["parent_header"] = message["header"]
        self._client.stdin_channel.send(answer)

    # -- the end ---------------------------------------------------------------------------------

    async def _await_exit(self) -> None:
        how = await self._host.wait(self.hosted.kernel_id)
        if not self.exit.done():
            self.exit.set_result(how)

    def _on_broken(self, connection: "asyncio.Future[str]") -> None:
        self._on_lost(connection.result())

    def _on_lost(self, reason: str) -> None:
        if not self._broken.done():
            self._broken.set_result(reason)
            self._spawn(self._end_broken())

    async def _end_broken(self) -> None:
        """End a kernel that can't be spoken to, unless that is because it ends itself."""
        await self._exit_after_break()
        if not self.exit.done():
            log.info(
                "the connection to a kernel broke",
                kernel_id=self.hosted.kernel_id,
                reason=self._broken.result(),
            )
            if not self.busy:  # else its session replaces it after the cell
                await self._host.kill(self.hosted.kernel_id)

    async def _exit_after_break(self, *others: "asyncio.Future[Any]") -> None:
        """Wait for the kernel's exit, or one of ``others``, if this looks like its exit."""
        await _first_of(self.exit, *others, timeout_s=_ALL_BREAK_S)
        if not any(connection.alive for connection in self._client.connections.values()):
            await _first_of(self.exit, *others, timeout_s=_EXIT_AFTER_BREAK_S)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _names(content: Message) -> tuple[str, ...]:
    """What a request asks for, as far as it can be shown on one line."""
    wanted = content.get("requirements")
    texts = [one for one in wanted if isinstance(one, str)] if isinstance(wanted, list) else []
    return tuple("".join(filter(str.isprintable, one[:_NAME_CHARS])) for one in texts[:_MOST_NAMES])


async def _first_of(*futures: "asyncio.Future[Any]", timeout_s: float | None = None) -> None:
    """Wait until one of them is done, or the time is over. Cancels none of them."""
    await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
