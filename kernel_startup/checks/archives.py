"""Checks of archives whose marks are short, missing or elsewhere."""

import io
import struct

from kernel_startup import containers
from kernel_startup.source import Source


def is_tar(source: Source) -> bool:
    """Whether the first header's checksum is right: Unix V7 left no other mark."""
    header = source.head[:512]
    if len(header) < 512 or not header[0]:
        return False
    stated = header[148:156].strip(b" \0")
    if not stated or stated.translate(None, b"01234567"):
        return False
    blank = header[:148] + b" " * 8 + header[156:]
    sums = (sum(blank), sum(byte - 256 * (byte > 127) for byte in blank))  # old ones added chars
    return int(stated, 8) in sums


def is_cpio(source: Source) -> bool:
    """Whether the first header makes sense: its mark is one that digits can be, or two bytes."""
    head = source.head
    if head[:5] == b"07070":
        size = 76 if head[5:6] == b"7" else 110
        return len(head) >= size and not head[6:size].translate(None, b"0123456789abcdefABCDEF")
    order = "<" if head[:2] == b"\xc7\x71" else ">"
    (name_bytes,) = struct.unpack_from(f"{order}H", head, 20)
    name = head[26 : 26 + name_bytes]
    return 1 < name_bytes < 4096 and name[-1:] == b"\0" and b"\0" not in name[:-1]


def is_lzh(source: Source) -> bool:
    """Whether the method is one there is, and the level of the header too."""
    method, level = source.head[2:7], source.head[20]
    return method[4:] == b"-" and method[3:4].isalnum() and level <= 3


def is_arj(source: Source) -> bool:
    """Whether the main header is as long as it can be, and of the main kind."""
    (size,) = struct.unpack_from("<H", source.head, 2)
    return 30 <= size <= 2600 and 30 <= source.head[4] <= size and source.head[10] == 2


def is_arc(source: Source) -> bool:
    """Whether it begins with a member's header: a method, a name in DOS style, plausible sizes."""
    head = source.head
    if len(head) < 31 or head[0] != 0x1A or not 1 <= head[1] <= 11:
        return False
    name, end, _ = head[2:15].partition(b"\0")
    packed = int.from_bytes(head[15:19], "little")
    return (
        bool(end and name)
        and name.isascii()
        and name.decode().isprintable()
        and (packed <= source.size_bytes)
    )


def is_pack(source: Source) -> bool:
    """Whether the tree has levels as few as there can be."""
    return len(source.head) > 7 and 1 <= source.head[6] <= 24


def is_ext(source: Source) -> bool:
    """Whether the superblock's size of blocks and state make sense."""
    log_block, state = (
        int.from_bytes(source.head[0x418:0x41C], "little"),
        int.from_bytes(source.head[0x43A:0x43C], "little"),
    )
    return log_block <= 6 and state <= 7


def is_dmg(source: Source) -> bool:
    """Whether it ends in the block that Apple's images have at their end."""
    return _tail(source, 512)[:4] == b"koly"


def is_vhd(source: Source) -> bool:
    """Whether it ends in the footer that Virtual PC's disks have (dynamic ones begin so too)."""
    return _tail(source, 512)[:8] == b"conectix"


def is_nrg(source: Source) -> bool:
    """Whether it ends in Nero's footer."""
    tail = _tail(source, 12)
    return tail[:4] == b"NER5" or tail[4:8] == b"NERO"


def is_prefixed_zip(source: Source) -> bool:
    """Whether a zip has something before it: a script (zipapp), or what the maker put there."""
    if b"PK\5\6" not in _tail(source, 66_000):
        return False
    with source.open() as file:
        try:
            return bool(containers.zip_directory(file, most=1).entries)
        except containers.BrokenContainer:
            return False


def _tail(source: Source, size: int) -> bytes:
    if source.is_whole_in_head:
        return source.head[-size:]
    if source.compression is not None:
        return b""
    with source.path.open("rb") as file:
        file.seek(max(source.size_bytes - size, 0), io.SEEK_SET)
        return file.read(size)
