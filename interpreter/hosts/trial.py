"""TrialServer: a fork server that only shows whether kernels can be confined here."""

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from interpreter.hosts.bubblewrap import OuterSandbox
from interpreter.hosts.control import ControlChannel
from interpreter.hosts.server import configuration, python_words
from interpreter.hosts.unwrapped import Unwrapped

_STOP_S = 5.0
_LAST_WORDS_S = 1.0
_ERROR_TAIL_BYTES = 4096


class TrialServer:
    """A fork server that has imported nothing, and ends with this process at the latest."""

    def __init__(self, process: asyncio.subprocess.Process, channel: ControlChannel) -> None:
        """Use :meth:`start`."""
        assert process.stderr is not None
        self._process = process
        self._channel = channel
        self._errors = asyncio.create_task(_last_bytes(process.stderr))

    @classmethod
    async def start(cls, sandbox: OuterSandbox | Unwrapped, *, filters: Sequence[bytes]) -> Self:
        """Start one.

        Args:
            sandbox: what it and its kernels see.
            filters: seccomp programs for its kernels.

        Raises:
            OSError: the system refuses.
        """
        channel = ControlChannel.pair()
        try:
            process = await _spawn(sandbox, channel.theirs.fileno())
        except BaseException:
            channel.close()
            raise
        channel.theirs.close()
        server = cls(process, channel)
        with suppress(OSError):  # it has ended already: why, the next step finds out
            channel.send(configuration(sandbox, filters))
        return server

    def fork(self, *ends: socket.socket) -> None:
        """Ask for a kernel; what it is to be is told to it over the first one's other end.

        Raises:
            OSError: the server has ended, or doesn't read.
        """
        self._channel.send({}, pass_on=ends)

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


async def _spawn(sandbox: OuterSandbox | Unwrapped, descriptor: int) -> asyncio.subprocess.Process:
    words = [*python_words(sandbox, bare=True), "--socket", str(descriptor), "--trial"]
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
