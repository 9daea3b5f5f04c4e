"""The Jupyter provisioner: any Jupyter tool can run our sandboxed kernels.

A kernelspec that names the provisioner is enough:

    {"argv": ["cellmate"], "display_name": "Cellmate (sandboxed)", "language": "python",
     "metadata": {"kernel_provisioner": {"provisioner_name": "cellmate-provisioner", "config": {}}}}

``config`` may set the traits below. Kernels of one event loop share one host, which ends with the
last of them. With ``data_dir`` and ``orphan_s`` set, a kernel outlives the program that started it,
should that be killed: another can have it again, by what ``get_provisioner_info`` said. Of programs
with one ``data_dir`` only one can have a host at a time; what others have left it leaves alone.

A restart keeps the working directory and the connection, so clients from before go on. Packages
don't install themselves here.

Source: jupyter_client documentation, "Customizing the kernel's runtime environment".
"""

import asyncio
import json
import os
import signal
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from traitlets import Float, Int, Unicode

from interpreter.data_directory import DataDirectoryLock
from interpreter.hosts.base import HostedKernel, KernelExit
from interpreter.hosts.local import LocalKernelHost
from interpreter.kernel_client import connection_info
from interpreter.limits import Limits
from interpreter.settings import Settings

KERNELSPEC = {
    "argv": ["cellmate"],
    "display_name": "Cellmate (sandboxed)",
    "language": "python",
    "interrupt_mode": "signal",
    "metadata": {"kernel_provisioner": {"provisioner_name": "cellmate-provisioner", "config": {}}},
}


def write_kernelspec(directory: Path) -> Path:
    """Write the kernelspec ``cellmate`` below a directory of kernelspecs; returns its own."""
    own = directory / "cellmate"
    own.mkdir(parents=True, exist_ok=True)
    (own / "kernel.json").write_text(json.dumps(KERNELSPEC, indent=2))
    return own


@dataclass(slots=True)
class _SharedHost:
    """A host, how many provisioners use it, and their slots, each with its last kernel's id."""

    host: LocalKernelHost
    stack: AsyncExitStack
    users: int = 0
    slots: dict[str, str] = field(default_factory=dict)

    async def close_slot(self, slot: str) -> None:
        """End a slot's kernel, if it lives, and remove the slot."""
        await self.host.kill(self.slots.pop(slot))
        await self.host.close_slot(slot)

    async def close(self) -> None:
        """End what is this program's own; others may come back for their kernels."""
        for slot in list(self.slots):
            await self.close_slot(slot)
        if self.host.has_strays():
            self.host.detach()
        await self.stack.aclose()


@dataclass(slots=True)
class _SharedHosts:
    """The hosts of one event loop, by what they were opened with."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    hosts: dict[tuple[str, str, int, float], _SharedHost] = field(default_factory=dict)


class CellmateProvisioner(KernelProvisionerBase):
    """Starts, signals and ends a sandboxed kernel on a ``LocalKernelHost`` for a KernelManager."""

    data_dir = Unicode("", help="Where sandboxes are kept; a temporary directory if empty.").tag(
        config=True
    )
    kernel_env_dir = Unicode("", help="Where kernels' environments are kept.").tag(config=True)
    memory_mb = Int(1024, help="Memory limit of a kernel, in MiB.").tag(config=True)
    orphan_s = Float(
        0.0, help="How long kernels live on, in seconds, when the program that has them is gone."
    ).tag(config=True)

    # Jupyter makes a provisioner for each kernel and tells none of them of the others.
    _loops: ClassVar[dict[asyncio.AbstractEventLoop, _SharedHosts]] = {}

    _kernel: HostedKernel | None = None
    _last: HostedKernel | None = None
    _exit: "asyncio.Task[KernelExit] | None" = None
    _shared: _SharedHost | None = None

    @property
    def has_process(self) -> bool:
        """Whether a kernel was started and not yet cleaned up. KernelManager asks at any time."""
        return self._kernel is not None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Open the host. Called by KernelManager before :meth:`launch_kernel`."""
        if self._shared is None:
            self._shared = await self._share_host()
        kwargs.pop("extra_arguments", None)
        arguments: dict[str, Any] = await super().pre_launch(cmd=self.kernel_spec.argv, **kwargs)
        return arguments

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start a kernel; ``cmd`` means nothing here. KernelManager calls it, also at a restart."""
        assert self._shared is not None, "pre_launch comes first"
        host, last = self._shared.host, self._last
        if last is None:
            kernel = await host.start(None)
        else:
            kernel = await host.start(last.slot, key=str(last.connection["key"]))
        self._have(self._shared, kernel)
        return self.connection_info

    def _have(self, shared: _SharedHost, kernel: HostedKernel) -> None:
        self._kernel = self._last = kernel
        shared.slots[kernel.slot] = kernel.kernel_id
        self._exit = asyncio.create_task(shared.host.wait(kernel.kernel_id))
        self.connection_info = connection_info(kernel)

    async def get_provisioner_info(self) -> dict[str, Any]:
        """What another program needs to have the kernel again, for JSON; a secret."""
        info: dict[str, Any] = await super().get_provisioner_info()
        key: Any = self.connection_info.get("key", b"")  # bytes, which JSON has not
        text = key.decode() if isinstance(key, bytes) else key
        info["connection_info"] = {**self.connection_info, "key": text}
        if self._kernel is not None and self._shared is not None:
            info["cellmate"] = self._shared.host.provisioner_info(self._kernel.kernel_id)
        return info

    async def load_provisioner_info(self, provisioner_info: dict[str, Any]) -> None:
        """Have a kernel again; if it is no more, ``has_process`` is False afterwards."""
        await super().load_provisioner_info(provisioner_info)
        if self._shared is None:
            self._shared = await self._share_host()
        kernel = await self._shared.host.adopt(provisioner_info.get("cellmate") or {})
        if kernel is not None:
            self._have(self._shared, kernel)

    async def poll(self) -> int | None:
        """None while the kernel lives, else its exit status."""
        if self._exit is None:
            return 0
        await asyncio.sleep(0)  # a manager that only polls must let the exit be noticed
        return _exit_status(self._exit.result()) if self._exit.done() else None

    async def wait(self) -> int | None:
        """Wait for the kernel's end. Called by KernelManager when it shuts down."""
        if self._exit is None or self._kernel is None or self._shared is None:
            return 0
        status = _exit_status(await asyncio.shield(self._exit))
        self._kernel = None
        return status

    async def send_signal(self, signum: int) -> None:
        """Send a signal to the kernel. KernelManager interrupts with SIGINT."""
        if self._kernel is not None and self._shared is not None:
            if signum == 0:
                return
            await self._shared.host.signal(self._kernel.kernel_id, signum)

    async def kill(self, restart: bool = False) -> None:
        """End the kernel at once."""
        if self._kernel is not None and self._shared is not None:
            await self._shared.host.kill(self._kernel.kernel_id)

    async def terminate(self, restart: bool = False) -> None:
        """End the kernel: there is nothing of its own it could save."""
        await self.kill(restart=restart)

    async def cleanup(self, restart: bool = False) -> None:
        """Leave the host; the last to leave closes it. Called after the kernel's end."""
        if self._shared is None or restart:
            return
        shared, self._shared = self._shared, None
        last, self._last = self._last, None
        try:
            if last is not None and self._kernel is None:
                await shared.close_slot(last.slot)
        finally:
            await self._leave_host(shared)

    async def _share_host(self) -> _SharedHost:
        loop = asyncio.get_running_loop()
        shared_hosts = self._loops.setdefault(loop, _SharedHosts())
        key = (self.data_dir, self.kernel_env_dir, self.memory_mb, self.orphan_s)
        async with shared_hosts.lock:
            shared = shared_hosts.hosts.get(key)
            if shared is None:
                shared = shared_hosts.hosts[key] = await self._open_host()
            shared.users += 1
            return shared

    async def _open_host(self) -> _SharedHost:
        async with AsyncExitStack() as stack:
            if self.data_dir:
                data_dir = Path(self.data_dir)
            else:
                temporary = tempfile.TemporaryDirectory(prefix="cellmate-")
                data_dir = Path(stack.enter_context(temporary))
                os.chmod(data_dir, 0o711)
            stack.enter_context(DataDirectoryLock(data_dir))
            defaults = Settings(data_dir=data_dir)
            opened = LocalKernelHost.open(
                data_dir=data_dir,
                kernel_env_dir=Path(self.kernel_env_dir or defaults.kernel_env_dir),
                limits=Limits(memory_bytes=self.memory_mb << 20),
                orphan_s=self.orphan_s,
                # What is left there may be another provisioner's, to be had again later.
                reattach=self.orphan_s > 0,
            )
            host = await stack.enter_async_context(opened)
            return _SharedHost(host, stack.pop_all())

    async def _leave_host(self, shared: _SharedHost) -> None:
        loop = asyncio.get_running_loop()
        shared_hosts = self._loops[loop]
        async with shared_hosts.lock:
            shared.users -= 1
            if shared.users == 0:
                key = next(key for key, value in shared_hosts.hosts.items() if value is shared)
                del shared_hosts.hosts[key]
                await shared.close()
        if not shared_hosts.hosts:
            self._loops.pop(loop, None)


def _exit_status(how: KernelExit) -> int:
    if how.cause == "exited":
        return how.code or 0
    return -(how.signal or signal.SIGKILL)
