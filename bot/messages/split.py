"""Text in Discord's markdown as pieces that each fit into a message.

A block of code is everything between two runs of three or more backticks, wherever they stand:
so Discord sees it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bot.messages.lengths import first, length
from bot.outgoing import MESSAGE_CHARS

_FENCE = re.compile(r"`{3,}")
_LANGUAGE = re.compile(r"([A-Za-z0-9_+#.-]*)\n")
#: What is better not cut: code, links, addresses and what is set off, as long as it is short.
_WHOLE = re.compile(
    r"(?<!`)(`{1,2})(?!`)[^`\n]{1,300}\1(?!`)"
    r"|!?\[[^\[\]\n]{0,300}\]\([^()\s]{1,1000}(?:\([^()\s]{0,200}\)[^()\s]{0,200})?\)"
    r"|<[^<>\n]{1,500}>"
    r"|\*\*[^*\n]{1,300}\*\*|__[^_\n]{1,300}__|~~[^~\n]{1,300}~~|\|\|[^|\n]{1,300}\|\|"
    r"|(?<![\w*])\*[^*\s][^*\n]{0,300}\*(?![\w*])"
)
_LINE = re.compile(r"\n")
_TOP_ITEM = re.compile(r"(?:[-*+]|\d{1,9}[.)]|#{1,3}|-#|>) ")
_SENTENCE = re.compile(r"(?<=[.!?。！？])[\"')\]*_]{0,3}[ \n]+|(?<=[。！？])")  # noqa: RUF001
_BLANK = re.compile(r"[ \t\n]+")
#: A line that belongs to what follows it.
_INTRODUCTION = re.compile(r"#{1,3} .*|\*\*[^\n]*\*\*:?|.*[:：]")  # noqa: RUF001

# How good a place to cut is.
_PARAGRAPH, _ITEM, _ANY_LINE, _END_OF_SENTENCE, _BETWEEN_WORDS = 5, 4, 3, 2, 1


@dataclass(frozen=True, slots=True)
class _Code:
    language: str
    body: str

    def text(self, body: str) -> str:
        return f"```{self.language}\n{body}\n```"


def split_markdown(text: str, limit: int = MESSAGE_CHARS) -> tuple[str, ...]:
    """Cut a text into messages, at the best places there are.

    A block of code is kept whole if a message can hold it, else it is closed, and opened again in
    the next message with its language; an open one is closed. Prose is cut between paragraphs,
    items of a list, lines, sentences or words, in that order of preference; links, code and words
    are cut only if they are longer than a message.

    Args:
        text: In Discord's markdown.
        limit: How long each piece may be, in UTF-16 code units; at least 80.

    Returns:
        The pieces; none is blank. None at all if the text is blank.
    """
    if limit < 80:
        raise ValueError("A message of fewer than 80 characters has no room for a block of code.")
    pieces = _Pieces(limit)
    for segment in _segments(text):
        if isinstance(segment, _Code):
            pieces.add_code(segment)
        else:
            pieces.add_prose(segment)
    return pieces.finish()


def _segments(text: str) -> Iterator[str | _Code]:
    position = 0
    while opening := _FENCE.search(text, position):
        if prose := text[position : opening.start()]:
            yield prose
        start, language = opening.end(), ""
        if named := _LANGUAGE.match(text, start):
            start, language = named.end(), named[1]
        closing = _FENCE.search(text, start)
        body = text[start : closing.start() if closing else len(text)]
        position = closing.end() if closing else len(text)
        if body.strip():
            yield _Code(language[:30], body.rstrip().strip("\n"))
    if position < len(text):
        yield text[position:]


class _Pieces:
    """The messages so far, and the one being filled."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._done: list[str] = []
        self._current = ""

    def finish(self) -> tuple[str, ...]:
        self._flush()
        return tuple(self._done)

    def add_code(self, code: _Code) -> None:
        """Add a block of code, in a message of its own if it fits there and only there."""
        whole = code.text(code.body)
        if self._fits(self._on_new_line(whole)):
            self._current = self._on_new_line(whole)
        elif length(whole) <= self._limit:
            introduction = self._take_introduction(self._limit - length(whole) - 1)
            self._flush()
            self._current = introduction + whole
        else:
            self._add_lines(code)

    def add_prose(self, text: str) -> None:
        """Add prose, cut where it has to be."""
        whole = tuple((match.start(), match.end()) for match in _WHOLE.finditer(text))
        offset = 0
        while not self._fits(self._joined(text[offset:])):
            room = self._limit - length(self._joined(""))
            end = _cut(text, offset, room, self._limit, whole, must=not self._current.strip())
            if end > offset:
                self._current = self._joined(text[offset:end])
            self._flush()
            offset = end
        self._current = self._joined(text[offset:])

    def _add_lines(self, code: _Code) -> None:
        frame = length(code.text(""))
        body = code.body
        if self._limit - length(self._current) < self._limit // 4:
            self._flush()
        while body.strip():
            room = self._limit - length(self._on_new_line("")) - frame
            part = _whole_lines(body, room)
            body = body[len(part) :].removeprefix("\n")
            if part.strip():
                self._current = self._on_new_line(code.text(part.rstrip("\n")))
            if body.strip():
                self._flush()

    def _fits(self, text: str) -> bool:
        return length(text.rstrip()) <= self._limit

    def _joined(self, prose: str) -> str:
        """The message with prose behind it."""
        if not self._current:
            return prose.lstrip("\n") if prose.strip() else ""
        if self._current.endswith("```") and prose and not prose.startswith("\n"):
            return f"{self._current}\n{prose.lstrip(' ')}"
        return self._current + prose

    def _on_new_line(self, code: str) -> str:
        if not self._current.strip():
            return code
        return f"{self._current.rstrip()}\n{code}"

    def _take_introduction(self, room: int) -> str:
        """Take the last line off the message if it introduces what comes next."""
        head, _, line = self._current.rstrip().rpartition("\n")
        if not head.strip() or "```" in line or not _INTRODUCTION.fullmatch(line):
            return ""
        if length(line) > min(room, 300):
            return ""
        self._current = head
        return line + "\n"

    def _flush(self) -> None:
        if piece := self._current.rstrip().lstrip("\n"):
            self._done.append(piece)
        self._current = ""


def _whole_lines(body: str, room: int) -> str:
    """As many lines as fit; a part of the first where not even that does."""
    fitting = first(body, room)
    if len(fitting) == len(body):
        return body
    if body[len(fitting)] == "\n":
        return fitting
    end = fitting.rfind("\n")
    return fitting[:end] if end > 0 and fitting[:end].strip() else fitting


def _cut(
    text: str,
    offset: int,
    room: int,
    limit: int,
    whole: tuple[tuple[int, int], ...],
    *,
    must: bool,
) -> int:
    """Where prose from ``offset`` on is best cut, at most ``room`` units further on.

    Args:
        text: The prose.
        offset: Where it goes on.
        room: What is left of the message, in units.
        limit: What a message has.
        whole: What is better not cut, by beginning and end.
        must: That nothing is in the message so far: it can't be put off to the next one.
    """
    if room <= 0:
        return offset
    end = offset + len(first(text[offset:], room))
    places = _places(text, offset, end, whole)
    for least, fill in ((_PARAGRAPH, 0.6), (_ITEM, 0.25), (_ANY_LINE, 0.25)):
        good = [at for at, worth in places.items() if worth >= least]
        if good and (limit - room + max(good) - offset) >= fill * limit:
            return max(good)
    if not must and room < limit // 2:
        return offset
    for least in (_END_OF_SENTENCE, _BETWEEN_WORDS):
        good = [at for at, worth in places.items() if worth >= least]
        if good and (least == _BETWEEN_WORDS or max(good) - offset >= 0.25 * limit):
            return max(good)
    if not must:
        return offset
    # A word, or what is set off, that is longer than what is left: cut as little as can be.
    blanks = [match.end() for match in _BLANK.finditer(text, offset, end)]
    good = [at for at in blanks if offset < at and at - offset >= 0.5 * room]
    return max(good) if good else end


def _places(text: str, offset: int, end: int, whole: tuple[tuple[int, int], ...]) -> dict[int, int]:
    """Where one may cut, with how good it is there."""
    places: dict[int, int] = {}
    for match in _BLANK.finditer(text, offset, end):
        places[match.end()] = _BETWEEN_WORDS
    for match in _SENTENCE.finditer(text, offset, end):
        places[match.end()] = _END_OF_SENTENCE
    for match in _LINE.finditer(text, offset, end):
        places[match.end()] = _worth_of_line(text, offset, match.end())
    if end < len(text) and text[end].isspace():
        places[end] = _worth_of_line(text, offset, end + 1) if text[end] == "\n" else 1
    inside = [(start, stop) for start, stop in whole if stop > offset and start < end]
    return {
        at: worth
        for at, worth in places.items()
        if worth and at > offset and text[offset:at].strip()
        if not any(start < at < stop for start, stop in inside)
    }


def _worth_of_line(text: str, offset: int, start: int) -> int:
    """How good it is to cut before the line that begins at ``start``."""
    before = text[offset : start - 1].rstrip()
    last_line = before[before.rfind("\n") + 1 :]
    if _INTRODUCTION.fullmatch(last_line) and before != last_line:
        return 0
    if text[start : start + 1] in (" ", "\t"):
        return _ANY_LINE
    if text[start - 2 : start - 1] == "\n":
        return _PARAGRAPH
    return _ITEM if _TOP_ITEM.match(text, start) else _ANY_LINE
