"""What a kernel keeps of its last cell: all of it within bounds, and what a service makes of it."""

import json
import os
import time
from typing import Any

import pytest

from interpreter.replay import Replay as Told
from kernel_startup.replay import Replay, packed

_MOST_BYTES = 1 << 20


class Cell:
    """A cell that sends messages."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self.replay = Replay(lambda parts: b"signed", most_bytes=most_bytes)
        self.sent = 0

    def send(self, kind: str, content: dict[str, Any], *, cell: str = "id_7_1") -> list[bytes]:
        """Send a message."""
        self.sent += 1
        header = {"msg_id": f"kernel_1_{self.sent}", "msg_type": kind}
        parts = [header, {"msg_id": cell}, {}, content]
        frames = [b"topic", b"<IDS|MSG>", b"sig", *(json.dumps(part).encode() for part in parts)]
        self.replay.record(frames)
        return frames

    def prints(self, text: str, name: str = "stdout") -> None:
        """Print."""
        self.send("stream", {"name": name, "text": text})

    def shows(self, text: str, display_id: str | None = None, *, update: bool = False) -> None:
        """Display something."""
        kind = "update_display_data" if update else "display_data"
        transient = {} if display_id is None else {"display_id": display_id}
        self.send(kind, {"data": {"text/plain": text}, "transient": transient})

    def told(self) -> Told:
        """What a service gets of it."""
        said, messages, question = self.replay.told()
        return Told.from_reply(said, [packed(messages), packed([question] if question else [])])


REQUEST = {"header": {"msg_id": "id_7_1"}, "metadata": {"limit": [9.5, 1234.5]}}


def _contents(told: Told) -> list[dict[str, Any]]:
    return [json.loads(message[5]) for message in told.messages]


def test_messages_of_the_cell_come_back_in_order_and_no_others() -> None:
    cell = Cell()
    cell.prints("before")
    with cell.replay.cell(REQUEST):
        cell.send("execute_input", {"code": "print(1)", "execution_count": 1})
        cell.prints("one")
        cell.send("stream", {"name": "stdout", "text": "other"}, cell="id_7_0")
        assert (cell.told().cell, cell.told().reply, cell.told().over_at) == ("id_7_1", None, None)
        cell.replay.note_reply("ok")
    cell.send("status", {"execution_state": "idle"})
    told = cell.told()
    assert [content.get("text") for content in _contents(told)] == [None, "one", None]
    assert told.reply == "ok"
    assert told.over_at is not None and told.over_at <= time.monotonic()
    assert (told.timeout_s, told.sent_at) == (9.5, 1234.5)
    assert told.code() == "print(1)"
    with cell.replay.cell({"header": {"msg_id": "id_7_2"}}):
        assert (cell.told().cell, cell.told().messages) == ("id_7_2", [])


def test_message_that_is_sent_again_after_an_interrupt_is_kept_once() -> None:
    cell = Cell()
    with cell.replay.cell(REQUEST):
        frames = cell.send("stream", {"name": "stdout", "text": "once"})
        cell.replay.record(frames)
    assert len(cell.told().messages) == 1


def test_many_small_pieces_of_text_are_put_together_when_there_is_no_room() -> None:
    cell = Cell(4 << 20)
    with cell.replay.cell(REQUEST):
        for number in range(20_000):
            cell.prints(f"{number}\n", "stderr" if number % 5_000 == 0 else "stdout")
    told = cell.told()
    text = "".join(content["text"] for content in _contents(told))
    assert text == "".join(f"{number}\n" for number in range(20_000))
    assert not any(told.left_out.values())


def test_what_there_is_no_room_for_is_counted_but_the_end_has_room() -> None:
    cell = Cell()
    with cell.replay.cell(REQUEST):
        for _ in range(5):
            cell.shows("x" * (_MOST_BYTES // 4))
        cell.prints("y" * (_MOST_BYTES // 2))
    cell.send("status", {"execution_state": "idle"})
    told = cell.told()
    assert told.left_out["others"] == 2
    assert told.left_out["stdout"] > _MOST_BYTES // 2
    assert _contents(told)[-1] == {"execution_state": "idle"}


def test_animation_takes_the_room_of_its_last_pictures() -> None:
    cell = Cell()
    with cell.replay.cell(REQUEST):
        for number in range(50):
            cell.send("clear_output", {"wait": True})
            cell.shows("x" * (_MOST_BYTES // 4) + str(number))
    told = cell.told()
    assert not any(told.left_out.values())
    assert _contents(told)[-1]["data"]["text/plain"].endswith("x49")


def test_display_that_is_changed_again_and_again_takes_the_room_of_one() -> None:
    cell = Cell()
    with cell.replay.cell(REQUEST):
        cell.shows("first", "d")
        for number in range(50):
            cell.shows("x" * (_MOST_BYTES // 4) + str(number), "d", update=True)
    told = cell.told()
    assert not any(told.left_out.values())
    assert len(told.messages) == 2


def test_question_is_kept_while_it_stands() -> None:
    cell = Cell()
    with cell.replay.question([b"<IDS|MSG>", b"asked"]):
        assert cell.told().question == [b"<IDS|MSG>", b"asked"]
    assert cell.told().question is None


@pytest.mark.parametrize(
    "piece",
    [
        b"",
        b"\0",
        b"\0\0\0\1" + b"\xff" * 8,
        b"\xff" * 1000,
        os.urandom(1000),
        packed([[b"x"] * 9]),
        packed([[]]),
        bytes((10 << 20) + 1),
    ],
)
def test_nonsense_is_no_message(piece: bytes) -> None:
    said = {"cell": 3, "reply": ["ok"], "over_at": float("inf"), "left_out": {"stdout": -1}}
    told = Told.from_reply(said, [piece, piece])
    assert (told.cell, told.reply, told.over_at) == ("", None, None)
    assert (told.messages, told.question, told.code()) == ([], None, None)
    assert not any(told.left_out.values())


@pytest.mark.parametrize(
    "limit", [None, 9.0, "9", [], [9.0], ["9", True], [float("inf"), float("nan")], [1, 2], {}]
)
def test_nonsense_is_no_limit(limit: object) -> None:
    told = Told.from_reply({"cell": "id_7_1", "limit": limit}, [])
    assert (told.timeout_s, told.sent_at) == (None, None)


def test_no_more_messages_are_taken_than_an_honest_kernel_keeps() -> None:
    told = Told.from_reply({"cell": "id_7_1"}, [packed([[b""]] * 50_000)])
    assert len(told.messages) == 20_000
