"""Messages as they stand in a channel, and what people do to their own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.discord_double import payloads
from tests.discord_double.intents import message_intent

if TYPE_CHECKING:
    from tests.discord_double.channel import Channel
    from tests.discord_double.interaction import Interaction
    from tests.discord_double.person import Person

EPHEMERAL = 1 << 6
LOADING = 1 << 7
IS_COMPONENTS_V2 = 1 << 15
LINK_LIFETIME = timedelta(hours=24)


@dataclass(slots=True)
class Attachment:
    """A file on a message.

    Attributes:
        content: its bytes; ``size`` is what Discord tells of them.
        alt: what it shows, in words.
        downloads: how often its link was followed.
    """

    id: str
    channel_id: str
    filename: str
    content: bytes
    size: int
    content_type: str | None
    alt: str | None
    ephemeral: bool = False
    title: str | None = None
    downloads: int = 0
    expired_before: datetime | None = None

    def url(self, cdn_url: str, now: datetime) -> str:
        """A link that works for a day from now."""
        place = "ephemeral-attachments" if self.ephemeral else "attachments"
        expires = int((now + LINK_LIFETIME).timestamp())
        issued = int(now.timestamp())
        path = f"{place}/{self.channel_id}/{self.id}/{quote(self.filename)}"
        return f"{cdn_url}/{path}?ex={expires:x}&is={issued:x}&hm={int(self.id):064x}&"


@dataclass(frozen=True, slots=True)
class Version:
    """What a message was before an edit."""

    content: str
    attachments: tuple[Attachment, ...]
    components: tuple[dict[str, Any], ...]
    until: datetime


@dataclass(slots=True, eq=False)
class Message:
    """A message. Tests read it; the server and its author change it.

    Attributes:
        edits: what it was before, the oldest first.
        pings: the names of those whom it notified, "@everyone" and "@here".
        ephemeral_for: the only person who sees it; None if everyone does.
        reply_to: the message that it replies to.
        forwarded: the message that it forwards.
        flags: Discord's bits.
    """

    id: str
    channel: "Channel"
    author: "Person"
    at: datetime
    content: str = ""
    attachments: list[Attachment] = field(default_factory=list)
    embeds: list[dict[str, Any]] = field(default_factory=list)
    components: list[dict[str, Any]] = field(default_factory=list)
    flags: int = 0
    reply_to: "Message | None" = None
    forwarded: "Message | None" = None
    mentions: "list[Person]" = field(default_factory=list)
    pings: frozenset[str] = frozenset()
    nonce: str | int | None = None
    ephemeral_for: "Person | None" = None
    interaction: "Interaction | None" = None
    edits: list[Version] = field(default_factory=list)
    edited_at: datetime | None = None
    reactions: list[tuple[str, "Person"]] = field(default_factory=list)
    thread: "Channel | None" = None
    deleted: bool = False
    kind: int = 0

    @property
    def is_ephemeral(self) -> bool:
        """Whether only one person sees it."""
        return self.ephemeral_for is not None

    @property
    def is_loading(self) -> bool:
        """Whether it only says that the bot is thinking."""
        return bool(self.flags & LOADING)

    @property
    def is_v2(self) -> bool:
        """Whether it is laid out by components."""
        return bool(self.flags & IS_COMPONENTS_V2)

    @property
    def text(self) -> str:
        """Its content, and the texts of its embeds and components."""
        parts = [self.content]
        for embed in self.embeds:
            parts += [embed.get("title") or "", embed.get("description") or ""]
            for item in embed.get("fields") or ():
                parts += [item["name"], item["value"]]
            parts.append((embed.get("footer") or {}).get("text", ""))
        parts += [part["content"] for part in walk(self.components) if part["type"] == 10]
        return "\n".join(filter(None, parts))

    @property
    def files(self) -> dict[str, bytes]:
        """Its attachments' bytes by name."""
        return {attachment.filename: attachment.content for attachment in self.attachments}

    @property
    def buttons(self) -> tuple[str, ...]:
        """Its buttons' labels."""
        return tuple(part.get("label", "") for part in walk(self.components) if part["type"] == 2)

    def button(self, label: str | None = None, *, custom_id: str | None = None) -> dict[str, Any]:
        """The button with a label, or with a custom_id.

        Raises:
            AssertionError: there is none, or there are several.
        """
        found = [
            part
            for part in walk(self.components)
            if part["type"] == 2
            and label in (None, part.get("label"))
            and custom_id in (None, part.get("custom_id"))
        ]
        assert len(found) == 1, f"{len(found)} buttons {label or custom_id!r} in {self!r}"
        return found[0]

    def mentions_bot(self) -> bool:
        """Whether it pings the bot, by name or as a reply."""
        return any(person.is_bot for person in self.mentions)

    async def edit(self, content: str) -> None:
        """Its author writes something else."""
        assert not self.author.is_bot, "people edit only their own messages"
        self.replace(content=content)
        self.mentions = self.channel.world_mentions(content, self.reply_to, ping_reply=False)
        self.announce("MESSAGE_UPDATE")

    async def delete(self) -> None:
        """Someone deletes it."""
        self.remove()

    def replace(self, **changes: Any) -> None:
        """Change it, keeping what it was."""
        now = self.channel.world.clock.now()
        was = Version(self.content, tuple(self.attachments), tuple(self.components), now)
        self.edits.append(was)
        self.edited_at = now
        for name, value in changes.items():
            setattr(self, name, value)

    def remove(self) -> None:
        """Take it away, and tell the bot."""
        self.deleted = True
        if not self.is_ephemeral:
            gone = {"id": self.id, "channel_id": self.channel.id}
            if self.channel.guild:
                gone["guild_id"] = self.channel.guild.id
            self._send("MESSAGE_DELETE", lambda reads: gone)
        self.channel.world.changed()

    def announce(self, event: str) -> None:
        """Tell the bot, and all who wait, that it is new or changed."""
        if not self.is_ephemeral:
            self._send(event, lambda reads: payloads.message_event(self, reads_content=reads))
        self.channel.world.changed()

    async def wait_for(
        self, check: "Callable[[Message], object]", timeout_s: float = 10
    ) -> "Message":
        """Wait for a change of it after which the check holds.

        Raises:
            AssertionError: not in time (seconds of real time).
        """
        await self.channel.world.until(
            lambda: bool(check(self)), timeout_s, f"message {self.id} as awaited; it is {self!r}"
        )
        return self

    def _send(self, event: str, payload: Callable[[bool], dict[str, Any]]) -> None:
        self.channel.world.dispatch(
            event,
            payload,
            guild_id=self.channel.guild.id if self.channel.guild else None,
            intent=message_intent(in_guild=self.channel.guild is not None),
        )

    def __repr__(self) -> str:
        files = [attachment.filename for attachment in self.attachments]
        state = " deleted" if self.deleted else ""
        return (
            f"<Message{state} by {self.author.name} in #{self.channel.name}: {self.text!r}"
            f" files={files} buttons={list(self.buttons)}>"
        )


def walk(components: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All components, those inside others too, in the order in which they are seen."""
    for component in components:
        yield component
        yield from walk(component.get("components") or [])
        for key in ("accessory", "component"):
            if component.get(key):
                yield from walk([component[key]])
