"""SessionStore: what a later service needs to go on with the sessions of this one.

Written behind: nobody waits for the database, and while it is away what changes is kept in memory.
Of each session only the newest state is written. So what is read after a crash may be a moment old,
and whoever reads it asks the kernels as well.
"""

import asyncio
import json
import math
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ValidationError
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from interpreter.activity import Moment
from interpreter.database import unavailable
from interpreter.documents import SessionContent, SessionDocument, bind
from interpreter.execution import Clock
from interpreter.logs import get_logger
from interpreter.settings import Settings

log = get_logger(__name__)

_Collection: TypeAlias = AsyncCollection[dict[str, Any]]

#: How long a cell may run without being written: most are over sooner, and never are.
_BEGUN_S = 0.03
#: How long a change that matters little may wait for further ones.
LATER_S = 2.0
#: After a failure: the first pause, doubled with each further one, and the longest.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
#: How long the end of the service waits for what isn't written yet.
_LAST_WRITES_S = 6.0
_MOST_CODE_CHARS = 256 << 10
_MARK = "sessions-mark"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCell:
    """A cell that runs, or whose result nobody has acknowledged yet.

    Attributes:
        cell_id: names it.
        message_id: of the message that it was sent with.
        code: the cell; the first 256 Ki characters.
        timeout_s: its deadline, in seconds.
        note: the front end's.
        started_at: UTC.
        clock: how far its deadline's clock has come.
        before_ns: when the working directory was scanned before it, by the host's clock.
        wanted: whether a later service is to give its result also if it has ended.
        told: what its user is told, with its result, of the kernel of before.
        told_lost: whether that says that variables are gone.
    """

    cell_id: str
    code: str
    timeout_s: float
    note: Mapping[str, str] = field(default_factory=dict)
    message_id: str = ""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: Clock = field(default_factory=Clock)
    before_ns: int = 0
    wanted: bool = False
    told: str | None = None
    told_lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """All there is to know of a session.

    Attributes:
        user_id: whose it is.
        slot: its sandbox directory; None before its first kernel.
        kernel: what its host needs to adopt its kernel; None without one. Holds a secret.
        identity: of the connection to that.
        cells: how many it has run.
        memory_bytes: the kernel's own limit; None for that of everybody.
        last_active: when its user was last at work.
        state_gone: what its user is to be told with the next cell, of how its kernel has ended.
        files_gone: what its user is to be told with the next cell, of files that are gone.
        last_error: the class of the last exception.
        collected_ns: when its working directory was last scanned, by the host's clock; 0 for never.
        has_files: whether there were files in it then; True if nobody knows.
        running: cells that run, or that were given to nobody yet; in order.
    """

    user_id: str
    slot: str | None = None
    kernel: Mapping[str, Any] | None = None
    identity: str | None = None
    cells: int = 0
    memory_bytes: int | None = None
    last_active: Moment = field(default_factory=Moment.now)
    state_gone: str | None = None
    files_gone: str | None = None
    last_error: str | None = None
    collected_ns: int = 0
    has_files: bool = True
    running: tuple[RunningCell, ...] = ()


@dataclass(frozen=True, slots=True)
class _Change:
    """A state that isn't written yet, None for no session; and by when it is to be."""

    state: SessionState | None
    due: float
    cell_due: float = math.inf

    @property
    def first_due(self) -> float:
        return min(self.due, self.cell_due)


class SessionStore:
    """Keeps the sessions of one data directory in the database. Made by :meth:`open`."""

    def __init__(self, settings: Settings, collection: _Collection, mark: str) -> None:
        """Use :meth:`open`."""
        self._settings = settings
        self._collection = collection
        self._mark = mark
        self._changes: dict[str, _Change] = {}
        self._with_cells: set[str] = set()
        self._writing: str | None = None
        self._wake = asyncio.Event()
        self._written = asyncio.Condition()
        self._failure: PyMongoError | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, *, database: AsyncDatabase[dict[str, Any]]
    ) -> AsyncIterator["SessionStore"]:
        """Open the store; what isn't written at the end is written then, if that can be done.

        Args:
            settings: where the data directory is.
            database: from ``open_database``.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        mark = await asyncio.to_thread(_mark_of, settings.data_dir)
        try:
            documents = await bind(SessionDocument, database)
        except PyMongoError as error:
            raise unavailable(settings, error) from error
        store = cls(settings, documents.get_pymongo_collection(), mark)
        writing = asyncio.create_task(store._write_behind())
        try:
            yield store
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WRITES_S):
                    await store.drain()
            writing.cancel()
            await asyncio.wait([writing])

    async def load(self) -> tuple[SessionState, ...]:
        """What an earlier service has left; what can't be read is left out.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        try:
            found = await self._collection.find({"mark": self._mark}).to_list()
        except PyMongoError as error:
            raise unavailable(self._settings, error) from error
        states = []
        for document in found:
            try:
                states.append(_state_of(document))
            except (ValidationError, ValueError) as error:
                log.error("a session's record makes no sense", reason=type(error).__name__)
        return tuple(states)

    def put(self, state: SessionState, *, within_s: float = 0.0) -> None:
        """Have a state written, in place of any that isn't written yet.

        Args:
            state: of a session.
            within_s: how long that may wait for a newer one.
        """
        due = asyncio.get_running_loop().time() + within_s
        before = self._changes.get(state.user_id)
        cell_due = math.inf if before is None else before.cell_due
        self._change(state.user_id, _Change(state, due, cell_due))

    def put_begun(self, state: SessionState) -> None:
        """The same, where a cell has begun."""
        due = asyncio.get_running_loop().time() + _BEGUN_S
        self._change(state.user_id, _Change(state, math.inf, due))

    def put_over(self, state: SessionState) -> None:
        """The same, where a cell is over: at once, if it is written that it runs."""
        now, user_id = asyncio.get_running_loop().time(), state.user_id
        written = user_id in self._with_cells or self._writing == user_id
        self._change(user_id, _Change(state, now if written else now + LATER_S))

    def drop(self, user_id: str) -> None:
        """Have the record of a session removed."""
        self._change(user_id, _Change(None, 0.0))

    async def written(self, user_id: str) -> None:
        """Wait until all that was put of a session is in the database.

        Raises:
            DatabaseUnavailable: the database can't be used now; it is tried again later.
        """
        async with self._written:
            self._failure = None
            self._hurry()
            while user_id in self._changes or self._writing == user_id:
                await self._written.wait()
                if self._failure is not None:
                    raise unavailable(self._settings, self._failure) from self._failure

    async def drain(self) -> None:
        """Wait until all is in the database, for as long as that takes."""
        async with self._written:
            self._hurry()
            while self._changes or self._writing is not None:
                await self._written.wait()

    def _hurry(self) -> None:
        self._changes = {user: replace(one, due=0.0) for user, one in self._changes.items()}
        self._wake.set()

    def _change(self, user_id: str, change: _Change) -> None:
        waiting = self._changes.pop(user_id, None)
        if waiting is not None:
            change = replace(change, due=min(change.due, waiting.due))
        self._changes[user_id] = change
        self._wake.set()

    async def _write_behind(self) -> None:
        pause_s = 0.0
        while True:
            await self._until_due()
            if await self._write_due():
                pause_s = 0.0
            else:
                pause_s = min(pause_s * 2 or _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
                await asyncio.sleep(pause_s)

    async def _until_due(self) -> None:
        while True:
            self._wake.clear()
            due_at = min((one.first_due for one in self._changes.values()), default=None)
            if due_at is not None and due_at <= asyncio.get_running_loop().time():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due_at):
                    await self._wake.wait()

    async def _write_due(self) -> bool:
        """Write what has waited long enough. Returns False if the database refused."""
        now = asyncio.get_running_loop().time()
        failure: PyMongoError | None = None
        due = [user_id for user_id, one in self._changes.items() if one.first_due <= now]
        for user_id in due:
            change = self._changes.pop(user_id, None)
            if change is None:
                continue
            self._writing = user_id
            try:
                await self._write(user_id, change.state)
            except PyMongoError as error:
                self._changes.setdefault(user_id, change)
                failure = error
                log.warning("sessions not written", reason=type(error).__name__)
                break
            except Exception:  # one that can't be written must not keep others from being
                log.exception("a session could not be written", user_id=user_id)
            finally:
                self._writing = None
        async with self._written:
            self._failure = failure
            self._written.notify_all()
        return failure is None

    async def _write(self, user_id: str, state: SessionState | None) -> None:
        key = {"mark": self._mark, "user_id": user_id}
        if state is None:
            await self._collection.delete_one(key)
        else:
            await self._collection.replace_one(key, {**key, **_document_of(state)}, upsert=True)
        if state is not None and state.running:
            self._with_cells.add(user_id)
        else:
            self._with_cells.discard(user_id)


def _mark_of(data_dir: Path) -> str:
    """What tells the sessions of a data directory from others in the same database."""
    path = data_dir / _MARK
    with suppress(FileNotFoundError):
        mark = path.read_text().strip()
        if mark:
            return mark
    mark = secrets.token_hex(16)
    coming = path.with_suffix(".new")
    coming.write_text(mark)
    coming.replace(path)
    return mark


# -- states as documents ---------------------------------------------------------------------------


def _document_of(state: SessionState) -> dict[str, Any]:
    return {
        "slot": state.slot,
        "kernel": None if state.kernel is None else json.dumps(dict(state.kernel)),
        "identity": state.identity,
        "cells": state.cells,
        "memory_bytes": state.memory_bytes,
        "last_active_at": state.last_active.at,
        "last_active_boot": state.last_active.boot,
        "last_active_monotonic_s": state.last_active.monotonic_s,
        "state_gone": state.state_gone,
        "files_gone": state.files_gone,
        "last_error": state.last_error,
        "collected_ns": state.collected_ns,
        "has_files": state.has_files,
        "running": [
            {
                "cell_id": cell.cell_id,
                "message_id": cell.message_id,
                "code": _storable(cell.code[:_MOST_CODE_CHARS]),
                "timeout_s": cell.timeout_s,
                "note": [[_storable(key), _storable(value)] for key, value in cell.note.items()],
                "started_at": cell.started_at,
                "elapsed_s": cell.clock.elapsed_s,
                "since": cell.clock.since,
                "before_ns": cell.before_ns,
                "wanted": cell.wanted,
                "told": None if cell.told is None else _storable(cell.told),
                "told_lost": cell.told_lost,
            }
            for cell in state.running
        ],
    }


def _storable(text: str) -> str:
    return text.encode(errors="replace").decode()


def _state_of(document: Mapping[str, Any]) -> SessionState:
    """The state in a document.

    Raises:
        ValueError: it holds none.
    """
    content = SessionContent.model_validate({k: v for k, v in document.items() if k != "_id"})
    kernel = None if content.kernel is None else json.loads(content.kernel)
    if kernel is not None and not isinstance(kernel, dict):
        raise ValueError("its kernel is none")
    return SessionState(
        user_id=content.user_id,
        slot=content.slot,
        kernel=kernel,
        identity=content.identity,
        cells=content.cells,
        memory_bytes=content.memory_bytes,
        last_active=Moment(
            content.last_active_at.astimezone(UTC),
            content.last_active_boot,
            content.last_active_monotonic_s,
        ),
        state_gone=content.state_gone,
        files_gone=content.files_gone,
        last_error=content.last_error,
        collected_ns=content.collected_ns,
        has_files=content.has_files,
        running=tuple(
            RunningCell(
                cell_id=cell.cell_id,
                message_id=cell.message_id,
                code=cell.code,
                timeout_s=cell.timeout_s,
                note=dict(cell.note),
                started_at=cell.started_at.astimezone(UTC),
                clock=Clock(cell.elapsed_s, cell.since),
                before_ns=cell.before_ns,
                wanted=cell.wanted,
                told=cell.told,
                told_lost=cell.told_lost,
            )
            for cell in content.running
        ),
    )
