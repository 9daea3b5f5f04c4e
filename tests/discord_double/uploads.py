"""Files as people give them to the double, and as requests bring them."""

import mimetypes
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to be attached.

    Attributes:
        filename: as given.
        content: its bytes.
        content_type: None has it guessed from the name.
        alt: what it shows, in words.
        said_size: the size that Discord tells, if a test wants another than the real one.
    """

    filename: str
    content: bytes
    content_type: str | None = None
    alt: str | None = None
    said_size: int | None = None

    @property
    def kind(self) -> str | None:
        """Its content type."""
        return self.content_type or mimetypes.guess_type(self.filename)[0]


Files: TypeAlias = Mapping[str, bytes] | Iterable[Upload | tuple[str, bytes]]


def uploads(files: Files) -> tuple[Upload, ...]:
    """Files in whichever way they were given."""
    pairs = files.items() if isinstance(files, Mapping) else files
    return tuple(
        given if isinstance(given, Upload) else Upload(given[0], given[1]) for given in pairs
    )


def stored_name(filename: str) -> str:
    """What Discord calls an uploaded file: blanks become underscores, brackets and the like go."""
    name = re.sub(r"\s", "_", filename.rsplit("/", 1)[-1].rsplit("\\", 1)[-1])
    return re.sub(r"[()\[\]{}<>\"'|?*:;,!@#$%^&+=`~]", "", name) or "unknown"
