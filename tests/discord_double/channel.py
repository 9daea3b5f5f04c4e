"""Channels, DMs and threads, and what people do in them."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from tests.discord_double import payloads
from tests.discord_double.message import Attachment, Message
from tests.discord_double.permissions import EVERYTHING_HERE, Permissions, bits
from tests.discord_double.uploads import Files, Upload, stored_name, uploads

if TYPE_CHECKING:
    from tests.discord_double.guild import Guild
    from tests.discord_double.person import Person
    from tests.discord_double.world import World

_MENTION = re.compile(r"<@!?(\d+)>")


@dataclass(slots=True, eq=False)
class Channel:
    """A channel of any kind.

    Attributes:
        kind: Discord's type.
        messages: those that are there, the oldest first, ephemeral ones too.
        all_messages: the deleted ones besides.
        bot_permissions: what the bot may do here.
        typing: how often the bot said that it is typing.
    """

    world: "World"
    id: str
    kind: int
    name: str = ""
    guild: "Guild | None" = None
    parent: "Channel | None" = None
    owner: "Person | None" = None
    recipients: "tuple[Person, ...]" = ()
    bot_permissions: int = EVERYTHING_HERE
    typing: int = 0
    archived: bool = False
    locked: bool = False
    auto_archive_minutes: int = 1440
    at: datetime = field(init=False)
    all_messages: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Remember when it was made."""
        self.at = self.world.clock.now()

    @property
    def messages(self) -> list[Message]:
        """Those that haven't been deleted."""
        return [message for message in self.all_messages if not message.deleted]

    @property
    def by_bot(self) -> list[Message]:
        """The bot's messages that say something."""
        return [m for m in self.messages if m.author.is_bot and not m.is_loading]

    @property
    def threads(self) -> "list[Channel]":
        """The threads that belong to it."""
        return [c for c in self.world.channels.values() if c.parent is self]

    @property
    def attachment_bytes(self) -> int:
        """How large a file may be here."""
        return self.guild.attachment_bytes if self.guild else 10 << 20

    @property
    def app_permissions(self) -> int:
        """What the bot may do here, taken all together."""
        if self.guild is None or self.guild.has_bot:
            return self.bot_permissions
        return bits(["attach_files", "embed_links", "send_messages"])

    def deny_bot(self, permissions: Permissions) -> None:
        """Take permissions from the bot, here only."""
        self.bot_permissions &= ~bits(permissions)

    def seen_by(self, person: "Person") -> list[Message]:
        """The messages that a person sees."""
        return [m for m in self.messages if m.ephemeral_for in (None, person)]

    def find(self, message_id: str) -> Message | None:
        """A message that is there."""
        return next((m for m in self.messages if m.id == message_id), None)

    async def post(
        self,
        author: "Person",
        content: str = "",
        *,
        files: Files = (),
        reply_to: Message | None = None,
        mention_bot: bool = False,
        ping_reply: bool = True,
        forward: Message | None = None,
    ) -> Message:
        """A person writes something.

        Args:
            author: who.
            content: what; ``mention_bot`` puts the bot's mention before it.
            files: what to attach, as a mapping of names to bytes, or as ``Upload`` values.
            reply_to: the message replied to.
            mention_bot: see ``content``.
            ping_reply: whether the author of the message replied to is notified.
            forward: the message forwarded, from whichever channel: nothing else goes with it, the
                clients send what is said of it as a message of its own.
        """
        assert forward is None or not (content or files or reply_to or mention_bot)
        assert author in self.recipients or (self.guild and self.guild.has(author)), (
            f"{author.name} isn't in #{self.name}"
        )
        if mention_bot:
            content = f"{self.world.bot.mention} {content}".rstrip()
        assert len(content) <= 2000, "people can't write more than 2000 characters"
        message = Message(self.world.new_id(), self, author, self.world.clock.now(), content)
        message.attachments = [self.attach(upload) for upload in uploads(files)]
        assert len(message.attachments) <= 10, "people can't attach more than 10 files"
        message.reply_to, message.forwarded = reply_to, forward
        message.mentions = self.world_mentions(content, reply_to, ping_reply=ping_reply)
        message.pings = frozenset(person.name for person in message.mentions)
        self.add(message)
        await asyncio.sleep(0)
        return message

    async def wait_for(
        self,
        check: Callable[[Message], object] = lambda message: True,
        *,
        after: Message | None = None,
        timeout_s: float = 10,
    ) -> Message:
        """The first message by the bot for which the check holds, now or once it does.

        Args:
            check: is asked again whenever anything changes, so that edits count.
            after: only newer messages than this one.
            timeout_s: in seconds of real time.

        Raises:
            AssertionError: there is none in time; it says what there is.
        """

        def look() -> Message | None:
            later = int(after.id) if after else 0
            return next((m for m in self.by_bot if int(m.id) > later and check(m)), None)

        try:
            return await self.world.until(look, timeout_s, "no such message by the bot")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.transcript()}") from None

    def transcript(self, viewer: "Person | None" = None) -> str:
        """The channel as people see it, see ``tests.discord_double.transcript``."""
        from tests.discord_double.transcript import transcript

        return transcript(self, viewer)

    def add(self, message: Message) -> None:
        """Put a message here and tell the bot of it."""
        self.all_messages.append(message)
        message.announce("MESSAGE_CREATE")

    def attach(self, upload: Upload, *, ephemeral: bool = False) -> Attachment:
        """Store a file of this channel."""
        name = stored_name(upload.filename)
        size = len(upload.content) if upload.said_size is None else upload.said_size
        attachment = Attachment(
            self.world.new_id(),
            self.id,
            name,
            upload.content,
            size,
            upload.kind,
            upload.alt,
            ephemeral,
            None if name == upload.filename else upload.filename,
        )
        self.world.attachments[attachment.id] = attachment
        return attachment

    def world_mentions(
        self, content: str, reply_to: Message | None, *, ping_reply: bool
    ) -> "list[Person]":
        """Whom a person's message notifies."""
        ids = list(dict.fromkeys(_MENTION.findall(content)))
        people = [self.world.people[i] for i in ids if i in self.world.people]
        if reply_to and ping_reply and reply_to.author not in people:
            people.append(reply_to.author)
        return people

    @property
    def is_thread(self) -> bool:
        """Whether it is a thread."""
        return self.kind in payloads.THREADS
