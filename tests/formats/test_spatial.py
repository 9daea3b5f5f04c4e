"""Meshes, CAD, point clouds and geospatial data: real files, and files that lie or break off."""

import gzip
import io
import json
import re
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_startup.errors import FileLoadError
from kernel_startup.recognition import type_of_content
from kernel_startup.types import TYPES
from tests.formats.uploads import Loading, Sample, samples

#: Nothing in these tells them apart from others of their container.
_TOLD_BY_NAME = {"testsolidworksPart2013SP2.SLDPRT"}


@pytest.mark.parametrize("sample", samples("mesh3d", "geo"))
def test_sample_is_what_an_analyst_expects(
    sample: Sample, load: Loading, on_demand: Callable[..., None]
) -> None:
    file_type = type_of_content(sample.path)
    assert file_type.family in ("mesh", "cad", "point cloud", "geospatial")
    assert type_of_content(sample.path, sample.path.name.upper()) is file_type
    if sample.path.name not in _TOLD_BY_NAME:
        assert type_of_content(sample.path, "upload") is file_type
    if file_type.requires:
        on_demand(*file_type.requires)
    loaded = load(sample.path)
    for name, stated in sample.fact.items():
        if name != "note":  # why the second tool couldn't read it
            assert _FACTS[name](loaded, sample) == stated, name


def _parts(loaded: Any) -> list[Any]:
    return list(loaded.geometry.values()) if hasattr(loaded, "geometry") else [loaded]


_FACTS: dict[str, Callable[[Any, Sample], Any]] = {
    "bytes": lambda _, sample: sample.path.stat().st_size,
    "faces": lambda loaded, _: sum(len(part.faces) for part in _parts(loaded)),
    "vertices": lambda loaded, _: sum(len(part.vertices) for part in _parts(loaded)),
    "points": lambda loaded, _: len(loaded.points),
    "layers": lambda loaded, _: list(loaded),
    "features1": lambda loaded, _: len(next(iter(loaded.values()))),
}


def test_every_loader_of_the_table_exists() -> None:
    from kernel_startup.loaders import find_loader

    for file_type in TYPES.values():
        if file_type.family in ("mesh", "cad", "point cloud", "geospatial"):
            assert callable(find_loader(file_type.loader)), file_type.name


# -- parts beside each other ---------------------------------------------------------------------


def test_raw_grid_needs_its_header(load: Loading) -> None:
    raw = load.add(struct.pack("<6H", *range(6)), "dem.bil")
    with pytest.raises(FileLoadError, match=r"\.hdr"):
        load.by_id(raw)
    header = "NROWS 2\nNCOLS 3\nNBITS 16\nBYTEORDER I\nULXMAP 10\nULYMAP 20\nXDIM 1\nYDIM 1\n"
    beside = load.add(header, "DEM.HDR")
    for which in (raw, beside):
        grid = load.by_id(which)
        assert grid.values.tolist() == [[[0, 1, 2], [3, 4, 5]]]
        assert (grid["x"].values.tolist(), grid["y"].values.tolist()) == ([10, 11, 12], [20, 19])


def test_scene_finds_its_buffer_among_the_files_only(load: Loading) -> None:
    tree = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "buffers": [{"byteLength": 36, "uri": "../../../points.bin"}],
    }
    scene = load.add(json.dumps(tree), "a.gltf")
    with pytest.raises(FileLoadError, match=r"points\.bin"):
        load.by_id(scene)
    load.add(struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0), "points.bin")
    assert [len(mesh.vertices) for mesh in load.by_id(scene).geometry.values()] == [3]


# -- options -------------------------------------------------------------------------------------


def test_vertices_are_merged_on_demand(load: Loading) -> None:
    twice = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 0\nv 1 0 0\nv 0 0 1\nf 1 2 3\nf 4 5 6\n"
    assert len(load(twice, "a.obj").vertices) == 6
    assert len(load(twice, "a.obj", process=True).vertices) == 4


def test_tracks_say_what_else_there_is(load: Loading) -> None:
    gpx = (
        '<gpx version="1.1" creator="x" xmlns="http://www.topografix.com/GPX/1/1">'
        '<wpt lat="1" lon="2"><name>hut</name></wpt>'
        '<trk><trkseg><trkpt lat="3" lon="4"/></trkseg></trk></gpx>'
    )
    assert load(gpx, "a.gpx")["latitude"].tolist() == [3]
    assert "1 waypoint points" in load.notes[0]
    assert load(gpx, "a.gpx", points="waypoint")["name"].tolist() == ["hut"]


# -- files that lie, break off or point elsewhere ------------------------------------------------


def _big_ply() -> bytes:
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 2000000000\n"
    return f"{header}property float x\nend_header\n".encode() + bytes(100)


def _big_glb() -> bytes:
    tree = {
        "asset": {"version": "2.0"},
        "accessors": [{"componentType": 5126, "count": 10**10, "type": "VEC3"}],
    }
    text = json.dumps(tree).encode()
    head = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A)
    return head + text


def _big_vti() -> bytes:
    extent = "0 999999999 0 9 0 9"
    return (
        f'<VTKFile type="ImageData"><ImageData WholeExtent="{extent}"><Piece Extent="{extent}"/>'
        "</ImageData></VTKFile>"
    ).encode()


def _bomb_3mf() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("3D/3dmodel.model", "<model/>")
    # The directory is believed to be honest about sizes by most readers: have it lie upwards.
    content = bytearray(buffer.getvalue())
    place = content.rindex(b"PK\1\2")
    content[place + 24 : place + 28] = b"\xff\xff\xff\x7f"
    return bytes(content)


_POINTS = (
    "# .PCD v0.7\nVERSION 0.7\nFIELDS x\nSIZE 4\nTYPE F\nCOUNT 1\nWIDTH {}\nHEIGHT 1\nDATA binary\n"
)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("big.ply", _big_ply),
        ("big.glb", _big_glb),
        ("big.vti", _big_vti),
        ("big.off", lambda: b"OFF 999999999 999999999 0\n0 0 0\n"),
        ("big.pcd", lambda: _POINTS.format(2**40).encode() + b"xx"),
        ("big.asc", lambda: b"ncols 100000\nnrows 100000\nxllcorner 0\nyllcorner 0\n1 2 3\n"),
        ("big.grd", lambda: b"DSBB" + struct.pack("<2h6d", 32767, 32767, *[0] * 6)),
        ("big.binvox", lambda: b"#binvox 1\ndim 99999 99999 99999\ndata\n\1\1"),
        ("cut.stl", lambda: b"solid a\nfacet normal 0 0 1\n"),
        ("cut.gpx", lambda: b'<gpx xmlns="http://www.topografix.com/GPX/1/1"><trk>'),
        ("entities.gpx", lambda: b'<!DOCTYPE g [<!ENTITY a "aaaa">]><gpx>&a;</gpx>'),
        ("empty.ply", lambda: b""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_lies_or_is_cut_off_is_refused(
    load: Loading, name: str, make: Callable[[], bytes]
) -> None:
    with pytest.raises(FileLoadError) as raised:
        load(make(), name)
    assert name in str(raised.value)


def test_zips_that_say_they_are_huge_are_refused(
    load: Loading, on_demand: Callable[..., None]
) -> None:
    on_demand(*TYPES["3mf"].requires)
    with pytest.raises(FileLoadError, match="memory"):
        load(_bomb_3mf(), "bomb.3mf")


def test_meshes_that_never_end_end(load: Loading, on_demand: Callable[..., None]) -> None:
    on_demand("meshio")
    for text, name in (
        ("BEGIN BULK\n", "a.bdf"),
        ("* FLAC3D grid\nG 1 0 0 0\nZ B8 1\n", "a.f3grid"),
        ('(0 "made")\n(10 (1 1 4 1 3)(\n', "a.msh"),
        ("$ENTER COMPONENT\n$STRUCTURE\n$COOR\n", "a.dato"),
    ):
        try:
            load(text, name)
        except FileLoadError as error:
            assert name in str(error)


def test_what_points_to_other_files_is_not_followed(
    load: Loading, on_demand: Callable[..., None], tmp_path: Path
) -> None:
    on_demand("geopandas", "pyogrio")
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    pointer = (
        '<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>'
        f"{secret}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )
    assert load(pointer, "a.geojson") == pointer
    with pytest.raises(FileLoadError, match="points to other files"):
        load("# @VGMT1.0 @GPOINT\n" + pointer, "a.gmt")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.shp", pointer)
        archive.writestr("a.dbf", "x")
    with pytest.raises(FileLoadError, match="points to other files"):
        load(buffer.getvalue(), "a.shp.zip")


def test_scenes_of_entities_tell_no_secrets(load: Loading, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0 0 0 1 0 0 0 1 0")
    scene = (
        f'<!DOCTYPE X3D [<!ENTITY s SYSTEM "{secret.as_uri()}">]><X3D><Scene><Shape>'
        "<IndexedFaceSet coordIndex='0 1 2 -1'><Coordinate>&s;</Coordinate></IndexedFaceSet>"
        "</Shape></Scene></X3D>"
    )
    with pytest.raises(FileLoadError):
        load(scene, "a.x3d")


# -- recognition ---------------------------------------------------------------------------------


def test_packed_stl_is_as_long_as_it_promises(tmp_path: Path) -> None:
    facet = struct.pack("<12fH", 0, 0, 1, *range(9), 0)
    path = tmp_path / "content"
    path.write_bytes(gzip.compress(bytes(80) + struct.pack("<I", 5000) + facet * 5000))
    assert type_of_content(path, "upload").name == "stl"
    path.write_bytes(gzip.compress(bytes(80) + struct.pack("<I", 5000) + facet * 4999))
    assert type_of_content(path, "upload").name != "stl"


def test_prose_is_no_flight(tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_text("ABCD is how it begins.\nBut it goes on.\n")
    assert type_of_content(path, "upload").name == "text"


_HOSTILE = (
    "A", " ", "\n", "#\n", "{", '"asset":{"version":"1"', '{"type":', "/* */", "v 1 2 3\n",
    "1 2 3\n", "POINT", "999\na\n", "FILE_SCHEMA(('", "G04", "\"version\":\"1\" ", "ncols 1\n",
)  # fmt: skip


@pytest.mark.parametrize("text", _HOSTILE, ids=repr)
def test_patterns_are_quick_on_hostile_text(text: str) -> None:
    families = ("mesh", "cad", "point cloud", "geospatial")
    patterns = [p for t in TYPES.values() if t.family in families for p in t.patterns]
    compiled = [re.compile(pattern, re.MULTILINE) for pattern in patterns]
    starts = ("", "{", '{"asset":{', "ISO-10303-21;", "AAAA\n", "a\n1\n 1 1\n")
    for start in starts:
        hostile = (start + text * 65_536)[:65_536]
        for pattern in compiled:
            begun = time.process_time()
            pattern.match(hostile)
            assert time.process_time() - begun < 1, pattern.pattern
