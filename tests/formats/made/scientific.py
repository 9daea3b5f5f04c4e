"""Files of statistics programs, databases, arrays and models, grids, signals."""

import io
import json
import pickle
import sqlite3
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.formats.uploads import Made


def by_path(write: Callable[[str], object], suffix: str) -> bytes:
    """What a library that writes to a path writes."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"file{suffix}"
        write(str(path))
        return path.read_bytes()


def _cities() -> Any:
    import pandas as pd

    return pd.DataFrame({"city": ["Oslo", "Lima"], "people": [1, 2]})


def is_cities(table: Any) -> None:
    assert table["city"].tolist() == ["Oslo", "Lima"]
    assert table["people"].tolist() == [1, 2]


def is_cities_upper(table: Any) -> None:
    is_cities(table.rename(columns=str.lower))


def is_info(info: Any) -> None:
    assert type(info).__name__ == "FileInfo"


# -- columnar ------------------------------------------------------------------------------------


def _feather() -> bytes:
    buffer = io.BytesIO()
    _cities().to_feather(buffer)
    return buffer.getvalue()


def _arrow_stream() -> bytes:
    import pyarrow as pa

    table = pa.table({"city": ["Oslo", "Lima"], "people": [1, 2]})
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as stream:
        stream.write_table(table)
    return buffer.getvalue()


def _orc() -> bytes:
    import pyarrow as pa
    import pyarrow.orc

    buffer = io.BytesIO()
    pyarrow.orc.write_table(pa.table({"city": ["Oslo", "Lima"], "people": [1, 2]}), buffer)
    return buffer.getvalue()


def _avro() -> bytes:
    schema = {
        "type": "record",
        "name": "c",
        "fields": [{"name": "city", "type": "string"}, {"name": "people", "type": "long"}],
    }
    described = json.dumps(schema).encode()
    size = len(described) << 1
    varint = bytes([size & 0x7F | 0x80, size >> 7])
    head = b"Obj\x01\x02\x16avro.schema" + varint + described + b"\0" + b"s" * 16
    return head + b"\x04\x18" + b"\x08Oslo\x02" + b"\x08Lima\x04" + b"s" * 16


# -- statistics ----------------------------------------------------------------------------------


def _pyreadstat(writer: str, suffix: str, **options: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        import pyreadstat

        write = getattr(pyreadstat, writer)
        return by_path(lambda path: write(_cities(), path, **options), suffix)

    return make


def _is_labelled(table: Any) -> None:
    is_cities(table)
    assert table.attrs["column_labels"] == {"people": "Inhabitants"}
    assert table.attrs["value_labels"] == {"people": {1: "few"}}


_LABELS: dict[str, Any] = {
    "column_labels": {"people": "Inhabitants"},
    "variable_value_labels": {"people": {1: "few"}},
}


def _dta(version: int) -> Callable[[], bytes]:
    def make() -> bytes:
        buffer = io.BytesIO()
        _cities().to_stata(buffer, write_index=False, version=version)
        return buffer.getvalue()

    return make


def _r_numbers() -> bytes:
    return struct.pack(">iiiii2d", 2, 0x40301, 0x20300, 14, 2, 1.5, 2.5)


def _rda() -> bytes:
    symbol = struct.pack(">ii1s", 0x40009, 1, b"x")
    numbers = struct.pack(">ii2d", 14, 2, 1.5, 2.5)
    header = struct.pack(">iii", 2, 0x40301, 0x20300)
    pairs = struct.pack(">i", 1026) + struct.pack(">i", 1) + symbol + numbers
    return b"RDX2\nX\n" + header + pairs + struct.pack(">i", 254)


def _is_numbers(values: Any) -> None:
    assert [float(value) for value in values] == [1.5, 2.5]


def _mat(version: str) -> Callable[[], bytes]:
    def make() -> bytes:
        import numpy as np
        import scipy.io

        buffer = io.BytesIO()
        scipy.io.savemat(buffer, {"x": np.array([[1.0, 2.0]])}, format=version)
        return buffer.getvalue()

    return make


def _is_mat(found: Any) -> None:
    assert [*found] == ["x"]
    assert found["x"].tolist() == [[1.0, 2.0]]


def _mat73() -> bytes:
    import h5py
    import numpy as np

    def write(path: str) -> None:
        with h5py.File(path, "w", userblock_size=512) as file:
            file["x"] = np.array([[1.0], [2.0]])
            file["x"].attrs["MATLAB_class"] = np.bytes_("double")

    content = by_path(write, ".mat")
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM"
    return text + content[128:]


_OCTAVE = """# Created by Octave 9.1.0, Mon Jan 01 00:00:00 2024 UTC <me@here>
# name: x
# type: matrix
# rows: 1
# columns: 2
 1 2


# name: s
# type: string
# elements: 1
# length: 4
Oslo


# name: n
# type: scalar
3.5
"""


def _is_octave(found: Any) -> None:
    assert found["x"].tolist() == [[1, 2]]
    assert (found["s"], found["n"]) == ("Oslo", 3.5)


_GRETL = """<?xml version="1.0"?><gretldata name="d"><variables count="2">
<variable name="people" label="Inhabitants"/><variable name="area"/></variables>
<observations count="2" labels="false"><obs>1 2.5</obs><obs>2 NA</obs></observations></gretldata>"""


def _is_gretl(table: Any) -> None:
    assert table["people"].tolist() == [1.0, 2.0]


_PZFX = """<?xml version="1.0"?><GraphPadPrismFile xmlns="http://graphpad.com/prism/Prism.htm">
<Table ID="T0"><Title>Growth</Title><YColumn><Title>Day 1</Title>
<Subcolumn><d>1.5</d><d>2.5</d></Subcolumn></YColumn></Table></GraphPadPrismFile>"""


def _is_pzfx(found: Any) -> None:
    assert found["Growth"]["Day 1"].tolist() == [1.5, 2.5]


# -- databases -----------------------------------------------------------------------------------


def _sqlite() -> bytes:
    def write(path: str) -> None:
        connection = sqlite3.connect(path)
        connection.execute("create table cities (city text, people integer)")
        connection.execute("insert into cities values ('Oslo', 1), ('Lima', 2)")
        connection.commit()
        connection.close()

    return by_path(write, ".sqlite")


def _is_database(found: Any) -> None:
    is_cities(found["cities"])
    assert [*found] == ["cities"]
    assert "cities: 2 rows" in repr(found)


def _dbf() -> bytes:
    fields = b"CITY".ljust(11, b"\0") + b"C" + b"\0" * 4 + bytes([10, 0]) + b"\0" * 14
    fields += b"PEOPLE".ljust(11, b"\0") + b"N" + b"\0" * 4 + bytes([4, 0]) + b"\0" * 14
    head = struct.pack("<4BIHH20x", 3, 120, 1, 2, 3, 32 + len(fields) + 1, 15)
    rows = b" Oslo         1" + b"*Gone         9" + b" Lima         2"
    return head + fields + b"\r" + rows + b"\x1a"


def _lmdb() -> bytes:
    return (b"\0" * 16 + b"\xde\xc0\xef\xbe").ljust(4096, b"\0")


# -- arrays and models ---------------------------------------------------------------------------


def _npy() -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.array([1.5, 2.5]))
    return buffer.getvalue()


def _npz() -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.array([1.5, 2.5]))
    return buffer.getvalue()


def _safetensors() -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return struct.pack("<Q", len(header)) + header + struct.pack("<2f", 1.5, 2.5)


def _gguf() -> bytes:
    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
    pair = text(b"general.name") + struct.pack("<I", 8) + text(b"tiny")
    tensor = text(b"w") + struct.pack("<IQQIQ", 2, 3, 2, 0, 0)
    return (head + pair + tensor).ljust(160, b"\0") + b"\0" * 24


def _is_gguf(found: Any) -> None:
    assert found["metadata"]["general.name"] == "tiny"
    assert found["tensors"].iloc[0].tolist() == ["w", (2, 3), "F32", 0]


def _torch() -> bytes:
    # The opcodes that PyTorch writes: a dict with one tensor of two values.
    pid = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0" + b"0X\x03\0\0\0cpuK\x02tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + pid + b"K\0K\x02\x85K\x01\x85\x89"
    tensor += b"ccollections\nOrderedDict\n)RtR"
    pickled = b"\x80\x02}X\x01\0\0\0a" + tensor + b"s."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/data.pkl", pickled)
        archive.writestr("model/data/0", struct.pack("<2f", 1.5, 2.5))
        archive.writestr("model/version", "3\n")
    return buffer.getvalue()


def _keras() -> bytes:
    import h5py

    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"] = [1.5, 2.5]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
        archive.writestr("config.json", '{"class_name": "Sequential"}')
        archive.writestr("model.weights.h5", weights.getvalue())
    return buffer.getvalue()


def _is_keras(found: Any) -> None:
    assert found["config"]["class_name"] == "Sequential"
    _is_numbers(found["weights"]["layers/dense/vars/0"])


def _tfrecord() -> bytes:
    from kernel_startup.checks.scientific import crc32c

    feature = b"\x0a\x0a" + b"\x0a\x01a\x12\x05\x1a\x03\x0a\x01\x07"
    record = b"\x0a" + bytes([len(feature)]) + feature
    length = struct.pack("<Q", len(record))
    crc = crc32c(length)
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    return length + struct.pack("<I", masked) + record + b"\0\0\0\0"


def _is_tfrecord(found: Any) -> None:
    assert found == [{"a": [7]}]


def _onnx() -> bytes:
    # ModelProto: ir_version 8, producer "x", an empty graph "g", one opset.
    return b"\x08\x08\x12\x01x\x3a\x03\x12\x01g\x42\x02\x10\x0d"


def _is_onnx(model: Any) -> None:
    assert model.graph.name == "g"


def _idx() -> bytes:
    return b"\0\0\x08\x02" + struct.pack(">II", 2, 2) + bytes([1, 2, 3, 4])


def _is_idx(values: Any) -> None:
    assert values.tolist() == [[1, 2], [3, 4]]


def _is_named_numbers(found: Any) -> None:
    _is_numbers(found["a"])


def _is_pickled(found: Any) -> None:
    assert found == {"city": "Oslo", "people": [1, 2]}


# -- grids ---------------------------------------------------------------------------------------


def _hdf5() -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["a"] = [1.5, 2.5]
    return buffer.getvalue()


def _is_hdf5(file: Any) -> None:
    _is_numbers(file["a"])
    file.close()


def _netcdf3() -> bytes:
    import scipy.io

    def write(path: str) -> None:
        with scipy.io.netcdf_file(path, "w") as file:
            file.createDimension("x", 2)
            file.createVariable("a", "d", ("x",))[:] = [1.5, 2.5]

    return by_path(write, ".nc")


def _netcdf4() -> bytes:
    import h5netcdf

    def write(path: str) -> None:
        with h5netcdf.File(path, "w") as file:
            file.dimensions = {"x": 2}
            file.create_variable("a", ("x",), float)[:] = [1.5, 2.5]

    return by_path(write, ".nc")


def _is_dataset(dataset: Any) -> None:
    assert type(dataset).__name__ == "Dataset"
    _is_numbers(dataset["a"].values)
    dataset.close()


def _fits() -> bytes:
    cards = ["SIMPLE  =                    T", "BITPIX  =                  -64"]
    cards += ["NAXIS   =                    1", "NAXIS1  =                    2", "END"]
    head = "".join(card.ljust(80) for card in cards).ljust(2880)
    return head.encode() + struct.pack(">2d", 1.5, 2.5).ljust(2880, b"\0")


def _is_fits(units: Any) -> None:
    _is_numbers(units[0].data)
    units.close()


def _zarr() -> bytes:
    meta = {
        "zarr_format": 2,
        "shape": [2],
        "chunks": [2],
        "dtype": "<f8",
        "compressor": None,
        "fill_value": 0,
        "order": "C",
        "filters": None,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(".zgroup", '{"zarr_format": 2}')
        archive.writestr("a/.zarray", json.dumps(meta))
        archive.writestr("a/.zattrs", '{"_ARRAY_DIMENSIONS": ["x"]}')
        archive.writestr("a/0", struct.pack("<2d", 1.5, 2.5))
    return buffer.getvalue()


# -- signals -------------------------------------------------------------------------------------


def edf(*, width: int = 2, records: int = 2, told: int = 2) -> bytes:
    """A recording of one channel with two samples a record, digital = physical."""

    def text(value: object, size: int) -> bytes:
        return str(value).encode().ljust(size)

    limit = 32767 if width == 2 else 8388607
    version = b"0       " if width == 2 else b"\xffBIOSEMI"
    head = version + text("X", 80) + text("Y", 80) + text("01.01.20", 8) + text("00.00.00", 8)
    head += text(512, 8) + text("", 44) + text(told, 8) + text(1, 8) + text(1, 4)
    head += text("Fpz", 16) + text("", 80) + text("uV", 8) + text(-limit, 8) + text(limit, 8)
    head += text(-limit, 8) + text(limit, 8) + text("", 80) + text(2, 8) + text("", 32)
    samples = b"".join((n - 2).to_bytes(width, "little", signed=True) for n in range(records * 2))
    return head + samples


def _is_edf(found: Any) -> None:
    assert isinstance(found, dict)
    assert [round(v, 6) for v in found["Fpz"]] == [-2, -1, 0, 1]
    assert found.rates == {"Fpz": 2.0}
    assert found.units == {"Fpz": "uV"}


def _sac() -> bytes:
    floats = [-12345.0] * 70
    floats[0] = 0.5
    integers = [-12345] * 40
    integers[0:6] = [2020, 1, 0, 0, 0, 0]
    integers[6], integers[9], integers[15], integers[35] = 6, 2, 1, 1
    head = struct.pack("<70f40i", *floats, *integers) + b"-12345  " * 24
    return head + struct.pack("<2f", 1.5, 2.5)


def _is_sac(stream: Any) -> None:
    _is_numbers(stream[0].data)
    assert stream[0].stats.delta == 0.5


def _segy() -> bytes:
    text = ("C 1 MADE".ljust(80) * 40).encode("cp037")
    head = bytearray(400)
    struct.pack_into(">H", head, 16, 4000)
    struct.pack_into(">HxxH", head, 20, 2, 5)
    trace = bytearray(240) + struct.pack(">2f", 1.5, 2.5)
    return text + bytes(head) + bytes(trace) * 3


def _is_segy(values: Any) -> None:
    assert values.shape == (3, 2)
    _is_numbers(values[0])


_LAS = """~Version
VERS. 2.0 : CWLS LOG ASCII STANDARD
WRAP. NO : one line per depth
~Well
STRT.M 1.0 :
STOP.M 2.0 :
STEP.M 1.0 :
NULL. -999.25 :
WELL. MADE : well
~Curve
DEPT.M : depth
GR.API : gamma ray
~A
1.0 1.5
2.0 2.5
"""


def _is_las(table: Any) -> None:
    _is_numbers(table["GR"])
    assert table.attrs["units"] == {"DEPT": "M", "GR": "API"}


_S2P = "! made\n# GHz S RI R 50\n1.0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8\n"


def _is_s2p(table: Any) -> None:
    assert table.index.tolist() == [1e9]
    assert table["S21"].tolist() == [0.3 + 0.4j]


_LVM = """LabVIEW Measurement\t
Writer_Version\t2
Separator\tTab
Decimal_Separator\t.
***End_of_Header***\t

Channels\t1
Samples\t2
***End_of_Header***\t
X_Value\tVoltage\tComment
0.0\t1.5
0.1\t2.5
"""


def _is_lvm(table: Any) -> None:
    _is_numbers(table["Voltage"])
    assert [*table.columns] == ["X_Value", "Voltage"]


_GAMRY = """EXPLAIN
TAG\tCV
TITLE\tLABEL\tMade\tTest
CURVE\tTABLE\t2
\tPt\tT\tVf
\t#\ts\tV
\t0\t0.1\t1.5
\t1\t0.2\t2.5
"""


def _is_gamry(found: Any) -> None:
    _is_numbers(found["CURVE"]["Vf"])
    assert found["settings"]["TITLE"] == "Made"


_MCA = "<<PMCA SPECTRUM>>\nTAG - made\nLIVE_TIME - 1.5\n<<DATA>>\n3\n4\n<<END>>\n"


def _is_mca(table: Any) -> None:
    assert table["counts"].tolist() == [3, 4]
    assert table.attrs["header"]["LIVE_TIME"] == "1.5"


def _is_voltage(table: Any) -> None:
    _is_numbers(table["V"])


_TRC = "PathFileType\t4\t(X/Y/Z)\tmade.trc\nDataRate\tUnits\n100\tmm\n"
_TRC += "Frame#\tTime\tKnee\t\t\n\t\tX1\tY1\tZ1\n1\t0.0\t1.5\t2\t3\n2\t0.1\t2.5\t5\t6\n"


def _is_trc(table: Any) -> None:
    _is_numbers(table["Knee_X"])


def _spc() -> bytes:
    head = bytearray(512)
    struct.pack_into("<BBBbiddi", head, 0, 0, 0x4B, 0, -128, 2, 400.0, 500.0, 1)
    return bytes(head) + b"\0" * 32 + struct.pack("<2f", 1.5, 2.5)


def _is_spc(table: Any) -> None:
    assert table["x"].tolist() == [400.0, 500.0]
    _is_numbers(table["y"])


def _asd() -> bytes:
    head = bytearray(484)
    head[:3] = b"ASD"
    struct.pack_into("<ff", head, 191, 350.0, 1.0)
    struct.pack_into("<H", head, 204, 2)
    return bytes(head) + struct.pack("<2f", 1.5, 2.5)


def _is_asd(spectrum: Any) -> None:
    assert spectrum.index.tolist() == [350.0, 351.0]
    _is_numbers(spectrum)


_CNV = "* Sea-Bird SBE 9 Data File:\n# nquan = 2\n# name 0 = prDM: Pressure [db]\n"
_CNV += "# name 1 = t090C: Temperature [deg C]\n*END*\n  1.0  1.5\n  2.0  2.5\n"


def _is_cnv(table: Any) -> None:
    _is_numbers(table["t090C"])


def _wfdb_header(found: Any) -> None:
    assert found.header["record"] == "100"


def _info(type: str, filename: str, content: bytes, *, nameless: bool = True) -> Made:
    return Made(type, filename, lambda: content, is_info, nameless=nameless)


MADE = (
    Made("feather", "cities.feather", _feather, is_cities),
    Made("arrow-stream", "cities.arrows", _arrow_stream, is_cities, nameless=False),
    Made("orc", "cities.orc", _orc, is_cities),
    Made("avro", "cities.avro", _avro, is_cities),
    Made("sav", "cities.sav", _pyreadstat("write_sav", ".sav", **_LABELS), _is_labelled),
    Made("zsav", "c.zsav", _pyreadstat("write_sav", ".zsav", compress=True), is_cities),
    Made("por", "cities.por", _pyreadstat("write_por", ".por"), is_cities_upper),
    Made("xpt", "cities.xpt", _pyreadstat("write_xport", ".xpt"), is_cities_upper),
    Made("dta", "cities.dta", _dta(118), is_cities),
    Made("dta-old", "cities.dta", _dta(114), is_cities),
    Made("rds", "numbers.rds", lambda: b"X\n" + _r_numbers(), _is_numbers),
    Made("rda", "numbers.RData", _rda, lambda found: _is_numbers(found["x"])),
    Made("mat", "x.mat", _mat("5"), _is_mat),
    Made("mat4", "x.mat", _mat("4"), _is_mat),
    Made("mat73", "x.mat", _mat73, _is_mat),
    Made("octave", "x.mat", lambda: _OCTAVE.encode(), _is_octave),
    Made("gretl", "data.gdt", lambda: _GRETL.encode(), _is_gretl),
    Made("pzfx", "growth.pzfx", lambda: _PZFX.encode(), _is_pzfx),
    Made("sqlite", "cities.db", _sqlite, _is_database),
    Made("dbf", "cities.dbf", _dbf, is_cities_upper),
    Made("npy", "a.npy", _npy, _is_numbers),
    Made("npz", "a.npz", _npz, _is_named_numbers),
    Made(
        "pickle",
        "a.pkl",
        lambda: pickle.dumps({"city": "Oslo", "people": [1, 2]}),
        _is_pickled,
    ),
    Made("safetensors", "a.safetensors", _safetensors, _is_named_numbers),
    Made("gguf", "tiny.gguf", _gguf, _is_gguf),
    Made("pytorch", "model.pt", _torch, _is_named_numbers),
    Made("keras", "model.keras", _keras, _is_keras),
    Made("tfrecord", "a.tfrecord", _tfrecord, _is_tfrecord),
    Made("onnx", "g.onnx", _onnx, _is_onnx, ("onnx",)),
    Made("idx", "train-images.idx3-ubyte", _idx, _is_idx),
    Made("hdf5", "a.h5", _hdf5, _is_hdf5),
    Made("netcdf3", "a.nc", _netcdf3, _is_dataset),
    Made("netcdf4", "a.nc", _netcdf4, _is_dataset),
    Made("fits", "a.fits", _fits, _is_fits, ("astropy",)),
    Made("zarr2", "a.zarr.zip", _zarr, _is_dataset, ("zarr",)),
    Made("edf", "a.edf", edf, _is_edf),
    Made("bdf", "a.bdf", lambda: edf(width=3), _is_edf),
    Made("sac", "a.sac", _sac, _is_sac, ("obspy",)),
    Made("segy", "a.sgy", _segy, _is_segy),
    Made("well-log", "a.las", lambda: _LAS.encode(), _is_las, ("lasio",)),
    Made("touchstone", "a.s2p", lambda: _S2P.encode(), _is_s2p),
    Made("lvm", "a.lvm", lambda: _LVM.encode(), _is_lvm),
    Made("gamry", "a.dta", lambda: _GAMRY.encode(), _is_gamry),
    Made("mca", "a.mca", lambda: _MCA.encode(), _is_mca),
    # GenePix's results are written in it too.
    Made(
        "atf",
        "a.atf",
        lambda: b"ATF\t1.0\n0\t2\nt\tV\n0\t1.5\n1\t2.5\n",
        _is_voltage,
        nameless=False,
    ),
    Made("trc", "a.trc", lambda: _TRC.encode(), _is_trc),
    Made("spc", "a.spc", _spc, _is_spc),
    Made("asd", "a.asd", _asd, _is_asd, nameless=False),
    Made("seabird", "a.cnv", lambda: _CNV.encode(), _is_cnv),
    Made(
        "wfdb",
        "100.hea",
        lambda: b"100 1 360 650\n100.dat 212 200 11 1024 995 -22131 0 MLII\n",
        _wfdb_header,
    ),
    _info("lmdb", "data.mdb", _lmdb()),
    _info("redis", "dump.rdb", b"REDIS0009\xfa\x09redis-ver"),
    _info("pg-dump", "base.dump", b"PGDMP\x01\x0e\x00\x04\x08" + b"\0" * 40),
    _info("mysql-frm", "t.frm", b"\xfe\x01\x09\x0c\x03\0\0\x10" + b"\0" * 100),
    _info("tflite", "m.tflite", b"\x1c\0\0\0TFL3" + b"\0" * 40),
    _info("mdf", "m.mf4", b"MDF     4.10    made" + b"\0" * 60),
    _info("jmp", "t.jmp", b"\xff\xff\0\0\x07\0\x04\0" + b"\0" * 40),
)
