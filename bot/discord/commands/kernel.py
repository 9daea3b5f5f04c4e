"""/kernel: what one's own kernel does, and ending that."""

from collections.abc import Sequence
from typing import Any

from interactions import SlashCommand

from bot.discord.answering import say
from bot.discord.commands.common import EVERYWHERE, admitted
from bot.discord.context import Bot
from bot.discord.turn_buttons import ask_for_restart
from bot.discord.words import age
from bot.messages import code_block
from bot.outgoing import MESSAGE_CHARS
from bot.sizes import size_text
from interpreter import KernelInfo, Variable

_NONE = "You have no kernel running; it starts by itself with your next question."
_MOST_VARIABLES = 40
_NAME_CHARS, _TYPE_CHARS, _SHAPE_CHARS = 24, 22, 16


def register(client: Any, bot: Bot) -> None:
    """Register the commands."""
    base = SlashCommand(name="kernel", description="Your Python kernel", **EVERYWHERE)

    @base.subcommand(sub_cmd_name="status", sub_cmd_description="What your kernel is doing")
    async def status(ctx: Any) -> None:
        await ctx.defer(ephemeral=True)
        person = await admitted(ctx, bot)
        session = bot.service.find_session(person.user_id)
        info = None if session is None else session.info()
        await say(ctx, _NONE if info is None else status_text(info))

    @base.subcommand(sub_cmd_name="restart", sub_cmd_description="Begin with a clean kernel")
    async def restart(ctx: Any) -> None:
        person = await admitted(ctx, bot)
        await ask_for_restart(ctx, person.user_id)

    @base.subcommand(
        sub_cmd_name="interrupt", sub_cmd_description="Stop what is running; variables stay"
    )
    async def interrupt(ctx: Any) -> None:
        await ctx.defer(ephemeral=True)
        person = await admitted(ctx, bot)
        session = bot.service.find_session(person.user_id)
        running = bot.turns.of_user(person.user_id)
        for turn in running:
            bot.turns.stop(turn)
        was = session is not None and await session.interrupt()
        await say(ctx, "Stopped; the variables stay." if was or running else "Nothing was running.")

    @base.subcommand(sub_cmd_name="variables", sub_cmd_description="What your kernel remembers")
    async def variables(ctx: Any) -> None:
        await ctx.defer(ephemeral=True)
        person = await admitted(ctx, bot)
        session = bot.service.find_session(person.user_id)
        found = () if session is None else await session.variables()
        if session is None or not session.live:
            await say(ctx, _NONE)
        elif not found:
            await say(ctx, "There are no variables yet.")
        else:
            await say(ctx, variables_text(found))

    for command in (status, restart, interrupt, variables):
        client.add_interaction(command)


def status_text(info: KernelInfo) -> str:
    """A kernel's state for its user."""
    if info.state == "busy":
        running = info.cell_running_s
        doing = "running a cell" + (f" for {running:.0f} s" if running is not None else "")
    else:
        doing = f"idle for {age(info.last_active_at)}"
    memory = "" if info.memory_bytes is None else f", with {size_text(info.memory_bytes)} of memory"
    cells = f"{info.cells} cell{'s' * (info.cells != 1)}"
    waiting = f" {info.waiting_cells} more wait." if info.waiting_cells else ""
    return (
        f"Your kernel has been there for {age(info.started_at)}{memory}; it has run {cells} and is "
        f"{doing}.{waiting}"
    )


def variables_text(
    variables: Sequence[Variable], *, with_contents: bool = False, limit: int = MESSAGE_CHARS - 100
) -> str:
    """Names, types and sizes as a table; what doesn't fit is counted."""
    rows = []
    for variable in variables[:_MOST_VARIABLES]:
        size = "" if variable.size_bytes is None else size_text(variable.size_bytes)
        cells = [
            _cut(variable.name, _NAME_CHARS),
            _cut(variable.type, _TYPE_CHARS),
            _cut(variable.shape or "", _SHAPE_CHARS),
            size,
        ]
        if with_contents:
            cells.append(_cut(variable.preview, 40))
        rows.append(cells)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row in rows:
        line = "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        if sum(map(len, lines)) + len(lines) + len(line) > limit - 60:
            break
        lines.append(line)
    more = len(variables) - len(lines)
    return code_block("\n".join(lines), "") + (f"\n-# and {more} more" if more else "")


def _cut(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
