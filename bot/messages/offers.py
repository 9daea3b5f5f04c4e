"""What is too large for a message, and how to get it all the same."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bot.messages.lengths import shortened
from bot.messages.plain import bold, visible
from bot.outgoing import Button
from bot.sizes import size_text
from interpreter import StoredFile


@dataclass(frozen=True, slots=True)
class FileOffer:
    """A way to get a file that is too large to be attached.

    Attributes:
        file: the file.
        action: "zip": sent compressed; "parts": cut into parts.
        label: what the button for it says.
    """

    file: StoredFile
    action: Literal["zip", "parts"]
    label: str


#: Makes the button for an offer: knows whose it is.
OfferButton: TypeAlias = Callable[[FileOffer], Button]

#: What compressing makes no smaller: its types, and what their names end with.
_COMPRESSED = frozenset(
    {
        *("7z", "avif", "bz2", "docx", "gif", "gz", "heic", "jpeg", "jpg", "m4a", "mkv", "mov"),
        *("mp3", "mp4", "npz", "ods", "ogg", "parquet", "png", "pptx", "rar", "tgz", "webm"),
        *("webp", "xlsx", "xz", "zip", "zst", "feather"),
    }
)
_MAX_LABEL_NAME_CHARS = 40
_MAX_NAMED_CHARS = 80


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Something that can't be attached.

    Attributes:
        filename: what it is called.
        size: in bytes.
        file: the stored file it is, None if it is none.
    """

    filename: str
    size: int
    file: StoredFile | None = None

    def sentence(self, limit_bytes: int, *, offered: bool) -> str:
        """What it is, why it isn't attached, and what can be done."""
        facts = size_text(self.size)
        if self.file:
            facts = f"id `{self.file.file_id}`, {facts}"
        name = bold(shortened(self.filename, _MAX_NAMED_CHARS))
        limit = size_text(limit_bytes)
        line = f"{name} ({facts}) is larger than the {limit} that a file can have here."
        if offered:
            return line + " Choose below how to get it."
        if self.file is None:
            return line + " Save it as a file, or make it smaller."
        return line


def offers(file: StoredFile) -> tuple[FileOffer, ...]:
    """The ways to get a file, the better one first."""
    name = visible(file.filename).rpartition("/")[2]
    name = shortened(name, _MAX_LABEL_NAME_CHARS)
    parts = FileOffer(file, "parts", f"Send {name} in parts")
    if name_suffix(file.filename) in _COMPRESSED:
        return (parts,)
    return (FileOffer(file, "zip", f"Send {name} compressed"), parts)


def name_suffix(filename: str) -> str:
    """The last suffix of a name, in small letters and without its dot."""
    return filename.rpartition(".")[2].lower() if "." in filename else ""
