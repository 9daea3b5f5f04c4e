"""Another server that speaks Discord's protocol, though not as Discord does: a proxy before the
double that changes what is asked and answered."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

from tests.discord_double import DiscordDouble

#: Gets a method, a path and what the double answered; gives status and body.
Answer = Callable[[str, str, int, Any], tuple[int, Any]]


def as_it_is(method: str, path: str, status: int, body: Any) -> tuple[int, Any]:
    """An answer that isn't changed."""
    return status, body


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How a server differs from Discord.

    Attributes:
        mounted: where its REST interface is.
        told: what the operator puts into DISCORD_API_URL, after the host.
        gateway: what it gives as its gateway's address, after the host.
        missing: routes that it doesn't have.
        answer: changes what is answered.
        event: changes what the gateway tells, in place.
        content_type: of its answers.
        edits_files: whether an edit may bring files; if not, it is said that all is well.
        knows: what a new message may have; None for everything.
    """

    mounted: str = "/api/v10"
    told: str = "/api/v10"
    gateway: str = "/gateway"
    missing: frozenset[str] = frozenset()
    answer: Answer = as_it_is
    event: Callable[[str, dict[str, Any]], None] = lambda name, data: None
    content_type: str = "application/json"
    edits_files: bool = True
    knows: frozenset[str] | None = None


class OtherServer:
    """See the module.

    Attributes:
        identifies: how often a session was asked for.
        uploads: how many forms came.
        takes_files: whether it understands forms.
    """

    def __init__(self, double: DiscordDouble, difference: Difference) -> None:
        """Use :func:`other_server`."""
        self.identifies = self.uploads = 0
        self.takes_files = True
        self._double = double
        self._difference = difference
        self._port = 0
        self._http: aiohttp.ClientSession

    @property
    def told(self) -> str:
        """For DISCORD_API_URL."""
        return f"http://127.0.0.1:{self._port}{self._difference.told}"

    async def rest(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on."""
        path = "/" + request.match_info["rest"]
        if path in self._difference.missing or path.startswith(("/api/", "/v10/")):
            return self._answered(404, {"message": "404: Not Found", "code": 0})
        is_form = request.content_type.startswith("multipart/")
        self.uploads += is_form
        if is_form and not self.takes_files:
            await request.read()
            return self._answered(500, {"message": "Unexpected token", "code": 0})
        raw, method = await request.read(), request.method
        if is_form and method == "PATCH" and not self._difference.edits_files:
            raw, method = b"", "GET"
        if self._difference.knows is not None and path.endswith("/messages"):
            asked = json.loads(raw) if request.method == "POST" and not is_form else {}
            if unknown := asked.keys() - self._difference.knows:
                return self._answered(400, {"message": f"unknown: {sorted(unknown)}"})
        kept = ["Authorization", "User-Agent", *(["Content-Type"] if raw else [])]
        async with self._http.request(
            method,
            f"{self._double.api_url}{path}",
            params=request.query,
            data=raw or None,
            headers={name: request.headers[name] for name in kept if name in request.headers},
        ) as response:
            body = await response.json() if response.status != 204 else None
            status, body = self._difference.answer(request.method, path, response.status, body)
        if path in ("/gateway", "/gateway/bot") and status == 200:
            body["url"] = f"ws://127.0.0.1:{self._port}{self._difference.gateway}"
        return self._answered(status, body)

    async def files(self, request: web.Request) -> web.StreamResponse:
        """Give a file."""
        async with self._http.get(self._double.cdn_url + request.path_qs) as response:
            return web.Response(status=response.status, body=await response.read())

    async def gateway(self, request: web.Request) -> web.StreamResponse:
        """Pass frames on, as text, whatever compression was asked for."""
        theirs = web.WebSocketResponse()
        await theirs.prepare(request)
        async with self._http.ws_connect(self._double.gateway.url) as ours:
            down = asyncio.create_task(self._down(ours, theirs))
            async for message in theirs:
                if message.type is WSMsgType.TEXT:
                    self.identifies += json.loads(message.data)["op"] == 2
                    await ours.send_str(message.data)
            down.cancel()
            await asyncio.gather(down, return_exceptions=True)
        return theirs

    async def _down(
        self, ours: aiohttp.ClientWebSocketResponse, theirs: web.WebSocketResponse
    ) -> None:
        async for message in ours:
            frame = json.loads(message.data)
            if frame["op"] == 0:
                frame["d"].pop("resume_gateway_url", None)
                self._difference.event(frame["t"], frame["d"])
            await theirs.send_str(json.dumps(frame))
        await theirs.close()

    def _answered(self, status: int, body: Any) -> web.Response:
        if body is None:
            return web.Response(status=status)
        headers = {"Content-Type": self._difference.content_type}
        return web.Response(status=status, body=json.dumps(body).encode(), headers=headers)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, double: DiscordDouble, difference: Difference
    ) -> AsyncIterator["OtherServer"]:
        """Serve until the context ends."""
        server = cls(double, difference)
        application = web.Application(client_max_size=64 << 20)
        if difference.mounted:
            application.router.add_get("/gateway", server.gateway)
        application.router.add_get("/socket/", server.gateway)
        application.router.add_get("/attachments/{rest:.*}", server.files)
        application.router.add_route("*", difference.mounted + "/{rest:.*}", server.rest)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        async with aiohttp.ClientSession() as server._http:
            await site.start()
            server._port = runner.addresses[0][1]
            try:
                yield server
            finally:
                await runner.cleanup()
