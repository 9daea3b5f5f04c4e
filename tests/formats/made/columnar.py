"""Columnar files."""

import io
from typing import Any

from tests.formats.uploads import Made


def _parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({"city": ["Oslo", "Lima"], "people": [1, 2]}), buffer)
    return buffer.getvalue()


def _is_cities(table: Any) -> None:
    assert table["city"].tolist() == ["Oslo", "Lima"]
    assert table["people"].tolist() == [1, 2]


MADE = (Made("parquet", "cities.parquet", _parquet, _is_cities),)
