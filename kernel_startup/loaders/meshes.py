"""Meshes: what trimesh reads, and a few small formats read here."""

import importlib
import io
import json
import re
import struct
import zipfile
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders import parts
from kernel_startup.loaders.text import decode
from kernel_startup.recognition import type_of_source
from kernel_startup.source import Source

#: Numbers that a mesh may have without a byte for each of them in the file.
_MAX_IMPLIED = 20_000_000
_MAX_VOXELS = 512**3


def load_mesh(source: Source, *, process: bool | None = None, force: str | None = None) -> Any:
    """Read a mesh with trimesh.

    Args:
        source: The file.
        process: Merge equal vertices; by default those of STL, which writes each several times.
        force: "mesh" makes one mesh of a scene, "scene" a scene of a mesh; None leaves it.
    """
    import trimesh

    if force not in (None, "mesh", "scene"):
        raise ValueError(f'force={force!r}: force is "mesh", "scene" or None')
    kind = type_of_source(source).name
    content = source.read()
    if kind == "glb" and content.startswith(b"b3dm"):
        content = _inside_b3dm(content)
    check = _CHECKS.get(kind)
    if check is not None:
        check(source, content)
    _find_late_readers(kind)
    loaded: Any = trimesh.load(
        io.BytesIO(content),
        file_type=kind,
        resolver=_neighbours(source),
        force=force,
        process=kind == "stl" if process is None else process,
    )
    _refuse_empty(source, loaded)
    return loaded


def _find_late_readers(kind: str) -> None:
    """Have trimesh look again for a package that was installed after trimesh was imported."""
    from trimesh.exceptions import ExceptionWrapper
    from trimesh.exchange import load as registry

    module = _LATE.get(kind)
    if module is not None and isinstance(registry.mesh_loaders.get(kind), ExceptionWrapper):
        reader = importlib.reload(importlib.import_module(f"trimesh.exchange.{module[0]}"))
        registry.mesh_loaders.update(getattr(reader, module[1]))


_LATE = {
    "dae": ("dae", "_collada_loaders"),
    "zae": ("dae", "_collada_loaders"),
    "3mf": ("threemf", "_three_loaders"),
    "3dxml": ("threedxml", "_threedxml_loaders"),
}


def _refuse_empty(source: Source, loaded: Any) -> None:
    if getattr(loaded, "is_empty", False):
        raise FileLoadError(
            source.name,
            "a mesh without a single vertex",
            tried="trimesh",
            reason="it is empty, cut off, or made of parts that trimesh doesn't read",
        )


def _neighbours(source: Source) -> Any:
    """What finds buffers, materials and textures among the user's other files, and only there."""
    from trimesh.resolvers import Resolver

    class Neighbours(Resolver):
        def __init__(self) -> None:
            pass

        def get(self, name: str) -> bytes:
            path = parts.neighbour(source, name)
            if path is None:
                raise FileNotFoundError(f"it refers to {name!r}: upload that file as well")
            return path.read_bytes()

        def keys(self) -> list[str]:
            return [path.name for path in source.neighbours]

        def namespaced(self, namespace: str) -> "Neighbours":
            return self

        def write(self, name: str, data: bytes) -> None:
            raise PermissionError(name)

    return Neighbours()


# -- what is checked before memory is asked for ---------------------------------------------------


def _lies(source: Source, what: str) -> FileLoadError:
    return FileLoadError(
        source.name, f"a mesh that is cut off: {what}", remedy="Upload it again, complete"
    )


def _check_ply(source: Source, content: bytes) -> None:
    """Every element that the header counts takes at least so many bytes."""
    end = re.search(rb"end_header\r?\n?", content[: 1 << 20])
    if end is None:
        raise _lies(source, "its header doesn't end")
    header = content[: end.start()].decode("latin-1").split("\n")
    is_text = any(line.split()[:2] == ["format", "ascii"] for line in header)
    least = count = size = 0
    for fields in [line.split() for line in header] + [["element", "", "0"]]:
        if fields[:1] == ["element"] and len(fields) > 2:
            if count > 0 and size == 0:
                raise _lies(source, f"{count:,} elements that have no properties")
            least += count * size
            count, size = int(fields[2]), 0
        elif fields[:1] == ["property"] and len(fields) > 2:
            kind = fields[2] if fields[1] == "list" else fields[1]
            size += 2 if is_text else _PLY_BYTES.get(kind, 1)
    if least > len(content) - end.end() + 2:
        raise _lies(source, f"its header promises at least {least:,} bytes")


_PLY_BYTES = {
    **dict.fromkeys(("short", "ushort", "int16", "uint16"), 2),
    **dict.fromkeys(("int", "uint", "int32", "uint32", "float", "float32"), 4),
    **dict.fromkeys(("double", "float64"), 8),
}


def _check_off(source: Source, content: bytes) -> None:
    text = re.sub(rb"#[^\n]*", b"", content[:65536])
    found = re.match(rb"\s*+[A-Z4]*OFF\s++(?:BINARY\s++)?(\d+)\s+(\d+)", text)
    if found and 2 * (int(found[1]) + int(found[2])) > len(content):
        raise _lies(source, f"it promises {int(found[1]):,} vertices and {int(found[2]):,} faces")


def _check_stl(source: Source, content: bytes) -> None:
    if re.match(rb"\s*+solid", content) and b"facet" in content[:65536]:
        return
    (count,) = struct.unpack_from("<I", content, 80)
    if 84 + 50 * count > len(content):
        raise _lies(source, f"it promises {count:,} triangles")


def _check_gltf(source: Source, content: bytes) -> None:
    if content.startswith(b"glTF"):
        version, length = struct.unpack_from("<II", content, 4)
        if version == 1:
            raise FileLoadError(
                source.name, "a glTF scene of version 1", remedy="Convert it to glTF 2"
            )
        if length > len(content):
            raise _lies(source, f"it promises {length:,} bytes")
        size, _ = struct.unpack_from("<II", content, 12)
        content = content[20 : 20 + size]
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _lies(source, f"its description isn't JSON ({error})") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("asset"), dict):
        raise _lies(source, "its description has no asset")
    if not str(tree["asset"].get("version", "")).startswith("2"):
        raise FileLoadError(
            source.name,
            f"a glTF scene of version {tree['asset'].get('version')!r}",
            remedy="Convert it to glTF 2",
        )
    if "KHR_draco_mesh_compression" in tree.get("extensionsRequired", []):
        raise FileLoadError(
            source.name,
            "a glTF scene whose meshes are compressed with Draco",
            remedy="Save it without mesh compression",
        )
    # An accessor without a buffer is all zeros, as many as it says.
    implied = sum(
        accessor.get("count", 0)
        for accessor in tree.get("accessors", [])
        if "bufferView" not in accessor
    )
    if implied > _MAX_IMPLIED:
        raise _lies(source, f"it has {implied:,} values that aren't in the file")
    children = [c for node in tree.get("nodes", []) for c in node.get("children", [])]
    if len(children) != len(set(children)):
        raise FileLoadError(
            source.name, "a glTF scene whose nodes aren't a tree", reason="a node has two parents"
        )


def _check_zipped(source: Source, content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts.check_zip(source, archive.infolist())


_CHECKS = {
    "ply": _check_ply,
    "off": _check_off,
    "stl": _check_stl,
    "glb": _check_gltf,
    "gltf": _check_gltf,
    "3mf": _check_zipped,
    "3dxml": _check_zipped,
    "zae": _check_zipped,
}


def _inside_b3dm(content: bytes) -> bytes:
    """The glTF in a tile of 3D Tiles. Source: OGC 3D Tiles 1.0, 7.1 (Batched 3D Model)."""
    sizes = struct.unpack_from("<4I", content, 12)
    return content[28 + sum(sizes) :]


# -- formats that are read here -------------------------------------------------------------------


def _as_scene(source: Source, meshes: dict[str, Any]) -> Any:
    import trimesh

    if not meshes:
        raise FileLoadError(source.name, "a scene without a single mesh that is read here")
    if len(meshes) == 1:
        return next(iter(meshes.values()))
    return trimesh.Scene(meshes)


def _mesh_of(source: Source, vertices: Any, faces: Any, process: bool = True) -> Any:
    import numpy as np
    import trimesh

    points = np.asarray(vertices, dtype=np.float64).reshape(-1, 3)
    corners = np.asarray(faces, dtype=np.int64).reshape(-1, 3)
    if corners.size and not 0 <= corners.min() <= corners.max() < len(points):
        raise _lies(source, "a face refers to a vertex that isn't there")
    return trimesh.Trimesh(points, corners, process=process)


def load_xaml(source: Source) -> Any:
    """Read the meshes of XAML; a page without any stays text."""
    import trimesh
    from lxml import etree

    if b"MeshGeometry3D" not in source.read():
        return decode(source)
    root = parts.parse_xml(source)
    # What XAML lets one leave out, trimesh wants to be there.
    lacks_normals = False
    for geometry in root.iter("{*}MeshGeometry3D"):
        count = len(_numbers(geometry.get("Positions", ""))) // 3
        if not geometry.get("TriangleIndices"):
            geometry.set("TriangleIndices", " ".join(map(str, range(count // 3 * 3))))
        if not geometry.get("Normals"):
            lacks_normals = True
            geometry.set("Normals", "0 0 1 " * count)
    for brush in root.iter("{*}SolidColorBrush"):
        brush.set("Opacity", brush.get("Opacity") or "1")
        if not re.fullmatch(r"#[0-9A-Fa-f]{6,8}", brush.get("Color", "")):
            brush.set("Color", "#808080")
    content = io.BytesIO(etree.tostring(root))
    mesh: Any = trimesh.load(content, file_type="xaml", force="mesh", process=False)
    _refuse_empty(source, mesh)
    checked = _mesh_of(source, mesh.vertices, mesh.faces, process=False)
    return checked if lacks_normals else mesh


def load_draco(source: Source) -> Any:
    """Decode a Draco mesh or point cloud.

    Source: the Draco bitstream specification, 4.1 (DecodeHeader).
    """
    import DracoPy
    import trimesh

    decoded = DracoPy.decode(source.read())
    points, faces = decoded.points, getattr(decoded, "faces", None)
    if faces is None or len(faces) == 0:
        colours = getattr(decoded, "colors", None)
        return trimesh.PointCloud(points, colors=colours)  # type: ignore[no-untyped-call]
    return _mesh_of(source, points, faces)


def load_amf(source: Source) -> Any:
    """Read the objects of an AMF file, zipped or not."""
    content = source.read()
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [m for m in archive.infolist() if m.filename.lower().endswith(".amf")]
            parts.check_zip(source, members)
            content = archive.read(members[0])
    root = parts.parse_xml(source, content)
    meshes = {}
    for number, part in enumerate(root.iter("object")):
        points = [
            [float(c.findtext(axis, "0")) for axis in "xyz"] for c in part.iter("coordinates")
        ]
        faces = [
            [int(t.findtext(v, "-1")) for v in ("v1", "v2", "v3")] for t in part.iter("triangle")
        ]
        if faces:
            meshes[part.get("id") or f"object_{number}"] = _mesh_of(source, points, faces)
    return _as_scene(source, meshes)


def load_3ds(source: Source) -> Any:
    """Read the meshes of a 3D Studio file: nested chunks of a kind, a size and a body."""
    import numpy as np

    content = source.read()
    meshes: dict[str, Any] = {}
    name, points = "", np.empty((0, 3))
    for kind, start, end in _chunks_3ds(content, 0, len(content), 0):
        if kind == 0x4000:
            name = content[start : content.index(b"\0", start)].decode("latin-1")
        elif kind == 0x4110:
            (count,) = struct.unpack_from("<H", content, start)
            points = np.frombuffer(content[start + 2 : end], "<f4", 3 * count).reshape(-1, 3)
        elif kind == 0x4120:
            (count,) = struct.unpack_from("<H", content, start)
            corners = np.frombuffer(content[start + 2 : end], "<u2", 4 * count).reshape(-1, 4)
            if count:
                place = name if name not in meshes else f"{name}_{len(meshes)}"
                meshes[place or f"mesh_{len(meshes)}"] = _mesh_of(source, points, corners[:, :3])
    return _as_scene(source, meshes)


def _chunks_3ds(content: bytes, start: int, end: int, depth: int) -> Any:
    while start + 6 <= end:
        kind, size = struct.unpack_from("<HI", content, start)
        if size < 6:
            return
        stop = min(start + size, end)
        yield kind, start + 6, stop
        if kind in (0x4D4D, 0x3D3D, 0x4100) and depth < 8:
            yield from _chunks_3ds(content, start + 6, stop, depth + 1)
        elif kind == 0x4000 and depth < 8:
            inner = content.find(b"\0", start + 6, stop) + 1
            yield from _chunks_3ds(content, inner or stop, stop, depth + 1)
        start = stop


def load_binvox(source: Source) -> Any:
    """Read voxels to an array of booleans, in the order x, y, z.

    The runs of a value and a count go through z fastest within y, and those within x: as binvox
    writes them, x is slowest, then z, then y.
    """
    import numpy as np

    content = source.read()
    head, mark, body = content.partition(b"\ndata\n")
    if not mark:
        head, mark, body = content.replace(b"\r\n", b"\n", 40).partition(b"\ndata\n")
    dim = re.search(rb"^\s*dim\s+(\d+)\s+(\d+)\s+(\d+)", head, re.MULTILINE)
    if dim is None or not mark:
        raise FileLoadError(source.name, "voxels of binvox without their dimensions")
    shape = tuple(int(number) for number in dim.groups())
    voxels = shape[0] * shape[1] * shape[2]
    if voxels > _MAX_VOXELS:
        raise FileLoadError(source.name, f"{voxels:,} voxels", reason="that is too much for memory")
    runs = np.frombuffer(body[: len(body) // 2 * 2], np.uint8).reshape(-1, 2)
    if int(runs[:, 1].sum()) < voxels:
        raise _lies(source, f"its runs make {int(runs[:, 1].sum()):,} of {voxels:,} voxels")
    filled = np.repeat(runs[:, 0] != 0, runs[:, 1])[:voxels]
    return filled.reshape(shape).transpose(0, 2, 1)


def load_vox(source: Source) -> Any:
    """Read MagicaVoxel's models to arrays of palette indices; 0 is empty."""
    import numpy as np

    content = source.read()
    models: list[Any] = []
    place, shape = 20, (0, 0, 0)
    while place + 12 <= len(content):
        kind = content[place : place + 4]
        size, _ = struct.unpack_from("<II", content, place + 4)
        start, place = place + 12, place + 12 + size
        if kind == b"SIZE":
            shape = struct.unpack_from("<3I", content, start)
            if max(shape) > 256:
                raise _lies(source, f"a model of {shape} voxels")
        elif kind == b"XYZI":
            (count,) = struct.unpack_from("<I", content, start)
            points = np.frombuffer(content, np.uint8, 4 * count, start + 4).reshape(-1, 4)
            model = np.zeros(shape, np.uint8)
            model[points[:, 0], points[:, 1], points[:, 2]] = points[:, 3]
            models.append(model)
            if len(models) > 200:
                break
    if not models:
        raise FileLoadError(source.name, "a MagicaVoxel file without a model")
    return models[0] if len(models) == 1 else models


# -- VRML and X3D ---------------------------------------------------------------------------------


def load_x3d(source: Source) -> Any:
    """Read the face sets of an X3D scene, each moved by the transforms around it."""
    import numpy as np
    import trimesh

    root = parts.parse_xml(source)
    points_by_name = {
        e.get("DEF"): e.get("point", "") for e in root.iter("Coordinate") if e.get("DEF")
    }
    meshes: dict[str, Any] = {}
    transformations: Any = trimesh.transformations
    for shape in root.iter("IndexedFaceSet", "IndexedTriangleSet", "TriangleSet"):
        coordinate = shape.find("Coordinate")
        if coordinate is None:
            continue
        text = coordinate.get("point") or points_by_name.get(coordinate.get("USE"), "")
        points = _numbers(text)
        points = points[: len(points) // 3 * 3].reshape(-1, 3)
        kind = parts.local_name(shape)
        if kind == "IndexedFaceSet":
            faces = _fans(_numbers(shape.get("coordIndex", "")).astype(int))
        else:
            index = _numbers(shape.get("index", "")).astype(int)
            index = np.arange(len(points)) if kind == "TriangleSet" else index
            faces = index[: len(index) // 3 * 3].reshape(-1, 3)
        mesh = _mesh_of(source, points, faces)
        for around in shape.iterancestors("Transform"):
            matrix = transformations.compose_matrix(
                scale=_numbers(around.get("scale", "1 1 1")),
                translate=_numbers(around.get("translation", "0 0 0")),
            )
            turn = _numbers(around.get("rotation", "0 0 1 0"))
            rotation = transformations.rotation_matrix(turn[3], turn[:3])
            moved = transformations.translation_matrix(matrix[:3, 3])
            matrix[:3, 3] = 0
            mesh.apply_transform(moved @ rotation @ matrix)
        meshes[f"shape_{len(meshes)}"] = mesh
    return _as_scene(source, meshes)


def load_vrml(source: Source) -> Any:
    """Read the face sets of a VRML scene into one mesh, each in its own coordinates."""
    text = re.sub(r"#[^\n]*", "", decode(source))
    vertices: list[Any] = []
    faces: list[Any] = []
    points: Any = None
    count = 0
    import numpy as np

    for found in re.finditer(r"\b(point|coordIndex)\s*+\[([^\]]*+)\]", text):
        numbers = _numbers(found[2])
        if found[1] == "point":
            points = numbers[: len(numbers) // 3 * 3].reshape(-1, 3)
            vertices.append(points)
            count += len(points)
        elif points is not None:
            faces.append(_fans(numbers.astype(int)) + count - len(points))
    triangles = [f for f in faces if len(f)]
    if not vertices or not triangles:
        return decode(source)
    if re.search(r"\b(?:Transform|MatrixTransform|Translation)\b", text):
        source.note(
            f"{source.name!r}: the face sets are in their own coordinates, without the "
            "transforms around them."
        )
    return _mesh_of(source, np.concatenate(vertices), np.concatenate(triangles))


def _numbers(text: str) -> Any:
    import numpy as np

    return np.array(text.replace(",", " ").split(), dtype=float)


def _fans(index: Any) -> Any:
    """Cut polygons, each ended by -1, into triangles around their first corner."""
    import numpy as np

    ends = np.flatnonzero(index < 0)
    triangles = []
    start = 0
    for end in [*ends.tolist(), len(index)]:
        corners = index[start:end]
        if len(corners) >= 3:
            first = np.full(len(corners) - 2, corners[0])
            triangles.append(np.column_stack([first, corners[1:-1], corners[2:]]))
        start = end + 1
    return np.concatenate(triangles) if triangles else np.empty((0, 3), int)
