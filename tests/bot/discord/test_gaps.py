"""Gaps and addresses: what other servers leave out, and where they are."""

from copy import deepcopy
from typing import Any

import pytest
from interactions import Application, ClientUser
from pydantic import SecretStr

from bot.discord.addresses import api_addresses, file_address, gateway_address, is_of_server
from bot.discord.client import make_client
from bot.discord.contexts import CONTEXTS
from bot.discord.gaps import fill_application, fill_event, fill_own_user
from bot.discord.identifies import IDENTIFY_LIMITS, Identifies
from bot.settings import BotSettings

_GUILD_ID, _CHANNEL_ID = "333333333333333333", "444444444444444444"
_USER = {"id": "111111111111111111", "username": "anna", "discriminator": "0", "avatar": None}
_MEMBER = {"user": _USER, "roles": [_GUILD_ID], "joined_at": "2024-01-01T00:00:00+00:00"}
_MEMBER |= {"permissions": "8"}
_CHANNEL = {"id": _CHANNEL_ID, "type": 0, "guild_id": _GUILD_ID, "name": "data"}
_ROLE = {"id": _GUILD_ID, "name": "all", "color": 0, "position": 0, "permissions": "8"}
_GUILD = {
    "id": _GUILD_ID,
    "name": "lab",
    "owner_id": _USER["id"],
    "roles": [_ROLE],
    "members": [_MEMBER],
    "channels": [
        _CHANNEL,
        {"id": "464444444444444444", "type": 2, "name": "voice", "bitrate": 8000, "user_limit": 0},
        {"id": "474444444444444444", "type": 13, "name": "stage", "bitrate": 8000, "user_limit": 9},
    ],
    "threads": [{"id": "454444444444444444", "type": 11, "name": "t", "parent_id": _CHANNEL_ID}],
    "preferred_locale": "en-US",
    "premium_tier": 0,
}
_FILE = {"id": "555", "filename": "a.csv", "size": 3, "url": "/a/a.csv", "proxy_url": "/a/a.csv"}
_MESSAGE: dict[str, Any] = {
    "id": "666666666666666666",
    "channel_id": _CHANNEL_ID,
    "guild_id": _GUILD_ID,
    "author": _USER,
    "member": {"roles": [_GUILD_ID]},
    "content": "hello",
    "timestamp": "2024-01-01T00:00:00+00:00",
    "edited_timestamp": None,
    "mentions": [_USER],
    "mention_roles": [],
    "attachments": [_FILE],
    "embeds": [],
    "components": [],
    "type": 0,
}
_REPLY = _MESSAGE | {"id": "677777777777777777", "referenced_message": _MESSAGE}
_COMMAND: dict[str, Any] = {
    "id": "888888888888888888",
    "application_id": "999999999999999999",
    "type": 2,
    "token": "t",
    "data": {
        "id": "999999999999999991",
        "name": "run",
        "type": 1,
        "options": [{"name": "code", "type": 3, "value": "1"}],
        "resolved": {"attachments": {"555": _FILE}, "users": {_USER["id"]: _USER}},
    },
    "guild_id": _GUILD_ID,
    "channel_id": _CHANNEL_ID,
    "channel": _CHANNEL,
    "member": _MEMBER,
    "user": _USER,
    "locale": "en-US",
    "entitlements": [],
    "authorizing_integration_owners": {"0": _GUILD_ID},
}
_BUTTON = _COMMAND | {
    "type": 3,
    "data": {"custom_id": "x", "component_type": 2},
    "message": _MESSAGE,
}
#: What nothing can stand in for.
_NEEDED = {"id", "type", "token", "data", "custom_id", "component_type", "channel_id"}

_EVENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "guild": ("GUILD_CREATE", _GUILD),
    "message": ("MESSAGE_CREATE", _REPLY),
    "command": ("INTERACTION_CREATE", _COMMAND),
    "button": ("INTERACTION_CREATE", _BUTTON),
}


def _client() -> Any:
    settings = BotSettings(discord_token=SecretStr("a.b.c"))
    client = make_client(settings, identifies=Identifies(IDENTIFY_LIMITS), contexts=CONTEXTS)
    client._user = ClientUser.from_dict(deepcopy(_USER) | {"verified": True}, client)
    return client


def _read(name: str, data: dict[str, Any]) -> None:
    """Have the library read an event, as it comes from the gateway."""
    client = _client()
    event, _ = _EVENTS[name]
    fill_event(event, data)
    if name == "guild":
        client.cache.place_guild_data(data)
    elif name == "message":
        client.cache.place_message_data(data)
    elif name == "command":
        CONTEXTS["slash_context"].from_dict(client, data)  # type: ignore[attr-defined]  # library's
    else:
        CONTEXTS["component_context"].from_dict(client, data)  # type: ignore[attr-defined]


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in pairs:
        if isinstance(key, str):
            found.append((*place, key))
        if isinstance(item, dict | list):
            found += _places(item, (*place, key))
    return found


def _without(data: dict[str, Any], place: tuple[Any, ...], *, null: bool) -> dict[str, Any]:
    changed: Any = deepcopy(data)
    at = changed
    for key in place[:-1]:
        at = at[key]
    if null:
        at[place[-1]] = None
    else:
        del at[place[-1]]
    return dict(changed)


@pytest.mark.parametrize("null", [False, True], ids=["missing", "null"])
@pytest.mark.parametrize("name", _EVENTS)
async def test_event_is_read_whatever_field_it_lacks(name: str, null: bool) -> None:
    data = _EVENTS[name][1]
    for place in _places(data):
        # Parts of an object that says who or what it is about, and names of options.
        if place[-1] in _NEEDED or str(place[-1]).isdecimal() or place[-2:-1] == (0,):
            continue
        if place[:2] == ("data", "name") or place == ("data", "options"):
            continue
        try:
            _read(name, _without(data, place, null=null))
        except Exception as error:
            pytest.fail(f"without {place}: {error!r}")


@pytest.mark.parametrize("missing", ["username", "discriminator", "avatar", "verified"])
async def test_own_user_is_read_whatever_it_lacks(missing: str) -> None:
    user = {**_USER, "verified": True}
    del user[missing]
    fill_own_user(user)
    assert ClientUser.from_dict(user, _client()).verified


async def test_application_that_says_nothing_is_the_bot() -> None:
    said: dict[str, Any] = {"owner": None}
    fill_application(said, "111111111111111111")
    assert Application.from_dict(said, _client()).id == 111111111111111111


async def test_update_that_tells_a_part_stays_a_part() -> None:
    part = {"id": "1", "channel_id": "2", "author": dict(_USER)}
    fill_event("MESSAGE_UPDATE", part)
    assert part.keys() == {"id", "channel_id", "author"}


async def test_what_discord_sends_stays_as_it_is() -> None:
    for event, data in _EVENTS.values():
        filled = deepcopy(data)
        fill_event(event, filled)
        assert filled == data


@pytest.mark.parametrize(
    ("told", "tried"),
    [
        ("https://discord.com/api/v10", ["https://discord.com/api/v10"]),
        ("http://h:1/api/v9/", ["http://h:1/api/v9"]),
        ("http://h:1/api", ["http://h:1/api/v10", "http://h:1/api"]),
        ("http://h:1/", ["http://h:1/api/v10", "http://h:1/v10", "http://h:1"]),
    ],
)
def test_address_without_version_is_tried_with_it(told: str, tried: list[str]) -> None:
    assert [*api_addresses(told)] == tried


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("wss://g.gg", "wss://g.gg/?encoding=json&v=10&compress=zlib-stream"),
        ("ws://h:1/gateway", "ws://h:1/gateway?encoding=json&v=10&compress=zlib-stream"),
        ("ws://h/?v=9&key=a", "ws://h/?v=10&key=a&encoding=json&compress=zlib-stream"),
    ],
)
def test_gateway_keeps_its_query(given: str, expected: str) -> None:
    assert gateway_address(given) == expected


@pytest.mark.parametrize(
    ("url", "api_url", "cdn_url", "is_its"),
    [
        ("http://h:1/a.csv", "http://h:1/api", None, True),
        ("http://h:2/a.csv", "http://h:1/api", None, True),
        ("/a.csv", "http://h:1/api", None, True),
        ("http://h:2/a.csv", "http://h:1/api", "http://c:1", False),
        ("http://h:1/a.csv", "http://h:1/api", "http://c:1", True),
        ("http://c:1/a.csv", None, "http://c:1", True),
        ("http://c:2/a.csv", None, "http://c:1", False),
        ("http://other/a.csv", "http://h:1/api", None, False),
        ("http://x@h:2/a.csv", "http://h:1/api", None, False),
        ("//other/a.csv", "http://h:1/api", None, False),
        ("file:///h/a.csv", "http://h:1/api", None, False),
        ("http://[/a", "http://h:1/api", None, False),
        ("http://h:1/a.csv", None, None, False),
    ],
)
def test_files_come_from_the_named_server_only(
    url: str, api_url: str | None, cdn_url: str | None, is_its: bool
) -> None:
    whole = file_address(url, api_url=api_url, cdn_url=cdn_url)
    assert is_of_server(whole, api_url=api_url, cdn_url=cdn_url) is is_its
