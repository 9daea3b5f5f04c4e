"""Meshes, CAD, point clouds, geospatial features and grids."""

import base64
import io
import json
import sqlite3
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.formats.uploads import Made

_POINTS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
_FACES = ((0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3))
_FRAMES = ("geopandas", "pyogrio")


def _text(text: str) -> Callable[[], bytes]:
    return text.encode


def _bytes(content: bytes) -> Callable[[], bytes]:
    return lambda: content


def _lines(rows: Any, before: str = "") -> str:
    return "".join(before + " ".join(map(str, row)) + "\n" for row in rows)


def _is_tetrahedron(mesh: Any) -> None:
    if hasattr(mesh, "geometry"):
        (mesh,) = mesh.geometry.values()
    assert (len(mesh.vertices), len(mesh.faces)) == (4, 4)
    assert abs(mesh.volume) == 1 / 6 or abs(abs(mesh.volume) - 1 / 6) < 1e-6


def _is_grid_mesh(mesh: Any) -> None:
    assert len(mesh.points) == 4
    assert sum(len(block.data) for block in mesh.cells) in (1, 4)


def _tells(**facts: object) -> Callable[[Any], None]:
    def check(info: Any) -> None:
        assert {name: info.facts.get(name.replace("_", " ")) for name in facts} == facts

    return check


def _is_info(info: Any) -> None:
    assert type(info).__name__ == "FileInfo"


def _is_text(text: Any) -> None:
    assert isinstance(text, str)
    assert text


def _has_rows(count: int, *columns: str) -> Callable[[Any], None]:
    def check(table: Any) -> None:
        assert len(table) == count
        assert {*columns} <= {*table.columns}

    return check


# -- meshes --------------------------------------------------------------------------------------

_OBJ = (
    "# made\no tetra\n" + _lines(_POINTS, "v ") + _lines([[i + 1 for i in f] for f in _FACES], "f ")
)
_PLY_HEADER = (
    "ply\nformat {} 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    "element face 4\nproperty list uchar int vertex_indices\nend_header\n"
)
_PLY = _PLY_HEADER.format("ascii") + _lines(_POINTS) + _lines(_FACES, "3 ")
_OFF = "OFF\n4 4 6\n" + _lines(_POINTS) + _lines(_FACES, "3 ")


def _binary_ply() -> bytes:
    points = b"".join(struct.pack("<3f", *point) for point in _POINTS)
    faces = b"".join(struct.pack("<B3i", 3, *face) for face in _FACES)
    return _PLY_HEADER.format("binary_little_endian").encode() + points + faces


def _ascii_stl() -> bytes:
    facets = "".join(
        "facet normal 0 0 0\n outer loop\n"
        + _lines([_POINTS[i] for i in face], "  vertex ")
        + " endloop\nendfacet\n"
        for face in _FACES
    )
    return f"solid made\n{facets}endsolid made\n".encode()


def _binary_stl() -> bytes:
    facets = b"".join(
        struct.pack("<12fH", 0, 0, 0, *[n for i in face for n in _POINTS[i]], 0) for face in _FACES
    )
    return b"made".ljust(80) + struct.pack("<I", 4) + facets


def _gltf(uri: bool) -> tuple[dict[str, Any], bytes]:
    body = b"".join(struct.pack("<3f", *point) for point in _POINTS)
    body += b"".join(struct.pack("<3H", *face) for face in _FACES)
    buffer: dict[str, Any] = {"byteLength": len(body)}
    if uri:
        data = base64.b64encode(body).decode()
        buffer["uri"] = f"data:application/octet-stream;base64,{data}"
    tree = {
        "asset": {"version": "2.0", "generator": "by hand"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": 5126,
                "count": 4,
                "type": "VEC3",
                "min": [0, 0, 0],
                "max": [1, 1, 1],
            },
            {"bufferView": 1, "componentType": 5123, "count": 12, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 48},
            {"buffer": 0, "byteOffset": 48, "byteLength": 24},
        ],
        "buffers": [buffer],
    }
    return tree, body


def _glb() -> bytes:
    tree, body = _gltf(uri=False)
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    chunks += struct.pack("<I4s", len(body), b"BIN\0") + body
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def _b3dm() -> bytes:
    inner = _glb()
    return b"b3dm" + struct.pack("<6I", 1, 28 + len(inner), 0, 0, 0, 0) + inner


def _zipped(members: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _3mf() -> bytes:
    points = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in _POINTS)
    faces = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in _FACES)
    model = (
        '<model unit="millimeter" '
        'xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"><resources>'
        f'<object id="1" type="model"><mesh><vertices>{points}</vertices>'
        f"<triangles>{faces}</triangles></mesh></object></resources>"
        '<build><item objectid="1"/></build></model>'
    )
    return _zipped({"[Content_Types].xml": "<Types/>", "3D/3dmodel.model": model})


def _amf() -> str:
    points = "".join(
        f"<vertex><coordinates><x>{x}</x><y>{y}</y><z>{z}</z></coordinates></vertex>"
        for x, y, z in _POINTS
    )
    faces = "".join(
        f"<triangle><v1>{a}</v1><v2>{b}</v2><v3>{c}</v3></triangle>" for a, b, c in _FACES
    )
    return (
        f'<?xml version="1.0"?><amf unit="millimeter"><object id="0"><mesh><vertices>{points}'
        f"</vertices><volume>{faces}</volume></mesh></object></amf>"
    )


def _chunk(kind: int, body: bytes) -> bytes:
    return struct.pack("<HI", kind, 6 + len(body)) + body


def _3ds() -> bytes:
    points = struct.pack("<H", 4) + b"".join(struct.pack("<3f", *point) for point in _POINTS)
    faces = struct.pack("<H", 4) + b"".join(struct.pack("<4H", *face, 7) for face in _FACES)
    mesh = _chunk(0x4100, _chunk(0x4110, points) + _chunk(0x4120, faces))
    return _chunk(
        0x4D4D, _chunk(2, struct.pack("<I", 3)) + _chunk(0x3D3D, _chunk(0x4000, b"t\0" + mesh))
    )


_X3D_INDEX = " ".join(f"{a} {b} {c} -1" for a, b, c in _FACES)
_X3D_POINTS = ", ".join(" ".join(map(str, point)) for point in _POINTS)
_X3D = (
    '<?xml version="1.0"?><X3D version="3.3"><Scene><Transform translation="1 2 3"><Shape>'
    f'<IndexedFaceSet coordIndex="{_X3D_INDEX}"><Coordinate point="{_X3D_POINTS}"/>'
    "</IndexedFaceSet></Shape></Transform></Scene></X3D>"
)
_VRML = (
    "#VRML V2.0 utf8\nShape { geometry IndexedFaceSet {\n coord Coordinate { point [ "
    f"{_X3D_POINTS} ] }}\n coordIndex [ {_X3D_INDEX} ] }} }}\n"
)
_XAML = (
    '<Page xmlns="http://schemas.microsoft.com/winfx/2006/xaml/presentation"><Viewport3D>'
    "<ModelVisual3D><ModelVisual3D.Content><GeometryModel3D><GeometryModel3D.Geometry>"
    f'<MeshGeometry3D Positions="{_X3D_POINTS.replace(", ", " ")}" '
    f'TriangleIndices="{" ".join(str(i) for f in _FACES for i in f)}"/>'
    "</GeometryModel3D.Geometry></GeometryModel3D></ModelVisual3D.Content></ModelVisual3D>"
    "</Viewport3D></Page>"
)
_DAE_SOURCE = " ".join(str(n) for point in _POINTS for n in point)
_DAE = (
    '<?xml version="1.0"?><COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" '
    'version="1.4.1"><asset><created>2024-01-01T00:00:00Z</created>'
    "<modified>2024-01-01T00:00:00Z</modified></asset><library_geometries>"
    '<geometry id="g"><mesh><source id="p"><float_array id="a" count="12">'
    f'{_DAE_SOURCE}</float_array><technique_common><accessor source="#a" count="4" stride="3">'
    '<param name="X" type="float"/><param name="Y" type="float"/><param name="Z" type="float"/>'
    '</accessor></technique_common></source><vertices id="v"><input semantic="POSITION" '
    'source="#p"/></vertices><triangles count="4"><input semantic="VERTEX" source="#v" '
    f'offset="0"/><p>{" ".join(str(i) for f in _FACES for i in f)}</p></triangles></mesh>'
    '</geometry></library_geometries><library_visual_scenes><visual_scene id="s"><node id="n">'
    '<instance_geometry url="#g"/></node></visual_scene></library_visual_scenes>'
    '<scene><instance_visual_scene url="#s"/></scene></COLLADA>'
)


def _binvox() -> bytes:
    return b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n" + bytes([1, 3, 0, 5])


def _is_three_voxels(voxels: Any) -> None:
    assert (voxels.shape, int(voxels.sum())) == ((2, 2, 2), 3)


def _vox() -> bytes:
    size = b"SIZE" + struct.pack("<5I", 12, 0, 2, 3, 4)
    voxels = b"XYZI" + struct.pack("<3I", 12, 0, 2) + bytes([0, 0, 0, 5, 1, 2, 3, 9])
    inner = size + voxels
    return b"VOX " + struct.pack("<I", 150) + b"MAIN" + struct.pack("<II", 0, len(inner)) + inner


def _is_vox(model: Any) -> None:
    assert model.shape == (2, 3, 4)
    assert (model[0, 0, 0], model[1, 2, 3], int((model > 0).sum())) == (5, 9, 2)


# -- meshes of simulations -----------------------------------------------------------------------

_VTK = (
    "# vtk DataFile Version 3.0\nmade\nASCII\nDATASET UNSTRUCTURED_GRID\nPOINTS 4 float\n"
    + _lines(_POINTS)
    + "CELLS 1 5\n4 0 1 2 3\nCELL_TYPES 1\n10\n"
)
_GMSH = (
    "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Nodes\n4\n"
    + "".join(f"{n} {x} {y} {z}\n" for n, (x, y, z) in enumerate(_POINTS, 1))
    + "$EndNodes\n$Elements\n1\n1 4 2 0 1 1 2 3 4\n$EndElements\n"
)


def _array(kind: str, name: str, values: Any, components: int = 1) -> str:
    return (
        f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{components}" '
        f'format="ascii">{" ".join(map(str, values))}</DataArray>'
    )


def _vtk_xml(kind: str, body: str, **attributes: str) -> str:
    more = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return (
        f'<VTKFile type="{kind}" version="0.1" byte_order="LittleEndian"><{kind}{more}>{body}'
        f"</{kind}></VTKFile>"
    )


_VTK_POINTS = f"<Points>{_array('Float32', 'p', [n for p in _POINTS for n in p], 3)}</Points>"
_VTU = _vtk_xml(
    "UnstructuredGrid",
    f'<Piece NumberOfPoints="4" NumberOfCells="1">{_VTK_POINTS}<Cells>'
    f"{_array('Int64', 'connectivity', range(4))}{_array('Int64', 'offsets', [4])}"
    f"{_array('UInt8', 'types', [10])}</Cells></Piece>",
)
_VTP = _vtk_xml(
    "PolyData",
    f'<Piece NumberOfPoints="4" NumberOfPolys="4">{_VTK_POINTS}<Polys>'
    f"{_array('Int64', 'connectivity', [i for f in _FACES for i in f])}"
    f"{_array('Int64', 'offsets', [3, 6, 9, 12])}</Polys></Piece>",
)
_VTK_DATA = f"<PointData>{_array('Float64', 'heat', range(6))}</PointData>"
_VTI = _vtk_xml(
    "ImageData",
    f'<Piece Extent="0 2 0 1 0 0">{_VTK_DATA}</Piece>',
    WholeExtent="0 2 0 1 0 0",
    Origin="10 20 30",
    Spacing="2 1 1",
)
_VTR = _vtk_xml(
    "RectilinearGrid",
    f'<Piece Extent="0 2 0 1 0 0">{_VTK_DATA}<Coordinates>{_array("Float64", "x", [10, 12, 14])}'
    f"{_array('Float64', 'y', [20, 21])}{_array('Float64', 'z', [30])}</Coordinates></Piece>",
    WholeExtent="0 2 0 1 0 0",
)


def _is_vtk_image(data: Any) -> None:
    assert data["heat"].dims == ("z", "y", "x")
    assert data["x"].values.tolist() == [10, 12, 14]
    assert float(data["heat"].sel(x=14, y=21, z=30)) == 5


_SU2 = "NDIME= 3\nNELEM= 1\n10 0 1 2 3 0\nNPOIN= 4\n" + "".join(
    f"{x} {y} {z} {n}\n" for n, (x, y, z) in enumerate(_POINTS)
)
_MEDIT = (
    "MeshVersionFormatted 2\nDimension 3\nVertices\n4\n"
    + "".join(f"{x} {y} {z} 0\n" for x, y, z in _POINTS)
    + "Tetrahedra\n1\n1 2 3 4 0\nEnd\n"
)
_ABAQUS = (
    "*HEADING\nmade\n*NODE\n"
    + "".join(f"{n}, {x}, {y}, {z}\n" for n, (x, y, z) in enumerate(_POINTS, 1))
    + "*ELEMENT, TYPE=C3D4\n1, 1, 2, 3, 4\n"
)
_NASTRAN = (
    "BEGIN BULK\n"
    + "".join(
        f"GRID,{n},,{float(x)},{float(y)},{float(z)}\n" for n, (x, y, z) in enumerate(_POINTS, 1)
    )
    + "CTETRA,1,1,1,2,3,4\nENDDATA\n"
)


def _cgns() -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_group("CGNSLibraryVersion").attrs["label"] = b"CGNSLibraryVersion_t"
        zone = file.create_group("Base/Zone1")
        zone.attrs["label"] = b"Zone_t"
        zone.create_group("GridCoordinates/CoordinateX")[" data"] = [0.0, 1.0, 2.0]
    return buffer.getvalue()


def _has_zone(zones: Any) -> None:
    assert zones["Zone1"]["GridCoordinates"]["CoordinateX"].tolist() == [0, 1, 2]


# -- point clouds --------------------------------------------------------------------------------

_XYZ = _lines((x, y, z, 255, 0, 128) for x, y, z in _POINTS)
_PTS = "4\n" + _lines((x, y, z, -7, 255, 0, 128) for x, y, z in _POINTS)
_PTX = "2\n2\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n1 0 0 0\n0 1 0 0\n0 0 1 0\n10 20 30 1\n" + _lines(
    (x, y, z, 0.5) for x, y, z in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0))
)
_PCD_HEADER = (
    "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z label\nSIZE 4 4 4 2\n"
    "TYPE F F F U\nCOUNT 1 1 1 1\nWIDTH 4\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 4\nDATA {}\n"
)
_PCD = _PCD_HEADER.format("ascii") + _lines((x, y, z, 7) for x, y, z in _POINTS)


def _binary_pcd() -> bytes:
    points = b"".join(struct.pack("<3fH", *point, 7) for point in _POINTS)
    return _PCD_HEADER.format("binary").encode() + points


def _packed_pcd() -> bytes:
    columns = b"".join(struct.pack("<4f", *axis) for axis in zip(*_POINTS, strict=True))
    columns += struct.pack("<4H", 7, 7, 7, 7)
    # Runs as they are, of up to 32 bytes.
    pieces = [columns[i : i + 32] for i in range(0, len(columns), 32)]
    packed = b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)
    sizes = struct.pack("<II", len(packed), len(columns))
    return _PCD_HEADER.format("binary_compressed").encode() + sizes + packed


def _is_pcd(table: Any) -> None:
    assert table[["x", "y", "z"]].to_numpy().tolist() == [list(map(float, p)) for p in _POINTS]
    assert table["label"].tolist() == [7] * 4


def _is_cloud(cloud: Any) -> None:
    assert cloud.vertices.tolist() == [list(map(float, point)) for point in _POINTS]
    assert cloud.colors[0].tolist()[:3] == [255, 0, 128]


def _is_pts(table: Any) -> None:
    assert table["intensity"].tolist() == [-7] * 4
    assert table["green"].tolist() == [0] * 4


def _is_ptx(table: Any) -> None:
    assert table[["x", "y", "z"]].to_numpy().tolist() == [[11, 20, 30], [10, 21, 30], [10, 20, 31]]


def _las() -> bytes:
    points = b"".join(
        struct.pack("<3iHBBbBH", x, y, z, 9, 0, 2, 0, 0, 1)
        for x, y, z in ((0, 0, 0), (100, 200, 300))
    )
    head = b"LASF" + struct.pack(
        "<HHIHH8sBB32s32sHH", 0, 0, 0, 0, 0, b"", 1, 2, b"", b"made", 1, 2024
    )
    head += struct.pack("<HIIBHI5I", 227, 227, 0, 0, 20, 2, 2, 0, 0, 0, 0)
    head += struct.pack("<12d", 0.01, 0.01, 0.01, 0, 0, 0, 1, 0, 2, 0, 3, 0)
    assert len(head) == 227
    return head + points


def _is_las(las: Any) -> None:
    assert (las.x.max(), las.y.max(), las.z.max()) == (1, 2, 3)


# -- CAD -----------------------------------------------------------------------------------------

_DXF = (
    "  0\nSECTION\n  2\nENTITIES\n  0\nLINE\n  8\n0\n 10\n0.0\n 20\n0.0\n 30\n0.0\n 11\n1.0\n"
    " 21\n2.0\n 31\n0.0\n  0\nENDSEC\n  0\nEOF\n"
)
_STEP = (
    "ISO-10303-21;\nHEADER;\nFILE_DESCRIPTION(('A part'),'2;1');\n"
    "FILE_NAME('part.stp','2024-01-01T00:00:00',('Ann'),('Works'),'pre','CAD 1','');\n"
    "FILE_SCHEMA(('{}'));\nENDSEC;\nDATA;\n#1=CARTESIAN_POINT('',(0.,0.,0.));\n"
    "#2=DIRECTION('',(0.,0.,1.));\nENDSEC;\nEND-ISO-10303-21;\n"
)


def _iges() -> bytes:
    texts = [
        ("A part", "S", 1),
        ("1H,,1H;,4Hpart,8Hpart.igs,3HCAD,1H1,32,38,6,308,15,4Hpart,1.,2,2HMM,1,", "G", 1),
        ("0.01,15H20240101.000000,1E-06,1.,3HAnn,5HWorks,11,0;", "G", 2),
        ("     116       1       0       1       0       0       0       000000000", "D", 1),
        ("     116       0       0       1       0                               0", "D", 2),
        ("116,0.,0.,0.,0;", "P", 1),
        ("S      1G      2D      2P      1", "T", 1),
    ]
    return "".join(f"{text[:72]:<72}{section}{n:>7}\n" for text, section, n in texts).encode()


def _is_drawing(drawing: Any) -> None:
    (line,) = drawing.modelspace()
    assert tuple(line.dxf.end) == (1, 2, 0)


# -- features ------------------------------------------------------------------------------------

_FEATURES = [
    {
        "type": "Feature",
        "properties": {"name": name, "n": n},
        "geometry": {"type": "Point", "coordinates": [n, 2 * n]},
    }
    for n, name in enumerate(("a", "b"), 1)
]
_GEOJSON = json.dumps({"type": "FeatureCollection", "features": _FEATURES})
_TOPOJSON = json.dumps(
    {
        "type": "Topology",
        "objects": {
            "places": {
                "type": "GeometryCollection",
                "geometries": [
                    {"type": "Point", "coordinates": [n, 2 * n], "properties": {"name": name}}
                    for n, name in enumerate(("a", "b"), 1)
                ],
            }
        },
        "arcs": [],
    }
)
_ESRI_JSON = json.dumps(
    {
        "geometryType": "esriGeometryPoint",
        "spatialReference": {"wkid": 4326},
        "fields": [{"name": "name", "type": "esriFieldTypeString", "length": 10}],
        "features": [
            {"attributes": {"name": name}, "geometry": {"x": n, "y": 2 * n}}
            for n, name in enumerate(("a", "b"), 1)
        ],
    }
)
_KML = (
    '<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>d</name>'
    + "".join(
        f"<Placemark><name>{name}</name><Point><coordinates>{n},{2 * n}</coordinates></Point>"
        "</Placemark>"
        for n, name in enumerate(("a", "b"), 1)
    )
    + "</Document></kml>"
)
_GML = (
    '<?xml version="1.0"?><ogr:FeatureCollection xmlns:ogr="http://ogr.maptools.org/" '
    'xmlns:gml="http://www.opengis.net/gml">'
    + "".join(
        f'<gml:featureMember><ogr:place fid="{n}"><ogr:geometryProperty><gml:Point '
        f'srsName="EPSG:4326"><gml:coordinates>{n},{2 * n}</gml:coordinates></gml:Point>'
        f"</ogr:geometryProperty><ogr:name>{name}</ogr:name></ogr:place></gml:featureMember>"
        for n, name in enumerate(("a", "b"), 1)
    )
    + "</ogr:FeatureCollection>"
)
_OSM = (
    '<?xml version="1.0"?><osm version="0.6"><node id="1" lat="2" lon="1"><tag k="name" v="a"/>'
    '</node><node id="2" lat="4" lon="2"><tag k="name" v="b"/></node></osm>'
)
_GMT = "# @VGMT1.0 @GPOINT\n# @Nname\n# @Tstring\n# FEATURE_DATA\n# @Da\n1 2\n# @Db\n2 4\n"


def _is_two_places(frame: Any) -> None:
    assert [(point.x, point.y) for point in frame.geometry] == [(1, 2), (2, 4)]
    column = next(c for c in ("name", "Name", "NAME") if c in frame)
    assert frame[column].tolist() == ["a", "b"]


def _shapefile() -> dict[str, bytes]:
    """A shapefile of points by hand. Source: ESRI Shapefile Technical Description, 1998."""
    records = b"".join(struct.pack(">2i", n, 10) + struct.pack("<i2d", 1, n, 2 * n) for n in (1, 2))
    index = b"".join(struct.pack(">2i", (100 + 28 * n) // 2, 10) for n in (0, 1))

    def head(size: int) -> bytes:
        return struct.pack(">7i", 9994, 0, 0, 0, 0, 0, size // 2) + struct.pack(
            "<2i8d", 1000, 1, 1, 2, 2, 4, 0, 0, 0, 0
        )

    field = struct.pack("<11sc4xBB14x", b"name", b"C", 4, 0)
    dbf = struct.pack("<B3BIHH20x", 3, 124, 1, 1, 2, 32 + 32 + 1, 5) + field + b"\r"
    return {
        "places.shp": head(100 + len(records)) + records,
        "places.shx": head(100 + len(index)) + index,
        "places.dbf": dbf + b" a    b   \x1a",
    }


def _sqlite(script: str, application: int = 0) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "made"
        connection = sqlite3.connect(path)
        connection.executescript(
            f"PRAGMA application_id = {application}; PRAGMA user_version = 10300; {script}"
        )
        connection.commit()
        connection.close()
        return path.read_bytes()


def _gpkg() -> bytes:
    points = [
        (b"GP\0\1" + struct.pack("<i", 4326) + struct.pack("<BI2d", 1, 1, n, 2 * n)).hex()
        for n in (1, 2)
    ]
    return _sqlite(
        "CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, "
        "organization TEXT NOT NULL, organization_coordsys_id INTEGER NOT NULL, "
        "definition TEXT NOT NULL, description TEXT);"
        "CREATE TABLE gpkg_contents (table_name TEXT PRIMARY KEY, data_type TEXT NOT NULL, "
        "identifier TEXT, description TEXT, last_change DATETIME, min_x DOUBLE, min_y DOUBLE, "
        "max_x DOUBLE, max_y DOUBLE, srs_id INTEGER);"
        "CREATE TABLE gpkg_geometry_columns (table_name TEXT, column_name TEXT, "
        "geometry_type_name TEXT, srs_id INTEGER, z TINYINT, m TINYINT);"
        "INSERT INTO gpkg_spatial_ref_sys VALUES ('WGS 84', 4326, 'EPSG', 4326, "
        '\'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
        'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]]\', \'\');'
        "INSERT INTO gpkg_contents VALUES ('places', 'features', 'places', '', "
        "'2024-01-01T00:00:00.000Z', 1, 2, 2, 4, 4326);"
        "INSERT INTO gpkg_geometry_columns VALUES ('places', 'geom', 'POINT', 4326, 0, 0);"
        "CREATE TABLE places (fid INTEGER PRIMARY KEY, geom POINT, name TEXT);"
        f"INSERT INTO places VALUES (1, x'{points[0]}', 'a'), (2, x'{points[1]}', 'b');",
        0x47504B47,
    )


def _mbtiles() -> bytes:
    return _sqlite(
        "CREATE TABLE metadata (name TEXT, value TEXT);"
        "CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, "
        "tile_data BLOB);"
        "INSERT INTO metadata VALUES ('name', 'made'); INSERT INTO tiles VALUES (0, 0, 0, x'0102');"
    )


def _is_mbtiles(tiles: Any) -> None:
    assert tiles["metadata"] == {"name": "made"}
    assert tiles["tiles"]["size_bytes"].tolist() == [2]


def _gtfs() -> bytes:
    return _zipped(
        {
            "stops.txt": "stop_id,stop_name,stop_lat,stop_lon\n007,A,47.1,8.5\n",
            "routes.txt": "route_id,route_type\n01,3\n",
            "trips.txt": "route_id,service_id,trip_id\n01,W,t1\n",
        }
    )


def _is_gtfs(tables: Any) -> None:
    assert tables["stops"]["stop_id"].tolist() == ["007"]
    assert tables["stops"]["stop_lat"].tolist() == [47.1]


def _is_geometries(geometries: Any) -> None:
    assert [g.geom_type for g in geometries] == ["Point", "Polygon"]


# -- tracks --------------------------------------------------------------------------------------

_GPX = (
    '<?xml version="1.0"?><gpx version="1.1" creator="made" '
    'xmlns="http://www.topografix.com/GPX/1/1"><trk><name>t</name><trkseg>'
    '<trkpt lat="47.1" lon="8.5"><ele>400</ele><time>2024-01-01T10:00:00Z</time></trkpt>'
    '<trkpt lat="47.2" lon="8.6"><ele>410</ele><time>2024-01-01T10:00:05Z</time></trkpt>'
    "</trkseg></trk></gpx>"
)
_TCX = (
    '<?xml version="1.0"?><TrainingCenterDatabase '
    'xmlns="http://www.garmin.com/xmlschemas/TrainingCenterDatabase/v2"><Activities><Activity '
    'Sport="Running"><Id>1</Id><Lap StartTime="2024-01-01T10:00:00Z"><Track>'
    "<Trackpoint><Time>2024-01-01T10:00:00Z</Time><Position><LatitudeDegrees>47.1"
    "</LatitudeDegrees><LongitudeDegrees>8.5</LongitudeDegrees></Position><HeartRateBpm>"
    "<Value>120</Value></HeartRateBpm></Trackpoint></Track></Lap></Activity></Activities>"
    "</TrainingCenterDatabase>"
)
_NMEA = (
    "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\n"
    "$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\n"
)
_IGC = (
    "AXXXABC flight\nHFDTE160701\nHFPLTPILOT:Ann\n"
    "B1101355206343N00006198WA0058700558\nB1101455206259N00006295WA0059300556\n"
)
_PLT = (
    "OziExplorer Track Point File Version 2.1\nWGS 84\nAltitude is in Feet\nReserved 3\n"
    "0,2,255,My Track,0,0,2,8421376\n2\n47.1,8.5,1,492,39745.5,23-Oct-08,12:00:00\n"
    "47.2,8.6,0,-777,39745.6,23-Oct-08,14:24:00\n"
)


def _is_gpx(table: Any) -> None:
    assert table["latitude"].tolist() == [47.1, 47.2]
    assert str(table["time"].dtype).startswith("datetime64")


def _is_nmea(table: Any) -> None:
    assert len(table) == 1
    assert round(float(table["latitude"][0]), 4) == 48.1173
    assert str(table["time"][0]) == "1994-03-23 12:35:19+00:00"


def _is_igc(table: Any) -> None:
    assert round(float(table["latitude"][0]), 4) == 52.1057
    assert str(table["time"][0]) == "2001-07-16 11:01:35+00:00"


# -- grids ---------------------------------------------------------------------------------------

_ESRI_ASCII = (
    "ncols 3\nnrows 2\nxllcorner 10\nyllcorner 20\ncellsize 2\nNODATA_value -9999\n"
    "1 2 3\n4 5 -9999\n"
)
_SURFER_TEXT = "DSAA\n3 2\n10 14\n20 22\n1 6\n1 2 3\n4 5 1.70141e38\n"


def _surfer6() -> bytes:
    head = b"DSBB" + struct.pack("<2h6d", 3, 2, 10, 14, 20, 22, 1, 6)
    return head + struct.pack("<6f", 1, 2, 3, 4, 5, 1.70141e38)


def _surfer7() -> bytes:
    grid = struct.pack("<2i8d", 2, 3, 10, 20, 2, 2, 1, 6, 0, 1.70141e38)
    data = struct.pack("<6d", 1, 2, 3, 4, 5, 1.70141e38)
    head = b"DSRB" + struct.pack("<2i", 4, 1)
    return (
        head
        + (b"GRID" + struct.pack("<i", len(grid)) + grid)
        + (b"DATA" + struct.pack("<i", len(data)) + data)
    )


def _is_surfer(grid: Any) -> None:
    assert grid["x"].values.tolist() == [10, 12, 14]
    assert float(grid.sel(x=12, y=22)) == 5
    assert int(grid.isnull().sum()) == 1


def _is_esri_grid(grid: Any) -> None:
    assert grid["x"].values.tolist() == [11, 13, 15]
    assert grid["y"].values.tolist() == [23, 21]
    assert float(grid.sel(x=13, y=21)) == 5
    assert int(grid.isnull().sum()) == 1


def _hgt() -> bytes:
    return struct.pack(">h", 1234) * (1201 * 1201)


def _is_hgt(grid: Any) -> None:
    assert grid.shape == (1201, 1201)
    assert (float(grid["x"].min()), float(grid["y"].max())) == (8, 48)
    assert int(grid[0, 0]) == 1234


def _dted() -> bytes:
    head = b"UHL1" + b"0080000E" + b"0470000N" + b"0300" + b"0300" + b"0000U  " + b" " * 12
    head += b"0003" + b"0002" + b"0" + b" " * 24
    assert len(head) == 80
    columns = b"".join(
        b"\xaa" + bytes(7) + struct.pack(">2H", n, 0x8000 | n) + bytes(4) for n in (1, 2, 3)
    )
    return head + b"DSI".ljust(648) + b"ACC".ljust(2700) + columns


def _is_dted(grid: Any) -> None:
    assert grid.values.tolist() == [[-1, -2, -3], [1, 2, 3]]
    assert (float(grid["x"][0]), float(grid["y"][-1])) == (8, 47)


def _geotiff() -> bytes:
    import numpy as np
    import tifffile

    buffer = io.BytesIO()
    keys = (1, 1, 0, 3, 1024, 0, 1, 2, 1025, 0, 1, 1, 2048, 0, 1, 4326)
    tifffile.imwrite(
        buffer,
        np.arange(6, dtype="u2").reshape(2, 3),
        photometric="minisblack",
        extratags=[
            (33550, "d", 3, (0.5, 0.5, 0.0), True),
            (33922, "d", 6, (0.0, 0.0, 0.0, 8.0, 48.0, 0.0), True),
            (34735, "H", len(keys), keys, True),
        ],
    )
    return buffer.getvalue()


def _is_geotiff(grid: Any) -> None:
    assert grid.values.tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert grid.rio.crs.to_epsg() == 4326
    assert (float(grid["x"][0]), float(grid["y"][0])) == (8.25, 47.75)


def _pmtiles() -> bytes:
    head = b"PMTiles\3" + struct.pack("<8Q", *[0] * 8) + struct.pack("<3Q", 5, 5, 5)
    return (
        head
        + bytes([1, 2, 2, 1, 0, 6])
        + struct.pack("<4i", 80000000, 470000000, 90000000, 480000000)
    )


# -- headers -------------------------------------------------------------------------------------


def _ctm() -> bytes:
    return b"OCTM" + struct.pack("<I4sII", 5, b"RAW\0", 4, 2) + bytes(40)


_PRJ = 'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]]]'

_MESHES = (
    Made("obj", "a.obj", _text(_OBJ), _is_tetrahedron),
    Made("ply", "a.ply", _text(_PLY), _is_tetrahedron),
    Made("ply", "b.ply", _binary_ply, _is_tetrahedron),
    Made("off", "a.off", _text(_OFF), _is_tetrahedron),
    Made("stl", "a.stl", _ascii_stl, _is_tetrahedron),
    Made("stl", "b.stl", _binary_stl, _is_tetrahedron),
    Made("glb", "a.glb", _glb, _is_tetrahedron),
    Made("glb", "a.b3dm", _b3dm, _is_tetrahedron),
    Made("gltf", "a.gltf", lambda: json.dumps(_gltf(uri=True)[0]).encode(), _is_tetrahedron),
    Made("3mf", "a.3mf", _3mf, _is_tetrahedron, ("networkx",)),
    Made("dae", "a.dae", _text(_DAE), _is_tetrahedron, ("pycollada",)),
    Made("zae", "a.zae", lambda: _zipped({"a.dae": _DAE}), _is_tetrahedron, ("pycollada",)),
    Made("amf", "a.amf", _text(_amf()), _is_tetrahedron),
    Made("amfzip", "b.amf", lambda: _zipped({"b.amf": _amf()}), _is_tetrahedron),
    Made("3ds", "a.3ds", _3ds, _is_tetrahedron),
    Made("x3d", "a.x3d", _text(_X3D), _is_tetrahedron),
    Made("vrml", "a.wrl", _text(_VRML), _is_tetrahedron),
    Made("xaml", "a.xaml", _text(_XAML), lambda mesh: _has_faces(mesh, 4)),
    Made("binvox", "a.binvox", _binvox, _is_three_voxels),
    Made("vox", "a.vox", _vox, _is_vox),
    Made("vtk", "a.vtk", _text(_VTK), _is_grid_mesh, ("meshio",)),
    Made("vtu", "a.vtu", _text(_VTU), _is_grid_mesh, ("meshio",)),
    Made("vtp", "a.vtp", _text(_VTP), _is_tetrahedron),
    Made("vti", "a.vti", _text(_VTI), _is_vtk_image),
    Made("vtr", "a.vtr", _text(_VTR), _is_vtk_image),
    Made("gmsh", "a.msh", _text(_GMSH), _is_grid_mesh, ("meshio",)),
    Made("su2", "a.su2", _text(_SU2), _is_grid_mesh, ("meshio",)),
    Made("medit", "a.mesh", _text(_MEDIT), _is_grid_mesh, ("meshio",)),
    Made("abaqus", "a.inp", _text(_ABAQUS), _is_grid_mesh, ("meshio",)),
    Made("nastran", "a.bdf", _text(_NASTRAN), _is_grid_mesh, ("meshio",)),
    Made("cgns", "a.cgns", _cgns, _has_zone),
)


def _has_faces(mesh: Any, count: int) -> None:
    assert len(mesh.faces) == count


_CLOUDS = (
    Made("xyzpoints", "a.xyzrgb", _text(_XYZ), _is_cloud, nameless=False),
    Made("pts", "a.pts", _text(_PTS), _is_pts, nameless=False),
    Made("ptx", "a.ptx", _text(_PTX), _is_ptx, nameless=False),
    Made("pcd", "a.pcd", _text(_PCD), _is_pcd),
    Made("pcd", "b.pcd", _binary_pcd, _is_pcd),
    Made("pcd", "c.pcd", _packed_pcd, _is_pcd),
    Made("lidar", "a.las", _las, _is_las, ("laspy",)),
)

_CAD = (
    Made("dxf", "a.dxf", _text(_DXF), _is_drawing, ("ezdxf",)),
    Made(
        "step", "a.stp", _text(_STEP.format("AUTOMOTIVE_DESIGN")), _tells(author="Ann", entities=2)
    ),
    Made("ifc", "a.ifc", _text(_STEP.format("IFC4")), _tells(schema="IFC4", entities=2)),
    Made("iges", "a.igs", _iges, _tells(author="Ann", entities=1)),
    Made("dwg", "a.dwg", _bytes(b"AC1032" + bytes(100)), _tells(AutoCAD="2018")),
    Made(
        "fbx",
        "a.fbx",
        _bytes(b"Kaydara FBX Binary  \0\x1a\0" + struct.pack("<I", 7400) + bytes(50)),
        _tells(version="7.4"),
    ),
    Made("blend", "a.blend", _bytes(b"BLENDER-v279" + bytes(90)), _tells(version="2.79")),
    Made("ctm", "a.ctm", _ctm, _tells(vertices=4, triangles=2)),
    Made(
        "rhino",
        "a.3dm",
        _bytes(b"3D Geometry File Format        7" + bytes(60)),
        _tells(version="7"),
    ),
    Made("usdc", "a.usdc", _bytes(b"PXR-USDC\0\x08\0" + bytes(80)), _tells(version="0.8.0")),
    Made("usda", "a.usda", _text('#usda 1.0\ndef Sphere "ball" {}\n'), _is_text),
    Made(
        "jt",
        "a.jt",
        _bytes(b"Version 9.5 JT  DM 6.2.0.0".ljust(75) + b"\n\r\n \0" + bytes(40)),
        _tells(version="9.5"),
    ),
    Made("directx", "a.x", _bytes(b"xof 0303txt 0032\nMesh { 0; 0; }\n"), _is_info),
    Made("kicad_pcb", "a.kicad_pcb", _text("(kicad_pcb (version 20221018))\n"), _is_text),
    Made("gerber", "a.gbr", _text("G04 made*\n%FSLAX46Y46*%\n%MOMM*%\nM02*\n"), _is_text),
    Made("bvh", "a.bvh", _text("HIERARCHY\nROOT Hips\n{\n}\nMOTION\n"), _is_text),
    Made(
        "urdf",
        "a.urdf",
        _text('<?xml version="1.0"?><robot name="r"><link name="l"/></robot>'),
        _is_text,
    ),
)

_VECTORS = (
    Made("geojson", "a.geojson", _text(_GEOJSON), _is_two_places, _FRAMES),
    Made(
        "geojsonl",
        "a.geojsonl",
        lambda: "".join(json.dumps(feature) + "\n" for feature in _FEATURES).encode(),
        _is_two_places,
        _FRAMES,
    ),
    Made("topojson", "a.topojson", _text(_TOPOJSON), _is_two_places, _FRAMES),
    Made("esrijson", "a.esrijson", _text(_ESRI_JSON), _is_two_places, _FRAMES),
    Made("kml", "a.kml", _text(_KML), _is_two_places, _FRAMES),
    Made("kmz", "a.kmz", lambda: _zipped({"doc.kml": _KML}), _is_two_places, _FRAMES),
    Made("gml", "a.gml", _text(_GML), _is_two_places, _FRAMES),
    Made("osm", "a.osm", _text(_OSM), _is_two_places, _FRAMES),
    Made("gmt", "a.gmt", _text(_GMT), _is_two_places, _FRAMES),
    Made("shapezip", "a.shp.zip", lambda: _zipped({**_shapefile()}), _is_two_places, _FRAMES),
    Made("gpkg", "a.gpkg", _gpkg, _is_two_places, _FRAMES),
    Made(
        "wkt",
        "a.wkt",
        _text("POINT (1 2)\nPOLYGON ((0 0, 1 0,\n 1 1, 0 0))\n"),
        _is_geometries,
        ("geopandas",),
    ),
    Made("mbtiles", "a.mbtiles", _mbtiles, _is_mbtiles),
    Made("gtfs", "a.gtfs", _gtfs, _is_gtfs),
    Made(
        "cityjson",
        "a.city.json",
        _text('{"type": "CityJSON", "version": "2.0", "CityObjects": {}, "vertices": []}'),
        lambda city: _equals(city["version"], "2.0"),
    ),
    Made("prj", "a.prj", _text(_PRJ), _is_text),
)


def _equals(one: object, other: object) -> None:
    assert one == other


_TRACKS = (
    Made("gpx", "a.gpx", _text(_GPX), _is_gpx),
    Made("tcx", "a.tcx", _text(_TCX), _has_rows(1, "heart_rate", "latitude", "time")),
    Made("nmea", "a.nmea", _text(_NMEA), _is_nmea),
    Made("igc", "a.igc", _text(_IGC), _is_igc),
    Made("ozitrack", "a.plt", _text(_PLT), _has_rows(2, "time", "latitude", "elevation_feet")),
)

_GRIDS = (
    Made("esriascii", "a.asc", _text(_ESRI_ASCII), _is_esri_grid),
    Made("surferascii", "a.grd", _text(_SURFER_TEXT), _is_surfer),
    Made("surfer6", "b.grd", _surfer6, _is_surfer),
    Made("surfer7", "c.grd", _surfer7, _is_surfer),
    Made("hgt", "N47E008.hgt", _hgt, _is_hgt, nameless=False),
    Made("dted", "a.dt0", _dted, _is_dted),
    Made("geotiff", "a.tif", _geotiff, _is_geotiff, ("rioxarray", "rasterio")),
    Made("pmtiles", "a.pmtiles", _pmtiles, _tells(tiles=5, zoom="0 to 6")),
)

MADE = (*_MESHES, *_CLOUDS, *_CAD, *_VECTORS, *_TRACKS, *_GRIDS)
