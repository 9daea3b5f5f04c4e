"""Windows cabinets, and LHA archives.

Sources: Microsoft's "Cabinet format" (MS-CAB); the header levels 0 to 2 of LHA for UNIX.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from kernel_startup.loaders.unpacking import (
    ArchiveError,
    Contents,
    Kind,
    Member,
    exactly,
    from_dos,
    from_unix,
    stored,
)

_MAX_NAME_BYTES = 64 * 1024
_METHODS = {0: "", 1: "MSZIP", 2: "Quantum", 3: "LZX"}
#: A block of a cabinet unpacks to this much at most.
_BLOCK_BYTES = 32 * 1024


def read_cab(file: BinaryIO, most: int) -> Contents:
    """List a cabinet."""
    header = exactly(file, 36)
    if not header.startswith(b"MSCF"):
        raise ArchiveError("it doesn't begin as a cabinet")
    first_file, folder_count, file_count, flags = struct.unpack_from("<16xI6xHHH", header)
    extra_folder = extra_data = 0
    if flags & 4:
        extra_header, extra_folder, extra_data = struct.unpack("<HBB", exactly(file, 4))
        exactly(file, extra_header)
    for _ in range(2 * (bool(flags & 1) + bool(flags & 2))):
        _text(file)  # the names of the cabinets before and after it
    folders = []
    for _ in range(folder_count):
        start, blocks, method = struct.unpack("<IHH", exactly(file, 8))
        exactly(file, extra_folder)
        folders.append((start, blocks, method & 15))
    file.seek(first_file)
    contents = Contents([], _from_cab)
    for _ in range(min(file_count, most)):
        size, offset, folder, day, time, attributes = struct.unpack("<IIHHHH", exactly(file, 16))
        name = _text(file).decode("utf-8" if attributes & 0x80 else "cp1252", "replace")
        place = None if folder >= len(folders) else (folders[folder], offset, extra_data)
        method = "another cabinet" if place is None else _METHODS.get(place[0][2], "?")
        contents.members.append(
            Member(
                name.replace("\\", "/"),
                size,
                from_dos(day << 16 | time),
                method=method,
                place=place,
            )
        )
    return contents


def _text(file: BinaryIO) -> bytes:
    text = bytearray()
    while (byte := exactly(file, 1)) != b"\0":
        text += byte
        if len(text) > 1024:
            raise ArchiveError("a name of that length")
    return bytes(text)


def _from_cab(file: BinaryIO, member: Member, _: str | None) -> Iterator[bytes]:
    if member.place is None:
        raise ArchiveError(f"{member.name!r} goes on in another cabinet")
    (start, blocks, method), offset, extra = member.place
    if method not in (0, 1):
        raise ArchiveError(f"{member.name!r} is compressed by {member.method}, not unpacked here")
    end = offset + (member.size or 0)
    at = 0
    for piece in _blocks(file, start, blocks, method, extra):
        wanted = piece[max(offset - at, 0) : max(end - at, 0)]
        at += len(piece)
        if wanted:
            yield wanted
        if at >= end:
            return
    raise ArchiveError(f"{member.name!r} is cut off")


def _blocks(file: BinaryIO, start: int, count: int, method: int, extra: int) -> Iterator[bytes]:
    file.seek(start)
    before = b""
    for _ in range(count):
        _, packed, size = struct.unpack("<IHH", exactly(file, 8))
        exactly(file, extra)
        data = exactly(file, packed)
        if method == 1:
            if not data.startswith(b"CK"):
                raise ArchiveError("a block is damaged")
            decoder = zlib.decompressobj(wbits=-15, zdict=before)
            try:
                data = decoder.decompress(data[2:], _BLOCK_BYTES)
            except zlib.error as error:
                raise ArchiveError(str(error)) from error
        if len(data) != size:
            raise ArchiveError("a block is damaged")
        before = data
        yield data


def read_lzh(file: BinaryIO, most: int) -> Contents:
    """List an LHA archive; members that are stored can be read."""
    contents = Contents([], _from_lzh)
    while len(contents.members) < most:
        start = file.tell()
        head = file.read(21)
        if len(head) < 21 or head[0] == 0:
            break
        try:
            member, end = _lzh_member(file, start, head)
        except (ArchiveError, struct.error, IndexError):
            if not contents.members:
                raise ArchiveError("its first header is damaged") from None
            contents.notes.append("It is cut off or damaged: these members are what there is.")
            break
        contents.members.append(member)
        file.seek(end)
    return contents


def _lzh_member(file: BinaryIO, start: int, head: bytes) -> tuple[Member, int]:
    method, packed, size, date, level = struct.unpack_from("<2x5sIII1xB", head)
    if level > 2 or not (method.startswith(b"-") and method.endswith(b"-")):
        raise ArchiveError("a header is damaged")
    name = folder = b""
    if level < 2:
        length = exactly(file, 1)[0]
        name = exactly(file, length)
        base = start + head[0] + 2
    else:
        base = start + struct.unpack_from("<H", head)[0]
    modified = from_unix(date) if level == 2 else from_dos(date)
    if level:
        file.seek(base - 2 if level == 1 else start + 24)
        name, folder, extended = _lzh_extensions(file, name)
        base, packed = (base + extended, packed - extended) if level == 1 else (base, packed)
    path = (folder.replace(b"\xff", b"/") + name.replace(b"\\", b"/")).decode("cp932", "replace")
    kind: Kind = "directory" if method == b"-lhd-" else "file"
    path = path.rstrip("/") + "/" if kind == "directory" else path
    told = method.strip(b"-").decode("ascii", "replace")
    return Member(path, size, modified, kind, "", packed, told, place=(base, packed)), base + packed


def _lzh_extensions(file: BinaryIO, name: bytes) -> tuple[bytes, bytes, int]:
    folder, total = b"", 0
    while (size := struct.unpack("<H", exactly(file, 2))[0]) > 2:
        total += size
        if total > _MAX_NAME_BYTES:
            raise ArchiveError("a header is damaged")
        content = exactly(file, size - 2)
        if content[0] == 1:
            name = content[1:]
        elif content[0] == 2:
            folder = content[1:]
    return name, folder, total


def _from_lzh(file: BinaryIO, member: Member, _: str | None) -> Iterator[bytes]:
    if member.method not in ("lh0", "lz4", "pm0"):
        raise ArchiveError(f"{member.name!r} is compressed by {member.method}, not unpacked here")
    return stored(file, *member.place)


def size_of(file: BinaryIO) -> int:
    """How long a file is."""
    return file.seek(0, io.SEEK_END)
