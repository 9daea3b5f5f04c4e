"""Text from a kernel, made safe to write to a terminal.

A terminal obeys what it is sent: it can be made to retitle itself, clear the screen, write to the
clipboard, or type an answer into the prompt. The service removes ANSI sequences from output, but a
sequence can be spread over several pieces, and names, reprs and tracebacks come other ways. So
here, at the last step, not one control character is let through but those that only move within
the line; what is left of a sequence is then ordinary text.
"""

from types import MappingProxyType

_LINE_CONTROLS = "\n\t"
_MOVES = "\r\b"
#: Marks that turn the direction of writing: "gpj.exe" can be made to read "exe.jpg".
_BIDI_CONTROLS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def _visible(keep: str, also: str = "") -> MappingProxyType[int, str]:
    """A translation of control characters into characters that only picture them."""
    table = {code: chr(0x2400 + code) for code in range(0x20)}
    table[0x7F] = "\u2421"
    table |= {code: "\N{REPLACEMENT CHARACTER}" for code in range(0x80, 0xA0)}
    # Lone surrogates can't be encoded, and would end the program instead of the line.
    table |= {code: "\N{REPLACEMENT CHARACTER}" for code in range(0xD800, 0xE000)}
    table |= {ord(character): "\N{REPLACEMENT CHARACTER}" for character in also}
    return MappingProxyType({code: to for code, to in table.items() if chr(code) not in keep})


_TEXT = _visible(keep=_LINE_CONTROLS)
_STREAM = _visible(keep=_LINE_CONTROLS + _MOVES)
_NAME = _visible(keep="", also=_BIDI_CONTROLS + "\u2028\u2029")


def inert(text: str) -> str:
    """Make a text safe, keeping line ends and tabs."""
    return text.translate(_TEXT)


def inert_stream(text: str) -> str:
    """Make a piece of a stream safe, keeping carriage returns and backspaces as well: they can
    only overwrite the line they are in, which is how progress bars are drawn."""
    return text.translate(_STREAM)


def inert_name(text: str) -> str:
    """Make a name safe and one line, which also can't read other than it is."""
    return text.translate(_NAME)
