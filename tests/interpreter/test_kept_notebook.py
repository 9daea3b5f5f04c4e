"""A session's notebook on disk: what a later service finds, and what it never finds."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from interpreter.kept_notebook import KeptNotebook
from interpreter.notebook import MOST_CELLS, CellRecord
from interpreter.notebook_store import NotebookStore
from interpreter.outputs import CellError, DisplayData, ExecuteResult, Output, Stream
from interpreter.tasks import Tasks

OUTPUTS: tuple[Output, ...] = (
    Stream("stdout", "naïve ∞\n"),
    DisplayData(
        {"image/png": "aGk=", "application/json": {"a": [1, None, 2.5, "…"]}},
        {"image/png": {"width": 3}},
        "id",
        file_id="0123456789abcdef",
    ),
    ExecuteResult({"text/plain": "42"}, {}, 3),
    CellError("ValueError", "bad", ("frame", "ValueError: bad")),
)


@pytest.fixture
def store(tmp_path: Path) -> NotebookStore:
    opened = NotebookStore(tmp_path / "notebooks")
    opened.open()
    return opened


@pytest_asyncio.fixture
async def tasks() -> AsyncIterator[Tasks]:
    running = Tasks()
    yield running
    await running.all_done()


async def keep(notebook: KeptNotebook, *records: CellRecord) -> None:
    """Add cells, and wait until they are on disk."""
    for record in records:
        notebook.add(record)
    await notebook.written(within_s=60)


async def sources(notebook: KeptNotebook) -> list[str]:
    built = await notebook.build()
    return [cell.source for cell in built.cells if cell.cell_type == "code"]


async def note(notebook: KeptNotebook) -> str:
    return str((await notebook.build()).cells[0].source)


def test_cells_are_read_as_they_were_written(store: NotebookStore) -> None:
    records = {
        7: CellRecord("x = 1", 3, OUTPUTS, cell_id="a"),
        8: CellRecord("y", None, (), outputs_left_out=True),
    }
    store.write("user", records)
    assert store.read("user") == records


def test_only_the_service_can_read_it(store: NotebookStore, tmp_path: Path) -> None:
    store.write("user", {1: CellRecord("secret", 1)})
    root = tmp_path / "notebooks"
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (root, root / "user", root / "user/1.json")]
    assert modes == [0o700, 0o700, 0o600]


def test_what_the_kernel_never_could_have_sent_is_kept_all_the_same(store: NotebookStore) -> None:
    store.write("user", {1: CellRecord("'\ud800'", 1, (Stream("stdout", "\udfff\x00\n"),))})
    assert store.read("user") == {1: CellRecord("'�'", 1, (Stream("stdout", "?\x00\n"),))}


@pytest.mark.parametrize(("controls", "kept"), [(14_000, True), (20_000, False)])
def test_characters_that_json_makes_six_of_take_no_more_room(
    store: NotebookStore, controls: int, kept: bool
) -> None:
    store.write("user", {1: CellRecord("x", 1, (Stream("stdout", "\x01" * controls),))})
    [record] = store.read("user").values()
    assert bool(record.outputs) is kept and record.outputs_left_out is not kept
    assert record.code == "x"


def test_gap_hides_what_was_before_it(store: NotebookStore, tmp_path: Path) -> None:
    store.write("user", {n: CellRecord(str(n), n) for n in (1, 2, 4, 5)})
    assert list(store.read("user")) == [4, 5]
    names = {path.name for path in (tmp_path / "notebooks/user").iterdir()}
    assert names == {"4.json", "5.json"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"code": 1, "execution_count": 1, "cell_id": "", "outputs_left_out": 0, "outputs": []}',
        b"[" * 100_000,
        b'{"code": "", "execution_count": 1, "cell_id": "", "outputs": [["Stream", {}]]}',
        b'{"code": "", "execution_count": 1, "cell_id": "", "outputs": [["open", {}]]}',
    ],
)
@pytest.mark.parametrize(("broken", "found"), [(3, [1, 2]), (2, [3])])
def test_cell_that_makes_no_sense_is_left_out(
    store: NotebookStore, tmp_path: Path, content: bytes, broken: int, found: list[int]
) -> None:
    store.write("user", {n: CellRecord(str(n), n) for n in (1, 2, 3)})
    (tmp_path / f"notebooks/user/{broken}.json").write_bytes(content)
    assert list(store.read("user")) == found


def test_half_written_cell_is_none(store: NotebookStore, tmp_path: Path) -> None:
    store.write("user", {1: CellRecord("1", 1)})
    half = tmp_path / "notebooks/user/2.new"
    half.write_text('{"code": "')
    assert list(store.read("user")) == [1]
    assert not half.exists()


def test_only_those_of_sessions_that_go_on_stay(store: NotebookStore) -> None:
    for user_id in ("goes", "stays"):
        store.write(user_id, {1: CellRecord("1", 1)})
    store.keep_only({"stays"})
    assert (list(store.read("goes")), list(store.read("stays"))) == ([], [1])


async def test_later_service_goes_on_with_it(store: NotebookStore, tasks: Tasks) -> None:
    first = KeptNotebook("user", store=store, tasks=tasks)
    await keep(first, CellRecord("x = 1", 1), CellRecord("x", 2, OUTPUTS))
    second = KeptNotebook("user", store=store, tasks=tasks)
    second.take_over(2)
    await keep(second, CellRecord("y", 3))
    third = KeptNotebook("user", store=store, tasks=tasks)
    third.take_over(3)
    assert await sources(third) == await sources(second) == ["x = 1", "x", "y"]
    outputs = (await third.build()).cells[2].outputs
    assert [output.output_type for output in outputs] == [
        *("stream", "display_data", "execute_result", "error")
    ]
    assert "missing" not in await note(third)


async def test_cell_that_is_told_twice_is_there_once(store: NotebookStore, tasks: Tasks) -> None:
    first = KeptNotebook("user", store=store, tasks=tasks)
    await keep(first, CellRecord("a", 1, cell_id="1"), CellRecord("a", 2, cell_id="2"))
    second = KeptNotebook("user", store=store, tasks=tasks)
    second.take_over(1)
    await keep(second, CellRecord("a", 2, cell_id="2"), CellRecord("b", 3, cell_id="3"))
    assert await sources(second) == ["a", "a", "b"]


async def test_cells_of_before_that_are_nowhere_are_counted(
    store: NotebookStore, tasks: Tasks
) -> None:
    notebook = KeptNotebook("user", store=store, tasks=tasks)
    notebook.take_over(40)
    await keep(notebook, CellRecord("x", 41))
    later = KeptNotebook("user", store=store, tasks=tasks)
    later.take_over(41)
    assert await sources(later) == ["x"]
    assert "first 40 cells are missing" in await note(later)


async def test_new_session_has_nothing_of_one_before(store: NotebookStore, tasks: Tasks) -> None:
    store.write("user", {1: CellRecord("of before", 1), 2: CellRecord("too", 2)})
    notebook = KeptNotebook("user", store=store, tasks=tasks)
    await keep(notebook, CellRecord("new", 1))
    assert await sources(notebook) == ["new"]
    assert [record.code for record in store.read("user").values()] == ["new"]


async def test_update_of_an_earlier_display_is_written_there(
    store: NotebookStore, tasks: Tasks
) -> None:
    notebook = KeptNotebook("user", store=store, tasks=tasks)
    await keep(notebook, CellRecord("a", 1, (DisplayData({"text/plain": "0 %"}, {}, "bar"),)))
    later = KeptNotebook("user", store=store, tasks=tasks)
    later.take_over(1)
    done = DisplayData({"text/plain": "100 %"}, {}, "bar", update=True)
    await keep(later, CellRecord("b", 2, (done,)))
    first, second = store.read("user").values()
    assert [output.text for output in first.outputs] == ["100 %"]
    assert second.outputs == ()


async def test_disk_has_as_many_cells_as_memory(store: NotebookStore, tasks: Tasks) -> None:
    notebook = KeptNotebook("user", store=store, tasks=tasks)
    await keep(notebook, *(CellRecord(str(n), n) for n in range(1, MOST_CELLS + 1)))
    await keep(notebook, CellRecord("more", 0), CellRecord("more", 0))
    assert list(store.read("user")) == list(range(3, MOST_CELLS + 3))
    later = KeptNotebook("user", store=store, tasks=tasks)
    later.take_over(MOST_CELLS + 2)
    assert "first 2 cells are missing" in await note(later)


async def test_outputs_that_are_left_out_leave_the_disk(
    store: NotebookStore, tasks: Tasks, tmp_path: Path
) -> None:
    notebook = KeptNotebook("user", store=store, tasks=tasks)
    large: dict[str, Any] = {"text/html": "x" * (24 << 20)}
    for number in range(1, 4):
        await keep(notebook, CellRecord("show", number, (DisplayData(large, {}),)))
    sizes = [(tmp_path / f"notebooks/user/{n}.json").stat().st_size >> 20 for n in (1, 2, 3)]
    assert sizes == [0, 24, 24]
    assert json.loads((tmp_path / "notebooks/user/1.json").read_text())["outputs_left_out"] is True


async def test_what_the_disk_refuses_is_written_with_the_next_cell(
    store: NotebookStore, tasks: Tasks, tmp_path: Path
) -> None:
    notebook = KeptNotebook("user", store=store, tasks=tasks)
    await notebook.build()
    in_the_way = tmp_path / "notebooks/user"
    in_the_way.touch()
    await keep(notebook, CellRecord("a", 1))
    assert await sources(notebook) == ["a"]
    in_the_way.unlink()
    await keep(notebook, CellRecord("b", 2))
    assert [record.code for record in store.read("user").values()] == ["a", "b"]


async def test_nothing_is_written_once_it_is_deleted(
    store: NotebookStore, tasks: Tasks, tmp_path: Path
) -> None:
    notebook = KeptNotebook("user", store=store, tasks=tasks)
    await keep(notebook, CellRecord("a", 1))
    notebook.add(CellRecord("b", 2))
    await asyncio.gather(notebook.delete(), notebook.delete())
    await keep(notebook, CellRecord("c", 3))
    assert not (tmp_path / "notebooks/user").exists()
    assert await sources(notebook) == ["a", "b", "c"]


async def test_notebook_waits_for_no_write(store: NotebookStore, tasks: Tasks) -> None:
    notebook = KeptNotebook("user", store=store, tasks=tasks)
    async with notebook._disk:  # as of a disk that hangs
        notebook.add(CellRecord("a", 1))
        assert await sources(notebook) == ["a"]
        await notebook.written(within_s=0.01)
        assert store.read("user") == {}
    await notebook.written(within_s=60)
    assert list(store.read("user")) == [1]
