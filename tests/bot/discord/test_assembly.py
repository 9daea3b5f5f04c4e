"""The whole bot: a real kernel, database and clients; only Discord and the model are doubles."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from pydantic import SecretStr

from bot.discord.assembly import run
from bot.discord.signals import StopSignals
from bot.settings import BotSettings
from interpreter import Interpreter, Settings
from tests.bot.discord.test_run import TEMPO, free_port
from tests.discord_double import Channel, DiscordDouble, Person
from tests.openai_server import OpenAIServer

pytestmark = pytest.mark.timeout(300)


@dataclass
class Everything:
    """A bot that runs, and who uses it."""

    discord: DiscordDouble
    openai: OpenAIServer
    signals: StopSignals
    task: "asyncio.Task[None]"
    channel: Channel
    anna: Person
    port: int


@pytest_asyncio.fixture
async def everything(discord: DiscordDouble, tmp_path: Path) -> AsyncIterator[Everything]:
    guild = discord.guild("lab")
    settings = Settings(
        data_dir=tmp_path / "data",
        mongodb_uri=os.environ.get("TEST_MONGODB_URI") or None,
        interrupt_grace_s=2.0,
    )
    async with OpenAIServer.open() as openai, Interpreter.open(settings) as service:
        signals, port = StopSignals(), free_port()
        bot_settings = BotSettings(
            discord_token=SecretStr(discord.token),
            discord_cdn_url=discord.cdn_url,
            openai_base_url=openai.base_url,
            health_port=port,
            drain_s=0.2,
        )
        task = asyncio.create_task(run(bot_settings, service, signals, tempo=TEMPO))
        await discord.until(lambda: task.done() or "ask" in discord.commands, timeout_s=60)
        channel = guild.text_channel("data")
        yield Everything(discord, openai, signals, task, channel, guild.member("anna"), port)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_question_is_answered_and_counted_and_the_end_is_told(
    everything: Everything,
) -> None:
    openai, channel, anna = everything.openai, everything.channel, everything.anna
    openai.call("load_file('a.csv').x.sum()")
    openai.say("The sum is three.")
    await channel.post(anna, "sum of x?", files={"a.csv": b"x\n1\n2\n"}, mention_bot=True)
    await channel.wait_for(lambda m: "The sum is three." in m.content, timeout_s=60)

    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{everything.port}/metrics") as response,
    ):
        told = await response.text()
    assert 'cellmate_turns_total{status="answered"} 1.0' in told
    assert 'cellmate_cells_total{status="ok"} 1.0' in told
    assert 'cellmate_model_requests_total{outcome="ok"} 2.0' in told
    assert 'cellmate_kernels{state="idle"} 1.0' in told
    assert anna.id not in told

    openai.call("print('begun')\nimport time\ntime.sleep(600)")
    openai.say("never said")
    await channel.post(anna, "wait", mention_bot=True)
    await channel.wait_for(lambda m: "begun" in m.content or "cell" in m.content, timeout_s=60)
    everything.signals.told.set()
    async with asyncio.timeout(60):
        await everything.task
    last = channel.by_bot[-1]
    assert "begun" in last.content or "top" in last.content, channel.transcript()
    assert not any("Stop" in str(row) for row in last.components), "nothing is left to stop"
