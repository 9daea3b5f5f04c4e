"""A stream's lines as a terminal shows them once they are done."""

import re

_MOVES = re.compile(r"([\r\b])")
#: An unfinished line longer than this is passed on as it is.
_MAX_LINE_CHARS = 65_536


class LineFolder:
    """Holds back the unfinished line of a stream and lets carriage returns and backspaces work on
    it, so that of a progress bar only its last state remains."""

    def __init__(self) -> None:
        self._characters: list[str] = []
        self._column = 0

    def fold(self, text: str) -> str:
        """Take a piece of the stream; give the lines that it completes, line ends included."""
        *complete, rest = text.split("\n")
        lines = []
        for piece in complete:
            self._overwrite(piece)
            lines.append(self._taken() + "\n")
        self._overwrite(rest)
        if len(self._characters) > _MAX_LINE_CHARS:
            lines.append(self._taken())
        return "".join(lines)

    def end(self) -> str:
        """End the stream; give the line that was never finished, with a line end."""
        line = self._taken()
        return line + "\n" if line else ""

    def _taken(self) -> str:
        line = "".join(self._characters)
        self._characters, self._column = [], 0
        return line

    def _overwrite(self, piece: str) -> None:
        for part in _MOVES.split(piece):
            if part == "\r":
                self._column = 0
            elif part == "\b":
                self._column = max(self._column - 1, 0)
            else:
                end = self._column + len(part)
                self._characters[self._column : end] = part
                self._column = end
