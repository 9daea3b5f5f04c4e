"""/admin: live kernels, limits, who is blocked, what was done. Every action is written down first.

An operator's admins (ADMIN_USERS, ADMIN_ROLES) see and touch everything. A guild's administrators
see and touch the kernels of people who used the bot in that guild lately, and nothing else.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from interactions import (
    OptionType,
    Permissions,
    SlashCommand,
    SlashCommandChoice,
    SlashCommandOption,
)

from bot.discord.answering import deliver, replace_origin, say
from bot.discord.commands.common import WITH_THE_BOT, admitted
from bot.discord.commands.kernel import variables_text
from bot.discord.context import Bot
from bot.discord.curves import resource_curve
from bot.discord.custom_ids import CustomId
from bot.discord.pages import page_of
from bot.discord.permissions import require_admin, require_operator
from bot.discord.words import age, moment
from bot.errors import Refusal
from bot.messages import code_block, plain_sentence
from bot.outgoing import Attachment, Button, OutgoingMessage
from bot.people.limit_rules import LimitRule, Target
from bot.people.person import Person
from bot.sizes import size_text
from interpreter import KernelInfo, Session

_ON_A_PAGE = 12
_SORTS = ("age", "idle", "memory", "cpu", "cells", "running")
_MIB = 1 << 20
_MOST_CHOICES = 25


def register(client: Any, bot: Bot) -> None:
    """Register the commands and their buttons."""
    admin = SlashCommand(
        name="admin",
        description="For admins",
        default_member_permissions=Permissions.ADMINISTRATOR,
        **WITH_THE_BOT,
    )
    commands = [
        *_kernels(admin, bot),
        *_kernel(admin, bot),
        *_limits(admin, bot),
        *_blocks(admin, bot),
        *_figures(admin, bot),
    ]
    for command in commands:
        client.add_interaction(command)


def _user(description: str, *, required: bool = True) -> SlashCommandOption:
    return SlashCommandOption(
        name="user", description=description, type=OptionType.USER, required=required
    )


def _id(value: Any) -> str:
    """The id of a user or role, which the library gives as an object where it knows it."""
    return str(getattr(value, "id", value))


async def _admin(ctx: Any, bot: Bot) -> Person:
    person = await admitted(ctx, bot)
    require_admin(person)
    return person


async def _operator(ctx: Any, bot: Bot) -> Person:
    person = await admitted(ctx, bot)
    require_operator(person)
    return person


async def _may_touch(bot: Bot, person: Person, user_id: str) -> bool:
    """Whether an admin may see and touch a user's kernel."""
    if person.is_operator:
        return True
    if not person.administers or person.guild_id is None:
        return False
    return await bot.activity.was_in(person.guild_id, user_id)


async def _session(bot: Bot, person: Person, user_id: str) -> Session:
    """The session of a user with a live kernel.

    Raises:
        Refusal: there is none, or it is none of this admin's business: both read the same.
    """
    session = bot.service.find_session(user_id)
    if session is None or not session.live or not await _may_touch(bot, person, user_id):
        raise Refusal("That user has no live kernel here; /admin kernels lists those there are.")
    return session


# -- /admin kernels ----------------------------------------------------------------------------


def _kernels(admin: SlashCommand, bot: Bot) -> Sequence[Any]:
    @admin.subcommand(
        sub_cmd_name="kernels",
        sub_cmd_description="The kernels that live now",
        options=[
            SlashCommandOption(
                name="sort",
                description="Which come first",
                type=OptionType.STRING,
                required=False,
                choices=[SlashCommandChoice(name=name, value=name) for name in _SORTS],
            )
        ],
    )
    async def kernels(ctx: Any, sort: str = "age") -> None:
        await ctx.defer(ephemeral=True)
        person = await _admin(ctx, bot)
        await bot.audit.write(person.user_id, "kernels", guild_id=person.guild_id)
        text, buttons = await _listed(bot, person, sort, 0)
        await say(ctx, text, buttons=buttons)

    async def turn_page(ctx: Any, pressed: CustomId, person: Person) -> None:
        require_admin(person)
        sort, _, number = pressed.ref.partition(".")
        if sort not in _SORTS or not number.isdecimal():
            raise Refusal("That page isn't there; /admin kernels shows them anew.")
        text, buttons = await _listed(bot, person, sort, int(number))
        await replace_origin(ctx, text, buttons=buttons)

    bot.buttons.on("kernels", turn_page)
    return [kernels]


async def _listed(bot: Bot, person: Person, sort: str, number: int) -> tuple[str, Sequence[Button]]:
    infos = [i for i in bot.service.kernels() if await _may_touch(bot, person, i.user_id)]
    infos.sort(key=lambda info: _sort_key(info, sort), reverse=True)
    page = page_of(kernel_lines(infos), number, size=_ON_A_PAGE)
    if not infos:
        return "No kernel lives just now.", ()
    heading = f"{len(infos)} live kernel{'s' * (len(infos) != 1)}, by {sort}:"
    table = code_block("\n".join([_HEADING, *page.lines]), "")
    text = "\n".join([heading, table, *([page.footer] if page.footer else [])])
    return text, page.buttons("kernels", person.user_id, ref=sort)


_HEADING = (
    f"{'user':<20}  {'age':<9} {'idle':<9} {'state':<10} {'memory':>9} {'cpu':>5} {'cells':>5}"
)


def _sort_key(info: KernelInfo, sort: str) -> float:
    now = datetime.now(UTC)
    values: dict[str, float | None] = {
        "age": (now - info.started_at).total_seconds(),
        "idle": 0.0 if info.state == "busy" else (now - info.last_active_at).total_seconds(),
        "memory": info.memory_bytes,
        "cpu": info.cpu_percent,
        "cells": info.cells,
        "running": info.cell_running_s,
    }
    return values[sort] or 0.0


def kernel_lines(infos: Sequence[KernelInfo]) -> list[str]:
    """One line for each kernel, aligned with the heading."""
    lines = []
    for info in infos:
        running = "" if info.cell_running_s is None else f" {info.cell_running_s:.0f}s"
        idle = "-" if info.state == "busy" else age(info.last_active_at)
        memory = "?" if info.memory_bytes is None else size_text(info.memory_bytes)
        cpu = "?" if info.cpu_percent is None else f"{info.cpu_percent:.0f}%"
        lines.append(
            f"{info.user_id[:20]:<20}  {age(info.started_at):<9} {idle:<9} "
            f"{info.state + running:<10} {memory:>9} {cpu:>5} {info.cells:>5}"
        )
    return lines


# -- /admin kernel ... -------------------------------------------------------------------------


def _kernel(admin: SlashCommand, bot: Bot) -> Sequence[Any]:
    group = admin.group(name="kernel", description="One user's kernel")

    @group.subcommand(
        sub_cmd_name="inspect",
        sub_cmd_description="What a kernel holds and uses",
        options=[
            _user("Whose"),
            SlashCommandOption(
                name="contents",
                description="Show what the variables hold, too; this is written into the audit log",
                type=OptionType.BOOLEAN,
                required=False,
            ),
        ],
    )
    async def inspect(ctx: Any, user: Any, contents: bool = False) -> None:
        await ctx.defer(ephemeral=True)
        person = await _admin(ctx, bot)
        user_id = _id(user)
        session = await _session(bot, person, user_id)
        action = "kernel inspect with contents" if contents else "kernel inspect"
        await bot.audit.write(person.user_id, action, user_id, guild_id=person.guild_id)
        await deliver(ctx, bot.delivery, [await _inspection(session, with_contents=contents)])

    @group.subcommand(
        sub_cmd_name="interrupt",
        sub_cmd_description="Stop what a kernel is running; variables stay",
        options=[_user("Whose")],
    )
    async def interrupt(ctx: Any, user: Any) -> None:
        session, user_id = await _begin(ctx, user, "kernel interrupt")
        was = await session.interrupt()
        await say(
            ctx,
            f"<@{user_id}>'s cell is stopped." if was else "Nothing was running in that kernel.",
        )

    @group.subcommand(
        sub_cmd_name="restart",
        sub_cmd_description="Give a user a clean kernel; their variables go",
        options=[_user("Whose")],
    )
    async def restart(ctx: Any, user: Any) -> None:
        session, user_id = await _begin(ctx, user, "kernel restart")
        await session.restart()
        await say(ctx, f"<@{user_id}> has a clean kernel now.")

    @group.subcommand(
        sub_cmd_name="shutdown",
        sub_cmd_description="End a user's kernel; the next question starts one",
        options=[_user("Whose")],
    )
    async def shutdown(ctx: Any, user: Any) -> None:
        session, user_id = await _begin(ctx, user, "kernel shutdown")
        await session.close()
        await say(ctx, f"<@{user_id}>'s kernel is ended; their files are still there.")

    async def _begin(ctx: Any, user: Any, action: str) -> tuple[Session, str]:
        await ctx.defer(ephemeral=True)
        person = await _admin(ctx, bot)
        user_id = _id(user)
        session = await _session(bot, person, user_id)
        await bot.audit.write(person.user_id, action, user_id, guild_id=person.guild_id)
        return session, user_id

    return [inspect, interrupt, restart, shutdown]


async def _inspection(session: Session, *, with_contents: bool) -> OutgoingMessage:
    info = session.info()
    variables = await session.variables()
    lines = [f"Kernel of <@{session.user_id}>"]
    if info is not None:
        memory = "" if info.memory_bytes is None else f", {size_text(info.memory_bytes)}"
        lines.append(
            f"{info.state}, {age(info.started_at)} old, {info.cells} cells{memory}"
            + (f", last error {plain_sentence(info.last_error)}" if info.last_error else "")
        )
    if variables:
        table = variables_text(variables, with_contents=with_contents, limit=1700)
        lines.append(f"{len(variables)} variables:\n{table}")
    else:
        lines.append("No variables.")
    curve = resource_curve(session.resource_history())
    attachments: tuple[Attachment, ...] = ()
    if curve is not None:
        alt = "Memory and processor time of the kernel over the last minutes"
        attachments = (Attachment("kernel.png", curve, len(curve), alt),)
    return OutgoingMessage("\n".join(lines), attachments)


# -- /admin limits ... -------------------------------------------------------------------------


def _limits(admin: SlashCommand, bot: Bot) -> Sequence[Any]:
    group = admin.group(name="limits", description="Limits of single users and roles")

    def whose() -> list[Any]:
        return [
            _user("Of this user", required=False),
            SlashCommandOption(
                name="role", description="Or of this role", type=OptionType.ROLE, required=False
            ),
        ]

    def number(name: str, description: str, least: int, most: int) -> SlashCommandOption:
        return SlashCommandOption(
            name=name,
            description=description,
            type=OptionType.INTEGER,
            required=False,
            min_value=least,
            max_value=most,
        )

    @group.subcommand(
        sub_cmd_name="set",
        sub_cmd_description="Set limits; what is left out stays as it is",
        options=[
            *whose(),
            number("seconds", "How long a cell may run", 1, 86_400),
            number("memory_mb", "How much memory a kernel may use", 64, 1_048_576),
            number("files", "How many files may be kept", 1, 1000),
            number("turns", "How many questions a day; -1 for no limit", -1, 1_000_000),
        ],
    )
    async def set_limits(
        ctx: Any,
        user: Any = None,
        role: Any = None,
        seconds: int | None = None,
        memory_mb: int | None = None,
        files: int | None = None,
        turns: int | None = None,
    ) -> None:
        await ctx.defer(ephemeral=True)
        person = await _operator(ctx, bot)
        target, target_id = _target(user, role)
        if turns == 0:
            raise Refusal("With 0 questions a day nothing could be asked: use /admin block.")
        changes = {
            "cell_timeout_s": None if seconds is None else float(seconds),
            "memory_bytes": None if memory_mb is None else memory_mb * _MIB,
            "max_files": files,
            "turns_per_day": turns,
        }
        stated: dict[str, Any] = {k: v for k, v in changes.items() if v is not None}
        if not stated:
            raise Refusal("Say which limit: seconds, memory_mb, files or turns.")
        detail = ", ".join(f"{name} {value:g}" for name, value in stated.items())
        await bot.audit.write(
            person.user_id, "limits set", f"{target}:{target_id}", detail, guild_id=person.guild_id
        )
        rule = replace(await bot.gate.rules.get(target, target_id), **stated)
        await bot.gate.rules.set(target, target_id, rule)
        await say(ctx, f"For {_mention(target, target_id)} from now on: {rule_text(rule)}.")

    @group.subcommand(
        sub_cmd_name="show", sub_cmd_description="The limits that were set", options=whose()
    )
    async def show(ctx: Any, user: Any = None, role: Any = None) -> None:
        await ctx.defer(ephemeral=True)
        person = await _operator(ctx, bot)
        await bot.audit.write(person.user_id, "limits show", guild_id=person.guild_id)
        if user is None and role is None:
            rules = await bot.gate.rules.list()
            lines = [f"- {_mention_key(key)}: {rule_text(rule)}" for key, rule in rules[:30]]
            more = [f"-# and {len(rules) - 30} more"] if len(rules) > 30 else []
            await say(ctx, "\n".join([*lines, *more]) or "No limits are set for anybody.")
            return
        target, target_id = _target(user, role)
        rule = await bot.gate.rules.get(target, target_id)
        await say(ctx, f"For {_mention(target, target_id)}: {rule_text(rule)}.")

    @group.subcommand(
        sub_cmd_name="clear", sub_cmd_description="Back to what holds for all", options=whose()
    )
    async def clear(ctx: Any, user: Any = None, role: Any = None) -> None:
        await ctx.defer(ephemeral=True)
        person = await _operator(ctx, bot)
        target, target_id = _target(user, role)
        await bot.audit.write(
            person.user_id, "limits clear", f"{target}:{target_id}", guild_id=person.guild_id
        )
        await bot.gate.rules.set(target, target_id, LimitRule())
        await say(ctx, f"For {_mention(target, target_id)} holds what holds for all.")

    return [set_limits, show, clear]


def _target(user: Any, role: Any) -> tuple[Target, str]:
    if (user is None) == (role is None):
        raise Refusal("Name either a user or a role.")
    return ("user", _id(user)) if user is not None else ("role", _id(role))


def _mention(target: Target, target_id: str) -> str:
    return f"<@{target_id}>" if target == "user" else f"<@&{target_id}>"


def _mention_key(key: str) -> str:
    target, _, target_id = key.partition(":")
    return _mention("role" if target == "role" else "user", target_id)


def rule_text(rule: LimitRule) -> str:
    """A rule in words."""
    parts = []
    if rule.cell_timeout_s is not None:
        parts.append(f"{rule.cell_timeout_s:g} s a cell")
    if rule.memory_bytes is not None:
        parts.append(f"{size_text(rule.memory_bytes)} of memory")
    if rule.max_files is not None:
        parts.append(f"{rule.max_files} files")
    if rule.turns_per_day is not None:
        parts.append(
            "any number of questions"
            if rule.turns_per_day == -1
            else f"{rule.turns_per_day} questions a day"
        )
    return ", ".join(parts) or "what holds for all"


# -- /admin block, unblock, blocked ------------------------------------------------------------


def _blocks(admin: SlashCommand, bot: Bot) -> Sequence[Any]:
    @admin.subcommand(
        sub_cmd_name="block",
        sub_cmd_description="Keep a user from using the bot, everywhere",
        options=[
            _user("Whom"),
            SlashCommandOption(
                name="reason",
                description="Why; for the audit log",
                type=OptionType.STRING,
                required=False,
                max_length=200,
            ),
        ],
    )
    async def block(ctx: Any, user: Any, reason: str = "") -> None:
        await ctx.defer(ephemeral=True)
        person = await _operator(ctx, bot)
        user_id = _id(user)
        if user_id == person.user_id:
            raise Refusal("That would be you.")
        await bot.audit.write(person.user_id, "block", user_id, reason, guild_id=person.guild_id)
        await bot.gate.blocks.block(user_id, by=person.user_id, reason=reason)
        for turn in bot.turns.of_user(user_id):
            bot.turns.stop(turn)
        await say(ctx, f"<@{user_id}> is blocked. /admin kernel shutdown ends their kernel.")

    @admin.subcommand(
        sub_cmd_name="unblock", sub_cmd_description="Let a user in again", options=[_user("Whom")]
    )
    async def unblock(ctx: Any, user: Any) -> None:
        await ctx.defer(ephemeral=True)
        person = await _operator(ctx, bot)
        user_id = _id(user)
        await bot.audit.write(person.user_id, "unblock", user_id, guild_id=person.guild_id)
        was = await bot.gate.blocks.unblock(user_id)
        await say(ctx, f"<@{user_id}> {'may use the bot again' if was else 'was not blocked'}.")

    @admin.subcommand(sub_cmd_name="blocked", sub_cmd_description="Who is blocked")
    async def blocked(ctx: Any) -> None:
        await ctx.defer(ephemeral=True)
        person = await _operator(ctx, bot)
        await bot.audit.write(person.user_id, "blocked", guild_id=person.guild_id)
        found = await bot.gate.blocks.list()
        names = ", ".join(f"<@{user_id}>" for user_id in found[:60])
        more = f" and {len(found) - 60} more" if len(found) > 60 else ""
        await say(ctx, f"Blocked: {names}{more}." if found else "Nobody is blocked.")

    return [block, unblock, blocked]


# -- /admin stats, audit -----------------------------------------------------------------------


def _figures(admin: SlashCommand, bot: Bot) -> Sequence[Any]:
    @admin.subcommand(sub_cmd_name="stats", sub_cmd_description="How the bot is doing")
    async def stats(ctx: Any) -> None:
        await ctx.defer(ephemeral=True)
        person = await _operator(ctx, bot)
        await bot.audit.write(person.user_id, "stats", guild_id=person.guild_id)
        await say(ctx, stats_text(bot, guilds=len(ctx.client.guilds)))

    @admin.subcommand(
        sub_cmd_name="audit",
        sub_cmd_description="What admins did lately",
        options=[
            SlashCommandOption(
                name="count",
                description="How many entries",
                type=OptionType.INTEGER,
                required=False,
                min_value=1,
                max_value=25,
            )
        ],
    )
    async def audit(ctx: Any, count: int = 15) -> None:
        await ctx.defer(ephemeral=True)
        person = await _admin(ctx, bot)
        await bot.audit.write(person.user_id, "audit", guild_id=person.guild_id)
        only = None if person.is_operator else person.guild_id
        entries = await bot.audit.list(limit=count, guild_id=only)
        lines: list[str] = []
        for entry in entries:
            target = f" on `{plain_sentence(entry.target)}`" if entry.target else ""
            detail = f": {plain_sentence(entry.detail[:100])}" if entry.detail else ""
            line = f"- {moment(entry.at)} <@{entry.actor}> {entry.action}{target}{detail}"
            if sum(map(len, lines)) + len(lines) + len(line) > 1900:
                break
            lines.append(line)
        await say(ctx, "\n".join(lines))

    return [stats, audit]


def stats_text(bot: Bot, *, guilds: int) -> str:
    """The bot's figures in words."""
    infos = bot.service.kernels()
    busy = sum(info.state == "busy" for info in infos)
    memory = sum(info.memory_bytes or 0 for info in infos)
    return "\n".join(
        (
            f"Running for {age(bot.started_at)}, in {guilds} server{'s' * (guilds != 1)}.",
            f"{len(infos)} live kernel{'s' * (len(infos) != 1)}, {busy} of them busy, with "
            f"{size_text(memory)} of memory together.",
            f"{bot.turns.running} question{'s' * (bot.turns.running != 1)} being answered, "
            f"{bot.delivery.waiting} answer{'s' * (bot.delivery.waiting != 1)} on the way.",
        )
    )
