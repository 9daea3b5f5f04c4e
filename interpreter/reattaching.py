"""Reattaching: a service goes on with the sessions and kernels of the one before it."""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from interpreter import endings
from interpreter.delivery import Delivery, Follower
from interpreter.execution import Clock, Execution, OnOutput
from interpreter.files import check_user_id
from interpreter.hosts.base import KernelHost
from interpreter.kernel import Kernel, order_of
from interpreter.logs import get_logger
from interpreter.metrics import Metrics
from interpreter.replay import Replay
from interpreter.session_store import RunningCell, SessionState, SessionStore
from interpreter.sessions import Session
from interpreter.snapshots import SAVE_S, room_for_saving
from interpreter.zmtp import Intake

log = get_logger(__name__)

#: How long the start waits for what kernels have done; those that are slow are heard later.
_RECALL_S = 2.0
#: How many are gone through at a time.
_AT_ONCE = 64
#: Of one session: results that are lost and that nobody has acknowledged.
_MOST_LOST = 8


@dataclass(frozen=True, slots=True, eq=False)
class Recovered:
    """A cell that was running when an earlier service ended.

    Attributes:
        user_id: whose it is.
        cell_id: names it.
        note: what its sender kept with it; empty for a cell that nobody had time to write down.
        code: the cell; of a very long one, the first 256 Ki characters.
        started_at: when it was sent; UTC.
        result: what becomes of it.
    """

    user_id: str
    cell_id: str
    note: Mapping[str, str]
    code: str
    started_at: datetime
    result: "asyncio.Task[Execution]"
    _delivery: Delivery = field(default_factory=Delivery, repr=False)

    async def follow(self, on_output: OnOutput) -> Execution:
        """Have its outputs as they come, as from ``Session.execute``, until it is over.

        What it has put out so far comes first, also what the earlier service has handed on. Any
        number may follow, from whenever on; to be cancelled ends the following, not the cell.

        Args:
            on_output: takes them, in order. If it raises, it gets no more of them.

        Returns:
            What became of the cell; nothing more comes after that.

        Raises:
            InterpreterError: there is no result.
            CancelledError: also if this service leaves the cell running: so is ``result``.
        """
        follower = None if self.result.done() else self._delivery.follow(on_output)
        try:
            result = await asyncio.shield(self.result)
            if follower is None:
                follower = Follower(on_output)
                for output in result.outputs:
                    follower.put(output)
            await follower.finish()
        finally:
            if follower is not None:
                follower.leave()
        return result


@dataclass(slots=True)
class Reattached:
    """What came of it all.

    Attributes:
        sessions: all that go on, with a kernel or without.
        kernels: how many live kernels they have.
        recovered: the cells that were running.
    """

    sessions: list[Session] = field(default_factory=list)
    kernels: int = 0
    recovered: list[Recovered] = field(default_factory=list)


class Reattaching:
    """Goes through what an earlier service has left, once, before anything else is done."""

    def __init__(
        self,
        *,
        store: SessionStore,
        host: KernelHost,
        intake: Intake,
        metrics: Metrics,
        make_session: Callable[[str], Session],
        cell_timeout_s: float,
        snapshot_bytes: int,
    ) -> None:
        """Get ready.

        Args:
            store: knows the sessions.
            host: where their kernels may still run.
            intake: shared by all kernels of the service.
            metrics: the service's.
            make_session: makes a session for a user.
            cell_timeout_s: how long a cell may run from now on of which nobody knows more.
            snapshot_bytes: how much a kernel may be saving; 0 for nothing at all.
        """
        self._store = store
        self._host = host
        self._intake = intake
        self._metrics = metrics
        self._make_session = make_session
        self._cell_timeout_s = cell_timeout_s
        self._saving_bytes = room_for_saving(snapshot_bytes) if snapshot_bytes else 0
        self._done = Reattached()

    async def run(self) -> Reattached:
        """Do it; kernels that belong to no session are ended.

        Raises:
            DatabaseUnavailable: nobody knows which sessions there were.
        """
        began = time.monotonic()
        places = asyncio.Semaphore(_AT_ONCE)
        states = await self._store.load()
        await asyncio.gather(*(self._take_in(state, places) for state in states))
        slots = {session.slot for session in self._done.sessions}
        await self._host.settle([slot for slot in slots if slot is not None])
        if states:
            log.info(
                "sessions reattached",
                sessions=len(self._done.sessions),
                kernels=self._done.kernels,
                cells=len(self._done.recovered),
                duration_s=round(time.monotonic() - began, 3),
            )
        return self._done

    async def _take_in(self, state: SessionState, places: asyncio.Semaphore) -> None:
        kernel: Kernel | None = None
        try:
            check_user_id(state.user_id)
            async with places:
                kernel = await self._attach(state)
            await self._go_on(state, kernel)
        except Exception:  # one of them must not keep the others from going on
            log.exception("a session could not be reattached", user_id=state.user_id)
            if kernel is not None:
                await kernel.kill()

    async def _attach(self, state: SessionState) -> Kernel | None:
        """The session's kernel, if it can be found; it may have ended."""
        if state.kernel is None or state.identity is None:
            return None
        if state.kernel.get("slot") != state.slot:
            return None  # not adopted, it is ended with all that belong to no session
        hosted = await self._host.adopt(state.kernel)
        if hosted is None:
            return None
        if self._saving_bytes:  # it may just be saving, for the service before
            over = self._host.allow(hosted.kernel_id, self._saving_bytes, for_s=SAVE_S)
            if not await self._host.has_snapshot(hosted.slot):
                over()
        last = max((order_of(cell.message_id) for cell in state.running), default=0)
        try:
            return Kernel.attach(
                self._host, hosted, self._intake, identity=state.identity, after=last
            )
        except BaseException:
            await self._host.kill(hosted.kernel_id)
            raise

    async def _go_on(self, state: SessionState, kernel: Kernel | None) -> None:
        replay = None if kernel is None else await kernel.recall(timeout_s=_RECALL_S)
        had_kernel = state.kernel is not None
        lost, running = sort_cells(
            state.running,
            replay,
            identity=state.identity,
            timeout_s=self._cell_timeout_s,
            collected_ns=state.collected_ns,
        )
        kept = [*lost, *filter(None, [running])]
        gone = None
        if kernel is None:
            lost, running = kept, None
            gone = endings.ENDED_MEANWHILE if had_kernel else None
        is_slow = kernel is not None and kernel.usable and replay is None and running is None
        if kernel is not None and running is None and not is_slow:
            kernel.hear()
        session = self._make_session(state.user_id)
        self._done.sessions.append(session)
        if kernel is None:
            there = state.slot is not None and await self._host.has_slot(state.slot)
            slot = state.slot if there else None  # all was stopped, or the disk is another
            had_files = bool(kept) or (state.cells > 0 and state.has_files)
            if state.slot is not None and slot is None and had_files:
                state = replace(state, files_gone=endings.DIRECTORY_GONE)
            state = replace(state, kernel=None, identity=None, slot=slot)
        session.take_over(replace(state, running=tuple(kept)), kernel, gone)
        if replay is not None and replay.fresh and running is None:
            session.restore_first()  # the earlier service had not come to that
        if is_slow:
            session.hear_later(partial(self._found_later, state), timeout_s=self._cell_timeout_s)
        has_saved = gone is not None and await session.has_saved()
        has_files = state.slot is not None and state.files_gone is None
        for cell in lost:
            result = endings.lost_result(cell.code, gone, has_saved=has_saved, has_files=has_files)
            self._recovered(state.user_id, cell, asyncio.create_task(_at_once(result)), Delivery())
        if running is not None:
            delivery = Delivery()
            recovering = session.recover(running, delivery)
            self._recovered(state.user_id, running, recovering, delivery)
        if kernel is not None and kernel.usable:
            self._done.kernels += 1
            self._metrics.reattached()
        elif had_kernel:
            self._metrics.lost()
            log.info("a session's kernel is gone", user_id=state.user_id)

    def _found_later(self, state: SessionState, replay: Replay) -> RunningCell | None:
        """What a kernel runs that has been slow to say so."""
        return sort_cells(
            (),
            replay,
            identity=state.identity,
            timeout_s=self._cell_timeout_s,
            collected_ns=state.collected_ns,
        )[1]

    def _recovered(
        self,
        user_id: str,
        cell: RunningCell,
        result: "asyncio.Task[Execution]",
        delivery: Delivery,
    ) -> None:
        # It may fail with nobody there to be told.
        result.add_done_callback(lambda task: task.cancelled() or task.exception())
        known = (user_id, cell.cell_id, cell.note, cell.code, cell.started_at)
        self._done.recovered.append(Recovered(*known, result, delivery))


def sort_cells(
    cells: Sequence[RunningCell],
    replay: Replay | None,
    *,
    identity: str | None,
    timeout_s: float,
    collected_ns: int = 0,
) -> tuple[list[RunningCell], RunningCell | None]:
    """What has become of cells that were running, by what their kernel says.

    What is written down may be older than what the kernel knows: by a moment, or by as long as the
    database was away.

    Args:
        cells: as they were written down, in order.
        replay: of the kernel; None if it says nothing.
        identity: of the connection to the kernel: what was sent over it begins with that.
        timeout_s: the deadline of a cell that nobody knows anything of.
        collected_ns: when the working directory was last scanned before such a cell, as far as it
            is written down, by the host's clock.

    Returns:
        The cells whose results are wanted and lost, and the one that runs or whose result is there.
    """
    own = [cell for cell in cells if cell.message_id.startswith(f"{identity}_")]
    last = own[-1] if own else None
    going = last
    if replay is not None:
        going = next((cell for cell in own if cell.message_id == replay.cell), None)
        if going is None and last and order_of(last.message_id) > order_of(replay.cell):
            going = last  # the kernel has yet to begin with it
        if going is None and replay.runs:
            going = _unknown_cell(replay, timeout_s, collected_ns)
    # Others were handed on before a next one was sent, but for those that were wanted even then.
    lost = [cell for cell in cells if cell.wanted and cell is not going]
    return lost[-_MOST_LOST:], None if going is None else replace(going, wanted=True)


def _unknown_cell(replay: Replay, timeout_s: float, collected_ns: int) -> RunningCell:
    """A cell whose service was killed before it was written down.

    Its kernel says what its deadline is and when it was sent; but code in that could say anything,
    so it has the usual time at most. While it waits for an answer, its clock stands.
    """
    now = time.monotonic()
    limit_s = min(timeout_s, timeout_s if replay.timeout_s is None else replay.timeout_s)
    sent_at = now if replay.sent_at is None else min(max(replay.sent_at, now - limit_s), now)
    return RunningCell(
        cell_id=secrets.token_hex(8),
        message_id=replay.cell,
        code=replay.code() or "",
        timeout_s=limit_s,
        started_at=datetime.now(UTC) - timedelta(seconds=now - sent_at),
        clock=Clock(0.0, sent_at) if replay.question is None else Clock(),
        before_ns=collected_ns,
    )


async def _at_once(result: Execution) -> Execution:
    return result
