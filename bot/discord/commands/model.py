"""/model: which language model answers."""

from collections.abc import Sequence
from typing import Any

from interactions import OptionType, SlashCommandOption, slash_command

from bot.discord.answering import say
from bot.discord.commands.common import EVERYWHERE, admitted
from bot.discord.context import Bot
from bot.errors import Refusal

_MOST_CHOICES = 25
_MOST_CHARS = 100


def register(client: Any, bot: Bot) -> None:
    """Register the command."""

    @slash_command(
        name="model",
        description="Choose the language model that answers you",
        options=[
            SlashCommandOption(
                name="name",
                description="Which one; leave it out to see which you have",
                type=OptionType.STRING,
                required=False,
                autocomplete=True,
            )
        ],
        **EVERYWHERE,
    )
    async def model(ctx: Any, name: str = "") -> None:
        await ctx.defer(ephemeral=True)
        person = await admitted(ctx, bot)
        if not bot.settings.has_model:
            raise Refusal("There is no language model here; /run runs Python without one.")
        names = _names(bot.settings.models)
        if not name:
            chosen = await bot.preferences.model(person.user_id)
            await say(ctx, f"`{chosen}` answers you. To choose from: {names}.")
            return
        if name not in bot.settings.models:
            raise Refusal(f"There is no such model here. To choose from: {names}.")
        await bot.preferences.set_model(person.user_id, name)
        await say(ctx, f"From now on `{name}` answers you.")

    @model.autocomplete("name")
    async def choices(ctx: Any) -> None:
        typed = str(ctx.input_text or "").casefold()
        known = [name for name in bot.settings.models if typed in name.casefold()]
        offered = [name for name in known if len(name) <= _MOST_CHARS][:_MOST_CHOICES]
        await ctx.send([{"name": name, "value": name} for name in offered])

    client.add_interaction(model)


def _names(models: Sequence[str]) -> str:
    shown = [f"`{name}`" for name in models[:_MOST_CHOICES]]
    more = len(models) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
