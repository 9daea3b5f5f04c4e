"""A user's own limits, and deleting all that is kept of a user."""

import asyncio
from pathlib import Path

import pytest

from interpreter import Interpreter, InvalidName, Session, SessionClosed, SessionLimits, Settings
from interpreter.session_store import RunningCell, SessionState
from tests.service.waiting import until

MIB = 1 << 20
FILL = "block = bytearray({} << 20)"


async def test_session_is_found_only_where_there_is_one(service: Interpreter, user_id: str) -> None:
    assert service.find_session(user_id) is None
    session = await service.session(user_id=user_id)
    assert service.find_session(user_id) is session
    await session.close()
    assert service.find_session(user_id) is None


async def test_own_time_limit_holds_from_the_next_cell(
    service: Interpreter, session: Session
) -> None:
    service.set_limits(session.user_id, SessionLimits(cell_timeout_s=0.3))
    for asked_s in (None, 30.0):
        result = await session.execute("import time\ntime.sleep(60)", timeout_s=asked_s)
        assert result.status == "timeout"
        assert result.message == (
            "The cell was stopped after 0.3 s, the time limit. The variables are kept."
        )
    result = await session.execute("import time\ntime.sleep(60)", timeout_s=0.2)
    assert result.message is not None and "after 0.2 s" in result.message
    service.set_limits(session.user_id, SessionLimits())
    assert (await session.execute("import time\ntime.sleep(0.5)")).status == "ok"


async def test_own_memory_limit_holds_from_the_next_kernel(
    service: Interpreter, session: Session
) -> None:
    assert (await session.execute(FILL.format(200))).status == "ok"
    service.set_limits(session.user_id, SessionLimits(memory_bytes=160 * MIB))
    assert (await session.execute(FILL.format(200))).status == "ok"
    await session.restart()
    assert "MemoryError" in (await session.execute(FILL.format(200))).text
    result = await session.execute(
        "import mmap\n"
        "block = mmap.mmap(-1, 300 << 20)\n"
        "for page in range(0, 300 << 20, 4096):\n    block[page] = 1\n"
        "import time; time.sleep(20)"  # without control groups a watcher comes by, now and then
    )
    assert result.message is not None
    assert "it used more memory than its limit of 160 MB" in result.message


async def test_more_memory_than_others_can_be_given(service: Interpreter, user_id: str) -> None:
    service.set_limits(user_id, SessionLimits(memory_bytes=900 * MIB))
    session = await service.session(user_id=user_id)
    assert (await session.execute(FILL.format(700))).status == "ok"
    await session.close()


async def test_spare_kernel_with_other_limits_is_left_to_others(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", warm_kernels=1)
    async with Interpreter.open(settings) as service:
        pool = service._pool
        await until(lambda: pool.ready == 1)
        spare = pool._spares[0].kernel.hosted
        service.set_limits("small", SessionLimits(memory_bytes=256 * MIB))
        small, usual = [await service.session(user_id=name) for name in ("small", "usual")]
        assert "MemoryError" in (await small.execute(FILL.format(400))).text
        assert (await usual.execute(FILL.format(400))).status == "ok"
        info = usual.info()
        assert info is not None and info.kernel_id == spare.kernel_id


@pytest.mark.parametrize(
    ("limits", "taken"),
    [
        ({"cell_timeout_s": 0}, False),
        ({"cell_timeout_s": float("inf")}, False),
        ({"cell_timeout_s": 0.001}, True),
        ({"memory_bytes": 128 * MIB - 1}, False),
        ({"memory_bytes": 128 * MIB}, True),
        ({"max_files": 0}, False),
        ({"max_files": 1}, True),
    ],
)
async def test_what_is_no_limit_is_refused(limits: dict[str, float], taken: bool) -> None:
    if taken:
        SessionLimits(**limits)  # type: ignore[arg-type]  # the table is of numbers
        return
    with pytest.raises(ValueError, match="must be"):
        SessionLimits(**limits)  # type: ignore[arg-type]


async def test_smallest_kernel_there_may_be_starts(service: Interpreter, user_id: str) -> None:
    service.set_limits(user_id, SessionLimits(memory_bytes=128 * MIB))
    session = await service.session(user_id=user_id)
    assert (await session.execute("1 + 1")).text == "2"
    await session.close()


async def test_deleted_user_is_as_new(service: Interpreter, user_id: str) -> None:
    session = await service.session(user_id=user_id)
    await session.execute("x = 1; open('made.txt', 'w').write('made');")
    stored = await service.files.save(user_id=user_id, filename="a.txt", source=b"mine")
    others = await service.files.save(user_id=f"{user_id}x", filename="a.txt", source=b"other's")
    await service.records.put("conversation", f"1-{user_id}", {}, owner=user_id)
    slot = service.settings.data_dir / "sessions" / str(session.slot)
    assert slot.exists()

    await service.delete_user(user_id)
    assert service.find_session(user_id) is None
    assert not slot.exists() and not stored.file_path.parent.exists()
    assert await service.files.list(user_id=user_id) == ()
    assert await service.records.get("conversation", f"1-{user_id}") is None
    assert others.file_path.exists()
    with pytest.raises(SessionClosed):
        await session.execute("x")
    again = await service.session(user_id=user_id)
    assert (await again.execute("import os; print('x' in globals(), os.listdir())")).text == (
        "False []\n"
    )
    await again.close()


async def test_user_without_a_session_is_deleted_too(service: Interpreter, user_id: str) -> None:
    stored = await service.files.save(user_id=user_id, filename="a.txt", source=b"mine")
    await service.records.put("choice", user_id, {}, owner=user_id)
    running = RunningCell(cell_id="1", code="secret = 1", timeout_s=1.0)
    service._store.put(SessionState(user_id=user_id, running=(running,)))  # as of an odd restart
    await service.delete_user(user_id)
    assert user_id not in [state.user_id for state in await service._store.load()]
    assert not stored.file_path.exists()
    assert await service.records.get("choice", user_id) is None
    await service.delete_user(user_id)  # and nothing is wrong with there being nothing
    with pytest.raises(InvalidName):
        await service.delete_user("../x")


async def test_cell_that_runs_while_its_user_is_deleted_leaves_nothing(
    service: Interpreter, user_id: str
) -> None:
    session = await service.session(user_id=user_id)
    begun = asyncio.Event()
    cell = asyncio.create_task(
        session.execute(
            "open('made.txt', 'w').write('made')\nprint('begun')\nwhile True: pass",
            on_output=lambda _: begun.set(),
        )
    )
    waiting = asyncio.create_task(session.execute("1"))
    await begun.wait()
    deletion = asyncio.create_task(service.delete_user(user_id))
    await asyncio.sleep(0)
    newcomer = asyncio.create_task(service.session(user_id=user_id))
    await asyncio.gather(deletion, service.delete_user(user_id))
    assert (await cell).message == "The session was closed while the cell ran."
    with pytest.raises(SessionClosed):
        await waiting
    assert await service.files.list(user_id=user_id) == ()
    assert not (service.settings.data_dir / "user_files" / user_id).exists()
    again = await newcomer
    assert again is not session and not again.closed
    await again.close()
