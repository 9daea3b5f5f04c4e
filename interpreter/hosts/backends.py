"""The backends: the ways to confine kernels on this machine, and which of them really work."""

import asyncio
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interpreter.errors import SandboxUnavailable
from interpreter.hosts import slots
from interpreter.hosts.bubblewrap import OuterSandbox, find_bwrap
from interpreter.hosts.control import ControlChannel, ControlDirectory, ControlMessage
from interpreter.hosts.seccomp import SeccompUnavailable, build_filters
from interpreter.hosts.server import ForkServer, ServerTerms, remedy
from interpreter.hosts.trial import TrialServer
from interpreter.hosts.unwrapped import Unwrapped
from interpreter.kernel_env import KernelEnvironment
from interpreter.limits import Limits
from interpreter.logs import get_logger
from kernel_startup import landlock

log = get_logger(__name__)

BackendName = Literal["namespaces", "landlock", "none"]
_STRONGEST_FIRST: tuple[BackendName, ...] = ("namespaces", "landlock")
_TRIAL_S = 20.0
_SECCOMP_REMEDY = (
    "Install your system's package of it: `apt install libseccomp2`, `dnf install libseccomp`."
)


@dataclass(frozen=True, slots=True)
class Confinement:
    """One backend, ready to start a fork server with.

    Attributes:
        sandbox: what the fork server and its kernels see.
        filters: seccomp programs for kernels.
    """

    sandbox: OuterSandbox | Unwrapped
    filters: tuple[bytes, ...]

    @property
    def backend(self) -> str:
        """Its name."""
        return self.sandbox.backend

    @property
    def own_processes(self) -> bool:
        """Whether each kernel has a pid namespace, whose processes all end with its first one."""
        return self.sandbox.own_processes

    @property
    def sessions(self) -> Path:
        """The directory of all slots."""
        return self.sandbox.sessions

    def slot_path(self, slot: str) -> str:
        """A slot's directory as the fork server sees it."""
        return self.sandbox.slot_path(slot)

    def layer_path(self, layer_id: str) -> str:
        """A layer's directory as kernels see it."""
        return self.sandbox.layer_path(layer_id)

    def sockets(self, slot: str, socket_root: Path) -> str:
        """What the paths of a kernel's sockets begin with, as the kernel sees them."""
        return self.sandbox.sockets(slot, socket_root)

    def identity(self) -> str:
        """Tells apart fork servers whose kernels would not be the same. Reads files."""
        digest = hashlib.sha256()
        words = [*self.sandbox.arguments((), lasting=True), *self.sandbox.readable()]
        digest.update(json.dumps([words, self.sandbox.environ()]).encode())
        for program in self.filters:
            digest.update(hashlib.sha256(program).digest())
        for path in sorted(self.sandbox.startup.rglob("*.py")):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    async def start_server(self, directory: ControlDirectory, terms: ServerTerms) -> ForkServer:
        """Start a fork server.

        Args:
            directory: where later services find it.
            terms: what it is started with.

        Raises:
            SandboxUnavailable: it doesn't start.
            OSError: the system refuses.
        """
        return await ForkServer.start(
            self.sandbox, filters=self.filters, directory=directory, terms=terms
        )

    async def try_out(self, *, kernel_uid: int | None) -> None:
        """Confine a process that does nothing, as kernels are.

        Raises:
            SandboxUnavailable: that fails here, with the reason and the remedy.
        """
        try:
            await asyncio.to_thread(self.sandbox.prepare)
            server = await TrialServer.start(self.sandbox, filters=self.filters)
        except OSError as error:
            raise _unavailable(str(error)) from error
        slot = self.sessions / f"trial-{os.getpid()}"
        try:
            async with asyncio.timeout(_TRIAL_S):
                await _confine_one(server, self, slot, kernel_uid)
        except TimeoutError as error:
            raise _unavailable("confining a process took too long") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            raise _unavailable(await server.why_ended()) from error
        except OSError as error:
            raise _unavailable(str(error)) from error
        finally:
            await server.stop()
            await asyncio.to_thread(_remove, slot)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a confinement is made from, whichever it is.

    Attributes:
        environment: the kernels' environment.
        startup: the kernel_startup package.
        sessions: the directory of all slots.
        layers: the directory of the layers of users' packages.
        invented: a directory of this service for the few files that a backend makes up.
        kernel_uid: the user id of a trial's kernel, if this process is root; else None.
        counted: whether control groups count kernels' memory.
    """

    environment: KernelEnvironment
    startup: Path
    sessions: Path
    layers: Path
    invented: Path
    kernel_uid: int | None
    counted: bool


async def choose_confinement(wanted: str, around: Surroundings) -> Confinement:
    """The confinement that an operator asked for.

    Args:
        wanted: a backend, or ``auto`` for the strongest that works when tried.
        around: what it is made from.

    Raises:
        SandboxUnavailable: it doesn't work here; for ``auto``, none does.
    """
    if wanted == "none":
        log.warning(
            "kernels are NOT confined (SANDBOX=none): whoever may send code can read and change "
            "all that this account can, and reach its network"
        )
    if wanted in ("namespaces", "none"):
        confinement = make_confinement("namespaces" if wanted == "namespaces" else "none", around)
        await asyncio.to_thread(confinement.sandbox.prepare)
        return confinement
    tried: Sequence[BackendName] = _STRONGEST_FIRST if wanted == "auto" else ("landlock",)
    reasons = []
    for backend in tried:
        try:
            confinement = make_confinement(backend, around)
            await confinement.try_out(kernel_uid=around.kernel_uid)
        except SandboxUnavailable as error:
            log.info("a backend does not work here", backend=backend, reason=error.reason)
            reasons.append(error)
        else:
            log.info("backend chosen", backend=backend)
            return confinement
    if len(reasons) == 1:
        raise reasons[0]
    raise SandboxUnavailable(
        reason="; ".join(
            f"{name}: {error.reason}" for name, error in zip(tried, reasons, strict=True)
        ),
        remedy=reasons[0].remedy,
    )


def make_confinement(backend: BackendName, around: Surroundings) -> Confinement:
    """One backend, not tried yet.

    Raises:
        SandboxUnavailable: something that it needs is missing.
    """
    own_user = around.kernel_uid is not None
    filters: tuple[bytes, ...] = ()
    if backend != "none":
        try:
            filters = build_filters(
                own_network=backend == "namespaces",
                own_processes=backend == "namespaces",
                own_user=backend == "namespaces" or own_user,
                counted=backend == "namespaces" and around.counted,
            )
        except SeccompUnavailable as error:
            raise SandboxUnavailable(reason=str(error), remedy=_SECCOMP_REMEDY) from error
    places = (around.environment, around.startup, around.sessions, around.layers, around.invented)
    if backend == "namespaces":
        wrapped = OuterSandbox(find_bwrap(), *places)
        return Confinement(wrapped, filters)
    if backend == "landlock":
        _check_landlock(own_user=own_user)
    bare = Unwrapped(backend, *places)
    return Confinement(bare, filters)


def _check_landlock(*, own_user: bool) -> None:
    needed = landlock.OLDEST_VERSION if own_user else landlock.SIGNALS_VERSION
    offered = landlock.version()
    if offered < needed:
        newer = {3: "6.2", 6: "6.12"}[needed]
        raise SandboxUnavailable(
            reason=f"Landlock version {needed} is needed, and this system offers "
            + (f"version {offered}" if offered else "none"),
            remedy=f"Use Linux {newer} or newer with Landlock switched on (`lsm=landlock,...`).",
        )


async def _confine_one(
    server: TrialServer, confinement: Confinement, slot: Path, kernel_uid: int | None
) -> None:
    await asyncio.to_thread(_remove, slot)
    await asyncio.to_thread(slots.create, slot, owner=kernel_uid)
    channel = ControlChannel.pair()
    try:
        server.fork(channel.theirs)
        channel.theirs.close()
        channel.send(
            {
                "slot": confinement.slot_path(slot.name),
                "sockets": "",
                "key": None,
                "limits": Limits().for_kernel(),
                "output_chars": 0,
                "uid": kernel_uid,
            }
        )
        for event in ("confined", "forked", "ready"):
            message = await channel.receive()
            if message is None or message.event != event:
                raise _unavailable(_reason(message) or await server.why_ended())
            if event != "ready":
                channel.send({"go": True})
        channel.finish()
        while await channel.receive() is not None:  # its init has ended what there was
            pass
    finally:
        channel.close()


def _reason(message: ControlMessage | None) -> str:
    return "" if message is None else str(message.content.get("reason", "it said nonsense"))


def _unavailable(reason: str) -> SandboxUnavailable:
    return SandboxUnavailable(reason=reason, remedy=remedy(reason))


def _remove(slot: Path) -> None:
    if slot.exists():
        slots.remove(slot)
