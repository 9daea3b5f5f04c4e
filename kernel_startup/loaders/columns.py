"""Text tables that aren't delimited: by blanks, by width, or with a format's own header."""

import io
import re
from typing import TYPE_CHECKING, Any

from kernel_startup import dialect, plaintext
from kernel_startup.errors import FileLoadError
from kernel_startup.loaders import passes_on
from kernel_startup.loaders.tabular import load_csv
from kernel_startup.loaders.text import decode, load_text
from kernel_startup.source import Source

if TYPE_CHECKING:
    import pandas as pd

_MAX_DENSE_CELLS = 200_000_000


@passes_on("pandas:read_csv")
def load_data(source: Source, *, encoding: str | None = None, **reader: Any) -> Any:
    """Read data that is called no more than that: a table if it is one, else its text."""
    text = _head(source, encoding)
    if dialect.sniff_delimiter(text) is not None or reader:
        return load_csv(source, encoding=encoding, **reader)
    if dialect.is_spaced_table(text):
        return load_spaced(source, encoding=encoding)
    return load_text(source, encoding=encoding)


@passes_on("pandas:read_csv")
def load_spaced(
    source: Source,
    *,
    encoding: str | None = None,
    columns: list[str] | None = None,
    **reader: Any,
) -> Any:
    """Read columns with blanks between them; or separated otherwise, if that is what there is."""
    text = _head(source, encoding)
    if not dialect.is_spaced_table(text) and "sep" not in reader:
        return load_csv(source, encoding=encoding, columns=columns, **reader)
    import pandas as pd

    stated = encoding or plaintext.sniff_encoding(source.head, whole=source.is_whole_in_head)
    lines = text.splitlines()
    comment = next((c for c in "#%!" if any(line.startswith(c) for line in lines)), None)
    data = [line for line in lines if line.strip() and not (comment and line.startswith(comment))]
    names: list[str] | None = None
    if data and not any(_is_number(cell) for cell in data[0].split()):
        header: int | None = 0
    else:
        header = None
        names = _names_in_comment(lines, comment, len(data[0].split()) if data else 0)
    padded = [
        at
        for at, column in enumerate(
            zip(*(line.split() for line in data[:-1] or data), strict=False)
        )
        if any(re.fullmatch(r"0\d+", cell) for cell in column)
    ]
    given: dict[str, Any] = {"sep": r"\s+", "header": header, "comment": comment}
    if names is not None:
        given["names"] = names
    labels = names or (data[0].split() if header == 0 else [*range(len(data[0].split()))])
    given["dtype"] = {labels[at]: "str" for at in padded if at < len(labels)}
    given |= {"encoding": stated, "usecols": columns, "compression": None, **reader}
    content: Any = source.path if source.compression is None else source.open()
    table = pd.read_csv(content, **given)
    return table if columns is None else table[columns]


def _names_in_comment(lines: list[str], comment: str | None, width: int) -> list[str] | None:
    """Names of columns as numerical programs write them: "# time  x  y" above the numbers."""
    last = None
    for line in lines:
        if comment and line.startswith(comment):
            last = line
        elif line.strip():
            break
    if last is None or comment is None:
        return None
    names = last.lstrip(comment).split()
    is_names = len(names) == width == len({*names}) and not any(map(_is_number, names))
    return names if is_names else None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@passes_on("pandas:read_fwf")
def load_fixed_width(
    source: Source,
    *,
    encoding: str | None = None,
    columns: list[str] | None = None,
    **reader: Any,
) -> Any:
    """Read columns of fixed width; where they are is found by what is blank in all rows."""
    import pandas as pd

    text = decode(source, encoding).replace("\f", "\n")
    if not text.strip():
        raise FileLoadError(source.name, "an empty file" if not text else "a file of blanks")
    if columns is not None:
        reader["usecols"] = columns
    if "colspecs" not in reader and "widths" not in reader and "\t" not in text[:10_000]:
        delimiter = dialect.sniff_delimiter(text[:60_000])
        if delimiter is not None and dialect.is_plain_table(text[:60_000], delimiter):
            return load_csv(source, encoding=encoding, columns=columns)
    if "dtype" not in reader:
        # Which columns have leading zeros shows only once they are cut.
        first = pd.read_fwf(io.StringIO(text[:60_000]), **{**reader, "dtype": "str", "nrows": 200})
        padded = [
            name
            for name in first.columns
            if first[name].dropna().astype(str).str.fullmatch(r"0\d+").any()
        ]
        reader["dtype"] = dict.fromkeys(padded, "str")
    table = pd.read_fwf(io.StringIO(text), **reader)
    return table if columns is None else table[columns]


def _head(source: Source, encoding: str | None) -> str:
    stated = encoding or plaintext.sniff_encoding(source.head, whole=source.is_whole_in_head)
    if stated is None:
        raise FileLoadError(source.name, "binary, not a text table")
    if not source.head.strip():
        raise FileLoadError(source.name, "an empty file" if not source.head else "a file of blanks")
    text = source.head.decode(stated, errors="replace").lstrip("\ufeff")
    if source.is_whole_in_head:
        return text
    return text.rpartition("\n")[0] + "\n"


# -- with a header of their own -------------------------------------------------------------------

_ECSV_TYPES = {
    **{
        f"{sign}int{size}": f"{sign.capitalize()}Int{size}".replace("Uint", "UInt")
        for sign in ("", "u")
        for size in (8, 16, 32, 64)
    },
    **{"float16": "float32", "float32": "float32", "float64": "float64", "float128": "float64"},
    **{"string": "str", "bool": "boolean"},
}


def load_ecsv(source: Source, *, columns: list[str] | None = None, nrows: int | None = None) -> Any:
    """Read astropy's enhanced CSV, whose comments tell the columns' types."""
    import pandas as pd

    text = decode(source, "utf-8-sig")
    lines = text.splitlines()
    notes = [line[1:].removeprefix(" ") for line in lines if line.startswith("#")]
    stated = next((m[1] for n in notes if (m := re.match(r"delimiter: ['\"]?(.)", n))), " ")
    fields = _ecsv_fields(notes)
    table: pd.DataFrame = pd.read_csv(
        io.StringIO("\n".join(line for line in lines if not line.startswith("#"))),
        sep=stated,
        dtype=dict.fromkeys(fields, "str"),
        keep_default_na=False,
        na_values=[""],
        nrows=nrows,
    )
    for name, kind in fields.items():
        if name in table.columns and kind in _ECSV_TYPES and kind != "string":
            table[name] = _as_type(table[name], _ECSV_TYPES[kind])
    return table if columns is None else table[columns]


def _ecsv_fields(notes: list[str]) -> dict[str, str]:
    """The columns and their types, of the YAML in an ECSV file's comments."""
    items: list[str] = []
    for note in notes:
        if note.startswith("- "):
            items.append(note)
        elif note.startswith(" ") and items:
            items[-1] += note
    fields = {}
    for item in items:
        name = re.search(r"\bname: *(?:'((?:[^']|'')*)'|\"([^\"]*)\"|([^,}\s]+))", item)
        kind = re.search(r"\bdatatype: *(\w+)", item)
        if name is not None and kind is not None:
            fields[next(part for part in name.groups() if part is not None)] = kind[1]
    return fields


def _as_type(column: "pd.Series[Any]", kind: str) -> Any:
    import pandas as pd

    try:
        if kind == "boolean":
            flags = column.map({"True": True, "False": False, "1": True, "0": False})
            return flags.astype("bool") if flags.notna().all() else flags.astype("boolean")
        numbers = pd.to_numeric(column)
        plain: Any = kind.lower() if numbers.notna().all() else kind
        return numbers.astype(plain)
    except (ValueError, TypeError, OverflowError):
        return column


def load_votable(
    source: Source, *, columns: list[str] | None = None, nrows: int | None = None
) -> Any:
    """Read the tables of a VOTable with astropy."""
    import warnings

    from astropy.io.votable import parse

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        document = parse(io.BytesIO(source.read()), verify="ignore")
        found: dict[str, Any] = {}
        for at, table in enumerate(document.iter_tables()):
            frame = _frame_of_astropy(table.to_table())[:nrows]
            name = str(table.name or table.ID or f"table {at + 1}")
            found[name if name not in found else f"{name} {at + 1}"] = (
                frame if columns is None else frame[columns]
            )
    if not found:
        raise FileLoadError(source.name, "a VOTable without a table")
    return next(iter(found.values())) if len(found) == 1 else found


def _frame_of_astropy(table: Any) -> Any:
    """A DataFrame; columns that hold arrays come as objects."""
    import pandas as pd

    flat = [name for name in table.colnames if len(table[name].shape) <= 1]
    frame = table[flat].to_pandas() if flat else pd.DataFrame(index=range(len(table)))
    for name in table.colnames:
        if name not in flat:
            frame[name] = list(table[name])
    frame = frame[list(table.colnames)]
    for name in frame.columns:
        if frame[name].dtype == object and frame[name].map(lambda v: isinstance(v, bytes)).any():
            frame[name] = frame[name].map(
                lambda v: v.decode("utf-8", "replace") if isinstance(v, bytes) else v
            )
    return frame


def load_mrt(source: Source, *, nrows: int | None = None) -> Any:
    """Read a machine-readable table of the CDS or the AAS with astropy."""
    return _astropy_ascii(source, "mrt", nrows)


def load_ipac(source: Source, *, nrows: int | None = None) -> Any:
    """Read an IPAC table with astropy."""
    return _astropy_ascii(source, "ipac", nrows)


def _astropy_ascii(source: Source, kind: str, nrows: int | None) -> Any:
    import warnings

    from astropy.io import ascii as astropy_ascii

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = astropy_ascii.read(decode(source).splitlines(), format=kind, guess=False)
    return _frame_of_astropy(table)[:nrows]


def load_html_tables(source: Source, *, encoding: str | None = None) -> Any:
    """Read the tables of a web page that is called a workbook: the only one, or all by number."""
    import pandas as pd

    text = decode(source, encoding)
    if "<table" not in text.lower():
        return load_text(source, encoding=encoding)
    try:
        tables = pd.read_html(io.StringIO(text), flavor="lxml")
    except ValueError as error:
        raise FileLoadError(
            source.name, "a web page called a workbook", "pandas.read_html", str(error)
        ) from error
    filled = [table for table in tables if not table.empty] or tables
    if len(filled) == 1:
        return filled[0]
    return {f"table {number}": table for number, table in enumerate(filled, start=1)}


# -- ARFF, Matrix Market, LIBSVM ------------------------------------------------------------------

_ARFF_ATTRIBUTE = re.compile(
    r"@attribute\s+(?:'((?>(?:[^'\\]++|\\.)*))'|\"((?>(?:[^\"\\]++|\\.)*))\"|(\S+))\s+(.*)",
    re.IGNORECASE,
)


def load_arff(
    source: Source,
    *,
    encoding: str | None = None,
    columns: list[str] | None = None,
    nrows: int | None = None,
) -> Any:
    """Read Weka's ARFF: nominal attributes become categories, dates datetimes; also sparse rows."""
    import pandas as pd

    names: list[str] = []
    kinds: list[str] = []
    rows: list[list[str | None]] = []
    in_data = False
    for line in decode(source, encoding).splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith("%"):
            continue
        if in_data:
            if nrows is not None and len(rows) >= nrows:
                break
            rows.append(_arff_row(stripped, len(names)))
        elif stripped[:5].lower() == "@data":
            in_data = True
        elif (match := _ARFF_ATTRIBUTE.match(stripped)) is not None:
            names.append(next(part for part in match.groups()[:3] if part is not None))
            kinds.append(match[4].strip())
    if not names:
        raise FileLoadError(source.name, "an ARFF file without an attribute")
    bad = sum(len(row) != len(names) for row in rows)
    if bad:
        source.note(f"{source.name!r}: left out {bad} rows of another length than the header's.")
        rows = [row for row in rows if len(row) == len(names)]
    cells = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    table = pd.concat(
        [_arff_column([*column], kind) for column, kind in zip(cells, kinds, strict=True)], axis=1
    )
    table.columns = pd.Index(names)
    return table if columns is None else table[columns]


def _arff_row(line: str, width: int) -> list[str | None]:
    if line.startswith("{"):
        row: list[str | None] = ["0"] * width
        for part in _arff_cells(line.strip("{} \t")):
            at, _, value = (part or "").partition(" ")
            if at.isdecimal() and int(at) < width:
                row[int(at)] = _unquoted(value.strip())
        return row
    return [None if cell == "?" else cell for cell in _arff_cells(line)]


_ARFF_CELL = re.compile(
    r"\s*+(?:'((?>(?:[^'\\]++|\\.)*))'|\"((?>(?:[^\"\\]++|\\.)*))\"|([^,\t]*+))\s*+(?:[,\t]|\Z)"
)


def _arff_cells(line: str) -> list[str | None]:
    cells: list[str | None] = []
    at = 0
    while at < len(line):
        match = _ARFF_CELL.match(line, at)
        if match is None:
            return [*cells, line[at:].strip()]
        single, double, plain = match.groups()
        cells.append(plain.strip() if plain is not None else _unescaped(single or double or ""))
        at = match.end()
    if line.endswith(","):
        cells.append("")
    return cells


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _arff_column(cells: list[str | None], kind: str) -> Any:
    import pandas as pd

    series = pd.Series(cells, dtype="str")
    lowered = kind.lower()
    if lowered.startswith(("numeric", "real", "integer")):
        return pd.to_numeric(series, errors="coerce")
    if lowered.startswith("date"):
        return pd.to_datetime(series, errors="coerce", format="ISO8601")
    if kind.startswith("{"):
        levels = [cell or "" for cell in _arff_cells(kind.strip().strip("{}").strip())]
        values = [cell for cell in cells if cell is not None]
        known = list(dict.fromkeys([*levels, *values]))
        return series.astype(pd.CategoricalDtype(known))
    return series


def load_matrix_market(source: Source) -> Any:
    """Read a Matrix Market file: a sparse array, or an array if it is stored densely."""
    from scipy.io import mmread

    content = source.read()
    size = re.search(rb"^\s*(\d+)\s+(\d+)(?:\s+(\d+))?\s*$", content[:200_000], re.MULTILINE)
    if size is None:
        raise FileLoadError(source.name, "a Matrix Market file without a size")
    rows, columns = int(size[1]), int(size[2])
    entries = int(size[3]) if size[3] is not None else rows * columns
    if entries > max(len(content), 1000) or entries > _MAX_DENSE_CELLS:
        raise FileLoadError(
            source.name,
            f"a Matrix Market file that announces {entries:,} entries, "
            f"which its {len(content):,} bytes can't hold",
        )
    if max(rows, columns) > 2**62:
        raise FileLoadError(source.name, f"a matrix of {rows:,} by {columns:,}")
    return mmread(io.BytesIO(content), spmatrix=False)


def load_libsvm(source: Source) -> Any:
    """Read LIBSVM's sparse rows: the features, and the labels."""
    import numpy as np
    from scipy.sparse import csr_array

    labels: list[float] = []
    data: list[float] = []
    indices: list[int] = []
    ends = [0]
    for line in decode(source).splitlines():
        parts = line.partition("#")[0].split()
        if not parts:
            continue
        labels.append(float(parts[0].partition(",")[0]))
        for part in parts[1:]:
            at, _, value = part.partition(":")
            if at != "qid":
                indices.append(int(at))
                data.append(float(value))
        ends.append(len(data))
    first = 0 if indices and min(indices) == 0 else 1
    width = max(indices, default=-1) + 1 - first
    if not labels or min(indices, default=0) < 0 or width > 2**31:
        raise FileLoadError(source.name, "a LIBSVM file without a row, or with impossible ones")
    columns = np.asarray(indices, dtype="int64") - first
    return csr_array((data, columns, ends), shape=(len(labels), max(width, 0))), np.array(labels)
