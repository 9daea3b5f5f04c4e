"""What happens in a turn, as a front end is told of it while it happens."""

from dataclasses import dataclass
from typing import TypeAlias

from interpreter import ClearOutput, Execution, Output


@dataclass(frozen=True, slots=True)
class Thinking:
    """The model was asked; ``round`` counts from 1."""

    round: int


@dataclass(frozen=True, slots=True)
class AnswerText:
    """The model's words so far, all of them."""

    text: str


@dataclass(frozen=True, slots=True)
class ModelWaiting:
    """The model's server is to be asked again after ``wait_s`` seconds."""

    reason: str
    wait_s: float


@dataclass(frozen=True, slots=True)
class CellWaiting:
    """Cell ``number`` of this turn (from 1) waits for its turn or for the kernel to start."""

    number: int
    code: str


@dataclass(frozen=True, slots=True)
class CellInstalling:
    """Packages are installed for it; its clock stands."""

    number: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CellRunning:
    """It runs (again, after an installation or an input).

    Attributes:
        number: of the cell in this turn, from 1.
        limit_s: how long it may run altogether.
        run_s: how long it has run so far.
    """

    number: int
    limit_s: float
    run_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CellOutput:
    """It showed something."""

    number: int
    output: Output | ClearOutput


@dataclass(frozen=True, slots=True)
class CellDone:
    """It ended."""

    number: int
    execution: Execution


TurnEvent: TypeAlias = (
    Thinking
    | AnswerText
    | ModelWaiting
    | CellWaiting
    | CellInstalling
    | CellRunning
    | CellOutput
    | CellDone
)
