"""Spreadsheets of old programs: Lotus 1-2-3, Quattro Pro, early Excel, and what they exchanged.

Lotus and Quattro write records: a number that says which, a length, and so many bytes. What isn't
a cell is passed over. A formula's last result is its value.
"""

import datetime
import io
import math
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.loaders.cells import Row
from kernel_startup.loaders.described import source_info
from kernel_startup.loaders.ole import BrokenOle, OleFile
from kernel_startup.loaders.sheetxml import _squared
from kernel_startup.loaders.spreadsheet import Sheets, tables_of
from kernel_startup.loaders.text import decode
from kernel_startup.source import Source

#: Page, row, column, value.
Cell = tuple[int, int, int, Any]
_MAX_CELLS = 5_000_000
_EXCHANGE_ADVICE = "LibreOffice opens it: save it as xlsx there."


def load_lotus(
    source: Source,
    *,
    sheet_name: str | int | list[str | int] | None = None,
    columns: list[str] | None = None,
    header: Any = "infer",
    nrows: int | None = None,
    skiprows: int | None = None,
    encoding: str = "",
) -> Any:
    """Read a worksheet of Lotus 1-2-3 or Quattro Pro; pages are called "A", "B" as there."""
    content = source.read()
    cells = list(_cells_of(source, content, encoding))
    if not cells:
        return source_info(source, {"cells": 0}, _EXCHANGE_ADVICE)
    return _tables_of_cells(cells, sheet_name, columns, header, nrows, skiprows)


def load_quattro_ole(
    source: Source,
    *,
    sheet_name: str | int | list[str | int] | None = None,
    columns: list[str] | None = None,
    header: Any = "infer",
    nrows: int | None = None,
    skiprows: int | None = None,
    encoding: str = "",
) -> Any:
    """Read a notebook of Quattro Pro 7 and 8; of later ones say what they are."""
    try:
        with source.open() as file:
            ole = OleFile(file)
            content = ole.read("PerfectOffice_MAIN") if "PerfectOffice_MAIN" in ole else b""
    except BrokenOle as error:
        raise FileLoadError(source.name, "a Quattro Pro notebook", reason=str(error)) from error
    cells = list(_cells_of(source, content, encoding)) if content[:2] == b"\0\0" else []
    if not cells:
        return source_info(source, {}, _EXCHANGE_ADVICE)
    return _tables_of_cells(cells, sheet_name, columns, header, nrows, skiprows)


def load_early_excel(
    source: Source,
    *,
    sheet_name: str | int | list[str | int] | None = None,
    columns: list[str] | None = None,
    header: Any = "infer",
    nrows: int | None = None,
    skiprows: int | None = None,
) -> Any:
    """Read a worksheet of Excel 2 to 4 with xlrd."""
    import xlrd

    log = io.StringIO()  # it prints what it wonders about
    try:
        book = xlrd.open_workbook(file_contents=source.read(), logfile=log)
    except Exception as error:  # asserts and struct errors among them
        raise FileLoadError(
            source.name, "an early Excel worksheet", "reading it with xlrd", str(error)
        ) from error
    sheets: Sheets = {}
    for sheet in book.sheets():
        rows = [[_xlrd_value(c, book.datemode) for c in sheet.row(r)] for r in range(sheet.nrows)]
        width = max(map(len, rows), default=0)
        rows = [row + [""] * (width - len(row)) for row in rows]
        sheets[sheet.name or f"Sheet{len(sheets) + 1}"] = lambda rows=rows: (rows, [])  # type: ignore[misc]
    if not sheets:
        return source_info(source, {"sheets": 0}, _EXCHANGE_ADVICE)
    return tables_of(
        sheets, sheet_name, columns=columns, header=header, nrows=nrows, skiprows=skiprows
    )


def _xlrd_value(cell: Any, datemode: int) -> Any:
    import xlrd

    if cell.ctype == xlrd.XL_CELL_DATE:
        try:
            return xlrd.xldate_as_datetime(cell.value, datemode)
        except (ValueError, OverflowError):
            return cell.value
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return bool(cell.value)
    return "" if cell.ctype == xlrd.XL_CELL_ERROR else cell.value


def _tables_of_cells(
    cells: list[Cell],
    sheet_name: Any,
    columns: list[str] | None,
    header: Any,
    nrows: int | None,
    skiprows: int | None,
) -> Any:
    pages: dict[int, dict[tuple[int, int], Any]] = {}
    for page, row, column, value in cells:
        pages.setdefault(page, {})[row, column] = value
    sheets: Sheets = {}
    for page, grid in sorted(pages.items()):
        sheets[_letters(page)] = lambda grid=grid: (_squared(grid), [])  # type: ignore[misc]
    return tables_of(
        sheets, sheet_name, columns=columns, header=header, nrows=nrows, skiprows=skiprows
    )


def _letters(number: int) -> str:
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


# -- records --------------------------------------------------------------------------------------


def _records(content: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(content):
        kind, length = struct.unpack_from("<HH", content, at)
        body = content[at + 4 : at + 4 + length]
        if len(body) < length:
            return
        yield kind, body
        at += 4 + length


def _cells_of(source: Source, content: bytes, encoding: str) -> Iterator[Cell]:
    version = int.from_bytes(content[4:6], "little")
    if 0x1000 <= version <= 0x1005 and content[2:4] not in (b"\x02\0",):
        read: Callable[[int, bytes], tuple[int, int, int, Any] | None] = _lotus_3
        code_page = encoding or "cp850"
    elif 0x1000 <= version < 0x1010:
        read, code_page = _quattro_windows, encoding or "cp1252"
    elif version == 0x5121:
        read, code_page = _quattro_windows, encoding or "cp437"
    else:
        read, code_page = _lotus_1, encoding or "cp437"
    seen = 0
    last: tuple[int, int, int] | None = None
    for kind, body in _records(content):
        if kind == 0x4B and version < 0x1000 and len(body) >= 2 and any(body):
            raise FileLoadError(
                source.name,
                "a worksheet protected by a password",
                remedy="Save it without one and upload it again",
            )
        try:
            cell = read(kind, body)
        except (struct.error, IndexError):
            continue
        if cell is None:
            continue
        page, row, column, value = cell
        if row < 0:  # the text of the formula before
            if last is None:
                continue
            page, row, column = last
        if isinstance(value, bytes):
            value = value.split(b"\0")[0].decode(code_page, errors="replace")
        if isinstance(value, float) and not math.isfinite(value):
            last = (page, row, column)
            continue
        last = (page, row, column)
        seen += 1
        if seen > _MAX_CELLS:
            source.note(f"{source.name!r}: only its first {_MAX_CELLS:,} cells were read.")
            return
        if value != "":
            yield page, row, column, value


def _lotus_1(kind: int, body: bytes) -> Cell | None:
    """Lotus 1-2-3 release 1 and 2, Symphony, Quattro: format, column, row, value."""
    if kind not in (0x0D, 0x0E, 0x0F, 0x10, 0x33):
        return None
    style, column, row = struct.unpack_from("<BHH", body)
    rest = body[5:]
    if kind == 0x0D:
        value: Any = struct.unpack_from("<h", rest)[0]
    elif kind in (0x0E, 0x10):
        value = struct.unpack_from("<d", rest)[0]
    elif kind == 0x33:
        return 0, row, column, rest
    else:
        return 0, row, column, rest[1:] if rest[:1] in (b"'", b'"', b"^", b"\\", b"|") else rest
    return 0, row, column, _styled(value, style)


def _quattro_windows(kind: int, body: bytes) -> Cell | None:
    """Quattro Pro 5 for DOS, and for Windows: column, page, row, style, value."""
    if kind == 0x33:  # a formula's text
        return 0, -1, 0, body[7:] if len(body) > 7 else b""
    if kind not in (0x0D, 0x0E, 0x0F, 0x10):
        return None
    column, page, row, _ = struct.unpack_from("<BBHH", body)
    rest = body[6:]
    if kind == 0x0D:
        return page, row, column, float(struct.unpack_from("<h", rest)[0])
    if kind == 0x0F:
        return page, row, column, rest[1:]
    return page, row, column, struct.unpack_from("<d", rest)[0]


def _lotus_3(kind: int, body: bytes) -> Cell | None:
    """Lotus 1-2-3 release 3 and later: row, page, column, value."""
    if kind not in (0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x27, 0x28):
        return None
    row, page, column = struct.unpack_from("<HBB", body)
    rest = body[4:]
    if kind == 0x16:
        return page, row, column, rest[1:] if rest[:1] in b"'\"^\\|" else rest
    if kind == 0x1A:
        return page, row, column, rest
    if kind in (0x17, 0x19):
        value = _extended(rest[:10])
    elif kind == 0x18:
        value = _small(struct.unpack_from("<h", rest)[0])
    elif kind == 0x25:
        value = _packed(struct.unpack_from("<I", rest)[0])
    else:
        value = struct.unpack_from("<d", rest)[0]
    return page, row, column, value


def _extended(raw: bytes) -> float:
    """A floating-point number of 80 bits; blanks, errors and texts are written as no number."""
    mantissa, exponent = struct.unpack("<QH", raw)
    if exponent in (0x7FFF, 0xFFFF):
        return math.nan
    sign = -1.0 if exponent & 0x8000 else 1.0
    try:
        return sign * math.ldexp(float(mantissa), (exponent & 0x7FFF) - 16383 - 63)
    except OverflowError:
        return math.nan


#: An odd small number counts these: positive ones multiply, negative ones divide.
_SMALL_UNITS = (5000, 500, -20, -200, -2000, -20000, -16, -64)


def _small(number: int) -> float:
    if not number & 1:
        return float(number >> 1)
    unit = _SMALL_UNITS[(number >> 1) & 7]
    count = number >> 4
    return float(count * unit) if unit > 0 else count / -unit


def _packed(number: int) -> float:
    value = float(number >> 6)
    power = 10.0 ** (number & 15)
    value = value / power if number & 0x10 else value * power
    return -value if number & 0x20 else value


def _styled(value: Any, style: int) -> Any:
    """A number that is shown as a date is one."""
    if style >> 4 & 7 == 7 and style & 15 in (2, 3, 4, 9, 10) and 1 <= value < 73_050:
        return datetime.datetime(1899, 12, 30) + datetime.timedelta(seconds=round(value * 86_400))
    return value


# -- what programs exchanged ----------------------------------------------------------------------


def load_dif(
    source: Source,
    *,
    columns: list[str] | None = None,
    header: Any = "infer",
    nrows: int | None = None,
    skiprows: int | None = None,
    encoding: str | None = None,
) -> Any:
    """Read Data Interchange Format."""
    lines = re.split(r"\r\n|\n|\r", decode(source, encoding))
    rows = _dif_rows(lines)
    if not rows:
        raise FileLoadError(source.name, "a DIF table without a row")
    width = max(map(len, rows))
    if width * len(rows) > _MAX_CELLS:
        raise FileLoadError(source.name, f"a DIF table of {width * len(rows):,} cells")
    squared = [row + [""] * (width - len(row)) for row in rows]
    return tables_of(
        {"DIF": lambda: (squared, [])},
        0,
        columns=columns,
        header=header,
        nrows=nrows,
        skiprows=skiprows,
    )


def _dif_rows(lines: list[str]) -> list[Row]:
    at = next((i for i, line in enumerate(lines) if line.strip().upper() == "DATA"), len(lines)) + 3
    rows: list[Row] = []
    while at + 1 < len(lines):
        kind, _, number = lines[at].partition(",")
        said = lines[at + 1].strip()
        at += 2
        if kind.strip() == "-1":
            if said.upper() != "BOT":
                break
            rows.append([])
        elif rows and kind.strip() == "1":
            # A text may run over several lines, until its quote.
            while said.startswith('"') and (len(said) < 2 or not said.endswith('"')):
                if at >= len(lines):
                    break
                said += "\n" + lines[at]
                at += 1
            rows[-1].append(said[1:-1].replace('""', '"') if said.startswith('"') else said)
        elif rows:
            rows[-1].append(_dif_number(number.strip(), said.upper()))
    return [row for row in rows if row]


def _dif_number(number: str, said: str) -> Any:
    if said in ("TRUE", "FALSE"):
        return said == "TRUE"
    if said in ("NA", "ERROR"):
        return ""
    try:
        return float(number)
    except ValueError:
        return number


def load_sylk(
    source: Source,
    *,
    columns: list[str] | None = None,
    header: Any = "infer",
    nrows: int | None = None,
    skiprows: int | None = None,
    encoding: str | None = None,
) -> Any:
    """Read a symbolic link file."""
    cells: dict[tuple[int, int], Any] = {}
    row = column = 1
    dated: set[int] = set()
    formats: list[str] = []
    for line in re.split(r"\r\n|\n|\r", decode(source, encoding)):
        fields = [f.replace("\0", ";") for f in line.replace(";;", "\0").split(";")]
        record = fields[0]
        if record == "P" and len(fields) > 1 and fields[1].startswith("P"):
            formats.append(fields[1][1:].lower())
            if re.search(r"yy|d+[/.\-\\ ]+m", formats[-1]):
                dated.add(len(formats) - 1)
        if record == "E":
            break
        if record not in ("C", "F"):
            continue
        value: str | None = None
        for field in fields[1:]:
            if field[:1] in ("X", "Y") and field[1:].isdecimal() and len(field) < 9:
                if field[0] == "X":
                    column = int(field[1:])
                else:
                    row = int(field[1:])
            elif field[:1] == "K" and record == "C":
                value = field[1:]
        if value is not None:
            cells[row, column] = _sylk_value(value)
        if len(cells) > _MAX_CELLS:
            raise FileLoadError(source.name, f"a sheet of more than {_MAX_CELLS:,} cells")
    if not cells:
        raise FileLoadError(source.name, "a SYLK sheet without a cell")
    return tables_of(
        {"SYLK": lambda: (_squared(cells), [])},
        0,
        columns=columns,
        header=header,
        nrows=nrows,
        skiprows=skiprows,
    )


def _sylk_value(text: str) -> Any:
    if text.startswith('"'):
        return re.sub(r"\x1b :", "\n", text[1:].removesuffix('"'))
    if text in ("TRUE", "FALSE"):
        return text == "TRUE"
    if text.startswith("#"):
        return ""
    try:
        return float(text)
    except ValueError:
        return text


def load_numbers(
    source: Source,
    *,
    sheet_name: str | int | list[str | int] | None = None,
    columns: list[str] | None = None,
    header: Any = "infer",
    nrows: int | None = None,
    skiprows: int | None = None,
) -> Any:
    """Read the tables of an Apple Numbers document of 2013 or later; of an older one say so."""
    import zipfile

    with zipfile.ZipFile(io.BytesIO(source.read())) as archive:
        names = archive.namelist()
    is_old = any(name in ("index.xml", "index.xml.gz", "index.apxl") for name in names)
    if is_old and not any(name.endswith((".iwa", "Index.zip")) for name in names):
        return _old_numbers(source, len(names))
    import numbers_parser

    try:
        document = numbers_parser.Document(str(source.as_path(".numbers")))
        found = [
            (f"{sheet.name}: {table.name}" if len(sheet.tables) > 1 else sheet.name, table)
            for sheet in document.sheets
            for table in sheet.tables
        ]
        sheets: Sheets = {}
        for name, table in found:
            rows = [[_numbers_value(v) for v in row] for row in table.rows(values_only=True)]
            sheets[name] = lambda rows=rows: (rows, [])  # type: ignore[misc]
    except Exception as error:  # protobuf's and its own
        raise FileLoadError(
            source.name, "an Apple Numbers document", "numbers-parser", str(error)[:300]
        ) from error
    return tables_of(
        sheets, sheet_name, columns=columns, header=header, nrows=nrows, skiprows=skiprows
    )


def _numbers_value(value: Any) -> Any:
    return "" if value is None else value


def _old_numbers(source: Source, members: int) -> FileInfo:
    return source_info(
        source,
        {"version": "iWork '08 or '09", "members": members},
        "Open it in Numbers and export it as xlsx or csv.",
    )
