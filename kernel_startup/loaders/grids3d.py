"""Meshes of simulations: what meshio reads, VTK's XML, and CGNS."""

import base64
import contextlib
import io
import re
import sys
from collections.abc import Iterator
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders import parts
from kernel_startup.recognition import type_of_source
from kernel_startup.source import Source

#: What meshio calls the types of our table, and what their files' names have to end in.
_FORMATS = {
    "vtk": ("vtk", ".vtk"),
    "vtu": ("vtu", ".vtu"),
    "gmsh": ("gmsh", ".msh"),
    "ansysmsh": ("ansys", ".msh"),
    "abaqus": ("abaqus", ".inp"),
    "avsucd": ("avsucd", ".avs"),
    "ugrid": ("ugrid", ".ugrid"),
    "ugridtext": ("ugrid", ".ugrid"),
    "su2": ("su2", ".su2"),
    "medit": ("medit", ".mesh"),
    "meditbinary": ("medit", ".meshb"),
    "netgen": ("netgen", ".vol"),
    "nastran": ("nastran", ".bdf"),
    "xdmf": ("xdmf", ".xdmf"),
    "exodus": ("exodus", ".e"),
    "med": ("med", ".med"),
    "moab": ("h5m", ".h5m"),
    "flac3d": ("flac3d", ".f3grid"),
    "permas": ("permas", ".post"),
    "tecplot": ("tecplot", ".dat"),
    "mdpa": ("mdpa", ".mdpa"),
    "dolfin": ("dolfin-xml", ".xml"),
    "tetgennode": ("tetgen", ".node"),
    "tetgenele": ("tetgen", ".ele"),
}
_MAX_POINTS = 50_000_000
_MAX_ARRAY_BYTES = 1 << 31


def load_grid(source: Source) -> Any:
    """Read a mesh with meshio: points, cells, and the data on them."""
    import meshio
    from meshio._helpers import reader_map

    kind = type_of_source(source).name
    name, suffix = _FORMATS[kind]
    _check_dimensions(source)
    said = io.StringIO()
    try:
        # Not `meshio.read`, which ends the process where it can't read.
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            _bounded_files(reader_map[name]),
        ):
            mesh: Any = reader_map[name](str(_place(source, kind, suffix)))
    except (meshio.ReadError, EOFError, SystemExit) as error:
        reason = str(error).strip() or " ".join(said.getvalue().split()) or "it can't read it"
        raise FileLoadError(
            source.name,
            f"a mesh ({name}) that is cut off, damaged, or of a kind that isn't read",
            tried="meshio",
            reason=reason[:300],
        ) from error
    warned = " ".join(said.getvalue().split())
    if warned:
        source.note(f"{source.name!r}: {warned[:300]}")
    return mesh


def _check_dimensions(source: Source) -> None:
    """A regular grid of VTK's has as many points as it says, without a byte for them."""
    for found in re.finditer(rb"^DIMENSIONS\s+(\d+)\s+(\d+)\s+(\d+)", source.head, re.MULTILINE):
        points = int(found[1]) * int(found[2]) * int(found[3])
        if points > _MAX_POINTS:
            raise FileLoadError(
                source.name,
                f"a grid of {points:,} points",
                reason="that is too much to have in memory as a mesh",
            )


class _Bounded:
    """A file that is read to its end a few times at most: some readers wait there for ever."""

    _MOST = 1000

    def __init__(self, path: str, mode: str = "r", **_: object) -> None:
        self._file = open(path, mode)  # noqa: SIM115  # closed by __exit__
        self._left = self._MOST

    def __enter__(self) -> "_Bounded":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __iter__(self) -> "_Bounded":
        return self

    def __next__(self) -> Any:
        if line := self.readline():
            return line
        raise StopIteration

    def readline(self) -> Any:
        return self._counted(self._file.readline())

    def read(self, size: int = -1) -> Any:
        return self._counted(self._file.read(size))

    def _counted(self, piece: Any) -> Any:
        self._left -= not piece
        if self._left < 0:
            raise EOFError("it breaks off before its end")
        return piece


@contextlib.contextmanager
def _bounded_files(reader: Any) -> Iterator[None]:
    """Have the module of a reader of meshio's open its files as `_Bounded`."""
    module = sys.modules[reader.__module__]
    names = ("open", "open_file")
    before = {name: getattr(module, name) for name in names if hasattr(module, name)}
    for name in names:
        setattr(module, name, _Bounded)
    try:
        yield
    finally:
        for name in names:
            delattr(module, name)
        for name, value in before.items():
            setattr(module, name, value)


def _place(source: Source, kind: str, suffix: str) -> Any:
    if kind == "ugrid":
        # The name says how numbers are written: big or little endian, four or eight bytes.
        found = re.search(r"\.((?:l?[br][48]l?))\.ugrid", source.name.lower())
        return source.as_path(f".{found[1]}.ugrid" if found else ".ugrid")
    if kind in ("tetgennode", "tetgenele"):
        return parts.gather(source, suffix, (".node", ".ele"))
    if kind == "xdmf":
        return _with_heavy_data(source)
    return source.as_path(suffix)


def _with_heavy_data(source: Source) -> Any:
    """Lay out an XDMF file with the HDF5 files it refers to, and with nothing else."""
    root = parts.parse_xml(source)
    directory = parts.new_directory()
    for item in root.iter("DataItem"):
        if item.get("Format", "").upper() not in ("HDF", "BINARY"):
            continue
        name = (item.text or "").strip().split(":")[0]
        path = parts.neighbour(source, name)
        if path is None or "/" in name or "\\" in name:
            raise FileLoadError(
                source.name,
                "a mesh whose numbers are in another file",
                reason=f"{name!r} isn't among the files",
                remedy="Upload it as well",
            )
        place = directory / name
        if not place.exists():
            place.symlink_to(path.absolute())
    (directory / "file.xdmf").write_bytes(source.read())
    return directory / "file.xdmf"


# -- CGNS -----------------------------------------------------------------------------------------


def load_cgns(source: Source) -> Any:
    """Read the zones of a CGNS file: their coordinates, elements and solutions.

    Source: the CGNS standard's HDF5 mapping: a node is a group, its values are in " data".
    """
    import h5py

    zones: dict[str, Any] = {}
    with source.open() as stored, h5py.File(stored) as file:
        for base in file.values():
            if isinstance(base, h5py.Group):
                for name, zone in base.items():
                    if isinstance(zone, h5py.Group) and _label(zone) == "Zone_t":
                        zones[name] = _nodes(source, zone, 0)
    if not zones:
        raise FileLoadError(source.name, "a CGNS file without a zone")
    return zones


def _label(group: Any) -> str:
    label = group.attrs.get("label", b"")
    return label.decode() if isinstance(label, bytes) else str(label)


def _nodes(source: Source, group: Any, depth: int) -> Any:
    import h5py

    found: dict[str, Any] = {}
    for name, child in group.items():
        if isinstance(child, h5py.Group) and depth < 8:
            inner = _nodes(source, child, depth + 1)
            if inner is not None:
                found[name] = inner
    values = group.get(" data")
    if isinstance(values, h5py.Dataset) and values.size is not None:
        if values.nbytes > min(_MAX_ARRAY_BYTES, 2000 * source.size_bytes + 1_000_000):
            raise FileLoadError(source.name, f"CGNS with {values.nbytes:,} bytes in one array")
        array: Any = values[()]
        if array.dtype.kind == "i" and array.dtype.itemsize == 1:
            array = array.tobytes().decode("latin-1").strip()  # characters
        if not found:
            return array
        found["value"] = array
    return found or None


# -- VTK's XML ------------------------------------------------------------------------------------

_VTK_TYPES = {
    "Float32": "f4",
    "Float64": "f8",
    **{f"Int{8 * n}": f"i{n}" for n in (1, 2, 4, 8)},
    **{f"UInt{8 * n}": f"u{n}" for n in (1, 2, 4, 8)},
}


class _VtkFile:
    """A VTK XML file taken apart: its elements, and the data behind them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        content = source.read()
        start = content.find(b"<AppendedData")
        if start >= 0:
            mark = content.find(b"_", content.find(b">", start))
            self.is_raw = b'"raw"' in content[start:mark] or b"'raw'" in content[start:mark]
            self.appended = content[mark + 1 :]
            content = content[:start] + b"</VTKFile>"
        self.root = parts.parse_xml(source, content)
        self.order = ">" if self.root.get("byte_order") == "BigEndian" else "<"
        self.header = self.order + _VTK_TYPES.get(self.root.get("header_type", "UInt32"), "u4")
        self.compressor = self.root.get("compressor", "")

    def array(self, element: Any) -> Any:
        """The numbers of a DataArray, (n, components) if there are several components."""
        import numpy as np

        kind = _VTK_TYPES.get(element.get("type", ""))
        if kind is None:
            raise ValueError(f"a data array of {element.get('type')!r}")
        form = element.get("format", "ascii")
        if form == "ascii":
            values = np.array((element.text or "").split(), dtype=kind)
        else:
            values = np.frombuffer(self._content(element, form), self.order + kind)
        components = int(element.get("NumberOfComponents", "1") or 1)
        return values.reshape(-1, components) if components > 1 else values

    def _content(self, element: Any, form: str) -> bytes:
        if form == "appended":
            piece = self.appended[int(element.get("offset", "0")) :]
            take = _raw if self.is_raw else _base64
        else:
            piece, take = "".join((element.text or "").split()).encode(), _base64
        import numpy as np

        width = np.dtype(self.header).itemsize
        if not self.compressor:
            (size,) = np.frombuffer(take(piece, 0, width, width), self.header)
            return take(piece, width, int(size), width)
        count = int(np.frombuffer(take(piece, 0, width, width), self.header)[0])
        if count > len(piece):
            raise ValueError(f"{count:,} compressed blocks")
        all_sizes = width * (3 + count)
        _, block, last, *sizes = np.frombuffer(take(piece, 0, all_sizes, all_sizes), self.header)
        if int(block) * count > _MAX_ARRAY_BYTES:
            raise ValueError(f"{int(block) * count:,} bytes in one array")
        packed = take(piece, all_sizes, int(sum(map(int, sizes))), all_sizes)
        unpacked, place = [], 0
        for size in map(int, sizes):
            unpacked.append(self._unpack(packed[place : place + size], int(max(block, last))))
            place += size
        return b"".join(unpacked)

    def _unpack(self, block: bytes, size: int) -> bytes:
        if "ZLib" in self.compressor:
            import zlib

            return zlib.decompressobj().decompress(block, size or 1)
        if "LZMA" in self.compressor:
            import lzma

            return lzma.LZMADecompressor().decompress(block, size or 1)
        if "LZ4" in self.compressor:
            import lz4.block

            return bytes(lz4.block.decompress(block, uncompressed_size=size))
        raise ValueError(f"compressed by {self.compressor!r}")


def _raw(piece: bytes, start: int, size: int, header: int) -> bytes:
    return piece[start : start + size]


def _base64(piece: bytes, start: int, size: int, header: int) -> bytes:
    """Decode a part; a header may be encoded on its own, padding and all, or with what follows."""
    length = (header + 2) // 3 * 4
    alone = start > 0 and piece[length - 1 : length] == b"="
    if alone:
        piece, start = piece[length:], start - header
    needed = piece[: (start + size + 2) // 3 * 4]
    return base64.b64decode(needed)[start : start + size]


def load_vtk_xml(source: Source) -> Any:
    """Read VTK's XML: polygons to a mesh, regular grids to a Dataset (z, y, x)."""
    file = _VtkFile(source)
    data = next(iter(file.root), None)
    pieces = [] if data is None else list(data.iter("Piece"))
    if data is None or not pieces:
        raise FileLoadError(source.name, "a VTK file without a piece that has data")
    kind = parts.local_name(data)
    if kind == "PolyData":
        return _polygons(source, file, pieces)
    if len(pieces) > 1:
        source.note(f"{source.name!r}: the first of {len(pieces)} pieces was read.")
    return _dataset(file, data, pieces[0])


def _polygons(source: Source, file: _VtkFile, pieces: list[Any]) -> Any:
    import numpy as np
    import trimesh

    points, faces, count = [], [], 0
    for piece in pieces:
        element = piece.find("Points/DataArray")
        if element is None:
            continue
        here = file.array(element).reshape(-1, 3)
        polys = {e.get("Name"): e for e in piece.findall("Polys/DataArray")}
        if {"connectivity", "offsets"} <= polys.keys():
            index = file.array(polys["connectivity"]).astype(int)
            ends = file.array(polys["offsets"]).astype(int)
            if len(index) and not 0 <= index.min() <= index.max() < len(here):
                raise FileLoadError(source.name, "polygons of points that aren't there")
            faces += [
                (count + index[start], count + index[i], count + index[i + 1])
                for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)
                for i in range(start + 1, min(end, len(index)) - 1)
            ]
        points.append(here)
        count += len(here)
    if not points or not count:
        raise FileLoadError(source.name, "VTK polygons without a point")
    vertices = np.concatenate(points)
    if not faces:
        return trimesh.PointCloud(vertices)  # type: ignore[no-untyped-call]
    return trimesh.Trimesh(vertices, np.array(faces), process=False)


def _dataset(file: _VtkFile, data: Any, piece: Any) -> Any:
    import numpy as np
    import xarray as xr

    extent = [int(n) for n in (piece.get("Extent") or data.get("WholeExtent") or "").split()]
    if len(extent) != 6:
        raise ValueError("its extent isn't six numbers")
    sizes = [extent[i + 1] - extent[i] + 1 for i in (4, 2, 0)]
    cells = [max(size - 1, 1) for size in sizes]
    variables: dict[str, Any] = {}
    for group, dims, shape in (
        ("PointData", ("z", "y", "x"), sizes),
        ("CellData", ("cell_z", "cell_y", "cell_x"), cells),
    ):
        for element in piece.findall(f"{group}/DataArray"):
            name, values = element.get("Name") or group, file.array(element)
            more = ("component",) if values.ndim > 1 else ()
            variables[name] = ((*dims, *more), values.reshape(*shape, *values.shape[1:]))
    coordinates: dict[str, Any] = {}
    if piece.find("Coordinates") is not None:
        for axis, element in zip("xyz", piece.findall("Coordinates/DataArray"), strict=False):
            coordinates[axis] = file.array(element)
    elif piece.find("Points/DataArray") is not None:
        points = file.array(piece.find("Points/DataArray")).reshape(*sizes, 3)
        for at, axis in enumerate("xyz"):
            coordinates[f"point_{axis}"] = (("z", "y", "x"), points[..., at])
    else:
        origin = [float(n) for n in data.get("Origin", "0 0 0").split()]
        spacing = [float(n) for n in data.get("Spacing", "1 1 1").split()]
        if max(sizes) > 10_000_000:
            raise ValueError(f"an extent of {sizes}")
        for at, axis in enumerate("xyz"):
            steps = np.arange(extent[2 * at], extent[2 * at + 1] + 1)
            coordinates[axis] = origin[at] + spacing[at] * steps
    return xr.Dataset(variables, coords=coordinates)
