"""Discord's permissions by name, as far as a bot like ours meets them."""

from collections.abc import Iterable
from typing import TypeAlias

BITS = {
    "kick_members": 1 << 1,
    "ban_members": 1 << 2,
    "administrator": 1 << 3,
    "manage_channels": 1 << 4,
    "manage_guild": 1 << 5,
    "add_reactions": 1 << 6,
    "view_channel": 1 << 10,
    "send_messages": 1 << 11,
    "manage_messages": 1 << 13,
    "embed_links": 1 << 14,
    "attach_files": 1 << 15,
    "read_message_history": 1 << 16,
    "mention_everyone": 1 << 17,
    "manage_roles": 1 << 28,
    "use_application_commands": 1 << 31,
    "manage_threads": 1 << 34,
    "create_public_threads": 1 << 35,
    "create_private_threads": 1 << 36,
    "send_messages_in_threads": 1 << 38,
    "moderate_members": 1 << 40,
}
Permissions: TypeAlias = int | str | Iterable[str]


def bits(permissions: Permissions) -> int:
    """Permissions as a number: given as one, as a name, or as names."""
    if isinstance(permissions, int):
        return permissions
    names = [permissions] if isinstance(permissions, str) else permissions
    total = 0
    for name in names:
        total |= BITS[name]
    return total


EVERYTHING_HERE = bits(BITS)
EVERYBODY = bits(
    [
        "add_reactions",
        "attach_files",
        "create_public_threads",
        "embed_links",
        "read_message_history",
        "send_messages",
        "send_messages_in_threads",
        "use_application_commands",
        "view_channel",
    ]
)
"""What @everyone may."""
