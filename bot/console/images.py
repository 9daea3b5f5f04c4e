"""Pictures inside the terminal, where it can show them.

Both protocols take a PNG as it is: the terminal decodes it. Sixel would need the picture decoded
in this process, and pictures come from sandboxed code that nobody has to trust; terminals that
have only sixel get the path of the saved picture, like all the others.
"""

import base64
import struct
from collections.abc import Iterator, Mapping
from typing import Literal

ImageProtocol = Literal["kitty", "iterm2"]

_MAX_PNG_BYTES = 8 * 1024 * 1024
#: A PNG can be small and still decode to gigabytes.
_MAX_SIDE_PX = 10_000
_MAX_AREA_PX = 40_000_000
#: Pictures wider than the terminal are scaled down to it; about how wide a column is.
_COLUMN_PX = 9


def image_protocol(environment: Mapping[str, str]) -> ImageProtocol | None:
    """Tell from the environment's variables how the terminal takes pictures; None if it doesn't,
    or if a multiplexer in between would swallow them."""
    term = environment.get("TERM", "")
    program = environment.get("TERM_PROGRAM", "")
    if "TMUX" in environment or "STY" in environment or term.startswith(("screen", "tmux")):
        return None
    if term in {"xterm-kitty", "xterm-ghostty"} or program == "ghostty":
        return "kitty"
    if program in {"iTerm.app", "WezTerm", "mintty"}:
        return "iterm2"
    konsole = environment.get("KONSOLE_VERSION", "")
    return "kitty" if konsole.isdigit() and int(konsole) >= 220_400 else None


def image_sequence(content: bytes, *, protocol: ImageProtocol, columns: int) -> str | None:
    """The control sequence that shows a PNG, or None if the picture is none for a terminal.

    Args:
        content: The picture.
        protocol: What the terminal understands.
        columns: How wide the terminal is.
    """
    width_px = _showable_width(content)
    if width_px is None:
        return None
    wide = width_px > columns * _COLUMN_PX
    if protocol == "iterm2":
        # Source: https://iterm2.com/documentation-images.html
        width = f"width={columns};" if wide else ""
        payload = base64.b64encode(content).decode()
        return f"\x1b]1337;File=inline=1;{width}size={len(content)}:{payload}\x07"
    return "".join(_kitty_sequences(content, f"c={columns}," if wide else ""))


def _kitty_sequences(content: bytes, width: str) -> Iterator[str]:
    """Source: https://sw.kovidgoyal.net/kitty/graphics-protocol/"""
    payload = base64.b64encode(content).decode()
    chunks = [payload[start : start + 4096] for start in range(0, len(payload), 4096)]
    # q=2: the terminal must not answer, the answer would be typed into the next prompt.
    first = f"a=T,f=100,q=2,{width}"
    for index, chunk in enumerate(chunks):
        more = int(index < len(chunks) - 1)
        yield f"\x1b_G{first if index == 0 else ''}m={more};{chunk}\x1b\\"


def _showable_width(content: bytes) -> int | None:
    header = content[:24]
    if len(header) < 24 or not header.startswith(b"\x89PNG\r\n\x1a\n") or header[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", header[16:24])
    side, area = max(width, height), width * height
    if not area or side > _MAX_SIDE_PX or area > _MAX_AREA_PX or len(content) > _MAX_PNG_BYTES:
        return None
    return int(width)
