"""The indexes: which there are, how uv is told of them, and whom uv may speak to for them."""

import asyncio
import ipaddress
import os
import re
import socket
import ssl
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, TypeAlias
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

import uv

from interpreter.hosts.installing.terms import IndexSettings, InstallFailed
from interpreter.installer import certificate_bundle
from interpreter.logs import get_logger

log = get_logger(__name__)

#: A host's name in small letters, and a port.
Place: TypeAlias = tuple[str, int]

_DEFAULT_PORTS = {"https": 443, "http": 80}
_ASK_UV_S = 20.0
_PAGE_S = 10.0
_PAGE_BYTES = 256 << 10
_MOST_PAGES = 5
_FILE_URL = re.compile(rb"""(?:"url"\s*:\s*|href\s*=\s*)["']([^"'\s>#]{1,2000})""", re.IGNORECASE)
_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5, */*;q=0.1"


def place_of(url: str) -> Place | None:
    """Host and port of a URL; None if it has none."""
    with suppress(ValueError):
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        if parts.hostname and port:
            return parts.hostname.lower(), port
    return None


@dataclass(frozen=True, slots=True)
class Indexes:
    """URLs of simple APIs, perhaps with credentials: those asked first come first."""

    urls: tuple[str, ...]

    def environ(self, core: str) -> dict[str, str]:
        """How uv is told of them: not on a command line, which others can read.

        Args:
            core: URL of an index of the kernels' own packages, which comes first.
        """
        *first, default = self.urls
        return {"UV_DEFAULT_INDEX": default, "UV_INDEX": " ".join([core, *first])}

    def places(self) -> frozenset[Place]:
        """Where they are."""
        return frozenset(place for url in self.urls if (place := place_of(url)))

    def directories(self) -> list[Path]:
        """Those that are directories of this machine."""
        return [Path(unquote(urlsplit(url).path)) for url in self.urls if url.startswith("file://")]


async def find_indexes(settings: IndexSettings, root: Path) -> Indexes:
    """The indexes of the settings, or those that uv has been configured with.

    Raises:
        InstallFailed: uv doesn't tell.
    """
    if settings.index is not None:
        return Indexes((*settings.extra, settings.index))
    default, extra = await asyncio.to_thread(_ask_uv, root)
    return Indexes((*settings.extra, *extra, default))


def _ask_uv(root: Path) -> tuple[str, list[str]]:
    command = [uv.find_uv_bin(), "pip", "compile", "--emit-index-url", "--offline", "--quiet"]
    command += ["--no-header", "--no-python-downloads", "-"]
    try:
        answer = subprocess.run(
            command, input="", capture_output=True, text=True, timeout=_ASK_UV_S, cwd=root
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise InstallFailed("internal", "", "uv doesn't tell its index") from error
    default = re.search(r"^--index-url (\S+)", answer.stdout, re.MULTILINE)
    if default is None:
        log.error("uv does not tell its index", output=answer.stderr[-1000:])
        raise InstallFailed("internal", "", "uv doesn't tell its index")
    return default[1], re.findall(r"^--extra-index-url (\S+)", answer.stdout, re.MULTILINE)


@dataclass(slots=True)
class Reach:
    """Whom uv may speak to: the indexes, what an operator added, and what the indexes name.

    Attributes:
        indexes: those that are configured.
        added: hosts that an operator added, as ``host`` or ``host:port``.
    """

    indexes: Indexes
    added: tuple[str, ...]
    _learned: dict[Place, tuple[str, ...]] = field(default_factory=dict)

    def configured(self, place: Place) -> bool:
        """Whether an operator named it."""
        if place in self.indexes.places():
            return True
        host, port = place
        return f"{host}:{port}" in self.added or (
            host in self.added and port in _DEFAULT_PORTS.values()
        )

    async def learn(self, place: Place, names: Iterable[str]) -> tuple[str, ...] | None:
        """See whether an index says that files are there, and where that is.

        Args:
            place: where uv wants to go.
            names: of the packages whose pages are looked at.

        Returns:
            The addresses to connect to; () if only a proxy knows them. None refuses.
        """
        if (known := self._learned.get(place)) is not None:
            return known
        for name in list(names)[:_MOST_PAGES]:
            for index in self.indexes.urls:
                if place in await asyncio.to_thread(_places_of_files, index, name):
                    return await self._admit(place)
        return None

    async def _admit(self, place: Place) -> tuple[str, ...] | None:
        """Look where a host really is: a name must not lead into this machine or its network."""
        addresses = await _resolve(place)
        own = [address for each in self.indexes.places() for address in await _resolve(each)]
        private = any(not ipaddress.ip_address(address).is_global for address in own)
        if any(_forbidden(address, private=private) for address in addresses):
            log.warning("an index names files on a private address", host=place[0], port=place[1])
            return None
        self._learned[place] = addresses
        return addresses


def _forbidden(text: str, *, private: bool) -> bool:
    """Whether an address that an index named is out of bounds.

    Args:
        text: the address.
        private: whether the index itself is in a private network.
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    never = address.is_loopback or address.is_link_local or address.is_multicast
    if never or address.is_unspecified or int(address) in (0, 0xFFFFFFFF):
        return True
    return not address.is_global and not private


async def _resolve(place: Place) -> tuple[str, ...]:
    """Addresses of a host; () if it isn't known here."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(*place, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(each[4][0]).partition("%")[0] for each in found))


def _places_of_files(index: str, name: str) -> set[Place]:
    """The places that the beginning of a package's page names."""
    page = f"{index.rstrip('/')}/{quote(name)}/"
    parts = urlsplit(page)
    if parts.scheme not in _DEFAULT_PORTS:
        return set()
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    request = urllib.request.Request(bare, headers={"Accept": _ACCEPT})
    if parts.username is not None:
        _sign(request, unquote(parts.username), unquote(parts.password or ""))
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=trust()), _StaysThere()
    )
    try:
        with opener.open(request, timeout=_PAGE_S) as answer:
            body: bytes = answer.read(_PAGE_BYTES)
    except (OSError, HTTPException, ValueError) as error:
        log.debug("a page could not be read", package=name, error=type(error).__name__)
        return set()
    urls = (found.replace(b"\\/", b"/").decode("latin-1") for found in _FILE_URL.findall(body))
    return {place for url in urls if (place := place_of(_join(bare, url)))}


def _join(page: str, url: str) -> str:
    with suppress(ValueError):
        return urljoin(page, url)
    return ""


def _sign(request: urllib.request.Request, user: str, password: str) -> None:
    code = b64encode(f"{user}:{password}".encode()).decode()
    request.add_unredirected_header("Authorization", f"Basic {code}")


class _StaysThere(urllib.request.HTTPRedirectHandler):
    """Follows redirections within one server only."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if place_of(newurl) != place_of(req.full_url):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def certificates() -> str | None:
    """The file of certificates that are trusted here; None if there is none."""
    chosen = os.environ.get("SSL_CERT_FILE")
    return chosen if chosen and os.path.isfile(chosen) else certificate_bundle()


def trust() -> ssl.SSLContext:
    """TLS as this machine trusts others."""
    return ssl.create_default_context(cafile=certificates())


def canonical_hosts(hosts: Sequence[str]) -> tuple[str, ...]:
    """Hosts as `Reach` compares them."""
    return tuple(host.strip().lower() for host in hosts)
