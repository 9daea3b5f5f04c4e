"""A record store on a real database for the tests of this folder."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pymongo.asynchronous.database import AsyncDatabase

from interpreter import DatabaseUnavailable, RecordStore, SessionLimits, Settings
from tests.interpreter.conftest import database, mongodb_uri, settings

__all__ = ["database", "mongodb_uri", "settings"]


@pytest_asyncio.fixture
async def records(
    settings: Settings, database: AsyncDatabase[dict[str, Any]]
) -> AsyncIterator[RecordStore]:
    """A store of its own for each test."""
    async with RecordStore.open(settings, database=database) as store:
        yield store


class Service:
    """As much of the service as the gate needs."""

    def __init__(self) -> None:
        self.limits: dict[str, SessionLimits] = {}

    def set_limits(self, user_id: str, limits: SessionLimits) -> None:
        """Remember it."""
        self.limits[user_id] = limits


class Away:
    """A store whose database can't be reached."""

    def __getattr__(self, name: str) -> Any:
        async def refuse(*_: Any, **__: Any) -> Any:
            raise DatabaseUnavailable("127.0.0.1", "it is away")

        return refuse


@pytest.fixture
def service() -> Any:
    """A stand-in: what is told to it is all that matters here."""
    return Service()


@pytest.fixture
def away() -> Any:
    """See ``Away``."""
    return Away()
