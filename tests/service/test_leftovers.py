"""What `stop` leaves of sessions to the next service, and what it does for another account's."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from interpreter import Interpreter, Settings
from interpreter.admin.acting import acting_as_owner
from interpreter.admin.client import AdminClient
from interpreter.admin.protocol import Request
from interpreter.admin.stopping import stop as stop_here
from interpreter.embedded_server import _remember
from tests.service.test_stopping import Standing, stop

_ROOT = Path(__file__).parents[2]
_NOBODY = 12_321
#: A service that leaves its kernels at SIGTERM; of two users one has made files.
_PROGRAM = """
import asyncio, signal, sys
from pathlib import Path
from interpreter import Interpreter, Settings

async def main():
    settings = Settings(data_dir=Path(sys.argv[1]), warm_kernels=0)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    async with Interpreter.open(settings, keep_kernels=True) as service:
        made = await service.session(user_id="made")
        await made.execute("x = 41; open('mine.txt', 'w').write('mine')")
        await (await service.session(user_id="none")).execute("y = 1")
        print("running", flush=True)
        await asyncio.sleep(600)

try:
    asyncio.run(main())
except asyncio.CancelledError:
    pass
"""


async def test_working_directories_outlive_a_stop(tmp_path: Path) -> None:
    data_dir, said = tmp_path / "d", list[str]()
    settings = Settings(data_dir=data_dir, warm_kernels=0)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM, str(data_dir)), stdout=asyncio.subprocess.PIPE, cwd=_ROOT
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"running\n"
        process.send_signal(signal.SIGTERM)
        await process.wait()
        assert len(Standing.of(data_dir).processes) > 2, "kernels live on"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await stop_here(settings, tell=said.append, patience_s=0)
    assert said == [
        "Kernels of an earlier service may live on: ending them.",
        "Nothing is left running.",
    ]
    assert Standing.of(data_dir) == Standing(*[set() for _ in Standing.__slots__])
    check_only_work_is_left(data_dir)
    await stop_here(settings, tell=said.append, patience_s=0)
    assert said[2:] == [f"No service is running in {str(data_dir)!r}, and nothing is left of one."]
    next_one = asyncio.create_task(come_back(settings))
    await asyncio.wait([next_one])
    assert next_one.cancelled(), next_one.exception()
    check_only_work_is_left(data_dir)


async def come_back(settings: Settings) -> None:
    """Another service, in which users find what they had; it is asked to stop by an admin."""
    async with Interpreter.open(settings) as after:
        session = await after.session(user_id="made")
        result = await session.execute("open('mine.txt').read(), x + 1")
        assert result.text.startswith("('mine', 42)")
        assert not result.state_lost and not result.artifacts
        other = await (await after.session(user_id="none")).execute("y")
        assert other.text.startswith("1") and not other.state_lost
        async with AdminClient.connect(settings.data_dir) as client:
            await client.ask(Request("stop"))
        await asyncio.Event().wait()


def check_only_work_is_left(data_dir: Path) -> None:
    """Of all slots that one whose user has made files, and these."""
    [slot] = (data_dir / "sessions").iterdir()
    assert [path.name for path in slot.iterdir() if [*path.iterdir()]] == ["work"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
async def test_root_ends_what_another_accounts_service_has_left(tmp_path: Path) -> None:
    for path in (tmp_path, *tmp_path.parents):  # as deep as the runner makes it
        if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o001:
            path.chmod(0o711)
    data_dir = tmp_path / "d"
    work, control = data_dir / "sessions" / ("a" * 16) / "work", data_dir / "control"
    for directory in (work, work.parent / "files", work.parent / "run", control):
        directory.mkdir(parents=True)
    (work / "mine.txt").write_text("mine")
    (data_dir / ".lock").touch()
    (data_dir / "database").mkdir()
    server = await asyncio.create_subprocess_exec("sleep", "600", user=_NOBODY)
    try:
        _remember(data_dir / "database" / "server.json", server.pid)
        for path in (data_dir, *data_dir.rglob("*")):
            os.chown(path, _NOBODY, _NOBODY)
        status, said = await stop(data_dir)
        assert (status, said) == (
            0,
            [
                "Kernels of an earlier service may live on: ending them.",
                "Nothing is left running.",
            ],
        )
        assert await server.wait() == -signal.SIGTERM
    finally:
        if server.returncode is None:
            server.kill()
    assert (work / "mine.txt").read_text() == "mine"
    assert not (work.parent / "run").exists()
    assert {path.stat().st_uid for path in (data_dir / ".lock", work)} == {_NOBODY}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
async def test_what_cannot_be_ended_is_said_in_a_sentence(tmp_path: Path) -> None:
    data_dir = tmp_path / "d"
    (data_dir / "control").mkdir(parents=True)
    (data_dir / ".lock").touch()
    (data_dir / "sessions" / "slot" / "run").mkdir(parents=True)
    os.chown(data_dir / "control", _NOBODY, _NOBODY)
    status, said = await stop(data_dir)
    assert (status, said[-1]) == (
        1,
        f"Not all that a service has left in {str(data_dir)!r} could be ended: "
        f"{str(data_dir / 'control')!r} is not a directory of this account's own. Run this as "
        "root, or as the account that the directory belongs to.",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
async def test_root_is_itself_again_after_acting_as_somebody(tmp_path: Path) -> None:
    os.chown(tmp_path, _NOBODY, _NOBODY)
    before = (os.getresuid(), os.getresgid(), sorted(os.getgroups()))
    with pytest.raises(ZeroDivisionError), acting_as_owner(tmp_path):
        assert os.getresuid() == (_NOBODY, _NOBODY, 0)
        assert os.getresgid()[:2] == (_NOBODY, _NOBODY)
        raise ZeroDivisionError
    assert (os.getresuid(), os.getresgid(), sorted(os.getgroups())) == before
