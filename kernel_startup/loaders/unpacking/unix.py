"""ar and Debian packages, cpio, RPM packages."""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

from kernel_startup import compression
from kernel_startup.loaders.unpacking import (
    ArchiveError,
    Contents,
    Counting,
    Kind,
    Member,
    exactly,
    from_unix,
    skip_to,
    stored,
)

_MAX_NAME_BYTES = 64 * 1024
_RPM_MOST_INDEX, _RPM_MOST_STORE = 100_000, 64 * 1024 * 1024


def _stored(file: BinaryIO, member: Member, _: str | None) -> Iterator[bytes]:
    return stored(file, *member.place)


def read_ar(file: BinaryIO, most: int) -> Contents:
    """List an ar archive, in System V's or BSD's dialect."""
    if file.read(8) != b"!<arch>\n":
        raise ArchiveError("it doesn't begin as an ar archive")
    contents = Contents([], _stored)
    long_names = b""
    while len(header := file.read(60)) == 60:
        if header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            contents.notes.append("It is damaged: these members are what could be found.")
            break
        if len(contents.members) >= most:
            contents.notes.append(f"The first {most:,} members are listed, not all.")
            break
        size, start = int(header[48:58]), file.tell()
        name = header[:16].rstrip()
        if name == b"//":
            long_names = exactly(file, size)
        elif name.startswith(b"/") and name[1:].isdigit():
            name = long_names[int(name[1:]) :].partition(b"\n")[0]
        elif name.startswith(b"#1/") and name[3:].isdigit():
            length = min(int(name[3:]), size, _MAX_NAME_BYTES)
            name = file.read(length).rstrip(b"\0")
            start, size = start + length, size - length
        # What the linker has put there isn't a member.
        if name not in (b"/", b"//", b"/SYM64/") and not name.startswith(b"__.SYMDEF"):
            seconds = header[16:28].strip()
            contents.members.append(
                Member(
                    name.rstrip(b"/").decode("utf-8", "replace"),
                    size,
                    from_unix(int(seconds)) if seconds.isdigit() else None,
                    packed=size,
                    place=(start, size),
                )
            )
        file.seek(start + size + (start + size & 1))
    _note_if_cut(file, contents)
    return contents


def _note_if_cut(file: BinaryIO, contents: Contents) -> None:
    if contents.members and not contents.notes:
        start, size = contents.members[-1].place
        if start + size > file.seek(0, io.SEEK_END):
            contents.notes.append("It is cut off: its last member isn't all there.")


def read_cpio(file: BinaryIO, most: int) -> Contents:
    """List a cpio archive: new ASCII, old ASCII, or binary of either byte order."""
    contents = Contents([], _stored)
    while True:
        try:
            member = _next_cpio(file)
        except (ArchiveError, ValueError):
            if not contents.members:
                raise ArchiveError("its first header is damaged") from None
            contents.notes.append("It is cut off or damaged: these members are what there is.")
            break
        if member is None:
            break
        if len(contents.members) >= most:
            contents.notes.append(f"The first {most:,} members are listed, not all.")
            break
        contents.members.append(member)
    return contents


def _next_cpio(file: BinaryIO) -> Member | None:
    magic = exactly(file, 6)
    if magic in (b"070701", b"070702"):
        fields = exactly(file, 104)
        values = [int(fields[i : i + 8], 16) for i in range(0, 104, 8)]
        mode, mtime, size, name_bytes, align = values[1], values[5], values[6], values[11], 4
    elif magic == b"070707":
        fields = exactly(file, 70)
        mode, mtime = int(fields[12:18], 8), int(fields[42:53], 8)
        name_bytes, size, align = int(fields[53:59], 8), int(fields[59:70], 8), 1
    elif magic[:2] in (b"\xc7\x71", b"\x71\xc7"):
        order = "<" if magic[:2] == b"\xc7\x71" else ">"
        values = list(struct.unpack(f"{order}13H", magic + exactly(file, 20)))
        mode, name_bytes, align = values[3], values[10], 2
        mtime, size = values[8] << 16 | values[9], values[11] << 16 | values[12]
    else:
        raise ArchiveError("a header is damaged")
    if name_bytes > _MAX_NAME_BYTES:
        raise ArchiveError("a name of that length")
    name = exactly(file, name_bytes).rstrip(b"\0").decode("utf-8", "replace")
    start = file.tell()
    start += -start % align
    if name == "TRAILER!!!":
        return None
    end = start + size
    kinds: dict[int, Kind] = {0o10: "file", 0o4: "directory", 0o12: "link", 0: "file"}
    kind = kinds.get(mode >> 12, "device")
    target = ""
    skip_to(file, start)
    if kind == "link" and size <= _MAX_NAME_BYTES:
        target = exactly(file, size).decode("utf-8", "replace")
    skip_to(file, end + -end % align)
    if kind == "directory":
        name = name.rstrip("/") + "/"
    return Member(name, size, from_unix(mtime), kind, target, size, place=(start, size))


def read_rpm(file: BinaryIO, most: int) -> Contents:
    """List an RPM package: its headers, and the cpio archive in it.

    Source: the RPM manual, "Package format V4".
    """
    lead = exactly(file, 96)
    if not lead.startswith(b"\xed\xab\xee\xdb"):
        raise ArchiveError("it doesn't begin as an RPM package")
    _read_rpm_header(file)
    file.seek(file.tell() + -file.tell() % 8)
    tags = _read_rpm_header(file)
    facts: dict[str, object] = {name: tags[tag] for tag, name in _RPM_TAGS.items() if tag in tags}
    packed = file.tell()
    start = file.read(64)
    kind = compression.compression_of(start)

    def payload(file: BinaryIO) -> BinaryIO:
        file.seek(packed)
        if kind is not None:
            return compression.unpacked(file, (kind,))
        content: BinaryIO = io.BytesIO(file.read(256 << 20))
        return content

    def pieces(file: BinaryIO, member: Member, _: str | None) -> Iterator[bytes]:
        inner = Counting(payload(file))
        yield from stored(inner, *member.place)  # type: ignore[arg-type]

    if kind is None and not start.startswith(b"07070"):
        names = ", ".join(str(tags.get(tag, "?")) for tag in (1124, 1125))
        raise ArchiveError(f"its content is in a form that nothing here reads: {names}")
    contents = read_cpio(Counting(payload(file)), most)  # type: ignore[arg-type]
    contents.pieces, contents.facts = pieces, facts
    return contents


_RPM_TAGS = {
    **{1000: "name", 1001: "version", 1002: "release", 1004: "summary", 1014: "license"},
    **{1022: "architecture", 1020: "url", 1011: "vendor"},
}


def _read_rpm_header(file: BinaryIO) -> dict[int, str]:
    """Read a header's strings by their tags."""
    magic, count, size = struct.unpack(">8sII", exactly(file, 16))
    if not magic.startswith(b"\x8e\xad\xe8") or count > _RPM_MOST_INDEX or size > _RPM_MOST_STORE:
        raise ArchiveError("its header is damaged")
    index = exactly(file, 16 * count)
    store = exactly(file, size)
    tags = {}
    for tag, kind, offset, _ in struct.iter_unpack(">4I", index):
        if kind in (6, 9) and offset < size:  # a string, or one in several languages
            tags[tag] = store[offset : offset + 2000].partition(b"\0")[0].decode("utf-8", "replace")
    return tags
