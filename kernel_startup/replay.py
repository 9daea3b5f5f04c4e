"""What the last cell has sent, kept for a service that wasn't there to hear it.

A service may end in the middle of a cell, and another one come for its kernel. What the cell sent
meanwhile went to nobody. So the messages of the running cell, or of the last one, stay here within
bounds, with the question that it waits for an answer to.
"""

import json
import re
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

#: Of all messages that are kept; what is more is left out, and counted.
MOST_BYTES = 8 << 20
#: States, the cell's number and its error may take so much more.
_RESERVE_BYTES = 256 << 10
_MOST_QUESTION_BYTES = 64 << 10
#: Pieces of text are put together when there is no room, if so much came since the last time.
_WORTH_JOINING_BYTES = 1 << 20
#: What a message takes beside its frames' bytes.
_MESSAGE_BYTES = 500
#: How far back an earlier change of a display is looked for.
_NEAR = 1000
_DELIMITER = b"<IDS|MSG>"
_KIND = re.compile(rb'"msg_type": ?"([a-z_]{1,40})"')
_DISPLAY = re.compile(rb'"display_id": ?"([^"]{1,256})"')
_STREAM, _UPDATE, _CLEAR = b"stream", b"update_display_data", b"clear_output"
_OUTPUTS = frozenset({_STREAM, _UPDATE, _CLEAR, b"display_data", b"execute_result"})

Frames = Sequence[bytes]


@dataclass(slots=True, eq=False)
class _Message:
    """One message that was sent: its frames from the delimiter on, without buffers."""

    kind: bytes
    frames: Frames
    size: int
    sent: Frames | None = None


@dataclass(slots=True)
class _Cell:
    """A cell, and what it has sent."""

    message_id: str
    mark: bytes
    limit: Any = None
    messages: list[_Message] = field(default_factory=list)
    updates: dict[bytes, _Message] = field(default_factory=dict)
    size: int = 0
    stream_bytes: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    reply: str = ""
    over_at: float | None = None


class Replay:
    """The messages of one cell. Used from any thread; nothing here ever raises in a sender."""

    def __init__(self, sign: Callable[[list[bytes]], bytes], most_bytes: int = MOST_BYTES) -> None:
        """Keep nothing yet.

        Args:
            sign: signs the parts of a message.
            most_bytes: of all messages that are kept.
        """
        self._sign = sign
        self._most_bytes = most_bytes
        self._lock = threading.RLock()
        self._cell: _Cell | None = None
        self._question: Frames | None = None

    @contextmanager
    def cell(self, request: Mapping[str, Any]) -> Iterator[None]:
        """Keep what is sent for a cell from here on, and forget the cell before it."""
        message_id = str(request["header"]["msg_id"])[:200]
        limit = request.get("metadata", {}).get("limit")  # as its sender understands it
        self._cell = cell = _Cell(message_id, message_id.encode(), limit)
        try:
            yield
        finally:
            cell.reply = cell.reply or "error"
            cell.over_at = time.monotonic()

    def note_reply(self, status: str) -> None:
        """Note how the cell ended: the status in its reply."""
        if self._cell is not None:
            self._cell.reply = status

    @contextmanager
    def question(self, frames: Frames) -> Iterator[None]:
        """Keep a question for as long as its answer is waited for."""
        if sum(map(len, frames)) <= _MOST_QUESTION_BYTES:
            self._question = frames
        try:
            yield
        finally:
            self._question = None

    def record(self, frames: Frames) -> None:
        """Take note of a message that is being sent; of the cell's own, that is."""
        with suppress(Exception):
            cell = self._cell
            if cell is None:
                return
            at = frames.index(_DELIMITER)
            if cell.mark in frames[at + 3]:
                with self._lock:
                    if not cell.messages or cell.messages[-1].sent is not frames:
                        self._keep(cell, frames, [bytes(part) for part in frames[at : at + 6]])

    def told(self) -> tuple[dict[str, Any], list[Frames], Frames | None]:
        """All of it: what is to be said of the cell, its messages, and the question."""
        with self._lock:
            cell, question = self._cell, self._question
            if cell is None:
                return {"cell": ""}, [], question
            messages = [message.frames for message in cell.messages]
            said = {
                "cell": cell.message_id,
                "reply": cell.reply if cell.over_at is not None else "",
                "over_at": cell.over_at,
                "limit": cell.limit,
                "left_out": dict(cell.left_out),
            }
            return said, messages, question

    # -- within bounds -----------------------------------------------------------------------------

    def _keep(self, cell: _Cell, sent: Frames, frames: Frames) -> None:
        found = _KIND.search(frames[2])
        kind = found[1] if found else b""
        message = _Message(kind, frames, _size(frames), sent)
        display = _display_changed(frames) if kind == _UPDATE else b""
        if kind == _CLEAR and cell.size > self._most_bytes // 2:
            self._forget_outputs(cell)
        elif display:
            self._forget_update(cell, display)
        if not self._has_room(cell, message):
            self._join_streams(cell)
        if not self._has_room(cell, message):
            name = _stream_name(frames) if kind == _STREAM else "others"
            amount = len(frames[5]) if kind == _STREAM else 1
            cell.left_out[name] = cell.left_out.get(name, 0) + amount
            return
        cell.messages.append(message)
        cell.size += message.size
        if kind == _STREAM:
            cell.stream_bytes += message.size
        elif display:
            cell.updates[display] = message

    def _has_room(self, cell: _Cell, message: _Message) -> bool:
        reserve = 0 if message.kind in _OUTPUTS else _RESERVE_BYTES
        return cell.size + message.size <= self._most_bytes + reserve

    def _forget_outputs(self, cell: _Cell) -> None:
        """Forget what the cell itself is about to remove."""
        cell.messages = [m for m in cell.messages if m.kind not in _OUTPUTS]
        cell.size = sum(message.size for message in cell.messages)
        cell.updates = {}
        cell.left_out = {}
        cell.stream_bytes = 0

    def _forget_update(self, cell: _Cell, display: bytes) -> None:
        """Forget the last change of a display that is changed again."""
        before = cell.updates.pop(display, None)
        if before is not None and before in cell.messages[-_NEAR:]:
            cell.messages.remove(before)
            cell.size -= before.size

    def _join_streams(self, cell: _Cell) -> None:
        """Make one message of several in a row that carry pieces of one stream."""
        if cell.stream_bytes < _WORTH_JOINING_BYTES:
            return
        cell.stream_bytes = 0
        joined: list[_Message] = []
        run: list[_Message] = []
        name = ""
        for message in cell.messages:
            plain = message.kind == _STREAM and message.frames[4] == b"{}"
            own = _stream_name(message.frames) if plain else ""
            if run and own != name:
                joined.append(self._joined(run, name))
                run = []
            if own:
                name = own
                run.append(message)
            else:
                joined.append(message)
        if run:
            joined.append(self._joined(run, name))
        cell.messages = joined
        cell.size = sum(message.size for message in joined)

    def _joined(self, run: list[_Message], name: str) -> _Message:
        if len(run) == 1:
            return run[0]
        text = "".join(json.loads(message.frames[5])["text"] for message in run)
        content = json.dumps({"name": name, "text": text}, ensure_ascii=False)
        first = run[0].frames
        parts = [first[2], first[3], first[4], content.encode("utf-8", "surrogateescape")]
        frames = [_DELIMITER, self._sign(parts), *parts]
        return _Message(_STREAM, frames, _size(frames))


def _size(frames: Frames) -> int:
    return _MESSAGE_BYTES + sum(map(len, frames))


def _display_changed(frames: Frames) -> bytes:
    """The id of the display that a message changes; empty if it can't be found."""
    content = frames[5]
    found = _DISPLAY.match(content, max(content.rfind(b'"display_id"'), 0))
    return found[1] if found else b""


def _stream_name(frames: Frames) -> str:
    return "stderr" if b'"stderr"' in frames[5][:40] else "stdout"


def packed(messages: Sequence[Frames]) -> bytes:
    """Messages in one piece: of each, how many frames; of each frame, its length and its bytes."""
    pieces: list[bytes] = []
    for frames in messages:
        pieces.append(struct.pack(">I", len(frames)))
        for frame in frames:
            pieces += (struct.pack(">Q", len(frame)), frame)
    return b"".join(pieces)
