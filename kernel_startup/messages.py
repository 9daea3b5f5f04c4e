"""The kernel's messages: Jupyter's session, made ready before the fork and quick at its work.

Five messages go out for each cell, however small. Most of what jupyter_client's own session takes
for them goes into making the same encoder again for each of the twenty parts, and into encoding the
cell's header once for each message that names it as its parent.
"""

import itertools
import json
import os
from typing import Any

from jupyter_client.jsonutil import json_default
from jupyter_client.session import Session, json_packer, json_unpacker, new_id
from traitlets import Callable

_encoder = json.JSONEncoder(default=json_default, ensure_ascii=False, allow_nan=False)
#: Far more than any message has: what is longer would be sent without a copy, by a thread more.
_COPIED_BYTES = 1 << 62


def pack(part: Any) -> bytes:
    """Encode one part of a message, as jupyter_client does."""
    if not part and type(part) is dict:
        return b"{}"
    try:
        return _encoder.encode(part).encode("utf-8", "surrogateescape")
    except (TypeError, ValueError):
        return json_packer(part)  # mends what can be mended


class CellSession(Session):
    """A kernel's session."""

    pack = Callable(pack)
    unpack = Callable(json_unpacker)

    def __init__(self, **options: Any) -> None:
        """Take the arguments of jupyter_client's session."""
        super().__init__(copy_threshold=_COPIED_BYTES, **options)
        self._numbers = itertools.count()
        self._parent: tuple[object, bytes] = (None, b"")

    def begin(self, key: bytes) -> None:
        """Start anew in this process, which was forked from one with the same session.

        Args:
            key: signs the messages.
        """
        self.pid = os.getpid()
        self.session = new_id()
        self.key = key
        self.digest_history = set()

    @property
    def msg_id(self) -> str:
        """The id of the next message; no thread ever gets one that another has."""
        return f"{self.session}_{os.getpid()}_{next(self._numbers)}"

    def serialize(self, msg: dict[str, Any], ident: Any = None) -> list[bytes]:
        """Encode a message; called for each that is sent."""
        parent = msg["parent_header"]
        known, packed = self._parent
        if parent is not known:
            packed = pack(parent)
            self._parent = parent, packed
        content = msg.get("content")
        parts = [
            pack(msg["header"]),
            packed,
            pack(msg["metadata"]),
            content if isinstance(content, bytes) else pack(content or {}),
        ]
        idents = ident if isinstance(ident, list) else [] if ident is None else [ident]
        return [*idents, b"<IDS|MSG>", self.sign(parts), *parts]
