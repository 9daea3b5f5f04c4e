"""Point clouds."""

import re
import struct
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.text import decode
from kernel_startup.source import Source

_MAX_BYTES = 1 << 32


def load_las(source: Source) -> Any:
    """Read lidar points with laspy; what the header counts must be in the file."""
    import laspy

    head = source.head
    size, start, point_format, length = struct.unpack_from("<HIxxxxBH", head, 94)
    (count,) = struct.unpack_from("<I", head, 107)
    if head[25] >= 4 and size >= 375:
        (count,) = struct.unpack_from("<Q", head, 247)
    is_packed = bool(point_format & 0xC0)
    if source.compression is None and not is_packed and start + count * length > source.size_bytes:
        raise FileLoadError(
            source.name,
            f"lidar points that are cut off: {count:,} points of {length} bytes are promised",
            remedy="Upload it again, complete",
        )
    if count * length > min(_MAX_BYTES, 10_000 * max(source.size_bytes, 1)):
        raise FileLoadError(
            source.name,
            f"lidar with {count:,} points of {length} bytes",
            reason="that is too much to have in memory at once",
            remedy='In pieces: laspy.open(load_file(..., as_="path")).chunk_iterator(1_000_000)',
        )
    with source.open() as file:
        return laspy.read(file)


def load_xyz(source: Source) -> Any:
    """Read points as text to a point cloud: x, y, z, and colours if they follow."""
    import numpy as np
    import trimesh

    table = _numbers(source)
    if table.shape[1] < 3:
        raise FileLoadError(source.name, f"a text table of {table.shape[1]} columns, not points")
    colours = None
    if table.shape[1] in (6, 7):
        last = table.iloc[:, 3:6].to_numpy()
        if last.min() >= 0 and last.max() <= 255 and last.max() > 1:
            colours = last.astype(np.uint8)
    points = table.iloc[:, :3].to_numpy(float)
    return trimesh.PointCloud(points, colors=colours)  # type: ignore[no-untyped-call]


def load_pts(source: Source) -> Any:
    """Read Leica's points to a table: x, y, z, intensity and colour."""
    table = _numbers(source)
    names = {
        3: ["x", "y", "z"],
        4: ["x", "y", "z", "intensity"],
        6: ["x", "y", "z", "red", "green", "blue"],
        7: ["x", "y", "z", "intensity", "red", "green", "blue"],
    }
    if table.shape[1] in names:
        table.columns = names[table.shape[1]]
    return table


def load_ptx(source: Source) -> Any:
    """Read Leica's scans to a table in the coordinates of the first one's world."""
    import numpy as np
    import pandas as pd

    lines = decode(source).split("\n")
    tables: list[Any] = []
    place = 0
    while place + 10 < len(lines) and lines[place].strip():
        count = int(lines[place]) * int(lines[place + 1])
        if not 0 <= count <= len(lines):
            raise FileLoadError(source.name, f"a scan that is cut off: {count:,} points promised")
        matrix = np.array([lines[place + i].split() for i in range(6, 10)], dtype=float)
        rows = [line.split() for line in lines[place + 10 : place + 10 + count]]
        points = np.array([row for row in rows if row], dtype=float)
        moved = np.c_[points[:, :3], np.ones(len(points))] @ matrix
        table = pd.DataFrame(moved[:, :3], columns=["x", "y", "z"])
        table["intensity"] = points[:, 3]
        for at, name in enumerate(("red", "green", "blue")[: points.shape[1] - 4]):
            table[name] = points[:, 4 + at].astype(int)
        table["scan"] = len(tables)
        # Where nothing came back there is a point at the scanner itself.
        tables.append(table[(points[:, :3] != 0).any(axis=1)])
        place += 10 + count
    if not tables:
        raise FileLoadError(source.name, "a scan without a point")
    return pd.concat(tables, ignore_index=True)


def _numbers(source: Source) -> Any:
    """Read a text of numbers; a line that counts them, a heading and comments are left out."""
    import io

    import pandas as pd

    text = decode(source)
    skip = 0
    for line in text.split("\n")[:20]:
        fields = re.split(r"[\s,;]+", line.strip())
        if len(fields) >= 3 and all(re.fullmatch(r"[-+\d.eE]+|nan", f) for f in fields if f):
            break
        skip += 1
    else:
        raise FileLoadError(source.name, "a text that doesn't begin with numbers")
    separator = next((s for s in ",;" if s in line), r"\s+")
    table = pd.read_csv(io.StringIO(text), sep=separator, header=None, skiprows=skip, comment="#")
    text_columns = [c for c in table.columns if table[c].dtype.kind not in "iuf"]
    if text_columns:
        raise FileLoadError(
            source.name,
            "points with something else than numbers among them",
            reason=f"column {int(text_columns[0]) + 1} isn't all numbers",
            remedy='as_="text" gives it as a str',
        )
    return table.dropna(axis=1, how="all")


# -- Point Cloud Library --------------------------------------------------------------------------


def load_pcd(source: Source) -> Any:
    """Read the Point Cloud Library's points: as text, binary, or compressed.

    Source: https://pointclouds.org/documentation/tutorials/pcd_file_format.html
    """
    import numpy as np
    import pandas as pd

    content = source.read()
    found = re.search(rb"^DATA[ \t]+(\w+)[ \t]*\r?\n", content[:65536], re.MULTILINE)
    if found is None:
        raise FileLoadError(source.name, "points whose header doesn't end")
    header = {}
    for line in content[: found.start()].decode("latin-1").splitlines():
        name, _, values = line.partition(" ")
        header[name] = values.split()
    fields = header["FIELDS"] if "FIELDS" in header else header["COLUMNS"]
    counts = [int(n) for n in header.get("COUNT", ["1"] * len(fields))]
    kinds = [
        f"<{letter.lower()}{size}"
        for letter, size in zip(header["TYPE"], header["SIZE"], strict=True)
    ]
    points = (
        int(header["POINTS"][0])
        if "POINTS" in header
        else (int(header["WIDTH"][0]) * int(header["HEIGHT"][0]))
    )
    # Names may come twice ("_" fills gaps).
    names = [name if fields.index(name) == at else f"{name}_{at}" for at, name in enumerate(fields)]
    record = np.dtype(
        [(n, k, (c,)) if c > 1 else (n, k) for n, k, c in zip(names, kinds, counts, strict=True)]
    )
    columns: dict[str, Any] = {}
    body, form = content[found.end() :], found[1]
    if form == b"ascii":
        rows = [line.split() for line in body.decode("latin-1").splitlines() if line.strip()]
        numbers = np.array(rows[:points], dtype=float).reshape(-1, sum(counts)).T
        table = pd.DataFrame(_split(numbers, names, counts))
        whole = [n for n, k, c in zip(names, kinds, counts, strict=True) if c == 1 and k[1] in "iu"]
        return table.astype({name: "int64" for name in whole})
    if form == b"binary_compressed":
        packed, size = struct.unpack_from("<II", body)
        if size != points * record.itemsize or size > 300 * len(body):
            raise FileLoadError(source.name, f"points that are cut off: {points:,} are promised")
        body = _unpack_lzf(body[8 : 8 + packed], size)
        place = 0
        for name, kind, count in zip(names, kinds, counts, strict=True):
            width = np.dtype(kind).itemsize * points * count
            column = np.frombuffer(body[place : place + width], kind).reshape(points, count)
            columns |= _named(column.T, name)
            place += width
        return pd.DataFrame(columns)
    if points * record.itemsize > len(body):
        raise FileLoadError(source.name, f"points that are cut off: {points:,} are promised")
    records = np.frombuffer(body, record, points)
    for name in names:
        columns |= _named(records[name].reshape(points, -1).T, name)
    return pd.DataFrame(columns)


def _split(columns: Any, names: list[str], counts: list[int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    place = 0
    for name, count in zip(names, counts, strict=True):
        found |= _named(columns[place : place + count], name)
        place += count
    return found


def _named(rows: Any, name: str) -> dict[str, Any]:
    if name.startswith("_"):
        return {}  # padding
    if len(rows) == 1:
        return {name: rows[0]}
    return {f"{name}_{at}": row for at, row in enumerate(rows)}


def _unpack_lzf(packed: bytes, size: int) -> bytes:
    """Unpack LZF: runs as they are, and references to what has been unpacked before."""
    out = bytearray()
    place = 0
    while place < len(packed) and len(out) < size:
        control = packed[place]
        place += 1
        if control < 32:
            out += packed[place : place + control + 1]
            place += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += packed[place]
            place += 1
        start = len(out) - ((control & 31) << 8) - packed[place] - 1
        place += 1
        if start < 0:
            raise ValueError("a reference to what isn't there")
        for _ in range(length + 2):
            out.append(out[start])
            start += 1
    if len(out) != size:
        raise ValueError(f"{len(out):,} bytes where {size:,} are promised")
    return bytes(out)


# -- E57 ------------------------------------------------------------------------------------------


def load_e57(source: Source) -> Any:
    """Read all scans of an E57 file into one table, in the coordinates they share."""
    import pandas as pd
    import pye57

    _check_e57(source)
    file = pye57.E57(str(source.as_path(".e57")))
    tables = []
    for number in range(file.scan_count):
        scan = file.read_scan(number, ignore_missing_fields=True, intensity=True, colors=True)
        table = pd.DataFrame({_E57_NAMES.get(name, name): values for name, values in scan.items()})
        table["scan"] = number
        tables.append(table)
    if not tables:
        raise FileLoadError(source.name, "an E57 file without a scan")
    return pd.concat(tables, ignore_index=True)


_E57_NAMES = {
    "cartesianX": "x",
    "cartesianY": "y",
    "cartesianZ": "z",
    "colorRed": "red",
    "colorGreen": "green",
    "colorBlue": "blue",
}


def _check_e57(source: Source) -> None:
    """Look at the sizes in the header, and at how many points its description promises.

    Source: ASTM E2807, 5.2 (file header): pages of 1024 bytes, of which the last 4 are a checksum.
    """
    length, xml_start, xml_size, page = struct.unpack_from("<4Q", source.head, 16)
    if source.compression is None and length > source.size_bytes:
        raise FileLoadError(source.name, f"scans that are cut off: {length:,} bytes are promised")
    if page != 1024 or xml_size > 100_000_000 or xml_start > length:
        raise FileLoadError(source.name, "an E57 file with a damaged header")
    with source.open() as file:
        file.seek(xml_start)
        stored = file.read(xml_size * 1024 // 1020 + 2048)
    within = xml_start % page
    stored = b"\0" * within + stored
    description = b"".join(stored[i : i + 1020] for i in range(0, len(stored), page))[within:]
    counts = re.findall(rb"<points\b[^>]{0,300}\brecordCount=\"(\d{1,20})\"", description)
    total = sum(map(int, counts))
    if total > min(200_000_000, 100 * source.size_bytes):
        raise FileLoadError(
            source.name,
            f"scans of {total:,} points",
            reason="that is too much to have in memory at once",
            remedy="pye57 reads them one by one: pye57.E57(path).read_scan(0)",
        )
