"""Cells from a file or a pipe, run one after the other without a prompt."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TextIO

from bot.console.cell_source import SourceCell
from bot.console.inert import inert, inert_name
from interpreter import CellError, ClearOutput, Execution, Interpreter, OnInput, Output, Session

#: A cell that has ended gives its result within this time.
_ENDED_S = 0.5


class View(Protocol):
    """Shows one cell's outputs."""

    def show(self, output: Output | ClearOutput) -> None:
        """Show one, as it comes."""

    async def finish(self, execution: Execution) -> None:
        """Show what is left."""


_REASONS = {
    "error": "it raised an error",
    "timeout": "it ran too long",
    "interrupted": "it was interrupted",
    "died": "its kernel ended",
    "refused": "it was not run",
}


async def still_running_told(
    service: Interpreter, *, user_id: str, say: Callable[[str], None]
) -> None:
    """Say why the first cell has to wait, if one that was begun before this program still runs."""
    earlier = {cell.result for cell in service.recovered if cell.user_id == user_id}
    if earlier and (await asyncio.wait(earlier, timeout=_ENDED_S))[1]:
        say("A cell of last time is still running; these come after it.")


async def run_cells(
    cells: tuple[SourceCell, ...],
    *,
    session: Session,
    name: str,
    new_view: Callable[[], View],
    err: TextIO,
    on_input: OnInput | None,
    keep_going: bool,
) -> bool:
    """Run cells in order.

    Args:
        cells: What to run.
        session: Where.
        name: What the cells' file is called in messages.
        new_view: Makes what shows the next cell's outputs.
        err: Where failures are named.
        on_input: Answers `input()`; None makes it raise in the cell.
        keep_going: Whether to go on after a cell that failed.

    Returns:
        Whether all of them were ok.

    Raises:
        InterpreterError: The service failed.
        BrokenPipeError, UnusableCommand: What the cells put out could not be written.
    """
    all_ok = True
    for number, cell in enumerate(cells, start=1):
        view = new_view()
        execution = await session.execute(cell.code, on_output=view.show, on_input=on_input)
        await view.finish(execution)
        if execution.status == "ok":
            continue
        all_ok = False
        where = f"cell {number} of {len(cells)} ({inert_name(name)}, line {cell.line})"
        print(f"{where} failed: {_reason(execution)}", file=err, flush=True)
        if not keep_going:
            break
    return all_ok


def _reason(execution: Execution) -> str:
    for output in reversed(execution.outputs):
        if isinstance(output, CellError):
            return inert(f"{output.ename}: {output.evalue}".rstrip(": ").split("\n")[0][:300])
    return _REASONS[execution.status]
