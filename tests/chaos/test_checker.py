"""The checker finds each kind of broken promise in a history, and none where there is none."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checker import Bounds, Violation, check
from tests.chaos.history import Event

FILE = {"file_id": "f1", "name": "a.txt", "sha256": "aa"}


def result(seq: int, seen: str, *, user: str = "user1", t: float = 0.0, **more: Any) -> Event:
    return {
        "kind": "result",
        "t": t or seq + 0.5,
        "user": user,
        "seq": seq,
        "how": "live",
        "status": "ok",
        "text": f"token {user}:{seq} {seen}\n" if seen else "",
        "message": None,
        "state_lost": False,
        "files": [],
        **more,
    }


def sent(seq: int, user: str = "user1", t: float = 0.0) -> Event:
    return {"kind": "sent", "t": t or float(seq), "user": user, "seq": seq}


def the_end(user: str = "user1", files: list[dict[str, str]] | None = None) -> list[Event]:
    return [
        {"kind": "final", "t": 90.0, "user": user, "ok": True, "seconds": 0.1},
        {"kind": "files", "t": 91.0, "user": user, "files": files or []},
    ]


def stored(**changes: str) -> dict[str, str]:
    return {**FILE, "head": "user1:1 ", **changes}


LOST = {"state_lost": True, "message": "The variables of before are gone."}
GONE = {"kind": "failed", "t": 9.0, "user": "user1", "seq": 1, "error": "gone"}
UP = {"kind": "service", "t": 9.5, "state": "up", "seconds": 1.0, "reattached": 1}
ACKNOWLEDGED = {"kind": "acknowledged", "t": 12.5, "user": "user1", "seq": 1}
RUNNING = {"kind": "running", "t": 1.1, "user": "user1", "seq": 1}
DATABASE = {"kind": "fault", "t": 5.0, "what": "database"}

GOOD: dict[str, list[Event]] = {
    "nothing happens": [],
    "cells in order": [sent(1), result(1, "1"), sent(2), result(2, "1 2")],
    "a loss that was told": [sent(1), result(1, "1"), sent(2), result(2, "2", **LOST)],
    "a death that was told": [
        *(sent(1), result(1, "1")),
        *(sent(2), result(2, "1 2", status="died", **LOST)),
        *(sent(3), result(3, "3")),
    ],
    "restored to what it once was": [
        *(sent(1), result(1, "1"), sent(2), result(2, "1 2")),
        *(sent(3), result(3, "1 3", **LOST)),
        *(sent(4), result(4, "1 3 4")),
    ],
    "a cell without an answer may have run": [
        *(sent(2), result(2, "2"), sent(3), {**GONE, "seq": 3}),
        *(sent(4), result(4, "2 3 4")),
    ],
    "a cell without an answer may not have run": [
        *(sent(2), result(2, "2"), sent(3), {**GONE, "seq": 3}),
        *(sent(4), result(4, "2 4")),
    ],
    "a running cell is delivered after a restart": [
        *(sent(1), RUNNING, GONE, result(1, "1", how="recovered", t=12.0)),
    ],
    "the same result once by each service, left aside": [
        *(UP, sent(1), result(1, "1")),
        *(UP, result(1, "1", how="recovered", kind="again")),
        *(UP, result(1, "1", how="recovered", kind="again"), ACKNOWLEDGED),
        UP,
    ],
    "a short cell need not be delivered": [
        *(sent(1), {**RUNNING, "t": 8.9}, GONE, sent(2), result(2, "1 2", t=12.0)),
    ],
    "nothing could be written down": [
        *(sent(1), RUNNING, DATABASE, GONE, sent(2), result(2, "1 2", t=12.0)),
    ],
}

BAD: dict[str, tuple[str, list[Event]]] = {
    "another's result": ("wrong user", [sent(1), result(1, "", text="token user2:1 1\n")]),
    "another cell's result": ("wrong user", [sent(2), result(2, "", text="token user1:1 2\n")]),
    "an empty result": ("wrong user", [sent(1), result(1, "")]),
    "a result nobody asked for": ("wrong user", [result(7, "7")]),
    "two results": ("twice", [sent(1), result(1, "1"), result(1, "1", how="recovered")]),
    "another result once more": (
        "twice",
        [UP, sent(1), result(1, "1"), UP, result(1, "1", kind="again", status="error")],
    ),
    "the same result twice by one service": (
        "twice",
        [UP, sent(1), result(1, "1"), result(1, "1", how="recovered", kind="again")],
    ),
    "the same result again twice by one service": (
        "twice",
        [
            *(UP, sent(1), RUNNING, GONE),
            *(UP, result(1, "1", how="recovered")),
            *(UP, *2 * (result(1, "1", how="recovered", kind="again"),)),
        ],
    ),
    "a result that was acknowledged": (
        "twice",
        [
            *(UP, sent(1), RUNNING, GONE),
            *(UP, result(1, "1", how="recovered"), ACKNOWLEDGED),
            *(UP, result(1, "1", how="recovered", kind="again")),
        ],
    ),
    "a cell that ran twice": ("variables", [sent(1), result(1, "1 1")]),
    "a cell that ran again later": (
        "variables",
        [sent(1), result(1, "1"), sent(2), result(2, "1 2"), sent(3), result(3, "1 2 2 3")],
    ),
    "variables that are gone": ("variables", [sent(1), result(1, "1"), sent(2), result(2, "2")]),
    "variables of elsewhere": ("variables", [sent(1), result(1, "1"), sent(4), result(4, "1 3 4")]),
    "a part of the variables": (
        "variables",
        [
            *(sent(1), result(1, "1"), sent(2), result(2, "1 2")),
            *(sent(3), result(3, "2 3", **LOST)),
        ],
    ),
    "a loss without a word": (
        "variables",
        [sent(1), result(1, "1"), sent(2), result(2, "2", state_lost=True)],
    ),
    "gone again after it was told once": (
        "variables",
        [
            *(sent(1), result(1, "1"), sent(2), result(2, "2", **LOST)),
            *(sent(3), result(3, "3")),
        ],
    ),
    "no answer": ("stuck", [sent(1)]),
    "a late answer": ("stuck", [sent(1), result(1, "1", t=80.0)]),
    "a running cell of which nobody hears": (
        "unreported",
        [sent(1), RUNNING, GONE, sent(2), result(2, "1 2", t=12.0)],
    ),
    "a process that nobody has ended": (
        "left over",
        [{"kind": "end", "t": 99.0, "left": ["process 7: bwrap"]}],
    ),
    "a running cell, and no further one": ("unreported", [sent(1), RUNNING, GONE]),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_history_breaks_nothing(name: str) -> None:
    assert check([*GOOD[name], *the_end()]) == []


@pytest.mark.parametrize("name", BAD)
def test_bad_history_breaks_the_rule_that_it_is_about(name: str) -> None:
    rule, events = BAD[name]
    assert {violation.rule for violation in check([*events, *the_end()])} == {rule}


FILES: dict[str, tuple[str | None, list[dict[str, str]]]] = {
    "there": (None, [stored()]),
    "gone": ("lost file", []),
    "changed": ("lost file", [stored(sha256="bb")]),
    "renamed": ("lost file", [stored(name="b.txt")]),
    "another's": ("wrong user", [stored(), stored(file_id="f2", head="user2:1 ")]),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["a cell's", "an upload"])
def test_acknowledged_file_is_there_at_the_end(name: str, how: str) -> None:
    rule, at_end = FILES[name]
    events = [sent(1), result(1, "1", files=[FILE] if how == "a cell's" else [])]
    if how == "an upload":
        events.append({"kind": "saved", "t": 2.0, "user": "user1", "file": FILE})
    found = check([*events, *the_end(files=at_end)])
    assert [violation.rule for violation in found] == ([rule] if rule else [])


def test_files_that_nobody_looked_at_count_as_lost() -> None:
    found = check([sent(1), result(1, "1", files=[FILE]), *the_end()[:1]])
    assert found == [Violation("lost file", "user1", 0, "nobody looked at the files in the end")]


@pytest.mark.parametrize(
    "final",
    [
        lambda event: {**event, "ok": False},
        lambda event: {**event, "seconds": 10.1},
        lambda event: {"kind": "service", "t": event["t"], "state": "up"},
    ],
    ids=["fails", "takes long", "was not tried"],
)
def test_everybody_has_to_be_able_to_work_in_the_end(final: Callable[[Event], Event]) -> None:
    last, files = the_end()
    found = check([sent(1), result(1, "1"), final(last), files])
    assert [violation.rule for violation in found] == ["unusable"]


def test_answer_may_take_longer_when_the_service_was_away() -> None:
    down = {"kind": "service", "t": 40.0, "state": "down", "how": "service"}
    events = [sent(1), down, result(1, "1", how="recovered", t=80.0), *the_end()]
    assert check(events, Bounds(answer_s=60.0)) == []


def test_users_are_told_apart() -> None:
    events = [
        *(sent(1), sent(1, "user2"), result(1, "1"), result(1, "1", user="user2")),
        *(sent(2), result(2, "1 2"), sent(2, "user2"), result(2, "2", user="user2")),
    ]
    found = check([*events, *the_end(), *the_end("user2")])
    assert [(violation.rule, violation.user) for violation in found] == [("variables", "user2")]
