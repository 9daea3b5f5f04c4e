"""Signals: which of them the bot answers by leaving, and by starting again."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from bot.discord import signals
from bot.discord.signals import StopSignals


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether there is a terminal; at the end signals are as if no program were to be replaced."""
    there = [False]
    monkeypatch.setattr(signals, "_has_terminal", lambda: there[0])
    before = signal.getsignal(signal.SIGHUP)
    yield there
    signal.signal(signal.SIGHUP, before)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


async def _get(number: int) -> None:
    signal.raise_signal(number)
    for _ in range(3):  # rounds of the loop, which reads of it in one and acts in the next
        await asyncio.sleep(0)


async def _told(*numbers: int, can_drain: bool = True) -> tuple[bool, bool]:
    """Whether the program starts again after signals, and whether it was cut off."""
    taken = StopSignals()
    with taken:
        taken.can_drain = can_drain
        try:
            for number in numbers:
                await _get(number)
                assert taken.told.is_set()
        except asyncio.CancelledError:
            return taken.again, True
    return taken.again, False


@pytest.mark.parametrize(
    ("numbers", "again", "cut_off"),
    [
        ([signal.SIGTERM], False, False),
        ([signal.SIGTERM, signal.SIGTERM], False, True),
        ([signal.SIGHUP], True, False),
        ([signal.SIGHUP, signal.SIGHUP], True, False),
        ([signal.SIGHUP, signal.SIGTERM], False, False),
        ([signal.SIGHUP, signal.SIGTERM, signal.SIGTERM], False, True),
        ([signal.SIGTERM, signal.SIGHUP], False, False),
    ],
)
async def test_the_last_word_is_to_stop(numbers: list[int], again: bool, cut_off: bool) -> None:
    assert await asyncio.create_task(_told(*numbers)) == (again, cut_off)


async def test_before_anything_runs_a_reload_starts_again_at_once() -> None:
    assert await asyncio.create_task(_told(signal.SIGHUP, can_drain=False)) == (True, True)


async def test_a_person_who_closes_the_terminal_has_the_bot_stop(terminal: list[bool]) -> None:
    terminal[0] = True
    assert await asyncio.create_task(_told(signal.SIGHUP)) == (False, False)


async def test_under_nohup_it_goes_on() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    taken = StopSignals()
    with taken:
        taken.can_drain = True
        await _get(signal.SIGHUP)
        assert not taken.told.is_set()


async def test_a_reload_that_comes_while_the_program_is_replaced_is_taken_by_the_new_one() -> None:
    before, after = StopSignals(), StopSignals()
    with before:
        before.can_drain = True
        await _get(signal.SIGHUP)
    await _get(signal.SIGHUP)
    # As exec leaves it: blocked, and nobody's.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with after:
        after.can_drain = True
        await asyncio.wait_for(after.told.wait(), 5)
    assert after.again
