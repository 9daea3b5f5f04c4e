"""Fonts."""

import re
import struct
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.loaders.described import source_info
from kernel_startup.source import Source

_MAX_FONT_BYTES = 256 * 1024 * 1024


def load_font(source: Source, *, number: int = 0) -> Any:
    """Open a TrueType or OpenType font, compressed for the web or not, with fontTools.

    Args:
        number: Which font of a collection, from 0.
    """
    import io

    from fontTools.ttLib import TTFont, TTLibError

    _check_declared_size(source)
    try:
        font = TTFont(io.BytesIO(source.read()), fontNumber=number, lazy=True)
        _ = font.keys()
        if "name" in font:
            _ = font["name"]
        return font
    except TTLibError as error:
        raise FileLoadError(
            source.name, "a font that is cut off or damaged", "fontTools", str(error)
        ) from error


def _check_declared_size(source: Source) -> None:
    """A font for the web says what it unpacks to."""
    if source.head[:4] in (b"wOFF", b"wOF2") and len(source.head) >= 20:
        (size,) = struct.unpack_from(">I", source.head, 16)
        if size > _MAX_FONT_BYTES:
            raise FileLoadError(
                source.name, f"a font that claims to unpack to {size >> 20:,} MiB", "", "",
                "It is damaged, or made to fill the memory",
            )  # fmt: skip


def load_collection(source: Source, *, number: int | None = None) -> Any:
    """Open a collection of fonts with fontTools; `number=` gives one of them, from 0."""
    import io

    from fontTools.ttLib import TTCollection, TTLibError

    if number is not None:
        return load_font(source, number=number)
    (count,) = struct.unpack_from(">I", source.head, 8)
    if count > 1000:
        raise FileLoadError(source.name, f"a collection that claims to have {count:,} fonts")
    try:
        return TTCollection(io.BytesIO(source.read()), lazy=True)
    except (TTLibError, struct.error) as error:
        raise FileLoadError(
            source.name, "a collection of fonts that is cut off or damaged", "fontTools", str(error)
        ) from error


def load_type1(source: Source) -> Any:
    """Say what a PostScript Type 1 font is called; fontTools.t1Lib opens it."""
    text = source.head[:20_000].decode("latin-1")
    facts: dict[str, object] = {}
    for name in ("FontName", "FullName", "FamilyName", "Weight", "version", "ItalicAngle"):
        found = re.search(rf"/{name}[ \t]{{0,9}}(?:\(([^)]{{0,200}})\)|/?([^\s/]{{1,200}}))", text)
        if found:
            facts[name] = found.group(1) or found.group(2) or ""
    return source_info(source, facts, "fontTools.t1Lib.T1Font(path) draws its glyphs.")


def load_metrics(source: Source) -> Any:
    """Read a font's metrics: a DataFrame of characters, with the font's own in `attrs`."""
    import pandas as pd

    text = source.read().decode("latin-1")
    rows = []
    facts: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith(("C ", "CH ")):
            fields = dict(
                part.split(None, 1) for part in line.split(";") if len(part.split(None, 1)) == 2
            )
            code, box = fields.get("C", "-1"), (fields.get("B") or "").split()
            box += [""] * (4 - len(box))
            rows.append(
                {
                    "code": pd.to_numeric(code.strip(), errors="coerce"),
                    "name": (fields.get("N") or "").strip(),
                    "width": pd.to_numeric((fields.get("WX") or "").strip(), errors="coerce"),
                    **{
                        side: pd.to_numeric(value, errors="coerce")
                        for side, value in zip(
                            ("left", "bottom", "right", "top"), box[:4], strict=True
                        )
                    },
                }
            )
        elif not rows and " " in line and len(facts) < 50:
            name, _, value = line.partition(" ")
            facts[name] = value.strip()
    columns = ["code", "name", "width", "left", "bottom", "right", "top"]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs.update(facts)
    return table


def load_eot(source: Source) -> FileInfo:
    """Say what an embedded font of Internet Explorer's is called."""
    head = source.head
    facts: dict[str, object] = {}
    (version,) = struct.unpack_from("<I", head, 8)
    facts["version"] = hex(version)
    (weight,) = struct.unpack_from("<I", head, 28)
    facts["weight"] = weight
    place = 82
    for name in ("family", "style", "version name", "full name"):
        if place + 2 > len(head):
            break
        (size,) = struct.unpack_from("<H", head, place)
        facts[name] = head[place + 2 : place + 2 + size].decode("utf-16-le", "replace")
        place += 4 + size
    return source_info(source, facts, "It can be turned into a TrueType font.")


def load_pcf(source: Source) -> FileInfo:
    """Say what a bitmap font of X11's tells of itself: family, size, glyphs.

    Source: the format's own description: tables of a kind, a format, a size and an offset.
    """
    content = source.read()
    facts: dict[str, object] = {}
    try:
        (count,) = struct.unpack_from("<I", content, 4)
        for index in range(min(count, 50)):
            kind, _, size, offset = struct.unpack_from("<4I", content, 8 + 16 * index)
            if kind == 1:
                facts.update(_pcf_properties(content[offset : offset + size]))
            elif kind == 4:
                (layout,) = struct.unpack_from("<I", content, offset)
                order = ">" if layout & 4 else "<"
                (facts["glyphs"],) = struct.unpack_from(f"{order}I", content, offset + 4)
    except struct.error:
        facts["damaged"] = True
    return source_info(source, facts, "PIL.PcfFontFile reads its glyphs.")


def _pcf_properties(table: bytes) -> dict[str, object]:
    (layout,) = struct.unpack_from("<I", table, 0)
    order = ">" if layout & 4 else "<"
    (count,) = struct.unpack_from(f"{order}I", table, 4)
    count = min(count, len(table) // 9)
    strings = table[8 + 9 * count + (-count) % 4 + 4 :]
    wanted = {"FAMILY_NAME", "WEIGHT_NAME", "PIXEL_SIZE", "POINT_SIZE", "FOUNDRY", "SLANT"}
    found: dict[str, object] = {}
    for index in range(count):
        name, is_text, value = struct.unpack_from(f"{order}IBI", table, 8 + 9 * index)
        key = _string(strings, name)
        if key in wanted:
            found[key.lower()] = _string(strings, value) if is_text else value
    return found


def _string(strings: bytes, offset: int) -> str:
    return strings[offset : offset + 200].split(b"\0")[0].decode("latin-1")
