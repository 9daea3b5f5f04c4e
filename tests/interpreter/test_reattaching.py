"""What is written down of running cells, against what their kernels say."""

import pytest

from interpreter.reattaching import sort_cells
from interpreter.replay import Replay
from interpreter.session_store import RunningCell


def _cell(number: int, *, wanted: bool = False, session: str = "id") -> RunningCell:
    return RunningCell(
        cell_id=str(number),
        code="",
        timeout_s=1.0,
        message_id=f"{session}_7_{number}",
        wanted=wanted,
    )


RUNS, OVER = None, "ok"


@pytest.mark.parametrize(
    ("cells", "replay", "lost", "going"),
    [
        ([], Replay(), [], None),
        ([], Replay("id_7_3", reply=OVER), [], None),
        ([], Replay("id_7_3", reply=RUNS), [], "id_7_3"),
        ([_cell(3)], Replay("id_7_3", reply=RUNS), [], "id_7_3"),
        ([_cell(3)], Replay("id_7_3", reply=OVER), [], "id_7_3"),
        ([_cell(3)], Replay("id_7_2", reply=OVER), [], "id_7_3"),
        ([_cell(3)], Replay(""), [], "id_7_3"),
        ([_cell(3)], None, [], "id_7_3"),
        ([_cell(3)], Replay("id_9_4", reply=OVER), [], None),
        ([_cell(3)], Replay("id_9_4", reply=RUNS), [], "id_9_4"),
        ([_cell(3, wanted=True)], Replay("id_7_4", reply=RUNS), ["3"], "id_7_4"),
        ([_cell(1, wanted=True), _cell(3)], Replay("id_7_3", reply=OVER), ["1"], "id_7_3"),
        ([_cell(1, wanted=True), _cell(3)], None, ["1"], "id_7_3"),
        ([_cell(3, wanted=True)], Replay("nonsense", reply=OVER), [], "id_7_3"),
        ([_cell(3, session="old")], None, [], None),
        ([_cell(3, session="old", wanted=True)], Replay(""), ["3"], None),
    ],
)
def test_cells_are_sorted_by_what_their_kernel_says(
    cells: list[RunningCell], replay: Replay | None, lost: list[str], going: str | None
) -> None:
    found, running = sort_cells(cells, replay, identity="id", timeout_s=9.0)
    assert [cell.cell_id for cell in found] == lost
    assert (running and running.message_id) == going
    assert running is None or running.wanted
