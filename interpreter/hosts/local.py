"""LocalKernelHost: runs kernels on this machine, forked from one fork server in a sandbox."""

import asyncio
import hashlib
import os
import resource
import secrets
import shutil
import signal
import tempfile
import time
from collections import deque
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
from interpreter.hosts import processes, slots
from interpreter.hosts.backends import Confinement, Surroundings, choose_confinement
from interpreter.hosts.base import (
    ExitCause,
    HostedKernel,
    KernelExit,
    Resources,
    WorkingDirectory,
)
from interpreter.hosts.cgroup import ControlGroups, KernelGroup, open_control_groups
from interpreter.hosts.control import ControlChannel, ControlMessage
from interpreter.hosts.installing import (
    IndexSettings,
    InstallFailed,
    InstallLimits,
    Layer,
    Locked,
    PackageInstaller,
)
from interpreter.hosts.server import ForkServer
from interpreter.hosts.users import UserIds
from interpreter.hosts.watch import Notes, Watched, Watcher
from interpreter.kernel_env import ensure_kernel_environment
from interpreter.limits import Limits
from interpreter.logs import get_logger
from kernel_startup.connection import PORTS

log = get_logger(__name__)

T = TypeVar("T")

_KERNEL_START_S = 30.0
_KILL_S = 10.0
_REFILL_PAUSE_S = 0.3
_MOST_FILES = 65_536
#: A layer that was asked for is shown to a kernel within this time, if ever.
_SHOWN_SOON_S = 60.0
_GROUP_REMOVAL_S, _GROUP_PAUSE_S = 20.0, 0.02
#: What a Unix socket's path may have, less what follows the directory of the slots.
_SOCKET_PATH_BYTES = 107 - len("/") - 16 - len("/run/s-5")


@dataclass(slots=True)
class _Fork:
    """A kernel between its fork and its end."""

    kernel: HostedKernel
    init_pid: int
    init_pidfd: int
    kernel_pidfd: int
    group: KernelGroup | None
    channel: ControlChannel
    ended: asyncio.Future[KernelExit]
    watch: Notes
    limits: Limits
    owner: int | None = None
    cause: ExitCause | None = None

    @property
    def slot(self) -> str:
        """The slot it lives in."""
        return self.kernel.slot

    def resources(self) -> Resources | None:
        """What it uses now; None if it has ended."""
        try:
            if self.group is not None:
                return Resources(self.group.memory_bytes(), self.group.cpu_s())
            return processes.resources_of_tree(self.init_pid)
        except OSError:
            return None

    def cpu_s(self) -> float | None:
        """Processor time that it has used so far; None if it has ended."""
        try:
            if self.group is not None:
                return self.group.cpu_s()
            load = processes.load_of_tree(self.init_pid)
            return None if load is None else load[0]
        except OSError:
            return None

    def weigh(self, *, light: bool) -> None:
        """Have it come first for the processor, or last."""
        if self.group is not None:
            self.group.weigh(light=light)


@dataclass(slots=True)
class LocalKernelHost:
    """Runs kernels on this machine. Made by :meth:`open`.

    Attributes:
        limits: what each kernel may use that is started without limits of its own.
        spare_kernels: how many kernels are kept forked and initialised for newcomers.
        backend: what confines them: ``namespaces``, ``landlock`` or ``none``.
    """

    limits: Limits
    spare_kernels: int
    _confinement: Confinement
    _socket_root: Path
    _groups: ControlGroups | None
    _installer: PackageInstaller | None = None
    _users: UserIds | None = None
    _server: ForkServer | None = None
    _forks: dict[str, _Fork] = field(default_factory=dict)
    _owners: dict[str, int] = field(default_factory=dict)
    _trims: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _renewals: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _built: dict[str, float] = field(default_factory=dict)
    _spares: deque[HostedKernel] = field(default_factory=deque)
    _tasks: set["asyncio.Task[Any]"] = field(default_factory=set)
    _chores: set["asyncio.Task[Any]"] = field(default_factory=set)
    _server_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _retired: list[ForkServer] = field(default_factory=list)
    _filling: bool = False
    _closing: bool = False

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
        spare_kernels: int = 0,
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
            spare_kernels: how many kernels to keep ready for newcomers.
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
        groups = open_control_groups()
        try:
            await asyncio.to_thread(_clear_slots, sessions)
            await asyncio.to_thread(_make_passable, packages, packages / "layers")
            around = Surroundings(
                environment=environment,
                startup=Path(kernel_startup.__file__).parent,
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
        async with AsyncExitStack() as stack:
            stack.enter_context(environment.hold())
            socket_root = stack.enter_context(_ShortPath(sessions))
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
                spare_kernels=spare_kernels,
                _confinement=confinement,
                _socket_root=socket_root,
                _groups=groups,
                _installer=installer,
                _users=UserIds(kernel_uid) if own_user else None,
            )
            try:
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

    # -- kernels ---------------------------------------------------------------------------------

    async def start(
        self, slot: str | None, *, memory_bytes: int | None = None, background: bool = False
    ) -> HostedKernel:
        """See :meth:`KernelHost.start`."""
        limits = self.limits
        if memory_bytes is not None:
            limits = replace(limits, memory_bytes=memory_bytes)
        if slot is None:
            # A spare's limits were set when it was forked, some of them for good.
            while self._spares and limits == self.limits:
                spare = self._spares.popleft()
                if spare.kernel_id in self._forks:
                    self._fill_spares()
                    return spare
            kernel = await self._fork_newcomer(limits)
            self._fill_spares()
            return kernel
        await self._trimmed(slot)
        await self._renewed(slot)  # by an earlier start that was given up
        renewal = asyncio.to_thread(slots.renew, self._path(slot), owner=self._owners.get(slot))
        self._renewals[slot] = self._spawn(renewal)
        await self._renewed(slot)
        return await self._fork(slot, limits)

    async def signal(self, kernel_id: str, signum: int) -> bool:
        """See :meth:`KernelHost.signal`."""
        fork = self._forks.get(kernel_id)
        if fork is None:
            return False
        try:
            # By descriptor first: it can't hit another process that got the number meanwhile.
            signal.pidfd_send_signal(fork.kernel_pidfd, 0)
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
            self._kill_init(fork)

    async def wait(self, kernel_id: str) -> KernelExit:
        """See :meth:`KernelHost.wait`."""
        fork = self._forks.get(kernel_id)
        if fork is None:
            return KernelExit("stopped")
        return await asyncio.shield(fork.ended)

    def provisioner_info(self, kernel_id: str) -> Mapping[str, Any] | None:
        """See :meth:`KernelHost.provisioner_info`."""
        raise NotImplementedError

    async def adopt(self, info: Mapping[str, Any]) -> HostedKernel | None:
        """See :meth:`KernelHost.adopt`."""
        raise NotImplementedError

    async def settle(self, keep: Collection[str]) -> None:
        """See :meth:`KernelHost.settle`."""
        raise NotImplementedError

    def detach(self) -> None:
        """See :meth:`KernelHost.detach`."""
        raise NotImplementedError

    def resources(self, kernel_id: str) -> Resources | None:
        """See :meth:`KernelHost.resources`."""
        fork = self._forks.get(kernel_id)
        return None if fork is None else fork.resources()

    # -- files -----------------------------------------------------------------------------------

    async def open_slot(self) -> str:
        """See :meth:`KernelHost.open_slot`."""
        name = secrets.token_hex(8)
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
        owner = self._owners.pop(slot, None)
        if self._users is not None and owner is not None:
            self._users.give_back(owner)

    async def put_file(self, slot: str, file: StoredFile) -> None:
        """See :meth:`KernelHost.put_file`."""
        await asyncio.to_thread(slots.put_file, self._path(slot), file)

    async def remove_file(self, slot: str, file_id: str) -> None:
        """See :meth:`KernelHost.remove_file`."""
        await asyncio.to_thread(slots.remove_file, self._path(slot), file_id)

    async def take_snapshot(self, slot: str, target: Path, *, most_bytes: int) -> int:
        """See :meth:`KernelHost.take_snapshot`."""
        path = self._path(slot)
        return await asyncio.to_thread(slots.take_snapshot, path, target, most_bytes=most_bytes)

    async def give_snapshot(self, slot: str, snapshot: Path | None) -> None:
        """See :meth:`KernelHost.give_snapshot`."""
        await asyncio.to_thread(slots.give_snapshot, self._path(slot), snapshot)

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

    async def _fork_newcomer(self, limits: Limits) -> HostedKernel:
        """Fork a kernel in a slot of its own, which goes again if that fails."""
        slot = await self.open_slot()
        try:
            return await self._fork(slot, limits)
        except BaseException:
            await asyncio.shield(self._spawn(self.close_slot(slot)))
            raise

    # -- forking ---------------------------------------------------------------------------------

    async def _fork(self, slot: str, limits: Limits) -> HostedKernel:
        channel = ControlChannel()
        opened: list[int] = []
        group: KernelGroup | None = None
        server: ForkServer | None = None
        kernel_id = secrets.token_hex(8)
        key = secrets.token_hex(32)
        own_uid = self._owners.get(slot)
        try:
            async with asyncio.timeout(_KERNEL_START_S):
                started_ns = time.time_ns()
                server = await self._ask_for_fork(channel)
                channel.theirs.close()
                channel.send(
                    {
                        "slot": self._confinement.slot_path(slot),
                        "sockets": self._confinement.sockets(slot, self._socket_root),
                        "key": key,
                        "limits": limits.for_kernel(),
                        "output_chars": limits.output_chars,
                        "uid": own_uid,
                    }
                )
                confined = await self._expect(server, channel, "confined")
                opened.append(os.pidfd_open(confined.pid))
                if self._groups is not None:
                    group = self._groups.create(kernel_id, limits)
                    group.add(confined.pid)
                channel.send({"go": True})
                forked = await self._expect(server, channel, "forked")
                opened.append(os.pidfd_open(forked.pid))
                _prefer_to_end(forked.pid)
                channel.send({"go": True})
                await self._expect(server, channel, "ready")
        except BaseException as error:
            if opened and self._confinement.own_processes:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(opened[0], signal.SIGKILL)
            for descriptor in opened:
                os.close(descriptor)
            channel.close()
            if group is not None:
                self._spawn(_remove_group(group))
            if isinstance(error, TimeoutError):
                if not opened and server is not None:
                    self._retire(server)
                reason = f"it was not ready within {_KERNEL_START_S:.0f} s"
                raise KernelStartFailed(reason=reason) from error
            if isinstance(error, OSError):
                raise KernelStartFailed(reason=str(error)) from error
            raise
        kernel = HostedKernel(
            kernel_id=kernel_id,
            slot=slot,
            pid=forked.pid,
            connection=self._connection(slot, key),
            started_at=datetime.now(UTC),
        )
        ended: asyncio.Future[KernelExit] = asyncio.get_running_loop().create_future()
        fork = _Fork(
            kernel=kernel,
            init_pid=confined.pid,
            init_pidfd=opened[0],
            kernel_pidfd=opened[1],
            group=group,
            channel=channel,
            ended=ended,
            watch=Notes(fitted_ns=started_ns),
            limits=limits,
            owner=own_uid,
        )
        self._forks[kernel_id] = fork
        self._spawn(self._attend(fork))
        return kernel

    async def _ask_for_fork(self, channel: ControlChannel) -> ForkServer:
        """Have a fork server fork; if it has just ended, its successor."""
        server = await self._running_server()
        try:
            server.fork(channel.theirs)
        except OSError:
            async with self._server_lock:
                if self._server is server:
                    await server.stop()
                    self._server = None
            server = await self._running_server()
            server.fork(channel.theirs)
        return server

    async def _expect(
        self, server: ForkServer, channel: ControlChannel, event: str
    ) -> ControlMessage:
        message = await channel.receive()
        if message is None:
            raise KernelStartFailed(reason=await server.why_ended())
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

    async def _attend(self, fork: _Fork) -> None:
        """Wait for a kernel's end, and clear up behind it."""
        status: int | None = None
        while (message := await fork.channel.receive()) is not None:
            # The kernel's own code never holds this socket, but init's word alone counts.
            if message.pid == fork.init_pid and message.event == "exited":
                status = int(message.content["status"])
        fork.channel.close()
        self._kill_init(fork)
        cause = self._cause(fork, status)
        if cause.cause in ("room", "files", "disk"):
            self._trims[fork.slot] = self._spawn(self._trim(fork))
        if fork.owner is not None:
            await asyncio.to_thread(slots.remove_shared_memory, fork.owner)
        del self._forks[fork.kernel.kernel_id]
        os.close(fork.init_pidfd)
        os.close(fork.kernel_pidfd)
        fork.ended.set_result(cause)
        log.info("kernel ended", kernel_id=fork.kernel.kernel_id, cause=cause.cause)
        if fork.group is not None:
            await _remove_group(fork.group)

    async def _trim(self, fork: _Fork) -> None:
        """Remove what a kernel wrote too much, so that the next one can work; that one waits."""
        try:
            await asyncio.to_thread(
                slots.trim,
                self._path(fork.slot),
                since_ns=fork.watch.fitted_ns,
                most_bytes=fork.limits.disk_bytes,
                most_files=fork.limits.disk_files,
            )
        except OSError as error:
            log.warning("a full slot could not be trimmed", slot=fork.slot, reason=str(error))

    def _cause(self, fork: _Fork, status: int | None) -> KernelExit:
        if fork.cause == "stopped":
            return KernelExit("stopped")
        if fork.cause is not None:
            return KernelExit(fork.cause, signal=9)
        killed = status is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == 9)
        if killed and fork.group is not None and fork.group.memory_kills() > 0:
            return KernelExit("memory" if fork.group.was_full() else "machine", signal=9)
        if status is None:
            return KernelExit("signal", signal=9)
        if os.WIFSIGNALED(status):
            return KernelExit("signal", signal=os.WTERMSIG(status))
        return KernelExit("exited", code=os.waitstatus_to_exitcode(status))

    def _end_for(self, fork: Watched, cause: ExitCause) -> None:
        """End a kernel and all that it started, for a reason; the first one given counts."""
        assert isinstance(fork, _Fork)
        if fork.cause is None:
            fork.cause = cause
            log.info("kernel is being ended", kernel_id=fork.kernel.kernel_id, cause=cause)
        if self._confinement.own_processes:
            self._kill_init(fork)
        else:
            if fork.group is not None:
                fork.group.unleash()
            fork.channel.finish()  # its init kills what there is, and then reports

    def _kill_init(self, fork: _Fork) -> None:
        """Kill the init; in a pid namespace of its own, everything else ends with it."""
        if fork.group is not None:
            fork.group.unleash()
        with suppress(ProcessLookupError, OSError):
            signal.pidfd_send_signal(fork.init_pidfd, signal.SIGKILL)

    # -- spare kernels ---------------------------------------------------------------------------

    def _fill_spares(self) -> None:
        if not self._filling and not self._closing and len(self._spares) < self.spare_kernels:
            self._filling = True
            self._chores.add(self._spawn(self._add_spares()))

    async def _add_spares(self) -> None:
        try:
            if self._forks:  # the newcomer's first cell comes first, and needs the processor
                await asyncio.sleep(_REFILL_PAUSE_S)
            while len(self._spares) < self.spare_kernels and not self._closing:
                self._spares.append(await self._fork_newcomer(self.limits))
        except KernelStartFailed as error:
            log.warning("no spare kernel could be started", reason=error.reason)
        finally:
            self._filling = False

    # -- the fork server -------------------------------------------------------------------------

    async def _start_early(self) -> None:
        try:
            await self._running_server()
        except HostError as error:  # the first cell tries again, and says so
            log.error("the fork server could not be started", reason=str(error))
        else:
            self._fill_spares()

    def _retire(self, server: ForkServer) -> None:
        """Fork no more from a server that doesn't answer; its kernels live on."""
        log.error("the fork server does not answer; a new one takes its place")
        if self._server is server:
            self._server = None
            self._retired.append(server)

    async def _running_server(self) -> ForkServer:
        async with self._server_lock:
            if self._closing:
                raise KernelStartFailed(reason="the service is closing")
            if self._server is not None:
                if self._server.running:
                    return self._server
                await self._server.stop()
            self._server = await self._confinement.start_server()
            return self._server

    # -- the end ---------------------------------------------------------------------------------

    async def _close(self) -> None:
        self._closing = True
        for task in list(self._chores):
            task.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await asyncio.gather(*(self.kill(kernel_id) for kernel_id in list(self._forks)))
        for server in (self._server, *self._retired):
            if server is not None:
                await server.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(_clear_slots, self._confinement.sessions)
        if self._groups is not None:
            await asyncio.to_thread(self._groups.close)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._chores.discard)
        return task


def _prefer_to_end(pid: int) -> None:
    """Have the system, should it run out of memory, end a kernel before anything else.

    Written by root, it also is the least that the kernel may set it to.
    """
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")


def _allow_many_files() -> None:
    """Have this process open as many files as it may; more than kernels, in any case.

    Descriptors under way are counted by user. A kernel with the service's own user id could else
    use up what the service needs to talk to its fork server.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _remove_group(group: KernelGroup) -> None:
    """Remove a kernel's control group, as soon as the last of its processes has gone."""
    group.unleash()
    end = time.monotonic() + _GROUP_REMOVAL_S
    while not await asyncio.to_thread(group.remove):
        if time.monotonic() > end:
            log.warning("a control group could not be removed")
            return
        await asyncio.sleep(_GROUP_PAUSE_S)


def _make_passable(*directories: Path) -> None:
    """Make directories that others may pass through, but not list."""
    for directory in directories:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o711)


def _clear_slots(sessions: Path) -> None:
    """Make the directory of all slots, without what a killed service left behind."""
    sessions.mkdir(parents=True, exist_ok=True)
    sessions.chmod(0o711)
    for slot in sessions.iterdir():
        try:
            slots.remove(slot)
        except OSError as error:  # it must not keep the service from starting
            log.warning("an old slot could not be removed", slot=slot.name, reason=str(error))


class _ShortPath:
    """A path to ``directory`` that leaves room for a socket's name: itself, or a link to it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()
        self._temporary: str | None = None

    def __enter__(self) -> Path:
        if len(os.fsencode(self._directory)) <= _SOCKET_PATH_BYTES:
            return self._directory
        digest = hashlib.sha256(os.fsencode(self._directory)).hexdigest()[:8]
        self._temporary = tempfile.mkdtemp(prefix=f"cellmate-{digest}-", dir="/tmp")
        os.chmod(self._temporary, 0o711)  # kernels without a file system of their own pass through
        link = Path(self._temporary) / "s"
        link.symlink_to(self._directory)
        return link

    def __exit__(self, *_: object) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
