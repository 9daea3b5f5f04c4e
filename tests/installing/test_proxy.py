"""The proxy between uv and the network, with plain sockets on both sides."""

import asyncio
import base64
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from interpreter.hosts.installing.indexes import Place
from interpreter.hosts.installing.proxy import Proxy


@pytest.fixture(autouse=True)
def no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)


@asynccontextmanager
async def server(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that says the same to everybody and keeps what it was sent first."""
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1], heard


@asynccontextmanager
async def proxy_to(*ports: int, budget: int = 1 << 20) -> AsyncIterator[tuple[Proxy, int]]:
    """A proxy that knows some ports of this machine."""

    async def locate(place: Place) -> tuple[str, ...] | None:
        return ("127.0.0.1",) if place[1] in ports else None

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    async with Proxy(locate, budget).serve(listener) as proxy:
        yield proxy, port


def authorization(token: str) -> str:
    return f"Proxy-Authorization: Basic {base64.b64encode(f'uv:{token}'.encode()).decode()}\r\n"


async def ask(port: int, *parts: str) -> bytes:
    """Send something, return all that comes until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write("".join(parts).encode())
        return await reader.read()
    finally:
        writer.transport.abort()


async def test_plain_request_is_handed_on_without_the_token() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    async with server(answer) as (there, heard), proxy_to(there) as (proxy, port):
        head = f"GET http://pages.test:{there}/x HTTP/1.1\r\nHost: pages.test\r\n"
        assert await ask(port, head, authorization(proxy.token), "\r\n") == answer
        assert proxy.passed_bytes == len(answer)
    assert heard == [
        f"GET http://pages.test:{there}/x HTTP/1.1\r\nHost: pages.test\r\n\r\n".encode()
    ]


async def test_tunnel_carries_both_ways() -> None:
    async with server(b"back") as (there, heard), proxy_to(there) as (proxy, port):
        head = f"CONNECT pages.test:{there} HTTP/1.1\r\n"
        got = await ask(port, head, authorization(proxy.token), "\r\n", "forth\r\n\r\n")
    assert got == b"HTTP/1.1 200 Connected\r\n\r\nback"
    assert heard == [b"forth\r\n\r\n"]


@pytest.mark.parametrize("request_line", ["CONNECT {} HTTP/1.1", "GET http://{}/x HTTP/1.1"])
async def test_others_are_refused_and_remembered(request_line: str) -> None:
    async with server(b"secret") as (there, heard), proxy_to() as (proxy, port):
        line = request_line.format(f"Other.test:{there}")
        got = await ask(port, f"{line}\r\n", authorization(proxy.token), "\r\n")
        assert got.startswith(b"HTTP/1.1 403 ")
        assert proxy.refused == [("other.test", there)]
    assert not heard


@pytest.mark.parametrize("header", ["", "Proxy-Authorization: Basic eHg6eXk=\r\n"])
async def test_clients_without_the_token_are_refused(header: str) -> None:
    async with server(b"secret") as (there, heard), proxy_to(there) as (_, port):
        got = await ask(port, f"CONNECT a.test:{there} HTTP/1.1\r\n", header, "\r\n")
    assert got.startswith(b"HTTP/1.1 407 ")
    assert not heard


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "GET /x HTTP/1.1",
        "GET ftp://a.test/x HTTP/1.1",
        "GET https://a.test/x HTTP/1.1",
        "CONNECT a.test:x HTTP/1.1",
        "CONNECT :443 HTTP/1.1",
        "GET http://a.test/x SPDY/3",
    ],
)
async def test_nonsense_is_refused(line: str) -> None:
    async with proxy_to(443, 80) as (proxy, port):
        got = await ask(port, f"{line}\r\n", authorization(proxy.token), "\r\n")
    assert got.startswith(b"HTTP/1.1 400 ")


async def test_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = taken.getsockname()[1]
    async with proxy_to(nobody) as (proxy, port):
        line = f"CONNECT a.test:{nobody} HTTP/1.1\r\n"
        got = await ask(port, line, authorization(proxy.token), "\r\n")
    assert got.startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize(("size", "fits"), [(999, True), (1000, True), (1001, False)])
async def test_bytes_beyond_the_budget_cut_the_connection(size: int, fits: bool) -> None:
    async with server(bytes(size)) as (there, _), proxy_to(there, budget=1004) as (proxy, port):
        line = f"CONNECT a.test:{there} HTTP/1.1\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{line}{authorization(proxy.token)}\r\n".encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 Connected\r\n\r\n"
        writer.write(b"\r\n\r\n")  # four bytes that count, too
        try:
            got = await reader.read()
        except ConnectionError:
            got = b""
        writer.transport.abort()
        assert proxy.exceeded.is_set() is not fits
        assert (len(got) == size) is fits


async def test_proxy_of_the_machine_is_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b"HTTP/1.1 200 Fine\r\n\r\n"
    async with server(answer) as (far, heard), proxy_to(5) as (near, port):
        for scheme in ("http", "https"):
            monkeypatch.setenv(f"{scheme}_proxy", f"http://us:p%40ss@127.0.0.1:{far}")
        head = "GET http://pages.test:5/ HTTP/1.1\r\n"
        assert await ask(port, head, authorization(near.token), "\r\n") == answer
        head = "CONNECT pages.test:5 HTTP/1.1\r\n"
        got = await ask(port, head, authorization(near.token), "\r\n")
        assert got == b"HTTP/1.1 200 Connected\r\n\r\n"
        ours = b"Proxy-Authorization: Basic " + base64.b64encode(b"us:p@ss") + b"\r\n"
        assert [each.partition(b"\r\n")[0] for each in heard] == [
            b"GET http://pages.test:5/ HTTP/1.1",
            b"CONNECT pages.test:5 HTTP/1.1",
        ]
        assert all(each.count(b"Proxy-Authorization") == 1 and ours in each for each in heard)


async def test_places_that_need_no_proxy_are_reached_directly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with server(b"direct") as (there, _), proxy_to(there) as (near, port):
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", ".pages.test")
        head = f"CONNECT x.pages.test:{there} HTTP/1.1\r\n"
        got = await ask(port, head, authorization(near.token), "\r\n", "forth\r\n\r\n")
        assert got.endswith(b"direct")


async def test_connections_end_with_the_proxy() -> None:
    async def locate(place: Place) -> tuple[str, ...] | None:
        await asyncio.Event().wait()
        return None

    listener = socket.create_server(("127.0.0.1", 0))
    async with Proxy(locate, 100).serve(listener) as proxy:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(f"CONNECT a.test:1 HTTP/1.1\r\n{authorization(proxy.token)}\r\n".encode())
        await writer.drain()
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.transport.abort()
