"""/ask: a question in words, with files."""

from typing import Any

from interactions import OptionType, SlashCommandOption, slash_command

from bot.discord.commands.common import EVERYWHERE, admitted
from bot.discord.context import Bot
from bot.discord.contexts import destination_of
from bot.discord.turns import Asked
from bot.discord.uploads import Incoming

_MOST_CHARS = 4000


def register(client: Any, bot: Bot) -> None:
    """Register the command."""
    options: list[Any] = [
        SlashCommandOption(
            name="prompt",
            description="What you want to know, or to have done",
            type=OptionType.STRING,
            required=True,
            max_length=_MOST_CHARS,
        ),
        *(
            SlashCommandOption(
                name=name,
                description=f"{which} file to work with",
                type=OptionType.ATTACHMENT,
                required=False,
            )
            for name, which in (("file", "A"), ("file2", "A second"), ("file3", "A third"))
        ),
    ]

    @slash_command(
        name="ask",
        description="Ask in words; Python is written and run for you",
        options=options,
        **EVERYWHERE,
    )
    async def ask(
        ctx: Any, prompt: str, file: Any = None, file2: Any = None, file3: Any = None
    ) -> None:
        await ctx.defer()
        person = await admitted(ctx, bot)
        bot.turns.ask(
            Asked(
                person=person,
                destination=destination_of(ctx),
                channel_id=str(ctx.channel_id),
                question=prompt,
                incoming=tuple(Incoming.of(f) for f in (file, file2, file3) if f is not None),
            )
        )

    client.add_interaction(ask)
