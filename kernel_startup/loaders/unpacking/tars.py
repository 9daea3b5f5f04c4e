"""Tape archives, through the standard library."""

import io
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from kernel_startup.loaders.unpacking import (
    PIECE,
    ArchiveError,
    Contents,
    Counting,
    Kind,
    Member,
    from_unix,
    stored,
)

#: A header of extended attributes says how long it is itself: that much at a time, no more.
_MAX_READ = 64 * 1024 * 1024


def read_tar(file: BinaryIO, most: int) -> Contents:
    """List a tar, whatever its dialect; of one that is cut off, what there is."""
    contents = Contents([], _pieces)
    regular: dict[str, Member] = {}
    guarded: Any = _Guarded(file)
    try:
        with tarfile.open(
            fileobj=guarded, mode="r:" if file.seekable() else "r|", errorlevel=1
        ) as archive:
            while (info := archive.next()) is not None:
                if len(contents.members) >= most:
                    contents.notes.append(f"The first {most:,} members are listed, not all.")
                    break
                member = _member(info, regular)
                if info.isreg():
                    regular[info.name] = member
                contents.members.append(member)
                archive.members.clear()  # type: ignore[attr-defined]  # it keeps them all
    except (tarfile.TarError, OSError, EOFError, ValueError, ArchiveError) as error:
        if not contents.members:
            raise ArchiveError(str(error) or "its first header is damaged") from error
        contents.notes.append(_cut_off(len(contents.members)))
        return contents
    if contents.members and file.seekable():
        end = file.seek(0, io.SEEK_END)
        if any(max(p[0] + p[1] for p in m.place) > end for m in regular.values() if m.place):
            contents.notes.append(_cut_off(len(contents.members)))
    return contents


def _cut_off(count: int) -> str:
    return f"It is cut off or damaged: these {count:,} members are what there is."


def _member(info: tarfile.TarInfo, regular: dict[str, Member]) -> Member:
    kind: Kind = "device"
    target = ""
    place: list[tuple[int, int, int]] | None = None
    size = info.size
    if info.isreg():
        kind = "file"
        place = [(info.offset_data, info.size, 0)]
        if info.sparse is not None:
            place, offset = [], info.offset_data
            sparse: Any = info.sparse
            for at, length in sparse:
                place.append((offset, length, at))
                offset += length
    elif info.isdir():
        kind = "directory"
    elif info.issym() or info.islnk():
        kind, target = "link", info.linkname
        if info.islnk() and (same := regular.get(info.linkname)) is not None:
            # Another name of a member that is in here: as good as the member itself.
            kind, place, size = "file", same.place, same.size or 0
    name = info.name + "/" if kind == "directory" else info.name
    return Member(name, size, from_unix(info.mtime), kind, target, place=place)


def _pieces(file: BinaryIO, member: Member, _: str | None) -> Iterator[bytes]:
    if not file.seekable():
        file = Counting(file)  # type: ignore[assignment]  # it has what is needed here
    written = 0
    for offset, length, at in member.place:
        yield from _zeros(at - written)
        yield from stored(file, offset, length)
        written = max(at, written) + length
    yield from _zeros((member.size or 0) - written)


def _zeros(size: int) -> Iterator[bytes]:
    while size > 0:
        yield bytes(min(size, PIECE))
        size -= PIECE


class _Guarded:
    """A file of which nobody reads gigabytes at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_READ:
            raise ArchiveError(f"a header of {size:,} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
