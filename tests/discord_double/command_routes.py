"""Routes that register application commands."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tests.discord_double import commands
from tests.discord_double.call import Call
from tests.discord_double.errors import (
    MISSING_ACCESS,
    UNKNOWN_COMMAND,
    ApiError,
    Problem,
    invalid_form,
)
from tests.discord_double.world import World

_ALL = "/applications/{application_id}/commands"
_GUILD = "/applications/{application_id}/guilds/{guild_id}/commands"


class CommandRoutes:
    """Commands of the application: global ones, and those of a guild."""

    def __init__(self, world: World) -> None:
        """See ``Rest``."""
        self._world = world

    def routes(self) -> Iterator[tuple[str, str, Any]]:
        """Methods, templates, functions."""
        for base in (_ALL, _GUILD):
            yield "GET", base, self._list
            yield "PUT", base, self._overwrite
            yield "POST", base, self._create
            yield "GET", base + "/{command_id}", self._get
            yield "PATCH", base + "/{command_id}", self._edit
            yield "DELETE", base + "/{command_id}", self._delete

    def _list(self, call: Call) -> list[dict[str, Any]]:
        return list(self._scope(call)[1].values())

    def _overwrite(self, call: Call) -> list[dict[str, Any]]:
        scope, there = self._scope(call)
        body = call.payload or []
        problems = list(commands.problems(body))
        if problems:
            raise invalid_form(*problems)
        by_name = {(c["type"], c["name"]): c["id"] for c in there.values()}
        keys = [(item.get("type") or commands.CHAT_INPUT, item["name"]) for item in body]
        self._count_creations(scope, sum(key not in by_name for key in keys))
        made = [
            commands.registered(self._world, scope, item, by_name.get(key))
            for key, item in zip(keys, body, strict=True)
        ]
        self._world.commands[scope] = {command["id"]: command for command in made}
        self._world.changed()
        return made

    def _create(self, call: Call) -> tuple[int, dict[str, Any]]:
        scope, there = self._scope(call)
        kind = call.payload.get("type") or commands.CHAT_INPUT
        old = next(
            (c for c in there.values() if (c["type"], c["name"]) == (kind, call.payload["name"])),
            None,
        )
        others = [c for c in there.values() if c is not old]
        problems = list(commands.command_problems(call.payload))
        same_kind = sum(c["type"] == kind for c in others)
        if kind == commands.CHAT_INPUT and same_kind >= commands.MAX_COMMANDS:
            problems.append(Problem("", "Maximum number of application commands reached"))
        if problems:
            raise invalid_form(*problems)
        self._count_creations(scope, old is None)
        made = commands.registered(self._world, scope, call.payload, old["id"] if old else None)
        there[made["id"]] = made
        self._world.changed()
        return (200 if old else 201), made

    def _get(self, call: Call) -> dict[str, Any]:
        command: dict[str, Any] = self._command(call)
        return command

    def _edit(self, call: Call) -> dict[str, Any]:
        scope, there = self._scope(call)
        old = self._command(call)
        body = old | call.payload
        problems = list(commands.command_problems(body))
        if problems:
            raise invalid_form(*problems)
        made: dict[str, Any] = commands.registered(self._world, scope, body, old["id"])
        there[made["id"]] = made
        return made

    def _delete(self, call: Call) -> None:
        del self._scope(call)[1][self._command(call)["id"]]

    def _command(self, call: Call) -> dict[str, Any]:
        found = self._scope(call)[1].get(call.params["command_id"])
        if found is None:
            raise ApiError(*UNKNOWN_COMMAND)
        return found

    def _scope(self, call: Call) -> tuple[str, dict[str, dict[str, Any]]]:
        if call.params["application_id"] != self._world.bot.id:
            raise ApiError(403, 20012, "You are not authorized to perform this action")
        scope = call.params.get("guild_id", "")
        if scope and (scope not in self._world.guilds or not self._world.guilds[scope].has_bot):
            raise ApiError(*MISSING_ACCESS)
        return scope, self._world.commands.setdefault(scope, {})

    def _count_creations(self, scope: str, number: int) -> None:
        now = self._world.clock.now()
        made = self._world.command_creations.setdefault(scope, [])
        made[:] = [at for at in made if at > now - timedelta(days=1)]
        if len(made) + number > commands.MAX_CREATIONS:
            raise ApiError(
                429,
                30034,
                "Max number of daily application command creates has been reached (200)",
                is_violation=True,
            )
        made += [now] * number
