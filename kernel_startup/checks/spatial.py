"""Checks of meshes, CAD and geospatial files."""

import math
import re
import struct

from kernel_startup.source import Source

_STL_TEXT = re.compile(rb"\s*+solid\b[^\n\r]*+\s++facet\s++normal", re.IGNORECASE)
_STL_HEADER_BYTES, _STL_FACET_BYTES = 84, 50
_MAX_COUNTED_BYTES = 64 << 20


def is_stl(source: Source) -> bool:
    """STL has no mark: the text names its first facet, the binary's size follows from its count."""
    if _STL_TEXT.match(source.head):
        return True
    if len(source.head) < _STL_HEADER_BYTES + _STL_FACET_BYTES:
        return False
    count = int.from_bytes(source.head[80:84], "little")
    promised = _STL_HEADER_BYTES + _STL_FACET_BYTES * count
    if source.compression is None:
        return count > 0 and source.size_bytes == promised
    if source.is_whole_in_head:
        return count > 0 and len(source.head) == promised
    starts = range(_STL_HEADER_BYTES, len(source.head) - _STL_FACET_BYTES, _STL_FACET_BYTES)
    return (
        len(source.head) < promised <= _MAX_COUNTED_BYTES
        and all(_has_facet(source.head, start) for start in starts[:20])
        and _size_of_unpacked(source, promised + 1) == promised
    )


def _has_facet(head: bytes, offset: int) -> bool:
    x, y, z, *corners = struct.unpack_from("<12f", head, offset)
    length = math.hypot(x, y, z)
    return (length < 1e-6 or abs(length - 1) < 1e-3) and all(map(math.isfinite, corners))


def _size_of_unpacked(source: Source, most: int) -> int:
    size = 0
    with source.stream() as file:
        while size < most and (block := file.read(min(1 << 20, most - size))):
            size += len(block)
    return size


def is_geotiff(source: Source) -> bool:
    """A TIFF whose first directory has the tag of GeoTIFF's keys (or a model's transformation)."""
    head = source.head
    order = "<" if head.startswith(b"II") else ">"
    (version,) = struct.unpack_from(f"{order}H", head, 2)
    big = version == 43
    (offset,) = (
        struct.unpack_from(f"{order}Q", head, 8)
        if big
        else struct.unpack_from(f"{order}I", head, 4)
    )
    count_size, entry_size, most = (8, 20, 4096) if big else (2, 12, 4096)
    with_directory = _read_at(source, offset, count_size + entry_size * most)
    (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", with_directory)
    for number in range(min(count, most)):
        (tag,) = struct.unpack_from(f"{order}H", with_directory, count_size + entry_size * number)
        if tag == _GEO_KEYS:
            return True
        if tag > _GEO_KEYS:  # tags are in order
            return False
    return False


_GEO_KEYS = 34735


def _read_at(source: Source, offset: int, size: int) -> bytes:
    if offset + size <= len(source.head) or source.is_whole_in_head:
        return source.head[offset : offset + size]
    if source.compression is not None:
        return b""
    with source.open() as file:
        file.seek(offset)
        return file.read(size)


_HGT_BYTES = frozenset({2 * 1201 * 1201, 2 * 3601 * 3601, 2 * 3601 * 1801})


def is_hgt(source: Source) -> bool:
    """SRTM heights are nothing but numbers: the size and the name are all there is."""
    name = source.name.lower().removesuffix(".gz")
    return name.endswith(".hgt") and (
        source.compression is not None or source.size_bytes in _HGT_BYTES
    )


def is_laz(source: Source) -> bool:
    """Whether the points of a lidar file are compressed: the high bits of their format say so."""
    return bool(source.head[104] & 0xC0)


def is_gltf_binary(source: Source) -> bool:
    """Versions 1 and 2 of glTF exist."""
    return source.head[4:8] in (b"\1\0\0\0", b"\2\0\0\0")


def is_dwg(source: Source) -> bool:
    """AC and a number, or what older versions had."""
    return re.match(rb"AC(?:10\d\d|[12]\.\d\d?|2\.\d\d)[\0\d]?", source.head[:8]) is not None


def is_3ds(source: Source) -> bool:
    """A chunk that says the file's size, whose first chunk is one that belongs there."""
    kind, size, inner = struct.unpack_from("<HIH", source.head)
    fits = source.compression is not None or 0 <= source.size_bytes - size < 64
    return kind == 0x4D4D and fits and inner in (0x0002, 0x3D3D, 0x0100, 0xB000, 0xAFFF)


def is_exodus(source: Source) -> bool:
    """Exodus is netCDF with its own variables."""
    return b"connect1" in source.head or b"num_el_blk" in source.head


def is_parasolid_binary(source: Source) -> bool:
    """Parasolid's transmit files say PS, and what wrote them."""
    return re.match(rb"PS\0\0\0?[\x20-\x7e?]?.{0,4}:? ?TRANSMIT FILE", source.head) is not None


def is_point_text(source: Source) -> bool:
    """A text of nothing but numbers, three to ten a line, that is called what such files are."""
    if not source.name.lower().removesuffix(".gz").endswith((".pts", ".ptx", ".txyz", ".xyzrgb")):
        return False
    lines = source.head.splitlines()[:50]
    body = [line.split() for line in lines[1:-1] or lines]
    return bool(body) and all(_are_numbers(fields) for fields in body)


def _are_numbers(fields: list[bytes]) -> bool:
    try:
        return all(math.isfinite(float(field)) for field in fields)
    except ValueError:
        return False
