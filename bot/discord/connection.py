"""Connection: one shard's connection to Discord's gateway, with what the library's lacks.

Measured with interactions.py 5.16: a session that is refused is asked for again at once, for ever;
a refused reconnect ends everything without a word; a server that says nothing is waited for, for
ever; and a new connection begins a new session, so that what happened meanwhile is never told.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from interactions.api.gateway.gateway import GatewayClient
from interactions.api.gateway.state import ConnectionState
from interactions.client.errors import WebSocketClosed
from interactions.models.discord.enums import WebSocketOPCode

from bot.discord.addresses import gateway_address
from bot.discord.gaps import fill_event
from bot.discord.identifies import Identifies, IdentifyRefused
from bot.errors import BotError
from interpreter.logs import get_logger

log = get_logger(__name__)

# Source: Discord's documentation, "Opcodes and Status Codes", "Gateway Close Event Codes".
_FATAL_CODES = {
    4004: "Discord refuses the token: put the right one into DISCORD_TOKEN (developer portal, Bot, "
    "Reset Token).",
    4010: "Discord refuses the number of connections: correct DISCORD_SHARDS.",
    4011: "The bot is in too many servers for one connection: set DISCORD_SHARDS=0.",
    4012: "Discord no longer speaks this version of its protocol: a newer Cellmate is needed.",
    4013: "Discord doesn't know the intents that were asked for: a newer Cellmate is needed.",
    4014: "Discord refuses the bot the content of messages: switch on the Message Content Intent "
    "in the developer portal (Bot, Privileged Gateway Intents), or set "
    "MESSAGE_CONTENT_INTENT=false.",
}
_MOST_TRIES_TO_RESUME = 5
_KNOWN_OPCODES = frozenset(int(opcode) for opcode in WebSocketOPCode)
_IN_CHANNELS = frozenset({"MESSAGE_CREATE", "MESSAGE_UPDATE"})


class CannotConnect(BotError):
    """Nothing but the operator can help: says what to do."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long things may take, in seconds.

    Attributes:
        hello_s: until Discord says hello.
        ready_s: until the session has begun.
        lasting_s: after so long a session counts as a good one.
        after_invalid_s: between at least and at most so long, by chance, is waited after Discord
            has declared a session invalid; so its documentation asks.
    """

    hello_s: float = 30.0
    ready_s: float = 120.0
    lasting_s: float = 60.0
    after_invalid_s: tuple[float, float] = (1.0, 5.0)


#: For Discord itself.
PAUSES = Pauses()


@dataclass(frozen=True, slots=True)
class _Session:
    """What a connection needs to go on where another one stopped."""

    session_id: str
    sequence: int
    url: str


class _Gateway(GatewayClient):
    """One socket after the other, of one session after the other."""

    # The library's own types are halfway.
    ws: Any
    session_id: Any
    sequence: Any
    ws_resume_url: Any
    _keep_alive: Any

    def __init__(self, connection: "Connection", shard: tuple[int, int]) -> None:
        super().__init__(connection, shard)
        self._connection = connection
        self._resumes_first = False
        resumed = connection.session
        if resumed is not None:
            self.session_id, self.sequence = resumed.session_id, resumed.sequence
            self.ws_resume_url = resumed.url
            self._resumes_first = True

    async def __aenter__(self) -> Any:
        try:
            async with asyncio.timeout(self._connection.pauses.hello_s):
                await super().__aenter__()
        except BaseException:
            await self.let_go()
            raise
        self._resumes_first = False
        return self

    async def reconnect(
        self, *, resume: bool = False, code: int = 1012, url: str | None = None
    ) -> None:
        async with asyncio.timeout(self._connection.pauses.hello_s):
            await super().reconnect(resume=resume, code=code, url=url)

    async def dispatch_opcode(self, data: Any, op: Any) -> None:
        if op not in _KNOWN_OPCODES:
            log.info("opcode unknown", shard=self.shard[0], opcode=str(op)[:20])
            return
        if op != WebSocketOPCode.INVALIDATE_SESSION:
            await super().dispatch_opcode(data, op)
            return
        log.warning("session invalid", shard=self.shard[0], resumable=bool(data))
        await asyncio.sleep(random.uniform(*self._connection.pauses.after_invalid_s))
        if data:
            await self.reconnect(resume=True, url=self.ws_resume_url)
        else:
            self.session_id = None
            await self.reconnect()

    async def dispatch_event(self, data: Any, seq: Any, event: Any) -> None:
        if not isinstance(data, dict) or not isinstance(event, str):
            return
        self._fill(event, data)
        await super().dispatch_event(data, seq, event)
        if event == "READY":
            self.ws_resume_url = gateway_address(data["resume_gateway_url"])
        if event in ("READY", "RESUMED"):
            self._connection.went_up()

    def _fill(self, event: str, data: dict[str, Any]) -> None:
        """Fill in what other servers than Discord leave out."""
        fill_event(event, data)
        if event == "READY" and not data.get("resume_gateway_url"):
            data["resume_gateway_url"] = self._connection.server_url
        if event in _IN_CHANNELS and "guild_id" not in data and data.get("channel_id"):
            channel = self._connection.client.get_channel(data["channel_id"])
            guild_id = getattr(channel, "_guild_id", None)
            if guild_id:
                data["guild_id"] = str(guild_id)

    def resumable(self) -> _Session | None:
        """What another connection needs to go on with its session."""
        if self.session_id is None or self.sequence is None or not self.ws_resume_url:
            return None
        return _Session(self.session_id, self.sequence, self.ws_resume_url)

    async def let_go(self) -> None:
        """End the heartbeat and the socket, without ending the session."""
        self._kill_bee_gees.set()
        if self._keep_alive is not None:
            self._keep_alive.cancel()
            await asyncio.wait({self._keep_alive})
            self._keep_alive = None
        if self.ws is not None:
            # 1000 and 1001 would end the session. Source: "Disconnecting from the Gateway".
            await self.ws.close(code=1000 if self._connection.is_stopping else 4000)
            self.ws = None

    async def _identify(self) -> None:
        if self._resumes_first:
            await self._resume_connection()
            return
        self._connection.identifies.take(self.shard[0])
        await super()._identify()


class Connection(ConnectionState):
    """A shard's connections, one after the other.

    Attributes:
        identifies: how often a session may be asked for.
        pauses: how long things may take.
        server_url: where a new session is asked for.
        session: the one to go on with; None for a new one.
        is_stopping: whether it is to end for good.
        is_up: whether there is a session that goes on.
    """

    gateway: Any

    def __init__(
        self,
        client: Any,
        shard_id: int,
        *,
        identifies: Identifies,
        pauses: Pauses,
    ) -> None:
        """Not connected yet."""
        super().__init__(client, client.intents, shard_id)
        self.gateway = None
        self.server_url = ""
        self.identifies = identifies
        self.pauses = pauses
        self.session: _Session | None = None
        self.is_stopping = False
        self._tries_to_resume = 0
        self._turned = asyncio.Event()
        self.is_up = False
        self._lasting: asyncio.TimerHandle | None = None

    async def hold(self) -> None:
        """Connect, and stay connected for as long as that is possible.

        Raises:
            CannotConnect: nothing but the operator can help.
            IdentifyRefused: it is too early for another session.
            Exception: whatever it was that ended it.
        """
        self.gateway_url = self.server_url = await self.client.http.get_gateway()
        if self.session is not None:
            self._tries_to_resume += 1
            if self._tries_to_resume > _MOST_TRIES_TO_RESUME:
                self.session = None
        if self.session is None and (wait_s := self.identifies.wait_s(self.shard_id)) > 0:
            raise IdentifyRefused(wait_s)
        gateway = self.gateway = _Gateway(self, (self.shard_id, self.client.total_shards))
        if self.session is not None:
            self.gateway_url = self.session.url
        self.gateway_started.set()
        try:
            async with gateway:
                await self._watch(gateway)
        except WebSocketClosed as closed:
            if closed.code in _FATAL_CODES:
                raise CannotConnect(_FATAL_CODES[closed.code], f"code {closed.code}") from closed
            raise
        finally:
            self.session = gateway.resumable()
            self.gateway_started.clear()
            self.clear_ready()

    async def stop(self) -> None:
        """End for good; ``hold`` returns."""
        self.is_stopping = True
        if self.gateway is not None:
            self.gateway.close()

    def clear_ready(self) -> None:
        """Called by the library, too: the session is interrupted."""
        super().clear_ready()
        if self._lasting is not None:
            self._lasting.cancel()
        self.is_up = False
        self._turned.set()

    def went_up(self) -> None:
        """The session has begun, or goes on."""
        self.is_up = True
        self._tries_to_resume = 0
        self._turned.set()
        self._lasting = asyncio.get_running_loop().call_later(
            self.pauses.lasting_s, self.identifies.succeeded, self.shard_id
        )

    async def _watch(self, gateway: _Gateway) -> None:
        """Let it run; but not for long without a session."""
        running = asyncio.create_task(gateway.run())
        try:
            while not running.done():
                self._turned.clear()
                turned = asyncio.create_task(self._turned.wait())
                try:
                    await asyncio.wait(
                        {running, turned},
                        timeout=None if self.is_up else self.pauses.ready_s,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    if not (running.done() or turned.done()):
                        raise TimeoutError("no session began")
                finally:
                    turned.cancel()
            running.result()
        finally:
            gateway.close()
            # It ends by itself, unless it is in the midst of connecting.
            await asyncio.wait({running}, timeout=1.0)
            running.cancel()
            await asyncio.wait({running})
            await gateway.let_go()
