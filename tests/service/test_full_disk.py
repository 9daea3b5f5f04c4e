"""A nearly full disk, and no service there: who writes to it is ended, and nobody else."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from interpreter import Interpreter, Settings
from interpreter.admin import stopping
from kernel_startup.disk import room_on_disk
from tests.attacks.conftest import _where_others_can_read
from tests.service.test_reattaching import Earlier
from tests.service.waiting import until

_DISK_BYTES = 1 << 30
#: What is left above the reserve when a cell begins to write.
_LEFT_BYTES = 10 << 20
_BEGIN = """
import os, shutil, subprocess, time
x += 1
open("begun", "w").close()
while not os.path.exists("go"):
    time.sleep(0.02)
"""
#: What such children write is added to nobody's account.
_FORGOTTEN = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if os.fork() == 0:
        with open("PATH", "ab", buffering=0) as file:
            file.write(bytes(300_000))
        os._exit(0)
    try:
        os.wait()
    except ChildProcessError:  # so it has ended
        time.sleep(0.02)
"""
_WRITERS = {
    "kernel": """
import ctypes
ctypes.CDLL(None).prctl(15, b"\\xff", 0, 0, 0)  # a name that is no text
with open("big", "wb", buffering=0) as file:
    while True:
        file.write(bytes(300_000))
        time.sleep(0.02)
""",
    "children": """
loop = "while :; do head -c 300000 /dev/zero >> big; sleep 0.02; done"
subprocess.run(["sh", "-c", loop])
""",
    "orphans": """
loop = "while :; do (head -c 300000 /dev/zero >> big &); sleep 0.02; done"
subprocess.run(["sh", "-c", loop])
""",
    "forgotten": _FORGOTTEN.replace("PATH", "big"),
    "dark": f"""
os.mkdir("dark", 0o300)
{_FORGOTTEN.replace("PATH", "dark/big")}
""",
    # Linux hides from its own user what a program does that can be run but not read.
    "hidden": """
shutil.copy(shutil.which("sh"), "hidden")
os.chmod("hidden", 0o111)
loop = "while :; do printf %0300000d 0; sleep 0.02; done >> big"
subprocess.run(["./hidden", "-c", loop])
""",
}
#: Where temporary files are on the same disk.
_TEMPORARY = f"""
import tempfile
os.chdir(tempfile.gettempdir())
{_FORGOTTEN.replace("PATH", "big")}
"""
_INNOCENT = 'sum(range(100)); open("small", "w").write("x" * 1000); x'


@pytest.fixture
def disk() -> Iterator[Path]:
    """A directory that is a disk of its own."""
    with tempfile.TemporaryDirectory(prefix="cellmate-disk-") as directory:
        image, at = Path(directory, "image"), Path(directory, "disk")
        at.mkdir()
        with image.open("wb") as file:
            file.truncate(_DISK_BYTES)
        try:
            for command in (
                ("mkfs.ext4", "-q", "-m", "0", image),
                ("mount", "-o", "loop", image, at),
            ):
                subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no disk of its own can be had: {error}")
        Path(directory).chmod(0o711)
        at.chmod(0o711)
        try:
            yield at
        finally:
            subprocess.run(["umount", "--lazy", at], check=True)


@contextmanager
def _nearly_full(disk: Path) -> Iterator[None]:
    ballast = disk / "ballast"
    room, reserve = room_on_disk(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, int(room - reserve - _LEFT_BYTES))
    yield
    ballast.unlink()


def _are_there(slot: Path) -> bool:
    """Whether processes live that work in this sandbox."""
    places = [slot / "work", slot / "tmp"]
    for process in Path("/proc").glob("[0-9]*"):
        for place in places:
            with suppress(OSError):
                if (process / "cwd").samefile(place):
                    return True
    return False


@pytest.mark.parametrize("sandbox", ["namespaces", "landlock"])
async def test_who_fills_the_disk_while_no_service_is_there_is_ended(
    disk: Path, sandbox: str
) -> None:
    data_dir = disk / "data"
    settings: dict[str, Any] = {"data_dir": str(data_dir), "warm_kernels": 0, "sandbox": sandbox}
    if sandbox == "landlock":
        settings |= {name: str(path) for name, path in _where_others_can_read().items()}
    writers = _WRITERS
    if sandbox == "landlock":
        writers = {"temporary": _TEMPORARY, **_WRITERS}
    work: dict[str, Path] = {}
    try:
        async with Earlier.running(settings) as earlier:
            for user, cell in {"innocent": _INNOCENT, **writers}.items():
                await earlier.run(user, f"x = 41; open('of-{user}', 'w').close()")
                (mark,) = data_dir.glob(f"sessions/*/work/of-{user}")
                work[user] = mark.parent
                await earlier.begin(user, _BEGIN + cell)
                await until((mark.parent / "begun").exists)
            # Meanwhile it is written down that the others run.
            await earlier.run("idle", "import time; y = 43; time.sleep(1)")
            earlier.process.kill()
            await earlier.process.wait()
        with _nearly_full(disk):
            for user in writers:
                (work[user] / "go").touch()
                await until(lambda at=work[user]: not _are_there(at.parent))
                assert room_on_disk(disk)[0] > 0
                if user != "hidden":
                    (big,) = work[user].parent.glob("**/big")
                    big.unlink()
            assert _are_there(work["innocent"].parent)
            (work["innocent"] / "go").touch()
        async with Interpreter.open(Settings(**settings)) as service:
            results = {cell.user_id: await cell.result for cell in service.recovered}
            assert (results["innocent"].status, results["innocent"].text) == ("ok", "42")
            idle = await service.session(user_id="idle")
            assert (await idle.execute("y")).text == "43"
            for user in writers:
                assert results[user].status == "died"
                assert "the disk of this machine is nearly full" in results[user].text
                assert (work[user] / f"of-{user}").exists()
            assert not (work["hidden"] / "big").exists(), "what it wrote last is gone"
    finally:
        await stopping.stop(Settings(**settings), tell=lambda line: None, patience_s=0)
