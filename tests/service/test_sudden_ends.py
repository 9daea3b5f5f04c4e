"""What is said of variables that were saved, when service and kernel have ended at once, or not."""

import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from interpreter import Interpreter, Settings
from interpreter.admin import stopping
from tests.chaos.processes import database_of, family_of, kill
from tests.service.test_reattaching import Earlier

ENDED = "The kernel ended while the service was not running."
RESTORED = "1 variable was restored (x)."
LOST = "1 variable was restored (x); what was done since is lost."


@asynccontextmanager
async def earlier(**more: Any) -> AsyncIterator[tuple[Settings, Earlier]]:
    """A service of which one session was saved, and the settings of the next."""
    with tempfile.TemporaryDirectory(prefix="cellmate-sudden-") as directory:
        Path(directory).chmod(0o711)
        settings = {"data_dir": f"{directory}/data", "warm_kernels": 0, "orphan_s": 0}
        async with Earlier.running({**settings, **more}) as service:
            await service.run("anna", "x = 41; 0")
            assert await service.run("anna", "", save=True) == "True"
            yield Settings(**settings), service
            await _end_all(Settings(**settings), service)


async def _end_all(settings: Settings, service: Earlier) -> None:
    """End the service and all that it has started, at once."""
    database = database_of(settings.data_dir)
    if service.process.returncode is None:
        service.process.kill()
    if database is not None:
        kill(database)
    for init in family_of(settings.data_dir).inits:
        kill(init)
    await service.process.wait()


async def _told(settings: Settings) -> tuple[str, str | None, bool]:
    """The value of x in the next service, and what is told with it."""
    async with Interpreter.open(settings) as later:
        session = await later.session(user_id="anna")
        result = await session.execute("print(x)")
        assert (await session.execute("x")).message is None
        return result.text.partition("\n")[0], result.message, result.state_lost


@pytest.mark.parametrize("away", [False, True], ids=["", "the database was away"])
async def test_cell_that_nobody_came_to_count_is_told_to_be_lost(away: bool) -> None:
    async with earlier() as (settings, service):
        if away:
            database = database_of(settings.data_dir)
            assert database is not None
            kill(database, signal.SIGSTOP)
        await service.run("anna", "x = 42")
        await _end_all(settings, service)
        assert await _told(settings) == ("41", f"{ENDED} {LOST}", True)


async def test_nothing_is_told_to_be_lost_where_no_cell_has_run() -> None:
    async with earlier() as (settings, service):
        await _end_all(settings, service)
        assert await _told(settings) == ("41", f"{ENDED} {RESTORED}", False)


async def test_nothing_is_told_to_be_lost_where_it_was_saved_again() -> None:
    async with earlier() as (settings, service):
        await service.run("anna", "x = 42; 0")
        assert await service.run("anna", "", save=True) == "True"
        await _end_all(settings, service)
        assert await _told(settings) == ("42", f"{ENDED} {RESTORED}", False)


@pytest.mark.parametrize("how", ["SIGTERM", "make stop"])
async def test_nothing_is_told_to_be_lost_after_an_end_in_order(how: str) -> None:
    async with earlier(keep_kernels=True, orphan_s=30) as (settings, service):
        await service.run("anna", "x = 42; open('made.txt', 'w').close()")
        if how == "SIGTERM":
            service.process.terminate()
        else:
            await stopping.stop(settings, tell=lambda line: None, patience_s=60.0)
        await service.process.wait()
        for init in family_of(settings.data_dir).inits:
            kill(init)
        assert await _told(settings) == ("42", f"{ENDED} {RESTORED}", False)


async def test_what_is_restored_is_told_to_be_old_each_time_that_a_cell_is_lost() -> None:
    async with earlier() as (settings, service):
        await service.run("anna", "x = 42")
        await _end_all(settings, service)
        options = {"data_dir": str(settings.data_dir), "warm_kernels": 0, "orphan_s": 0}
        async with Earlier.running(options) as second:
            assert LOST in await second.run("anna", "x = 43")
            await _end_all(settings, second)
        assert await _told(settings) == ("41", f"{ENDED} {LOST}", True)
