"""Turns and cells to compose messages from."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bot.chat import TurnResult
from bot.chat_model import Usage
from bot.conversation import Exchange
from bot.messages.offers import FileOffer
from bot.outgoing import Attachment, Button, OutgoingMessage
from interpreter import Execution, StoredFile
from tests.bot.fakes import PNG, stored_file

MIB = 2**20
LIMIT = 10 * MIB
FIGURE = "<Figure size 640x480 with 1 Axes>"
TABLE_HTML = "<table class='dataframe'><tr><td>1</td></tr></table>"


def turn(answer: str, *cells: Execution, note: str | None = None) -> TurnResult:
    return TurnResult(
        status="answered" if answer else "failed",
        answer=answer,
        cells=cells,
        exchange=Exchange(()),
        usage=Usage(),
        note=note,
    )


def cell(code: str = "x", count: int | None = 1, **rest: object) -> Execution:
    return replace(Execution(status="ok", code=code, count=count), **rest)  # type: ignore[arg-type]


class Shelf:
    """Makes stored files in a directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0

    def file(
        self, filename: str, content: bytes | None = None, *, size: int | None = None
    ) -> StoredFile:
        """A file with content of its own; of a pretended size, if one is given."""
        self._count += 1
        path = self._path / f"id{self._count}"
        path.write_bytes(f"content {self._count}".encode() if content is None else content)
        file = stored_file(f"id{self._count}", filename, path=path)
        return file if size is None else replace(file, file_size=size)


class Artist:
    """Draws a picture of its own for everything, or nothing at all."""

    def __init__(self, *, can_draw: bool = True) -> None:
        self._can_draw = can_draw
        self.asked: list[tuple[bytes, str]] = []

    async def __call__(self, content: bytes, mime: str) -> bytes | None:
        self.asked.append((content, mime))
        return PNG + f"{len(self.asked)}".encode() if self._can_draw else None


def offer(one: FileOffer) -> Button:
    return Button(one.label, f"cm:{one.action}:1:{one.file.file_id}")


def attached(messages: Sequence[OutgoingMessage]) -> list[Attachment]:
    return [attachment for message in messages for attachment in message.attachments]


def names(messages: Sequence[OutgoingMessage]) -> list[str]:
    return [attachment.filename for attachment in attached(messages)]
