"""The database goes away for a while and comes back: nothing that a cell made is lost."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_asyncio

from interpreter import DatabaseUnavailable, Interpreter, Phase, Session, Settings
from interpreter.embedded_server import EmbeddedServer
from tests.service.waiting import until

T = TypeVar("T")
WRITE = "open('{0}', 'w').write('{0}');"


class OperatorsServer:
    """A MongoDB that is somebody else's: it is killed and started again from outside."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = AsyncExitStack()
        self._pid = 0
        self.port = 0

    async def start(self) -> None:
        """Start it, on the port and with the data of before."""
        starting = EmbeddedServer.start(self._directory, require_password=False, port=self.port)
        server = await self._stack.enter_async_context(starting)
        self._pid, self.port = server.pid, server.port

    async def die(self) -> None:
        """Be killed."""
        os.kill(self._pid, signal.SIGKILL)
        await self._stack.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OperatorsServer]:
    operators = OperatorsServer(tmp_path_factory.mktemp("mongodb"))
    await operators.start()
    yield operators
    await operators.die()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(
    tmp_path_factory: pytest.TempPathFactory, server: OperatorsServer
) -> AsyncIterator[Interpreter]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("away") / "data",
        mongodb_uri=f"mongodb://127.0.0.1:{server.port}/?directConnection=true",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interpreter.database._CONNECT_TIMEOUT_S", 1.0)  # tests wait these out
        patch.setattr("interpreter.database._CALL_TIMEOUT_S", 2.0)
        async with Interpreter.open(settings) as opened:
            yield opened


def at(name: str) -> tuple[asyncio.Event, Callable[[Phase], None]]:
    """An event that is set once a cell has come to a phase, and what is to be told of phases."""
    reached = asyncio.Event()

    def tell(phase: Phase) -> None:
        if phase.name == name:
            reached.set()

    return reached, tell


async def test_files_of_a_cell_wait_for_the_database(
    session: Session, server: OperatorsServer, service: Interpreter
) -> None:
    await session.execute("x = 1")
    reached, tell = at("collecting")
    await server.die()
    code = "".join(WRITE.format(name) for name in ("a.txt", "b.txt"))
    cell = asyncio.create_task(session.execute(code, on_phase=tell))
    await reached.wait()
    await server.start()
    result = await cell
    assert (result.status, result.message, result.skipped) == ("ok", None, ())
    assert [file.filename for file in result.artifacts] == ["a.txt", "b.txt"]
    assert await service.files.list(user_id=session.user_id) == result.artifacts


async def test_files_that_could_not_wait_come_with_the_next_cell(
    session: Session, server: OperatorsServer, caplog: pytest.LogCaptureFixture
) -> None:
    await session.execute("x = 1")
    await server.die()
    try:
        code = "".join(WRITE.format(name) for name in ("a.txt", "b.txt"))
        cell = asyncio.create_task(session.execute(code))
        await until(lambda: "waiting for the database" in caplog.text)
        assert await session.interrupt() in (True, False)
        result = await cell
    finally:
        await server.start()
    assert (result.status, result.artifacts) == ("ok", ())
    assert [skipped.name for skipped in result.skipped] == ["a.txt", "b.txt"]
    assert "the database that records files is away" in (result.message or "")
    assert "gave up on the database" in caplog.text
    after = await once_it_answers(lambda: session.execute("x"))
    assert after.text == "1"
    assert [file.filename for file in after.artifacts] == ["a.txt", "b.txt"]
    assert (await session.execute("x")).artifacts == ()


async def test_first_cell_waits_for_the_database_and_has_the_files(
    session: Session, server: OperatorsServer, service: Interpreter
) -> None:
    stored = await service.files.save(user_id=session.user_id, filename="a.txt", source=b"kept")
    reached, tell = at("starting")
    await server.die()
    cell = asyncio.create_task(session.execute(f"load_file('{stored.file_id}')", on_phase=tell))
    await reached.wait()
    await server.start()
    assert "kept" in (await cell).text


async def test_first_cell_can_be_stopped_while_the_database_is_away(
    session: Session, server: OperatorsServer, caplog: pytest.LogCaptureFixture
) -> None:
    await server.die()
    try:
        cell = asyncio.create_task(session.execute("x = 1"))
        await until(lambda: "waiting for the database" in caplog.text)
        assert await session.interrupt()
        result = await cell
    finally:
        await server.start()
    assert (result.status, result.message) == (
        "interrupted",
        "The cell was interrupted before it began.",
    )
    assert (await once_it_answers(lambda: session.execute("'x' in globals()"))).text == "False"


async def test_calls_say_that_the_database_is_away_and_work_again_afterwards(
    session: Session, server: OperatorsServer, service: Interpreter
) -> None:
    user_id, files, records = session.user_id, service.files, service.records
    stored = await files.save(user_id=user_id, filename="a.txt", source=b"kept")
    await records.put("thing", user_id, {"n": 1}, owner=user_id)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: files.list(user_id=user_id),
        lambda: files.get(user_id=user_id, file_id=stored.file_id),
        lambda: files.touch(user_id=user_id, file_id=stored.file_id),
        lambda: files.save(user_id=user_id, filename="b.txt", source=b"new"),
        lambda: files.clean_up(),
        lambda: records.get("thing", user_id),
        lambda: records.put("thing", user_id, {"n": 1}, owner=user_id),
        lambda: records.add("counts", user_id, {"n": 1}),
        lambda: records.list("thing", owner=user_id),
        lambda: records.clean_up(),
        lambda: session.packages(),
        lambda: service.delete_user(user_id),
    ]
    await server.die()
    try:
        failed = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
    finally:
        await server.start()
    assert [type(failure) for failure in failed] == [DatabaseUnavailable] * len(calls)
    for call in calls[:-1]:
        await once_it_answers(call)
    assert {file.filename for file in await files.list(user_id=user_id)} == {"a.txt", "b.txt"}
    await service.delete_user(user_id)
    assert await files.list(user_id=user_id) == ()


async def test_cell_outlives_the_death_of_the_embedded_server(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    async with Interpreter.open(settings) as service:
        session = await service.session(user_id="42")
        await session.execute("x = 1")
        record = json.loads((settings.data_dir / "database/server.json").read_text())
        os.kill(record["pid"], signal.SIGKILL)
        result = await session.execute(WRITE.format("a.txt"))
        assert (result.status, result.message) == ("ok", None)
        assert await service.files.list(user_id="42") == result.artifacts
        assert [file.filename for file in result.artifacts] == ["a.txt"]


async def once_it_answers(call: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await call()
        except DatabaseUnavailable:  # the connection of before is broken
            continue
