"""Compressions that wrap a single file: told by their marks, unpacked piece by piece.

Each unpacks with bounded memory, whatever the content says of itself: `unpack` gives pieces of at
most a few MiB, and whoever takes them decides when it has been enough.
"""

import io
import re
from collections.abc import Generator, Iterator
from typing import BinaryIO

#: What is read of the packed file at a time, and what is unpacked of that at a time.
_PIECE = 256 * 1024
_MAX_PIECE = 1024 * 1024
#: What a decoder may reserve for its window: xz -9 and zstd --ultra --long=27 need less.
_MAX_WINDOW = 512 * 1024 * 1024
#: All that is repeated makes codes that grow: 65,000 of them stand for 2 GB.
_MAX_LZW_TABLE = 128 * 1024 * 1024
_LZ4_LEGACY_BLOCK = 8 * 1024 * 1024

#: Names, as in the type table, by the extension that says what content can't (brotli has no mark).
_BY_NAME = {"br": "brotli", "zz": "zlib", "zlib": "zlib"}
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90|.{0,5}\Z)", re.DOTALL)
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")


class BrokenStream(Exception):
    """What is compressed is cut off or damaged."""


def compression_of(head: bytes, name: str = "") -> str | None:
    """Tell the compression around a file by its first bytes; by its name where it has no mark.

    Returns:
        The name of a type in the table ("gzip"), or None.
    """
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if _BZIP2.match(head):
        return "bzip2"
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz"
    if head.startswith(b"LZIP") and head[4:5] in (b"\0", b"\1"):
        return "lzip"
    # Bits 5 and 6 of the third byte are reserved; the rest is how long codes may become.
    if head.startswith(b"\x1f\x9d") and len(head) > 2 and 9 <= head[2] & 0x7F <= 16:
        return "compress"
    frame = _after_skippable(head)
    if frame.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd"
    if frame.startswith((b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18")):
        return "lz4"
    if _is_lzma_alone(head):
        return "lzma"
    told = _BY_NAME.get(name.lower().rpartition(".")[2])
    return told if told and _unpacks(head, told) else None


def unpack(file: BinaryIO, compression: str) -> Iterator[bytes]:
    """Unpack a file from where it stands, in pieces.

    Raises:
        BrokenStream: It is cut off or damaged; the pieces before were good.
    """
    import lzma
    import zlib

    try:
        yield from _DECODERS[compression](file)
    except ImportError as error:
        raise BrokenStream(f"{error.name} isn't installed") from error
    except (EOFError, OSError, ValueError, MemoryError, zlib.error, lzma.LZMAError) as error:
        raise BrokenStream(str(error) or type(error).__name__) from error
    except RuntimeError as error:  # lz4
        raise BrokenStream(str(error)) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("brotli", "zstandard", "zstd"):
            raise
        raise BrokenStream(str(error)) from error


class Unpacked(io.RawIOBase):
    """The pieces of an unpacked file as a file that is read once, from its beginning to its end."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        """Let go of what is unpacked."""
        if isinstance(self._pieces, Generator):
            self._pieces.close()
        super().close()

    def readinto(self, buffer: object) -> int:
        """Fill a buffer as far as the next piece goes."""
        room = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(room), len(self._rest))
        room[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def unpacked(file: BinaryIO, compressions: tuple[str, ...]) -> io.BufferedReader:
    """Open what is inside of compressions around each other, the outermost named first."""
    for compression in compressions:
        file = io.BufferedReader(Unpacked(unpack(file, compression)))
    assert isinstance(file, io.BufferedReader)
    return file


def _after_skippable(head: bytes) -> bytes:
    """Skip the frames of metadata that may come before the first one of content (pzstd)."""
    for _ in range(4):
        if len(head) < 8 or not _SKIPPABLE.match(head):
            break
        head = head[8 + int.from_bytes(head[4:8], "little") :]
    return head


def _is_lzma_alone(head: bytes) -> bool:
    if len(head) < 14 or head[0] != 0x5D or head[13] != 0:  # the coder's first byte is always 0
        return False
    window, size = int.from_bytes(head[1:5], "little"), int.from_bytes(head[5:13], "little")
    lowest = window & -window
    if not (1 << 12 <= window <= 1 << 30 and window in (lowest, 3 * lowest)):
        return False
    return (size == (1 << 64) - 1 or size < 1 << 40) and _unpacks(head, "lzma")


def _unpacks(head: bytes, compression: str) -> bool:
    """Whether the beginning of a file gives anything when it is unpacked."""
    pieces = unpack(io.BytesIO(head), compression)
    try:
        return bool(next(pieces, b""))
    except BrokenStream:
        return False


# -- the decoders ---------------------------------------------------------------------------------


def _gzip(file: BinaryIO) -> Iterator[bytes]:
    import zlib

    data = file.read(_PIECE)
    while data:
        decoder = zlib.decompressobj(wbits=31)
        while not decoder.eof:
            data = data or file.read(_PIECE)
            if not data:
                raise EOFError("it ends before its end mark")
            if piece := decoder.decompress(data, _MAX_PIECE):
                yield piece
            data = decoder.unconsumed_tail
        data = (decoder.unused_data or file.read(_PIECE)).lstrip(b"\0")
        while 0 < len(data) < 3 and (more := file.read(_PIECE)):
            data += more
        if not data.startswith(b"\x1f\x8b"):
            return  # padding, or something that doesn't belong to it: gzip ignores it as well


def _zlib(file: BinaryIO) -> Iterator[bytes]:
    return deflated(file, wbits=15)


def deflated(file: BinaryIO, *, wbits: int = -15) -> Iterator[bytes]:
    """Unpack a bare deflate stream (as in zip), or one in zlib's frame."""
    import zlib

    decoder = zlib.decompressobj(wbits=wbits)
    data = b""
    while not decoder.eof:
        data = data or file.read(_PIECE)
        if not data:
            raise EOFError("it ends before its end mark")
        if piece := decoder.decompress(data, _MAX_PIECE):
            yield piece
        data = decoder.unconsumed_tail


def _bzip2(file: BinaryIO) -> Iterator[bytes]:
    import bz2

    data = file.read(_PIECE)
    while data.startswith(b"BZh"):
        decoder = bz2.BZ2Decompressor()
        while not decoder.eof:
            if decoder.needs_input:
                data = data or file.read(_PIECE)
                if not data:
                    raise EOFError("it ends before its end mark")
            if piece := decoder.decompress(data, _MAX_PIECE):
                yield piece
            data = b""
        data = decoder.unused_data or file.read(_PIECE)


def _lzma_of(decoder: object, file: BinaryIO, data: bytes = b"") -> Iterator[bytes]:
    import lzma

    assert isinstance(decoder, lzma.LZMADecompressor)
    while not decoder.eof:
        if decoder.needs_input:
            data = data or file.read(_PIECE)
            if not data:
                raise EOFError("it ends before its end mark")
        if piece := decoder.decompress(data, _MAX_PIECE):
            yield piece
        data = b""


def _xz(file: BinaryIO) -> Iterator[bytes]:
    import lzma

    data = file.read(_PIECE)
    while data.startswith(b"\xfd7zXZ\0"):
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_WINDOW)
        yield from _lzma_of(decoder, file, data)
        data = (decoder.unused_data or file.read(_PIECE)).lstrip(b"\0")
        while 0 < len(data) < 6 and (more := file.read(_PIECE)):
            data += more


def _lzma(file: BinaryIO) -> Iterator[bytes]:
    import lzma

    return _lzma_of(lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MAX_WINDOW), file)


def lzma_in_zip(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Unpack LZMA as it is in a zip: version, properties, and a stream that may have no end mark.

    Args:
        file: The packed member.
        size: What it unpacks to.
    """
    header = file.read(4)
    properties = file.read(int.from_bytes(header[2:4], "little") & 0xFF)
    return raw_lzma(file, properties, size)


def raw_lzma(file: BinaryIO, properties: bytes, size: int) -> Iterator[bytes]:
    """Unpack bare LZMA, until it has given `size` bytes."""
    import lzma

    if len(properties) < 5 or properties[0] >= 225:
        raise BrokenStream("its properties make no sense")
    window = max(int.from_bytes(properties[1:5], "little"), 4096)
    if window > _MAX_WINDOW:
        raise BrokenStream(f"a window of {window:,} bytes")
    rest, lc = divmod(properties[0], 9)
    pb, lp = divmod(rest, 5)
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": window, "lc": lc, "lp": lp, "pb": pb}]
    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
        left, data = size, b""
        while left > 0 and not decoder.eof:
            if decoder.needs_input:
                data = file.read(_PIECE)
                if not data:
                    raise BrokenStream("it ends before its end mark")
            piece = decoder.decompress(data, min(_MAX_PIECE, left))
            data = b""
            left -= len(piece)
            if piece:
                yield piece
    except (lzma.LZMAError, ValueError) as error:
        raise BrokenStream(str(error)) from error


def _lzip(file: BinaryIO) -> Iterator[bytes]:
    """Source: the lzip manual, "File format": LZMA with an end mark, then CRC and sizes."""
    import lzma
    import zlib

    data = file.read(_PIECE)
    while data.startswith(b"LZIP"):
        if len(data) < 6:
            raise EOFError("it ends in its header")
        window = 1 << (data[5] & 0x1F)
        window -= (window // 16) * (data[5] >> 5)
        if not 1 << 12 <= window <= _MAX_WINDOW:
            raise ValueError(f"a window of {window:,} bytes")
        filters = [{"id": lzma.FILTER_LZMA1, "dict_size": window, "lc": 3, "lp": 0, "pb": 2}]
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
        crc = 0
        for piece in _lzma_of(decoder, file, data[6:]):
            crc = zlib.crc32(piece, crc)
            yield piece
        trailer = decoder.unused_data
        while len(trailer) < 20 and (more := file.read(_PIECE)):
            trailer += more
        if int.from_bytes(trailer[:4], "little") != crc:
            raise ValueError("its checksum is wrong")
        data = trailer[20:] or file.read(_PIECE)


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    import zstandard

    decoder = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    start = file.tell() if isinstance(file, io.IOBase) and file.seekable() else None
    with decoder.stream_reader(file, read_across_frames=True, closefd=False) as reader:
        while piece := reader.read(_MAX_PIECE):
            yield piece
    if start is not None:
        file.seek(start)
        _check_zstd_ends(file)


def _check_zstd_ends(file: BinaryIO) -> None:
    """Raise EOFError if the last frame isn't all there, which the decoder doesn't mind.

    Source: RFC 8878, 3.1.1.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    while len(magic := file.read(4)) == 4:
        if _SKIPPABLE.match(magic):
            file.seek(int.from_bytes(file.read(4), "little"), io.SEEK_CUR)
            continue
        if magic != b"\x28\xb5\x2f\xfd":
            return
        (descriptor,) = file.read(1) or b"\0"
        is_single, content_bytes = bool(descriptor & 0x20), (0, 2, 4, 8)[descriptor >> 6]
        header = (0, 1, 2, 4)[descriptor & 3] + (content_bytes or is_single) + (not is_single)
        file.seek(header, io.SEEK_CUR)
        is_last = False
        while not is_last:
            block = int.from_bytes(file.read(3), "little")
            is_last, kind = bool(block & 1), block >> 1 & 3
            file.seek(1 if kind == 1 else block >> 3, io.SEEK_CUR)
            if file.tell() > size or not block:
                break
        file.seek(4 if descriptor & 4 else 0, io.SEEK_CUR)
        if not is_last or file.tell() > size:
            raise EOFError("it ends before its end mark")


def _lz4(file: BinaryIO) -> Iterator[bytes]:
    import lz4.frame

    data = file.read(_PIECE)
    if data.startswith(b"\x02\x21\x4c\x18"):
        yield from _lz4_legacy(io.BytesIO(data + file.read()))
        return
    while data:
        while _SKIPPABLE.match(data):
            left = 8 + int.from_bytes(data[4:8], "little")
            while left > len(data):
                left -= len(data)
                data = file.read(_PIECE)
                if not data:
                    raise EOFError("it ends in a frame that is to be skipped")
            data = data[left:] or file.read(_PIECE)
        if not data:
            return
        decoder = lz4.frame.LZ4FrameDecompressor()
        while not decoder.eof:
            if decoder.needs_input:
                data = data or file.read(_PIECE)
                if not data:
                    raise EOFError("it ends before its end mark")
            if piece := decoder.decompress(data, _MAX_PIECE):
                yield piece
            data = b""
        data = decoder.unused_data or file.read(_PIECE)


def _lz4_legacy(file: BinaryIO) -> Iterator[bytes]:
    """Source: the LZ4 frame format's "Legacy frame": blocks of 8 MiB behind their packed sizes."""
    import lz4.block

    file.seek(4)
    while len(header := file.read(4)) == 4:
        if header == b"\x02\x21\x4c\x18":
            continue
        size = int.from_bytes(header, "little")
        packed = file.read(size)
        if len(packed) < size:
            raise EOFError("it ends within a block")
        yield lz4.block.decompress(packed, uncompressed_size=_LZ4_LEGACY_BLOCK)


def _brotli(file: BinaryIO) -> Iterator[bytes]:
    import brotli

    decoder = brotli.Decompressor()
    while not decoder.is_finished():
        data = b""
        if decoder.can_accept_more_data():
            data = file.read(_PIECE)
        piece = decoder.process(data, output_buffer_limit=_MAX_PIECE)
        if piece:
            yield piece
        elif not data and not decoder.is_finished():
            raise EOFError("it ends before its end mark")


def _compress(file: BinaryIO) -> Iterator[bytes]:
    """Unpack LZW as the Unix program "compress" writes it.

    Codes grow from 9 bits; where their length changes, and at each reset, the encoder fills up a
    group of eight codes.
    """
    header = file.read(3)
    if len(header) < 3:
        raise EOFError("it ends in its header")
    most_bits, has_reset = header[2] & 0x1F, bool(header[2] & 0x80)
    first_free = 257 if has_reset else 256
    prefixes = [bytes([byte]) for byte in range(256)] + [b""] * (first_free - 256)
    table = prefixes.copy()
    bits, previous = 9, b""
    out: list[bytes] = []
    out_bytes = table_bytes = 0
    while group := file.read(bits):  # eight codes take as many bytes as a code has bits
        number = int.from_bytes(group, "little")
        mask, limit = (1 << bits) - 1, 1 << bits
        for _ in range(len(group) * 8 // bits):
            code = number & mask
            number >>= bits
            if code == 256 and has_reset:
                table = prefixes.copy()
                bits, previous, table_bytes = 9, b"", 0
                break
            if code < len(table):
                entry = table[code]
            elif code == len(table) and previous:
                entry = previous + previous[:1]
            else:
                raise ValueError(f"the code {code} isn't there yet")
            out.append(entry)
            out_bytes += len(entry)
            if previous and len(table) < 1 << most_bits:
                table.append(previous + entry[:1])
                table_bytes += len(previous)
                if table_bytes > _MAX_LZW_TABLE:
                    raise ValueError("its codes stand for gigabytes")
            previous = entry
            if len(table) >= limit and bits < most_bits:
                bits += 1
                break
        if out_bytes >= _PIECE // 4:
            yield b"".join(out)
            out, out_bytes = [], 0
    yield b"".join(out)


_DECODERS = {
    "gzip": _gzip,
    "bzip2": _bzip2,
    "xz": _xz,
    "lzma": _lzma,
    "zstd": _zstd,
    "lz4": _lz4,
    "brotli": _brotli,
    "compress": _compress,
    "lzip": _lzip,
    "zlib": _zlib,
}
