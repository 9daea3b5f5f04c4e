"""A database of its own for each test: on one embedded server, or on any MongoDB.

With TEST_MONGODB_URI set, the tests that need a database use that one instead. (Not MONGODB_URI:
what a service runs on is no place for tests.)
"""

import asyncio
import os
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from interpreter.database import open_database
from interpreter.embedded_server import EmbeddedServer
from interpreter.settings import Settings


@pytest.fixture(scope="session")
def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the tests' MongoDB is."""
    if uri := os.environ.get("TEST_MONGODB_URI"):
        yield uri
        return
    directory = tmp_path_factory.mktemp("mongodb")
    started, stop = threading.Event(), threading.Event()
    ports: list[int] = []

    async def run() -> None:
        async with EmbeddedServer.start(directory, require_password=False) as server:
            ports.append(server.port)
            started.set()
            await asyncio.to_thread(stop.wait)

    def run_in_thread() -> None:
        # Each test has an event loop of its own; the server needs one that outlives them.
        try:
            asyncio.run(run())
        finally:
            started.set()

    thread = threading.Thread(target=run_in_thread, name="mongodb")
    thread.start()
    try:
        started.wait()
        assert ports, "the embedded server did not start"
        yield f"mongodb://127.0.0.1:{ports[0]}/?directConnection=true"
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def settings(tmp_path: Path, mongodb_uri: str) -> Settings:
    """Settings of a service of the test's own: a fresh directory and a fresh database."""
    return Settings(
        data_dir=tmp_path / "service",
        mongodb_uri=mongodb_uri,
        mongodb_database=f"test-{uuid.uuid4().hex}",
    )


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    """The database of ``settings``; removed after the test."""
    async with open_database(settings) as database:
        yield database
    async with open_database(settings) as database:
        with suppress(Exception):
            await database.client.drop_database(database.name)
