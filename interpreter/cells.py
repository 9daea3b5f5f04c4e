"""Cells: the queue of cells before a session's kernel, and what becomes of each."""

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from interpreter import endings
from interpreter.activity import Activity, Moment
from interpreter.artifacts import (
    ArtifactLimits,
    Collection,
    changed_files,
    collect,
    unchanged_since,
)
from interpreter.delivery import Delivery
from interpreter.errors import HostError, QueueFull, SessionClosed
from interpreter.execution import (
    Durations,
    Execution,
    OnInput,
    OnOutput,
    OnPhase,
    Phase,
    SkippedArtifact,
    telling,
)
from interpreter.files import FileStore
from interpreter.hosts.base import KernelHost, WorkingDirectory
from interpreter.kept_notebook import KeptNotebook
from interpreter.kernel import CellEnd, Kernel, NobodyThere, SentCell
from interpreter.kernel_life import KernelLife
from interpreter.logs import get_logger
from interpreter.metrics import Metrics
from interpreter.notebook import CellRecord
from interpreter.outputs import CellError, Output, OutputCollector
from interpreter.packages import PackageRequest, Packages
from interpreter.patience import Patience
from interpreter.replay import Replay
from interpreter.review import Remark, replaces_libraries, review
from interpreter.session_record import SessionRecord
from interpreter.session_store import RunningCell, SessionState
from interpreter.settings import Settings
from interpreter.snapshots import Told
from interpreter.tasks import Tasks

log = get_logger(__name__)

T = TypeVar("T")

_CLASS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
#: How long a cell waits for a database that is away: to begin, and to hand out what it made.
_DATABASE_AWAY_S = 90.0
#: How long the service, when it leaves its kernels, waits for the files of a cell that has run.
_LEAVE_S = 10.0
_NOT_COLLECTED = SkippedArtifact(
    "files it may have saved",
    "the working directory can't be looked at just now; they come with the next cell",
)
_NOBODY = telling(None)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as it was sent, and who is told of it: ``on_output``, or the ``delivery``."""

    code: str
    timeout_s: float
    on_output: OnOutput | None
    on_input: OnInput | None
    tell: OnPhase
    note: Mapping[str, str] = field(default_factory=dict)
    cell_id: str = field(default_factory=lambda: secrets.token_hex(8))
    delivery: Delivery | None = None
    at_turn: asyncio.Event = field(default_factory=asyncio.Event)
    given_up: asyncio.Event = field(default_factory=asyncio.Event)
    queued_at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class _Ran:
    """What became of a cell, and what the next one is to tell if nobody gets to know that.

    Attributes:
        execution: for its sender.
        has_begun: whether it was given anything to tell.
        took_kernel: whether its kernel ended with it, other than by a restart.
        files_gone: what it tells of files that are gone.
    """

    execution: Execution
    has_begun: bool = False
    took_kernel: bool = False
    files_gone: str | None = None


class Cells:
    """Runs a session's cells, one at a time, in the order in which they come.

    Attributes:
        activity: when the user was last at work.
        pending: how many cells run or wait.
        discarded: whether nothing is handed out any more of what they make.
        last_error: the class of the last exception; None if there was none.
        notebook: what has run so far.
    """

    def __init__(
        self,
        user_id: str,
        *,
        settings: Settings,
        host: KernelHost,
        files: FileStore,
        packages: Packages | None,
        metrics: Metrics,
        life: KernelLife,
        record: SessionRecord,
        notebook: KeptNotebook,
        tasks: Tasks,
    ) -> None:
        """Begin with none.

        Args:
            user_id: whose session it is.
            settings: the service's.
            host: where the kernel's files are.
            files: where what cells made is stored.
            packages: installs what cells ask for; None if this service installs nothing.
            metrics: the service's.
            life: of the session's kernel.
            record: what a later service is to know of the session.
            notebook: takes what has run.
            tasks: the session's.
        """
        self.activity = Activity()
        self.pending = 0
        self.discarded = False
        self.last_error: str | None = None
        self.notebook = notebook
        self._user_id = user_id
        self._settings = settings
        self._host = host
        self._files = files
        self._packages = packages
        self._metrics = metrics
        self._life = life
        self._record = record
        self._tasks = tasks
        self._left = False
        self._stop: asyncio.Future[None] | None = None
        self._delivery: Delivery | None = None
        self._working = WorkingDirectory({}, complete=True)
        self._unchanged_ns: int | None = None
        self._executing: set[asyncio.Task[Any]] = set()
        self._lock = asyncio.Lock()

    @property
    def preparing(self) -> bool:
        """Whether a cell is at its turn, and its kernel isn't ready yet."""
        return self._stop is not None

    async def run(self, cell: Cell) -> Execution:
        """Run a cell at its turn; see ``Session.execute``."""
        if self._life.closed:
            raise SessionClosed(self._user_id)
        if self.pending > self._settings.cell_queue_limit:
            raise QueueFull(self._settings.cell_queue_limit)
        if self.pending:
            cell.tell(Phase("queued"))
        self.pending += 1
        running = self._begin(self._execute(cell))
        try:
            return (await asyncio.shield(running)).execution
        except asyncio.CancelledError:
            if not running.done():
                cell.given_up.set()
                await asyncio.shield(self._tasks.spawn(self._abandon(running, cell.at_turn)))
            elif not running.cancelled():  # both in one moment
                if running.exception() is None:
                    self._tell_later(running.result(), endings.ABANDONED)
            elif self._left and not _is_cancelled():
                raise SessionClosed(self._user_id) from None
            raise

    async def interrupt(self) -> bool:
        """See ``Session.interrupt``."""
        self._life.patience.end()
        if self._stop is not None:
            if not self._stop.done():
                self._stop.set_result(None)
            return True
        kernel = self._life.kernel
        return kernel is not None and await kernel.interrupt()

    async def leave(self) -> None:
        """Take no further cells, and let the one that runs go on without this service."""
        self._life.patience.end()
        kernel = self._life.kernel
        if self._executing and kernel is not None and not kernel.busy and not self.preparing:
            await asyncio.wait(set(self._executing), timeout=_LEAVE_S)
        self._life.closed = self._left = True
        await self.notebook.written(within_s=_LEAVE_S)

    # -- cells that an earlier service has sent ----------------------------------------------------

    def take_over(self, state: SessionState) -> None:
        """See ``Session.take_over``."""
        self.last_error, self.activity = state.last_error, Activity(state.last_active)
        self.notebook.take_over(state.cells)
        self._unchanged_ns = state.collected_ns

    def recover(self, running: RunningCell, delivery: Delivery) -> "asyncio.Task[Execution]":
        """See ``Session.recover``."""
        self.pending += 1
        return self._begin(self._recover(running, delivery))

    async def _recover(self, running: RunningCell, delivery: Delivery) -> Execution:
        try:
            async with self._lock:
                return await self._see_to_end(running, delivery)
        finally:
            self.pending -= 1

    def hear_later(self, find: Callable[[Replay], RunningCell | None], *, timeout_s: float) -> None:
        """See ``Session.hear_later``."""
        if self._life.kernel is not None:
            self.pending += 1
            self._tasks.spawn(self._hear_later(self._life.kernel, find, timeout_s))

    async def _hear_later(
        self, kernel: Kernel, find: Callable[[Replay], RunningCell | None], timeout_s: float
    ) -> None:
        try:
            async with self._lock:
                replay = await kernel.recall(timeout_s=timeout_s)
                running = None if replay is None else find(replay)
                if replay is None:
                    await self._life.end_deaf(kernel)
                elif running is None:
                    if replay.fresh:
                        self._life.restore_first()
                    kernel.hear()
                else:
                    await self._see_to_end(running)
        finally:
            self.pending -= 1

    async def _see_to_end(
        self, running: RunningCell, delivery: Delivery | None = None
    ) -> Execution:
        """See a cell to its end that an earlier service has sent. Needs the cell lock."""
        asked = False

        async def nobody(prompt: str, is_secret: bool) -> str:
            nonlocal asked
            asked = True
            raise NobodyThere

        cell = Cell(
            *(running.code, running.timeout_s, None, nobody, _NOBODY, running.note),
            cell_id=running.cell_id,
            delivery=delivery,
        )
        kernel = self._life.kernel
        assert kernel is not None
        self.activity.mark()
        self._unchanged_ns = running.before_ns
        self._life.patience = Patience(_DATABASE_AWAY_S)
        try:
            told = Told(running.told, running.told_lost)
            if told.sentence is not None:
                self._life.already_told(told.sentence)
            result = (await self._run(cell, kernel, told, running)).execution
        finally:
            self.activity.mark()
        return endings.with_nobody_there(result) if asked else result

    # -- one cell --------------------------------------------------------------------------------

    async def _execute(self, cell: Cell) -> _Ran:
        try:
            async with self._lock:
                self.activity.mark()
                cell.at_turn.set()
                remarks = self._review(cell.code, can_ask=cell.on_input is not None)
                certain = [remark.sentence for remark in remarks if remark.certain]
                if certain:
                    refused = self._refused(cell.code, certain, time.monotonic() - cell.queued_at)
                    self._metrics.cell_ended(refused)
                    return _Ran(refused)
                self._life.patience = Patience(_DATABASE_AWAY_S)
                kernel = await self._ready_kernel(cell)
                if kernel is None:
                    return _Ran(self._never_begun(cell))
                ran = await self._run(cell, kernel, self._life.take_told())
                sentences = [remark.sentence for remark in remarks]
                return replace(ran, execution=_with_remarks(ran.execution, sentences))
        finally:
            self.pending -= 1
            self.activity.mark()

    async def _ready_kernel(self, cell: Cell) -> Kernel | None:
        """The live kernel; None if the cell is interrupted before there is one.

        What has begun by then, such as restoring what was saved, goes on for the next cell, which
        is told what came of it.
        """
        stop = self._stop = asyncio.get_running_loop().create_future()

        def tell(phase: Phase) -> None:
            if not stop.done():
                cell.tell(phase)

        starting = self._tasks.spawn(self._life.kernel_for_cell(tell, lambda: not stop.done()))
        # It may fail with nobody there to be told: the next cell tries again.
        starting.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            await asyncio.wait((starting, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stop = None
        return None if stop.done() else starting.result()

    def _review(self, code: str, *, can_ask: bool) -> tuple[Remark, ...]:
        """What is said of a cell before it runs. In the loop: long cells are left unread."""
        if not self._settings.review_code:
            return ()
        replaced = self._life.libraries_replaced
        self._life.libraries_replaced = replaced or replaces_libraries(code)
        return review(code, can_ask=can_ask, libraries_replaced=replaced)

    def _refused(self, code: str, sentences: list[str], queue_s: float) -> Execution:
        log.info("cell refused", user_id=self._user_id)
        return Execution(
            status="refused",
            code=code,
            message=" ".join([*sentences, endings.NOT_RUN]),
            durations=Durations(queue_s=queue_s),
        )

    async def _run(
        self, cell: Cell, kernel: Kernel, told: Told, sent: RunningCell | None = None
    ) -> _Ran:
        """Run a cell, or see one to its end that an earlier service has sent."""
        try:
            ran = await self._run_recorded(cell, kernel, told, sent)
        except Exception:
            self._record.over(cell.cell_id)
            if sent is None:  # its sender reads of this error only
                self._life.tell_again()
                self._life.lose_files(told.files)
            raise
        if cell.given_up.is_set():
            self._tell_later(ran, endings.ABANDONED)
        elif sent is None and self._record.is_wanted(cell.cell_id):
            self._tell_later(ran, endings.LEFT)  # a later service may not find its result
        self._record.over(
            cell.cell_id,
            cells=self._life.cells,
            last_error=self.last_error,
            state_gone=self._life.state_gone,
            files_gone=self._life.files_gone,
            last_active=Moment.now(),
        )
        return ran

    def _tell_later(self, ran: _Ran, how: str) -> None:
        """Have the next cell tell what the last one would have, whose result goes to nobody.

        Needs to be called before that one is given what it is to tell.

        Args:
            ran: the last one.
            how: what is told if its kernel ended with it, in a sentence.
        """
        if ran.took_kernel:
            self._life.state_gone = how
        elif ran.has_begun:
            self._life.tell_again()
        self._record.note(within_s=0.0, state_gone=self._life.state_gone)
        self._life.lose_files(ran.files_gone)

    async def _run_recorded(
        self, cell: Cell, kernel: Kernel, told: Told, sent: RunningCell | None
    ) -> _Ran:
        queue_s = time.monotonic() - cell.queued_at
        self._life.cells += 1
        if sent is None:
            self._record.begin(
                RunningCell(
                    cell_id=cell.cell_id,
                    code=cell.code,
                    timeout_s=cell.timeout_s,
                    note=cell.note,
                    told=told.sentence,
                    told_lost=told.lost,
                )
            )
        restarts = self._life.restarts
        installed: dict[str, None] = {}

        async def install(content: Mapping[str, Any]) -> Mapping[str, Any]:
            assert self._packages is not None
            request = PackageRequest.from_message(content)
            slot = kernel.hosted.slot
            done = await self._packages.change(self._user_id, request, slot=slot)
            installed.update(dict.fromkeys(done.installed))
            return done.as_reply()

        collector = OutputCollector(self._settings.max_output_chars)
        delivery = self._delivery = cell.delivery or Delivery(cell.on_output)
        delivery.begin(collector.seen)
        try:
            end = await kernel.run_cell(
                cell.code,
                collector=collector,
                deliver=delivery.put,
                tell=cell.tell,
                timeout_s=cell.timeout_s,
                grace_s=self._settings.interrupt_grace_s,
                on_input=cell.on_input,
                input_timeout_s=self._settings.input_timeout_s,
                on_install=install if self._packages is not None else None,
                install_timeout_s=self._settings.install_timeout_s,
                on_clock=partial(self._record.clock, cell.cell_id),
                sent=None if sent is None else SentCell(sent.message_id, sent.clock),
            )
        finally:
            for unseen in collector.unseen():
                delivery.put(unseen)
            await delivery.finish()
        collecting_at = time.monotonic()
        cell.tell(Phase("collecting", limit_s=cell.timeout_s, run_s=end.run_s))
        collection = await self._collected(kernel, collector.result())
        collect_s = time.monotonic() - collecting_at
        restarted = self._life.restarts != restarts
        broken = end.output_lost and end.exit is None
        ended = end.exit is not None or broken
        if ended and not restarted and not self._life.closed:
            if end.exit is not None:
                self._life.told_of(kernel)
            self._tasks.spawn(self._life.replace(kernel))
        limits = self._life.kernel_limits()
        gone = endings.sentence_about_left_files(end.exit, limits=limits)
        status = endings.status_of(end)
        has_saved = ended and await self._life.saved.is_there()
        sentences = [
            told.sentence,
            self._sentence(end, cell.timeout_s, restarted, has_saved),
            *collector.dropped,
            endings.sentence_about_skipped(collection.skipped),
        ]
        execution = Execution(
            status=status,
            code=cell.code,
            count=end.count,
            outputs=collection.outputs,
            artifacts=collection.artifacts,
            skipped=collection.skipped,
            installed=tuple(installed),
            state_lost=told.lost or ended,
            files_gone=endings.with_more_files_gone(told.files, None if restarted else gone),
            message=" ".join(sentence for sentence in sentences if sentence) or None,
            durations=Durations(
                queue_s=queue_s, install_s=end.install_s, run_s=end.run_s, collect_s=collect_s
            ),
        )
        self.last_error = _last_error(execution.outputs) or self.last_error
        self._metrics.cell_ended(execution)
        self.notebook.add(CellRecord(cell.code, end.count, execution.outputs, cell_id=cell.cell_id))
        log.info(
            "cell ended",
            user_id=self._user_id,
            kernel_id=kernel.hosted.kernel_id,
            status=status,
            run_s=round(end.run_s, 3),
            artifacts=len(execution.artifacts),
        )
        return _Ran(
            execution,
            has_begun=True,
            took_kernel=ended and not restarted,
            files_gone=endings.with_more_files_gone(told.files, gone),
        )

    async def _collected(self, kernel: Kernel, outputs: tuple[Output, ...]) -> Collection:
        """What the cell made, with its outputs: which come also where that can't be looked at."""
        known, unchanged_ns = self._working, self._unchanged_ns
        try:
            return await self._collect(kernel, outputs)
        except Exception as error:
            if isinstance(error, OSError | HostError):
                log.warning("files not collected", user_id=self._user_id, reason=str(error))
            else:
                log.exception("files not collected", user_id=self._user_id)
            self._working, self._unchanged_ns = known, unchanged_ns
            return Collection((), (_NOT_COLLECTED,), outputs)

    async def _collect(self, kernel: Kernel, outputs: tuple[Output, ...]) -> Collection:
        if self.discarded:
            return Collection((), (), outputs)
        after = await self._host.scan(kernel.hosted.slot)
        if self._unchanged_ns is not None:  # an earlier service knew what was there
            self._working = unchanged_since(self._unchanged_ns, after)
            self._unchanged_ns = None
        changed = changed_files(self._working, after)
        was_complete = self._working.complete
        self._working = after
        collection = Collection((), (), outputs)
        if changed:
            collection = await collect(
                changed,
                outputs,
                user_id=self._user_id,
                host=self._host,
                slot=kernel.hosted.slot,
                store=self._files,
                limits=ArtifactLimits(
                    count=self._settings.max_artifacts,
                    file_bytes=self._settings.max_file_bytes,
                    total_bytes=self._settings.max_artifacts_bytes,
                ),
                patience=self._life.patience,
            )
            # What the database could not take is new to the next cell, and comes with that.
            kept = {p: f for p, f in after.files.items() if p not in collection.postponed}
            self._working = replace(after, files=kept)
        if not collection.postponed:
            has_files = bool(after.files) or not after.complete
            self._record.collected(after.taken_ns, found=bool(changed), has_files=has_files)
        if was_complete and not after.complete:  # said once, not with every cell from now on
            rest = SkippedArtifact("further files", "there are too many to look at, or too deep")
            collection = replace(collection, skipped=(*collection.skipped, rest))
        return collection

    def _sentence(
        self, end: CellEnd, timeout_s: float, restarted: bool, has_saved: bool
    ) -> str | None:
        if end.exit is not None and not end.timed_out:
            if self._life.closed:
                return endings.CLOSED
            if restarted:
                return endings.RESTARTED
        return endings.sentence_about(
            end,
            timeout_s=timeout_s,
            input_timeout_s=self._settings.input_timeout_s,
            limits=self._life.kernel_limits(),
            has_saved=has_saved,
        )

    def _never_begun(self, cell: Cell) -> Execution:
        return Execution(
            status="interrupted",
            code=cell.code,
            message=endings.NEVER_BEGUN,
            durations=Durations(queue_s=time.monotonic() - cell.queued_at),
        )

    async def _abandon(self, cell: "asyncio.Task[_Ran]", at_turn: asyncio.Event) -> None:
        """End a cell whose caller has gone."""
        if not at_turn.is_set():
            cell.cancel()
            await asyncio.wait([cell])
            return
        await self.interrupt()
        if self._delivery is not None and not cell.done():  # it may be the next one's by now
            self._delivery.abandon()
        await asyncio.wait([cell], timeout=self._settings.interrupt_grace_s)
        kernel = self._life.kernel
        if not cell.done() and kernel is not None and kernel.busy:
            await kernel.kill()
        await asyncio.wait([cell])

    def _begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        cell = self._tasks.spawn(work)
        self._executing.add(cell)
        cell.add_done_callback(self._executing.discard)
        return cell


def _is_cancelled() -> bool:
    """Whether the task that asks is itself to end."""
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


def _with_remarks(execution: Execution, sentences: list[str]) -> Execution:
    """A cell that failed, with what could be said of it beforehand."""
    if execution.status != "error" or not sentences:
        return execution
    message = " ".join([*([execution.message] if execution.message else []), *sentences])
    return replace(execution, message=message)


def _last_error(outputs: tuple[Output, ...]) -> str | None:
    """The class of the exception that a cell ended with, if it has the form of a name."""
    errors = [output.ename for output in outputs if isinstance(output, CellError)]
    return errors[-1] if errors and _CLASS_NAME.fullmatch(errors[-1]) else None
