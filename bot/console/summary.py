"""What is left to say once a cell is done: what was saved, what happened, how long it took."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from bot.console.inert import inert_name
from bot.console.output_directory import OutputDirectory, SavablePart, SavedPart
from bot.render import DocumentPart, FilePart, TextPart, parts
from bot.sizes import size_text, span_text
from interpreter import Durations, Execution

#: Shorter than this and nobody wants to know.
_WORTH_TELLING_S = 1.0


@dataclass(frozen=True, slots=True)
class ClosingLine:
    """One line below a cell's outputs; "note" says something unusual."""

    text: str
    tone: Literal["plain", "note", "faint"]


async def save_and_sum_up(
    execution: Execution, directory: OutputDirectory
) -> tuple[ClosingLine, ...]:
    """Save a cell's pictures and files, and say so and what else is worth knowing."""
    lines = []
    for part in parts(execution):
        if isinstance(part, SavablePart):
            lines.append(await asyncio.to_thread(_saved_line, part, directory))
        elif isinstance(part, TextPart) and part.kind == "note":
            lines.append(ClosingLine(part.text, "note"))
    if execution.installed:
        lines.append(ClosingLine(f"installed {', '.join(execution.installed)}", "faint"))
    lines += (ClosingLine(text, "faint") for text in _durations(execution.durations))
    return tuple(lines)


def _saved_line(part: SavablePart, directory: OutputDirectory) -> ClosingLine:
    try:
        saved = directory.save(part)
    except OSError as error:
        name = part.file.filename if isinstance(part, FilePart) else part.filename
        reason = error.strerror or str(error)
        where = f" in {str(directory.path)!r}" if error.filename else ""
        return ClosingLine(f"{inert_name(name)} could not be saved{where}: {reason}", "note")
    return ClosingLine(_saved_text(saved), "plain")


def _saved_text(saved: SavedPart) -> str:
    kind = {FilePart: "file", DocumentPart: "page"}.get(type(saved.part), "picture")
    if isinstance(saved.part, DocumentPart) and saved.part.mime != "text/html":
        kind = {"audio": "sound", "video": "video"}.get(
            saved.part.mime.partition("/")[0], "document"
        )
    facts = size_text(saved.size_bytes)
    if saved.file:
        facts += f", id {saved.file.file_id}"
    return f"{kind} saved: {inert_name(str(saved.path))} ({facts})"


def _durations(durations: Durations) -> Iterator[str]:
    said = (
        ("waited {} to begin", durations.queue_s),
        ("installing took {}", durations.install_s),
        ("ran {}", durations.run_s),
        ("collecting files took {}", durations.collect_s),
    )
    worth = [text.format(span_text(span)) for text, span in said if span > _WORTH_TELLING_S]
    if worth:
        yield ", ".join(worth)
