"""A look inside files that hold other files, to tell what they are. Pure standard library."""

import struct
import zlib
from dataclasses import dataclass, replace
from typing import BinaryIO

from kernel_startup import plaintext


class BrokenContainer(Exception):
    """The container is cut off or damaged, so what it holds can't be listed."""


#: Members of a zip looked at: a listing of a million names isn't needed to know a workbook.
_MAX_MEMBERS = 10_000
_MAX_MIMETYPE_BYTES = 200
_MAX_DIRECTORY_SECTORS = 1000
#: Sector numbers from here on are marks: end of chain, free, and the like.
_FIRST_MARK = 0xFFFFFFFA


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """A member of a zip, as its directory has it.

    Attributes:
        name: Decoded, with "/" between directories.
        raw_name: As it stands there.
        size: Unpacked, in bytes; as declared.
        packed: As stored, in bytes.
        method: The number of its compression; 99 is AES around another one.
        flags: The format's own; bit 0 says that it is encrypted.
        crc: Of the unpacked content.
        date: In the format of MS-DOS: date << 16 | time.
        offset: Where its local header begins in the file.
        mode: Its Unix mode, or 0.
    """

    name: str
    raw_name: bytes
    size: int
    packed: int
    method: int
    flags: int
    crc: int
    date: int
    offset: int
    mode: int


@dataclass(frozen=True, slots=True)
class ZipDirectory:
    """What a zip's directory lists.

    Attributes:
        entries: As many as were asked for, in the order of the directory.
        count: How many there are, by its own words.
        comment: What was said about all of it.
    """

    entries: list[ZipEntry]
    count: int
    comment: bytes = b""


_CENTRAL = struct.Struct("<4s6H3I5H2I")
_MAX_COMMENT_BYTES = 65_535
_UTF8_FLAG = 0x800


def zip_directory(file: BinaryIO, *, most: int) -> ZipDirectory:
    """Read a zip's directory, or the beginning of a very long one.

    Bytes before the zip (a program that unpacks itself) are allowed for.

    Source: PKWARE's APPNOTE.TXT, 4.3.12 to 4.3.16.

    Raises:
        BrokenContainer: It has no readable directory.
    """
    size = file.seek(0, 2)
    tail_start = max(size - _MAX_COMMENT_BYTES - 22, 0)
    file.seek(tail_start)
    tail = file.read(size - tail_start)
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) < place + 22:
        raise BrokenContainer("its directory is missing: it is cut off, or not all of a zip")
    disk, count, directory_bytes, start = struct.unpack_from("<4xH4xHII", tail, place)
    end = tail_start + place
    if 0xFFFF in (disk, count) or 0xFFFFFFFF in (directory_bytes, start):
        file.seek(max(end - 20, 0))
        locator = file.read(20)
        if locator.startswith(b"PK\6\7"):
            # The record lies right before its locator, wherever the file has been moved.
            file.seek(max(end - 20 - 56, 0))
            record = file.read(56)
            if not record.startswith(b"PK\6\6"):
                file.seek(int.from_bytes(locator[8:16], "little"))
                record = file.read(56)
            if record.startswith(b"PK\6\6") and len(record) == 56:
                count, directory_bytes, start = struct.unpack_from("<32xQQQ", record)
                end -= 20 + 56
    shift = max(end - directory_bytes - start, 0)
    entries = _zip_entries(file, start + shift, end, shift, min(count, most))
    if not entries and count and directory_bytes:
        entries = _zip_entries(file, start, end, 0, min(count, most))
    if count and not entries:
        raise BrokenContainer("its directory isn't where it should be")
    return ZipDirectory(_with_names(entries), count, tail[place + 22 :])


def _zip_entries(file: BinaryIO, start: int, end: int, shift: int, most: int) -> list[ZipEntry]:
    entries: list[ZipEntry] = []
    file.seek(start)
    while len(entries) < most and file.tell() < end:
        fixed = file.read(_CENTRAL.size)
        if len(fixed) < _CENTRAL.size or not fixed.startswith(b"PK\1\2"):
            break
        _, made_by, _, flags, method, time, day, *more = _CENTRAL.unpack(fixed)
        crc, packed, size, name_bytes, extra_bytes, comment_bytes, *_, attributes, offset = more
        raw_name = file.read(name_bytes)
        extra = file.read(extra_bytes)
        file.seek(comment_bytes, 1)
        size, packed, offset, better_name = _zip_extra(extra, size, packed, offset)
        mode = attributes >> 16 if made_by >> 8 == 3 else 0
        name = better_name or (raw_name.decode("utf-8", "replace") if flags & _UTF8_FLAG else "")
        entries.append(
            ZipEntry(
                name,
                raw_name,
                size,
                packed,
                method,
                flags,
                crc,
                day << 16 | time,
                offset + shift,
                mode,
            )
        )
    return entries


def _zip_extra(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int, str]:
    """Take from the extra field what is too large for the fixed ones, and a name in Unicode."""
    name = ""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, place)
        field = extra[place + 4 : place + 4 + length]
        place += 4 + length
        if kind == 1:
            wide = [int.from_bytes(field[i : i + 8], "little") for i in range(0, len(field) - 7, 8)]
            if size == 0xFFFFFFFF and wide:
                size = wide.pop(0)
            if packed == 0xFFFFFFFF and wide:
                packed = wide.pop(0)
            if offset == 0xFFFFFFFF and wide:
                offset = wide.pop(0)
        elif kind == 0x7075 and field[:1] == b"\1":
            name = field[5:].decode("utf-8", "replace")
    return size, packed, offset, name


def _with_names(entries: list[ZipEntry]) -> list[ZipEntry]:
    """Decode the names that say nothing of their encoding: UTF-8, or what they look like."""
    unsaid = b"\n".join(e.raw_name for e in entries[:_MAX_MEMBERS] if not e.name)
    encoding = "utf-8"
    if not unsaid.isascii():
        try:
            unsaid.decode()
        except UnicodeDecodeError:
            sniffed = plaintext.sniff_encoding(unsaid, whole=True)
            # MS-DOS's own, where nothing East Asian or Cyrillic shows.
            encoding = "cp437" if sniffed in (None, "cp1252", "latin-1") else str(sniffed)
    return [
        replace(
            entry,
            name=(entry.name or entry.raw_name.decode(encoding, "replace")).replace("\\", "/"),
        )
        for entry in entries
    ]


def zip_members(file: BinaryIO) -> tuple[frozenset[str], str]:
    """List a zip's members, and the media type that OpenDocument puts into its first one.

    Raises:
        BrokenContainer: It has no readable directory.
    """
    try:
        entries = zip_directory(file, most=_MAX_MEMBERS).entries
        first = next((e for e in entries if e.name == "mimetype"), None)
        mimetype = b"" if first is None else _read_mimetype(file, first)
    except (OSError, ValueError, OverflowError, struct.error, zlib.error) as error:
        raise BrokenContainer(str(error)) from error
    members = frozenset(entry.name for entry in entries)
    return members, mimetype.decode("ascii", errors="replace").strip()


def _read_mimetype(file: BinaryIO, entry: ZipEntry) -> bytes:
    file.seek(entry.offset)
    local = file.read(30)
    if len(local) < 30 or not local.startswith(b"PK\3\4"):
        return b""
    name_bytes, extra_bytes = struct.unpack_from("<26xHH", local)
    file.seek(name_bytes + extra_bytes, 1)
    packed = file.read(min(entry.packed, 4 * _MAX_MIMETYPE_BYTES))
    if entry.method == 8:
        packed = zlib.decompressobj(wbits=-15).decompress(packed, _MAX_MIMETYPE_BYTES)
    return packed[:_MAX_MIMETYPE_BYTES]


def ole_streams(file: BinaryIO) -> frozenset[str]:
    """Name the streams and storages of an OLE compound file (xls, encrypted xlsx, ...).

    Source: [MS-CFB] 2.2 (header), 2.3 (FAT), 2.6 (directory).

    Raises:
        BrokenContainer: Its header or its directory isn't there.
    """
    header = file.read(512)
    if len(header) < 512:
        raise BrokenContainer("shorter than its header")
    (shift,) = struct.unpack_from("<H", header, 30)
    (sector,) = struct.unpack_from("<I", header, 48)
    if shift not in (9, 12):
        raise BrokenContainer(f"sectors of 2**{shift} bytes")
    size = 1 << shift
    fat_sectors = struct.unpack_from("<109I", header, 76)

    def read_sector(number: int) -> bytes:
        file.seek((number + 1) * size)
        return file.read(size)

    names: set[str] = set()
    seen: set[int] = set()
    while sector < _FIRST_MARK and sector not in seen and len(seen) < _MAX_DIRECTORY_SECTORS:
        seen.add(sector)
        entries = read_sector(sector)
        for start in range(0, len(entries) - 127, 128):
            (length,) = struct.unpack_from("<H", entries, start + 64)
            if 2 < length <= 64:
                name = entries[start : start + length - 2]
                names.add(name.decode("utf-16-le", errors="replace"))
        table, place = divmod(sector, size // 4)
        if table >= len(fat_sectors) or fat_sectors[table] >= _FIRST_MARK:
            break
        links = read_sector(fat_sectors[table])
        if len(links) < size:
            break
        (sector,) = struct.unpack_from("<I", links, place * 4)
    if not names:
        raise BrokenContainer("its directory is missing")
    return frozenset(names)
