"""The gateway: connections, sessions that outlive them, events."""

import asyncio
import json
import time
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from secrets import token_hex
from typing import Any

from aiohttp import WSMsgType, web

from tests.discord_double import payloads
from tests.discord_double.faults import Faults
from tests.discord_double.intents import GUILDS, MESSAGE_CONTENT, PRIVILEGED
from tests.discord_double.world import World

HEARTBEAT_MS = 41_250
MAX_PAYLOAD_BYTES, MAX_SENDS_A_MINUTE, MAX_IDENTIFIES = 4096, 120, 1000
UNKNOWN_OPCODE, DECODE_ERROR, NOT_AUTHENTICATED, AUTHENTICATION_FAILED = 4001, 4002, 4003, 4004
ALREADY_AUTHENTICATED, INVALID_SEQ, RATE_LIMITED, INVALID_SHARD = 4005, 4007, 4008, 4010
DISALLOWED_INTENTS = 4014


@dataclass(slots=True, eq=False)
class Session:
    """What a bot has identified for; lives on while it is away.

    Attributes:
        shard: its number, and of how many.
        events: all that it was sent, for a resumption.
    """

    id: str
    shard: tuple[int, int]
    intents: int
    events: list[dict[str, Any]] = field(default_factory=list)
    connection: "Connection | None" = None

    @property
    def reads_content(self) -> bool:
        """Whether it has the intent."""
        return bool(self.intents & MESSAGE_CONTENT)

    def wants(self, guild_id: str | None, intent: int) -> bool:
        """Whether an event is for this session."""
        number, count = self.shard
        shard = (int(guild_id) >> 22) % count if guild_id else 0
        return shard == number and (not intent or bool(self.intents & intent))

    def add(self, event: str, payload: dict[str, Any]) -> None:
        """Send an event, now or when the bot is back."""
        frame = {"op": 0, "t": event, "s": len(self.events) + 1, "d": payload}
        self.events.append(frame)
        if self.connection:
            self.connection.send(frame)


class Connection:
    """One socket: what is sent goes out in order, compressed as one stream."""

    def __init__(self, socket: web.WebSocketResponse, *, compressed: bool) -> None:
        """Nothing has been sent yet."""
        self.socket = socket
        self.session: Session | None = None
        self.sends: deque[float] = deque()
        self.closed_by_us = False
        self._stream = zlib.compressobj() if compressed else None
        self._queue: asyncio.Queue[dict[str, Any] | int] = asyncio.Queue()

    def send(self, frame: dict[str, Any]) -> None:
        """Send a frame after those before it."""
        self._queue.put_nowait(frame)

    def close(self, code: int) -> None:
        """Close it, once everything is sent."""
        self.closed_by_us = True
        self._queue.put_nowait(code)

    async def write(self) -> None:
        """Send what is to be sent until it closes."""
        while True:
            item = await self._queue.get()
            if isinstance(item, int):
                await self.socket.close(code=item)
                return
            text = json.dumps(item)
            try:
                if self._stream is None:
                    await self.socket.send_str(text)
                else:
                    packed = self._stream.compress(text.encode())
                    packed += self._stream.flush(zlib.Z_SYNC_FLUSH)
                    await self.socket.send_bytes(packed)
            except ConnectionError:
                return


class Gateway:
    """All connections and sessions.

    Attributes:
        identifies: when the bot identified.
        resumes: when it resumed.
        rejected_identifies: how many more are answered with op 9.
        acknowledges: whether heartbeats are answered.
        refusals: the codes with which connections were closed.
        token: what the bot has to show.
    """

    def __init__(self, world: World, token: str) -> None:
        """Nobody is connected."""
        self._world = world
        self.token = token
        self.faults: Faults
        self.url = ""
        self.identifies: list[datetime] = []
        self.resumes: list[datetime] = []
        self.rejected_identifies = 0
        self.acknowledges = True
        self.refusals: list[int] = []
        self.presence: dict[str, Any] | None = None
        self._sessions: dict[str, Session] = {}
        self._connections: set[Connection] = set()

    @property
    def connected(self) -> bool:
        """Whether some session has a connection."""
        return any(session.connection for session in self._sessions.values())

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Those that could be resumed."""
        return tuple(self._sessions.values())

    def dispatch(
        self,
        event: str,
        payload: Callable[[bool], dict[str, Any]],
        *,
        guild_id: str | None,
        intent: int,
    ) -> None:
        """Send an event to the sessions that it is for.

        Args:
            event: its name.
            payload: makes the body, given whether the session reads messages' content.
            guild_id: where it happened.
            intent: what a session needs to hear of it; 0 for nothing. The rest is heard only by
                bots that are there.
        """
        guild = self._world.guilds.get(guild_id or "")
        if guild is not None and not guild.has_bot and intent:
            self._world.changed()
            return
        for session in self._sessions.values():
            if session.wants(guild_id, intent):
                session.add(event, payload(session.reads_content))
        self._world.changed()

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection."""
        if self.faults.take_refusal():
            # No broken connection: aiohttp's client tries those again by itself.
            return web.Response(status=503)
        socket = web.WebSocketResponse(max_msg_size=1 << 20, compress=False)
        await socket.prepare(request)
        connection = Connection(socket, compressed=request.query.get("compress") == "zlib-stream")
        self._connections.add(connection)
        writer = asyncio.create_task(connection.write())
        try:
            hello = {"heartbeat_interval": HEARTBEAT_MS}
            connection.send({"op": 10, "d": hello, "s": None, "t": None})
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._receive(connection, message.data)
        finally:
            self._connections.discard(connection)
            self._detach(connection)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        return socket

    async def send_all(self, frame: dict[str, Any]) -> None:
        """Send a frame that is no event on every connection."""
        for connection in self._connections:
            connection.send(frame)
        await asyncio.sleep(0)

    async def invalidate(self, *, resumable: bool) -> None:
        """Say on every connection that its session is invalid."""
        for connection in self._connections:
            if connection.session and not resumable:
                self._sessions.pop(connection.session.id, None)
                connection.session.connection = None
                connection.session = None
            connection.send({"op": 9, "d": resumable, "s": None, "t": None})
        await asyncio.sleep(0)

    async def close_all(self, code: int) -> None:
        """Close every connection."""
        for connection in list(self._connections):
            connection.closed_by_us = True
            self._detach(connection)
            await connection.socket.close(code=code)

    async def drop_all(self) -> None:
        """Break every connection off."""
        for connection in list(self._connections):
            connection.closed_by_us = True
            self._detach(connection)
            transport = connection.socket._req.transport if connection.socket._req else None
            if transport:
                transport.abort()
        await asyncio.sleep(0)

    def forget_sessions(self) -> None:
        """Let no session be resumed any more."""
        self._sessions.clear()

    def _detach(self, connection: Connection) -> None:
        session = connection.session
        if session and session.connection is connection:
            session.connection = None
        by_bot = connection.socket.close_code in (1000, 1001) and not connection.closed_by_us
        if session and by_bot:
            # Closed by the bot for good. Source: "Disconnecting from the Gateway".
            self._sessions.pop(session.id, None)
        self._world.changed()

    def _receive(self, connection: Connection, text: str) -> None:
        now = time.monotonic()
        sends = connection.sends
        sends.append(now)
        while sends[0] < now - 60:
            sends.popleft()
        if len(sends) > MAX_SENDS_A_MINUTE:
            self._refuse(connection, RATE_LIMITED, "more than 120 sends a minute")
            return
        if len(text.encode()) > MAX_PAYLOAD_BYTES:
            self._refuse(connection, DECODE_ERROR, "a payload of more than 4096 bytes")
            return
        frame = json.loads(text)
        op, data = frame["op"], frame.get("d")
        if op == 1:
            if self.acknowledges:
                connection.send({"op": 11, "d": None, "s": None, "t": None})
        elif op == 2:
            self._identify(connection, data)
        elif op == 6:
            self._resume(connection, data)
        elif connection.session is None:
            self._refuse(connection, NOT_AUTHENTICATED, f"op {op} before IDENTIFY")
        elif op == 3:
            self.presence = data
        elif op == 8:
            self._send_members(connection.session, data)
        elif op != 4:
            self._refuse(connection, UNKNOWN_OPCODE, f"op {op}")

    def _refuse(self, connection: Connection, code: int, what: str | None = None) -> None:
        self.refusals.append(code)
        if what:
            self._world.violations.append(f"gateway: {what}")
        connection.close(code)
        self._world.changed()

    def _identify(self, connection: Connection, data: dict[str, Any]) -> None:
        self.identifies.append(self._world.clock.now())
        self._world.changed()
        shard = tuple(data.get("shard") or (0, 1))
        if len(self.identifies) > MAX_IDENTIFIES:
            # Source: "Session Start Limit Object": Discord resets the token and mails its owner.
            self.token = token_hex(32)
        if connection.session:
            self._refuse(connection, ALREADY_AUTHENTICATED, "IDENTIFY twice")
        elif data.get("token") != self.token:
            self._refuse(connection, AUTHENTICATION_FAILED)
        elif not 0 <= shard[0] < shard[1]:
            self._refuse(connection, INVALID_SHARD, f"shard {shard}")
        elif data["intents"] & PRIVILEGED & ~(MESSAGE_CONTENT if self._world.reads_content else 0):
            self._refuse(connection, DISALLOWED_INTENTS)
        elif self.rejected_identifies > 0:
            self.rejected_identifies -= 1
            connection.send({"op": 9, "d": False, "s": None, "t": None})
        else:
            self._start(connection, shard, data["intents"])

    def _start(self, connection: Connection, shard: tuple[int, int], intents: int) -> None:
        session = Session(token_hex(16), shard, intents)
        self._sessions[session.id] = session
        connection.session, session.connection = session, connection
        bot = self._world.bot
        guilds = [g for g in self._world.guilds.values() if g.has_bot and session.wants(g.id, 0)]
        session.add(
            "READY",
            {
                "v": 10,
                "user": payloads.own_user(bot),
                "user_settings": {},
                "guilds": [{"id": guild.id, "unavailable": True} for guild in guilds],
                "session_id": session.id,
                "session_type": "normal",
                "resume_gateway_url": self.url,
                "shard": list(shard),
                "application": {"id": bot.id, "flags": 0},
                "relationships": [],
                "private_channels": [],
                "presences": [],
                "guild_join_requests": [],
                "auth": {},
            },
        )
        if intents & GUILDS:
            for guild in guilds:
                session.add("GUILD_CREATE", payloads.guild_create(guild, bot))

    def _resume(self, connection: Connection, data: dict[str, Any]) -> None:
        self.resumes.append(self._world.clock.now())
        session = self._sessions.get(data.get("session_id", ""))
        if data.get("token") != self.token:
            self._refuse(connection, AUTHENTICATION_FAILED)
        elif session is None:
            connection.send({"op": 9, "d": False, "s": None, "t": None})
        elif not 0 <= (data.get("seq") or 0) <= len(session.events):
            self._refuse(connection, INVALID_SEQ)
        else:
            connection.session = session
            for frame in session.events[data.get("seq") or 0 :]:
                connection.send(frame)
            session.connection = connection
            session.add("RESUMED", {})
        self._world.changed()

    def _send_members(self, session: Session, data: dict[str, Any]) -> None:
        guild = self._world.guilds.get(str(data.get("guild_id")))
        if guild is None:
            return
        people = [self._world.people[user_id] for user_id in guild.members]
        wanted = data.get("user_ids")
        if wanted is not None:
            ids = {str(i) for i in (wanted if isinstance(wanted, list) else [wanted])}
            people = [person for person in people if person.id in ids]
        body = {
            "guild_id": guild.id,
            "members": [payloads.member(person, guild) for person in people],
            "chunk_index": 0,
            "chunk_count": 1,
        }
        if data.get("nonce"):
            body["nonce"] = data["nonce"]
        session.add("GUILD_MEMBERS_CHUNK", body)
