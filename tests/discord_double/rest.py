"""The REST interface: every request is recorded, perhaps struck by a fault, checked, answered."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from aiohttp import web

from tests.discord_double.call import Call, read
from tests.discord_double.channel_routes import ChannelRoutes
from tests.discord_double.command_routes import CommandRoutes
from tests.discord_double.directory_routes import DirectoryRoutes
from tests.discord_double.errors import ApiError, Problem, invalid_form
from tests.discord_double.faults import Faults, RestFault
from tests.discord_double.gateway import Gateway
from tests.discord_double.interaction_routes import InteractionRoutes
from tests.discord_double.openapi import RequestSchemas
from tests.discord_double.world import World

PREFIX = "/api/v10"
REQUESTS_A_SECOND = 50
# What has been seen of Discord's buckets for sending and editing messages; they aren't documented.
BUCKET_REQUESTS, BUCKET_S = 5, 5.0
_BUCKETS = frozenset(
    {
        ("POST", "/channels/{channel_id}/messages"),
        ("PATCH", "/channels/{channel_id}/messages/{message_id}"),
    }
)
Route: TypeAlias = Callable[[Call], Any]
_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that came, for tests to look at.

    Attributes:
        status: of the answer; 0 if the connection was broken off.
        at: in Discord's time.
    """

    method: str
    path: str
    template: str
    payload: Any
    status: int
    at: datetime


class Rest:
    """Routes, and what holds for all of them.

    Attributes:
        requests: all that came, the oldest first.
        invalid: how many were answered with 401, 403 or 429; ten thousand in ten minutes would ban
            the address.
        second: the clock of rate limits, in seconds.
    """

    def __init__(
        self,
        world: World,
        gateway: Gateway,
        faults: Faults,
        schemas: RequestSchemas,
        *,
        buckets: bool,
    ) -> None:
        """See ``DiscordDouble.open``."""
        self.requests: list[Request] = []
        self.invalid = 0
        self._world = world
        self._gateway = gateway
        self._faults = faults
        self._schemas = schemas
        self.second = time.monotonic
        self._recent: deque[float] = deque()
        self._buckets: dict[tuple[str, str, str], deque[float]] | None = {} if buckets else None
        self._busy = 0

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register all routes."""
        for group in (
            DirectoryRoutes(self._world, self._gateway),
            CommandRoutes(self._world),
            ChannelRoutes(self._world),
            InteractionRoutes(self._world),
        ):
            for method, template, route in group.routes():
                router.add_route(method, PREFIX + template, self._serve(template, route))
        router.add_route("*", "/api/{rest:.*}", self._unknown)

    def _serve(self, template: str, route: Route) -> _Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            self._busy += 1
            try:
                return await answer(request)
            finally:
                self._busy -= 1
                # Others see the change once the answer is on its way.
                asyncio.get_running_loop().call_soon(self._world.changed)

        async def answer(request: web.Request) -> web.StreamResponse:
            path = request.path.removeprefix(PREFIX)
            is_upload = request.content_type.startswith("multipart/")
            fault = self._faults.take_rest(request.method, path, is_upload=is_upload)
            if fault and not fault.after:
                return await self._strike(request, template, fault)
            payload = None
            try:
                self._authenticate(request, template)
                limited = self._limit(template) or self._limit_bucket(request, template)
                if limited:
                    return self._answer(request, template, None, 429, *limited)
                call = await read(request, template)
                payload = call.payload
                self._check(call)
                body = route(call)
            except ApiError as error:
                if error.is_violation:
                    self._violate(f"{request.method} {path}: {error}")
                return self._answer(request, template, payload, error.status, error.body())
            if fault:
                return await self._strike(request, template, fault)
            status = 204 if body is None else 200
            if isinstance(body, tuple):
                status, body = body
            return self._answer(request, template, payload, status, body)

        return serve

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self._busy > 0

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        self._violate(f"{request.method} {request.path}: there is no such route in the double")
        return self._answer(
            request, request.path, None, 404, {"message": "404: Not Found", "code": 0}
        )

    def _authenticate(self, request: web.Request, template: str) -> None:
        if template.startswith(("/interactions/", "/webhooks/")):
            return
        if request.headers.get("Authorization") != f"Bot {self._gateway.token}":
            raise ApiError(401, 0, "401: Unauthorized")
        if not request.headers.get("User-Agent", "").startswith("DiscordBot ("):
            raise invalid_form(Problem("User-Agent", "a bot says that it is one"))

    def _limit(self, template: str) -> tuple[dict[str, Any], dict[str, str]] | None:
        """The global limit, which doesn't hold for interactions."""
        if template.startswith(("/interactions/", "/webhooks/")):
            return None
        wait_s = _wait_s(self._recent, self.second(), REQUESTS_A_SECOND, 1.0)
        return _limited(wait_s, is_global=True, headers=True) if wait_s else None

    def _limit_bucket(
        self, request: web.Request, template: str
    ) -> tuple[dict[str, Any], dict[str, str]] | None:
        """The limit of one kind of request in one channel, if there are such."""
        if self._buckets is None or (request.method, template) not in _BUCKETS:
            return None
        key = (request.method, template, request.match_info["channel_id"])
        recent = self._buckets.setdefault(key, deque())
        wait_s = _wait_s(recent, self.second(), BUCKET_REQUESTS, BUCKET_S)
        return _limited(wait_s, is_global=False, headers=True) if wait_s else None

    def _check(self, call: Call) -> None:
        """Hold a request against the OpenAPI document.

        Raises:
            ApiError: it isn't as it should be.
        """
        if not self._schemas.knows(call.method, call.template):
            return
        unknown = self._schemas.unknown_query(call.method, call.template, set(call.query))
        if unknown:
            raise invalid_form(Problem("query", f"unknown: {sorted(unknown)}"))
        if call.payload is None:
            return
        problems = list(self._schemas.problems(call.method, call.template, call.payload))
        if problems:
            raise invalid_form(*problems)

    async def _strike(
        self, request: web.Request, template: str, fault: RestFault
    ) -> web.StreamResponse:
        assert request.transport is not None
        if fault.status <= 0:
            if fault.status == -1:
                await request.content.readany()
            self._record(request, template, None, 0)
            request.transport.abort()
            return web.Response(status=500)
        await request.read()
        if fault.status == 429:
            body, headers = _limited(
                fault.retry_after, is_global=fault.is_global, headers=fault.headers
            )
            return self._answer(request, template, None, 429, body, headers)
        body = {"message": f"{fault.status}: scripted", "code": 0}
        return self._answer(request, template, None, fault.status, body)

    def _answer(
        self,
        request: web.Request,
        template: str,
        payload: Any,
        status: int,
        body: Any,
        headers: dict[str, str] | None = None,
    ) -> web.StreamResponse:
        self._record(request, template, payload, status)
        self.invalid += status in (401, 403, 429)
        if status == 204:
            return web.Response(status=204, headers=headers)
        # Exactly so: with a charset, interactions.py takes it for text.
        return web.Response(
            status=status,
            body=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **(headers or {})},
        )

    def _record(self, request: web.Request, template: str, payload: Any, status: int) -> None:
        path = request.path.removeprefix(PREFIX)
        now = self._world.clock.now()
        self.requests.append(Request(request.method, path, template, payload, status, now))
        self._world.changed()

    def _violate(self, what: str) -> None:
        self._world.violations.append(what)
        self._world.changed()


def _wait_s(recent: deque[float], now: float, most: int, window_s: float) -> float:
    """How long a request has to wait; one that needn't is counted."""
    while recent and recent[0] <= now - window_s:
        recent.popleft()
    if len(recent) >= most:
        return round(window_s - (now - recent[0]), 3) or 0.001
    recent.append(now)
    return 0.0


def _limited(
    wait_s: float, *, is_global: bool, headers: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """A 429. Source: "Rate Limits"."""
    what = "You are being rate limited."
    body = {"message": what, "retry_after": wait_s, "global": is_global}
    if not headers:
        return body, {}
    told = {"Retry-After": str(max(1, round(wait_s)))}
    if is_global:
        return body, told | {"X-RateLimit-Global": "true", "X-RateLimit-Scope": "global"}
    return body, told | {
        "X-RateLimit-Limit": "5",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset-After": f"{wait_s:.3f}",
        "X-RateLimit-Bucket": "abcd1234",
        "X-RateLimit-Scope": "user",
    }
