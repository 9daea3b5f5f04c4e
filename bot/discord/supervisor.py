"""Supervisor: keeps the bot connected to Discord, and says how that stands."""

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NoReturn

import aiohttp
from interactions.client.errors import LibraryException, LoginError
from pydantic import SecretStr

from bot.discord.connection import CannotConnect, Connection
from bot.discord.identifies import Identifies, IdentifyRefused
from bot.discord.posting import Backoff
from bot.discord.rest import Unanswered
from interpreter.logs import get_logger

log = get_logger(__name__)

GatewayStatus = Literal["starting", "connecting", "ready", "waiting", "stopped"]

_WRONG_TOKEN = (
    "Discord refuses the token: put the right one into DISCORD_TOKEN (developer portal, Bot, Reset "
    "Token)."
)
#: What a network does; everything else is a fault of ours, and logged as such.
_EXPECTED = (
    Unanswered,
    LibraryException,
    aiohttp.ClientError,
    OSError,
    TimeoutError,
    RuntimeError,  # the library's, where Discord closes before saying hello
)
#: Of the sessions that Discord grants in a day, so many are left for when something was repaired.
_RESERVED_SESSIONS = 20
_LASTING_S = 60.0
_TURN_S = 6.0
#: For connecting again: the first time nearly at once.
RECONNECTING = Backoff(first_s=2.0, most_s=120.0)


@dataclass(frozen=True, slots=True)
class ShardState:
    """How a connection to Discord stands.

    Attributes:
        shard: its number.
        status: "waiting" is for the next try, "starting" for the first.
        since: since when; UTC.
        until: until when it waits; else None.
        reason: why it isn't connected; "" if it is.
    """

    shard: int
    status: GatewayStatus
    since: datetime
    until: datetime | None = None
    reason: str = ""


class Supervisor:
    """Logs in, and keeps every shard connected until :meth:`run` is cancelled or can't go on.

    Args:
        client: from ``make_client``.
        token: the bot's.
        identifies: how often a session may be asked for.
        backoff: how long to wait between two tries.
    """

    def __init__(
        self,
        client: Any,
        token: SecretStr,
        *,
        identifies: Identifies,
        backoff: Backoff = RECONNECTING,
    ) -> None:
        """See the class."""
        self._client = client
        self._token = token
        self._identifies = identifies
        self._backoff = backoff
        self._states: dict[int, ShardState] = {}
        self._say(0, "starting")

    @property
    def states(self) -> tuple[ShardState, ...]:
        """How each connection stands, by shard."""
        found = dict(self._states)
        for connection in self._client.connections:
            state = found.get(connection.shard_id)
            if state is not None and state.status in ("connecting", "ready"):
                status: GatewayStatus = "ready" if connection.is_up else "connecting"
                if status != state.status:
                    self._say(connection.shard_id, status)
                    found[connection.shard_id] = self._states[connection.shard_id]
        return tuple(found[shard] for shard in sorted(found))

    @property
    def is_ready(self) -> bool:
        """Whether every connection is up."""
        return all(state.status == "ready" for state in self.states)

    async def run(self) -> NoReturn:
        """Stay connected.

        Raises:
            CannotConnect: nothing but the operator can help; says what to do.
        """
        fatal: list[CannotConnect] = []
        try:
            await self._log_in()
            await self._look_at_grant()
            async with asyncio.TaskGroup() as shards:
                for connection in self._client.connections:
                    shards.create_task(self._keep(connection))
        except* CannotConnect as group:
            fatal.extend(_leaves(group))
        finally:
            for connection in self._client.connections:
                await connection.stop()
                self._say(connection.shard_id, "stopped")
            await self._client.end()
        raise fatal[0] if fatal else AssertionError("the shards' loops never end by themselves")

    # -- internals -------------------------------------------------------------------------------

    async def _log_in(self) -> None:
        token = self._token.get_secret_value()
        failures = 0
        while True:
            try:
                # Twice, as the second login of the library's own can't be repeated.
                await self._client.http.login(token)
                await self._client.http.get_current_bot_information()
                await self._client.login(token)
                return
            except LoginError as error:
                raise CannotConnect(_WRONG_TOKEN, "HTTP 401") from error
            except Exception as error:
                failures += 1
                await self._pause(0, error, self._wait_s(failures))

    async def _look_at_grant(self) -> None:
        """Heed how many sessions Discord still grants today: other runs of the bot count, too."""
        try:
            answer = await self._client.http.get_gateway_bot()
            grant = answer["session_start_limit"]
            # Other servers than Discord may grant few at any time.
            reserved = min(_RESERVED_SESSIONS, int(grant.get("total", 1000)) // 50)
            if int(grant["remaining"]) <= reserved:
                self._identifies.close(int(grant["reset_after"]) / 1000)
                log.warning("few sessions left", remaining=int(grant["remaining"]))
        except Exception as error:
            log.info("grant of sessions unknown", reason=type(error).__name__)

    async def _keep(self, connection: Connection) -> NoReturn:
        shard, failures = connection.shard_id, 0
        while True:
            self._say(shard, "connecting")
            began, error = time.monotonic(), None
            try:
                await connection.hold()
            except CannotConnect:
                raise
            except IdentifyRefused as refused:
                await self._pause(shard, refused, refused.wait_s)
                continue
            except Exception as failure:
                error = failure
            failures = 0 if time.monotonic() - began > _LASTING_S else failures + 1
            await self._pause(shard, error, self._wait_s(failures))

    async def _pause(self, shard: int, error: Exception | None, wait_s: float) -> None:
        reason = _reason(error)
        until = datetime.now(UTC) + timedelta(seconds=wait_s)
        self._say(shard, "waiting", until=until, reason=reason)
        unexpected = error is not None and not isinstance(error, (*_EXPECTED, IdentifyRefused))
        # Shards ask for their sessions one after the other: nothing is wrong then.
        is_turn = isinstance(error, IdentifyRefused) and wait_s < _TURN_S
        log.log(
            logging.INFO if is_turn else logging.WARNING,
            "not connected to Discord",
            shard=shard,
            reason=reason,
            wait_s=round(wait_s, 1),
            exc_info=error if unexpected else None,
        )
        await asyncio.sleep(wait_s)

    def _wait_s(self, failures: int) -> float:
        longest = self._backoff.first_s * float(2 ** min(failures, 20))
        return random.uniform(0.5, 1.0) * min(longest, self._backoff.most_s)

    def _say(
        self,
        shard: int,
        status: GatewayStatus,
        *,
        until: datetime | None = None,
        reason: str = "",
    ) -> None:
        self._states[shard] = ShardState(shard, status, datetime.now(UTC), until, reason)


def _reason(error: Exception | None) -> str:
    if error is None:
        return "the connection ended"
    # aiohttp's errors have a status of HTTP, and a code that warns whoever reads it.
    code = getattr(error, "status", None) or getattr(error, "code", None)
    name = type(error).__name__
    if isinstance(error, IdentifyRefused):
        return "too many sessions in too short a time"
    return f"{name} {code}" if isinstance(code, int) else name


def _leaves(group: BaseExceptionGroup[CannotConnect]) -> list[CannotConnect]:
    found: list[CannotConnect] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
