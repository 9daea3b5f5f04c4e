"""Addresses: where a server that speaks Discord's protocol may have its parts (pure)."""

import re
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

_VERSION = "v10"
_HAS_VERSION = re.compile(r"/v\d+$")


def api_addresses(url: str) -> tuple[str, ...]:
    """Where the REST interface may be, the likeliest first, by what an operator wrote.

    Args:
        url: such as https://discord.com/api/v10; many leave out the version, or the path.
    """
    url = url.rstrip("/")
    if _HAS_VERSION.search(url):
        return (url,)
    versioned = f"{url}/{_VERSION}"
    if url.endswith("/api"):
        return versioned, url
    return f"{url}/api/{_VERSION}", versioned, url


def gateway_address(url: str) -> str:
    """The address to connect to, by the one that a server gave: with what we speak.

    Args:
        url: with a query, a path, or without.
    """
    parts = urlsplit(url)
    ours = {"encoding": "json", "v": _VERSION[1:], "compress": "zlib-stream"}
    query = urlencode(dict(parse_qsl(parts.query)) | ours)
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", query, ""))


def file_address(url: str, *, api_url: str | None, cdn_url: str | None) -> str:
    """The whole address of a file; some servers leave out which host it is on.

    Args:
        url: as the server gave it.
        api_url, cdn_url: where the server is; None for Discord itself.
    """
    base = cdn_url or api_url
    if base is None or not url.startswith("/"):
        return url
    try:
        return urljoin(f"{base}/", url)
    except ValueError:
        return url


def is_of_server(url: str, *, api_url: str | None, cdn_url: str | None) -> bool:
    """Whether a file's address is one of the server that the operator named.

    Its files are where DISCORD_CDN_URL says, or where its REST interface is; only where nothing
    says where they are, any port of that host will do.

    Args:
        url: of the file.
        api_url, cdn_url: where the server is; None for Discord itself.
    """
    try:
        parts = urlsplit(url)
        own = [urlsplit(known) for known in (api_url, cdn_url) if known is not None]
        if any((parts.scheme, parts.netloc) == (o.scheme, o.netloc) for o in own):
            return True
        if cdn_url is not None or api_url is None:
            return False
        is_web = parts.scheme in ("http", "https") and "@" not in parts.netloc
        return is_web and parts.hostname == own[0].hostname
    except ValueError:
        return False
