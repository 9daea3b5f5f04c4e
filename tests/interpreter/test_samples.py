"""ResourceHistory: the last half hour, in shares of a processor."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from interpreter import samples
from interpreter.hosts.base import Resources
from interpreter.samples import ResourceHistory

START = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass."""
    passed_s = 0.0

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # UTC is asked for
            return START + timedelta(seconds=passed_s)

    def wait(seconds: float) -> None:
        nonlocal passed_s
        passed_s += seconds

    monkeypatch.setattr(samples, "datetime", Clock)
    monkeypatch.setattr("interpreter.samples.time.monotonic", lambda: passed_s)
    return wait


def test_share_of_the_processor_is_of_the_time_since_the_sample_before(
    wait: Callable[[float], None],
) -> None:
    history = ResourceHistory()
    assert history.cpu_percent("k", Resources(1, 5.0)) is None
    history.add("k", Resources(1, 5.0))
    wait(10)
    assert history.cpu_percent("k", Resources(1, 7.5)) == 25.0
    history.add("k", Resources(2, 7.5))
    wait(0.4)  # too short to tell, so the last one's is
    assert history.cpu_percent("k", Resources(2, 7.9)) == 25.0
    assert [sample.cpu_percent for sample in history.samples()] == [None, 25.0]


def test_another_kernel_begins_anew(wait: Callable[[float], None]) -> None:
    history = ResourceHistory()
    history.add("old", Resources(1, 500.0))
    wait(10)
    assert history.cpu_percent("new", Resources(1, 1.0)) is None
    history.add("new", Resources(1, 1.0))
    wait(10)
    history.add("new", Resources(1, 11.0))
    assert [sample.cpu_percent for sample in history.samples()] == [None, None, 100.0]


def test_half_an_hour_is_kept_and_no_more(wait: Callable[[float], None]) -> None:
    history = ResourceHistory()
    for _ in range(1000):
        history.add("k", Resources(1, 0.0))
        wait(5)
    assert len(history.samples()) == 360
    wait(1790)
    assert len(history.samples()) == 2
    wait(5)
    assert len(history.samples()) == 1
    wait(10)
    assert history.samples() == ()
