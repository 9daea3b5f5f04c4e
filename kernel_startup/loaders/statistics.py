"""Files of statistics programs: SPSS, Stata, SAS, R, MATLAB, Octave, IDL and others.

A table comes with codes as they are stored; what they mean is in `DataFrame.attrs`.
"""

import re
import struct
import zlib
from pathlib import Path
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.guarded import read_in_child
from kernel_startup.source import Source

#: What a file's variables may take: a header can ask for more than any machine has.
_MAX_BYTES = 4 << 30


def load_sav(
    source: Source,
    *,
    columns: list[str] | None = None,
    nrows: int | None = None,
    encoding: str | None = None,
    convert_categoricals: bool = False,
) -> Any:
    """Read SPSS data; convert_categoricals=True gives labels instead of codes."""
    return _labelled(
        source,
        "read_sav",
        source.as_path(".zsav" if source.head.startswith(b"$FL3") else ".sav"),
        usecols=columns,
        row_limit=nrows or 0,
        encoding=encoding,
        apply_value_formats=convert_categoricals,
    )


def load_por(
    source: Source,
    *,
    columns: list[str] | None = None,
    nrows: int | None = None,
    convert_categoricals: bool = False,
) -> Any:
    """Read an SPSS portable file."""
    return _labelled(
        source,
        "read_por",
        source.as_path(".por"),
        usecols=columns,
        row_limit=nrows or 0,
        apply_value_formats=convert_categoricals,
    )


def load_sas7bdat(
    source: Source,
    *,
    columns: list[str] | None = None,
    nrows: int | None = None,
    encoding: str | None = None,
    convert_categoricals: bool = False,
) -> Any:
    """Read SAS data, with the labels of a catalog of the same name if there is one."""
    catalog = _neighbour(source, ".sas7bcat")
    return _labelled(
        source,
        "read_sas7bdat",
        source.as_path(".sas7bdat"),
        catalog_file=None if catalog is None else str(catalog),
        usecols=columns,
        row_limit=nrows or 0,
        encoding=encoding,
        formats_as_category=convert_categoricals,
    )


def load_sas7bcat(source: Source, *, encoding: str | None = None) -> dict[str, Any]:
    """Read a SAS catalog: what the values of each format mean."""
    path = source.as_path(".sas7bcat")
    _, meta = _read_guarded(source, "read_sas7bcat", path, encoding=encoding)
    return dict(meta.value_labels)


def load_xpt(
    source: Source,
    *,
    columns: list[str] | None = None,
    nrows: int | None = None,
    encoding: str | None = None,
) -> Any:
    """Read a SAS transport file, version 5 or 8."""
    import pyreadstat

    options = {"usecols": columns, "row_limit": nrows or 0, "encoding": encoding}
    try:
        return _labelled(source, "read_xport", source.as_path(".xpt"), **options)
    except (UnicodeDecodeError, pyreadstat.ReadstatError):
        if encoding is not None:
            raise
        options["encoding"] = "WINDOWS-1252"
        return _labelled(source, "read_xport", source.as_path(".xpt"), **options)


def _labelled(source: Source, reader: str, path: Path, **options: Any) -> Any:
    """Read a table with pyreadstat, and put what it tells of it into its attrs."""
    table, meta = _read_guarded(source, reader, path, **options)
    told = {
        "file_label": meta.file_label,
        "column_labels": {k: v for k, v in meta.column_names_to_labels.items() if v},
        "value_labels": {k: dict(v) for k, v in meta.variable_value_labels.items()},
        "formats": {k: v for k, v in meta.original_variable_types.items() if v and v != "NULL"},
        "missing_ranges": meta.missing_ranges,
        "measures": {k: v for k, v in meta.variable_measure.items() if v != "unknown"},
        "notes": meta.notes,
    }
    table.attrs.update({name: value for name, value in told.items() if value})
    return table


def _read_guarded(source: Source, reader: str, path: Path, **options: Any) -> tuple[Any, Any]:
    """Read with pyreadstat, whose parser in C can end the process that it is in."""
    import pyreadstat

    table, meta = read_in_child(source, _read, reader, path, options)
    told = pyreadstat.metadata_container()
    told.__dict__.update(meta)
    return table, told


def _read(reader: str, path: Path, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    import pyreadstat

    table, meta = getattr(pyreadstat, reader)(path, **options)
    return table, vars(meta)


def load_dta(
    source: Source,
    *,
    columns: list[str] | None = None,
    nrows: int | None = None,
    convert_categoricals: bool = False,
    convert_dates: bool = True,
    convert_missing: bool = False,
) -> Any:
    """Read Stata data, version 5 and later; convert_categoricals=True gives labels."""
    import pandas as pd

    with (
        source.open() as file,
        pd.read_stata(
            file,
            iterator=True,
            convert_categoricals=convert_categoricals,
            convert_dates=convert_dates,
            convert_missing=convert_missing,
            columns=columns,
        ) as reader,
    ):
        stata: Any = reader
        table = stata.read(nrows)
        labels = {k: v for k, v in stata.variable_labels().items() if v}
        values = {
            name: {_plain(code): label for code, label in codes.items()}
            for name, codes in stata.value_labels().items()
        }
        told = {"file_label": stata.data_label, "column_labels": labels, "value_labels": values}
    table.attrs.update({name: value for name, value in told.items() if value})
    return table


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _neighbour(source: Source, suffix: str) -> Path | None:
    """The user's other file with the same stem."""
    stem = Path(source.name).stem.lower()
    wanted = {f"{stem}{suffix}", f"formats{suffix}"}
    return next((path for path in source.neighbours if path.name.lower() in wanted), None)


# -- R -------------------------------------------------------------------------------------------


def load_rds(source: Source) -> Any:
    """Read one R object: a data.frame to a DataFrame, a list to a dict or list."""
    return _read_r(source)


def load_rda(source: Source) -> dict[str, Any]:
    """Read an R workspace: its objects by name."""
    found: dict[str, Any] = _read_r(source)
    return found


def _read_r(source: Source) -> Any:
    import rdata

    content = source.read()
    try:
        extension = ".rds" if source.head[:2] in (b"X\n", b"A\n") else ".rda"
        parsed = rdata.parser.parse_data(content, extension=extension)
        return rdata.conversion.convert(parsed)
    except (RecursionError, MemoryError) as error:
        raise FileLoadError(source.name, "R objects that are nested too deeply or lie") from error


# -- MATLAB, Octave, IDL -------------------------------------------------------------------------


def load_mat(
    source: Source,
    *,
    columns: list[str] | None = None,
    squeeze_me: bool = False,
    struct_as_record: bool = True,
    simplify_cells: bool = False,
) -> dict[str, Any]:
    """Read MATLAB's variables (up to version 7): a dict; columns= names those wanted."""
    import scipy.io

    _refuse_huge_mat(source)
    with source.open() as file:
        found = scipy.io.loadmat(
            file,
            variable_names=columns,
            squeeze_me=squeeze_me,
            struct_as_record=struct_as_record,
            simplify_cells=simplify_cells,
        )
    noise = ("__header__", "__version__", "__globals__")
    return {name: value for name, value in found.items() if name not in noise}


def _refuse_huge_mat(source: Source) -> None:
    import math

    import scipy.io

    with source.open() as file:
        for name, shape, kind in scipy.io.whosmat(file):
            if math.prod(shape) > _MAX_BYTES // 8:
                raise FileLoadError(
                    source.name,
                    f"MATLAB variables; {name!r} ({kind}) says it has {math.prod(shape):,} values",
                    remedy="columns= names the variables wanted",
                )


def load_mat73(source: Source, *, columns: list[str] | None = None) -> dict[str, Any]:
    """Read MATLAB's variables, version 7.3: a dict; columns= names those wanted."""
    import h5py

    budget = [_MAX_BYTES]
    with h5py.File(source.as_path(".mat"), "r") as file:
        names = [name for name in file if not name.startswith("#")]
        wanted = names if columns is None else [name for name in names if name in columns]
        return {name: _from_hdf5(file, file[name], budget) for name in wanted}


def _from_hdf5(file: Any, node: Any, budget: list[int], depth: int = 0) -> Any:
    """One of MATLAB's values as it is kept in HDF5: turned around, by its class."""
    import h5py
    import numpy as np

    if depth > 50:
        raise ValueError("structures nested more than 50 deep")
    if isinstance(node, h5py.Group):
        if "MATLAB_sparse" in node.attrs:
            return _sparse(node)
        return {name: _from_hdf5(file, node[name], budget, depth + 1) for name in node}
    kind = node.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    budget[0] -= max(int(node.nbytes or 0), 64)
    if budget[0] < 0:
        raise ValueError("its variables take more than 4 GiB; columns= names those wanted")
    values = np.asarray(node[()])
    if "MATLAB_empty" in node.attrs:
        shape = tuple(int(length) for length in values.ravel()[:32])
        return "" if kind == "char" else np.zeros(shape if 0 in shape else (0,))
    if node.dtype == h5py.ref_dtype:
        cells = np.empty(values.shape, dtype=object)
        for place in np.ndindex(values.shape):
            cells[place] = _from_hdf5(file, file[values[place]], budget, depth + 1)
        return cells.T
    if kind == "char" and values.dtype.kind in "ui":
        rows = ["".join(map(chr, row)) for row in values.T.reshape(-1, values.shape[0])]
        return rows[0] if len(rows) == 1 else rows
    if kind == "logical":
        values = values.astype(bool)
    if values.dtype.names == ("real", "imag"):
        values = values["real"] + 1j * values["imag"]
    return values.T


def _sparse(node: Any) -> Any:
    import numpy as np
    from scipy.sparse import csc_array

    starts = np.asarray(node["jc"])
    values = np.asarray(node["data"]) if "data" in node else np.empty(0)
    places = np.asarray(node["ir"]) if "ir" in node else np.empty(0, dtype=int)
    shape = (int(node.attrs["MATLAB_sparse"]), len(starts) - 1)
    return csc_array((values, places.astype(int), starts.astype(int)), shape=shape)


def load_idl(source: Source) -> dict[str, Any]:
    """Read IDL's variables: a dict by name."""
    import scipy.io

    if source.head.startswith(b"SR\0\x06"):
        _refuse_bomb(source)
    found: dict[str, Any] = scipy.io.readsav(
        str(source.as_path(".sav")), python_dict=True, verbose=False
    )
    return found


def _refuse_bomb(source: Source) -> None:
    """Unpack the compressed records once, in pieces, to know what they come to."""
    content, at, total = source.read(), 4, 0
    while at + 16 <= len(content):
        kind, low, high = struct.unpack_from(">iII", content, at)
        end = low + (high << 32)
        if kind == 6 or end <= at:
            break
        unpack = zlib.decompressobj()
        rest = content[at + 16 : end] if kind not in (6, 10, 14, 19, 20) else b""
        while rest:
            try:
                total += len(unpack.decompress(rest, 1 << 20))
            except zlib.error:
                break
            rest = unpack.unconsumed_tail
            if total > _MAX_BYTES // 8:
                raise FileLoadError(source.name, "IDL variables that unpack to gigabytes")
        at = end


_OCTAVE_HEAD = re.compile(r"# (name|type|rows|columns|ndims|length|elements|nnz): ?(.*)")


def load_octave(source: Source) -> dict[str, Any]:
    """Read the variables that Octave saved as text: a dict by name."""
    from kernel_startup.loaders.text import decode

    lines = decode(source).splitlines()
    found: dict[str, Any] = {}
    at = 0
    while at < len(lines):
        match = _OCTAVE_HEAD.match(lines[at])
        at += 1
        if match and match[1] == "name":
            found[match[2].strip()], at = _octave_value(lines, at)
    if not found:
        raise FileLoadError(source.name, "a text without Octave's variables")
    return found


def _octave_value(lines: list[str], at: int, depth: int = 0) -> tuple[Any, int]:
    import numpy as np

    if depth > 50:
        raise ValueError("values nested more than 50 deep")
    head: dict[str, str] = {}
    while at < len(lines) and (match := _OCTAVE_HEAD.match(lines[at])) and match[1] != "name":
        head[match[1]] = match[2].strip()
        at += 1
    kind = head.get("type", "").removeprefix("global ")
    if kind in ("cell", "scalar struct", "struct"):
        return _octave_parts(lines, at, head, kind, depth)
    if kind.endswith(("string", "sq_string")):
        texts = []
        while at < len(lines) and lines[at].startswith("# length"):
            texts.append(lines[at + 1] if at + 1 < len(lines) else "")
            at += 2
        if not texts and "length" in head:
            texts.append(lines[at] if at < len(lines) else "")
            at += 1
        return (texts[0] if len(texts) == 1 else texts), at
    body = []
    while at < len(lines) and lines[at].strip() and not lines[at].startswith("#"):
        body.append(lines[at])
        at += 1
    if "ndims" in head:
        shape = tuple(map(int, body[0].split()))
        values = np.array([_octave_number(word) for row in body[1:] for word in row.split()])
        return values.reshape(shape, order="F"), at
    rows = [[_octave_number(word) for word in row.split()] for row in body]
    if "matrix" in kind and "rows" in head:
        return np.array(rows).reshape(int(head["rows"]), int(head["columns"])), at
    if kind == "bool":
        return bool(rows[0][0]), at
    return (rows[0][0] if len(rows) == 1 and len(rows[0]) == 1 else np.array(rows)), at


def _octave_parts(
    lines: list[str], at: int, head: dict[str, str], kind: str, depth: int
) -> tuple[Any, int]:
    """A cell array or a structure: as many named values as it says it has."""
    names: list[str] = []
    values: list[Any] = []
    wanted = int(head.get("rows", 1)) * int(head.get("columns", 1)) if kind == "cell" else 0
    if "length" in head:
        wanted = int(head["length"])
    while at < len(lines):
        match = _OCTAVE_HEAD.match(lines[at])
        if match and match[1] == "length" and not values:
            wanted = int(match[2])
        if match and match[1] == "name":
            if len(values) >= wanted:
                break
            value, at = _octave_value(lines, at + 1, depth + 1)
            names.append(match[2].strip())
            values.append(value)
        else:
            at += 1  # dimensions, and blank lines between
        if values and len(values) >= wanted:
            break
    return (values if kind == "cell" else dict(zip(names, values, strict=True))), at


def _octave_number(word: str) -> Any:
    if word.startswith("("):
        real, _, imaginary = word.strip("()").partition(",")
        return complex(float(real), float(imaginary))
    if word == "NA":
        return float("nan")
    try:
        return int(word)
    except ValueError:
        return float(word)


# -- others --------------------------------------------------------------------------------------


def load_gretl(source: Source) -> Any:
    """Read gretl's data: a DataFrame with the variables' labels in attrs."""
    import pandas as pd

    root = _xml(source)
    variables = root.findall(".//variable")
    names = [variable.get("name", "") for variable in variables]
    rows = [
        [None if word in ("NA", ".") else float(word) for word in (obs.text or "").split()]
        for obs in root.findall(".//obs")
    ]
    table = pd.DataFrame(rows, columns=names)
    labels = [obs.get("label") for obs in root.findall(".//obs")]
    if labels and all(labels):
        table.index = pd.Index(labels)
    table.attrs["column_labels"] = {v.get("name"): v.get("label") for v in variables}
    return table


def load_pzfx(source: Source) -> dict[str, Any]:
    """Read the tables of a GraphPad Prism file: DataFrames by title."""
    import pandas as pd

    tables: dict[str, Any] = {}
    for node in _xml(source).iter("{*}Table", "Table", "HugeTable"):
        title = _words(node.find("{*}Title")) or f"Table {len(tables) + 1}"
        columns = {}
        for column in node.iterfind("*"):
            kind = str(column.tag).rpartition("}")[2]
            if kind not in ("YColumn", "XColumn", "RowTitlesColumn", "XAdvancedColumn"):
                continue
            name = _words(column.find("{*}Title")) or kind.removesuffix("Column")
            for number, part in enumerate(column.findall("{*}Subcolumn"), 1):
                texts = [_words(cell) for cell in part.findall("{*}d")]
                values: Any = pd.Series(texts, dtype=object)
                if kind != "RowTitlesColumn":
                    values = pd.to_numeric(values.replace("", None), errors="coerce")
                label = name if number == 1 else f"{name}_{number}"
                while label in columns:
                    label += "_"
                columns[label] = values
        tables[title] = pd.DataFrame(columns)
    return tables


def _words(node: Any) -> str:
    return "" if node is None else "".join(node.itertext()).strip()


def _xml(source: Source) -> Any:
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    return etree.fromstring(source.read(), parser)


def load_mlx(source: Source) -> str:
    """Read a MATLAB live script: its code and text."""
    import zipfile

    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    with source.open() as file, zipfile.ZipFile(file) as archive:
        if archive.getinfo("matlab/document.xml").file_size > 64 << 20:
            raise FileLoadError(source.name, "a live script of more than 64 MiB")
        root = etree.fromstring(archive.read("matlab/document.xml"), parser)
    paragraphs = root.iter("{*}p")
    return "\n".join("".join(p.itertext()) for p in paragraphs)
