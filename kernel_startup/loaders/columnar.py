"""Columnar files: Parquet, Feather or Arrow IPC, ORC, Avro."""

from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders import passes_on
from kernel_startup.source import Source

_BATCH_ROWS = 65_536
#: What columns may take in memory: encodings make a gigabyte of one value a few bytes.
_MAX_BYTES = 8 << 30


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
    import pyarrow.parquet as pq

    if nrows is None:
        # Arrow reads a path by itself, on several cores; a Python file only one piece at a time.
        place = source.path if source.compression is None else source.as_path(".parquet")
        with pq.ParquetFile(place) as file:
            rows = file.metadata
        if rows.num_rows > max(1000 * source.size_bytes, 1_000_000) and columns is None:
            _refuse_huge(source, rows.num_rows, rows.num_columns)
        # The directories above aren't columns, whatever they are called.
        options = {"partitioning": None, **reader}
        return pd.read_parquet(place, columns=columns, **options)
    import pyarrow as pa

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


def load_orc(source: Source, *, columns: list[str] | None = None, nrows: int | None = None) -> Any:
    """Read ORC to a DataFrame; only the columns asked for are read from disk."""
    import pyarrow as pa
    import pyarrow.orc

    with source.open() as file:
        orc = pyarrow.orc.ORCFile(file)
        if nrows is None:
            if orc.nrows > max(1000 * source.size_bytes, 1_000_000) and columns is None:
                _refuse_huge(source, orc.nrows, len(orc.schema))
            return orc.read(columns=columns).to_pandas()
        stripes, rows = [], 0
        for number in range(orc.nstripes):
            stripe = orc.read_stripe(number, columns=columns)
            stripes.append(stripe)
            rows += stripe.num_rows
            if rows >= nrows:
                break
        if not stripes:
            return orc.read(columns=columns).to_pandas().head(nrows)
    return pa.Table.from_batches(stripes).slice(0, nrows).to_pandas()


def load_avro(source: Source, *, columns: list[str] | None = None, nrows: int | None = None) -> Any:
    """Read Avro records to a DataFrame; values that aren't records are one column, "value"."""
    from itertools import islice

    import fastavro
    import pandas as pd

    with source.open() as file:
        reader = fastavro.reader(file)
        schema = reader.writer_schema
        rows = [row if isinstance(row, dict) else {"value": row} for row in islice(reader, nrows)]
    names = [f["name"] for f in schema.get("fields", [])] if isinstance(schema, dict) else []
    table = pd.DataFrame(rows, columns=None if rows or not names else names)
    return table if columns is None else table[columns]


def _refuse_huge(source: Source, rows: int, columns: int) -> None:
    size = rows * max(columns, 1) * 8
    if size > _MAX_BYTES:
        raise FileLoadError(
            source.name,
            f"a table of {rows:,} rows and {columns:,} columns in {source.size_bytes:,} bytes",
            remedy="columns= and nrows= read a part of it",
        )
