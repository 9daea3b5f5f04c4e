"""A web page as BeautifulSoup gives it, with its tables."""

import io
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import bs4

if TYPE_CHECKING:
    import pandas as pd

#: What a cell may span: no table that people read is wider in one cell.
_MAX_SPAN = 100
_MAX_CELLS = 2_000_000
_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|[+-]?\.\d+")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")


class HtmlDocument(bs4.BeautifulSoup):
    """A parsed page: `.find_all`, `.select`, `.get_text()` and so on, and `.tables`."""

    @cached_property
    def tables(self) -> "list[pd.DataFrame]":
        """All tables that hold cells, as pandas.DataFrame; ids with leading zeros stay text."""
        import pandas as pd

        found: list[Any] = self.find_all("table")
        tables = []
        for table in found:
            if not _bound_spans(table):
                raise ValueError(f"a table of the page has more than {_MAX_CELLS:,} cells")
            try:
                markup = str(table)
                columns = pd.read_html(io.StringIO(markup), flavor="lxml")[0].shape[1]
                texts = dict.fromkeys(range(columns), str)
                read = pd.read_html(io.StringIO(markup), flavor="lxml", converters=texts)
            except (ValueError, IndexError):  # it has no cells
                continue
            # A table within another is in the list itself.
            tables += [read[0].apply(_as_numbers)]
        return tables


def _bound_spans(table: Any) -> bool:
    cells = 0
    for cell in table.find_all(["td", "th"]):
        area = 1
        for attribute in ("colspan", "rowspan"):
            given = str(cell.get(attribute, "1")).strip()
            span = min(int(given), _MAX_SPAN) if given.isdecimal() and len(given) < 9 else 1
            if attribute in cell.attrs:
                cell[attribute] = str(max(span, 1))
            area *= max(span, 1)
        cells += area
    return cells <= _MAX_CELLS


def _as_numbers(column: Any) -> Any:
    import pandas as pd

    texts = column.astype(str).str.strip()
    filled = texts[texts != ""]
    if filled.empty:
        return column
    if filled.map(lambda text: _NUMBER.fullmatch(text) is not None).all():
        return pd.to_numeric(texts.where(texts != ""))
    numbers = filled.map(lambda t: bool(_NUMBER.fullmatch(t) or _GROUPED.fullmatch(t)))
    if numbers.all():
        return pd.to_numeric(texts.where(texts != "").str.replace(",", ""))
    return column
