"""Tables, which Discord's markdown doesn't have."""

import re
from collections.abc import Sequence

from bot.columns import columns, display_width
from bot.messages.plain import bold, code_block, escape_markdown, escape_mentions

#: About what a block of code shows in one line on a phone held upright to a desktop; beyond, each
#: line is folded and nothing is aligned any more.
MAX_COLUMNS = 62
MAX_ROWS = 22
#: More cells than this are better looked at in a folded block than in a list.
_MAX_LISTED_CELLS = 60
_NUMBER = re.compile(r"[-+−]?[$€£]?[\d.,  ]*\d[\d.,]*(?:[eE][-+]?\d+)?\s?[%°€$]?|")  # noqa: RUF001


def markdown_table(rows: Sequence[Sequence[str]], aligned: Sequence[str] = ()) -> str:
    """A table as an aligned block of code, or as a list if its lines would be folded.

    Args:
        rows: The heading's cells, then those of each row; plain text of one line each.
        aligned: For each column "left", "right", "center" or "".
    """
    if not rows or not any(any(row) for row in rows):
        return ""
    right = frozenset(
        index
        for index in range(max(map(len, rows)))
        if _is_right(index, rows[1:], aligned[index] if index < len(aligned) else "")
    )
    text = columns(rows, right=right)
    heading, _, body = text.partition("\n")
    width = max(display_width(line) for line in text.split("\n"))
    if width > MAX_COLUMNS and _is_listable(rows):
        return _listed(rows)
    return code_block(f"{heading}\n{'─' * min(width, MAX_COLUMNS)}\n{body}".rstrip("\n"))


def fits_block(text: str) -> bool:
    """Whether a text of aligned columns stays aligned in a block of code, and isn't too long."""
    lines = text.rstrip("\n").split("\n")
    return len(lines) <= MAX_ROWS and all(display_width(line) <= MAX_COLUMNS for line in lines)


def _is_right(index: int, rows: Sequence[Sequence[str]], wish: str) -> bool:
    if wish:
        return wish == "right"
    cells = [row[index] for row in rows if index < len(row)]
    return any(cells) and all(_NUMBER.fullmatch(cell) for cell in cells)


def _is_listable(rows: Sequence[Sequence[str]]) -> bool:
    return len(rows) > 1 and sum(map(len, rows[1:])) <= _MAX_LISTED_CELLS


def _listed(rows: Sequence[Sequence[str]]) -> str:
    """Each row as its first cell, and the others below it with their heading."""
    heading, *body = rows
    lines: list[str] = []
    for row in body:
        lines.append(bold(row[0]) if row and row[0] else "**–**")  # noqa: RUF001
        for name, cell in zip(heading[1:], row[1:], strict=False):
            if cell:
                label = f"{_literal(name)}: " if name else ""
                lines.append(f"- {label}{_literal(cell)}")
    return "\n".join(lines)


def _literal(cell: str) -> str:
    return escape_mentions(escape_markdown(cell))
