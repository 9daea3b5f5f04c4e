"""Sheets to tables: from rows of cells, as a spreadsheet has them, to a DataFrame with a header.

A sheet is made for eyes: there may be titles above the table, blank rows and columns around it,
and groups of columns under one merged cell. What comes out is what an analyst would have read.
"""

import datetime
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Row = list[Any]
#: Rows from first to last, columns from first to last, both included, counted from 0.
Merged = tuple[tuple[int, int], tuple[int, int]]

#: What pandas takes for a missing value in text, so that workbooks and csv files agree.
MISSING = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"}
    | {"<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
)
#: Rows looked at to find the header.
_LOOKED_AT = 50
_MAX_TITLES = 30
_CHUNK_ROWS = 4_000
#: Integers up to here are exact in floating point, in which spreadsheets hold them.
_MAX_EXACT = 2.0**53


def table_of(
    rows: Iterable[Row],
    *,
    merged: Sequence[Merged] = (),
    header: Any = "infer",
    skip_rows: int = 0,
    nrows: int | None = None,
) -> "pd.DataFrame":
    """Make a table of a sheet's rows.

    Args:
        rows: All of one length; an empty cell is "" or None.
        merged: Its merged cells, by positions in `rows`.
        header: "infer", None for no header, or the number of the header's row.
        skip_rows: How many rows come before what is wanted.
        nrows: How many rows of data are wanted at most; None is all.
    """
    import pandas as pd

    iterator = itertools.islice(iter(rows), skip_rows, None)
    head = list(itertools.islice(iterator, _LOOKED_AT + (header if _is_int(header) else 0)))
    moved = [((a - skip_rows, b), (c - skip_rows, d)) for (a, b), (c, d) in merged]
    if header is None:
        names: list[Any] | None = None
        first = 0
    elif _is_int(header):
        names, first = _names([head[header]] if header < len(head) else [], {}), header + 1
    else:
        names, first = _find_header(head, moved)
    data: Iterator[Row] = itertools.chain(head[first:], iterator)
    if nrows is not None:
        data = itertools.islice(data, nrows)
    columns = _columns(data)
    width = max(len(columns), len(names) if names is not None else 0)
    if not columns:
        columns = [pd.Series([], dtype=object) for _ in range(width)]
    labels = list(range(width)) if names is None else names
    table = pd.DataFrame(dict(enumerate(columns)), copy=False)
    table.columns = pd.Index(labels[: table.shape[1]])
    return _without_edges(table, has_header=names is not None)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_filled(cell: object) -> bool:
    return cell is not None and cell != ""


def _without_edges(table: "pd.DataFrame", *, has_header: bool) -> "pd.DataFrame":
    """Leave out blank rows at the end, and blank columns at both sides that have no name."""
    filled = table.notna()
    last = len(table)
    while last and table.shape[1] and not filled.iloc[last - 1].any():
        last -= 1
    if 0 < last < len(table):
        table = table.iloc[:last]
    if not has_header:
        return table
    blank = [
        isinstance(name, str) and name.startswith("Unnamed: ") and not some
        for name, some in zip(table.columns, filled.any(axis=0).tolist(), strict=True)
    ]
    start, end = 0, len(blank)
    while start < end and blank[start]:
        start += 1
    while end > start and blank[end - 1]:
        end -= 1
    return table if end - start == len(blank) else table.iloc[:, start:end]


# -- the header ----------------------------------------------------------------------------------


def _find_header(head: list[Row], merged: Sequence[Merged]) -> tuple[list[Any] | None, int]:
    """Find the names of the columns, and the number of the first row of data."""
    counts = [sum(map(_is_filled, row)) for row in head]
    at = _header_row(head, counts)
    if at is None:
        return None, next((i for i, count in enumerate(counts) if count), 0)
    bottom = _header_bottom(head, counts, at, merged)
    top = at if bottom > at else _header_top(head, counts, at, merged)
    spans = _spans(merged)
    return _names(head[top : bottom + 1], {(r - top, c): s for (r, c), s in spans.items()}), (
        bottom + 1
    )


def _header_row(head: list[Row], counts: list[int]) -> int | None:
    """Find the row that has the names: the first one about as wide as the table.

    None if the table begins with numbers.
    """
    filled = [(at, count) for at, count in enumerate(counts) if count]
    if not filled:
        return 0
    usual = sorted(count for _, count in filled)[len(filled) // 2]
    first = filled[0][0]
    if usual > 1:
        for at, count in filled[:_MAX_TITLES]:
            is_wide = count >= usual - 1 if usual > 2 else count >= usual
            if is_wide:
                first = at
                break
            values = [c for c in head[at] if _is_value(c) and not _is_year(c)]
            if len(values) * 2 >= count > 1:
                break  # a row of data with gaps, not a title
    cells = [cell for cell in head[first] if _is_filled(cell)]
    if all(map(_is_value, cells)) and not _are_years(cells):
        return None
    return first


def _is_value(cell: object) -> bool:
    return isinstance(cell, (int, float, datetime.date, datetime.time, datetime.timedelta))


def _is_year(cell: object) -> bool:
    return isinstance(cell, (int, float)) and 1000 <= cell < 3000


def _are_years(cells: list[Any]) -> bool:
    if len(cells) < 2 or not all(map(_is_year, cells)):
        return False
    return len({later - earlier for earlier, later in itertools.pairwise(cells)}) == 1


def _spans(merged: Sequence[Merged]) -> dict[tuple[int, int], Merged]:
    """Merged cells by the position of each cell they cover."""
    spans = {}
    for (row, column), (last_row, last_column) in merged:
        if row < _LOOKED_AT and (last_row - row) < _LOOKED_AT and last_column - column < 20_000:
            for r in range(row, last_row + 1):
                for c in range(column, last_column + 1):
                    spans[r, c] = ((row, column), (last_row, last_column))
    return spans


def _header_bottom(head: list[Row], counts: list[int], at: int, merged: Sequence[Merged]) -> int:
    """Find the last row of the header: below, if its cells are merged across or downwards."""
    bottom = at
    for (row, column), (last_row, last_column) in merged:
        if row != at or not _is_filled(_cell(head, row, column)):
            continue
        if last_row > row:
            bottom = max(bottom, last_row)
        elif last_column > column and at + 1 < len(head):
            below = head[at + 1][column : last_column + 1]
            if all(isinstance(c, str) and c for c in below) and counts[at + 1] >= 2:
                bottom = max(bottom, at + 1)
    return min(bottom, len(head) - 1, at + 5)


def _header_top(head: list[Row], counts: list[int], at: int, merged: Sequence[Merged]) -> int:
    """Find the first row of the header: above, where groups of columns have names."""
    top = at
    while top > 0 and counts[top - 1] >= 1:
        above = top - 1
        across = [m for m in merged if m[0][0] == above and m[1][1] > m[0][1]]
        names = [cell for cell in head[at] if _is_filled(cell)]
        is_group_row = len(across) >= 1 and counts[above] >= 2
        if not is_group_row and merged:
            break
        # Without marks of merging: names that come again need a group to tell them apart.
        if not is_group_row and (counts[above] < 2 or len({*map(str, names)}) == len(names)):
            break
        top = above
    return top


def _cell(rows: list[Row], row: int, column: int) -> Any:
    return rows[row][column] if row < len(rows) and column < len(rows[row]) else None


def _names(rows: list[Row], spans: dict[tuple[int, int], Merged]) -> list[Any]:
    """Name the columns by the rows of a header: "2024 income" where "2024" spans several."""
    width = max(map(len, rows), default=0)
    parts: list[list[Any]] = [[] for _ in range(width)]
    for at, row in enumerate(rows):
        group: Any = None
        for column in range(width):
            cell = row[column] if column < len(row) else None
            if not _is_filled(cell):
                span = spans.get((at, column))
                if span is not None:
                    is_across = span[0][1] < column
                    cell = group if is_across else None
                elif not spans and at < len(rows) - 1:
                    cell = group
            else:
                group = cell
            said = _plain(cell)
            if _is_filled(said) and (not parts[column] or parts[column][-1] != said):
                parts[column].append(said)
    taken: dict[Any, int] = {}
    names: list[Any] = []
    for column, part in enumerate(parts):
        name: Any = part[0] if len(part) == 1 else " ".join(map(str, part))
        if not part:
            name = f"Unnamed: {column}"
        base, number = name, taken.get(name, 0)
        while name in taken:
            number += 1
            name = f"{base}.{number}"
        taken[base] = number
        taken.setdefault(name, 0)
        names.append(name)
    return names


def _plain(cell: Any) -> Any:
    """A cell as a name: 2024.0 is 2024."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < _MAX_EXACT:
        return int(cell)
    return cell.strip() if isinstance(cell, str) else cell


# -- the columns ---------------------------------------------------------------------------------


def _columns(rows: Iterator[Row]) -> list["pd.Series[Any]"]:
    """Turn rows into columns with types, a chunk at a time: rows of Python objects are large."""
    import pandas as pd

    chunks: list[list[tuple[str, Any]]] = []
    widths: list[int] = []
    sizes: list[int] = []
    while chunk := list(itertools.islice(rows, _CHUNK_ROWS)):
        columns = list(itertools.zip_longest(*chunk, fillvalue=""))
        sizes.append(len(chunk))
        del chunk
        widths.append(len(columns))
        chunks.append([_typed(column) for column in columns])
        del columns
    width = max(widths, default=0)
    found = []
    for at in range(width):
        pieces = [
            typed[at] if at < len(typed) else ("empty", size)
            for typed, size in zip(chunks, sizes, strict=True)
        ]
        for typed in chunks:
            if at < len(typed):
                typed[at] = ("empty", 0)  # freed as it is used
        found.append(_joined(pieces))
    return [pd.Series(column, copy=False) for column in found]


def _typed(cells: Sequence[Any]) -> tuple[str, Any]:
    """Tell what kind of cells a column holds, with an array of them."""
    import numpy as np
    import pandas as pd

    array = np.empty(len(cells), dtype=object)
    array[:] = cells
    kind = pd.api.types.infer_dtype(array, skipna=False)
    if kind == "floating" or kind == "integer" or kind == "mixed-integer-float":
        return _numbers(array)
    if kind == "boolean":
        return "bool", array.astype(bool)
    if kind == "string":
        text: Any = pd.array(array, dtype="str")
        absent = text.isin(list(MISSING))
        if absent.all():
            return "empty", len(array)
        if absent.any():
            text[absent] = np.nan
        return "text", text
    missing = _missing(array)
    if missing.all():
        return "empty", len(array)
    present = array[~missing]
    kind = pd.api.types.infer_dtype(present, skipna=False)
    if kind in ("floating", "integer", "mixed-integer-float"):
        numbers = np.full(len(array), np.nan)
        try:
            numbers[~missing] = present.astype(float)
        except OverflowError:
            return "object", array
        return "number", numbers
    array[missing] = np.nan
    if kind == "string":
        return "text", pd.array(array, dtype="str")
    if kind in ("datetime", "date", "datetime64"):
        return _dates(array)
    if kind == "timedelta":
        return "duration", pd.to_timedelta(pd.Series(array)).to_numpy()
    array[:] = [_plain_number(cell) for cell in array]
    return "object", array


def _missing(array: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    import numpy as np

    known = MISSING
    return np.fromiter(
        (c is None or (c.__class__ is str and c in known) for c in array), bool, len(array)
    )


def _numbers(array: "np.ndarray[Any, Any]") -> tuple[str, Any]:
    import numpy as np

    try:
        numbers = array.astype(float)
    except OverflowError:
        return "object", array
    whole = np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all()
    if whole and np.abs(numbers).max(initial=0) <= _MAX_EXACT:
        return "integer", numbers.astype("int64")
    return "number", numbers


def _dates(array: "np.ndarray[Any, Any]") -> tuple[str, Any]:
    import pandas as pd

    try:
        return "date", pd.to_datetime(pd.Series(array)).to_numpy()
    except (ValueError, OverflowError, TypeError):
        return "object", array


def _plain_number(cell: Any) -> Any:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < _MAX_EXACT:
        return int(cell)
    return cell


def _joined(pieces: list[tuple[str, Any]]) -> Any:
    """Put the pieces of a column together, in the type that holds them all."""
    import numpy as np
    import pandas as pd

    kinds = {kind for kind, _ in pieces}
    if len(pieces) == 1 and kinds != {"empty"}:
        return pieces[0][1]
    filled = kinds - {"empty"}
    if not filled:
        return np.full(sum(size for _, size in pieces), np.nan)
    if filled <= {"integer", "number"}:
        if kinds == {"integer"}:
            return np.concatenate([values for _, values in pieces])
        return np.concatenate([_or_blank(p, np.nan, "float64") for p in pieces])
    if filled in ({"date"}, {"duration"}):
        blank = np.datetime64("NaT") if filled == {"date"} else np.timedelta64("NaT")
        series = [pd.Series(_or_blank(piece, blank, None)) for piece in pieces]
        return pd.concat(series, ignore_index=True)
    if filled == {"text"}:
        return pd.concat(
            [
                pd.Series(np.full(v, np.nan, dtype=object), dtype="str")
                if kind == "empty"
                else pd.Series(v, copy=False)
                for kind, v in pieces
            ],
            ignore_index=True,
        )
    if kinds == {"bool"}:
        return np.concatenate([values for _, values in pieces])
    return np.concatenate(
        [
            np.full(v, np.nan, dtype=object) if kind == "empty" else np.asarray(v, dtype=object)
            for kind, v in pieces
        ]
    )


def _or_blank(piece: tuple[str, Any], blank: Any, dtype: Any) -> Any:
    import numpy as np

    kind, values = piece
    if kind == "empty":
        return np.full(values, blank, dtype=dtype)
    return values if dtype is None else values.astype(dtype)
