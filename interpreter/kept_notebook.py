"""KeptNotebook: one session's notebook, which outlives the service."""

import asyncio
from collections import deque

from nbformat import NotebookNode

from interpreter.logs import get_logger
from interpreter.notebook import CellRecord, NotebookLog
from interpreter.notebook_store import NotebookStore
from interpreter.tasks import Tasks

log = get_logger(__name__)


class KeptNotebook:
    """Keeps a session's cells in memory, and writes them behind, for a later service.

    What an earlier service has left is read when it is needed first.
    """

    def __init__(self, user_id: str, *, store: NotebookStore, tasks: Tasks) -> None:
        """Begin with an empty one.

        Args:
            user_id: whose session it is.
            store: where it is kept.
            tasks: the session's.
        """
        self._user_id = user_id
        self._store = store
        self._tasks = tasks
        self._log = NotebookLog()
        self._cells_before: int | None = None
        self._is_read = False
        self._coming: deque[CellRecord] = deque()
        self._written: dict[int, CellRecord] = {}
        self._writing: asyncio.Task[None] | None = None
        self._is_deleted = False
        self._reading = asyncio.Lock()
        self._disk = asyncio.Lock()

    def take_over(self, cells: int) -> None:
        """Go on with the one that an earlier service has left.

        Args:
            cells: how many cells that has run.
        """
        self._cells_before = cells

    def add(self, record: CellRecord) -> None:
        """Add the cell that was just executed. Nobody waits for the disk."""
        self._coming.append(record)
        if self._writing is None or self._writing.done():
            self._writing = self._tasks.spawn(self._write_behind())

    async def build(self) -> NotebookNode:
        """The notebook of all cells so far."""
        await self._take_in()
        return self._log.build()

    async def written(self, *, within_s: float) -> None:
        """Wait until all cells are on disk, if that can be done.

        Args:
            within_s: how long it may take, in seconds.
        """
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=within_s)

    async def delete(self) -> None:
        """Delete it from the disk, and write nothing more."""
        async with self._disk:
            if not self._is_deleted:
                self._is_deleted = True
                await self._delete()

    async def _delete(self) -> None:
        try:
            await asyncio.to_thread(self._store.delete, self._user_id)
        except OSError as error:
            log.error("a notebook not deleted", user_id=self._user_id, reason=error.strerror)

    async def _take_in(self) -> None:
        """Have all cells that came be in the notebook, behind those of an earlier service."""
        async with self._reading:
            if not self._is_read:
                await self._read()
                self._is_read = True
            while self._coming:
                self._log.add(self._coming.popleft())

    async def _read(self) -> None:
        if self._cells_before is None:  # a new session: what is there could not be deleted
            await self._delete()
            return
        records: dict[int, CellRecord] = {}
        try:
            records = await asyncio.to_thread(self._store.read, self._user_id)
        except OSError as error:
            log.warning("a notebook not read", user_id=self._user_id, reason=error.strerror)
        self._log = NotebookLog(cells_left_out=min(records, default=self._cells_before + 1) - 1)
        for record in records.values():
            self._log.add(record)
        self._written = {**records, **self._numbered()}

    async def _write_behind(self) -> None:
        while self._coming:
            await self._take_in()
            await self._write()

    async def _write(self) -> None:
        """Write what has changed: the new cell, and earlier ones whose displays it has updated, or
        whose place it needs. What the disk refuses is tried again with the next cell."""
        async with self._disk:
            if self._is_deleted:
                return
            kept = self._numbered()
            changed = {n: one for n, one in kept.items() if self._written.get(n) is not one}
            gone = self._written.keys() - kept.keys()
            try:
                await asyncio.to_thread(self._store.write, self._user_id, changed, gone=gone)
            except OSError as error:
                log.warning("a notebook not written", user_id=self._user_id, reason=error.strerror)
            else:
                self._written = kept

    def _numbered(self) -> dict[int, CellRecord]:
        """The cells that are kept, by their numbers in the session."""
        return dict(enumerate(self._log.records, start=self._log.cells_left_out + 1))
