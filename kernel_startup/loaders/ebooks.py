"""E-books: EPUB, FictionBook, Mobipocket and Kindle, Palm."""

import posixpath
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from kernel_startup.document import Document
from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.described import source_info
from kernel_startup.loaders.packed import (
    Package,
    element_text,
    html_text,
    local,
    parse_xml,
    tidy,
)
from kernel_startup.source import Source

# -- EPUB ----------------------------------------------------------------------------------------

_PAGES = (".xhtml", ".html", ".htm", ".xml")


def load_epub(source: Source) -> Document:
    """Read an EPUB: its chapters' text in the order they are read in, and its metadata."""
    with Package(source, "an EPUB") as package:
        opf = _opf_name(package)
        if opf:
            names, metadata = _spine(package, opf)
        else:
            names, metadata = [], {}
        if not names:
            names = sorted(n for n in package.names if n.lower().endswith((".xhtml", ".html")))
        if not names and not opf:
            raise FileLoadError(source.name, "an EPUB without a book in it")
        if _is_protected(package, names):
            raise FileLoadError(
                source.name, "an EPUB with copy protection", reason="its chapters are encrypted"
            )
        chapters = [_page_text(package.read(name)) for name in names if name in package]
        missing = sum(name not in package for name in names)
        if missing:
            source.note(f"{source.name!r}: {missing} of {len(names)} chapters aren't in it.")
    chapters = [chapter for chapter in chapters if chapter]
    text = "\n\n".join(chapters)
    return Document(source.name, "EPUB book", text, chapters=chapters, metadata=metadata)


def _opf_name(package: Package) -> str:
    if "META-INF/container.xml" in package:
        for rootfile in package.tree("META-INF/container.xml").iter("{*}rootfile"):
            name = rootfile.get("full-path") or ""
            if name in package:
                return name
    return next((name for name in package.names if name.lower().endswith(".opf")), "")


def _spine(package: Package, opf: str) -> tuple[list[str], dict[str, Any]]:
    root = package.tree(opf)
    folder = posixpath.dirname(opf)
    places = {}
    for item in root.iter("{*}item"):
        href = unquote((item.get("href") or "").partition("#")[0])
        places[item.get("id")] = posixpath.normpath(posixpath.join(folder, href))
    wanted = [places.get(item.get("idref"), "") for item in root.iter("{*}itemref")]
    names = [name for name in dict.fromkeys(wanted) if name.lower().endswith(_PAGES)]
    return names, _dublin_core(root)


def _dublin_core(root: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for element in root.iter("{http://purl.org/dc/elements/1.1/}*"):
        name, text = local(element), (element.text or "").strip()
        if text and len(metadata) < 100:
            metadata[name] = f"{metadata[name]}; {text}" if name in metadata else text
    return metadata


def _is_protected(package: Package, names: Sequence[str]) -> bool:
    if "META-INF/encryption.xml" not in package:
        return False
    root = package.tree("META-INF/encryption.xml")
    hidden = {unquote(e.get("URI") or "") for e in root.iter("{*}CipherReference")}
    return not hidden.isdisjoint(names)


def _page_text(content: bytes) -> str:
    declared = re.match(rb"\s*<\?xml[^>]{0,200}?encoding=[\"']([\w-]{1,40})", content)
    encoding = declared.group(1).decode() if declared else "utf-8"
    try:
        text = content.decode(encoding)
    except (LookupError, UnicodeDecodeError):
        text = content.decode("cp1252", "replace")
    # libxml2 takes no declaration in a text that is decoded already.
    return html_text(re.sub(r"\A\s*<\?xml[^>]{0,500}\?>", "", text))


# -- FictionBook ---------------------------------------------------------------------------------


def load_fb2(source: Source) -> Document:
    """Read a FictionBook: its chapters' text and its metadata."""
    return _fictionbook(source, source.read())


def load_fb2_zip(source: Source) -> Document:
    """Read the FictionBook in a zip."""
    with Package(source, "a zipped FictionBook") as package:
        name = next((name for name in package.names if name.lower().endswith(".fb2")), "")
        if not name:
            raise FileLoadError(source.name, "a zipped FictionBook without a book")
        return _fictionbook(source, package.read(name))


def _fictionbook(source: Source, content: bytes) -> Document:
    root = parse_xml(content, source, "a FictionBook")
    bodies = [element for element in root if local(element) == "body"]
    chapters = [
        element_text(section) for body in bodies for section in body if local(section) == "section"
    ]
    metadata: dict[str, Any] = {}
    for info in root.iter("{*}title-info"):
        for element in info:
            if (name := local(element)) in ("genre", "book-title", "lang", "date"):
                metadata.setdefault(name, (element.text or "").strip())
            elif name == "author":
                parts = [" ".join((part.text or "").split()) for part in element]
                metadata.setdefault("author", " ".join(filter(None, parts)))
        break
    text = "\n\n".join(element_text(body) for body in bodies)
    chapters = [chapter for chapter in chapters if chapter]
    return Document(source.name, "FictionBook", text, chapters=chapters, metadata=metadata)


# -- Mobipocket, Kindle, PalmDOC -----------------------------------------------------------------

_MAX_TEXT_BYTES = 256 * 1024 * 1024
_MAX_PHRASE_BYTES = 1024 * 1024


class _Damaged(ValueError):
    pass


def load_mobi(source: Source) -> object:
    """Read a Mobipocket, Kindle (mobi, azw, azw3, prc) or PalmDOC book."""
    content = source.read()
    try:
        records = _palm_records(content)
        header = records[0]
        compression, _, _, count, _, encryption = struct.unpack_from(">HHIHHH", header)
    except (struct.error, IndexError, _Damaged) as error:
        raise FileLoadError(
            source.name, "a Palm or Kindle book that is cut off", reason=str(error)
        ) from error
    is_mobi = header[16:20] == b"MOBI"
    if encryption and is_mobi:
        raise FileLoadError(
            source.name, "a Kindle book with copy protection", reason="its text is encrypted"
        )
    try:
        raw = _book_text(records, header, compression, count)
    except (struct.error, IndexError, TypeError, _Damaged) as error:
        raise FileLoadError(
            source.name, "a Kindle or Palm book that is damaged", reason=str(error)
        ) from error
    (code_page,) = struct.unpack_from(">I", header, 28) if len(header) >= 32 else (1252,)
    text = raw.decode("utf-8" if code_page == 65001 and is_mobi else "cp1252", "replace")
    if not is_mobi:
        return Document(source.name, "PalmDOC book", tidy(text.replace("\r", "\n")))
    metadata = _mobi_metadata(header)
    chapters = [html_text(part) for part in re.split(r"(?i)<mbp:pagebreak[^>]{0,100}>", text)]
    chapters = [chapter for chapter in chapters if chapter]
    whole = "\n\n".join(chapters)
    return Document(source.name, "Kindle book", whole, chapters=chapters, metadata=metadata)


def _palm_records(content: bytes) -> list[bytes]:
    (count,) = struct.unpack_from(">H", content, 76)
    starts = [struct.unpack_from(">I", content, 78 + 8 * index)[0] for index in range(count)]
    ends = [*starts[1:], len(content)]
    if not starts or starts != sorted(starts) or starts[-1] > len(content):
        raise _Damaged("its list of records makes no sense")
    return [content[start:end] for start, end in zip(starts, ends, strict=True)]


def _book_text(records: list[bytes], header: bytes, compression: int, count: int) -> bytes:
    flags = 0
    if header[16:20] == b"MOBI" and len(header) >= 244:
        (length,) = struct.unpack_from(">I", header, 20)
        if length >= 228:
            (flags,) = struct.unpack_from(">H", header, 242)
    unpack: Callable[[bytes], bytes]
    if compression == 17480:
        first, number = struct.unpack_from(">II", header, 112)
        unpack = _HuffmanReader(records[first : first + min(number, 1000)]).unpack
    elif compression in (1, 2):
        unpack = bytes if compression == 1 else _unpack_palm
    else:
        raise _Damaged(f"its compression {compression} isn't known")
    pieces = []
    total = 0
    for record in records[1 : count + 1]:
        pieces.append(unpack(_without_trailers(record, flags)))
        total += len(pieces[-1])
        if total > _MAX_TEXT_BYTES:
            raise _Damaged(f"its text has more than {_MAX_TEXT_BYTES >> 20} MiB")
    return b"".join(pieces)


def _without_trailers(record: bytes, flags: int) -> bytes:
    """Take off what is put behind a record's text: an entry for each bit of the flags."""
    for bit in range(15, 0, -1):
        if flags & 1 << bit:
            size = 0
            for byte in record[-4:]:
                size = 0 if byte & 0x80 else size
                size = size << 7 | byte & 0x7F
            record = record[: max(len(record) - max(size, 1), 0)]
    if flags & 1 and record:
        record = record[: -((record[-1] & 3) + 1)]
    return record


def _unpack_palm(record: bytes) -> bytes:
    out = bytearray()
    place = 0
    while place < len(record):
        byte = record[place]
        place += 1
        if 1 <= byte <= 8:
            out += record[place : place + byte]
            place += byte
        elif byte < 0x80:
            out.append(byte)
        elif byte >= 0xC0:
            out += bytes((0x20, byte ^ 0x80))
        elif place < len(record):
            pair = (byte << 8 | record[place]) & 0x3FFF
            place += 1
            distance, length = pair >> 3, (pair & 7) + 3
            if not 0 < distance <= len(out):
                continue
            start = len(out) - distance
            for index in range(length):  # it may copy what it has just written
                out.append(out[start + index])
    return bytes(out)


class _HuffmanReader:
    """Mobipocket's dictionary of phrases, which are made of phrases themselves."""

    def __init__(self, records: list[bytes]) -> None:
        huff, *dictionaries = records
        if not huff.startswith(b"HUFF") or not dictionaries:
            raise _Damaged("its dictionary is missing")
        first, second = struct.unpack_from(">II", huff, 8)
        self._codes = []
        for value in struct.unpack_from(">256I", huff, first):
            length = value & 0x1F
            if not length:
                raise _Damaged("its dictionary makes no sense")
            self._codes.append((length, value & 0x80, ((value >> 8) + 1 << 32 - length) - 1))
        limits = struct.unpack_from(">64I", huff, second)
        self._least = [0] + [limits[2 * i] << 31 - i for i in range(32)]
        self._most = [0] + [(limits[2 * i + 1] + 1 << 31 - i) - 1 for i in range(32)]
        self._phrases: list[tuple[bytes, bool] | None] = []
        for record in dictionaries:
            count, bits = struct.unpack_from(">II", record, 8)
            count = min(1 << min(bits, 16), count - len(self._phrases))
            for index in range(max(count, 0)):
                (offset,) = struct.unpack_from(">H", record, 16 + 2 * index)
                (size,) = struct.unpack_from(">H", record, 16 + offset)
                piece = record[18 + offset : 18 + offset + (size & 0x7FFF)]
                self._phrases.append((piece, bool(size & 0x8000)))

    def unpack(self, content: bytes, depth: int = 0) -> bytes:
        if depth > 30:
            raise _Damaged("its phrases are nested too deeply")
        left = 8 * len(content)
        padded = content + bytes(8)
        place, shift = 0, 32
        (window,) = struct.unpack_from(">Q", padded, 0)
        out = bytearray()
        while True:
            if shift <= 0:
                place += 4
                (window,) = struct.unpack_from(">Q", padded, place)
                shift += 32
            code = window >> shift & 0xFFFFFFFF
            length, is_whole, most = self._codes[code >> 24]
            if not is_whole:
                while code < self._least[length]:
                    length += 1
                most = self._most[length]
            shift -= length
            left -= length
            if left < 0:
                return bytes(out)
            out += self._phrase(most - code >> 32 - length, depth)
            if len(out) > _MAX_PHRASE_BYTES:
                raise _Damaged("its phrases grow without end")

    def _phrase(self, number: int, depth: int) -> bytes:
        phrase = self._phrases[number]
        if phrase is None:
            raise _Damaged("a phrase is made of itself")
        piece, is_plain = phrase
        if not is_plain:
            self._phrases[number] = None
            piece = self.unpack(piece, depth + 1)
            self._phrases[number] = (piece, True)
        return piece


_EXTH = {
    100: "author",
    101: "publisher",
    103: "description",
    104: "isbn",
    105: "subject",
    106: "date",
    503: "title",
    524: "language",
}


def _mobi_metadata(header: bytes) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    try:
        offset, length = struct.unpack_from(">II", header, 84)
        metadata["title"] = header[offset : offset + min(length, 1000)].decode("utf-8", "replace")
        (size,) = struct.unpack_from(">I", header, 20)
        place = 16 + size
        if header[place : place + 4] == b"EXTH":
            (count,) = struct.unpack_from(">I", header, place + 8)
            place += 12
            for _ in range(min(count, 500)):
                kind, size = struct.unpack_from(">II", header, place)
                if kind in _EXTH:
                    value = header[place + 8 : place + max(size, 8)].decode("utf-8", "replace")
                    metadata[_EXTH[kind]] = value
                place += max(size, 8)
    except struct.error:
        pass  # the text is what matters
    return {name: value for name, value in metadata.items() if value}


def load_palm(source: Source) -> object:
    """Say what a Palm database is; a PalmDOC or Mobipocket book in it is read."""
    if source.head[60:68] in (b"TEXtREAd", b"BOOKMOBI"):
        return load_mobi(source)
    (count,) = struct.unpack_from(">H", source.head, 76)
    facts: dict[str, object] = {
        "database": source.head[:32].split(b"\0")[0].decode("latin-1"),
        "type": source.head[60:64].decode("latin-1"),
        "creator": source.head[64:68].decode("latin-1"),
        "records": count,
    }
    return source_info(source, facts)


# -- named ---------------------------------------------------------------------------------------


def load_lit(source: Source) -> object:
    """Say what a Microsoft Reader book's header tells."""
    version = int.from_bytes(source.head[8:12], "little")
    return source_info(source, {"version": version}, "Calibre converts it to EPUB.")


def load_chm(source: Source) -> object:
    """Say what a compiled help file's header tells."""
    head = source.head
    facts: dict[str, object] = {"version": int.from_bytes(head[4:8], "little")}
    if len(head) >= 24:
        facts["language"] = hex(int.from_bytes(head[20:24], "little"))
    return source_info(source, facts, "7-Zip unpacks it to pages of HTML.")
