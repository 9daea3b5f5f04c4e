"""Everything that exists in the double's Discord."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tests.discord_double.clock import Clock

if TYPE_CHECKING:
    from tests.discord_double.channel import Channel
    from tests.discord_double.guild import Guild
    from tests.discord_double.interaction import Interaction
    from tests.discord_double.message import Attachment, Message
    from tests.discord_double.person import Person

_EPOCH_MS = 1_420_070_400_000
Found = TypeVar("Found")


class Dispatch(Protocol):
    """How events reach the bot; see ``Gateway.dispatch``."""

    def __call__(
        self,
        event: str,
        payload: Callable[[bool], dict[str, Any]],
        *,
        guild_id: str | None,
        intent: int,
    ) -> None: ...


class World:
    """The state, and the ways to wait for it to change.

    Attributes:
        clock: Discord's time.
        people: by id; the bot is one of them.
        commands: of the application by scope ("" is global), then by id.
        violations: what no well-written bot would have done.
        reads_content: whether the application has the intent for messages' content.
    """

    def __init__(self, *, reads_content: bool) -> None:
        """Nothing exists yet but what the server makes: the bot."""
        self.clock = Clock()
        self.people: dict[str, Person] = {}
        self.guilds: dict[str, Guild] = {}
        self.channels: dict[str, Channel] = {}
        self.interactions: dict[str, Interaction] = {}
        self.attachments: dict[str, Attachment] = {}
        self.commands: dict[str, dict[str, dict[str, Any]]] = {"": {}}
        self.command_creations: dict[str, list[datetime]] = {}
        self.violations: list[str] = []
        self.reads_content = reads_content
        self.cdn_url = ""
        self.bot: Person
        self.owner: Person
        self.dispatch: Dispatch
        self._last_id = 0
        self._change = asyncio.Event()

    def new_id(self) -> str:
        """A snowflake of the present time that nothing else has."""
        now_ms = int(self.clock.now().timestamp() * 1000) - _EPOCH_MS
        self._last_id = max(now_ms << 22, self._last_id + 1)
        return str(self._last_id)

    def changed(self) -> None:
        """Have all who wait look again."""
        self._change.set()
        self._change = asyncio.Event()

    async def until(self, look: Callable[[], Found | None], timeout_s: float, what: str) -> Found:
        """Wait until there is something to see.

        Raises:
            AssertionError: not within ``timeout_s`` seconds of real time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    change = self._change
                    found = look()
                    if found is not None and found is not False:
                        return found
                    await change.wait()
        except TimeoutError:
            raise AssertionError(f"{what}: not within {timeout_s:g} s") from None

    def dm(self, person: "Person") -> "Channel":
        """The person's channel with the bot, which is made once."""
        from tests.discord_double.channel import Channel
        from tests.discord_double.payloads import DM

        for channel in self.channels.values():
            if channel.kind == DM and person in channel.recipients:
                return channel
        made = Channel(self, self.new_id(), DM, name=f"dm-{person.name}", recipients=(person,))
        self.channels[made.id] = made
        return made

    def messages(self) -> "list[Message]":
        """All messages of all channels, the oldest first."""
        found = [m for channel in self.channels.values() for m in channel.messages]
        return sorted(found, key=lambda message: int(message.id))
