"""/admin block, unblock, blocked: who may not use the bot."""

from collections.abc import Sequence
from typing import Any

from interactions import OptionType, SlashCommand, SlashCommandOption

from bot.discord.answering import say
from bot.discord.commands.admin_people import id_of, operator_of, user_option
from bot.discord.context import Bot
from bot.errors import Refusal


def commands(admin: SlashCommand, bot: Bot) -> Sequence[Any]:
    """The commands."""

    @admin.subcommand(
        sub_cmd_name="block",
        sub_cmd_description="Keep a user from using the bot, everywhere",
        options=[
            user_option("Whom"),
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
        person = await operator_of(ctx, bot)
        user_id = id_of(user)
        if user_id == person.user_id:
            raise Refusal("That would be you.")
        await bot.audit.write(person.user_id, "block", user_id, reason, guild_id=person.guild_id)
        await bot.gate.blocks.block(user_id, by=person.user_id, reason=reason)
        for turn in bot.turns.of_user(user_id):
            bot.turns.stop(turn)
        await say(ctx, f"<@{user_id}> is blocked. /admin kernel shutdown ends their kernel.")

    @admin.subcommand(
        sub_cmd_name="unblock",
        sub_cmd_description="Let a user in again",
        options=[user_option("Whom")],
    )
    async def unblock(ctx: Any, user: Any) -> None:
        await ctx.defer(ephemeral=True)
        person = await operator_of(ctx, bot)
        user_id = id_of(user)
        await bot.audit.write(person.user_id, "unblock", user_id, guild_id=person.guild_id)
        was = await bot.gate.blocks.unblock(user_id)
        await say(ctx, f"<@{user_id}> {'may use the bot again' if was else 'was not blocked'}.")

    @admin.subcommand(sub_cmd_name="blocked", sub_cmd_description="Who is blocked")
    async def blocked(ctx: Any) -> None:
        await ctx.defer(ephemeral=True)
        person = await operator_of(ctx, bot)
        await bot.audit.write(person.user_id, "blocked", guild_id=person.guild_id)
        found = await bot.gate.blocks.list()
        names = ", ".join(f"<@{user_id}>" for user_id in found[:60])
        more = f" and {len(found) - 60} more" if len(found) > 60 else ""
        await say(ctx, f"Blocked: {names}{more}." if found else "Nobody is blocked.")

    return [block, unblock, blocked]
