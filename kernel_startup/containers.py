"""A look inside files that hold other files, to tell what they are. Pure standard library."""

import struct
import zipfile
from typing import BinaryIO


class BrokenContainer(Exception):
    """The container is cut off or damaged, so what it holds can't be listed."""


#: Members of a zip looked at: a listing of a million names isn't needed to know a workbook.
_MAX_MEMBERS = 10_000
_MAX_MIMETYPE_BYTES = 200
_MAX_DIRECTORY_SECTORS = 1000
#: Sector numbers from here on are marks: end of chain, free, and the like.
_FIRST_MARK = 0xFFFFFFFA


def zip_members(file: BinaryIO) -> tuple[frozenset[str], str]:
    """List a zip's members, and the media type that OpenDocument puts into its first one.

    Raises:
        BrokenContainer: It has no readable directory.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = frozenset(archive.namelist()[:_MAX_MEMBERS])
            mimetype = b""
            if "mimetype" in members:
                with archive.open("mimetype") as member:
                    mimetype = member.read(_MAX_MIMETYPE_BYTES)
    # NotImplementedError and RuntimeError: an unheard-of compression, an encrypted member.
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError) as error:
        raise BrokenContainer(str(error)) from error
    return members, mimetype.decode("ascii", errors="replace").strip()


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
