"""Listener: which messages are meant for the bot, and what in them is the question."""

import re
from dataclasses import replace
from typing import Any

from interactions import Listener, MessageType
from interactions.client.errors import HTTPException

from bot.discord.context import Bot
from bot.discord.delivery import DeliveryFailed, Destination
from bot.discord.destinations import ATTACHMENT_BYTES
from bot.discord.handler_errors import report_error
from bot.discord.permissions import person_of
from bot.discord.raw_parts import RawParts
from bot.discord.rest import Unanswered
from bot.discord.threads import Threads
from bot.discord.turns import Asked
from bot.discord.uploads import Incoming
from bot.errors import BotError, Refusal
from bot.messages import plain_sentence, visible
from bot.outgoing import OutgoingMessage
from bot.people.person import Person
from interpreter import InterpreterError
from interpreter.logs import get_logger

log = get_logger(__name__)

#: Without the intent for it, Discord tells the content only of what mentions the bot itself.
_UNREADABLE = (
    "You mentioned my role, and then Discord doesn't show me what you wrote: mention me, the bot "
    "of that name."
)
_REPLIED_TO_CHARS = 4_000
_MOST_ATTACHMENTS = 20
#: What a person wrote; everything else is Discord telling what somebody did.
_WRITTEN = frozenset({MessageType.DEFAULT, MessageType.REPLY})
#: Source: Discord's documentation, "Guild Premium Tiers".
_TIER_BYTES = {2: 50 * 2**20, 3: 100 * 2**20}


def register(client: Any, bot: Bot, threads: Threads) -> None:
    """Have messages listened to."""
    listener = _Messages(client, bot, threads)
    client.add_listener(Listener.create("raw_message_create")(listener.came))
    client.add_listener(Listener.create("message_create")(listener.created))
    client.add_listener(Listener.create("message_update")(listener.updated))
    bot.buttons.on("rerun", bot.reruns.press)


class _Messages:
    def __init__(self, client: Any, bot: Bot, threads: Threads) -> None:
        self._client = client
        self._bot = bot
        self._threads = threads
        self._reruns = bot.reruns
        self._raw = RawParts()

    async def came(self, event: Any) -> None:
        """A message came, and the library hasn't told of it yet."""
        self._raw.note(event.data)

    async def created(self, event: Any) -> None:
        """A message was written somewhere."""
        message = event.message
        author = message.author
        if author is None or author.bot or message.webhook_id is not None:
            return
        if int(author.id) == int(self._client.user.id):  # other servers don't say that it's a bot
            return
        if message.type not in _WRITTEN:
            return
        replied = await self._replied_to(message)
        if not await self._is_meant(message, replied):
            return
        question = self._question(message)
        if self._is_answer(message, question):
            return
        person = self._person(message)
        destination = self._destination(message)
        try:
            await self._bot.gate.check(person)
            if not message.content and self._mentioned_role(message):
                raise Refusal(_UNREADABLE)
            await self._ask(message, replied, person, destination, question)
        except (BotError, InterpreterError) as error:
            sentence = report_error(error, where="message", metrics=self._bot.metrics)
            try:
                await self._bot.delivery.send(destination, OutgoingMessage(sentence))
            except DeliveryFailed as failure:
                log.info("refusal not delivered", reason=type(failure).__name__)

    def _is_answer(self, message: Any, words: str) -> bool:
        """Give words to the cell that waits for them; says whether one did.

        Files and what is forwarded are nothing that a cell could take: with them a message is a
        question, which waits for its turn.
        """
        if not words or self._incoming(message) or self._raw.forwarded(int(message.id)):
            return False
        return self._bot.inputs.by_words(str(message.author.id), int(message._channel_id), words)

    async def updated(self, event: Any) -> None:
        """A message was edited, or Discord added a preview to it."""
        message = event.after
        author = getattr(message, "author", None)
        if author is None or author.bot or not isinstance(message.content, str):
            return
        await self._reruns.edited(int(message.id), str(author.id), self._question(message))

    async def _ask(
        self,
        message: Any,
        replied: Any,
        person: Person,
        destination: Destination,
        question: str,
    ) -> None:
        incoming = self._incoming(message)
        forwarded = self._raw.forwarded(int(message.id))
        context = _forward_context(forwarded.content) if forwarded else ""
        if replied is not None and self._is_news(replied, person):
            files = self._incoming(replied)
            incoming += files
            context = _context(replied, self._words(replied), has_files=bool(files))
        with self._bot.turns.reserved(person.user_id):  # lest there be a thread for nothing
            thread_id = await self._thread(message, question, person)
        if thread_id is not None:
            destination = replace(destination, channel_id=thread_id, reply_to=None)
        turn = self._bot.turns.ask(
            Asked(
                person=person,
                destination=destination,
                channel_id=str(destination.channel_id),
                question=question,
                context=context,
                incoming=tuple(incoming[:_MOST_ATTACHMENTS]),
            )
        )
        self._reruns.remember(int(message.id), turn)

    def _incoming(self, message: Any) -> list[Incoming]:
        """A message's files, and those that it forwards."""
        own = [Incoming.of(a, self._raw.title(int(a.id))) for a in message.attachments]
        forwarded = self._raw.forwarded(int(message.id))
        return [*own, *(forwarded.incoming if forwarded else ())]

    def _words(self, message: Any) -> str:
        """What a message says, or forwards."""
        forwarded = self._raw.forwarded(int(message.id))
        return str(message.content or (forwarded.content if forwarded else ""))

    def _is_news(self, replied: Any, person: Person) -> bool:
        """Whether a message replied to is none of what the bot and this person said."""
        if int(replied.author.id) != int(self._client.user.id):
            return True
        return self._bot.turns.asker_of(int(replied.id)) not in (None, person.user_id)

    async def _thread(self, message: Any, question: str, person: Person) -> int | None:
        if person.guild_id is None or not await self._bot.guilds.threads(person.guild_id):
            return None
        return await self._threads.open_for(message, question)

    async def _replied_to(self, message: Any) -> Any:
        """The message that this one replies to; None if it is no reply, or that one is gone."""
        if message._referenced_message_id is None or self._raw.forwarded(int(message.id)):
            return None
        try:
            replied = await message.fetch_referenced_message()
        except (HTTPException, Unanswered):
            return None
        return replied if getattr(replied, "author", None) is not None else None

    async def _is_meant(self, message: Any, replied: Any) -> bool:
        """Whether a message is for the bot."""
        bot_id = int(self._client.user.id)
        if message._guild_id is None:
            return True
        if any(int(user_id) == bot_id for user_id in message._mention_ids):
            return True
        if _mention(bot_id).search(message.content or "") or self._mentioned_role(message):
            return True
        if replied is not None and int(replied.author.id) == bot_id and message.content:
            return True
        has_words = bool(self._words(message) or self._incoming(message))
        return has_words and await self._threads.is_of(message.channel, str(message.author.id))

    def _mentioned_role(self, message: Any) -> int | None:
        """The bot's own role, if a message mentions that: many take it for the bot."""
        if not message._mention_roles:
            return None
        mentioned = {int(role_id) for role_id in message._mention_roles}
        roles = getattr(self._client.get_guild(message._guild_id), "roles", ())
        bot_id = int(self._client.user.id)
        own = (int(role.id) for role in roles if role._bot_id and int(role._bot_id) == bot_id)
        return next((role_id for role_id in own if role_id in mentioned), None)

    def _question(self, message: Any) -> str:
        """What was asked: without the mention of the bot."""
        text = _mention(int(self._client.user.id)).sub(" ", message.content or "")
        if role_id := self._mentioned_role(message):
            text = text.replace(f"<@&{role_id}>", " ")
        return re.sub(r"[ \t]{2,}", " ", text).strip()

    def _person(self, message: Any) -> Person:
        author = message.author
        guild_id = message._guild_id
        permissions = 0
        if guild_id is not None:
            try:
                permissions = int(author.guild_permissions)
            except (AttributeError, TypeError):  # the guild isn't known yet
                permissions = 0
        return person_of(
            self._bot.settings,
            user_id=str(author.id),
            name=str(author.display_name),
            guild_id=None if guild_id is None else str(guild_id),
            role_ids=[str(role_id) for role_id in getattr(author, "_role_ids", ())],
            permissions=permissions,
        )

    def _destination(self, message: Any) -> Destination:
        guild_id = message._guild_id
        tier = getattr(self._client.get_guild(guild_id), "premium_tier", 0) if guild_id else 0
        return Destination(
            channel_id=int(message._channel_id),
            guild_id=None if guild_id is None else int(guild_id),
            reply_to=int(message.id),
            attachment_bytes=_TIER_BYTES.get(int(tier or 0), ATTACHMENT_BYTES),
            user_id=int(message.author.id),
            pings=True,
        )


def _mention(bot_id: int) -> re.Pattern[str]:
    return re.compile(rf"<@!?{bot_id}>")


def _context(replied: Any, words: str, *, has_files: bool) -> str:
    """For the model: the message that a question replies to."""
    name = plain_sentence(str(replied.author.display_name)[:50])
    if quoted := _quoted(words):
        return f"(This replies to a message by {name}:)\n{quoted}"
    if has_files:
        return ""
    return (
        f"(This replies to a message by {name} that Discord doesn't let the bot read: it would "
        "have to mention the bot, or the operator to switch on the message content intent. Files "
        "can be attached to the question itself.)"
    )


def _forward_context(words: str) -> str:
    """For the model: a message that is forwarded; Discord doesn't tell who wrote it."""
    if quoted := _quoted(words):
        return f"(A forwarded message, which somebody else may have written:)\n{quoted}"
    return ""


def _quoted(words: str) -> str:
    text = visible(words).strip()[:_REPLIED_TO_CHARS]
    return "\n".join(f"> {line}" for line in text.splitlines())
