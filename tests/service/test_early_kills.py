"""A service that is killed before it has written down the cell that it just sent."""

import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from interpreter import Interpreter, Settings
from tests.chaos.processes import database_of, kill
from tests.service.test_reattaching import Earlier
from tests.service.waiting import until

_LIMIT_S = 1.0
_ENDLESS = "open('begun', 'w').close()\nx += 1\nwhile True: time.sleep(0.02)"
#: The kernel is busy without a cell, until somebody opens the pipe.
_OCCUPIES = """
import asyncio, os, time
x = 41
gate = os.path.expanduser('~/gate')
os.mkfifo(gate)
def occupy():
    open('occupied', 'w').close()
    os.open(gate, os.O_WRONLY)
asyncio.get_running_loop().call_later(0.3, occupy)
"""


@asynccontextmanager
async def _earlier(settings: Settings) -> AsyncIterator[tuple[Earlier, Path]]:
    """A service with two users, and Anna's slot; killed at the end, with its database."""
    told = settings.model_dump(mode="json", include={"data_dir", "warm_kernels", "cell_timeout_s"})
    async with Earlier.running(told) as earlier:
        await earlier.run("anna", _OCCUPIES)
        (slot,) = (settings.data_dir / "sessions").iterdir()
        await earlier.run("bert", "1")
        await until((slot / "work" / "occupied").exists)
        database = database_of(settings.data_dir)
        assert database is not None
        kill(database, signal.SIGSTOP)  # from here on, nothing more is written down
        yield earlier, slot
        earlier.process.kill()
        await earlier.process.wait()
        kill(database)


def _open(slot: Path) -> None:
    os.close(os.open(slot / "home" / "gate", os.O_RDONLY | os.O_NONBLOCK))


async def test_cell_of_which_its_kernel_alone_knows_has_its_own_deadline_from_its_sending() -> None:
    with tempfile.TemporaryDirectory(prefix="cellmate-early-") as directory:
        Path(directory).chmod(0o711)
        settings = Settings(data_dir=Path(directory) / "data", warm_kernels=0, cell_timeout_s=8.0)
        async with _earlier(settings) as (earlier, slot):
            _open(slot)
            await earlier.begin("anna", _ENDLESS, timeout_s=_LIMIT_S)
            await until((slot / "work" / "begun").exists)
        async with Interpreter.open(settings) as second:
            (cell,) = second.recovered
            result = await cell.result
            assert (result.status, result.state_lost) == ("timeout", False)
            assert result.message == (
                "The cell was stopped after 1 s, the time limit. The variables are kept."
            )
            session = await second.session(user_id="anna")
            assert (await session.execute("x")).text == "42"


async def test_cell_that_its_kernel_had_yet_to_begin_with_has_its_deadline() -> None:
    with tempfile.TemporaryDirectory(prefix="cellmate-early-") as directory:
        Path(directory).chmod(0o711)
        settings = Settings(data_dir=Path(directory) / "data", warm_kernels=0, cell_timeout_s=8.0)
        async with _earlier(settings) as (earlier, slot):
            await earlier.begin("anna", _ENDLESS, timeout_s=_LIMIT_S)
            await earlier.begin("bert", "1")  # so the other one has been sent
        assert not (slot / "work" / "begun").exists()
        async with Interpreter.open(settings) as second:
            assert second.reattached == 2
            _open(slot)
            session = await second.session(user_id="anna")
            result = await session.execute("x")
            assert (result.text, result.message) == ("42", None)
