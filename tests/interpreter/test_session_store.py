"""SessionStore: what a session was comes back, written behind, and never for a short cell."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from interpreter.activity import Moment
from interpreter.execution import Clock
from interpreter.session_store import RunningCell, SessionState, SessionStore
from interpreter.settings import Settings

Database = AsyncDatabase[dict[str, Any]]
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
CELL = RunningCell(
    cell_id="c1",
    code="print('a.b$')\n",
    timeout_s=2.5,
    note={"turn": "7", "": "$.\0"},
    message_id="id_7_1",
    started_at=AT,
    clock=Clock(1.5, 20.25),
    before_ns=1 << 60,
    wanted=True,
    told="It was another one.",
    told_lost=True,
)
STATE = SessionState(
    user_id="anna",
    slot="s1",
    kernel={"key": "secret", "a.b": {"$x": [1, None]}},
    identity="id",
    cells=3,
    memory_bytes=1 << 30,
    last_active=Moment(AT, "boot", 1.5),
    state_gone="It is gone.",
    files_gone="They are gone.",
    last_error="ValueError",
    collected_ns=1 << 61,
    has_files=False,
    running=(CELL,),
)


@pytest.fixture
async def store(settings: Settings, database: Database) -> AsyncIterator[SessionStore]:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    async with SessionStore.open(settings, database=database) as opened:
        yield opened


async def test_state_comes_back_as_it_was_put(store: SessionStore) -> None:
    store.put(STATE)
    store.put(SessionState(user_id="ben", last_active=Moment(AT)))
    await store.written("anna")
    await store.written("ben")
    found = {state.user_id: state for state in await store.load()}
    assert found == {"anna": STATE, "ben": SessionState(user_id="ben", last_active=Moment(AT))}


#: As it is written; version 0.1 knew nothing of files that are gone.
STORED = {
    "user_id": "anna",
    "slot": "s1",
    "kernel": '{"key": "secret", "a.b": {"$x": [1, null]}}',
    "identity": "id",
    "cells": 3,
    "memory_bytes": 1 << 30,
    "last_active_at": AT,
    "last_active_boot": "boot",
    "last_active_monotonic_s": 1.5,
    "state_gone": "It is gone.",
    "files_gone": "They are gone.",
    "last_error": "ValueError",
    "collected_ns": 1 << 61,
    "has_files": False,
    "running": [
        {
            "cell_id": "c1",
            "message_id": "id_7_1",
            "code": "print('a.b$')\n",
            "timeout_s": 2.5,
            "note": [["turn", "7"], ["", "$.\0"]],
            "started_at": AT,
            "elapsed_s": 1.5,
            "since": 20.25,
            "before_ns": 1 << 60,
            "wanted": True,
            "told": "It was another one.",
            "told_lost": True,
        }
    ],
}


async def test_record_is_written_as_other_versions_know_it(store: SessionStore) -> None:
    store.put(STATE)
    await store.written("anna")
    written = await store._collection.find_one({"user_id": "anna"})
    assert written is not None
    del written["_id"], written["mark"]
    for moment in (written, written["running"][0]):
        for name in {"last_active_at", "started_at"} & moment.keys():
            moment[name] = moment[name].replace(tzinfo=UTC)
    assert written == STORED


@pytest.mark.parametrize(
    ("stored", "state"),
    [
        (STORED, STATE),
        ({**STORED, "of a later version": {"x": 1}}, STATE),
        (
            {k: value for k, value in STORED.items() if k not in ("files_gone", "has_files")},
            replace(STATE, files_gone=None, has_files=True),
        ),
        (
            {"user_id": "anna", "last_active_at": AT},
            SessionState(user_id="anna", last_active=Moment(AT)),
        ),
        (
            {
                "user_id": "anna",
                "last_active_at": AT,
                "running": [{"cell_id": "c1", "code": "1", "timeout_s": 2.5, "started_at": AT}],
            },
            SessionState(
                user_id="anna",
                last_active=Moment(AT),
                running=(RunningCell(cell_id="c1", code="1", timeout_s=2.5, started_at=AT),),
            ),
        ),
    ],
    ids=["today's", "later", "earlier", "least", "least with a cell"],
)
async def test_record_of_another_version_is_read(
    store: SessionStore, stored: dict[str, Any], state: SessionState
) -> None:
    await store._collection.insert_one({**stored, "mark": store._mark})
    assert await store.load() == (state,)


async def test_text_that_no_database_takes_keeps_nothing_from_being_written(
    store: SessionStore,
) -> None:
    store.put(replace(STATE, running=(replace(CELL, code="\ud800" + "x" * (1 << 20)),)))
    await store.written("anna")
    ((found,),) = [state.running for state in await store.load()]
    assert found.code.startswith("?x") and len(found.code) == 256 << 10


async def test_session_that_was_dropped_is_forgotten(store: SessionStore) -> None:
    store.put(STATE)
    await store.written("anna")
    store.drop("anna")
    await store.written("anna")
    assert await store.load() == ()


async def test_newest_state_is_written_at_the_end(settings: Settings, database: Database) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    async with SessionStore.open(settings, database=database) as store:
        store.put(STATE, within_s=3600)
        store.put(replace(STATE, cells=4), within_s=3600)
    async with SessionStore.open(settings, database=database) as store:
        assert [state.cells for state in await store.load()] == [4]


async def test_short_cell_is_never_written(store: SessionStore) -> None:
    idle = replace(STATE, running=())
    store.put(idle)
    await store.written("anna")
    store.put_begun(STATE)
    store.put_over(idle)
    now = asyncio.get_running_loop().time()
    assert store._changes["anna"].first_due > now + 1.0


async def test_end_of_a_cell_that_was_written_is_written_at_once(store: SessionStore) -> None:
    store.put(STATE)
    await store.written("anna")
    store.put_over(replace(STATE, running=()))
    async with asyncio.timeout(1.5):  # long before what matters little is written
        while (await store.load())[0].running:
            pass


async def test_records_of_others_and_nonsense_are_left_out(
    settings: Settings, database: Database, store: SessionStore
) -> None:
    store.put(STATE)
    await store.written("anna")
    document = await database["sessions"].find_one({"user_id": "anna"}, {"_id": 0})
    assert document is not None
    await database["sessions"].insert_many(
        [
            {**document, "user_id": "ben", "kernel": "no json"},
            {**document, "user_id": "carl", "running": [{"cell_id": 1}]},
            {**document, "user_id": "dora", "mark": "another directory's"},
        ]
    )
    assert [state.user_id for state in await store.load()] == ["anna"]
