"""Interpreter: the service as a library user or a front end meets it."""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from functools import partial
from typing import Any

from interpreter.admin.server import AdminServer, end_this_program
from interpreter.belongings import Belongings
from interpreter.data_directory import DataDirectoryLock
from interpreter.database import open_database
from interpreter.endings import FILES_STAY
from interpreter.errors import InterpreterError, NoCapacity, SessionClosed, StorageFailed
from interpreter.files import FileEvent, FileStore, check_user_id
from interpreter.hosts.base import KernelHost
from interpreter.hosts.cgroup import machine_memory_bytes
from interpreter.hosts.installing import IndexSettings, InstallLimits
from interpreter.hosts.local import LocalKernelHost
from interpreter.inspection import KernelInfo
from interpreter.limits import Limits, SessionLimits
from interpreter.logs import get_logger
from interpreter.metrics import Metrics, Standing
from interpreter.notebook_store import NotebookStore
from interpreter.packages import Packages
from interpreter.pool import WarmPool
from interpreter.reattaching import Reattached, Reattaching, Recovered
from interpreter.records import RecordStore
from interpreter.session_store import SessionStore
from interpreter.sessions import Session
from interpreter.settings import Settings, listed
from interpreter.snapshot_store import SnapshotStore
from interpreter.zmtp import Intake

log = get_logger(__name__)

_CULL_INTERVAL_S = 15.0
#: How often it is looked at what kernels use; at idle ones each sixth time.
_SAMPLE_INTERVAL_S, _IDLE_SAMPLED_EVERY = 5.0, 6
#: How long the working directory of a culled session is kept; what was made in it is stored anyway.
_WORKING_DIRECTORY_KEPT_S = 48 * 3600.0
#: What a typical kernel takes, of memory of its own: the machine is filled by this, not by limits.
#: An idle one with a small table and a plot has 34 MB (benchmarks.sizing) and some page tables;
#: the rest is for tables that aren't small, as too many kernels cost somebody a running cell.
_TYPICAL_KERNEL_BYTES = 96 << 20
_MEMORY_SHARE = 0.75
#: How large a part of all kernels the spare ones may be, where nothing is set.
_SPARE_SHARE = 0.25
#: Files of all of a user's packages; the largest ones have about 15,000.
_LAYER_FILES = 60_000
#: How many sets of packages are kept that no kernel uses now.
_LAYERS = 200
_CULLED = f"The kernel was stopped after being idle for long{FILES_STAY}"
_CROWDED_OUT = f"The kernel was stopped while it was idle, to make room for others{FILES_STAY}"
#: How long somebody may wait for a place until an idle session is saved.
_CROWDED_SAVE_S = 5.0
#: How often it is looked for sessions to be saved; each so many times, for what is too old.
_SAVE_LOOK_S, _EXPIRED_EVERY = 15.0, 100
#: How long saving all sessions may take, and how many are saved at a time.
_SAVE_ALL_S, _SAVED_AT_ONCE = 20.0, 4
_CULLED_AT_ONCE = 4
#: Of that, what one may take, or so many times what it took the last time.
_SAVE_ONE_S, _SAVE_AGAIN = 4.0, 1.5


class Interpreter:
    """Sessions with sandboxed IPython kernels, and the users' stored files.

        async with Interpreter.open(Settings(data_dir=...)) as service:
            session = await service.session(user_id="42")
            result = await session.execute("1 + 1")

    Attributes:
        settings: as given.
        files: the users' stored files.
        records: what front ends keep.
        metrics: what is counted and measured; ``metrics.text()`` is for Prometheus.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        files: FileStore,
        records: RecordStore,
        host: KernelHost,
        intake: Intake,
        packages: Packages,
        snapshots: SnapshotStore,
        notebooks: NotebookStore,
        store: SessionStore,
    ) -> None:
        """Use :meth:`open`."""
        self.settings = settings
        self.files = files
        self.records = records
        self.metrics = Metrics()
        self.metrics.watch(self._standing)
        self._host = host
        self._intake = intake
        self._packages = packages
        self._snapshots = snapshots
        self._notebooks = notebooks
        self._store = store
        self._belongings = Belongings(files, packages if settings.install_packages else None)
        self._sessions: dict[str, Session] = {}
        self._limits: dict[str, SessionLimits] = {}
        self._deletions: dict[str, asyncio.Task[None]] = {}
        self._reattached = Reattached()
        self._closed = False
        self._is_stopped = False
        self._max_kernels = settings.max_kernels or kernels_for_this_machine()
        self._pool = WarmPool(
            host,
            intake,
            floor=settings.warm_kernels,
            ceiling=_most_spares(settings, self._max_kernels),
            memory_bytes=settings.kernel_memory_bytes,
            room=self._room_for_spares,
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        *,
        host: KernelHost | None = None,
        keep_kernels: bool = False,
        but: str | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> AsyncGenerator["Interpreter"]:
        """Start the service; everything it started ends with the context.

        What an earlier service with this data directory has left goes on: kernels with their
        variables, and cells that run (see :attr:`recovered`).

        Args:
            settings: all there is to set.
            host: where kernels run; None for this machine.
            keep_kernels: leave kernels, and the cells they run, to a later service instead of
                ending them with the context. A crash leaves them in any case. They end by
                themselves if none comes within ``settings.orphan_s``.
            but: the id of a user whose session ends with the context even so; if there is no other
                one, nothing is kept.
            on_progress: gets a line for a person about each longer step.

        Raises:
            DataDirectoryInUse: another service uses the data directory.
            DatabaseUnavailable: MongoDB can't be reached, or the embedded one not started.
            KernelEnvironmentFailed: the kernels' environment could not be built.
            SandboxUnavailable: bubblewrap is missing.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(DataDirectoryLock(settings.data_dir))
            if host is None:
                host = await stack.enter_async_context(local_host(settings, on_progress))
            is_open = asyncio.Event()
            stack.callback(_leave_alone, host, unless=is_open)
            database = await stack.enter_async_context(open_database(settings, on_progress))
            files = await stack.enter_async_context(FileStore.open(settings, database=database))
            records = await stack.enter_async_context(RecordStore.open(settings, database=database))
            packages = await stack.enter_async_context(
                Packages.open(settings, host=host, database=database)
            )
            store = await stack.enter_async_context(SessionStore.open(settings, database=database))
            snapshots = SnapshotStore(settings.data_dir / "snapshots")
            await asyncio.to_thread(snapshots.open)
            notebooks = NotebookStore(settings.data_dir / "notebooks")
            await asyncio.to_thread(notebooks.open)
            service = cls(
                settings,
                files=files,
                records=records,
                host=host,
                intake=Intake(),
                packages=packages,
                snapshots=snapshots,
                notebooks=notebooks,
                store=store,
            )
            await service._reattach()
            await stack.enter_async_context(service._pool.filled())
            await stack.enter_async_context(
                AdminServer.open(
                    settings.data_dir,
                    records=records,
                    host=host,
                    intake=service._intake,
                    sessions=lambda: list(service._sessions.values()),
                    spares=lambda: service._pool.ready,
                    metrics=service.metrics,
                    on_stop=partial(service._stop, asyncio.current_task()),
                )
            )
            files.subscribe(service._file_changed)
            chores = [
                asyncio.create_task(chore)
                for chore in (
                    service._cull_idle(),
                    service._sample_regularly(),
                    service._save_regularly(),
                )
            ]
            is_open.set()
            try:
                yield service
            finally:
                for chore in chores:
                    chore.cancel()
                files.unsubscribe(service._file_changed)
                if keep_kernels and but is not None and not service._is_stopped:
                    keep_kernels = service._has_others(but)
                leaves = keep_kernels or service._is_stopped
                await (service._leave(but) if leaves else service._close())

    @property
    def reattached(self) -> int:
        """How many kernels of an earlier service go on in this one."""
        return self._reattached.kernels

    @property
    def recovered(self) -> tuple[Recovered, ...]:
        """Cells that were running when an earlier service ended.

        A later service gives each of them again, until it has been acknowledged. What becomes of
        one is its ``result``; :meth:`Recovered.follow` gives its outputs as they come.
        """
        return tuple(self._reattached.recovered)

    async def acknowledge(self, recovered: Recovered) -> None:
        """Say that the result of a recovered cell is safe: no later service gives it again.

        Raises:
            DatabaseUnavailable: that can't be written now. It is tried again, but call it again to
                be sure.
        """
        session = self._sessions.get(recovered.user_id)
        if session is not None:
            await session.acknowledge(recovered.cell_id)

    async def session(self, *, user_id: str) -> Session:
        """The user's session: the one there is, or a new one. Its kernel starts with a first cell.

        While all that is the user's is being deleted, it waits for the end of that.

        Raises:
            InvalidName: the user id has characters it must not have.
            SessionClosed: the service has ended.
        """
        check_user_id(user_id)
        while (deletion := self._deletions.get(user_id)) is not None:
            await asyncio.wait([deletion])
        if self._closed:
            raise SessionClosed(user_id)
        session = self.find_session(user_id)
        if session is None:
            session = self._make_session(user_id)
        return session

    def _make_session(self, user_id: str) -> Session:
        session = self._sessions[user_id] = Session(
            user_id,
            settings=self.settings,
            host=self._host,
            files=self.files,
            intake=self._intake,
            packages=self._packages if self.settings.install_packages else None,
            belongings=self._belongings,
            limits=self._limits.get(user_id, SessionLimits()),
            metrics=self.metrics,
            pool=self._pool,
            snapshots=self._snapshots,
            notebooks=self._notebooks,
            store=self._store,
            make_room=self._make_room,
            on_close=self._forget,
        )
        return session

    def find_session(self, user_id: str) -> Session | None:
        """The user's session, if there is one; makes none."""
        session = self._sessions.get(user_id)
        return None if session is None or session.closed else session

    def set_limits(self, user_id: str, limits: SessionLimits) -> None:
        """Have limits of a user's own hold: from the next cell, kernel start and save on.

        They are kept in memory; a service that has been started again is to be told again. (How
        many files there may be is remembered with the files, or its clean-up would take some.)

        Raises:
            InvalidName: the user id has characters it must not have.
        """
        self.files.set_max_files(user_id=user_id, max_files=limits.max_files)
        self._limits[user_id] = limits
        session = self.find_session(user_id)
        if session is not None:
            session.set_limits(limits)

    async def delete_user(self, user_id: str) -> None:
        """Delete all that is kept of a user: session, kernel, working files, stored files, packages
        and records owned by them. What they send meanwhile waits; afterwards they are as new.

        Limits that were set stay. Goes on to its end if the caller gives up; a second call while
        one is under way waits for that one.

        Raises:
            InvalidName: the user id has characters it must not have.
            StorageFailed: the disk refused to delete what is on it.
            DatabaseUnavailable: the database can't be used; some may be deleted. Call it again.
        """
        check_user_id(user_id)
        deletion = self._deletions.get(user_id)
        if deletion is None:
            deletion = self._deletions[user_id] = asyncio.create_task(self._delete_user(user_id))
            deletion.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(deletion)

    async def _delete_user(self, user_id: str) -> None:
        began = time.monotonic()
        try:
            session = self.find_session(user_id)
            if session is not None:
                await session.discard()
            self._store.drop(user_id)  # there may be a record that no session was made of
            files = await self.files.delete_all(user_id=user_id)
            await asyncio.to_thread(self._snapshots.delete, user_id)
            await self._delete_notebook(user_id)
            await self._store.written(user_id)
            await self._packages.forget(user_id)
            self._belongings.forget(user_id)
            records = await self.records.delete_owner(user_id)
        except InterpreterError as error:
            log.error("a user could not be deleted", user_id=user_id, reason=str(error))
            raise
        finally:
            del self._deletions[user_id]
        duration_s = round(time.monotonic() - began, 2)
        log.info(
            "user deleted", user_id=user_id, files=files, records=records, duration_s=duration_s
        )

    async def _delete_notebook(self, user_id: str) -> None:
        try:
            await asyncio.to_thread(self._notebooks.delete, user_id)
        except OSError as error:
            raise StorageFailed.from_os_error("of the notebook", error) from error

    def kernels(self) -> tuple[KernelInfo, ...]:
        """Every live kernel, the longest running first.

        What they use is, where there are no control groups, as it was at the last look, half a
        minute ago at most.
        """
        sessions = self._sessions.values()
        infos = [info for session in sessions if (info := session.info(sampled=True))]
        return tuple(sorted(infos, key=lambda info: info.started_at))

    @property
    def kernel_count(self) -> int:
        """How many kernels of sessions are live."""
        return sum(session.hosted is not None for session in self._sessions.values())

    def _standing(self) -> Standing:
        infos = self.kernels()
        states = [info.state for info in infos]
        live = sum(session.live for session in self._sessions.values())
        return Standing(
            kernels={
                "busy": states.count("busy"),
                "idle": states.count("idle"),
                "starting": max(0, live - len(infos)),
                "spare": self._pool.ready,
            },
            memory_bytes=sum(info.memory_bytes or 0 for info in infos),
            pool_target=self._pool.wanted,
        )

    async def _make_room(self, newcomer: Session) -> None:
        """See to it that one more kernel may start: spare ones go first, then idle ones.

        Raises:
            NoCapacity: all kernels there may be are at work.
        """
        passed: set[Session] = set()
        while True:
            others = [s for s in self._sessions.values() if s.live and s is not newcomer]
            if len(others) + self._pool.size < self._max_kernels:
                return
            if await self._pool.give_up():
                continue
            idle = [s for s in others if not (s.busy or s.held or s in passed)]
            if not idle:
                raise NoCapacity(self._max_kernels)
            longest = max(idle, key=lambda session: session.idle_s)
            passed.add(longest)
            if await longest.cull(_CROWDED_OUT, save_s=_CROWDED_SAVE_S):
                self.metrics.culled("room")

    def _room_for_spares(self) -> int:
        """How many kernels may live beside those of sessions."""
        return self._max_kernels - sum(session.live for session in self._sessions.values())

    async def _cull_idle(self) -> None:
        if self.settings.kernel_idle_s < 0:
            return
        places = asyncio.Semaphore(_CULLED_AT_ONCE)
        at_it: set[Session] = set()

        async def cull(session: Session) -> None:
            try:
                async with places:
                    await self._cull_if_idle(session)
            except Exception:  # the others' turn comes all the same
                log.exception("a session could not be culled", user_id=session.user_id)
            finally:
                at_it.discard(session)

        async with asyncio.TaskGroup() as culls:
            while True:
                await asyncio.sleep(min(_CULL_INTERVAL_S, self.settings.kernel_idle_s))
                # No rounds: one that is deaf, or slow to save, must not keep the others waiting.
                for session in {*self._sessions.values()} - at_it:
                    at_it.add(session)
                    culls.create_task(cull(session))

    async def _cull_if_idle(self, session: Session) -> None:
        idle_s = session.idle_s
        if session.busy or session.held or idle_s <= self.settings.kernel_idle_s:
            return
        if session.live:
            if await session.cull(_CULLED):
                log.info("kernel culled", user_id=session.user_id, idle_s=round(idle_s))
                self.metrics.culled("idle")
        elif idle_s > self.settings.kernel_idle_s + _WORKING_DIRECTORY_KEPT_S:
            await session.close()

    async def _save_regularly(self) -> None:
        """Save sessions that ran cells since, one at a time; forget what is too old."""
        interval_s = self.settings.snapshot_interval_s
        for count in itertools.count():
            await asyncio.sleep(min(_SAVE_LOOK_S, interval_s) if interval_s > 0 else _SAVE_LOOK_S)
            try:
                for session in list(self._sessions.values()):
                    if interval_s > 0 and session.is_save_due(interval_s):
                        await session.save_state()
                if count % _EXPIRED_EVERY == 0:
                    kept_s = max(0.0, self.settings.kernel_idle_s) + _WORKING_DIRECTORY_KEPT_S
                    await asyncio.to_thread(self._snapshots.expire, older_than_s=kept_s)
            except Exception:  # the next round may be luckier
                log.exception("sessions could not be saved")

    async def _save_all(self) -> None:
        """Save all idle sessions, a few at a time, before the service ends and leaves kernels.

        Those that took long the last time come last, so that they can't use up the others' time.
        """
        places = asyncio.Semaphore(_SAVED_AT_ONCE)

        async def save(session: Session) -> None:
            async with places:
                await session.save_state(time_s=max(_SAVE_ONE_S, _SAVE_AGAIN * session.save_took_s))

        with suppress(TimeoutError):
            async with asyncio.timeout(_SAVE_ALL_S):
                by_time = sorted(self._sessions.values(), key=lambda one: one.save_took_s)
                saving = [save(session) for session in by_time]
                await asyncio.gather(*saving, return_exceptions=True)

    async def _sample_regularly(self) -> None:
        for count in itertools.count():
            await asyncio.sleep(_SAMPLE_INTERVAL_S)
            also_idle = count % _IDLE_SAMPLED_EVERY == 0
            for session in list(self._sessions.values()):
                try:
                    session.sample(also_idle=also_idle)
                except Exception:  # one kernel's numbers must not keep the others' from being read
                    log.exception("a kernel could not be sampled", user_id=session.user_id)
                await asyncio.sleep(0)

    def _file_changed(self, event: FileEvent) -> None:
        session = self._sessions.get(event.file.user_id)
        if session is not None:
            session.file_changed(event)
        if session is None or not session.live:
            self._belongings.expect(event.file.user_id)

    def _forget(self, session: Session) -> None:
        if self._sessions.get(session.user_id) is session:
            del self._sessions[session.user_id]

    async def _reattach(self) -> None:
        reattaching = Reattaching(
            store=self._store,
            host=self._host,
            intake=self._intake,
            metrics=self.metrics,
            make_session=self._make_session,
            cell_timeout_s=self.settings.cell_timeout_s,
            snapshot_bytes=self.settings.snapshot_bytes,
        )
        self._reattached = await reattaching.run()
        await asyncio.to_thread(self._notebooks.keep_only, frozenset(self._sessions))

    def _has_others(self, user_id: str) -> bool:
        """Whether there are sessions of others."""
        self._closed = True
        return any(session.user_id != user_id for session in self._sessions.values())

    async def _leave(self, but: str | None) -> None:
        """End, but leave sessions to a later service: kernels and the cells they run, or, if all
        was stopped, their saved variables.

        Cancelled here, by a second Ctrl-C say, it leaves them all the same, only less well saved.

        Args:
            but: whose session ends; None for nobody's. If all was stopped, it is left as well.
        """
        self._closed = True
        if not self._is_stopped:
            self._host.detach()
        try:
            await asyncio.gather(*self._deletions.values(), return_exceptions=True)
            if but is not None and not self._is_stopped:
                await self._close_session(but)
            await self._save_all()
        finally:
            leaving = [session.leave() for session in self._sessions.values()]
            for failure in await asyncio.gather(*leaving, return_exceptions=True):
                if isinstance(failure, BaseException):
                    log.error("a session could not be left", reason=repr(failure))

    async def _close_session(self, user_id: str) -> None:
        session = self.find_session(user_id)
        if session is not None:
            try:
                await session.close()
            except Exception:  # the others' are to be left all the same
                log.exception("a session could not be closed", user_id=user_id)

    def _stop(self, opener: "asyncio.Task[Any] | None") -> None:
        """Have the program end, and all kernels with it, whatever was planned for them."""
        self._is_stopped = True
        end_this_program(opener)

    async def _close(self) -> None:
        self._closed = True
        await self._belongings.close()
        await asyncio.gather(*self._deletions.values(), return_exceptions=True)
        closing = [session.close() for session in self._sessions.values()]
        for failure in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(failure, BaseException):
                log.error("a session could not be closed", reason=repr(failure))


def _leave_alone(host: KernelHost, *, unless: asyncio.Event) -> None:
    """Have kernels of an earlier service live on if this one doesn't get as far as having them."""
    if not unless.is_set():
        host.detach()


def local_host(
    settings: Settings, on_progress: Callable[[str], None] | None
) -> AbstractAsyncContextManager[LocalKernelHost]:
    """This machine as a host of kernels, as the settings say."""
    return LocalKernelHost.open(
        data_dir=settings.data_dir,
        kernel_env_dir=settings.kernel_env_dir,
        limits=Limits.of(settings),
        sandbox=settings.sandbox,
        kernel_python=settings.kernel_python,
        kernel_uid=settings.kernel_uid,
        orphan_s=settings.orphan_s,
        reattach=True,
        index=_index(settings) if settings.install_packages else None,
        install_limits=InstallLimits(
            download_bytes=settings.package_download_bytes,
            layer_bytes=settings.user_packages_bytes,
            layer_files=_LAYER_FILES,
            timeout_s=settings.install_timeout_s,
            layers=_LAYERS,
            cache_bytes=settings.package_cache_bytes,
        ),
        on_progress=on_progress,
    )


def _index(settings: Settings) -> IndexSettings:
    index, extra = settings.package_index, settings.package_extra_indexes
    return IndexSettings(
        index=None if index is None else index.get_secret_value(),
        extra=() if extra is None else tuple(listed(extra.get_secret_value())),
        file_hosts=tuple(listed(settings.package_hosts)),
        offline=settings.package_offline,
    )


def _most_spares(settings: Settings, max_kernels: int) -> int:
    """How many spare kernels there may be when many users come."""
    if settings.warm_kernels_max is not None:
        return settings.warm_kernels_max
    if settings.warm_kernels == 0:
        return 0
    return max(settings.warm_kernels, int(max_kernels * _SPARE_SHARE))


def kernels_for_this_machine() -> int:
    """How many kernels may live at once where nothing is set: as many as memory allows."""
    return kernels_for(machine_memory_bytes())


def kernels_for(memory_bytes: int) -> int:
    """How many kernels may live at once in so much memory."""
    return max(2, int(memory_bytes * _MEMORY_SHARE / _TYPICAL_KERNEL_BYTES))
