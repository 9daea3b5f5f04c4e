"""Streams of OLE compound files (doc, ppt, msg, vsd, ...), read one at a time.

Source: [MS-CFB]. Everything a file says of itself may be a lie: chains of sectors may run in
circles or out of the file, so that each is followed for as many steps as the file has sectors.
"""

import struct
from typing import BinaryIO

from kernel_startup.errors import FileLoadError

_FIRST_MARK = 0xFFFFFFFA
_MAX_STREAM_BYTES = 256 * 1024 * 1024
_MAX_ENTRIES = 100_000
_NO_ENTRY = 0xFFFFFFFF


class BrokenOle(ValueError):
    """The file is cut off, or what it says of its own parts makes no sense."""


class OleFile:
    """An OLE file's streams by their paths: names joined by "/", the root's left out.

    Attributes:
        streams: Path -> size in bytes.
        storages: Paths of storages, the root's is "".
        class_ids: Path of a storage -> its class identifier, 16 bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0, 2)
        self._file_size = file.tell()
        file.seek(0)
        header = file.read(512)
        if len(header) < 512 or not header.startswith(b"\xd0\xcf\x11\xe0"):
            raise BrokenOle("it is shorter than an OLE file's header")
        shift, mini_shift = struct.unpack_from("<HH", header, 30)
        if shift not in (9, 12) or mini_shift > shift or mini_shift < 4:
            raise BrokenOle(f"its sectors have 2**{shift} bytes")
        self._sector_size = 1 << shift
        self._mini_size = 1 << mini_shift
        self._max_sectors = self._file_size // self._sector_size + 1
        first_directory, _, self._cutoff, first_mini = struct.unpack_from("<4I", header, 48)
        self._fat = self._read_fat(header)
        self.streams: dict[str, int] = {}
        self.storages: list[str] = []
        self.class_ids: dict[str, bytes] = {}
        self._starts: dict[str, int] = {}
        self._mini_stream = b""
        self._mini_fat: tuple[int, ...] = ()
        self._read_directory(self._chain(first_directory))
        if self._mini_stream:
            table = self._chain(first_mini)
            self._mini_fat = struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4])

    def __del__(self) -> None:
        self._file.close()  # streams are read as long as somebody holds this

    def __contains__(self, path: str) -> bool:
        return path in self.streams

    def read(self, path: str) -> bytes:
        """Read a stream.

        Raises:
            KeyError: There is none.
            BrokenOle: It is larger than the file can be.
        """
        size = self.streams[path]
        if size > min(self._file_size, _MAX_STREAM_BYTES):
            raise BrokenOle(f"its part {path!r} claims to have {size:,} bytes")
        if size >= self._cutoff:
            return self._chain(self._starts[path], size)[:size]
        return self._mini_chain(self._starts[path], size)

    def _sector(self, number: int) -> bytes:
        self._file.seek((number + 1) * self._sector_size)
        return self._file.read(self._sector_size)

    def _read_fat(self, header: bytes) -> tuple[int, ...]:
        numbers = [n for n in struct.unpack_from("<109I", header, 76) if n < _FIRST_MARK]
        (sector,) = struct.unpack_from("<I", header, 68)
        seen: set[int] = set()
        while sector < _FIRST_MARK and sector not in seen and len(seen) < self._max_sectors:
            seen.add(sector)
            content = self._sector(sector)
            if len(content) < self._sector_size:
                break
            *more, sector = struct.unpack(f"<{self._sector_size // 4}I", content)
            numbers += [n for n in more if n < _FIRST_MARK]
        fat: list[int] = []
        for number in numbers[: self._max_sectors]:
            content = self._sector(number)
            fat += struct.unpack(f"<{len(content) // 4}I", content[: len(content) // 4 * 4])
            if len(fat) > 2 * self._max_sectors + self._sector_size:
                break
        return tuple(fat)

    def _chain(self, start: int, size: int = _MAX_STREAM_BYTES) -> bytes:
        pieces = []
        left = size
        steps = 0
        while start < _FIRST_MARK and left > 0 and steps <= self._max_sectors:
            piece = self._sector(start)
            if not piece:
                break
            pieces.append(piece)
            left -= len(piece)
            steps += 1
            start = self._fat[start] if start < len(self._fat) else _FIRST_MARK
        return b"".join(pieces)

    def _mini_chain(self, start: int, size: int) -> bytes:
        pieces = []
        left = size
        while start < _FIRST_MARK and left > 0:
            piece = self._mini_stream[start * self._mini_size : (start + 1) * self._mini_size]
            if not piece:
                break
            pieces.append(piece)
            left -= len(piece)
            start = self._mini_fat[start] if start < len(self._mini_fat) else _FIRST_MARK
        return b"".join(pieces)[:size]

    def _read_directory(self, directory: bytes) -> None:
        entries = [
            directory[start : start + 128]
            for start in range(0, min(len(directory), _MAX_ENTRIES * 128) - 127, 128)
        ]
        if not entries:
            raise BrokenOle("its directory is missing")
        (_, start, size) = _place(entries[0])
        self.storages.append("")
        self.class_ids[""] = entries[0][80:96]
        self._mini_stream = self._chain(start, size) if size else b""
        seen = {0}
        waiting = [("", _links(entries[0])[2])]
        while waiting:
            parent, number = waiting.pop()
            if number in seen or number >= len(entries):
                continue
            seen.add(number)
            entry = entries[number]
            left, right, child = _links(entry)
            waiting += [(parent, left), (parent, right)]
            kind, start, size = _place(entry)
            path = f"{parent}/{_name(entry)}".lstrip("/")
            if kind == 1 and len(path) < 2000:
                self.storages.append(path)
                self.class_ids[path] = entry[80:96]
                waiting.append((path, child))
            elif kind == 2:
                self.streams[path] = size
                self._starts[path] = start


def _name(entry: bytes) -> str:
    (length,) = struct.unpack_from("<H", entry, 64)
    return entry[: max(min(length, 64) - 2, 0)].decode("utf-16-le", errors="replace")


def _links(entry: bytes) -> tuple[int, int, int]:
    left, right, child = struct.unpack_from("<3I", entry, 68)
    return left, right, child


def _place(entry: bytes) -> tuple[int, int, int]:
    start, size = struct.unpack_from("<II", entry, 116)
    return entry[66], start, size


def open_ole(file: BinaryIO, name: str, seems: str) -> OleFile:
    """Open an OLE file for a loader.

    Raises:
        FileLoadError: It is damaged.
    """
    try:
        return OleFile(file)
    except (BrokenOle, struct.error, OSError) as error:
        raise FileLoadError(
            name, f"{seems} that is cut off or damaged", reason=str(error)
        ) from error


_CODE_PAGES = {65001: "utf-8", 1200: "utf-16-le", 10000: "mac-roman", 0: "cp1252"}
_PROPERTIES = {
    b"\xe0\x85\x9f\xf2\xf9\x4f\x68\x10\xab\x91\x08\x00\x2b\x27\xb3\xd9": {
        2: "title",
        3: "subject",
        4: "author",
        5: "keywords",
        6: "comments",
        7: "template",
        8: "last_author",
        12: "created",
        13: "modified",
        14: "pages",
        15: "words",
        18: "application",
    },
    b"\x02\xd5\xcd\xd5\x9c\x2e\x1b\x10\x93\x97\x08\x00\x2b\x2c\xf9\xae": {
        2: "category",
        7: "slides",
        14: "manager",
        15: "company",
    },
}


def read_properties(ole: OleFile) -> dict[str, object]:
    """Tell what a document says of itself ([MS-OLEPS]); what can't be read is left out."""
    found: dict[str, object] = {}
    for stream in ("\x05SummaryInformation", "\x05DocumentSummaryInformation"):
        if stream in ole:
            try:
                found.update(_property_set(ole.read(stream)))
            except (struct.error, ValueError, LookupError):
                continue
    return found


def _property_set(content: bytes) -> dict[str, object]:
    names = _PROPERTIES.get(content[28:44], {})
    (base,) = struct.unpack_from("<I", content, 44)
    (count,) = struct.unpack_from("<I", content, base + 4)
    places = {}
    for index in range(min(count, 100)):
        identifier, offset = struct.unpack_from("<II", content, base + 8 + 8 * index)
        places[identifier] = base + offset
    encoding = "cp1252"
    if 1 in places:
        (page,) = struct.unpack_from("<H", content, places[1] + 4)
        encoding = _CODE_PAGES.get(page, f"cp{page}")
    found: dict[str, object] = {}
    for identifier, name in names.items():
        if identifier in places:
            try:
                value = _property(content, places[identifier], encoding)
            except (struct.error, ValueError, LookupError, OverflowError):
                continue
            if value not in (None, "", 0):
                found[name] = value
    return found


def _property(content: bytes, offset: int, encoding: str) -> object:
    kind, value = struct.unpack_from("<II", content, offset)
    if kind in (2, 3):
        return int(value)
    if kind in (30, 31):
        size = value * 2 if kind == 31 else value
        raw = content[offset + 8 : offset + 8 + min(size, 10_000)]
        return raw.decode("utf-16-le" if kind == 31 else encoding, "replace").split("\0")[0].strip()
    if kind == 64:
        return _filetime(struct.unpack_from("<Q", content, offset + 4)[0])
    return None


def _filetime(ticks: int) -> object:
    """Windows counts tenths of microseconds since 1601; smaller ones are durations."""
    import datetime

    if not 1 << 56 < ticks < 1 << 58:
        return None
    start = datetime.datetime(1601, 1, 1, tzinfo=datetime.UTC)
    return start + datetime.timedelta(microseconds=ticks // 10)
