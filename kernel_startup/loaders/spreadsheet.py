"""Workbooks: Excel in all its formats, and OpenDocument."""

from typing import Any

from kernel_startup import containers
from kernel_startup.errors import FileLoadError
from kernel_startup.loaders import passes_on
from kernel_startup.source import Source


@passes_on("pandas:read_excel")
def load_workbook(
    source: Source,
    *,
    sheet_name: str | int | list[str | int] | None = None,
    columns: list[str] | None = None,
    **reader: Any,
) -> Any:
    """Read a workbook: its only sheet, a dict of all sheets by name, or the sheets asked for."""
    import pandas as pd

    if _is_encrypted(source):
        raise FileLoadError(
            source.name,
            "a workbook protected by a password",
            remedy="Save it without a password and upload it again",
        )
    if columns is not None:
        reader["usecols"] = columns
    engine: Any = reader.pop("engine", None) or "calamine"
    with source.open() as file, pd.ExcelFile(file, engine=engine) as workbook:
        sheets = [str(name) for name in workbook.sheet_names]
        known = {*sheets, *range(len(sheets)), None}
        for name in sheet_name if isinstance(sheet_name, list) else [sheet_name]:
            if name not in known:
                raise ValueError(f"there is no sheet {name!r}; the sheets are {sheets}")
        read: Any = pd.read_excel(workbook, sheet_name=sheet_name, **reader)
    if sheet_name is None and len(read) == 1:
        return next(iter(read.values()))
    return read


def _is_encrypted(source: Source) -> bool:
    if not source.head.startswith(b"\xd0\xcf\x11\xe0"):
        return False
    with source.open() as file:
        try:
            return "EncryptedPackage" in containers.ole_streams(file)
        except containers.BrokenContainer:
            return False
