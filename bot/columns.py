"""Rows of cells as aligned text."""

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> str:
    """Align rows into columns that are as wide as their widest cell.

    Args:
        rows: The cells, row by row; rows may differ in length. Cells are one line each.
        right: Indices of the columns that are aligned to the right.

    Returns:
        One line a row, without trailing blanks, joined by newlines.
    """
    widths = [
        max(display_width(row[index]) for row in rows if index < len(row))
        for index in range(max((len(row) for row in rows), default=0))
    ]
    return "\n".join(
        "  ".join(
            _padded(cell, widths[index], right=index in right) for index, cell in enumerate(row)
        ).rstrip()
        for row in rows
    )


def shortened(text: str, width: int) -> str:
    """Cut one line to a number of terminal columns, with an ellipsis where something is missing."""
    if display_width(text) <= width:
        return text
    kept = ""
    room = width - 1
    for character in text:
        room -= display_width(character)
        if room < 0:
            break
        kept += character
    return kept + "…"


def display_width(text: str) -> int:
    """How many columns of a terminal the text takes; control characters take none."""
    if text.isascii():
        return len(text)
    # Its tables take a tenth of a second to load, and most text is ASCII.
    from wcwidth import wcwidth

    return sum(max(wcwidth(character), 0) for character in text)


def _padded(cell: str, width: int, *, right: bool) -> str:
    padding = " " * (width - display_width(cell))
    return padding + cell if right else cell + padding
