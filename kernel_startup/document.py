"""What `load_file` gives for documents that no library here has an object of its own for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(repr=False)
class Document:
    """A document: its text, and what could be told of its parts.

    Attributes:
        name: What the file is called.
        title: What a person calls its type ("Rich Text Format document").
        text: All of its text, a line for each paragraph; cells of a table are set apart by tabs.
        paragraphs: The lines of the text that aren't empty.
        tables: Its tables as DataFrames.
        pages: The text of each page, where the format has pages.
        slides: The text of each slide, where it has slides.
        chapters: The text of each chapter, where it has chapters.
        metadata: What it says of itself ("title", "author", ...).
        mime_type: The media type that the file states, or else its type's.
    """

    name: str
    title: str
    text: str
    tables: list[Any] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    slides: list[str] = field(default_factory=list)
    chapters: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    mime_type: str = ""

    @property
    def paragraphs(self) -> list[str]:
        """The lines of the text that aren't empty."""
        return [line for line in self.text.split("\n") if line.strip()]

    def __str__(self) -> str:
        return self.text

    def __contains__(self, words: str) -> bool:
        return words in self.text

    def __iter__(self) -> Iterator[str]:
        return iter(self.pages or self.slides or self.chapters or self.paragraphs)

    def __len__(self) -> int:
        return len(self.pages or self.slides or self.chapters or self.paragraphs)

    def __bool__(self) -> bool:
        return True  # a document without text is one

    def __repr__(self) -> str:
        counts = {
            "pages": self.pages,
            "slides": self.slides,
            "chapters": self.chapters,
            "tables": self.tables,
        }
        told = "".join(f", {len(parts)} {name}" for name, parts in counts.items() if parts)
        words = len(self.text.split())
        return f"<{self.title} {self.name!r}: {words:,} words{told}; .text has them>"
