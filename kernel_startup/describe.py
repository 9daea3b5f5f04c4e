"""What a file holds, in a few hundred characters: what a model is told of each upload.

Loading may take time and memory, and a broken file may take the process with it. So a file is
loaded in a child process with limits of its own, and whatever becomes of that, there is a
description: the type, the size, and why there is no more to be said.
"""

import warnings
from collections.abc import Mapping, Sized
from typing import Any

from kernel_startup.children import call_in_child
from kernel_startup.files import FILES, find_file
from kernel_startup.filetype import FileType

#: Characters of a description.
MOST_CHARS = 900
#: Seconds that a file may take.
TIME_S = 15.0
#: Memory that it may take, beyond what the kernel has already.
MEMORY_BYTES = 512 << 20

_MOST_COLUMNS = 12
_MOST_PARTS = 8
_FIRST_ROWS = 3
_CELL_CHARS = 24
_TEXT_CHARS = 240
#: Rows read of a table that is larger than this; the others are only counted.
_LARGE_BYTES = 20 << 20
_SOME_ROWS = 1000


def describe_file(file_id: str, *, time_s: float = TIME_S) -> str:
    """Say what a file is and what is in it, in a few hundred characters.

    Args:
        file_id: The file's id as listed by `FILES`, or its name.
        time_s: Seconds it may take. After that only type and size are told.

    Returns:
        Type, size, shape or pages or duration; of a table the columns with their types and the
        first rows; of a text its beginning.

    Raises:
        FileNotKnown: No file has this id.
    """
    __tracebackhide__ = True
    path = find_file(FILES, file_id)
    told = _in_child(path, [*FILES.values()], time_s)
    return told or f"{_outline(path)}. {_NOTHING_MORE}"


_NOTHING_MORE = "Looking into it took too long, or too much memory."


def _in_child(path: str, neighbours: list[str], time_s: float) -> str:
    """Describe in a child process; an empty text if it came to nothing."""
    try:
        text = call_in_child(
            lambda: describe(path, neighbours), max_bytes=MEMORY_BYTES, max_s=time_s
        )
    except Exception:  # also what the description of strange content has raised
        return ""
    return text if isinstance(text, str) else ""


# -- a file ----------------------------------------------------------------------------------------


def describe(path: str, neighbours: list[str]) -> str:
    """Describe the file at a path, in this process."""
    from kernel_startup.files import load_path
    from kernel_startup.recognition import type_of_source
    from kernel_startup.source import Source

    outline = _outline(path)
    with Source(path, neighbours=neighbours) as source:
        file_type = type_of_source(source)
        lacking = _lacking(file_type)
        if lacking:
            return f"{outline}. load_file installs {', '.join(lacking)} for it, at first use."
        rows = _SOME_ROWS if _is_long_table(source, file_type) else None
    options = {} if rows is None else {"nrows": rows}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded, notes = load_path(path, neighbours, options)
    except MemoryError:
        return f"{outline}. {_NOTHING_MORE}"
    except Exception as error:
        return _cut(f"{outline}. {error}")
    told = _told(loaded)
    if rows is not None and len(loaded) == rows:
        told = f"more than {told}"
    remarks = " ".join(notes)
    return _cut("\n".join(part for part in (f"{outline}: {told}", remarks) if part))


def _outline(path: str) -> str:
    from kernel_startup.files import file_size
    from kernel_startup.recognition import type_of_content

    try:
        file_type = type_of_content(path)
    except Exception:
        return f"A file, {file_size(path)}"
    return f"{file_type.title} ({file_type.name}), {file_size(path)}"


def _lacking(file_type: FileType) -> list[str]:
    from kernel_startup.requirements import missing_requirements

    return missing_requirements(file_type.requires)


def _is_long_table(source: Any, file_type: FileType) -> bool:
    return source.size_bytes > _LARGE_BYTES and file_type.name in ("csv", "tsv", "jsonl", "parquet")


def _cut(text: str, most: int = MOST_CHARS) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


# -- an object -------------------------------------------------------------------------------------


def _told(value: Any) -> str:
    """Say what is in an object."""
    kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"
    if kind in ("pandas.DataFrame", "geopandas.GeoDataFrame"):
        return _table(value)
    if type(value) is str:
        return _text(value)
    if isinstance(value, bytes):
        return f"{len(value):,} bytes that begin with {value[:16]!r}"
    if kind == "numpy.ndarray":
        return f"array of {value.dtype}, shape {value.shape}"
    if isinstance(value, tuple) and len(value) == 2 and hasattr(value[0], "shape"):
        return _sound_or_pair(*value)
    if kind.startswith("PIL.") and hasattr(value, "mode"):
        frames = getattr(value, "n_frames", 1)
        moving = f", {frames:,} frames" if frames > 1 else ""
        return f"{value.width} x {value.height} pixels, {value.mode}{moving}"
    if kind == "kernel_startup.FileInfo":
        return str(value)
    if kind.startswith("kernel_startup.") and not hasattr(value, "sql"):
        return _own(value)
    if kind == "fontTools.TTFont":
        return f"font {value['name'].getDebugName(4)!r}, {len(value.getGlyphOrder()):,} glyphs"
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, list):
        return _list(value)
    return f"{type(value).__name__}: {_brief(value, _TEXT_CHARS)}"


def _own(value: Any) -> str:
    """An object of ours: it says itself what it is, and some have a text."""
    said = _cut(repr(value), MOST_CHARS - _TEXT_CHARS - 100)
    if isinstance(value, Mapping) and "\n" not in said:
        said = f"{said}\n{_mapping(value)}"
    text = value if isinstance(value, str) else getattr(value, "text", None)
    if not isinstance(text, str) or not text.strip():
        return said
    start = _brief(text, _TEXT_CHARS)
    return start if said.startswith(("'", '"')) else f"{said}\nbeginning: {start}"


def _table(table: Any) -> str:
    """Rows, columns with their types, and the first rows."""
    shown = list(table.columns[:_MOST_COLUMNS])
    kinds = [f"{_brief(name, 40)} {table.dtypes.iloc[at]}" for at, name in enumerate(shown)]
    more = len(table.columns) - len(shown)
    if more > 0:
        kinds.append(f"and {more:,} more")
    lines = [
        f"{len(table):,} rows x {len(table.columns):,} columns",
        f"columns: {'; '.join(kinds)}",
    ]
    for row in table.iloc[:_FIRST_ROWS, : len(shown)].itertuples(index=False, name=None):
        lines.append("  " + " | ".join(_brief(value, _CELL_CHARS) for value in row))
    return "\n".join(lines)


def _text(text: str) -> str:
    lines = text.count("\n") + (not text.endswith("\n") and bool(text))
    return (
        f"{lines:,} lines, {len(text):,} characters, beginning:\n{_cut(text[:1000], _TEXT_CHARS)}"
    )


def _sound_or_pair(array: Any, other: Any) -> str:
    if not isinstance(other, int | float) or not other > 0:
        return f"array of {array.dtype}, shape {array.shape}, with {_brief(other, 200)}"
    channels = array.shape[1] if array.ndim > 1 else 1
    return f"{array.shape[0] / other:.1f} s of sound, {other:g} Hz, channels: {channels}"


def _mapping(value: Mapping[Any, Any]) -> str:
    parts = []
    for at, key in enumerate(value):
        if at == _MOST_PARTS:
            parts.append(f"and {len(value) - at:,} more")
            break
        parts.append(f"{_brief(key, 60)}: {_part(value[key])}")
    return f"{type(value).__name__} of {len(value):,}\n  " + "\n  ".join(parts)


def _list(values: list[Any]) -> str:
    first = f", the first: {_part(values[0])}" if values else ""
    return f"list of {len(values):,}{first}"


def _part(value: Any) -> str:
    """One value in a collection, on one line."""
    if hasattr(value, "columns") and hasattr(value, "shape"):
        names = ", ".join(_brief(name, 24) for name in list(value.columns)[:_MOST_COLUMNS])
        return f"table of {len(value):,} rows x {len(value.columns):,} columns ({names})"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"array of {value.dtype}, shape {value.shape}"
    if isinstance(value, Mapping | list | tuple) and isinstance(value, Sized):
        return f"{type(value).__name__} of {len(value):,}"
    return _brief(value, 60)


def _brief(value: Any, most: int) -> str:
    return _cut(" ".join(str(value)[: most * 4].split()), most)
