"""The history of a storm: every action, acknowledgement and fault, as JSON lines."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

#: ``t`` in seconds since the storm began, ``kind``, and what belongs to that kind; see checker.py.
Event: TypeAlias = dict[str, Any]


class History:
    """Events in the order they happened, each on the disk before the next.

    with History(path) as history:
        history.add("fault", what="kernel", user="user3")
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("x", buffering=1)
        self._began = time.monotonic()
        self.events: list[Event] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, kind: str, **content: Any) -> Event:
        """Record that something happened just now."""
        event = {"t": round(time.monotonic() - self._began, 4), "kind": kind, **content}
        self.events.append(event)
        self._file.write(json.dumps(event) + "\n")
        return event


def read(path: Path) -> Iterator[Event]:
    """The events of a storm that was recorded."""
    with path.open() as lines:
        for line in lines:
            yield json.loads(line)
