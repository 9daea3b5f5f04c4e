"""How Discord writes things as JSON (pure)."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.discord_double.channel import Channel
    from tests.discord_double.guild import Guild, Role
    from tests.discord_double.interaction import Interaction
    from tests.discord_double.message import Attachment, Message
    from tests.discord_double.person import Person

TEXT, DM, PUBLIC_THREAD, PRIVATE_THREAD = 0, 1, 11, 12
THREADS = (PUBLIC_THREAD, PRIVATE_THREAD)


def user(person: "Person") -> dict[str, Any]:
    """A user."""
    return {
        "id": person.id,
        "username": person.name,
        "global_name": person.global_name,
        "discriminator": "0",
        "avatar": None,
        "avatar_decoration_data": None,
        "bot": person.is_bot,
        "public_flags": 0,
        "flags": 0,
        "banner": None,
        "accent_color": None,
    }


def own_user(person: "Person") -> dict[str, Any]:
    """The bot, as only the bot sees it."""
    return {**user(person), "verified": True, "mfa_enabled": True, "email": None, "locale": "en-US"}


def member(person: "Person", guild: "Guild", *, with_user: bool = True) -> dict[str, Any]:
    """A member of a guild."""
    membership = guild.membership(person)
    body: dict[str, Any] = {
        "roles": [role.id for role in membership.roles],
        "joined_at": time(membership.joined_at),
        "nick": None,
        "avatar": None,
        "banner": None,
        "premium_since": None,
        "deaf": False,
        "mute": False,
        "flags": 0,
        "pending": False,
        "communication_disabled_until": None,
    }
    if with_user:
        body["user"] = user(person)
    return body


def role(item: "Role") -> dict[str, Any]:
    """A role."""
    tags = {"tags": {"bot_id": item.bot_id}} if item.bot_id else {}
    return {
        **tags,
        "id": item.id,
        "name": item.name,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "icon": None,
        "unicode_emoji": None,
        "position": item.position,
        "permissions": str(item.permissions),
        "managed": item.bot_id is not None,
        "mentionable": item.mentionable,
        "flags": 0,
    }


def channel(item: "Channel") -> dict[str, Any]:
    """A channel of any kind."""
    last = item.messages[-1].id if item.messages else None
    body: dict[str, Any] = {"id": item.id, "type": item.kind, "last_message_id": last, "flags": 0}
    if item.guild is None:
        return {**body, "recipients": [user(person) for person in item.recipients]}
    body |= {
        "guild_id": item.guild.id,
        "name": item.name,
        "parent_id": item.parent.id if item.parent else None,
        "rate_limit_per_user": 0,
        "nsfw": False,
    }
    if item.kind in THREADS:
        return body | {
            "owner_id": item.owner.id if item.owner else None,
            "message_count": len(item.messages),
            "total_message_sent": len(item.messages),
            "member_count": 1,
            "thread_metadata": {
                "archived": item.archived,
                "archive_timestamp": time(item.at),
                "auto_archive_duration": item.auto_archive_minutes,
                "locked": item.locked,
                "create_timestamp": time(item.at),
            },
        }
    return body | {"position": 0, "permission_overwrites": [], "topic": None}


def guild(item: "Guild") -> dict[str, Any]:
    """A guild, as REST tells it."""
    return {
        "id": item.id,
        "name": item.name,
        "icon": None,
        "splash": None,
        "discovery_splash": None,
        "banner": None,
        "description": None,
        "owner_id": item.owner.id,
        "afk_channel_id": None,
        "afk_timeout": 300,
        "verification_level": 0,
        "default_message_notifications": 1,
        "explicit_content_filter": 0,
        "roles": [role(r) for r in item.roles.values()],
        "emojis": [],
        "stickers": [],
        "features": [],
        "mfa_level": 0,
        "application_id": None,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "rules_channel_id": None,
        "vanity_url_code": None,
        "premium_tier": item.boost,
        "premium_subscription_count": (0, 2, 7, 14)[item.boost],
        "preferred_locale": item.locale,
        "public_updates_channel_id": None,
        "nsfw": False,
        "nsfw_level": 0,
        "premium_progress_bar_enabled": False,
        "safety_alerts_channel_id": None,
    }


def guild_create(item: "Guild", bot: "Person") -> dict[str, Any]:
    """A guild, as the gateway tells it: of the members only the bot, as without that intent."""
    return guild(item) | {
        "joined_at": time(item.membership(bot).joined_at),
        "large": False,
        "unavailable": False,
        "member_count": len(item.members),
        "voice_states": [],
        "members": [member(bot, item)],
        "channels": [channel(c) for c in item.channels if c.kind not in THREADS],
        "threads": [channel(c) for c in item.channels if c.kind in THREADS],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def attachment(item: "Attachment", cdn_url: str, now: datetime) -> dict[str, Any]:
    """A file."""
    url = item.url(cdn_url, now)
    body: dict[str, Any] = {
        "id": item.id,
        "filename": item.filename,
        "size": item.size,
        "url": url,
        "proxy_url": url,
    }
    if item.content_type:
        body["content_type"] = item.content_type
    if item.alt:
        body["description"] = item.alt
    if item.title:
        body["title"] = item.title
    if item.ephemeral:
        body["ephemeral"] = True
    return body


def message(item: "Message", *, reads_content: bool = True, nested: bool = False) -> dict[str, Any]:
    """A message, blank where the bot may not read it.

    Source: Discord's documentation, "Message Content Intent": DMs, own messages and those that
    mention the bot are always readable; so is nothing that is merely replied to.
    """
    world = item.channel.world
    readable = (
        reads_content or item.channel.guild is None or item.author.is_bot or item.mentions_bot()
    )
    now = world.clock.now()
    body: dict[str, Any] = {
        "id": item.id,
        "channel_id": item.channel.id,
        "author": user(item.author),
        "content": item.content if readable else "",
        "timestamp": time(item.at),
        "edited_timestamp": time(item.edited_at) if item.edited_at else None,
        "tts": False,
        "mention_everyone": "@everyone" in item.pings,
        "mentions": [user(person) for person in item.mentions],
        "mention_roles": _mentioned_roles(item),
        "attachments": [attachment(a, world.cdn_url, now) for a in item.attachments]
        if readable
        else [],
        "embeds": item.embeds if readable else [],
        "components": item.components if readable else [],
        "pinned": False,
        "type": item.kind or (19 if item.reply_to else 20 if item.interaction else 0),
        "flags": item.flags,
    }
    if item.nonce is not None:
        body["nonce"] = item.nonce
    if item.reactions:
        body["reactions"] = _reactions(item)
    if item.reply_to:
        body["message_reference"] = _reference(item.reply_to, kind=0)
        if not nested:
            body["referenced_message"] = (
                None
                if item.reply_to.deleted
                else message(item.reply_to, reads_content=reads_content, nested=True)
            )
    if item.forwarded:
        body["message_reference"] = _reference(item.forwarded, kind=1)
        body["message_snapshots"] = [{"message": _snapshot(item.forwarded, readable=readable)}]
    if item.interaction:
        body["application_id"] = world.bot.id
        body["webhook_id"] = world.bot.id
        body["interaction_metadata"] = interaction_metadata(item.interaction)
    if item.thread:
        body["thread"] = channel(item.thread)
    return body


def _reference(item: "Message", *, kind: int) -> dict[str, Any]:
    """To a message that another one replies to (0) or forwards (1)."""
    body = {"type": kind, "message_id": item.id, "channel_id": item.channel.id}
    if item.channel.guild:
        body["guild_id"] = item.channel.guild.id
    return body


def _snapshot(item: "Message", *, readable: bool) -> dict[str, Any]:
    """A forwarded message as it stands in the one that forwards it: by whom it is isn't told.

    Source: Discord's documentation, "Message Snapshot Structure".
    """
    whole = message(item)
    told = ("type", "timestamp", "edited_timestamp", "flags", "mentions", "mention_roles")
    shown = ("content", "attachments", "embeds", "components")
    blank = {name: type(whole[name])() for name in shown}
    return {name: whole[name] for name in told} | (
        {name: whole[name] for name in shown} if readable else blank
    )


def _mentioned_roles(item: "Message") -> list[str]:
    """Told also where the content is blank; whom a role mentions may not be told by it."""
    roles = item.channel.guild.roles if item.channel.guild else {}
    return [role_id for role_id in roles if f"<@&{role_id}>" in item.content]


def message_event(item: "Message", *, reads_content: bool) -> dict[str, Any]:
    """A message, as the gateway tells it."""
    body = message(item, reads_content=reads_content)
    if item.channel.guild:
        body["guild_id"] = item.channel.guild.id
        if item.channel.guild.has(item.author):
            body["member"] = member(item.author, item.channel.guild, with_user=False)
        for mentioned, person in zip(body["mentions"], item.mentions, strict=True):
            if item.channel.guild.has(person):
                mentioned["member"] = member(person, item.channel.guild, with_user=False)
    return body


def interaction_metadata(item: "Interaction") -> dict[str, Any]:
    """What a message tells of the interaction that it answers."""
    body: dict[str, Any] = {
        "id": item.id,
        "type": item.kind,
        "user": user(item.person),
        "authorizing_integration_owners": item.owners,
    }
    if item.message:
        body["interacted_message_id"] = item.message.id
    if item.opened_by:
        body["triggering_interaction_metadata"] = interaction_metadata(item.opened_by)
    return body


def _reactions(item: "Message") -> list[dict[str, Any]]:
    counts: dict[str, list[Person]] = {}
    for emoji, person in item.reactions:
        counts.setdefault(emoji, []).append(person)
    return [
        {
            "emoji": {"id": None, "name": emoji},
            "count": len(people),
            "count_details": {"burst": 0, "normal": len(people)},
            "me": any(person.is_bot for person in people),
            "me_burst": False,
            "burst_colors": [],
        }
        for emoji, people in counts.items()
    ]


def time(at: datetime) -> str:
    """A time as Discord writes it."""
    return at.isoformat(timespec="microseconds")
