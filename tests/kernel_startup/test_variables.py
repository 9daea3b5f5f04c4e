import datetime
import decimal
import math
import pathlib
import sys
import threading
from typing import Any

import pytest

from kernel_startup.variables import summarise


def _summary(**namespace: Any) -> dict[str, Any]:
    (row,) = summarise(namespace, hidden=set())
    return row


def _forbidden(*_: Any, **__: Any) -> Any:
    raise AssertionError("code of the user's was run")


class Hostile:
    """Every way in which looking at a value can run its code."""

    __repr__ = __str__ = __len__ = __iter__ = __sizeof__ = __eq__ = __bool__ = _forbidden
    __getattr__ = __getattribute__ = __format__ = __reduce__ = __dir__ = _forbidden
    __class__ = property(_forbidden)  # type: ignore[assignment]

    def __hash__(self) -> int:
        return 1


class HostileCell:
    """As hostile as a value can be that numpy and pandas let into an array."""

    __repr__ = __str__ = __format__ = __eq__ = __bool__ = __sizeof__ = _forbidden

    def __hash__(self) -> int:
        return 1


class HostileMeta(type):
    __repr__ = __str__ = __getattribute__ = __instancecheck__ = __len__ = _forbidden


class HostileClass(metaclass=HostileMeta):
    pass


class HostileList(list):  # type: ignore[type-arg]
    __repr__ = __len__ = __iter__ = __getitem__ = __sizeof__ = _forbidden


class HostileDict(dict):  # type: ignore[type-arg]
    __repr__ = __len__ = __iter__ = __getitem__ = items = __sizeof__ = _forbidden


class HostileText(str):
    __slots__ = ()
    __repr__ = __str__ = __len__ = __getitem__ = __sizeof__ = _forbidden


class HostileNumber(int):
    __repr__ = __str__ = bit_length = __sizeof__ = _forbidden


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Hostile(), "Hostile"),
        (lambda: HostileClass(), "HostileClass"),
        (lambda: HostileList([1]), "HostileList"),
        (lambda: HostileDict(), "HostileDict"),
        (lambda: HostileText("x"), "HostileText"),
        (lambda: HostileNumber(5), "HostileNumber"),
    ],
)
def test_no_code_of_the_users_is_run(make: Any, name: str) -> None:
    row = _summary(x=make())
    assert row["type"].endswith(name)
    assert row["preview"] == f"<{row['type']} object>"
    assert row["shape"] is row["size_bytes"] is None


@pytest.mark.parametrize(
    "make", [lambda v: [v], lambda v: (v,), lambda v: {"k": v}, lambda v: {v: 1}]
)
def test_no_code_of_the_users_is_run_inside_of_containers(make: Any) -> None:
    assert "Hostile object" in _summary(x=make(Hostile()))["preview"]


def test_a_class_that_claims_to_be_a_librarys_is_not_believed() -> None:
    pytest.importorskip("pandas")
    for module, name in (("pandas", "DataFrame"), ("PIL.Image", "Image"), ("numpy", "ndarray")):
        fake = type(name, (), {"__module__": module, "shape": property(_forbidden)})
        assert _summary(x=fake())["preview"] == f"<{module}.{name} object>"


@pytest.mark.parametrize(
    ("value", "kind", "shape", "preview"),
    [
        (1, "int", None, "1"),
        (1 << 600, "int", None, "<int of 601 bits>"),
        (1.5, "float", None, "1.5"),
        (True, "bool", None, "True"),
        (None, "NoneType", None, "None"),
        ("text", "str", "4 characters", "'text'"),
        (b"12", "bytes", "2 bytes", "b'12'"),
        ([1, "a", None], "list", "3 items", "[1, 'a', None]"),
        ((1,), "tuple", "1 item", "(1,)"),
        ((), "tuple", "0 items", "()"),
        (set(), "set", "0 items", "set()"),
        ({1}, "set", "1 item", "{1}"),
        ({"a": [1]}, "dict", "1 item", "{'a': [1]}"),
        ([[[[1]]]], "list", "1 item", "[[[...]]]"),
        (list(range(1000)), "list", "1,000 items", "[0, 1, 2, 3, 4, 5, 6, 7, ...]"),
        (range(5), "range", None, "range(0, 5)"),
        (datetime.date(2024, 1, 2), "datetime.date", None, "datetime.date(2024, 1, 2)"),
        (decimal.Decimal("1.5"), "decimal.Decimal", None, "1.5"),
        (
            pathlib.PosixPath("a"),
            f"{pathlib.PosixPath.__module__}.PosixPath",
            None,
            "PosixPath('a')",
        ),
        (math.sin, "function", None, "<builtin_function_or_method object>"),
        (dict, "class", None, "class dict"),
    ],
)
def test_known_types_are_described(value: object, kind: str, shape: str, preview: str) -> None:
    row = _summary(x=value)
    assert (row["type"], row["shape"], row["preview"]) == (kind, shape, preview)


def test_sizes_are_in_bytes() -> None:
    assert _summary(x="a" * 1000)["size_bytes"] == sys.getsizeof("a" * 1000)


def test_functions_show_their_parameters() -> None:
    def add(first: int, second: int = 2, *, third: int) -> None: ...

    row = _summary(add=add)
    assert (row["type"], row["preview"]) == ("function", "def add(first, second, third)")


def test_previews_end_at_80_characters() -> None:
    assert len(_summary(x="a" * 78)["preview"]) == 80
    assert _summary(x="a" * 79)["preview"] == "'" + "a" * 76 + "..."
    assert len(_summary(x=["a" * 50] * 50)["preview"]) == 80


def test_modules_hidden_and_private_names_are_left_out() -> None:
    namespace = {"sys": sys, "_x": 1, "__y": 2, "In": [], "z": 3, 5: 6}
    rows = summarise(namespace, hidden={"In"})  # type: ignore[arg-type]
    assert [row["name"] for row in rows] == ["z"]


def test_the_latest_variables_stay_within_the_limit() -> None:
    namespace = {f"v{number}": number for number in range(10)}
    assert [r["name"] for r in summarise(namespace, hidden=set(), limit=3)] == ["v7", "v8", "v9"]
    assert len(summarise(namespace, hidden=set(), limit=10)) == 10
    assert summarise(namespace, hidden=set(), limit=0) == []


def test_a_container_that_contains_itself_is_described() -> None:
    value: list[Any] = [1]
    value.append(value)
    assert _summary(x=value)["preview"] == "[1, [1, [...]]]"


def test_a_namespace_may_change_meanwhile() -> None:
    namespace: dict[str, Any] = {}
    growing: dict[str, Any] = {"inner": {}}
    namespace["growing"] = growing["inner"]
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            namespace[f"v{number % 5000}"] = number
            growing["inner"][number % 5000] = number
            if number % 3 == 0:
                namespace.pop(f"v{number % 4999}", None)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(30):
            rows = summarise(namespace, hidden=set(), limit=10_000)
            assert rows[0]["type"] == "dict"
    finally:
        stop.set()
        thread.join()


def test_nothing_is_imported() -> None:
    before = set(sys.modules)
    summarise({"a": 1, "b": [1], "c": object()}, hidden=set())
    assert set(sys.modules) == before


def test_tables_are_described() -> None:
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], 3: [1.5, 2.5]})
    row = _summary(x=table)
    assert (row["type"], row["shape"]) == ("DataFrame", "2 rows x 3 columns")
    assert row["preview"] == "columns: a, b, 3"
    assert row["size_bytes"] > 16
    row = _summary(x=table["a"])
    assert (row["type"], row["shape"], row["preview"]) == ("Series", "2 rows", "int64: 1, 2")
    row = _summary(x=pd.date_range("2024-01-01", periods=2))
    assert row["preview"] == "2024-01-01 00:00:00, 2024-01-02 00:00:00"
    assert _summary(x=pd.Timestamp("2024-01-01"))["preview"] == "2024-01-01 00:00:00"
    wide = _summary(x=pd.DataFrame([range(5000)]))
    assert (wide["shape"], wide["size_bytes"]) == ("1 rows x 5,000 columns", None)


def test_tables_of_the_users_objects_run_none_of_their_code() -> None:
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"x": [HostileCell()]})
    assert _summary(x=table)["shape"] == "1 rows x 1 columns"
    assert "HostileCell object" in _summary(x=table["x"])["preview"]


def test_a_subclass_of_a_table_is_not_looked_into() -> None:
    pd = pytest.importorskip("pandas")
    kind = type("Mine", (pd.DataFrame,), {"shape": property(_forbidden), "__len__": _forbidden})
    assert _summary(x=kind({"a": [1]}))["preview"].endswith("Mine object>")


def test_arrays_are_described() -> None:
    np = pytest.importorskip("numpy")
    row = _summary(x=np.zeros((3, 1000)))
    assert (row["type"], row["shape"], row["size_bytes"]) == ("ndarray", "3 x 1,000", 24_000)
    assert row["preview"] == "float64: " + "0.0, " * 8 + "..."
    assert _summary(x=np.array(5))["shape"] == "a single value"
    assert _summary(x=np.float64(2))["preview"] == "2.0"
    row = _summary(x=np.array([HostileCell()], dtype=object))
    assert "HostileCell object" in row["preview"]


def test_pictures_and_arrow_tables_are_described() -> None:
    image = pytest.importorskip("PIL.Image")
    row = _summary(x=image.new("RGB", (40, 30)))
    assert (row["type"], row["shape"], row["size_bytes"]) == ("Image", "40 x 30 pixels", 3_600)
    pa = pytest.importorskip("pyarrow")
    row = _summary(x=pa.table({"a": [1, 2]}))
    assert (row["type"], row["shape"]) == ("pyarrow.Table", "2 rows x 1 columns")
