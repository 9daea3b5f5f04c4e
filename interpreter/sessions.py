"""Session: one user's interpreter, as front ends and the service see it."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from nbformat import NotebookNode

from interpreter.belongings import Belongings
from interpreter.cells import Cell, Cells
from interpreter.delivery import Delivery
from interpreter.descriptions import Descriptions
from interpreter.drawing import Drawing
from interpreter.errors import HostError, PackagesDisabled
from interpreter.execution import Execution, OnInput, OnOutput, OnPhase, telling
from interpreter.files import FileEvent, FileStore, StoredFile
from interpreter.hosts.base import HostedKernel, KernelHost, Resources
from interpreter.inspection import Completion, KernelInfo, Variable
from interpreter.kept_notebook import KeptNotebook
from interpreter.kernel import Kernel
from interpreter.kernel_life import KernelLife
from interpreter.limits import SessionLimits
from interpreter.metrics import Metrics
from interpreter.notebook_store import NotebookStore
from interpreter.packages import Installation, PackageRequest, Packages
from interpreter.pool import WarmPool
from interpreter.replay import Replay
from interpreter.samples import ResourceHistory, ResourceSample
from interpreter.session_record import SessionRecord
from interpreter.session_store import RunningCell, SessionState, SessionStore
from interpreter.settings import Settings
from interpreter.shown_files import ShownFiles
from interpreter.snapshot_store import SnapshotStore
from interpreter.snapshots import SAVE_S, SavedState
from interpreter.tasks import Tasks
from interpreter.zmtp import Intake

#: What a front end may keep with a cell.
_MOST_NOTES, _NOTE_CHARS = 20, 200


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
        notebooks: NotebookStore,
        store: SessionStore | None,
        make_room: Callable[["Session"], Coroutine[Any, Any, None]],
        on_close: Callable[["Session"], None],
    ) -> None:
        """Use ``Interpreter.session``."""
        self.user_id = user_id
        self._settings = settings
        self._host = host
        self._files = files
        self._packages = packages
        self._belongings = belongings
        self._on_close = on_close
        self._tasks = Tasks()
        self._record = SessionRecord(user_id, store=store, host=host)
        self._saved = SavedState(
            user_id,
            store=snapshots,
            host=host,
            metrics=metrics,
            most_bytes=settings.snapshot_bytes,
        )
        self._descriptions = Descriptions(
            live_kernel=lambda: self._life.live_kernel(), tasks=self._tasks
        )
        self._shown = ShownFiles(
            user_id,
            host=host,
            belongings=belongings,
            packages=packages,
            tasks=self._tasks,
            on_upload=self._uploaded,
            on_removal=self._descriptions.forget,
        )
        self._life = KernelLife(
            user_id,
            settings=settings,
            host=host,
            intake=intake,
            metrics=metrics,
            pool=pool,
            limits=limits,
            saved=self._saved,
            record=self._record,
            files=self._shown,
            make_room=lambda: make_room(self),
        )
        self._cells = Cells(
            user_id,
            settings=settings,
            host=host,
            files=files,
            packages=packages,
            metrics=metrics,
            life=self._life,
            record=self._record,
            notebook=KeptNotebook(user_id, store=notebooks, tasks=self._tasks),
            tasks=self._tasks,
        )
        self._drawing = Drawing(
            user_id,
            live_kernel=self._life.live_kernel,
            install=lambda wanted: self._change_packages("install", wanted),
        )
        self._history = ResourceHistory()
        self._was_busy = False
        self._holds = 0

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
            on_output: gets each output as it comes, in order. If it is slower than the cell, it
                misses what comes while 2,000 wait, and what it hasn't taken 10 s after the cell's
                end, until when the result waits for it; so it must not wait for another cell of
                the session. The result has all.
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
        limit_s = self._deadline_s(timeout_s)
        sent = Cell(code, limit_s, on_output, on_input, telling(on_phase), noted)
        return await self._cells.run(sent)

    def keep_result(self) -> bool:
        """Have a later service give the result of the cell that runs now, as recovered.

        For a front end that ends and waits no longer: the cell may end before the service does.

        Returns:
            Whether a cell runs.
        """
        return self._record.keep_last()

    def _deadline_s(self, wanted_s: float | None) -> float:
        """The deadline of a cell, by what is asked for, the setting, and the user's own limit."""
        own_s = self._life.limits.cell_timeout_s
        if wanted_s is None:
            return self._settings.cell_timeout_s if own_s is None else own_s
        return wanted_s if own_s is None else min(wanted_s, own_s)

    async def interrupt(self) -> bool:
        """Interrupt the running cell, as Ctrl-C does; the variables stay.

        One that has run and waits for the database, to hand out its files, waits no longer. Nor
        does one that waits for its kernel, or for what is restored there: that goes on meanwhile.

        Returns:
            Whether a cell was running.
        """
        return await self._cells.interrupt()

    async def restart(self) -> None:
        """Replace the kernel by a clean one; files stay, variables go. A running cell is ended.

        Raises:
            SessionClosed: the session was closed.
            KernelStartFailed, SandboxUnavailable: no kernel could be started.
        """
        await asyncio.shield(self._tasks.spawn(self._life.restart()))  # half of it helps nobody

    async def close(self) -> None:
        """End the kernel and remove the working directory. Stored files stay."""
        if not self._life.closed:  # before there can be another session of the user's
            await self._cells.notebook.delete()
        if await self._life.close():
            self._on_close(self)

    async def discard(self) -> None:
        """Close it, hand out nothing more of what cells made, and wait until all work has ended."""
        self._cells.discarded = True
        await self.close()
        await self._tasks.all_done()

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
            return await self._packages.change(self.user_id, request, slot=self._life.slot)
        finally:
            self._belongings.forget(self.user_id)

    async def variables(self) -> tuple[Variable, ...]:
        """The user's variables, by name; also while a cell runs. Empty without a kernel."""
        kernel = self._life.kernel
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
        return await self._descriptions.of(stored)

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
        return await self._drawing.draw(content, mime)

    async def complete(self, code: str, cursor: int) -> Completion:
        """What could stand at a position in a piece of code. Empty without a kernel.

        Args:
            code: the code so far.
            cursor: the position in it, in characters.
        """
        kernel = self._life.kernel
        reply: Mapping[str, Any] = {}
        if kernel is not None:
            with suppress(TimeoutError, HostError):
                reply = await kernel.complete(code, cursor)
        return Completion.from_reply(reply, cursor)

    async def export_notebook(self) -> NotebookNode:
        """The session so far as a Jupyter notebook, with outputs, whatever was restarted since."""
        return await self._cells.notebook.build()

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
        self._cells.take_over(state)
        self._life.take_over(state, kernel, gone)
        self._record.take_over(replace(state, state_gone=self._life.state_gone))

    def restore_first(self) -> None:
        """Restore what was saved before the next cell, as in a new kernel: its kernel is as new."""
        self._life.restore_first()

    def recover(self, running: RunningCell, delivery: Delivery) -> "asyncio.Task[Execution]":
        """See a cell to its end that an earlier service has sent; it comes before all others.

        Args:
            running: the cell.
            delivery: gets its outputs.
        """
        return self._cells.recover(running, delivery)

    def hear_later(self, find: Callable[[Replay], RunningCell | None], *, timeout_s: float) -> None:
        """Have cells wait until its kernel has said what it did; one that never does is ended.

        Args:
            find: tells which cell it runs, if any.
            timeout_s: how long it may take, in seconds: code may well hold Python's lock, or the
                machine may have much to do.
        """
        self._cells.hear_later(find, timeout_s=timeout_s)

    async def acknowledge(self, cell_id: str) -> None:
        """Forget a cell that was recovered.

        Raises:
            DatabaseUnavailable: that can't be written now.
        """
        await self._record.acknowledged(cell_id)

    async def leave(self) -> None:
        """Let go of the kernel, and of a cell that it runs, for a later service to go on with."""
        await self._cells.leave()
        self._record.close()
        await self._tasks.cancel()
        if self._life.kernel is not None:
            self._life.kernel.disconnect()

    # -- for the service -------------------------------------------------------------------------

    def set_limits(self, limits: SessionLimits) -> None:
        """Have other limits hold, from the next cell and the next start of its kernel on."""
        self._life.limits = limits

    def sample(self, *, also_idle: bool) -> None:
        """Take note of what its kernel uses.

        Args:
            also_idle: whether to look at a kernel that has had nothing to do since the last look.
        """
        kernel, busy = self._life.kernel, self.busy
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
        return self._cells.activity.last.at

    @property
    def idle_s(self) -> float:
        """How long ago that is, in seconds, whatever happens to the clock."""
        return self._cells.activity.idle_s

    @property
    def closed(self) -> bool:
        """Whether it was closed; the service then makes a new one."""
        return self._life.closed

    @property
    def live(self) -> bool:
        """Whether it has a kernel."""
        return self._life.live

    @property
    def busy(self) -> bool:
        """Whether a cell runs or waits."""
        return self._cells.pending > 0

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

    async def restored(self) -> HostedKernel | None:
        """Its live kernel, in which what was saved is restored; None without one.

        A caller who waits no longer doesn't end that.

        Raises:
            DatabaseUnavailable, HostError: it can't be restored now.
            NoCapacity, KernelStartFailed, SandboxUnavailable: restoring has ended the kernel, and
                no other one could be started.
        """
        restoring = self._tasks.spawn(self._life.restored_kernel())
        restoring.add_done_callback(lambda task: task.cancelled() or task.exception())
        kernel = await asyncio.shield(restoring)
        return None if kernel is None else kernel.hosted

    @property
    def slot(self) -> str | None:
        """Its sandbox directory; None before its first kernel."""
        return self._life.slot

    @property
    def hosted(self) -> HostedKernel | None:
        """Its live kernel as its host names it; None without one."""
        kernel = self._life.kernel
        return None if kernel is None or kernel.exit.done() else kernel.hosted

    def info(self, *, sampled: bool = False) -> KernelInfo | None:
        """What operators see of its kernel; None without one.

        Args:
            sampled: take what it used at the last look (see :meth:`sample`) instead of looking
                again, which takes milliseconds where there are no control groups.
        """
        kernel = self._life.kernel
        if kernel is None or kernel.exit.done():
            return None
        kernel_id = kernel.hosted.kernel_id
        is_collecting = self.busy and not self._cells.preparing
        used, cpu_percent = self._used(kernel_id, sampled=sampled) or (None, None)
        return KernelInfo(
            user_id=self.user_id,
            kernel_id=kernel_id,
            pid=kernel.hosted.pid,
            state="busy" if kernel.busy else "idle",
            started_at=kernel.hosted.started_at,
            last_active_at=self.last_active_at,
            cells=self._life.cells,
            memory_bytes=used.memory_bytes if used else None,
            cpu_s=used.cpu_s if used else None,
            cell_running_s=kernel.cell_running_s,
            cpu_percent=cpu_percent,
            last_error=self._cells.last_error,
            waiting_cells=max(0, self._cells.pending - 1),
            phase=kernel.phase or ("collecting" if is_collecting else None),
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
        cells = self._life.cells
        await self.save_state(time_s=save_s)

        def is_wanted() -> bool:
            return self.busy or self._life.cells != cells or (self.held and not held_too)

        return await self._life.cull(reason, unless=is_wanted)

    async def save_state(self, *, time_s: float = SAVE_S) -> bool:
        """Save the variables for a kernel to come, if no cell runs; cells may come meanwhile.

        Args:
            time_s: how long it may take, in seconds.

        Returns:
            Whether they are saved as they are now.
        """
        if self.busy:
            return False
        if self.held:
            self._saved.outdate()
        return await self._life.save(time_s=time_s, is_busy=lambda: self.busy)

    async def has_saved(self) -> bool:
        """Whether a new kernel would get variables that were saved."""
        return await self._saved.is_there()

    @property
    def save_took_s(self) -> float:
        """How long it took the last time to save the variables, in seconds; 0 for never yet."""
        return self._saved.took_s

    def is_save_due(self, interval_s: float) -> bool:
        """Whether cells have run since its variables were saved, and that was so long ago."""
        if self.held:
            self._saved.outdate()
        due = self._saved.is_due(self._life.cells) and self._saved.age_s >= interval_s
        return due and self.live and not self.busy

    def file_changed(self, event: FileEvent, *, is_new: bool = True) -> None:
        """Have the kernel's /files follow the stored files, and new uploads be looked into."""
        if self._life.slot is not None and not self.closed:
            self._shown.changed(self._life.slot, event, is_new=is_new)

    def _uploaded(self, file: StoredFile) -> None:
        if self.live:
            self._descriptions.begin(file)


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
    if not 0 < timeout_s <= sys.float_info.max:
        shown = "too large a number" if timeout_s > 0 else repr(timeout_s)
        raise ValueError(f"timeout_s is {shown}, but it must be greater than 0 and finite.")
