"""Pictures of what a cell showed: of drawings, tables, pages, formulas and charts.

The content may be anything, and what draws it is large and takes what it likes: so it is drawn in a
child process with limits of its own. Nothing is fetched, and nothing runs but what the drawing
packages themselves run. Files that the content names are not read into it, where the package leaves
us the choice; they would be the user's own ones.
"""

import contextlib
import importlib
import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from kernel_startup.children import ChildEnded, call_in_child
from kernel_startup.picture_types import (
    MOST_PNG_BYTES,
    MOST_SIDE,
    RENDERERS,
    TIME_S,
    Kind,
    kind_of,
)

if TYPE_CHECKING:
    import PIL.Image

#: Memory that drawing may take in the child itself, beyond what the kernel has already.
_MEMORY_BYTES = 768 << 20
#: Larger than any picture that is drawn here, and small enough to be scaled down.
_MOST_PIXELS = 64_000_000
#: The child's end, a little before ours.
_LEAST_S = 0.5


class CannotDraw(ValueError):
    """There is no picture to be had of this; says why."""


class RendererMissing(Exception):
    """It needs packages that aren't there.

    Attributes:
        requirements: what to install.
    """

    def __init__(self, requirements: Sequence[str]) -> None:
        """Name them."""
        self.requirements = tuple(requirements)
        super().__init__(self.requirements)


def picture_of(content: str, mime: str, *, time_s: float = TIME_S, make_do: bool = False) -> bytes:
    """Draw what a cell showed, as a PNG of at most `MOST_SIDE` pixels and `MOST_PNG_BYTES`.

    Args:
        content: What was shown, in the form that `mime` names. Of JSON types the JSON's text.
        mime: As in a MIME bundle.
        time_s: Seconds it may take.
        make_do: Draw it less well, if it can be, without packages that aren't there.

    Raises:
        CannotDraw: It can't be drawn, or not within the limits.
        RendererMissing: It takes packages that aren't there.
    """
    importlib.invalidate_caches()  # packages may have come since
    _import_what_draws(mime)
    try:
        drawn = call_in_child(
            lambda: _draw(content, mime, time_s, make_do), max_bytes=_MEMORY_BYTES, max_s=time_s
        )
    except (CannotDraw, RendererMissing):
        raise
    except (ChildEnded, Exception) as error:
        raise CannotDraw(f"{type(error).__name__}: {error}") from None
    return cast(bytes, drawn)


def _import_what_draws(mime: str) -> None:
    """Import here what many pictures need: a child that does forgets it."""
    if kind_of(mime) in ("svg", "html", "csv", "latex"):
        for name in ("PIL.Image", "PIL.ImageFont", "lxml.html", "resvg_py"):
            importlib.import_module(name)


def _draw(content: str, mime: str, time_s: float, make_do: bool) -> bytes:
    """Draw in this process: the child."""
    warnings.simplefilter("ignore")
    kind = kind_of(mime)
    if kind is None:
        raise CannotDraw("not a type that can be drawn")
    try:
        return bounded(_png_of(content, kind, mime, time_s - _LEAST_S, make_do))
    except (Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of a Rust library isn't an Exception
        raise CannotDraw(str(error)) from None


def _png_of(content: str, kind: Kind, mime: str, time_s: float, make_do: bool) -> bytes:
    # Imported by the child: a kernel that draws nothing has none of it.
    if kind == "svg":
        from kernel_startup.pictures_svg import draw_svg

        return draw_svg(content)
    if kind == "csv":
        from kernel_startup.pictures_table import draw_csv

        return draw_csv(content)
    if kind == "html":
        from kernel_startup.pictures_pages import draw_html

        return draw_html(content, make_do=make_do)
    if kind == "latex":
        from kernel_startup.pictures_latex import draw_latex

        return draw_latex(content)
    if kind == "plotly":
        from kernel_startup.pictures_charts import draw_plotly

        return draw_plotly(content, time_s=time_s)
    from kernel_startup.pictures_charts import draw_vega

    return draw_vega(content, mime, time_s=time_s)


def bounded(png: bytes) -> bytes:
    """A picture within the limits of size, on white: scaled down if it must be.

    Raises:
        CannotDraw: it is no picture, or far too large.
    """
    import PIL.Image

    PIL.Image.MAX_IMAGE_PIXELS = None  # looked at below, before anything is decoded
    with contextlib.closing(PIL.Image.open(io.BytesIO(png), formats=("PNG",))) as picture:
        if picture.width * picture.height > _MOST_PIXELS:
            raise CannotDraw("the picture is too large")
        longest = max(picture.size)
        opaque = picture.mode in ("RGB", "L", "1")
        if longest <= MOST_SIDE and len(png) <= MOST_PNG_BYTES and opaque:
            return png
        shown = _on_white(picture)
    share = min(1.0, MOST_SIDE / longest)
    for _ in range(4):
        png = _encoded(shown, share)
        if len(png) <= MOST_PNG_BYTES:
            return png
        share *= 0.6
    raise CannotDraw("the picture's file is too large")


def _on_white(picture: "PIL.Image.Image") -> "PIL.Image.Image":
    """Without transparency: dark text on a chat's dark background can't be read."""
    import PIL.Image

    layered = picture.convert("RGBA")
    white = PIL.Image.new("RGBA", layered.size, "white")
    white.alpha_composite(layered)
    return white.convert("RGB")


def _encoded(picture: "PIL.Image.Image", share: float) -> bytes:
    import PIL.Image

    size = (max(1, int(picture.width * share)), max(1, int(picture.height * share)))
    if size != picture.size:
        picture = picture.resize(size, PIL.Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return buffer.getvalue()


def require(kind: Kind) -> None:
    """See to it that what draws a kind is there.

    Raises:
        RendererMissing: it isn't, with all that should be installed for it.
    """
    from kernel_startup.requirements import missing_requirements

    if missing := missing_requirements(RENDERERS[kind]):
        raise RendererMissing(missing)
