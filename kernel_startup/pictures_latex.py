"""Formulas as pictures, on white."""

import io
import re

from kernel_startup.picture_types import MOST_SIDE
from kernel_startup.pictures import CannotDraw, require
from kernel_startup.pictures_svg import draw_svg

_MOST_CHARS = 20_000
_MOST_LINES = 40
_FONT_PT, _DPI = 15, 200
_PADDING_INCHES = 0.15

_MATH = re.compile(
    r"\s*(?:\$\$(.+)\$\$|\$(.+)\$|\\\[(.+)\\\]|\\\((.+)\\\)"
    r"|\\begin\{(?:equation|displaymath|math)\*?\}(.+)\\end\{(?:equation|displaymath|math)\*?\})\s*",
    re.DOTALL,
)
_ROWS = re.compile(r"\\begin\{(align|gather|eqnarray|multline)\*?\}(.+)\\end\{\1\*?\}", re.DOTALL)


def draw_latex(text: str) -> bytes:
    """Draw LaTeX, as SymPy and IPython's `Math` and `Latex` show it.

    matplotlib draws what it can: it knows no environments such as matrices. ziamath does.

    Raises:
        CannotDraw: it isn't LaTeX that they know.
        RendererMissing: it takes ziamath.
    """
    if len(text) > _MOST_CHARS:
        raise CannotDraw("too long for a formula")
    found = _MATH.fullmatch(text)
    formula = next(filter(None, found.groups())) if found and _is_one(found) else None
    if formula is None and (rows := _ROWS.fullmatch(text.strip())):
        formula = re.sub(r"\\(begin|end)\{(\w+)\}", r"\\\1{\2*}", rows[0])  # without numbers
    try:
        return _by_matplotlib(text if formula is None else _in_dollars(formula))
    except ValueError as error:
        if formula is None:
            raise CannotDraw(str(error)) from None
    require("latex")
    return _by_ziamath(formula)


def _is_one(found: "re.Match[str]") -> bool:
    """Whether it is one formula, and not text that begins and ends with one."""
    return not any(re.search(r"(?<!\\)\$", group) for group in found.groups() if group)


def _in_dollars(formula: str) -> str:
    plain = re.sub(
        r"\\(?:(?:displaystyle|limits|nolimits|nonumber)(?![A-Za-z])|label\{[^}]*\})", "", formula
    )
    # What it calls otherwise.
    plain = re.sub(r"\\left\\\{", r"\\left\\lbrace ", plain)
    plain = re.sub(r"\\right\\\}", r"\\right\\rbrace ", plain)
    return f"${' '.join(plain.split())}$"


def _by_matplotlib(text: str) -> bytes:
    """Draw text with formulas in it.

    Raises:
        ValueError: it has something that matplotlib doesn't know.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from kernel_startup import fonts

    if re.search(r"\\begin\b|\\\\", text):
        raise ValueError("it has lines of its own")
    lines = text.strip().splitlines()[:_MOST_LINES]
    look = {"mathtext.fontset": "cm", "text.usetex": False, "font.family": fonts.register()}
    with matplotlib.rc_context(look):  # type: ignore[arg-type]  # its keys are literals
        figure = Figure(figsize=(0.1, 0.1), dpi=_DPI, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        figure.text(0, 0, "\n".join(lines), fontsize=_FONT_PT, color="black", parse_math=True)
        buffer = io.BytesIO()
        renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]  # has no types
        box = figure.get_tightbbox(renderer).padded(_PADDING_INCHES)
        longest = max(box.width, box.height) * _DPI
        if not 1 < longest < 40 * MOST_SIDE:
            raise CannotDraw("a formula without a size")
        dpi = _DPI * min(1.0, MOST_SIDE / longest)
        figure.savefig(buffer, dpi=dpi, bbox_inches="tight", pad_inches=_PADDING_INCHES)
    return buffer.getvalue()


def _by_ziamath(formula: str) -> bytes:
    import ziamath

    ziamath.config.svg2 = False
    try:
        drawn = ziamath.Latex(
            re.sub(r"\\displaystyle(?![A-Za-z])", "", formula).strip(), size=20
        ).svg()
    except Exception as error:  # its parsers raise what comes
        raise CannotDraw(str(error)) from None
    return _padded(draw_svg(drawn))


def _padded(png: bytes) -> bytes:
    import PIL.Image
    import PIL.ImageOps

    picture = PIL.Image.open(io.BytesIO(png)).convert("RGB")
    buffer = io.BytesIO()
    PIL.ImageOps.expand(picture, border=24, fill="white").save(buffer, "png")
    return buffer.getvalue()
