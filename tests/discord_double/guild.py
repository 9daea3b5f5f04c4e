"""Guilds, roles and memberships."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from tests.discord_double import payloads
from tests.discord_double.channel import Channel
from tests.discord_double.intents import GUILDS
from tests.discord_double.permissions import EVERYBODY, EVERYTHING_HERE, Permissions, bits
from tests.discord_double.person import Person

if TYPE_CHECKING:
    from tests.discord_double.world import World

_MIB = 1 << 20
_ATTACHMENT_BYTES = {0: 10 * _MIB, 1: 10 * _MIB, 2: 50 * _MIB, 3: 100 * _MIB}


@dataclass(slots=True, eq=False)
class Role:
    """A role; its permissions as a number; the id of the bot whose own it is, if any."""

    id: str
    name: str
    permissions: int
    position: int
    mentionable: bool = False
    bot_id: str | None = None


@dataclass(slots=True)
class Membership:
    """What a person is in a guild."""

    roles: list[Role]
    permissions: int
    joined_at: datetime


@dataclass(slots=True, eq=False)
class Guild:
    """A guild.

    Attributes:
        boost: its level, 0 to 3.
        attachment_bytes: how large a file may be here.
        has_bot: whether the bot is a member; without, only people who installed the app for
            themselves can use it here.
    """

    world: "World"
    id: str
    name: str
    boost: int
    owner: Person
    attachment_bytes: int
    has_bot: bool = True
    locale: str = "en-US"
    roles: dict[str, Role] = field(default_factory=dict)
    members: dict[str, Membership] = field(default_factory=dict)
    channels: list[Channel] = field(default_factory=list)

    def text_channel(self, name: str) -> Channel:
        """Make a text channel."""
        channel = Channel(self.world, self.world.new_id(), payloads.TEXT, name=name, guild=self)
        self.add(channel, "CHANNEL_CREATE")
        return channel

    def role(
        self,
        name: str,
        permissions: Permissions = 0,
        *,
        mentionable: bool = False,
        is_bots: bool = False,
    ) -> Role:
        """Make a role, or the bot's own; before the bot starts, since no event tells of it."""
        made = Role(
            self.world.new_id(),
            name,
            bits(permissions),
            len(self.roles),
            mentionable,
            self.world.bot.id if is_bots else None,
        )
        self.roles[made.id] = made
        return made

    def member(
        self,
        name: str,
        *,
        roles: Iterable[Role | str] = (),
        permissions: Permissions = EVERYBODY,
    ) -> Person:
        """Have a person join, who is made if nobody has that name. Roles may be given by name."""
        person = next((p for p in self.world.people.values() if p.name == name), None)
        if person is None:
            person = Person(self.world, self.world.new_id(), name)
            self.world.people[person.id] = person
        chosen = [self._role(role) for role in roles]
        total = bits(permissions)
        for role in chosen:
            total |= role.permissions
        self.members[person.id] = Membership(chosen, total, self.world.clock.now())
        return person

    def has(self, person: Person) -> bool:
        """Whether a person is a member."""
        return person.id in self.members

    def membership(self, person: Person) -> Membership:
        """What a person is here.

        Raises:
            KeyError: nothing.
        """
        return self.members[person.id]

    def permissions(self, person: Person) -> int:
        """What a person may do here."""
        own = self.membership(person).permissions
        return EVERYTHING_HERE if own & bits("administrator") or person is self.owner else own

    def add(self, channel: Channel, event: str) -> None:
        """Add a channel and tell the bot."""
        self.channels.append(channel)
        self.world.channels[channel.id] = channel
        if self.has_bot:
            self.world.dispatch(
                event,
                lambda reads: payloads.channel(channel),
                guild_id=self.id,
                intent=GUILDS,
            )

    def _role(self, role: Role | str) -> Role:
        if isinstance(role, Role):
            return role
        found = next((r for r in self.roles.values() if r.name == role), None)
        return found or self.role(role)


def attachment_bytes(boost: int) -> int:
    """How large a file may be in a guild of a level. Source: Discord's help, "File Attachments"."""
    return _ATTACHMENT_BYTES[boost]
