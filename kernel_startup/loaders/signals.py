"""Signals and measurements: EEG and ECG, seismograms, well logs, spectra, laboratory devices."""

import re
import struct
from pathlib import Path
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.text import decode
from kernel_startup.source import Source, kept_directory

_MAX_VALUES = 1 << 28


class Recording(dict[str, Any]):
    """The channels of a recording by label: arrays in physical units.

    Attributes:
        rates: Samples a second, by label.
        units: The physical units, by label.
        header: What else the file tells of itself.
        annotations: What was marked: (onset in seconds, duration in seconds, text).
    """

    def __init__(self) -> None:
        super().__init__()
        self.rates: dict[str, float] = {}
        self.units: dict[str, str] = {}
        self.header: dict[str, Any] = {}
        self.annotations: list[tuple[float, float, str]] = []

    def add(self, label: str, values: Any, rate: float, unit: str) -> None:
        """Keep a channel; one whose label is taken is numbered."""
        name, number = label, 1
        while name in self:
            number += 1
            name = f"{label}_{number}"
        self[name] = values
        self.rates[name] = rate
        self.units[name] = unit

    def __repr__(self) -> str:
        lines = [f"Recording of {len(self)} channels"]
        for name, values in [*self.items()][:40]:
            rate = self.rates[name]
            lines.append(f"  {name}: {len(values):,} samples, {rate:g} Hz, {self.units[name]}")
        return "\n".join(lines)


# -- brains and hearts ---------------------------------------------------------------------------


def load_edf(source: Source, *, columns: list[str] | None = None) -> Recording:
    """Read EDF, EDF+ or BDF: its channels in physical units; columns= names those wanted."""
    import numpy as np

    content = source.read()
    count = int(content[252:256])
    if len(content) < 256 * (count + 1):
        raise FileLoadError(source.name, "an EDF recording whose header is cut off")
    widths = (16, 80, 8, 8, 8, 8, 8, 80, 8)
    fields, at = [], 256
    for width in widths:
        fields.append(
            [_ascii(content[at + i * width : at + (i + 1) * width]) for i in range(count)]
        )
        at += width * count
    labels, _, units, low, high, digital_low, digital_high, filters, samples = fields
    counts = [max(_int(text), 0) for text in samples]
    seconds = _float(_ascii(content[244:252])) or 1.0
    width = 3 if content[:1] == b"\xff" else 2
    recording = Recording()
    recording.header = {
        "patient": _ascii(content[8:88]),
        "recording": _ascii(content[88:168]),
        "start": f"{_ascii(content[168:176])} {_ascii(content[176:184])}",
        "record_seconds": seconds,
        "filters": dict(zip(labels, filters, strict=True)),
    }
    size = sum(counts) * width
    records = (len(content) - 256 * (count + 1)) // size if size else 0
    told = _int(_ascii(content[236:244]))
    if 0 <= told != records:
        if told > records:
            source.note(f"{source.name!r} is cut off: {records:,} of {told:,} records are there.")
        records = min(told, records)
    body = np.frombuffer(content, np.uint8, records * size, 256 * (count + 1))
    body = body.reshape(records, size)
    place = 0
    for i, label in enumerate(labels):
        raw = body[:, place : place + counts[i] * width]
        place += counts[i] * width
        if label in ("EDF Annotations", "BDF Annotations"):
            recording.annotations += _annotations(raw)
            continue
        if columns is not None and label not in columns:
            continue
        values = _integers(raw, width)
        span = _float(digital_high[i]) - _float(digital_low[i])
        gain = (_float(high[i]) - _float(low[i])) / span if span else 1.0
        physical = (values - _float(digital_low[i])) * gain + _float(low[i])
        recording.add(label, physical, counts[i] / seconds, units[i])
    return recording


def _ascii(field: bytes) -> str:
    return field.decode("latin-1").strip("\0 ")


def _int(text: str) -> int:
    return int(_float(text))


def _float(text: str) -> float:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return 0.0
    return value if abs(value) < 1e300 else 0.0


def _integers(raw: Any, width: int) -> Any:
    """Little-endian integers of two or three bytes, as floats."""
    import numpy as np

    raw = np.ascontiguousarray(raw).reshape(-1)
    if width == 2:
        return raw.view("<i2").astype(np.float64)
    parts = raw.reshape(-1, 3).astype(np.int32)
    values = parts[:, 0] | parts[:, 1] << 8 | parts[:, 2] << 16
    return np.where(values & 0x800000, values - (1 << 24), values).astype(np.float64)


_TAL = re.compile(rb"([+-][\d.]{1,30})(?:\x15([\d.]{1,30}))?\x14([^\0]{1,2000})\x14\0")


def _annotations(raw: Any) -> list[tuple[float, float, str]]:
    found = []
    for onset, duration, texts in _TAL.findall(raw.tobytes()):
        for text in texts.split(b"\x14"):
            if text:
                said = text.decode(errors="replace")
                found.append((_float(onset.decode()), _float(duration.decode() or "0"), said))
    return found


def load_wfdb(source: Source, *, columns: list[str] | None = None) -> Recording:
    """Read a PhysioNet record: its header, and the signals in the files beside it."""
    import numpy as np

    lines = [line for line in decode(source).splitlines() if line.strip()]
    comments = [line.lstrip("# ") for line in lines if line.startswith("#")]
    lines = [line for line in lines if not line.startswith("#")]
    first = lines[0].split()
    rate = _float(re.split(r"[/(]", first[2])[0]) if len(first) > 2 else 250.0
    recording = Recording()
    recording.header = {"record": first[0], "comments": comments, "line": lines[0]}
    signals = [line.split(maxsplit=8) for line in lines[1 : int(first[1]) + 1]]
    files: dict[str, list[int]] = {}
    for number, signal in enumerate(signals):
        files.setdefault(signal[0], []).append(number)
    for name, numbers in files.items():
        path = next((p for p in source.neighbours if p.name.lower() == name.lower()), None)
        if path is None:
            source.note(f"{source.name!r} needs {name!r} beside it, which isn't there.")
            continue
        samples = _wfdb_samples(source, path.read_bytes(), signals[numbers[0]][1])
        frames = samples[: len(samples) // len(numbers) * len(numbers)].reshape(-1, len(numbers))
        for place, number in enumerate(numbers):
            signal = [*signals[number], *[""] * 9]
            match = re.match(r"([\d.eE+-]+)(?:\((-?\d+)\))?(?:/(\S+))?", signal[2])
            gain = (_float(match[1]) if match else 0.0) or 200.0
            zero = _float((match[2] if match and match[2] else signal[4]) or "0")
            label = signal[8].strip() or f"signal {number}"
            if columns is None or label in columns:
                values = (frames[:, place].astype(np.float64) - zero) / gain
                recording.add(label, values, rate, (match and match[3]) or "mV")
    return recording


def _wfdb_samples(source: Source, content: bytes, form: str) -> Any:
    import numpy as np

    kind = re.match(r"\d+", form)
    number = int(kind[0]) if kind else 0
    offset = re.search(r"\+(\d+)", form)
    content = content[int(offset[1]) if offset else 0 :]
    plain = {16: "<i2", 61: ">i2", 32: "<i4", 80: "u1", 160: "<u2"}
    if number in plain:
        size = np.dtype(plain[number]).itemsize
        values = np.frombuffer(content[: len(content) // size * size], plain[number])
        values = values.astype(np.int64)
        return values - {80: 128, 160: 32768}.get(number, 0)
    if number == 24:
        return _integers(np.frombuffer(content[: len(content) // 3 * 3], np.uint8), 3)
    if number == 212:
        raw = np.frombuffer(content[: len(content) // 3 * 3], np.uint8).astype(np.int32)
        raw = raw.reshape(-1, 3)
        low = raw[:, 0] | (raw[:, 1] & 0x0F) << 8
        high = raw[:, 2] | (raw[:, 1] & 0xF0) << 4
        values = np.stack([low, high], axis=1).reshape(-1)
        return np.where(values > 2047, values - 4096, values)
    raise FileLoadError(
        source.name, f"a PhysioNet record in format {number}", remedy="wfdb reads it"
    )


def load_eeglab(source: Source) -> Any:
    """Read an EEGLAB dataset to mne's Raw, or its Epochs."""
    import mne

    path = _together(source, ".set", (".fdt",))
    with mne.use_log_level("ERROR"):
        try:
            return mne.io.read_raw_eeglab(path, preload=False)
        except TypeError:  # several trials
            return mne.read_epochs_eeglab(path)


def load_fif(source: Source) -> Any:
    """Open a recording of an MEG lazily: mne's Raw; epochs, averages and others as they are."""
    from functools import partial

    import mne

    path = str(source.as_path("_raw.fif"))
    raw: Any = partial(mne.io.read_raw_fif, preload=False, on_split_missing="ignore")
    readers: tuple[Any, ...] = (
        raw,
        partial(mne.read_epochs, preload=False),
        mne.read_evokeds,
        mne.read_source_spaces,
        mne.read_forward_solution,
        mne.io.read_info,
    )
    errors = []
    with mne.use_log_level("ERROR"):
        for read in readers:
            try:
                return read(path)
            except Exception as error:
                errors.append(str(error))
    raise FileLoadError(source.name, "a functional image file", "reading it with mne", errors[0])


def load_gdf(source: Source) -> Any:
    """Open a GDF recording: mne's Raw."""
    import mne

    with mne.use_log_level("ERROR"):
        return mne.io.read_raw_gdf(str(source.as_path(".gdf")), preload=False)


def load_brainvision(source: Source) -> Any:
    """Open a BrainVision recording, whose other files must be there: mne's Raw."""
    import mne

    text = decode(source)
    named = re.findall(r"(?m)^(?:Data|Marker)File\s*=\s*(\S[^\r\n]*)", text)
    missing = [n for n in named if not any(p.name == n.strip() for p in source.neighbours)]
    if missing:
        raise FileLoadError(
            source.name,
            "the header of a BrainVision recording",
            remedy=f"It needs {', '.join(map(repr, missing))}: upload that too",
        )
    path = _together(source, Path(source.name).name, tuple(n.strip() for n in named))
    with mne.use_log_level("ERROR"):
        return mne.io.read_raw_brainvision(path, preload=False)


def _together(source: Source, name: str, others: tuple[str, ...]) -> str:
    """Lay a file and its neighbours (by name, or its own stem and a suffix) side by side."""
    stem = Path(source.name).stem
    place = kept_directory() / (f"{stem}{name}" if name.startswith(".") else name)
    place.symlink_to(source.as_path().absolute())
    wanted = {(f"{stem}{o}" if o.startswith(".") else o).lower() for o in others}
    for path in source.neighbours:
        target = place.parent / path.name
        if path.name.lower() in wanted and not target.is_symlink():
            target.symlink_to(path.absolute())
    return str(place)


def load_abf(source: Source) -> Any:
    """Open an Axon recording."""
    import pyabf

    return pyabf.ABF(str(source.as_path(".abf")))


def load_atf(source: Source) -> Any:
    """Read an Axon text file to a DataFrame."""
    lines = decode(source).splitlines()
    extra = int(re.split(r"[\t ]+", lines[1].strip())[0])
    return _table(source, lines[2 + extra :], "\t", header=lines[2 : 2 + extra])


def load_c3d(source: Source) -> dict[str, Any]:
    """Read motion capture: points (frames, markers, xyz), analog channels, labels and rates."""
    import c3d
    import numpy as np

    with source.open() as file:
        reader = c3d.Reader(file)
        frames = reader.last_frame - reader.first_frame + 1
        if not 0 <= frames * max(reader.point_used, 1) * 20 <= max(source.size_bytes * 20, 1 << 20):
            raise FileLoadError(source.name, f"motion capture that says it has {frames:,} frames")
        points, analog = [], []
        for _, point, channels in reader.read_frames():
            points.append(point[:, :3].copy())
            analog.append(channels.copy())
        return {
            "points": np.array(points),
            "analog": np.concatenate([np.atleast_2d(a) for a in analog], axis=1)
            if any(a.size for a in analog)
            else np.empty((0, 0)),
            "labels": [label.strip() for label in reader.point_labels],
            "analog_labels": [label.strip() for label in reader.analog_labels],
            "point_rate": reader.point_rate,
            "analog_rate": reader.analog_rate,
        }


def load_trc(source: Source) -> Any:
    """Read motion capture trajectories to a DataFrame."""
    lines = decode(source).splitlines()
    markers = lines[3].split("\t")
    names = [m.strip() for m in markers[:2]]
    for marker in filter(None, (m.strip() for m in markers[2:])):
        names += [f"{marker}_{axis}" for axis in "XYZ"]
    rows = [line.split("\t") for line in lines[5:] if line.strip()]
    return _numbers(names, [row[: len(names)] for row in rows])


# -- the earth -----------------------------------------------------------------------------------


def load_seismic(source: Source) -> Any:
    """Read seismograms: obspy's Stream."""
    import warnings

    import obspy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return obspy.read(str(source.as_path()))


def load_su(source: Source) -> Any:
    """Read Seismic Unix: obspy's Stream."""
    import warnings

    import obspy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return obspy.read(str(source.as_path()), format="SU")


def load_segy(source: Source, *, nrows: int | None = None) -> Any:
    """Read SEG-Y: the samples of all traces, (traces, samples); nrows= reads the first ones."""
    import numpy as np

    path = source.as_path()
    size = path.stat().st_size
    order = next(o for o in "><" if 0 < struct.unpack_from(f"{o}H", source.head, 3224)[0] <= 16)
    samples, code = struct.unpack_from(f"{order}H2xH", source.head, 3220)
    (extended,) = struct.unpack_from(f"{order}h", source.head, 3504)
    kinds = {1: "u4", 2: "i4", 3: "i2", 5: "f4", 6: "f8", 8: "i1", 10: "u4", 11: "u2", 12: "u8",
             16: "u1"}  # fmt: skip
    if code not in kinds:
        raise FileLoadError(source.name, f"SEG-Y with samples in format {code}")
    start = 3600 + 3200 * max(extended, 0)
    width = np.dtype(kinds[code]).itemsize
    length = 240 + samples * width
    traces = (size - start) // length
    if traces < 1:
        raise FileLoadError(source.name, "SEG-Y that is cut off before its first trace ends")
    if (size - start) % length:
        source.note(f"{source.name!r}: what follows {traces:,} traces of equal length is left out.")
    count = traces if nrows is None else min(nrows, traces)
    if count * samples > _MAX_VALUES * 4:
        raise FileLoadError(
            source.name,
            f"SEG-Y with {traces:,} traces of {samples:,} samples",
            remedy="nrows= reads the first ones",
        )
    layout = np.dtype([("head", "V240"), ("samples", f"{order}{kinds[code]}", (samples,))])
    stored = np.memmap(path, layout, "r", offset=start, shape=(traces,))["samples"][:count]
    if code == 1:
        return _ibm_floats(stored)
    return np.array(stored.astype(stored.dtype.newbyteorder("=")))


def _ibm_floats(stored: Any) -> Any:
    """IBM's floats: a sign, a power of 16, a fraction of 24 bits."""
    import numpy as np

    words = stored.astype(np.uint32)
    fraction = (words & 0xFFFFFF) / float(1 << 24)
    power = ((words >> 24) & 0x7F).astype(np.int32) - 64
    sign = np.where(words >> 31, -1.0, 1.0)
    return (sign * fraction * np.exp2(4.0 * power)).astype(np.float32)


def load_las(source: Source) -> Any:
    """Read a well log: a DataFrame by depth; units and the header are in attrs."""
    import io
    import logging

    import lasio

    logging.getLogger("lasio").setLevel(logging.CRITICAL)
    log = lasio.read(io.StringIO(decode(source)), ignore_header_errors=True)
    table = log.df()
    table.attrs["units"] = {curve.mnemonic: curve.unit for curve in log.curves}
    table.attrs["descriptions"] = {curve.mnemonic: curve.descr for curve in log.curves}
    table.attrs["well"] = {item.mnemonic: str(item.value) for item in log.well}
    return table


def load_dlis(source: Source) -> dict[str, Any]:
    """Read a DLIS log: a DataFrame for each frame."""
    import pandas as pd
    from dlisio import dlis

    found: dict[str, Any] = {}
    with dlis.load(str(source.as_path(".dlis"))) as files:
        for number, logical in enumerate(files):
            for frame in logical.frames:
                curves = frame.curves()
                columns = {
                    name: pd.Series(curves[name] if curves[name].ndim == 1 else list(curves[name]))
                    for name in curves.dtype.names
                }
                label = frame.name if frame.name not in found else f"{number}/{frame.name}"
                found[label] = pd.DataFrame(columns)
    return found


def load_seabird(source: Source) -> Any:
    """Read a Sea-Bird profile to a DataFrame; what the columns are is in attrs."""
    text = decode(source)
    header, _, body = text.partition("*END*")
    told = dict(re.findall(r"(?m)^# name \d+ = ([^:\n]{1,100}): ?([^\n]*)", header))
    rows = [line.split() for line in body.splitlines()[1:] if line.strip()]
    table = _numbers([*told], rows)
    table.attrs["column_labels"] = told
    table.attrs["header"] = header[:20_000]
    return table


# -- the laboratory ------------------------------------------------------------------------------


def load_tdms(source: Source) -> Any:
    """Read LabVIEW's measurements: a DataFrame, or one for each group."""
    import pandas as pd
    from nptdms import TdmsFile

    file = TdmsFile.read(str(source.as_path(".tdms")))
    groups = {
        group.name: pd.DataFrame({c.name: pd.Series(c[:]) for c in group.channels()})
        for group in file.groups()
    }
    return next(iter(groups.values())) if len(groups) == 1 else groups


def load_lvm(source: Source) -> Any:
    """Read LabVIEW's text: a DataFrame, the header in attrs."""
    lines = decode(source).splitlines()
    head: dict[str, str] = {}
    start = 0
    for number, line in enumerate(lines):
        parts = line.rstrip().split("\t")
        if line.startswith("X_Value") or line.startswith("***End_of_Header***"):
            start = number
        elif len(parts) > 1 and number < 200 and parts[0].isidentifier():
            head.setdefault(parts[0], "\t".join(parts[1:]))
        if line.startswith("X_Value"):
            break
    names = lines[start].split("\t")
    if lines[start].startswith("***"):
        names = []
    rows = [line.split("\t") for line in lines[start + 1 :] if line.strip()]
    width = max(map(len, rows), default=0)
    names = [name.strip() or f"column {at}" for at, name in enumerate(names)]
    names += [f"column {at}" for at in range(len(names), width)]
    decimal = head.get("Decimal_Separator", ".").strip()
    if decimal == ",":
        rows = [[cell.replace(",", ".") for cell in row] for row in rows]
    table = _numbers(names, rows)
    if "Comment" in table and table["Comment"].isna().all():
        table = table.drop(columns="Comment")
    table.attrs["header"] = head
    return table


def load_gamry(source: Source) -> dict[str, Any]:
    """Read a Gamry measurement: its settings, and its tables as DataFrames."""
    lines = decode(source).splitlines()
    found: dict[str, Any] = {"settings": {}}
    at = 0
    while at < len(lines):
        parts = lines[at].split("\t")
        at += 1
        if len(parts) >= 2 and parts[1] == "TABLE":
            rows = []
            while at < len(lines) and lines[at].startswith("\t"):
                rows.append(lines[at].split("\t")[1:])
                at += 1
            if rows:
                found[parts[0]] = _numbers([n.strip() for n in rows[0]], rows[2:])
                found[parts[0]].attrs["units"] = rows[1] if len(rows) > 1 else []
        elif len(parts) >= 3 and parts[0]:
            found["settings"][parts[0]] = parts[2]
    return found


def load_touchstone(source: Source) -> Any:
    """Read network parameters: complex columns (S11, S12, ...) by frequency in Hz."""
    import numpy as np
    import pandas as pd

    lines = [line.partition("!")[0].strip() for line in decode(source).splitlines()]
    lines = [line for line in lines if line]
    option = next((line[1:].upper().split() for line in lines if line.startswith("#")), [])
    scale = {"HZ": 1.0, "KHZ": 1e3, "MHZ": 1e6, "GHZ": 1e9}
    factor = next((scale[word] for word in option if word in scale), 1e9)
    letter = next((word for word in option if word in "SYZGH"), "S")
    form = next((word for word in option if word in ("RI", "MA", "DB")), "MA")
    stated = re.search(r"(?i)\.s(\d{1,2})p", source.name)
    told = [line for line in lines if line.lower().startswith("[number of ports]")]
    ports = int(stated[1]) if stated else int(told[0].rpartition("]")[2]) if told else 0
    words: list[float] = []
    rows: list[int] = []
    for line in lines:
        if line.startswith(("#", "[")):
            continue
        rows.append(len(line.split()))
        words += map(float, line.split())
    if not ports:
        ports = max(round(((rows[0] - 1) / 2) ** 0.5), 1) if rows else 1
    width = 1 + 2 * ports * ports
    values = np.array(words[: len(words) // width * width]).reshape(-1, width)
    if ports == 2 and len(values) > 1:  # noise parameters follow where frequencies start again
        falls = np.flatnonzero(np.diff(values[:, 0]) <= 0)
        values = values[: falls[0] + 1] if len(falls) else values
    first, second = values[:, 1::2], values[:, 2::2]
    if form == "RI":
        complexes = first + 1j * second
    else:
        size = first if form == "MA" else 10 ** (first / 20)
        complexes = size * np.exp(1j * np.deg2rad(second))
    names = [f"{letter}{i}{j}" if ports < 10 else f"{letter}{i},{j}"
             for i in range(1, ports + 1) for j in range(1, ports + 1)]  # fmt: skip
    if ports == 2:
        names = [f"{letter}{ij}" for ij in ("11", "21", "12", "22")]
    index = pd.Index(values[:, 0] * factor, name="frequency_Hz")
    return pd.DataFrame(complexes, index=index, columns=names)


def load_spc(source: Source) -> Any:
    """Read a Galactic spectrum: a DataFrame of x and y; several spectra are columns."""
    import numpy as np
    import pandas as pd

    content = source.read()
    flags, version = content[0], content[1]
    if version == 0x4D:
        raise FileLoadError(source.name, "a Galactic spectrum in the old format")
    order = ">" if version == 0x4C else "<"
    power, points, first, last, count = struct.unpack_from(f"{order}xxxbiddi", content)
    at = 512
    x = np.linspace(first, last, points)
    if points * 4 > len(content) or count > len(content) or points < 0:
        raise FileLoadError(source.name, "a Galactic spectrum that is cut off")
    has_x, own_x = flags & 0x80, flags & 0x40
    if has_x and not own_x:
        x = np.frombuffer(content, f"{order}f4", points, at)
        at += points * 4
    columns: dict[str, Any] = {}
    for number in range(max(count, 1)):
        own_power = struct.unpack_from("b", content, at + 1)[0]
        (own_points,) = struct.unpack_from(f"{order}i", content, at + 16)
        at += 32
        size = own_points if own_x and own_points > 0 else points
        if has_x and own_x:
            x = np.frombuffer(content, f"{order}f4", size, at)
            at += size * 4
        scale = own_power or power
        if scale == -128:
            y = np.frombuffer(content, f"{order}f4", size, at).astype(float)
        elif flags & 1:
            y = np.frombuffer(content, f"{order}i2", size, at) * 2.0 ** (scale - 16)
            at -= size * 2
        else:
            y = np.frombuffer(content, f"{order}i4", size, at) * 2.0 ** (scale - 32)
        at += size * 4
        suffix = "" if count <= 1 else f"_{number + 1}"
        if own_x or not number:
            columns[f"x{suffix}" if own_x else "x"] = pd.Series(x.astype(float))
        columns[f"y{suffix}"] = pd.Series(y)
    return pd.DataFrame(columns)


def load_asd(source: Source) -> Any:
    """Read an ASD field spectrum: a Series by wavelength in nanometres."""
    import numpy as np
    import pandas as pd

    content = source.read()
    start, step = struct.unpack_from("<ff", content, 191)
    kind = content[199]
    (channels,) = struct.unpack_from("<H", content, 204)
    layout = {0: "<f4", 1: "<i4", 2: "<f8"}.get(kind)
    if layout is None or not channels or len(content) < 484 + channels * 4:
        raise FileLoadError(source.name, "an ASD spectrum that is cut off, or isn't one")
    values = np.frombuffer(content, layout, channels, 484)
    index = pd.Index(start + step * np.arange(channels), name="wavelength_nm")
    return pd.Series(values.astype(float), index=index, name="spectrum")


def load_mca(source: Source) -> Any:
    """Read an Amptek spectrum: counts by channel, the header in attrs."""
    import pandas as pd

    text = decode(source)
    body = re.search(r"<<DATA>>\s*([\d\s]*)<<END>>", text)
    if body is None:
        raise FileLoadError(source.name, "an Amptek spectrum without its data")
    table = pd.DataFrame({"counts": [int(word) for word in body[1].split()]})
    table.attrs["header"] = dict(re.findall(r"(?m)^([A-Z_]{2,30}) - ([^\r\n]*)", text))
    return table


def load_ibw(source: Source) -> Any:
    """Read an Igor wave, version 2 or 5."""
    import math

    import numpy as np

    content = source.read()
    order = "<" if content[1] == 0 else ">"
    (version,) = struct.unpack_from(f"{order}h", content)
    kinds = {0x02: "f4", 0x04: "f8", 0x08: "i1", 0x10: "i2", 0x20: "i4", 0x40: "i8"}
    if version == 5:
        (count,), (kind,) = (struct.unpack_from(f"{order}{f}", content, 64 + o)
                             for f, o in (("i", 12), ("h", 16)))  # fmt: skip
        shape = [n for n in struct.unpack_from(f"{order}4i", content, 64 + 68) if n > 0]
        start = 64 + 320
    else:
        kind, = struct.unpack_from(f"{order}h", content, 16)  # fmt: skip
        (count,) = struct.unpack_from(f"{order}i", content, 16 + 42)
        shape, start = [count], 16 + 110
    letter = kinds.get(kind & 0x7E)
    if letter is None:
        raise FileLoadError(source.name, "an Igor wave that isn't numbers")
    if kind & 0x40 and kind & 0x3E:
        letter = kinds.get(kind & 0x3E)
    layout = f"{order}{(letter or 'f4').replace('i', 'u') if kind & 0x40 else letter}"
    if kind & 1:
        layout = f"{order}c{8 if kind & 2 else 16}"
    if math.prod(shape) != count:
        shape = [count]
    values = np.frombuffer(content, layout, count, start)
    return values.reshape(shape, order="F").astype(values.dtype.newbyteorder("="))


def load_mpt(source: Source) -> Any:
    """Read BioLogic's text: a DataFrame, the header in attrs."""
    lines = decode(source).splitlines()
    count = re.search(r"Nb header lines\s*:\s*(\d+)", "\n".join(lines[:10]))
    start = int(count[1]) if count else 3
    return _table(source, lines[start - 1 :], "\t", header=lines[: start - 1])


def _table(source: Source, lines: list[str], delimiter: str, header: list[str]) -> Any:
    names = [name.strip().strip('"') for name in lines[0].split(delimiter)]
    rows = [line.split(delimiter) for line in lines[1:] if line.strip()]
    table = _numbers(names, rows)
    table.attrs["header"] = "\n".join(header)
    return table


def _numbers(names: list[str], rows: list[list[str]]) -> Any:
    """A table of texts, whose columns become numbers where all of one are."""
    import pandas as pd

    width = len(names)
    rows = [[cell.strip() or None for cell in row[:width]] for row in rows]  # type: ignore[misc]
    taken: dict[str, int] = {}
    unique = []
    for name in names:
        taken[name] = taken.get(name, 0) + 1
        unique.append(name if taken[name] == 1 else f"{name}_{taken[name]}")
    table = pd.DataFrame([row + [None] * (width - len(row)) for row in rows], columns=unique)
    for name in unique:
        column = table[name]
        try:
            table[name] = pd.to_numeric(column.astype(object).where(column.notna(), None))
        except (ValueError, TypeError):
            try:
                swapped = column.str.replace(",", ".", regex=False)
                table[name] = pd.to_numeric(swapped)
            except (ValueError, TypeError, AttributeError):
                continue
    return table
