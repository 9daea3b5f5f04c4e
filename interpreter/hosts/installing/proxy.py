"""The proxy that uv reaches the network through: one for each run, which knows where uv may go.

It tunnels (CONNECT) and hands on plain requests (``GET http://...``). What the indexes don't name
is refused, and bytes are counted: when too many have passed, all connections are cut.

Source: RFC 9110, section 9.3.6 (CONNECT); RFC 9112, section 3.2.2 (absolute-form).
"""

import asyncio
import base64
import re
import secrets
import socket
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit

from interpreter.hosts.installing.indexes import Place, place_of, trust
from interpreter.logs import get_logger

log = get_logger(__name__)

_HEAD_BYTES = 32 << 10
_HEAD_S = 15.0
_CONNECT_S = 15.0
_IDLE_S = 300.0
_CHUNK_BYTES = 1 << 16
_MOST_CONNECTIONS = 128

#: Says where a place is: addresses to connect to, () for "by its name", None for "no".
Locate = Callable[[Place], Awaitable[tuple[str, ...] | None]]


class _Refused(Exception):
    """A request is answered with an error; the text is the status line's end."""


@dataclass(slots=True)
class Proxy:
    """A running proxy.

    Attributes:
        locate: who may be reached.
        budget_bytes: how many bytes may pass, in both directions together.
        token: password that clients have to know; others on this machine don't.
        refused: places that were asked for and refused.
        exceeded: set once more bytes have passed than allowed.
        passed_bytes: how many have passed.
    """

    locate: Locate
    budget_bytes: int
    token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    refused: list[Place] = field(default_factory=list)
    exceeded: asyncio.Event = field(default_factory=asyncio.Event)
    passed_bytes: int = 0
    _talking: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def serve(self, listener: socket.socket) -> AsyncGenerator[Self]:
        """Accept connections on a listening socket, which is closed at the end with all others."""
        server = await asyncio.start_server(self._accept, sock=listener, limit=_HEAD_BYTES)
        try:
            yield self
        finally:
            server.close()
            for task in self._talking:
                task.cancel()
            await asyncio.gather(*self._talking, return_exceptions=True)

    def url(self, port: int) -> str:
        """How clients reach it."""
        return f"http://uv:{self.token}@127.0.0.1:{port}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._talking) >= _MOST_CONNECTIONS or self.exceeded.is_set():
            writer.transport.abort()
            return
        self._talking.add(task)
        try:
            await self._talk(reader, writer)
        except asyncio.CancelledError:
            pass  # the proxy closes, and this task is its own
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except Exception:
            log.exception("the installer's proxy failed at a connection")
        finally:
            self._talking.discard(task)
            writer.transport.abort() if self.exceeded.is_set() else writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HEAD_S):
            head = await reader.readuntil(b"\r\n\r\n")
        try:
            there, write = await self._open(head, writer)
        except _Refused as refused:
            writer.write(f"HTTP/1.1 {refused}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        try:
            await self._join(reader, writer, there, write)
        finally:
            write.transport.abort()

    async def _open(
        self, head: bytes, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to whom a request is for, and say or send what comes first."""
        method, target, headers = _read_head(head)
        if not _knows(headers, self.token):
            raise _Refused("407 Proxy Authentication Required")
        tunnel = method == "CONNECT"
        place = place_of(f"https://{target}" if tunnel else target)
        if place is None or not (tunnel or target.startswith("http://")):
            raise _Refused("400 Bad Request")
        addresses = await self.locate(place)
        if addresses is None:
            self.refused.append(place)
            raise _Refused("403 Forbidden")
        try:
            async with asyncio.timeout(_CONNECT_S):
                return await self._connect(head, place, addresses, tunnel, writer)
        except TimeoutError as error:
            raise _Refused("504 Gateway Timeout") from error
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise _Refused("502 Bad Gateway") from error

    async def _connect(
        self,
        head: bytes,
        place: Place,
        addresses: tuple[str, ...],
        tunnel: bool,
        writer: asyncio.StreamWriter,
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        onward = _upstream("https" if tunnel else "http", place)
        if onward is not None:
            there, write = await onward.connect()
            if tunnel:
                await onward.tunnel(place, there, write)
        else:
            there, write = await _connect_to_one(addresses or (place[0],), place[1])
        if tunnel:
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            sign = onward.sign() if onward else b""
            first, _, rest = re.sub(rb"(?im)^proxy-[^\r\n]*\r\n", b"", head).partition(b"\r\n")
            write.write(first + b"\r\n" + sign + rest)
        return there, write

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        write: asyncio.StreamWriter,
    ) -> None:
        """Hand on what each side sends until the far side has ended, or the near one is gone."""
        up = asyncio.create_task(self._copy(reader, write))
        down = asyncio.create_task(self._copy(there, writer))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if not down.done():
                with suppress(OSError):
                    write.write_eof()
                await asyncio.wait({down})
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(_IDLE_S):
                chunk = await source.read(_CHUNK_BYTES)
            if not chunk:
                return
            self.passed_bytes += len(chunk)
            if self.passed_bytes > self.budget_bytes:
                self.exceeded.set()
                for task in self._talking:
                    task.cancel()
                return
            sink.write(chunk)
            await sink.drain()


def _read_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise _Refused("400 Bad Request")
    headers = {
        name.strip().lower(): value.strip()
        for name, colon, value in (line.partition(":") for line in lines)
        if colon
    }
    return words[0], words[1], headers


def _knows(headers: dict[str, str], token: str) -> bool:
    sent = headers.get("proxy-authorization", "").encode("latin-1")
    expected = b"Basic " + base64.b64encode(f"uv:{token}".encode())
    return secrets.compare_digest(sent, expected)


async def _connect_to_one(
    hosts: tuple[str, ...], port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first of several addresses that answers."""
    failure: OSError | None = None
    for host in hosts:
        try:
            return await asyncio.open_connection(host, port)
        except OSError as error:
            failure = error
    raise failure or OSError("there is no address")


@dataclass(frozen=True, slots=True)
class _Upstream:
    """A proxy that this machine reaches the network through."""

    url: str = field(repr=False)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        place = place_of(self.url)
        if place is None:
            raise OSError("the proxy of this machine has no address")
        tls = trust() if self.url.startswith("https://") else None
        return await asyncio.open_connection(*place, ssl=tls)

    def sign(self) -> bytes:
        """The header with our name and password for it, if there are such."""
        parts = urlsplit(self.url)
        if parts.username is None:
            return b""
        words = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        return b"Proxy-Authorization: Basic " + base64.b64encode(words) + b"\r\n"

    async def tunnel(
        self, place: Place, there: asyncio.StreamReader, write: asyncio.StreamWriter
    ) -> None:
        host = f"[{place[0]}]" if ":" in place[0] else place[0]
        target = f"{host}:{place[1]}"
        ask = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n".encode()
        write.write(ask + self.sign() + b"\r\n")
        answer = await there.readuntil(b"\r\n\r\n")
        if not re.match(rb"HTTP/1\.[01] 2", answer):
            write.transport.abort()
            raise OSError("the proxy of this machine refuses")


def _upstream(scheme: str, place: Place) -> _Upstream | None:
    """The proxy that this machine is configured with for a place, if it is."""
    proxies = urllib.request.getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or urllib.request.proxy_bypass(f"{place[0]}:{place[1]}"):
        return None
    return _Upstream(url if "://" in url else f"http://{url}")
