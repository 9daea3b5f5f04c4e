"""KernelLife: one session's kernels, one after another, in the directory that stays."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

from interpreter import endings
from interpreter.errors import HostError, NoCapacity, SessionClosed
from interpreter.execution import OnPhase, Phase, telling
from interpreter.hosts.base import KernelHost
from interpreter.kernel import Kernel
from interpreter.limits import Limits, SessionLimits
from interpreter.logs import get_logger
from interpreter.metrics import How, Metrics
from interpreter.patience import Patience
from interpreter.pool import WarmPool
from interpreter.session_record import SessionRecord
from interpreter.session_store import SessionState
from interpreter.settings import Settings
from interpreter.shown_files import ShownFiles
from interpreter.snapshots import Restoration, SavedState, Told
from interpreter.zmtp import Intake

log = get_logger(__name__)

_NOBODY = telling(None)


class KernelLife:
    """Starts a session's kernel, restores what was saved, replaces it when it has ended.

    Attributes:
        kernel: the kernel there is, which may have ended; None without one.
        slot: the sandbox directory; None before the first kernel.
        starting: whether one is being forked now.
        closed: whether there are to be no further ones.
        cells: how many cells they have run.
        restarts: how often the user has asked for a clean one.
        limits: the user's own, for the next one.
        state_gone: what the user is to be told with the next cell, of how the last kernel ended.
        files_gone: what the user is to be told with the next cell, of files that are gone.
        libraries_replaced: whether a cell may have put its own in place of what kernels come with.
        patience: with a database that is away, before a cell begins and after it.
        saved: what is saved of the variables.
    """

    def __init__(
        self,
        user_id: str,
        *,
        settings: Settings,
        host: KernelHost,
        intake: Intake,
        metrics: Metrics,
        pool: WarmPool,
        limits: SessionLimits,
        saved: SavedState,
        record: SessionRecord,
        files: ShownFiles,
        make_room: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """Begin without a kernel.

        Args:
            user_id: whose session it is.
            settings: the service's.
            host: where kernels run.
            intake: shared by all kernels of the service.
            metrics: the service's.
            pool: the spare kernels.
            limits: the user's own.
            saved: what is saved of the variables.
            record: what a later service is to know of the session.
            files: shows the user's files to a new kernel.
            make_room: sees to it that a further kernel may be started.
        """
        self.kernel: Kernel | None = None
        self.slot: str | None = None
        self.starting = False
        self.closed = False
        self.cells = 0
        self.restarts = 0
        self.limits = limits
        self.state_gone: str | None = None
        self.files_gone: str | None = None
        self.libraries_replaced = False
        self.patience = Patience(0)
        self.saved = saved
        self._user_id = user_id
        self._settings = settings
        self._host = host
        self._intake = intake
        self._metrics = metrics
        self._pool = pool
        self._record = record
        self._files = files
        self._make_room = make_room
        self._memory_bytes: int | None = None
        self._restoration: Restoration | None = None
        self._unrestored = False
        self._told_of: Kernel | None = None
        self._taken: tuple[str | None, Restoration | None] = (None, None)
        self._lock = asyncio.Lock()

    @property
    def live(self) -> bool:
        """Whether there is a live kernel, or there soon will be."""
        return self.starting or (self.kernel is not None and not self.kernel.exit.done())

    def kernel_limits(self) -> Limits:
        """The limits of the kernel that was started last."""
        limits = Limits.of(self._settings)
        if self._memory_bytes is not None:
            limits = replace(limits, memory_bytes=self._memory_bytes)
        return limits

    def take_over(self, state: SessionState, kernel: Kernel | None, gone: str | None) -> None:
        """See ``Session.take_over``."""
        self.kernel, self.slot = kernel, state.slot
        self.cells, self._memory_bytes = state.cells, state.memory_bytes
        self.state_gone, self.files_gone = gone or state.state_gone, state.files_gone
        self._files.expect(shown_before=True)

    def restore_first(self) -> None:
        """Restore what was saved before the next cell, as in a new kernel: this one is as new."""
        self._unrestored = True

    # -- for a cell ------------------------------------------------------------------------------

    def take_told(self) -> Told:
        """What is to be told of an earlier kernel, with the cell that now begins; only once."""
        told = Told.of(self.state_gone, self._restoration, self.files_gone)
        self._taken = (self.state_gone, self._restoration)
        self.state_gone = self.files_gone = self._restoration = None
        return told

    def tell_again(self) -> None:
        """Tell once more, with the next cell, what the last one took: of variables."""
        self.state_gone, self._restoration = self._taken

    def already_told(self, sentence: str) -> None:
        """Not tell again what a cell tells that an earlier service has sent."""
        self.state_gone = None  # of that kernel it tells
        if self.files_gone is not None and self.files_gone in sentence:
            self.files_gone = None

    def told_of(self, dead: Kernel) -> None:
        """Say nothing more of how a kernel has ended: its cell's result does."""
        self._told_of = dead

    def lose_files(self, sentence: str | None) -> None:
        """Have the user told with the next cell of files that are gone; None if none are."""
        self.files_gone = endings.with_more_files_gone(self.files_gone, sentence)
        if sentence is not None:
            self._record.note(within_s=0.0, files_gone=self.files_gone)

    async def live_kernel(self, tell: OnPhase = _NOBODY) -> Kernel:
        """The live kernel, or a new one with what was saved of the last."""
        async with self._lock:
            if self.closed:
                raise SessionClosed(self._user_id)
            kernel = self.kernel
            if kernel is not None and kernel.exit.done():
                how, limits = kernel.exit.result(), self.kernel_limits()
                self._gone(endings.sentence_about_death(how, limits=limits))
                self.lose_files(endings.sentence_about_lost_files(how, limits=limits))
                await self._end(is_told=True)
                kernel = None
            if kernel is None:
                tell(Phase("starting"))
                kernel = await self._start()
            await self._files.show(kernel.hosted.slot, self.patience)
            if self._unrestored:
                kernel = await self._restore(kernel)
        await self._files.followed()
        return kernel

    async def kernel_for_cell(self, tell: OnPhase, is_wanted: Callable[[], bool]) -> Kernel:
        """The same for a cell, which changes what was saved: that is written down before.

        Args:
            tell: gets phases.
            is_wanted: whether the cell is still to begin.
        """
        kernel = await self.live_kernel(tell)
        if self.saved.needs_mark and is_wanted():
            await self.saved.mark()
        return kernel

    async def restored_kernel(self) -> Kernel | None:
        """The live kernel with what was saved of the last; None without one: none is started."""
        async with self._lock:
            kernel = self.kernel
            if self.closed or kernel is None or kernel.exit.done():
                return None
            if self._unrestored:
                await self._files.show(kernel.hosted.slot, self.patience)
                kernel = await self._restore(kernel)
            return kernel

    async def replace(self, dead: Kernel) -> None:
        """Have a new kernel ready for the next cell."""
        async with self._lock:
            if self.kernel is dead and not self.closed:
                await self._end()
                with suppress(HostError, NoCapacity):  # the next cell will try again, and say so
                    await self._restore(await self._start())

    # -- ends that are wanted --------------------------------------------------------------------

    async def restart(self) -> None:
        """Put a clean kernel in the place of the last one."""
        async with self._lock:
            if self.closed:
                raise SessionClosed(self._user_id)
            self.restarts += 1
            await self._end()
            await self.saved.drop()
            self.state_gone = self._restoration = None
            self._taken = (None, None)
            self._record.note(state_gone=None)
            await self._start()
            self._unrestored = False

    async def close(self) -> bool:
        """End the kernel and remove the directory, for good. Returns False if that was done."""
        self.patience.end()
        async with self._lock:
            if self.closed:
                return False
            self.closed = True
            await self._end()
            await self.saved.drop()
            self._record.drop()
            self._files.cancel()
            if self.slot is not None:
                await self._host.close_slot(self.slot)
                self.slot = None
            return True

    async def cull(self, reason: str, *, unless: Callable[[], bool]) -> bool:
        """End the kernel; the directory stays.

        Args:
            reason: the sentence that the user reads with the next cell.
            unless: whether it is needed after all.

        Returns:
            Whether a kernel was ended.
        """
        async with self._lock:
            if unless() or self.kernel is None:
                return False
            await self._end()
            self._gone(reason if self.cells else None)
            return True

    async def end_deaf(self, kernel: Kernel) -> None:
        """End a kernel that does not answer."""
        async with self._lock:
            if self.kernel is kernel and kernel.usable:
                log.warning("a kernel does not answer", kernel_id=kernel.hosted.kernel_id)
                await self._end()
                self._gone(endings.DEAF)

    async def save(self, *, time_s: float, is_busy: Callable[[], bool]) -> bool:
        """Save the variables for a kernel to come. No cell may run; one may come meanwhile.

        Args:
            time_s: how long it may take, in seconds.
            is_busy: whether a cell has come, though it may not have begun.

        Returns:
            Whether they are saved as they are now.
        """
        kernel, cells = self.kernel, self.cells
        if kernel is None or not kernel.usable or self._unrestored:
            return False
        limits = self.kernel_limits()
        saved = await self.saved.save(
            kernel,
            cells=cells,
            limits=limits,
            time_s=time_s,
            is_outdated=lambda: self.cells != cells or is_busy(),
        )
        return saved and self.cells == cells

    # -- steps; they need the lock ---------------------------------------------------------------

    def _gone(self, how: str | None) -> None:
        self.state_gone = how
        self._record.note(within_s=0.0, state_gone=how)

    async def _restore(self, kernel: Kernel) -> Kernel:
        """Give a new kernel what was saved of the last one; a clean one instead, if that fails."""
        began = time.monotonic()
        restoration = await self.saved.restore(kernel, cells=self.cells)
        if restoration is not None and restoration.is_kept:  # once more: it may have passed
            await self._end(is_told=True)
            kernel = await self._start()
            restoration = await self.saved.restore(kernel, cells=self.cells)
        self._unrestored = False
        if restoration is None:
            return kernel
        self._restoration = restoration
        self._metrics.kernel_started(time.monotonic() - began, "restored")
        if restoration.failed is not None:
            await self._end(is_told=True)
            kernel = await self._start()
            self._unrestored = False
        return kernel

    async def _start(self) -> Kernel:
        began = time.monotonic()
        memory_bytes = self.limits.memory_bytes
        kernel = self._pool.claim(memory_bytes) if self.slot is None else None
        how: How = "claimed"
        if kernel is not None:
            self._metrics.claimed(time.monotonic() - began)
        else:
            how = "forked"
            with self._pool.forking():
                kernel = await self._fork(memory_bytes)
        self.kernel, self._memory_bytes = kernel, memory_bytes
        self._unrestored = True
        self._record.kernel_started(kernel, memory_bytes)
        self._metrics.kernel_started(time.monotonic() - began, how)
        if self.slot is None:
            self.slot = kernel.hosted.slot
            self._files.expect(shown_before=False)
        log.info("kernel started", user_id=self._user_id, kernel_id=kernel.hosted.kernel_id)
        return kernel

    async def _fork(self, memory_bytes: int | None) -> Kernel:
        await self._make_room()
        self.starting = True
        try:
            return await Kernel.start(
                self._host, self.slot, self._intake, memory_bytes=memory_bytes
            )
        finally:
            self.starting = False

    async def _end(self, *, is_told: bool = False) -> None:
        """End the kernel.

        Args:
            is_told: whether the user is told how it has ended, if it has.
        """
        kernel, self.kernel = self.kernel, None
        told_of, self._told_of = self._told_of, None
        self.libraries_replaced = False
        if kernel is not None:
            is_told = (is_told and kernel.exit.done()) or kernel is told_of
            how = await kernel.kill()
            if not is_told:
                limits = self.kernel_limits()
                self.lose_files(endings.sentence_about_left_files(how, limits=limits))
            self._record.kernel_ended()
            self._pool.look_again()
