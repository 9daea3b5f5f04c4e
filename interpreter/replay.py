"""Replay: what a kernel has kept of its last cell for a service that comes later. Pure.

It comes from a process that runs hostile code: all of it is checked and bounded before it is used.
The kernel's half is ``kernel_startup/replay.py``.
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Kernels keep 8 MiB, and a little more.
_MOST_BYTES = 10 << 20
#: Of one replay; small ones are put together by the kernel.
_MOST_MESSAGES = 20_000
_MOST_FRAMES = 8
_MOST_ID_CHARS = 200
#: Among how many first messages the cell itself is looked for, and how long it may be.
_EARLY, _HEADER_BYTES, _MOST_CODE_BYTES = 10, 1 << 16, 256 << 10
_MOST_LEFT_OUT = 1 << 40


@dataclass(frozen=True, slots=True)
class Replay:
    """What a kernel says of the cell that it runs, or ran last.

    Attributes:
        cell: the id of the message that the cell was sent with; empty if there was none.
        messages: what it has sent, in order, each as frames from the delimiter on.
        question: what it waits for an answer to, in the same form; None for nothing.
        reply: the status in its reply; None while it runs.
        over_at: when it was over, in seconds of the machine's monotonic clock; None if that is not
            known.
        left_out: how much is missing: of ``stdout`` and ``stderr``, bytes; of ``others``, messages.
        timeout_s: the cell's deadline, in seconds; None if it doesn't say.
        sent_at: when the cell was sent, in seconds of the machine's monotonic clock; None if it
            doesn't say.
        fresh: whether it has run no cell, and nothing has been restored in it or saved of it.
    """

    cell: str = ""
    messages: Sequence[list[bytes]] = ()
    question: list[bytes] | None = None
    reply: str | None = None
    over_at: float | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    timeout_s: float | None = None
    sent_at: float | None = None
    fresh: bool = False

    @classmethod
    def from_reply(cls, content: Mapping[str, Any], buffers: Sequence[bytes]) -> "Replay":
        """Take in a kernel's ``replay_reply``; what is nonsense counts as missing."""
        cell, reply, over_at = content.get("cell"), content.get("reply"), content.get("over_at")
        limit = content.get("limit")
        timeout_s, sent_at = limit if isinstance(limit, list) and len(limit) == 2 else (None, None)
        told = content.get("left_out")
        left_out = told if isinstance(told, dict) else {}
        messages = _unpacked(buffers[0]) if buffers else []
        questions = _unpacked(buffers[1]) if len(buffers) > 1 else []
        return cls(
            cell=cell if isinstance(cell, str) and len(cell) <= _MOST_ID_CHARS else "",
            messages=messages,
            question=questions[0] if questions else None,
            reply=reply if reply in ("ok", "error") else None,
            over_at=_time(over_at),
            left_out={name: _amount(left_out.get(name)) for name in ("stdout", "stderr", "others")},
            timeout_s=_time(timeout_s),
            sent_at=_time(sent_at),
            fresh=content.get("fresh") is True,
        )

    @property
    def runs(self) -> bool:
        """Whether the cell is running, as the kernel says."""
        return bool(self.cell) and self.reply is None

    def code(self) -> str | None:
        """The cell, as the kernel says it; None if it doesn't say."""
        for frames in self.messages[:_EARLY]:
            if len(frames) > 5 and b'"execute_input"' in frames[2][:_HEADER_BYTES]:
                try:
                    content = json.loads(frames[5][:_MOST_CODE_BYTES])
                except (ValueError, RecursionError):
                    return None
                code = content.get("code") if isinstance(content, dict) else None
                return code if isinstance(code, str) else None
        return None


def _time(value: object) -> float | None:
    return value if type(value) is float and math.isfinite(value) else None


def _amount(number: object) -> int:
    return min(number, _MOST_LEFT_OUT) if type(number) is int and number > 0 else 0


def _unpacked(piece: bytes) -> list[list[bytes]]:
    """The messages in a piece of bytes, up to the first that makes no sense."""
    messages: list[list[bytes]] = []
    view = memoryview(piece)
    at, end = 0, len(view)
    if end > _MOST_BYTES:
        return messages
    while at < end and len(messages) < _MOST_MESSAGES:
        try:
            (count,) = struct.unpack_from(">I", view, at)
            at += 4
            frames: list[bytes] = []
            for _ in range(min(count, _MOST_FRAMES + 1)):
                (size,) = struct.unpack_from(">Q", view, at)
                at += 8
                if size > end - at:
                    return messages
                frames.append(bytes(view[at : at + size]))
                at += size
        except struct.error:
            return messages
        if not 0 < count <= _MOST_FRAMES:
            return messages
        messages.append(frames)
    return messages
