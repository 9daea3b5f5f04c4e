"""Cells run one after the other without a prompt, and where their input comes from."""

import asyncio
import io
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.console.batch import run_cells, still_running_told
from bot.console.cell_source import SourceCell
from bot.console.output_directory import OutputDirectory
from bot.console.standard_input import StandardInput
from bot.console.views import PlainView
from interpreter import Execution, InterpreterError, QueueFull, Recovered
from tests.bot.fakes import FakeService, FakeSession, printed


async def run(
    tmp_path: Path, session: FakeSession, *codes: str, keep_going: bool = False
) -> tuple[bool, str, str]:
    out, err = io.StringIO(), io.StringIO()
    all_ok = await run_cells(
        tuple(SourceCell(code, line) for line, code in enumerate(codes, start=1)),
        session=session,  # type: ignore[arg-type]  # our own seam, faked
        name="cells.py",
        new_view=lambda: PlainView(out, err, OutputDirectory(tmp_path)),
        err=err,
        on_input=None,
        keep_going=keep_going,
    )
    return all_ok, out.getvalue(), err.getvalue()


async def test_all_cells_are_run_in_order(tmp_path: Path) -> None:
    session = FakeSession()
    session.will("a", printed("1\n"))
    session.will("b", printed("2\n"))
    assert await run(tmp_path, session, "a", "b") == (True, "1\n2\n", "")
    assert session.ran == ["a", "b"]


async def test_the_first_failure_ends_the_run_and_is_named(tmp_path: Path) -> None:
    session = FakeSession()
    session.will_fail("b", "ValueError", "bad\nmore")
    all_ok, _, err = await run(tmp_path, session, "a", "b", "c")
    assert not all_ok
    assert session.ran == ["a", "b"]
    assert err.endswith("\ncell 2 of 3 (cells.py, line 2) failed: ValueError: bad\n")


async def test_the_run_can_go_on_after_a_failure(tmp_path: Path) -> None:
    session = FakeSession()
    session.will_fail("a")
    all_ok, _, _ = await run(tmp_path, session, "a", "b", keep_going=True)
    assert not all_ok
    assert session.ran == ["a", "b"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("timeout", "it ran too long"),
        ("died", "its kernel ended"),
        ("interrupted", "it was interrupted"),
        ("error", "it raised an error"),
    ],
)
async def test_every_status_but_ok_is_a_failure(tmp_path: Path, status: str, reason: str) -> None:
    session = FakeSession()
    session.will("a", status=status)  # type: ignore[arg-type]  # a plain str here
    all_ok, _, err = await run(tmp_path, session, "a")
    assert (all_ok, err) == (False, f"cell 1 of 1 (cells.py, line 1) failed: {reason}\n")


async def test_a_failing_service_is_the_caller_s_matter(tmp_path: Path) -> None:
    session = FakeSession()
    session.refusal = QueueFull(1)
    with pytest.raises(InterpreterError):
        await run(tmp_path, session, "a")


async def test_each_question_gets_a_line_of_a_pipe() -> None:
    reading, writing = os.pipe()
    err = io.StringIO()
    with open(reading) as source:
        answers = StandardInput(source, err)
        first = asyncio.create_task(answers.answer("Name\x1b[2J: ", False))
        os.write(writing, "Änn\nsec".encode())
        assert await first == "Änn"
        os.write(writing, b"ret\nlast")
        os.close(writing)
        assert await answers.answer("Password: ", True) == "secret"
        assert await answers.answer("More: ", False) == "last"
        assert await answers.answer("More: ", False) == "\x04", "EOFError in the cell"
        answers.close()
    assert err.getvalue() == "Name\u241b[2J: Password: More: More: "


async def test_questions_get_lines_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    path.write_text("a\r\nb")
    with path.open(newline="") as source:
        answers = StandardInput(source, io.StringIO())
        assert [await answers.answer("", False) for _ in range(3)] == ["a", "b", "\x04"]


async def test_a_cell_that_is_still_running_is_told_and_others_are_not() -> None:
    service, said = FakeService(), list[str]()
    begun, never = datetime.now(UTC), asyncio.Event()

    async def ended() -> Execution:
        return Execution(status="ok", code="")

    async def running() -> Execution:
        await never.wait()
        raise AssertionError

    results = [asyncio.create_task(work) for work in (ended(), running())]
    mine, others = (Recovered("local", "c", {}, "", begun, result) for result in results)
    others = replace(others, user_id="others")
    for recovered in ((), (mine, others), (replace(others, user_id="local"),)):
        service.recovered = recovered
        await still_running_told(service, user_id="local", say=said.append)  # type: ignore[arg-type]  # faked
    results[1].cancel()
    assert said == ["A cell of last time is still running; these come after it."]
