"""Who counts as what."""

import pytest
from interactions import Permissions

from bot.discord.permissions import person_of, require_admin, require_operator
from bot.errors import Refusal
from bot.people.person import Person
from bot.settings import BotSettings

SETTINGS = BotSettings(admin_users="1, 2", admin_roles="50")


def person(
    user_id: str = "9",
    *,
    guild_id: str | None = "7",
    roles: tuple[str, ...] = (),
    permissions: int = 0,
) -> Person:
    return person_of(
        SETTINGS,
        user_id=user_id,
        name="x",
        guild_id=guild_id,
        role_ids=roles,
        permissions=int(permissions),
    )


@pytest.mark.parametrize(
    ("who", "is_operator", "is_admin", "may_manage", "is_moderator"),
    [
        (person(), False, False, False, False),
        (person("1"), True, True, False, True),
        (person("1", guild_id=None), True, True, False, True),
        (person("12"), False, False, False, False),
        (person(roles=("50",)), True, True, False, True),
        (person(roles=("50",), guild_id=None), False, False, False, False),
        (person(permissions=Permissions.ADMINISTRATOR), False, True, True, True),
        (person(permissions=Permissions.ADMINISTRATOR, guild_id=None), False, False, False, False),
        (person(permissions=Permissions.MANAGE_GUILD), False, False, True, False),
        (person(permissions=Permissions.MANAGE_MESSAGES), False, False, False, True),
        (person(permissions=Permissions.MODERATE_MEMBERS), False, False, False, True),
        (person(permissions=Permissions.SEND_MESSAGES), False, False, False, False),
    ],
)
def test_who_may_what(
    who: Person, is_operator: bool, is_admin: bool, may_manage: bool, is_moderator: bool
) -> None:
    assert (who.is_operator, who.is_admin) == (is_operator, is_admin)
    assert (who.may_manage, who.is_moderator) == (may_manage, is_moderator)
    for require, may in ((require_admin, is_admin), (require_operator, is_operator)):
        if may:
            require(who)
        else:
            with pytest.raises(Refusal):
                require(who)


def test_nobody_is_an_operator_where_nobody_was_named() -> None:
    who = person_of(
        BotSettings(), user_id="1", name="x", guild_id="7", role_ids=("",), permissions=0
    )
    assert not who.is_operator
