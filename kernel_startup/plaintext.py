"""What plain text is written in: its encoding, and whether it is JSON or markup. Pure, bounded.

Everything here looks at the head of a file.
"""

import codecs
import json
import re
from typing import Literal

#: Bytes that no text has, but for a stray one: control characters without the blanks, backspace,
#: form feed and escape (which logs and program output do have).
_CONTROLS = bytes(set(range(0x20)) - {0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x1B}) + b"\x7f"
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x06\x0e-\x1a\ud800-\udfff]")
_MAX_CONTROL_SHARE = 1 / 500

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def sniff_encoding(head: bytes, *, whole: bool = False) -> str | None:
    """Tell the encoding of a text by its first bytes; None if it isn't text.

    A byte order mark and valid UTF-8 are certain. Of the older encodings, East Asian ones and
    Cyrillic are told by what their letters look like; the rest is taken for Western European.

    Args:
        head: The first bytes.
        whole: They are all there are, so that they can't end in the middle of a character.
    """
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    if b"\0" in head:
        return _sniff_utf16(head, whole=whole)
    if len(head) - len(head.translate(None, _CONTROLS)) > len(head) * _MAX_CONTROL_SHARE:
        return None
    if _decode(head, "utf-8", whole=whole) is not None:
        return "utf-8"
    return _sniff_legacy(head)


def _sniff_utf16(head: bytes, *, whole: bool) -> str | None:
    # Text in a Latin script has a NUL in every second byte, and always on the same side.
    half = len(head) // 2
    on_even, on_odd = head[0::2].count(0), head[1::2].count(0)
    if on_odd > half * 0.3 and on_even <= half * 0.05:
        encoding = "utf-16-le"
    elif on_even > half * 0.3 and on_odd <= half * 0.05:
        encoding = "utf-16-be"
    else:
        return None
    text = _decode(head, encoding, whole=whole)
    return None if text is None or _CONTROL_CHARACTERS.search(text) else encoding


def _sniff_legacy(head: bytes) -> str:
    runs = re.findall(rb"[\x80-\xff]+", head)
    high = b"".join(runs)
    # A Western European word has an accent here and there; other scripts write in long runs.
    if len(high) >= 2 * len(runs):
        for encoding, script, share in _EAST_ASIAN:
            text = _decode(head, encoding)
            if text is not None and _share_of(script, text) >= share:
                return encoding
        cyrillic = sum(byte >= 0xC0 or byte in (0xA8, 0xB8) for byte in high)
        lower_case = sum(byte >= 0xE0 for byte in high)
        if cyrillic >= 0.95 * len(high) and lower_case >= 0.5 * len(high):
            return "cp1251"
        text = _decode(head, "gb18030")
        common = sum(0xB0 <= byte <= 0xD7 for run in runs for byte in run[0::2])
        if text is not None and common >= 0.3 * len(high):
            return "gb18030"
    # Japanese has ASCII letters for second bytes, which cut its runs short: hence out here too.
    text = _decode(head, "cp932")
    if text is not None and _share_of(_JAPANESE, text) >= 0.9 and _KANA.search(text):
        return "cp932"
    return "cp1252" if _decode(head, "cp1252") is not None else "latin-1"


_KANA = re.compile("[\u3041-\u30ff]")
_JAPANESE = re.compile("[\u3000-\u30ff\u4e00-\u9fff\uff01-\uff5e]")
_HANGUL = re.compile("[\uac00-\ud7a3\u3000-\u303f]")
_EAST_ASIAN = (
    ("cp932", _JAPANESE, 0.95),
    ("euc_jp", re.compile("[\u3000-\u30ff]"), 0.2),
    ("euc_kr", _HANGUL, 0.9),
)


def _share_of(script: re.Pattern[str], text: str) -> float:
    foreign = [character for character in text if character >= "\x80"]
    return len(script.findall(text)) / len(foreign) if foreign else 0.0


def _decode(head: bytes, encoding: str, *, whole: bool = False) -> str | None:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(head, whole)
    except UnicodeDecodeError:
        return None


_JSON_START = re.compile(r"\{\s*[\"}]|\[\s*[\[\]{\"\d-]|\[\s*(?:true|false|null)\b")
_CERTAIN_JSON_START = re.compile(r'\{\s*"[^"\n]*"\s*:|\[\s*\{\s*"[^"\n]*"\s*:|\[\s*"')


def sniff_json(text: str) -> Literal["json", "jsonl"] | None:
    """Tell whether a text (or the head of one) is JSON, or JSON lines; None if neither."""
    text = text.lstrip("\ufeff \t\r\n")
    if not _JSON_START.match(text):
        return None
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        # Cut off by the head, or damaged: then the beginning must speak for itself.
        return "json" if _CERTAIN_JSON_START.match(text) else None
    rest = text[end:]
    if not rest.strip():
        return "json"
    return "jsonl" if re.match(r"[ \t]*\r?\n\s*[\[{]", rest) else None


_MARKUP_START = re.compile(r"\ufeff?\s*<(?:!doctype\b|html\b|\?xml\b|!--|svg\b)", re.IGNORECASE)


def looks_like_markup(text: str) -> bool:
    """Tell whether a text is HTML or XML, whatever it is called (error pages saved as csv)."""
    return _MARKUP_START.match(text) is not None


# Possessive throughout: hostile text must not make it try again and again.
_XML_SKIPPED = re.compile(
    r"(?>(?:\s++|(?><\?[\s\S]*?\?>)|(?><!--[\s\S]*?-->)"
    r"|<!DOCTYPE[^\[>]*+(?:\[[^\]]*+\]\s*+)?>)*)",
    re.IGNORECASE,
)
_XML_ROOT = re.compile(r"<(?:([A-Za-z_][\w.-]*):)?([A-Za-z_][\w.-]*)(?=[\s/>])([^<>]*)")


def xml_root(text: str) -> tuple[str, str] | None:
    """Tell the root element of an XML text (or the head of one); None if it doesn't look like XML.

    Returns:
        Its namespace (empty if it has none) and its local name.
    """
    text = text.lstrip("\ufeff \t\r\n")
    if not text.startswith("<"):
        return None
    skipped = _XML_SKIPPED.match(text)
    root = _XML_ROOT.match(text, skipped.end() if skipped else 0)
    if root is None:
        return ("", "") if text.startswith("<?xml") else None
    prefix, local, attributes = root.groups()
    name = f"xmlns:{re.escape(prefix)}" if prefix else "xmlns"
    declared = re.search(rf"(?:^|\s){name}\s*=\s*[\"']([^\"']*)", attributes)
    return (declared.group(1) if declared else "", local)
