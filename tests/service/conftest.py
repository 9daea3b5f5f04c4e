"""One service with real kernels for all tests of this folder; a user of its own for each test."""

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from interpreter import Interpreter, Session, Settings

_numbers = itertools.count(1)
SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run every test here on the loop that the service lives on."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def planted_secret() -> Iterator[str]:
    """A secret in the service's environment, as an operator's token would be."""
    name, secret = "DISCORD_TOKEN_FOR_TESTS", "planted-secret-2f1c9a"
    os.environ[name] = secret
    yield secret
    del os.environ[name]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(
    tmp_path_factory: pytest.TempPathFactory, planted_secret: str
) -> AsyncIterator[Interpreter]:
    """A service with limits small enough to be reached in a test."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("service") / "data",
        mongodb_uri=os.environ.get("TEST_MONGODB_URI"),
        interrupt_grace_s=2.0,
        cell_timeout_s=60.0,
        kernel_memory_bytes=512 << 20,
        max_file_bytes=4 << 20,
        max_artifacts=5,
        max_artifacts_bytes=8 << 20,
        cell_queue_limit=3,
        max_kernels=40,
    )
    async with Interpreter.open(settings) as opened:
        yield opened


@pytest.fixture
def user_id() -> str:
    """A user nobody else is."""
    return f"user{next(_numbers)}"


@pytest_asyncio.fixture(loop_scope="session")
async def session(service: Interpreter, user_id: str) -> AsyncIterator[Session]:
    """The session of ``user_id``, closed after the test."""
    opened = await service.session(user_id=user_id)
    yield opened
    await opened.close()
