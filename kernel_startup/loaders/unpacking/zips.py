"""Zip archives, and what is one inside.

Source: PKWARE's APPNOTE.TXT.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from kernel_startup import compression, containers
from kernel_startup.containers import ZipEntry
from kernel_startup.loaders.unpacking import (
    ArchiveError,
    Contents,
    Kind,
    Member,
    Part,
    exactly,
    from_dos,
    stored,
)

_METHODS = {
    **{0: "", 1: "shrink", 6: "implode", 8: "deflate", 9: "deflate64", 12: "bzip2", 14: "lzma"},
    **{93: "zstd", 95: "xz", 97: "wavpack", 98: "ppmd", 99: "AES", 96: "jpeg"},
}
_ENCRYPTED = 1
_SIZES_FOLLOW = 8


def read_zip(file: BinaryIO, most: int) -> Contents:
    """List a zip by its directory; by its members themselves if it has none (it is cut off)."""
    try:
        directory = containers.zip_directory(file, most=most)
    except containers.BrokenContainer as error:
        entries = _salvage(file, most)
        if not entries:
            raise ArchiveError(str(error)) from error
        note = "It is cut off or damaged: its directory is missing, these members were found."
        return Contents([_member(entry) for entry in entries], _pieces, [note])
    contents = Contents([_member(entry) for entry in directory.entries], _pieces)
    if directory.comment:
        contents.facts["comment"] = directory.comment[:500].decode("utf-8", "replace")
    if directory.count > len(directory.entries):
        what = "listed" if len(directory.entries) >= most else "found"
        contents.notes.append(
            f"Of {directory.count:,} members, {len(directory.entries):,} are {what}."
        )
    return contents


def _member(entry: ZipEntry) -> Member:
    kind: Kind = "directory" if entry.name.endswith("/") else "file"
    if entry.mode & 0o170000 == 0o120000:
        kind = "link"
    return Member(
        entry.name,
        entry.size,
        from_dos(entry.date),
        kind,
        packed=entry.packed,
        method=_METHODS.get(entry.method, f"method {entry.method}"),
        is_encrypted=bool(entry.flags & _ENCRYPTED),
        place=entry,
    )


def _salvage(file: BinaryIO, most: int) -> list[ZipEntry]:
    """Go from one local header to the next."""
    size = file.seek(0, 2)
    offset = 0
    entries: list[ZipEntry] = []
    while len(entries) < most:
        file.seek(offset)
        header = file.read(30)
        if len(header) < 30 or not header.startswith(b"PK\3\4"):
            break
        _, _, flags, method, time, day, crc, packed, unpacked, name_bytes, extra_bytes = (
            struct.unpack("<4s5H3I2H", header)
        )
        raw_name = file.read(name_bytes)
        start = offset + 30 + name_bytes + extra_bytes
        if flags & _SIZES_FOLLOW and not packed:
            measured = _measure(file, start) if method == 8 else None
            if measured is None:
                break
            packed, unpacked, crc = measured
            end = start + packed
            file.seek(end)
            end += 16 if file.read(4) == b"PK\7\x08" else 12
        else:
            end = start + packed
        if end > size:
            break  # not all of it is there
        name = raw_name.decode("utf-8", "replace").replace("\\", "/")
        date = day << 16 | time
        entries.append(
            ZipEntry(name, raw_name, unpacked, packed, method, flags, crc, date, offset, 0)
        )
        offset = end
    return entries


def _measure(file: BinaryIO, start: int) -> tuple[int, int, int] | None:
    file.seek(start)
    decoder = zlib.decompressobj(wbits=-15)
    packed = unpacked = crc = 0
    data = b""
    try:
        while not decoder.eof:
            data = data or file.read(65536)
            if not data or unpacked > 1 << 32:
                return None
            piece = decoder.decompress(data, 1 << 20)
            packed += len(data) - len(decoder.unconsumed_tail) - len(decoder.unused_data)
            unpacked, crc = unpacked + len(piece), zlib.crc32(piece, crc)
            data = decoder.unconsumed_tail
    except zlib.error:
        return None
    return packed, unpacked, crc


def _pieces(file: BinaryIO, member: Member, password: str | None) -> Iterator[bytes]:
    entry: ZipEntry = member.place
    file.seek(entry.offset)
    header = exactly(file, 30)
    if not header.startswith(b"PK\3\4"):
        raise ArchiveError(f"{member.name!r} isn't where the directory says")
    name_bytes, extra_bytes = struct.unpack_from("<26xHH", header)
    start = entry.offset + 30 + name_bytes + extra_bytes
    if entry.method == 99:
        yield from _decrypt_aes(file, member, password)
        return
    packed: Any = Part(file, start, entry.packed)
    if entry.flags & _ENCRYPTED:
        packed = _Decrypted(packed, entry, password, header)
    crc = 0
    for piece in _decode(packed, file, start, entry):
        crc = zlib.crc32(piece, crc)
        yield piece
    if crc != entry.crc:
        if entry.flags & _ENCRYPTED:
            raise _wrong_password(member.name)
        raise ArchiveError(f"{member.name!r} is damaged: its checksum is wrong")


def _decode(packed: Any, file: BinaryIO, start: int, entry: ZipEntry) -> Iterator[bytes]:
    if entry.method == 0:
        if isinstance(packed, Part):
            return stored(file, start, entry.packed)
        return iter(lambda: packed.read(1 << 20), b"")
    if entry.method == 8:
        return compression.deflated(packed)
    if entry.method == 9:
        return _deflate64(packed)
    if entry.method == 14:
        return compression.lzma_in_zip(packed, entry.size)
    if entry.method in (12, 93, 95):
        return compression.unpack(packed, {12: "bzip2", 93: "zstd", 95: "xz"}[entry.method])
    method = _METHODS.get(entry.method, f"method {entry.method}")
    raise ArchiveError(f"{entry.name!r} is compressed by {method}, which nothing here unpacks")


def _deflate64(packed: Any) -> Iterator[bytes]:
    import inflate64

    decoder = inflate64.Inflater()
    while data := packed.read(16 * 1024):
        yield decoder.inflate(data)


def _wrong_password(name: str) -> ArchiveError:
    return ArchiveError(f"the password doesn't open {name!r}", 'Give the right one: password="..."')


def needs_password(name: str) -> ArchiveError:
    """What to say of an encrypted member if there is no password."""
    return ArchiveError(
        f"{name!r} is encrypted", 'Give the password: load_file(..., password="...")'
    )


class _Decrypted:
    """PKWARE's own encryption (APPNOTE.TXT, 6.1). A byte at a time, hence slow."""

    def __init__(self, file: Part, entry: ZipEntry, password: str | None, header: bytes) -> None:
        if password is None:
            raise needs_password(entry.name)
        self._file = file
        self._keys = (0x12345678, 0x23456789, 0x34567890)
        self._table = [_crc_of(byte) for byte in range(256)]
        for byte in password.encode():
            self._update(byte)
        follow = entry.flags & _SIZES_FOLLOW
        check = header[11] if follow else entry.crc >> 24 & 0xFF
        if self.read(12)[-1:] != bytes([check]):
            raise _wrong_password(entry.name)

    def _update(self, byte: int) -> None:
        first, second, third = self._keys
        table = self._table
        first = first >> 8 ^ table[(first ^ byte) & 0xFF]
        second = (second + (first & 0xFF)) * 134775813 + 1 & 0xFFFFFFFF
        third = third >> 8 ^ table[(third ^ second >> 24) & 0xFF]
        self._keys = first, second, third

    def read(self, size: int = -1) -> bytes:
        """Read so much, decrypted."""
        plain = bytearray(self._file.read(size))
        for place, byte in enumerate(plain):
            mixed = self._keys[2] & 0xFFFF | 2
            byte ^= mixed * (mixed ^ 1) >> 8 & 0xFF
            plain[place] = byte
            self._update(byte)
        return bytes(plain)


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0xEDB88320 if byte & 1 else byte >> 1
    return byte


def _decrypt_aes(file: BinaryIO, member: Member, password: str | None) -> Iterator[bytes]:
    if password is None:
        raise needs_password(member.name)
    import pyzipper

    file.seek(0)
    with pyzipper.AESZipFile(file) as archive:
        archive.setpassword(password.encode())
        info = next(i for i in archive.infolist() if i.header_offset == member.place.offset)
        try:
            with archive.open(info) as inner:
                while piece := inner.read(1 << 20):
                    yield piece
        except (RuntimeError, pyzipper.BadZipFile) as error:
            raise _wrong_password(member.name) from error
