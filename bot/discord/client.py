"""The library's client, set up as this bot needs it: our REST and gateway, few words in the log.

Measured with interactions.py 5.16: it logs what users say to commands at INFO, addresses with
interactions' tokens in them at ERROR, and gives up for good when the commands can't be registered
at the first try.
"""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from interactions import AutoShardedClient, Client, Intents
from interactions.api.events import MessageCreate
from interactions.api.events.processors._template import Processor
from interactions.api.events.processors.message_events import MessageEvents
from interactions.api.http.route import Route
from interactions.client.errors import HTTPException
from interactions.models.discord.asset import Asset

from bot.discord.addresses import api_addresses
from bot.discord.connection import PAUSES, Connection, Pauses
from bot.discord.identifies import Identifies
from bot.discord.rest import DiscordHTTP, Unanswered
from bot.settings import BotSettings
from interpreter.logs import get_logger

log = get_logger(__name__)

NO_CONTEXTS: Mapping[str, type] = MappingProxyType({})
_TOKEN_IN_URL = re.compile(r"(/(?:webhooks|interactions)/\d+/)[^/\s?]+")
_REQUEST_FAILED = re.compile(r"[A-Z]+::http")
_SYNC_FIRST_WAIT_S, _SYNC_MOST_WAIT_S = 5.0, 300.0


class _Supervised:
    """What both clients have besides the library's.

    Attributes:
        connections: one for each shard; there are any after the login.
        http: REST, for the life of the program.
    """

    http: Any
    connections: Sequence[Connection] = ()
    _has_gathered = False
    _syncing: "asyncio.Task[None] | None" = None

    async def end(self) -> None:
        """Stop what goes on besides the connections."""
        if self._syncing is not None:
            self._syncing.cancel()
            await asyncio.wait({self._syncing})
        await self.http.shut()

    def _gather_callbacks(self) -> None:
        """Called by the library at each login; once is enough."""
        if not self._has_gathered:
            self._has_gathered = True
            super()._gather_callbacks()  # type: ignore[misc]  # the library's, mixed in

    @Processor.define()
    async def _on_raw_message_create(self, event: Any) -> None:
        """Called by the library for each message: it lets one go whose channel it can't look up."""
        try:
            await MessageEvents._on_raw_message_create.callback(self, event)
        except (HTTPException, Unanswered) as error:
            log.info("channel unknown", reason=type(error).__name__)
            cache = self.cache  # type: ignore[attr-defined]  # the library's
            message = cache.get_message(event.data["channel_id"], event.data["id"])
            if message is not None:
                self.dispatch(MessageCreate(message))  # type: ignore[attr-defined]  # the library's

    async def _init_interactions(self) -> None:
        """Called by the library once the first session has begun."""
        if not await self._synchronised():
            self._syncing = asyncio.create_task(self._synchronise_later())

    async def _synchronise_later(self) -> None:
        wait_s = _SYNC_FIRST_WAIT_S
        while True:
            await asyncio.sleep(wait_s)
            if await self._synchronised():
                return
            wait_s = min(2 * wait_s, _SYNC_MOST_WAIT_S)

    async def _synchronised(self) -> bool:
        """Register the commands; True if that is over, well or badly."""
        try:
            await self.synchronise_interactions()  # type: ignore[attr-defined]  # the library's
        except HTTPException as error:
            log.error("commands refused", status=error.status, reason=str(error))
            return True
        except Exception as error:
            log.warning("commands not registered yet", reason=type(error).__name__)
            return False
        return True


class _OneConnection(_Supervised, Client):
    def use(self, identifies: Identifies, pauses: Pauses) -> None:
        connection = Connection(self, 0, identifies=identifies, pauses=pauses)
        self._connection_state = connection
        self.connections = (connection,)


class _ManyConnections(_Supervised, AutoShardedClient):
    def use(self, identifies: Identifies, pauses: Pauses) -> None:
        self._identifies, self._pauses = identifies, pauses

    async def login(self, token: str | None = None) -> None:
        """Called once: see the library's."""
        await super().login(token)
        self.connections = tuple(
            Connection(self, state.shard_id, identifies=self._identifies, pauses=self._pauses)
            for state in self._connection_states
        )
        self._connection_states = list(self.connections)


def make_client(
    settings: BotSettings,
    *,
    identifies: Identifies,
    pauses: Pauses = PAUSES,
    contexts: Mapping[str, type] = NO_CONTEXTS,
) -> Any:
    """The client, not connected yet.

    Args:
        settings: how many connections, which intents, which server.
        identifies: how often a session may be asked for.
        pauses: how long things may take.
        contexts: what requests become, in place of the library's classes: by the names of the
            library's options.
    """
    addresses: tuple[str, ...] = ()
    if settings.discord_api_url is not None:
        addresses = api_addresses(settings.discord_api_url)
        Route.BASE = addresses[0]
    if settings.discord_cdn_url is not None:
        Asset.BASE = settings.discord_cdn_url
    options: dict[str, Any] = {
        **contexts,
        "intents": _intents(settings),
        "logger": _quiet_logger(settings),
        # What answers a command knows best when to say that it takes a while.
        "auto_defer": False,
        "send_command_tracebacks": False,
        "delete_unused_application_cmds": False,
    }
    client: Any
    if settings.discord_shards == 1:
        client = _OneConnection(**options)
    elif settings.discord_shards == 0:
        client = _ManyConnections(**options)
    else:
        client = _ManyConnections(**options, total_shards=settings.discord_shards)
    client.http = DiscordHTTP(logger=client.logger, addresses=addresses)
    client.use(identifies, pauses)
    return client


def _intents(settings: BotSettings) -> Intents:
    intents = Intents.GUILDS | Intents.GUILD_MESSAGES | Intents.DIRECT_MESSAGES
    if settings.message_content_intent:
        intents |= Intents.MESSAGE_CONTENT
    return intents


def _quiet_logger(settings: BotSettings) -> logging.Logger:
    """A logger for the library that never tells what people say, nor a token."""
    logger = logging.getLogger("bot.discord.library")
    logger.setLevel(logging.WARNING)
    for earlier in list(logger.filters):
        logger.removeFilter(earlier)
    logger.addFilter(_Redaction(settings))
    return logger


class _Redaction(logging.Filter):
    def __init__(self, settings: BotSettings) -> None:
        super().__init__()
        self._token = settings.discord_token

    def filter(self, record: logging.LogRecord) -> bool:
        if _REQUEST_FAILED.match(record.getMessage()):  # it raises, too
            return False
        text = _TOKEN_IN_URL.sub(r"\1...", record.getMessage())
        if self._token is not None:
            text = text.replace(self._token.get_secret_value(), "...")
        record.msg, record.args = text, None
        return True
