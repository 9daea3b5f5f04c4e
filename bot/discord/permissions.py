"""Permissions: what a person may do, checked here each time; what Discord shows is for show."""

from collections.abc import Iterable

from interactions import Permissions

from bot.errors import Refusal
from bot.people.person import Person
from bot.settings import BotSettings
from interpreter.settings import listed

_MODERATES = Permissions.MANAGE_MESSAGES | Permissions.MODERATE_MEMBERS


def person_of(
    settings: BotSettings,
    *,
    user_id: str,
    name: str,
    guild_id: str | None,
    role_ids: Iterable[str],
    permissions: int,
) -> Person:
    """A person with what they may do.

    Args:
        settings: who operates the bot.
        user_id, name: who it is.
        guild_id: where; None in a direct message.
        role_ids: their roles there.
        permissions: Discord's bits, as Discord itself sent them.
    """
    roles = tuple(role_ids)
    granted = Permissions(permissions) if guild_id is not None else Permissions(0)
    is_operator = user_id in listed(settings.admin_users) or (
        guild_id is not None and not {*roles}.isdisjoint(listed(settings.admin_roles))
    )
    administers = Permissions.ADMINISTRATOR in granted
    return Person(
        user_id=user_id,
        name=name,
        guild_id=guild_id,
        role_ids=roles,
        is_operator=is_operator,
        administers=administers,
        may_manage=administers or Permissions.MANAGE_GUILD in granted,
        is_moderator=is_operator or administers or bool(granted & _MODERATES),
    )


def require_admin(person: Person) -> None:
    """See to it that a person may use /admin.

    Raises:
        Refusal: they may not.
    """
    if not person.is_admin:
        raise Refusal(
            "That is for admins: people whom the operator named, and who administrate this server."
        )


def require_operator(person: Person) -> None:
    """See to it that a person may do what concerns everybody, in all servers.

    Raises:
        Refusal: they may not.
    """
    if not person.is_operator:
        raise Refusal("That is for the bot's operators, named in ADMIN_USERS and ADMIN_ROLES.")
