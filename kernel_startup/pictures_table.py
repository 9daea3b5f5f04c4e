"""Tables as pictures: what a DataFrame or a Styler shows, or the beginning of a csv."""

import csv
import html
import io
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from kernel_startup.pictures import CannotDraw
from kernel_startup.pictures_fonts import SANS, dejavu_fonts
from kernel_startup.pictures_svg import draw_svg

#: What a picture has room for, if it is to be read in a chat. It says that there is more.
_MOST_ROWS, _MOST_COLUMNS, _MOST_HEADER_ROWS = 30, 16, 8
_MOST_CELL_PX = 300
_CELL_CHARS = 300
_CAPTION_CHARS = 200

_FONT_PX = 14
_ROW_PX, _CAPTION_PX, _NOTE_PX = 27, 32, 28
_PADDING_PX, _MARGIN_PX = 10, 12
_TEXT, _FAINT, _LINE, _STRIPE, _HEADER = "#1f2328", "#59636e", "#d1d9e0", "#f6f8fa", "#eaeef2"

_NUMBER = re.compile(
    r"[-+\u2212]?[$€£¥]?\s?\d[\d,_. ]*(?:e[-+]?\d+)?\s?%?|nan|<na>|nat|none|[-+]?inf|",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: in one line.
        heading: whether it names a row or a column.
        columns, rows: how many it spans.
        style: CSS properties that are followed: color, background, font-weight, font-style,
            text-align.
    """

    text: str
    heading: bool = False
    columns: int = 1
    rows: int = 1
    style: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Table:
    """A table to draw.

    Attributes:
        header: rows above the line.
        body: rows below it.
        caption: above it all.
        note: below it all.
    """

    header: list[list[Cell]]
    body: list[list[Cell]]
    caption: str = ""
    note: str = ""


def draw_csv(text: str) -> bytes:
    """Draw the beginning of comma-separated values, whose first row names the columns.

    Raises:
        CannotDraw: there are none.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        first = list(itertools.islice(filter(None, rows), _MOST_ROWS + 2))
        more = sum(1 for row in rows if row)
    except csv.Error as error:
        raise CannotDraw(str(error)) from None
    if not first:
        raise CannotDraw("an empty table")
    width = max(map(len, first))
    header, *body = ([Cell(_line(value)) for value in row] for row in first)
    for cell in header:
        cell.heading = True
    rows_in_all = len(body) + more
    note = f"{rows_in_all:,} rows x {width:,} columns" if more or width > _MOST_COLUMNS else ""
    return draw_table(Table([header], body, note=note))


def draw_table(table: Table) -> bytes:
    """Draw a table; what there is no room for is left out, which is said below it.

    Raises:
        CannotDraw: it is empty.
    """
    return draw_svg(_svg(_cut(table)))


# -- its size --------------------------------------------------------------------------------------


def _cut(table: Table) -> Table:
    """What there is room for, with a note of what there isn't."""
    notes = [table.note] if table.note else []
    header, body = table.header[:_MOST_HEADER_ROWS], table.body[:_MOST_ROWS]
    width = max((sum(cell.columns for cell in row) for row in (*header, *body)), default=0)
    if width > _MOST_COLUMNS:
        notes.append("more columns to the right")
        header, body = ([_first_columns(row) for row in rows] for rows in (header, body))
    if len(table.body) > _MOST_ROWS:
        notes.append("more rows below")
    return Table(header, body, table.caption[:_CAPTION_CHARS], ", ".join(notes))


def _first_columns(row: list[Cell]) -> list[Cell]:
    kept, left = [], _MOST_COLUMNS
    for cell in row:
        if left <= 0:
            break
        cell.columns = min(cell.columns, left)
        left -= cell.columns
        kept.append(cell)
    return kept


@dataclass(frozen=True, slots=True)
class _Placed:
    """A cell where it stands in the grid."""

    cell: Cell
    row: int
    column: int
    in_header: bool


def _place(table: Table) -> list[_Placed]:
    taken: set[tuple[int, int]] = set()
    placed = []
    rows = [*table.header, *table.body]
    for y, row in enumerate(rows):
        in_header = y < len(table.header)
        last = len(table.header) if in_header else len(rows)
        x = 0
        for cell in row:
            while (y, x) in taken:
                x += 1
            cell.rows = max(1, min(cell.rows, last - y))
            taken.update(itertools.product(range(y, y + cell.rows), range(x, x + cell.columns)))
            placed.append(_Placed(cell, y, x, in_header))
            x += cell.columns
    return placed


def _widths(placed: Sequence[_Placed], columns: int) -> list[float]:
    widths = [0.0] * columns
    for one in sorted(placed, key=lambda one: one.cell.columns):
        here = range(one.column, one.column + one.cell.columns)
        lacking = _text_px(one.cell) + 2 * _PADDING_PX - sum(widths[x] for x in here)
        if lacking > 0:
            for x in here:
                widths[x] += lacking / len(here)
    return [max(width, 2.0 * _PADDING_PX) for width in widths]


def _text_px(cell: Cell) -> float:
    return min(_measure(cell.text, _is_bold(cell)), _MOST_CELL_PX)


def _measure(text: str, bold: bool) -> float:
    return sum(_char_px(character, bold) for character in text)


@cache
def _char_px(character: str, bold: bool) -> float:
    """How wide a character is; of those that DejaVu lacks by the width that their kind has."""
    if unicodedata.combining(character) or character in "\u200d\ufe0e\ufe0f":
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return _FONT_PX * (1.3 if ord(character) > 0xFFFF else 1.0)
    return float(_font(bold).getlength(character))


@cache
def _font(bold: bool) -> Any:
    import PIL.ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    (path,) = (file for file in dejavu_fonts() if file.name == name)
    return PIL.ImageFont.truetype(str(path), _FONT_PX)


def _is_bold(cell: Cell) -> bool:
    weight = cell.style.get("font-weight", "bold" if cell.heading else "")
    return weight in ("bold", "bolder", "600", "700", "800", "900")


def _fitting(text: str, bold: bool) -> str:
    """A text, without its end if that makes the cell too wide."""
    if _measure(text, bold) <= _MOST_CELL_PX:
        return text
    room = _MOST_CELL_PX - _char_px("…", bold)
    for number, character in enumerate(text):
        room -= _char_px(character, bold)
        if room < 0:
            return text[:number].rstrip() + "…"
    return text


# -- the drawing -----------------------------------------------------------------------------------


def _svg(table: Table) -> str:
    placed = _place(table)
    if not placed:
        raise CannotDraw("an empty table")
    widths = _widths(placed, max(one.column + one.cell.columns for one in placed))
    lefts = [_MARGIN_PX + left for left in itertools.accumulate(widths, initial=0.0)]
    rows = len(table.header) + len(table.body)
    top = _MARGIN_PX + (_CAPTION_PX if table.caption else 0)
    below = top + rows * _ROW_PX
    height = below + _MARGIN_PX + (_NOTE_PX if table.note else 0)
    said = max(_measure(table.caption, True), _measure(table.note, False)) + 2 * _MARGIN_PX
    width = max(lefts[-1] + _MARGIN_PX, min(said, 1200.0))
    inside = lefts[-1] - _MARGIN_PX
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'font-family="{SANS}" font-size="{_FONT_PX}">',
        _box(0, 0, width, height, "white"),
        _box(_MARGIN_PX, top, inside, len(table.header) * _ROW_PX, _HEADER),
    ]
    for number in range(1, len(table.body), 2):
        y = top + (len(table.header) + number) * _ROW_PX
        parts.append(_box(_MARGIN_PX, y, inside, _ROW_PX, _STRIPE))
    sides = _sides(placed, len(widths))
    for one in placed:
        parts += _cell(one, lefts, top, sides[one.column])
    for y in {top, top + len(table.header) * _ROW_PX, below}:
        parts.append(_box(_MARGIN_PX, y - 0.5, inside, 1, _LINE))
    if table.caption:
        parts.append(_words(table.caption, _MARGIN_PX, _MARGIN_PX + 16, "start", _TEXT, bold=True))
    if table.note:
        parts.append(_words(table.note, _MARGIN_PX, below + 22, "start", _FAINT))
    return "".join([*parts, "</svg>"])


def _sides(placed: Iterable[_Placed], columns: int) -> list[str]:
    """To which side the texts of each column go: numbers to the right."""
    texts: list[list[str]] = [[] for _ in range(columns)]
    for one in placed:
        if not one.in_header and not one.cell.heading:
            texts[one.column].append(one.cell.text.strip())
    return [
        "right" if any(column) and all(map(_NUMBER.fullmatch, (t for t in column if t != "...")))
        else "left"
        for column in texts
    ]  # fmt: skip


def _cell(one: _Placed, lefts: Sequence[float], top: float, side: str) -> Iterator[str]:
    cell = one.cell
    left, right = lefts[one.column], lefts[one.column + cell.columns]
    y, height = top + one.row * _ROW_PX, cell.rows * _ROW_PX
    for fill, start, end in _fills(cell.style.get("background", "")):
        x, across = left + start * (right - left), (end - start) * (right - left)
        yield _box(x, y, across, height, fill)
    bold = _is_bold(cell)
    side = cell.style.get("text-align", "center" if cell.columns > 1 else side)
    at, anchor = {
        "right": (right - _PADDING_PX, "end"),
        "center": ((left + right) / 2, "middle"),
    }.get(side, (left + _PADDING_PX, "start"))
    yield _words(
        _fitting(cell.text, bold),
        at,
        # Of several rows the first: a row's heading stands beside its first row.
        y + (height if one.in_header else _ROW_PX) - 9,
        anchor,
        cell.style.get("color") or (_TEXT if one.in_header or not cell.heading else _FAINT),
        bold=bold,
        italic=cell.style.get("font-style") in ("italic", "oblique"),
    )


def _box(x: float, y: float, width: float, height: float, fill: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{html.escape(fill)}"/>'
    )


def _words(
    text: str,
    x: float,
    y: float,
    anchor: str,
    fill: str,
    *,
    bold: bool = False,
    italic: bool = False,
) -> str:
    look = (' font-weight="bold"' if bold else "") + (' font-style="italic"' if italic else "")
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{html.escape(fill)}"{look} '
        f'xml:space="preserve">{html.escape(text)}</text>'
    )


_COLOR = re.compile(r"#[0-9a-f]{3,8}|[a-z]{3,24}|rgba?\([\d.,%\s/]{1,60}\)", re.IGNORECASE)
_STOP = re.compile(rf"({_COLOR.pattern})\s+(\d{{1,3}}(?:\.\d{{1,12}})?)%", re.IGNORECASE)


def _fills(background: str) -> Iterator[tuple[str, float, float]]:
    """A CSS background as colours with where they begin and end, as shares of the width.

    Gradients are followed as far as Styler's bars need it: colours that begin and end sharply.
    """
    if _COLOR.fullmatch(background):
        if background != "transparent":
            yield background, 0.0, 1.0
        return
    gradient = re.fullmatch(r"linear-gradient\(\s*90deg\s*,(.{1,2000})\)", background, re.DOTALL)
    if gradient is None:
        return
    stops = [
        (color, min(max(float(share) / 100, 0.0), 1.0))
        for color, share in _STOP.findall(gradient[1])
    ]
    if not stops:
        return
    first, last = (stops[0][0], 0.0), (stops[-1][0], 1.0)
    for (color, begin), (next_color, end) in itertools.pairwise([first, *stops, last]):
        if color == next_color != "transparent" and end > begin:
            yield color, begin, end


def color_of(value: str) -> str:
    """A CSS colour that a drawing takes; an empty text for anything else."""
    return value if _COLOR.fullmatch(value) else ""


def _line(text: str) -> str:
    return line_of(text, _CELL_CHARS)


def line_of(text: str, most_chars: int) -> str:
    """A text in one line, with nothing in it that isn't text."""
    cut = text[: 4 * most_chars]
    plain = "".join(c if c.isprintable() or c in "\u200d" else " " for c in cut)
    joined = " ".join(plain.split())
    return joined if len(joined) <= most_chars else joined[: most_chars - 1] + "…"
