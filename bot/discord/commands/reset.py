"""/reset: begin a conversation anew."""

from typing import Any

from interactions import slash_command

from bot.discord.answering import say
from bot.discord.commands.common import EVERYWHERE, admitted
from bot.discord.context import Bot
from bot.discord.custom_ids import CustomId
from bot.outgoing import Button


def register(client: Any, bot: Bot) -> None:
    """Register the command."""

    @slash_command(
        name="reset", description="Forget our conversation in this channel", **EVERYWHERE
    )
    async def reset(ctx: Any) -> None:
        await ctx.defer(ephemeral=True)
        person = await admitted(ctx, bot)
        is_asking = bot.turns.leave_out(str(ctx.channel_id), person.user_id)
        was = await bot.conversations.clear(str(ctx.channel_id), person.user_id) or is_asking
        text = "Our conversation here is forgotten." if was else "There was nothing to forget here."
        session = bot.service.find_session(person.user_id)
        buttons = []
        if session is not None and session.live:
            text += " Your variables and files are still there."
            restart = str(CustomId("restart", person.user_id))
            buttons.append(Button("Restart kernel, too", restart, "danger"))
        await say(ctx, text, buttons=buttons)

    client.add_interaction(reset)
