"""The slash commands, one module for each area."""

from typing import Any

import bot.discord.commands.admin as admin
import bot.discord.commands.ask as ask
import bot.discord.commands.files as files
import bot.discord.commands.help as help_command
import bot.discord.commands.kernel as kernel
import bot.discord.commands.model as model
import bot.discord.commands.notebook as notebook
import bot.discord.commands.privacy as privacy
import bot.discord.commands.reset as reset
import bot.discord.commands.run as run
import bot.discord.commands.settings as settings
from bot.discord.context import Bot

__all__ = ["register"]

_AREAS = (
    *(ask, run, files, kernel, notebook, model, reset, privacy, help_command, settings),
    admin,
)


def register(client: Any, bot: Bot) -> None:
    """Register every command with the library's client."""
    for area in _AREAS:
        area.register(client, bot)
