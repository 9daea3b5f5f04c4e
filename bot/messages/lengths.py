"""How long a text is for Discord, and where it may be cut.

Discord's developers say that it counts code points, other servers that speak its protocol count
UTF-16 code units. A text within a limit by the latter is within it by the former.
"""

import unicodedata

_ZWJ = "\u200d"
#: Longer runs of marks upon one letter are no writing system's.
_MAX_MARKS = 16


def length(text: str) -> int:
    """How many UTF-16 code units the text has."""
    if text.isascii():
        return len(text)
    return len(text) + sum(character > "\uffff" for character in text)


def first(text: str, limit: int) -> str:
    """The beginning of a text: at most ``limit`` units, and no character without its accents.

    At least one character is given, whatever the limit, so that who cuts a text up gets on.
    """
    if length(text) <= limit:
        return text
    end = _index(text, limit)
    cut = end
    for _ in range(_MAX_MARKS):
        if cut <= 1 or not _joined(text, cut):
            return text[: max(cut, 1)]
        cut -= 1
    return text[: max(end, 1)]


def last(text: str, limit: int) -> str:
    """The end of a text, at most ``limit`` units."""
    start = len(text)
    room = limit
    while start and (room := room - length(text[start - 1])) >= 0:
        start -= 1
    return text[start:]


def shortened(text: str, limit: int) -> str:
    """A text of at most ``limit`` units, with an ellipsis where its end is missing."""
    return text if length(text) <= limit else first(text, limit - 1) + "…"


def to_line_end(head: str, text: str) -> str:
    """The beginning of a text without its last line, if that is cut in the middle."""
    if text[len(head) : len(head) + 1] in ("", "\n"):
        return head
    whole, _, _ = head.rpartition("\n")
    return whole if len(whole) > len(head) // 2 else head


def from_line_start(tail: str, text: str) -> str:
    """The end of a text without its first line, if that is cut in the middle."""
    if text[-len(tail) - 1 : -len(tail)] in ("", "\n"):
        return tail
    _, _, whole = tail.partition("\n")
    return whole if len(whole) > len(tail) // 2 else tail


def _index(text: str, limit: int) -> int:
    """How many characters make up at most ``limit`` units."""
    if text[:limit].isascii():
        return limit
    units = 0
    for index, character in enumerate(text):
        units += 2 if character > "\uffff" else 1
        if units > limit:
            return index
    return len(text)


def _joined(text: str, index: int) -> bool:
    """Whether the character at ``index`` belongs to the one before it."""
    return (
        text[index - 1] == _ZWJ
        or text[index] == _ZWJ
        or unicodedata.combining(text[index]) > 0
        or unicodedata.category(text[index]) in {"Mn", "Me"}
        or "\U0001f3fb" <= text[index] <= "\U0001f3ff"
    )
