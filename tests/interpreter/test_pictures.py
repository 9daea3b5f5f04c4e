"""What a kernel sends for a picture, checked."""

import base64
import struct
import zlib

import pytest

from interpreter.pictures import is_png, lacks_renderer, png_of_reply
from kernel_startup.picture_types import MOST_PNG_BYTES


def png(width: int, height: int, *, size: int = 0) -> bytes:
    """A PNG as far as its frame shows, of at least so many bytes."""
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", ihdr)
    end = _chunk(b"IEND", b"")
    return start + _chunk(b"IDAT", b"x" * (size - len(start) - len(end) - 12)) + end


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


@pytest.mark.parametrize(
    ("content", "accepted"),
    [
        (png(1, 1), True),
        (png(4000, 4000), True),
        (png(4001, 1), False),
        (png(1, 4001), False),
        (png(0, 1), False),
        (png(5, 5, size=MOST_PNG_BYTES), True),
        (png(5, 5, size=MOST_PNG_BYTES - 1), True),
        (png(5, 5, size=MOST_PNG_BYTES + 1), False),
        (png(5, 5)[:-1], False),
        (png(5, 5)[1:], False),
        (png(5, 5)[:8] + png(5, 5)[-12:], False),
        (b"\x89PNG\r\n\x1a\n", False),
    ],
)
def test_what_claims_to_be_a_picture_is_checked(content: bytes, accepted: bool) -> None:
    assert is_png(content) == accepted
    reply = {"png": base64.b64encode(content).decode()}
    assert png_of_reply(reply) == (content if accepted else None)


@pytest.mark.parametrize("value", [None, 5, "", "é", "####", "AAA", ["x"]])
def test_what_is_no_base64_is_no_picture(value: object) -> None:
    assert png_of_reply({"png": value}) is None
    assert png_of_reply({}) is None
    assert not lacks_renderer({"status": value})


def test_kernel_that_lacks_a_renderer_says_so() -> None:
    assert lacks_renderer({"status": "lacking"})
    assert png_of_reply({"status": "lacking"}) is None
