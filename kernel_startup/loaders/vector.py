"""Vector graphics."""

import io
import re
import struct
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.source import Source

if TYPE_CHECKING:
    import PIL.Image

_MAX_SIDE = 4096
#: What an inch has, and so a point, by CSS: resvg's own is 0, and a drawing in points has no size.
RESOLUTION = 96.0


class Svg(str):
    """The source of an SVG drawing, which can be rendered.

    Attributes:
        size: Its width and height in pixels, by its attributes or its view box; None if unsaid.
    """

    size: tuple[float, float] | None

    def __new__(cls, text: str) -> "Svg":
        """Keep the source as it is."""
        drawing = super().__new__(cls, text)
        drawing.size = _svg_size(text)
        return drawing

    @property
    def image(self) -> "PIL.Image.Image":
        """It, rendered at its own size, which is bounded at 4,096 pixels."""
        return self.render()

    def render(self, width: int | None = None) -> "PIL.Image.Image":
        """Render it.

        Nothing that it refers to outside itself is read.

        Args:
            width: In pixels; None for its own.

        Raises:
            ValueError: It isn't a drawing, or has no size.
        """
        import PIL.Image
        import resvg_py

        if self.size is None:
            raise ValueError("the SVG has no size: neither width and height nor a view box")
        own_width, own_height = self.size
        longest = max(own_width, own_height)
        if width is None:
            width = max(round(own_width * min(1, _MAX_SIDE / longest)), 1)
        if not 0 < width <= 4 * _MAX_SIDE or width * own_height / own_width > 4 * _MAX_SIDE:
            raise ValueError(f"width={width} makes a picture that is too large")
        try:
            rendered = resvg_py.svg_to_bytes(
                svg_string=without_references(self),
                width=width,
                dpi=RESOLUTION,
            )
        except BaseException as error:  # a panic of the library isn't an Exception
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            raise ValueError(f"it can't be rendered: {error}") from None
        picture = PIL.Image.open(io.BytesIO(bytes(rendered)))
        picture.load()
        return picture

    def _repr_png_(self) -> bytes | None:
        # IPython shows the picture; an SVG itself could hold scripts.
        buffer = io.BytesIO()
        try:
            self.image.save(buffer, "png")
        except (ValueError, OSError):
            return None
        return buffer.getvalue()


def load_svg(source: Source, *, encoding: str | None = None) -> Svg:
    """Read the source of a drawing; `.image` renders it."""
    from kernel_startup.loaders.text import decode

    return Svg(decode(source, encoding))


_UNITS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_REFERENCE = re.compile(r"""(\bhref\s*=\s*)(["'])(?!\s*(?:#|data:))[^"']*+\2""", re.IGNORECASE)
_ROOT = re.compile(r"<(?:\w{1,50}:)?svg\b([^>]{0,20000})>", re.IGNORECASE)


def _svg_size(text: str) -> tuple[float, float] | None:
    root = _ROOT.search(text[:200_000])
    if root is None:
        return None
    attributes = dict(re.findall(r"\b(width|height|viewBox)\s*=\s*[\"']([^\"']{1,200})", root[1]))
    box = re.findall(r"-?[\d.]+(?:e[-+]?\d+)?", attributes.get("viewBox", ""))
    width, height = (_length(attributes.get(name, "")) for name in ("width", "height"))
    try:
        if len(box) == 4 and float(box[2]) > 0 and float(box[3]) > 0:
            across, down = float(box[2]), float(box[3])
            if width is None and height is None:
                width, height = across, down
            elif width is None and height is not None:
                width = height * across / down
            elif height is None and width is not None:
                height = width * down / across
    except (ValueError, OverflowError):
        return None
    return (width, height) if width and height else None


def _length(text: str) -> float | None:
    found = re.fullmatch(r"\s*([\d.]{1,20})\s*(px|pt|pc|mm|cm|in)?\s*", text)
    try:
        return float(found[1]) * _UNITS[found[2] or ""] if found else None
    except ValueError:
        return None


def without_references(text: str) -> str:
    """Take out what refers to other files: a drawing must not look around in the kernel."""
    text = re.sub(r"<!DOCTYPE[^>\[]*+(?:\[[^\]]*+\]\s*)?>", "", text, count=1)
    return _REFERENCE.sub(r"\1\2\2", text)


def load_eps(source: Source) -> "PIL.Image.Image | str":
    """Give PostScript with its size as a picture that is not decoded; without one, its text.

    Nothing is rendered: PostScript is a programming language, and Ghostscript isn't here.
    """
    import PIL.Image

    from kernel_startup.loaders.text import decode

    try:
        picture = PIL.Image.open(io.BytesIO(source.read()), formats=("EPS",))
    except PIL.Image.DecompressionBombError:
        pass
    except (OSError, SyntaxError, ValueError):
        pass
    else:
        source.note(f"{source.name!r} has a size; its pixels need Ghostscript, which isn't here.")
        return picture
    content = source.read()
    if content.startswith(b"\xc5\xd0\xd3\xc6"):  # the PostScript lies between previews
        start, size = struct.unpack_from("<II", content, 4)
        return content[start : start + size].decode("latin-1")
    if b"\0" in content:  # pixels, as they are
        return content.decode("latin-1")
    return decode(source)


def _info(source: Source, facts: Mapping[str, object], advice: str) -> FileInfo:
    from kernel_startup.loaders.described import source_info

    return source_info(source, dict(facts), advice)


_CONVERT = "Inkscape or LibreOffice turns it into SVG or PNG."


def load_wmf(source: Source) -> FileInfo:
    """Say what size a metafile has."""
    facts: dict[str, object] = {}
    if source.head.startswith(b"\xd7\xcd\xc6\x9a"):
        left, top, right, bottom, inch = struct.unpack_from("<4hH", source.head, 6)
        if inch:
            facts["size"] = (round((right - left) * 96 / inch), round((bottom - top) * 96 / inch))
    return _info(source, facts, _CONVERT)


def load_emf(source: Source) -> FileInfo:
    """Say what size an enhanced metafile has."""
    left, top, right, bottom = struct.unpack_from("<4i", source.head, 8)
    facts = {"size": (right - left + 1, bottom - top + 1)}
    return _info(source, facts, _CONVERT)


def load_pict(source: Source) -> FileInfo:
    """Say what size a QuickDraw picture has."""
    head = source.head
    start = 512 if head[522:526] == b"\x00\x11\x02\xff" or head[522:524] == b"\x11\x01" else 0
    top, left, bottom, right = struct.unpack_from(">4h", head, start + 2)
    return _info(source, {"size": (right - left, bottom - top)}, "ImageMagick turns it into PNG.")


def load_swf(source: Source) -> FileInfo:
    """Say what size a Flash animation has."""
    head = source.head
    facts: dict[str, object] = {"version": head[3]}
    body = head[8:]
    if head.startswith(b"CWS"):
        try:
            body = zlib.decompressobj().decompress(body, 64)
        except zlib.error as error:
            raise FileLoadError(source.name, "Flash, damaged", reason=str(error)) from error
    if not head.startswith(b"ZWS") and body:
        bits = body[0] >> 3
        number = int.from_bytes(body[:20].ljust(20, b"\0"), "big")
        left, right, top, bottom = (
            number >> (160 - 5 - bits * (index + 1)) & ((1 << bits) - 1) for index in range(4)
        )
        facts["size"] = ((right - left) // 20, (bottom - top) // 20)
        after = (5 + 4 * bits + 7) // 8
        if len(body) >= after + 4:
            rate, frames = struct.unpack_from("<HH", body, after)
            facts |= {"fps": rate / 256, "frames": frames}
    return _info(source, facts, "Ruffle plays it.")
