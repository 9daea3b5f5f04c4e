"""HTML as pictures: a lone table is drawn as one, any other page by PlutoBook.

No JavaScript runs, and nothing is fetched: what a page only shows by them is missing.
"""

import io
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from kernel_startup.picture_types import MOST_SIDE
from kernel_startup.pictures import CannotDraw, require
from kernel_startup.pictures_fonts import SANS, write_font_config
from kernel_startup.pictures_table import Cell, Table, color_of, draw_table, line_of

#: Wide enough for a page's text, narrow enough to be read in a chat.
_PAGE_PX = 900
#: A larger page is cut: scaled down to a picture, it couldn't be read.
_MOST_WIDTH_PX, _MOST_HEIGHT_PX = 3000, 2400
_SHARPNESS, _SHARP_SIDE = 2.0, 1800
_MARGIN_PX = 12

#: Text beside a table that is no more than a title or a count of its rows.
_MOST_WORDS_BESIDE = 160
_CELL_CHARS = 300
_MOST_SPAN = 1000
#: Cells looked at of one table: far more than are drawn.
_MOST_CELLS = 40_000

_PAGE_STYLE = f"html {{ font-family: '{SANS}', sans-serif; font-size: 15px; }}"


def draw_html(text: str, *, make_do: bool = False) -> bytes:
    """Draw a page, or the table that it is.

    Args:
        text: of the page.
        make_do: Draw its first table alone if there is nothing to draw pages with.

    Raises:
        CannotDraw: it shows nothing, without JavaScript and what it would have to fetch.
        RendererMissing: it takes PlutoBook.
    """
    root = _parsed(text)
    tables = root.xpath("//table[not(ancestor::table)]")
    if len(tables) == 1 and _is_alone(root, tables[0]):
        return draw_table(_table_of(root, tables[0]))
    if not make_do:
        require("html")
    try:
        import plutoprint  # noqa: F401 -- whether it is there
    except ImportError:
        if tables:
            return draw_table(_table_of(root, tables[0]))
        raise CannotDraw("nothing here draws pages") from None
    return _draw_page(text)


def _parsed(text: str) -> Any:
    import lxml.etree
    import lxml.html

    parser = lxml.html.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True)
    try:
        root = lxml.html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (lxml.etree.LxmlError, ValueError) as error:
        raise CannotDraw(str(error)) from None
    return root


# -- a table ---------------------------------------------------------------------------------------


def _is_alone(root: Any, table: Any) -> bool:
    """Whether a table is all there is to see, and holds nothing but text."""
    if table.xpath("boolean(.//*[self::table or self::img or self::svg or self::canvas])"):
        return False
    if root.xpath("boolean(//img | //svg | //canvas | //iframe | //video | //object)"):
        return False
    beside = (
        words
        for words in root.xpath("//body//text()[not(ancestor::table)]")
        if words.getparent() is None or words.getparent().tag not in ("style", "script")
    )
    return len("".join(beside).strip()) <= _MOST_WORDS_BESIDE


def _table_of(root: Any, table: Any) -> Table:
    rules = _Rules("\n".join(root.xpath("//style/text()")), table)
    header: list[list[Cell]] = []
    body: list[list[Cell]] = []
    room = _MOST_CELLS
    for row in table.iter("tr"):
        cells = [one for one in row if one.tag in ("td", "th")]
        room -= len(cells)
        if room < 0:
            body.append([])  # counted
            continue
        drawn = [_cell_of(one, rules) for one in cells if not rules.hides(one)]
        is_header = row.getparent().tag == "thead" or (
            not body and not header and bool(cells) and all(one.tag == "th" for one in cells)
        )
        if drawn:
            (header if is_header else body).append(drawn)
    _straighten(header)
    captions = [*table.xpath("./caption"), *_lines_beside(root, table, before=True)]
    notes = _lines_beside(root, table, before=False)
    return Table(
        header,
        body,
        " ".join(line_of(_said(one), 200) for one in captions),
        " ".join(line_of(_said(one), 200) for one in notes),
    )


def _lines_beside(root: Any, table: Any, *, before: bool) -> list[Any]:
    axis = "preceding" if before else "following"
    leaves = "[not(*) and not(self::style or self::script or ancestor-or-self::table)]"
    return [
        one
        for one in table.xpath(f"./{axis}::*{leaves}")
        if one.tag not in ("style", "script", "title", "meta") and _said(one).strip()
    ]


def _said(element: Any) -> str:
    return element if isinstance(element, str) else str(element.text_content())


def _straighten(header: list[list[Cell]]) -> None:
    """Have the names of row levels, which pandas writes in a row of their own, join the columns'.

    That row is kept where both have something to say.
    """
    if len(header) < 2:
        return
    above, below = header[-2], header[-1]
    if len(above) != len(below) or any(cell.columns > 1 for cell in (*above, *below)):
        return
    if any(a.text.strip() and b.text.strip() for a, b in zip(above, below, strict=True)):
        return
    for cell, other in zip(above, below, strict=True):
        cell.text = cell.text.strip() or other.text
    del header[-1]


def _cell_of(element: Any, rules: "_Rules") -> Cell:
    text = element.text_content() if element.tag in ("td", "th") else ""
    return Cell(
        line_of(str(text), _CELL_CHARS),
        heading=element.tag == "th",
        columns=_span(element.get("colspan")),
        rows=_span(element.get("rowspan")),
        style=rules.style_of(element),
    )


def _span(value: str | None) -> int:
    return min(max(int(value), 1), _MOST_SPAN) if value and re.fullmatch(r"\d{1,6}", value) else 1


#: The style sheet's properties that are followed.
_FOLLOWED = ("color", "background-color", "background", "font-weight", "font-style", "text-align")
_RULE = re.compile(r"([^{}]{1,200000})\{([^{}]{0,5000})\}")
_SELECTOR = re.compile(r"(?:(\w+)|#([\w-]+)|\.([\w-]+)|(\w+)\.([\w-]+))")


class _Rules:
    """A style sheet, as far as tables in notebooks need it: by id, class or tag."""

    def __init__(self, sheet: str, table: Any) -> None:
        self._rules: dict[str, dict[str, str]] = {}
        own = table.get("id") or ""
        for selectors, declarations in _RULE.findall(re.sub(r"/\*.*?\*/", "", sheet, flags=re.S)):
            style = _declared(declarations)
            if not style:
                continue
            for selector in selectors.split(","):
                words = selector.split()
                if not words or not _SELECTOR.fullmatch(words[-1]):
                    continue
                if words[0] == ".dataframe":
                    continue  # pandas' own, which align headings: we align them as their columns
                if words[0].startswith("#") and len(words) > 1 and words[0] != f"#{own}":
                    continue
                self._rules.setdefault(words[-1], {}).update(style)

    def style_of(self, element: Any) -> dict[str, str]:
        """What a cell looks like."""
        tag, classes = element.tag, (element.get("class") or "").split()
        keys = [tag, *(f".{one}" for one in classes), *(f"{tag}.{one}" for one in classes)]
        keys.append(f"#{element.get('id')}")
        style: dict[str, str] = {}
        for key in keys:
            style.update(self._rules.get(key, {}))
        style.update(_declared(element.get("style") or ""))
        return style

    def hides(self, element: Any) -> bool:
        """Whether a cell isn't to be seen."""
        return self.style_of(element).get("display") == "none"


def _declared(text: str) -> dict[str, str]:
    """Declarations, without those that mean nothing here."""
    style: dict[str, str] = {}
    for declaration in text.split(";"):
        name, _, value = declaration.partition(":")
        name, value = name.strip().lower(), value.replace("!important", "").strip().lower()
        if name == "display" and value == "none":
            style[name] = value
        elif name in ("background-color", "background"):
            style["background"] = value
        elif name == "color":
            style[name] = color_of(value)
        elif name in _FOLLOWED:
            style[name] = value
    return style


# -- a page ----------------------------------------------------------------------------------------


def _draw_page(text: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        os.environ["FONTCONFIG_FILE"] = str(write_font_config(Path(directory)))
        return _trimmed(_render(text))


def _render(text: str) -> bytes:
    import plutoprint

    class Nothing(plutoprint.ResourceFetcher):  # type: ignore[misc]  # comes with no types here
        """Gives a page what is in itself, and nothing else."""

        def fetch_url(self, url: str) -> Any:
            if url.lower().startswith("data:"):
                return super().fetch_url(url)
            raise ValueError("nothing is fetched")

    book = plutoprint.Book(
        size=plutoprint.PageSize(_PAGE_PX * 0.75, _PAGE_PX * 0.75),  # in points
        margins=plutoprint.PAGE_MARGINS_NONE,
        media=plutoprint.MEDIA_TYPE_SCREEN,
    )
    book.custom_resource_fetcher = Nothing()
    book.load_html(text, user_style=_PAGE_STYLE)
    width = min(max(book.get_document_width(), 1), _MOST_WIDTH_PX)
    height = min(max(book.get_document_height(), 1), _MOST_HEIGHT_PX)
    zoom = max(1.0, min(_SHARPNESS, _SHARP_SIDE / max(width, height)))
    zoom = min(zoom, MOST_SIDE / max(width, height))
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    with plutoprint.ImageCanvas(*size, plutoprint.IMAGE_FORMAT_RGB24) as canvas:
        canvas.clear_surface(1, 1, 1, 1)
        canvas.scale(zoom, zoom)
        book.render_document(canvas)
        buffer = io.BytesIO()
        canvas.write_to_png_stream(buffer)
    return buffer.getvalue()


def _trimmed(png: bytes) -> bytes:
    """A picture without the empty room right of and below what is shown.

    Raises:
        CannotDraw: nothing is.
    """
    import PIL.Image
    import PIL.ImageChops

    picture = PIL.Image.open(io.BytesIO(png)).convert("RGB")
    white = PIL.Image.new("RGB", picture.size, "white")
    shown = PIL.ImageChops.difference(picture, white).getbbox()
    if shown is None:
        raise CannotDraw("nothing is shown without JavaScript or the network")
    margin = 2 * _MARGIN_PX
    right, below = min(shown[2] + margin, picture.width), min(shown[3] + margin, picture.height)
    buffer = io.BytesIO()
    picture.crop((0, 0, right, below)).save(buffer, "png")
    return buffer.getvalue()
