"""Who uses /admin, and whom it is about."""

from typing import Any

from interactions import OptionType, SlashCommandOption

from bot.discord.commands.common import admitted
from bot.discord.context import Bot
from bot.discord.permissions import require_admin, require_operator
from bot.people.person import Person


def user_option(description: str, *, required: bool = True) -> SlashCommandOption:
    """An option that a user is chosen in."""
    return SlashCommandOption(
        name="user", description=description, type=OptionType.USER, required=required
    )


def id_of(value: Any) -> str:
    """The id of a user or role, which the library gives as an object where it knows it."""
    return str(getattr(value, "id", value))


async def admin_of(ctx: Any, bot: Bot) -> Person:
    """Who uses a command for admins.

    Raises:
        Refusal: they aren't one.
    """
    person = await admitted(ctx, bot)
    require_admin(person)
    return person


async def operator_of(ctx: Any, bot: Bot) -> Person:
    """Who uses a command for operators.

    Raises:
        Refusal: they aren't one.
    """
    person = await admitted(ctx, bot)
    require_operator(person)
    return person
