"""Files too large for a message: compressed, or in parts that are put together again.

All of it happens on disk, in a thread, in a directory that is gone when its ``async with`` ends:
deliver within it.
"""

import asyncio
import shutil
import tempfile
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

from bot.messages.filenames import attachment_name
from bot.outgoing import Attachment

_PIECE_BYTES = 1 << 20
#: Nobody puts more together by hand.
MAX_PARTS = 50


class TooManyParts(ValueError):
    """A file would have to be cut into more parts than anybody wants."""


@asynccontextmanager
async def zipped(
    path: Path, *, filename: str, max_bytes: int, directory: Path | None = None
) -> AsyncIterator[Attachment | None]:
    """A file compressed, as long as the ``async with`` lasts.

    Args:
        path: The file.
        filename: What it is called.
        max_bytes: How large the archive may be; it is given up as soon as it is larger.
        directory: Where to make it, None for the system's place for such things.

    Yields:
        The archive, or None if it would be too large.

    Raises:
        OSError: The file can't be read, or the archive not written.
    """
    async with _temporary_directory(directory) as room:
        target = room / "archive.zip"
        size = await asyncio.to_thread(_zip, path, target, filename, max_bytes)
        name = attachment_name(f"{filename.rpartition('/')[2]}.zip")
        yield None if size is None else Attachment(name, target, size)


@asynccontextmanager
async def parts_of(
    path: Path, part_bytes: int, *, filename: str | None = None, directory: Path | None = None
) -> AsyncIterator[tuple[Attachment, ...]]:
    """A file in parts, as long as the ``async with`` lasts: ``data.csv.part01`` and so on.

    Args:
        path: The file.
        part_bytes: How large a part may be.
        filename: What the file is called, None for its name on disk.
        directory: Where to make them, None for the system's place for such things.

    Raises:
        TooManyParts: It would be more than ``MAX_PARTS``.
        OSError: The file can't be read, or the parts not written.
    """
    name = attachment_name((filename or path.name).rpartition("/")[2])
    async with _temporary_directory(directory) as room:
        yield await asyncio.to_thread(_cut, path, room, name, part_bytes)


def how_to_join(filename: str) -> str:
    """In one sentence, how to put parts together again; Discord's markdown."""
    name = attachment_name(filename.rpartition("/")[2])
    return (
        f"Save all parts in one folder, then put them together there: on Windows with "
        f"`copy /b {name}.part* {name}`, on macOS and Linux with `cat {name}.part* > {name}`."
    )


def zip_bytes(content: bytes, filename: str, max_bytes: int) -> bytes | None:
    """Compress what is in memory; None if it is larger than ``max_bytes`` even then."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(filename, content)
    return buffer.getvalue() if buffer.tell() <= max_bytes else None


@asynccontextmanager
async def _temporary_directory(parent: Path | None) -> AsyncIterator[Path]:
    room = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="cellmate-send-", dir=parent))
    try:
        yield room
    finally:
        await asyncio.to_thread(shutil.rmtree, room, ignore_errors=True)


def _zip(path: Path, target: Path, filename: str, max_bytes: int) -> int | None:
    """Size of the archive, or None once it is too large."""
    with (
        target.open("wb") as raw,
        zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive,
        path.open("rb") as source,
        archive.open(_member(filename), "w", force_zip64=True) as member,
    ):
        while piece := source.read(_PIECE_BYTES):
            member.write(piece)
            if raw.tell() > max_bytes:
                break
    size = target.stat().st_size
    return size if size <= max_bytes else None


def _member(filename: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(filename.rpartition("/")[2] or "file")
    member.compress_type = zipfile.ZIP_DEFLATED
    return member


def _cut(path: Path, room: Path, name: str, part_bytes: int) -> tuple[Attachment, ...]:
    size = path.stat().st_size
    count = max(-(-size // part_bytes), 1)
    if count > MAX_PARTS:
        raise TooManyParts(f"{count} parts")
    parts = []
    with path.open("rb") as source:
        for number in range(1, count + 1):
            # Two digits, so that they sort: at most MAX_PARTS.
            target = room / f"{name}.part{number:02}"
            with target.open("wb") as part:
                written = _copy(source, part, part_bytes)
            parts.append(Attachment(target.name, target, written))
    return tuple(parts)


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> int:
    left = size
    while left and (piece := source.read(min(left, _PIECE_BYTES))):
        target.write(piece)
        left -= len(piece)
    return size - left
