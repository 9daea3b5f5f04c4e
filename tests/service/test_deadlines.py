"""The deadline: what counts for it, and what happens when it passes."""

import asyncio
import math
from typing import Any

import pytest

from interpreter import Session


async def test_timeout_leaves_kernel_and_variables(session: Session) -> None:
    result = await session.execute("x = 1\nprint('before')\nwhile True: pass", timeout_s=1)
    assert result.status == "timeout"
    assert not result.state_lost
    assert result.text.startswith("before\n")
    assert result.message == (
        "The cell was stopped after 1 s, the time limit. The variables are kept."
    )
    assert (await session.execute("x + 1")).text == "2"


async def test_cell_that_ignores_interrupts_costs_the_kernel(session: Session) -> None:
    await session.execute("x = 1")
    result = await session.execute(
        "print('begun')\n"
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "while True: pass",
        timeout_s=1,
    )
    assert result.status == "timeout"
    assert result.state_lost
    assert result.text.startswith("begun\n")
    assert result.message is not None
    assert "1 s" in result.message and "the variables are gone" in result.message
    after = await session.execute("'x' in globals()")
    assert (after.status, after.text, after.state_lost) == ("ok", "False", False)


async def test_c_code_that_holds_the_interpreter_is_ended(session: Session) -> None:
    result = await session.execute("sum(range(10**11))", timeout_s=1)
    assert (result.status, result.state_lost) == ("timeout", True)
    assert (await session.execute("1")).text == "1"


async def test_regular_expression_gone_wild_is_interrupted(session: Session) -> None:
    result = await session.execute("import re\nre.match('(a+)+$', 'a' * 40 + 'b')", timeout_s=1)
    assert (result.status, result.state_lost) == ("timeout", False)


async def test_messages_do_not_wind_the_clock_up_again(session: Session) -> None:
    result = await session.execute(
        "import time\nwhile True:\n    print('tick'); time.sleep(0.1)", timeout_s=1
    )
    assert result.status == "timeout"
    assert "tick" in result.text


async def test_waiting_for_earlier_cells_does_not_count(session: Session) -> None:
    slow = "import time; time.sleep(1.5); 'done'"
    first, second = await asyncio.gather(
        session.execute(slow, timeout_s=2.5), session.execute(slow, timeout_s=2.5)
    )
    assert (first.status, second.status) == ("ok", "ok")
    assert second.durations.queue_s > 1 > first.durations.queue_s


async def test_waiting_for_input_does_not_count(session: Session) -> None:
    asked: list[tuple[str, bool]] = []

    async def answer(prompt: str, password: bool) -> str:
        asked.append((prompt, password))
        await asyncio.sleep(1.5)
        return "Ada"

    result = await session.execute(
        "name = input('Your name? ')\nimport getpass\nword = getpass.getpass('Word? ')\n"
        "print(name, word)",
        timeout_s=1.2,
        on_input=answer,
    )
    assert (result.status, result.text) == ("ok", "Ada Ada\n")
    assert asked == [("Your name? ", False), ("Word? ", True)]
    assert result.durations.run_s < 1.2


async def test_clock_goes_on_after_the_answer(session: Session) -> None:
    async def answer(prompt: str, password: bool) -> str:
        return "go"

    result = await session.execute("input()\nwhile True: pass", timeout_s=1, on_input=answer)
    assert (result.status, result.state_lost) == ("timeout", False)


async def test_input_without_anyone_to_ask_raises_in_the_cell(session: Session) -> None:
    result = await session.execute("input('hello? ')")
    assert result.status == "refused"
    assert result.message is not None and "nobody can answer" in result.message
    hidden = await session.execute("exec(\"input('hello? ')\")")
    assert hidden.status == "error"
    assert "StdinNotImplementedError" in hidden.text


async def test_front_end_that_cannot_ask_ends_the_cell(session: Session) -> None:
    async def broken(prompt: str, password: bool) -> str:
        raise ConnectionError("no front end")

    result = await session.execute("input('hello? ')", on_input=broken)
    assert result.status == "error"
    assert (await session.execute("1")).text == "1"


@pytest.mark.parametrize("by", ["deadline", "interrupt"])
@pytest.mark.parametrize(
    "wait", ["await asyncio.sleep(60)", "while True: await asyncio.sleep(0.01)"]
)
async def test_cell_that_awaits_can_be_stopped(session: Session, by: str, wait: str) -> None:
    await session.execute("import asyncio\nkept = 1")
    begun = asyncio.Event()
    cell = asyncio.create_task(
        session.execute(
            f"print('begun', flush=True)\n{wait}",
            timeout_s=1 if by == "deadline" else 60,
            on_output=lambda _: begun.set(),
        )
    )
    await begun.wait()
    if by == "interrupt":
        await session.interrupt()
    result = await cell
    assert result.status == ("timeout" if by == "deadline" else "interrupted")
    assert not result.state_lost
    assert (await session.execute("kept")).text == "1"


async def test_cells_that_end_near_their_deadline_lose_nothing(session: Session) -> None:
    await session.execute("import time\nkept = 1")
    for round_ in range(20):
        result = await session.execute("time.sleep(0.2)", timeout_s=0.19 + round_ * 0.001)
        assert result.status in ("ok", "timeout")
        assert not result.state_lost
    assert (await session.execute("kept")).text == "1"


async def test_clock_runs_on_between_quick_answers(session: Session) -> None:
    """Asking again and again, always answered in time, does not keep a cell going for ever."""
    answered = 0

    async def answer(prompt: str, password: bool) -> str:
        nonlocal answered
        await asyncio.sleep(0.6)
        answered += 1
        return "y"

    # It runs for far less than its time between two answers.
    result = await session.execute(
        "import time\nwhile True:\n    input()\n    time.sleep(0.1)",
        timeout_s=0.5,
        on_input=answer,
    )
    assert result.status == "timeout"
    assert answered > 1


@pytest.mark.parametrize("answer", [None, 7, b"x"])
async def test_answer_that_is_no_text_ends_the_cell(session: Session, answer: Any) -> None:
    async def wrong(prompt: str, password: bool) -> Any:
        return answer

    result = await session.execute("input()", on_input=wrong)
    assert result.status in ("error", "interrupted")
    assert (await session.execute("1")).text == "1"


async def test_end_of_input_reaches_the_cell(session: Session) -> None:
    async def leave(prompt: str, password: bool) -> str:
        raise EOFError

    code = "try:\n    input()\nexcept EOFError:\n    print('the end')"
    assert (await session.execute(code, on_input=leave)).text == "the end\n"


async def test_interrupt_while_a_person_is_asked_ends_the_question(session: Session) -> None:
    asked, dropped = asyncio.Event(), asyncio.Event()

    async def think(prompt: str, password: bool) -> str:
        asked.set()
        try:
            await asyncio.sleep(3600)
        finally:
            dropped.set()
        return ""

    cell = asyncio.create_task(session.execute("input()", on_input=think))
    await asked.wait()
    assert await session.interrupt()
    assert (await cell).status == "interrupted"
    await dropped.wait()


async def test_several_questions_each_get_their_own_answer(
    session: Session,
) -> None:
    async def answer(prompt: str, password: bool) -> str:
        return prompt.upper()

    result = await session.execute(
        "answers = [input('a'), input('b')]\nprint(answers)", on_input=answer
    )
    assert result.text == "['A', 'B']\n"


async def test_a_cell_may_catch_the_interrupt_and_clean_up(session: Session) -> None:
    result = await session.execute(
        "try:\n    while True: pass\nfinally:\n    print('cleaned up')", timeout_s=1
    )
    assert result.status == "timeout"
    assert "cleaned up" in result.text
    assert not result.state_lost


@pytest.mark.parametrize("timeout_s", [0, -1, math.nan, math.inf, 10**400])
async def test_what_is_no_deadline_is_refused(session: Session, timeout_s: float) -> None:
    with pytest.raises(ValueError, match="must be greater than 0 and finite"):
        await session.execute("1", timeout_s=timeout_s)
    assert not session.busy
