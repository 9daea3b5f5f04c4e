"""A user's variables, listed while their code runs on another thread.

So nothing here may run code of theirs, wait, or fail: only values of exactly known types are looked
into (a subclass may define anything anew), the rest is named by its type. Nothing is imported.
"""

import contextlib
import datetime
import decimal
import fractions
import itertools
import pathlib
import sys
import time
import types
import uuid
from collections.abc import Callable
from typing import Any

_PREVIEW_CHARACTERS = 80
_MAX_ITEMS = 8
_MAX_DEPTH = 2
_TIME_S = 0.25
#: More columns than this aren't added up.
_MAX_COLUMNS = 2_000
#: Longer integers take long to write in decimal digits.
_MAX_INTEGER_BITS = 512

_PLAIN_TYPES = frozenset(
    {type(None), bool, float, complex, range, slice, type(...), type(NotImplemented)}
    | {datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone}
    | {decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.PosixPath, pathlib.PurePosixPath}
)
_FUNCTION_TYPES = frozenset(
    {types.FunctionType, types.BuiltinFunctionType, types.MethodType, type(len), type(str.upper)}
)
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    dict: ("{", "}"),
}

_PANDAS_SCALARS = frozenset(
    {("pandas", "Timestamp"), ("pandas", "Timedelta"), ("pandas", "Period"), ("pandas", "Interval")}
)

#: type, shape, size in bytes, preview
_Row = tuple[str, str | None, int | None, str]


def summarise(
    namespace: dict[str, Any], *, hidden: set[str], limit: int = 200
) -> list[dict[str, Any]]:
    """List a namespace's variables, from any thread, within about a quarter of a second.

    Args:
        namespace: The user's; it may change meanwhile.
        hidden: Names to leave out. Modules and names that begin with "_" are left out as well.
        limit: How many to list; the most recent ones stay.

    Returns:
        For each variable, in order of definition: name, type, shape (in words, or None),
        size_bytes (of its own, not of what it refers to; or None), preview (up to 80 characters).
    """
    deadline = time.monotonic() + _TIME_S
    shown = [
        (name, value)
        for name, value in _items(namespace, None)
        if type(name) is str
        and not name.startswith("_")
        and name not in hidden
        and type(value) is not types.ModuleType
    ]
    rows = []
    for name, value in shown[-limit:] if limit > 0 else []:
        row = _plain_row(value)
        if time.monotonic() < deadline:
            # It may change under our hands in any way; the type alone is certain.
            with contextlib.suppress(Exception):
                row = _row(value)
        kind, shape, size, preview = row
        rows.append(
            {
                "name": name,
                "type": kind,
                "shape": shape,
                "size_bytes": size,
                "preview": _cut(preview),
            }
        )
    return rows


def _row(value: Any) -> _Row:
    known = type(value)
    if known in _BRACKETS:
        return known.__name__, _items_of(len(value)), sys.getsizeof(value), _preview(value, 0)
    if known in (str, bytes, bytearray):
        unit = "characters" if known is str else "bytes"
        shape = f"{len(value):,} {unit}"
        return known.__name__, shape, sys.getsizeof(value), _preview(value, 0)
    if known is int or known in _PLAIN_TYPES or _library_type(known) in _PANDAS_SCALARS:
        return type_name(known), None, sys.getsizeof(value), _preview(value, 0)
    if known is types.FunctionType:
        return "function", None, None, _signature(value)
    if known in _FUNCTION_TYPES:
        return "function", None, None, _plain_row(value)[3]
    if type in _mro(known):  # not isinstance, which asks the value for its __class__
        return "class", None, None, f"class {_attribute(value, '__qualname__')}"
    library, name = _library_type(known)
    describe = _DESCRIBERS.get((library, name))
    if describe is None and library == "PIL" and _is_subclass(known, "PIL.Image", "Image"):
        describe = _describe_image
    if describe is None and library == "numpy" and _is_subclass(known, "numpy", "generic"):
        describe = _describe_scalar
    return _plain_row(value) if describe is None else describe(value)


def _plain_row(value: object) -> _Row:
    name = type_name(type(value))
    return name, None, None, f"<{name} object>"


def _describe_frame(frame: Any) -> _Row:
    rows, columns = frame.shape
    size = None
    if columns <= _MAX_COLUMNS and all(_is_ours(dtype) for dtype in frame.dtypes.unique()):
        size = int(frame.memory_usage(index=False, deep=False).sum())
    names = ", ".join(_label(name) for name in frame.columns[:_MAX_ITEMS])
    more = ", ..." if columns > _MAX_ITEMS else ""
    return "DataFrame", f"{rows:,} rows x {columns:,} columns", size, f"columns: {names}{more}"


def _describe_series(series: Any) -> _Row:
    ours = _is_ours(series.dtype)
    size = int(series.memory_usage(index=False, deep=False)) if ours else None
    dtype = str(series.dtype) if ours else "?"
    preview = f"{dtype}: {_join(series.iloc[:_MAX_ITEMS].tolist(), len(series))}" if ours else dtype
    return "Series", f"{len(series):,} rows", size, preview


def _describe_index(index: Any) -> _Row:
    ours = _is_ours(index.dtype)
    size = int(index.memory_usage(deep=False)) if ours else None
    preview = _join(index[:_MAX_ITEMS].tolist(), len(index)) if ours else ""
    return type_name(type(index)), f"{len(index):,} rows", size, preview


def _describe_array(array: Any) -> _Row:
    preview = str(array.dtype)
    if array.dtype.kind in "biufcSUmMO":
        first = array.flat[:_MAX_ITEMS].tolist() if array.ndim else [array.item()]
        preview += f": {_join(first, array.size)}"
    shape = " x ".join(f"{length:,}" for length in array.shape) or "a single value"
    return "ndarray", shape, int(array.nbytes), preview


def _describe_scalar(scalar: Any) -> _Row:
    return type_name(type(scalar)), None, int(scalar.nbytes), _preview(scalar.item(), 0)


def _describe_table(table: Any) -> _Row:
    names = ", ".join(table.column_names[:_MAX_ITEMS])
    shape = f"{table.num_rows:,} rows x {table.num_columns:,} columns"
    return "pyarrow.Table", shape, int(table.nbytes), f"columns: {names}"


def _describe_image(image: Any) -> _Row:
    width, height = image._size
    mode = image._mode
    bands = {"1": 1, "L": 1, "P": 1, "RGB": 3, "RGBA": 4, "CMYK": 4, "I": 4, "F": 4}.get(mode)
    size = width * height * bands if bands else None
    return "Image", f"{width:,} x {height:,} pixels", size, f"{mode} picture"


_DESCRIBERS: dict[tuple[str, str], Callable[[Any], _Row]] = {
    ("pandas", "DataFrame"): _describe_frame,
    ("pandas", "Series"): _describe_series,
    ("pandas", "Index"): _describe_index,
    ("pandas", "RangeIndex"): _describe_index,
    ("pandas", "DatetimeIndex"): _describe_index,
    ("numpy", "ndarray"): _describe_array,
    ("pyarrow", "Table"): _describe_table,
}


def _library_type(known: type) -> tuple[str, str]:
    """Name a type and its library, if it really is what the library has under that name."""
    module, name = _attribute(known, "__module__"), _attribute(known, "__name__")
    library = module.partition(".")[0]
    if library not in ("pandas", "numpy", "pyarrow", "PIL"):
        return "", ""
    # Anyone can write `__module__ = "pandas"` into a class.
    for place in (library, module):
        if vars(sys.modules.get(place, types)).get(name) is known:
            return library, name
    return "", ""


def _is_subclass(known: type, module: str, name: str) -> bool:
    base = vars(sys.modules.get(module, types)).get(name)
    return base is not None and base in _mro(known)


def _mro(known: type) -> tuple[type, ...]:
    order: tuple[type, ...] = type.__dict__["__mro__"].__get__(known)
    return order


def _is_ours(dtype: object) -> bool:
    """Whether a column's type is pandas' or numpy's own: others may run code of the user's."""
    return _library_type(type(dtype))[0] in ("pandas", "numpy")


def _preview(value: Any, depth: int) -> str:
    known = type(value)
    if known is int:
        bits = value.bit_length()
        return repr(value) if bits <= _MAX_INTEGER_BITS else f"<int of {bits:,} bits>"
    if known in (str, bytes, bytearray):
        return repr(value[: _PREVIEW_CHARACTERS + 1])
    if known is decimal.Decimal:
        return str(value) if len(value.as_tuple().digits) <= _PREVIEW_CHARACTERS else "<Decimal>"
    if known in _PLAIN_TYPES:
        return repr(value)
    if _library_type(known) in _PANDAS_SCALARS:
        return str(value)
    brackets = _BRACKETS.get(known)
    if brackets is not None and len(value) == 0:
        return repr(value)
    if brackets is None or depth >= _MAX_DEPTH:
        return _plain_row(value)[3] if brackets is None else "...".join(brackets)
    if known is dict:
        pairs = _items(value, _MAX_ITEMS)
        parts = [f"{_preview(k, depth + 1)}: {_preview(v, depth + 1)}" for k, v in pairs]
    else:
        parts = [_preview(item, depth + 1) for item in itertools.islice(value, _MAX_ITEMS)]
    more = ", ..." if len(value) > len(parts) else "," * (known is tuple and len(parts) == 1)
    return f"{brackets[0]}{', '.join(parts)}{more}{brackets[1]}"


def _items(mapping: dict[Any, Any], limit: int | None) -> list[tuple[Any, Any]]:
    for _ in range(10):
        try:
            return list(itertools.islice(mapping.items(), limit))
        except RuntimeError:
            continue  # it grew meanwhile
    return []


def _join(values: list[Any], total: int) -> str:
    more = ", ..." if total > len(values) else ""
    return ", ".join(_preview(value, 1) for value in values) + more


def _label(value: Any) -> str:
    return value[:_PREVIEW_CHARACTERS] if type(value) is str else _preview(value, 1)


def _signature(function: types.FunctionType) -> str:
    code = function.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    return f"def {code.co_name}({', '.join(code.co_varnames[:count])})"


def _items_of(count: int) -> str:
    return "1 item" if count == 1 else f"{count:,} items"


def size_of(value: Any) -> int | None:
    """The bytes that a value itself takes, without what it refers to; None if that isn't known."""
    try:
        return _row(value)[2]
    except Exception:  # it may be anything
        return None


def type_name(known: type) -> str:
    """Name a type, with its module unless that says nothing."""
    module, name = _attribute(known, "__module__"), _attribute(known, "__qualname__")
    return name if module in ("builtins", "__main__") else f"{module}.{name}"


def _attribute(known: type, name: str) -> str:
    # Past the class's own metaclass, which may be the user's.
    value = type.__dict__[name].__get__(known)
    return value if type(value) is str else "?"


def _cut(preview: str) -> str:
    if len(preview) <= _PREVIEW_CHARACTERS:
        return preview
    return preview[: _PREVIEW_CHARACTERS - 3] + "..."
