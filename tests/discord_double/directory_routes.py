"""Routes that tell who and what there is."""

from collections.abc import Iterator
from typing import Any

from tests.discord_double import payloads
from tests.discord_double.call import Call
from tests.discord_double.errors import (
    CANNOT_DM,
    MISSING_ACCESS,
    UNKNOWN_GUILD,
    UNKNOWN_MEMBER,
    UNKNOWN_USER,
    ApiError,
)
from tests.discord_double.gateway import MAX_IDENTIFIES, Gateway
from tests.discord_double.guild import Guild
from tests.discord_double.person import Person
from tests.discord_double.world import World

_CONTENT_FLAG = 1 << 19


class DirectoryRoutes:
    """The bot itself, the gateway's address, guilds, users."""

    def __init__(self, world: World, gateway: Gateway) -> None:
        """See ``Rest``."""
        self._world = world
        self._gateway = gateway

    def routes(self) -> Iterator[tuple[str, str, Any]]:
        """Methods, templates, functions."""
        yield "GET", "/users/@me", lambda call: payloads.own_user(self._world.bot)
        yield "GET", "/oauth2/applications/@me", self._application
        yield "GET", "/applications/@me", self._application
        yield "GET", "/gateway", lambda call: {"url": self._gateway.url}
        yield "GET", "/gateway/bot", self._gateway_bot
        yield "GET", "/sticker-packs", lambda call: {"sticker_packs": []}
        yield "GET", "/users/@me/guilds", self._own_guilds
        yield "POST", "/users/@me/channels", self._open_dm
        yield "GET", "/users/{user_id}", self._user
        yield "GET", "/guilds/{guild_id}", lambda call: payloads.guild(self._guild(call))
        yield "GET", "/guilds/{guild_id}/channels", self._channels
        yield "GET", "/guilds/{guild_id}/roles", self._roles
        yield "GET", "/guilds/{guild_id}/members/{user_id}", self._member
        yield "GET", "/guilds/{guild_id}/threads/active", self._threads

    def _application(self, call: Call) -> dict[str, Any]:
        bot = self._world.bot
        return {
            "id": bot.id,
            "name": bot.name,
            "icon": None,
            "description": "",
            "summary": "",
            "bot_public": True,
            "bot_require_code_grant": False,
            "verify_key": "0" * 64,
            "flags": _CONTENT_FLAG if self._world.reads_content else 0,
            "hook": True,
            "owner": payloads.user(self._world.owner),
            "team": None,
            "integration_types_config": {"0": {}, "1": {}},
        }

    def _gateway_bot(self, call: Call) -> dict[str, Any]:
        used = len(self._gateway.identifies)
        return {
            "url": self._gateway.url,
            "shards": 1,
            "session_start_limit": {
                "total": MAX_IDENTIFIES,
                "remaining": max(0, MAX_IDENTIFIES - used),
                "reset_after": 86_400_000,
                "max_concurrency": 1,
            },
        }

    def _own_guilds(self, call: Call) -> list[dict[str, Any]]:
        guilds = [guild for guild in self._world.guilds.values() if guild.has_bot]
        return [
            {
                "id": guild.id,
                "name": guild.name,
                "icon": None,
                "banner": None,
                "owner": False,
                "permissions": str(guild.permissions(self._world.bot)),
                "features": [],
            }
            for guild in guilds
        ]

    def _open_dm(self, call: Call) -> dict[str, Any]:
        person = self._world.people.get(str(call.payload.get("recipient_id")))
        if person is None:
            raise ApiError(*UNKNOWN_USER)
        if not person.accepts_dms or person.is_bot:
            raise ApiError(*CANNOT_DM)
        return payloads.channel(self._world.dm(person))

    def _user(self, call: Call) -> dict[str, Any]:
        return payloads.user(self._person(call))

    def _channels(self, call: Call) -> list[dict[str, Any]]:
        return [payloads.channel(c) for c in self._guild(call).channels if not c.is_thread]

    def _roles(self, call: Call) -> list[dict[str, Any]]:
        return [payloads.role(role) for role in self._guild(call).roles.values()]

    def _threads(self, call: Call) -> dict[str, Any]:
        threads = [c for c in self._guild(call).channels if c.is_thread and not c.archived]
        return {"threads": [payloads.channel(c) for c in threads], "members": []}

    def _member(self, call: Call) -> dict[str, Any]:
        guild, person = self._guild(call), self._person(call)
        if not guild.has(person):
            raise ApiError(*UNKNOWN_MEMBER)
        return payloads.member(person, guild)

    def _guild(self, call: Call) -> Guild:
        guild = self._world.guilds.get(call.params["guild_id"])
        if guild is None:
            raise ApiError(*UNKNOWN_GUILD)
        if not guild.has_bot:
            raise ApiError(*MISSING_ACCESS)
        return guild

    def _person(self, call: Call) -> Person:
        person = self._world.people.get(call.params["user_id"])
        if person is None:
            raise ApiError(*UNKNOWN_USER)
        return person
