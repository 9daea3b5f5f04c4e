"""`stop`, on services in processes of their own: nothing of them is left, however they ended."""

import asyncio
import contextlib
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from interpreter import Interpreter, Settings
from interpreter.admin import stopping
from interpreter.admin.client import AdminClient
from interpreter.admin.protocol import Request

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


@dataclass(slots=True)
class Standing:
    """What a service has on the machine, found by the name of its data directory.

    Attributes:
        processes: ids of those that were given, or have mounted, something of it.
        sockets: paths that are bound.
        mounts: of this process's own namespace.
        links: temporary directories that lead there.
        groups: control groups of those processes.
    """

    processes: set[int]
    sockets: set[str]
    mounts: set[str]
    links: set[str]
    groups: set[Path]

    @classmethod
    def of(cls, data_dir: Path) -> "Standing":
        """Look."""
        name = str(data_dir)
        processes = {pid for pid in _all_processes() if _is_of(pid, name)}
        bound = Path("/proc/net/unix").read_text().splitlines()
        return cls(
            processes=processes,
            sockets={line.split()[-1] for line in bound if name in line}
            | {str(path) for path in data_dir.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)},
            mounts={
                line for line in Path("/proc/self/mountinfo").read_text().split() if name in line
            },
            links={
                str(link)
                for link in Path("/tmp").glob("cellmate-*/*")
                if link.is_symlink() and os.readlink(link).startswith(name)
            },
            groups={group for pid in processes for group in _groups_of(pid)},
        )


def _all_processes() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdecimal())


def _is_of(pid: int, name: str) -> bool:
    if pid == os.getpid():
        return False
    for file in ("cmdline", "mountinfo", "environ"):
        with contextlib.suppress(OSError):
            if name in Path(f"/proc/{pid}/{file}").read_text(errors="replace"):
                return True
    return False


def _groups_of(pid: int) -> Iterator[Path]:
    """Directories of control groups that were made for kernels."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            controllers, path = line.split(":", 2)[1:]
            if "cellmate" in path:
                yield Path("/sys/fs/cgroup") / controllers / path.lstrip("/")


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
    after = Standing.of(data_dir)
    assert after == Standing(set(), set(), set(), set(), set())
    assert not [group for group in before.groups if group.exists()]
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
                "A service was killed here, and kernels of it may live on: ending them.",
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
