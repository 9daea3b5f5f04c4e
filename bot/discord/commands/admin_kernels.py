"""/admin kernels and /admin kernel ...: those that live, what one holds and uses, its end."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from interactions import OptionType, SlashCommand, SlashCommandChoice, SlashCommandOption

from bot.discord.answering import deliver, replace_origin, say
from bot.discord.commands.admin_people import admin_of
from bot.discord.commands.kernel import variables_text
from bot.discord.context import Bot
from bot.discord.contexts import person_in
from bot.discord.curves import resource_curve
from bot.discord.custom_ids import CustomId
from bot.discord.pages import page_of
from bot.discord.permissions import require_admin, require_operator
from bot.discord.words import age
from bot.errors import Refusal
from bot.messages import code_block, plain_sentence, visible
from bot.outgoing import Attachment, Button, OutgoingMessage
from bot.people.person import Person
from bot.sizes import size_text
from interpreter import KernelInfo, Session

_ON_A_PAGE = 12
_SORTS = ("age", "idle", "memory", "cpu", "cells", "running")
#: Source: Discord's documentation, "Application Command Option Choice".
_MOST_CHOICES, _CHOICE_CHARS = 25, 100
_USER = re.compile(r"(?:<@!?)?([0-9]{1,20})>?", re.ASCII)


def commands(admin: SlashCommand, bot: Bot) -> Sequence[Any]:
    """The commands; their buttons are registered."""
    return [*_kernels(admin, bot), *_kernel(admin, bot)]


def _whose() -> SlashCommandOption:
    """Of whom: as a text, for those who are offered, also where Discord doesn't know them."""
    return SlashCommandOption(
        name="user",
        description="Whose: choose one, or give a user's id",
        type=OptionType.STRING,
        required=True,
        autocomplete=True,
    )


def _user_id(given: str) -> str:
    """The id in what was given: a choice, an id or a mention.

    Raises:
        Refusal: there is none.
    """
    found = _USER.fullmatch(given.strip())
    if found is None:
        raise Refusal("Choose one of the users that are offered, or give a user's id.")
    return found[1]


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
        person = await admin_of(ctx, bot)
        await bot.audit.write(person.user_id, "kernels", guild_id=person.guild_id)
        text, buttons = await _listed(bot, person, sort, 0)
        await say(ctx, text, buttons=buttons)

    async def turn_page(ctx: Any, pressed: CustomId, person: Person) -> None:
        require_admin(person)
        sort, _, number = pressed.ref.partition(".")
        if sort not in _SORTS or not number.isdecimal():
            raise Refusal("That page isn't there; /admin kernels shows them anew.")
        await ctx.defer(edit_origin=True)
        await bot.audit.write(person.user_id, "kernels", guild_id=person.guild_id)
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
    f"{'user':<20}  {'age':<11} {'idle':<11} {'state':<11} {'memory':>9} {'cpu':>5} {'cells':>5}"
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
            f"{info.user_id[:20]:<20}  {age(info.started_at):<11} {idle:<11} "
            f"{info.state + running:<11} {memory:>9} {cpu:>5} {info.cells:>5}"
        )
    return lines


def _kernel(admin: SlashCommand, bot: Bot) -> Sequence[Any]:
    group = admin.group(name="kernel", description="One user's kernel")

    @group.subcommand(
        sub_cmd_name="inspect",
        sub_cmd_description="What a kernel holds and uses",
        options=[
            _whose(),
            SlashCommandOption(
                name="contents",
                description="For operators: also what the variables hold; the audit log tells",
                type=OptionType.BOOLEAN,
                required=False,
            ),
        ],
    )
    async def inspect(ctx: Any, user: str, contents: bool = False) -> None:
        await ctx.defer(ephemeral=True)
        person = await admin_of(ctx, bot)
        if contents:
            require_operator(person)
        user_id = _user_id(user)
        session = await _session(bot, person, user_id)
        action = "kernel inspect with contents" if contents else "kernel inspect"
        await bot.audit.write(person.user_id, action, user_id, guild_id=person.guild_id)
        await deliver(ctx, bot.delivery, [await _inspection(session, with_contents=contents)])

    @group.subcommand(
        sub_cmd_name="interrupt",
        sub_cmd_description="Stop what a kernel is running; variables stay",
        options=[_whose()],
    )
    async def interrupt(ctx: Any, user: str) -> None:
        session, user_id = await _begin(ctx, user, "kernel interrupt")
        was = await session.interrupt()
        await say(
            ctx,
            f"<@{user_id}>'s cell is stopped." if was else "Nothing was running in that kernel.",
        )

    @group.subcommand(
        sub_cmd_name="restart",
        sub_cmd_description="Give a user a clean kernel; their variables go",
        options=[_whose()],
    )
    async def restart(ctx: Any, user: str) -> None:
        session, user_id = await _begin(ctx, user, "kernel restart")
        await session.restart()
        await say(ctx, f"<@{user_id}> has a clean kernel now.")

    @group.subcommand(
        sub_cmd_name="shutdown",
        sub_cmd_description="End a user's kernel; the next question starts one",
        options=[_whose()],
    )
    async def shutdown(ctx: Any, user: str) -> None:
        session, user_id = await _begin(ctx, user, "kernel shutdown")
        await session.close()
        await say(ctx, f"<@{user_id}>'s kernel is ended; their files are still there.")

    async def _begin(ctx: Any, user: str, action: str) -> tuple[Session, str]:
        await ctx.defer(ephemeral=True)
        person = await admin_of(ctx, bot)
        user_id = _user_id(user)
        session = await _session(bot, person, user_id)
        await bot.audit.write(person.user_id, action, user_id, guild_id=person.guild_id)
        return session, user_id

    async def choices(ctx: Any) -> None:
        offered = await _offered(ctx, bot, str(ctx.input_text or ""))
        await ctx.send([{"name": name, "value": user_id} for user_id, name in offered])

    found = [inspect, interrupt, restart, shutdown]
    for command in found:
        _ = command.autocomplete("user")(choices)
    return found


async def _offered(ctx: Any, bot: Bot, typed: str) -> list[tuple[str, str]]:
    """Ids and names of those whose live kernel an admin may touch, as far as they fit the text."""
    person = person_in(ctx, bot.settings)
    if not person.is_admin:
        return []
    offered: list[tuple[str, str]] = []
    for info in bot.service.kernels():
        known = ctx.client.get_user(info.user_id) if info.user_id.isdecimal() else None
        facts = f"{info.user_id}, {info.state}"
        name = facts if known is None else f"{visible(known.display_name)[:50]} ({facts})"
        if typed.casefold() in name.casefold() and await _may_touch(bot, person, info.user_id):
            offered.append((info.user_id, name[:_CHOICE_CHARS]))
        if len(offered) == _MOST_CHOICES:
            break
    return offered


async def _inspection(session: Session, *, with_contents: bool) -> OutgoingMessage:
    info = session.info()
    variables = await session.variables()
    lines = [f"Kernel of <@{session.user_id}>"]
    if info is not None:
        memory = "" if info.memory_bytes is None else f", {size_text(info.memory_bytes)}"
        cells = f"{info.cells} cell{'s' * (info.cells != 1)}"
        lines.append(
            f"{info.state}, {age(info.started_at)} old, {cells}{memory}"
            + (f", last error {plain_sentence(info.last_error)}" if info.last_error else "")
        )
    if variables:
        table = variables_text(variables, with_contents=with_contents, limit=1700)
        lines.append(f"{len(variables)} variable{'s' * (len(variables) != 1)}:\n{table}")
    else:
        lines.append("No variables.")
    curve = resource_curve(session.resource_history())
    attachments: tuple[Attachment, ...] = ()
    if curve is not None:
        alt = "Memory and processor time of the kernel over the last minutes"
        attachments = (Attachment("kernel.png", curve, len(curve), alt),)
    return OutgoingMessage("\n".join(lines), attachments)
