"""ForkServer: the process that kernels are forked from, as the service holds it."""

import asyncio
import base64
import fcntl
import json
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, Self

from interpreter.errors import SandboxUnavailable
from interpreter.hosts.bubblewrap import OuterSandbox
from interpreter.hosts.control import ControlChannel, ControlDirectory, ControlMessage
from interpreter.hosts.held_process import (
    HeldProcess,
    boot_id,
    children_of,
    namespaces_down,
    parent_of,
)
from interpreter.hosts.unwrapped import Unwrapped
from interpreter.logs import get_logger

log = get_logger(__name__)

_START_S, _REJOIN_S = 90.0, 20.0
_STOP_S = 5.0
_LAST_WORDS_S = 1.0
_ERROR_TAIL_BYTES = 4096
#: What the sockets of fork servers are called in the control directory, before their id.
SERVER_PREFIX = "server-"

# Starts the fork server as nobody's child: what is to outlive the service must not be ended by what
# the service's libraries do to their children. It notes which process that is.
_LAUNCHER = """
import json, os, sys
record, boot, *command = sys.argv[1:]
pid = os.fork()
if not pid:
    os.setsid()
    os.execve(command[0], command, dict(os.environ))
with open(f"/proc/{pid}/stat") as stat:
    started = int(stat.read().rpartition(")")[2].split()[19])
descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
os.write(descriptor, json.dumps({"pid": pid, "started": started, "boot": boot}).encode())
"""


class Forking(Protocol):
    """A fork server of either kind."""

    def fork(self, *ends: socket.socket) -> None:
        """Ask for a kernel."""

    async def why_ended(self) -> str:
        """What it said last."""

    async def stop(self) -> None:
        """End it."""


@dataclass(frozen=True, slots=True)
class ServerTerms:
    """What a fork server is started with, and by what it is known to the next service.

    Attributes:
        identity: tells servers apart whose kernels would not be the same.
        orphan_s: how long it lives on without a service, in seconds.
    """

    identity: str
    orphan_s: float


class ForkServer:
    """A running fork server, which may outlive this process. Made by :meth:`start`.

    Attributes:
        server_id: names it.
        identity: tells whether its kernels are like those of another.
    """

    def __init__(
        self, server_id: str, directory: ControlDirectory, channel: ControlChannel
    ) -> None:
        """Use :meth:`start` or :meth:`rejoin`."""
        self.server_id = server_id
        self.identity = ""
        self._directory = directory
        self._channel = channel
        self._processes: list[HeldProcess] = []
        self._ended = asyncio.Event()
        self._first: asyncio.Future[ControlMessage | None]
        self._first = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls,
        sandbox: OuterSandbox | Unwrapped,
        *,
        filters: Sequence[bytes],
        directory: ControlDirectory,
        terms: ServerTerms,
    ) -> Self:
        """Start one, and wait until it has imported what kernels need.

        Args:
            sandbox: what it and its kernels see.
            filters: seccomp programs for its kernels.
            directory: where it is found by a later service.
            terms: what else is said to it.

        Raises:
            SandboxUnavailable: it doesn't start on this system, with the reason and the remedy.
            OSError: the system refuses.
        """
        server_id = secrets.token_hex(8)
        channel = ControlChannel.pair()
        server = cls(server_id, directory, channel)
        launching = asyncio.create_task(server._launch(sandbox))
        try:
            await asyncio.shield(launching)
            with suppress(OSError):  # it has ended already: why, the next line finds out
                more = {"identity": terms.identity, "orphan_s": terms.orphan_s}
                channel.send({**configuration(sandbox, filters), **more})
            await server._become_ready(_START_S)
        except BaseException:
            await asyncio.shield(server._stop_launched(launching))
            raise
        return server

    @classmethod
    async def rejoin(
        cls,
        directory: ControlDirectory,
        name: str,
        *,
        orphan_s: float,
        timeout_s: float = _REJOIN_S,
    ) -> Self | None:
        """Have a fork server again that an earlier service has started.

        Args:
            directory: where it was found.
            name: its socket there.
            orphan_s: how long it lives on without a service from now on.
            timeout_s: how long it may take to answer: it may still be importing.

        Returns:
            None if it has ended. One that doesn't answer has no identity.
        """
        server_id = name.removeprefix(SERVER_PREFIX)
        try:
            channel = directory.connect(name)
        except (ConnectionRefusedError, FileNotFoundError):
            directory.remove(*_names(server_id))
            return None
        except OSError as error:  # of this process: the server may live, and a later one finds it
            log.error("an earlier fork server can't be spoken to", reason=str(error))
            return None
        server = cls(server_id, directory, channel)
        try:
            with suppress(OSError):
                channel.send({"orphan_s": orphan_s})
            await server._become_ready(timeout_s)
        except SandboxUnavailable as error:
            log.warning("an earlier fork server does not answer", reason=error.reason)
            if server.running:  # its kernels may be well
                return server
            await asyncio.shield(server.stop())
            return None
        except BaseException:
            await asyncio.shield(server.leave())
            raise
        return server

    async def _launch(self, sandbox: OuterSandbox | Unwrapped) -> None:
        socket_name, errors_name, record_name = _names(self.server_id)
        words = python_words(sandbox, bare=sandbox.backend != "namespaces")
        listener = self._directory.listen(socket_name)
        kept: list[int] = []
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            kept.append(errors := os.open(self._directory.path / errors_name, flags, 0o600))
            # As long as it lives, its environment and its code aren't removed as old ones.
            held = []
            for path in (sandbox.environment.path, sandbox.startup.parent):
                kept.append(descriptor := os.open(path, os.O_RDONLY | os.O_DIRECTORY))
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                held.append(descriptor)
            passed = (self._channel.theirs.fileno(), listener.fileno(), *held)
            words += ["--socket", str(passed[0]), "--listener", str(passed[1])]
            launcher = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", _LAUNCHER),
                *(str(self._directory.path / record_name), boot_id()),
                *sandbox.arguments(words, lasting=True),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=errors,
                pass_fds=passed,
                env=sandbox.environ(),
                cwd="/",
                # A terminal's Ctrl-C goes to the whole process group: it must not reach it.
                start_new_session=True,
            )
            await launcher.wait()
        finally:
            listener.close()
            self._channel.theirs.close()
            for descriptor in kept:
                os.close(descriptor)

    async def _stop_launched(self, launching: "asyncio.Task[None]") -> None:
        await asyncio.wait([launching])
        await self.stop()

    async def _become_ready(self, timeout_s: float) -> None:
        message = None
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                message = await asyncio.shield(self._first)
        if message is None or message.event != "serving":
            said = "" if message is None else str(message.content.get("reason", ""))
            reason = said or await self.why_ended()
            raise SandboxUnavailable(reason=reason, remedy=remedy(reason))
        self.identity = str(message.content.get("identity", ""))
        self._hold(message.pid)
        threads = message.content.get("threads")
        log.info("fork server ready", pid=self.pid, server_id=self.server_id, threads=threads)

    def _hold(self, pid: int) -> None:
        """Hold the server, and what is around it: the first process of its sandbox, bubblewrap."""
        parent = parent_of(pid)
        around = [] if parent is None or namespaces_down(parent) == 0 else [parent]
        for number in (pid, *around):
            if (held := HeldProcess.hold(number)) is not None:
                self._processes.append(held)
        if (first := self._recorded()) is not None:
            self._processes.append(first)

    @property
    def pid(self) -> int:
        """The first process of its sandbox, with which all of it ends; 0 if it has ended."""
        return self._processes[:2][-1].pid if self._processes else 0

    @property
    def running(self) -> bool:
        """Whether it can be asked for kernels."""
        return not self._ended.is_set()

    def fork(self, *ends: socket.socket) -> None:
        """Ask for a kernel; what it is to be is told to it over the first one's other end.

        Args:
            ends: the kernel's connection, and the socket where its init is to listen.

        Raises:
            OSError: the server has ended, or doesn't read.
        """
        self._channel.send({}, pass_on=ends)

    async def why_ended(self) -> str:
        """What it said last, as the end of a sentence."""
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._ended.wait()
        except TimeoutError:
            return "the fork server refused to fork"
        said = await asyncio.to_thread(self._last_words)
        return said or "the fork server ended without a word"

    def _last_words(self) -> str:
        with (
            suppress(OSError),
            (self._directory.path / _names(self.server_id)[1]).open("rb") as log,
        ):
            log.seek(max(0, os.fstat(log.fileno()).st_size - _ERROR_TAIL_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
            return lines[-1].strip() if lines else ""
        return ""

    async def _read(self) -> None:
        while (message := await self._channel.receive()) is not None:
            if not self._first.done():
                self._first.set_result(message)
        self._ended.set()
        if not self._first.done():
            self._first.set_result(None)

    async def leave(self) -> None:
        """Leave it to the next service."""
        self._reading.cancel()
        await asyncio.wait([self._reading])  # the loop must not look at a closed socket
        self._channel.close()
        for process in self._processes:
            process.close()
        self._processes.clear()

    async def stop(self) -> None:
        """End it, and with it all of its kernels that have not ended."""
        self._channel.finish()  # it leaves when it hears that
        if self._first.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_S):
                    await self._ended.wait()
                    await self._gone()
        if not self._processes:  # it has never said who it is, and may be busy importing
            self._hold_launched()
        for process in self._processes:
            process.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await self._gone()
        self._bury()
        await self.leave()
        self._directory.remove(*_names(self.server_id))

    async def _gone(self) -> None:
        for process in self._processes:
            await process.ended()

    def _hold_launched(self) -> None:
        """Hold what was launched, and its child, of a server that has never said who it is."""
        first = self._recorded()
        if first is not None:
            for pid in children_of(first.pid):
                if (child := HeldProcess.hold(pid)) is not None:
                    self._processes.append(child)
            self._processes.append(first)

    def _recorded(self) -> HeldProcess | None:
        """The process that was launched, if it is still the same."""
        try:
            path = self._directory.path / _names(self.server_id)[2]
            record = json.loads(path.read_text())
            if record["boot"] != boot_id():
                return None
            return HeldProcess.hold(record["pid"], started=record["started"])
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _bury(self) -> None:
        for process in self._processes:
            with suppress(ChildProcessError):  # where this process is the system's first one
                os.waitpid(process.pid, os.WNOHANG)


def configuration(sandbox: OuterSandbox | Unwrapped, filters: Sequence[bytes]) -> dict[str, Any]:
    """What a fork server is told of its kernels' confinement."""
    return {
        "backend": sandbox.backend,
        "filters": [base64.b64encode(program).decode() for program in filters],
        "readable": sandbox.readable(),
    }


def python_words(sandbox: OuterSandbox | Unwrapped, *, bare: bool) -> list[str]:
    """Python's arguments that run a fork server, up to its own.

    Args:
        sandbox: what it sees.
        bare: without a site; on the machine as it is, that would bring packages that aren't the
            kernels'.
    """
    return ["-s", "-P", *(["-S"] if bare else []), "-m", "kernel_startup.forkserver"]


def _names(server_id: str) -> tuple[str, str, str]:
    """A server's socket in the control directory, what it says to standard error, its record."""
    name = f"{SERVER_PREFIX}{server_id}"
    return name, f"{name}.log", f"{name}.json"


def remedy(reason: str) -> str:
    """What an operator can do about a sandbox that doesn't start."""
    if "kernels can't read" in reason:
        return (
            "Set KERNEL_ENV_DIR to a directory that every user of this machine can reach, such as "
            "/var/cache/cellmate/kernel-envs, DATA_DIR as well, and KERNEL_PYTHON to a Python that "
            "every user can run, such as /usr/bin/python3."
        )
    if "RTM_NEWADDR" in reason:  # bubblewrap as root, without the capabilities of a whole root
        return (
            "In a container, run the service as an ordinary user (`--user 10000:10000`) with the "
            "profile in deploy/, or set SANDBOX=landlock."
        )
    if "uid map" in reason or "namespace" in reason or "not permitted" in reason.lower():
        return (
            "Allow unprivileged user namespaces: `sysctl kernel.unprivileged_userns_clone=1` and, "
            "on Ubuntu, `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; in Docker, use "
            "the profile in deploy/; or set SANDBOX=landlock, which needs no namespaces. "
            "`python -m interpreter doctor` shows what works here."
        )
    return "`python -m interpreter doctor` shows what works here; LOG_LEVEL=DEBUG shows more."
