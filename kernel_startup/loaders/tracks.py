"""Tracks: points of a way, with times."""

import re
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders import parts
from kernel_startup.loaders.text import decode
from kernel_startup.source import Source


def load_gpx(source: Source, *, points: str | None = None) -> Any:
    """Read the points of a GPX file with gpxpy.

    Args:
        source: The file.
        points: "track", "route" or "waypoint"; None for the first of these that there is.
    """
    import gpxpy
    import pandas as pd

    kinds = ("track", "route", "waypoint")
    if points is not None and points not in kinds:
        raise ValueError(f"points={points!r}: points is one of {', '.join(map(repr, kinds))}")
    text = decode(source)
    if "<!ENTITY" in text[:100_000]:
        raise FileLoadError(source.name, "XML with entities of its own, which aren't read")
    gpx = gpxpy.parse(text)
    found: dict[str, list[dict[str, Any]]] = {
        "track": [
            {"track": track.name, "segment": number, **_gpx_point(point)}
            for track in gpx.tracks
            for number, segment in enumerate(track.segments)
            for point in segment.points
        ],
        "route": [
            {"route": route.name, **_gpx_point(point)}
            for route in gpx.routes
            for point in route.points
        ],
        "waypoint": [_gpx_point(point) for point in gpx.waypoints],
    }
    chosen = points or next((kind for kind in kinds if found[kind]), "track")
    others = [f"{len(found[k]):,} {k} points" for k in kinds if k != chosen and found[k]]
    if others and points is None:
        source.note(
            f"{source.name!r}: these are the {chosen} points; there are {' and '.join(others)} too "
            '(points="track", "route" or "waypoint").'
        )
    columns = ["latitude", "longitude", "elevation", "time"]
    table = pd.DataFrame(found[chosen], columns=None if found[chosen] else columns)
    needed = ("latitude", "longitude", "elevation", "time")
    return table[[c for c in table if c in needed or table[c].notna().any()]]


def _gpx_point(point: Any) -> dict[str, Any]:
    values = {
        "latitude": point.latitude,
        "longitude": point.longitude,
        "elevation": point.elevation,
        "time": point.time,
        "name": point.name,
        "symbol": point.symbol,
        "speed": getattr(point, "speed", None),
        "comment": point.comment,
        "description": point.description,
    }
    for extension in point.extensions:
        for element in extension.iter():
            name = parts.local_name(element)
            if element.text and element.text.strip() and name not in values:
                values[name] = _number(element.text.strip())
    return values


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


_TCX_NAMES = {
    "LatitudeDegrees": "latitude",
    "LongitudeDegrees": "longitude",
    "AltitudeMeters": "elevation",
    "DistanceMeters": "distance",
    "HeartRateBpm": "heart_rate",
    "Cadence": "cadence",
    "RunCadence": "cadence",
    "Speed": "speed",
    "Watts": "power",
}


def load_tcx(source: Source) -> Any:
    """Read the points of Garmin's training: where, when, and the heart."""
    import pandas as pd

    root = parts.parse_xml(source)
    rows = []
    laps = [e for e in root.iter() if parts.local_name(e) in ("Lap", "Course")]
    for number, lap in enumerate(laps):
        for point in lap.iter("{*}Trackpoint"):
            row: dict[str, Any] = {"lap": number}
            for element in point.iter():
                name, text = parts.local_name(element), (element.text or "").strip()
                if name == "Time":
                    row["time"] = text
                elif name == "Value":
                    row["heart_rate"] = _number(text)
                elif name in _TCX_NAMES and text:
                    row[_TCX_NAMES[name]] = _number(text)
            rows.append(row)
    if not rows:
        raise FileLoadError(source.name, "a training without a point")
    table = pd.DataFrame(rows)
    if "time" in table:
        table["time"] = pd.to_datetime(table["time"], format="ISO8601", utc=True)
    return table


def load_fit(source: Source, *, message: str = "record") -> Any:
    """Read the messages of one kind in Garmin's activity to a table.

    Args:
        source: The file.
        message: The kind: "record" (a row for each moment), "lap", "session", "event", ...
    """
    import fitdecode
    import pandas as pd

    rows: dict[str, list[dict[str, Any]]] = {}
    with source.open() as file, fitdecode.FitReader(file) as reader:
        for frame in reader:
            if frame.frame_type == fitdecode.FIT_FRAME_DATA:
                kept = {f.name: f.value for f in frame.fields if not f.name.startswith("unknown")}
                rows.setdefault(frame.name, []).append(kept)
    if message not in rows:
        if message != "record":
            raise ValueError(f"there are no {message!r} messages; there are {sorted(rows)}")
        message = max(rows, key=lambda name: len(rows[name]), default="")
        if not message:
            raise FileLoadError(source.name, "a Garmin file without a message")
    others = ", ".join(f"{len(rows[n])} {n}" for n in rows if n != message and "unknown" not in n)
    if others:
        source.note(f"{source.name!r}: there are other messages too (message=...): {others}.")
    table = pd.DataFrame(rows[message])
    for name in ("position_lat", "position_long"):
        if name in table:
            # Half circles of 32 bits.
            table[name] = pd.to_numeric(table[name], errors="coerce") * (180 / 2**31)
    return table


# -- NMEA -----------------------------------------------------------------------------------------


def load_nmea(source: Source) -> Any:
    """Read the positions of NMEA sentences (GGA, RMC, GLL), one row for each moment."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    broken = 0
    date = None
    for line in decode(source).splitlines():
        found = re.search(r"\$([A-Z]{2})(GGA|RMC|GLL),([^*\n]*+)(?:\*([0-9A-Fa-f]{2}))?", line)
        if found is None:
            continue
        if found[4] and _nmea_sum(found[0][1:].partition("*")[0]) != int(found[4], 16):
            broken += 1
            continue
        row = _nmea_row(found[2], found[3].split(","))
        date = row.get("date") or date
        if rows and row["utc"] and rows[-1]["utc"] == row["utc"]:
            rows[-1] |= {name: value for name, value in row.items() if value is not None}
        else:
            rows.append(row)
        rows[-1]["date"] = rows[-1].get("date") or date
    if broken:
        source.note(f"{source.name!r}: {broken} sentences with a wrong checksum were left out.")
    if not rows:
        raise FileLoadError(source.name, "NMEA sentences without a position")
    table = pd.DataFrame(rows)
    moment = table["date"].fillna("").astype(str) + table["utc"].fillna("").astype(str).str[:6]
    time = pd.to_datetime(moment, format="%d%m%y%H%M%S", errors="coerce", utc=True)
    table.insert(0, "time", time)
    return table.drop(columns=["date"])


def _nmea_sum(text: str) -> int:
    total = 0
    for character in text:
        total ^= ord(character)
    return total & 0xFF


def _nmea_row(kind: str, fields: list[str]) -> dict[str, Any]:
    fields += [""] * 14
    if kind == "GGA":
        return {
            "utc": fields[0],
            **_nmea_place(fields[1:5]),
            "quality": _nmea_number(fields[5]),
            "satellites": _nmea_number(fields[6]),
            "hdop": _nmea_number(fields[7]),
            "elevation": _nmea_number(fields[8]),
        }
    if kind == "RMC":
        return {
            "utc": fields[0],
            **_nmea_place(fields[2:6]),
            "speed_knots": _nmea_number(fields[6]),
            "course": _nmea_number(fields[7]),
            "date": fields[8] or None,
        }
    return {"utc": fields[4], **_nmea_place(fields[0:4])}


def _nmea_place(fields: list[str]) -> dict[str, float | None]:
    place: dict[str, float | None] = {}
    for name, value, side in (("latitude", *fields[:2]), ("longitude", *fields[2:4])):
        number = _nmea_number(value)
        if number is not None:
            degrees, minutes = divmod(number, 100)
            number = (degrees + minutes / 60) * (-1 if side in ("S", "W") else 1)
        place[name] = number
    return place


def _nmea_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


# -- others ---------------------------------------------------------------------------------------

_IGC_FIX = re.compile(
    r"^B(\d{2})(\d{2})(\d{2})(\d{2})(\d{5})([NS])(\d{3})(\d{5})([EW])([AV])([-\d]\d{4})([-\d]\d{4})",
    re.MULTILINE,
)


def load_igc(source: Source) -> Any:
    """Read the fixes of a glider's flight. Source: FAI, IGC flight recorder specification, A4.1."""
    import pandas as pd

    text = decode(source)
    day = re.search(r"^HFDTE(?:DATE:)?(\d{2})(\d{2})(\d{2})", text, re.MULTILINE)
    start = pd.Timestamp("1970-01-01", tz="UTC")
    if day:
        start = pd.to_datetime("".join(day.groups()), format="%d%m%y", utc=True)
    else:
        source.note(f"{source.name!r}: it doesn't say the day; the times are as of 1970-01-01.")
    rows, last, days = [], -1, 0
    for fix in _IGC_FIX.finditer(text):
        seconds = int(fix[1]) * 3600 + int(fix[2]) * 60 + int(fix[3])
        days += seconds < last - 43_200  # past midnight
        last = seconds
        latitude = int(fix[4]) + int(fix[5]) / 60_000
        longitude = int(fix[7]) + int(fix[8]) / 60_000
        rows.append(
            (
                start + pd.Timedelta(seconds=seconds + 86_400 * days),
                -latitude if fix[6] == "S" else latitude,
                -longitude if fix[9] == "W" else longitude,
                fix[10] == "A",
                int(fix[11]),
                int(fix[12]),
            )
        )
    if not rows:
        raise FileLoadError(source.name, "a flight without a fix")
    columns = ["time", "latitude", "longitude", "is_3d", "pressure_altitude", "gps_altitude"]
    return pd.DataFrame(rows, columns=columns)


def load_plt(source: Source) -> Any:
    """Read the points of an OziExplorer or GeoLife track; days are counted from 1899-12-30."""
    import pandas as pd

    rows: list[tuple[Any, ...]] = []
    for line in decode(source).splitlines()[6:]:
        fields = [field.strip() for field in line.split(",")]
        if len(fields) >= 5:
            feet = _nmea_number(fields[3])
            elevation = None if feet in (None, -777.0) else feet
            rows.append(
                (float(fields[0]), float(fields[1]), fields[2] == "1", elevation, float(fields[4]))
            )
    if not rows:
        raise FileLoadError(source.name, "a track without a point")
    columns = ["latitude", "longitude", "begins_segment", "elevation_feet", "days"]
    table = pd.DataFrame(rows, columns=columns)
    start = pd.Timestamp("1899-12-30", tz="UTC")
    seconds = pd.to_timedelta((table.pop("days") * 86_400).round(), unit="s")
    table.insert(0, "time", start + seconds)
    return table
