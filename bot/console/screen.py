"""The terminal between two prompts: the one place where output is written."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TextIO

from bot.columns import display_width
from bot.console.images import ImageProtocol, image_sequence
from bot.console.inert import inert, inert_stream

Tone = Literal["plain", "error", "note", "faint", "result", "heading"]

#: Select Graphic Rendition parameters.
_COLOURS: dict[Tone, str] = {
    "error": "31",
    "note": "33",
    "faint": "2",
    "result": "31",
    "heading": "1",
}

_TAB_COLUMNS = 8
_MOVES = re.compile(r"([\r\b\t])")


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """How large the terminal is, in characters."""

    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A place on the screen to which it can be cleared later."""

    row: int
    column: int


class Screen:
    """Writes texts to a terminal so that they can't command it.

    Whatever the kernel sent goes through `write`, which lets no control sequence out. The screen
    knows how many rows were written since a mark, so that what a cell clears or replaces can be
    taken back as long as it is still in sight.
    """

    def __init__(
        self,
        out: TextIO,
        *,
        size: Callable[[], TerminalSize] | None = None,
        colour: bool = False,
        images: ImageProtocol | None = None,
    ) -> None:
        """Take over a terminal.

        Args:
            out: Where to write.
            size: Asked for each time it matters: people resize their terminals. None if it is no
                terminal: then nothing can be taken back.
            colour: Whether to use colours.
            images: How the terminal takes pictures; None if it doesn't.
        """
        self._out = out
        self._size = size
        self._colour = colour
        self._images = images
        self._row = 0
        self._column = 0
        self._barrier = 0
        self._held: list[Callable[[], None]] | None = None

    def write(self, text: str, tone: Tone = "plain") -> None:
        """Write a piece of text where the last one ended."""
        self._do(lambda: self._write(text, tone))

    def start_line(self) -> None:
        """Go to the beginning of a line, if the cursor isn't there."""
        self._do(lambda: self._write("\n" if self._column else "", "plain"))

    def line(self, text: str, tone: Tone = "plain") -> None:
        """Write lines of their own."""
        self._do(lambda: self._write_line(inert(text), tone))

    def image(self, content: bytes) -> bool:
        """Show a picture; False if the terminal can't show it, and nothing was done."""
        if self._images is None or self._size is None:
            return False
        sequence = image_sequence(content, protocol=self._images, columns=self._size().columns)
        if sequence is None:
            return False
        self._do(lambda: self._write_image(sequence))
        return True

    def mark(self) -> Mark:
        """Remember this place."""
        return Mark(self._row, self._column)

    def clear_to(self, mark: Mark) -> bool:
        """Take back what was written since a mark.

        Returns:
            False if some of it is out of reach: it has scrolled away, or is a picture.
        """
        rows = self._row - mark.row
        if self._size is None or self._held is not None or mark.row < self._barrier:
            return False
        if rows >= self._size().rows:
            return False
        up = f"\x1b[{rows}A" if rows else ""
        right = f"\x1b[{mark.column}C" if mark.column else ""
        self._send(f"\r{up}{right}\x1b[J")
        self._row, self._column = mark.row, mark.column
        return True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep back what is written meanwhile, while somebody types."""
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            # Whatever was typed in between took rows that nobody counted.
            self._row, self._column = self._row + 1, 0
            self._barrier = self._row
            for write in held:
                write()

    def _do(self, write: Callable[[], None]) -> None:
        if self._held is None:
            write()
        else:
            self._held.append(write)

    def _write_line(self, text: str, tone: Tone) -> None:
        start = "\n" if self._column else ""
        self._write(f"{start}{text.rstrip()}\n", tone)

    def _write(self, text: str, tone: Tone) -> None:
        text = inert_stream(text)
        self._follow(text)
        colour = _COLOURS.get(tone) if self._colour else None
        self._send(f"\x1b[{colour}m{text}\x1b[0m" if colour and text else text)

    def _write_image(self, sequence: str) -> None:
        start = "\n" if self._column else ""
        self._send(f"{start}{sequence}\n")
        self._row, self._column = self._row + 1, 0
        self._barrier = self._row

    def _send(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()

    def _follow(self, text: str) -> None:
        """Keep count of where the cursor is."""
        width = max(self._size().columns, 1) if self._size else sys.maxsize
        for index, line in enumerate(text.split("\n")):
            if index:
                self._row, self._column = self._row + 1, 0
            for piece in _MOVES.split(line):
                match piece:
                    case "\r":
                        self._column = 0
                    case "\b":
                        self._column = max(min(self._column, width - 1) - 1, 0)
                    case "\t":
                        stop = (self._column // _TAB_COLUMNS + 1) * _TAB_COLUMNS
                        self._column = min(stop, width - 1)
                    case _:
                        self._follow_characters(piece, width)

    def _follow_characters(self, text: str, width: int) -> None:
        # A row that is just full leaves the cursor in it, at a column that doesn't exist.
        if text.isascii():
            total = self._column + len(text)
            wraps = max(total - 1, 0) // width
            self._row, self._column = self._row + wraps, total - wraps * width
            return
        for character in text:
            wide = display_width(character)
            if self._column + wide > width:
                self._row, self._column = self._row + 1, 0
            self._column += wide
