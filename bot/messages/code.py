"""The cells of a turn, for those who want to see what was run."""

from collections.abc import Sequence

from bot.chat import TurnResult
from bot.messages.lengths import first, from_line_start, last, length, to_line_end
from bot.messages.packing import pack
from bot.messages.plain import code_block, visible
from bot.messages.split import split_markdown
from bot.outgoing import Attachment, Button, OutgoingMessage
from interpreter import Execution

_MAX_MESSAGES = 2
_OUTPUT_HEAD_CHARS, _OUTPUT_TAIL_CHARS = 250, 250
_FILE_OUTPUT_CHARS = 5_000


def compose_code(
    result: TurnResult, buttons: tuple[Button, ...] = ()
) -> tuple[OutgoingMessage, ...]:
    """Compose what "Show code" shows: each cell with its number, and its output shortened.

    Args:
        result: What became of the turn.
        buttons: For the last message.

    Returns:
        One or two messages; if the code needs more, one with all of it as a file.
    """
    return compose_cells(result.cells, buttons)


def compose_cells(
    cells: Sequence[Execution], buttons: tuple[Button, ...] = ()
) -> tuple[OutgoingMessage, ...]:
    """The same, for cells."""
    if not cells:
        return pack(("No code was run for this answer.",), (), buttons)
    text = "\n".join(_shown(cell, number) for number, cell in enumerate(cells, 1))
    messages = split_markdown(text)
    if len(messages) <= _MAX_MESSAGES:
        return pack(messages, (), buttons)
    source = "\n\n".join(_as_source(cell, number) for number, cell in enumerate(cells, 1))
    content = source.encode(errors="replace")
    said = f"The code of this answer, {len(cells)} cells with their outputs, is in the file."
    if len(cells) == 1:
        said = "The code of this answer, with its output, is in the file."
    return pack((said,), (Attachment("code.py", content, len(content)),), buttons)


def _title(cell: Execution, number: int) -> str:
    # The kernel's own number is what a notebook shows; a cell that never began has none.
    return f"Cell {cell.count}" if cell.count else f"Cell {number} of this answer, not run"


def _shown(cell: Execution, number: int) -> str:
    pieces = [f"**{_title(cell, number)}**", code_block(cell.code, "python")]
    output = visible(cell.text).strip("\n")
    if length(output) > _OUTPUT_HEAD_CHARS + _OUTPUT_TAIL_CHARS:
        head = to_line_end(first(output, _OUTPUT_HEAD_CHARS), output)
        tail = from_line_start(last(output, _OUTPUT_TAIL_CHARS), output)
        output = f"{head}\n…\n{tail}"
    if output.strip():
        pieces.append(code_block(output))
    return "\n".join(piece for piece in pieces if piece)


def _as_source(cell: Execution, number: int) -> str:
    """A cell as editors know cells in a Python file, its output as comments."""
    lines = [f"# %% {_title(cell, number)}", cell.code.rstrip("\n")]
    output = visible(cell.text).strip("\n")
    if len(output) > _FILE_OUTPUT_CHARS:
        half = _FILE_OUTPUT_CHARS // 2
        output = f"{output[:half]}\n…\n{output[-half:]}"
    if output.strip():
        lines += ["", *(f"# {line}".rstrip() for line in output.split("\n"))]
    return "\n".join(lines) + "\n"
