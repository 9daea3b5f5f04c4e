"""Tracebacks that can be shown: each entry has a line, and there aren't too many.

An interrupt can come between two instructions that belong to no line, such as the jump back to the
beginning of a loop. IPython then shows its own failure instead of the error.

A recursion without end leaves a thousand entries. IPython puts them together only if the file of
their code exists, which that of a cell doesn't, and takes some milliseconds for each.
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

#: Of more entries than both together, only the first and the last are shown.
_FIRST, _LAST = 20, 30


def without_middle(trace: TracebackType | None) -> tuple[TracebackType | None, int]:
    """Make a traceback of the first and the last entries of a long one; a short one stays the same.

    Returns:
        The traceback, and how many entries are left out.
    """
    entries = []
    entry = trace
    while entry is not None:
        entries.append(entry)
        entry = entry.tb_next
    left_out = len(entries) - _FIRST - _LAST
    if left_out <= 0:
        return trace, 0
    made = entries[-_LAST]
    for entry in reversed(entries[:_FIRST]):
        made = TracebackType(made, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return made, left_out


def with_lines(trace: TracebackType | None) -> TracebackType | None:
    """Make a traceback of which each entry has a line; the same one, if all have."""
    entries = []
    entry = trace
    while entry is not None:
        entries.append(entry)
        entry = entry.tb_next
    if all(_own_line(entry) for entry in entries):
        return trace
    made = None
    for entry in reversed(entries):
        made = TracebackType(made, entry.tb_frame, entry.tb_lasti, _line(entry))
    return made


def _own_line(entry: TracebackType) -> int | None:
    """The line of an entry; None if it has none, for which Python up to 3.11.2 says -1."""
    line: int | None = entry.tb_lineno
    return line if line is not None and line > 0 else None


def _line(entry: TracebackType) -> int:
    """The line of an entry; if it has none, that of the instructions before."""
    line = _own_line(entry)
    code = entry.tb_frame.f_code
    for start, _, of in code.co_lines() if line is None else ():
        if start > entry.tb_lasti:
            break
        line = of or line
    return line or code.co_firstlineno


def text_of(error: BaseException | None) -> str:
    """What an error says; that it can't say it, if it raises another one instead."""
    try:
        return str(error)
    except Exception as other:
        return f"<its __str__ raised {type(other).__name__}>"


def always_shown(
    usual: Callable[..., list[str]],
) -> Callable[..., list[str]]:
    """Make the function that has IPython's form of an error out of IPython's own.

    Args:
        usual: ``structured_traceback`` of an IPython formatter.

    Returns:
        The same, but it copes with entries without a line and leaves out the middle of very many,
        and if IPython fails altogether, the error is shown as Python shows it.
    """

    def structured(
        kind: type[BaseException], error: BaseException, trace: Any, *args: Any, **options: Any
    ) -> list[str]:
        try:
            shown, left_out = without_middle(with_lines(trace))
            with _shown_chain(error) as left_out_before:
                lines = usual(kind, error, shown, *args, **options)
        except Exception:
            return "".join(traceback.format_exception(kind, error, trace)).splitlines()
        notes = []
        if left_out_before:
            notes.append(f"[{left_out_before} entries of the errors before it are left out.]")
        if left_out:
            notes.append(f"[{left_out} entries between the first and the last ones are left out.]")
        return [*lines[:-1], *notes, *lines[-1:]] if notes else lines

    return structured


@contextmanager
def _shown_chain(error: BaseException) -> Iterator[int]:
    """Do the same for what an error came from, while it is shown: how many entries are left out."""
    whole: dict[int, tuple[BaseException, TracebackType | None]] = {}
    left_out = 0
    behind = error.__cause__ or error.__context__
    while behind is not None and id(behind) not in whole:
        whole[id(behind)] = behind, behind.__traceback__
        behind.__traceback__, count = without_middle(with_lines(behind.__traceback__))
        left_out += count
        behind = behind.__cause__ or behind.__context__
    try:
        yield left_out
    finally:
        for one, trace in whole.values():
            one.__traceback__ = trace
