"""What a live kernel shows of itself: its variables, completions, and what it uses."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from interpreter.execution import PhaseName

#: So many variables a kernel lists of itself, the most recent ones.
MOST_VARIABLES = 200
#: More would be nonsense, and few places can take it.
_MOST_BYTES, _MOST_CHARS = 1 << 63, 1 << 31


@dataclass(frozen=True, slots=True)
class Variable:
    """One of the user's variables.

    Attributes:
        name: its name.
        type: its class, such as ``int`` or ``pandas.DataFrame``.
        shape: shape or number of items, in words; None where that means nothing.
        size_bytes: memory it takes, None if that can't be told cheaply.
        preview: the beginning of its representation.
    """

    name: str
    type: str
    shape: str | None
    size_bytes: int | None
    preview: str

    @classmethod
    def from_reply(cls, entry: Mapping[str, Any]) -> Self:
        """From what a kernel said of it, which may be anything."""
        size = entry.get("size_bytes")
        return cls(
            name=_text(entry.get("name"), 200),
            type=_text(entry.get("type"), 200),
            shape=_text(entry.get("shape"), 100) or None,
            size_bytes=size if type(size) is int and 0 <= size < _MOST_BYTES else None,
            preview=_text(entry.get("preview"), 200),
        )


def _text(value: object, most_chars: int) -> str:
    return value[:most_chars] if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Completion:
    """Completions of a piece of code.

    Attributes:
        matches: what could stand there.
        start, end: the characters of the code that a match replaces.
    """

    matches: tuple[str, ...]
    start: int
    end: int

    @classmethod
    def from_reply(cls, reply: Mapping[str, Any], cursor: int) -> Self:
        """From a ``complete_reply``, which may hold anything; no matches if it makes no sense."""
        matches = reply.get("matches")
        start, end = reply.get("cursor_start"), reply.get("cursor_end")
        if not isinstance(matches, list) or type(start) is not int or type(end) is not int:
            return cls((), cursor, cursor)
        if not 0 <= start <= end < _MOST_CHARS:
            return cls((), cursor, cursor)
        return cls(tuple(m[:200] for m in matches[:500] if isinstance(m, str)), start, end)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelInfo:
    """A live kernel, as operators see it.

    Attributes:
        user_id: whose it is.
        kernel_id: its name on its host.
        pid: its process id as the host's system sees it.
        state: ``busy`` while a cell runs.
        started_at: UTC.
        last_active_at: UTC; when its user last sent something, or a cell ended.
        cells: how many cells it has run.
        memory_bytes: memory of its own now, None if it can't be told.
        cpu_s: processor time so far in seconds, None if it can't be told.
        cell_running_s: for how long its cell has been running, in seconds, as the deadline counts
            it; None if none is running.
        cpu_percent: processor time since the service last looked, in percent of one processor;
            None if that can't be told.
        last_error: the class of the exception that a cell ended with last, never its message; None
            if there was none. A name that untrusted code has chosen.
        waiting_cells: how many cells wait behind the one that is running.
        phase: what its cell has come to; None if it has none.
    """

    user_id: str
    kernel_id: str
    pid: int
    state: Literal["idle", "busy"]
    started_at: datetime
    last_active_at: datetime
    cells: int
    memory_bytes: int | None
    cpu_s: float | None
    cell_running_s: float | None = None
    cpu_percent: float | None = None
    last_error: str | None = None
    waiting_cells: int = 0
    phase: PhaseName | None = None
