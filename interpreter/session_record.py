"""SessionRecord: one session's part of what a later service needs to go on with it."""

import time
from dataclasses import replace
from typing import Any

from interpreter.activity import Moment
from interpreter.hosts.base import KernelHost
from interpreter.kernel import Kernel, SentCell
from interpreter.session_store import LATER_S, RunningCell, SessionState, SessionStore

#: How old may be what the host has said of the kernel: asking takes a tenth of a small cell's time.
_FRESH_S = 1.0


class SessionRecord:
    """Has the store write down whatever of a session changes. Nothing here waits for that."""

    def __init__(self, user_id: str, *, store: SessionStore | None, host: KernelHost) -> None:
        """Begin with a new session.

        Args:
            user_id: whose it is.
            store: where it is written; None if no later service is to go on with it.
            host: where its kernels run.
        """
        self.state = SessionState(user_id=user_id)
        self._store = store
        self._host = host
        self._running: str | None = None
        self._found_files = False
        self._fresh_at = 0.0
        self._closed = False

    def take_over(self, state: SessionState) -> None:
        """Go on with what an earlier service has left."""
        self.state = state
        self._put(LATER_S)

    def kernel_started(self, kernel: Kernel, memory_bytes: int | None) -> None:
        """Note a new kernel."""
        self.state = replace(
            self.state,
            slot=kernel.hosted.slot,
            kernel=self._host.provisioner_info(kernel.hosted.kernel_id),
            identity=kernel.identity,
            memory_bytes=memory_bytes,
        )
        self._put(0.0)

    def kernel_ended(self) -> None:
        """Note that there is no kernel any more."""
        self._change(0.0, kernel=None, identity=None)

    def note(self, *, within_s: float = LATER_S, **changes: Any) -> None:
        """Note other fields of the state, if they have changed."""
        if any(getattr(self.state, name) != value for name, value in changes.items()):
            self._change(within_s, last_active=Moment.now(), **changes)

    # -- cells -------------------------------------------------------------------------------------

    def begin(self, cell: RunningCell) -> None:
        """Note a cell that is about to be sent."""
        running = (*self.state.running, replace(cell, before_ns=self.state.collected_ns))
        # Written with its clock's start.
        self.state = replace(self._fresh(), running=running, last_active=Moment.now())
        self._running = cell.cell_id

    def clock(self, cell_id: str, sent: SentCell) -> None:
        """Note how far a cell's clock has come, and whether it runs."""
        cell = self.cell(cell_id)
        if cell is None:
            return
        self._replace(replace(cell, message_id=sent.message_id, clock=sent.clock))
        if self._store is not None and not self._closed:
            if cell.message_id:
                self._store.put(self.state)
            else:
                self._store.put_begun(self.state)

    def keep_last(self) -> bool:
        """Have a later service give the result of the running cell also if it ends before.

        Returns:
            Whether a cell runs.
        """
        running = self.state.running
        if not running or running[-1].cell_id != self._running:
            return False
        self._replace(replace(running[-1], wanted=True))
        self._put(0.0)
        return True

    def collected(self, taken_ns: int, *, found: bool, has_files: bool) -> None:
        """Note that all files were handed out that were there at a time; with the cell's end.

        Args:
            taken_ns: that time, by the host's clock.
            found: whether any were handed out: they are not to be handed out again.
            has_files: whether there are any at all.
        """
        self.state = replace(self.state, collected_ns=taken_ns, has_files=has_files)
        self._found_files = found

    def over(self, cell_id: str, **changes: Any) -> None:
        """Note the end of a cell. A later service knows nothing of it, unless it is wanted."""
        running = tuple(c for c in self.state.running if c.cell_id != cell_id or c.wanted)
        before, self.state = self.state, replace(self.state, running=running, **changes)
        self._running = None
        is_told = (before.state_gone, before.files_gone) != (
            self.state.state_gone,
            self.state.files_gone,
        )
        if self._found_files or is_told:  # neither is to be handed on again
            self._put(0.0)
        elif self._store is not None and not self._closed:
            self._store.put_over(self.state)
        self._found_files = False

    async def acknowledged(self, cell_id: str) -> None:
        """Forget a cell whose result is safe, before anything else.

        Raises:
            DatabaseUnavailable: that can't be written now; it is written later.
        """
        running = tuple(cell for cell in self.state.running if cell.cell_id != cell_id)
        self._change(0.0, running=running)
        if self._store is not None:
            await self._store.written(self.state.user_id)

    def cell(self, cell_id: str) -> RunningCell | None:
        """A cell that runs, or is wanted."""
        return next((cell for cell in self.state.running if cell.cell_id == cell_id), None)

    # -- the end -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave it as it is: a later service goes on from here."""
        self._closed = True

    def drop(self) -> None:
        """Have it forgotten: the session has ended."""
        self._closed = True
        if self._store is not None:
            self._store.drop(self.state.user_id)

    def is_wanted(self, cell_id: str) -> bool:
        """Whether a later service is to give a cell's result, although it has ended."""
        cell = self.cell(cell_id)
        return cell is not None and cell.wanted

    def _fresh(self) -> SessionState:
        """The state with what its host says of the kernel now: since when its files fit, too.

        Else a later service would remove all that was written since the kernel's start, if it finds
        that a cell has written too much.
        """
        kernel, now = self.state.kernel, time.monotonic()
        if kernel is None or now - self._fresh_at < _FRESH_S:
            return self.state
        self._fresh_at = now
        info = self._host.provisioner_info(str(kernel.get("kernel_id")))
        return self.state if info is None else replace(self.state, kernel=info)

    def _replace(self, cell: RunningCell) -> None:
        running = tuple(cell if c.cell_id == cell.cell_id else c for c in self.state.running)
        self.state = replace(self.state, running=running)

    def _change(self, within_s: float, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        self._put(within_s)

    def _put(self, within_s: float) -> None:
        if self._store is not None and not self._closed:
            self._store.put(self.state, within_s=within_s)
