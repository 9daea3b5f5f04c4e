"""What laboratories measure: expression, arrays, flow cytometry, and what genes are called."""

import itertools
import json
import re
import struct
from collections.abc import Iterator
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.lines import (
    MAX_ROWS,
    as_numbers,
    limited,
    open_text,
    read_table,
    table_of,
)
from kernel_startup.source import Source

_MAX_CELLS = 200_000_000


def load_mutations(source: Source, *, nrows: int | None = None) -> Any:
    """Read mutations, a row each, by the columns its header names."""
    return _headed(source, nrows, comment="#")


def _headed(source: Source, nrows: int | None, comment: str = "", skip: int = 0) -> Any:
    """Read a table of tabs with a header line; numbers where all of a column are."""
    with open_text(source) as text:
        lines = itertools.islice(text, skip, None)
        kept = (line for line in lines if line.strip() and not (comment and line[:1] == comment))
        names = [name.strip('"') for name in next(kept, "").rstrip("\r\n").split("\t")]
        rows = limited(source, kept, nrows, MAX_ROWS, "rows")
    table = table_of(source, rows, _unique(names))
    for name in table.columns:
        table[name] = _unquoted(table[name])
    return table


def _unquoted(column: Any) -> Any:
    if column.str.startswith('"').any():
        column = column.str.strip('"')
    return column if column.str.match(r"0\d").any() else as_numbers(column, ("", "NA"))


def _unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}.{seen[name] - 1}")
    return found


def load_gct(source: Source, *, nrows: int | None = None) -> Any:
    """Read expression: a row a gene, a column a sample.

    In version 1.3 the rows that describe samples come first, as text in attrs["samples"].
    """
    with open_text(source) as text:
        version = text.readline().strip()
        counts = [int(word) for word in text.readline().split()]
    described = counts[3] if len(counts) > 3 and version == "#1.3" else 0
    table = _headed(source, None if nrows is None else nrows + described, skip=2)
    if described:
        samples = table.iloc[:described]
        table = table.iloc[described:].reset_index(drop=True)
        for name in table.columns[1:]:
            table[name] = as_numbers(table[name].astype("str"), ("", "NA", "na"))
        table.attrs["samples"] = samples.set_index(table.columns[0]).to_dict("index")
    return table


def load_cls(source: Source) -> Any:
    """Read the class of each sample."""
    import pandas as pd

    with open_text(source) as text:
        lines = [line.split() for line in text if line.strip()]
    if len(lines) < 3:
        raise FileLoadError(source.name, "a CLS file of fewer than three lines")
    if lines[0][0] == "#numeric":
        return pd.Series([float(word) for word in lines[2]], name=" ".join(lines[1])[1:])
    names = [word.lstrip("#") for word in lines[1] if word != "#"]
    labels = lines[2]
    codes = {code: names[int(code)] for code in set(labels) if _is_index(code, names)}
    return pd.Series([codes.get(label, label) for label in labels], name="class", dtype="str")


def _is_index(code: str, names: list[str]) -> bool:
    return code.isascii() and code.isdigit() and int(code) < len(names)


def load_gpr(source: Source, *, nrows: int | None = None) -> Any:
    """Read the spots of an array; the header is in attrs["header"]."""
    with open_text(source) as text:
        text.readline()
        count = int(text.readline().split()[0])
        header = [line.strip().strip('"') for line in itertools.islice(text, min(count, 10_000))]
    table = _headed(source, nrows, skip=2 + count)
    table.attrs["header"] = dict(line.partition("=")[::2] for line in header)
    return table


def load_soft(source: Source) -> dict[str, Any]:
    """Read GEO's entities: their tables, with the attributes in attrs."""
    import pandas as pd

    found: dict[str, Any] = {}
    attributes: dict[str, list[str]] = {}
    rows: list[str] = []
    name, inside = "", False

    def finish() -> None:
        if name:
            table = (
                table_of(source, rows[1:], _unique(rows[0].rstrip("\r\n").split("\t")))
                if (rows)
                else pd.DataFrame()
            )
            for column in table.columns:
                table[column] = _unquoted(table[column])
            table.attrs.update(attributes)
            found[name] = table

    with open_text(source) as text:
        for line in itertools.islice(text, 20_000_000):
            key, _, value = line[1:].partition("=")
            if line.startswith("^"):
                finish()
                name, attributes, rows, inside = value.strip() or key.strip(), {}, [], False
            elif re.match(r"!\w+_table_begin", line):
                inside = True
            elif re.match(r"!\w+_table_end", line):
                inside = False
            elif inside:
                rows.append(line)
            elif line.startswith("!"):
                attributes.setdefault(key.strip(), []).append(value.strip())
    finish()
    return found


def load_series_matrix(source: Source, *, nrows: int | None = None) -> Any:
    """Read the expression of a GEO series; what is said of it is in attrs."""
    told: dict[str, list[str]] = {}
    begin = 0
    with open_text(source) as text:
        for line in text:
            begin += 1
            if line.startswith("!series_matrix_table_begin"):
                break
            name, _, value = line[1:].rstrip("\r\n").partition("\t")
            told.setdefault(name, []).append(value.replace('"', ""))
        else:
            raise FileLoadError(source.name, "a series matrix without its table")
    table = _headed(source, nrows, comment="!", skip=begin)
    table.attrs.update(told)
    return table


def load_gmt(source: Source) -> dict[str, list[str]]:
    """Read sets of genes."""
    with open_text(source) as text:
        rows = [line.rstrip("\r\n").split("\t") for line in text if line.strip()]
    return {row[0]: [gene for gene in row[2:] if gene] for row in rows}


def load_gmx(source: Source) -> dict[str, list[str]]:
    """Read sets of genes, which stand in columns."""
    with open_text(source) as text:
        rows = [line.rstrip("\r\n").split("\t") for line in text]
    names = rows[0] if rows else []
    return {
        name: [row[at] for row in rows[2:] if at < len(row) and row[at]]
        for at, name in enumerate(names)
    }


def load_grp(source: Source) -> list[str]:
    """Read a set of genes."""
    with open_text(source) as text:
        return [line.strip() for line in text if line.strip() and not line.startswith("#")]


def load_rnk(source: Source, *, nrows: int | None = None) -> Any:
    """Read genes with their ranks."""
    return read_table(source, ("gene", "rank"), numbers=("rank",), nrows=nrows)


_GAF = (
    *("db", "object_id", "symbol", "qualifier", "go_id", "reference", "evidence", "with_from"),
    *("aspect", "name", "synonym", "type", "taxon", "date", "assigned_by", "extension"),
    "product",
)
_GPAD = (
    *("db", "object_id", "qualifier", "go_id", "reference", "evidence", "with_from"),
    *("taxon", "date", "assigned_by", "extension", "properties"),
)


def load_gaf(source: Source, *, nrows: int | None = None) -> Any:
    """Read annotations of genes."""
    return read_table(source, _GAF, nrows=nrows, comment="!")


def load_gpad(source: Source, *, nrows: int | None = None) -> Any:
    """Read annotations of genes."""
    return read_table(source, _GPAD, nrows=nrows, comment="!")


def load_obo(source: Source, *, nrows: int | None = None) -> Any:
    """Read the terms of an ontology; of tags that repeat, a list. The header is in attrs."""
    import pandas as pd

    header: dict[str, list[str]] = {}

    def terms() -> Iterator[dict[str, Any]]:
        term: dict[str, Any] = {}
        kind = ""
        with open_text(source) as text:
            for line in text:
                line = line.strip()
                if line.startswith("[") and line.endswith("]"):
                    if kind == "Term" and term:
                        yield term
                    kind, term = line[1:-1], {}
                    continue
                name, sign, value = line.partition(":")
                if not sign or line.startswith("!"):
                    continue
                value = re.sub(r"\s+!\s.*", "", value.strip())
                if not kind:
                    header.setdefault(name, []).append(value)
                elif name in _REPEATED:
                    term.setdefault(name, []).append(value)
                else:
                    term[name] = value
        if kind == "Term" and term:
            yield term

    table = pd.DataFrame(limited(source, terms(), nrows, 500_000, "terms"))
    table.attrs["header"] = {name: values[0] for name, values in header.items()}
    return table


_REPEATED = {
    *("is_a", "synonym", "xref", "alt_id", "subset", "relationship", "intersection_of"),
    *("disjoint_from", "property_value", "union_of", "consider", "replaced_by"),
}


def load_hmmer(source: Source, *, nrows: int | None = None) -> Any:
    """Read what the profiles of HMMER say of themselves: a row a profile, without its numbers."""
    import pandas as pd

    def profiles() -> Iterator[dict[str, Any]]:
        profile: dict[str, Any] = {}
        body = False
        with open_text(source) as text:
            for line in text:
                name, _, value = line.rstrip().partition(" ")
                if line.startswith("//"):
                    yield profile
                    profile, body = {}, False
                elif name == "HMM":
                    body = True
                elif not body and name:
                    profile.setdefault(name, value.strip())
        if profile:
            source.note(f"{source.name!r} is cut off: its last profile isn't whole.")

    table = pd.DataFrame(limited(source, profiles(), nrows, 200_000, "profiles"))
    for name in ("LENG", "NSEQ", "EFFN", "CKSUM"):
        if name in table:
            table[name] = as_numbers(table[name].fillna("").astype("str"))
    return table


def load_biom_json(source: Source) -> Any:
    """Read counts: a row an observation, a column a sample."""
    import numpy as np
    import pandas as pd

    found = json.loads(source.read())
    rows, columns = (
        [str(each["id"]) for each in found["rows"]],
        [str(each["id"]) for each in found["columns"]],
    )
    if len(rows) * len(columns) > _MAX_CELLS:
        raise FileLoadError(source.name, f"a table of {len(rows):,} x {len(columns):,}")
    if found.get("matrix_type") == "sparse":
        table = np.zeros((len(rows), len(columns)))
        for row, column, value in found["data"]:
            table[row, column] = value
    else:
        table = np.array(found["data"]).reshape(len(rows), len(columns))
    if found.get("matrix_element_type") == "int":
        table = table.astype("int64")
    return pd.DataFrame(table, index=rows, columns=columns)


# -- Affymetrix ----------------------------------------------------------------------------------


def load_cel(source: Source) -> Any:
    """Read intensities: x, y, mean, stdv, npixels; the header is in attrs["header"]."""
    if source.head.startswith(b"[CEL]"):
        return _cel3(source)
    return _cel4(source)


def _cel3(source: Source) -> Any:
    header: dict[str, str] = {}
    rows: list[str] = []
    section = ""
    with open_text(source) as text:
        for line in text:
            if line.startswith("["):
                section = line.strip()
            elif section == "[HEADER]" and "=" in line:
                name, _, value = line.partition("=")
                header[name.strip()] = value.strip()
            elif section == "[INTENSITY]" and "=" not in line and line.strip():
                rows.append(line.strip() + "\n")
    names = ("x", "y", "mean", "stdv", "npixels")
    table = table_of(source, rows, names, sep=" ")
    for name in names:
        table[name] = as_numbers(table[name].str.strip())
    table.attrs["header"] = header
    return table


def _cel4(source: Source) -> Any:
    """Source: Affymetrix, CEL data file format, version 4."""
    import numpy as np
    import pandas as pd

    content = source.read()
    _, _, columns, rows, cells, size = struct.unpack_from("<6i", content)
    place = 24 + size
    header = content[24:place].decode("latin-1")
    for _ in range(2):  # the algorithm's name and its parameters
        (size,) = struct.unpack_from("<i", content, place) if place + 4 <= len(content) else (-1,)
        place += 4 + size
        if size < 0 or place > len(content):
            place = -1
            break
    place += 4 + 4 + 4 + 4  # margin, outliers, masked cells, subgrids
    kind = np.dtype([("mean", "<f4"), ("stdv", "<f4"), ("npixels", "<i2")])
    if place < 16:  # other programs leave the lengths out: then the cells are what comes last
        place = len(content) - cells * kind.itemsize
    if cells < 0 or place < 24 or place + cells * kind.itemsize > len(content):
        raise FileLoadError(source.name, f"a CEL file of {cells:,} cells that is cut off")
    found = np.frombuffer(content, kind, cells, place)
    table = pd.DataFrame(
        {
            name: found[name].astype(kind[name].newbyteorder("="))
            for name in ("mean", "stdv", "npixels")
        }
    )
    if columns > 0:
        table.insert(0, "x", np.arange(cells) % columns)
        table.insert(1, "y", np.arange(cells) // columns)
    table.attrs["header"] = dict(
        line.partition("=")[::2] for line in header.splitlines() if "=" in line
    )
    table.attrs["shape"] = (rows, columns)
    return table


# -- flow cytometry ------------------------------------------------------------------------------


def load_fcs(source: Source, *, nrows: int | None = None) -> Any:
    """Read events: a column a channel, by its short name; the text segment is in attrs["text"].

    Source: ISAC, Data File Standard for Flow Cytometry, FCS 3.1.
    """
    import numpy as np
    import pandas as pd

    content = source.read()
    text = _fcs_text(source, content)
    kind, mode = text.get("$DATATYPE", "").upper(), text.get("$MODE", "L").upper()
    count, channels = int(text.get("$TOT", -1)), int(text.get("$PAR", 0))
    bits = [int(text.get(f"$P{at}B", 0)) for at in range(1, channels + 1)]
    big = text.get("$BYTEORD", "1,2,3,4").replace(" ", "").startswith(("4", "2,1", "8"))
    if mode != "L" or kind not in ("F", "D", "I") or not 0 < channels <= 10_000:
        raise FileLoadError(source.name, f"flow cytometry of mode {mode!r}, data {kind!r}")
    start = int(content[26:34].strip() or 0) or int(text.get("$BEGINDATA", 0))
    sign = ">" if big else "<"
    width = {"F": 32, "D": 64}.get(kind)
    if width is None and any(bit % 8 or not 0 < bit <= 64 for bit in bits):
        raise FileLoadError(source.name, "flow cytometry with packed bits")
    letters = {"F": "f4", "D": "f8"}.get(kind)
    fields = [letters or _whole(bit) for bit in bits]
    record = np.dtype(
        {
            "names": [str(at) for at in range(channels)],
            "formats": [sign + field if field[0] != "V" else field for field in fields],
        }
    )
    if record.itemsize == 0 or not 0 <= start <= len(content):
        raise FileLoadError(source.name, "flow cytometry data whose header is damaged")
    there = (len(content) - start) // record.itemsize
    if count > there:
        raise FileLoadError(
            source.name,
            "flow cytometry data that are cut off",
            reason=f"it says it has {count:,} events, and there is room for {there:,}",
        )
    wanted = there if count < 0 else count
    wanted = wanted if nrows is None else min(nrows, wanted)
    events = np.frombuffer(content, record, wanted, start)
    names = _unique([text.get(f"$P{at}N", f"P{at}").strip() for at in range(1, channels + 1)])
    columns = {}
    for at, name in enumerate(names):
        column = _channel(events[str(at)], big)
        if kind == "I":
            column = _masked(column, text.get(f"$P{at + 1}R", ""), bits[at])
        columns[name] = column
    table = pd.DataFrame(columns)
    table.attrs["text"] = text
    labels = {n: text[f"$P{at}S"] for at, n in enumerate(names, 1) if text.get(f"$P{at}S")}
    if labels:
        table.attrs["labels"] = labels
    return table


def _whole(bits: int) -> str:
    return f"u{bits // 8}" if bits in (8, 16, 32, 64) else f"V{bits // 8}"


def _channel(column: Any, big: bool) -> Any:
    """Make numbers in the machine's order, of 24 bits and the like too."""
    import numpy as np

    if column.dtype.kind != "V":
        return column.astype(column.dtype.newbyteorder("="))
    size = column.dtype.itemsize
    raw = np.frombuffer(column.tobytes(), np.uint8).reshape(-1, size).astype(np.uint64)
    places = range(size - 1, -1, -1) if big else range(size)
    return sum(raw[:, at] << np.uint64(8 * place) for at, place in enumerate(places))


def _masked(column: Any, stated: str, bits: int) -> Any:
    """Leave the bits that the range of a channel has; the others may hold anything."""
    try:
        most = int(float(stated))
    except (ValueError, OverflowError):
        return column
    if 0 < most < 1 << bits:
        return column & column.dtype.type((1 << (most - 1).bit_length()) - 1)
    return column


def _fcs_text(source: Source, content: bytes) -> dict[str, str]:
    first, last = (content[10:18].strip(), content[18:26].strip())
    if not (first.isdigit() and last.isdigit()) or int(last) >= len(content):
        raise FileLoadError(source.name, "flow cytometry data whose header is cut off or damaged")
    segment = content[int(first) : int(last) + 1].decode("utf-8", errors="replace")
    delimiter = segment[:1]
    if not delimiter:
        raise FileLoadError(source.name, "flow cytometry data without a text segment")
    # A delimiter inside a value is doubled.
    inner = segment[1:].replace(delimiter * 2, "\0")
    words = [word.replace("\0", delimiter) for word in inner.rstrip(delimiter).split(delimiter)]
    pairs = zip(words[::2], words[1::2], strict=False)
    return {name.strip().upper(): value.strip() for name, value in pairs}
