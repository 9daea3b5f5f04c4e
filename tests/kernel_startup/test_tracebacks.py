"""Tracebacks whose entries have no line, as interrupts leave them."""

import linecache
import sys
import traceback
from types import FrameType, TracebackType

import pytest

from kernel_startup.tracebacks import always_shown, with_lines, without_middle

_CODE = """def work():
    try:
        return sys._getframe()
    except ValueError as error:
        print(error)
"""


def _entry_without_line() -> TracebackType:
    """At an instruction that belongs to no line: one of those around ``except``."""
    namespace: dict[str, object] = {"sys": sys}
    linecache.cache["<a cell>"] = (len(_CODE), None, _CODE.splitlines(keepends=True), "<a cell>")
    exec(compile(_CODE, "<a cell>", "exec"), namespace)
    frame = namespace["work"]()  # type: ignore[operator]
    assert isinstance(frame, FrameType)
    start = next(start for start, _, line in frame.f_code.co_lines() if line is None)
    entry = TracebackType(None, frame, start, -1)
    assert entry.tb_lineno in (None, -1)  # the latter up to Python 3.11.2
    return entry


def _failed() -> TracebackType:
    try:
        raise KeyError("x")
    except KeyError as error:
        assert error.__traceback__ is not None
        return error.__traceback__


def test_a_traceback_that_has_all_lines_stays_the_same() -> None:
    trace = _failed()
    assert with_lines(trace) is trace
    assert with_lines(None) is None


def test_an_entry_without_a_line_gets_that_of_the_instruction_before() -> None:
    lost = _entry_without_line()
    above = _failed()
    trace = TracebackType(lost, above.tb_frame, above.tb_lasti, above.tb_lineno)
    made = with_lines(trace)
    assert made is not None and made.tb_next is not None
    assert made.tb_lineno == above.tb_lineno
    assert made.tb_next.tb_lineno in range(2, 6)
    assert made.tb_next.tb_frame is lost.tb_frame


@pytest.mark.parametrize("where", ["itself", "cause"])
def test_ipython_shows_an_error_whose_entry_has_no_line(where: str) -> None:
    ultratb = pytest.importorskip("IPython.core.ultratb")
    formatter = ultratb.VerboseTB(theme_name="nocolor")
    error: BaseException = KeyboardInterrupt("stopped")
    if where == "cause":
        cause = error.with_traceback(_entry_without_line())
        error = ValueError("of that")
        error.__cause__ = cause
        trace: TracebackType = _failed()
    else:
        trace = _entry_without_line()
    if _entry_without_line().tb_lineno is None:  # IPython gets over -1
        with pytest.raises(AssertionError):
            formatter.structured_traceback(type(error), error, trace)
    shown = always_shown(formatter.structured_traceback)(type(error), error, trace)
    assert "KeyboardInterrupt" in "\n".join(shown)
    assert "Traceback (most recent call last)" in "\n".join(shown)


def test_an_error_that_ipython_cannot_show_is_shown_as_python_does() -> None:
    def fails(*_: object) -> list[str]:
        raise RuntimeError("no form for that")

    shown = always_shown(fails)(KeyError, KeyError("x"), _failed())
    assert shown[0] == "Traceback (most recent call last):"
    assert shown[-1] == "KeyError: 'x'"


def _deep(depth: int) -> TracebackType:
    def sink(left: int) -> None:
        if left == 1:
            raise KeyError("deep")
        sink(left - 1)

    try:
        sink(depth)
    except KeyError as error:
        assert error.__traceback__ is not None and error.__traceback__.tb_next is not None
        return error.__traceback__.tb_next
    raise AssertionError("unreachable")


@pytest.mark.parametrize(("depth", "left_out"), [(49, 0), (50, 0), (51, 1), (900, 850)])
def test_the_middle_of_a_deep_recursion_is_left_out(depth: int, left_out: int) -> None:
    trace = _deep(depth)
    made, count = without_middle(trace)
    assert count == left_out and (made is trace) == (left_out == 0)
    entries = list(traceback.walk_tb(made))
    assert len(entries) == depth - left_out
    everything = list(traceback.walk_tb(trace))
    assert entries[0] == everything[0] and entries[-1] == everything[-1]


def test_a_deep_recursion_is_shown_with_how_much_is_left_out() -> None:
    def usual(kind: object, error: object, trace: TracebackType) -> list[str]:
        return [f"{len(list(traceback.walk_tb(trace)))} entries", "KeyError: deep"]

    assert always_shown(usual)(KeyError, KeyError("deep"), _deep(900)) == [
        "50 entries",
        "[850 entries between the first and the last ones are left out.]",
        "KeyError: deep",
    ]


def test_a_deep_recursion_that_another_error_came_from_is_shown_in_part_as_well() -> None:
    def usual(kind: object, error: BaseException, trace: TracebackType) -> list[str]:
        assert error.__cause__ is not None
        return [f"{len(list(traceback.walk_tb(error.__cause__.__traceback__)))} entries", "end"]

    deep, error = KeyError("deep"), ValueError("x")
    deep.__traceback__, error.__cause__ = _deep(900), deep
    whole = deep.__traceback__
    assert always_shown(usual)(ValueError, error, _failed()) == [
        "50 entries",
        "[850 entries of the errors before it are left out.]",
        "end",
    ]
    assert deep.__traceback__ is whole
