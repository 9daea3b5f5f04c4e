"""A session as a notebook: valid whatever the cells did, and bounded."""

import json
from typing import Any

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interpreter.notebook import CellRecord, NotebookLog, build_notebook
from interpreter.outputs import (
    CellError,
    DisplayData,
    ExecuteResult,
    Output,
    OutputCollector,
    Stream,
)


def written(notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """The notebook as a file holds it, checked by nbformat and read as plain JSON."""
    nbformat.validate(notebook)
    text = nbformat.writes(notebook)  # type: ignore[no-untyped-call]  # nbformat has no types
    assert nbformat.reads(text, as_version=4) == notebook  # type: ignore[no-untyped-call]
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def code_cells(log: NotebookLog) -> list[dict[str, Any]]:
    return [cell for cell in written(log.build())["cells"] if cell["cell_type"] == "code"]


def text_output(text: str) -> tuple[Output, ...]:
    return (Stream("stdout", text),)


def test_every_kind_of_output_is_written_and_read_back() -> None:
    outputs = (
        Stream("stdout", "one\ntwo\n"),
        Stream("stderr", "warning"),
        DisplayData(
            {
                "image/png": "iVBORw0K\nGgo=\n",
                "image/svg+xml": "<svg>\n</svg>",
                "text/plain": "<Figure>\nmore",
                "application/json": {"text": "a\nb", "list": [1, None, 2.5]},
                "application/vnd.plotly.v1+json": {"data": []},
            },
            {"image/png": {"width": 3}},
            "id",
        ),
        ExecuteResult({"text/plain": "42"}, {}, 3),
        CellError("ValueError", "bad", ("frame", "ValueError: bad")),
    )
    cells = written(build_notebook([CellRecord("1 / 0\n", 3, outputs)]))["cells"]
    assert [cell["cell_type"] for cell in cells] == ["markdown", "code"]
    assert cells[1]["source"] == ["1 / 0\n"]
    assert cells[1]["execution_count"] == 3
    assert cells[1]["outputs"] == [
        {"output_type": "stream", "name": "stdout", "text": ["one\n", "two\n"]},
        {"output_type": "stream", "name": "stderr", "text": ["warning"]},
        {
            "output_type": "display_data",
            "data": {
                "image/png": "iVBORw0KGgo=",
                "image/svg+xml": ["<svg>\n", "</svg>"],
                "text/plain": ["<Figure>\n", "more"],
                "application/json": {"text": "a\nb", "list": [1, None, 2.5]},
                "application/vnd.plotly.v1+json": {"data": []},
            },
            "metadata": {"image/png": {"width": 3}},
        },
        {
            "output_type": "execute_result",
            "data": {"text/plain": ["42"]},
            "metadata": {},
            "execution_count": 3,
        },
        {
            "output_type": "error",
            "ename": "ValueError",
            "evalue": "bad",
            "traceback": ["frame", "ValueError: bad"],
        },
    ]


def test_notebook_of_nothing_is_valid() -> None:
    notebook = written(build_notebook([]))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert [cell["id"] for cell in notebook["cells"]] == ["cell-1"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


@pytest.mark.parametrize(
    ("count", "written_count"),
    [(0, 0), (7, 7), (None, None), (-1, None), (True, 1), (2**31, None), (2**80, None)],
)
def test_nonsense_count_of_a_kernel_is_left_out(
    count: int | None, written_count: int | None
) -> None:
    cell = written(build_notebook([CellRecord("x", count)]))["cells"][1]
    assert cell["execution_count"] == written_count


def test_kernel_and_language_can_be_named() -> None:
    info = {"name": "python", "version": "3.11.7", "codemirror_mode": {"name": "ipython"}}
    metadata = written(build_notebook([], kernel_name="cellmate", language_info=info))["metadata"]
    assert metadata["kernelspec"]["name"] == "cellmate"
    assert metadata["language_info"] == info


def test_same_session_gives_the_same_notebook() -> None:
    records = [CellRecord("a", 1), CellRecord("b", None)]
    assert written(build_notebook(records)) == written(build_notebook(records))


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("print(1)", []),
        ("pdf = npx = 1", []),
        ("pd.DataFrame()", ["import pandas as pd"]),
        (
            "plt.plot(np.arange(3))",
            ["import numpy as np", "import matplotlib.pyplot as plt"],
        ),
    ],
)
def test_setup_cell_imports_what_the_cells_use_without_import(code: str, lines: list[str]) -> None:
    cells = written(build_notebook([CellRecord(code, 1)]))["cells"]
    setup = [cell for cell in cells if "cellmate-setup" in cell["metadata"].get("tags", [])]
    assert len(setup) == bool(lines)
    if lines:
        assert "".join(setup[0]["source"]).splitlines()[2:] == lines
        assert cells.index(setup[0]) == 1


def test_stored_files_are_explained_and_stand_in_outside_cellmate() -> None:
    cells = written(build_notebook([CellRecord("df = load_file('f1')", 1)]))["cells"]
    assert "put copies of the files beside this notebook" in "".join(cells[0]["source"])
    names: dict[str, Any] = {}
    exec("".join(cells[1]["source"]), names)
    with pytest.raises(FileNotFoundError, match="'f1' is a file stored in Cellmate"):
        names["load_file"]("f1")
    assert names["FILES"] == {}


def test_setup_cell_leaves_cellmates_own_names_alone() -> None:
    cells = written(build_notebook([CellRecord("FILES", 1)]))["cells"]
    names: dict[str, Any] = {"load_file": len, "FILES": {"a": "b"}}
    exec("".join(cells[1]["source"]), names)
    assert names["load_file"] is len
    assert names["FILES"] == {"a": "b"}


def test_update_replaces_the_display_of_an_earlier_cell() -> None:
    log = NotebookLog()
    log.add(CellRecord("show", 1, (DisplayData({"text/plain": "0%"}, {}, "bar"),)))
    log.add(CellRecord("between", 2, text_output("x")))
    update = DisplayData({"text/plain": "100%"}, {}, "bar", update=True)
    log.add(CellRecord("update", 3, (*text_output("y"), update)))
    assert [record.outputs for record in log.records] == [
        (DisplayData({"text/plain": "100%"}, {}, "bar"),),
        text_output("x"),
        text_output("y"),
    ]


def test_update_of_a_display_that_is_gone_stays_where_it_is() -> None:
    log = NotebookLog()
    update = DisplayData({"text/plain": "100%"}, {}, "bar", update=True)
    log.add(CellRecord("update", 1, (update,)))
    assert log.records[0].outputs == (update,)
    later = DisplayData({"text/plain": "done"}, {}, "bar", update=True)
    log.add(CellRecord("update", 2, (later,)))
    assert [output.text for record in log.records for output in record.outputs] == ["done"]


@pytest.mark.parametrize(("count", "left_out"), [(2, 0), (3, 0), (4, 1), (9, 6)])
def test_number_of_cells_is_limited_exactly(count: int, left_out: int) -> None:
    log = NotebookLog(max_cells=3)
    for number in range(count):
        log.add(CellRecord(f"cell {number}", number))
    assert log.cells_left_out == left_out
    assert [record.code for record in log.records] == [
        f"cell {number}" for number in range(left_out, count)
    ]
    note = "".join(written(log.build())["cells"][0]["source"])
    assert (f"its first {left_out} cells are missing" in note) is bool(left_out)


@pytest.mark.parametrize(("max_bytes", "kept"), [(221, 2), (220, 2), (219, 1)])
def test_oldest_outputs_are_left_out_first(max_bytes: int, kept: int) -> None:
    log = NotebookLog(max_bytes=max_bytes)
    log.add(CellRecord("x" * 10, 1, text_output("a" * 100)))
    log.add(CellRecord("y" * 10, 2, text_output("b" * 100)))
    assert [bool(record.outputs) for record in log.records] == [kept == 2, True]
    cells = code_cells(log)
    assert [bool(cell["outputs"]) for cell in cells] == [kept == 2, True]
    tags = cells[0]["metadata"].get("tags", [])
    assert ("cellmate-outputs-left-out" in tags) is (kept == 1)
    note = "".join(written(log.build())["cells"][0]["source"])
    assert ("no room for the outputs of 1 of the cells" in note) is (kept == 1)


def test_oldest_cells_are_left_out_when_code_alone_is_too_much() -> None:
    log = NotebookLog(max_bytes=250)
    for number in range(4):
        log.add(CellRecord(f"{number}" * 100, number, text_output("out")))
    assert [record.code[0] for record in log.records] == ["2", "3"]
    assert log.cells_left_out == 2
    log.add(CellRecord("z" * 251, 5))
    assert log.records == ()
    written(log.build())


def test_cell_whose_output_alone_is_too_much_keeps_its_code() -> None:
    log = NotebookLog(max_bytes=100)
    log.add(CellRecord("small", 1, text_output("a" * 101)))
    assert log.records == (CellRecord("small", 1, (), outputs_left_out=True),)


def test_update_that_grows_an_earlier_cell_counts() -> None:
    log = NotebookLog(max_bytes=100)
    log.add(CellRecord("a", 1, (DisplayData({"text/plain": "x"}, {}, "id"),)))
    big = DisplayData({"text/plain": "x" * 200}, {}, "id", update=True)
    log.add(CellRecord("b", 2, (big,)))
    assert [record.outputs for record in log.records] == [(), ()]


def test_cleared_log_starts_again() -> None:
    log = NotebookLog(max_cells=1)
    log.add(CellRecord("a", 1))
    log.add(CellRecord("b", 2))
    log.clear()
    assert (log.records, log.cells_left_out) == ((), 0)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
mimes = st.sampled_from(
    [
        "text/plain",
        "image/png",
        "application/json",
        "application/x+json",
        "a+b/c+json",
        "application/geo+jsonx",
        "application/a/b+json",
        "application/+json",
        "text/json",
    ]
)
messages = st.tuples(
    st.sampled_from(["stream", "display_data", "execute_result", "error"]),
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from(["stdout", "stderr"]),
            "text": st.text(st.characters()),
            "data": st.dictionaries(mimes, junk, max_size=4),
            "metadata": st.dictionaries(st.text(), junk, max_size=3),
            "ename": st.text(st.characters()),
            "traceback": st.lists(junk, max_size=3),
        },
    ),
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # large examples, not slow code
@given(st.lists(messages, max_size=5), st.text(st.characters()))
def test_whatever_a_kernel_sends_the_notebook_is_valid(
    sent: list[tuple[str, dict[str, Any]]], code: str
) -> None:
    collector = OutputCollector(1_000)
    for msg_type, content in sent:
        collector.add(msg_type, content)
    notebook = build_notebook([CellRecord(code, 1, collector.result())])
    nbformat.validate(notebook)
    json.dumps(notebook, allow_nan=False).encode()
