"""What becomes of a message that the bot sends: checked, then made or changed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.discord_double import message_checks
from tests.discord_double.channel import Channel
from tests.discord_double.errors import (
    MISSING_ACCESS,
    MISSING_PERMISSIONS,
    NOT_THE_AUTHOR,
    ApiError,
    Problem,
    invalid_form,
    too_large,
)
from tests.discord_double.intents import reaction_intent
from tests.discord_double.message import EPHEMERAL, IS_COMPONENTS_V2, LOADING, Attachment, Message
from tests.discord_double.permissions import bits
from tests.discord_double.uploads import Upload

if TYPE_CHECKING:
    from tests.discord_double.person import Person
    from tests.discord_double.world import World

MAX_REQUEST_BYTES = 25 << 20
NONCE_KEPT = timedelta(minutes=5)
_SETTABLE = (1 << 2) | EPHEMERAL | (1 << 12) | (1 << 13) | IS_COMPONENTS_V2
_USER, _ROLE = re.compile(r"<@!?(\d+)>"), re.compile(r"<@&(\d+)>")


@dataclass(frozen=True, slots=True)
class Sent:
    """A message as it was sent.

    Attributes:
        payload: its JSON.
        files: what came with it, by number.
        size: of the whole request, in bytes.
    """

    payload: dict[str, Any] = field(default_factory=dict)
    files: Mapping[str, Upload] = field(default_factory=dict)
    size: int = 0


def may(channel: Channel, *permissions: str) -> None:
    """Look whether the bot may do something.

    Raises:
        ApiError: it may not.
    """
    if channel.guild and not channel.guild.has_bot:
        raise ApiError(*MISSING_ACCESS)
    if not channel.app_permissions & bits("view_channel"):
        raise ApiError(*MISSING_ACCESS)
    if channel.app_permissions & bits(permissions) != bits(permissions):
        raise ApiError(*MISSING_PERMISSIONS)


def create(channel: Channel, sent: Sent, *, as_bot: bool = True) -> Message:
    """An ordinary message in a channel.

    Raises:
        ApiError: Discord doesn't take it.
    """
    world, payload = channel.world, sent.payload
    if as_bot:
        may(channel, "send_messages_in_threads" if channel.is_thread else "send_messages")
        if sent.files:
            may(channel, "attach_files")
    flags = payload.get("flags") or 0
    if flags & EPHEMERAL:
        raise invalid_form(Problem("flags", "EPHEMERAL is for answers to interactions"))
    nonce = payload.get("nonce")
    _check_nonce(nonce, payload)
    if nonce is not None and payload.get("enforce_nonce"):
        earlier = _same_nonce(channel, nonce)
        if earlier:
            return earlier
    message = new(channel, sent)
    message.nonce = nonce
    message.reply_to = _referenced(channel, payload)
    message.pings = pings(world, channel, message, payload)
    message.mentions = _mentioned(message)
    channel.add(message)
    return message


def new(channel: Channel, sent: Sent, *, ephemeral: bool = False) -> Message:
    """A message by the bot, checked, that nobody has been told of."""
    payload, world = sent.payload, channel.world
    flags = payload.get("flags") or 0
    if flags & ~_SETTABLE:
        raise invalid_form(Problem("flags", f"flags {flags & ~_SETTABLE:#x} can't be set"))
    attachments = _attachments(channel, sent, kept=[], ephemeral=ephemeral)
    _check(payload, flags, attachments)
    message = Message(world.new_id(), channel, world.bot, world.clock.now())
    message.content = payload.get("content") or ""
    message.embeds = payload.get("embeds") or []
    message.components = payload.get("components") or []
    message.flags = flags
    message.attachments = attachments
    if not (message.content or message.embeds or message.components or attachments):
        raise ApiError(400, 50006, "Cannot send an empty message", is_violation=True)
    return message


def edit(message: Message, sent: Sent) -> Message:
    """Change a message of the bot: what isn't given stays, attachments that aren't listed go.

    Raises:
        ApiError: Discord doesn't take it.
    """
    payload = sent.payload
    if not message.author.is_bot:
        raise ApiError(*NOT_THE_AUTHOR)
    flags = message.flags & ~LOADING
    if payload.get("flags") is not None:
        if flags & IS_COMPONENTS_V2 and not payload["flags"] & IS_COMPONENTS_V2:
            raise invalid_form(Problem("flags", "IS_COMPONENTS_V2 cannot be removed"))
        settable = (1 << 2) | IS_COMPONENTS_V2
        flags = (flags & ~settable) | (payload["flags"] & settable)
    kept = message.attachments
    ephemeral = message.is_ephemeral
    attachments = _attachments(message.channel, sent, kept=kept, ephemeral=ephemeral)
    _check(payload, flags, attachments)
    changes: dict[str, Any] = {"flags": flags, "attachments": attachments}
    for key, empty in (("content", ""), ("embeds", []), ("components", [])):
        if key in payload:
            changes[key] = payload[key] or empty
    now = {key: changes.get(key, getattr(message, key)) for key in ("content", "embeds")}
    components = changes.get("components", message.components)
    if not (now["content"] or now["embeds"] or components or attachments):
        raise ApiError(400, 50006, "Cannot send an empty message", is_violation=True)
    message.replace(**changes)
    message.announce("MESSAGE_UPDATE")
    return message


def pings(
    world: "World", channel: Channel, message: Message, payload: dict[str, Any]
) -> frozenset[str]:
    """Whom a message of the bot notifies, by name. Source: "Allowed Mentions Object"."""
    allowed = payload.get("allowed_mentions")
    users, roles, everyone, replied = _allowance(allowed)
    text = message.content
    names = set()
    for user_id in _USER.findall(text):
        if (users is None or user_id in users) and user_id in world.people:
            names.add(world.people[user_id].name)
    for role_id in _ROLE.findall(text):
        if (roles is None or role_id in roles) and channel.guild:
            names |= _role_members(channel, role_id)
    if everyone:
        names |= {word for word in ("@everyone", "@here") if word in text}
    if message.reply_to and replied:
        names.add(message.reply_to.author.name)
    return frozenset(names)


def add_reaction(message: Message, person: "Person", emoji: str) -> None:
    """Someone reacts; the bot is told."""
    if (emoji, person) in message.reactions:
        return
    message.reactions.append((emoji, person))
    _announce_reaction("MESSAGE_REACTION_ADD", message, person, emoji)


def remove_reaction(message: Message, person: "Person", emoji: str) -> None:
    """Someone takes a reaction back."""
    if (emoji, person) in message.reactions:
        message.reactions.remove((emoji, person))
        _announce_reaction("MESSAGE_REACTION_REMOVE", message, person, emoji)


def _announce_reaction(event: str, message: Message, person: "Person", emoji: str) -> None:
    channel = message.channel
    body = {
        "user_id": person.id,
        "channel_id": channel.id,
        "message_id": message.id,
        "emoji": {"id": None, "name": emoji},
        "burst": False,
        "type": 0,
    }
    if channel.guild:
        from tests.discord_double.payloads import member

        body["guild_id"] = channel.guild.id
        if channel.guild.has(person):
            body["member"] = member(person, channel.guild)
    channel.world.dispatch(
        event,
        lambda reads: body,
        guild_id=channel.guild.id if channel.guild else None,
        intent=reaction_intent(in_guild=channel.guild is not None),
    )
    channel.world.changed()


def _check(payload: dict[str, Any], flags: int, attachments: list[Attachment]) -> None:
    names = [attachment.filename for attachment in attachments]
    found = list(message_checks.problems(payload, flags=flags, filenames=names))
    if len(attachments) > message_checks.MAX_ATTACHMENTS:
        found.append(Problem("attachments", "Must be 10 or fewer in length."))
    if found:
        raise invalid_form(*found)


def _attachments(
    channel: Channel, sent: Sent, *, kept: list[Attachment], ephemeral: bool
) -> list[Attachment]:
    """The files that a message will have.

    Raises:
        ApiError: they are too large, or listed wrongly.
    """
    limit = channel.attachment_bytes
    if sent.size > MAX_REQUEST_BYTES or any(len(f.content) > limit for f in sent.files.values()):
        raise too_large()
    listed = sent.payload.get("attachments")
    if listed is None:
        return [*kept, *(channel.attach(f, ephemeral=ephemeral) for f in sent.files.values())]
    there = {attachment.id: attachment for attachment in kept}
    taken: list[Attachment] = []
    new_files = dict(sent.files)
    for index, item in enumerate(listed):
        key = str(item.get("id"))
        if key in there:
            taken.append(there[key])
            if "description" in item:
                there[key].alt = item["description"]
        elif key in new_files:
            file = new_files.pop(key)
            name = item.get("filename") or file.filename
            upload = Upload(name, file.content, file.content_type, item.get("description"))
            taken.append(channel.attach(upload, ephemeral=ephemeral))
        else:
            raise invalid_form(Problem(f"attachments.{index}.id", f"There is no file {key}"))
    if new_files:
        raise invalid_form(Problem("attachments", f"files {sorted(new_files)} aren't listed"))
    return taken


def _referenced(channel: Channel, payload: dict[str, Any]) -> Message | None:
    reference = payload.get("message_reference")
    if not reference:
        return None
    found = channel.find(str(reference["message_id"]))
    usable = found is not None and not found.is_ephemeral
    if usable and not channel.app_permissions & bits("read_message_history"):
        raise ApiError(400, 160002, "Cannot reply without permission to read message history")
    if usable:
        return found
    if reference.get("fail_if_not_exists", True) is False:
        return None
    problem = Problem("message_reference", "Unknown message", "REPLIES_UNKNOWN_MESSAGE")
    raise ApiError(400, 50035, "Invalid Form Body", [problem])


def _check_nonce(nonce: object, payload: dict[str, Any]) -> None:
    if isinstance(nonce, str) and len(nonce) > 25:
        raise invalid_form(Problem("nonce", "Must be 25 or fewer in length."))
    if nonce is None and payload.get("enforce_nonce"):
        raise invalid_form(Problem("enforce_nonce", "there is no nonce"))


def _same_nonce(channel: Channel, nonce: object) -> Message | None:
    since = channel.world.clock.now() - NONCE_KEPT
    return next(
        (
            m
            for m in channel.all_messages
            if m.author.is_bot
            and m.nonce is not None
            and str(m.nonce) == str(nonce)
            # Kept for a few minutes only, says the documentation.
            and m.at > since
        ),
        None,
    )


def _allowance(
    allowed: dict[str, Any] | None,
) -> tuple[set[str] | None, set[str] | None, bool, bool]:
    """Which users and roles (None: all), whether everyone, whether the one replied to."""
    if allowed is None:
        return None, None, True, True
    parse = allowed.get("parse")
    if parse is None and not any(key in allowed for key in ("users", "roles", "parse")):
        parse = ["users", "roles", "everyone"]
    parse = parse or []
    users = None if "users" in parse else {str(i) for i in allowed.get("users") or ()}
    roles = None if "roles" in parse else {str(i) for i in allowed.get("roles") or ()}
    return users, roles, "everyone" in parse, bool(allowed.get("replied_user"))


def _role_members(channel: Channel, role_id: str) -> set[str]:
    assert channel.guild is not None
    return {
        channel.world.people[user_id].name
        for user_id, membership in channel.guild.members.items()
        if any(role.id == role_id for role in membership.roles)
    }


def _mentioned(message: Message) -> "list[Person]":
    world = message.channel.world
    ids = dict.fromkeys(_USER.findall(message.content))
    people = [world.people[i] for i in ids if i in world.people]
    return [person for person in people if person.name in message.pings]
