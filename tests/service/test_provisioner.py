"""A stock Jupyter manager runs our sandboxed kernels."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from interpreter.hosts.provisioner import write_kernelspec
from tests.service.provisioner_program import provisioner_in
from tests.service.waiting import until


async def _run(manager: AsyncKernelManager, code: str) -> str:
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=30)
        return await _said(client, code)
    finally:
        client.stop_channels()


async def _said(client: AsyncKernelClient, code: str) -> str:
    texts: list[str] = []
    await client.execute_interactive(
        code,
        timeout=30,
        output_hook=lambda message: texts.append(str(message["content"].get("text", ""))),
    )
    return "".join(texts)


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


async def test_client_from_before_a_restart_goes_on_with_the_files_that_are_there(
    tmp_path: Path,
) -> None:
    write_kernelspec(tmp_path)
    specs = KernelSpecManager(kernel_dirs=[str(tmp_path)], ensure_native_kernel=False)
    manager = AsyncKernelManager(kernel_name="cellmate", kernel_spec_manager=specs)
    await manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=30)
        await _said(client, "x = 1; open('kept.txt', 'w').close()")
        first = await manager.provisioner.get_provisioner_info()
        await manager.restart_kernel(now=True)
        await client.wait_for_ready(timeout=30)
        text = await _said(client, "import os; print(os.listdir(), 'x' in globals())")
        assert text == "['kept.txt'] False\n"
        second = await manager.provisioner.get_provisioner_info()
        assert second["connection_info"] == first["connection_info"]
        assert second["cellmate"]["kernel_pid"] != first["cellmate"]["kernel_pid"]
        assert second["cellmate"]["slot"] == first["cellmate"]["slot"]
        # As Jupyter's restarter does with a kernel that has died.
        os.kill(second["cellmate"]["kernel_pid"], signal.SIGKILL)
        async with asyncio.timeout(20):
            while await manager.is_alive():
                pass
        await manager.restart_kernel(now=True)
        await client.wait_for_ready(timeout=30)
        assert await _said(client, "import os; print(os.listdir())") == "['kept.txt']\n"
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)
    assert not manager.has_kernel


@asynccontextmanager
async def _program(directory: Path) -> AsyncIterator[tuple[Process, dict[str, Any]]]:
    """A Jupyter tool in a process of its own, and the provisioner info of its kernel."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.service.provisioner_program", str(directory)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    try:
        yield process, json.loads(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_another_program_has_a_kernel_again_by_its_provisioner_info(tmp_path: Path) -> None:
    async with _program(tmp_path) as (_, info):
        pass  # it is killed
    second = provisioner_in(tmp_path)
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
    _assert_nothing_is_left(tmp_path)


async def test_program_that_leaves_ends_its_own_kernels_and_no_others(tmp_path: Path) -> None:
    async with _program(tmp_path) as (_, others):
        pass  # it is killed
    async with _program(tmp_path) as (process, own):
        assert await process.communicate(b"\n") == (b"", None)
        assert process.returncode == 0
    assert psutil.pid_exists(others["cellmate"]["kernel_pid"])
    await until(lambda: not psutil.pid_exists(own["cellmate"]["kernel_pid"]))
    assert os.listdir(tmp_path / "data" / "sessions") == [others["cellmate"]["slot"]]

    third = provisioner_in(tmp_path)
    await third.load_provisioner_info(others)
    assert await third.poll() is None
    await third.cleanup()
    await until(lambda: not psutil.pid_exists(others["cellmate"]["kernel_pid"]))
    _assert_nothing_is_left(tmp_path)


def _assert_nothing_is_left(directory: Path) -> None:
    data_dir = directory / "data"
    assert [*os.listdir(data_dir / "control"), *os.listdir(data_dir / "sessions")] == []
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [command for command in commands if str(data_dir) in " ".join(command)]
