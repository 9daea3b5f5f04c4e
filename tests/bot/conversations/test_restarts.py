"""The bot as a process that is killed and started again: nobody loses what was running."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio

from interpreter import Settings
from tests.discord_double import Channel, DiscordDouble, Person
from tests.openai_server import OpenAIServer

ROOT = Path(__file__).parents[3]
#: Runs until a test puts a file into the working directory.
UNTIL_TOLD = """\
import time
from pathlib import Path
kept = 41
print("begun", flush=True)
while not Path("go").exists():
    time.sleep(0.02)
print("and done")
Path("made.csv").write_text("x\\n1\\n")
import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.show()
"""


@dataclass
class Place:
    """Discord, the model's server, and a data directory for one process after the other."""

    discord: DiscordDouble
    openai: OpenAIServer
    directory: Path
    channel: Channel
    anna: Person
    ben: Person
    bot: Process | None = None

    async def run(self, *words: str) -> Process:
        """Start a Python program with the bot's settings."""
        with (self.directory / "log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *words),
                cwd=self.directory,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.directory),
                    "PYTHONPATH": str(ROOT),
                    "DATA_DIR": str(self.directory / "data"),
                    "KERNEL_ENV_DIR": str(Settings(data_dir=self.directory).kernel_env_dir),
                    "MONGODB_URI": os.environ.get("TEST_MONGODB_URI", ""),
                    "WARM_KERNELS": "0",
                    "HEALTH_PORT": "0",
                    "DRAIN_SECONDS": "1",
                    "CODE_EXECUTION_TIMEOUT": "120",
                    "DISCORD_TOKEN": self.discord.token,
                    "DISCORD_API_URL": self.discord.api_url,
                    "DISCORD_CDN_URL": self.discord.cdn_url,
                    "OPENAI_API_KEY": "sk-test-0123456789",
                    "OPENAI_BASE_URL": self.openai.base_url,
                    "OPENAI_MODEL": "model-a",
                },
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # as a service: without a terminal
            )

    async def start(self) -> None:
        """Start the bot, until it is there for people."""
        self.bot = await self.run("bot")
        await self.discord.until(
            lambda: self.discord.gateway.connected, timeout_s=60, what="the bot is there"
        )

    async def end(self, number: int) -> None:
        """Send it a signal, and wait for its end."""
        assert self.bot is not None
        self.bot.send_signal(number)
        await self.bot.wait()
        await self.discord.until(
            lambda: not self.discord.gateway.connected, what="the bot has left"
        )

    async def reload(self) -> None:
        """Have it start again in its process, until it is there for people again."""
        assert self.bot is not None
        gateway = self.discord.gateway
        self.bot.send_signal(signal.SIGHUP)
        await self.discord.until(lambda: not gateway.connected, what="the bot has left")
        await self.discord.until(
            lambda: gateway.connected, timeout_s=60, what="the bot is there again"
        )
        assert self.bot.returncode is None
        lock = self.directory / "data" / ".lock"
        assert lock.read_text().strip() == str(self.bot.pid)

    def let_cells_go_on(self) -> None:
        """Put the file that cells wait for into the working directories."""
        for directory in (self.directory / "data" / "sessions").glob("*/work"):
            (directory / "go").touch()

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")


@pytest_asyncio.fixture(loop_scope="session")
async def place(
    discord: DiscordDouble, openai: OpenAIServer, tmp_path: Path
) -> AsyncIterator[Place]:
    guild = discord.guild("lab")
    channel = guild.text_channel("data")
    place = Place(discord, openai, tmp_path, channel, guild.member("anna"), guild.member("ben"))
    yield place
    stopping = await place.run("interpreter", "stop")
    assert await stopping.wait() == 0, place.log()
    if place.bot is not None:
        await place.bot.wait()


async def test_a_cell_outlives_the_bot_and_its_result_comes_once(place: Place) -> None:
    channel, openai = place.channel, place.openai
    await place.start()
    openai.call(UNTIL_TOLD)
    await channel.post(place.anna, "work", mention_bot=True)
    progress = await channel.wait_for(lambda m: "begun" in m.content, timeout_s=60)
    gate = openai.hold("Once upon a time")
    await channel.post(place.ben, "a story", mention_bot=True)
    story = await channel.wait_for(lambda m: "Once" in m.content, timeout_s=20)

    await place.end(signal.SIGKILL)
    gate.set()
    assert "Stop" in progress.buttons and "Stop" in story.buttons
    await place.start()
    await channel.wait_for(lambda m: "the code goes on" in m.content, timeout_s=20)
    assert "the code goes on" in progress.content
    status = await place.anna.slash(channel, "kernel status")
    await status.wait_for_message(lambda m: "running a cell" in m.content)
    await place.discord.until(
        lambda: "I was restarted before this was done" in story.content, timeout_s=20
    )
    assert story.buttons == () and "Please ask again." in story.content

    # As an upgrade does, which leaves as on SIGTERM, and comes with other settings.
    (place.directory / ".env").write_text("OPENAI_MODELS=model-b\n")
    await place.reload()
    assert "its results come here" in progress.content and progress.buttons == ()
    place.let_cells_go_on()
    answer = await channel.wait_for(lambda m: "Show code" in m.buttons, timeout_s=30)
    assert answer is progress and answer.content.startswith("-# I was restarted meanwhile")
    assert "begun" in answer.content and "and done" in answer.content
    assert answer.files["made.csv"] == b"x\n1\n"
    assert any(content.startswith(b"\x89PNG") for content in answer.files.values())

    openai.call("print(kept + 1)")
    openai.say("It is 42.")
    await channel.post(place.anna, "go on", mention_bot=True)
    await channel.wait_for(lambda m: "It is 42." in m.content, timeout_s=30)
    assert "\n42\n" in openai.last.last_result
    assert "and done" in openai.last.text, "the model knows what ran meanwhile"
    choice = await place.anna.slash(channel, "model")
    await choice.wait_for_message(lambda m: "`model-b`" in m.content)
    assert len(channel.by_bot) == 5, channel.transcript()  # with the status and the models
    assert not any("Stop" in message.buttons for message in channel.by_bot)
