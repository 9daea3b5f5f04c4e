"""Documents of the time before XML: Word 2 to 2003, PowerPoint 97, RTF, WordPerfect, Hangul."""

import re
import struct
from collections.abc import Iterator
from typing import Any

from kernel_startup.document import Document
from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.loaders.described import source_info
from kernel_startup.loaders.ole import BrokenOle, OleFile, open_ole, read_properties
from kernel_startup.loaders.packed import tidy
from kernel_startup.source import Source

# -- Word ----------------------------------------------------------------------------------------


def load_doc(source: Source) -> Document:
    """Read the text of a Word document or template of before 2007.

    Source: [MS-DOC] 2.5 (the FIB), 2.8.35 (the piece table).
    """
    seems = "a Word 97-2003 document"
    try:
        if source.head.startswith(b"\xd0\xcf\x11\xe0"):
            ole = open_ole(source.open(), source.name, seems)
            if "WordDocument" not in ole:
                raise FileLoadError(source.name, seems, reason="there is no text in it")
            main = ole.read("WordDocument")
            text = _word_text(source, main, ole)
            metadata = read_properties(ole)
        else:  # Word for Windows 1 and 2, and Word 6 as it is within other files
            text, metadata = _word_text(source, source.read(), None), {}
    except (struct.error, BrokenOle) as error:
        raise FileLoadError(
            source.name, f"{seems} that is cut off or damaged", reason=str(error)
        ) from error
    return Document(source.name, "Word document", text, metadata=metadata)


def _word_text(source: Source, main: bytes, ole: OleFile | None) -> str:
    magic, version = struct.unpack_from("<HH", main, 0)
    (flags,) = struct.unpack_from("<H", main, 10)
    if flags & 0x0100:
        raise FileLoadError(
            source.name,
            "a Word document protected by a password",
            remedy="Saving it without one, in Word or LibreOffice, would help",
        )
    if magic == 0xA5EC and version >= 193 and ole is not None:
        table = ole.read("1Table" if flags & 0x0200 and "1Table" in ole else _table_name(ole))
        offset, size = struct.unpack_from("<II", main, 0x01A2)
        pieces = _pieces(main, table[offset : offset + size])
    else:
        start, end = struct.unpack_from("<II", main, 0x18)
        pieces = main[start:end].decode("cp1252", "replace")
        if flags & 0x0004 and magic == 0xA5DC:
            offset, size = struct.unpack_from("<II", main, 0x0160)
            pieces = _pieces(main, main[offset : offset + size], is_old=True) or pieces
    return _clean_word(pieces)


def _table_name(ole: OleFile) -> str:
    for name in ("0Table", "1Table"):
        if name in ole:
            return name
    raise BrokenOle("its table of pieces is missing")


def _pieces(main: bytes, clx: bytes, *, is_old: bool = False) -> str:
    place = 0
    while place < len(clx) and clx[place] == 1:
        place += 3 + struct.unpack_from("<H", clx, place + 1)[0]
    if place >= len(clx) or clx[place] != 2:
        return ""
    (size,) = struct.unpack_from("<I", clx, place + 1)
    plc = clx[place + 5 : place + 5 + size]
    count = max(len(plc) - 4, 0) // 12
    bounds = struct.unpack_from(f"<{count + 1}I", plc, 0)
    parts = []
    left = 4 * len(main)  # a piece may be used again, but not a million times
    for index in range(count):
        characters = min(bounds[index + 1] - bounds[index], left)
        if characters <= 0:
            continue
        left -= characters
        (fc,) = struct.unpack_from("<I", plc, 4 * (count + 1) + 8 * index + 2)
        if is_old:
            parts.append(main[fc : fc + characters].decode("cp1252", "replace"))
        elif fc & 0x40000000:
            start = (fc & 0x3FFFFFFF) // 2
            parts.append(main[start : start + characters].decode("cp1252", "replace"))
        else:
            parts.append(main[fc : fc + 2 * characters].decode("utf-16-le", "replace"))
    return "".join(parts)


_WORD_MARKS = str.maketrans(
    {
        "\r": "\n",
        "\x0b": "\n",
        "\x0c": "\n\n",
        "\x0e": "\n",
        "\x1e": "-",
        "\x1f": "",
        "\xa0": " ",
        **{chr(code): "" for code in (0, 1, 2, 3, 4, 5, 6, 8, 0x10, 0x11, 0x12, 0x13, 0x15)},
    }
)


def _clean_word(text: str) -> str:
    # A field is \x13 instruction \x14 result \x15; the innermost ones go first.
    text = re.sub(r"\x13[^\x13\x14\x15]*+\x15", "", text)
    text = re.sub(r"\x13[^\x13\x14\x15]*+\x14", "", text).replace("\x14", "")
    text = text.replace("\x07\x07", "\n").replace("\x07", "\t")
    return tidy(text.translate(_WORD_MARKS))


# -- PowerPoint ----------------------------------------------------------------------------------

_SLIDE, _NOTES, _MASTER, _HANDOUT = 1006, 1008, 1016, 4041
_SLIDE_LIST, _PERSIST = 4080, 1011
_CHARS, _BYTES, _NAME = 4000, 4008, 4026


def load_ppt(source: Source) -> Document:
    """Read the text of a PowerPoint presentation of before 2007, slide by slide.

    Source: [MS-PPT] 2.3.1 (records), 2.4.14.3 (the list of slides with their text).
    """
    seems = "a PowerPoint 97-2003 presentation"
    ole = open_ole(source.open(), source.name, seems)
    stream = next((n for n in ole.streams if n.endswith("PowerPoint Document")), "")
    if not stream:
        raise FileLoadError(source.name, seems, reason="there are no slides in it")
    try:
        if "EncryptedSummary" in ole or _is_encrypted(ole):
            raise FileLoadError(
                source.name,
                f"{seems} protected by a password",
                remedy="Saving it without one, in PowerPoint or LibreOffice, would help",
            )
        slides, notes, names = _slides(ole.read(stream))
        metadata = read_properties(ole)
    except (struct.error, BrokenOle) as error:
        raise FileLoadError(
            source.name, f"{seems} that is cut off or damaged", reason=str(error)
        ) from error
    if notes:
        metadata["notes"] = notes
    if names:
        metadata["names"] = names
    # The names of its designs last, as catppt has them: some have no other word in them.
    text = "\n\n".join(filter(None, [*slides, *notes, "\n".join(names)]))
    return Document(source.name, "PowerPoint presentation", text, slides=slides, metadata=metadata)


def _is_encrypted(ole: OleFile) -> bool:
    if "Current User" not in ole:
        return False
    current = ole.read("Current User")
    return len(current) >= 16 and current[12:16] == b"\xdf\xc4\xd1\xf3"


def _slides(content: bytes) -> tuple[list[str], list[str], list[str]]:
    """The text of slides, of notes, and the names of designs.

    Titles and bullets are in the document's list of slides, free text boxes in the slides
    themselves; both are in the order of the show, unless slides were moved.
    """
    listed: list[list[str]] = []
    drawn: list[list[str]] = []
    notes: list[list[str]] = []
    names: list[str] = []
    for kind, body, parents in _records(content):
        in_list = any(parent == (_SLIDE_LIST, 0) for parent in parents)
        kinds = {parent for parent, _ in parents}
        if kind == _SLIDE and not parents:
            drawn.append([])
        elif kind == _NOTES and not parents:
            notes.append([])
        elif kind == _PERSIST and in_list:
            listed.append([])
        elif kind in (_CHARS, _BYTES):
            text = body.decode("utf-16-le" if kind == _CHARS else "cp1252", "replace")
            target = listed if in_list else drawn if _SLIDE in kinds else notes
            if target and (target is not notes or _NOTES in kinds):
                target[-1].append(text.replace("\r", "\n").replace("\x0b", "\n"))
        elif kind == _NAME and len(body) < 1000:
            name = body.decode("utf-16-le", "replace").strip()
            if _MASTER in kinds and name and name not in names:
                names.append(name)
    count = max(len(listed), len(drawn))
    listed += [[] for _ in range(count - len(listed))]
    drawn += [[] for _ in range(count - len(drawn))]
    slides = [tidy("\n".join([*a, *b])) for a, b in zip(listed, drawn, strict=True)]
    return slides, [n for n in (tidy("\n".join(note)) for note in notes) if n], names


def _records(content: bytes) -> Iterator[tuple[int, bytes, tuple[tuple[int, int], ...]]]:
    """Walk records, containers first; gives type, body (none of a container) and what it is in."""
    stack: list[tuple[int, int, tuple[tuple[int, int], ...]]] = [(0, len(content), ())]
    while stack:
        place, end, parents = stack.pop()
        if place + 8 > end:
            continue
        start, kind, size = struct.unpack_from("<HHI", content, place)
        inside = min(place + 8 + size, end)
        stack.append((inside, end, parents))
        if start & 0xF == 0xF:
            yield kind, b"", parents
            if len(parents) < 40:
                stack.append((place + 8, inside, (*parents, (kind, start >> 4))))
        else:
            yield kind, content[place + 8 : inside], parents


# -- RTF -----------------------------------------------------------------------------------------

_MAX_RTF_BYTES = 64 * 1024 * 1024


def load_rtf(source: Source) -> Document:
    """Read the text of an RTF document."""
    from striprtf.striprtf import rtf_to_text

    content = source.read()
    # Pictures are most of what large ones are made of, and nothing of their text.
    content = re.sub(rb"[0-9a-fA-F\r\n]{4000,}+", b"", content)
    if len(content) > _MAX_RTF_BYTES:
        raise FileLoadError(
            source.name,
            f"an RTF document with {len(content) >> 20:,} MiB of text",
            reason=f"no more than {_MAX_RTF_BYTES >> 20} MiB are read",
        )
    text = rtf_to_text(content.decode("latin-1"), errors="replace")  # type: ignore[no-untyped-call]
    metadata = {}
    for name in ("title", "author", "subject", "company"):
        found = re.search(rb"\{\\" + name.encode() + rb" ([^{}\\]{1,500})\}", content[:100_000])
        if found:
            metadata[name] = found.group(1).decode("cp1252", "replace")
    return Document(source.name, "RTF document", tidy(text), metadata=metadata)


# -- WordPerfect ---------------------------------------------------------------------------------


def load_wordperfect(source: Source) -> object:
    """Read the text of a WordPerfect 5 or 6 document, roughly; others are named."""
    head = source.head
    facts: dict[str, object] = {"major version": head[10], "minor version": head[11]}
    encrypted = head[12:14] != b"\0\0"
    (start,) = struct.unpack_from("<I", head, 4)
    if head[9] != 10 or encrypted or head[10] not in (0, 2):
        facts["encrypted"] = encrypted
        return source_info(source, facts, "LibreOffice opens it.")
    content = source.read()[start:]
    text = _wordperfect_6(content) if head[10] == 2 else _wordperfect_5(content)
    title = "WordPerfect document"
    return Document(source.name, title, tidy(text), metadata=facts)


def _wordperfect_6(content: bytes) -> str:
    """Source: the file format's kinds of bytes: text, single functions, and groups with a size."""
    out: list[str] = []
    place = 0
    while place < len(content):
        byte = content[place]
        if 0x20 < byte < 0x80:
            out.append(chr(byte))
            place += 1
        elif byte <= 0x20:
            out.append(" " if byte == 0x20 else "")
            place += 1
        elif byte < 0xD0:
            out.append(_WP6_SINGLES.get(byte, ""))
            place += 1
        elif byte < 0xF0:
            if place + 4 > len(content):
                break
            if byte == 0xD0 and content[place + 1] in (1, 2, 3, 4, 5, 6, 0x14, 0x15, 0x16, 0x17):
                out.append("\n")
            elif byte == 0xD4 or byte == 0xE0:
                out.append("\t" if byte == 0xE0 else "")
            (size,) = struct.unpack_from("<H", content, place + 2)
            place += max(size, 4)
        else:
            size = _WP6_FIXED[byte - 0xF0]
            if byte == 0xF0 and place + 3 <= len(content):
                out.append(_wordperfect_character(content[place + 1], content[place + 2]))
            place += size
    return "".join(out)


_WP6_SINGLES = {0x80: " ", 0x81: " ", 0x84: "-", 0xCC: "\n", 0xCF: " ", 0xC7: "\n\n", 0xCD: " "}
_WP6_FIXED = (4, 5, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 6, 8, 8, 1)


def _wordperfect_5(content: bytes) -> str:
    out: list[str] = []
    place = 0
    while place < len(content):
        byte = content[place]
        if 0x20 <= byte < 0x80:
            out.append(chr(byte))
        elif byte in (0x0A, 0x0C):
            out.append("\n")
        elif byte == 0x0D:
            out.append(" ")
        elif 0xC0 <= byte < 0xD0:
            size = (4, 9, 11, 3, 3, 5, 6, 7, 3, 3, 3, 3, 4, 5, 8, 10)[byte - 0xC0]
            if byte == 0xC0 and place + 3 <= len(content):
                out.append(_wordperfect_character(content[place + 2], content[place + 1]))
            elif byte == 0xC1:
                out.append("\t")
            place += size
            continue
        elif byte >= 0xD0:
            if place + 4 > len(content):
                break
            (size,) = struct.unpack_from("<H", content, place + 2)
            place += 4 + size
            continue
        elif byte in (0xA9, 0xAA):
            out.append("-")
        place += 1
    return "".join(out)


def _wordperfect_character(number: int, charset: int) -> str:
    if charset == 0 and 0x20 <= number < 0x7F:
        return chr(number)
    if charset == 4:
        return {28: "'", 29: "'", 30: "'", 31: '"', 32: '"', 33: "-", 34: "-", 0: "*"}.get(
            number, ""
        )
    return _WP_LATIN.get(number, "") if charset == 1 else ""


# The accented letters of WordPerfect's set 1, from 26 on.
_WP_LATIN = dict(
    zip(
        range(26, 76),
        "ÁáÂâÄäÀàÅåÆæÇçÉéÊêËëÈèÍíÎîÏïÌìÑñÓóÔôÖöÒòÚúÛûÜüÙùŸÿ",
        strict=False,
    )
)


# -- Hangul --------------------------------------------------------------------------------------

_MAX_SECTION_BYTES = 64 * 1024 * 1024


def load_hwp(source: Source) -> object:
    """Read the text of a Hangul document of version 5; older ones are named."""
    if not source.head.startswith(b"\xd0\xcf\x11\xe0"):
        version = source.head[19:24].decode("ascii", "replace").strip()
        return source_info(source, {"version": version}, "Hangul or LibreOffice opens it.")
    seems = "a Hangul document"
    ole = open_ole(source.open(), source.name, seems)
    try:
        header = ole.read("FileHeader") if "FileHeader" in ole else b""
        (flags,) = struct.unpack_from("<I", header.ljust(40, b"\0"), 36)
        if flags & 2:
            raise FileLoadError(source.name, f"{seems} protected by a password")
        names = [n for n in ole.streams if re.fullmatch(r"BodyText/Section\d{1,6}", n)]
        sections = []
        for name in sorted(names, key=lambda n: int(n[16:])):
            content = ole.read(name)
            sections.append(_hwp_text(_inflated(content) if flags & 1 else content))
        text = "\n".join(sections)
        if not text.strip() and "PrvText" in ole:
            text = ole.read("PrvText").decode("utf-16-le", "replace")
        metadata = read_properties(ole)
    except (BrokenOle, struct.error) as error:
        raise FileLoadError(source.name, f"{seems}, damaged", reason=str(error)) from error
    return Document(source.name, "Hangul document", tidy(text), metadata=metadata)


def _inflated(content: bytes) -> bytes:
    import zlib

    try:
        return zlib.decompressobj(-15).decompress(content, _MAX_SECTION_BYTES)
    except zlib.error:
        return b""


def _hwp_text(content: bytes) -> str:
    """Source: Hancom's description of HWP 5.0: records of a tag, a level and a size."""
    lines = []
    place = 0
    while place + 4 <= len(content):
        (head,) = struct.unpack_from("<I", content, place)
        tag, size = head & 0x3FF, head >> 20
        place += 4
        if size == 0xFFF:
            if place + 4 > len(content):
                break
            (size,) = struct.unpack_from("<I", content, place)
            place += 4
        if tag == 67:
            lines.append(_hwp_paragraph(content[place : place + size]))
        place += size
    return "\n".join(lines)


def _hwp_paragraph(content: bytes) -> str:
    codes = struct.unpack(f"<{len(content) // 2}H", content[: len(content) // 2 * 2])
    kept = bytearray()
    place = 0
    while place < len(codes):
        code = codes[place]
        if code >= 32:
            kept += struct.pack("<H", code)
            place += 1
        elif code in (0, 10, 13, 24, 25, 26, 27, 28, 29, 30, 31):
            kept += struct.pack("<H", 10 if code in (10, 13) else 32)
            place += 1
        else:  # a control that takes the place of eight characters
            if code == 9:
                kept += struct.pack("<H", 9)
            place += 8
    return bytes(kept).decode("utf-16-le", "replace").strip()


# -- named, with what they say of themselves -----------------------------------------------------


def load_ole_info(source: Source) -> FileInfo:
    """Say what a document in an OLE file says of itself."""
    ole = open_ole(source.open(), source.name, "an OLE document")
    return source_info(source, read_properties(ole), "LibreOffice or its own program opens it.")


def load_works(source: Source) -> object:
    """Read the text of a Works document, roughly; others are named."""
    if not source.head.startswith(b"\xd0\xcf\x11\xe0"):
        return source_info(source, {}, "LibreOffice opens it.")
    ole = open_ole(source.open(), source.name, "a Works document")
    text: Any = ""
    try:
        if "MatOST" in ole or "MN0" in ole:
            content = ole.read("MN0") if "MN0" in ole else b""
            text = _runs(content)
    except BrokenOle:
        text = ""
    if not text:
        return source_info(source, read_properties(ole), "LibreOffice opens it.")
    return Document(source.name, "Works document", text, metadata=read_properties(ole))


def _runs(content: bytes) -> str:
    found = re.findall(rb"[\x20-\x7e\x85-\xff\r\n\t]{40,}", content)
    return tidy("\n".join(run.decode("cp1252", "replace").replace("\r", "\n") for run in found))
