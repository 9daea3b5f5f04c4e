"""Session: one user's kernel, working directory, and the queue of cells before it."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import structlog
import zmq.asyncio
from nbformat import NotebookNode

from interpreter.artifacts import ArtifactLimits, Collection, changed_files, collect
from interpreter.errors import HostError, QueueFull, SessionClosed
from interpreter.execution import (
    Durations,
    Execution,
    OnInput,
    OnOutput,
    SkippedArtifact,
    Status,
)
from interpreter.files import FileEvent, FileStore
from interpreter.hosts.base import KernelExit, KernelHost, WorkingDirectory
from interpreter.kernel import CellEnd, Kernel
from interpreter.notebook import CellRecord, NotebookLog
from interpreter.outputs import ClearOutput, DisplayData, Output, OutputCollector
from interpreter.settings import Settings

log = structlog.get_logger()

_INTERRUPT_NAMES = frozenset({"KeyboardInterrupt", "CancelledError"})
_DELIVERY_S = 10.0
_MOST_WAITING_EVENTS = 2000
_SIGNAL_NAMES = {
    4: "an illegal instruction",
    6: "an abort from C code",
    7: "a bus error",
    8: "a floating-point trap",
    9: "signal 9 (kill)",
    11: "a segmentation fault",
    15: "signal 15 (terminate)",
}


@dataclass(frozen=True, slots=True)
class Variable:
    """One of the user's variables.

    Attributes:
        name: its name.
        type: its class, such as ``int`` or ``pandas.DataFrame``.
        shape: shape or number of items, in words; None where that means nothing.
        size_bytes: memory it takes, None if that can't be told cheaply.
        preview: the beginning of its representation.
    """

    name: str
    type: str
    shape: str | None
    size_bytes: int | None
    preview: str


@dataclass(frozen=True, slots=True)
class Completion:
    """Completions of a piece of code.

    Attributes:
        matches: what could stand there.
        start, end: the characters of the code that a match replaces.
    """

    matches: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelInfo:
    """A live kernel, as operators see it.

    Attributes:
        user_id: whose it is.
        kernel_id: its name on its host.
        pid: its process id as the host's system sees it.
        state: ``busy`` while a cell runs.
        started_at: UTC.
        last_active_at: UTC; when its user last sent something, or a cell ended.
        cells: how many cells it has run.
        memory_bytes: memory of its own now, None if it can't be told.
        cpu_s: processor time so far in seconds, None if it can't be told.
    """

    user_id: str
    kernel_id: str
    pid: int
    state: Literal["starting", "idle", "busy"]
    started_at: datetime
    last_active_at: datetime
    cells: int
    memory_bytes: int | None
    cpu_s: float | None


class Session:
    """One user's interpreter: its variables and working files last from cell to cell.

    Made by ``Interpreter.session``. All methods may be called at any time and from several tasks.
    """

    def __init__(
        self,
        user_id: str,
        *,
        settings: Settings,
        host: KernelHost,
        files: FileStore,
        context: zmq.asyncio.Context,
        make_room: Callable[["Session"], Coroutine[Any, Any, None]],
    ) -> None:
        """Use ``Interpreter.session``."""
        self.user_id = user_id
        self.last_active_at = datetime.now(UTC)
        self._settings = settings
        self._host = host
        self._files = files
        self._context = context
        self._make_room = make_room
        self._kernel: Kernel | None = None
        self._slot: str | None = None
        self._starting = False
        self._preparing = False
        self._stop_early = False
        self._closed = False
        self._state_gone: str | None = None
        self._restarts = 0
        self._pending = 0
        self._cells = 0
        self._cell_lock = asyncio.Lock()
        self._life_lock = asyncio.Lock()
        self._working = WorkingDirectory({}, complete=True)
        self._notebook = NotebookLog()
        self._file_changes: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    # -- the public surface ----------------------------------------------------------------------

    async def execute(
        self,
        code: str,
        *,
        timeout_s: float | None = None,
        on_output: OnOutput | None = None,
        on_input: OnInput | None = None,
    ) -> Execution:
        """Run a cell and wait for what becomes of it.

        Cells of a session run one at a time, in the order of the calls. A cell that raises, runs
        too long or kills its kernel is a result, not an exception. A caller that is cancelled
        has its cell interrupted, and the session stays usable.

        Args:
            code: Python as IPython takes it.
            timeout_s: the deadline in seconds; None takes the setting's.
            on_output: gets each output as it comes, in order.
            on_input: answers ``input()``; None makes that raise in the cell.

        Raises:
            QueueFull: too many cells are waiting already.
            SessionClosed: the session was closed.
            NoCapacity: no further kernel may be started now.
            KernelStartFailed, SandboxUnavailable: no kernel could be started.
        """
        if self._closed:
            raise SessionClosed(self.user_id)
        if self._pending > self._settings.cell_queue_limit:
            raise QueueFull(self._settings.cell_queue_limit)
        self._pending += 1
        started = asyncio.Event()
        limit_s = self._settings.cell_timeout_s if timeout_s is None else timeout_s
        cell = self._spawn(self._execute(code, limit_s, on_output, on_input, started))
        try:
            return await asyncio.shield(cell)
        except asyncio.CancelledError:
            if not cell.done():
                await asyncio.shield(self._spawn(self._abandon(cell, started)))
            raise

    async def interrupt(self) -> bool:
        """Interrupt the running cell, as Ctrl-C does; the variables stay.

        Returns:
            Whether a cell was running.
        """
        if self._preparing:
            self._stop_early = True
            return True
        kernel = self._kernel
        return kernel is not None and await kernel.interrupt()

    async def restart(self) -> None:
        """Replace the kernel by a clean one; files stay, variables go. A running cell is ended.

        Raises:
            SessionClosed: the session was closed.
            KernelStartFailed, SandboxUnavailable: no kernel could be started.
        """
        async with self._life_lock:
            if self._closed:
                raise SessionClosed(self.user_id)
            self._restarts += 1
            await self._end_kernel()
            self._state_gone = None
            await self._start_kernel()

    async def close(self) -> None:
        """End the kernel and remove the working directory. Stored files stay."""
        async with self._life_lock:
            if self._closed:
                return
            self._closed = True
            await self._end_kernel()
            for task in list(self._file_changes):
                task.cancel()
            if self._slot is not None:
                await self._host.close_slot(self._slot)
                self._slot = None

    async def variables(self) -> tuple[Variable, ...]:
        """The user's variables, by name; also while a cell runs. Empty without a kernel."""
        kernel = self._kernel
        if kernel is None:
            return ()
        try:
            entries = await kernel.variables()
        except (TimeoutError, HostError):
            return ()
        return tuple(_variable(entry) for entry in entries)

    async def complete(self, code: str, cursor: int) -> Completion:
        """What could stand at a position in a piece of code. Empty without a kernel.

        Args:
            code: the code so far.
            cursor: the position in it, in characters.
        """
        kernel = self._kernel
        reply: Mapping[str, Any] = {}
        if kernel is not None:
            with suppress(TimeoutError, HostError):
                reply = await kernel.complete(code, cursor)
        matches = reply.get("matches")
        start, end = reply.get("cursor_start"), reply.get("cursor_end")
        if not isinstance(matches, list) or not isinstance(start, int) or not isinstance(end, int):
            return Completion((), cursor, cursor)
        named = tuple(match[:200] for match in matches[:500] if isinstance(match, str))
        return Completion(named, start, end)

    async def export_notebook(self) -> NotebookNode:
        """The session so far as a Jupyter notebook, with outputs."""
        return self._notebook.build()

    # -- for the service -------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether it was closed; the service then makes a new one."""
        return self._closed

    @property
    def live(self) -> bool:
        """Whether it has a kernel."""
        return self._starting or (self._kernel is not None and not self._kernel.exit.done())

    @property
    def busy(self) -> bool:
        """Whether a cell runs or waits."""
        return self._pending > 0

    def info(self) -> KernelInfo | None:
        """What operators see of its kernel; None without one."""
        kernel = self._kernel
        if kernel is None or kernel.exit.done():
            return None
        used = self._host.resources(kernel.hosted.kernel_id)
        return KernelInfo(
            user_id=self.user_id,
            kernel_id=kernel.hosted.kernel_id,
            pid=kernel.hosted.pid,
            state="starting" if self._starting else "busy" if kernel.busy else "idle",
            started_at=kernel.hosted.started_at,
            last_active_at=self.last_active_at,
            cells=self._cells,
            memory_bytes=used.memory_bytes if used else None,
            cpu_s=used.cpu_s if used else None,
        )

    async def cull(self, reason: str) -> None:
        """End the kernel of an idle session; the working directory stays for the next cell.

        Args:
            reason: the sentence that its user reads with the next cell.
        """
        async with self._life_lock:
            if not self.busy and self._kernel is not None:
                await self._end_kernel()
                self._state_gone = reason if self._cells else None

    def file_changed(self, event: FileEvent) -> None:
        """Have the kernel's /files follow the stored files."""
        if self._slot is not None and not self._closed:
            change = self._spawn(self._follow(self._slot, event))
            self._file_changes.add(change)
            change.add_done_callback(self._file_changes.discard)

    # -- one cell --------------------------------------------------------------------------------

    async def _execute(
        self,
        code: str,
        timeout_s: float,
        on_output: OnOutput | None,
        on_input: OnInput | None,
        started: asyncio.Event,
    ) -> Execution:
        queued_at = time.monotonic()
        try:
            async with self._cell_lock:
                self.last_active_at = datetime.now(UTC)
                self._preparing, self._stop_early = True, False
                try:
                    kernel, gone = await self._ready_kernel()
                finally:
                    self._preparing = False
                started.set()
                queue_s = time.monotonic() - queued_at
                if self._stop_early:
                    return _never_begun(code, gone, queue_s)
                return await self._run(kernel, code, timeout_s, on_output, on_input, gone, queue_s)
        finally:
            self._pending -= 1
            self.last_active_at = datetime.now(UTC)

    async def _run(
        self,
        kernel: Kernel,
        code: str,
        timeout_s: float,
        on_output: OnOutput | None,
        on_input: OnInput | None,
        gone: str | None,
        queue_s: float,
    ) -> Execution:
        self._cells += 1
        restarts = self._restarts
        collector = OutputCollector(self._settings.max_output_chars)
        delivery = _Delivery(on_output)
        try:
            end = await kernel.run_cell(
                code,
                collector=collector,
                deliver=delivery.put,
                timeout_s=timeout_s,
                grace_s=self._settings.interrupt_grace_s,
                on_input=on_input,
                input_timeout_s=self._settings.input_timeout_s,
            )
        finally:
            for unseen in collector.unseen():
                delivery.put(unseen)
            await delivery.finish()
        collecting_at = time.monotonic()
        collection = await self._collect(kernel, collector.result())
        collect_s = time.monotonic() - collecting_at
        restarted = self._restarts != restarts
        if end.exit is not None and not restarted and not self._closed:
            self._spawn(self._replace_kernel(kernel))
        status = _status(end)
        sentences = [
            gone,
            self._sentence(end, status, timeout_s, restarted),
            *collector.dropped,
            _skipped_sentence(collection.skipped),
        ]
        execution = Execution(
            status=status,
            code=code,
            count=end.count,
            outputs=collection.outputs,
            artifacts=collection.artifacts,
            skipped=collection.skipped,
            state_lost=gone is not None or end.exit is not None,
            message=" ".join(sentence for sentence in sentences if sentence) or None,
            durations=Durations(queue_s=queue_s, run_s=end.run_s, collect_s=collect_s),
        )
        self._notebook.add(CellRecord(code, end.count, execution.outputs))
        log.info(
            "cell ended",
            user_id=self.user_id,
            kernel_id=kernel.hosted.kernel_id,
            status=status,
            run_s=round(end.run_s, 3),
            artifacts=len(execution.artifacts),
        )
        return execution

    async def _collect(self, kernel: Kernel, outputs: tuple[Output, ...]) -> Collection:
        after = await self._host.scan(kernel.hosted.slot)
        changed = changed_files(self._working, after)
        self._working = after
        collection = Collection((), (), outputs)
        if changed:
            collection = await collect(
                changed,
                outputs,
                user_id=self.user_id,
                host=self._host,
                slot=kernel.hosted.slot,
                store=self._files,
                limits=ArtifactLimits(
                    count=self._settings.max_artifacts,
                    file_bytes=self._settings.max_file_bytes,
                    total_bytes=self._settings.max_artifacts_bytes,
                ),
            )
        if not after.complete:
            rest = SkippedArtifact("further files", "there are too many to look at, or too deep")
            collection = Collection(
                collection.artifacts, (*collection.skipped, rest), collection.outputs
            )
        return collection

    def _sentence(
        self, end: CellEnd, status: Status, timeout_s: float, restarted: bool
    ) -> str | None:
        """What a person should know about how the cell ended."""
        limit = f"{timeout_s:g} s"
        if status == "timeout":
            if end.exit is None:
                return (
                    f"The cell was stopped after {limit}, the time limit. The variables are kept."
                )
            return (
                f"The cell ran past the time limit of {limit} and could not be interrupted, so the "
                "kernel was replaced by a new one: the variables are gone, the files are still "
                "there."
            )
        if end.exit is not None:
            if self._closed:
                return "The session was closed while the cell ran."
            if restarted:
                return "The kernel was restarted while the cell ran: the variables are gone."
            return (
                f"{self._how_it_died(end.exit)} The variables are gone; the files are still there."
            )
        if end.input_timed_out:
            waited = f"{self._settings.input_timeout_s:g} s"
            return f"Nobody answered the cell's input() within {waited}, so it was interrupted."
        if status == "interrupted":
            return "The cell was interrupted. The variables are kept."
        if end.output_lost:
            return "Some of the cell's last output may be missing: its connection broke."
        return None

    def _how_it_died(self, how: KernelExit) -> str:
        if how.cause == "memory":
            limit = f"{self._settings.kernel_memory_bytes / (1 << 20):g} MB"
            return f"The kernel was ended because it used more memory than its limit of {limit}."
        if how.cause == "signal" and how.signal is not None:
            name = _SIGNAL_NAMES.get(how.signal, f"signal {how.signal}")
            return f"The kernel was ended by {name}."
        if how.cause == "exited":
            return f"The kernel ended itself (exit status {how.code})."
        return "The kernel was stopped."

    async def _abandon(self, cell: "asyncio.Task[Execution]", started: asyncio.Event) -> None:
        """End a cell whose caller has gone."""
        if not started.is_set():
            cell.cancel()
            await asyncio.wait([cell])
            return
        await self.interrupt()
        done, _ = await asyncio.wait([cell], timeout=self._settings.interrupt_grace_s)
        if not done:
            kernel = self._kernel
            if kernel is not None:
                await kernel.kill()
            await asyncio.wait([cell])
        if not cell.cancelled():
            cell.exception()  # nobody else will look at it

    # -- the kernel's life -----------------------------------------------------------------------

    async def _ready_kernel(self) -> tuple[Kernel, str | None]:
        """The live kernel, and the sentence about an earlier one whose variables are gone."""
        async with self._life_lock:
            if self._closed:
                raise SessionClosed(self.user_id)
            kernel = self._kernel
            if kernel is not None and kernel.exit.done():
                how = kernel.exit.result()
                self._state_gone = f"{self._how_it_died(how)} The variables of before are gone."
                await self._end_kernel()
                kernel = None
            if kernel is None:
                kernel = await self._start_kernel()
            gone, self._state_gone = self._state_gone, None
        if self._file_changes:
            await asyncio.wait(set(self._file_changes))
        return kernel, gone

    async def _replace_kernel(self, dead: Kernel) -> None:
        """Have a new kernel ready for the next cell."""
        async with self._life_lock:
            if self._kernel is dead and not self._closed:
                await self._end_kernel()
                with suppress(HostError):  # the next cell will try again, and say so
                    await self._start_kernel()

    async def _start_kernel(self) -> Kernel:
        """Start a kernel. Needs the life lock."""
        await self._make_room(self)
        self._starting = True
        try:
            kernel = await Kernel.start(self._host, self._slot, self._context)
        finally:
            self._starting = False
        self._kernel = kernel
        if self._slot is None:
            self._slot = kernel.hosted.slot
            for file in await self._files.list(user_id=self.user_id):
                await self._host.put_file(self._slot, file)
            self._working = await self._host.scan(self._slot)
        log.info("kernel started", user_id=self.user_id, kernel_id=kernel.hosted.kernel_id)
        return kernel

    async def _end_kernel(self) -> None:
        """End the kernel, if there is one. Needs the life lock."""
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            await kernel.kill()

    async def _follow(self, slot: str, event: FileEvent) -> None:
        try:
            if event.kind == "saved":
                await self._host.put_file(slot, event.file)
            else:
                await self._host.remove_file(slot, event.file.file_id)
        except OSError as error:
            log.warning("a file could not be shown to a kernel", reason=str(error))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Delivery:
    """Hands live events to a front end, in order, without holding up the reading of messages.

    Bounded for a front end that is slower than the cell: an update that has not gone out is
    replaced by the next one of the same display, and nothing goes out that is cleared already.
    """

    def __init__(self, on_output: OnOutput | None) -> None:
        self._events: deque[Output | ClearOutput] = deque()
        self._more = asyncio.Event()
        self._ended = False
        self._task = asyncio.create_task(self._deliver(on_output)) if on_output else None

    def put(self, event: Output | ClearOutput) -> None:
        if self._task is None or self._task.done():
            return
        if isinstance(event, ClearOutput):
            self._events.clear()
        elif isinstance(event, DisplayData) and event.update:
            for index, waiting in enumerate(self._events):
                if isinstance(waiting, DisplayData) and waiting.display_id == event.display_id:
                    self._events[index] = replace(event, update=waiting.update)
                    return
        if len(self._events) < _MOST_WAITING_EVENTS:
            self._events.append(event)
            self._more.set()

    async def finish(self) -> None:
        """Wait until all is delivered, or the front end takes too long."""
        if self._task is not None:
            self._ended = True
            self._more.set()
            await asyncio.wait([self._task], timeout=_DELIVERY_S)
            self._task.cancel()

    async def _deliver(self, on_output: OnOutput) -> None:
        while self._events or not self._ended:
            if not self._events:
                self._more.clear()
                await self._more.wait()
                continue
            try:
                waiting = on_output(self._events.popleft())
                if waiting is not None:
                    await waiting
            except Exception as error:
                log.warning("the front end failed to take an output", reason=repr(error))
                return


def _status(end: CellEnd) -> Status:
    if end.timed_out:
        return "timeout"
    if end.exit is not None:
        return "died"
    reply = end.reply or {}
    if reply.get("status") == "ok":
        return "ok"
    stopped = end.interrupted or end.input_timed_out
    if stopped and reply.get("ename") in _INTERRUPT_NAMES:
        return "interrupted"
    return "error"


def _never_begun(code: str, gone: str | None, queue_s: float) -> Execution:
    sentence = "The cell was interrupted before it began."
    return Execution(
        status="interrupted",
        code=code,
        state_lost=gone is not None,
        message=f"{gone} {sentence}" if gone else sentence,
        durations=Durations(queue_s=queue_s),
    )


def _skipped_sentence(skipped: tuple[SkippedArtifact, ...]) -> str | None:
    if not skipped:
        return None
    named = "; ".join(f"{file.name}: {file.reason}" for file in skipped[:3])
    more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    return f"Not handed out: {named}{more}."


def _variable(entry: Mapping[str, Any]) -> Variable:
    """A variable from what a kernel said of it, which may be anything."""
    shape, size = entry.get("shape"), entry.get("size_bytes")
    return Variable(
        name=str(entry.get("name", ""))[:200],
        type=str(entry.get("type", ""))[:200],
        shape=None if shape is None else str(shape)[:100],
        size_bytes=size if isinstance(size, int) else None,
        preview=str(entry.get("preview", ""))[:200],
    )
