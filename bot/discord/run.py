"""The bot from its start to its end: connected, answering, drained when it is told to stop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from bot.discord.client import NO_CONTEXTS, make_client
from bot.discord.connection import PAUSES, Pauses
from bot.discord.delivery import Delivery
from bot.discord.handler_errors import register as register_errors
from bot.discord.health import Health
from bot.discord.identifies import IDENTIFY_LIMITS, Identifies, IdentifyLimits
from bot.discord.metrics import Metrics
from bot.discord.posting import BACKOFF, Backoff
from bot.discord.supervisor import RECONNECTING, Supervisor
from bot.errors import BotError
from bot.settings import BotSettings
from interpreter import Interpreter
from interpreter.logs import get_logger

log = get_logger(__name__)

#: What is left of DRAIN_SECONDS after the turns is for what they have to say; at least so much.
_LEAST_FLUSH_S = 5.0


class PortTaken(BotError):
    """The port for /healthz and /metrics can't be used."""


class RunningTurns(Protocol):
    """What the end of the program needs to know of the turns that run."""

    @property
    def running(self) -> int:
        """How many there are."""

    async def drain(self, timeout_s: float) -> None:
        """Take no new ones, and wait for those that run; stop what isn't done in time, and tell
        those who asked."""


#: Puts together what answers people, registers it with the client, and gives the turns; the part
#: after its ``yield`` lets go of everything.
Assemble: TypeAlias = Callable[[Any, Delivery, Metrics], AsyncIterator[RunningTurns]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """How long everything waits between two tries; tests are in a hurry."""

    delivery: Backoff = BACKOFF
    reconnecting: Backoff = RECONNECTING
    identifies: IdentifyLimits = IDENTIFY_LIMITS
    pauses: Pauses = PAUSES


#: For Discord itself.
TEMPO = Tempo()


async def run_bot(
    settings: BotSettings,
    service: Interpreter,
    assemble: Assemble,
    *,
    stop: asyncio.Event,
    tempo: Tempo = TEMPO,
    contexts: Mapping[str, type] = NO_CONTEXTS,
    on_started: Callable[[int | None], None] = lambda port: None,
) -> None:
    """Run the bot until it is told to stop; then let what runs come to its end.

    Args:
        settings: the bot's; with a token.
        service: kernels, files, records.
        assemble: puts together what answers people.
        stop: is set when it is to stop.
        tempo: how long to wait between tries.
        contexts: see ``make_client``.
        on_started: gets the port of /healthz and /metrics, None if there is none.

    Raises:
        CannotConnect: Discord refuses the bot; says what to do.
        PortTaken: the port for /healthz and /metrics can't be used.
    """
    assert settings.discord_token is not None, "there is no bot without a token"
    metrics = Metrics()
    identifies = Identifies(tempo.identifies, on_identify=metrics.identify)
    client = make_client(settings, identifies=identifies, pauses=tempo.pauses, contexts=contexts)
    register_errors(client, metrics)
    supervisor = Supervisor(
        client, settings.discord_token, identifies=identifies, backoff=tempo.reconnecting
    )
    health = Health(service, supervisor, metrics)
    async with AsyncExitStack() as stack:
        delivery = await stack.enter_async_context(
            Delivery.open(
                client.http,
                records=service.records,
                directory=service.settings.data_dir / "outbox",
                metrics=metrics,
                backoff=tempo.delivery,
            )
        )
        assembled = asynccontextmanager(assemble)(client, delivery, metrics)
        turns = await stack.enter_async_context(assembled)
        metrics.watch(
            waiting=lambda: delivery.waiting,
            ready=lambda: sum(state.status == "ready" for state in supervisor.states),
            running=lambda: turns.running,
        )
        port = await _watched(health, settings, stack)
        await delivery.resume()
        supervising = asyncio.create_task(supervisor.run())
        try:
            on_started(port)
            await _first_of(supervising, stop)
            health.is_draining = True
            await _drain(turns, delivery, settings.drain_s)
        finally:
            supervising.cancel()
            await asyncio.gather(supervising, return_exceptions=True)


async def _watched(health: Health, settings: BotSettings, stack: AsyncExitStack) -> int | None:
    """Serve /healthz and /metrics; gives the port.

    Raises:
        PortTaken: somebody else has the port that was asked for.
    """
    if settings.health_port == 0:
        return None
    try:
        return await stack.enter_async_context(health.serve(settings.health_port))
    except OSError as error:
        if "health_port" in settings.model_fields_set:
            raise PortTaken(
                f"HEALTH_PORT={settings.health_port} can't be used: set it to a port that is free, "
                "or to 0 for none.",
                error.strerror or "",
            ) from error
        log.warning("no health port", port=settings.health_port, reason=error.strerror)
        return None


async def _first_of(supervising: "asyncio.Task[Any]", stop: asyncio.Event) -> None:
    """Wait until it is told to stop.

    Raises:
        CannotConnect: what the supervisor can't help.
    """
    told = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({supervising, told}, return_when=asyncio.FIRST_COMPLETED)
        if supervising.done():
            supervising.result()
    finally:
        told.cancel()


async def _drain(turns: RunningTurns, delivery: Delivery, drain_s: float) -> None:
    log.info("draining", turns=turns.running, deliveries=delivery.waiting, limit_s=drain_s)
    began = asyncio.get_running_loop().time()
    await turns.drain(drain_s)
    left_s = drain_s - (asyncio.get_running_loop().time() - began)
    waiting = await delivery.flush(max(left_s, _LEAST_FLUSH_S))
    log.info("drained", deliveries_left=waiting)
