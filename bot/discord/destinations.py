"""Where messages go in Discord, and what became of them."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Self

from bot.errors import BotError

#: Source: Discord's documentation, "Interaction Callback": a token lives for 15 minutes. The margin
#: is for requests on their way, and for clocks that differ.
TOKEN_LIVES = timedelta(minutes=15)
_MARGIN = timedelta(seconds=30)
#: What everybody may attach, in bytes; interactions and boosted guilds say more.
ATTACHMENT_BYTES = 10 * 2**20


class DeliveryFailed(BotError):
    """A message can't be delivered, now or ever; says why."""


class DeliveryLate(DeliveryFailed):
    """A message wasn't delivered in the time there was; it may be later on."""


class FilesLate(DeliveryLate):
    """A message wasn't delivered as Discord can't take its files just now; its words it may."""


@dataclass(frozen=True, slots=True)
class InteractionRef:
    """An interaction that a message answers.

    Attributes:
        application_id: the bot's.
        token: opens the way for 15 minutes; whoever has it can answer in the bot's name.
        created_at: when the person acted; UTC.
        ephemeral: whether only that person is to see the answer.
        followups_left: how many messages it can still take; None for no limit. Where the bot is
            only installed by the person, Discord takes 5.
    """

    application_id: int
    token: str = field(repr=False)
    created_at: datetime
    ephemeral: bool = False
    followups_left: int | None = None

    def is_open(self, now: datetime | None = None) -> bool:
        """Whether its token is still good."""
        return (now or datetime.now(UTC)) < self.created_at + TOKEN_LIVES - _MARGIN


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a message is to go.

    Attributes:
        channel_id: of a channel, a thread or a direct message.
        guild_id: None in direct messages.
        reply_to: the message that is answered, in the same channel; None for none. One that has
            been deleted is no hindrance.
        interaction: the way to go while it is open; afterwards it is an ordinary message.
        attachment_bytes: how large each attachment may be there.
        user_id: whom it is for: what can't go to the channel (any more), or was for that person's
            eyes only, goes to them as a direct message. None for nobody in particular.
        pings: whether the author of ``reply_to`` is notified; for the bot's own asker only.
    """

    channel_id: int
    guild_id: int | None = None
    reply_to: int | None = None
    interaction: InteractionRef | None = None
    attachment_bytes: int = ATTACHMENT_BYTES
    user_id: int | None = None
    pings: bool = False

    @property
    def is_private(self) -> bool:
        """Whether what goes there is for one person's eyes only."""
        return self.interaction is not None and self.interaction.ephemeral

    def without_interaction(self) -> Self:
        """The same place, by ordinary messages."""
        return replace(self, interaction=None)


@dataclass(frozen=True, slots=True)
class MessageThere:
    """What a message of ours says now.

    Attributes:
        content: its words.
        custom_ids: of its buttons.
    """

    content: str
    custom_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message that is there.

    Attributes:
        channel_id: where it is, which may be another channel than was asked for.
        message_id: its id.
        destination: how it got there, and how it can be edited: with the interaction it answers,
            if it answers one.
        attachment_ids: of what is attached to it, in order.
    """

    channel_id: int
    message_id: int
    destination: Destination
    attachment_ids: tuple[int, ...] = ()
