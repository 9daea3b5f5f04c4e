"""The bot as a program: started, watched, drained; everything but Discord is real."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from interactions import slash_command
from pydantic import SecretStr

from bot.discord.connection import CannotConnect, Pauses
from bot.discord.delivery import Delivery
from bot.discord.destinations import Destination
from bot.discord.identifies import IdentifyLimits
from bot.discord.metrics import Metrics
from bot.discord.posting import Backoff
from bot.discord.run import PortTaken, Tempo, run_bot
from bot.discord.signals import StopSignals
from bot.errors import Refusal
from bot.outgoing import OutgoingMessage
from bot.settings import BotSettings
from interpreter import RecordStore, Settings
from interpreter.metrics import Metrics as ServiceMetrics
from tests.discord_double import Channel, DiscordDouble

QUICK = Backoff(first_s=0.01, most_s=0.05)
TEMPO = Tempo(
    delivery=QUICK,
    reconnecting=QUICK,
    identifies=IdentifyLimits(spacing_s=0.0),
    pauses=Pauses(after_invalid_s=(0.0, 0.0)),
)


@dataclass
class Service:
    """As much of the service as running needs: records and a directory are real."""

    records: RecordStore
    settings: Settings
    metrics: ServiceMetrics = field(default_factory=ServiceMetrics)
    kernel_count: int = 3


@dataclass
class Turns:
    """Turns that end when a test lets them."""

    running: int = 0
    limits_s: list[float] = field(default_factory=list)
    last_words: Callable[[], Awaitable[Any]] | None = None

    async def drain(self, timeout_s: float) -> None:
        self.limits_s.append(timeout_s)
        if self.last_words:
            await self.last_words()


@dataclass
class Program:
    """The bot while it runs."""

    task: "asyncio.Task[None]"
    stop: asyncio.Event
    port: int | None
    turns: Turns
    delivery: list[Delivery]

    async def get(self, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status, await response.text()


@pytest.fixture
def service(records: RecordStore, settings: Settings) -> Any:
    return Service(records, settings)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@asynccontextmanager
async def running(
    discord: DiscordDouble, service: Any, *, signals: bool = False, **settings: Any
) -> AsyncIterator[Program]:
    turns, seen, started = Turns(), [], asyncio.Event()
    ports: list[int | None] = []
    stop = asyncio.Event()

    async def assemble(client: Any, delivery: Delivery, metrics: Metrics) -> AsyncIterator[Turns]:
        seen.append(delivery)

        @slash_command("ping", description="Answers.")
        async def ping(ctx: Any) -> None:
            await ctx.send("pong")

        @slash_command("fail", description="Fails.")
        async def fail(ctx: Any) -> None:
            raise ZeroDivisionError("what a user wrote")

        @slash_command("refuse", description="Refuses.")
        async def refuse(ctx: Any) -> None:
            raise Refusal("You may ask again in 5 s.")

        for command in (ping, fail, refuse):
            client.add_interaction(command)
        yield turns

    def on_started(port: int | None) -> None:
        ports.append(port)
        started.set()

    options = {"health_port": free_port(), "drain_s": 3.0, **settings}

    async def run() -> None:
        with StopSignals() if signals else nullcontext() as told:
            if told is not None:
                told.can_drain = True
            await run_bot(
                BotSettings(discord_token=SecretStr(discord.token), **options),
                service,
                assemble,
                stop=told.told if told else stop,
                tempo=TEMPO,
                on_started=on_started,
            )

    program = asyncio.create_task(run())
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait({program, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if program.done():
        program.result()
    try:
        yield Program(program, stop, ports[0], turns, seen)
    finally:
        stop.set()
        program.cancel()
        await asyncio.gather(program, return_exceptions=True)


async def healthy(program: Program) -> dict[str, Any]:
    """Wait until it says that it is well."""
    async with asyncio.timeout(10):
        while True:
            status, text = await program.get("/healthz")
            report: dict[str, Any] = json.loads(text)
            if status == 200:
                return report


def a_channel(discord: DiscordDouble) -> Channel:
    return discord.guild("lab").text_channel("data")


async def test_health_tells_discord_database_and_kernels(
    discord: DiscordDouble, service: Any
) -> None:
    async with running(discord, service) as program:
        report = await healthy(program)
        assert report["ok"] is True
        assert report["discord"][0]["status"] == "ready"
        assert (report["database"], report["kernels"]) == ("ok", 3)
        discord.faults.refuse_connections(1_000_000)
        await discord.faults.gateway.drop()
        status, text = await program.get("/healthz")
        while status == 200:
            status, text = await program.get("/healthz")
        assert status == 503
        assert json.loads(text)["discord"][0]["status"] in ("waiting", "connecting")
        discord.faults.clear()
        await healthy(program)


async def test_metrics_are_prometheus_s_and_name_nobody(
    discord: DiscordDouble, service: Any
) -> None:
    async with running(discord, service) as program:
        await healthy(program)
        status, text = await program.get("/metrics")
    assert status == 200
    assert "cellmate_gateway_ready 1.0" in text
    assert "cellmate_gateway_identifies_total 1.0" in text
    assert "cellmate_turns_running 0.0" in text
    assert discord.bot.id not in text


async def test_no_port_is_opened_if_none_is_wanted(discord: DiscordDouble, service: Any) -> None:
    async with running(discord, service, health_port=0) as program:
        assert program.port is None


async def test_port_that_is_taken_ends_the_start(discord: DiscordDouble, service: Any) -> None:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(PortTaken, match=f"HEALTH_PORT={port} can't be used"):
            async with running(discord, service, health_port=port):
                pass


async def test_what_was_on_its_way_at_the_last_end_is_delivered_at_the_start(
    discord: DiscordDouble, service: Any
) -> None:
    channel = a_channel(discord)
    to = Destination(int(channel.id), None)
    async with running(discord, service) as program:
        await healthy(program)
        discord.faults.rest(status=503, times=100_000, method="POST")
        delivering = asyncio.create_task(
            program.delivery[0].deliver(to, [OutgoingMessage("precious")], owner="someone")
        )
        await discord.until(lambda: any(r.status == 503 for r in discord.requests))
    await asyncio.gather(delivering, return_exceptions=True)
    discord.faults.clear()
    async with running(discord, service):
        await channel.wait_for(lambda m: m.content == "precious")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_drains_turns_then_deliveries_then_ends(
    discord: DiscordDouble, service: Any, number: signal.Signals
) -> None:
    channel = a_channel(discord)
    async with running(discord, service, signals=True) as program:
        await healthy(program)

        async def last_words() -> None:
            status, text = await program.get("/healthz")
            assert (status, json.loads(text)["draining"]) == (503, True)
            asyncio.create_task(  # noqa: RUF006
                program.delivery[0].deliver(
                    Destination(int(channel.id), None), [OutgoingMessage("bye")], owner="someone"
                )
            )
            await asyncio.sleep(0)

        program.turns.last_words = last_words
        os.kill(os.getpid(), number)
        await program.task
    assert program.turns.limits_s == [3.0]
    assert [m.content for m in channel.by_bot] == ["bye"]
    assert not discord.gateway.connected


async def test_second_signal_waits_for_nothing(discord: DiscordDouble, service: Any) -> None:
    async with running(discord, service, signals=True) as program:
        await healthy(program)
        draining = asyncio.Event()

        async def last_words() -> None:
            draining.set()
            await asyncio.Event().wait()

        program.turns.last_words = last_words
        os.kill(os.getpid(), signal.SIGTERM)
        await draining.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(asyncio.CancelledError):
            await program.task


async def test_signal_during_the_start_waits_for_nothing() -> None:
    async def start() -> None:
        with StopSignals():
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(start())


async def test_what_only_the_operator_can_mend_ends_it_with_a_sentence(
    discord: DiscordDouble, service: Any
) -> None:
    async with running(discord, service, message_content_intent=True) as program:
        with pytest.raises(CannotConnect, match="Message Content Intent"):
            await program.task


async def test_fault_of_a_handler_is_one_sentence_with_the_id_that_the_log_has(
    discord: DiscordDouble, service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    channel = a_channel(discord)
    assert channel.guild
    anna = channel.guild.member("anna")
    async with running(discord, service) as program:
        await discord.until(lambda: "fail" in discord.commands)
        failed = await (await anna.slash(channel, "fail")).wait_for_message()
        assert failed.ephemeral_for is anna
        assert "wrong" in failed.content
        error_id = failed.content.split()[-1].rstrip(".")
        assert f"error_id='{error_id}'" in caplog.text
        refused = await (await anna.slash(channel, "refuse")).wait_for_message()
        assert refused.content == "You may ask again in 5 s."
        _, text = await program.get("/metrics")
        assert "cellmate_handler_errors_total 1.0" in text
