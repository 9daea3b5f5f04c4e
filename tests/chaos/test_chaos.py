"""A short storm: kernels, fork server, sandbox, database and service are killed under load."""

from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.processes import left_over
from tests.chaos.storm import Plan, weather

_PLAN = Plan(users=8, seconds=25.0, seed=7)


@pytest.mark.timeout(240)
async def test_storm_breaks_no_promise_and_leaves_nothing(work: Path) -> None:
    history = await weather(_PLAN, work)
    assert check(history.events) == []
    assert left_over(work / "data") == []
    happened = {event["what"] for event in history.events if event["kind"] == "fault"}
    downs = {event["how"] for event in history.events if event.get("state") == "down"}
    assert len(happened) >= 2 and downs, (happened, downs)
    assert sum(event["kind"] == "result" for event in history.events) > 2 * _PLAN.users
