"""/admin stats, audit: how the bot is doing, and what admins did."""

from collections.abc import Sequence
from typing import Any

from interactions import OptionType, SlashCommand, SlashCommandOption

from bot.discord.answering import say
from bot.discord.commands.admin_people import admin_of, operator_of
from bot.discord.context import Bot
from bot.discord.pages import as_many_as_fit
from bot.discord.words import age, moment
from bot.messages import plain_sentence
from bot.sizes import size_text


def commands(admin: SlashCommand, bot: Bot) -> Sequence[Any]:
    """The commands."""

    @admin.subcommand(sub_cmd_name="stats", sub_cmd_description="How the bot is doing")
    async def stats(ctx: Any) -> None:
        await ctx.defer(ephemeral=True)
        person = await operator_of(ctx, bot)
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
        person = await admin_of(ctx, bot)
        await bot.audit.write(person.user_id, "audit", guild_id=person.guild_id)
        only = None if person.is_operator else person.guild_id
        entries = await bot.audit.list(limit=count, guild_id=only)
        lines: list[str] = []
        for entry in entries:
            target = f" on `{plain_sentence(entry.target)}`" if entry.target else ""
            detail = f": {plain_sentence(entry.detail[:100])}" if entry.detail else ""
            actor = _actor(entry.actor)
            lines.append(f"- {moment(entry.at)} {actor} {entry.action}{target}{detail}")
        await say(ctx, as_many_as_fit(lines))

    return [stats, audit]


def _actor(name: str) -> str:
    """Who did it: somebody in Discord, or at the command line of the machine."""
    return f"<@{name}>" if name.isdecimal() else f"`{plain_sentence(name)}`"


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
