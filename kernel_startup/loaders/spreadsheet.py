"""Workbooks: Excel in all its formats, OpenDocument, and those of other programs."""

import io
import re
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

from kernel_startup import containers
from kernel_startup.errors import FileLoadError
from kernel_startup.loaders import passes_on
from kernel_startup.loaders.cells import Merged, Row, table_of
from kernel_startup.source import Source

#: A sheet by its name: its rows, and its merged cells.
Sheets = dict[str, Callable[[], tuple[Iterable[Row], list[Merged]]]]

_OLE = b"\xd0\xcf\x11\xe0"
_FILE_PASS = 0x2F
#: FilePass comes right after the record that begins a workbook, or the one after that.
_FIRST_RECORDS = 4
#: Cells that calamine sets aside at once for a sheet, by its farthest corner.
_MAX_CELLS = 60_000_000
#: Larger sheets aren't looked through for far corners: what they hold is what they cost.
_MAX_SCANNED_BYTES = 48 * 1024 * 1024


@passes_on("pandas:read_excel")
def load_workbook(
    source: Source,
    *,
    sheet_name: str | int | list[str | int] | None = None,
    columns: list[str] | None = None,
    header: Any = "infer",
    nrows: int | None = None,
    skiprows: Any = None,
    password: str | None = None,
    **reader: Any,
) -> Any:
    """Read a workbook: its only sheet, a dict of all sheets by name, or the sheets asked for."""
    content = _content(source, password)
    if content[:2] == b"PK":
        _refuse_far_corners(source, content)
    if reader or not (skiprows is None or type(skiprows) is int) or isinstance(header, list):
        given = {"header": header, "nrows": nrows, "skiprows": skiprows, "usecols": columns}
        stated = {k: v for k, v in given.items() if v is not None and v != "infer"}
        if header is None:
            stated["header"] = None
        return _read_with_pandas(content, sheet_name, {**stated, **reader})
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum

    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(content))
    except PasswordError:
        raise _needs_password(source) from None
    except CalamineError:
        if _has_file_pass(content):  # which calamine tells only of some encryptions
            raise _needs_password(source) from None
        raise
    sheets: Sheets = {}
    for at, sheet in enumerate(workbook.sheets_metadata):
        # A sheet that is a chart, or Visual Basic, has no cells.
        if sheet.typ in (SheetTypeEnum.WorkSheet, SheetTypeEnum.MacroSheet):
            sheets[sheet.name] = _CalamineSheet(workbook, at)
    if not sheets:
        sheets = {
            name: _CalamineSheet(workbook, at) for at, name in enumerate(workbook.sheet_names)
        }
    return tables_of(
        sheets, sheet_name, columns=columns, header=header, nrows=nrows, skiprows=skiprows
    )


class _CalamineSheet:
    """A sheet that is read when it is asked for."""

    def __init__(self, workbook: Any, at: int) -> None:
        self._workbook = workbook
        self._at = at

    def __call__(self) -> tuple[Iterable[Row], list[Merged]]:
        sheet = self._workbook.get_sheet_by_index(self._at)
        start = sheet.start
        if start is None:
            return [], []
        top, left = start
        merged = [
            ((first[0] - top, first[1] - left), (last[0] - top, last[1] - left))
            for first, last in sheet.merged_cell_ranges or []
        ]
        kept = [m for m in merged if m[0][0] >= 0 and m[0][1] >= 0]
        # iter_rows gives the rows from the sheet's first cell on, without what is blank before it.
        return _from(sheet, start), kept


def _from(sheet: Any, start: tuple[int, int]) -> Iterable[Row]:
    """Give the rows from the first one that isn't blank; blank columns it leaves out itself."""
    for at, row in enumerate(sheet.iter_rows()):
        if at >= start[0]:
            yield row


def tables_of(
    sheets: Sheets,
    sheet_name: str | int | list[str | int] | None,
    *,
    columns: list[str] | None = None,
    header: Any = "infer",
    nrows: int | None = None,
    skiprows: int | None = None,
) -> Any:
    """Make tables of the sheets asked for: of one the table, of several a dict.

    Raises:
        ValueError: There is no such sheet; the message lists those there are.
    """
    names = list(sheets)
    wanted: list[Any] = sheet_name if isinstance(sheet_name, list) else [sheet_name]
    if sheet_name is None:
        wanted = [*names]
    chosen: dict[str | int, str] = {}
    for name in wanted:
        if name in sheets:
            chosen[name] = str(name)
        elif type(name) is int and 0 <= name < len(names):
            chosen[name] = names[name]
        else:
            raise ValueError(f"there is no sheet {name!r}; the sheets are {names}")

    def read(name: str) -> Any:
        rows, merged = sheets[name]()
        table = table_of(rows, merged=merged, header=header, skip_rows=skiprows or 0, nrows=nrows)
        if columns is None:
            return table
        missing = [column for column in columns if column not in table.columns]
        if missing:
            raise ValueError(f"columns not found: {missing}; there are {[*table.columns]}")
        return table[columns]

    if sheet_name is not None and not isinstance(sheet_name, list):
        return read(chosen[sheet_name])
    tables = {key: read(name) for key, name in chosen.items()}
    if sheet_name is None and len(tables) == 1:
        return next(iter(tables.values()))
    return tables


def _read_with_pandas(content: bytes, sheet_name: Any, reader: dict[str, Any]) -> Any:
    """Read with options that only pandas knows."""
    import pandas as pd

    engine: Any = reader.pop("engine", None) or "calamine"
    with pd.ExcelFile(io.BytesIO(content), engine=engine) as workbook:
        sheets = [str(name) for name in workbook.sheet_names]
        known = {*sheets, *range(len(sheets)), None}
        for name in sheet_name if isinstance(sheet_name, list) else [sheet_name]:
            if name not in known:
                raise ValueError(f"there is no sheet {name!r}; the sheets are {sheets}")
        read: Any = pd.read_excel(workbook, sheet_name=sheet_name, **reader)
    if sheet_name is None and len(read) == 1:
        return next(iter(read.values()))
    return read


# -- what a file may do --------------------------------------------------------------------------


def _content(source: Source, password: str | None) -> bytes:
    """Read a workbook's bytes, deciphered if need be."""
    content = source.read()
    if not content.startswith(_OLE):
        return content
    try:
        streams = containers.ole_streams(io.BytesIO(content))
    except containers.BrokenContainer:
        return content
    is_encrypted = "EncryptedPackage" in streams
    if password is None or not (is_encrypted or "Workbook" in streams):
        if is_encrypted:
            raise _needs_password(source)
        return content
    return _decipher(source, content, password, is_encrypted=is_encrypted)


def _decipher(source: Source, content: bytes, password: str, *, is_encrypted: bool) -> bytes:
    import msoffcrypto

    deciphered = io.BytesIO()
    try:
        office = msoffcrypto.OfficeFile(io.BytesIO(content))
        if not is_encrypted and not office.is_encrypted():
            return content
        office.load_key(password=password)
        office.decrypt(deciphered)
    except Exception as error:  # its own kinds, and whatever strange bytes can provoke
        raise FileLoadError(
            source.name,
            "a workbook protected by a password",
            tried="the password given",
            reason=str(error) or type(error).__name__,
            remedy="Check the password",
        ) from error
    return deciphered.getvalue()


def _has_file_pass(content: bytes) -> bool:
    """Whether an old workbook's first records have one that says it is encrypted.

    Source: [MS-XLS] 2.4.117, FilePass.
    """
    from kernel_startup.loaders.ole import BrokenOle, OleFile

    try:
        ole = OleFile(io.BytesIO(content))
        stream = ole.read("Workbook") if "Workbook" in ole else ole.read("Book")
    except (BrokenOle, KeyError):
        return False
    place = 0
    for _ in range(_FIRST_RECORDS):
        kind, size = (int.from_bytes(stream[at : at + 2], "little") for at in (place, place + 2))
        if kind == _FILE_PASS:
            return True
        place += 4 + size
    return False


def _needs_password(source: Source) -> FileLoadError:
    return FileLoadError(
        source.name,
        "a workbook protected by a password",
        remedy='Open it with password="...", or save it without one and upload it again',
    )


_CELL = re.compile(rb'<(?:\w+:)?c(?:\s[^>]*?)?\sr="([A-Z]{1,3})(\d{1,7})"')
_FAR_COLUMN = re.compile(rb'r="[A-Z]{3}\d')
_ROW = re.compile(rb'<(?:\w+:)?row(?:\s[^>]*?)?\sr="(\d{1,7})"')
_REPEATED = re.compile(rb'number-(columns|rows)-repeated="(\d{1,9})"([^>]*>)')


def _refuse_far_corners(source: Source, content: bytes) -> None:
    """Refuse sheets whose farthest cells are so far away that the blank between fills memory."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                name = member.filename
                is_sheet = re.match(r"xl/worksheets/[^/]*\.xml\Z", name) is not None
                if not (is_sheet or name == "content.xml"):
                    continue
                if member.file_size > max(40 * len(content), _MAX_SCANNED_BYTES):
                    raise FileLoadError(
                        source.name,
                        f"a workbook of {len(content):,} bytes with a sheet that unpacks to "
                        f"{member.file_size:,}",
                        remedy='as_="path" gives its path, to read it piece by piece',
                    )
                if member.file_size > _MAX_SCANNED_BYTES:
                    continue
                xml = archive.read(member)
                cells = _cells_of_xlsx(xml) if is_sheet else _cells_of_ods(xml)
                if cells > _MAX_CELLS:
                    raise FileLoadError(
                        source.name,
                        f"a workbook with cells so far apart that a table of {cells:,} would "
                        "come of it",
                        remedy="Delete the far cells and save it again",
                    )
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, KeyError):
        return  # calamine says what is wrong with it
    except Exception as error:
        if type(error).__module__ == "zlib":
            return
        raise


def _cells_of_xlsx(xml: bytes) -> int:
    """How many cells the smallest rectangle has that holds all cells of a sheet."""
    if len(xml) > 1_000_000 and not _FAR_COLUMN.search(xml):
        return 0  # columns up to ZZ, and as many rows as there are
    found = _CELL.findall(xml)
    if not found:
        return 0
    columns = [_column_number(letters) for letters in {letters for letters, _ in found}]
    rows = [int(digits) for _, digits in found]
    return (max(columns) - min(columns) + 1) * (max(rows) - min(rows) + 1)


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _cells_of_ods(xml: bytes) -> int:
    columns = rows = 1
    for what, count, rest in _REPEATED.findall(xml):
        if what == b"rows":
            rows = max(rows, int(count))
        elif not rest.endswith(b"/>") or b"value" in rest:
            columns = max(columns, int(count))
    return rows * columns if rows > 1 and columns > 1000 else 0
