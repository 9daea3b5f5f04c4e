"""A stock Jupyter manager runs our sandboxed kernels."""

import asyncio
import json
from pathlib import Path

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from interpreter.hosts.provisioner import CellmateProvisioner, write_kernelspec


async def _run(manager: AsyncKernelManager, code: str) -> str:
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=30)
        texts: list[str] = []
        await client.execute_interactive(
            code,
            timeout=30,
            output_hook=lambda message: texts.append(str(message["content"].get("text", ""))),
        )
        return "".join(texts)
    finally:
        client.stop_channels()


async def test_stock_manager_starts_interrupts_restarts_and_shuts_down(tmp_path: Path) -> None:
    write_kernelspec(tmp_path)
    specs = KernelSpecManager(kernel_dirs=[str(tmp_path)], ensure_native_kernel=False)
    manager = AsyncKernelManager(kernel_name="cellmate", kernel_spec_manager=specs)
    await manager.start_kernel()
    try:
        text = await _run(
            manager, "import os; print(os.getuid(), os.getcwd(), os.path.exists('/root'))"
        )
        assert text == "1000 /work False\n"
        sleeping = asyncio.create_task(
            _run(
                manager,
                "import time\n"
                "try:\n    time.sleep(60)\n"
                "except KeyboardInterrupt:\n    print('woken')",
            )
        )
        await asyncio.sleep(1.0)  # a stock client has no event for "the cell has begun"
        await manager.interrupt_kernel()
        assert await sleeping == "woken\n"
        await _run(manager, "x = 1")
        await manager.restart_kernel(now=True)
        assert await _run(manager, "print('x' in globals())") == "False\n"
        assert await manager.is_alive()
    finally:
        await manager.shutdown_kernel(now=True)
    assert not await manager.is_alive()


async def test_another_program_has_a_kernel_again_by_its_provisioner_info(tmp_path: Path) -> None:
    write_kernelspec(tmp_path)
    specs = KernelSpecManager(kernel_dirs=[str(tmp_path)], ensure_native_kernel=False)
    spec = specs.get_kernel_spec("cellmate")
    config = spec.metadata["kernel_provisioner"]["config"]
    config.update({"data_dir": str(tmp_path / "data"), "orphan_s": 60.0})

    def provisioner() -> CellmateProvisioner:
        manager = AsyncKernelManager(kernel_name="cellmate", kernel_spec_manager=specs)
        made = KernelProvisionerFactory.instance().create_provisioner_instance(
            "a-kernel", spec, manager
        )
        assert isinstance(made, CellmateProvisioner)
        return made

    first = provisioner()
    await first.pre_launch()
    await first.launch_kernel([])
    info = json.loads(json.dumps(await first.get_provisioner_info()))
    assert first._shared is not None
    first._shared.host.detach()  # as if this program ended here
    await first.cleanup()

    second = provisioner()
    await second.load_provisioner_info(info)
    assert await second.poll() is None
    client = AsyncKernelClient()
    client.load_connection_info(second.connection_info)
    client.start_channels()
    await client.wait_for_ready(timeout=30)
    client.stop_channels()
    await second.kill()
    assert await second.wait() == -9
    await second.load_provisioner_info(info)
    assert not second.has_process, "a kernel that has ended was had again"
    await second.cleanup()
