"""Gaps: what other servers that speak Discord's protocol leave out, filled in as the library needs.

Measured with interactions.py 5.16: it drops a whole event, without a word to anybody, where a user
has no ``discriminator``, a message ``attachments`` that are null, or a role no ``color``. Nothing
that is there is changed. What Discord itself sends has none of these gaps, but for channels for
voice in interactions; a sticker, say, that looks like one gets fields that the library passes over.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

#: How deep is looked; Discord's own objects are far shallower.
_DEPTH: Final = 12
_THREADS: Final = frozenset({10, 11, 12})
_VOICES: Final = frozenset({2, 13})
_LOCALE: Final = "en-US"


def fill_event(event: str, data: dict[str, Any]) -> None:
    """Fill in what an event of the gateway lacks, in place.

    Args:
        event: its name.
        data: what it tells.
    """
    if event == "READY":
        _default(data, {"guilds": [], "session_id": ""})
    elif event in ("GUILD_CREATE", "GUILD_UPDATE"):
        _fill_guild(data)
    elif event == "INTERACTION_CREATE":
        _fill_interaction(data)
    fill(data)


def fill(value: Any, depth: int = _DEPTH) -> None:
    """Fill in what users, messages, channels and attachments lack, in place, however deep.

    Args:
        value: what came as JSON.
        depth: how deep to look.
    """
    if depth == 0:
        return
    if isinstance(value, list):
        for item in value:
            fill(item, depth - 1)
        return
    if not isinstance(value, dict):
        return
    if "channel_id" in value and "author" in value:
        _fill_message(value)
    if value.get("type") in _THREADS and ("name" in value or "thread_metadata" in value):
        _default(value, {"parent_id": None})
        _drop(value, "thread_metadata")
    # Options of commands, and what these are about, may have the same type.
    if (
        value.get("type") in _VOICES
        and "id" in value
        and "name" in value
        and "target_id" not in value
    ):
        _default(value, {"bitrate": 64_000, "user_limit": 0})
    if "joined_at" in value and "user" in value:
        _default(value, {"roles": []})
    for key, filling in _BY_KEY.items():
        _each(value.get(key), filling)
    if "username" in value:
        _fill_user(value)
    for item in list(value.values()):
        fill(item, depth - 1)


def fill_own_user(user: dict[str, Any]) -> None:
    """Fill in what the bot's own user lacks, in place."""
    _fill_user(user)
    _default(user, {"verified": True})


def fill_application(application: dict[str, Any], bot_id: str) -> None:
    """Fill in what the bot's application lacks, in place.

    Args:
        application: as it came.
        bot_id: the bot's id, which is the application's, too.
    """
    _default(application, {"id": bot_id, "name": "", "summary": "", "description": ""})
    _drop(application, "owner", "team")
    fill(application)


def _fill_user(user: dict[str, Any]) -> None:
    _default(user, {"username": str(user.get("id", "")), "discriminator": "0"})
    user.setdefault("avatar", None)
    if not str(user["discriminator"]).isdecimal():
        user["discriminator"] = "0"


def _fill_message(message: dict[str, Any]) -> None:
    # An update may well tell only a part: what isn't there mustn't become empty.
    _drop(message, "content", "attachments", "embeds", "components", "member", "mentions")
    _drop(message, "guild_id", "message_reference", "mention_roles", "interaction", "thread")
    _drop(message, "interaction_metadata", "reactions", "webhook_id", "mention_channels")
    if message.get("author") is None:
        del message["author"]
    if isinstance(message.get("member"), dict):
        _default(message["member"], {"roles": []})
    replied = message.get("referenced_message")
    if isinstance(replied, dict):
        _default(replied, {"channel_id": message["channel_id"]})


def _fill_attachment(attachment: dict[str, Any]) -> None:
    url = attachment.get("url") or attachment.get("proxy_url") or ""
    name = str(url).partition("?")[0].rpartition("/")[2]
    _default(attachment, {"url": url, "proxy_url": url, "size": 0, "filename": name or "file"})


def _fill_role(role: dict[str, Any]) -> None:
    _default(role, {"name": "", "color": 0, "position": 0, "permissions": "0"})


def _fill_guild(guild: dict[str, Any]) -> None:
    _default(guild, {"name": "", "owner_id": 0, "preferred_locale": _LOCALE})
    _default(guild, {"roles": [], "members": [], "channels": [], "threads": []})


def _fill_interaction(interaction: dict[str, Any]) -> None:
    _drop(interaction, "guild_id", "authorizing_integration_owners", "member", "message")
    _default(interaction, {"locale": _LOCALE, "entitlements": []})
    channel, member = interaction.get("channel"), interaction.get("member")
    if isinstance(channel, dict) and interaction.get("channel_id") is None:
        interaction["channel_id"] = channel.get("id")
    if isinstance(member, dict):
        if member.get("user") is None:
            member["user"] = interaction.get("user")
        _default(member, {"permissions": "0", "roles": []})
        if "guild_id" not in interaction:  # then it is as in a direct message
            interaction["user"] = interaction.pop("member")["user"]
    data = interaction.get("data")
    if isinstance(data, dict):
        _drop(data, "resolved", "options")


_BY_KEY: Final[Mapping[str, Callable[[dict[str, Any]], None]]] = {
    "author": _fill_user,
    "user": _fill_user,
    "users": _fill_user,
    "owner": _fill_user,
    "mentions": _fill_user,
    "recipients": _fill_user,
    "attachments": _fill_attachment,
    "roles": _fill_role,
}


def _each(value: Any, filling: Callable[[dict[str, Any]], None]) -> None:
    """One object, a list of them, or an object of them by their ids."""
    items: Any = [value]
    if isinstance(value, list):
        items = value
    elif isinstance(value, dict) and value and all(str(key).isdecimal() for key in value):
        items = value.values()
    for item in items:
        if isinstance(item, dict):
            filling(item)


def _default(target: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    for key, default in defaults.items():
        if target.get(key) is None:
            target[key] = default


def _drop(target: dict[str, Any], *keys: str) -> None:
    """Remove what is null, or empty where there is no such thing as empty."""
    for key in keys:
        if key in target and (target[key] is None or (key.endswith("_id") and not target[key])):
            del target[key]
