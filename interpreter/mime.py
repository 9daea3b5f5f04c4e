"""MIME bundles: which types are JSON or base64, what to read, and what a hostile one may hold."""

import base64
import json
import math
import re
import struct
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from interpreter.terminal import cut, encodable, strip_ansi

# What a kernel may name a type: printable ASCII with a slash, so that it can be shown and stored.
_MIME = re.compile(r"[!-.0-~]+/[!-~]+\Z")
_MAX_MIME_CHARS = 100
_MAX_REPRESENTATIONS = 32

# Deeper JSON breaks what reads it later: json, pickle and repr all recurse.
_MAX_JSON_DEPTH = 64
_MAX_INTEGER_BITS = 1_024

# `<Figure size 640x480 with 1 Axes>`, `<IPython.core.display.Markdown object>`: the repr of an
# object that has no text of its own, sent beside the representation that was meant.
_OBJECT_REPR = re.compile(r"<[^<>\n]*>\Z")

_MAX_JSON_TEXT_CHARS = 2_000


def is_json_mime(mime: str) -> bool:
    """Whether values of this type are JSON values and not text.

    Source: nbformat.v4.5.schema.json, definitions/misc/mimebundle.
    """
    return mime == "application/json" or (
        mime.startswith("application/") and mime.endswith("+json")
    )


def is_base64_mime(mime: str) -> bool:
    """Whether values of this type are bytes, which Jupyter sends as base64."""
    family, _, kind = mime.partition("/")
    if family in ("image", "audio", "video"):
        return kind != "svg+xml"
    return mime in ("application/pdf", "application/zip", "application/octet-stream")


def text_of_bundle(bundle: Mapping[str, object]) -> str:
    """What a reader of plain text sees of one display: its text, or `[image/png 640x480]`.

    An object's bare repr gives way to Markdown, LaTeX, a picture's placeholder or JSON. No base64
    and no ANSI sequence is ever part of it.
    """
    plain = _text(bundle, "text/plain")
    if plain is not None and not _OBJECT_REPR.match(plain):
        return plain
    for mime in ("text/latex", "text/markdown"):
        if (source := _text(bundle, mime)) is not None:
            return source
    for mime in bundle:
        if mime.startswith("image/"):
            return placeholder(mime, bundle[mime])
    if "application/json" in bundle:
        return _json_text(bundle["application/json"])
    if plain is not None:
        return plain
    return placeholder(mime, bundle[mime]) if (mime := next(iter(bundle), "")) else ""


def placeholder(mime: str, value: object) -> str:
    """A picture, page or chart as a word in plain text, with its size in pixels where known."""
    size = png_size(value) if mime == "image/png" else None
    return f"[{mime} {size[0]}x{size[1]}]" if size else f"[{mime}]"


def png_size(value: object) -> tuple[int, int] | None:
    """Width and height in pixels from the header of a base64 PNG, None if it isn't one."""
    if not isinstance(value, str):
        return None
    start = "".join(value[:80].split())[:32]
    try:
        header = base64.b64decode(start, validate=True)
    except ValueError:
        return None
    if len(header) < 24 or not header.startswith(b"\x89PNG\r\n\x1a\n") or header[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", header[16:24])
    return width, height


def _text(bundle: Mapping[str, object], mime: str) -> str | None:
    value = bundle.get(mime)
    return strip_ansi(value) if isinstance(value, str) and value else None


def _json_text(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return "[application/json]"
    return text if len(text) <= _MAX_JSON_TEXT_CHARS else text[: _MAX_JSON_TEXT_CHARS - 1] + "…"


@dataclass(frozen=True, slots=True)
class ReadBundle:
    """What there was room for of a bundle that a kernel sent.

    Attributes:
        data: MIME type -> value, in the order of the kernel.
        size_bytes: All of it without `text/plain`.
        text_chars: Length of its `text/plain`.
        too_large: Types that were left out for their size.
        malformed: How many representations made no sense.
    """

    data: dict[str, Any]
    size_bytes: int
    text_chars: int
    too_large: tuple[str, ...]
    malformed: int


def read_bundle(
    bundle: Mapping[object, object], *, max_bytes: int, room_bytes: int, max_text_chars: int
) -> ReadBundle:
    """A bundle as a kernel sent it, made safe to keep and small enough.

    Args:
        bundle: MIME type -> value; anything at all.
        max_bytes: Limit for one representation and for all of them without `text/plain`.
        room_bytes: What is left for displays of the cell; the smaller limit holds. While the
            bundle is larger, its largest representation is left out.
        max_text_chars: `text/plain` is never left out but loses its middle beyond this length.
    """
    values: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    too_large: list[str] = []
    malformed = max(0, len(bundle) - _MAX_REPRESENTATIONS)
    for mime, value in islice(bundle.items(), _MAX_REPRESENTATIONS):
        limit = sys.maxsize if mime == "text/plain" else max_bytes
        try:
            values[str(mime)], sizes[str(mime)] = read_value(mime, value, max_bytes=limit)
        except NotAValue:
            malformed += 1
        except TooLargeValue:
            too_large.append(str(mime))
    text_chars = 0
    if "text/plain" in values:
        del sizes["text/plain"]
        values["text/plain"] = cut(values["text/plain"], max_text_chars)
        text_chars = len(values["text/plain"])
    while sum(sizes.values()) > min(max_bytes, room_bytes):
        largest = max(sizes, key=sizes.__getitem__)
        del sizes[largest], values[largest]
        too_large.append(largest)
    return ReadBundle(values, sum(sizes.values()), text_chars, tuple(too_large), malformed)


def read_value(mime: object, value: object, *, max_bytes: int) -> tuple[Any, int]:
    """One representation as a kernel sent it, made safe to keep, with its size in bytes.

    Text is made encodable (a list of lines is joined), JSON is copied with keys that are text and
    null for the numbers that JSON doesn't have.

    Raises:
        NotAValue: It isn't what a value of this type has to be, or is nested too deeply.
        TooLargeValue: It takes more than `max_bytes`.
    """
    if not isinstance(mime, str) or len(mime) > _MAX_MIME_CHARS or not _MIME.match(mime):
        raise NotAValue
    if is_json_mime(mime):
        return copy_json(value, max_bytes=max_bytes)
    if isinstance(value, list | tuple):
        value = _joined(value, max_bytes)
    if not isinstance(value, str):
        raise NotAValue
    if len(value) > max_bytes:
        raise TooLargeValue
    text = encodable(value)
    size = text_bytes(text)
    if size > max_bytes:
        raise TooLargeValue
    return text, size


class NotAValue(ValueError):
    """A value is not of the kind that its type asks for."""


class TooLargeValue(ValueError):
    """A value is larger than allowed."""


def text_bytes(text: str) -> int:
    """Size of the text in UTF-8, in bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def copy_json(value: object, *, max_bytes: int) -> tuple[Any, int]:
    """A copy of a JSON value that anything can store, and roughly the memory it takes, in bytes.

    Raises:
        NotAValue: Something in it isn't JSON, or it is nested more than 64 deep.
        TooLargeValue: It takes more than `max_bytes`.
    """
    copier = _JsonCopier(max_bytes)
    return copier.copy(value, 0), copier.size


def json_bytes(value: object) -> int:
    """Roughly the memory that a JSON value takes, in bytes; 0 if it is no JSON value."""
    try:
        return copy_json(value, max_bytes=sys.maxsize)[1]
    except NotAValue:
        return 0


class _JsonCopier:
    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.size = 0

    def copy(self, value: object, depth: int) -> Any:
        if depth > _MAX_JSON_DEPTH:
            raise NotAValue
        self._grow(32)
        match value:
            case None | bool():
                return value
            case str():
                self._grow(len(value))
                return encodable(value)
            case int():
                if value.bit_length() > _MAX_INTEGER_BITS:
                    raise NotAValue
                return int(value)
            case float():
                return float(value) if math.isfinite(value) else None
            case list() | tuple():
                return [self.copy(item, depth + 1) for item in value]
            case dict():
                return dict(self._items(value, depth + 1))
            case _:
                raise NotAValue

    def _items(self, value: Mapping[object, object], depth: int) -> Iterable[tuple[str, Any]]:
        for key, item in value.items():
            if not isinstance(key, str):
                raise NotAValue
            self._grow(len(key))
            yield encodable(key), self.copy(item, depth)

    def _grow(self, size: int) -> None:
        self.size += size
        if self.size > self._max_bytes:
            raise TooLargeValue


def _joined(lines: Iterable[object], max_bytes: int) -> str:
    kept: list[str] = []
    for line in lines:
        if not isinstance(line, str):
            raise NotAValue
        max_bytes -= len(line) + 8
        if max_bytes < 0:
            raise TooLargeValue
        kept.append(line)
    return "".join(kept)
