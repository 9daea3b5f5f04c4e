"""The gateway's intents that matter here."""

GUILDS = 1 << 0
GUILD_MEMBERS = 1 << 1
GUILD_PRESENCES = 1 << 8
GUILD_MESSAGES = 1 << 9
GUILD_REACTIONS = 1 << 10
DIRECT_MESSAGES = 1 << 12
DIRECT_REACTIONS = 1 << 13
MESSAGE_CONTENT = 1 << 15
PRIVILEGED = GUILD_MEMBERS | GUILD_PRESENCES | MESSAGE_CONTENT


def message_intent(*, in_guild: bool) -> int:
    """Which one brings messages."""
    return GUILD_MESSAGES if in_guild else DIRECT_MESSAGES


def reaction_intent(*, in_guild: bool) -> int:
    """Which one brings reactions."""
    return GUILD_REACTIONS if in_guild else DIRECT_REACTIONS
