"""ForkServer: the process that kernels are forked from, as the service holds it."""

import asyncio
import base64
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from interpreter.errors import SandboxUnavailable
from interpreter.hosts.bubblewrap import OuterSandbox
from interpreter.hosts.control import ControlChannel
from interpreter.hosts.unwrapped import Unwrapped
from interpreter.logs import get_logger

log = get_logger(__name__)

_START_S = 90.0
_STOP_S = 5.0
_LAST_WORDS_S = 1.0
_ERROR_TAIL_BYTES = 4096


class ForkServer:
    """A running fork server in its outer sandbox. Made by :meth:`start`, ended by :meth:`stop`.

    Attributes:
        pid: bubblewrap's process id; the fork server is its child.
    """

    def __init__(self, process: asyncio.subprocess.Process, channel: ControlChannel) -> None:
        """Use :meth:`start`."""
        assert process.stderr is not None
        self.pid = process.pid
        self._process = process
        self._channel = channel
        self._errors = asyncio.create_task(_last_bytes(process.stderr))

    @classmethod
    async def start(
        cls,
        sandbox: OuterSandbox | Unwrapped,
        *,
        filters: Sequence[bytes],
        trial: bool = False,
    ) -> Self:
        """Start one, and wait until it has imported what kernels need.

        Args:
            sandbox: what it and its kernels see.
            filters: seccomp programs for its kernels.
            trial: import nothing: its kernels end as soon as they are confined.

        Raises:
            SandboxUnavailable: it doesn't start on this system, with the reason and the remedy.
        """
        channel = ControlChannel()
        try:
            process = await _spawn(sandbox, channel.theirs.fileno(), trial=trial)
        except BaseException:
            channel.close()
            raise
        channel.theirs.close()
        server = cls(process, channel)
        try:
            with suppress(OSError):  # it has ended already: why, the next line finds out
                channel.send(
                    {
                        "backend": sandbox.backend,
                        "filters": [base64.b64encode(program).decode() for program in filters],
                        "readable": sandbox.readable(),
                    }
                )
            if not trial:
                await server._become_ready()
        except BaseException:
            await asyncio.shield(server.stop())
            raise
        return server

    async def _become_ready(self) -> None:
        message = None
        try:
            async with asyncio.timeout(_START_S):
                message = await self._channel.receive()
        except TimeoutError:
            self._process.kill()
        if message is None or message.event != "serving":
            said = "" if message is None else str(message.content.get("reason", ""))
            reason = said or await self.why_ended()
            raise SandboxUnavailable(reason=reason, remedy=remedy(reason))
        log.info("fork server ready", pid=self.pid, threads=message.content.get("threads"))

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process.returncode is None

    def fork(self, kernel_socket: socket.socket) -> None:
        """Ask for a kernel; what it is to be is told to it over ``kernel_socket``'s other end.

        Raises:
            OSError: the server has ended, or doesn't read.
        """
        self._channel.send({}, pass_on=kernel_socket)

    async def why_ended(self) -> str:
        """What it said last, as the end of a sentence."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                said = (await asyncio.shield(self._errors)).decode(errors="replace").strip()
                return said.splitlines()[-1] if said else "the fork server ended without a word"
        return "the fork server refused to fork"

    async def stop(self) -> None:
        """End it, and with it all of its kernels."""
        self._channel.close()  # it leaves when its socket is closed
        try:
            async with asyncio.timeout(_STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._errors


async def _spawn(
    sandbox: OuterSandbox | Unwrapped, descriptor: int, *, trial: bool
) -> asyncio.subprocess.Process:
    # Without a site: a bare one would bring packages that aren't the kernels'.
    words = ["-s", "-P", *(["-S"] if trial or sandbox.backend != "namespaces" else [])]
    words += ["-m", "kernel_startup.forkserver", "--socket", str(descriptor)]
    if trial:
        words.append("--trial")
    os.set_inheritable(descriptor, True)
    return await asyncio.create_subprocess_exec(
        *sandbox.arguments(words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=(descriptor,),
        env=sandbox.environ(),
        cwd="/",
        # A terminal's Ctrl-C goes to the whole process group: it must not reach bubblewrap.
        start_new_session=True,
    )


async def _last_bytes(stream: asyncio.StreamReader) -> bytes:
    """Read a stream to its end, keeping the last few kilobytes."""
    kept = b""
    while piece := await stream.read(_ERROR_TAIL_BYTES):
        kept = (kept + piece)[-_ERROR_TAIL_BYTES:]
    return kept


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
