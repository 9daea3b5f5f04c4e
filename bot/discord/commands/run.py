"""/run: Python of one's own, in one's own kernel, without a model."""

import re
from typing import Any

from interactions import Modal, OptionType, ParagraphText, SlashCommandOption, slash_command

from bot.discord.commands.common import EVERYWHERE, admitted
from bot.discord.context import Bot
from bot.discord.contexts import destination_of
from bot.discord.custom_ids import CustomId
from bot.discord.turns import Asked
from bot.errors import Refusal
from bot.people.person import Person

_FIELD = "code"
#: Source: Discord's documentation, "Text Input".
_MOST_CHARS = 4000
_FENCE = re.compile(r"\s*```(?:[\w+-]*\n)?(.*?)\n?```\s*", re.DOTALL)


def register(client: Any, bot: Bot) -> None:
    """Register the command and its form."""

    @slash_command(
        name="run",
        description="Run Python of your own; without code, a form for several lines opens",
        options=[
            SlashCommandOption(
                name="code",
                description="One line; leave it out for more",
                type=OptionType.STRING,
                required=False,
                max_length=_MOST_CHARS,
            )
        ],
        **EVERYWHERE,
    )
    async def run(ctx: Any, code: str = "") -> None:
        if not code.strip():
            field = ParagraphText(
                label="Python",
                custom_id=_FIELD,
                placeholder="df = load_file('sales.csv')\ndf.describe()",
                max_length=_MOST_CHARS,
            )
            form = CustomId("run", str(ctx.author_id), is_form=True)
            await ctx.send_modal(Modal(field, title="Run Python", custom_id=str(form)))
            return
        await ctx.defer()
        _begin(ctx, await admitted(ctx, bot), code)

    async def sent(ctx: Any, pressed: CustomId, person: Person) -> None:
        await ctx.defer()
        _begin(ctx, person, ctx.responses.get(_FIELD, ""))

    def _begin(ctx: Any, person: Person, text: str) -> None:
        code = code_in(text)
        if not code.strip():
            raise Refusal("There is no code in that.")
        bot.turns.ask(
            Asked(
                person=person,
                destination=destination_of(ctx),
                channel_id=str(ctx.channel_id),
                question=code,
                is_code=True,
            )
        )

    client.add_interaction(run)
    bot.buttons.on("run", sent, form=True)


def code_in(text: str) -> str:
    """The code in what somebody wrote: without the fence around it, if there is one."""
    fenced = _FENCE.fullmatch(text)
    return fenced[1] if fenced else text
