"""Conversation: what Jupyter clients and an attached kernel say to each other, made harmless.

`exit` in a Jupyter console ends the kernel, be it as a cell or by a request to shut down, which is
not what an admin means who only leaves; ending a user's kernel is a deed of its own, which the
audit log tells. So neither reaches the kernel, and the console is told to leave.

A kernel is in the hands of its user's code, and a Jupyter console writes to the terminal what that
sends: it could set the clipboard, or ask for a password as if the system did. So texts come without
control sequences, and questions only from a cell of the admin's own, with a word about who asks.

Source: Jupyter client documentation, "Messaging in Jupyter" and "The Wire Protocol".
"""

import hashlib
import hmac
import json
import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from interpreter.terminal import strip_ansi

_DELIMITER = b"<IDS|MSG>"
#: The delimiter, a signature, and header, parent, metadata and content.
_PARTS = 6
_MOST_FRAMES = 32
#: Values in one message: small ones become large in memory.
_MOST_VALUES = 200_000
_MOST_CELLS = 64
#: Cells by which people leave a console; a longer one isn't looked at.
_LEAVING = re.compile(r"\s*+%?(?:exit|quit)\s*+(?:\(\s*+\w*+\s*+\)\s*+)?;?\s*+")
_LEAVING_BYTES = 4096
#: What comes before each question.
WHO_ASKS = "[the user's kernel asks] "


class Conversation:
    """All that goes through one attachment."""

    def __init__(self, key: bytes) -> None:
        """Begin.

        Args:
            key: that the messages are signed with.
        """
        self._key = key
        #: Ids of cells that admins have sent and that are not over.
        self._cells: OrderedDict[str, None] = OrderedDict()
        #: Those of them by which somebody leaves.
        self._leaving: set[str] = set()

    def request(self, frames: Sequence[bytes]) -> Sequence[bytes] | None:
        """What goes on to the kernel of a client's message."""
        try:
            header = json.loads(frames[frames.index(_DELIMITER) + 2])
            kind, message_id = header["msg_type"], header["msg_id"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return frames  # to the kernel it means nothing
        if kind == "shutdown_request":
            return None
        if kind == "execute_request":
            self._cells[str(message_id)] = None
            if len(self._cells) > _MOST_CELLS:
                oldest, _ = self._cells.popitem(last=False)
                self._leaving.discard(oldest)
            leaving = _as_leaving(frames)
            if leaving is not None:
                self._leaving.add(str(message_id))
                return leaving.signed(self._key)
        return frames

    def reply(self, frames: Sequence[bytes]) -> Sequence[bytes] | None:
        """What goes on to the client of what a kernel shows or replies."""
        message = _Message.parse(frames)
        if message is None or message.kind == "input_request":
            return None
        if message.kind == "execute_reply":
            self._cells.pop(message.parent_id, None)
            # Others than a page have the client edit something, or write into its next line.
            payload = message.content.get("payload")
            pages = payload if isinstance(payload, list) else []
            message.content["payload"] = [one for one in pages if _is_page(one)]
            if message.parent_id in self._leaving:
                self._leaving.discard(message.parent_id)
                message.content["payload"] = [{"source": "ask_exit", "keepkernel": True}]
        return message.signed(self._key)

    def question(self, frames: Sequence[bytes]) -> Sequence[bytes] | None:
        """What goes on to the client of what a kernel asks."""
        message = _Message.parse(frames)
        if message is None or message.kind != "input_request":
            return None
        if message.parent_id not in self._cells:
            return None
        message.content["prompt"] = WHO_ASKS + str(message.content.get("prompt", ""))
        return message.signed(self._key)


class _Message:
    """A kernel's message without control sequences."""

    def __init__(self, before: Sequence[bytes], parts: list[dict[str, Any]], rest: Any) -> None:
        self._before, self._parts, self._rest = before, parts, rest
        self.content = parts[3]
        self.kind = str(parts[0].get("msg_type"))
        self.parent_id = str(parts[1].get("msg_id"))

    @classmethod
    def parse(cls, frames: Sequence[bytes]) -> "_Message | None":
        """None if it can't be one, or would take too much to read."""
        try:
            at = frames.index(_DELIMITER)
            packed = frames[at + 2 : at + _PARTS]
            values = sum(part.count(sign) for part in packed for sign in (b",", b"[", b"{"))
            if len(packed) < _PARTS - 2 or len(frames) > _MOST_FRAMES or values > _MOST_VALUES:
                return None
            parts = [_clean(json.loads(part)) for part in packed]
        except (ValueError, RecursionError):
            return None
        if not all(isinstance(part, dict) for part in parts):
            return None
        return cls(frames[:at], parts, frames[at + _PARTS :])

    def signed(self, key: bytes) -> Sequence[bytes]:
        """As it goes over the wire."""
        packed = [json.dumps(part).encode() for part in self._parts]
        signature = hmac.new(key, b"".join(packed), hashlib.sha256).hexdigest().encode()
        return [*self._before, _DELIMITER, signature, *packed, *self._rest]


def _clean(value: Any) -> Any:
    """A value of JSON in which no text acts on a terminal."""
    if isinstance(value, str):
        return strip_ansi(value)
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, dict):
        return {strip_ansi(name): _clean(one) for name, one in value.items()}
    return value


def _as_leaving(frames: Sequence[bytes]) -> _Message | None:
    """The message as a cell that does nothing, if it is one by which somebody leaves."""
    if sum(map(len, frames)) > _LEAVING_BYTES:
        return None
    message = _Message.parse(frames)
    if message is None or not _LEAVING.fullmatch(str(message.content.get("code"))):
        return None
    message.content["code"] = ""
    return message


def _is_page(payload: object) -> bool:
    return isinstance(payload, dict) and payload.get("source") == "page"
