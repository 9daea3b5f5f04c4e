"""Grids of the earth: what rasterio reads, and formats simple enough to be read here."""

import re
import struct
from pathlib import Path
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders import parts
from kernel_startup.loaders.described import source_info
from kernel_startup.loaders.text import decode
from kernel_startup.recognition import type_of_source
from kernel_startup.source import Source

_DRIVERS = {
    "geotiff": ("GTiff", ".tif"),
    "hfa": ("HFA", ".img"),
    "usgsdem": ("USGSDEM", ".dem"),
    "nitf": ("NITF", ".ntf"),
    "ntv2": ("NTv2", ".gsb"),
    "pcidsk": ("PCIDSK", ".pix"),
    "pcraster": ("PCRaster", ".map"),
    "ilwis": ("ILWIS", ".mpr"),
    "vicar": ("VICAR", ".vic"),
    "pds3": ("PDS", ".img"),
    "bag": ("BAG", ".bag"),
    "gxf": ("GXF", ".gxf"),
}
_MAX_CELLS = 1 << 29


def load_raster(source: Source, *, masked: bool = False) -> Any:
    """Open a grid with rasterio; its cells are read when they are used.

    Args:
        source: The file.
        masked: Have NaN where there is no data; the cells become floating-point numbers.
    """
    import rasterio
    import rioxarray

    driver, suffix = _DRIVERS[type_of_source(source).name]
    path = source.as_path(suffix)
    # No other file, no address: only this driver may open it.
    with rasterio.Env(
        CPL_VSIL_CURL_ALLOWED_EXTENSIONS="{none}", GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"
    ):
        try:
            opened: Any = rioxarray.open_rasterio(path, masked=masked, driver=driver)
        except rasterio.errors.RasterioIOError as error:
            if "zero usable bands" not in str(error):
                raise
            return source_info(source, {"bands": 0}, "It is complete, but holds no grid.")
        if isinstance(opened, list):
            opened = {str(at): each for at, each in enumerate(opened)}
        elif hasattr(opened, "encoding"):
            _touch(source, opened)
    return opened


def _touch(source: Source, array: Any) -> None:
    """Read one cell, so that a file that is cut off says so now."""
    if getattr(array, "ndim", 0) == 3 and array.size:
        array[0, -1, -1].copy().load()
    elif array is None:
        raise FileLoadError(source.name, "a grid without a band")


def _grid(values: Any, x: Any, y: Any, **attributes: Any) -> Any:
    import xarray as xr

    kept = {name: value for name, value in attributes.items() if value is not None}
    dims = ("band", "y", "x")[-values.ndim :]
    return xr.DataArray(values, dims=dims, coords={"y": y, "x": x}, attrs=kept)


# -- grids as text --------------------------------------------------------------------------------

_ESRI_LINE = re.compile(r"\s*([A-Za-z_]\w*)[ \t]+([-+\w.]+)[ \t]*\r?(?:\n|\Z)")


def load_esri_ascii(source: Source) -> Any:
    """Read an Esri ASCII grid to heights by y and x, with NaN where there is no data."""
    import numpy as np

    text = decode(source)
    header: dict[str, float] = {}
    place = 0
    while len(header) < 12 and (found := _ESRI_LINE.match(text, place)):
        header[found[1].lower()] = float(found[2])
        place = found.end()
    columns, rows = int(header["ncols"]), int(header["nrows"])
    dx = header.get("cellsize", header.get("dx", 1.0))
    dy = header.get("cellsize", header.get("dy", dx))
    if 2 * columns * rows > len(text) + 2:
        raise FileLoadError(source.name, f"a grid that is cut off: {columns} x {rows} are promised")
    values = np.array(text[place:].split(), dtype=np.float64)
    if len(values) < columns * rows:
        raise FileLoadError(
            source.name,
            f"a grid that is cut off: it has {len(values):,} of {columns * rows:,} cells",
            remedy="Upload it again, complete",
        )
    nodata = header.get("nodata_value")
    grid = values[: columns * rows].reshape(rows, columns)
    if nodata is not None:
        grid = np.where(grid == nodata, np.nan, grid)
    left = header.get("xllcenter", header.get("xllcorner", 0.0) + dx / 2)
    bottom = header.get("yllcenter", header.get("yllcorner", 0.0) + dy / 2)
    x = left + dx * np.arange(columns)
    y = bottom + dy * np.arange(rows)[::-1]
    prj = parts.companion(source, ".prj")
    crs = prj.read_text(errors="replace")[:10_000] if prj else None
    return _grid(grid, x, y, nodata=nodata, cellsize=header.get("cellsize"), crs=crs)


_SURFER_BLANK = 1.70141e38


def load_surfer(source: Source) -> Any:
    """Read Surfer's grids, as text and binary, with NaN where they are blank.

    Source: Golden Software, "Surfer 6 and 7 grid file format".
    """
    import numpy as np

    content = source.read()
    if content.startswith(b"DSAA"):
        fields = content.split()
        columns, rows = int(fields[1]), int(fields[2])
        x0, x1, y0, y1 = (float(f) for f in fields[3:7])
        _check_cells(source, columns, rows, len(fields) - 9)
        values = np.array(fields[9 : 9 + columns * rows], dtype=np.float64)
    elif content.startswith(b"DSBB"):
        columns, rows, x0, x1, y0, y1 = struct.unpack_from("<2h4d", content, 4)
        _check_cells(source, columns, rows, (len(content) - 56) // 4)
        values = np.frombuffer(content, "<f4", columns * rows, 56).astype(np.float64)
    else:
        return _surfer7(source, content)
    blank = values >= _SURFER_BLANK * 0.999
    values = np.where(blank, np.nan, values).reshape(rows, columns)
    return _grid(values, np.linspace(x0, x1, columns), np.linspace(y0, y1, rows))


def _surfer7(source: Source, content: bytes) -> Any:
    import numpy as np

    place, header = 0, None
    while place + 8 <= len(content):
        tag, size = content[place : place + 4], struct.unpack_from("<i", content, place + 4)[0]
        place += 8
        if tag == b"GRID":
            header = struct.unpack_from("<2i8d", content, place)
        elif tag == b"DATA" and header is not None:
            rows, columns, x0, y0, dx, dy, _, _, _, blank = header
            _check_cells(source, columns, rows, (len(content) - place) // 8)
            values = np.frombuffer(content, "<f8", columns * rows, place)
            values = np.where(values >= blank, np.nan, values).reshape(rows, columns)
            return _grid(values, x0 + dx * np.arange(columns), y0 + dy * np.arange(rows))
        place += max(size, 0)
    raise FileLoadError(source.name, "a Surfer grid without cells")


def _check_cells(source: Source, columns: int, rows: int, present: int) -> None:
    if columns <= 0 or rows <= 0 or columns * rows > present:
        raise FileLoadError(
            source.name,
            f"a grid that is cut off: {columns} x {rows} cells are promised, {present:,} are there",
            remedy="Upload it again, complete",
        )


# -- elevations -----------------------------------------------------------------------------------


def load_hgt(source: Source) -> Any:
    """Read SRTM heights in metres; the file's name says where they are (N47E008)."""
    import numpy as np

    content = source.read()
    sizes = {2 * 1201 * 1201: (1201, 1201), 2 * 3601 * 3601: (3601, 3601)}
    shape = sizes.get(len(content), (3601, 1801) if len(content) == 2 * 3601 * 1801 else None)
    if shape is None:
        raise FileLoadError(source.name, f"SRTM heights of an unusual size, {len(content):,} bytes")
    rows, columns = shape
    heights = np.frombuffer(content, ">i2").astype(np.int16).reshape(shape)
    found = re.search(r"([NS])(\d{2})([EW])(\d{3})", source.name.upper())
    south = west = 0
    if found:
        south = int(found[2]) * (1 if found[1] == "N" else -1)
        west = int(found[4]) * (1 if found[3] == "E" else -1)
    else:
        source.note(f"{source.name!r}: its name doesn't say where it is; x and y begin at 0.")
    x = np.linspace(west, west + 1, columns)
    y = np.linspace(south + 1, south, rows)
    return _grid(heights, x, y, nodata=-32768, units="m", crs="EPSG:4326")


_DTED_HEADERS = 80 + 648 + 2700


def load_dted(source: Source) -> Any:
    """Read digital terrain elevations in metres.

    Source: MIL-PRF-89020B, 3.9 and 3.10 (record structure): columns from south to north, heights
    as a sign and a magnitude.
    """
    import numpy as np

    content = source.read()
    start = content.find(b"UHL1", 0, 400)
    if start < 0:
        raise FileLoadError(source.name, "DTED without its user header")
    header = content[start : start + 80].decode("latin-1")
    west, south = _dted_degrees(header[4:12]), _dted_degrees(header[12:20])
    dx, dy = int(header[20:24]) / 36000, int(header[24:28]) / 36000
    columns, rows = int(header[47:51]), int(header[51:55])
    width = 12 + 2 * rows
    body = content[start + _DTED_HEADERS :]
    if columns <= 0 or rows <= 0 or len(body) < columns * width:
        raise FileLoadError(
            source.name,
            f"elevations that are cut off: {columns} x {rows} are promised",
            remedy="Upload it again, complete",
        )
    records = np.frombuffer(body, np.uint8, columns * width).reshape(columns, width)
    raw = records[:, 8:-4].copy().view(">u2").astype(np.int32)
    heights = np.where(raw & 0x8000, -(raw & 0x7FFF), raw).astype(np.int16)
    x, y = west + dx * np.arange(columns), south + dy * np.arange(rows)
    return _grid(heights.T[::-1], x, y[::-1], nodata=-32767, units="m", crs="EPSG:4326")


def _dted_degrees(text: str) -> float:
    degrees = int(text[0:3]) + int(text[3:5]) / 60 + int(text[5:7]) / 3600
    return -degrees if text[7] in "WS" else degrees


# -- raw grids with a header beside them ----------------------------------------------------------

_ENVI_TYPES = {
    "1": "u1",
    "2": "i2",
    "3": "i4",
    "4": "f4",
    "5": "f8",
    "6": "c8",
    "9": "c16",
    "12": "u2",
    "13": "u4",
    "14": "i8",
    "15": "u8",
}
_RAW_SUFFIXES = ("", ".img", ".dat", ".bil", ".bip", ".bsq", ".raw", ".bin", ".flt", ".sdat")


def load_flat(source: Source) -> Any:
    """Map a raw grid into memory as its header says; either of the two may be given."""
    import numpy as np

    if _is_header(source) and _raw_of(source) is None:
        text = source.head.decode("utf-8", errors="replace")
        facts = {name: value[:200] for name, value in _read_header(text).items()}
        return source_info(source, {**facts}, "Its grid isn't among the files: upload it as well.")
    header_path, raw = _header_and_raw(source)
    header = _read_header(header_path.read_text(encoding="utf-8", errors="replace")[:1_000_000])
    shape, order, kind, skip = _layout(header, raw)
    item = np.dtype(kind).itemsize
    bands, rows, columns = shape
    if min(shape) <= 0 or bands * rows * columns * item + skip > raw.stat().st_size:
        raise FileLoadError(
            source.name,
            f"a grid that is cut off: {bands} x {rows} x {columns} cells are promised",
            remedy="Upload it again, complete",
        )
    stored = {
        "bsq": (bands, rows, columns),
        "bil": (rows, bands, columns),
        "bip": (rows, columns, bands),
    }[order]
    cells: Any = np.memmap(raw, kind, "r", skip, stored)
    cells = cells.transpose({"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (2, 0, 1)}[order])
    x, y = _places(header, rows, columns)
    kept = {
        n: v for n, v in header.items() if n in ("description", "wavelength", "map info", "nodata")
    }
    return _grid(cells, x, y, **{name.replace(" ", "_"): value for name, value in kept.items()})


def _is_header(source: Source) -> bool:
    return source.name.lower().endswith((".hdr", ".sgrd")) or source.head.startswith(b"ENVI")


def _header_and_raw(source: Source) -> tuple[Path, Path]:
    if _is_header(source):
        raw = _raw_of(source)
        if raw is None:
            raise FileLoadError(
                source.name,
                "the header of a raw grid",
                reason="the grid itself isn't among the files",
                remedy="Upload it as well, under the same name",
            )
        return source.as_path(), raw
    header = parts.companion(source, ".hdr", ".sgrd")
    if header is None:
        raise FileLoadError(
            source.name,
            "a raw grid",
            reason="there is no .hdr file of the same name among the files",
            remedy="Upload it as well: it says how many rows and columns there are",
        )
    return header, source.as_path()


def _raw_of(source: Source) -> Path | None:
    stem = Path(source.name).stem.lower()
    for suffix in _RAW_SUFFIXES:
        for path in source.neighbours:
            if path.name.lower() == stem + suffix and path != source.path:
                return path
    return None


def _read_header(text: str) -> dict[str, str]:
    """Read ENVI's "name = value" (in braces over several lines) and Esri's "NAME value"."""
    if "=" in text[:2000]:
        found = re.findall(
            r"^[ \t]*+([^=\n{}]{1,60}?)[ \t]*=[ \t]*(\{[^}]*+\}|[^\n]*+)", text, re.M
        )
    else:
        found = re.findall(r"^[ \t]*+(\w+)[ \t]++(\S[^\n]*+)", text, re.MULTILINE)
    return {name.strip().lower(): value.strip().strip("{}").strip() for name, value in found}


_SAGA_TYPES = {
    "byte": "u1",
    "byte_unsigned": "u1",
    "shortint": "i2",
    "shortint_unsigned": "u2",
    "integer": "i4",
    "integer_unsigned": "u4",
    "float": "f4",
    "double": "f8",
}


def _layout(header: dict[str, str], raw: Path) -> tuple[tuple[int, int, int], str, str, int]:
    """The shape (bands, rows, columns), the order, the type of a number, and what comes before."""
    if "samples" in header:
        shape = (int(header.get("bands", "1")), int(header["lines"]), int(header["samples"]))
        ends = ">" if header.get("byte order", "0") == "1" else "<"
        kind = _ENVI_TYPES[header.get("data type", "1")]
        order = header.get("interleave", "bsq").lower()
        return shape, order, ends + kind, int(header.get("header offset", "0"))
    if "cellcount_x" in header:
        shape = (1, int(header["cellcount_y"]), int(header["cellcount_x"]))
        ends = ">" if header.get("byteorder_big", "").upper() == "TRUE" else "<"
        kind = _SAGA_TYPES[header["dataformat"].lower()]
        return shape, "bsq", ends + kind, int(header.get("datafile_offset", "0"))
    shape = (int(header.get("nbands", "1")), int(header["nrows"]), int(header["ncols"]))
    ends = ">" if header.get("byteorder", "I").upper() in ("M", "MSBFIRST") else "<"
    bits = int(header.get("nbits", "32" if raw.suffix.lower() == ".flt" else "8"))
    pixel = header.get("pixeltype", "").upper()
    is_float = raw.suffix.lower() == ".flt" or pixel == "FLOAT"
    letter = "f" if is_float else "i" if pixel == "SIGNEDINT" or bits == 16 else "u"
    order = header.get("layout", "bil").lower()
    return shape, order, f"{ends}{letter}{bits // 8}", int(header.get("skipbytes", "0"))


def _places(header: dict[str, str], rows: int, columns: int) -> tuple[Any, Any]:
    """Where the middles of the cells are; their numbers if the header doesn't say."""
    import numpy as np

    x0, y0, dx, dy = 0.0, 0.0, 1.0, -1.0
    if "map info" in header:
        info = [part.strip() for part in header["map info"].split(",")]
        at_x, at_y, x0, y0, dx, dy = (float(value) for value in info[1:7])
        x0, y0, dy = x0 + (1.5 - at_x) * dx, y0 - (1.5 - at_y) * dy, -dy
    elif "ulxmap" in header:
        x0, y0 = float(header["ulxmap"]), float(header["ulymap"])
        dx, dy = float(header["xdim"]), -float(header["ydim"])
    elif "xllcorner" in header or "xllcenter" in header:
        dx = float(header["cellsize"])
        half = dx / 2 if "xllcorner" in header else 0.0
        x0 = float(header.get("xllcorner", header.get("xllcenter", "0"))) + half
        bottom = float(header.get("yllcorner", header.get("yllcenter", "0"))) + half
        y0, dy = bottom + dx * (rows - 1), -dx
    elif "position_xmin" in header:
        dx = dy = float(header["cellsize"])
        x0, y0 = float(header["position_xmin"]), float(header["position_ymin"])
    else:
        return np.arange(columns), np.arange(rows)
    return x0 + dx * np.arange(columns), y0 + dy * np.arange(rows)
