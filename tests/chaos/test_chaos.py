"""A short storm: kernels, fork server, sandbox, database and service are killed under load."""

from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.storm import KINDS, Plan, happened, weather

_PLAN = Plan(users=8, seconds=25.0, seed=7)


@pytest.mark.timeout(240)
async def test_storm_breaks_no_promise_and_leaves_nothing(work: Path) -> None:
    history = await weather(_PLAN, work)
    assert check(history.events) == []
    assert happened(history.events) == KINDS
    assert sum(event["kind"] == "result" for event in history.events) > 2 * _PLAN.users
