"""Attachments: live kernels that an admin speaks to with a Jupyter client.

The client connects to sockets of the service's, in a directory that only admins can enter; each
connection is led on to the kernel's own socket. So the client meets no path that the kernel's code
can write to, and nothing of it is left when the client, the kernel or the service has gone. What
goes through is in ``conversation.py``.
"""

import asyncio
import json
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interpreter.admin.conversation import Conversation
from interpreter.admin.heartbeat import answer_heartbeats
from interpreter.admin.relay import relay
from interpreter.admin.sockets import MOST_PATH_BYTES, Peer, listen_in
from interpreter.errors import InterpreterError
from interpreter.hosts.base import HostedKernel, KernelHost
from interpreter.hosts.control import make_private_directory
from interpreter.hosts.short_path import remove_links_into
from interpreter.logs import get_logger
from interpreter.zmtp import Intake, Share, open_socket
from kernel_startup.connection import PORTS

log = get_logger(__name__)

#: The name of an attachment's directory begins with this, that of a link to it with the other.
DIRECTORY_PREFIX, _LINK_PREFIX = "attach-", "cellmate-attach-"
_MOST_ATTACHMENTS = 8
_MOST_CONNECTIONS = 24
_PIECE_BYTES = 64 << 10
#: Who takes nothing for so long is hung up on: what a kernel sends waits in its own memory.
_SEND_S = 10.0
_ACCEPT_PAUSE_S = 1.0
_HEARTBEAT, _QUESTIONS, _REQUESTS = "hb_port", "stdin_port", ("shell_port", "control_port")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an attachment stays, in seconds.

    Attributes:
        connect_s: until a client comes;
        return_s: after the last one has gone;
        idle_s: while nothing is said.
    """

    connect_s: float = 300.0
    return_s: float = 3.0
    idle_s: float = 1800.0


class TooManyAttachments(InterpreterError):
    """As many kernels are attached to as may be."""

    def __str__(self) -> str:
        return f"Admins are attached to {_MOST_ATTACHMENTS} kernels already: leave one of them."


class Attachments:
    """All attachments of a service. Made by :meth:`open`."""

    def __init__(
        self, directory: Path, *, host: KernelHost, intake: Intake, patience: Patience
    ) -> None:
        """Use :meth:`open`."""
        self._directory = directory
        self._host = host
        self._intake = intake
        self._patience = patience
        self._running: dict[asyncio.Task[None], HostedKernel] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, directory: Path, *, host: KernelHost, intake: Intake, patience: Patience | None = None
    ) -> AsyncIterator["Attachments"]:
        """Make them; those that are left end with the context.

        Args:
            directory: a private one, where each gets a directory of its own.
            host: where the kernels run.
            intake: shared by all that reads from kernels.
            patience: how long each one stays.
        """
        clear_attachments(directory)
        attachments = cls(directory, host=host, intake=intake, patience=patience or Patience())
        try:
            yield attachments
        finally:
            for task in attachments._running:
                task.cancel()
            await asyncio.gather(*attachments._running, return_exceptions=True)

    def has(self, kernel_id: str) -> bool:
        """Whether a kernel is attached to."""
        return any(kernel.kernel_id == kernel_id for kernel in self._running.values())

    def add(self, kernel: HostedKernel, on_end: Callable[[], None] | None = None) -> Path:
        """Attach to a kernel: gives the connection file for a Jupyter client.

        Args:
            kernel: a live one.
            on_end: called at the end of the attachment.

        Raises:
            TooManyAttachments: there are as many as may be.
            OSError: the system refuses.
        """
        if len(self._running) >= _MOST_ATTACHMENTS:
            raise TooManyAttachments
        attachment = _Attachment(kernel, Share(self._intake), self._patience)
        connection_file = attachment.set_up(self._directory)
        task = asyncio.create_task(attachment.run(self._host))
        self._running[task] = kernel
        task.add_done_callback(self._ended)
        if on_end is not None:
            task.add_done_callback(lambda _: on_end())
        return connection_file

    def _ended(self, task: "asyncio.Task[None]") -> None:
        kernel = self._running.pop(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("an attachment failed", kernel_id=kernel.kernel_id, reason=repr(error))


class _Attachment:
    """One kernel's sockets for Jupyter clients, and what goes through them."""

    def __init__(self, kernel: HostedKernel, share: Share, patience: Patience) -> None:
        self._kernel = kernel
        self._share = share
        self._patience = patience
        self._conversation = Conversation(str(kernel.connection["key"]).encode())
        self._listening: dict[str, socket.socket] = {}
        self._directory: Path | None = None
        self._link: Path | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._changed = asyncio.Event()
        self._ends_at = time.monotonic() + patience.connect_s

    # -- from the beginning to the end -----------------------------------------------------------

    def set_up(self, directory: Path) -> Path:
        """Make the directory with sockets and connection file, and give that file.

        Raises:
            OSError: the system refuses.
        """
        try:
            self._directory = directory / f"{DIRECTORY_PREFIX}{secrets.token_hex(4)}"
            make_private_directory(self._directory)
            for port, number in PORTS.items():
                self._listening[port] = listen_in(self._directory, f"k-{number}")
            connection_file = self._directory / "kernel.json"
            text = json.dumps({**self._kernel.connection, "ip": str(self._prefix()), **PORTS})
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(connection_file, flags, 0o600), "w") as file:
                file.write(text)
        except BaseException:
            self._clear_up()
            raise
        return connection_file

    def _prefix(self) -> Path:
        """What the paths of the sockets begin with, short enough for every client."""
        assert self._directory is not None
        prefix = self._directory / "k"
        if len(os.fsencode(prefix)) + len("-0") <= MOST_PATH_BYTES:
            return prefix
        self._link = Path(tempfile.mkdtemp(prefix=_LINK_PREFIX, dir="/tmp"))
        (self._link / "a").symlink_to(self._directory.absolute())
        return self._link / "a" / "k"

    async def run(self, host: KernelHost) -> None:
        """Lead clients to the kernel until they, or it, have gone."""
        kernel_id = self._kernel.kernel_id
        log.info("attached", kernel_id=kernel_id)
        began = time.monotonic()
        try:
            for port, listening in self._listening.items():
                self._spawn(self._accept(port, listening))
            ended = asyncio.create_task(host.wait(kernel_id))
            try:
                await self._until_over(ended)
            finally:
                ended.cancel()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._clear_up()
            log.info("detached", kernel_id=kernel_id, duration_s=round(time.monotonic() - began, 1))

    async def _until_over(self, ended: "asyncio.Task[Any]") -> None:
        while not ended.done() and (left_s := self._ends_at - time.monotonic()) > 0:
            self._changed.clear()
            changed = asyncio.create_task(self._changed.wait())
            await asyncio.wait({ended, changed}, timeout=left_s, return_when="FIRST_COMPLETED")
            changed.cancel()

    def _clear_up(self) -> None:
        for listening in self._listening.values():
            listening.close()
        for directory in (self._directory, self._link):
            if directory is not None:
                shutil.rmtree(directory, ignore_errors=True)

    # -- connections -----------------------------------------------------------------------------

    async def _accept(self, port: str, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, _ = await loop.sock_accept(listening)
            except OSError as error:  # too many open files, for now
                log.warning("no connection to an attached kernel", reason=str(error))
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            if self._connections >= _MOST_CONNECTIONS or not Peer.of(connected).may_administer:
                connected.close()
                continue
            connected.setblocking(False)
            self._spawn(self._serve(port, connected))

    async def _serve(self, port: str, client: socket.socket) -> None:
        """Let a client talk to one of the kernel's sockets."""
        self._connections += 1
        self._expect(self._patience.idle_s)
        try:
            with client, suppress(OSError, TimeoutError):
                if port == _HEARTBEAT:
                    await answer_heartbeats(client)
                    return
                path = f"{self._kernel.connection['ip']}-{self._kernel.connection[port]}"
                talk = self._conversation
                said = relay(client, talk.request) if port in _REQUESTS else _pieces(client)
                with open_socket(path, pid=self._kernel.pid) as kernel:
                    look = talk.question if port == _QUESTIONS else talk.reply
                    answered = relay(kernel, look, share=self._share)
                    await _first(self._lead(said, kernel), self._lead_back(answered, client))
        finally:
            self._connections -= 1
            if not self._connections:
                self._expect(self._patience.return_s)

    async def _lead(self, said: AsyncIterator[bytes], kernel: socket.socket) -> None:
        """Pass on what a client says; it waits while the kernel doesn't read."""
        loop = asyncio.get_running_loop()
        async for piece in said:
            self._expect(self._patience.idle_s)
            await loop.sock_sendall(kernel, piece)

    async def _lead_back(self, said: AsyncIterator[bytes], client: socket.socket) -> None:
        """Pass on what a kernel says; it waits while the client doesn't read."""
        loop = asyncio.get_running_loop()
        async for piece in said:
            sent = _send_some(client, piece)
            if sent < len(piece):
                async with asyncio.timeout(_SEND_S):
                    await loop.sock_sendall(client, piece[sent:])

    def _expect(self, time_s: float) -> None:
        """Stay for so long from now on."""
        before, self._ends_at = self._ends_at, time.monotonic() + time_s
        if self._ends_at < before:
            self._changed.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def clear_attachments(directory: Path) -> None:
    """Remove what a service that was killed left of its attachments."""
    remove_links_into(directory)
    for left in directory.glob(f"{DIRECTORY_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


async def _pieces(connected: socket.socket) -> AsyncIterator[bytes]:
    """All that comes from a socket, as it comes."""
    loop = asyncio.get_running_loop()
    while piece := await loop.sock_recv(connected, _PIECE_BYTES):
        yield piece


def _send_some(connected: socket.socket, piece: bytes) -> int:
    """Send as much as goes at once."""
    try:
        return connected.send(piece)
    except BlockingIOError:
        return 0


async def _first(*works: Coroutine[Any, Any, None]) -> None:
    """Do all of it until the first has ended; raises what that one raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
