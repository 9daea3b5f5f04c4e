"""What commands have in common: where they can be used, and who uses them."""

from typing import Any

from interactions import ContextType, IntegrationType

from bot.discord.context import Bot
from bot.discord.contexts import person_in
from bot.people.person import Person

#: In guilds, in direct messages with the bot, and wherever a person who installed it takes it.
EVERYWHERE: dict[str, Any] = {
    "contexts": [ContextType.GUILD, ContextType.BOT_DM, ContextType.PRIVATE_CHANNEL],
    "integration_types": [IntegrationType.GUILD_INSTALL, IntegrationType.USER_INSTALL],
}
IN_GUILDS: dict[str, Any] = {
    "contexts": [ContextType.GUILD],
    "integration_types": [IntegrationType.GUILD_INSTALL],
}
WITH_THE_BOT: dict[str, Any] = {
    "contexts": [ContextType.GUILD, ContextType.BOT_DM],
    "integration_types": [IntegrationType.GUILD_INSTALL],
}


async def admitted(ctx: Any, bot: Bot) -> Person:
    """Who uses a command, if they may use the bot.

    Raises:
        Refusal: they are blocked.
    """
    person = person_in(ctx, bot.settings)
    await bot.gate.check(person)
    return person
