"""Notebooks go on with their sessions, and go with what is their user's."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from interpreter import Interpreter, Session, Settings
from interpreter.admin import stopping
from tests.service.test_reattaching import Earlier

SHOWN = "from IPython.display import display; bar = display('0 %', display_id=True); x = 41"


@pytest_asyncio.fixture(loop_scope="session")
async def settings(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """Of services one after another; what they leave is ended."""
    values = {"data_dir": f"{tmp_path}/data", "warm_kernels": 0}
    yield values
    await stopping.stop(Settings(**values), tell=lambda line: None, patience_s=0)


async def leave_running(earlier: Earlier, code: str) -> None:
    """Kill a service in the midst of a cell that takes a second."""
    await earlier.begin("user", f"import time; time.sleep(1); {code}")
    await asyncio.sleep(0.2)  # until it has been sent, too
    earlier.process.kill()
    await earlier.process.wait()


def codes(notebook: Any) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def kept(data_dir: Path, user_id: str) -> list[str]:
    directory = data_dir / "notebooks" / user_id
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


async def on_disk(session: Session) -> None:
    await session._cells.notebook.written(within_s=60)


async def test_notebook_goes_on_after_the_service_was_killed(settings: dict[str, Any]) -> None:
    async with Earlier.running(settings) as earlier:
        await earlier.run("user", SHOWN)
        await earlier.run("user", "x")
        await leave_running(earlier, "print('over'); x + 1")
    async with Interpreter.open(Settings(**settings), keep_kernels=True) as second:
        session = await second.session(user_id="user")
        # The cell that is recovered may be over by now.
        assert codes(await session.export_notebook())[:2] == [SHOWN, "x"]
        [recovered] = second.recovered
        assert (await recovered.result).status == "ok"
        await session.execute("bar.update('100 %')")
    async with Interpreter.open(Settings(**settings)) as third:  # and nothing was acknowledged
        assert third.reattached == 1
        [recovered] = third.recovered
        await recovered.result
        session = await third.session(user_id="user")
        notebook = await session.export_notebook()
    first, second_cell, third_cell, fourth = notebook.cells[1:]
    assert [first.source, second_cell.source] == [SHOWN, "x"]
    assert first.outputs[0].data["text/plain"] == "'100 %'"
    assert second_cell.outputs[0].data["text/plain"] == "41"
    assert [output.output_type for output in third_cell.outputs] == ["stream", "execute_result"]
    assert fourth.source == "bar.update('100 %')"
    assert "missing" not in notebook.cells[0].source


async def test_recovered_cell_is_in_the_notebook_once(settings: dict[str, Any]) -> None:
    async with Earlier.running(settings) as earlier:
        await earlier.run("user", "x = 1")
        await leave_running(earlier, "x")
    for keeps in (True, True, False):
        async with Interpreter.open(Settings(**settings), keep_kernels=keeps) as service:
            [recovered] = service.recovered
            assert (await recovered.result).text == "1"
            session = await service.session(user_id="user")
            found = codes(await session.export_notebook())
            assert found == ["x = 1", "import time; time.sleep(1); x"]


async def test_notebook_stays_when_kernels_are_stopped(settings: dict[str, Any]) -> None:
    async with Interpreter.open(Settings(**settings)) as service:
        session = await service.session(user_id="user")
        await session.execute("'before'")
        service._is_stopped = True  # as `make stop` has it
    async with Interpreter.open(Settings(**settings)) as service:
        session = await service.session(user_id="user")
        assert not session.live
        await session.execute("'after'")
        assert codes(await session.export_notebook()) == ["'before'", "'after'"]


async def test_notebook_stays_through_a_restart_of_the_kernel(
    service: Interpreter, session: Session
) -> None:
    await session.execute("'before'")
    await session.restart()
    await session.execute("'after'")
    assert codes(await session.export_notebook()) == ["'before'", "'after'"]
    await on_disk(session)
    assert kept(service.settings.data_dir, session.user_id) == ["1.json", "2.json"]


@pytest.mark.parametrize("end", ["close", "delete"])
async def test_notebook_goes_with_its_session(service: Interpreter, user_id: str, end: str) -> None:
    session = await service.session(user_id=user_id)
    await session.execute("'secret'")
    await on_disk(session)
    assert kept(service.settings.data_dir, user_id) == ["1.json"]
    running = asyncio.create_task(session.execute("import time; time.sleep(60)"))
    while not session.busy:  # noqa: ASYNC110  # a cell begins at once
        await asyncio.sleep(0)
    await (session.close() if end == "close" else service.delete_user(user_id))
    await asyncio.gather(running, return_exceptions=True)
    assert not (service.settings.data_dir / "notebooks" / user_id).exists()
    again = await service.session(user_id=user_id)
    await again.execute("'new'")
    assert codes(await again.export_notebook()) == ["'new'"]
    await session.close()  # once more: what is another session's stays
    await on_disk(again)
    assert kept(service.settings.data_dir, user_id) == ["1.json"]
    await again.close()


async def test_deletion_takes_a_notebook_without_a_session(
    service: Interpreter, user_id: str
) -> None:
    left = service.settings.data_dir / "notebooks" / user_id
    left.mkdir()
    (left / "1.json").write_text("{}")
    await service.delete_user(user_id)
    assert not left.exists()


async def test_start_deletes_what_belongs_to_no_session(settings: dict[str, Any]) -> None:
    data_dir = Path(settings["data_dir"])
    async with Interpreter.open(Settings(**settings)) as service:
        session = await service.session(user_id="user")
        await session.execute("1")
        service._is_stopped = True
    stray = data_dir / "notebooks" / "nobody"
    stray.mkdir()
    async with Interpreter.open(Settings(**settings)):
        assert not stray.exists()
        assert kept(data_dir, "user") == ["1.json"]
    assert kept(data_dir, "user") == []
