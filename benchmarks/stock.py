"""The peer: a stock ``AsyncKernelManager`` with ipykernel, used as its documentation says."""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Self

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

_READY_S = 60.0


class StockManager(AsyncKernelManager):  # type: ignore[misc]  # traitlets is untyped
    """A manager whose kernel is this environment's ipykernel, whatever else is installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """ipykernel's own kernelspec, for this interpreter."""
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="stock",
            language="python",
        )


@asynccontextmanager
async def stock_kernel(
    ready_s: float = _READY_S,
) -> AsyncGenerator[tuple[StockManager, AsyncKernelClient]]:
    """A started kernel and a client that is ready, within ``ready_s`` seconds."""
    manager = StockManager()
    # Its packages are to be compiled, as they are where it is used: ours always are.
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    # It warns of its own default.
    await manager.start_kernel(stderr=subprocess.DEVNULL, env=environ)
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=ready_s)
        yield manager, client
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


def stock_pid(manager: StockManager) -> int:
    """The process id of a kernel."""
    pid: int = manager.provisioner.process.pid
    return pid


class StockPool:
    """Pre-started stock kernels: what one would build on jupyter_client to spare users the wait.

    async with StockPool(size=1) as pool:
        async with pool.claimed() as client: ...
    """

    def __init__(self, size: int) -> None:
        """Describe it.

        Args:
            size: how many kernels wait.
        """
        self._size = size
        self._waiting: list[tuple[AsyncKernelClient, AsyncExitStack]] = []

    async def __aenter__(self) -> Self:
        await self.refill()
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._waiting:
            await self._waiting.pop()[1].aclose()

    async def refill(self) -> None:
        """Start kernels until as many wait as there should be; between two newcomers."""
        while len(self._waiting) < self._size:
            stack = AsyncExitStack()
            _, client = await stack.enter_async_context(stock_kernel())
            self._waiting.append((client, stack))

    @asynccontextmanager
    async def claimed(self) -> AsyncGenerator[AsyncKernelClient]:
        """One that waits, ready at once; it ends with the context."""
        client, stack = self._waiting.pop(0)
        async with stack:
            yield client
