"""Matrices and grids: HDF5, netCDF, GRIB, BUFR, FITS, ROOT, HDF 4, NASA's CDF, Zarr."""

from contextlib import suppress
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders import passes_on
from kernel_startup.loaders.guarded import read_in_child
from kernel_startup.source import Source

_MAX_BYTES = 4 << 30
#: How long reading NASA's CDF may take: so long, and a second for so much of it.
_CDF_S = 15
_CDF_BYTES_PER_S = 2 << 20


def load_hdf5(source: Source) -> Any:
    """Open an HDF5 file; its datasets are read when they are asked for."""
    import h5py

    return h5py.File(source.as_path(), "r")


def load_pandas_hdf(source: Source, *, key: str | None = None) -> Any:
    """Read the tables that pandas stored: the only one, that of key=, or all by key."""
    import pandas as pd

    with pd.HDFStore(str(source.as_path(".h5")), mode="r") as store:
        keys = store.keys()
        if key is not None or len(keys) == 1:
            return store.get(key or keys[0])
        return {name.lstrip("/"): store.get(name) for name in keys}


@passes_on("xarray:open_dataset")
def load_netcdf(source: Source, *, group: str | None = None, **reader: Any) -> Any:
    """Open netCDF 3 or 4; variables are read when they are used. Groups make a DataTree."""
    import xarray as xr

    head = source.head
    engine = "h5netcdf" if not head.startswith(b"CDF") else "scipy"
    if head.startswith(b"CDF\x05"):
        engine = "netcdf4"
    if group is not None:
        reader["group"] = group
    path = source.as_path(".nc")
    if engine == "h5netcdf":
        import h5py

        # A damaged file: h5netcdf would complain of itself once more when it is collected.
        h5py.File(path, "r").close()
    dataset = _open_dataset(source, path, {"engine": engine, **reader})
    if engine == "h5netcdf" and group is None and not dataset.variables:
        with h5py.File(path, "r") as file:
            has_groups = any(isinstance(file.get(name), h5py.Group) for name in file)
        if has_groups:
            dataset.close()
            source.note(f"{source.name!r} keeps its variables in groups: it is a DataTree.")
            return xr.open_datatree(path, engine=engine, decode_times=False)
    return dataset


def _open_dataset(source: Source, path: Any, options: dict[str, Any]) -> Any:
    import xarray as xr

    try:
        return xr.open_dataset(path, **options)
    except (ValueError, ImportError, OverflowError) as error:
        said = str(error)
        if "phony" in said or "unlabeled dimensions" in said.lower():
            return xr.open_dataset(path, **{**options, "phony_dims": "sort"})
        if ("decode" not in said and "time" not in said) or "decode_times" in options:
            raise
        source.note(f"{source.name!r}: its times stay numbers, as their calendar isn't known.")
        return xr.open_dataset(path, **{**options, "decode_times": False})


def load_cdf(source: Source) -> dict[str, Any]:
    """Read NASA's CDF: its variables by name, times as datetime64.

    Damaged lists of records lead cdflib round in circles: hence a child reads.
    """
    import cdflib  # noqa: F401

    path = str(source.as_path(".cdf"))
    size = source.size_bytes
    found, notes = read_in_child(
        source,
        _read_cdf,
        path,
        source.name,
        size,
        max_bytes=min((1 << 30) + 100 * size, _MAX_BYTES),
        max_s=_CDF_S + size / _CDF_BYTES_PER_S,
    )
    for note in notes:
        source.note(note)
    variables: dict[str, Any] = found
    return variables


def _read_cdf(path: str, label: str, size: int) -> tuple[dict[str, Any], list[str]]:
    import math

    import cdflib

    cdf = cdflib.CDF(path)
    info = cdf.cdf_info()
    found: dict[str, Any] = {}
    notes: list[str] = []
    for name in [*info.zVariables, *info.rVariables]:
        try:
            told = cdf.varinq(name)
            count = (told.Last_Rec + 1) * math.prod(told.Dim_Sizes) * max(told.Num_Elements, 1)
            if not 0 <= count <= min(1000 * size, _MAX_BYTES // 8):
                raise ValueError(f"it says it has {count:,} values")
            values = cdf.varget(name)
            kind = str(told.Data_Type_Description)
            if "EPOCH" in kind or "TT2000" in kind:
                values = cdflib.cdfepoch.to_datetime(values)
        except Exception as error:
            notes.append(f"{label!r}: {name!r} can't be read ({error}).")
            continue
        found[name] = values
    return found, notes


def load_hdf4(source: Source) -> Any:
    """Read the scientific datasets of an HDF 4 file to an xarray.Dataset."""
    import math

    import xarray as xr
    from pyhdf.SD import SD, SDC

    file = SD(str(source.as_path(".hdf")), SDC.READ)
    try:
        variables = {}
        total = 0
        for name, (dimensions, shape, _, _) in file.datasets().items():
            total += math.prod(shape) * 8
            if total > _MAX_BYTES:
                raise FileLoadError(source.name, "HDF 4 whose datasets take more than 4 GiB")
            selected = file.select(name)
            values = selected.get()
            labels = [f"{d}".replace("/", "_") for d in dimensions]
            if len(set(labels)) < len(labels):
                labels = [f"{label}_{at}" for at, label in enumerate(labels)]
            variables[name] = (labels, values, selected.attributes())
        attributes = {str(k): v for k, v in file.attributes().items()}
    finally:
        file.end()
    try:
        return xr.Dataset(variables, attrs=attributes)
    except ValueError:  # dimensions of one name and different lengths
        renamed = {
            name: ([f"{name}_{d}" for d in labels], values, attrs)
            for name, (labels, values, attrs) in variables.items()
        }
        return xr.Dataset(renamed, attrs=attributes)


def load_zarr(source: Source) -> Any:
    """Open a zipped Zarr store: a Dataset if its dimensions have names, else the group or array."""
    import warnings

    import xarray as xr
    import zarr

    store = zarr.storage.ZipStore(str(source.as_path(".zip")), mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return xr.open_zarr(store, consolidated=False)
        except Exception:
            return zarr.open(store, mode="r")


def load_grib(source: Source, *, filter_by_keys: dict[str, Any] | None = None) -> Any:
    """Open GRIB messages: one Dataset if they fit together, else a list of Datasets.

    Args:
        source: The file.
        filter_by_keys: Which messages, as cfgrib knows it ({"typeOfLevel": "surface"}).
    """
    # Here, as the child's imports would be lost.
    import eccodes  # noqa: F401
    import xarray  # noqa: F401

    from kernel_startup.loaders.weather import TooLarge, read_grib

    path = str(source.as_path(".grib"))
    try:
        datasets, notes = read_in_child(
            source, read_grib, path, source.name, filter_by_keys or {}, max_bytes=_MAX_BYTES
        )
    except TooLarge:
        return _open_grib(source, path, filter_by_keys or {})
    for note in notes:
        source.note(note)
    if len(datasets) > 1:
        source.note(f"{source.name!r} has messages on {len(datasets)} grids: a list of datasets.")
    return datasets[0] if len(datasets) == 1 else datasets


def _open_grib(source: Source, path: str, filter_by_keys: dict[str, Any]) -> Any:
    """Open messages that don't fit in memory."""
    import logging
    import tempfile
    import warnings

    import cfgrib

    logging.getLogger("cfgrib").setLevel(logging.CRITICAL)
    # Without an index cfgrib reads the file once for each of its datasets.
    with tempfile.TemporaryDirectory(prefix="load_file-") as index, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what xarray says to cfgrib's developers
        place = f"{index}/{{short_hash}}.idx"
        options = {"indexpath": place, "filter_by_keys": filter_by_keys}
        datasets = cfgrib.open_datasets(path, backend_kwargs=options)
    if not datasets:
        raise FileLoadError(source.name, "GRIB without a message that can be read")
    if len(datasets) == 1:
        return datasets[0]
    merged = _one_dataset(datasets)
    if merged is None:
        source.note(f"{source.name!r} has messages on {len(datasets)} grids: a list of datasets.")
        return datasets
    return merged


_GRID = ("latitude", "longitude", "values", "x", "y")


def _one_dataset(datasets: list[Any]) -> Any:
    """Put datasets on one grid together; what has a name twice is numbered. None if they differ."""
    first = datasets[0]
    merged = first.drop_vars(_scalars(first))
    for number, dataset in enumerate(datasets[1:], 2):
        dataset = dataset.drop_vars(_scalars(dataset))
        renamed = {}
        for name in {*dataset.dims, *dataset.variables} & {*merged.dims, *merged.variables}:
            is_same = name in merged.variables and name in dataset.variables
            if is_same and merged[name].variable.equals(dataset[name].variable):
                continue
            if name in _GRID:
                return None
            if name in dataset.variables or dataset.sizes[name] != merged.sizes.get(name):
                renamed[name] = f"{name}_{number}"
        dataset = dataset.rename(renamed)
        merged = merged.assign_coords(dataset.coords).assign(dataset.data_vars)
    return merged


def _scalars(dataset: Any) -> list[Any]:
    """Levels, times and steps of one value, which differ from dataset to dataset.

    What level a variable is on is in its attributes as well.
    """
    kept = ("time", "valid_time") if dataset.coords.get("time") is not None else ()
    return [n for n, c in dataset.coords.items() if c.ndim == 0 and n not in kept]


def load_bufr(source: Source, *, nrows: int | None = None) -> list[dict[str, Any]]:
    """Read BUFR messages: for each a dict of its keys."""
    import eccodes

    found: list[dict[str, Any]] = []
    with source.as_path().open("rb") as file:
        while nrows is None or len(found) < nrows:
            try:
                message = eccodes.codes_bufr_new_from_file(file)
            except eccodes.CodesInternalError as error:
                if not found:
                    raise
                source.note(f"{source.name!r}: {error} after {len(found)} messages.")
                break
            if message is None:
                break
            try:
                found.append(_bufr_message(message))
            finally:
                eccodes.codes_release(message)
    if not found:
        raise FileLoadError(source.name, "BUFR without a message")
    return found


def _bufr_message(message: Any) -> dict[str, Any]:
    import eccodes

    values: dict[str, Any] = {}
    with suppress(eccodes.CodesInternalError):  # tables that aren't here: the header is left
        eccodes.codes_set(message, "unpack", 1)
    keys = eccodes.codes_bufr_keys_iterator_new(message)
    try:
        while eccodes.codes_bufr_keys_iterator_next(keys):
            name = eccodes.codes_bufr_keys_iterator_get_name(keys)
            try:
                if eccodes.codes_get_size(message, name) > 1:
                    values[name] = eccodes.codes_get_array(message, name)
                else:
                    values[name] = eccodes.codes_get(message, name)
            except eccodes.CodesInternalError:
                continue
    finally:
        eccodes.codes_bufr_keys_iterator_delete(keys)
    return values


def load_fits(source: Source) -> Any:
    """Open FITS: its header and data units, whose data is read when it is asked for."""
    import warnings

    from astropy.io import fits

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        units = fits.open(source.as_path(".fits"), memmap=True, lazy_load_hdus=True)
        len(units)
    for warning in caught[:3]:
        if "truncated" in str(warning.message).lower():
            source.note(f"{source.name!r}: {warning.message}")
    return units


def load_root(source: Source, *, tree: str | None = None, nrows: int | None = None) -> Any:
    """Read ROOT's trees to DataFrames; tree= names one of several.

    A file without trees (histograms) is uproot's directory.
    """
    import uproot

    file = uproot.open(str(source.as_path(".root")))
    kinds = file.classnames(recursive=True)
    trees = list(
        dict.fromkeys(
            name.partition(";")[0]
            for name, kind in kinds.items()
            if "TTree" in kind or "TNtuple" in kind or "RNTuple" in kind
        )
    )
    if tree is not None:
        return _tree(file[tree], nrows)
    if not trees:
        return file
    found = {name: _tree(file[name], nrows) for name in trees[:100]}
    return found if len(found) != 1 else next(iter(found.values()))


def _tree(tree: Any, rows: int | None) -> Any:
    import pandas as pd

    total = int(tree.num_entries)
    count = total if rows is None else min(rows, total)
    names = tree.keys(recursive=False)
    if count * max(len(names), 1) * 8 > _MAX_BYTES:
        raise ValueError(f"a tree of {total:,} entries with {len(names):,} branches; nrows= helps")
    columns = {}
    for name in names:
        try:
            values = tree[name].array(entry_stop=count, library="np")
        except Exception:  # a class that uproot can't interpret
            continue
        columns[name] = values if values.ndim == 1 else pd.Series(list(values))
    return pd.DataFrame(columns)
