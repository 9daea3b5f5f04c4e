"""Which tables are shown with all of their values, and what stays as it was."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter

from bot.messages.tables import fits_block
from kernel_startup import tables_shown
from kernel_startup.tables_shown import TableFormatter


def shown(obj: object, **options: Any) -> dict[str, Any]:
    forms, metadata = TableFormatter().format(obj, **options)
    usual, usual_metadata = DisplayFormatter().format(obj, **options)  # type: ignore[no-untyped-call]
    assert {mime: form for mime, form in forms.items() if mime != "text/csv"} == usual
    assert metadata == usual_metadata
    return forms


def frame(rows: int, columns: int = 1) -> pd.DataFrame:
    return pd.DataFrame(np.zeros((rows, columns), dtype=int))


@pytest.mark.parametrize(
    ("rows", "attached"), [(20, False), (21, False), (22, True), (60, True), (61, True)]
)
def test_table_longer_than_a_code_block_has_its_csv(rows: int, attached: bool) -> None:
    forms = shown(frame(rows))
    assert ("text/csv" in forms) == attached
    if attached:
        assert forms["text/csv"] == "0\n" + "0\n" * rows


@pytest.mark.parametrize(("width", "attached"), [(61, False), (62, False), (63, True)])
def test_table_wider_than_a_code_block_has_its_csv(width: int, attached: bool) -> None:
    table = pd.DataFrame({"x" * (width - 3): [1]})
    assert len(repr(table).splitlines()[0]) == width
    assert ("text/csv" in shown(table)) == attached


@pytest.mark.parametrize("letters", range(20, 36))
def test_what_the_bot_shows_as_a_picture_has_its_csv(letters: int) -> None:
    for table in (pd.DataFrame({"表" * letters: [1]}), frame(letters), frame(1, letters)):
        assert ("text/csv" in shown(table)) != fits_block(repr(table))


def test_series_has_its_csv_too() -> None:
    assert shown(pd.Series(range(61), name="n"))["text/csv"].startswith("n\n0\n1\n")
    assert "text/csv" not in shown(pd.Series(range(21)))


@pytest.mark.parametrize(
    "index",
    [range(1, 62), range(0, 122, 2), list("x" * 61), pd.RangeIndex(61, name="n")],
    ids=["from 1", "by 2", "labels", "named"],
)
def test_index_that_says_something_is_kept(index: Any) -> None:
    table = frame(61).set_axis(index)
    assert shown(table)["text/csv"].splitlines()[0].count(",") == 1


@pytest.mark.parametrize(("rows", "attached"), [(199, True), (200, True), (201, False)])
def test_cells_are_bounded(rows: int, attached: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_shown, "_MOST_CELLS", 200)
    assert ("text/csv" in shown(frame(rows))) == attached


@pytest.mark.parametrize(("chars", "attached"), [(199, False), (200, True), (201, True)])
def test_text_is_bounded(chars: int, attached: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_shown, "_MOST_CHARS", chars)
    assert ("text/csv" in shown(frame(99))) == attached


def test_tables_of_one_cell_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_shown, "_MOST_CELLS_TOGETHER", 200)
    formatter = TableFormatter()
    assert ["text/csv" in formatter.format(frame(100))[0] for _ in range(3)] == [True, True, False]


def test_wishes_of_users_are_kept() -> None:
    table = frame(100)
    assert "text/csv" not in shown(table, exclude=["text/csv"])
    assert list(shown(table, include=["text/html"])) == ["text/html"]
    assert "text/csv" in shown(table, include=["text/csv", "text/html"])
    with pd.option_context("display.notebook_repr_html", False):
        assert list(shown(table)) == ["text/plain"]
    with pd.option_context("display.max_rows", None):
        assert "text/csv" in shown(table)  # it is longer than a block of code all the same


def test_what_shows_itself_is_left_alone() -> None:
    class Own(pd.DataFrame):
        def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
            return {"text/plain": "own", "text/csv": "own"}

    assert TableFormatter().format(Own(frame(100)))[0]["text/csv"] == "own"


@pytest.mark.parametrize("name", ["to_csv", "size"])
def test_strange_kinds_are_shown_all_the_same(name: str) -> None:
    def fail(self: object, *args: object, **options: object) -> None:
        raise RuntimeError("not here")

    kind = type("Strange", (pd.DataFrame,), {name: property(fail) if name == "size" else fail})
    forms, _ = TableFormatter().format(kind(frame(100)))
    assert list(forms) == ["text/plain", "text/html"]


def test_other_objects_are_shown_as_ever() -> None:
    for obj in (5, "x" * 1000, [frame(2)], pd.Index(range(1000)), np.zeros((100, 100)), None):
        assert "text/csv" not in shown(obj)
