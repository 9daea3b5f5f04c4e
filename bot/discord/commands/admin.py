"""/admin: live kernels, limits, who is blocked, what was done. Every action is written down first.

Operators (ADMIN_USERS, ADMIN_ROLES) see and touch everything. A guild's administrators see and
touch the kernels of people who used the bot in that guild lately, and nothing else. A kernel serves
all guilds and direct messages alike, so what its variables hold is for operators alone.
"""

from typing import Any

from interactions import Permissions, SlashCommand

import bot.discord.commands.admin_blocks as blocks
import bot.discord.commands.admin_figures as figures
import bot.discord.commands.admin_kernels as kernels
import bot.discord.commands.admin_limits as limits
from bot.discord.commands.common import WITH_THE_BOT
from bot.discord.context import Bot


def register(client: Any, bot: Bot) -> None:
    """Register the commands and their buttons."""
    admin = SlashCommand(
        name="admin",
        description="For admins",
        default_member_permissions=Permissions.ADMINISTRATOR,
        **WITH_THE_BOT,
    )
    for area in (kernels, limits, blocks, figures):
        for command in area.commands(admin, bot):
            client.add_interaction(command)
