"""What `load_file` gives for a type that is known but that no library here reads."""

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class FileInfo:
    """A file that is recognised, and what could be told of it without a reader.

    Attributes:
        name: What it is called.
        path: Where it lies, for a library that reads it.
        type: The name of its type in the table.
        title: What a person calls the type.
        size_bytes: Its size as stored.
        facts: What its header tells ({"version": "AC1018"}); may be empty.
        advice: One sentence on what would read it, or how to convert it; may be empty.
    """

    name: str
    path: str
    type: str
    title: str
    size_bytes: int
    facts: dict[str, object] = field(default_factory=dict)
    advice: str = ""

    def read_bytes(self) -> bytes:
        """Read the whole file."""
        return Path(os.fspath(self.path)).read_bytes()

    def __str__(self) -> str:
        told = "".join(f", {name} {value}" for name, value in self.facts.items())
        text = f"{self.name}: {self.title}, {self.size_bytes:,} bytes{told}."
        return f"{text} {self.advice}".rstrip()


def size_in_words(size_bytes: float) -> str:
    """A size as people say it: "512 B", "3.1 KiB"."""
    for unit in ("B", "KiB", "MiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} GiB"
