"""Biology in HDF5."""

from collections.abc import Iterator
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.lines import limited
from kernel_startup.source import Source

_MAX_CELLS = 200_000_000
_MAX_READS = 100_000


def open_hdf5(source: Source) -> Any:
    """Open the file; what is in it is read when looked at."""
    import h5py

    return h5py.File(source.as_path(), "r")


def load_biom(source: Source) -> Any:
    """Read counts: a row an observation, a column a sample."""
    import numpy as np
    import pandas as pd
    from scipy import sparse

    with open_hdf5(source) as file:
        rows, columns = _ids(file["observation/ids"]), _ids(file["sample/ids"])
        if len(rows) * len(columns) > _MAX_CELLS:
            raise FileLoadError(source.name, f"a table of {len(rows):,} x {len(columns):,}")
        matrix = file["observation/matrix"]
        parts = []
        for name in ("data", "indices", "indptr"):
            if matrix[name].size > _MAX_CELLS:
                raise FileLoadError(source.name, f"a table of {matrix[name].size:,} values")
            parts.append(np.asarray(matrix[name]))
    counts = sparse.csr_matrix(tuple(parts), shape=(len(rows), len(columns)))
    counts.check_format()
    return pd.DataFrame(counts.toarray(), index=rows, columns=columns)


def _ids(dataset: Any) -> list[str]:
    if dataset.size > 10_000_000:
        raise ValueError(f"{dataset.size:,} ids")
    return [each.decode() if isinstance(each, bytes) else str(each) for each in dataset[()]]


def load_fast5(source: Source, *, nrows: int | None = None, signals: bool = True) -> Any:
    """Read reads of a nanopore: a row each, with its raw signal.

    Args:
        nrows: How many reads.
        signals: Whether to read the signals.
    """
    import pandas as pd

    with open_hdf5(source) as file:
        found = limited(source, _reads(file, signals), nrows, _MAX_READS, "reads")
    return pd.DataFrame(found)


def _reads(file: Any, signals: bool) -> Iterator[dict[str, Any]]:
    groups = [file[name] for name in file if name.startswith("read_")]
    single = [*file.get("Raw/Reads", {}).values()]
    for group in groups or single:
        raw = group.get("Raw", group)
        told = {name: _plain(value) for name, value in raw.attrs.items()}
        channel = group.get("channel_id") or file.get("UniqueGlobalKey/channel_id")
        if channel is not None:
            told |= {name: _plain(value) for name, value in channel.attrs.items()}
        told["samples"] = int(raw["Signal"].size)
        if signals and told["samples"] <= _MAX_CELLS:
            told["signal"] = raw["Signal"][()]
        yield told


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.item() if hasattr(value, "item") and getattr(value, "size", 0) == 1 else value
