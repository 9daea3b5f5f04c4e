"""Application commands: what may be registered, and how people use what is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.discord_double import payloads
from tests.discord_double.errors import Problem
from tests.discord_double.permissions import bits

if TYPE_CHECKING:
    from tests.discord_double.channel import Channel
    from tests.discord_double.person import Person
    from tests.discord_double.world import World

CHAT_INPUT = 1
SUBCOMMAND, GROUP, STRING, INTEGER, BOOLEAN, USER, NUMBER, ATTACHMENT = 1, 2, 3, 4, 5, 6, 10, 11
MAX_COMMANDS, MAX_OPTIONS, MAX_CHOICES, MAX_CHARACTERS, MAX_CREATIONS = 100, 25, 25, 8000, 200
_NAME = re.compile(r"[-_'\w\u0900-\u097f\u0e00-\u0e7f]{1,32}")


@dataclass(frozen=True, slots=True)
class Found:
    """A command, or subcommand, that a person can use.

    Attributes:
        root: as registered.
        path: the options that lead to the subcommand.
        options: what can be filled in.
    """

    root: dict[str, Any]
    path: tuple[dict[str, Any], ...]
    options: tuple[dict[str, Any], ...]

    def data(self, values: list[dict[str, Any]]) -> dict[str, Any]:
        """An interaction's data."""
        for step in reversed(self.path):
            values = [{"name": step["name"], "type": step["type"], "options": values}]
        data = {"id": self.root["id"], "name": self.root["name"], "type": self.root["type"]}
        if self.root.get("guild_id"):
            data["guild_id"] = self.root["guild_id"]
        return data | {"options": values}


def problems(body: list[dict[str, Any]]) -> Iterator[Problem]:
    """What is wrong with commands to be registered. Source: "Application Commands"."""
    names = [(command.get("type") or CHAT_INPUT, command.get("name")) for command in body]
    if len(set(names)) < len(names):
        yield Problem("", "Application command names must be unique", "DUPLICATE_NAMES")
    if sum(kind == CHAT_INPUT for kind, _ in names) > MAX_COMMANDS:
        yield Problem("", f"Maximum number of application commands reached ({MAX_COMMANDS})")
    for index, command in enumerate(body):
        for problem in command_problems(command):
            yield Problem(f"{index}.{problem.path}".rstrip("."), problem.message, problem.code)


def command_problems(command: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong with one command."""
    kind = command.get("type") or CHAT_INPUT
    name, description = command.get("name") or "", command.get("description") or ""
    if kind != CHAT_INPUT:
        if description:
            yield Problem("description", "Context menu commands cannot have description")
        if not 1 <= len(name) <= 32:
            yield Problem("name", "Must be between 1 and 32 in length.")
        return
    yield from _name_problems("", name)
    yield from _description_problems("", description)
    yield from _option_problems("", command.get("options") or [], depth=0)
    if characters(command) > MAX_CHARACTERS:
        yield Problem(
            "",
            f"Command exceeds maximum size of {MAX_CHARACTERS}",
            "APPLICATION_COMMAND_TOO_LARGE",
        )


def characters(command: dict[str, Any]) -> int:
    """The characters of names, descriptions and values together, the longest translation each."""
    total = 0
    for key in ("name", "description"):
        texts = [command.get(key) or "", *(command.get(f"{key}_localizations") or {}).values()]
        total += max(map(len, texts))
    if isinstance(command.get("value"), str):
        total += len(command["value"])
    for item in [*(command.get("options") or ()), *(command.get("choices") or ())]:
        total += characters(item)
    return total


def _name_problems(path: str, name: str) -> Iterator[Problem]:
    if not _NAME.fullmatch(name) or name != name.lower():
        yield Problem(
            f"{path}name",
            "Command name is invalid: 1 to 32 lower-case characters without blanks",
            "APPLICATION_COMMAND_INVALID_NAME",
        )


def _description_problems(path: str, description: str) -> Iterator[Problem]:
    if not 1 <= len(description) <= 100:
        yield Problem(
            f"{path}description", "Must be between 1 and 100 in length.", "BASE_TYPE_BAD_LENGTH"
        )


def _option_problems(path: str, options: list[dict[str, Any]], *, depth: int) -> Iterator[Problem]:
    if len(options) > MAX_OPTIONS:
        yield Problem(f"{path}options", f"Must be {MAX_OPTIONS} or fewer in length.")
    names = [option.get("name") for option in options]
    if len(set(names)) < len(names):
        yield Problem(f"{path}options", "Option names must be unique", "DUPLICATE_NAMES")
    nested = [option.get("type") in (SUBCOMMAND, GROUP) for option in options]
    if any(nested) and not all(nested):
        yield Problem(f"{path}options", "Sub-command and sub-command group options are exclusive")
    optional_seen = False
    for index, option in enumerate(options):
        here = f"{path}options.{index}."
        yield from _name_problems(here, option.get("name") or "")
        yield from _description_problems(here, option.get("description") or "")
        kind = option.get("type")
        if kind in (SUBCOMMAND, GROUP):
            if (kind == GROUP and depth > 0) or depth > 1:
                yield Problem(f"{here}type", "Sub-commands are nested too deep")
            if kind == GROUP and not option.get("options"):
                yield Problem(f"{here}options", "This field is required", "BASE_TYPE_REQUIRED")
            yield from _option_problems(here, option.get("options") or [], depth=depth + 1)
            continue
        if option.get("required") and optional_seen:
            yield Problem(
                here.rstrip("."),
                "Required options must be placed before non-required options",
                "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
            )
        optional_seen = optional_seen or not option.get("required")
        yield from _choice_problems(here, option)


def _choice_problems(path: str, option: dict[str, Any]) -> Iterator[Problem]:
    choices = option.get("choices") or []
    if choices and option.get("autocomplete"):
        yield Problem(f"{path}choices", "Cannot have both choices and autocomplete")
    if len(choices) > MAX_CHOICES:
        yield Problem(f"{path}choices", f"Must be {MAX_CHOICES} or fewer in length.")
    if option.get("autocomplete") and option.get("type") not in (STRING, INTEGER, NUMBER):
        yield Problem(f"{path}autocomplete", "Not for this type of option")
    for key in ("name", "value"):
        values = [choice.get(key) for choice in choices]
        if len(set(values)) < len(values):
            yield Problem(f"{path}choices", f"Choice {key}s must be unique", "DUPLICATE_CHOICES")
    for index, choice in enumerate(choices):
        yield from autocomplete_problems(f"{path}choices.{index}.", choice)


def autocomplete_problems(path: str, choice: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong with a choice, offered or registered."""
    if not 1 <= len(str(choice.get("name") or "")) <= 100:
        yield Problem(f"{path}name", "Must be between 1 and 100 in length.", "BASE_TYPE_BAD_LENGTH")
    value = choice.get("value")
    if isinstance(value, str) and len(value) > 100:
        yield Problem(f"{path}value", "Must be 100 or fewer in length.", "BASE_TYPE_MAX_LENGTH")


def registered(world: "World", scope: str, body: dict[str, Any], old_id: str | None) -> Any:
    """A command as Discord gives it back."""
    command: dict[str, Any] = {
        "id": old_id or world.new_id(),
        "application_id": world.bot.id,
        "version": world.new_id(),
        "type": body.get("type") or CHAT_INPUT,
        "name": body["name"],
        "name_localizations": body.get("name_localizations"),
        "description": body.get("description") or "",
        "description_localizations": body.get("description_localizations"),
        "default_member_permissions": _text(body.get("default_member_permissions")),
        "nsfw": bool(body.get("nsfw")),
    }
    if body.get("options"):
        command["options"] = body["options"]
    if scope:
        command["guild_id"] = scope
    else:
        command["dm_permission"] = body.get("dm_permission") is not False
        command["contexts"] = body.get("contexts")
        command["integration_types"] = body.get("integration_types") or [0]
    return command


def find(world: "World", person: "Person", channel: "Channel", name: str) -> Found:
    """The command that a person means.

    Raises:
        AssertionError: there is none, or this person can't use it there.
    """
    first, *rest = name.split()
    scopes = [channel.guild.id if channel.guild else "", ""]
    every = [c for scope in scopes for c in world.commands.get(scope, {}).values()]
    command = next((c for c in every if c["name"] == first and c["type"] == CHAT_INPUT), None)
    known = sorted(c["name"] for c in every)
    assert command is not None, f"there is no /{first}, only {known}"
    _assert_usable(command, person, channel)
    path: list[dict[str, Any]] = []
    options = command.get("options", [])
    for step in rest:
        found = next((o for o in options if o["name"] == step and o["type"] in (1, 2)), None)
        assert found is not None, f"/{name}: there is no {step!r}"
        path.append(found)
        options = found.get("options") or []
    assert not any(o["type"] in (SUBCOMMAND, GROUP) for o in options), (
        f"/{name} has subcommands: {[o['name'] for o in options]}"
    )
    return Found(command, tuple(path), tuple(options))


def _assert_usable(command: dict[str, Any], person: "Person", channel: "Channel") -> None:
    name = command["name"]
    kinds = command.get("integration_types") or [0]
    for_all = channel.guild is None or channel.guild.has_bot
    assert (0 in kinds and for_all) or (1 in kinds and (person.has_installed or not for_all)), (
        f"/{name} isn't installed there for {person.name}"
    )
    context = 0 if channel.guild else 1
    contexts = command.get("contexts")
    allowed = context in contexts if contexts else command.get("dm_permission", True) or not context
    assert allowed, f"/{name} can't be used in context {context}"
    needed = command.get("default_member_permissions")
    if needed is not None and channel.guild:
        own = channel.guild.permissions(person)
        admin = own & bits("administrator")
        enough = own & int(needed) == int(needed) and int(needed) != 0
        assert admin or enough, f"/{name} isn't shown to {person.name}"


def fill(
    world: "World",
    channel: "Channel",
    option: dict[str, Any],
    value: Any,
    resolved: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """An option with its value as the gateway tells it; what it stands for goes to ``resolved``."""
    from tests.discord_double.person import as_upload

    kind, name = option["type"], option["name"]
    if kind == ATTACHMENT:
        attachment = channel.attach(as_upload(value), ephemeral=True)
        now = world.clock.now()
        body = payloads.attachment(attachment, world.cdn_url, now)
        resolved.setdefault("attachments", {})[attachment.id] = body
        value = attachment.id
    elif kind == USER:
        resolved.setdefault("users", {})[value.id] = payloads.user(value)
        if channel.guild and channel.guild.has(value):
            member = payloads.member(value, channel.guild, with_user=False)
            member["permissions"] = str(channel.guild.permissions(value))
            resolved.setdefault("members", {})[value.id] = member
        value = value.id
    elif kind == 8:
        resolved.setdefault("roles", {})[value.id] = payloads.role(value)
        value = value.id
    elif kind == 7:
        resolved.setdefault("channels", {})[value.id] = payloads.channel(value)
        value = value.id
    else:
        _assert_value(option, value)
    return {"name": name, "type": kind, "value": value}


def _assert_value(option: dict[str, Any], value: Any) -> None:
    kinds: dict[int, Any] = {STRING: str, INTEGER: int, BOOLEAN: bool, NUMBER: (int, float)}
    name = option["name"]
    assert isinstance(value, kinds[option["type"]]), f"{name} can't be {value!r}"
    if option.get("choices"):
        values = [choice["value"] for choice in option["choices"]]
        assert value in values, f"{name} is one of {values}"
    if isinstance(value, str):
        low, high = option.get("min_length") or 0, option.get("max_length") or 6000
        assert low <= len(value) <= high, f"{name} has {low} to {high} characters"
    elif not isinstance(value, bool):
        low, high = option.get("min_value"), option.get("max_value")
        assert low is None or value >= low, f"{name} is at least {low}"
        assert high is None or value <= high, f"{name} is at most {high}"


def _text(permissions: object) -> str | None:
    return None if permissions is None else str(permissions)
