"""Pictures of what cells show: that they show it, and that hostile content does no harm."""

import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.figure  # noqa: F401 -- kernels have it in memory
import pandas as pd
import PIL.Image
import pytest
from PIL.Image import Image

from kernel_startup.picture_types import MOST_PNG_BYTES, MOST_SIDE, RENDERERS, Kind, kind_of
from kernel_startup.pictures import CannotDraw, RendererMissing, bounded, picture_of
from kernel_startup.pictures_charts import side_of
from kernel_startup.pictures_pages import draw_html
from kernel_startup.pictures_table import Cell, line_of
from tests.formats.conftest import on_demand as on_demand  # a fixture

SVG, HTML, CSV, LATEX = "image/svg+xml", "text/html", "text/csv", "text/latex"
PLOTLY = "application/vnd.plotly.v1+json"
VEGA, VEGALITE = "application/vnd.vega.v6+json", "application/vnd.vegalite.v6+json"

_SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '


def drawn(content: str, mime: str, *, time_s: float = 20.0) -> Image:
    png = picture_of(content, mime, time_s=time_s)
    assert len(png) <= MOST_PNG_BYTES
    picture = PIL.Image.open(io.BytesIO(png))
    assert max(picture.size) <= MOST_SIDE
    assert picture.getpixel((0, 0)) in ((255, 255, 255), (255, 255, 255, 255), 255)
    return picture.convert("RGB")


def colors(picture: Image) -> set[tuple[int, int, int]]:
    return {color for _, color in picture.getcolors(1 << 24)}  # type: ignore[union-attr, misc]


def ink(picture: Image) -> int:
    """How many pixels are dark."""
    return sum(picture.convert("L").histogram()[:128])


# -- what is drawn ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mime", "kind"),
    [
        (SVG, "svg"),
        (HTML, "html"),
        (PLOTLY, "plotly"),
        ("application/vnd.vegalite.v5.20.1+json", "vegalite"),
        ("application/vnd.vega.v5+json", "vega"),
        ("image/png", None),
        ("text/plain", None),
        ("application/vnd.plotly.v1+json;x", None),
        ("application/vnd.plotly.v٣+json", None),
        ("", None),
    ],
)
def test_kinds_are_told_by_their_types(mime: str, kind: Kind | None) -> None:
    assert kind_of(mime) == kind


def test_svg_is_drawn_on_white_at_twice_its_size() -> None:
    picture = drawn(
        _SVG + 'width="60" height="40"><rect x="30" width="30" height="40"/></svg>', SVG
    )
    assert picture.size == (120, 80)
    assert picture.getpixel((90, 40)) == (0, 0, 0)


def test_svg_in_points_has_a_size() -> None:
    assert drawn(_SVG + 'width="72pt" height="36pt"><g/></svg>', SVG).size == (192, 96)


@pytest.mark.parametrize("text", ["東", "한", "ع", "ह", "😀", "Ж"])
def test_svg_has_fonts_for_every_script(text: str) -> None:
    # No font has the latter: a character without a letter of its own looks like it.
    one, other = (
        drawn(f'{_SVG} width="40" height="30"><text y="20">{said}</text></svg>', SVG)
        for said in (text, "\U000f0000")
    )
    assert ink(one) > 10
    assert one.tobytes() != other.tobytes()


def test_dataframe_is_drawn_as_a_table() -> None:
    frame = pd.DataFrame({f"column {n}": [n * 1.5, -n, 0.25, None] for n in range(12)})
    picture = drawn(frame._repr_html_(), HTML)  # type: ignore[operator]  # pandas' own for IPython
    assert picture.width > 3 * picture.height
    assert len(colors(picture)) > 10


def test_styles_of_a_styler_are_seen() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    style = frame.style.highlight_max(color="#ffff00").bar(subset=["b"], color="#d65f5f")
    seen = colors(drawn(style.to_html(), HTML))
    assert {(255, 255, 0), (0xD6, 0x5F, 0x5F)} <= seen


def test_table_of_many_levels_is_drawn() -> None:
    columns = pd.MultiIndex.from_product([["P", "Q"], ["r", "s"]])
    index = pd.MultiIndex.from_product([["a", "b"], ["x", "y"]], names=["one", "two"])
    frame = pd.DataFrame(1, index=index, columns=columns)
    assert ink(drawn(frame._repr_html_(), HTML)) > 100  # type: ignore[operator]


@pytest.mark.parametrize(("rows", "said"), [(29, False), (30, False), (31, True)])
def test_rows_beyond_a_picture_are_left_out_and_said(rows: int, said: bool) -> None:
    at_most = drawn("a\n" + "1\n" * 30, CSV).height
    height = drawn("a\n" + "1\n" * rows, CSV).height
    assert (height > at_most) == said
    assert height < at_most * 1.2


def test_csv_may_hold_anything() -> None:
    assert drawn("a\0b,c\n1,2\n", CSV)
    assert drawn('"a\nb",' + "x" * 200_000 + "\n1\n", CSV).width < 2000
    with pytest.raises(CannotDraw):
        picture_of("", CSV)


@pytest.mark.parametrize(
    "text",
    [
        r"$\displaystyle \int\limits_{0}^{\infty} e^{- x^{2}}\, dx = \frac{\sqrt{\pi}}{2}$",
        r"$\displaystyle \left\{1, \operatorname{atan}{\left(x \right)}\right\} \cap \mathbb{R}$",
        r"$$\sum_{i=1}^n i^2$$",
        r"\begin{equation*}x^2\end{equation*}",
        r"\[ a_1 \]",
        r"Let $x^2$ be small, and $y$ too",
    ],
)
def test_formula_is_drawn(text: str) -> None:
    picture = drawn(text, LATEX)
    assert ink(picture) > 50
    assert picture.width > picture.height * 0.8


@pytest.mark.parametrize(
    ("content", "mime", "kind"),
    [
        ("<h1>A page</h1>", HTML, "html"),
        (r"$\left[\begin{matrix}1 & 2\\3 & 4\end{matrix}\right]$", LATEX, "latex"),
        ('{"mark": "bar"}', VEGALITE, "vegalite"),
        ("{}", VEGA, "vega"),
        ('{"data": []}', PLOTLY, "plotly"),
    ],
)
def test_what_draws_it_is_named_if_it_is_missing(content: str, mime: str, kind: Kind) -> None:
    with pytest.raises(RendererMissing) as missing:
        picture_of(content, mime)
    assert set(missing.value.requirements) <= set(RENDERERS[kind])


def test_page_without_its_renderer_makes_do_with_its_table() -> None:
    page = "<p>" + "words " * 100 + "</p><table><tr><td>1</td></tr></table>"
    with pytest.raises(RendererMissing):
        picture_of(page, HTML)
    assert picture_of(page, HTML, make_do=True).startswith(b"\x89PNG")
    with pytest.raises(CannotDraw):
        picture_of("<h1>A page</h1>", HTML, make_do=True)


# -- what is drawn by packages got on demand -------------------------------------------------------

OnDemand = Callable[..., None]


def test_page_is_drawn_without_what_it_refers_to(on_demand: OnDemand, tmp_path: Path) -> None:
    on_demand(*RENDERERS["html"])
    PIL.Image.new("RGB", (50, 50), "#ff0000").save(tmp_path / "red.png")
    page = (
        f"<h1 style='color:#00f'>東京</h1><img src='{(tmp_path / 'red.png').as_uri()}'>"
        "<script>document.write('x'.repeat(9999))</script>"
    )
    seen = colors(drawn(page, HTML))
    assert (0, 0, 255) in seen
    assert (255, 0, 0) not in seen
    with pytest.raises(CannotDraw, match="nothing is shown"):
        picture_of("<div id=plot></div><script>while (true);</script>", HTML)


def test_matrix_is_drawn(on_demand: OnDemand) -> None:
    on_demand(*RENDERERS["latex"])
    matrix = r"$\displaystyle \left[\begin{matrix}1 & 2\\3 & 4\end{matrix}\right]$"
    assert ink(drawn(matrix, LATEX)) > 100
    with pytest.raises(CannotDraw):
        picture_of(r"$\begin{matrix}" + "{" * 5000 + "$", LATEX)


def test_vega_charts_are_drawn(on_demand: OnDemand) -> None:
    on_demand(*RENDERERS["vegalite"])
    values = [{"a": "東京", "b": 2}, {"a": "B", "b": None}, {"a": "C", "b": 5}]
    encoding = {"x": {"field": "a", "type": "nominal"}, "y": {"field": "b", "type": "quantitative"}}
    chart = {"mark": "bar", "data": {"values": values}, "encoding": encoding}
    assert (0x4C, 0x78, 0xA8) in colors(drawn(json.dumps(chart), VEGALITE))
    assert drawn(json.dumps({**chart, "width": 4200}), VEGALITE).width in (MOST_SIDE - 1, MOST_SIDE)
    places = {name: {"value": 20} for name in ("x", "y", "width", "height")}
    mark = {"type": "rect", "encode": {"enter": places}}
    assert drawn(json.dumps({"width": 50, "height": 50, "marks": [mark]}), VEGA)
    with pytest.raises(CannotDraw):
        picture_of('{"mark": 5}', VEGALITE)


def test_plotly_figure_is_drawn(on_demand: OnDemand) -> None:
    on_demand(*RENDERERS["plotly"])
    figure = {"data": [{"type": "bar", "x": ["東京", "B"], "y": [3, None]}], "layout": {}}
    picture = drawn(json.dumps(figure), PLOTLY)
    assert picture.size == (1400, 1000)
    assert (0x1F, 0x77, 0xB4) in colors(picture)
    with pytest.raises(CannotDraw):
        picture_of('{"data": 7}', PLOTLY)


@pytest.mark.parametrize(
    ("said", "side"),
    [(49, 50), (50, 50), (4000, 4000), (4001, 4000), (1e300, 4000), (-1, 7), (None, 7), ("9", 7)],
)
def test_size_of_a_figure_is_what_its_layout_says_within_limits(said: object, side: int) -> None:
    assert side_of(said, 7) == side


# -- attacks ---------------------------------------------------------------------------------------


def _entities() -> str:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    text = f'{_SVG} width="9" height="9"><text>&e9;</text></svg>'
    return f'<!DOCTYPE svg [<!ENTITY e0 "ha">{levels}]>{text}'


def _uses() -> str:
    levels = "".join(
        f'<g id="g{n}">{f"""<use xlink:href="#g{n - 1}"/>""" * 10}</g>' for n in range(1, 10)
    )
    return f'{_SVG} width="9" height="9"><g id="g0"><rect/></g>{levels}</svg>'


def _attacks() -> Iterator[tuple[str, str]]:
    yield _entities(), SVG
    yield _uses(), SVG
    yield _SVG + 'width="9" height="9">' + "<g>" * 200_000, SVG
    yield _SVG + 'width="-5" height="nan"/>', SVG
    yield "no drawing", SVG
    yield "", HTML
    yield "<div>" * 1000, HTML
    yield "$" + "{" * 5000 + "}" * 5000 + "$", LATEX
    yield "$" + r"\frac{1}{" * 500 + "}" * 500 + "$", LATEX
    yield r"$\nosuchthing{$", LATEX
    yield '{"data":' + "[" * 100_000 + "]" * 100_000 + "}", PLOTLY
    yield '{"data":' + "[" * 200 + "]" * 200 + "}", PLOTLY
    yield "[]", PLOTLY
    yield "{", VEGA
    yield "x", "image/png"


@pytest.mark.parametrize(("content", "mime"), [*_attacks()], ids=range(len([*_attacks()])))
def test_hostile_content_is_no_picture(content: str, mime: str) -> None:
    with pytest.raises((CannotDraw, RendererMissing)):
        picture_of(content, mime)


@pytest.mark.parametrize(("width", "height"), [("1e9", "1e9"), ("4001", "3"), ("1000000", "1")])
def test_huge_drawing_is_scaled_down(width: str, height: str) -> None:
    assert drawn(f'{_SVG} width="{width}" height="{height}"><g/></svg>', SVG)


def test_endless_drawing_ends() -> None:
    blur = (
        '<filter id="f"><feTurbulence numOctaves="9999999" baseFrequency="9"/></filter>'
        '<rect width="4000" height="4000" filter="url(#f)"/></svg>'
    )
    with pytest.raises(CannotDraw):
        picture_of(f'{_SVG} width="4000" height="4000">{blur}', SVG, time_s=1.0)


def test_table_without_end_is_drawn_in_part() -> None:
    assert drawn("<table>" + "<tr><td>1<td>2</tr>" * 25_000, HTML).height < 2000
    spans = (
        '<table><tr><td colspan="999999" rowspan="999999">a</td></tr><tr><td>b</td></tr></table>'
    )
    assert drawn(spans, HTML).width < 2000


def test_drawing_reads_no_files(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (50, 50), "#ff0000").save(tmp_path / "red.png")
    refers = f'<image width="9" height="9" xlink:href="{tmp_path / "red.png"}"/></svg>'
    assert colors(drawn(f'{_SVG} width="9" height="9">{refers}', SVG)) == {(255, 255, 255)}


@pytest.mark.parametrize(("side", "scaled"), [(3999, 3999), (4000, 4000), (4001, 4000)])
def test_sides_are_bounded(side: int, scaled: int) -> None:
    buffer = io.BytesIO()
    PIL.Image.new("L", (side, 2)).save(buffer, "png")
    assert PIL.Image.open(io.BytesIO(bounded(buffer.getvalue()))).width == scaled


def test_far_too_large_a_picture_is_refused_before_it_is_decoded() -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = (
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, data)
    )
    with pytest.raises(CannotDraw, match="too large"):
        bounded(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def test_transparency_becomes_white() -> None:
    buffer = io.BytesIO()
    PIL.Image.new("RGBA", (5, 5), (0, 0, 0, 0)).save(buffer, "png")
    assert colors(PIL.Image.open(io.BytesIO(bounded(buffer.getvalue())))) == {(255, 255, 255)}


def test_cells_are_one_line_of_text() -> None:
    assert line_of("a\n\tb\x1b[31m\0", 20) == "a b [31m"
    assert line_of("x" * 21, 20) == "x" * 19 + "…"
    assert line_of("x" * 20, 20) == "x" * 20
    assert Cell("a").columns == 1
    assert draw_html("<table><tr><td>&lt;/text&gt;&amp;</td></tr></table>").startswith(b"\x89PNG")
