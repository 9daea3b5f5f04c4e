"""Discord's double, and a database, for the tests of this folder."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from interactions.api.http.route import Route
from interactions.models.discord.asset import Asset
from pymongo.asynchronous.database import AsyncDatabase

from bot.discord.rest import DiscordHTTP
from interpreter import RecordStore, Settings
from tests.discord_double import DiscordDouble
from tests.interpreter.conftest import database, mongodb_uri, settings

__all__ = ["database", "mongodb_uri", "settings"]


@pytest_asyncio.fixture
async def discord(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DiscordDouble]:
    """Discord; the library is pointed at it."""
    async with DiscordDouble.open() as double:
        monkeypatch.setattr(Route, "BASE", double.api_url)
        monkeypatch.setattr(Asset, "BASE", double.cdn_url)
        yield double


@pytest_asyncio.fixture
async def http(discord: DiscordDouble) -> AsyncIterator[DiscordHTTP]:
    """REST, logged in, without a gateway."""
    http = DiscordHTTP()
    await http.login(discord.token)
    yield http
    await http.shut()


@pytest_asyncio.fixture
async def records(
    settings: Settings, database: AsyncDatabase[dict[str, Any]]
) -> AsyncIterator[RecordStore]:
    """A store of its own for each test."""
    async with RecordStore.open(settings, database=database) as store:
        yield store
