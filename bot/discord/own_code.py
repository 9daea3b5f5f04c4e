"""A cell that somebody wrote themselves: run without a model, stopped as a turn's cells are."""

import asyncio
from collections.abc import Mapping
from typing import Any

from bot.abandon import abandon
from bot.chat import GOES_ON, TurnControl
from bot.discord.progress import Progress
from bot.interrupting import GRACE_S, interrupted
from bot.turn_events import CellDone, CellInstalling, CellOutput, CellRunning, CellWaiting
from interpreter import Execution, OnInput, Phase, Session


class TurnLeft(Exception):
    """Somebody has let go of a turn while a cell of it runs, which goes on by itself."""


class GivenUp(Exception):
    """A cell was stopped and has no result.

    Attributes:
        had_begun: whether it ran: then it went with its kernel.
    """

    def __init__(self, *, had_begun: bool) -> None:
        super().__init__("stopped")
        self.had_begun = had_begun


async def run_own_code(
    session: Session,
    code: str,
    *,
    progress: Progress,
    on_input: OnInput,
    control: TurnControl,
    cell_note: Mapping[str, str] | None = None,
    grace_s: float = GRACE_S,
) -> Execution:
    """Run a cell as it was written.

    Args:
        session: whose kernel.
        code: the cell.
        progress: is told what happens.
        on_input: answers ``input()``.
        control: stops it; the variables stay.
        cell_note: what is kept with the cell, so that it is known again after a restart.
        grace_s: how long it has to end then.

    Raises:
        GivenUp: it was stopped before it ran, or could not be interrupted.
        TurnLeft: it goes on by itself.
        InterpreterError: it could not be run.
    """
    phases: list[str] = ["queued"]

    def on_phase(phase: Phase) -> None:
        phases.append(phase.name)
        if phase.name == "installing":
            progress.on_event(CellInstalling(1, phase.names))
        elif phase.name == "running":
            progress.on_event(CellRunning(1, phase.limit_s or 0.0, phase.run_s))

    progress.on_event(CellWaiting(1, code))
    cell = asyncio.create_task(
        session.execute(
            code,
            on_phase=on_phase,
            on_output=lambda output: progress.on_event(CellOutput(1, output)),
            on_input=on_input,
            note=cell_note,
        )
    )
    stopped = asyncio.create_task(control.wait())
    ending: tuple[asyncio.Task[Any], ...] = (cell, stopped)
    try:
        await asyncio.wait({cell, stopped}, return_when=asyncio.FIRST_COMPLETED)
        is_running = not cell.done() and phases[-1] in GOES_ON
        if control.is_left and is_running and session.keep_result():
            # Its session holds it, and nobody asks any more how it ends.
            cell.add_done_callback(lambda task: task.cancelled() or task.exception())
            ending = (stopped,)
            raise TurnLeft
        if not cell.done():
            await _end(session, cell, phases, grace_s)
        execution = cell.result()
    finally:
        await abandon(*ending)
    progress.on_event(CellDone(1, execution))
    return execution


async def _end(
    session: Session, cell: "asyncio.Task[Execution]", phases: list[str], grace_s: float
) -> None:
    """Stop a cell.

    Raises:
        GivenUp: it has no result.
    """
    if phases[-1] == "queued":  # an interrupt would hit the cell before it
        raise GivenUp(had_begun=False)
    if not await interrupted(
        session, cell, is_collecting=lambda: phases[-1] == "collecting", grace_s=grace_s
    ):
        raise GivenUp(had_begun=True)
