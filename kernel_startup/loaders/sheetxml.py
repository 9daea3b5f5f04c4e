"""Spreadsheets written as XML: flat OpenDocument, OpenOffice 1, Excel 2003 XML, Gnumeric."""

import datetime
import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.cells import Merged, Row
from kernel_startup.loaders.spreadsheet import Sheets, tables_of
from kernel_startup.source import Source

#: Cells of one sheet, blank ones between others included.
_MAX_CELLS = 10_000_000
_MAX_COLUMNS = 16_384
_MAX_ROWS = 1_048_576
_MAX_XML_BYTES = 512 * 1024 * 1024


def load_opendocument(
    source: Source,
    *,
    sheet_name: str | int | list[str | int] | None = None,
    columns: list[str] | None = None,
    header: Any = "infer",
    nrows: int | None = None,
    skiprows: int | None = None,
) -> Any:
    """Read a flat OpenDocument sheet, or one of OpenOffice 1 (a zip)."""
    content = source.read()
    if content.startswith(b"PK"):
        content = _member(source, content, "content.xml")
    return _tables(
        source, content, _opendocument_sheets, sheet_name, columns, header, nrows, skiprows
    )


def load_excel_xml(
    source: Source,
    *,
    sheet_name: str | int | list[str | int] | None = None,
    columns: list[str] | None = None,
    header: Any = "infer",
    nrows: int | None = None,
    skiprows: int | None = None,
) -> Any:
    """Read Excel 2003 XML (SpreadsheetML)."""
    return _tables(
        source, source.read(), _excel_sheets, sheet_name, columns, header, nrows, skiprows
    )


def load_gnumeric(
    source: Source,
    *,
    sheet_name: str | int | list[str | int] | None = None,
    columns: list[str] | None = None,
    header: Any = "infer",
    nrows: int | None = None,
    skiprows: int | None = None,
) -> Any:
    """Read a Gnumeric workbook; formulas have no values in it, so that they stay formulas."""
    return _tables(
        source, source.read(), _gnumeric_sheets, sheet_name, columns, header, nrows, skiprows
    )


def _member(source: Source, content: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = archive.getinfo(name).file_size
        if size > min(_MAX_XML_BYTES, 200 * len(content) + (1 << 24)):
            raise FileLoadError(source.name, f"a workbook that unpacks to {size:,} bytes")
        return archive.read(name)


def _tables(
    source: Source,
    content: bytes,
    sheets_of: Any,
    sheet_name: Any,
    columns: list[str] | None,
    header: Any,
    nrows: int | None,
    skiprows: int | None,
) -> Any:
    found: list[tuple[str, list[Row], list[Merged]]] = list(sheets_of(_root(content)))
    if not found:
        raise FileLoadError(source.name, "a workbook without a sheet")
    sheets: Sheets = {}
    for name, rows, merged in found:
        sheets[name] = lambda rows=rows, merged=merged: (rows, merged)  # type: ignore[misc]
    return tables_of(
        sheets, sheet_name, columns=columns, header=header, nrows=nrows, skiprows=skiprows
    )


def _root(content: bytes) -> Any:
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    return etree.fromstring(content, parser)


def _local(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _attribute(element: Any, name: str, default: str = "") -> str:
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return str(value)
    return default


def _count(element: Any, name: str, most: int, default: int = 1) -> int:
    text = _attribute(element, name)
    return min(int(text), most) if text.isdecimal() and len(text) < 10 and int(text) else default


def _squared(cells: dict[tuple[int, int], Any]) -> list[Row]:
    """Give rows of one length, from the first row and column that have a cell."""
    if not cells:
        return []
    top, bottom = min(r for r, _ in cells), max(r for r, _ in cells)
    left, right = min(c for _, c in cells), max(c for _, c in cells)
    if (bottom - top + 1) * (right - left + 1) > _MAX_CELLS:
        raise ValueError("its cells are too far apart for a table")
    rows: list[Row] = [[""] * (right - left + 1) for _ in range(bottom - top + 1)]
    for (row, column), value in cells.items():
        rows[row - top][column - left] = value
    return rows


def _sheet(
    name: str, cells: dict[tuple[int, int], Any], merged: list[Merged]
) -> tuple[str, list[Row], list[Merged]]:
    top = min((r for r, _ in cells), default=0)
    left = min((c for _, c in cells), default=0)
    moved = [((a - top, b - left), (c - top, d - left)) for (a, b), (c, d) in merged]
    return name, _squared(cells), [m for m in moved if min(m[0]) >= 0]


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _moment(text: str) -> Any:
    """A date or a moment as a spreadsheet writes it."""
    match = re.match(r"(-?\d{4,6}-\d\d-\d\d)(?:T(\d\d:\d\d(?::\d\d)?(?:\.\d{1,6})?))?", text)
    if match is None:
        return text
    try:
        return datetime.datetime.fromisoformat(text[: match.end()])
    except ValueError:
        return text


# -- OpenDocument and its forerunner --------------------------------------------------------------


def _opendocument_sheets(root: Any) -> Iterator[tuple[str, list[Row], list[Merged]]]:
    for table in root.iter("{*}table"):
        if _local(table) != "table" or any(_local(a) == "table" for a in table.iterancestors()):
            continue
        cells: dict[tuple[int, int], Any] = {}
        merged: list[Merged] = []
        row_at = 0
        for row in _rows_of(table):
            times = _count(row, "number-rows-repeated", _MAX_ROWS)
            found: list[tuple[int, Any]] = []
            column = 0
            for cell in row:
                kind = _local(cell)
                if kind not in ("table-cell", "covered-table-cell"):
                    continue
                repeated = _count(cell, "number-columns-repeated", _MAX_COLUMNS)
                value = _opendocument_value(cell) if kind == "table-cell" else ""
                if value != "":
                    found += [(column + at, value) for at in range(repeated)]
                down = _count(cell, "number-rows-spanned", _MAX_ROWS)
                across = _count(cell, "number-columns-spanned", _MAX_COLUMNS)
                if down > 1 or across > 1:
                    merged.append(((row_at, column), (row_at + down - 1, column + across - 1)))
                column += repeated
            if found and len(cells) + len(found) * times > _MAX_CELLS:
                raise ValueError("a sheet of more cells than can be a table")
            for at in range(times if found else 0):
                for position, value in found:
                    cells[row_at + at, position] = value
            row_at += times
        yield _sheet(_attribute(table, "name"), cells, merged)


def _rows_of(table: Any) -> Iterable[Any]:
    """Rows in a table, those in groups and headers too."""
    for element in table:
        kind = _local(element)
        if kind == "table-row":
            yield element
        elif kind in ("table-rows", "table-header-rows", "table-row-group"):
            yield from _rows_of(element)


def _opendocument_value(cell: Any) -> Any:
    kind = _attribute(cell, "value-type")
    if kind in ("float", "percentage", "currency"):
        return _number(_attribute(cell, "value"))
    if kind == "boolean":
        return _attribute(cell, "boolean-value") == "true"
    if kind == "date":
        return _moment(_attribute(cell, "date-value"))
    if kind == "time":
        return _duration(_attribute(cell, "time-value"))
    paragraphs = [e for e in cell if _local(e) == "p"]
    return "\n".join("".join(_text_of(p)) for p in paragraphs) or _attribute(cell, "string-value")


def _text_of(element: Any) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        kind = _local(child)
        if kind == "s":
            yield " " * _count(child, "c", 1000)
        elif kind == "tab":
            yield "\t"
        elif kind == "line-break":
            yield "\n"
        elif kind != "annotation":
            yield from _text_of(child)
        yield child.tail or ""


def _duration(text: str) -> Any:
    match = re.fullmatch(r"PT(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,6})(?:[.,](\d{1,9}))?S)?", text)
    if match is None:
        return text
    hours, minutes, seconds = (int(part or 0) for part in match.groups()[:3])
    if hours < 24 and minutes < 60 and seconds < 60:
        return datetime.time(hours, minutes, seconds)
    return datetime.timedelta(hours=hours, minutes=minutes, seconds=seconds)


# -- Excel 2003 XML -------------------------------------------------------------------------------


def _excel_sheets(root: Any) -> Iterator[tuple[str, list[Row], list[Merged]]]:
    for sheet in root.iter("{*}Worksheet"):
        cells: dict[tuple[int, int], Any] = {}
        merged: list[Merged] = []
        row_at = -1
        for row in sheet.iter("{*}Row"):
            row_at = _count(row, "Index", _MAX_ROWS, row_at + 2) - 1
            column = -1
            for cell in row.iter("{*}Cell"):
                column = _count(cell, "Index", _MAX_COLUMNS, column + 2) - 1
                data = next(cell.iterchildren("{*}Data"), None)
                value = "" if data is None else _excel_value(data)
                if value != "":
                    cells[row_at, column] = value
                down = _count(cell, "MergeDown", _MAX_ROWS, 0)
                across = _count(cell, "MergeAcross", _MAX_COLUMNS, 0)
                if down or across:
                    merged.append(((row_at, column), (row_at + down, column + across)))
                column += across
        yield _sheet(_attribute(sheet, "Name"), cells, merged)


def _excel_value(data: Any) -> Any:
    text = "".join(data.itertext())
    kind = _attribute(data, "Type")
    if kind == "Number":
        return _number(text)
    if kind == "Boolean":
        return text.strip() in ("1", "true")
    if kind == "DateTime":
        return _moment(text)
    return "" if kind == "Error" else text


# -- Gnumeric -------------------------------------------------------------------------------------

_GNUMERIC_KINDS = {"20": "bool", "30": "number", "40": "number", "50": "error", "60": "text"}


def _gnumeric_sheets(root: Any) -> Iterator[tuple[str, list[Row], list[Merged]]]:
    for at, sheet in enumerate(root.iter("{*}Sheet")):
        name = next((e.text for e in sheet.iterchildren("{*}Name")), None) or f"Sheet{at + 1}"
        dates = list(_gnumeric_dates(sheet))
        cells: dict[tuple[int, int], Any] = {}
        for cell in sheet.iter("{*}Cell"):
            row, column = _attribute(cell, "Row"), _attribute(cell, "Col")
            if not (row.isdecimal() and column.isdecimal() and len(row) < 9 and len(column) < 9):
                continue
            position = int(row), int(column)
            text = "".join(cell.itertext())
            kind = _GNUMERIC_KINDS.get(_attribute(cell, "ValueType"), "")
            value: Any = text
            if kind == "number":
                value = _number(text)
                if isinstance(value, float) and any(_covers(d, position) for d in dates):
                    value = _from_serial(value)
            elif kind == "bool":
                value = text.strip().upper() == "TRUE"
            if kind != "error" and text:
                cells[position] = value
        merged = [m for e in sheet.iter("{*}Merge") if (m := _merge(e.text or "")) is not None]
        yield _sheet(name, cells, merged)


def _gnumeric_dates(sheet: Any) -> Iterator[Merged]:
    """Regions whose numbers are shown as dates."""
    for region in sheet.iter("{*}StyleRegion"):
        style = next(region.iterchildren("{*}Style"), None)
        shown = "" if style is None else _attribute(style, "Format").lower()
        if "yy" in shown or re.search(r"d+[/.-]m|m+[/.-]d", shown):
            edges = [_attribute(region, n) for n in ("startRow", "startCol", "endRow", "endCol")]
            if all(edge.isdecimal() for edge in edges):
                top, left, bottom, right = map(int, edges)
                yield (top, left), (bottom, right)


def _covers(region: Merged, position: tuple[int, int]) -> bool:
    (top, left), (bottom, right) = region
    return top <= position[0] <= bottom and left <= position[1] <= right


def _from_serial(days: float) -> Any:
    try:
        return datetime.datetime(1899, 12, 30) + datetime.timedelta(seconds=round(days * 86_400))
    except OverflowError:
        return days


def _merge(text: str) -> Merged | None:
    match = re.fullmatch(r"([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})", text.strip())
    if match is None:
        return None

    def number(letters: str) -> int:
        value = 0
        for letter in letters:
            value = value * 26 + ord(letter) - 64
        return value - 1

    return (
        (int(match[2]) - 1, number(match[1])),
        (int(match[4]) - 1, number(match[3])),
    )
