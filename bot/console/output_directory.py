"""Where the console puts what cells made; nothing there is ever overwritten."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, TypeAlias

from bot.render import DocumentPart, FilePart, ImagePart
from interpreter import StoredFile
from kernel_startup.types import safe_name

SavablePart: TypeAlias = ImagePart | DocumentPart | FilePart


@dataclass(frozen=True, slots=True)
class SavedPart:
    """A part of an execution that now lies in the output directory.

    Attributes:
        part: What was saved.
        path: Where.
        size_bytes: How large it is.
        file: The stored file with the same bytes, if there is one.
    """

    part: SavablePart
    path: Path
    size_bytes: int
    file: StoredFile | None


class OutputDirectory:
    """A directory for pictures and files, made when the first one comes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, part: SavablePart) -> SavedPart:
        """Write one part under its own name, or that name with a number where it is taken.

        Raises:
            OSError: The directory can't be made or written to.
        """
        file = None if isinstance(part, DocumentPart) else part.file
        name = part.file.filename if isinstance(part, FilePart) else part.filename
        path, target = self._create(name)
        try:
            with target:
                if isinstance(part, FilePart):
                    with part.file.file_path.open("rb") as source:
                        shutil.copyfileobj(source, target)
                else:
                    target.write(part.content)
                size_bytes = target.tell()
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return SavedPart(part, path, size_bytes, file)

    def reserve(self, name: str) -> Path:
        """Make an empty file of that name, or with a number where it is taken.

        Raises:
            OSError: The directory can't be made or written to.
        """
        path, target = self._create(name)
        target.close()
        return path

    def _create(self, name: str) -> tuple[Path, IO[bytes]]:
        self.path.mkdir(parents=True, exist_ok=True)
        for candidate in _candidates(safe_name(name)):
            path = self.path / candidate
            try:
                return path, path.open("xb")
            except FileExistsError:
                continue
        raise AssertionError("the candidates never end")


def _candidates(name: str) -> Iterator[str]:
    # A dot in front would hide the file from whoever looks for it.
    name = safe_name(f"_{name}" if name.startswith(".") else name)
    yield name
    stem, suffix = os.path.splitext(name)
    # Short enough that the number is never what gets cut off.
    stem, suffix = _first_bytes(stem, 150), _first_bytes(suffix, 40)
    for number in count(2):
        yield safe_name(f"{stem}-{number}{suffix}")


def _first_bytes(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")
