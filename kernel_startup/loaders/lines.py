"""Texts of science read line by line: tables with known columns, and what their comments say.

Their formats fix the columns, so nothing has to be guessed; what isn't told by the format stays
text, as an accession "007" is one.
"""

import gzip
import io
import itertools
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

from kernel_startup.errors import FileLoadError
from kernel_startup.source import Source

#: What is read of a table or a set of records unless nrows= says otherwise.
MAX_ROWS = 2_000_000
_MAX_NOTES = 3
_MAX_NOTE = 300
#: A line longer than this is no line of a table.
_MAX_FIELDS = 20_000


def open_binary(source: Source) -> BinaryIO:
    """Give the uncompressed content as a stream that is unpacked as it is read, where it can be."""
    if source.compression == "gzip":
        return io.BufferedReader(gzip.GzipFile(source.path))
    return source.open()


def open_text(source: Source, encoding: str | None = None) -> io.TextIOWrapper:
    """Give the content as text; what isn't in its encoding becomes U+FFFD."""
    from kernel_startup import plaintext

    found = encoding or plaintext.sniff_encoding(source.head, whole=source.is_whole_in_head)
    if found is None:
        found = "latin-1"  # a stray control character in what is text otherwise
    return io.TextIOWrapper(open_binary(source), encoding=found, errors="replace")


@contextmanager
def noting(source: Source) -> Iterator[None]:
    """Turn what a library warns of into notes, each once and the first few."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    skipped = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ResourceWarning)
    said = dict.fromkeys(
        " ".join(str(warning.message).split())[:_MAX_NOTE]
        for warning in caught
        if not issubclass(warning.category, skipped)
    )
    for sentence in itertools.islice(said, _MAX_NOTES):
        source.note(sentence)


def limited(
    source: Source, records: Iterable[Any], nrows: int | None, most: int, what: str = "records"
) -> list[Any]:
    """Take what `nrows` asks for, or else at most `most`, and say so if there is more."""
    iterator = iter(records)
    taken = list(itertools.islice(iterator, most if nrows is None else max(nrows, 0)))
    if nrows is None and len(taken) == most and next(iterator, None) is not None:
        source.note(f"{source.name!r} has more than the {most:,} {what} read: nrows= reads others.")
    return taken


def read_table(
    source: Source,
    names: Sequence[str],
    *,
    numbers: Iterable[str] = (),
    nrows: int | None = None,
    comment: str = "#",
    skip: tuple[str, ...] = (),
    sep: str = "\t",
    extra: str = "column",
    missing: tuple[str, ...] = (".",),
    on_comment: Callable[[str], None] | None = None,
    encoding: str | None = None,
) -> Any:
    """Read a table without a header line to a DataFrame.

    Args:
        source: The file.
        names: Its columns; what comes after them is called by `extra` and a number.
        numbers: Columns that become numbers, if all of a column are.
        nrows: How many rows to read.
        comment: What lines begin with that are left out.
        skip: Words that other lines to leave out begin with.
        sep: What is between fields; a blank stands for any white space.
        extra: What to call further columns.
        missing: What stands for a missing number.
        on_comment: Gets each comment line at the beginning.
        encoding: The text's.
    """
    left_out = tuple(filter(None, (comment, *skip)))

    def rows(lines: Iterable[str]) -> Iterator[str]:
        begun = False
        for line in lines:
            if line.startswith(left_out) if left_out else False:
                if on_comment is not None and not begun:
                    on_comment(line.rstrip("\r\n"))
            elif line.strip():
                begun = True
                yield line

    with open_text(source, encoding) as text:
        taken = limited(source, rows(text), nrows, MAX_ROWS, "rows")
    table = table_of(source, taken, names, sep=sep, extra=extra)
    for name in numbers:
        if name in table:
            table[name] = as_numbers(table[name], missing)
    return table


def table_of(
    source: Source,
    lines: list[str],
    names: Sequence[str],
    *,
    sep: str = "\t",
    extra: str = "column",
) -> Any:
    """Make a DataFrame of text from lines; fields that lack are empty strings."""
    import pandas as pd

    split = None if sep == " " else sep
    width = max((len(line.rstrip("\r\n").split(split)) for line in lines[:1000]), default=0)
    if width > _MAX_FIELDS:
        raise FileLoadError(source.name, f"a table of {width:,} columns")
    wide = [*names, *(f"{extra}{at + 1}" for at in range(len(names), width))]
    if not lines:
        return pd.DataFrame(columns=list(names), dtype="str")
    # Fewer columns than the format allows are none at all, not empty ones.
    columns = wide[: max(width, 1)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = pd.read_csv(
            io.StringIO("".join(line if line.endswith("\n") else line + "\n" for line in lines)),
            sep=r"\s+" if sep == " " else sep,
            header=None,
            names=columns,
            index_col=False,
            dtype="str",
            keep_default_na=False,
            quoting=3,
            on_bad_lines="warn",
        )
    bad = sum(len(re.findall(r"line \d+", str(warning.message))) for warning in caught)
    if bad:
        source.note(f"{source.name!r}: left out {bad:,} lines with more fields than the others.")
    return table.fillna("")


def as_numbers(column: Any, missing: tuple[str, ...] = (".",)) -> Any:
    """Make a column of text one of numbers, if all of it is; whole ones stay whole."""
    import pandas as pd

    gone = column.isin([*missing, ""])
    try:
        if not gone.any():
            return pd.to_numeric(column)
        if gone.all():
            return pd.Series(float("nan"), index=column.index)
        return pd.to_numeric(column.mask(gone))
    except (ValueError, OverflowError):
        return column
