"""/notebook: the session as a Jupyter notebook."""

from typing import Any

from interactions import slash_command

from bot.discord.answering import deliver
from bot.discord.commands.common import EVERYWHERE, admitted
from bot.discord.context import Bot
from bot.discord.turn_buttons import notebook_message


def register(client: Any, bot: Bot) -> None:
    """Register the command."""

    @slash_command(
        name="notebook", description="Get everything that ran as a Jupyter notebook", **EVERYWHERE
    )
    async def notebook(ctx: Any) -> None:
        await ctx.defer(ephemeral=True)
        person = await admitted(ctx, bot)
        message = await notebook_message(bot, person.user_id, ctx.attachment_bytes)
        await deliver(ctx, bot.delivery, [message])

    client.add_interaction(notebook)
