"""Reads the history of a storm and says what was broken. Pure: it knows no service.

Cells of a user are numbered from 1. Each appends its number to the kernel's list ``seen`` and
prints it after its token ``user:number``, so one line of output tells whose cell ran, that it ran
once, and which variables it found.

Kinds of events, beside ``t`` (seconds) and ``kind``:

- ``sent``: user, seq. ``running``: user, seq; its kernel has begun with it.
- ``result``: user, seq, how (``live`` or ``recovered``), status, text, message, state_lost, files.
- ``again``: the same as ``result``, of a cell whose result had been delivered: left aside. That
  may be once for each service, until one has taken the word that the result is safe.
- ``acknowledged``: user, seq; it has. (An answer that got lost is none.)
- ``failed``: user, seq, error; ``gone`` if the service ended before it answered.
- ``saved``: user, and file: an upload that was acknowledged.
- ``fault``: what, and often user. ``service``: state (``up``, ``down``), and how it went down.
- ``files``: user, files: all that the user has at the end, as they are on the disk.
- ``end``: left: what was still there of the service and its kernels after their end.
- ``final``: user, ok, seconds: a cell in the calm after the storm.

A file is {file_id, name, sha256}; those of ``files`` also have ``head``, how their content begins.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.chaos.history import Event

_TOKEN = re.compile(r"^token ([a-z]+[0-9]+):([0-9]+)((?: [0-9]+)*)$", re.MULTILINE)
#: A cell that has run for so long is one that the service has written down.
_WRITTEN_DOWN_S = 2.0


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken.

    Attributes:
        rule: a short name of it.
        user: whose cell or file it is about; empty if nobody's.
        seq: the cell's number, 0 if it is about no cell.
        what: what happened, for a person.
    """

    rule: str
    user: str
    seq: int
    what: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is still quick enough, in seconds.

    Attributes:
        answer_s: from a cell to its result, while the service lives.
        usable_s: the same in the calm after the storm.
    """

    answer_s: float = 60.0
    usable_s: float = 10.0


@dataclass(slots=True)
class _Cell:
    """What became of one cell."""

    sent: Event
    running: Event | None = None
    results: list[Event] = field(default_factory=list)
    given_by: set[int] = field(default_factory=set)
    acknowledged: bool = False
    failed: Event | None = None

    @property
    def ended(self) -> Event | None:
        return self.results[0] if self.results else self.failed


@dataclass(slots=True)
class _User:
    """What the history says of one user."""

    cells: dict[int, _Cell] = field(default_factory=dict)
    files: list[tuple[Event, dict[str, str]]] = field(default_factory=list)
    at_end: list[dict[str, str]] | None = None
    final: Event | None = None


def check(history: Iterable[Event], bounds: Bounds | None = None) -> list[Violation]:
    """Everything that was broken; empty if all promises were kept."""
    bounds = bounds or Bounds()
    events = list(history)
    users, violations = _sorted(events)
    left = [thing for event in events if event["kind"] == "end" for thing in event["left"]]
    violations += [Violation("left over", "", 0, thing) for thing in left]
    for name, user in users.items():
        violations += _owners(name, user)
        violations += _files(name, user)
        violations += _variables(name, user)
        violations += _answers(name, user, bounds, events)
        violations += _recoveries(name, user, events)
    return violations


def _sorted(events: list[Event]) -> tuple[dict[str, _User], list[Violation]]:
    """The events by user and cell, and what can't be sorted in."""
    users: dict[str, _User] = {}
    wrong: list[Violation] = []
    services = 0
    for event in events:
        services += event["kind"] == "service" and event["state"] == "up"
        if "user" not in event or event["kind"] == "fault":
            continue
        name, kind = event["user"], event["kind"]
        user = users.setdefault(name, _User())
        if kind == "sent":
            user.cells[event["seq"]] = _Cell(event)
        elif kind == "saved":
            user.files.append((event, event["file"]))
        elif kind == "files":
            user.at_end = event["files"]
        elif kind == "final":
            user.final = event
        elif (cell := user.cells.get(event["seq"])) is None:
            wrong.append(Violation("wrong user", name, event["seq"], "a result nobody asked for"))
        elif kind == "running":
            cell.running = event
        elif kind == "failed":
            cell.failed = event
        elif kind == "acknowledged":
            cell.acknowledged = True
        elif kind == "result":
            cell.given_by.add(services)
            if cell.results:
                wrong.append(Violation("twice", name, event["seq"], "a second result"))
            cell.results.append(event)
            user.files += [(event, file) for file in event["files"]]
        elif kind == "again":
            same = ("status", "text", "files")
            if not cell.results:
                wrong.append(Violation("twice", name, event["seq"], "again before the first time"))
            elif cell.acknowledged:
                wrong.append(Violation("twice", name, event["seq"], "again, though acknowledged"))
            elif services in cell.given_by:
                wrong.append(Violation("twice", name, event["seq"], "again by the same service"))
            elif any(cell.results[0][key] != event[key] for key in same):
                wrong.append(Violation("twice", name, event["seq"], "a second, different result"))
            cell.given_by.add(services)
    return users, wrong


def _owners(name: str, user: _User) -> Iterator[Violation]:
    """No result and no file goes to anybody but its owner."""
    for seq, cell in user.cells.items():
        for result in cell.results:
            tokens = [(owner, int(number)) for owner, number, _ in _TOKEN.findall(result["text"])]
            if any(token != (name, seq) for token in tokens):
                yield Violation("wrong user", name, seq, f"it says {tokens}")
            if result["status"] == "ok" and not tokens:
                yield Violation("wrong user", name, seq, "it went well and says nothing")
    for file in user.at_end or ():
        if not file["head"].startswith(f"{name}:"):
            yield Violation("wrong user", name, 0, f"a file that begins with {file['head']!r}")


def _files(name: str, user: _User) -> Iterator[Violation]:
    """No file is lost that was acknowledged."""
    if user.at_end is None:
        if user.files:
            yield Violation("lost file", name, 0, "nobody looked at the files in the end")
        return
    there = {file["file_id"]: file for file in user.at_end}
    for event, file in user.files:
        found = there.get(file["file_id"])
        if found is None or found["sha256"] != file["sha256"] or found["name"] != file["name"]:
            state = "is gone" if found is None else "has changed"
            seq = event.get("seq", 0)
            yield Violation("lost file", name, seq, f"{file['name']} {state}")


def _variables(name: str, user: _User) -> Iterator[Violation]:
    """Variables are what the history says, or the user was told that they are lost."""
    known: tuple[int, ...] = ()
    states = {known}
    told = False
    uncertain: set[int] = set()
    for seq, cell in sorted(user.cells.items()):
        result = cell.results[0] if cell.results else None
        if result is None:
            uncertain.add(seq)
            continue
        if result["state_lost"]:
            told = True
            if not result["message"]:
                yield Violation("variables", name, seq, "a loss without a word")
        seen = _seen(result["text"])
        if seen is None:
            uncertain.add(seq)
            continue
        before = seen[:-1]
        if seen[-1] != seq or any(a >= b for a, b in zip(before, seen[1:], strict=True)):
            yield Violation("variables", name, seq, f"a cell ran twice or out of order: {seen}")
        elif not any(
            before[: len(state)] == state and uncertain.issuperset(before[len(state) :])
            for state in (states if told else {known})
        ):
            how = "although a loss was told" if told else "and no loss was told"
            yield Violation("variables", name, seq, f"found {before} after {known}, {how}")
        if result["status"] == "ok":
            told = False
        # What a failed cell leaves behind may be lost with its kernel, which its result tells.
        known = seen
        states.add(seen)


def _seen(text: str) -> tuple[int, ...] | None:
    """The list that a cell printed; None if it did not get so far."""
    found = _TOKEN.search(text)
    numbers = tuple(map(int, found[3].split())) if found else ()
    return numbers or None


def _answers(name: str, user: _User, bounds: Bounds, events: list[Event]) -> Iterator[Violation]:
    """No session is stuck, and in the end everybody can work."""
    last = events[-1]["t"]
    downs = [e["t"] for e in events if e["kind"] == "service" and e["state"] == "down"]
    for seq, cell in user.cells.items():
        ended = cell.ended
        if ended is None:
            yield Violation("stuck", name, seq, f"no answer after {last - cell.sent['t']:.1f} s")
            continue
        took = ended["t"] - cell.sent["t"]
        if took > bounds.answer_s and not any(cell.sent["t"] <= t <= ended["t"] for t in downs):
            yield Violation("stuck", name, seq, f"an answer after {took:.1f} s")
    if user.final is None or not user.final["ok"]:
        yield Violation("unusable", name, 0, "no cell runs after the storm")
    elif user.final["seconds"] > bounds.usable_s:
        yield Violation("unusable", name, 0, f"a cell takes {user.final['seconds']:.1f} s")


def _recoveries(name: str, user: _User, events: list[Event]) -> Iterator[Violation]:
    """What ran when the service ended is delivered, or its user is told what became of it."""
    database_faults = [
        e["t"] for e in events if e["kind"] == "fault" and e["what"].startswith("database")
    ]
    for seq, cell in user.cells.items():
        gone, running = cell.failed, cell.running
        if gone is None or gone["error"] != "gone" or running is None or cell.results:
            continue
        ran_s = gone["t"] - running["t"]
        unrecorded = any(running["t"] - 10 <= t <= gone["t"] for t in database_faults)
        if ran_s < _WRITTEN_DOWN_S or unrecorded:
            continue
        later = [c.results[0] for n, c in sorted(user.cells.items()) if n > seq and c.results]
        if not later or not later[0]["message"]:
            yield Violation("unreported", name, seq, f"it had run for {ran_s:.1f} s")
