"""Pictures that a kernel drew: what it sends for one is checked before anything believes it."""

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Any

from kernel_startup.picture_types import MOST_PNG_BYTES, MOST_SIDE

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IHDR = struct.Struct(">I4sII")
#: The last chunk, which is always the same.
_IEND = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def lacks_renderer(reply: Mapping[str, Any]) -> bool:
    """Whether a kernel says that it needs a package to draw this."""
    return reply.get("status") == "lacking"


def png_of_reply(reply: Mapping[str, Any]) -> bytes | None:
    """The picture in a kernel's ``picture_reply``; None if there is none within the limits."""
    value = reply.get("png")
    if not isinstance(value, str) or len(value) > MOST_PNG_BYTES * 4 // 3 + 4:
        return None
    try:
        png = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return png if is_png(png) else None


def is_png(content: bytes) -> bool:
    """Whether bytes are a PNG within the limits, as far as its frame shows.

    Its pixels aren't decoded: that is for those who show it.
    """
    start = len(_SIGNATURE)
    if not content.startswith(_SIGNATURE) or not content.endswith(_IEND):
        return False
    if not start + _IHDR.size < len(content) <= MOST_PNG_BYTES:
        return False
    length, kind, width, height = _IHDR.unpack_from(content, start)
    sides = (width, height)
    return (length, kind) == (13, b"IHDR") and all(0 < side <= MOST_SIDE for side in sides)
