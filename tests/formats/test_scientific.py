"""Files of statistics programs, databases, arrays, models, grids and signals load."""

import io
import json
import math
import os
import pickle
import signal
import sqlite3
import struct
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.guarded import read_in_child
from kernel_startup.recognition import type_of_content
from kernel_startup.source import Source
from kernel_startup.types import TYPES, type_of_name
from tests.formats.made.scientific import MADE, by_path, edf, is_cities
from tests.formats.uploads import SAMPLES, Loading, Sample, samples

FOLDERS = ("columnar", "stats", "database", "matlab", "netcdf", "hdf", "astro", "pickle")
#: What is a program's text has no marks of its own.
_TOLD_BY_NAME = {"sas"}
_ALIKE = {"db": "sqlite", "grb": "grib", "h5": "hdf5", "he5": "hdf-eos5", "pkl": "pickle"}
_ALIKE["frm"] = "mysql-frm"


@pytest.mark.parametrize("sample", samples(*FOLDERS))
def test_sample_is_recognised(sample: Sample) -> None:
    expected = _ALIKE.get(sample.extension, sample.extension)
    assert type_of_content(sample.path).name == expected
    if expected not in _TOLD_BY_NAME:
        assert type_of_content(sample.path, "upload").name == expected


@pytest.mark.parametrize("sample", samples(*FOLDERS))
def test_sample_loads(sample: Sample, load: Loading, on_demand: Callable[..., None]) -> None:
    required = type_of_content(sample.path).requires
    if required:
        on_demand(*required)
    found = load(sample.path)
    assert type(found).__name__ == _CLASSES.get(sample.extension, "DataFrame")
    for fact, value in sample.fact.items():
        assert _FACTS[fact](found, sample) == value, fact
    if hasattr(found, "close"):
        found.close()


_CLASSES = {
    "accdb": "dict",
    "db": "SQLiteDatabase",
    "fits": "HDUList",
    "frm": "FileInfo",
    "grb": "Dataset",
    "h5": "File",
    "he5": "File",
    "mat": "dict",
    "mdb": "dict",
    "odb": "FileInfo",
    "pkl": "tuple",
    "sas": "str",
    "sqlite": "SQLiteDatabase",
}


def _datasets(file: Any) -> int:
    import h5py

    found: list[str] = []
    file.visititems(lambda n, o: found.append(n) if isinstance(o, h5py.Dataset) else None)
    return len(found)


def _messages(found: Any, sample: Sample) -> int:
    content, at, count = sample.path.read_bytes(), 0, 0
    while (at := content.find(b"GRIB", at)) >= 0:
        at += int.from_bytes(content[at + 4 : at + 7], "big")
        count += 1
    return count


_FACTS: dict[str, Callable[[Any, Sample], object]] = {
    "rows": lambda found, _: len(found),
    "fields": lambda found, _: [*found.columns],
    "tables": lambda found, _: sorted(found),
    "rows_first": lambda found, _: len(next(iter(found.values()))),
    "hdus": lambda found, _: len(found),
    "bytes": lambda found, _: found.size_bytes,
    "messages": _messages,
    "grid1": lambda found, _: [found.sizes["longitude"], found.sizes["latitude"]],
    "top": lambda found, _: sorted(found),
    "n_datasets": lambda found, _: _datasets(found),
    "vars": lambda found, _: [[name, [*value.shape]] for name, value in found.items()],
    "len": lambda found, _: len(found),
    "lines": lambda found, _: len(found.splitlines()),
    "chars": lambda found, sample: sample.path.stat().st_size,
}


# -- what a name can't tell ----------------------------------------------------------------------

_MADE = {made.type: made for made in MADE}


@pytest.mark.parametrize(
    ("type_name", "filename"),
    [
        ("sav", "x.sav"),
        ("sqlite", "x.db"),
        ("netcdf3", "x.nc"),
        ("netcdf4", "x.nc"),
        ("gamry", "x.dta"),
        ("dta", "x.dta"),
        ("mat73", "x.mat"),
        ("octave", "x.mat"),
        ("bdf", "x.bdf"),
        ("well-log", "x.las"),
        ("lmdb", "x.mdb"),
        ("netcdf4", "x.csv"),
        ("sqlite", "x.txt"),
        ("npz", "x.zip"),
    ],
)
def test_content_settles_what_a_name_leaves_open(
    type_name: str, filename: str, tmp_path: Path
) -> None:
    path = tmp_path / "content"
    path.write_bytes(_MADE[type_name].make())
    assert type_of_content(path, filename).name == type_name


def test_gcode_and_nesc_under_a_grids_name_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "part.nc"
    path.write_text("G21\nG90\nG1 X1.0 Y2.0 F300\n")
    assert type_of_content(path).is_text


def test_thumbs_db_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "Thumbs.db"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)
    assert type_of_content(path).family != "databases"


@pytest.mark.parametrize(
    ("filename", "type_name"),
    [("a.mat", "mat"), ("a.db", "sqlite"), ("a.sav", "sav"), ("a.dta", "dta"), ("a.h5", "hdf5")],
)
def test_usual_type_of_a_name(filename: str, type_name: str) -> None:
    assert type_of_name(filename).name in (type_name, "pandas-hdf", "keras-h5")


@pytest.mark.parametrize("start", [b"\x80\x04", b"\x80\x02", b"\x80\x05\x95", b"(", b"]q\x00"])
def test_random_bytes_are_no_pickle(start: bytes, tmp_path: Path) -> None:
    import random

    path = tmp_path / "upload"
    path.write_bytes(start + random.Random(5).randbytes(3000))
    assert type_of_content(path).name != "pickle"


# -- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_name", ["feather", "orc", "avro", "sav", "dta", "dta-old"])
def test_columns_and_rows_can_be_chosen(type_name: str, load: Loading) -> None:
    made = _MADE[type_name]
    table = load(made.make(), made.filename, columns=["city"], nrows=1)
    assert table.to_dict("list") == {"city": ["Oslo"]}


def test_labels_replace_codes_if_asked(load: Loading) -> None:
    table = load(_MADE["sav"].make(), "a.sav", convert_categoricals=True)
    assert table["people"].tolist()[0] == "few"


def test_table_of_a_database_by_option_and_by_query(load: Loading) -> None:
    is_cities(load(_MADE["sqlite"].make(), "a.db", table="cities"))
    database = load(_MADE["sqlite"].make(), "a.db")
    assert database.sql("select people from cities where city = ?", ["Lima"])["people"][0] == 2
    with pytest.raises(KeyError, match="the tables are 'cities'"):
        database["towns"]
    with pytest.raises(FileLoadError, match="readonly"):
        database.sql("insert into cities values ('Rome', 3)")


def test_duckdb(load: Loading, on_demand: Callable[..., None]) -> None:
    on_demand(*TYPES["duckdb"].requires)
    import duckdb

    def write(path: str) -> None:
        with duckdb.connect(path) as connection:
            connection.execute("create table cities as select 'Oslo' as city, 1 as people")
            connection.execute("insert into cities values ('Lima', 2)")

    database = load(by_path(write, ".duckdb"), "upload")
    is_cities(database["cities"])
    assert "cities: 2 rows" in repr(database)


def test_joblib(load: Loading, on_demand: Callable[..., None]) -> None:
    on_demand(*TYPES["joblib"].requires)
    import joblib
    import numpy as np

    stored = {"a": np.array([1.5, 2.5])}
    for compress in (0, 3):
        content = by_path(partial(joblib.dump, stored, compress=compress), ".joblib")
        assert load(content, "a.joblib")["a"].tolist() == [1.5, 2.5]


def test_wfdb_signals_lie_beside_their_header(load: Loading) -> None:
    header = "r 2 360 2\nr.dat 16 100 16 0 0 0 0 I\nr.dat 16 100 16 0 0 0 0 II\n"
    load.add(struct.pack("<4h", 100, 200, -100, -200), "r.dat")
    found = load(header, "r.hea")
    assert found["I"].tolist() == [1.0, -1.0]
    assert found["II"].tolist() == [2.0, -2.0]
    assert load(header.replace("r.dat", "gone.dat"), "s.hea") == {}
    assert "isn't there" in load.notes[0]


def test_odb_names_its_tables(load: Loading) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.base")
        archive.writestr("database/script", 'CREATE CACHED TABLE "Towns"("ID" INTEGER)')
    assert load(buffer.getvalue(), "upload").facts == {"engine": "HSQLDB", "tables": ["Towns"]}


def test_torch_runs_nothing(load: Loading) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02cos\nsystem\nX\x07\0\0\0echo hi\x85R.")
        archive.writestr("m/version", "3\n")
    found = load(buffer.getvalue(), "m.pt")
    assert repr(found) == "<os.system>"
    assert found.arguments == ("echo hi",)


def test_pickle_says_which_package_it_needs(load: Loading) -> None:
    content = b"cnot_installed.things\nThing\n)R."
    with pytest.raises(FileLoadError, match="the package not_installed"):
        load(content, "a.pkl")


def test_octave_cells_and_structures(load: Loading) -> None:
    text = (
        "# Created by Octave 9\n# name: s\n# type: scalar struct\n# ndims: 2\n 1 1\n# length: 2\n"
        "# name: a\n# type: scalar\n1\n\n\n# name: b\n# type: string\n# elements: 1\n"
        "# length: 2\nhi\n\n\n\n\n# name: t\n# type: bool\n1\n\n\n"
    )
    found = load(text, "x.mat")
    assert found["s"] == {"a": 1, "b": "hi"}
    assert found["t"] is True


# -- broken and hostile --------------------------------------------------------------------------


def test_cut_off_recording_says_so(load: Loading) -> None:
    found = load(edf(records=2, told=5), "a.edf")
    assert len(found["Fpz"]) == 4
    assert "2 of 5 records" in load.notes[0]


def test_array_that_lies_about_its_shape(load: Loading) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }"
    header = header.ljust(117) + b"\n"
    content = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + b"\0" * 16
    with pytest.raises(FileLoadError, match="cut off or lies"):
        load(content, "a.npy")


def test_safetensors_that_lie(load: Loading) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode()
    with pytest.raises(FileLoadError, match="cut off"):
        load(struct.pack("<Q", len(header)) + header + b"\0" * 8, "a.safetensors")


def test_endless_view_of_a_database_is_no_trap(load: Loading) -> None:
    def write(path: str) -> None:
        connection = sqlite3.connect(path)
        endless = "with recursive n(x) as (select 1 union all select x + 1 from n) select x from n"
        connection.execute(f"create view endless as {endless}")
        connection.commit()
        connection.close()

    database = load(by_path(write, ".db"), "a.db")
    assert "endless: ? rows" in repr(database)
    database.max_rows = 1000
    with pytest.raises(FileLoadError, match="a view of more than"):
        database["endless"]


@pytest.mark.parametrize("type_name", ["sqlite", "dbf", "mat", "npy", "idx", "sav", "netcdf3"])
def test_cut_off_file_is_an_error_or_what_is_left(type_name: str, load: Loading) -> None:
    made = _MADE[type_name]
    content = made.make()
    for size in (1, 20, len(content) // 2, len(content) - 1):
        try:
            load(content[:size], made.filename)
        except FileLoadError as error:
            assert made.filename in str(error)


def test_pickle_of_old_strings(load: Loading) -> None:
    content = pickle.dumps({"a": 1}, protocol=0)
    assert load(content, "upload") == {"a": 1}
    assert load(b"\x80\x02U\x01\xe9.", "old.pkl") == "\xe9"


def test_reader_in_a_child_hands_over_what_it_returns_and_raises(tmp_path: Path) -> None:
    with _source(tmp_path) as source:
        assert read_in_child(source, sorted, [2, 1], reverse=False) == [1, 2]
        with pytest.raises(ValueError, match="invalid literal"):
            read_in_child(source, int, "x")


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "signal 11"),
        (lambda: time.sleep(60), "more than [01] s"),
        (lambda: bytes(4 << 30), "more than 1.0 GiB"),
    ],
    ids=["crash", "hang", "memory"],
)
def test_reader_in_a_child_may_die(read: Callable[[], Any], says: str, tmp_path: Path) -> None:
    with _source(tmp_path) as source, pytest.raises((FileLoadError, MemoryError), match=says):
        read_in_child(source, read, max_bytes=1 << 30, max_s=0.5)


def _source(tmp_path: Path) -> Source:
    path = tmp_path / "a.bin"
    path.write_bytes(b"a")
    return Source(path)


def test_genepix_type_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_text('ATF\t1.0\n2\t2\n"AcquisitionMode=Gap Free"\n"Comment="\n"a"\t"b"\n1\t2\n')
    assert type_of_content(path, "upload").name == "atf"
    path.write_text('ATF\t1.0\n1\t2\n"Type=GenePix Results 3"\n"Block"\t"ID"\n1\t2\n')
    assert type_of_content(path, "upload").name == "gpr"


def test_nasa_cdf(load: Loading, on_demand: Callable[..., None], tmp_path: Path) -> None:
    on_demand(*TYPES["nasa-cdf"].requires)
    from cdflib.cdfwrite import CDF

    written = CDF(str(tmp_path / "a.cdf"), cdf_spec={"Compressed": 0})
    told = {"Variable": "v", "Data_Type": 45, "Num_Elements": 1, "Rec_Vary": True, "Dim_Sizes": []}
    written.write_var(told, var_data=[1.0, 2.0, 3.0])
    written.close()
    content = (tmp_path / "a.cdf").read_bytes()
    assert load(content, "a.cdf")["v"].tolist() == [1, 2, 3]
    with pytest.raises(FileLoadError):
        load(content[:300], "a.cdf")


def test_grib_messages_of_unknown_parameters_are_told_apart(
    load: Loading, on_demand: Callable[..., None]
) -> None:
    on_demand(*TYPES["grib"].requires)
    path = SAMPLES / "netcdf" / "GLDAS_CLM10SUBP_3H.A19790202.0000.001.grb"
    if not path.exists():
        pytest.skip("no samples here")
    dataset = load(path.read_bytes(), path.name)
    assert dataset.sizes["latitude"] == 150 and dataset.sizes["longitude"] == 360
    messages = sum(math.prod(array.shape) for array in dataset.data_vars.values()) / 54_000
    assert messages == 40
    assert {"unknown_131", "unknown_138", "unknown_204"} <= {*dataset.data_vars}
    assert not any(array.isnull().all() for array in dataset.data_vars.values())
