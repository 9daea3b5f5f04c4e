"""Signals end the program's work in order."""

import asyncio
import os
import signal

import pytest

from bot.console.interrupt_key import InterruptKey
from bot.console.signals import run_until_told


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
async def test_a_signal_cancels_the_work_and_gives_the_status(
    number: signal.Signals, status: int
) -> None:
    settled = False

    async def work(key: InterruptKey) -> int:
        nonlocal settled
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            settled = True
        return 0

    assert await asyncio.create_task(run_until_told(work)) == status
    assert settled


async def test_the_status_of_a_termination_can_be_chosen() -> None:
    async def work(key: InterruptKey) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
        return 1

    assert await asyncio.create_task(run_until_told(work, terminated=0)) == 0


async def test_ctrl_c_goes_to_whoever_asked_last() -> None:
    pressed = asyncio.Queue[str]()

    async def work(key: InterruptKey) -> int:
        with key.handled_by(lambda: pressed.put_nowait("outer")):
            with key.handled_by(lambda: pressed.put_nowait("inner")):
                os.kill(os.getpid(), signal.SIGINT)
                assert await pressed.get() == "inner"
            os.kill(os.getpid(), signal.SIGINT)
            assert await pressed.get() == "outer"
        return 5

    assert await asyncio.create_task(run_until_told(work)) == 5


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    waiting = asyncio.Event()

    async def work(key: InterruptKey) -> int:
        waiting.set()
        await asyncio.Event().wait()
        return 0

    task = asyncio.create_task(run_until_told(work))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
