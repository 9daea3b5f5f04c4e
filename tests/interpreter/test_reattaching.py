"""What is written down of running cells, against what their kernels say."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from interpreter.execution import Clock
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


@pytest.mark.parametrize(
    ("told_s", "limit_s"), [(None, 9.0), (4.0, 4.0), (9.0, 9.0), (9.5, 9.0), (-1.0, -1.0)]
)
def test_deadline_of_a_cell_that_was_not_written_down_is_what_was_sent_with_it(
    told_s: float | None, limit_s: float
) -> None:
    sent_at = time.monotonic() - 3.0
    replay = Replay("id_7_3", reply=RUNS, timeout_s=told_s, sent_at=sent_at)
    _, running = sort_cells([], replay, identity="id", timeout_s=9.0)
    assert running is not None
    assert running.timeout_s == limit_s
    if limit_s > 3.0:
        assert running.clock == Clock(0.0, sent_at)
        assert datetime.now(UTC) - running.started_at >= timedelta(seconds=3.0)


@pytest.mark.parametrize("sent_at", [None, float("1e300"), float("-1e300")])
def test_time_at_which_it_cannot_have_been_sent_gives_it_no_more_than_the_whole_deadline(
    sent_at: float | None,
) -> None:
    replay = Replay("id_7_3", reply=RUNS, timeout_s=4.0, sent_at=sent_at)
    before = time.monotonic()
    _, running = sort_cells([], replay, identity="id", timeout_s=9.0)
    assert running is not None and running.clock.since is not None
    assert before - 4.0 <= running.clock.since <= time.monotonic()


def test_clock_of_a_cell_that_waits_for_an_answer_stands() -> None:
    replay = Replay("id_7_3", reply=RUNS, question=[b""], timeout_s=4.0, sent_at=0.0)
    _, running = sort_cells([], replay, identity="id", timeout_s=9.0)
    assert running is not None and running.clock == Clock()
