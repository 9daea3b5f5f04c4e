"""A package index on loopback, real HTTP, that misbehaves as a test asks; and what lies on it.

Pages are HTML or JSON as the client prefers, files have hashes, metadata of their own and byte
ranges. All that was asked for is counted. The server lives on the loop of the test.

Source: PEP 503, 658, 691 (the simple API); PEP 427 (wheels).
"""

import asyncio
import contextlib
import hashlib
import io
import json
import re
import stat
import struct
import tarfile
import warnings
import zipfile
from base64 import b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, Self

#: ``error``: status 500. ``silent``: never answers. ``trickle``: a byte now and then, for ever.
#: ``huge``: says 10 GB and sends as fast as it can. ``endless``: the same without saying how much.
#: ``cut``: closes the connection after half of the answer.
Fault = Literal["error", "silent", "trickle", "huge", "endless", "cut"]

_JSON = "application/vnd.pypi.simple.v1+json"
_HUGE_BYTES = 10 * 10**9
_CHUNK = bytes(1 << 16)
#: How a zip begins whose first entry is stored, of almost 4 GiB: what follows is read as its data.
_ZIP_START = (
    struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, 0xFFFFFFF0, 0xFFFFFFF0, 1, 0) + b"x"
)
_TRICKLE_S = 0.05
_LONGEST_REQUEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Release:
    """A file on the index.

    Attributes:
        filename: as on the index; says which package, version and platform it is.
        content: its bytes.
        metadata: its METADATA; empty for a source distribution.
    """

    filename: str
    content: bytes
    metadata: bytes = b""

    @property
    def package(self) -> str:
        """The normalised name of the package."""
        return re.sub(r"[-_.]+", "-", self.filename.split("-")[0]).lower()

    @property
    def sha256(self) -> str:
        """The hash of the content."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a wheel as it is written, whatever it means.

    Attributes:
        path: taken as it is: may climb, be absolute, or be there twice.
        content: what it holds; of a symbolic link its target.
        mode: Unix permissions and file type.
        zeros: so many zero bytes follow the content.
    """

    path: str
    content: bytes = b""
    mode: int = stat.S_IFREG | 0o644
    zeros: int = 0


def link(path: str, target: str) -> Entry:
    """An entry that is a symbolic link."""
    return Entry(path, target.encode(), stat.S_IFLNK | 0o777)


def make_wheel(
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, str | bytes] | None = None,
    requires: Sequence[str] = (),
    requires_python: str = "",
    tag: str = "py3-none-any",
    entries: Iterable[Entry] = (),
    extras: Sequence[str] = (),
    metadata_name: str = "",
    dist_info: str = "",
    record: str | None = None,
) -> Release:
    """Build a wheel.

    Args:
        name: of the package, as in the file's name.
        version: of the package.
        files: what it installs, by path; None is one module of the package's name.
        requires: what it depends on.
        requires_python: the Pythons it is for.
        tag: Python, ABI and platform.
        entries: further entries, written as they are.
        extras: names of its extras.
        metadata_name: the name that its METADATA tells; "" is the true one.
        dist_info: the directory of its metadata; "" is the right one.
        record: the text of RECORD; None is the true one.
    """
    stem = f"{re.sub('[-.]+', '_', name)}-{version}"
    directory = dist_info or f"{stem}.dist-info"
    if files is None:
        files = {f"{re.sub('[-.]+', '_', name).lower()}.py": f"__version__ = {version!r}\n"}
    lines = ["Metadata-Version: 2.1", f"Name: {metadata_name or name}", f"Version: {version}"]
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    metadata = ("\n".join(lines) + "\n").encode()
    about = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    written = [
        Entry(path, content.encode() if isinstance(content, str) else content)
        for path, content in files.items()
    ]
    written += [
        Entry(f"{directory}/METADATA", metadata),
        Entry(f"{directory}/WHEEL", about.encode()),
    ]
    written += entries
    if record is None:
        record = "".join(map(_record_line, written)) + f"{directory}/RECORD,,\n"
    written.append(Entry(f"{directory}/RECORD", record.encode()))
    return Release(f"{stem}-{tag}.whl", _zip(written), metadata)


def make_sdist(name: str, version: str = "1.0", *, setup: str = "") -> Release:
    """Build a source distribution whose ``setup.py`` would run ``setup`` first."""
    stem = f"{name}-{version}"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    script = f"{setup}\nfrom setuptools import setup\nsetup(name={name!r}, version={version!r})\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in (("PKG-INFO", about), ("setup.py", script), (f"{name}.py", "")):
            member = tarfile.TarInfo(f"{stem}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return Release(f"{stem}.tar.gz", buffer.getvalue())


def _record_line(entry: Entry) -> str:
    digest = hashlib.sha256(entry.content)
    for _ in range(entry.zeros // len(_CHUNK)):
        digest.update(_CHUNK)
    encoded = urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
    return f"{entry.path},sha256={encoded},{len(entry.content) + entry.zeros}\n"


def _zip(entries: Iterable[Entry]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compresslevel=1) as archive:
        warnings.filterwarnings("ignore", "Duplicate name")  # meant
        for entry in entries:
            info = zipfile.ZipInfo(entry.path)
            info.filename = entry.path  # unchanged by the constructor
            info.external_attr = entry.mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as file:
                file.write(entry.content)
                for _ in range(entry.zeros // len(_CHUNK)):
                    file.write(_CHUNK)
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class _Offered:
    """A release as the index offers it."""

    release: Release
    hash: str
    yanked: str | None
    fault: Fault | None
    url: str
    metadata: bool


@dataclass(slots=True)
class _Request:
    """What a client asked for."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass(slots=True)
class PackageIndex:
    """A running index.

    Attributes:
        port: where it listens, on 127.0.0.1.
        requests: how often each path was asked for, by ``METHOD path``.
        page_faults: how the pages of packages misbehave, by normalised name.
        redirects: paths that are said to be at another URL.
        password: ``user:password`` it asks for; "" lets anybody in.
    """

    port: int
    requests: Counter[str] = field(default_factory=Counter)
    page_faults: dict[str, Fault] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    password: str = ""
    _offered: dict[str, _Offered] = field(default_factory=dict)
    _arrivals: asyncio.Condition = field(default_factory=asyncio.Condition)

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncGenerator[Self]:
        """An index with nothing on it; at the end all connections are cut."""
        talking: set[asyncio.Task[None]] = set()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            talking.add(task)
            try:
                await index._talk(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                talking.discard(task)
                writer.transport.abort()

        server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=_LONGEST_REQUEST)
        index = cls(server.sockets[0].getsockname()[1])
        try:
            yield index
        finally:
            server.close()
            for task in talking:
                task.cancel()
            await asyncio.gather(*talking, return_exceptions=True)
            await server.wait_closed()

    @property
    def url(self) -> str:
        """Of the simple API."""
        return f"{self.origin}/simple"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url_with_password(self) -> str:
        """The same as ``url``, with the password in it."""
        return self.url.replace("//", f"//{self.password}@")

    def add(
        self,
        *releases: Release,
        yanked: str | None = None,
        hash: str = "",
        fault: Fault | None = None,
        at: str = "",
        metadata: bool = True,
    ) -> None:
        """Offer files; one of the same name is replaced.

        Args:
            releases: the files.
            yanked: why they are yanked; None if they aren't.
            hash: the SHA-256 that the page tells; "" is the true one, "none" none.
            fault: how the download misbehaves.
            at: the URL of a directory elsewhere that the page says they are in.
            metadata: whether the metadata can be had without the file.
        """
        for release in releases:
            self._offered[release.filename] = _Offered(
                release,
                {"": release.sha256, "none": ""}.get(hash, hash),
                yanked,
                fault,
                f"{at or self.origin + '/files'}/{release.filename}",
                metadata and bool(release.metadata),
            )

    def downloads(self, release: Release) -> int:
        """How often a file was asked for, whole or in part."""
        return self.requests[f"GET /files/{release.filename}"]

    async def asked_for(self, path: str) -> None:
        """Return once a path, or the first one that ends like this, has been asked for."""
        async with self._arrivals:
            await self._arrivals.wait_for(lambda: any(key.endswith(path) for key in self.requests))

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await _read_request(reader):
            self.requests[f"{request.method} {request.path}"] += 1
            async with self._arrivals:
                self._arrivals.notify_all()
            await self._answer(request, writer)

    async def _answer(self, request: _Request, writer: asyncio.StreamWriter) -> None:
        if self.password and not self._let_in(request):
            _send(writer, request, 401, b"", {"WWW-Authenticate": 'Basic realm="packages"'})
        elif there := self.redirects.get(request.path):
            _send(writer, request, 302, b"", {"Location": there})
        elif found := re.fullmatch(r"/simple/([^/]+)/?", request.path):
            await self._page(found[1], request, writer)
        elif found := re.fullmatch(r"/files/([^/]+?)(\.metadata)?", request.path):
            await self._file(found[1], bool(found[2]), request, writer)
        else:
            _send(writer, request, 404, b"not here")
        await writer.drain()

    def _let_in(self, request: _Request) -> bool:
        kind, _, code = request.headers.get("authorization", "").partition(" ")
        with contextlib.suppress(ValueError):
            return kind == "Basic" and b64decode(code).decode() == self.password
        return False

    async def _page(self, package: str, request: _Request, writer: asyncio.StreamWriter) -> None:
        if fault := self.page_faults.get(package):
            await _misbehave(fault, request, writer, b"<html></html>", "text/html")
            return
        offered = [each for each in self._offered.values() if each.release.package == package]
        if not offered:
            _send(writer, request, 404, b"no such package")
        elif "json" in request.headers.get("accept", ""):
            _send(writer, request, 200, _json_page(package, offered), {"Content-Type": _JSON})
        else:
            _send(writer, request, 200, _html_page(offered), {"Content-Type": "text/html"})

    async def _file(
        self, name: str, metadata: bool, request: _Request, writer: asyncio.StreamWriter
    ) -> None:
        offered = self._offered.get(name)
        if offered is None or (metadata and not offered.metadata):
            _send(writer, request, 404, b"no such file")
        elif metadata:
            _send(writer, request, 200, offered.release.metadata)
        elif offered.fault:
            await _misbehave(offered.fault, request, writer, offered.release.content)
        else:
            _send_file(writer, request, offered.release.content)


async def _read_request(reader: asyncio.StreamReader) -> _Request | None:
    """The next request on a connection; None at its end."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    headers = {
        name.strip().lower(): value.strip()
        for name, separator, value in (line.partition(":") for line in lines)
        if separator
    }
    return _Request(method, re.sub(r"^https?://[^/]+", "", target), headers)


def _send(
    writer: asyncio.StreamWriter,
    request: _Request,
    status: int,
    body: bytes,
    headers: Mapping[str, str] | None = None,
) -> None:
    lines = {"Content-Length": str(len(body)), **(headers or {})}
    _send_head(writer, status, lines)
    if request.method != "HEAD":
        writer.write(body)


def _send_head(writer: asyncio.StreamWriter, status: int, headers: Mapping[str, str]) -> None:
    head = f"HTTP/1.1 {status} As said\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(head.encode() + b"\r\n")


def _send_file(writer: asyncio.StreamWriter, request: _Request, content: bytes) -> None:
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if not asked or not (asked[1] or asked[2]):
        _send(writer, request, 200, content, {"Accept-Ranges": "bytes"})
        return
    first = int(asked[1]) if asked[1] else max(0, len(content) - int(asked[2]))
    last = min(len(content) - 1, int(asked[2])) if asked[1] and asked[2] else len(content) - 1
    where = {"Accept-Ranges": "bytes", "Content-Range": f"bytes {first}-{last}/{len(content)}"}
    _send(writer, request, 206, content[first : last + 1], where)


async def _misbehave(
    fault: Fault,
    request: _Request,
    writer: asyncio.StreamWriter,
    content: bytes,
    kind: str = "application/octet-stream",
) -> None:
    about = {"Content-Type": kind, "Accept-Ranges": "bytes"}
    if fault == "error":
        _send(writer, request, 500, b"broken")
    elif fault == "silent":
        await asyncio.Event().wait()
    elif request.method == "HEAD":
        _send_head(writer, 200, {**about, "Content-Length": str(_HUGE_BYTES)})
    elif fault == "cut":
        _send_head(writer, 200, {**about, "Content-Length": str(len(content))})
        writer.write(content[: len(content) // 2])
        await writer.drain()
        raise ConnectionAbortedError
    elif fault == "endless":
        _send_head(writer, 200, {**about, "Transfer-Encoding": "chunked"})
        writer.write(b"%x\r\n%b\r\n" % (len(_ZIP_START), _ZIP_START))
        while True:
            writer.write(b"%x\r\n%b\r\n" % (len(_CHUNK), _CHUNK))
            await writer.drain()
    else:
        _send_head(writer, 200, {**about, "Content-Length": str(_HUGE_BYTES)})
        writer.write(_ZIP_START)
        for _ in range(_HUGE_BYTES // len(_CHUNK)):
            writer.write(_CHUNK if fault == "huge" else b"P")
            await writer.drain()
            if fault == "trickle":
                await asyncio.sleep(_TRICKLE_S)
        raise ConnectionAbortedError


def _json_page(package: str, offered: Iterable[_Offered]) -> bytes:
    files = [
        {
            "filename": each.release.filename,
            "url": each.url,
            "hashes": {"sha256": each.hash} if each.hash else {},
            "size": len(each.release.content),
            "yanked": False if each.yanked is None else each.yanked,
            "core-metadata": (
                {"sha256": hashlib.sha256(each.release.metadata).hexdigest()}
                if each.metadata
                else False
            ),
        }
        for each in offered
    ]
    page = {"meta": {"api-version": "1.1"}, "name": package, "versions": [], "files": files}
    return json.dumps(page).encode()


def _html_page(offered: Iterable[_Offered]) -> bytes:
    lines = []
    for each in offered:
        href = each.url + (f"#sha256={each.hash}" if each.hash else "")
        marks = "" if each.yanked is None else f' data-yanked="{each.yanked}"'
        if each.metadata:
            digest = hashlib.sha256(each.release.metadata).hexdigest()
            marks += f' data-core-metadata="sha256={digest}"'
        lines.append(f'<a href="{href}"{marks}>{each.release.filename}</a><br>')
    return "\n".join(["<!DOCTYPE html><html><body>", *lines, "</body></html>"]).encode()
