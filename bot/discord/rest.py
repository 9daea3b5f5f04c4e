"""DiscordHTTP: the library's client for Discord's REST interface, with what it lacks.

Measured with interactions.py 5.16: it closes its connections whenever the gateway's connection is
lost, uploads and all; gives None where Discord answered 429 or 500 a few times; sends 0 bytes when
it uploads a stream again; waits for ever for a rate limit whose waiting was cancelled; and reads an
answer as text where its type has a charset.
"""

import asyncio
import json
import mimetypes
import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import aiohttp
from interactions.api.http import http_client
from interactions.api.http.http_client import BucketLock, HTTPClient
from interactions.api.http.route import Route
from interactions.client.errors import GatewayNotFound, HTTPException, LoginError, NotFound

from bot.discord.addresses import gateway_address
from bot.discord.gaps import fill, fill_application, fill_own_user
from bot.errors import BotError
from interpreter.logs import get_logger

log = get_logger(__name__)

NO_PARTS: Final[Mapping[str, str | int]] = MappingProxyType({})
#: Whether this task's request was answered with 429: the library gives None for 500, too.
_limited: ContextVar[bool] = ContextVar("limited", default=False)
_TRIES = 3
_FIRST_WAIT_S = 0.25
_REQUEST_S: Final = 20.0
#: What even a slow line takes, so that a large upload isn't given up while it is on its way.
_SLOWEST_BYTES_A_SECOND = 50_000
# Source: Discord's documentation, "JSON Error Codes".
_ALREADY_ACKNOWLEDGED = 40060
_INVALID_TOKEN = 50027
#: What a server answers that has no such route.
_NO_SUCH_ROUTE: Final = frozenset({404, 405, 501})


class Unanswered(BotError):
    """A request to Discord came to nothing, and may work later on.

    Attributes:
        may_be_done: whether Discord may have done what was asked all the same.
    """

    def __init__(self, detail: str, *, may_be_done: bool) -> None:
        super().__init__("Discord doesn't answer just now; please try again.", detail)
        self.may_be_done = may_be_done


class Refused(BotError):
    """Discord won't do what was asked.

    Attributes:
        status: of HTTP.
        code: Discord's own, 0 if it gave none.
    """

    def __init__(self, status: int, code: int, detail: str) -> None:
        super().__init__("Discord refused to do that.", detail)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file to upload.

    Attributes:
        filename: what to call it.
        source: its bytes, or where on disk they are.
        size: in bytes.
    """

    filename: str
    source: bytes | Path
    size: int


class _Bucket(BucketLock):
    """A rate limit; its lock opens by itself, whoever stops waiting for it."""

    async def lock_for_duration(self, duration: float, block: bool = False) -> None:
        if not self._lock.locked():
            await self._lock.acquire()
            asyncio.get_running_loop().call_later(duration, self._lock.release)
        if block:
            async with self._lock:
                pass


async def _decoded(response: Any) -> Any:
    """What an answer says: the library's reads it as text where its type has a charset."""
    text = await response.text(encoding="utf-8")
    decoded: Any = text
    if response.content_type == "application/json":
        with suppress(ValueError):
            decoded = json.loads(text)
    if response.status == 429 and not isinstance(decoded, dict):
        return {}  # a proxy's page: the library asks it for fields
    return decoded


http_client.response_decode = _decoded  # type: ignore[attr-defined]  # the library's


class DiscordHTTP(HTTPClient):
    """One for the life of the program: the gateway's connections may come and go.

    ``request`` is what the library calls for itself and for handlers: a few quick tries.
    ``attempt`` is one try, for who has a patience of its own.

    Args:
        addresses: where another server's REST interface may be, the likeliest first; none for
            Discord's.
    """

    def __init__(self, *args: Any, addresses: Sequence[str] = (), **options: Any) -> None:
        """As the library's, but for the class's."""
        super().__init__(*args, **options)
        self._addresses = tuple(addresses)
        self._max_attempts = 1
        self._is_known_good = False
        self._own_id: int | None = None

    async def login(self, token: str) -> Any:
        """Called by the library: look whether the token is good; connections stay.

        Raises:
            LoginError: it isn't.
            Unanswered: nobody knows.
        """
        for number, address in enumerate(self._addresses, 1):
            Route.BASE = address
            try:
                me = await self._own_user(token)
            except (NotFound, Unanswered):
                if number == len(self._addresses):
                    log.warning("no interface of Discord's found", tried=self._addresses)
                    raise
            else:
                self._addresses = (address,)
                return me
        return await self._own_user(token)

    async def get_current_bot_information(self) -> Any:
        """Called by the library: the bot's application, by the newer way if need be."""
        try:
            application = await self.request(Route("GET", "/oauth2/applications/@me"))
        except HTTPException as error:
            if error.status not in _NO_SUCH_ROUTE:
                raise
            application = await self.request(Route("GET", "/applications/@me"))
        fill_application(application, str(await self.own_id()))
        return application

    async def get_gateway(self) -> str:
        """Called by the library: where to connect to; by the way for bots where there is no other.

        Raises:
            GatewayNotFound: nobody says where.
        """
        try:
            answer = await self.request(Route("GET", "/gateway"))
        except HTTPException as error:
            if error.status not in _NO_SUCH_ROUTE:
                raise GatewayNotFound from error
            answer = await self.get_gateway_bot()
        return gateway_address(str(answer["url"]))

    async def get_application_commands(self, *args: Any, **options: Any) -> Any:
        """Called by the library: the commands that are registered; none where nobody can tell."""
        try:
            return await super().get_application_commands(*args, **options)
        except HTTPException as error:
            if error.status not in _NO_SUCH_ROUTE:
                raise
            return []

    async def close(self) -> None:
        """Called by the library when it has lost the gateway: no reason to break uploads off."""

    async def shut(self) -> None:
        """Close all connections, for good."""
        await super().close()

    def get_ratelimit(self, route: Any) -> Any:
        """Called by the library for each request."""
        bucket_hash = self._endpoints.get(route.rl_bucket)
        return self.ratelimit_locks.get(bucket_hash or "") or _Bucket()

    async def request(
        self,
        route: Any,
        payload: Any = None,
        files: Any = None,
        reason: Any = None,
        params: Any = None,
        **options: Any,
    ) -> Any:
        """Make a request, with a few quick tries.

        Raises:
            HTTPException: Discord won't.
            Unanswered: it came to nothing.
        """
        for number in range(1, _TRIES + 1):
            try:
                return await self._once(
                    route, payload, _REQUEST_S, files=files, reason=reason, params=params, **options
                )
            except HTTPException as error:
                # Of a callback whose first answer got lost.
                if number > 1 and error.code == _ALREADY_ACKNOWLEDGED:
                    return ""
                raise
            except Unanswered as error:
                twice = error.may_be_done and route.method == "POST"
                if number == _TRIES or (twice and not route.path.endswith("/callback")):
                    raise
            await asyncio.sleep(random.uniform(0.5, 1) * _FIRST_WAIT_S * 4 ** (number - 1))
        raise AssertionError("the last try returns or raises")

    async def attempt(
        self,
        method: str,
        path: str,
        parts: Mapping[str, str | int] = NO_PARTS,
        *,
        payload: Mapping[str, Any] | None = None,
        files: Sequence[FormFile] = (),
        params: Mapping[str, str] | None = None,
        timeout_s: float = _REQUEST_S,
    ) -> Any:
        """Make a request, once.

        Args:
            method: of HTTP.
            path: with names in braces.
            parts: what those stand for.
            payload: what is sent as JSON.
            files: what goes with it; read from disk while it is sent.
            params: of the query.
            timeout_s: how long it may take; uploads get more by their size.

        Raises:
            Refused: Discord won't.
            Unanswered: it came to nothing.
        """
        route = Route(method, path, **parts)
        timeout_s += sum(file.size for file in files) / _SLOWEST_BYTES_A_SECOND
        with ExitStack() as opened:
            body: Any = dict(payload) if payload is not None else None
            if files:
                body = _form(body, files, opened)
            try:
                return await self._once(route, body, timeout_s, params=params and dict(params))
            except HTTPException as error:
                raise Refused(error.status, _code(error), _words(error)) from error

    def log_ratelimit(self, log_func: Any, message: str) -> None:
        """Called by the library: as a warning where Discord answered 429."""
        if log_func == self.logger.warning:
            _limited.set(True)
        super().log_ratelimit(log_func, message)

    async def own_id(self) -> int:
        """The bot's id.

        Raises:
            Unanswered: nobody knows.
        """
        if self._own_id is None:
            self._own_id = int((await self.attempt("GET", "/users/@me"))["id"])
        return self._own_id

    async def _own_user(self, token: str) -> Any:
        if self.closed:
            me = await super().login(token)
        else:
            self.token = token
            try:
                me = await self.request(Route("GET", "/users/@me"))
            except HTTPException as error:
                if error.status == 401:
                    raise LoginError("An improper token was passed") from error
                raise
        if not isinstance(me, dict):  # a page: there is another kind of server
            raise Unanswered("not an answer of Discord's", may_be_done=False)
        fill_own_user(me)
        return me

    async def _once(self, route: Any, payload: Any, timeout_s: float, **options: Any) -> Any:
        if self.closed:
            raise Unanswered("not connected to Discord", may_be_done=False)
        _limited.set(False)
        try:
            async with asyncio.timeout(timeout_s):
                result = await super().request(route, payload, **options)
        except HTTPException as error:
            if (error.status >= 500 and error.status != 501) or error.status in (408, 429):
                raise Unanswered(f"HTTP {error.status}", may_be_done=True) from error
            if error.status == 401 and _code(error) != _INVALID_TOKEN and self._is_known_good:
                # The bot's own token was good: the operator has to do something about it.
                raise Unanswered("the bot's token is refused", may_be_done=False) from error
            raise
        except aiohttp.ClientConnectorError as error:
            raise Unanswered(type(error).__name__, may_be_done=False) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unanswered(type(error).__name__, may_be_done=True) from error
        except (AttributeError, KeyError, RuntimeError) as error:
            # The library, where a proxy answers with a page of its own in place of Discord.
            log.warning("answer not understood", reason=type(error).__name__)
            raise Unanswered(type(error).__name__, may_be_done=True) from error
        if result is None:
            limited = _limited.get()
            raise Unanswered("HTTP 429" if limited else "HTTP 500", may_be_done=not limited)
        self._is_known_good = True
        fill(result)
        return result


def _form(
    payload: Mapping[str, Any] | None, files: Sequence[FormFile], opened: ExitStack
) -> aiohttp.FormData:
    """A form of its own for each try: what has been read can't be sent again."""
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("payload_json", json.dumps(payload or {}), content_type="application/json")
    for number, file in enumerate(files):
        source = file.source
        form.add_field(
            f"files[{number}]",
            opened.enter_context(
                BytesIO(source) if isinstance(source, bytes) else source.open("rb")
            ),
            filename="".join(c for c in file.filename if c.isprintable()),
            content_type=mimetypes.guess_type(file.filename)[0] or "application/octet-stream",
        )
    return form


def _code(error: Any) -> int:
    return error.code if isinstance(error.code, int) else 0


def _words(error: Any) -> str:
    """What Discord says, for the log: which field is wrong, but never what was in it."""
    return f"HTTP {error.status}, code {_code(error)}: {str(error)[:500]}"
