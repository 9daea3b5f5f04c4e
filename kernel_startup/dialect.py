"""How a text table is written: delimiter, header, number style, columns to keep as text.

Pure standard library and bounded: it looks at the first rows and at a few rows from further on,
never at a whole file. What it can't be sure of stays as it is written.
"""

import contextlib
import csv
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

#: In order of trust: a comma is in prose and in numbers, a tab hardly ever.
DELIMITERS = ("\t", ";", "|", ",")
_STATED = re.compile('\ufeff?"?sep=(.)"?')
_MAX_ROWS = 200
_MAX_PREAMBLE_LINES = 30
#: Cells looked at to tell what a table's columns are; of more, every second row or every third.
_MAX_CELLS = 2_000

#: What pandas takes for a missing value (`keep_default_na`), so that it isn't taken for text here.
_MISSING = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"}
    | {"<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
)

_LINE_BREAK = re.compile(r"\r\n|\n|\r")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_PADDED = re.compile(r"\s*[+-]?0\d+\s*")
# Where a text has none of these, no cell in it is padded; "2026-01-05" and "0.5" are none.
# (It begins with the zero, which is quickly searched for.)
_MAYBE_PADDED = re.compile(r"0(?<![\d.]0)(?<![\d.][+-]0)\d")
#: Lines of one piece that are enough where no cell is padded.
_MAX_LINES = 400
_DIGITS = re.compile(r"[+-]?\d+")
_ISO_DATE = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
    r"(?:[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?"
)
_TIME = re.compile(r"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?")
_COMMA_DECIMAL = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+),\d+")
_COMMA_GROUPS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_POINT_GROUPS = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+(?:,\d+)?")
_POINT_DECIMAL = re.compile(r"[+-]?\d*\.\d+")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one table is written.

    Attributes:
        delimiter: One character.
        skip_lines: Lines before the header (or the first row): comments, a title, "sep=;".
        names: The header's names, made unique; None if there is no header.
        fields: How many columns the rows have.
        comment: The character that begins a comment line further down; None if there are none.
        decimal: "." or ",".
        thousands: Position of a column -> the character that groups its digits.
        text_columns: Positions of columns that would lose something as numbers: leading zeros,
            more digits than a number holds.
        time_columns: Positions of columns of times of day, which stay text.
        date_columns: Positions of columns that hold nothing but ISO 8601 dates.
        has_commented_header: The header begins with the comment character ("#chrom").
        has_trailing_delimiter: The rows' last field, beyond the header's, is always empty.
    """

    delimiter: str
    skip_lines: int = 0
    names: tuple[str, ...] | None = None
    fields: int = 1
    comment: str | None = None
    decimal: str = "."
    thousands: dict[int, str] = field(default_factory=dict)
    text_columns: frozenset[int] = frozenset()
    time_columns: frozenset[int] = frozenset()
    date_columns: frozenset[int] = frozenset()
    has_commented_header: bool = False
    has_trailing_delimiter: bool = False


def sniff_delimiter(text: str) -> str | None:
    """Tell what separates the columns; None if this doesn't look like a table of two or more."""
    best: tuple[bool, float, int] | None = None
    chosen = None
    lines = _content_lines(text)
    for rank, delimiter in enumerate(DELIMITERS):
        rows = _rows(lines, delimiter)
        counts = [len(row) for row in rows]
        if len(counts) < 2:
            continue
        usual, times = Counter(counts).most_common(1)[0]
        share = times / len(counts)
        # Two columns are what prose (by commas) and source code (by semicolons) look like too; a
        # table is then regular throughout, and has something in its last column.
        if usual < 2 or share < (1.0 if usual == 2 and delimiter in ",;" else 0.7):
            continue
        if not any(row[-1].strip() for row in rows if len(row) == usual):
            continue
        score = (abs(counts[0] - usual) <= 1, round(share, 1), -rank)
        if best is None or score > best:
            best, chosen = score, delimiter
    return chosen


#: Words of a table's cells; longer ones are sentences.
_MAX_CELL_WORDS = 8


def is_plain_table(text: str, delimiter: str) -> bool:
    """Tell whether a text that isn't called a table is one beyond doubt.

    Prose has commas and logs have columns too: a table has the same number of cells in each line, a
    header of different names or a column of numbers, and no sentences.
    """
    lines = _lines(text)
    complete = lines[:-1] if len(lines) > 3 else lines
    rows = _rows([line for line in complete[:_MAX_ROWS] if line.strip()], delimiter)
    while rows and len(rows) > 3 and rows[0][0].startswith("#"):
        rows.pop(0)
    if len(rows) < 3:
        return False
    usual, times = Counter(map(len, rows)).most_common(1)[0]
    if usual < 2 or times < 0.97 * len(rows) or len(rows[0]) != usual:
        return False
    regular = [row for row in rows if len(row) == usual]
    words = [len(cell.split()) for row in regular for cell in row]
    if sum(count > _MAX_CELL_WORDS for count in words) > 0.1 * len(words):
        return False
    names = [cell.strip() for cell in regular[0]]
    columns = _columns(regular[1:])
    numbers = sum(any(column) and _all_values(column) for column in columns)
    if not any(map(_is_value, names)):
        # Tabs are hardly ever prose: the names of a table of samples may come again there.
        different = usual // 3 if delimiter == "\t" and usual >= 6 else usual
        is_header = all(names) and len({*names}) >= different and max(map(len, names)) <= 60
        return is_header and (numbers > 0 or usual >= 4 or delimiter in "\t;|")
    return numbers >= max(1, usual // 3)


def _all_values(column: list[str]) -> bool:
    return all(_is_value(cell) for cell in column if cell)


def is_spaced_table(text: str) -> bool:
    """Tell whether a text is numbers in columns between blanks; a header may be above."""
    lines = _lines(text)
    complete = [line for line in (lines[:-1] if len(lines) > 3 else lines) if line.strip()]
    rows = [line.split() for line in complete[:_MAX_ROWS] if line.lstrip()[0] not in "#%!"]
    if len(rows) < 3:
        return False
    has_header = not any(map(_is_value, rows[0]))
    data = rows[1:] if has_header else rows
    width = len(data[0])
    if width < 2 or any(len(row) != width for row in data):
        return False
    if has_header and len(rows[0]) != width:
        return False
    columns = _columns(data)
    return sum(any(c) and _all_values(c) for c in columns) >= max(1, width - 1)


def sniff_table(
    head: str,
    *,
    more: Iterable[str] = (),
    delimiter: str | None = None,
    default_delimiter: str = ",",
    header: bool | None = None,
    skip_lines: int | None = None,
) -> Dialect:
    """Tell how a table is written.

    Args:
        head: Its beginning; complete lines.
        more: Pieces from further on; their first and last lines are left out as incomplete.
        delimiter: What is known to separate the columns; None to find out.
        default_delimiter: What is taken if nothing looks like one (a single column).
        header: Whether it is known to have one; None to find out.
        skip_lines: How many lines are known to come before the header; None to find out.
    """
    lines = _lines(head)
    skip = skip_lines or 0
    if skip_lines is None and (stated := _STATED.fullmatch(lines[0].strip(" "))):
        delimiter, skip = delimiter or stated[1], 1  # Excel's own mark
    if delimiter is None:
        delimiter = sniff_delimiter("\n".join(lines[skip:])) or default_delimiter
    commented = False
    if skip_lines is None:
        skip, commented = _skip_preamble(lines, skip, delimiter)
    body = lines[skip:]
    comment = None if commented else _comment_of(body[1:])
    body = [line for line in body if not (comment and line.startswith(comment))]
    rows = _rows(body if _MAYBE_PADDED.search(head) else body[:_MAX_LINES], delimiter)
    if not rows:
        return Dialect(delimiter, skip_lines=skip)
    data = rows[1:]
    fields = Counter(map(len, data or rows)).most_common(1)[0][0]
    has_header = _has_header(rows[0], data[:_MAX_ROWS]) if header is None else header
    first = rows[0]
    trailing = (
        has_header
        and fields == len(first) + 1
        and not any(row[-1] for row in data if len(row) == fields)
    )
    for piece in more:
        found = _lines(piece)[1:-1]
        padded = any(map(_MAYBE_PADDED.search, found))
        data += _rows(found if padded else found[: _MAX_LINES // 8], delimiter)
    regular = [row for row in (data if has_header else [first, *data]) if len(row) == fields]
    # The position of a column means nothing if the header and the rows don't agree.
    if has_header and not trailing and fields != len(first):
        regular = []
    columns = _columns(regular[:: 1 + len(regular) * fields // _MAX_CELLS])
    decimal = _decimal_of(columns, delimiter)
    return Dialect(
        delimiter=delimiter,
        skip_lines=skip,
        names=_unique(first) if has_header else None,
        fields=fields,
        comment=comment,
        decimal=decimal,
        thousands=_thousands_of(columns, decimal),
        text_columns=_padded(regular) | _where(columns, _loses_as_number),
        time_columns=_where(columns, lambda column: _all(_TIME, column)),
        date_columns=_where(columns, lambda column: _all(_ISO_DATE, column)),
        has_commented_header=commented,
        has_trailing_delimiter=trailing,
    )


def _lines(text: str) -> list[str]:
    # Not str.splitlines, which also breaks at characters that are part of a cell.
    return _LINE_BREAK.split(text)


def _content_lines(text: str) -> list[str]:
    lines = [line for line in _lines(text)[: _MAX_ROWS // 2] if line.strip()]
    return [line for line in lines if not line.startswith("#")] or lines


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    # A field longer than the module allows: what came before has to do.
    with contextlib.suppress(csv.Error):
        rows.extend(filter(None, csv.reader(lines, delimiter=delimiter)))
    return rows


def _skip_preamble(lines: list[str], skip: int, delimiter: str) -> tuple[int, bool]:
    """Find the header's line: after comments, titles and blank lines.

    Returns:
        The number of lines before it, and whether the header itself is a comment ("#chrom	start").
    """
    start = skip
    while skip < len(lines) and (not lines[skip].strip() or lines[skip].startswith("#")):
        skip += 1
    following = _rows(lines[skip : skip + 1], delimiter)
    if skip > start and following and len(following[0]) > 1 and lines[skip - 1].startswith("#"):
        names = _rows([lines[skip - 1]], delimiter)
        if names and len(names[0]) == len(following[0]):
            return skip - 1, True
    following_lines = lines[skip : skip + 2 * _MAX_PREAMBLE_LINES]
    counts = [len(_first_row(line, delimiter)) for line in following_lines]
    filled = [count for count in counts if count]
    if len(filled) < 3:
        return skip, False
    usual, times = Counter(filled).most_common(1)[0]
    if usual < 3 or times < len(filled) * 0.6:
        return skip, False  # too narrow, or too irregular, to tell a title from a row
    for offset, count in enumerate(counts[:_MAX_PREAMBLE_LINES]):
        if count >= usual - 1:
            return skip + offset, False
    return skip, False


def _first_row(line: str, delimiter: str) -> list[str]:
    rows = _rows([line], delimiter)
    return rows[0] if rows else []


def _comment_of(lines: Sequence[str]) -> str | None:
    # Only where "#" does nothing else: pandas would cut "C#" short.
    beginning = sum(line.startswith("#") for line in lines)
    return "#" if beginning and beginning == sum(line.count("#") for line in lines) else None


def _has_header(first: list[str], data: list[list[str]]) -> bool:
    if not data:
        return not all(_is_value(cell) for cell in first)
    values = [_is_value(cell) for cell in first]
    if not any(values):
        return True
    if _are_years(first):
        return True
    columns = list(zip(*(row for row in data if len(row) == len(first)), strict=False))
    for is_value, column in zip(values, columns, strict=False):
        filled = [cell for cell in column if cell.strip() not in _MISSING]
        if filled and not is_value and all(_is_value(cell) for cell in filled):
            return True  # a word over numbers
    return False


#: What a number, a date or a time can end in; most text is told by its last character.
_VALUE_ENDS = frozenset("0123456789.Z")


def _is_value(cell: str) -> bool:
    cell = cell.strip()
    patterns = (_NUMBER, _ISO_DATE, _COMMA_DECIMAL, _COMMA_GROUPS, _TIME)
    return bool(cell) and cell[-1] in _VALUE_ENDS and any(p.fullmatch(cell) for p in patterns)


def _are_years(cells: list[str]) -> bool:
    years = [int(c) for c in (cell.strip() for cell in cells) if re.fullmatch(r"[12]\d{3}", c)]
    others = [cell for cell in cells if _is_value(cell)]
    steps = {later - earlier for earlier, later in itertools.pairwise(years)}
    return len(years) == len(others) and len(years) > 1 and len(steps) == 1


def _columns(rows: list[list[str]]) -> list[list[str]]:
    stripped = ([cell.strip() for cell in column] for column in zip(*rows, strict=True))
    return [[cell if cell not in _MISSING else "" for cell in column] for column in stripped]


def _where(columns: list[list[str]], test: Callable[[list[str]], bool]) -> frozenset[int]:
    return frozenset(
        position for position, column in enumerate(columns) if any(column) and test(column)
    )


def _all(pattern: re.Pattern[str], column: list[str]) -> bool:
    return all(pattern.fullmatch(cell) for cell in column if cell)


def _padded(rows: list[list[str]]) -> frozenset[int]:
    """Find columns with leading zeros, looking at every row: one is enough, and may be rare."""
    return frozenset(
        position
        for row in rows
        for position, cell in enumerate(row)
        if "0" in cell and _PADDED.fullmatch(cell)
    )


def _loses_as_number(column: list[str]) -> bool:
    digits = max(len(cell) for cell in column)
    # 64 bits hold 19 digits; a column with gaps becomes floating point, which holds 15.
    limit = 15 if "" in column else 19
    return digits > limit and _all(_DIGITS, column)


def _decimal_of(columns: list[list[str]], delimiter: str) -> str:
    with_comma = [
        cell
        for column in columns
        if any("," in cell for cell in column)
        # "1,234,567" and "1,234.5" have their commas for grouping.
        and not any(cell.count(",") > 1 or "," in cell.rpartition(".")[0] for cell in column)
        and all(_is_value(cell) or _POINT_GROUPS.fullmatch(cell) for cell in column if cell)
        for cell in column
        if _COMMA_DECIMAL.fullmatch(cell)
    ]
    if not with_comma:
        return "."
    if any(not _COMMA_GROUPS.fullmatch(cell) for cell in with_comma):
        # "1,5" can't be a group. A table that writes "2.5" as well is neither: leave it alone.
        mixed = any(
            _POINT_DECIMAL.fullmatch(cell) and not _POINT_GROUPS.fullmatch(cell)
            for column in columns
            for cell in column
        )
        return "." if mixed else ","
    # "1,234" throughout: where ";" separates columns, the comma is the decimal one.
    return "," if delimiter == ";" else "."


def _thousands_of(columns: list[list[str]], decimal: str) -> dict[int, str]:
    pattern, group = (_POINT_GROUPS, ".") if decimal == "," else (_COMMA_GROUPS, ",")
    plain = re.compile(rf"[+-]?\d+(?:\{decimal}\d+)?")
    found = {}
    for position, column in enumerate(columns):
        grouped = [cell for cell in column if group in cell]
        if grouped and all(
            pattern.fullmatch(cell) if group in cell else plain.fullmatch(cell)
            for cell in column
            if cell
        ):
            found[position] = group
    return found


def _unique(names: list[str]) -> tuple[str, ...]:
    """Name columns as pandas does: "a", "a.1" for a second one, "Unnamed: 2" for none."""
    taken: set[str] = set()
    unique = []
    for position, given in enumerate(names):
        name = base = given if given else f"Unnamed: {position}"
        number = 0
        while name in taken:
            number += 1
            name = f"{base}.{number}"
        taken.add(name)
        unique.append(name)
    return tuple(unique)
