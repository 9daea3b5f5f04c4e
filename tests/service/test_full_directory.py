"""A working directory that becomes too full while there is no service."""

import asyncio
import os
from pathlib import Path

import pytest

from interpreter import Interpreter, SessionClosed, Settings
from tests.service.waiting import until

#: Writes more than may be, once it is told to.
_FILLS = """
import os, time
while not os.path.exists('go'): time.sleep(0.02)
with open('new', 'wb') as new: new.write(os.urandom(12 << 20)); new.flush(); os.fsync(new)
open('written', 'w').close()
time.sleep(60)
"""


async def test_cell_that_fills_the_disk_between_two_services_loses_only_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interpreter.session_record._FRESH_S", 0.0)
    settings = Settings(data_dir=tmp_path / "data", warm_kernels=0, working_directory_bytes=8 << 20)
    async with Interpreter.open(settings, keep_kernels=True) as first:
        session = await first.session(user_id="1")
        await session.execute("open('old', 'w').write('old');")
        work = settings.data_dir / "sessions" / str(session.slot) / "work"
        written_ns = (work / "old").stat().st_ctime_ns
        kernel = session.hosted
        assert kernel is not None

        def fitted_since() -> bool:
            info = first._host.provisioner_info(kernel.kernel_id)
            return info is not None and info["fitted_ns"] > written_ns

        await until(fitted_since)
        begun: list[str] = []
        cell = asyncio.create_task(
            session.execute(_FILLS, on_phase=lambda phase: begun.append(phase.name))
        )
        await until(lambda: "running" in begun)
    with pytest.raises(SessionClosed):
        await cell
    (work / "go").touch()
    await until((work / "written").exists)
    async with Interpreter.open(settings) as second:
        (recovered,) = second.recovered
        result = await recovered.result
        assert result.status == "died" and result.message is not None
        assert "its files took more room than its limit of 8 MB" in result.message
        await second.acknowledge(recovered)
        session = await second.session(user_id="1")
        left = await session.execute("import os; print(sorted(os.listdir()), open('old').read())")
        assert left.text.splitlines()[0] == "['old'] old"
        assert os.listdir(work) == ["old"]
