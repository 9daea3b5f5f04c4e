"""The double as tests open it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any

from aiohttp import web

from tests.discord_double import payloads
from tests.discord_double.cdn import Cdn
from tests.discord_double.channel import Channel
from tests.discord_double.clock import Clock
from tests.discord_double.faults import Faults, GatewayFaults
from tests.discord_double.gateway import Gateway
from tests.discord_double.guild import Guild, Membership, Role, attachment_bytes
from tests.discord_double.interaction import Interaction
from tests.discord_double.message import Message
from tests.discord_double.openapi import document_path, load
from tests.discord_double.permissions import EVERYBODY, EVERYTHING_HERE
from tests.discord_double.person import Person
from tests.discord_double.rest import PREFIX, Request, Rest
from tests.discord_double.transcript import transcript
from tests.discord_double.world import World


class DiscordDouble:
    """Discord, as far as a bot can tell, on one port of loopback.

    Attributes:
        api_url: for REST, as ``https://discord.com/api/v10`` is.
        cdn_url: for attachments.
        token: the bot's.
        faults: switches for what goes wrong.
        gateway: connections and sessions.
    """

    def __init__(self, *, message_content: bool, bot_name: str, buckets: bool = False) -> None:
        """Use :meth:`open`."""
        self.world = World(reads_content=message_content)
        self.token = "MTA2NzE2Mjk0NDY5OTk2.Gd0ubl.3-t0ken-for-the-double-of-discord"
        self.gateway = Gateway(self.world, self.token)
        self.faults = Faults(GatewayFaults(self.gateway), self._outage)
        self.gateway.faults = self.faults
        self.world.dispatch = self.gateway.dispatch
        self.world.bot = self._person(bot_name, is_bot=True)
        self.world.owner = self._person("owner")
        schemas = load(document_path())
        self.rest = Rest(self.world, self.gateway, self.faults, schemas, buckets=buckets)
        self.api_url = self.cdn_url = ""
        self._runner: web.AppRunner
        self._site: web.TCPSite
        self._port = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        message_content: bool = False,
        bot_name: str = "cellmate",
        buckets: bool = False,
    ) -> AsyncIterator["DiscordDouble"]:
        """Serve until the context ends.

        Args:
            message_content: whether the application has the intent for messages' content.
            bot_name: what the bot is called.
            buckets: whether a channel takes only five new messages, and five edits, in five
                seconds; others are answered with 429 and its headers.

        Raises:
            AssertionError: at the end: the bot did what no well-written bot does.
        """
        double = cls(message_content=message_content, bot_name=bot_name, buckets=buckets)
        application = web.Application(client_max_size=256 << 20)
        double.rest.add_to(application.router)
        application.router.add_get("/gateway", double.gateway.connect)
        application.router.add_get("/gateway/", double.gateway.connect)
        Cdn(double.world, double.faults).add_to(application.router)
        double._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await double._runner.setup()
        try:
            await double._listen()
            double.api_url = f"http://127.0.0.1:{double._port}{PREFIX}"
            double.cdn_url = double.world.cdn_url = f"http://127.0.0.1:{double._port}"
            double.gateway.url = f"ws://127.0.0.1:{double._port}/gateway/"
            yield double
        finally:
            await double.until(lambda: not double.rest.is_busy, what="all requests are answered")
            await double.gateway.close_all(1001)
            await double._runner.cleanup()
        violations = "\n".join(double.violations)
        assert not double.violations, f"the bot broke Discord's rules:\n{violations}"

    @property
    def clock(self) -> Clock:
        """Discord's time; ``advance`` it."""
        return self.world.clock

    @property
    def application_id(self) -> str:
        """The application's id, which is its bot's too."""
        return self.world.bot.id

    @property
    def bot(self) -> Person:
        """The bot as a person."""
        return self.world.bot

    @property
    def violations(self) -> list[str]:
        """What the bot did that no well-written bot does; fails the test at the end."""
        return self.world.violations

    @property
    def identifies(self) -> list[datetime]:
        """When the bot identified at the gateway."""
        return self.gateway.identifies

    @property
    def requests(self) -> list[Request]:
        """All requests that came."""
        return self.rest.requests

    @property
    def commands(self) -> dict[str, dict[str, Any]]:
        """The global commands by name."""
        return {c["name"]: c for c in self.world.commands[""].values()}

    @property
    def interactions(self) -> list[Interaction]:
        """Everything that people did."""
        return list(self.world.interactions.values())

    @property
    def messages(self) -> list[Message]:
        """All messages everywhere."""
        return self.world.messages()

    @property
    def checks_openapi(self) -> bool:
        """Whether requests are held against Discord's own document."""
        return load(document_path()).is_there

    def guild(
        self,
        name: str = "guild",
        *,
        boost: int = 0,
        has_bot: bool = True,
        attachment_size_limit: int | None = None,
    ) -> Guild:
        """Make a guild.

        Args:
            name: its name.
            boost: its level, 0 to 3; decides how large files may be.
            has_bot: whether the bot is a member.
            attachment_size_limit: another limit for files, in bytes, so that tests needn't send
                many megabytes.
        """
        world = self.world
        limit = attachment_size_limit or attachment_bytes(boost)
        guild = Guild(world, world.new_id(), name, boost, world.owner, limit, has_bot)
        everyone = Role(guild.id, "@everyone", EVERYBODY, 0)
        guild.roles[everyone.id] = everyone
        now = self.clock.now()
        guild.members[world.owner.id] = Membership([], EVERYTHING_HERE, now)
        if has_bot:
            guild.members[self.bot.id] = Membership([], EVERYTHING_HERE, now)
        world.guilds[guild.id] = guild
        if has_bot:
            world.dispatch(
                "GUILD_CREATE",
                lambda reads: payloads.guild_create(guild, self.bot),
                guild_id=guild.id,
                intent=1,
            )
        return guild

    def person(self, name: str) -> Person:
        """A person, who is made if nobody has that name."""
        found = next((p for p in self.world.people.values() if p.name == name), None)
        return found or self._person(name)

    def dm(self, person: Person) -> Channel:
        """The person's channel with the bot."""
        return self.world.dm(person)

    def transcript(self, channel: Channel | None = None) -> str:
        """What people see in a channel, or everywhere."""
        channels = [channel] if channel else [c for c in self.world.channels.values()]
        return "\n\n\n".join(transcript(c) for c in channels if c.all_messages)

    async def until(self, check: Any, *, timeout_s: float = 10, what: str = "as awaited") -> None:
        """Wait until the check holds: it is asked again whenever something changes.

        Raises:
            AssertionError: not in time (seconds of real time).
        """
        await self.world.until(lambda: bool(check()), timeout_s, what)

    async def ready(self, timeout_s: float = 10) -> None:
        """Wait until the bot is connected and has registered commands."""
        await self.until(
            lambda: self.gateway.connected and any(self.world.commands.values()),
            timeout_s=timeout_s,
            what="the bot is ready",
        )

    @contextmanager
    def allowing_violations(self) -> Iterator[list[str]]:
        """Collect violations instead of failing the test for them."""
        before, self.world.violations = self.world.violations, []
        caught = self.world.violations
        try:
            yield caught
        finally:
            self.world.violations = before

    @asynccontextmanager
    async def _outage(self) -> AsyncIterator[None]:
        """Nothing listens: connections break and are refused."""
        await self._site.stop()
        await self.gateway.drop_all()
        server = self._runner.server
        assert server is not None
        for protocol in list(server.connections):
            if protocol.transport:
                protocol.transport.abort()
        try:
            yield
        finally:
            await self._listen()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()
        self._port = self._runner.addresses[0][1]
        await asyncio.sleep(0)

    def _person(self, name: str, *, is_bot: bool = False) -> Person:
        person = Person(self.world, self.world.new_id(), name, is_bot)
        self.world.people[person.id] = person
        return person
