"""Geospatial features: what GDAL reads, and what is beside it."""

import json
import re
import sqlite3
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.loaders import parts
from kernel_startup.loaders.described import source_info
from kernel_startup.loaders.text import decode
from kernel_startup.recognition import type_of_source
from kernel_startup.source import Source

#: The driver that reads each type, and what its files' names have to end in.
_DRIVERS = {
    "geojson": ("GeoJSON", ".geojson"),
    "geojsonl": ("GeoJSONSeq", ".geojsonl"),
    "topojson": ("TopoJSON", ".topojson"),
    "esrijson": ("ESRIJSON", ".json"),
    "shp": ("ESRI Shapefile", ".shp"),
    "shapezip": ("ESRI Shapefile", ".zip"),
    "gdbzip": ("OpenFileGDB", ".zip"),
    "gpkg": ("GPKG", ".gpkg"),
    "spatialite": ("SQLite", ".sqlite"),
    "gml": ("GML", ".gml"),
    "kml": ("LIBKML", ".kml"),
    "kmz": ("LIBKML", ".kmz"),
    "fgb": ("FlatGeobuf", ".fgb"),
    "osmpbf": ("OSM", ".osm.pbf"),
    "osm": ("OSM", ".osm"),
    "mapinfotab": ("MapInfo File", ".tab"),
    "mapinfomif": ("MapInfo File", ".mif"),
    "e00": ("AVCE00", ".e00"),
    "s57": ("S57", ".000"),
    "gmt": ("OGR_GMT", ".gmt"),
    "jml": ("JML", ".jml"),
    "edigeo": ("EDIGEO", ".thf"),
    "vfk": ("VFK", ".vfk"),
    "wasp": ("WAsP", ".map"),
    "selafin": ("Selafin", ".slf"),
}
_COMPANIONS = {
    "shp": (".shx", ".dbf", ".prj", ".cpg", ".cst"),
    "mapinfotab": (".dat", ".map", ".id", ".ind"),
    "mapinfomif": (".mid",),
}
#: Without these GDAL can read the geometries, but not what belongs to them.
_ATTRIBUTES = {"shp": ".dbf", "mapinfomif": ".mid"}
_NEEDED = {"mapinfotab": (".dat", ".map", ".id")}
#: Formats in which GDAL would follow a text to other files and addresses.
_POINTERS = re.compile(
    rb"<OGRVRTDataSource|<VRTDataset|gdal_streamed_alg|<GDAL_WMS|<WCS_GDAL|/vsi[a-z]|<OGRWFSDataSource"
)
_OPTIONS = {
    # Nothing is fetched, no neighbour is looked at, a lost index is made anew in a copy.
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "{none}",
    "GDAL_DISABLE_READDIR_ON_OPEN": "FALSE",
    "GML_DOWNLOAD_SCHEMA": "NO",
    "GML_SKIP_RESOLVE_ELEMS": "ALL",
    "LIBKML_RESOLVE_STYLE": "NO",
    "SHAPE_RESTORE_SHX": "YES",
    "OGR_SQLITE_LOAD_EXTENSIONS": "",
    "SQLITE_LIST_ALL_TABLES": "NO",
}
_LOOKED_AT_BYTES = 1 << 20
_MAX_OSM_BYTES = 300_000_000


def load_features(
    source: Source,
    *,
    layer: str | int | None = None,
    columns: list[str] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    where: str | None = None,
    rows: int | None = None,
    encoding: str | None = None,
) -> Any:
    """Read features with GDAL: the only layer, a dict of all layers by name, or the one asked for.

    Args:
        source: The file.
        layer: A layer's name, or its number from 0.
        columns: The attributes wanted; None for all.
        bbox: Only what touches (west, south, east, north), in the file's own coordinates.
        where: Only what fits this condition of SQL.
        rows: At most so many features of each layer.
        encoding: Of the attributes, where the file doesn't say.
    """
    kind = type_of_source(source).name
    driver, suffix = _DRIVERS[kind]
    if kind == "osmpbf" and source.size_bytes > _MAX_OSM_BYTES and bbox is None and rows is None:
        raise FileLoadError(
            source.name,
            f"an extract of OpenStreetMap of {source.size_bytes:,} bytes",
            reason="all of it wouldn't fit into memory",
            remedy='bbox=(west, south, east, north) or layer="points", rows=1000 would',
        )
    if _POINTERS.search(source.head) and not kind.endswith("zip"):
        raise FileLoadError(source.name, f"{driver} that points to other files")
    _check_features(source, kind)
    reading = {
        "columns": columns,
        "bbox": bbox,
        "where": where,
        "max_features": rows,
        "encoding": encoding,
    }
    with _noted(source), _gdal():
        layers = [
            (name, path, which)
            for path in _places(source, kind, suffix)
            for name, which in _layers(source, path, driver)
        ]
        if layer is not None:
            layers = _chosen(layers, layer)
        read = {name: _read(path, which, reading) for name, path, which in layers}
    if kind in ("osmpbf", "osm"):
        read = {name: frame for name, frame in read.items() if len(frame)} or read
    if not read:
        raise FileLoadError(source.name, f"{driver} without a layer")
    return next(iter(read.values())) if len(read) == 1 else read


@contextmanager
def _gdal() -> Iterator[None]:
    """Have GDAL fetch nothing and follow nothing, for as long as this lasts."""
    import pyogrio

    before = {name: pyogrio.get_gdal_config_option(name) for name in _OPTIONS}
    pyogrio.set_gdal_config_options(_OPTIONS)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(before)


@contextmanager
def _noted(source: Source) -> Iterator[None]:
    """Give the user the first few of GDAL's warnings as notes."""
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    said = {str(w.message) for w in caught if issubclass(w.category, RuntimeWarning)}
    for sentence in sorted(said)[:3]:
        source.note(f"{source.name!r}: {sentence[:200].rstrip('.')}.")


def _check_features(source: Source, kind: str) -> None:
    """Refuse what lies about its size before GDAL believes it."""
    head = source.head
    if kind == "shp" and source.compression is None:
        words = struct.unpack_from(">i", head, 24)[0]
        if 2 * words > source.size_bytes + 8:
            raise FileLoadError(
                source.name,
                f"a shapefile that is cut off: {2 * words:,} bytes are promised",
                remedy="Upload it again, complete",
            )
    if kind in ("kml", "gml", "osm") and b"<!ENTITY" in head:
        raise FileLoadError(source.name, "XML with entities of its own, which aren't read")


def _places(source: Source, kind: str, suffix: str) -> list[Path]:
    if kind in ("shapezip", "gdbzip"):
        return _unpacked(source, kind)
    if kind == "kmz":
        with source.open() as file, zipfile.ZipFile(file) as archive:
            parts.check_zip(source, archive.infolist())
    if kind not in _COMPANIONS:
        return [source.as_path(suffix)]
    if kind in _NEEDED:
        missing = [s for s in _NEEDED[kind] if parts.companion(source, s) is None]
        if ".dat" in missing:
            raise FileLoadError(
                source.name,
                "the head of a MapInfo table",
                reason=f"its parts {', '.join(missing)} aren't among the files",
                remedy="Upload them as well, under the same name",
            )
    attributes = _ATTRIBUTES.get(kind)
    if attributes and parts.companion(source, attributes) is None:
        source.note(
            f"{source.name!r}: there is no {attributes} file of the same name among the files, so "
            "there are only geometries. Upload it as well for the attributes."
        )
        if kind == "mapinfomif":
            place = parts.gather(source, suffix, ())
            _make_mid(source, place)
            return [place]
    return [parts.gather(source, suffix, _COMPANIONS[kind])]


def _make_mid(source: Source, place: Path) -> None:
    """GDAL reads no geometries without attributes, so leave them out of a copy's head."""
    text = decode(source)
    pieces = re.split(r"^(data)[ \t]*\r?$", text, maxsplit=1, flags=re.IGNORECASE | re.MULTILINE)
    if len(pieces) < 3:
        raise FileLoadError(source.name, "MapInfo interchange without a Data section")
    head, mark, body = pieces
    head = re.split(r"^columns\b", head, maxsplit=1, flags=re.IGNORECASE | re.MULTILINE)[0]
    place.unlink()
    place.write_text(f"{head}Columns 1\n  id Integer\n{mark}\n{body}")
    shapes = r"^(?:point|line|pline|region|arc|text|rect|roundrect|ellipse|multipoint|none)\b"
    count = len(re.findall(shapes, body, re.IGNORECASE | re.MULTILINE))
    place.with_suffix(".mid").write_text("".join(f"{n}\n" for n in range(1, count + 1)))


def _unpacked(source: Source, kind: str) -> list[Path]:
    if kind == "gdbzip":
        places = parts.unpack(source, lambda name: ".gdb/" in name.lower())
        inner = {p.parent for p in places if p.suffix.lower() == ".gdbtable"}
        if not inner:
            places = parts.unpack(source, lambda name: True)
            inner = {p.parent for p in places if p.suffix.lower() == ".gdbtable"}
        return sorted(_as_gdb(p) for p in inner)
    suffixes = (".shp", *_COMPANIONS["shp"])
    places = parts.unpack(source, lambda name: name.lower().endswith(suffixes))
    found = [p for p in places if p.suffix.lower() == ".shp" and not p.name.startswith("._")]
    return sorted(found)


def _as_gdb(directory: Path) -> Path:
    if directory.suffix.lower() == ".gdb":
        return directory
    place = parts.new_directory() / "file.gdb"
    place.symlink_to(directory.absolute(), target_is_directory=True)
    return place


def _layers(source: Source, path: Path, driver: str) -> list[tuple[str, str | int]]:
    import pyogrio

    if path.is_file():
        # GDAL goes by content: whatever it is called, what points to other files would be followed.
        with path.open("rb") as file:
            if _POINTERS.search(file.read(_LOOKED_AT_BYTES)):
                raise FileLoadError(source.name, f"{driver} that points to other files")
    names = [str(name) for name, _ in pyogrio.list_layers(path)]
    if not names:
        return []
    # Which driver it was tells whether content and type agree.
    used = pyogrio.read_info(path, layer=0)["driver"]
    alike = {"KML": "LIBKML", "GeoJSONSeq": "GeoJSON"}
    if alike.get(used, used) != alike.get(driver, driver):
        raise FileLoadError(source.name, f"{driver} that GDAL takes for {used}")
    if path.name.startswith("file.") and len(names) == 1 and names[0] == "file":
        return [(Path(source.name).stem, 0)]
    # Names may come twice in a KML file; only numbers tell such layers apart.
    return [
        (name if names.index(name) == n else f"{name} ({n})", n) for n, name in enumerate(names)
    ]


def _chosen(
    layers: list[tuple[str, Path, str | int]], wanted: str | int
) -> list[tuple[str, Path, str | int]]:
    if isinstance(wanted, int) and not isinstance(wanted, bool) and -1 < wanted < len(layers):
        return [layers[wanted]]
    found = [one for one in layers if one[0] == wanted]
    if not found:
        raise ValueError(
            f"there is no layer {wanted!r}; the layers are {[n for n, _, _ in layers]}"
        )
    return found


def _read(path: Path, layer: str | int, reading: dict[str, Any]) -> Any:
    import pyogrio

    given = {name: value for name, value in reading.items() if value}
    return pyogrio.read_dataframe(path, layer=layer, fid_as_index=False, **given)


# -- parts, plain JSON, and text ------------------------------------------------------------------


def load_part(source: Source) -> FileInfo:
    """Say what a part belongs to."""
    stem = Path(source.name).stem
    return source_info(source, advice=f"It is a part of {stem}.shp or {stem}.tab: load that.")


def load_plain_json(source: Source) -> object:
    """Parse JSON as it is."""
    try:
        value: object = json.loads(decode(source).lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise FileLoadError(
            source.name,
            "JSON that is cut off or not well formed",
            tried="Python's json",
            reason="it is nested too deeply" if isinstance(error, RecursionError) else str(error),
            remedy='as_="text" gives it as a str',
        ) from error
    return value


def load_wkt(source: Source) -> Any:
    """Read geometries as text, one a line or one over several lines, to a GeoSeries."""
    import geopandas
    import shapely

    text = decode(source).strip().lstrip("\ufeff")
    reference = re.match(r"SRID=(\d{1,6});", text)
    text = re.sub(r"SRID=\d+;", "", text)
    # A geometry ends where its last bracket closes, however its lines are broken.
    pieces = [" ".join(p.split()) for p in re.split(r"[;\n](?=\s*[A-Za-z])", text) if p.strip()]
    geometries = shapely.from_wkt([p.rstrip("; ") for p in pieces])
    return geopandas.GeoSeries(geometries, crs=int(reference[1]) if reference else None)


def load_wkb(source: Source) -> Any:
    """Read a geometry, written as bytes or as hexadecimal digits."""
    import shapely

    content = source.read()
    digits = content.strip()
    if re.fullmatch(rb"[0-9A-Fa-f]+", digits):
        content = bytes.fromhex(digits.decode())
    return shapely.from_wkb(content)


def load_gtfs(source: Source) -> Any:
    """Read the tables of a timetable; ids stay text."""
    import pandas as pd

    tables = {}
    with source.open() as file, zipfile.ZipFile(file) as archive:
        members = [m for m in archive.infolist() if m.filename.lower().endswith(".txt")]
        parts.check_zip(source, members)
        for member in members:
            name = member.filename.rpartition("/")[2][:-4]
            with archive.open(member) as text:
                try:
                    table = pd.read_csv(text, dtype="str", encoding="utf-8-sig", low_memory=False)
                except pd.errors.EmptyDataError:
                    continue
            for column in table.columns:
                if str(column).endswith(_GTFS_NUMBERS):
                    try:
                        table[column] = pd.to_numeric(table[column])
                    except ValueError:
                        continue
            tables[name] = table
    return tables


#: Columns that are numbers by the standard. Source: https://gtfs.org/documentation/schedule
_GTFS_NUMBERS = ("_lat", "_lon", "_sequence", "_traveled", "_secs", "_type", "_amount", "_price")


# -- tiles ----------------------------------------------------------------------------------------


def load_mbtiles(source: Source) -> Any:
    """Read what a set of tiles says of itself, and a table of the tiles without their content."""
    import pandas as pd

    path = source.as_path(".mbtiles").absolute()
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        metadata = dict(connection.execute("SELECT name, value FROM metadata LIMIT 10000"))
        query = (
            "SELECT zoom_level, tile_column, tile_row, length(tile_data) AS size_bytes "
            "FROM tiles LIMIT 5000000"
        )
        tiles = pd.read_sql_query(query, connection)
    finally:
        connection.close()
    source.note(
        f"{source.name!r}: the tiles' pictures stay in the file. sqlite3.connect(load_file(..., "
        'as_="path")) reads them: SELECT tile_data FROM tiles WHERE ...'
    )
    return {"metadata": metadata, "tiles": tiles}


_TILE_TYPES = ("unknown", "vector (mvt)", "png", "jpeg", "webp", "avif")


def load_pmtiles(source: Source) -> FileInfo:
    """Tell what the header of PMTiles says.

    Source: https://github.com/protomaps/PMTiles/blob/main/spec/v3/spec.md
    """
    head = source.head
    facts: dict[str, object] = {"version": head[7]}
    if head.startswith(b"PMTiles\3"):
        addressed, entries, contents = struct.unpack_from("<3Q", head, 72)
        kind, low, high = head[99], head[100], head[101]
        west, south, east, north = struct.unpack_from("<4i", head, 102)
        facts |= {
            "tiles": addressed or entries or contents,
            "tile type": _TILE_TYPES[kind] if kind < len(_TILE_TYPES) else kind,
            "zoom": f"{low} to {high}",
            "bounds": tuple(n / 1e7 for n in (west, south, east, north)),
        }
    return source_info(source, facts, "The package pmtiles reads its tiles.")
