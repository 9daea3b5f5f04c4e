"""ForkServer: the process that kernels are forked from, as the service holds it."""

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

from interpreter.errors import SandboxUnavailable
from interpreter.hosts.bubblewrap import OuterSandbox
from interpreter.hosts.control import ControlChannel
from interpreter.kernel_env import SANDBOX_ENV
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
    async def start(cls, sandbox: OuterSandbox, *, uid: int | None) -> Self:
        """Start one, and wait until it has imported what kernels need.

        Args:
            sandbox: what it and its kernels see.
            uid: the host's user id that it turns into, when this process is root.

        Raises:
            SandboxUnavailable: it doesn't start on this system, with the reason and the remedy.
        """
        channel = ControlChannel()
        descriptor = channel.theirs.fileno()
        command = [f"{SANDBOX_ENV}/bin/python", "-s", "-P", "-m", "kernel_startup.forkserver"]
        command += ["--socket", str(descriptor)]
        if uid is not None:
            command += ["--uid", str(uid)]
        os.set_inheritable(descriptor, True)
        process = await asyncio.create_subprocess_exec(
            *sandbox.arguments(command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(descriptor,),
            env={},
            # A terminal's Ctrl-C goes to the whole process group: it must not reach bubblewrap.
            start_new_session=True,
        )
        channel.theirs.close()
        server = cls(process, channel)
        try:
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
            raise SandboxUnavailable(reason=reason, remedy=_remedy(reason))
        log.info("fork server ready", pid=self.pid, threads=message.content.get("threads"))

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process.returncode is None

    def fork(self, request: Mapping[str, Any], kernel_socket: socket.socket) -> None:
        """Ask for a kernel; what becomes of it is told over ``kernel_socket``'s other end.

        Raises:
            OSError: the server has ended, or doesn't read.
        """
        self._channel.send(request, pass_on=kernel_socket)

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


async def _last_bytes(stream: asyncio.StreamReader) -> bytes:
    """Read a stream to its end, keeping the last few kilobytes."""
    kept = b""
    while piece := await stream.read(_ERROR_TAIL_BYTES):
        kept = (kept + piece)[-_ERROR_TAIL_BYTES:]
    return kept


def _remedy(reason: str) -> str:
    """What an operator can do about a sandbox that doesn't start."""
    if "uid map" in reason or "namespace" in reason or "not permitted" in reason.lower():
        return (
            "allow unprivileged user namespaces: `sysctl kernel.unprivileged_userns_clone=1` and, "
            "on Ubuntu, `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; in Docker, run "
            "with `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`"
        )
    return "look at the reason; running the service again with LOG_LEVEL=DEBUG shows more"
