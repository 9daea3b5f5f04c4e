"""What IPython shows of a table, with all of it as text/csv where that is more than can be read.

A front end can attach it as a file; what is printed, and what a model reads, stays as it is.
"""

import io
import sys
import unicodedata
from typing import Any

from IPython.core.formatters import DisplayFormatter

#: A text with more columns or lines than this is hard to read in a chat's code block: the bot shows
#: it as a picture then (``bot/messages/tables.py``), from which nobody can copy.
_MOST_WIDTH, _MOST_LINES = 62, 22
#: A table larger than this is not written.
_MOST_CELLS = 200_000
_MOST_CHARS = 5_000_000
#: All tables of one cell: a loop that shows many is nothing to attach.
_MOST_CELLS_TOGETHER = 1_000_000


class TableFormatter(DisplayFormatter):
    """IPython's formatter, with `text/csv` beside the other forms of large tables."""

    _cell: object = None
    _written = 0

    def format(
        self, obj: Any, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """All forms of an object, by MIME type, and their metadata; called for each display."""
        forms, metadata = super().format(obj, include, exclude)  # type: ignore[no-untyped-call]
        wanted = not (include and "text/csv" not in include) and "text/csv" not in (exclude or ())
        if wanted and forms and "text/csv" not in forms and is_table(obj):
            try:
                written = self._csv(obj, forms.get("text/plain"))
            except Exception:  # of a kind with ways of its own; it is shown all the same
                written = None
            if written is not None:
                forms = {**forms, "text/csv": written}
        return forms, metadata

    def forget(self) -> None:
        """Begin as if nothing had been shown."""
        self._cell, self._written = None, 0

    def _csv(self, table: Any, shown: object) -> str | None:
        """A table as comma-separated values, if this cell may still write it."""
        cell = getattr(self.parent, "execution_count", None)
        if cell != self._cell:
            self._cell, self._written = cell, 0
        if self._written + table.size > _MOST_CELLS_TOGETHER:
            return None
        written = csv_of(table, shown)
        if written is not None:
            self._written += table.size
        return written


def is_table(obj: Any) -> bool:
    """Whether it is a DataFrame or a Series of pandas, or one of a kind made from these."""
    pandas = sys.modules.get("pandas")
    kinds = (getattr(pandas, "DataFrame", ()), getattr(pandas, "Series", ()))
    try:
        return isinstance(obj, kinds)
    except TypeError:  # pandas is being imported, or isn't what it was
        return False


def csv_of(table: Any, shown: object) -> str | None:
    """A table as comma-separated values; None if what is shown is enough, or it is too large.

    Args:
        table: A DataFrame or a Series.
        shown: Its text as it is shown.
    """
    if table.size > _MOST_CELLS or not _is_more_than(table, shown):
        return None
    buffer = _Bounded()
    try:
        table.to_csv(buffer, index=not _is_counted(table.index))
    except _TooLong:
        return None
    return buffer.getvalue()


def _is_more_than(table: Any, shown: object) -> bool:
    """Whether a table is larger than what is shown of it, or wider than what can be read."""
    options = sys.modules["pandas"].options.display
    if not options.notebook_repr_html:
        return False  # its user wants text and nothing else
    rows, columns = (*table.shape, 1)[:2]
    if (options.max_rows and rows > options.max_rows) or (
        options.max_columns and columns > options.max_columns
    ):
        return True
    lines = shown.splitlines() if isinstance(shown, str) else []
    return len(lines) > _MOST_LINES or any(_width(line) > _MOST_WIDTH for line in lines)


def _width(line: str) -> int:
    """How many columns a line takes; Chinese, Japanese and Korean letters take two each."""
    if line.isascii():
        return len(line)
    return len(line) + sum(unicodedata.east_asian_width(letter) in "WF" for letter in line)


def _is_counted(index: Any) -> bool:
    """Whether an index only counts the rows."""
    pandas = sys.modules["pandas"]
    return (
        isinstance(index, pandas.RangeIndex)
        and (index.start, index.step) == (0, 1)
        and index.name is None
    )


class _TooLong(Exception):
    """A text has no room for more."""


class _Bounded(io.StringIO):
    """Text in memory, up to a limit."""

    def __init__(self) -> None:
        super().__init__(newline="")
        self._room = _MOST_CHARS

    def write(self, text: str) -> int:
        """Take a piece, or refuse what is too much."""
        self._room -= len(text)
        if self._room < 0:
            raise _TooLong
        return super().write(text)
