"""What a front end is told while a cell is under way, and what operators see of it."""

import asyncio

from interpreter import Phase, Session
from interpreter.outputs import ClearOutput, Output
from tests.service.waiting import until


def names(phases: list[Phase]) -> list[str]:
    return [phase.name for phase in phases]


async def test_phases_of_a_first_cell_come_in_order(session: Session) -> None:
    phases: list[Phase] = []
    await session.execute("1", on_phase=phases.append, timeout_s=7)
    assert names(phases) == ["starting", "running", "collecting"]
    assert [phase.limit_s for phase in phases] == [None, 7, 7]
    assert phases[1].run_s == 0.0 < phases[2].run_s
    phases.clear()
    await session.execute("1", on_phase=phases.append)
    assert names(phases) == ["running", "collecting"]
    assert phases[0].limit_s == 60.0


async def test_cell_behind_another_is_queued(session: Session) -> None:
    await session.execute("1")
    phases: list[Phase] = []
    first = session.execute("import time; time.sleep(0.1)")
    await asyncio.gather(first, session.execute("1", on_phase=phases.append))
    assert names(phases) == ["queued", "running", "collecting"]


async def test_waiting_for_a_person_is_a_phase_in_which_the_clock_stands(
    session: Session,
) -> None:
    phases: list[Phase] = []

    async def answer(prompt: str, secret: bool) -> str:
        assert phases[-1].name == "input"
        return "7"

    await session.execute("input()\ninput()", on_input=answer, on_phase=phases.append)
    asked = ["input", "running"]
    assert names(phases) == ["starting", "running", *asked, *asked, "collecting"]
    assert phases[2].run_s == phases[3].run_s
    assert phases[3].run_s < phases[4].run_s == phases[5].run_s


async def test_installing_names_what_is_asked_for(session: Session) -> None:
    phases: list[Phase] = []
    await session.execute("%pip install numppy pandsa>=1", on_phase=phases.append)
    assert names(phases) == ["starting", "running", "installing", "running", "collecting"]
    assert phases[2].names == ("numppy", "pandsa>=1")


async def test_callbacks_that_fail_cost_nobody_the_result(session: Session) -> None:
    def fail(_: Phase | Output | ClearOutput) -> None:
        raise RuntimeError("of the front end")

    def give_up(_: Phase | Output | ClearOutput) -> None:
        raise asyncio.CancelledError

    for callback in (fail, give_up):
        result = await session.execute(
            "print(1)\nopen('a.txt', 'w').write('x')", on_phase=callback, on_output=callback
        )
        assert (result.status, result.text.splitlines()[0]) == ("ok", "1")
        assert result.outputs


async def test_operators_see_the_running_cell_and_those_behind_it(session: Session) -> None:
    await session.execute("1/0")
    info = session.info()
    assert info is not None
    assert (info.cell_running_s, info.waiting_cells) == (None, 0)
    assert (info.last_error, info.cpu_percent) == ("ZeroDivisionError", None)
    begun = asyncio.Event()
    cells = [
        asyncio.create_task(
            session.execute("print()\nwhile True: pass", on_output=lambda _: begun.set())
        ),
        *(asyncio.create_task(session.execute("1")) for _ in range(2)),
    ]
    await begun.wait()
    info = session.info()
    assert info is not None and info.cell_running_s is not None and info.cell_running_s > 0
    assert info.waiting_cells == 2
    await session.interrupt()
    await asyncio.gather(*cells)
    info = session.info()
    assert info is not None and info.last_error == "KeyboardInterrupt"


async def test_last_error_is_a_name_whatever_the_cell_calls_it(session: Session) -> None:
    await session.execute("raise type('a b `c`', (Exception,), {})('secret')")
    info = session.info()
    assert info is not None and info.last_error is None


async def test_history_has_memory_and_processor_time(session: Session) -> None:
    await session.execute("import time")
    session.sample(also_idle=True)
    cell = asyncio.create_task(session.execute("end = time.time() + 1\nwhile time.time() < end: 0"))
    await until(lambda: (_cpu_percent(session) or 0) > 5)
    session.sample(also_idle=False)
    await cell
    history = session.resource_history()
    assert history[0].cpu_percent is None
    assert max(sample.cpu_percent or 0 for sample in history) > 5
    assert all(sample.memory_bytes > 1 << 20 for sample in history)
    assert sorted(sample.at for sample in history) == [sample.at for sample in history]


async def test_service_samples_busy_kernels_by_itself_and_idle_ones_rarely(
    session: Session,
) -> None:
    cell = asyncio.create_task(session.execute("import time; time.sleep(60)"))
    await until(lambda: len(session.resource_history()) == 1)
    await session.interrupt()
    await cell
    session.sample(also_idle=False)  # what it came to: it was busy at the last look
    taken = len(session.resource_history())
    session.sample(also_idle=False)
    assert len(session.resource_history()) == taken
    session.sample(also_idle=True)
    assert len(session.resource_history()) == taken + 1


def _cpu_percent(session: Session) -> float | None:
    info = session.info()
    return None if info is None else info.cpu_percent
