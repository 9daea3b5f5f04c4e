"""Snapshots: what a session's variables were, kept for the kernel that comes next.

A kernel saves them into a file (``kernel_startup/snapshot.py``), which the host copies out of its
reach (``snapshot_store.py``); it is shown to that user's next kernel, read-only, and loaded there:
nothing here ever looks into it. What a kernel says of a snapshot is hostile like all it says.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from interpreter.endings import FILES_STAY
from interpreter.errors import HostError
from interpreter.hosts.base import KernelHost
from interpreter.kernel import Kernel
from interpreter.limits import Limits
from interpreter.logs import get_logger
from interpreter.metrics import Metrics, RestoreResult
from interpreter.snapshot_store import Snapshot, SnapshotStore

log = get_logger(__name__)

_MIB = 1 << 20
#: A snapshot's index, of what a kernel writes beside the variables.
_INDEX_BYTES = 8 * _MIB
#: Memory that a kernel may take for saving, at least and at most.
_LEAST_MEMORY_BYTES, _MOST_MEMORY_BYTES = 32 * _MIB, 1024 * _MIB
#: Saving takes no longer; nor does restoring, imports among it.
SAVE_S, RESTORE_S = 20.0, 60.0
#: What a kernel saves may be on its disk for so much longer.
_TAKING_S = 10.0
#: So much of that time who saves may wait beforehand for room on the disk that is kept for others.
_ROOM_WAIT_SHARE = 0.25

_NAME_CHARS, _DETAIL_CHARS = 40, 60
_NAMED, _NAMED_LOST = 5, 4
_OLD_S = 60.0
_TYPE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_THINGS = {
    "generator": "a generator",
    "async_generator": "a generator",
    "coroutine": "a coroutine",
    "file": "an open file",
    "_thread.lock": "a lock",
    "_thread.RLock": "a lock",
    "socket": "a network connection",
    "socket.socket": "a network connection",
    "sqlite3.Connection": "a connection to a database",
    "module": "a module that can't be imported",
    "frame": "a frame of running code",
    "Future": "something that is under way",
    "_asyncio.Task": "something that is under way",
    "_asyncio.Future": "something that is under way",
}
#: Of how a kernel may end, what says nothing against what it was loading.
_OTHERS_FAULT = ("machine", "disk", "stopped")
_IN_NEED = "this machine is short of memory or disk room"
GONE = "The variables of before are gone."


# -- what became of it -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LostVariable:
    """A variable that isn't there any more, as a kernel tells it: cleaned.

    Attributes:
        name: of the variable.
        why: a word for the reason, see ``kernel_startup/snapshot.py``.
        detail: what is to blame; may be empty.
        size_bytes: about how large it was.
    """

    name: str
    why: str
    detail: str
    size_bytes: int

    @classmethod
    def from_reply(cls, entry: object) -> "LostVariable | None":
        """Take in what a kernel says; None if that is nonsense."""
        if not isinstance(entry, list) or len(entry) != 4:
            return None
        name, why, detail, size = entry
        shown = _shown_name(name)
        if shown is None or not isinstance(why, str) or type(size) is not int:
            return None
        known = detail if isinstance(detail, str) and _TYPE.fullmatch(detail) else ""
        return cls(shown, why, known[:_DETAIL_CHARS], min(max(size, 0), 1 << 50))

    def sentence(self, limit_bytes: int) -> str:
        """Its name, and in brackets what it was and why it is lost."""
        size, limit, thing = _size(self.size_bytes), _size(limit_bytes), _thing(self.detail)
        held = f"{thing}, which" if self.detail else "something that"
        reason = {
            "kind": f"{thing} can't be saved",
            "holds": f"it holds {held} can't be saved",
            "raises": f"saving it raised {self.detail or 'an error'}",
            "deep": "it is nested too deeply",
            "size": f"{size}, more than the limit of {limit}",
            "full": f"{size}, and all together it is more than the limit of {limit}",
            "room": f"{size}, more than there is room for on its disk",
            "memory": "there is not enough memory to save or load it",
            "time": "it took too long to save",
            "died": "saving it ended the process",
            "many": "there are too many variables",
            "module": f"the module {self.detail or 'it needs'} is missing",
            "refers": f"{self.detail or 'what'} it needs is missing",
            "broken": f"loading it raised {self.detail or 'an error'}",
        }.get(self.why, "it can't be saved")
        return f"{self.name} ({reason})"


@dataclass(frozen=True, slots=True)
class Told:
    """What a session's user has to be told of the kernel of before.

    Attributes:
        sentence: one or more; None if there is nothing to tell.
        lost: whether variables are gone.
        files: what of it says that files are gone.
    """

    sentence: str | None = None
    lost: bool = False
    files: str | None = None

    @classmethod
    def of(
        cls,
        gone: str | None,
        restoration: "Restoration | None",
        files_gone: str | None = None,
    ) -> "Told":
        """All of it.

        Args:
            gone: why that kernel ended, in a sentence; None if that needs no saying.
            restoration: what was restored of it, if anything could be.
            files_gone: what files are gone, in a sentence or more; None if none are.
        """
        variables = GONE if gone is not None else None
        lost = gone is not None
        if restoration is not None:
            variables, lost = restoration.sentence(), not restoration.complete
        if gone is not None and files_gone is not None and gone.endswith(FILES_STAY):
            gone = f"{gone.removesuffix(FILES_STAY)}."
        sentence = " ".join(filter(None, (gone, files_gone, variables)))
        return cls(sentence or None, lost, files_gone)


@dataclass(frozen=True, slots=True)
class Restoration:
    """What became of a session's variables in its new kernel.

    Attributes:
        names: of some of those that are there again.
        count: how many are.
        lost: some of those that aren't, the largest first.
        lost_count: how many aren't.
        limit_bytes: how large a snapshot may be.
        age_s: how old it is, in seconds.
        cells_since: how many cells have run since it was made.
        failed: why nothing was restored at all; None if something was.
        is_kept: whether that wasn't due to what was saved, which is then kept.
    """

    names: tuple[str, ...] = ()
    count: int = 0
    lost: tuple[LostVariable, ...] = ()
    lost_count: int = 0
    limit_bytes: int = 0
    age_s: float = 0.0
    cells_since: int = 0
    failed: str | None = None
    is_kept: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing was lost."""
        return self.failed is None and self.lost_count == 0 and self.cells_since == 0

    def sentence(self) -> str:
        """What its user should know."""
        if self.failed is not None:
            return f"The variables of before could not be restored: {self.failed}."
        they_were = "it was" if self.count == 1 else "they were"
        as_of = f" as {they_were} {_ago(self.age_s)}" if self._is_old else ""
        since = "; what was done since is lost" if self.cells_since else ""
        if self.count == 0 and self.lost_count == 0:
            return "There were no variables." if not since else GONE
        if self.count == 0:
            return f"None of the variables of before could be restored: {self._lost()}."
        names = ", ".join(self.names[:_NAMED]) + (", ..." if self.count > _NAMED else "")
        said = f"{_variables(self.count)} restored{as_of} ({names})"
        lost = f", {self.lost_count:,} could not be: {self._lost()}" if self.lost_count else ""
        return f"{said}{lost}{since}."

    @property
    def _is_old(self) -> bool:
        return self.age_s >= _OLD_S and self.cells_since > 0

    def _lost(self) -> str:
        named = [one.sentence(self.limit_bytes) for one in self.lost[:_NAMED_LOST]]
        more = self.lost_count - len(named)
        return ", ".join(named) + (f", and {more:,} more" if more > 0 else "")


def restoration_of(
    reply: Mapping[str, Any], *, limit_bytes: int, age_s: float, cells_since: int
) -> Restoration:
    """What a kernel says of a snapshot it was given, in its ``restore_reply``; cleaned."""
    told = reply.get("restored")
    names = [_shown_name(name) for name in told[:_NAMED]] if isinstance(told, list) else []
    entries = reply.get("lost")
    losses = [LostVariable.from_reply(e) for e in entries[:20]] if isinstance(entries, list) else []
    lost = tuple(loss for loss in losses if loss is not None)
    shown = tuple(name for name in names if name is not None)
    return Restoration(
        names=shown,
        count=max(len(shown), _count(reply.get("restored_count"))),
        lost=lost,
        lost_count=max(len(lost), _count(reply.get("lost_count"))),
        limit_bytes=limit_bytes,
        age_s=age_s,
        cells_since=cells_since,
    )


def _shown_name(name: object) -> str | None:
    if not isinstance(name, str) or not name.isidentifier():
        return None
    return name if len(name) <= _NAME_CHARS else f"{name[:_NAME_CHARS]}..."


def _count(number: object) -> int:
    return number if type(number) is int and 0 <= number <= 1_000_000 else 0


def _thing(kind: str) -> str:
    return _THINGS.get(kind) or (f"an object of type {kind}" if kind else "something")


def _variables(count: int) -> str:
    return "1 variable was" if count == 1 else f"{count:,} variables were"


def _size(size_bytes: int) -> str:
    if size_bytes < 1 << 10:
        return f"{size_bytes} bytes"
    if size_bytes < _MIB:
        return f"{size_bytes / (1 << 10):.0f} KB"
    return f"{size_bytes / _MIB:,.0f} MB"


def _ago(age_s: float) -> str:
    minutes = round(age_s / 60)
    if minutes < 120:
        return "1 minute ago" if minutes == 1 else f"{minutes} minutes ago"
    return f"{round(minutes / 60)} hours ago"


def room_for_saving(most_bytes: int) -> int:
    """What a kernel's files may take beyond their limit while it saves so much, in bytes.

    They may be near that limit, which is no reason to lose the variables as well. With the index,
    and what a kernel keeps back for itself.
    """
    return most_bytes + 2 * _INDEX_BYTES


# -- one session's ---------------------------------------------------------------------------------


class SavedState:
    """What is saved of one session: has its kernel save it, and the next kernel restore it."""

    def __init__(
        self,
        user_id: str,
        *,
        store: SnapshotStore,
        host: KernelHost,
        metrics: Metrics,
        most_bytes: int,
    ) -> None:
        """Nothing is known yet of what is on the disk.

        Args:
            user_id: whose session it is.
            store: the service's.
            host: where its kernels run.
            metrics: the service's.
            most_bytes: how large a snapshot may be; 0 for none at all.
        """
        self._user_id = user_id
        self._store = store
        self._host = host
        self._metrics = metrics
        self._most_bytes = most_bytes
        self._cells: int | None = None
        self._tried: int | None = None
        self._stale = False
        self._is_marked = False
        self._saved_at = time.monotonic()
        self._took_s = 0.0
        self._lock = asyncio.Lock()

    def is_due(self, cells: int) -> bool:
        """Whether there is something to save of a session that has run so many cells, that hasn't
        been tried in vain.
        """
        changed = self._stale or cells not in (self._cells, self._tried)
        return self._most_bytes > 0 and cells != 0 and changed

    def outdate(self) -> None:
        """Have it count as changed since it was saved, though no cell of the session has run."""
        self._stale = True

    @property
    def age_s(self) -> float:
        """For how long nothing has been saved, in seconds."""
        return time.monotonic() - self._saved_at

    @property
    def took_s(self) -> float:
        """How long the last saving took, whatever became of it, in seconds."""
        return self._took_s

    @property
    def needs_mark(self) -> bool:
        """Whether a cell that begins is the first since the last save: see :meth:`mark`."""
        possible = self._most_bytes > 0 and self._store.may_have(self._user_id)
        return possible and not self._is_marked

    async def mark(self) -> None:
        """Write down that what is saved is outdated, before a cell makes it so.

        The count of cells is written later, or never if all ends at once: whoever restores what is
        saved says all the same that it is not the newest.
        """
        self._is_marked = True
        await self._write_mark(self._store.mark)

    async def _write_mark(self, write: Callable[[str], None]) -> None:
        try:
            await asyncio.to_thread(write, self._user_id)
        except OSError as error:
            log.warning("a snapshot's mark is wrong", user_id=self._user_id, reason=str(error))

    async def is_there(self) -> bool:
        """Whether variables are saved."""
        kept = await self._find()
        return kept is not None and kept.variables != 0

    async def _find(self) -> Snapshot | None:
        if self._most_bytes == 0 or not self._store.may_have(self._user_id):
            return None
        return await asyncio.to_thread(self._store.find, self._user_id)

    async def save(
        self,
        kernel: Kernel,
        *,
        cells: int,
        limits: Limits,
        time_s: float,
        is_outdated: Callable[[], bool],
    ) -> bool:
        """Have a kernel save its variables, unless that has been done since the last cell.

        What has failed is tried again: see :meth:`is_due` for whether that makes sense by now.

        Args:
            kernel: an idle one.
            cells: how many cells the session has run.
            limits: the kernel's.
            time_s: how long it may take, in seconds.
            is_outdated: whether a cell has come meanwhile.

        Returns:
            Whether they are saved.
        """
        if self._most_bytes == 0 or cells == 0:
            return False
        async with self._lock:
            # Others who needed room may have taken away what was saved.
            if not self._stale and cells == self._cells and await self._find() is not None:
                if self._is_marked and not is_outdated():  # the cell never began
                    self._is_marked = False
                    await self._write_mark(self._store.unmark)
                    if is_outdated():
                        await self.mark()
                return True
            began = time.monotonic()
            self._cells = None if cells == self._cells else self._cells
            self._tried, self._saved_at, self._stale = cells, began, False
            try:
                with self._store.at_work(self._user_id):
                    kept = await self._save(kernel, cells, limits, time_s, is_outdated)
            except (TimeoutError, HostError, OSError) as error:
                reason = type(error).__name__
                log.warning("a session could not be saved", user_id=self._user_id, reason=reason)
                self._metrics.saved(None)
                return False
            finally:
                self._took_s = time.monotonic() - began
            self._cells, self._is_marked = cells, kept.outdated
            if self.needs_mark and is_outdated():
                await self.mark()
            self._metrics.saved(kept.size_bytes)
        duration_s = round(time.monotonic() - began, 3)
        size = kept.size_bytes
        log.info("session saved", user_id=self._user_id, bytes=size, duration_s=duration_s)
        return True

    async def _save(
        self,
        kernel: Kernel,
        cells: int,
        limits: Limits,
        time_s: float,
        is_outdated: Callable[[], bool],
    ) -> Snapshot:
        used = self._host.resources(kernel.hosted.kernel_id)
        spare = limits.memory_bytes - (used.memory_bytes if used else limits.memory_bytes)
        began = time.monotonic()
        wait_s = time_s * _ROOM_WAIT_SHARE
        async with self._store.room_for(self._user_id, self._most_bytes, wait_s=wait_s) as most:
            left_s = time_s - (time.monotonic() - began)
            extra = room_for_saving(most)
            # If it is given up before that is over, the kernel may still be saving.
            over = self._host.allow(kernel.hosted.kernel_id, extra, for_s=left_s + _TAKING_S)
            reply = await kernel.save_state(
                file_bytes=most,
                # Half of it: what is saved is partly copied, and cells may run meanwhile.
                memory_bytes=min(max(spare // 2, _LEAST_MEMORY_BYTES), _MOST_MEMORY_BYTES),
                disk_bytes=limits.disk_bytes + extra,
                time_s=left_s,
            )
            if reply.get("status") != "ok":
                raise OSError("the kernel has saved nothing")
            target = await asyncio.to_thread(self._store.new, self._user_id)
            slot = kernel.hosted.slot
            await self._host.take_snapshot(slot, target, most_bytes=most + _INDEX_BYTES)
            over()
        try:
            await asyncio.to_thread(self._store.make_room, self._user_id)
        except OSError:
            await asyncio.to_thread(target.unlink)
            raise
        variables = _count(reply.get("saved"))
        return await asyncio.to_thread(
            self._store.keep,
            self._user_id,
            target,
            cells=cells,
            variables=variables,
            outdated=is_outdated(),
        )

    async def restore(self, kernel: Kernel, *, cells: int) -> Restoration | None:
        """Have a new kernel load what was saved; None if there is nothing.

        If that fails, the kernel isn't fit for use, and what was saved is dropped, if it was to
        blame: what didn't even come to be loaded, or met a machine in need, is kept.

        Args:
            kernel: one that has run no cell.
            cells: how many cells the session has run.
        """
        if self._most_bytes == 0 or not self._store.may_have(self._user_id):
            return None
        async with self._lock:
            with self._store.at_work(self._user_id):
                snapshot = await self._find()
                if snapshot is None:
                    return None
                began = time.monotonic()
                done = await self._restore(kernel, snapshot, cells)
            if done.failed is None:
                self._cells, self._is_marked = cells, False
            elif not done.is_kept:
                self._cells = None
                await asyncio.to_thread(self._store.delete, self._user_id)
        result: RestoreResult = "complete" if done.complete else "partial"
        self._metrics.restored("failed" if done.failed is not None else result)
        log.info(
            "session restored",
            user_id=self._user_id,
            variables=done.count,
            lost=done.lost_count,
            failed=done.failed is not None,
            bytes=snapshot.size_bytes,
            duration_s=round(time.monotonic() - began, 3),
        )
        return done

    async def _restore(self, kernel: Kernel, snapshot: Snapshot, cells: int) -> Restoration:
        slot = kernel.hosted.slot
        since = cells - (snapshot.cells if self._cells is None else self._cells)
        if self._cells is None and snapshot.outdated:  # by an earlier service, which counted less
            since = max(1, since)
        try:
            await self._host.give_snapshot(slot, snapshot.path)
            reply = await kernel.restore_state(timeout_s=RESTORE_S)
        except TimeoutError:
            return Restoration(failed="loading them took too long, so this is a clean kernel")
        except HostError:
            if kernel.exit.done() and kernel.exit.result().cause in _OTHERS_FAULT:
                return Restoration(failed=_IN_NEED, is_kept=True)
            return Restoration(failed="loading them ended the kernel, so this is a new one")
        except OSError as error:
            log.error("a snapshot could not be shown to a kernel", reason=str(error))
            return Restoration(failed=_IN_NEED, is_kept=True)
        finally:
            with suppress(OSError):
                await self._host.give_snapshot(slot, None)
        if reply.get("status") != "ok":
            return Restoration(failed="what was saved can't be read by this kernel")
        return restoration_of(
            reply,
            limit_bytes=self._most_bytes,
            age_s=max(0.0, time.time() - snapshot.saved_at),
            cells_since=max(0, since),
        )

    async def drop(self) -> None:
        """Forget what was saved. The kernel must have ended: else it may be saving."""
        async with self._lock:
            self._cells = self._tried = None
            self._stale = self._is_marked = False
            if self._store.may_have(self._user_id):
                await asyncio.to_thread(self._store.delete, self._user_id)
