"""`stop`, on services in processes of their own: nothing of them is left, however they ended."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interpreter import Interpreter, Settings
from interpreter.admin import stopping
from interpreter.admin.client import AdminClient
from interpreter.admin.protocol import Request
from tests.chaos.processes import Standing, left_over

_ROOT = Path(__file__).parents[2]
#: A service that keeps its kernels, with one that runs a cell and one that is idle.
_PROGRAM = """
import asyncio, signal, sys
from pathlib import Path
from interpreter import Interpreter, Settings

async def main():
    settings = Settings(data_dir=Path(sys.argv[1]), kernel_memory_bytes=512 << 20)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    async with Interpreter.open(settings, keep_kernels=True) as service:
        idle = await service.session(user_id="idle")
        await idle.execute("x = 1")
        busy = await service.session(user_id="busy")
        code = "import subprocess, time; subprocess.Popen(['sleep', '600']); print(1, flush=True)"
        inside = asyncio.Event()
        cell = asyncio.create_task(
            busy.execute(code + "\\nwhile True: time.sleep(0.1)", on_output=lambda _: inside.set())
        )
        await inside.wait()
        print("running", flush=True)
        await asyncio.sleep(600)

try:
    asyncio.run(main())
except asyncio.CancelledError:
    print("ended in order", flush=True)
"""


@asynccontextmanager
async def service(data_dir: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A service whose kernels run cells; killed at the end if it still lives."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM, str(data_dir)),
        stdout=asyncio.subprocess.PIPE,
        cwd=_ROOT,
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"running\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await stopping.stop(Settings(data_dir=data_dir), tell=lambda line: None, patience_s=0)


async def stop(data_dir: Path, *words: str) -> tuple[int, list[str]]:
    """Run the command; gives its status and the lines it printed."""
    command = (sys.executable, "-m", "interpreter", "stop", *words)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=_ROOT,
        env={**os.environ, "DATA_DIR": str(data_dir)},
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode().splitlines()


def check_nothing_is_left(data_dir: Path, before: Standing) -> None:
    """Nothing of what there was, and nothing else of that service."""
    assert left_over(data_dir, before.groups) == []
    assert not list((data_dir / "sessions").iterdir())
    unfinished = [path for path in data_dir.rglob("*") if path.name.endswith((".tmp", ".part"))]
    assert not unfinished


async def test_stopping_ends_service_and_kernels_and_leaves_nothing(tmp_path: Path) -> None:
    data_dir = tmp_path / "d"
    async with service(data_dir) as process:
        async with AdminClient.connect(data_dir) as client:
            await client.ask(Request("attach", "idle"))
        before = Standing.of(data_dir)
        assert len(before.processes) > 4 and before.sockets
        status, said = await stop(data_dir)
        assert said[0] == f"Asking the service (process {process.pid}) to end, with its 2 kernels."
        assert said[1].startswith("The service has ended, after ")
        assert (status, said[2:]) == (0, ["Nothing is left running."])
        assert process.stdout is not None
        assert await process.stdout.read() == b"ended in order\n"
        assert list((data_dir / "snapshots" / "idle").iterdir()), "for when users come back"
        check_nothing_is_left(data_dir, before)


async def test_stopping_ends_the_kernels_of_a_service_that_was_killed(tmp_path: Path) -> None:
    data_dir = tmp_path / ("d" * 110)  # too long for sockets: there are links to it as well
    async with service(data_dir) as process:
        async with AdminClient.connect(data_dir) as client:
            await client.ask(Request("attach", "idle"))
        before = Standing.of(data_dir)
        process.kill()
        await process.wait()
        left = Standing.of(data_dir).processes
        assert len(left) > 2, "kernels live on"
        status, said = await stop(data_dir)
        assert (status, said) == (
            0,
            [
                "Kernels of an earlier service may live on: ending them.",
                "Nothing is left running.",
            ],
        )
        check_nothing_is_left(data_dir, before)
        assert (await stop(data_dir))[1] == [
            f"No service is running in {str(data_dir)!r}, and nothing is left of one."
        ]
        async with Interpreter.open(Settings(data_dir=data_dir)) as after:
            result = await (await after.session(user_id="busy")).execute("1 + 1")
            assert result.status == "ok" and result.text.startswith("2")
            assert result.message is not None and "The kernel ended while" in result.message


async def test_a_service_that_hangs_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interpreter.admin.stopping._ASK_S", 0.2)
    monkeypatch.setattr("interpreter.admin.stopping._AT_ONCE_S", 0.2)
    data_dir, said = tmp_path / "d", list[str]()
    async with service(data_dir) as process:
        before = Standing.of(data_dir)
        process.send_signal(signal.SIGSTOP)
        await stopping.stop(Settings(data_dir=data_dir), tell=said.append, patience_s=0.1)
        assert said[:3] == [
            f"The service (process {process.pid}) can't be asked: sending it SIGTERM.",
            "It goes on after 0 s: what still runs is cut off now.",
            "It doesn't end: killing it.",
        ]
        assert said[-1] == "Nothing is left running."
        check_nothing_is_left(data_dir, before)


async def test_service_that_leaves_without_kernels_leaves_no_control_groups(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "d", warm_kernels=0, orphan_s=0)
    async with Interpreter.open(settings, keep_kernels=True) as service:
        session = await service.session(user_id="1")
        assert (await session.execute("1")).status == "ok"
        groups = Standing.of(settings.data_dir).groups
        await session.close()
    assert [group for group in groups if group.exists()] == []
