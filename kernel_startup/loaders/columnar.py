"""Columnar files: Parquet, and Feather or Arrow IPC."""

from typing import Any

from kernel_startup.loaders import passes_on
from kernel_startup.source import Source

_BATCH_ROWS = 65_536


@passes_on("pandas:read_parquet")
def load_parquet(
    source: Source,
    *,
    columns: list[str] | None = None,
    nrows: int | None = None,
    **reader: Any,
) -> Any:
    """Read Parquet to a DataFrame; only the columns asked for are read from disk."""
    import pandas as pd

    if nrows is None:
        with source.open() as file:
            return pd.read_parquet(file, columns=columns, **reader)
    import pyarrow as pa
    import pyarrow.parquet as pq

    with source.open() as file:
        parquet = pq.ParquetFile(file)
        batches, wanted = [], nrows
        size = max(1, min(nrows, _BATCH_ROWS))
        for batch in parquet.iter_batches(batch_size=size, columns=columns):
            batches.append(batch.slice(0, wanted))
            wanted -= batch.num_rows
            if wanted <= 0:
                break
        if not batches:
            return parquet.read(columns=columns).to_pandas()
    return pa.Table.from_batches(batches).slice(0, nrows).to_pandas()


def load_feather(
    source: Source, *, columns: list[str] | None = None, nrows: int | None = None
) -> Any:
    """Read to a DataFrame: Feather (both versions), an Arrow IPC file or an Arrow IPC stream."""
    import pyarrow as pa
    import pyarrow.feather

    with source.open() as file:
        if source.head.startswith(b"\xff\xff\xff\xff"):
            with pa.ipc.open_stream(file) as stream:
                table = stream.read_all()
            table = table if columns is None else table.select(columns)
        else:
            table = pyarrow.feather.read_table(file, columns=columns)
        return (table if nrows is None else table.slice(0, nrows)).to_pandas()
