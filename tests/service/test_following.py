"""Following a cell that outlived its service: its outputs come while it runs."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest_asyncio

from interpreter import ClearOutput, Interpreter, Output, Recovered, Settings, Stream
from interpreter.admin import stopping
from tests.service.test_reattaching import Earlier
from tests.service.waiting import until

_CODE = """
import os, time
def wait_for(name):
    while not os.path.exists(name):
        time.sleep(0.02)
print("tick 0")
open("begun", "w").close()
for number in (1, 2):
    wait_for(f"go{number}")
    print("tick", number)
print("half a line, ", end="")
wait_for("end")
print("its end")
"""
_FIRST, _WHOLE = "tick 0\n", "tick 0\ntick 1\ntick 2\nhalf a line, its end\n"


@dataclass
class Seen:
    """What a follower has been given."""

    text: str = ""
    kinds: set[type] = field(default_factory=set)

    async def take(self, output: Output | ClearOutput) -> None:
        """Take one."""
        self.kinds.add(type(output))
        self.text += output.text


@dataclass
class Left:
    """A cell that runs, whose service was killed, and the service after that."""

    service: Interpreter
    cell: Recovered
    work: Path

    def let(self, name: str) -> None:
        """Have the cell go on."""
        (self.work / name).touch()

    def follow(self) -> tuple[Seen, "asyncio.Task[Any]"]:
        """Have one more follower."""
        seen = Seen()
        return seen, asyncio.create_task(self.cell.follow(seen.take))


@pytest_asyncio.fixture(loop_scope="session")
async def left(tmp_path: Path) -> AsyncIterator[Left]:
    settings = {"data_dir": str(tmp_path / "data"), "warm_kernels": 0, "interrupt_grace_s": 2.0}
    try:
        async with Earlier.running(settings) as earlier:
            await earlier.begin("u", _CODE)
            (work,) = tmp_path.glob("data/sessions/*/work")
            await until((work / "begun").exists)
            earlier.process.kill()
            await earlier.process.wait()
        async with Interpreter.open(Settings(**settings)) as service:
            (cell,) = service.recovered
            yield Left(service, cell, work)
    finally:
        await stopping.stop(Settings(**settings), tell=lambda line: None, patience_s=0)


async def test_outputs_come_while_the_cell_runs(left: Left) -> None:
    seen, following = left.follow()
    await until(lambda: seen.text == _FIRST)
    assert not left.cell.result.done()
    left.let("go1")
    await until(lambda: seen.text == "tick 0\ntick 1\n")
    left.let("go2")
    await until(lambda: seen.text.endswith("half a line, "))
    assert not left.cell.result.done()
    left.let("end")
    result = await following
    assert (result.status, result.text, seen.text) == ("ok", _WHOLE, _WHOLE)
    assert seen.kinds == {Stream}


async def test_each_follower_gets_all_of_it_once(left: Left) -> None:
    early, following = left.follow()
    left.let("go1")
    left.let("go2")
    await until(lambda: early.text.endswith("half a line, "))
    late, following_late = left.follow()
    gone, following_no_more = left.follow()
    await until(lambda: late.text == gone.text == early.text)
    following_no_more.cancel()
    await asyncio.wait([following_no_more])
    left.let("end")
    await asyncio.gather(following, following_late)
    assert (early.text, late.text, gone.text) == (_WHOLE, _WHOLE, _WHOLE.removesuffix("its end\n"))
    afterwards, following_afterwards = left.follow()
    result = await following_afterwards
    assert (afterwards.text, result) == (_WHOLE, await left.cell.result)


async def test_follower_that_fails_costs_nobody_the_result(left: Left) -> None:
    def fail(output: Output | ClearOutput) -> None:
        raise ValueError(output.text)

    seen, following = left.follow()
    failing = asyncio.create_task(left.cell.follow(fail))
    for name in ("go1", "go2", "end"):
        left.let(name)
    assert (await failing).text == (await following).text == seen.text == _WHOLE


async def test_cell_that_is_followed_can_be_interrupted(left: Left) -> None:
    seen, following = left.follow()
    await until(lambda: seen.text == _FIRST)
    session = await left.service.session(user_id="u")
    assert await session.interrupt()
    result = await following
    assert result.status == "interrupted"
    assert seen.text.startswith(_FIRST)
    assert "KeyboardInterrupt" in seen.text
