"""Bot: everything that answers people in Discord needs, put together once."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from interpreter import Interpreter

if TYPE_CHECKING:
    from bot.discord.buttons import Buttons
    from bot.discord.delivery import Delivery
    from bot.discord.inputs import Inputs
    from bot.discord.metrics import Metrics
    from bot.discord.past_turns import PastTurns
    from bot.discord.reruns import Reruns
    from bot.discord.turns import Turns
    from bot.people.activity import Activity
    from bot.people.audit import Audit
    from bot.people.conversations import Conversations
    from bot.people.gate import Gate
    from bot.people.guilds import Guilds
    from bot.people.preferences import Preferences
    from bot.settings import BotSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    """What handlers of messages, commands and buttons work with.

    Attributes:
        settings: the bot's.
        service: kernels, files and records.
        gate: who may do how much.
        conversations: what was said, by channel and user.
        preferences: what users chose.
        guilds: what was chosen for a guild.
        activity: who was where lately.
        audit: what admins did.
        delivery: sends messages.
        turns: those that run.
        reruns: questions of late, which may be edited.
        past: what turns that are over have run.
        inputs: cells that wait for a person.
        buttons: what buttons and forms do.
        metrics: what is counted.
        started_at: when the bot started; UTC.
    """

    settings: "BotSettings"
    service: Interpreter
    gate: "Gate"
    conversations: "Conversations"
    preferences: "Preferences"
    guilds: "Guilds"
    activity: "Activity"
    audit: "Audit"
    delivery: "Delivery"
    turns: "Turns"
    reruns: "Reruns"
    past: "PastTurns"
    inputs: "Inputs"
    buttons: "Buttons"
    metrics: "Metrics"
    started_at: datetime
