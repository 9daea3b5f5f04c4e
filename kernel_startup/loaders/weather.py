"""GRIB messages put together to variables."""

import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from kernel_startup.errors import FileLoadError

#: What the values of all messages may take; more is read lazily, by cfgrib.
MAX_BYTES = 1 << 30
_MAX_MESSAGES = 200_000
_KEYS = ("number", "time", "step", "level")
_ATTRIBUTES = (
    "name",
    "units",
    "paramId",
    "shortName",
    "typeOfLevel",
    "stepType",
    "stepRange",
    "dataDate",
    "dataTime",
    "gridType",
    "centre",
    "edition",
    "indicatorOfParameter",
    "table2Version",
    "discipline",
    "parameterCategory",
    "parameterNumber",
)


class TooLarge(Exception):
    """More than fits in memory: it is to be read lazily."""


def read_grib(path: str, label: str, wanted: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """Read all messages, or those whose keys are as wanted: a Dataset for each grid, and notes.

    Messages of one parameter on one kind of level are one variable, with dimensions for what
    differs between them (number, time, step, and the level by its kind's name). Parameters that
    eccodes' tables don't name are told apart by their numbers.
    """
    grids: dict[Any, dict[str, list[dict[str, Any]]]] = {}
    notes: list[str] = []
    total = count = 0
    for message in _messages(path, notes, label):
        if any(str(message["get"](key)) != str(value) for key, value in wanted.items()):
            continue
        count += 1
        total += int(message["get"]("numberOfPoints") or message["get"]("numberOfValues") or 0) * 8
        if total > MAX_BYTES or count > _MAX_MESSAGES:
            raise TooLarge
        described = _described(message)
        group = (described["variable"], described["kind"], described["attrs"].get("stepType"))
        grids.setdefault(described["grid"], {}).setdefault(str(group), []).append(described)
    if not count:
        raise FileLoadError(label, "GRIB without a message that can be read", tried=" ".join(notes))
    return [_dataset(list(groups.values())) for groups in grids.values()], notes


def _messages(path: str, notes: list[str], label: str) -> Iterator[dict[str, Any]]:
    import eccodes

    count = 0
    with open(path, "rb") as file:
        while True:
            try:
                handle = eccodes.codes_grib_new_from_file(file)
            except eccodes.CodesInternalError as error:
                notes.append(f"{label!r}: {error} after {count} messages.")
                return
            if handle is None:
                return
            count += 1

            def get(key: str, handle: Any = handle) -> Any:
                try:
                    return eccodes.codes_get(handle, key)
                except eccodes.CodesInternalError:
                    return None

            try:
                yield {"get": get, "handle": handle}
            except eccodes.CodesInternalError as error:
                notes.append(f"{label!r}: message {count} can't be read ({error}).")
            finally:
                eccodes.codes_release(handle)


def _described(message: dict[str, Any]) -> dict[str, Any]:
    """What a message tells, and its values."""
    import eccodes
    import numpy as np

    get, handle = message["get"], message["handle"]
    missing = 9.999e36
    with suppress(eccodes.CodesInternalError):
        eccodes.codes_set(handle, "missingValue", missing)
    values = np.asarray(eccodes.codes_get_values(handle), dtype=np.float32)
    values[values > missing / 2] = np.nan
    kind = str(get("typeOfLevel") or "level")
    return {
        "variable": _name(get),
        "kind": kind if kind != "unknown" else "level",
        "attrs": {f"{k}": v for k in _ATTRIBUTES if (v := get(k)) is not None},
        "number": get("perturbationNumber"),
        "time": _time(get),
        "step": get("endStep"),
        "level": get("level"),
        "grid": (get("md5GridSection") or get("md5Section3") or get("md5Section2"), len(values)),
        "values": values,
        "places": _places(handle, get, len(values)),
    }


def _name(get: Any) -> str:
    for key in ("cfVarName", "shortName"):
        name = get(key)
        if name and name not in ("unknown", "~"):
            return str(name)
    numbers = [get("indicatorOfParameter")]
    if numbers[0] is None:
        numbers = [get(k) for k in ("discipline", "parameterCategory", "parameterNumber")]
    return "_".join(["unknown", *(str(n) for n in numbers if n is not None)])


def _time(get: Any) -> Any:
    import numpy as np

    try:
        date, time = int(get("dataDate")), int(get("dataTime"))
        day = f"{date // 10000:04}-{date // 100 % 100:02}-{date % 100:02}"
        return np.datetime64(f"{day}T{time // 100:02}:{time % 100:02}", "ns")
    except (TypeError, ValueError):
        return None


_SEEN: dict[Any, Any] = {}


def _places(handle: Any, get: Any, count: int) -> tuple[tuple[str, ...], tuple[int, ...], Any]:
    """The grid's dimensions, its shape, and where its points are."""
    import eccodes
    import numpy as np

    key = (get("md5GridSection") or get("md5Section3") or get("md5Section2"), count)
    if key[0] is not None and key in _SEEN:
        return _SEEN[key]  # type: ignore[no-any-return]
    try:
        latitudes: Any = np.asarray(eccodes.codes_get_array(handle, "latitudes"))
        longitudes: Any = np.asarray(eccodes.codes_get_array(handle, "longitudes"))
        if len(latitudes) != count or len(longitudes) != count:
            raise ValueError
    except (eccodes.CodesInternalError, ValueError):
        latitudes = longitudes = None
    # Reduced grids say that the number in a row is missing: a large number, or none.
    wide, high = get("Ni") or get("Nx") or 0, get("Nj") or get("Ny") or 0
    is_grid = wide > 0 and high > 0 and wide * high == count
    shape: tuple[int, ...] = (high, wide) if is_grid else (count,)
    dimensions: tuple[str, ...] = ("y", "x") if is_grid else ("values",)
    coords: dict[str, Any] = {}
    if latitudes is not None:
        lat, lon = latitudes.reshape(shape), longitudes.reshape(shape)
        if is_grid and (lat == lat[:, :1]).all() and (lon == lon[:1]).all():
            dimensions = ("latitude", "longitude")
            coords = {"latitude": lat[:, 0], "longitude": lon[0]}
        else:
            coords = {"latitude": (dimensions, lat), "longitude": (dimensions, lon)}
    found = (dimensions, shape, coords)
    _SEEN[key] = found
    return found


def _dataset(groups: list[list[dict[str, Any]]]) -> Any:
    import xarray as xr

    dimensions, shape, coords = groups[0][0]["places"]
    dataset: Any = xr.Dataset(coords=coords)
    for group in groups:
        name, kind = group[0]["variable"], group[0]["kind"]
        for more in (kind, group[0]["attrs"].get("stepType")):
            if name in dataset.variables:
                name = f"{name}_{more}"
        array = _variable(group, kind, dimensions, shape)
        for dimension, labels in [*array.coords.items()]:
            number, fresh = 1, str(dimension)
            while fresh in dataset.variables and not dataset[fresh].variable.equals(
                labels.variable.rename({d: fresh for d in labels.dims})
            ):
                number += 1
                fresh = f"{dimension}_{number}"
            if fresh != dimension:
                array = array.rename({dimension: fresh})
        for dimension in array.dims:
            size = dataset.sizes.get(dimension)
            if size is not None and size != array.sizes[dimension]:
                array = array.rename({dimension: f"{dimension}_{name}"})
        dataset[name] = array
    every = [message for group in groups for message in group]
    times = {message["time"] for message in every}
    if len(times) == 1 and None not in times:
        dataset = dataset.assign_coords(time=times.pop())
    centres = {message["attrs"].get("centre") for message in every}
    if len(centres) == 1:
        dataset.attrs["centre"] = centres.pop()
    return dataset


def _variable(
    group: list[dict[str, Any]], kind: str, dimensions: tuple[str, ...], shape: tuple[int, ...]
) -> Any:
    """One variable of messages: with a dimension for each thing in which they differ."""
    import numpy as np
    import xarray as xr

    labels = {}
    for key in _KEYS:
        told = [message[key] for message in group]
        distinct = list(dict.fromkeys(told))
        if len(distinct) > 1 and None not in distinct:
            labels[key] = sorted(distinct)
    at = {key: {label: i for i, label in enumerate(told)} for key, told in labels.items()}
    places = [tuple(at[key][message[key]] for key in labels) for message in group]
    attrs = {k: v for k, v in group[0]["attrs"].items() if _is_common(group, k)}
    sizes = [len(told) for told in labels.values()]
    fills = math.prod(sizes) == len(group) == len(set(places))
    if not fills:  # they don't differ in what is known here, or there are gaps between them
        stacked = np.stack([message["values"].reshape(shape) for message in group])
        first = f"{kind}_message"
        return xr.DataArray(stacked, dims=(first, *dimensions), attrs=attrs)
    values = np.empty((*sizes, *shape), dtype=np.float32)
    for place, message in zip(places, group, strict=True):
        values[place] = message["values"].reshape(shape)
    names = [_dimension(key, kind) for key in labels]
    coords = {name: list(told) for name, told in zip(names, labels.values(), strict=True)}
    return xr.DataArray(values, dims=(*names, *dimensions), coords=coords, attrs=attrs)


def _dimension(key: str, kind: str) -> str:
    return kind if key == "level" else key


def _is_common(group: list[dict[str, Any]], key: str) -> bool:
    return all(message["attrs"].get(key) == group[0]["attrs"][key] for message in group)
