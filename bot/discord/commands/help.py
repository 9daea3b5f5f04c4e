"""/help: what the bot can do, in short."""

from typing import Any

from interactions import slash_command

from bot.discord.answering import say
from bot.discord.commands.common import EVERYWHERE
from bot.discord.context import Bot
from bot.sizes import size_text, span_text

_TEXT = """\
Ask me something, with a file or without: I write Python, run it in a workshop of your own, and \
show you what comes out. You need not know any Python.

**How**: mention me ({mention}) or reply to me, write me a direct message, or use `/ask`.
- *What is in this file?* · *Plot sales by month.* · *Join these two, and give me an Excel file.*
- "Now only for 2023" is enough: I remember the conversation, the variables and the files.

**Below an answer**: **Show code**, **Notebook**, **Restart kernel**; **Stop** while I work.
**Commands**: `/files` your files · `/kernel` what is running · `/run` Python of your own · \
`/notebook` · `/model` · `/reset` forget our conversation · `/privacy` what is kept

A cell may run for {time}, a file may have {size}, and files are kept for {kept}. \
There is no internet in the workshop; Python packages install themselves."""


def register(client: Any, bot: Bot) -> None:
    """Register the command."""

    @slash_command(name="help", description="What I can do, and how to ask", **EVERYWHERE)
    async def show_help(ctx: Any) -> None:
        await say(ctx, help_text(bot, f"<@{client.user.id}>"))

    client.add_interaction(show_help)


def help_text(bot: Bot, mention: str) -> str:
    """The text, with this service's limits."""
    settings = bot.service.settings
    hours = settings.file_retention_hours
    return _TEXT.format(
        mention=mention,
        time=span_text(settings.cell_timeout_s),
        size=size_text(settings.max_file_bytes),
        kept="ever" if hours == -1 else span_text(hours * 3600),
    )
