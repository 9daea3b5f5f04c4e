"""The bot as a process: with a token it is a bot, and it leaves as whoever started it expects."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

from interpreter import Settings
from tests.discord_double import DiscordDouble

ROOT = Path(__file__).parents[3]


async def start(discord: DiscordDouble, tmp_path: Path, **environment: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
            "DATA_DIR": str(tmp_path / "data"),
            "KERNEL_ENV_DIR": str(Settings(data_dir=tmp_path).kernel_env_dir),
            "MONGODB_URI": os.environ.get("TEST_MONGODB_URI", ""),
            "WARM_KERNELS": "0",
            "KERNEL_ORPHAN_MINUTES": "0",  # nothing is to stay when the tests are over
            "HEALTH_PORT": "0",
            "DISCORD_TOKEN": discord.token,
            "DISCORD_API_URL": discord.api_url,
            "DISCORD_CDN_URL": discord.cdn_url,
            **environment,
        },
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )


async def test_told_to_stop_it_leaves_in_peace_and_has_shown_no_token(
    discord: DiscordDouble, tmp_path: Path
) -> None:
    bot = await start(discord, tmp_path, LOG_LEVEL="DEBUG")
    await discord.until(lambda: discord.gateway.connected, timeout_s=60)
    bot.send_signal(signal.SIGTERM)
    out, err = await bot.communicate()
    assert bot.returncode == 0, err.decode()
    assert b"drained" in err
    assert discord.token.encode() not in out + err
    assert not discord.gateway.connected


async def test_refused_by_discord_it_says_so_and_isn_t_to_be_restarted(
    discord: DiscordDouble, tmp_path: Path
) -> None:
    bot = await start(discord, tmp_path, DISCORD_TOKEN="MTA.wrong.token")
    _, err = await bot.communicate()
    assert bot.returncode == 78
    (sentence,) = [line for line in err.decode().splitlines() if "DISCORD_TOKEN" in line]
    assert sentence.startswith("Discord refuses the token: put the right one into DISCORD_TOKEN")
    assert b"wrong.token" not in err
    assert b"Traceback" not in err
