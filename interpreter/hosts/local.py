"""LocalKernelHost: runs kernels on this machine, forked from one fork server in a sandbox."""

import asyncio
import os
import resource
import secrets
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import kernel_startup
from interpreter.errors import DataDirectoryUnusable, HostError, KernelStartFailed
from interpreter.files import StoredFile
from interpreter.hosts import slots
from interpreter.hosts.backends import Confinement, Surroundings, choose_confinement
from interpreter.hosts.base import (
    ExitCause,
    HostedKernel,
    KernelExit,
    Resources,
    WorkingDirectory,
)
from interpreter.hosts.cgroup import ControlGroups, KernelGroup, open_control_groups
from interpreter.hosts.control import ControlChannel, ControlDirectory, ControlMessage
from interpreter.hosts.forks import Fork, hold, prefer_to_end, remove_group, weigh
from interpreter.hosts.held_process import HeldProcess, boot_id, parent_of
from interpreter.hosts.installing import (
    IndexSettings,
    InstallFailed,
    InstallLimits,
    Layer,
    Locked,
    PackageInstaller,
)
from interpreter.hosts.leftovers import GROUPS_FILE, clear_slots, end_leftovers
from interpreter.hosts.record import KernelRecord
from interpreter.hosts.server import SERVER_PREFIX, ForkServer
from interpreter.hosts.servers import ForkServers
from interpreter.hosts.short_path import ShortPath
from interpreter.hosts.startup import kept_startup
from interpreter.hosts.strays import end_strays, strays_in
from interpreter.hosts.users import UserIds
from interpreter.hosts.watch import Allowance, Notes, Watched, Watcher
from interpreter.kernel_env import ensure_kernel_environment
from interpreter.limits import Limits
from interpreter.logs import get_logger
from kernel_startup.connection import PORTS

log = get_logger(__name__)

T = TypeVar("T")

_KERNEL_START_S = 30.0
_KILL_S = 10.0
#: How long a kernel of an earlier service may take to answer.
_ADOPT_S = 10.0
#: So many kernels are forked at a time: more would only take longer, each of them.
_FORKS_AT_ONCE = 4
#: How nice an init and a kernel are, and how nice while they are started for nobody yet.
_INIT_NICE, _KERNEL_NICE, _BACKGROUND_NICE = 0, 5, 15
#: Of so many kernels that have ended it is remembered how.
_EXITS = 1000
_MOST_FILES = 65_536
#: A layer that was asked for is shown to a kernel within this time, if ever.
_SHOWN_SOON_S = 60.0
#: How kernels end whose files are too much, or may be: then what they wrote last goes.
_FULL: Collection[ExitCause] = ("room", "files", "disk")
#: How long it may take to measure what a kernel has left: 50,000 files take a third of a second.
_MEASURE_S = 5.0


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A kernel that is to be: its limits, whether others go first, and the key of its messages."""

    limits: Limits
    background: bool
    key: str


class _ServerGone(KernelStartFailed):
    """The fork server ended before it got round to forking."""


@dataclass(slots=True)
class LocalKernelHost:
    """Runs kernels on this machine. Made by :meth:`open`.

    Attributes:
        limits: what each kernel may use that is started without limits of its own.
        backend: what confines them: ``namespaces``, ``landlock`` or ``none``.
    """

    limits: Limits
    _confinement: Confinement
    _control: ControlDirectory
    _socket_root: Path
    _groups: ControlGroups | None
    _orphan_s: float
    _installer: PackageInstaller | None = None
    _reattach: bool = False
    _users: UserIds | None = None
    _servers: ForkServers = field(init=False)
    _forks: dict[str, Fork] = field(default_factory=dict)
    _exits: dict[str, KernelExit] = field(default_factory=dict)
    _starting: dict[str, str] = field(default_factory=dict)
    _adopting: set[str] = field(default_factory=set)
    _opened: set[str] = field(default_factory=set)
    _owners: dict[str, int] = field(default_factory=dict)
    _trims: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _renewals: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _built: dict[str, float] = field(default_factory=dict)
    _tasks: set["asyncio.Task[Any]"] = field(default_factory=set)
    _chores: set["asyncio.Task[Any]"] = field(default_factory=set)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_FORKS_AT_ONCE))
    _detached: bool = False

    def __post_init__(self) -> None:
        """Have fork servers, none of which is started yet."""
        self._servers = ForkServers(
            self._confinement,
            self._control,
            orphan_s=self._orphan_s,
            in_use=self._servers_in_use,
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        data_dir: Path,
        kernel_env_dir: Path,
        limits: Limits,
        sandbox: str = "namespaces",
        kernel_python: Path | None = None,
        kernel_uid: int = 52525,
        orphan_s: float = 0.0,
        reattach: bool = False,
        index: IndexSettings | None = None,
        install_limits: InstallLimits | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> AsyncGenerator["LocalKernelHost"]:
        """Build the kernels' environment if need be, and start the fork server.

        The fork server imports its modules while the caller goes on; the first kernel waits for it.

        Args:
            data_dir: slots are made in ``sessions`` below it; on one file system with stored files.
            kernel_env_dir: where kernels' environments are kept.
            limits: what each kernel may use.
            sandbox: the backend: ``namespaces``, ``landlock``, ``auto`` for the stronger one that
                works, or ``none``.
            kernel_python: the Python for a new environment; None takes the running one.
            kernel_uid: kernels run as users of their own above this id, when this process is root.
            orphan_s: how long kernels live on, in seconds, when this process has gone without
                closing the host, or after :meth:`detach`; 0: not at all.
            reattach: leave what an earlier service has left, for :meth:`adopt`.
            index: where packages come from; None for a host that installs none.
            install_limits: what an installation may take.
            on_progress: gets a line for a person about each longer step.

        Raises:
            KernelEnvironmentFailed: the environment could not be built.
            SandboxUnavailable: the backend can't work here, with the reason and the remedy.
            DataDirectoryUnusable: slots can't be made in it.
        """
        environment = await ensure_kernel_environment(
            root=kernel_env_dir, python=kernel_python, on_progress=on_progress
        )
        sessions, packages = data_dir / "sessions", data_dir / "packages"
        _allow_many_files()
        own_user = os.geteuid() == 0
        async with AsyncExitStack() as stack:
            try:
                control = ControlDirectory(data_dir / "control")
                if not reattach:
                    await end_leftovers(data_dir)
                await asyncio.to_thread(_make_passable, sessions, packages, packages / "layers")
                memory = control.path / GROUPS_FILE
                groups = await asyncio.to_thread(open_control_groups, memory, again=reattach)
                stack.enter_context(environment.hold())
                package = Path(kernel_startup.__file__).parent
                keeping = kept_startup(package, environment.path.parent / "startup")
                around = Surroundings(
                    environment=environment,
                    startup=await asyncio.to_thread(stack.enter_context, keeping),
                    sessions=sessions,
                    layers=packages / "layers",
                    invented=data_dir / "etc",
                    kernel_uid=kernel_uid if own_user else None,
                    counted=groups is not None,
                )
                confinement = await choose_confinement(sandbox, around)
            except OSError as error:
                where = Path(error.filename or sessions).name
                reason = f"{where}: {error.strerror or error}"
                raise DataDirectoryUnusable(data_dir, reason) from error
            socket_root = stack.enter_context(ShortPath(sessions))
            installer = None
            if index is not None:
                opening = PackageInstaller.open(
                    root=packages,
                    environment=environment,
                    backend=confinement.backend,
                    index=index,
                    limits=install_limits or InstallLimits(),
                )
                try:
                    installer = await stack.enter_async_context(opening)
                except InstallFailed as failure:  # kernels work without
                    log.error("no packages can be installed", reason=failure.detail)
            host = cls(
                limits=limits,
                _confinement=confinement,
                _control=control,
                _socket_root=socket_root,
                _groups=groups,
                _orphan_s=orphan_s,
                _installer=installer,
                _reattach=reattach,
                _users=UserIds(kernel_uid) if own_user else None,
            )
            try:
                if reattach:
                    await host._find_earlier()
                watcher = Watcher(
                    sessions,
                    counted=groups is not None,
                    kernels=lambda: list(host._forks.values()),
                    end=host._end_for,
                    all_cpu_s=None if groups is None else groups.cpu_s,
                )
                host._chores.add(host._spawn(watcher.run()))
                host._chores.add(host._spawn(host._start_early()))
                yield host
            finally:
                await host._close()

    @property
    def backend(self) -> str:
        """What confines kernels: ``namespaces``, ``landlock`` or ``none``."""
        return self._confinement.backend

    @property
    def fork_server_pid(self) -> int | None:
        """The process that all kernels of the running fork server are below; None without one."""
        server = self._servers.current
        return None if server is None or not server.running else server.pid

    # -- kernels ---------------------------------------------------------------------------------

    async def start(
        self,
        slot: str | None,
        *,
        memory_bytes: int | None = None,
        background: bool = False,
        key: str | None = None,
    ) -> HostedKernel:
        """See :meth:`KernelHost.start`.

        Args:
            key: that of an earlier kernel in the slot, whose clients are to have this one; None
                makes another.
        """
        limits = self.limits
        if memory_bytes is not None:
            limits = replace(limits, memory_bytes=memory_bytes)
        wanted = _Wanted(limits, background, key or secrets.token_hex(32))
        async with self._places:
            try:
                if slot is None:
                    return await self._fork_newcomer(wanted)
                return await self._fork_again(slot, wanted)
            except OSError as error:  # of its directory, or there are no descriptors left
                raise KernelStartFailed(reason=error.strerror or str(error)) from error

    async def _fork_again(self, slot: str, wanted: _Wanted) -> HostedKernel:
        await self._trimmed(slot)
        await self._renewed(slot)  # by an earlier start that was given up
        renewal = asyncio.to_thread(slots.renew, self._path(slot), owner=self._owners.get(slot))
        self._renewals[slot] = self._spawn(renewal)
        await self._renewed(slot)
        return await self._fork(slot, wanted)

    async def signal(self, kernel_id: str, signum: int) -> bool:
        """See :meth:`KernelHost.signal`."""
        fork = self._forks.get(kernel_id)
        if fork is None or fork.process is None:
            return False
        try:
            # By descriptor first: it can't hit another process that got the number meanwhile.
            fork.process.signal(0)
            os.killpg(fork.kernel.pid, signum)
        except ProcessLookupError:
            return False
        except PermissionError as error:  # root without CAP_KILL; its init can still end it
            log.error("a kernel could not be signalled", reason=str(error))
        return True

    async def kill(self, kernel_id: str) -> None:
        """See :meth:`KernelHost.kill`."""
        fork = self._forks.get(kernel_id)
        if fork is None:
            return
        self._end_for(fork, "stopped")
        try:
            async with asyncio.timeout(_KILL_S):
                await asyncio.shield(fork.ended)
        except TimeoutError:  # its init was to end it, and doesn't get round to it
            log.warning("a kernel's init does not answer", kernel_id=kernel_id)
            fork.kill_init()

    async def wait(self, kernel_id: str) -> KernelExit:
        """See :meth:`KernelHost.wait`."""
        fork = self._forks.get(kernel_id)
        if fork is None:
            return self._exits.get(kernel_id, KernelExit("stopped"))
        return await asyncio.shield(fork.ended)

    @property
    def measures_cheaply(self) -> bool:
        """See :meth:`KernelHost.measures_cheaply`."""
        return self._groups is not None  # else it is to add up its processes' memory

    def resources(self, kernel_id: str) -> Resources | None:
        """See :meth:`KernelHost.resources`."""
        fork = self._forks.get(kernel_id)
        return None if fork is None else fork.resources()

    # -- kernels that outlive a service -----------------------------------------------------------

    def provisioner_info(self, kernel_id: str) -> Mapping[str, Any] | None:
        """See :meth:`KernelHost.provisioner_info`."""
        fork = self._forks.get(kernel_id)
        return None if fork is None else fork.record(self.backend).for_json()

    async def adopt(self, info: Mapping[str, Any]) -> HostedKernel | None:
        """See :meth:`KernelHost.adopt`."""
        record = KernelRecord.parse(info)
        if record is None or (record.boot, record.backend) != (boot_id(), self.backend):
            return None
        if record.kernel_id in self._forks or record.kernel_id in self._adopting:
            return None
        self._adopting.add(record.kernel_id)
        try:
            return await self._adopt(record)
        finally:
            self._adopting.discard(record.kernel_id)

    async def _adopt(self, record: KernelRecord) -> HostedKernel | None:
        opened: list[HeldProcess | ControlChannel] = []
        try:
            init = HeldProcess.hold(record.init_pid, started=record.init_started)
            if init is None:
                return None
            opened.append(init)
            owner = await asyncio.to_thread(slots.owner_of, self._path(record.slot))
            channel = self._control.connect(record.kernel_id)
            opened.append(channel)
            channel.send({"orphan_s": self._orphan_s})
            async with asyncio.timeout(_ADOPT_S):
                answer = await channel.receive()
            if answer is None or answer.pid != init.pid or answer.event != "waiting":
                log.warning("a kernel is not the one it should be", kernel_id=record.kernel_id)
                raise ConnectionRefusedError(record.kernel_id)
            process = HeldProcess.hold(record.kernel_pid, started=record.kernel_started)
            if process is not None and parent_of(process.pid) != init.pid:
                process.close()
                process = None
        except BaseException as error:
            for end in opened:
                end.close()
            if isinstance(error, (OSError, TimeoutError)):
                return None
            raise
        if owner is not None and self._users is not None:
            self._users.mark(owner)
            self._owners[record.slot] = owner
        kernel = HostedKernel(
            kernel_id=record.kernel_id,
            slot=record.slot,
            pid=record.kernel_pid,
            connection=self._connection(record.slot, record.key),
            started_at=record.started_at,
        )
        self._attend_to(
            Fork(
                kernel=kernel,
                server_id=record.server_id,
                init=init,
                process=process,
                group=None if self._groups is None else self._groups.find(record.kernel_id),
                channel=channel,
                ended=asyncio.get_running_loop().create_future(),
                watch=Notes(fitted_ns=record.fitted_ns),
                limits=record.limits,
                owner=self._owners.get(record.slot),
            )
        )
        log.info("kernel adopted", kernel_id=record.kernel_id)
        return kernel

    async def settle(self, keep: Collection[str]) -> None:
        """See :meth:`KernelHost.settle`."""
        living = self._own_kernels()
        await end_strays(self._control, but=living)
        if self._groups is not None:
            await asyncio.to_thread(self._groups.sweep, living)
        used = {fork.slot for fork in self._forks.values()} | {*keep}
        for path in await asyncio.to_thread(list, self._confinement.sessions.iterdir()):
            if path.name not in used and path.name not in self._opened:
                if (owner := self._owners.get(path.name)) is not None:
                    await asyncio.to_thread(slots.remove_shared_memory, owner)
                await self.close_slot(path.name)
        await self._servers.settle()

    def has_strays(self) -> bool:
        """Whether an earlier service has left kernels that were not adopted, dead or alive."""
        return bool(strays_in(self._control, but=self._own_kernels()))

    def _own_kernels(self) -> set[str]:
        return {*self._forks, *self._adopting, *self._starting}

    def detach(self) -> None:
        """See :meth:`KernelHost.detach`."""
        self._detached = True

    async def _find_earlier(self) -> None:
        """Find what an earlier service has left: fork servers, and the users of its slots."""
        names = await asyncio.to_thread(self._control.sockets)
        self._servers.rejoin([name for name in names if name.startswith(SERVER_PREFIX)])
        if self._users is None:
            return
        for path in await asyncio.to_thread(list, self._confinement.sessions.iterdir()):
            with suppress(OSError):
                owner = await asyncio.to_thread(slots.owner_of, path)
                if owner is not None:
                    self._users.mark(owner)
                    self._owners[path.name] = owner

    # -- files -----------------------------------------------------------------------------------

    async def open_slot(self) -> str:
        """See :meth:`KernelHost.open_slot`."""
        name = secrets.token_hex(8)
        self._opened.add(name)
        owner = None
        if self._users is not None:
            owner = self._owners[name] = await asyncio.to_thread(self._users.take)
        await asyncio.to_thread(slots.create, self._path(name), owner=owner)
        return name

    async def close_slot(self, slot: str) -> None:
        """See :meth:`KernelHost.close_slot`."""
        await self._trimmed(slot)
        with suppress(OSError):
            await self._renewed(slot)
        try:
            await asyncio.to_thread(slots.remove, self._path(slot))
        except OSError as error:
            log.warning("a slot could not be removed", slot=slot, reason=str(error))
            return
        self._opened.discard(slot)
        owner = self._owners.pop(slot, None)
        if self._users is not None and owner is not None:
            self._users.give_back(owner)

    async def has_slot(self, slot: str) -> bool:
        """See :meth:`KernelHost.has_slot`."""
        return await asyncio.to_thread(self._path(slot).is_dir)

    async def put_file(self, slot: str, file: StoredFile) -> None:
        """See :meth:`KernelHost.put_file`."""
        await asyncio.to_thread(slots.put_file, self._path(slot), file)

    async def remove_file(self, slot: str, file_id: str) -> None:
        """See :meth:`KernelHost.remove_file`."""
        await asyncio.to_thread(slots.remove_file, self._path(slot), file_id)

    async def has_snapshot(self, slot: str) -> bool:
        """See :meth:`KernelHost.has_snapshot`."""
        return await asyncio.to_thread(slots.has_snapshot, self._path(slot))

    async def take_snapshot(self, slot: str, target: Path, *, most_bytes: int) -> int:
        """See :meth:`KernelHost.take_snapshot`."""
        path = self._path(slot)
        return await asyncio.to_thread(slots.take_snapshot, path, target, most_bytes=most_bytes)

    def allow(self, kernel_id: str, extra_bytes: int, *, for_s: float) -> Callable[[], None]:
        """See :meth:`KernelHost.allow`."""
        fork = self._forks.get(kernel_id)
        if fork is None:
            return lambda: None
        allowance = Allowance(extra_bytes)
        fork.watch.allow(allowance)

        def end() -> None:
            timer.cancel()
            fork.timers.discard(timer)
            fork.watch.allow_no_more(allowance)

        async def expire() -> None:
            try:
                if fork.watch.allowances == [allowance]:  # else it may be the later one's
                    await asyncio.to_thread(slots.drop_snapshot, self._path(fork.slot))
            finally:
                end()

        loop = asyncio.get_running_loop()
        timer = loop.call_later(for_s, lambda: self._chores.add(self._spawn(expire())))
        fork.timers.add(timer)
        return end

    async def give_snapshot(self, slot: str, snapshot: Path | None) -> None:
        """See :meth:`KernelHost.give_snapshot`."""
        await asyncio.to_thread(slots.give_snapshot, self._path(slot), snapshot)

    async def shown_files(self, slot: str) -> Collection[str]:
        """See :meth:`KernelHost.shown_files`."""
        return await asyncio.to_thread(slots.shown_files, self._path(slot))

    # -- packages --------------------------------------------------------------------------------

    def core_packages(self) -> Mapping[str, str]:
        """See :meth:`KernelHost.core_packages`."""
        return self._installer.core() if self._installer is not None else {}

    async def lock_packages(
        self, requirements: Sequence[str], *, keep: str = "", upgrade: Sequence[str] = ()
    ) -> Locked:
        """See :meth:`KernelHost.lock_packages`."""
        return await self._packages().resolve(requirements, keep=keep, upgrade=upgrade)

    async def install(self, locked: Locked) -> Layer:
        """See :meth:`KernelHost.install`."""
        installer = self._packages()
        layer = await installer.build(locked)
        self._built[layer.layer_id] = time.monotonic()
        self._chores.add(self._spawn(self._prune(installer)))
        return layer

    async def show_layer(self, slot: str, layer: Layer | None) -> None:
        """See :meth:`KernelHost.show_layer`."""
        target = None if layer is None else self._confinement.layer_path(layer.layer_id)
        await asyncio.to_thread(slots.show_layer, self._path(slot), target)

    def _packages(self) -> PackageInstaller:
        if self._installer is None:
            raise InstallFailed("internal", "", "this host installs no packages")
        return self._installer

    async def _prune(self, installer: PackageInstaller) -> None:
        """Remove what is too much of layers and cache, but nothing that a kernel can see."""
        try:
            shown = await asyncio.to_thread(self._shown_layers)
            oldest = time.monotonic() - _SHOWN_SOON_S
            self._built = {name: at for name, at in self._built.items() if at > oldest}
            await installer.prune(shown | self._built.keys())
        except (InstallFailed, OSError) as error:
            log.warning("unused packages could not be removed", reason=str(error))

    def _shown_layers(self) -> set[str]:
        found = (slots.shown_layer(slot) for slot in self._confinement.sessions.iterdir())
        return {name for name in found if name is not None}

    async def _trimmed(self, slot: str) -> None:
        trim = self._trims.pop(slot, None)
        if trim is not None:
            await asyncio.shield(trim)

    async def _renewed(self, slot: str) -> None:
        """Wait until a slot is fit for a new kernel; a caller who gives up doesn't stop that."""
        renewal = self._renewals.get(slot)
        if renewal is None:
            return
        try:
            await asyncio.shield(renewal)
        finally:
            if renewal.done() and self._renewals.get(slot) is renewal:
                del self._renewals[slot]

    async def scan(self, slot: str) -> WorkingDirectory:
        """See :meth:`KernelHost.scan`."""
        if (trim := self._trims.get(slot)) is not None:
            await asyncio.shield(trim)  # what goes isn't an artifact
        return await asyncio.to_thread(slots.scan, self._path(slot))

    async def read(self, slot: str, path: str) -> AsyncIterator[bytes]:
        """See :meth:`KernelHost.read`."""
        pieces = slots.read(self._path(slot), path)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece

    def _path(self, slot: str) -> Path:
        return self._confinement.sessions / slot

    async def _fork_newcomer(self, wanted: _Wanted) -> HostedKernel:
        """Fork a kernel in a slot of its own, which goes again if that fails."""
        slot = await self.open_slot()
        try:
            return await self._fork(slot, wanted)
        except BaseException:
            await asyncio.shield(self._spawn(self.close_slot(slot)))
            raise

    # -- forking ---------------------------------------------------------------------------------

    async def _fork(self, slot: str, wanted: _Wanted) -> HostedKernel:
        try:
            return await self._fork_as(secrets.token_hex(8), slot, wanted)
        except _ServerGone as error:
            log.warning("a kernel is started once more", reason=error.reason)
            return await self._fork_as(secrets.token_hex(8), slot, wanted)

    async def _fork_as(self, kernel_id: str, slot: str, wanted: _Wanted) -> HostedKernel:
        try:
            return await self._fork_now(kernel_id, slot, wanted)
        finally:
            self._starting.pop(kernel_id, None)

    async def _fork_now(self, kernel_id: str, slot: str, wanted: _Wanted) -> HostedKernel:
        limits, background = wanted.limits, wanted.background
        channel = ControlChannel.pair()
        opened: list[HeldProcess] = []
        group: KernelGroup | None = None
        server: ForkServer | None = None
        own_uid = self._owners.get(slot)
        try:
            async with asyncio.timeout(_KERNEL_START_S):
                started_ns = time.time_ns()
                server = await self._ask_for_fork(kernel_id, channel)
                channel.send(
                    {
                        "slot": self._confinement.slot_path(slot),
                        "sockets": self._confinement.sockets(slot, self._socket_root),
                        "key": wanted.key,
                        "limits": limits.for_kernel(),
                        "output_chars": limits.output_chars,
                        "uid": own_uid,
                        "orphan_s": self._orphan_s,
                    }
                )
                confined = await self._expect(server, channel, "confined")
                opened.append(hold(confined.pid))
                if self._groups is not None:
                    group = self._groups.create(kernel_id, limits)
                    group.add(confined.pid)
                if background:
                    weigh(group, {confined.pid: _BACKGROUND_NICE}, light=True)
                channel.send({"go": True})
                forked = await self._expect(server, channel, "forked")
                opened.append(hold(forked.pid))
                prefer_to_end(forked.pid)
                channel.send({"go": True})
                await self._expect(server, channel, "ready")
                if background:
                    usual = {confined.pid: _INIT_NICE, forked.pid: _KERNEL_NICE}
                    weigh(group, usual, light=False)
        except BaseException as error:
            if opened and self._confinement.own_processes:
                opened[0].kill()
            for process in opened:
                process.close()
            self._spawn(self._dismiss(kernel_id, channel))
            if group is not None:
                self._spawn(remove_group(group))
            if isinstance(error, TimeoutError):
                if not opened and server is not None:
                    log.error("the fork server does not answer; a new one takes its place")
                    self._servers.retire(server)
                reason = f"it was not ready within {_KERNEL_START_S:.0f} s"
                raise KernelStartFailed(reason=reason) from error
            raise
        kernel = HostedKernel(
            kernel_id=kernel_id,
            slot=slot,
            pid=forked.pid,
            connection=self._connection(slot, wanted.key),
            started_at=datetime.now(UTC),
        )
        self._attend_to(
            Fork(
                kernel=kernel,
                server_id=server.server_id,
                init=opened[0],
                process=opened[1],
                group=group,
                channel=channel,
                ended=asyncio.get_running_loop().create_future(),
                watch=Notes(fitted_ns=started_ns),
                limits=limits,
                owner=own_uid,
            )
        )
        return kernel

    async def _ask_for_fork(self, kernel_id: str, channel: ControlChannel) -> ForkServer:
        """Have a fork server fork; if it has just ended, its successor."""
        listener = self._control.listen(kernel_id)
        try:
            server = await self._servers.ready()
            self._starting[kernel_id] = server.server_id
            try:
                server.fork(channel.theirs, listener)
            except OSError as error:
                log.error("the fork server can't be asked", reason=str(error))
                self._servers.retire(server)
                server = await self._servers.ready()
                self._starting[kernel_id] = server.server_id
                server.fork(channel.theirs, listener)
        finally:
            listener.close()
            channel.theirs.close()
        return server

    async def _dismiss(self, kernel_id: str, channel: ControlChannel) -> None:
        """Have a kernel that doesn't become one end; it is nobody's, also for a later service."""
        channel.finish()
        with suppress(TimeoutError):
            async with asyncio.timeout(_KILL_S):
                while await channel.receive() is not None:
                    pass
        channel.close()
        self._control.remove(kernel_id)

    def _servers_in_use(self) -> set[str]:
        return {*(fork.server_id for fork in self._forks.values()), *self._starting.values()}

    async def _expect(
        self, server: ForkServer, channel: ControlChannel, event: str
    ) -> ControlMessage:
        message = await channel.receive()
        if message is None:
            reason = await server.why_ended()
            if event == "confined" and not server.running:
                raise _ServerGone(reason=reason)
            raise KernelStartFailed(reason=reason)
        if message.event == "exited":
            status = os.waitstatus_to_exitcode(int(message.content["status"]))
            how = f"exit status {status}" if status >= 0 else f"signal {-status}"
            raise KernelStartFailed(reason=f"it ended before it was ready ({how})")
        if message.event != event:
            raise KernelStartFailed(reason=str(message.content.get("reason", "it said nonsense")))
        return message

    def _connection(self, slot: str, key: str) -> dict[str, str | int]:
        return {
            "transport": "ipc",
            "ip": str(self._socket_root / slot / "run" / "s"),
            "key": key,
            "signature_scheme": "hmac-sha256",
            "kernel_name": "cellmate",
            **PORTS,
        }

    def _attend_to(self, fork: Fork) -> None:
        self._forks[fork.kernel.kernel_id] = fork
        fork.attending = self._spawn(self._attend(fork))

    async def _attend(self, fork: Fork) -> None:
        """Wait for a kernel's end, and clear up behind it."""
        status = fitted_ns = None
        while (message := await fork.channel.receive()) is not None:
            # The kernel's own code never holds this socket, but init's word alone counts.
            if message.pid == fork.init.pid and message.event == "exited":
                status = int(message.content["status"])
                if message.content.get("cause") == "disk" and fork.cause is None:
                    # No service was there to see to that. The watcher here may have looked since.
                    fork.cause, fitted_ns = "disk", int(message.content["fitted_ns"])
                fork.channel.finish()  # heard
        fork.ending = True
        fork.kill_init()
        with suppress(TimeoutError):
            # Its descriptors are closed before the processes below it end.
            async with asyncio.timeout(_KILL_S):
                await fork.init.ended()
        cause = fork.exit_with(status)
        if cause.cause not in _FULL and (broken := await self._limit_broken(fork)) is not None:
            cause = replace(cause, cause=broken)
        if cause.cause in _FULL:
            since_ns = [ns for ns in (fitted_ns, fork.watch.fitted_ns) if ns is not None]
            self._trims[fork.slot] = self._spawn(self._trim(fork, since_ns))
        if fork.owner is not None:
            await asyncio.to_thread(slots.remove_shared_memory, fork.owner)
        del self._forks[fork.kernel.kernel_id]
        fork.close()
        self._control.remove(fork.kernel.kernel_id)
        fork.ended.set_result(cause)
        self._exits[fork.kernel.kernel_id] = cause
        if len(self._exits) > _EXITS:
            del self._exits[next(iter(self._exits))]
        log.info("kernel ended", kernel_id=fork.kernel.kernel_id, cause=cause.cause)
        self._servers.release()
        if fork.group is not None:
            await remove_group(fork.group)

    async def _limit_broken(self, fork: Fork) -> ExitCause | None:
        """Which limit that has ended is above with the files it leaves to the next kernel, if any.

        The watcher comes by four times a second only, and would end that one in place of this.
        """
        try:
            async with asyncio.timeout(_MEASURE_S):
                use = await asyncio.to_thread(
                    slots.measure,
                    self._path(fork.slot),
                    most_files=fork.limits.disk_files,
                    tops=slots.KEPT,
                )
        except (OSError, TimeoutError) as error:
            reason = str(error) or "timeout"
            log.warning("what a kernel left was not measured", slot=fork.slot, reason=reason)
            return None
        if use.room_bytes > fork.limits.disk_bytes:
            return "room"
        return None if use.complete else "files"

    async def _trim(self, fork: Fork, since_ns: Sequence[int]) -> None:
        """Remove what a kernel wrote too much, so that the next one can work; that one waits."""
        try:
            trimmed = await asyncio.to_thread(
                slots.trim,
                self._path(fork.slot),
                since_ns=since_ns,
                most_bytes=fork.limits.disk_bytes,
                most_files=fork.limits.disk_files,
            )
            if not trimmed:
                log.warning("a full slot had to be emptied", slot=fork.slot)
        except OSError as error:
            log.warning("a full slot could not be trimmed", slot=fork.slot, reason=str(error))

    def _end_for(self, fork: Watched, cause: ExitCause) -> None:
        """End a kernel and all that it started, for a reason; the first one given counts.

        Whoever gives it may have looked at the kernel a while ago: nothing is done to what has
        ended.
        """
        assert isinstance(fork, Fork)
        if self._forks.get(fork.kernel.kernel_id) is not fork:
            return
        if fork.cause is None:
            fork.cause = cause
            log.info("kernel is being ended", kernel_id=fork.kernel.kernel_id, cause=cause)
        if self._confinement.own_processes:
            fork.kill_init()
        else:
            if fork.group is not None:
                fork.group.unleash()
            fork.channel.finish()  # its init kills what there is, and then reports

    # -- the beginning and the end ---------------------------------------------------------------

    async def _start_early(self) -> None:
        try:
            await self._servers.ready()
        except (HostError, OSError) as error:  # the first cell tries again, and says so
            log.error("the fork server could not be started", reason=str(error))

    async def _close(self) -> None:
        for task in list(self._chores):
            task.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        if self._detached:
            await self._leave()
            return
        await asyncio.gather(*(self.kill(kernel_id) for kernel_id in list(self._forks)))
        await end_strays(self._control, but=self._starting)  # that nobody has adopted
        await self._servers.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        sessions = self._confinement.sessions
        await asyncio.to_thread(clear_slots, sessions, keep_work=self._reattach)
        if self._groups is not None:
            await asyncio.to_thread(self._groups.close)
            self._control.remove(GROUPS_FILE)

    async def _leave(self) -> None:
        """Let go of everything, and leave it as it is."""
        attending = []
        for fork in self._forks.values():
            if fork.attending is not None:
                attending.append(fork.attending)
                if (
                    not fork.ending
                ):  # else its init has gone, and no later service clears up behind it
                    fork.attending.cancel()
        await asyncio.gather(*attending, return_exceptions=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for fork in self._forks.values():
            fork.close()
        await self._servers.leave()
        if self._groups is not None and not any(
            list(directory.glob("kernel-*")) for directory in self._groups.directories().values()
        ):  # perhaps there is no later service, and nobody else removes them
            await asyncio.to_thread(self._groups.close)
            self._control.remove(GROUPS_FILE)
        log.info("kernels are left to the next service", kernels=len(self._forks))

    def _spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._chores.discard)
        return task


def _allow_many_files() -> None:
    """Have this process open as many files as it may; more than kernels, in any case.

    Descriptors under way are counted by user. A kernel with the service's own user id could else
    use up what the service needs to talk to its fork server.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _make_passable(*directories: Path) -> None:
    """Make directories that others may pass through, but not list."""
    for directory in directories:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o711)
