"""The Discord bot put together: the model, who may do what, and everything that answers people."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.chat_model import ChatModel
from bot.discord import commands, listener, turn_buttons
from bot.discord.buttons import Buttons
from bot.discord.context import Bot
from bot.discord.contexts import CONTEXTS
from bot.discord.counted import CountedAssistant, CountedModel
from bot.discord.delivery import Delivery
from bot.discord.inputs import Inputs
from bot.discord.metrics import Metrics
from bot.discord.past_turns import PastTurns
from bot.discord.recovery import Recovery
from bot.discord.reruns import Reruns
from bot.discord.run import TEMPO, Assemble, RunningTurns, Tempo, run_bot
from bot.discord.signals import StopSignals
from bot.discord.threads import Threads
from bot.discord.turns import Turns
from bot.models import open_model
from bot.people.activity import Activity
from bot.people.audit import Audit
from bot.people.blocks import Blocks
from bot.people.budgets import Budgets
from bot.people.conversations import Conversations
from bot.people.gate import Gate
from bot.people.guilds import Guilds
from bot.people.limit_rules import LimitRules
from bot.people.preferences import Preferences
from bot.settings import BotSettings
from interpreter import Interpreter

__all__ = ["run"]


async def run(
    settings: BotSettings,
    service: Interpreter,
    signals: StopSignals,
    *,
    keeps_cells: bool = False,
    tempo: Tempo = TEMPO,
) -> None:
    """Run the bot until it is told to stop.

    Args:
        settings: the bot's; with a token.
        service: kernels, files, records.
        signals: by which it is told.
        keeps_cells: whether the service leaves cells that run to a later run of the program.
        tempo: how long to wait between tries.

    Raises:
        CannotConnect: Discord refuses the bot; says what to do.
        PortTaken: the port for /healthz and /metrics can't be used.
    """

    def on_started(port: int | None) -> None:
        signals.can_drain = True

    async with open_model(settings) as model:
        await run_bot(
            settings,
            service,
            assembling(settings, service, model, keeps_cells=keeps_cells),
            stop=signals.told,
            tempo=tempo,
            contexts=CONTEXTS,
            on_started=on_started,
        )


def assembling(
    settings: BotSettings,
    service: Interpreter,
    model: ChatModel | None,
    *,
    keeps_cells: bool = False,
) -> Assemble:
    """What puts together everything that answers people.

    Args:
        settings: the bot's.
        service: kernels, files, records.
        model: who answers questions; None if nobody does.
        keeps_cells: see :func:`run`.
    """

    async def assemble(
        client: Any, delivery: Delivery, metrics: Metrics
    ) -> AsyncIterator[RunningTurns]:
        records = service.records
        preferences = Preferences(records, settings)
        gate = Gate(
            settings,
            service,
            blocks=Blocks(records),
            budgets=Budgets(records),
            rules=LimitRules(records),
            preferences=preferences,
        )
        conversations = Conversations(records, kept=timedelta(hours=settings.conversation_hours))
        activity, past, inputs = Activity(records), PastTurns(records), Inputs(delivery)
        opened = Turns.open(
            settings=settings,
            service=service,
            assistant=CountedAssistant(
                metrics,
                service=service,
                model=None if model is None else CountedModel(model, metrics),
                settings=settings,
            ),
            gate=gate,
            conversations=conversations,
            activity=activity,
            past=past,
            inputs=inputs,
            delivery=delivery,
            metrics=metrics,
            keeps_cells=keeps_cells,
        )
        async with opened as turns:
            bot = Bot(
                settings=settings,
                service=service,
                gate=gate,
                conversations=conversations,
                preferences=preferences,
                guilds=Guilds(records),
                activity=activity,
                audit=Audit(records),
                delivery=delivery,
                turns=turns,
                reruns=Reruns(turns, delivery),
                past=past,
                inputs=inputs,
                buttons=Buttons(settings, gate),
                metrics=metrics,
                started_at=datetime.now(UTC),
            )
            listener.register(client, bot, Threads(records))
            turn_buttons.register(bot)
            commands.register(client, bot)
            bot.buttons.register(client)
            recovering = Recovery.open(
                service,
                turns=turns,
                delivery=delivery,
                conversations=conversations,
                past=past,
                metrics=metrics,
            )
            async with recovering:
                yield turns

    return assemble
