"""Text as a terminal would show it, in bounded memory, from chunks of any size and content.

    chunk ──▶ AnsiStripper ──▶ TerminalLine ──▶ HeadTail
              no sequences,    \\r, \\b and       the first and the last
              no controls      erase applied     characters, the rest counted

Cutting the input into other chunks never changes the outcome: every rule depends on the characters
alone. Every step is linear in the number of characters.
"""

import re
from collections import deque
from collections.abc import Callable
from copy import copy

# How far a string sequence (a window title, a link) may run before it is taken for ordinary text.
# Without a limit, one stray `ESC ]` in binary data would swallow all that follows.
_MAX_STRING_CHARS = 4_096

# Source: ECMA-48 5.4 (control sequences), 5.6 (control strings); xterm ends an OSC with BEL too.
# Strings end at a line break as well: none that is meant contains one.
# The 8-bit introducers (U+009B and others) are dropped alone, as text in a wrong encoding has them.
_COMPLETE = (
    r"\x1b\[[0-?]{0,64}[ -/]{0,4}[@-~]"
    rf"|\x1b\][^\x07\x1b\n]{{0,{_MAX_STRING_CHARS}}}(?:\x07|\x1b\\)"
    rf"|\x1b[PX^_][^\x1b\n]{{0,{_MAX_STRING_CHARS}}}\x1b\\"
    r"|\x1b[ -/]{1,4}[0-~]"
    r"|\x1b[0-OQ-WYZ\\`-~]"
)
_INVALID = r"\x1b[\[\]PX^_]?"
_ESCAPE = re.compile(f"{_COMPLETE}|{_INVALID}")
_INCOMPLETE = re.compile(
    r"\x1b(?:\[[0-?]{0,64}[ -/]{0,4}"
    rf"|\][^\x07\x1b\n]{{0,{_MAX_STRING_CHARS}}}\x1b?"
    rf"|[PX^_][^\x1b\n]{{0,{_MAX_STRING_CHARS}}}\x1b?"
    r"|[ -/]{1,4})?\Z"
)
_MAX_INCOMPLETE_CHARS = _MAX_STRING_CHARS + 3

# An ESC that is left after stripping is our own mark for "erase to the end of the line".
ERASE_MARK = "\x1b"
_ERASE = re.compile(r"\x1b\[0?K\Z")
_MAY_ERASE = re.compile(r"\x1b\[0?K")

_CONTROLS = "".join(chr(code) for code in (*range(0x20), 0x7F) if chr(code) not in "\t\n")
_CONTROL_OR_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_DROPPED = re.compile("[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")

_EDIT = re.compile("[\r\b\x1b]")
_EDIT_TOKEN = re.compile("\r+|\b+|\x1b+|[^\r\b\x1b]+")

# How far back `\r` can reach in a line that goes on and on; the real terminal's width, generously.
_MAX_LINE_CHARS = 10_000

_COALESCE_CHARS = 4_096


def encodable(text: str) -> str:
    """The text with lone surrogates, which can't be encoded, replaced by U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def strip_ansi(text: str) -> str:
    """A complete text without ANSI sequences; of the controls \\t, \\n, \\r and \\b stay."""
    return AnsiStripper().feed(text)


def left_out_line(characters: int, *, after: str) -> str:
    """The line that stands where characters were left out, on a line of its own."""
    line_break = "\n" if after and not after.endswith("\n") else ""
    noun = "character" if characters == 1 else "characters"
    return f"{line_break}… {characters:,} {noun} left out …\n"


class AnsiStripper:
    """Removes ANSI sequences from text that arrives in pieces; keeps \\t, \\n, \\r and \\b.

    A sequence that isn't complete at the end of a piece is held back (4 kB at most) until the
    next. Other control characters are dropped, lone surrogates become U+FFFD, so that the result
    can always be encoded.
    """

    def __init__(self) -> None:
        self._held_back = ""

    def feed(self, chunk: str) -> str:
        """What the piece adds to the text."""
        return self.feed_marked(chunk).replace(ERASE_MARK, "")

    def feed_marked(self, chunk: str) -> str:
        """The same, with each "erase to the end of the line" as one ESC, for `TerminalLine`."""
        if self._held_back:
            chunk = self._held_back + chunk
            self._held_back = ""
        if not _has_controls(chunk):
            return chunk
        if "\x1b" in chunk:
            window = max(0, len(chunk) - _MAX_INCOMPLETE_CHARS)
            if incomplete := _INCOMPLETE.search(chunk, window):
                self._held_back = chunk[incomplete.start() :]
                chunk = chunk[: incomplete.start()]
            may_erase = _MAY_ERASE.search(chunk) is not None
            chunk = _ESCAPE.sub(_mark_erase if may_erase else "", chunk)
        return encodable(_DROPPED.sub("", chunk))


def _has_controls(chunk: str) -> bool:
    # Measured: for long ASCII text 31 passes of memchr are 12 times as fast as one regex scan.
    if len(chunk) > 512 and chunk.isascii():
        return any(control in chunk for control in _CONTROLS)
    return _CONTROL_OR_ODD.search(chunk) is not None


def _mark_erase(escape: re.Match[str]) -> str:
    return ERASE_MARK if _ERASE.match(escape[0]) else ""


class TerminalLine:
    """The line that is being written: the only one that \\r, \\b and erase can still change.

    Args:
        commit: Called with text that can't change any more, in order.
    """

    def __init__(self, commit: Callable[[str], None]) -> None:
        self._commit = commit
        self._line = ""
        self._column = 0
        self._overwritten = False

    @property
    def text(self) -> str:
        """The line as it looks now. Blanks that only hide what was there before are no text."""
        return self._line.rstrip(" ") if self._overwritten else self._line

    @property
    def with_cursor(self) -> str:
        """The line as it is, and behind it what takes a terminal to where the next text goes."""
        if self._column == len(self._line):
            return self._line
        return f"{self._line}\r{self._line[: self._column]}"

    def write(self, text: str) -> None:
        """Apply text as `AnsiStripper.feed_marked` returns it."""
        if "\r\n" in text:
            text = text.replace("\r\n", "\n")
        edits = any(mark in text for mark in "\r\b\x1b")
        start = 0
        while start < len(text):
            if self._column == len(self._line) and not self._overwritten:
                edit = _EDIT.search(text, start) if edits else None
                if edit is None:
                    self._append(text[start:] if start else text)
                    return
                if (newline := text.rfind("\n", start, edit.start())) >= 0:
                    self._append(text[start : newline + 1])
                    start = newline + 1
            newline = text.find("\n", start)
            self._edit(text[start:] if newline < 0 else text[start:newline])
            if newline < 0:
                return
            self._commit(self.text + "\n")
            self._reset()
            start = newline + 1

    def finish(self) -> None:
        """Commit the line as it is; what follows starts afresh."""
        if line := self.text:
            self._commit(line)
        self._reset()

    def _reset(self) -> None:
        self._line, self._column, self._overwritten = "", 0, False

    def _append(self, text: str) -> None:
        newline = text.rfind("\n") + 1
        if newline:
            self._commit(self._line + text[:newline] if self._line else text[:newline])
            self._line = text[newline:]
        else:
            self._line += text
        if (rows := _full_rows(len(self._line))) > 0:
            self._commit(self._line[:rows])
            self._line = self._line[rows:]
        self._column = len(self._line)

    def _edit(self, text: str) -> None:
        if len(self._line) + len(text) > _MAX_LINE_CHARS or "\b" in text or ERASE_MARK in text:
            self._edit_by_token(text)
            return
        # A progress bar: runs of text written over one another from the first column. Read from
        # the last run backwards, each earlier one shows only where it is longer.
        first, *runs = text.split("\r")
        if first:
            self._overwritten |= self._column < len(self._line)
            end = self._column + len(first)
            self._line = self._line[: self._column] + first + self._line[end:]
            self._column = end
        if runs:
            runs.insert(0, self._line)
            self._overwritten |= sum(map(bool, runs)) > 1
            self._column = len(runs[-1])
            line = ""
            for run in reversed(runs):
                if len(run) > len(line):
                    line += run[len(line) :]
            self._line = line

    def _edit_by_token(self, text: str) -> None:
        line, column = list(self._line), self._column
        for token in _EDIT_TOKEN.findall(text):
            if token[0] == "\r":
                column = 0
            elif token[0] == "\b":
                column = max(0, column - len(token))
            elif token[0] == ERASE_MARK:
                del line[column:]
            else:
                self._overwritten |= column < len(line)
                line[column : column + len(token)] = token
                column += len(token)
                # A terminal would have gone on in its next row, out of reach of `\r`.
                if (rows := _full_rows(len(line))) > 0:
                    self._commit("".join(line[:rows]))
                    del line[:rows]
                    column -= rows
        self._line, self._column = "".join(line), column


def _full_rows(length: int) -> int:
    """How many leading characters of a line of this length have left the last, editable row."""
    return (length - 1) // _MAX_LINE_CHARS * _MAX_LINE_CHARS


class HeadTail:
    """The first and the last characters of a text of any length; the middle is only counted.

    Positions are those in the whole text. Everything is kept up to `max_chars`; from there on the
    first half and the last half.
    """

    def __init__(self, max_chars: int) -> None:
        self._max_head = max_chars // 2
        self._max_tail = max_chars - self._max_head
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._tail_chars = 0
        self._floor = 0
        self.head_chars = 0
        self.total = 0

    def append(self, text: str) -> None:
        """Add text at the end."""
        self.total += len(text)
        if (room := self._max_head - self.head_chars) > 0:
            into_head = text[:room]
            _coalesce(self._head, into_head)
            self.head_chars += len(into_head)
            text = text[room:]
        if not text:
            return
        if len(text) >= self._max_tail:
            self._tail.clear()
            text = text[len(text) - self._max_tail :]
            self._tail_chars = 0
        _coalesce(self._tail, text)
        self._tail_chars += len(text)
        while self._tail and self._tail_chars - len(self._tail[0]) >= self._max_tail:
            self._tail_chars -= len(self._tail.popleft())

    @property
    def tail_start(self) -> int:
        """Where the kept end begins; the head's end if nothing is left out."""
        return max(self.head_chars, self.total - self._max_tail, self._floor)

    @property
    def left_out(self) -> int:
        """How many characters of the middle are gone."""
        return self.tail_start - self.head_chars

    @property
    def head(self) -> str:
        """The kept beginning."""
        return "".join(self._head)

    @property
    def tail(self) -> str:
        """The kept end."""
        tail = "".join(self._tail)
        return tail[len(tail) - (self.total - self.tail_start) :]

    def close_head(self) -> None:
        """Let the head end here, however short it is."""
        self._max_head = self.head_chars

    def drop_before(self, position: int) -> None:
        """Leave out what lies between the head and this position."""
        self._floor = max(self._floor, min(position, self.total))
        while self._tail and self.total - self._tail_chars + len(self._tail[0]) <= self._floor:
            self._tail_chars -= len(self._tail.popleft())

    def followed_by(self, text: str) -> "HeadTail":
        """A copy to which `text` was added; this one stays as it is."""
        longer = copy(self)
        longer._head = self._head.copy()
        longer._tail = self._tail.copy()
        longer.append(text)
        return longer


def _coalesce(parts: list[str] | deque[str], text: str) -> None:
    """Append text, to the last piece while that is small: millions of pieces cost memory."""
    if parts and len(parts[-1]) + len(text) <= _COALESCE_CHARS:
        parts[-1] += text
    else:
        parts.append(text)


class TerminalText:
    """Text fed in pieces, read as a terminal shows it at the end.

    `\\r` and backspace overwrite, `ESC [ K` erases to the end of the line, every other sequence
    and control character is removed. Memory stays in proportion to `max_chars`.

    Args:
        max_chars: Of a longer text the first half and the last half of this many characters are
            kept, and a line between them says how many were left out.
    """

    def __init__(self, max_chars: int) -> None:
        self._stripper = AnsiStripper()
        self._kept = HeadTail(max_chars)
        self._line = TerminalLine(self._kept.append)

    def feed(self, chunk: str) -> None:
        """Add the next piece."""
        self._line.write(self._stripper.feed_marked(chunk))

    @property
    def text(self) -> str:
        """The text so far; longer than `max_chars` only by the line with the count."""
        kept = self._kept.followed_by(self._line.text)
        if not kept.left_out:
            return kept.head + kept.tail
        return kept.head + left_out_line(kept.left_out, after=kept.head) + kept.tail


def cut(text: str, max_chars: int) -> str:
    """A complete text as a terminal shows it, without its middle if it is longer."""
    terminal = TerminalText(max_chars)
    terminal.feed(text)
    return terminal.text
