"""The whole bot: the real clients of Discord and OpenAI, real kernels, a real database."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from interactions.api.http.route import Route
from interactions.models.discord.asset import Asset
from pydantic import SecretStr

from bot.discord.assembly import assembling
from bot.discord.connection import Pauses
from bot.discord.contexts import CONTEXTS
from bot.discord.identifies import IdentifyLimits
from bot.discord.posting import Backoff
from bot.discord.run import Tempo, run_bot
from bot.models import open_model
from bot.settings import BotSettings
from interpreter import Interpreter, Settings
from interpreter.embedded_server import EmbeddedServer
from tests.discord_double import Channel, DiscordDouble, Guild, Person
from tests.openai_server import OpenAIServer

QUICK = Backoff(first_s=0.01, most_s=0.1)
TEMPO = Tempo(
    delivery=QUICK,
    reconnecting=QUICK,
    identifies=IdentifyLimits(spacing_s=0.0),
    pauses=Pauses(after_invalid_s=(0.0, 0.0)),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run every test here on the loop that the service lives on."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            # One service for all of them.
            item.add_marker(pytest.mark.xdist_group("conversations"))


class Database:
    """A MongoDB that isn't the bot's own: it goes away, and comes back, without being asked."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = AsyncExitStack()
        self._server: EmbeddedServer | None = None
        self._port = 0

    @property
    def is_used(self) -> bool:
        """Whether tests run on it, not on one that the developer named."""
        return "TEST_MONGODB_URI" not in os.environ

    @property
    def uri(self) -> str:
        """Where it is."""
        return f"mongodb://127.0.0.1:{self._port}/?directConnection=true"

    async def start(self) -> None:
        """Start it, on the port and with the data of before."""
        starting = EmbeddedServer.start(self._directory, require_password=False, port=self._port)
        self._server = await self._stack.enter_async_context(starting)
        self._port = self._server.port

    async def die(self) -> None:
        """Be killed."""
        assert self._server is not None
        os.kill(self._server.pid, signal.SIGKILL)
        await self._stack.aclose()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def database(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    """Where all conversations' records are."""
    server = Database(tmp_path_factory.mktemp("conversations") / "database")
    await server.start()
    yield server
    await server.die()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(
    tmp_path_factory: pytest.TempPathFactory, database: Database
) -> AsyncIterator[Interpreter]:
    """Kernels, files and records for all conversations; users and guilds are new in each."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("conversations") / "data",
        mongodb_uri=SecretStr(os.environ.get("TEST_MONGODB_URI", database.uri)),
        cell_timeout_s=20.0,
        interrupt_grace_s=2.0,
        max_file_bytes=1 << 20,
        input_timeout_s=20.0,
    )
    async with Interpreter.open(settings) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def discord(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DiscordDouble]:
    """Discord; the library is pointed at it."""
    async with DiscordDouble.open() as double:
        monkeypatch.setattr(Route, "BASE", double.api_url)
        monkeypatch.setattr(Asset, "BASE", double.cdn_url)
        yield double


@pytest_asyncio.fixture(loop_scope="session")
async def openai() -> AsyncIterator[OpenAIServer]:
    """The model's server."""
    async with OpenAIServer.open() as server:
        yield server


@dataclass
class Lab:
    """A guild with the bot in it, a channel and a member."""

    discord: DiscordDouble
    openai: OpenAIServer
    service: Interpreter
    guild: Guild
    channel: Channel
    anna: Person
    stop: asyncio.Event
    task: "asyncio.Task[None]"


StartLab = Callable[..., AbstractAsyncContextManager[Lab]]


@pytest.fixture
def start_lab(discord: DiscordDouble, openai: OpenAIServer, service: Interpreter) -> StartLab:
    """Starts the bot: with other settings, or again after it ended."""
    world: dict[str, Any] = {}

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Lab]:
        options = {
            "openai_api_key": SecretStr("sk-test-0123456789"),
            "openai_base_url": openai.base_url,
            "openai_model": "model-a",
            "openai_models": "model-b",
            "health_port": 0,
            "drain_s": 2.0,
            "discord_cdn_url": discord.cdn_url,
            **settings,
        }
        bot_settings = BotSettings(discord_token=SecretStr(discord.token), **options)
        if not world:
            world["guild"] = discord.guild("lab")
            world["channel"] = world["guild"].text_channel("data")
            world["anna"] = world["guild"].member("anna")
        stop, started = asyncio.Event(), asyncio.Event()

        async def run() -> None:
            async with open_model(bot_settings) as model:
                await run_bot(
                    bot_settings,
                    service,
                    assembling(bot_settings, service, model),
                    stop=stop,
                    tempo=TEMPO,
                    contexts=CONTEXTS,
                    on_started=lambda port: started.set(),
                )

        task = asyncio.create_task(run())
        try:
            waiting = asyncio.create_task(started.wait())
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if task.done():
                task.result()
            await discord.ready()
            yield Lab(discord, openai, service, stop=stop, task=task, **world)
        finally:
            stop.set()
            await asyncio.wait({task}, timeout=30)
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            task.result()

    return start


@pytest_asyncio.fixture(loop_scope="session")
async def lab(start_lab: StartLab) -> AsyncIterator[Lab]:
    """The bot, running."""
    async with start_lab() as opened:
        yield opened
