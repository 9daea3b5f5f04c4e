"""/settings: what is chosen for a server, by those who manage it."""

from typing import Any

from interactions import (
    OptionType,
    Permissions,
    SlashCommandChoice,
    SlashCommandOption,
    slash_command,
)

from bot.discord.answering import say
from bot.discord.commands.common import IN_GUILDS, admitted
from bot.discord.context import Bot
from bot.errors import Refusal


def register(client: Any, bot: Bot) -> None:
    """Register the command."""

    @slash_command(
        name="settings",
        description="What holds for this server",
        sub_cmd_name="threads",
        sub_cmd_description="Whether questions in channels are answered in threads",
        default_member_permissions=Permissions.MANAGE_GUILD,
        options=[
            SlashCommandOption(
                name="answers",
                description="Where answers go",
                type=OptionType.STRING,
                required=True,
                choices=[
                    SlashCommandChoice(name="in a thread of their own", value="on"),
                    SlashCommandChoice(name="in the channel", value="off"),
                ],
            )
        ],
        **IN_GUILDS,
    )
    async def threads(ctx: Any, answers: str) -> None:
        await ctx.defer(ephemeral=True)
        person = await admitted(ctx, bot)
        if person.guild_id is None or not (person.may_manage or person.is_operator):
            raise Refusal("That is for people who may manage this server.")
        await bot.audit.write(
            person.user_id, "settings threads", person.guild_id, answers, guild_id=person.guild_id
        )
        await bot.guilds.set_threads(person.guild_id, answers == "on")
        where = "threads of their own" if answers == "on" else "the channel itself"
        await say(ctx, f"From now on questions in this server's channels are answered in {where}.")

    client.add_interaction(threads)
