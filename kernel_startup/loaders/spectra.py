"""Mass spectra and other spectra: a row a spectrum, with its peaks as arrays."""

import base64
import binascii
import re
import zlib
from collections.abc import Iterator
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.biology_xml import elements, local
from kernel_startup.loaders.lines import as_numbers, limited, open_text, table_of
from kernel_startup.source import Source

#: Spectra that are read unless nrows= says otherwise: each has some thousand peaks.
MAX_SPECTRA = 200_000
_MAX_ARRAY = 64 * 1024 * 1024


def _frame(source: Source, rows: Iterator[dict[str, Any]], nrows: int | None) -> Any:
    import pandas as pd

    return pd.DataFrame(limited(source, rows, nrows, MAX_SPECTRA, "spectra"))


# Accessions of the controlled vocabulary of the Proteomics Standards Initiative.
_TOLD = {
    "MS:1000511": "ms_level",
    "MS:1000016": "retention_time",
    "MS:1000285": "total_ion_current",
    "MS:1000504": "base_peak_mz",
    "MS:1000505": "base_peak_intensity",
    "MS:1000744": "precursor_mz",
    "MS:1000041": "precursor_charge",
    "IMS:1000050": "x",
    "IMS:1000051": "y",
    "IMS:1000052": "z",
}
_ARRAYS = {"MS:1000514": "mz", "MS:1000515": "intensity", "MS:1000595": "time"}
_KINDS = {"MS:1000521": "<f4", "MS:1000523": "<f8", "MS:1000519": "<i4", "MS:1000522": "<i8"}


def load_mzml(source: Source, *, nrows: int | None = None) -> Any:
    """Read spectra with their arrays mz and intensity; retention times are in seconds."""

    def rows() -> Iterator[dict[str, Any]]:
        for spectrum in elements(source, "spectrum"):
            yield {**_told(spectrum), **_peaks(source, spectrum)}

    return _frame(source, rows(), nrows)


def _told(spectrum: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"id": spectrum.get("id"), "ms_level": None, "retention_time": None}
    for parameter in spectrum.iterfind(".//{*}cvParam"):
        name = _TOLD.get(parameter.get("accession", ""))
        if name is None or found.get(name) is not None:
            continue
        value = _number(parameter.get("value", ""))
        if name == "retention_time" and parameter.get("unitName") == "minute":
            value = value * 60 if value is not None else None
        found[name] = int(value) if name == "ms_level" and value is not None else value
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _peaks(source: Source, spectrum: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for stored in spectrum.iterfind(".//{*}binaryDataArray"):
        terms = {each.get("accession") for each in stored.iterfind("{*}cvParam")}
        name = next((_ARRAYS[term] for term in terms if term in _ARRAYS), None)
        if name is None:
            continue
        if any("numpress" in (each.get("name") or "").lower() for each in stored):
            if not any("Numpress" in note for note in source.notes):
                source.note("its arrays are packed by MS-Numpress: they are left out.")
            continue
        kind = next((_KINDS[term] for term in terms if term in _KINDS), "<f8")
        packed = "MS:1000574" in terms
        found[name] = _array(stored.findtext("{*}binary") or "", kind, is_packed=packed)
    return found


def _array(text: str, kind: str, *, is_packed: bool) -> Any:
    import numpy as np

    try:
        raw = base64.b64decode(text)
    except binascii.Error as error:
        raise ValueError(f"an array isn't base64: {error}") from error
    if is_packed:
        raw = zlib.decompressobj().decompress(raw, _MAX_ARRAY)
    item = np.dtype(kind)
    whole = np.frombuffer(raw, item, len(raw) // item.itemsize)
    return whole.astype(item.newbyteorder("="))


def load_imzml(source: Source, *, nrows: int | None = None) -> Any:
    """Read the pixels of an image of spectra; their arrays are in the .ibd file beside it."""
    stem = source.name.rpartition(".")[0].lower()
    data = next((p for p in source.neighbours if p.name.lower() == f"{stem}.ibd"), None)
    if data is None:
        source.note(f"the arrays of {source.name!r} are in {stem}.ibd: upload it too.")

    def rows() -> Iterator[dict[str, Any]]:
        groups = {}
        for element in elements(source, "spectrum", "referenceableParamGroup"):
            if local(element) == "referenceableParamGroup":
                groups[element.get("id")] = {p.get("accession") for p in element}
                continue
            row = _told(element)
            if data is not None:
                row |= _external(element, groups, data)
            yield row

    return _frame(source, rows(), nrows)


def _external(spectrum: Any, groups: dict[str, set[str]], data: Any) -> dict[str, Any]:
    import numpy as np

    found = {}
    with data.open("rb") as file:
        for stored in spectrum.iterfind(".//{*}binaryDataArray"):
            terms = {p.get("accession"): p.get("value") for p in stored.iterfind("{*}cvParam")}
            for group in stored.iterfind("{*}referenceableParamGroupRef"):
                terms.update(dict.fromkeys(groups.get(group.get("ref"), ()), ""))
            name = next((_ARRAYS[term] for term in terms if term in _ARRAYS), None)
            kind = np.dtype(next((_KINDS[term] for term in terms if term in _KINDS), "<f4"))
            if name is None:
                continue
            size = int(terms.get("IMS:1000104") or 0)
            file.seek(int(terms.get("IMS:1000102") or 0))
            raw = file.read(min(size, _MAX_ARRAY))
            if "MS:1000574" in terms:
                raw = zlib.decompressobj().decompress(raw, _MAX_ARRAY)
            found[name] = np.frombuffer(raw, kind, len(raw) // kind.itemsize)
    return found


def load_mzxml(source: Source, *, nrows: int | None = None) -> Any:
    """Read spectra with their arrays mz and intensity; retention times are in seconds."""

    def rows() -> Iterator[dict[str, Any]]:
        for scan in elements(source, "scan"):
            row = {
                "id": scan.get("num"),
                "ms_level": int(scan.get("msLevel", 1)),
                "retention_time": _number((scan.get("retentionTime") or "").strip("PTS")),
                "total_ion_current": _number(scan.get("totIonCurrent") or ""),
            }
            precursor = scan.find("{*}precursorMz")
            if precursor is not None:
                row["precursor_mz"] = _number(precursor.text or "")
            peaks = scan.find("{*}peaks")
            if peaks is not None:
                kind = ">f8" if peaks.get("precision") == "64" else ">f4"
                packed = peaks.get("compressionType") == "zlib"
                pairs = _array(peaks.text or "", kind, is_packed=packed)
                row |= {"mz": pairs[0::2], "intensity": pairs[1::2]}
            yield row

    table = _frame(source, rows(), nrows)
    # Scans may stand inside the scans that they came from, and those end after them.
    return (
        table.sort_values("id", key=_as_order, kind="stable", ignore_index=True)
        if len(table)
        else table
    )


def _as_order(ids: Any) -> Any:
    return as_numbers(ids.fillna("").astype("str"))


def load_mzdata(source: Source, *, nrows: int | None = None) -> Any:
    """Read spectra with their arrays mz and intensity."""

    def rows() -> Iterator[dict[str, Any]]:
        for spectrum in elements(source, "spectrum"):
            row: dict[str, Any] = {"id": spectrum.get("id")}
            instrument = spectrum.find(".//{*}spectrumInstrument")
            if instrument is not None:
                row["ms_level"] = int(instrument.get("msLevel", 1))
            for tag, name in (("mzArrayBinary", "mz"), ("intenArrayBinary", "intensity")):
                data = spectrum.find(f"{{*}}{tag}/{{*}}data")
                if data is not None:
                    order = "<" if data.get("endian", "little") == "little" else ">"
                    kind = f"{order}f{8 if data.get('precision') == '64' else 4}"
                    row[name] = _array(data.text or "", kind, is_packed=False)
            yield row

    return _frame(source, rows(), nrows)


# -- in text -------------------------------------------------------------------------------------


def load_mgf(source: Source, *, nrows: int | None = None) -> Any:
    """Read Mascot's spectra: what is said of each, and its arrays mz and intensity."""

    def rows() -> Iterator[dict[str, Any]]:
        row: dict[str, Any] | None = None
        peaks: list[list[str]] = []
        with open_text(source) as text:
            for line in text:
                line = line.strip()
                if line == "BEGIN IONS":
                    row, peaks = {}, []
                elif line == "END IONS" and row is not None:
                    yield {**row, **_pairs(peaks)}
                    row = None
                elif row is not None and re.match(r"[A-Za-z_]+=", line):
                    name, _, value = line.partition("=")
                    row[name.lower()] = value
                elif row is not None and line and line[0] not in "#;!/":
                    peaks.append(line.split())

    table = _frame(source, rows(), nrows)
    if "pepmass" in table:
        table["precursor_mz"] = as_numbers(
            table["pepmass"].fillna("").astype("str").str.split().str[0].fillna("")
        )
    return table


def _pairs(peaks: list[list[str]]) -> dict[str, Any]:
    import numpy as np

    return {
        "mz": np.array([float(words[0]) for words in peaks]),
        "intensity": np.array([float(words[1]) if len(words) > 1 else 0.0 for words in peaks]),
    }


def load_ms2(source: Source, *, nrows: int | None = None) -> Any:
    """Read spectra with their arrays mz and intensity."""

    def rows() -> Iterator[dict[str, Any]]:
        row: dict[str, Any] | None = None
        peaks: list[list[str]] = []
        with open_text(source) as text:
            for line in text:
                words = line.split()
                if not words or words[0] == "H":
                    continue
                if words[0] == "S":
                    if row is not None:
                        yield {**row, **_pairs(peaks)}
                    row, peaks = {"id": words[1]}, []
                    if len(words) > 3:
                        row["precursor_mz"] = _number(words[3])
                elif row is not None and words[0] in "IZD":
                    row["charge" if words[0] == "Z" else words[1]] = words[-1]
                    if words[0] == "Z":
                        row["charge"] = words[1]
                elif row is not None:
                    peaks.append(words)
        if row is not None:
            yield {**row, **_pairs(peaks)}

    return _frame(source, rows(), nrows)


def load_msp(source: Source, *, nrows: int | None = None) -> Any:
    """Read a library of spectra: what is said of each, and its arrays mz and intensity."""

    def rows() -> Iterator[dict[str, Any]]:
        row: dict[str, Any] = {}
        peaks: list[list[str]] = []
        with open_text(source) as text:
            for line in text:
                name, sign, value = line.partition(":")
                if sign and re.match(r"[A-Za-z]", line):
                    if name.lower() == "name" and row:
                        yield {**row, **_pairs(peaks)}
                        row, peaks = {}, []
                    row[name.strip().lower().replace(" ", "_")] = value.strip()
                elif line.strip():
                    pieces = line.split(";") if ";" in line else [line]
                    split = (re.split(r"[\s,]+", piece.strip(), maxsplit=2) for piece in pieces)
                    peaks += [words for words in split if words[0]]
        if row:
            yield {**row, **_pairs(peaks)}

    return _frame(source, rows(), nrows)


def load_mztab(source: Source) -> dict[str, Any]:
    """Read the sections of results: "metadata" (a dict) and tables by their names."""
    headers = {"PRH": "PRT", "PEH": "PEP", "PSH": "PSM", "SMH": "SML", "SFH": "SMF", "SEH": "SME"}
    titles = {
        **{"PRT": "proteins", "PEP": "peptides", "PSM": "psms", "SML": "small_molecules"},
        **{"SMF": "small_molecule_features", "SME": "small_molecule_evidence"},
    }
    metadata: dict[str, str] = {}
    names: dict[str, list[str]] = {}
    lines: dict[str, list[str]] = {}
    with open_text(source) as text:
        for line in text:
            kind, _, rest = line.rstrip("\r\n").partition("\t")
            if kind == "MTD":
                name, _, value = rest.partition("\t")
                metadata[name] = value
            elif kind in headers:
                names[headers[kind]] = rest.split("\t")
            elif kind in titles:
                lines.setdefault(kind, []).append(rest + "\n")
    found: dict[str, Any] = {"metadata": metadata}
    for kind, columns in names.items():
        table = table_of(source, lines.get(kind, []), list(dict.fromkeys(columns)))
        for name in table.columns:
            table[name] = as_numbers(table[name], ("null", "", "NaN"))
        found[titles[kind]] = table
    return found


_COMPRESSED = re.compile(r"[@A-Ia-i%J-Rj-rS-Zs]|[+\-]?\d+(?:\.\d+)?(?:[eE][+\-]?\d+)?|\?")


def load_jcamp(source: Source) -> Any:
    """Read a spectrum: x and y; what is said of it is in attrs. All of JCAMP-DX's compressions.

    Source: McDonald and Wilks, Appl. Spectrosc. 42 (1988) 151.
    """
    import pandas as pd

    labels: dict[str, str] = {}
    name = ""
    with open_text(source) as text:
        for line in text:
            line = line.partition("$$")[0]
            stated = re.match(r"##\s*([^=]*)=(.*)", line)
            if stated:
                name = re.sub(r"[\s\-/_]", "", stated.group(1)).upper()
                if name == "END" and any(key in labels for key in _JCAMP_DATA):
                    break
                labels[name] = stated.group(2).strip()
            elif name:
                labels[name] += "\n" + line.rstrip("\r\n")
    kind = next((key for key in _JCAMP_DATA if key in labels), None)
    if kind is None:
        raise FileLoadError(source.name, "JCAMP-DX without a table of data")
    form, _, body = labels.pop(kind).partition("\n")
    if "X++" in form:
        x, y = _steps(body, labels)
    else:
        numbers = [float(word) for word in re.findall(r"[+\-]?\d*\.?\d+(?:[eE][+\-]?\d+)?", body)]
        x, y = numbers[0::2], numbers[1::2]
    table = pd.DataFrame({"x": x[: len(y)], "y": y[: len(x)]})
    table["x"] *= 1.0
    table["y"] *= float(labels.get("YFACTOR", 1) or 1)
    table.attrs.update(labels)
    return table


_JCAMP_DATA = ("XYDATA", "XYPOINTS", "PEAKTABLE", "PEAKASSIGNMENTS", "DATATABLE")


def _steps(body: str, labels: dict[str, str]) -> tuple[list[float], list[float]]:
    """Unpack values that follow each other: lines begin with an x, which is thus known too."""
    values: list[float] = []
    was_difference = False
    for line in body.splitlines():
        words = _COMPRESSED.findall(re.sub(r"([A-Ia-i%@J-Rj-rS-Zs])", r" \1", line))
        tokens = re.findall(r"[@A-Ia-i%J-Rj-rS-Zs]\d*|[+\-]?\d+(?:\.\d+)?(?:[eE][+\-]?\d+)?", line)
        if not words or len(tokens) < 2:
            continue
        start = len(values)
        difference: float | None = None
        for token in tokens[1:]:
            first, rest = token[0], token[1:]
            if first in "%JKLMNOPQRjklmnopqr":
                digit = "%JKLMNOPQR".find(first)
                sign = 1 if digit >= 0 else -1
                digit = digit if digit >= 0 else "jklmnopqr".find(first) + 1
                difference = sign * float(f"{digit}{rest}")
                values.append(values[-1] + difference)
            elif first in "STUVWXYZs":
                count = int(f"{'STUVWXYZs'.find(first) + 1}{rest}")
                if count + len(values) > 50_000_000:
                    raise ValueError(f"a value is repeated {count:,} times")
                for _ in range(count - 1):
                    values.append(values[-1] + (difference or 0))
            else:
                difference = None
                sign = -1 if first in "abcdefghi" else 1
                digit = "@ABCDEFGHI".find(first) if sign > 0 else "abcdefghi".find(first) + 1
                value = float(token) if digit < 0 else sign * float(f"{digit}{rest}")
                if was_difference and len(values) == start:
                    values.pop()  # the last value of a line is said again at the next one's start
                    start -= 1
                values.append(value)
        was_difference = difference is not None
    first_x, last_x = float(labels.get("FIRSTX", 0)), float(labels.get("LASTX", len(values) - 1))
    step = (last_x - first_x) / max(len(values) - 1, 1)
    return [first_x + step * at for at in range(len(values))], values
