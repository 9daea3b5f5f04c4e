"""ForkServers: the one that forks, and those whose kernels live on."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from interpreter.errors import KernelStartFailed
from interpreter.hosts.backends import Confinement
from interpreter.hosts.control import ControlDirectory
from interpreter.hosts.server import SERVER_PREFIX, ForkServer, ServerTerms
from interpreter.logs import get_logger

log = get_logger(__name__)

#: How long a fork server that is to end may take to answer.
_ANSWER_S = 5.0
#: How long it is waited for those of an earlier service that still import.
_SETTLE_S = 5.0


class ForkServers:
    """All fork servers of one host.

    One of them forks. The others are *retired*: they ended while their kernels live on, don't
    answer, or were started by an earlier service that was of another kind. With its last kernel,
    a retired one is stopped.
    """

    def __init__(
        self,
        confinement: Confinement,
        directory: ControlDirectory,
        *,
        orphan_s: float,
        in_use: Callable[[], Collection[str]],
    ) -> None:
        """Start none yet.

        Args:
            confinement: what they and their kernels see.
            directory: where they listen.
            orphan_s: how long they live on without a service, in seconds.
            in_use: gives the ids of those that have kernels.
        """
        self._confinement = confinement
        self._directory = directory
        self._orphan_s = orphan_s
        self._in_use = in_use
        self._current: ForkServer | None = None
        self._all: dict[str, ForkServer] = {}
        self._identity: str | None = None
        self._rejoining: asyncio.Task[None] | None = None
        self._found = asyncio.Event()
        self._stopping: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()
        self._settled = True
        self._closing = False

    @property
    def current(self) -> ForkServer | None:
        """The one that forks, if there is one."""
        return self._current

    def rejoin(self, names: Sequence[str]) -> None:
        """Have those again that an earlier service has started; none ends before :meth:`settle`.

        Args:
            names: of their sockets in the control directory.
        """
        self._settled = False
        self._rejoining = asyncio.create_task(self._rejoin(names))

    async def ready(self) -> ForkServer:
        """The one that forks; if there is none, one is started.

        Raises:
            KernelStartFailed: the service is closing.
            SandboxUnavailable: none can be started.
        """
        async with self._lock:
            if self._rejoining is not None:
                await self._found.wait()
            if self._closing:
                raise KernelStartFailed(reason="the service is closing")
            if self._current is not None and not self._current.running:
                log.error("the fork server has ended", server_id=self._current.server_id)
                self.retire(self._current)
            if self._current is None:
                terms = ServerTerms(await self._wanted(), self._orphan_s)
                server = await self._confinement.start_server(self._directory, terms)
                self._current = self._all[server.server_id] = server
            return self._current

    def retire(self, server: ForkServer) -> None:
        """Fork no more from one; its kernels live on."""
        if self._current is server:
            self._current = None
        self.release()

    def release(self) -> None:
        """Stop the retired ones that have no kernels any more."""
        if not self._settled or self._closing:
            return
        used = self._in_use()
        for server in list(self._all.values()):
            if server is not self._current and server.server_id not in used:
                del self._all[server.server_id]
                stopping = asyncio.create_task(server.stop())
                self._stopping.add(stopping)
                stopping.add_done_callback(self._stopping.discard)

    async def settle(self) -> None:
        """From now on, stop those of an earlier service that have no kernels."""
        if self._rejoining is not None:
            await asyncio.wait([self._rejoining], timeout=_SETTLE_S)
        self._settled = True
        self.release()
        if self._stopping:
            await asyncio.wait(self._stopping)

    async def leave(self) -> None:
        """Leave all of them to the next service."""
        await self._close()
        await asyncio.gather(*(server.leave() for server in self._all.values()))
        await asyncio.gather(*self._stopping)

    async def stop(self) -> None:
        """Stop all of them, and with them all kernels that have not ended."""
        await self._close()
        async with self._lock:
            await asyncio.gather(*(server.stop() for server in self._all.values()))
        await asyncio.gather(*self._stopping)
        await end_earlier_servers(self._directory)  # that have not answered yet

    async def _close(self) -> None:
        self._closing = True
        if self._rejoining is not None:
            self._rejoining.cancel()
            await asyncio.wait([self._rejoining])

    async def _rejoin(self, names: Sequence[str]) -> None:
        try:
            wanted = await self._wanted()
            await asyncio.gather(*(self._rejoin_one(name, wanted) for name in names))
        finally:
            self._found.set()
        self.release()

    async def _rejoin_one(self, name: str, wanted: str) -> None:
        server = await ForkServer.rejoin(self._directory, name, orphan_s=self._orphan_s)
        if server is None:
            return
        self._all[server.server_id] = server
        if self._current is None and server.identity == wanted:
            self._current = server
            self._found.set()
        else:
            log.info("a fork server is retired", server_id=server.server_id)

    async def _wanted(self) -> str:
        if self._identity is None:
            self._identity = await asyncio.to_thread(self._confinement.identity)
        return self._identity


async def end_earlier_servers(directory: ControlDirectory) -> None:
    """End all fork servers that an earlier service has left, and their kernels."""

    async def end(name: str) -> None:
        server = await ForkServer.rejoin(directory, name, orphan_s=0.0, timeout_s=_ANSWER_S)
        if server is not None:
            await server.stop()

    names = [name for name in directory.sockets() if name.startswith(SERVER_PREFIX)]
    await asyncio.gather(*(end(name) for name in names))
    with suppress(OSError):
        for path in directory.path.glob(f"{SERVER_PREFIX}*"):
            path.unlink()
