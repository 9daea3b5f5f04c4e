"""Fixtures for tests that need Discord: import ``discord`` where it is wanted."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.discord_double.server import DiscordDouble


@pytest_asyncio.fixture
async def discord() -> AsyncIterator[DiscordDouble]:
    """Discord; the test fails at the end if the bot broke its rules."""
    async with DiscordDouble.open() as double:
        yield double
