"""The Discord bot put together: the model, who may do what, and everything that answers people."""

from collections.abc import AsyncIterator
from typing import Any

from bot.discord.counted import CountedAssistant, CountedModel
from bot.discord.delivery import Delivery
from bot.discord.metrics import Metrics
from bot.discord.run import TEMPO, RunningTurns, Tempo, run_bot
from bot.discord.signals import StopSignals
from bot.models import open_model
from bot.settings import BotSettings
from interpreter import Interpreter

__all__ = ["run"]


async def run(
    settings: BotSettings, service: Interpreter, signals: StopSignals, *, tempo: Tempo = TEMPO
) -> None:
    """Run the bot until it is told to stop.

    Args:
        settings: the bot's; with a token.
        service: kernels, files, records.
        signals: by which it is told.
        tempo: how long to wait between tries.

    Raises:
        CannotConnect: Discord refuses the bot; says what to do.
        PortTaken: the port for /healthz and /metrics can't be used.
    """
    async with open_model(settings) as model:

        async def assemble(
            client: Any, delivery: Delivery, metrics: Metrics
        ) -> AsyncIterator[RunningTurns]:
            assistant = CountedAssistant(
                metrics,
                service=service,
                model=None if model is None else CountedModel(model, metrics),
                settings=settings,
            )
            del assistant  # until there is who asks it
            yield _NoTurns()

        def on_started(port: int | None) -> None:
            signals.can_drain = True

        await run_bot(
            settings, service, assemble, stop=signals.told, tempo=tempo, on_started=on_started
        )


class _NoTurns:
    running = 0

    async def drain(self, timeout_s: float) -> None:
        """There is nothing to wait for."""
