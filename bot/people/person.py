"""Person: who asks, as Discord tells it with each request."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody in Discord.

    Attributes:
        user_id: Discord's id, which is the service's user id as well.
        name: as others see it; hostile text.
        guild_id: where the request comes from; None in direct messages.
        role_ids: the roles there.
        is_operator: whether the operator named them as an admin: for all servers.
        administers: whether they are an administrator of that guild: for its people only.
        may_manage: whether they may change that guild's settings.
        is_moderator: whether they may stop others' turns there.
    """

    user_id: str
    name: str
    guild_id: str | None = None
    role_ids: tuple[str, ...] = ()
    is_operator: bool = False
    administers: bool = False
    may_manage: bool = False
    is_moderator: bool = False

    @property
    def is_admin(self) -> bool:
        """Whether /admin is theirs, for all or for their guild's people."""
        return self.is_operator or self.administers
