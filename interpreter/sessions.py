"""Session: one user's kernel, working directory, and the queue of cells before it."""

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from nbformat import NotebookNode

from interpreter import endings
from interpreter.activity import Activity, Moment
from interpreter.artifacts import (
    ArtifactLimits,
    Collection,
    changed_files,
    collect,
    unchanged_since,
)
from interpreter.belongings import Belongings
from interpreter.delivery import Delivery
from interpreter.errors import (
    DatabaseUnavailable,
    HostError,
    InterpreterError,
    NoCapacity,
    PackagesDisabled,
    QueueFull,
    SessionClosed,
    SessionError,
)
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
from interpreter.files import FileEvent, FileStore, StoredFile
from interpreter.hosts.base import HostedKernel, KernelHost, Resources, WorkingDirectory
from interpreter.inspection import Completion, KernelInfo, Variable
from interpreter.kernel import CellEnd, Kernel, NobodyThere, SentCell
from interpreter.limits import Limits, SessionLimits
from interpreter.logs import get_logger
from interpreter.metrics import How, Metrics
from interpreter.notebook import CellRecord, NotebookLog
from interpreter.outputs import CellError, Output, OutputCollector
from interpreter.packages import Installation, PackageRequest, Packages
from interpreter.patience import Patience
from interpreter.pictures import lacks_renderer, png_of_reply
from interpreter.pool import WarmPool
from interpreter.replay import Replay
from interpreter.review import Remark, replaces_libraries, review
from interpreter.samples import ResourceHistory, ResourceSample
from interpreter.session_record import SessionRecord
from interpreter.session_store import RunningCell, SessionState, SessionStore
from interpreter.settings import Settings
from interpreter.snapshots import SAVE_S, Restoration, SavedState, SnapshotStore, Told
from interpreter.zmtp import Intake
from kernel_startup.picture_types import MOST_CONTENT_BYTES, RENDERERS, TIME_S, Kind, kind_of
from kernel_startup.types import TYPES

log = get_logger(__name__)

_CLASS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
#: What looking into a file may take.
_DESCRIBE_S = 15.0
_DESCRIPTION_CHARS = 1_000
_MOST_DESCRIPTIONS = 200
#: How long a cell waits for a database that is away: to begin, and to hand out what it made.
_DATABASE_AWAY_S = 90.0
#: What a front end may keep with a cell.
_MOST_NOTES, _NOTE_CHARS = 20, 200
#: How long the service, when it leaves its kernels, waits for the files of a cell that has run.
_LEAVE_S = 10.0
_NOBODY = telling(None)


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell as it was sent, and who is told of it."""

    code: str
    timeout_s: float
    on_output: OnOutput | None
    on_input: OnInput | None
    tell: OnPhase
    note: Mapping[str, str] = field(default_factory=dict)
    cell_id: str = field(default_factory=lambda: secrets.token_hex(8))
    at_turn: asyncio.Event = field(default_factory=asyncio.Event)
    queued_at: float = field(default_factory=time.monotonic)


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
        intake: Intake,
        packages: Packages | None,
        belongings: Belongings,
        limits: SessionLimits,
        metrics: Metrics,
        pool: WarmPool,
        snapshots: SnapshotStore,
        store: SessionStore | None,
        make_room: Callable[["Session"], Coroutine[Any, Any, None]],
        on_close: Callable[["Session"], None],
    ) -> None:
        """Use ``Interpreter.session``."""
        self.user_id = user_id
        self._activity = Activity()
        self._settings = settings
        self._host = host
        self._files = files
        self._intake = intake
        self._packages = packages
        self._belongings = belongings
        self._limits = limits
        self._metrics = metrics
        self._pool = pool
        self._make_room = make_room
        self._on_close = on_close
        self._kernel: Kernel | None = None
        self._slot: str | None = None
        self._starting = False
        self._preparing = False
        self._stop_early = False
        self._closed = False
        self._left = False
        self._discarded = False
        self._unshown = False
        self._shown_before = False
        self._memory_bytes: int | None = None
        self._last_error: str | None = None
        self._patience = Patience(0)
        self._history = ResourceHistory()
        self._was_busy = False
        self._state_gone: str | None = None
        self._restoration: Restoration | None = None
        self._unrestored = False
        self._saved = SavedState(
            user_id,
            store=snapshots,
            host=host,
            metrics=metrics,
            most_bytes=settings.snapshot_bytes,
        )
        self._restarts = 0
        self._holds = 0
        self._pending = 0
        self._cells = 0
        self._libraries_replaced = False
        self._delivery: Delivery | None = None
        self._cell_lock = asyncio.Lock()
        self._life_lock = asyncio.Lock()
        self._file_lock = asyncio.Lock()
        self._describe_lock = asyncio.Lock()
        self._picture_lock = asyncio.Lock()
        self._not_to_be_had: set[Kind] = set()
        self._working = WorkingDirectory({}, complete=True)
        self._unchanged_ns: int | None = None
        self._record = SessionRecord(user_id, store=store, host=host)
        self._notebook = NotebookLog()
        self._file_changes: set[asyncio.Task[None]] = set()
        self._descriptions: dict[str, asyncio.Task[str]] = {}
        self._executing: set[asyncio.Task[Execution]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    # -- the public surface ----------------------------------------------------------------------

    async def execute(
        self,
        code: str,
        *,
        timeout_s: float | None = None,
        on_output: OnOutput | None = None,
        on_input: OnInput | None = None,
        on_phase: OnPhase | None = None,
        note: Mapping[str, str] | None = None,
    ) -> Execution:
        """Run a cell and wait for what becomes of it.

        Cells of a session run one at a time, in the order of the calls. A cell that raises, runs
        too long or kills its kernel is a result, not an exception. A caller that is cancelled
        has its cell interrupted, and the session stays usable.

        Args:
            code: Python as IPython takes it.
            timeout_s: the deadline in seconds; None takes the setting's, or the user's own limit,
                which is never exceeded.
            on_output: gets each output as it comes, in order.
            on_input: answers ``input()``; None makes that raise in the cell.
            on_phase: gets each phase as it begins, in order; called in the event loop, must not
                block. What callbacks raise costs nobody the result.
            note: kept with the cell; ``Interpreter.recovered`` has it, should the service end
                while the cell runs. At most 20 entries, of 200 characters each.

        Raises:
            QueueFull: too many cells are waiting already.
            SessionClosed: the session was closed, or the service ended and left the cell running.
            TypeError, ValueError: code is no text, timeout_s no time, or note too large.
            NoCapacity: no further kernel may be started now.
            KernelStartFailed, SandboxUnavailable: no kernel could be started.
            DatabaseUnavailable: it stayed away for 90 s, before the cell had begun.
        """
        _check_cell(code, timeout_s)
        noted = _checked_note(note)
        if self._closed:
            raise SessionClosed(self.user_id)
        if self._pending > self._settings.cell_queue_limit:
            raise QueueFull(self._settings.cell_queue_limit)
        tell = telling(on_phase)
        if self._pending:
            tell(Phase("queued"))
        self._pending += 1
        limit_s = self._deadline_s(timeout_s)
        sent = _Cell(code, limit_s, on_output, on_input, tell, noted)
        cell = self._begin(self._execute(sent))
        try:
            return await asyncio.shield(cell)
        except asyncio.CancelledError:
            if not cell.done():
                await asyncio.shield(self._spawn(self._abandon(cell, sent.at_turn)))
            elif self._left and not _is_cancelled():
                raise SessionClosed(self.user_id) from None
            raise

    def keep_result(self) -> bool:
        """Have a later service give the result of the cell that runs now, as recovered.

        For a front end that ends and waits no longer: the cell may end before the service does.

        Returns:
            Whether a cell runs.
        """
        return self._record.keep_last()

    def _deadline_s(self, wanted_s: float | None) -> float:
        """The deadline of a cell, by what is asked for, the setting, and the user's own limit."""
        own_s = self._limits.cell_timeout_s
        if wanted_s is None:
            return self._settings.cell_timeout_s if own_s is None else own_s
        return wanted_s if own_s is None else min(wanted_s, own_s)

    async def interrupt(self) -> bool:
        """Interrupt the running cell, as Ctrl-C does; the variables stay.

        One that has run and waits for the database, to hand out its files, waits no longer.

        Returns:
            Whether a cell was running.
        """
        self._patience.end()
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
        await asyncio.shield(self._spawn(self._restart()))  # half a restart helps nobody

    async def _restart(self) -> None:
        async with self._life_lock:
            if self._closed:
                raise SessionClosed(self.user_id)
            self._restarts += 1
            await self._end_kernel()
            await self._saved.drop()
            self._state_gone = self._restoration = None
            self._record.note(state_gone=None)
            await self._start_kernel()
            self._unrestored = False

    async def close(self) -> None:
        """End the kernel and remove the working directory. Stored files stay."""
        self._patience.end()
        async with self._life_lock:
            if self._closed:
                return
            self._closed = True
            await self._end_kernel()
            await self._saved.drop()
            self._record.drop()
            for task in list(self._file_changes):
                task.cancel()
            if self._slot is not None:
                await self._host.close_slot(self._slot)
                self._slot = None
            self._on_close(self)

    async def discard(self) -> None:
        """Close it, hand out nothing more of what cells made, and wait until all work has ended."""
        self._discarded = True
        await self.close()
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def install(self, *requirements: str, upgrade: bool = False) -> Installation:
        """Install packages for the user, now and for later kernels; also while a cell runs.

        Args:
            requirements: as in requirement files, such as ``seaborn`` or ``pydantic[email]>=2``.
            upgrade: take the newest versions of what is there already.

        Returns:
            What became of it; what can't be had is named there with the reason.

        Raises:
            PackagesDisabled: this service installs none.
            ValueError: nothing is asked for, or too much at once.
        """
        return await self._change_packages("install", requirements, upgrade=upgrade)

    async def uninstall(self, *names: str) -> Installation:
        """Remove packages that were installed for the user.

        Raises:
            PackagesDisabled: this service installs none.
            ValueError: nothing is asked for, or too much at once.
        """
        return await self._change_packages("uninstall", names)

    async def packages(self) -> tuple[str, ...]:
        """The user's own packages, such as ``seaborn==0.13.2``, in the order of their names.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        return () if self._packages is None else await self._packages.installed(self.user_id)

    async def _change_packages(
        self, action: str, wanted: tuple[str, ...], *, upgrade: bool = False
    ) -> Installation:
        if self._packages is None:
            raise PackagesDisabled
        request = PackageRequest.from_message(
            {
                "action": action,
                "kind": "command",
                "requirements": list(wanted),
                "upgrade": upgrade,
            }
        )
        try:
            return await self._packages.change(self.user_id, request, slot=self._slot)
        finally:
            self._belongings.forget(self.user_id)

    async def variables(self) -> tuple[Variable, ...]:
        """The user's variables, by name; also while a cell runs. Empty without a kernel."""
        kernel = self._kernel
        if kernel is None:
            return ()
        try:
            entries = await kernel.variables()
        except (TimeoutError, HostError):
            return ()
        return tuple(Variable.from_reply(entry) for entry in entries)

    async def describe_file(self, file_id: str) -> str:
        """What one of the user's files is and holds, in a few hundred characters; for a model.

        It is looked into in the user's sandbox, within limits of time and memory of its own, also
        while a cell runs: when it is uploaded, if there is a kernel then, else now. Never fails for
        what is in the file. What it says comes from untrusted code and content.

        Args:
            file_id: of a stored file.

        Raises:
            StoredFileNotFound: there is no such file.
            DatabaseUnavailable: the database can't be used.
            SessionClosed: the session was closed.
            NoCapacity: no further kernel may be started now.
            KernelStartFailed, SandboxUnavailable: no kernel could be started.
        """
        stored = await self._files.get(user_id=self.user_id, file_id=file_id)
        describing = self._describing(stored)
        try:
            return await asyncio.shield(describing)
        except (HostError, SessionError, DatabaseUnavailable):
            self._descriptions.pop(file_id, None)  # the next call may be luckier
            raise

    async def picture(self, content: bytes, mime: str) -> bytes | None:
        """A picture of what a cell showed in another form, for front ends that show only pictures.

        It is drawn in the user's sandbox, without network, within limits of time, memory and size
        of its own; also while a cell runs. What draws pages, formulas and charts is installed as a
        package of the user's when it is needed first, where packages may be installed. What the
        picture shows comes from untrusted code and content.

        Args:
            content: in UTF-8; JSON for types that end in ``+json``.
            mime: ``image/svg+xml``, ``text/html``, ``text/csv``, ``text/latex``, or the types of
                Plotly's, Vega's and Vega-Lite's charts.

        Returns:
            A PNG of at most 4000 by 4000 pixels and 8 MiB; None if it can't be drawn.
        """
        kind = kind_of(mime)
        if kind is None or not 0 < len(content) <= MOST_CONTENT_BYTES:
            return None
        began = time.monotonic()
        async with self._picture_lock:  # one at a time: each may take a lot
            try:
                png = await self._draw(content.decode("utf-8", "replace"), mime, kind)
            except (TimeoutError, InterpreterError) as error:
                log.info("no picture drawn", user_id=self.user_id, reason=type(error).__name__)
                return None
        duration_s = round(time.monotonic() - began, 3)
        log.info("picture", user_id=self.user_id, kind=kind, drawn=bool(png), duration_s=duration_s)
        return png

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
        return Completion.from_reply(reply, cursor)

    async def export_notebook(self) -> NotebookNode:
        """The session so far as a Jupyter notebook, with outputs."""
        return self._notebook.build()

    def resource_history(self) -> tuple[ResourceSample, ...]:
        """What its kernels used in the last half hour, the oldest sample first."""
        return self._history.samples()

    # -- for a later service ---------------------------------------------------------------------

    def take_over(self, state: SessionState, kernel: Kernel | None, gone: str | None) -> None:
        """Go on with what an earlier service has left; to be called before anything else.

        Args:
            state: of the session.
            kernel: its kernel, attached; None if it is no longer there.
            gone: what its user is to be told of that, if anything.
        """
        self._kernel, self._slot = kernel, state.slot
        self._cells, self._memory_bytes = state.cells, state.memory_bytes
        self._last_error, self._activity = state.last_error, Activity(state.last_active)
        self._state_gone = gone or state.state_gone
        self._unshown = self._shown_before = True
        self._notebook = NotebookLog(cells_left_out=state.cells)
        self._unchanged_ns = state.collected_ns
        self._record.take_over(replace(state, state_gone=self._state_gone))

    def restore_first(self) -> None:
        """Restore what was saved before the next cell, as in a new kernel: its kernel is as new."""
        self._unrestored = True

    def recover(self, running: RunningCell) -> "asyncio.Task[Execution]":
        """See a cell to its end that an earlier service has sent; it comes before all others."""
        self._pending += 1
        return self._begin(self._recover(running))

    async def _recover(self, running: RunningCell) -> Execution:
        try:
            async with self._cell_lock:
                return await self._see_to_end(running)
        finally:
            self._pending -= 1

    def hear_later(self, find: Callable[[Replay], RunningCell | None], *, timeout_s: float) -> None:
        """Have cells wait until its kernel has said what it did; one that never does is ended.

        Args:
            find: tells which cell it runs, if any.
            timeout_s: how long it may take, in seconds: code may well hold Python's lock, or the
                machine may have much to do.
        """
        if self._kernel is not None:
            self._pending += 1
            self._spawn(self._hear_later(self._kernel, find, timeout_s))

    async def _hear_later(
        self, kernel: Kernel, find: Callable[[Replay], RunningCell | None], timeout_s: float
    ) -> None:
        try:
            async with self._cell_lock:
                replay = await kernel.recall(timeout_s=timeout_s)
                running = None if replay is None else find(replay)
                if replay is None:
                    await self._end_deaf(kernel)
                elif running is None:
                    if replay.fresh:
                        self.restore_first()
                    kernel.hear()
                else:
                    await self._see_to_end(running)
        finally:
            self._pending -= 1

    async def _end_deaf(self, kernel: Kernel) -> None:
        async with self._life_lock:
            if self._kernel is kernel and kernel.usable:
                log.warning("a kernel does not answer", kernel_id=kernel.hosted.kernel_id)
                await self._end_kernel()
                self._state_gone = endings.DEAF
                self._record.note(within_s=0.0, state_gone=self._state_gone)

    async def _see_to_end(self, running: RunningCell) -> Execution:
        """See a cell to its end that an earlier service has sent. Needs the cell lock."""
        asked = False

        async def nobody(prompt: str, is_secret: bool) -> str:
            nonlocal asked
            asked = True
            raise NobodyThere

        cell = _Cell(
            running.code, running.timeout_s, None, nobody, _NOBODY, running.note, running.cell_id
        )
        kernel = self._kernel
        assert kernel is not None
        self._activity.mark()
        self._unchanged_ns = running.before_ns
        self._patience = Patience(_DATABASE_AWAY_S)
        try:
            result = await self._run(cell, kernel, Told(), running)
        finally:
            self._activity.mark()
        return endings.with_nobody_there(result) if asked else result

    async def acknowledge(self, cell_id: str) -> None:
        """Forget a cell that was recovered.

        Raises:
            DatabaseUnavailable: that can't be written now.
        """
        await self._record.acknowledged(cell_id)

    async def leave(self) -> None:
        """Let go of the kernel, and of a cell that it runs, for a later service to go on with."""
        self._patience.end()
        kernel = self._kernel
        if self._executing and kernel is not None and not kernel.busy and not self._preparing:
            await asyncio.wait(set(self._executing), timeout=_LEAVE_S)
        self._closed = self._left = True
        self._record.close()
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._kernel is not None:
            self._kernel.disconnect()

    # -- for the service -------------------------------------------------------------------------

    def set_limits(self, limits: SessionLimits) -> None:
        """Have other limits hold, from the next cell and the next start of its kernel on."""
        self._limits = limits

    def sample(self, *, also_idle: bool) -> None:
        """Take note of what its kernel uses.

        Args:
            also_idle: whether to look at a kernel that has had nothing to do since the last look.
        """
        kernel, busy = self._kernel, self.busy
        due = busy or self._was_busy or also_idle
        self._was_busy = busy
        if kernel is None or not due:
            return
        self._measure(kernel.hosted.kernel_id)

    def _measure(self, kernel_id: str) -> None:
        used = self._host.resources(kernel_id)
        if used is not None:
            self._history.add(kernel_id, used)

    def _used(self, kernel_id: str, *, sampled: bool) -> tuple[Resources, float | None] | None:
        """What its kernel uses, and its part of a processor in percent."""
        if sampled and not self._host.measures_cheaply:
            if self._history.latest(kernel_id) is None:
                self._measure(kernel_id)
            return self._history.latest(kernel_id)
        used = self._host.resources(kernel_id)
        return None if used is None else (used, self._history.cpu_percent(kernel_id, used))

    @property
    def last_active_at(self) -> datetime:
        """When its user last sent something, or a cell ended; UTC."""
        return self._activity.last.at

    @property
    def idle_s(self) -> float:
        """How long ago that is, in seconds, whatever happens to the clock."""
        return self._activity.idle_s

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

    @property
    def held(self) -> bool:
        """Whether an admin speaks to its kernel, which is then not to be stopped as idle."""
        return self._holds > 0

    def hold(self) -> Callable[[], None]:
        """Begin to count as held. What happens meanwhile is no cell, but changes variables.

        Returns:
            What ends it; to be called once.
        """
        self._holds += 1

        def release() -> None:
            self._holds -= 1
            self._saved.outdate()

        return release

    @property
    def slot(self) -> str | None:
        """Its sandbox directory; None before its first kernel."""
        return self._slot

    @property
    def hosted(self) -> HostedKernel | None:
        """Its live kernel as its host names it; None without one."""
        kernel = self._kernel
        return None if kernel is None or kernel.exit.done() else kernel.hosted

    def info(self, *, sampled: bool = False) -> KernelInfo | None:
        """What operators see of its kernel; None without one.

        Args:
            sampled: take what it used at the last look (see :meth:`sample`) instead of looking
                again, which takes milliseconds where there are no control groups.
        """
        kernel = self._kernel
        if kernel is None or kernel.exit.done():
            return None
        kernel_id = kernel.hosted.kernel_id
        used, cpu_percent = self._used(kernel_id, sampled=sampled) or (None, None)
        return KernelInfo(
            user_id=self.user_id,
            kernel_id=kernel_id,
            pid=kernel.hosted.pid,
            state="busy" if kernel.busy else "idle",
            started_at=kernel.hosted.started_at,
            last_active_at=self.last_active_at,
            cells=self._cells,
            memory_bytes=used.memory_bytes if used else None,
            cpu_s=used.cpu_s if used else None,
            cell_running_s=kernel.cell_running_s,
            cpu_percent=cpu_percent,
            last_error=self._last_error,
            waiting_cells=max(0, self._pending - 1),
            phase=kernel.phase or ("collecting" if self.busy and not self._preparing else None),
        )

    async def cull(self, reason: str, *, save_s: float = SAVE_S, held_too: bool = False) -> bool:
        """End the kernel of an idle session; the working directory stays for the next cell.

        The variables are saved for the next kernel. If a cell comes meanwhile, nothing is ended.

        Args:
            reason: the sentence that its user reads with the next cell.
            save_s: how long the saving may take, in seconds.
            held_too: also while an admin speaks to it.

        Returns:
            Whether a kernel was ended.
        """
        cells = self._cells
        await self.save_state(time_s=save_s)
        async with self._life_lock:
            wanted = self.busy or self._cells != cells or (self.held and not held_too)
            if wanted or self._kernel is None:
                return False
            await self._end_kernel()
            self._state_gone = reason if self._cells else None
            self._record.note(within_s=0.0, state_gone=self._state_gone)
            return True

    async def save_state(self, *, time_s: float = SAVE_S) -> bool:
        """Save the variables for a kernel to come, if no cell runs; cells may come meanwhile.

        Args:
            time_s: how long it may take, in seconds.

        Returns:
            Whether they are saved as they are now.
        """
        kernel, cells = self._kernel, self._cells
        if kernel is None or self.busy or not kernel.usable or self._unrestored:
            return False
        if self.held:
            self._saved.outdate()
        limits = self._kernel_limits()
        saved = await self._saved.save(kernel, cells=cells, limits=limits, time_s=time_s)
        return saved and self._cells == cells

    @property
    def save_took_s(self) -> float:
        """How long it took the last time to save the variables, in seconds; 0 for never yet."""
        return self._saved.took_s

    def is_save_due(self, interval_s: float) -> bool:
        """Whether cells have run since its variables were saved, and that was so long ago."""
        if self.held:
            self._saved.outdate()
        due = self._saved.is_due(self._cells) and self._saved.age_s >= interval_s
        return due and self.live and not self.busy

    def file_changed(self, event: FileEvent, *, is_new: bool = True) -> None:
        """Have the kernel's /files follow the stored files, and new uploads be looked into."""
        if self._slot is not None and not self._closed:
            describe = is_new and event.file.origin == "upload"
            change = self._spawn(self._follow(self._slot, event, describe=describe))
            self._file_changes.add(change)
            change.add_done_callback(self._file_changes.discard)

    # -- files -----------------------------------------------------------------------------------

    def _describing(self, file: StoredFile) -> "asyncio.Task[str]":
        """The description of a file, on its way or there; of the latest ones, at most."""
        found = self._descriptions.get(file.file_id)
        if found is None:
            while len(self._descriptions) >= _MOST_DESCRIPTIONS:
                del self._descriptions[next(iter(self._descriptions))]
            found = self._descriptions[file.file_id] = self._spawn(self._describe(file))
            # Begun at an upload, it may fail with nobody there to be told.
            found.add_done_callback(lambda task: task.cancelled() or task.exception())
        return found

    async def _describe(self, file: StoredFile) -> str:
        async with self._describe_lock:  # one at a time: each may take a lot
            kernel = await self._live_kernel()
            text = None
            with suppress(TimeoutError, HostError):
                text = await kernel.describe(file.file_id, time_s=_DESCRIBE_S)
        described = _clean(text)
        if not described:
            self._descriptions.pop(file.file_id, None)  # it may have been the kernel's fault
            title = TYPES[file.file_type].title if file.file_type in TYPES else "A file"
            described = f"{title}, {file.file_size:,} bytes. It could not be looked into."
        return described

    # -- pictures --------------------------------------------------------------------------------

    async def _draw(self, content: str, mime: str, kind: Kind) -> bytes | None:
        kernel = await self._live_kernel()
        make_do = kind in self._not_to_be_had
        reply = await kernel.picture(content, mime, time_s=TIME_S, make_do=make_do)
        if lacks_renderer(reply) and not make_do:
            make_do = not await self._get_renderer(kind)
            reply = await kernel.picture(content, mime, time_s=TIME_S, make_do=make_do)
        return png_of_reply(reply)

    async def _get_renderer(self, kind: Kind) -> bool:
        """Have what draws a kind of pictures installed. Returns False if it can't be had."""
        try:
            done = await self._change_packages("install", RENDERERS.get(kind, ()))
        except (PackagesDisabled, ValueError):
            failed = True
        else:
            failed = bool(done.failed)
        if failed:
            self._not_to_be_had.add(kind)
        return not failed

    # -- one cell --------------------------------------------------------------------------------

    async def _execute(self, cell: _Cell) -> Execution:
        try:
            async with self._cell_lock:
                self._activity.mark()
                cell.at_turn.set()
                remarks = self._review(cell.code, can_ask=cell.on_input is not None)
                certain = [remark.sentence for remark in remarks if remark.certain]
                if certain:
                    refused = self._refused(cell.code, certain, time.monotonic() - cell.queued_at)
                    self._metrics.cell_ended(refused)
                    return refused
                self._preparing, self._stop_early = True, False
                self._patience = Patience(_DATABASE_AWAY_S)
                try:
                    kernel, told = await self._ready_kernel(cell.tell)
                except DatabaseUnavailable:
                    if not self._stop_early:
                        raise
                    return self._never_begun(cell, Told())
                finally:
                    self._preparing = False
                if self._stop_early:
                    return self._never_begun(cell, told)
                result = await self._run(cell, kernel, told)
                return _with_remarks(result, [remark.sentence for remark in remarks])
        finally:
            self._pending -= 1
            self._activity.mark()

    def _review(self, code: str, *, can_ask: bool) -> tuple[Remark, ...]:
        """What is said of a cell before it runs. In the loop: long cells are left unread."""
        if not self._settings.review_code:
            return ()
        replaced = self._libraries_replaced
        self._libraries_replaced = replaced or replaces_libraries(code)
        return review(code, can_ask=can_ask, libraries_replaced=replaced)

    def _refused(self, code: str, sentences: list[str], queue_s: float) -> Execution:
        log.info("cell refused", user_id=self.user_id)
        return Execution(
            status="refused",
            code=code,
            message=" ".join([*sentences, endings.NOT_RUN]),
            durations=Durations(queue_s=queue_s),
        )

    async def _run(
        self, cell: _Cell, kernel: Kernel, told: Told, sent: RunningCell | None = None
    ) -> Execution:
        """Run a cell, or see one to its end that an earlier service has sent."""
        try:
            execution = await self._run_recorded(cell, kernel, told, sent)
        except Exception:
            self._record.over(cell.cell_id)
            raise
        if sent is None and execution.state_lost and self._record.is_wanted(cell.cell_id):
            self._state_gone = endings.LEFT  # a later service has no more than that to tell
        self._record.over(
            cell.cell_id,
            cells=self._cells,
            last_error=self._last_error,
            state_gone=self._state_gone,
            last_active=Moment.now(),
        )
        return execution

    async def _run_recorded(
        self, cell: _Cell, kernel: Kernel, told: Told, sent: RunningCell | None
    ) -> Execution:
        queue_s = time.monotonic() - cell.queued_at
        self._cells += 1
        if sent is None:
            self._record.begin(
                RunningCell(
                    cell_id=cell.cell_id,
                    code=cell.code,
                    timeout_s=cell.timeout_s,
                    note=cell.note,
                )
            )
        restarts = self._restarts
        installed: dict[str, None] = {}

        async def install(content: Mapping[str, Any]) -> Mapping[str, Any]:
            assert self._packages is not None
            request = PackageRequest.from_message(content)
            slot = kernel.hosted.slot
            done = await self._packages.change(self.user_id, request, slot=slot)
            installed.update(dict.fromkeys(done.installed))
            return done.as_reply()

        collector = OutputCollector(self._settings.max_output_chars)
        delivery = self._delivery = Delivery(cell.on_output)
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
        collection = await self._collect(kernel, collector.result())
        collect_s = time.monotonic() - collecting_at
        restarted = self._restarts != restarts
        broken = end.output_lost and end.exit is None
        if (end.exit is not None or broken) and not restarted and not self._closed:
            self._spawn(self._replace_kernel(kernel))
        status = endings.status_of(end)
        has_saved = (end.exit is not None or broken) and await self._saved.is_there()
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
            state_lost=told.lost or end.exit is not None or broken,
            message=" ".join(sentence for sentence in sentences if sentence) or None,
            durations=Durations(
                queue_s=queue_s, install_s=end.install_s, run_s=end.run_s, collect_s=collect_s
            ),
        )
        self._last_error = _last_error(execution.outputs) or self._last_error
        self._metrics.cell_ended(execution)
        self._notebook.add(CellRecord(cell.code, end.count, execution.outputs))
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
        if self._discarded:
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
                user_id=self.user_id,
                host=self._host,
                slot=kernel.hosted.slot,
                store=self._files,
                limits=ArtifactLimits(
                    count=self._settings.max_artifacts,
                    file_bytes=self._settings.max_file_bytes,
                    total_bytes=self._settings.max_artifacts_bytes,
                ),
                patience=self._patience,
            )
            # What the database could not take is new to the next cell, and comes with that.
            kept = {p: f for p, f in after.files.items() if p not in collection.postponed}
            self._working = replace(after, files=kept)
        if not collection.postponed:
            self._record.collected(after.taken_ns, found=bool(changed))
        if was_complete and not after.complete:  # said once, not with every cell from now on
            rest = SkippedArtifact("further files", "there are too many to look at, or too deep")
            collection = replace(collection, skipped=(*collection.skipped, rest))
        return collection

    def _sentence(
        self, end: CellEnd, timeout_s: float, restarted: bool, has_saved: bool
    ) -> str | None:
        if end.exit is not None and not end.timed_out:
            if self._closed:
                return endings.CLOSED
            if restarted:
                return endings.RESTARTED
        return endings.sentence_about(
            end,
            timeout_s=timeout_s,
            input_timeout_s=self._settings.input_timeout_s,
            limits=self._kernel_limits(),
            has_saved=has_saved,
        )

    def _kernel_limits(self) -> Limits:
        """The limits of the kernel that was started last."""
        limits = Limits.of(self._settings)
        if self._memory_bytes is not None:
            limits = replace(limits, memory_bytes=self._memory_bytes)
        return limits

    def _never_begun(self, cell: _Cell, told: Told) -> Execution:
        return Execution(
            status="interrupted",
            code=cell.code,
            state_lost=told.lost,
            message=" ".join(filter(None, (told.sentence, endings.NEVER_BEGUN))),
            durations=Durations(queue_s=time.monotonic() - cell.queued_at),
        )

    async def _abandon(self, cell: "asyncio.Task[Execution]", at_turn: asyncio.Event) -> None:
        """End a cell whose caller has gone."""
        if not at_turn.is_set():
            cell.cancel()
            await asyncio.wait([cell])
            return
        await self.interrupt()
        if self._delivery is not None:
            self._delivery.abandon()
        await asyncio.wait([cell], timeout=self._settings.interrupt_grace_s)
        kernel = self._kernel
        if not cell.done() and kernel is not None and kernel.busy:
            await kernel.kill()
        await asyncio.wait([cell])
        if not cell.cancelled() and cell.exception() is None and cell.result().state_lost:
            self._state_gone = endings.ABANDONED  # its result goes to nobody
            self._record.note(within_s=0.0, state_gone=self._state_gone)

    # -- the kernel's life -----------------------------------------------------------------------

    async def _ready_kernel(self, tell: OnPhase) -> tuple[Kernel, Told]:
        """The live kernel, and what is to be told of an earlier one."""
        kernel = await self._live_kernel(tell)
        told = Told.of(self._state_gone, self._restoration)
        self._state_gone = self._restoration = None
        return kernel, told

    async def _live_kernel(self, tell: OnPhase = _NOBODY) -> Kernel:
        """The live kernel, or a new one with what was saved of the last."""
        async with self._life_lock:
            if self._closed:
                raise SessionClosed(self.user_id)
            kernel = self._kernel
            if kernel is not None and kernel.exit.done():
                limits = self._kernel_limits()
                how = endings.sentence_about_death(kernel.exit.result(), limits=limits)
                self._state_gone = how
                self._record.note(within_s=0.0, state_gone=how)
                await self._end_kernel()
                kernel = None
            if kernel is None:
                tell(Phase("starting"))
                kernel = await self._start_kernel()
            if self._unshown:
                await self._show_belongings(kernel.hosted.slot)
            if self._unrestored:
                kernel = await self._restore(kernel)
        if self._file_changes:
            await asyncio.wait(set(self._file_changes))
        return kernel

    async def _restore(self, kernel: Kernel) -> Kernel:
        """Give a new kernel what was saved of the last one; a clean one instead, if that fails.

        Needs the life lock.
        """
        began = time.monotonic()
        restoration = await self._saved.restore(kernel, cells=self._cells)
        if restoration is not None and restoration.is_kept:  # once more: it may have passed
            await self._end_kernel()
            kernel = await self._start_kernel()
            restoration = await self._saved.restore(kernel, cells=self._cells)
        self._unrestored = False
        if restoration is None:
            return kernel
        self._restoration = restoration
        self._metrics.kernel_started(time.monotonic() - began, "restored")
        if restoration.failed is not None:
            await self._end_kernel()
            kernel = await self._start_kernel()
            self._unrestored = False
        return kernel

    async def _replace_kernel(self, dead: Kernel) -> None:
        """Have a new kernel ready for the next cell."""
        async with self._life_lock:
            if self._kernel is dead and not self._closed:
                await self._end_kernel()
                with suppress(HostError, NoCapacity):  # the next cell will try again, and say so
                    await self._restore(await self._start_kernel())

    async def _start_kernel(self) -> Kernel:
        """Start a kernel. Needs the life lock."""
        began = time.monotonic()
        memory_bytes = self._limits.memory_bytes
        kernel = self._pool.claim(memory_bytes) if self._slot is None else None
        how: How = "claimed"
        if kernel is not None:
            self._metrics.claimed(time.monotonic() - began)
        else:
            how = "forked"
            with self._pool.forking():
                kernel = await self._fork_kernel(memory_bytes)
        self._kernel, self._memory_bytes = kernel, memory_bytes
        self._unrestored = True
        self._record.kernel_started(kernel, memory_bytes)
        self._metrics.kernel_started(time.monotonic() - began, how)
        if self._slot is None:
            self._slot = kernel.hosted.slot
            self._unshown = True
            self._working = WorkingDirectory({}, complete=True)  # no cell has run there
        log.info("kernel started", user_id=self.user_id, kernel_id=kernel.hosted.kernel_id)
        return kernel

    async def _fork_kernel(self, memory_bytes: int | None) -> Kernel:
        await self._make_room(self)
        self._starting = True
        try:
            return await Kernel.start(
                self._host, self._slot, self._intake, memory_bytes=memory_bytes
            )
        finally:
            self._starting = False

    async def _show_belongings(self, slot: str) -> None:
        """Show a new slot the user's files and packages. Needs the life lock."""
        owned = await self._patience.have(lambda: self._belongings.of(self.user_id))
        if self._shown_before:  # nobody saw to it that what has expired since is gone
            for file_id in {*await self._host.shown_files(slot)} - {f.file_id for f in owned.files}:
                await self._host.remove_file(slot, file_id)
            self._shown_before = False
        for file in owned.files:
            self.file_changed(FileEvent("saved", file), is_new=False)
        self._unshown = False
        if owned.packages and self._packages is not None:
            await self._packages.show(self.user_id, slot)

    async def _end_kernel(self) -> None:
        """End the kernel, if there is one. Needs the life lock."""
        kernel, self._kernel = self._kernel, None
        self._libraries_replaced = False
        if kernel is not None:
            await kernel.kill()
            self._record.kernel_ended()
            self._pool.look_again()

    async def _follow(self, slot: str, event: FileEvent, *, describe: bool) -> None:
        async with self._file_lock:  # in the order of the events
            try:
                if event.kind == "saved":
                    await self._host.put_file(slot, event.file)
                    if describe and self.live:
                        self._describing(event.file)
                else:
                    self._descriptions.pop(event.file.file_id, None)
                    await self._host.remove_file(slot, event.file.file_id)
            except FileNotFoundError:
                pass  # deleted meanwhile
            except OSError as error:
                log.warning("a file could not be shown to a kernel", reason=str(error))

    def _begin(self, work: Coroutine[Any, Any, Execution]) -> "asyncio.Task[Execution]":
        cell = self._spawn(work)
        self._executing.add(cell)
        cell.add_done_callback(self._executing.discard)
        return cell

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _is_cancelled() -> bool:
    """Whether the task that asks is itself to end."""
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


def _clean(text: str | None) -> str:
    """A description as it may be shown: bounded, and without what isn't text."""
    kept = (c if c == "\n" or c.isprintable() else " " for c in (text or "")[:_DESCRIPTION_CHARS])
    return "".join(kept).strip()


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


def _checked_note(note: Mapping[str, str] | None) -> dict[str, str]:
    """A copy of a front end's note.

    Raises:
        TypeError, ValueError: it is none, or too large.
    """
    noted = dict(note or {})
    if any(not isinstance(text, str) for pair in noted.items() for text in pair):
        raise TypeError("note holds something else than str.")
    if len(noted) > _MOST_NOTES or any(
        len(t) > _NOTE_CHARS for pair in noted.items() for t in pair
    ):
        raise ValueError(f"note has more than {_MOST_NOTES} entries, or {_NOTE_CHARS} characters.")
    return noted


def _check_cell(code: object, timeout_s: object) -> None:
    """Refuse what can't be a cell or a deadline before anything is done with it."""
    if not isinstance(code, str):
        raise TypeError(f"code is a {type(code).__name__}, but it must be a str.")
    if timeout_s is None:
        return
    if not isinstance(timeout_s, int | float):
        raise TypeError(f"timeout_s is a {type(timeout_s).__name__}, but it must be a number.")
    if not timeout_s > 0:
        raise ValueError(f"timeout_s is {timeout_s!r}, but it must be greater than 0.")
