"""Readers of archives: what is in them, and one member's content in pieces.

Each is `read_x(file, most) -> Contents`, pure but for reading the file it is given. It believes no
size that it hasn't compared with the file's, and raises `ArchiveError` where it can't go on.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, Literal

#: What is read of a stored member at a time.
PIECE = 1024 * 1024

Kind = Literal["file", "directory", "link", "device"]


class ArchiveError(Exception):
    """An archive or a member of it can't be read.

    Attributes:
        reason: What is wrong, in words.
        remedy: What would help; may be empty.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive.

    Attributes:
        name: Its path in the archive, with "/" between directories.
        size: In bytes, unpacked, as the archive says; None if it doesn't say.
        modified: When, in the archive's own zone; None if it doesn't say.
        kind: "file", "directory", "link" (nothing follows it) or "device".
        target: Where a link points.
        packed: In bytes, as stored; None where members are packed together.
        method: How it is compressed ("deflate"); empty if not, or if that isn't said.
        is_encrypted: A password is needed.
    """

    name: str
    size: int | None = None
    modified: datetime | None = None
    kind: Kind = "file"
    target: str = ""
    packed: int | None = None
    method: str = ""
    is_encrypted: bool = False
    place: Any = field(default=None, repr=False, compare=False)


@dataclass(slots=True)
class Contents:
    """What is in an archive.

    Attributes:
        members: In the archive's order.
        pieces: Gives a member's content: takes the archive's file, the member, and a password.
        notes: Sentences for the user: what is missing, or why.
        facts: What the archive says of itself ({"name": "zlib", "version": "1.3"}).
    """

    members: list[Member]
    pieces: Callable[[BinaryIO, Member, str | None], Iterator[bytes]]
    notes: list[str] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)


def exactly(file: BinaryIO, size: int) -> bytes:
    """Read so many bytes.

    Raises:
        ArchiveError: There are fewer.
    """
    if size > 256 * PIECE:
        raise ArchiveError(f"a part of {size:,} bytes where there should be a small one")
    content = file.read(size)
    if len(content) < size:
        raise ArchiveError("it is cut off")
    return content


def stored(file: BinaryIO, offset: int, size: int) -> Iterator[bytes]:
    """Read a part of a file in pieces."""
    skip_to(file, offset)
    while size > 0:
        piece = file.read(min(size, PIECE))
        if not piece:
            raise ArchiveError("it is cut off")
        size -= len(piece)
        yield piece


def skip_to(file: BinaryIO, offset: int) -> None:
    """Go to a place in a file, by reading where it can't be jumped in."""
    if file.seekable():
        file.seek(offset)
        return
    left = offset - file.tell()
    while left > 0:
        piece = file.read(min(left, PIECE))
        if not piece:
            raise ArchiveError("it is cut off")
        left -= len(piece)


class Part:
    """A part of a file as a file of its own, to be read from its beginning to its end."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        skip_to(file, offset)
        self._file = file
        self._left = size

    def read(self, size: int = -1) -> bytes:
        """Read so much, or the rest."""
        content = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(content)
        return content


class Counting:
    """A stream that knows where it is, and goes on only."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._place = 0

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self._place += len(content)
        return content

    def tell(self) -> int:
        return self._place

    def seekable(self) -> bool:
        return False


def from_dos(date: int) -> datetime | None:
    """Take a date of MS-DOS (date << 16 | time) for what it says; None if it makes no sense."""
    day, time = date >> 16, date & 0xFFFF
    try:
        return datetime(
            *(1980 + (day >> 9), day >> 5 & 15, day & 31),
            *(time >> 11, time >> 5 & 63, min((time & 31) * 2, 59)),
        )
    except ValueError:
        return None


def from_unix(seconds: float | None) -> datetime | None:
    """Take seconds since 1970 for a date in UTC; None if they are none."""
    from datetime import timedelta

    if not seconds:
        return None
    try:
        return datetime(1970, 1, 1) + timedelta(seconds=int(seconds))
    except (OverflowError, ValueError):
        return None


def from_filetime(ticks: int) -> datetime | None:
    """Take Windows' ticks of 100 ns since 1601 for a date in UTC."""
    return from_unix(ticks / 10_000_000 - 11_644_473_600) if ticks else None


def unpacked_number(layout: str, data: bytes, offset: int = 0) -> int:
    """One number at a place.

    Raises:
        ArchiveError: It isn't there.
    """
    try:
        (number,) = struct.unpack_from(layout, data, offset)
    except struct.error:
        raise ArchiveError("it is cut off") from None
    return int(number)
