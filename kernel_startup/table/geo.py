"""Types of geospatial data."""

from typing import Any

from kernel_startup.filetype import FileType, at, starts

_FEATURES = (
    "geopandas.GeoDataFrame; with several layers a dict of layer name -> geopandas.GeoDataFrame"
)
_FRAMES = ("geopandas", "pyogrio")
_RASTERS = ("rioxarray", "rasterio")


def _type(name: str, title: str, extensions: str, mime_type: str, **more: Any) -> FileType:
    return FileType(
        name=name,
        family="geospatial",
        title=title,
        extensions=tuple(extensions.split()),
        mime_type=mime_type or f"application/x.{name}",
        **more,
    )


def _vector(name: str, title: str, extensions: str, mime_type: str = "", **more: Any) -> FileType:
    """A type of features that GDAL reads."""
    given = {"object": _FEATURES, "loader": "geo:load_features", "requires": _FRAMES, **more}
    return _type(name, title, extensions, mime_type, **given)


def _raster(name: str, title: str, extensions: str, mime_type: str = "", **more: Any) -> FileType:
    """A type of grid that GDAL reads."""
    given = {
        "object": "xarray.DataArray (band, y, x)",
        "loader": "rasters:load_raster",
        "requires": _RASTERS,
        **more,
    }
    return _type(name, title, extensions, mime_type, **given)


def _grid(name: str, title: str, extensions: str, loader: str, **more: Any) -> FileType:
    """A type of grid that is read here."""
    given = {"object": "xarray.DataArray (y, x)", "loader": f"rasters:{loader}", **more}
    return _type(name, title, extensions, "", **given)


def _track(
    name: str, title: str, extensions: str, loader: str, mime_type: str = "", **more: Any
) -> FileType:
    given = {"object": "pandas.DataFrame of points", "loader": f"tracks:{loader}", **more}
    return _type(name, title, extensions, mime_type, **given)


def _text(name: str, title: str, extensions: str, *patterns: str, **more: Any) -> FileType:
    given = {"object": "str", "loader": "text:load_text", "is_text": True, "patterns": patterns}
    return _type(name, title, extensions, more.pop("mime_type", "text/plain"), **{**given, **more})


def _xml(name: str, title: str, extensions: str, *roots: str) -> FileType:
    return _text(name, title, extensions, container="xml", roots=roots, mime_type="application/xml")


def _info(name: str, title: str, extensions: str, **more: Any) -> FileType:
    given = {"object": "FileInfo", "loader": "described:load_info", **more}
    return _type(name, title, extensions, "", **given)


_GEOMETRIES = "Point|MultiPoint|LineString|MultiLineString|Polygon|MultiPolygon|GeometryCollection"
_SQLITE = b"SQLite format 3\0"

_VECTORS = (
    _vector(
        "geojsonl",
        "GeoJSON lines",
        "geojsonl geojsons geojsonseq ndgeojson",
        "application/geo+json-seq",
        container="json",
        patterns=(
            r'\x1e?\{[^\n]{0,200}?"type"\s*+:\s*+"Feature"(?!Coll)[^\n]*+\n\x1e?[^\n\S]*+\{'
            r'[^\n]{0,200}?"type"\s*+:\s*+"Feature"(?!Coll)',
        ),
        is_text=True,
    ),
    _vector(
        "topojson",
        "TopoJSON",
        "topojson",
        "application/json",
        container="json",
        patterns=(r'\{(?:(?!"type")[^{}\[\]]){0,500}"type"\s*+:\s*+"Topology"',),
        is_text=True,
    ),
    _text(
        "cityjson",
        "CityJSON model",
        "city.json cityjson",
        r'\{(?:(?!"type")[^{}\[\]]){0,500}"type"\s*+:\s*+"CityJSON',
        container="json",
        object="dict",
        loader="geo:load_plain_json",
        mime_type="application/city+json",
    ),
    _vector(
        "geojson",
        "GeoJSON",
        "geojson",
        "application/geo+json",
        container="json",
        patterns=(
            r'\{[\s\S]{0,4000}?"type"\s*+:\s*+"Feature(?:Collection)?"',
            rf'\{{(?:(?!"type")[^{{}}]){{0,500}}"type"\s*+:\s*+"(?:{_GEOMETRIES})"\s*+,'
            r'\s*+"(?:coordinates|geometries|bbox|crs)"',
            rf'\{{\s*+"coordinates"\s*+:[\s\S]*?"type"\s*+:\s*+"(?:{_GEOMETRIES})"\s*+\}}\s*+\Z',
        ),
        is_text=True,
    ),
    _vector(
        "esrijson",
        "Esri JSON features",
        "esrijson",
        "application/json",
        container="json",
        patterns=(r'\{[\s\S]{0,4000}?"geometryType"\s*+:\s*+"esriGeometry',),
        is_text=True,
    ),
    _text(
        "czml",
        "CZML scene",
        "czml",
        r'\[\s*+\{[^{}]{0,500}?"id"\s*+:\s*+"document"',
        container="json",
        object="list",
        loader="geo:load_plain_json",
        mime_type="application/json",
    ),
    _vector(
        "shp",
        "Esri shapefile",
        "shp",
        "application/vnd.shp",
        signatures=(((0, b"\0\0\x27\x0a"), (28, b"\xe8\3\0\0")),),
    ),
    _info(
        "shx",
        "Index of an Esri shapefile",
        "shx",
        signatures=(((0, b"\0\0\x27\x0a"), (28, b"\xe8\3\0\0")),),
        loader="geo:load_part",
    ),
    _vector(
        "shapezip",
        "Esri shapefile, zipped",
        "shp.zip shz",
        container="zip",
        members=("*.[sS][hH][pP]", "*.[dD][bB][fF]"),
    ),
    _vector(
        "gdbzip",
        "Esri file geodatabase, zipped",
        "gdb.zip",
        container="zip",
        members=("*.gdbtable",),
    ),
    _vector(
        "gpkg",
        "GeoPackage",
        "gpkg gpkx",
        "application/geopackage+sqlite3",
        signatures=tuple(((0, _SQLITE), (68, m)) for m in (b"GPKG", b"GP10", b"GP11", b"\0\0\0\0")),
        contains=(b"gpkg_contents", b"gpkg_spatial_ref_sys"),
    ),
    _type(
        "mbtiles",
        "Map tiles in SQLite",
        "mbtiles",
        "application/vnd.mapbox-vector-tile",
        object="dict of metadata and a pandas.DataFrame of the tiles",
        loader="geo:load_mbtiles",
        signatures=starts(_SQLITE),
        contains=(b"zoom_level", b"tile_data"),
    ),
    _vector(
        "spatialite",
        "SpatiaLite database",
        "spatialite sqlite db",
        signatures=starts(_SQLITE),
        contains=(b"geometry_columns", b"spatial_ref_sys"),
    ),
    _vector(
        "gml",
        "Geography Markup Language",
        "gml xplan",
        "application/gml+xml",
        container="xml",
        roots=(
            "{http://www.opengis.net/gml}FeatureCollection",
            "{http://www.opengis.net/gml/3.2}FeatureCollection",
            "{http://www.opengis.net/wfs}FeatureCollection",
            "{http://www.opengis.net/wfs/2.0}FeatureCollection",
            "{http://ogr.maptools.org/}FeatureCollection",
            "FeatureCollection",
            "XPlanAuszug",
        ),
        is_text=True,
    ),
    _xml("citygml", "CityGML model", "citygml", "CityModel"),
    _vector(
        "kml",
        "Keyhole Markup Language",
        "kml",
        "application/vnd.google-earth.kml+xml",
        container="xml",
        roots=("kml",),
        is_text=True,
    ),
    _vector(
        "kmz",
        "Keyhole Markup Language, zipped",
        "kmz",
        "application/vnd.google-earth.kmz",
        container="zip",
        members=("*.kml",),
    ),
    _vector("fgb", "FlatGeobuf", "fgb", signatures=starts(b"fgb\3fgb")),
    _vector(
        "osmpbf",
        "OpenStreetMap extract",
        "osm.pbf pbf",
        "application/vnd.openstreetmap.data+pbf",
        signatures=at(4, b"\x0a\x09OSMHeader"),
    ),
    _vector(
        "osm",
        "OpenStreetMap XML",
        "osm",
        "application/vnd.openstreetmap.data+xml",
        container="xml",
        roots=("osm",),
        is_text=True,
    ),
    _xml("osmchange", "OpenStreetMap changes", "osc osmchange", "osmChange"),
    _info(
        "o5m",
        "OpenStreetMap o5m",
        "o5m o5c",
        signatures=starts(b"\xff\xe0\x04o5m2", b"\xff\xe0\x04o5c2"),
    ),
    _vector(
        "mapinfotab",
        "MapInfo table",
        "tab",
        patterns=(r"(?i:!table[ \t\r]*+\n\s*+!version)",),
        is_text=True,
    ),
    _vector(
        "mapinfomif",
        "MapInfo interchange",
        "mif",
        patterns=(
            r"(?i:version\s++\d++[ \t\r]*+\n\s*+"
            r"(?:charset|delimiter|coordsys|columns|unique|index))",
        ),
        is_text=True,
    ),
    _text("mid", "MapInfo interchange, attributes", "mid"),
    _info(
        "framemaker",
        "FrameMaker document",
        "fm book mif",
        signatures=starts(b"<MakerFile", b"<MIFFile", b"<MakerDictionary", b"<Book"),
    ),
    _vector("e00", "ArcInfo export", "e00", patterns=(r"EXP  [01] ",), is_text=True),
    _vector(
        "s57",
        "S-57 electronic chart",
        "000",
        signatures=(*at(5, b"3LE1 0900"), *at(5, b"3LE1 0600")),
    ),
    _info("sdts", "ISO 8211 file", "ddf", signatures=at(5, b"2L   06", b"3L   06")),
    _vector("gmt", "GMT vectors", "gmt ogr", patterns=(r"# ?@VGMT1\.\d",), is_text=True),
    _vector(
        "jml", "OpenJUMP features", "jml", container="xml", roots=("JCSDataFile",), is_text=True
    ),
    _vector("edigeo", "EDIGEO exchange", "thf", patterns=(r"BOMT ?12:",), is_text=True),
    _vector("vfk", "Czech cadastral exchange", "vfk", patterns=(r"&HVERZE",), is_text=True),
    _vector("wasp", "WAsP map", "wasp.map"),
    _vector(
        "selafin",
        "TELEMAC mesh",
        "slf selafin",
        signatures=(((0, b"\0\0\0\x50"), (84, b"\0\0\0\x50"), (88, b"\0\0\0\x08")),),
    ),
    _type(
        "wkt",
        "Well-known text geometries",
        "wkt ewkt",
        "text/plain",
        object="geopandas.GeoSeries",
        loader="geo:load_wkt",
        patterns=(
            r"(?:SRID=\d++;)?(?:(?i:(?:MULTI)?(?:POINT|LINESTRING|POLYGON|CURVE|SURFACE)"
            r"|GEOMETRYCOLLECTION))[ \t]*+(?:Z|M|ZM)?[ \t]*+(?:\(\s*+[-(\d.]|EMPTY\b)",
        ),
        is_text=True,
        requires=("geopandas",),
    ),
    _type(
        "wkb",
        "Well-known binary geometry",
        "wkb ewkb",
        "application/octet-stream",
        object="shapely.geometry.base.BaseGeometry",
        loader="geo:load_wkb",
        requires=("shapely",),
    ),
    _type(
        "gtfs",
        "Public transport timetable",
        "gtfs gtfs.zip",
        "application/x-gtfs",
        object="dict of table name -> pandas.DataFrame",
        loader="geo:load_gtfs",
        container="zip",
        members=("*stops.txt", "*routes.txt", "*trips.txt"),
    ),
)

_TRACKS = (
    _track(
        "gpx",
        "GPS exchange",
        "gpx",
        "load_gpx",
        "application/gpx+xml",
        container="xml",
        roots=("gpx",),
        is_text=True,
    ),
    _track(
        "tcx",
        "Garmin training",
        "tcx",
        "load_tcx",
        "application/vnd.garmin.tcx+xml",
        container="xml",
        roots=("TrainingCenterDatabase",),
        is_text=True,
    ),
    _track(
        "garminfit",
        "Garmin activity",
        "fit",
        "load_fit",
        "application/vnd.ant.fit",
        object="pandas.DataFrame of records",
        signatures=at(8, b".FIT"),
        requires=("fitdecode",),
    ),
    _track(
        "nmea",
        "NMEA 0183 sentences",
        "nmea nme",
        "load_nmea",
        patterns=(
            r"(?:[^\n$!]{0,60}\n){0,5}?[$!](?:G[PNLABQ]|BD|II|P[A-Z]|AI|WI|SD|HC|HE|EC)[A-Z]{3}\w{0,2},",
        ),
        is_text=True,
    ),
    _track(
        "igc",
        "Glider flight",
        "igc",
        "load_igc",
        patterns=(
            r"A[A-Z0-9]{3}[^\n]*+\n[\s\S]{0,4000}?^(?:H[FOP][A-Z]{3}|B\d{13}[NS]\d{8}[EW][AV])",
        ),
        is_text=True,
    ),
    _track(
        "ozitrack",
        "OziExplorer or GeoLife track",
        "plt",
        "load_plt",
        patterns=(r"OziExplorer Track Point File", r"Geolife trajectory"),
        is_text=True,
    ),
    _text("oziwaypoints", "OziExplorer waypoints", "wpt", r"OziExplorer Waypoint File"),
    _text("ozimap", "OziExplorer map", "map", r"OziExplorer Map Data File"),
    _xml("geocache", "Geocaching point", "loc", "loc"),
    _text(
        "osmpoly",
        "Osmosis polygon",
        "poly",
        r"[^\n]{1,80}\n[^\n]{1,40}\n\s++[-+\d.Ee]++\s++[-+\d.Ee]++[ \t\r]*+\n[\s\S]*^END",
    ),
    _info("mapsource", "MapSource database", "gdb", signatures=starts(b"MsRcd\0", b"MsRcf\0")),
    _info("garminimg", "Garmin map", "img", signatures=at(16, b"DSKIMG\0")),
)

_HDR_WORDS = "nrows|ncols|byteorder|layout|nbits|nbands|xllcorner|ulxmap|bandrowbytes"

_GRIDS = (
    _raster(
        "geotiff",
        "GeoTIFF",
        "geotiff gtiff gtif tif tiff",
        "image/tiff; application=geotiff",
        signatures=starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        check="spatial:is_geotiff",
    ),
    _raster("hfa", "ERDAS Imagine", "img hfa", signatures=starts(b"EHFA_HEADER_TAG")),
    _raster(
        "usgsdem",
        "USGS elevation model",
        "dem",
        patterns=(r"[^\n]{135,155}\s{1,6}[1-4]\s{5}[12]\s{5}",),
        is_text=True,
    ),
    _raster("nitf", "NITF imagery", "ntf nitf nsf", signatures=starts(b"NITF0", b"NSIF0")),
    _raster("ntv2", "NTv2 datum shift", "gsb", signatures=starts(b"NUM_OREC", b"NUM_OREC\0")),
    _raster("pcidsk", "PCI Geomatics database", "pix", signatures=starts(b"PCIDSK  ")),
    _raster("pcraster", "PCRaster map", "map", signatures=starts(b"RUU CROSS SYSTEM MAP FORMAT")),
    _raster("ilwis", "ILWIS grid", "mpr"),
    _raster("saga", "SAGA grid", "sdat sgrd", loader="rasters:load_flat", requires=()),
    _raster("vicar", "VICAR image", "vic", signatures=starts(b"LBLSIZE=")),
    _raster("pds3", "Planetary Data System image", "pds", signatures=starts(b"PDS_VERSION_ID")),
    _raster(
        "bag",
        "Bathymetric grid",
        "bag",
        signatures=starts(b"\x89HDF\r\n\x1a\n"),
        contains=(b"BAG_root",),
    ),
    _raster(
        "gxf",
        "Grid exchange file",
        "gxf",
        patterns=(r"(?:[^\n#]{0,200}\n){0,20}?#(?:POINTS|TITLE|ROWS|GRID)\b",),
        is_text=True,
    ),
    _grid(
        "esriascii",
        "Esri ASCII grid",
        "asc agr aai grd",
        "load_esri_ascii",
        patterns=(r"(?i:ncols\s++\d++\s++nrows\s++\d++)",),
        is_text=True,
    ),
    _grid(
        "surferascii",
        "Surfer grid, text",
        "grd",
        "load_surfer",
        patterns=(r"DSAA\s",),
        is_text=True,
    ),
    _grid("surfer6", "Surfer 6 grid", "grd", "load_surfer", signatures=starts(b"DSBB")),
    _grid(
        "surfer7",
        "Surfer 7 grid",
        "grd",
        "load_surfer",
        signatures=starts(b"DSRB\4\0\0\0", b"DSRB"),
    ),
    _grid(
        "dted",
        "Digital terrain elevation",
        "dt0 dt1 dt2 dted",
        "load_dted",
        signatures=starts(b"UHL1", b"HDR1DTED", b"VOL1"),
    ),
    _grid("hgt", "SRTM heights", "hgt", "load_hgt", check="spatial:is_hgt"),
    _grid(
        "envi",
        "ENVI header",
        "hdr",
        "load_flat",
        object="xarray.DataArray (band, y, x); FileInfo if the grid is missing",
        patterns=(r"ENVI[ \t\r]*+\n",),
        is_text=True,
    ),
    _grid(
        "esrihdr",
        "Esri raster header",
        "hdr",
        "load_flat",
        object="xarray.DataArray (band, y, x); FileInfo if the grid is missing",
        patterns=(rf"(?i:(?:{_HDR_WORDS})[ \t]++\w++[ \t]*+\r?\n\s*+(?:{_HDR_WORDS})\s)",),
        is_text=True,
    ),
    _grid(
        "flatraster",
        "Raw raster with a header beside it",
        "bil bip bsq flt",
        "load_flat",
        object="xarray.DataArray (band, y, x)",
    ),
    _info(
        "pmtiles",
        "Map tiles in one file",
        "pmtiles",
        signatures=starts(b"PMTiles\3", b"PM\1\0", b"PM\2\0"),
        loader="geo:load_pmtiles",
    ),
    _info("ecw", "ECW imagery", "ecw", signatures=starts(b"\x65\x02\x03", b"\x65\x03\x00")),
    _info("mrsid", "MrSID imagery", "sid", signatures=starts(b"msid")),
    _info("binterr", "Binary terrain", "bt", signatures=starts(b"binterr1")),
    _info("mapboxtile", "Mapbox vector tile", "mvt"),
)

_OTHERS = (
    _xml("vrt", "GDAL virtual data set", "vrt ovf", "VRTDataset", "OGRVRTDataSource"),
    _text(
        "prj",
        "Coordinate reference system",
        "prj wkt2",
        r"(?:PROJCS|GEOGCS|GEOCCS|VERT_CS|LOCAL_CS|COMPD_CS|PROJCRS|GEODCRS|GEOGCRS|BOUNDCRS)\s*+\[",
    ),
    _text("cpg", "Code page of a shapefile", "cpg cst"),
    _text("worldfile", "World file", "tfw jgw pgw wld tifw jpgw pngw bpw gfw j2w"),
    _xml("qgs", "QGIS project", "qgs qml qlr", "qgis", "qlr"),
    _info(
        "qgz",
        "QGIS project, zipped",
        "qgz",
        container="zip",
        members=("*.qgs",),
        loader="cad:load_zip_info",
    ),
    _xml("sld", "Styled layer descriptor", "sld se", "StyledLayerDescriptor"),
    _xml("mapnik", "Mapnik style", "mapnik", "Map"),
    _xml("opendrive", "OpenDRIVE roads", "xodr", "OpenDRIVE"),
    _xml("openscenario", "OpenSCENARIO", "xosc", "OpenSCENARIO", "OpenScenario"),
    _xml("sumonet", "SUMO road network", "net.xml", "net"),
    _xml("auxxml", "GDAL statistics", "aux.xml", "PAMDataset"),
    _xml("wms", "Web map service", "wms", "GDAL_WMS", "WMS_Capabilities", "WMT_MS_Capabilities"),
    _xml("landxml", "LandXML", "landxml", "LandXML"),
    _info("mxd", "ArcMap document", "mxd", container="ole", streams=("Mx Document",)),
    _info("lyr", "ArcMap layer", "lyr", container="ole", streams=("Layer",)),
    _info(
        "aprx",
        "ArcGIS Pro project",
        "aprx ppkx mapx lyrx",
        container="zip",
        members=("GISProject.*",),
    ),
    _text(
        "arcgisjson",
        "ArcGIS Pro layer",
        "lyrx mapx",
        container="json",
        mime_type="application/json",
    ),
    _info(
        "shapeindex",
        "Spatial index of a shapefile",
        "sbn sbx qix fbn ain aih atx",
        loader="geo:load_part",
    ),
    _info("mapinfodat", "Part of a MapInfo table", "ind", loader="geo:load_part"),
)

TYPES: tuple[FileType, ...] = (*_VECTORS, *_TRACKS, *_GRIDS, *_OTHERS)
