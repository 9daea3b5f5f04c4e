"""JSON and JSON lines."""

import json
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders import passes_on
from kernel_startup.loaders.text import decode
from kernel_startup.source import Source


@passes_on("pandas:read_json")
def load_json(
    source: Source,
    *,
    encoding: str | None = None,
    nrows: int | None = None,
    columns: list[str] | None = None,
    **reader: Any,
) -> object:
    """Parse JSON: records become a DataFrame, anything else stays what it is."""
    if reader:
        return _read_with_pandas(source, encoding, nrows, columns, reader)
    text = decode(source, encoding).lstrip("\ufeff")
    if not text.strip():
        raise FileLoadError(source.name, "an empty file" if not text else "a file of blanks")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileLoadError(
            source.name,
            f"JSON that is cut off or not well formed (it begins with {text[:40]!r})",
            tried="Python's json",
            reason=_reason(error),
            remedy='as_="text" gives it as a str',
        ) from error
    return _records_to_table(value, nrows, columns)


@passes_on("pandas:read_json")
def load_jsonl(
    source: Source,
    *,
    encoding: str | None = None,
    nrows: int | None = None,
    columns: list[str] | None = None,
    **reader: Any,
) -> object:
    """Parse JSON lines to a DataFrame; broken lines are counted and left out."""
    if reader:
        return _read_with_pandas(source, encoding, nrows, columns, {"lines": True, **reader})
    text = decode(source, encoding).lstrip("\ufeff")
    if not text.strip():
        raise FileLoadError(source.name, "an empty file" if not text else "a file of blanks")
    lines = [line for line in text.split("\n") if line.strip()][:nrows]
    try:
        # One call is twice as fast as one a line.
        values = json.loads(f"[{','.join(lines)}]")
    except (ValueError, RecursionError):
        values = _parse_each(source, text, lines)
    return _records_to_table(values, nrows, columns)


def _parse_each(source: Source, text: str, lines: list[str]) -> list[object]:
    values = []
    broken = []
    for number, line in enumerate(lines, start=1):
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as problem:
            broken.append((number, problem))
    if not broken:
        return values
    if len(broken) > len(values):
        if (stream := _parse_stream(text)) is not None:
            return stream
        number, error = broken[0]
        raise FileLoadError(
            source.name,
            "JSON lines, most of which are broken",
            tried="Python's json on each line",
            reason=f"line {number}: {_reason(error)}",
            remedy='as_="text" gives it as a str',
        ) from error
    number, error = broken[0]
    source.note(
        f"{source.name!r}: {len(broken)} of {len(lines)} lines aren't valid JSON and were left "
        f"out; the first is line {number} ({_reason(error)})."
    )
    return values


def _parse_stream(text: str) -> list[object] | None:
    """Parse values that follow one another over several lines each; None if they don't."""
    decoder = json.JSONDecoder()
    values = []
    position = 0
    try:
        while position < len(text):
            value, position = decoder.raw_decode(text, position)
            values.append(value)
            while position < len(text) and text[position] in " \t\r\n,":
                position += 1
    except (ValueError, RecursionError):
        return None
    return values


def _records_to_table(value: object, nrows: int | None, columns: list[str] | None) -> object:
    is_records = isinstance(value, list) and value and all(isinstance(v, dict) for v in value)
    if not is_records:
        if nrows is None and columns is None:
            return value
        raise ValueError("nrows= and columns= are for a list of records, which this JSON isn't")
    import pandas as pd

    assert isinstance(value, list)
    table = pd.DataFrame(value[:nrows])
    return table if columns is None else table[columns]


def _read_with_pandas(
    source: Source,
    encoding: str | None,
    nrows: int | None,
    columns: list[str] | None,
    reader: dict[str, Any],
) -> object:
    import io

    import pandas as pd

    table = pd.read_json(io.StringIO(decode(source, encoding)), nrows=nrows, **reader)
    return table if columns is None else table[columns]


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)
