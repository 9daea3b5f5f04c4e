"""Delivery: messages reach Discord whatever Discord does meanwhile, or it is said why not."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from bot.discord.destinations import (
    DeliveryFailed,
    DeliveryLate,
    Destination,
    FilesLate,
    InteractionRef,
    MessageThere,
    SentMessage,
)
from bot.discord.metrics import Metrics
from bot.discord.outbox import OnSafe, Outbox, Promised
from bot.discord.posting import BACKOFF, Backoff, Post, without_files
from bot.discord.rest import DiscordHTTP
from bot.outgoing import OutgoingMessage
from interpreter import RecordStore

__all__ = [
    "Delivery",
    "DeliveryFailed",
    "DeliveryLate",
    "Destination",
    "InteractionRef",
    "OnSafe",
    "Promised",
    "SentMessage",
]

_PATIENCE_S = 600.0


class Delivery:
    """Sends, edits and deletes messages. Made by :meth:`open`."""

    def __init__(self, post: Post, outbox: Outbox) -> None:
        """Use :meth:`open`."""
        self._post = post
        self._outbox = outbox

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        http: DiscordHTTP,
        *,
        records: RecordStore,
        directory: Path,
        metrics: Metrics,
        backoff: Backoff = BACKOFF,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> AsyncIterator["Delivery"]:
        """Deliver until the context ends.

        Args:
            http: Discord's REST interface.
            records: where is written down what must not be lost.
            directory: where its files are kept.
            metrics: what is counted.
            backoff: how long to wait between two tries.
            now: tells the time.
        """
        post = Post(http, metrics=metrics, backoff=backoff, now=now)
        opened = Outbox.open(post, records=records, directory=directory, metrics=metrics, now=now)
        async with opened as outbox:
            yield cls(post, outbox)

    @property
    def waiting(self) -> int:
        """How many deliveries aren't done."""
        return self._outbox.waiting

    async def send(self, to: Destination, message: OutgoingMessage) -> SentMessage:
        """Send a message; tries for some minutes. Where Discord can't take files just now, they are
        named instead.

        Raises:
            DeliveryFailed: it is certain that it can't be, or it wasn't in time.
        """
        try:
            return await self._post.send(to, message, nonce=token_hex(8), patience_s=_PATIENCE_S)
        except FilesLate:
            words = without_files(message, "Discord can't take files just now, ask again later")
            return await self._post.send(to, words, nonce=token_hex(8), patience_s=_PATIENCE_S)

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
        if not patient:
            return await self._post.edit(sent, message, keep_attachments=keep_attachments)
        try:
            return await self._post.edit(
                sent, message, keep_attachments=keep_attachments, patience_s=_PATIENCE_S
            )
        except DeliveryFailed:
            return await self.send(sent.destination, message)

    async def delete(self, sent: SentMessage) -> None:
        """Delete a message; one that is gone, or can't be deleted any more, is no mistake."""
        await self._post.delete(sent)

    async def deliver(
        self,
        to: Destination,
        messages: Sequence[OutgoingMessage],
        *,
        replacing: SentMessage | None = None,
        owner: str,
        key: str | None = None,
        on_safe: OnSafe | None = None,
    ) -> tuple[SentMessage, ...]:
        """Send messages that must not be lost, neither by an outage nor by a restart.

        It is written down first, tried for a day, and goes on when the caller is cancelled.

        Args:
            to: where.
            messages: in order.
            replacing: a message whose place the first one takes.
            owner: the id of the user whose they are; a Discord id is who gets them by direct
                message where nothing else is open, unless ``to`` names somebody.
            key: what they were promised by; at most 16 letters and digits.
            on_safe: is awaited once they are written down, or it is over: before the first try, and
                not at all if the program ends before.

        Returns:
            The messages as they were sent; without those that an earlier run of the program sent.

        Raises:
            DeliveryFailed: Discord won't take them, or didn't for a day.
        """
        return await self._outbox.deliver(
            to, messages, replacing=replacing, owner=owner, key=key, on_safe=on_safe
        )

    async def promise(
        self, key: str, to: Destination, *, owner: str, note: Mapping[str, Any]
    ) -> None:
        """Write down that messages will come, so that a later run of the program knows it if this
        one doesn't get to :meth:`deliver` them. Goes on when the caller is cancelled.

        Args:
            key: what they will be delivered by; at most 16 letters and digits.
            to: where.
            owner: the id of the user whose they will be.
            note: what that run has to know.
        """
        await self._outbox.promise(key, to, owner=owner, note=note)

    def show(self, key: str, sent: SentMessage) -> None:
        """Remember with a promise, in the background, which message is shown until it is kept."""
        self._outbox.show(key, sent)

    def note(self, key: str, note: Mapping[str, Any]) -> None:
        """Remember something else with a promise, in the background, until it is kept."""
        self._outbox.note(key, note)

    async def promised(self) -> tuple[Promised, ...]:
        """What earlier runs of the program promised and didn't deliver; each once.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        return await self._outbox.promised()

    async def withdraw(self, key: str) -> None:
        """Have a promise forgotten that nothing is to be delivered for."""
        await self._outbox.withdraw(key)

    async def look(self, sent: SentMessage) -> MessageThere | None:
        """See what a message of ours says now; tries for a minute.

        Returns:
            None if it is gone or can't be read.
        """
        return await self._post.look(sent)

    async def find(self, to: Destination, *, custom_id: str, since: datetime) -> SentMessage | None:
        """Look in a channel for a message of ours with a certain button; None if it isn't seen.

        Args:
            to: the channel.
            custom_id: the button's.
            since: when the message can have been sent at the earliest.
        """
        return await self._post.find(to, custom_id=custom_id, since=since)

    async def resume(self) -> None:
        """Go on with what was on its way when the program ended."""
        await self._outbox.resume()

    async def flush(self, timeout_s: float) -> int:
        """Wait until everything is delivered; gives how many deliveries aren't done in time."""
        return await self._outbox.flush(timeout_s)

    async def forget(self, owner: str) -> None:
        """Give up what is on its way for a user, who wants everything deleted."""
        await self._outbox.forget(owner)
