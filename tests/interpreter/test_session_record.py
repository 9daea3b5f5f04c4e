"""SessionRecord: what is written down of a session at once, and what may wait."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from interpreter.hosts.local import LocalKernelHost
from interpreter.session_record import SessionRecord
from interpreter.session_store import RunningCell, SessionState, SessionStore
from interpreter.settings import Settings


@pytest.fixture
async def store(
    settings: Settings, database: AsyncDatabase[dict[str, Any]]
) -> AsyncIterator[SessionStore]:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    async with SessionStore.open(settings, database=database) as opened:
        yield opened


@pytest.mark.parametrize("untold", [{}, {"state_gone": "It ended."}, {"files_gone": "All gone."}])
async def test_end_of_a_short_cell_waits_unless_it_has_told_something(
    store: SessionStore, untold: dict[str, str]
) -> None:
    host = LocalKernelHost.__new__(LocalKernelHost)  # without a kernel, nobody asks it anything
    record = SessionRecord("anna", store=store, host=host)
    record.take_over(SessionState(user_id="anna", **untold))
    await store.written("anna")
    record.begin(RunningCell(cell_id="c1", code="1", timeout_s=2.5))
    record.over("c1", cells=1, state_gone=None, files_gone=None)
    left_s = store._changes["anna"].first_due - asyncio.get_running_loop().time()
    assert (left_s <= 0) == bool(untold)
