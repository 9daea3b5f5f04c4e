"""Delivery: messages reach Discord whatever Discord does meanwhile, or it is said why not."""

from collections.abc import Sequence

from bot.discord.destinations import (
    DeliveryFailed,
    DeliveryLate,
    Destination,
    InteractionRef,
    SentMessage,
)
from bot.outgoing import OutgoingMessage

__all__ = [
    "Delivery",
    "DeliveryFailed",
    "DeliveryLate",
    "Destination",
    "InteractionRef",
    "SentMessage",
]


class Delivery:
    """Sends, edits and deletes messages."""

    async def send(self, to: Destination, message: OutgoingMessage) -> SentMessage:
        """Send a message; tries again for some minutes.

        Raises:
            DeliveryFailed: it is certain that it can't be, or it wasn't in time.
        """
        raise NotImplementedError

    async def edit(
        self,
        sent: SentMessage,
        message: OutgoingMessage,
        *,
        keep_attachments: bool = False,
        patient: bool = True,
    ) -> SentMessage:
        """Put a message in place of one that was sent.

        Args:
            sent: the one that is there.
            message: what it is to become.
            keep_attachments: whether what is attached to it stays, beside new attachments.
            patient: whether it has to get there: then it is tried for minutes, and sent anew where
                the message is gone or can't be edited any more. Else there is one quick try, as for
                progress that will be told again.

        Raises:
            DeliveryFailed: it can't be, or not in time.
        """
        raise NotImplementedError

    async def delete(self, sent: SentMessage) -> None:
        """Delete a message; one that is gone, or can't be deleted any more, is no mistake."""
        raise NotImplementedError

    async def deliver(
        self,
        to: Destination,
        messages: Sequence[OutgoingMessage],
        *,
        replacing: SentMessage | None = None,
        owner: str,
    ) -> tuple[SentMessage, ...]:
        """Send messages that must not be lost, neither by an outage nor by a restart.

        Args:
            to: where.
            messages: in order.
            replacing: a message whose place the first one takes.
            owner: the id of the user whose they are.

        Raises:
            DeliveryFailed: Discord won't take them.
        """
        raise NotImplementedError
