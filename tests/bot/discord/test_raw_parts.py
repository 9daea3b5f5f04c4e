"""RawParts: what a forwarded message holds, and that nothing which comes can hinder it."""

from typing import Any

import pytest

from bot.discord.raw_parts import Forwarded, RawParts
from bot.discord.uploads import Incoming

URL = "https://cdn.discordapp.com/attachments/1/2/a.csv"
FILE = {"id": "2", "filename": "a.csv", "size": 3, "url": URL}


def forward(*messages: Any, number: str = "10") -> dict[str, Any]:
    return {
        "id": number,
        "message_reference": {"type": 1, "channel_id": "1", "message_id": "9"},
        "message_snapshots": [{"message": message} for message in messages],
    }


def test_forward_has_words_and_files_under_the_names_they_were_given() -> None:
    parts = RawParts()
    parts.note(forward({"content": "our sales", "attachments": [{**FILE, "title": "Übersicht"}]}))
    files = (Incoming("Übersicht.csv", 3, URL),)
    assert parts.forwarded(10) == Forwarded("our sales", files)
    assert parts.forwarded(11) is None


def test_forward_that_is_replied_to_is_known_as_well() -> None:
    parts = RawParts()
    parts.note({"id": "11", "referenced_message": forward({"content": "x", "attachments": []})})
    assert parts.forwarded(10) == Forwarded("x", ())
    assert parts.forwarded(11) is None


def test_reply_is_no_forward() -> None:
    parts = RawParts()
    parts.note({**forward({"content": "x"}), "message_reference": {"type": 0}})
    parts.note({**forward({"content": "x"}, number="11"), "message_reference": {}})
    assert parts.forwarded(10) is None and parts.forwarded(11) is None


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        {},
        {"id": "x", "attachments": [{"id": "x", "title": "y"}, {"title": "y"}, 3, None]},
        {"id": "10", "attachments": {"id": "1"}, "referenced_message": 3},
        {"id": "10", "message_reference": 1, "message_snapshots": 1},
        {"id": [], "message_reference": {"type": 1}, "message_snapshots": []},
        {"id": float("inf"), "message_reference": {"type": 1}, "message_snapshots": []},
    ],
)
def test_what_is_no_message_is_passed_over(message: Any) -> None:
    parts = RawParts()
    parts.note(message)
    assert parts.forwarded(10) is None


@pytest.mark.parametrize(
    "snapshots",
    [
        None,
        3,
        [3],
        [{"message": 3}],
        [{"message": {"content": 3, "attachments": 3}}],
        [{"message": {"attachments": [3, {}, {**FILE, "size": "much"}, {**FILE, "size": None}]}}],
    ],
)
def test_forward_of_nothing_that_can_be_read_is_empty(snapshots: Any) -> None:
    parts = RawParts()
    parts.note({**forward(), "message_snapshots": snapshots})
    assert parts.forwarded(10) == Forwarded("", ())


@pytest.mark.parametrize(
    ("odd", "incoming"),
    [
        ({"title": 5}, (Incoming("5.csv", 3, URL),)),
        ({"size": float("inf")}, ()),
    ],
)
def test_odd_file_does_not_hide_the_words_of_a_forward(
    odd: dict[str, Any], incoming: tuple[Incoming, ...]
) -> None:
    parts = RawParts()
    parts.note(forward({"content": "our sales", "attachments": [{**FILE, **odd}]}))
    assert parts.forwarded(10) == Forwarded("our sales", incoming)


def test_of_a_forward_without_end_a_part_is_remembered() -> None:
    parts = RawParts()
    parts.note(forward(*[{"content": "x" * 5000, "attachments": [FILE] * 15}] * 100))
    known = parts.forwarded(10)
    assert known is not None
    assert (len(known.content), len(known.incoming)) == (8000, 20)


def test_the_forwards_that_came_last_are_remembered() -> None:
    parts = RawParts()
    for number in range(1, 203):
        parts.note(forward({"content": str(number)}, number=str(number)))
    assert [parts.forwarded(number) is None for number in (1, 2, 3, 202)] == [
        True,
        True,
        False,
        False,
    ]


def test_titles_of_files_are_remembered_by_their_ids() -> None:
    parts = RawParts()
    replied = {"id": "1", "attachments": [{**FILE, "id": "3", "title": "replied"}]}
    files = [{**FILE, "title": "own"}, {**FILE, "id": "4"}]
    parts.note({"id": "2", "attachments": files, "referenced_message": replied})
    assert [parts.title(number) for number in (2, 3, 4)] == ["own", "replied", None]
