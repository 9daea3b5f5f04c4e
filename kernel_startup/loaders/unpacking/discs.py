"""Images of discs (ISO 9660), and xar packages.

Sources: ECMA-119; the Joliet specification; the xar project's description of its format.
"""

import struct
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

from kernel_startup import compression
from kernel_startup.loaders.unpacking import (
    ArchiveError,
    Contents,
    Kind,
    Member,
    Part,
    exactly,
    stored,
)

_SECTOR = 2048
_MAX_DIRECTORY_BYTES = 16 << 20
_MAX_TOC_BYTES = 64 << 20
_MAX_DEPTH = 64


def read_iso(file: BinaryIO, most: int) -> Contents:
    """List a disc, by its longer names if it has them."""
    primary = joliet = None
    for number in range(16, 80):
        file.seek(number * _SECTOR)
        descriptor = file.read(_SECTOR)
        if len(descriptor) < _SECTOR or descriptor[1:6] != b"CD001" or descriptor[0] == 255:
            break
        if descriptor[0] == 1 and primary is None:
            primary = descriptor
        elif descriptor[0] == 2 and descriptor[88:91] in (b"%/@", b"%/C", b"%/E"):
            joliet = descriptor
    chosen = joliet or primary
    if chosen is None:
        raise ArchiveError("it has no directory of ISO 9660; it may be another kind of disc")
    contents = Contents([], _from_disc)
    encoding = "utf-16-be" if joliet else "utf-8"
    block = struct.unpack_from("<H", chosen, 128)[0] or _SECTOR
    label = chosen[40:72].decode(encoding, "replace").strip(" \0")
    if label:
        contents.facts["label"] = label
    _walk(file, contents, _extent(chosen, 156, block), encoding, block, most)
    return contents


def _extent(record: bytes, at: int, block: int) -> tuple[int, int]:
    start, size = struct.unpack_from("<I4xI", record, at + 2)
    return start * block, size


def _walk(
    file: BinaryIO,
    contents: Contents,
    root: tuple[int, int],
    encoding: str,
    block: int,
    most: int,
) -> None:
    waiting = [("", root, 0)]
    seen = {root[0]}
    while waiting:
        above, (start, size), depth = waiting.pop(0)
        if size > _MAX_DIRECTORY_BYTES or depth > _MAX_DEPTH:
            contents.notes.append(f"The directory {above!r} is too large or too deep to be read.")
            continue
        file.seek(start)
        for record in _records(file.read(size)):
            if len(contents.members) >= most:
                contents.notes.append(f"The first {most:,} members are listed, not all.")
                return
            member = _disc_member(record, above, encoding, block)
            if member is None:
                continue
            contents.members.append(member)
            if member.kind == "directory" and member.place[0] not in seen:
                seen.add(member.place[0])
                waiting.append((member.name, member.place, depth + 1))


def _records(directory: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(directory):
        length = directory[at]
        if length < 34:
            at = (at // _SECTOR + 1) * _SECTOR  # the rest of a sector is empty
            continue
        yield directory[at : at + length]
        at += length


def _disc_member(record: bytes, above: str, encoding: str, block: int) -> Member | None:
    length = record[32]
    raw = record[33 : 33 + length]
    if raw in (b"\0", b"\1") or not raw:
        return None
    name = _rock_ridge_name(record[33 + length + (length + 1) % 2 :])
    if name is None or encoding != "utf-8":
        name = raw.decode(encoding, "replace").partition(";")[0].rstrip(".")
    start, size = _extent(record, 0, block)
    kind: Kind = "directory" if record[25] & 2 else "file"
    path = f"{above}{name}/" if kind == "directory" else f"{above}{name}"
    return Member(path, size, _disc_date(record[18:25]), kind, place=(start, size))


def _rock_ridge_name(area: bytes) -> str | None:
    at, name = 0, b""
    while at + 4 <= len(area) and area[at + 2] >= 4:
        if area[at : at + 2] == b"NM":
            name += area[at + 5 : at + area[at + 2]]
        at += area[at + 2]
    return name.decode("utf-8", "replace").replace("/", "_") if name else None


def _disc_date(date: bytes) -> datetime | None:
    try:
        return datetime(1900 + date[0], *date[1:6])
    except (ValueError, IndexError, TypeError):
        return None


def _from_disc(file: BinaryIO, member: Member, _: str | None) -> Iterator[bytes]:
    return stored(file, *member.place)


def read_xar(file: BinaryIO, most: int) -> Contents:
    """List a xar package by its table of contents."""
    from lxml import etree

    header = exactly(file, 28)
    if not header.startswith(b"xar!"):
        raise ArchiveError("it doesn't begin as a xar package")
    header_bytes, packed, size = struct.unpack_from(">4xH2xQQ", header)
    if size > _MAX_TOC_BYTES or packed > _MAX_TOC_BYTES:
        raise ArchiveError(f"a table of contents of {size:,} bytes")
    text = b"".join(_bounded(compression.unpack(_part(file, header_bytes, packed), "zlib"), size))
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        toc = etree.fromstring(text, parser).find("toc")
    except etree.XMLSyntaxError as error:
        raise ArchiveError(f"its table of contents is damaged: {error}") from error
    contents = Contents([], _from_xar)
    if toc is not None:
        _add_xar(contents, toc, "", header_bytes + packed, most, 0)
    return contents


def _bounded(pieces: Iterator[bytes], most: int) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > most:
            raise ArchiveError("its table of contents is larger than it says")
        yield piece


def _part(file: BinaryIO, start: int, size: int) -> Any:
    return Part(file, start, size)


def _add_xar(
    contents: Contents, element: Any, above: str, heap: int, most: int, depth: int
) -> None:
    for entry in element.findall("file"):
        if len(contents.members) >= most or depth > _MAX_DEPTH:
            return
        name = above + (entry.findtext("name") or "?").replace("/", "_")
        kinds: dict[str, Kind] = {"file": "file", "directory": "directory", "symlink": "link"}
        kind = kinds.get(entry.findtext("type") or "file", "device")
        data = entry.find("data")
        place, size, packed = None, None, None
        if data is not None:
            size, packed = (int(data.findtext(tag) or 0) for tag in ("size", "length"))
            style = data.find("encoding")
            method = "" if style is None else str(style.get("style", "")).rpartition("x-")[2]
            place = (heap + int(data.findtext("offset") or 0), packed, method)
        elif kind == "file":
            size = 0
        path = f"{name}/" if kind == "directory" else name
        target = entry.findtext("link") or ""
        contents.members.append(Member(path, size, None, kind, target, packed, place=place))
        _add_xar(contents, entry, f"{name}/", heap, most, depth + 1)


def _from_xar(file: BinaryIO, member: Member, _: str | None) -> Iterator[bytes]:
    if member.place is None:
        return iter(())
    start, packed, method = member.place
    kinds = {"gzip": "zlib", "bzip2": "bzip2", "xz": "xz", "lzma": "lzma"}
    if method not in kinds:
        return stored(file, start, packed)
    return compression.unpack(_part(file, start, packed), kinds[method])
