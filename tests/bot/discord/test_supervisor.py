"""Supervisor: the bot stays connected, without a storm of sessions, and says how it stands."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from interactions import slash_command
from pydantic import SecretStr

from bot.discord.client import make_client
from bot.discord.connection import CannotConnect, Pauses
from bot.discord.identifies import Identifies, IdentifyLimits, IdentifyRefused
from bot.discord.posting import Backoff
from bot.discord.supervisor import Supervisor
from bot.settings import BotSettings
from tests.discord_double import DiscordDouble

QUICK = Backoff(first_s=0.01, most_s=0.05)
LIMITS = IdentifyLimits(first_wait_s=0.2, most_wait_s=0.4, spacing_s=0.0)
PAUSES = Pauses(hello_s=2.0, ready_s=2.0, lasting_s=60.0, after_invalid_s=(0.0, 0.001))


@dataclass
class Running:
    """A bot that is supervised."""

    client: Any
    supervisor: Supervisor
    identifies: Identifies
    task: "asyncio.Task[Any]"

    @property
    def status(self) -> str:
        return self.supervisor.states[0].status


@asynccontextmanager
async def supervised(
    discord: DiscordDouble,
    *,
    token: str | None = None,
    limits: IdentifyLimits = LIMITS,
    pauses: Pauses = PAUSES,
    **settings: Any,
) -> AsyncIterator[Running]:
    secret = SecretStr(token or discord.token)
    identifies = Identifies(limits)
    client = make_client(
        BotSettings(discord_token=secret, **settings), identifies=identifies, pauses=pauses
    )

    @slash_command("ping", description="Answers.")
    async def ping(ctx: Any) -> None:
        await ctx.send("pong")

    client.add_interaction(ping)
    supervisor = Supervisor(client, secret, identifies=identifies, backoff=QUICK)
    task = asyncio.create_task(supervisor.run())
    try:
        yield Running(client, supervisor, identifies, task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert {state.status for state in supervisor.states} <= {"stopped", "starting", "waiting"}


async def eventually(check: Callable[[], object]) -> None:
    """Wait until something holds that nobody tells of."""
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def ready(discord: DiscordDouble, running: Running) -> None:
    await eventually(lambda: running.task.done() or running.supervisor.is_ready)
    async with asyncio.timeout(10):
        await running.client.wait_until_ready()
    assert running.supervisor.is_ready


async def answers(discord: DiscordDouble) -> None:
    """The bot is really there: it answers a command."""
    channel = discord.guild("lab").text_channel("data")
    anna = channel.guild.member("anna") if channel.guild else discord.person("anna")
    used = await anna.slash(channel, "ping")
    assert (await used.wait_for_message()).content == "pong"


async def test_bot_connects_registers_its_commands_and_answers(discord: DiscordDouble) -> None:
    async with supervised(discord) as running:
        await ready(discord, running)
        assert set(discord.commands) == {"ping"}
        await answers(discord)
    assert len(discord.identifies) == 1


async def test_end_leaves_no_task_behind(discord: DiscordDouble) -> None:
    before = asyncio.all_tasks()
    async with supervised(discord) as running:
        await ready(discord, running)
    await asyncio.sleep(0.05)
    ours = [t for t in asyncio.all_tasks() - before if "discord_double" not in repr(t)]
    ours = [t for t in ours if "aiohttp/web" not in repr(t)]
    assert ours == []


@pytest.mark.parametrize("what", ["op7", "drop", "close", "op9_resumable"])
async def test_session_goes_on_after_the_connection_is_lost(
    discord: DiscordDouble, what: str
) -> None:
    async with supervised(discord) as running:
        await ready(discord, running)
        gateway = discord.faults.gateway
        await {
            "op7": lambda: gateway.op7(),
            "drop": lambda: gateway.drop(),
            "close": lambda: gateway.close(4000),
            "op9_resumable": lambda: gateway.op9(resumable=True),
        }[what]()
        await discord.until(lambda: len(discord.gateway.resumes) == 1)
        await ready(discord, running)
        await answers(discord)
    assert len(discord.identifies) == 1


@pytest.mark.parametrize("times", [1, 3])
async def test_refused_reconnects_are_tried_again_and_nothing_is_missed(
    discord: DiscordDouble, times: int
) -> None:
    channel = discord.guild("lab").text_channel("data")
    assert channel.guild
    anna = channel.guild.member("anna")
    async with supervised(discord) as running:
        await ready(discord, running)
        discord.faults.refuse_connections(times)
        await discord.faults.gateway.drop()
        used = await anna.slash(channel, "ping")  # while the bot is away
        assert (await used.wait_for_message()).content == "pong"
        await ready(discord, running)
    assert len(discord.identifies) == 1


async def test_dead_connection_is_noticed_by_its_missing_heartbeats(
    discord: DiscordDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.discord_double.gateway.HEARTBEAT_MS", 50)
    discord.faults.gateway.mute_heartbeats()
    async with supervised(discord) as running:
        await discord.until(lambda: discord.gateway.resumes)
        discord.faults.clear()
        await ready(discord, running)
        await answers(discord)
    assert len(discord.identifies) == 1


async def test_session_that_can_t_go_on_begins_anew(discord: DiscordDouble) -> None:
    async with supervised(discord) as running:
        await ready(discord, running)
        discord.faults.gateway.forget_sessions()
        await discord.faults.gateway.drop()
        await discord.until(lambda: len(discord.identifies) == 2)
        await ready(discord, running)
        await answers(discord)


async def test_invalid_sessions_make_no_storm(discord: DiscordDouble) -> None:
    limits = IdentifyLimits(first_wait_s=0.3, most_wait_s=0.6, spacing_s=0.0)
    discord.faults.gateway.reject_identifies(10_000)
    async with supervised(discord, limits=limits) as running:
        await eventually(lambda: running.status == "waiting")
        assert len(discord.identifies) == 5
        state = running.supervisor.states[0]
        assert state.until is not None
        assert state.reason
        assert not running.supervisor.is_ready
        await discord.until(lambda: len(discord.identifies) == 7)
        at = discord.identifies
        # Each wait is random within a quarter of its length.
        assert (at[5] - at[4]).total_seconds() > 0.2
        assert (at[6] - at[5]).total_seconds() > 0.4
        discord.faults.clear()
        await ready(discord, running)
        await answers(discord)


async def test_outage_of_everything_is_survived(discord: DiscordDouble) -> None:
    async with supervised(discord) as running:
        await ready(discord, running)
        async with discord.faults.outage():  # type: ignore[attr-defined]
            await eventually(lambda: running.status == "waiting")
        await ready(discord, running)
        await answers(discord)
    assert len(discord.identifies) <= 2


async def test_start_while_discord_is_away_waits_for_it(discord: DiscordDouble) -> None:
    struck = discord.faults.rest(status=503, times=4)
    async with supervised(discord) as running:
        await discord.until(lambda: struck.left == 0)
        await ready(discord, running)


async def test_silent_gateway_is_given_up(discord: DiscordDouble) -> None:
    pauses = Pauses(hello_s=2.0, ready_s=0.1, after_invalid_s=(0.0, 0.0))
    real, silent = discord.gateway._identify, True

    def identify(connection: Any, data: Any) -> None:
        if silent:
            discord.identifies.append(discord.clock.now())
            discord.world.changed()
        else:
            real(connection, data)

    discord.gateway._identify = identify  # type: ignore[method-assign]
    async with supervised(discord, pauses=pauses) as running:
        await discord.until(lambda: len(discord.identifies) == 2)
        silent = False
        await ready(discord, running)


async def test_commands_are_registered_later_if_discord_doesn_t_take_them_at_first(
    discord: DiscordDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.discord.client._SYNC_FIRST_WAIT_S", 0.01)
    struck = discord.faults.rest(status=503, times=6, path="/commands")
    async with supervised(discord) as running:
        await ready(discord, running)
        await discord.until(lambda: "ping" in discord.commands)
        assert struck.hits == 6
        await answers(discord)


async def test_wrong_token_is_one_sentence(discord: DiscordDouble) -> None:
    async with supervised(discord, token="MTA.wrong.token") as running:
        with pytest.raises(CannotConnect, match="DISCORD_TOKEN"):
            await running.task
    assert discord.identifies == []


async def test_token_that_is_reset_meanwhile_is_one_sentence(discord: DiscordDouble) -> None:
    async with supervised(discord) as running:
        await ready(discord, running)
        discord.gateway.token = "MTA.another.token"
        discord.faults.gateway.forget_sessions()
        await discord.faults.gateway.drop()
        with pytest.raises(CannotConnect, match="DISCORD_TOKEN"):
            async with asyncio.timeout(10):
                await running.task
    assert len(discord.identifies) <= 3


async def test_intent_that_isn_t_switched_on_is_one_sentence(discord: DiscordDouble) -> None:
    async with supervised(discord, message_content_intent=True) as running:
        with pytest.raises(CannotConnect, match="MESSAGE_CONTENT_INTENT=false"):
            async with asyncio.timeout(10):
                await running.task
    assert len(discord.identifies) == 1


@pytest.mark.parametrize("shards", [0, 2])
async def test_shards_have_a_session_each(discord: DiscordDouble, shards: int) -> None:
    discord.guild("one")
    async with supervised(discord, discord_shards=shards) as running:
        await ready(discord, running)
        assert len(running.supervisor.states) == max(1, shards)
        await answers(discord)
        assert {s.shard[0] for s in discord.gateway.sessions} == set(range(max(1, shards)))
        await discord.faults.gateway.drop()
        await discord.until(lambda: len(discord.gateway.resumes) == max(1, shards))
        await ready(discord, running)


async def test_log_tells_neither_tokens_nor_what_people_say(
    discord: DiscordDouble, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    channel = discord.guild("lab").text_channel("data")
    assert channel.guild
    anna = channel.guild.member("anna")
    async with supervised(discord) as running:
        await ready(discord, running)
        discord.faults.rest(status=403, times=1, path="/callback")
        used = await anna.slash(channel, "ping", wait=False)
        await discord.until(lambda: any(r.status == 403 for r in discord.requests))
        await answers(discord)
    told = "\n".join(
        r.getMessage() for r in caplog.records if not r.name.startswith(("tests", "asyncio"))
    )
    assert discord.token not in told
    assert used.token not in told


# --- how often sessions are asked for ---------------------------------------------------------


class Time:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_five_in_vain_are_taken_then_twice_as_long_is_waited_each_time() -> None:
    time = Time()
    limits = IdentifyLimits(first_wait_s=10, most_wait_s=50, spacing_s=5)
    identifies = Identifies(limits, clock=time)
    for number in range(5):
        assert identifies.wait_s(0) == (5 if number else 0)
        time.now += 5
        identifies.take(0)
    for expected in (10, 20, 40, 50, 50):
        wait_s = identifies.wait_s(0)
        assert 0.75 * expected <= wait_s <= 1.25 * expected
        time.now += wait_s - 0.01
        with pytest.raises(IdentifyRefused):
            identifies.take(0)
        time.now += 0.02
        identifies.take(0)
    identifies.succeeded(0)
    assert identifies.wait_s(0) == 5


def test_a_day_s_sessions_are_counted_together_for_all_shards() -> None:
    time = Time()
    identifies = Identifies(IdentifyLimits(a_day=3, spacing_s=0), clock=time)
    for shard in range(3):
        identifies.take(shard)
        identifies.succeeded(shard)
        time.now += 1
    assert identifies.last_day == 3
    assert identifies.wait_s(7) == 86_400 - 3
    time.now += 86_400 - 3
    assert identifies.wait_s(7) == 0
    assert identifies.last_day == 2


def test_discord_s_own_count_closes_it() -> None:
    time = Time()
    identifies = Identifies(IdentifyLimits(spacing_s=0), clock=time)
    identifies.close(60)
    assert identifies.wait_s(0) == 60
    time.now += 60
    identifies.take(0)
