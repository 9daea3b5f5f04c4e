"""Execution: the record of one cell, and the clock that its deadline goes by."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from interpreter.files import StoredFile
from interpreter.logs import get_logger
from interpreter.outputs import ClearOutput, Output, text_of

log = get_logger(__name__)

Status: TypeAlias = Literal["ok", "error", "timeout", "interrupted", "died", "refused"]

#: Gets each output as it comes. A stream's event holds only the new piece of text.
OnOutput: TypeAlias = Callable[[Output | ClearOutput], Awaitable[None] | None]
#: Answers ``input()`` and ``getpass()``: gets the prompt, and whether the answer is a secret. What
#: it raises interrupts the cell, except EOFError: the cell gets that itself.
OnInput: TypeAlias = Callable[[str, bool], Awaitable[str]]


PhaseName: TypeAlias = Literal["queued", "starting", "installing", "running", "input", "collecting"]


@dataclass(frozen=True, slots=True)
class Phase:
    """What a cell has come to.

    Attributes:
        name: ``queued`` behind earlier cells; its kernel is ``starting``; it waits while packages
            are ``installing``; it is ``running``; it waits for a person's ``input``; the service
            is ``collecting`` the files it made. Phases come in any number after ``running``.
        names: what is being installed, as the cell asked for it; at most 20, from untrusted code.
        limit_s: how long it may run altogether, in seconds; None before it is known.
        run_s: how long it has been running, in seconds; only ``running`` adds to it.
    """

    name: PhaseName
    names: tuple[str, ...] = ()
    limit_s: float | None = None
    run_s: float = 0.0


#: Gets each phase of a cell as it begins, in order. Called in the event loop; must not block.
OnPhase: TypeAlias = Callable[[Phase], None]


def telling(on_phase: OnPhase | None) -> OnPhase:
    """What tells a front end phases; what it raises is logged, and costs no cell its result."""

    def tell(phase: Phase) -> None:
        if on_phase is not None:
            try:
                on_phase(phase)
            except (Exception, asyncio.CancelledError) as error:
                log.warning("the front end failed to take a phase", reason=type(error).__name__)

    return tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """How long each phase of an execution took, in seconds. Only ``run_s`` counts for the deadline.

    Attributes:
        queue_s: waiting for the session's earlier cells and for its kernel to start.
        install_s: installing packages.
        run_s: from ``execute_request`` to ``idle``, without waiting for a person's input.
        collect_s: storing the files it made.
    """

    queue_s: float = 0.0
    install_s: float = 0.0
    run_s: float = 0.0
    collect_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SkippedArtifact:
    """A file that a cell made and that was not stored.

    Attributes:
        name: its path in the working directory.
        reason: why, as the end of the sentence "it was left out: ...".
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What became of one cell.

    Attributes:
        status: ``ok``; ``error`` if it raised; ``timeout`` past the deadline; ``interrupted`` on
            request; ``died`` if the kernel ended meanwhile; ``refused`` if it was not run, because
            it can't work here: ``message`` says what to do instead.
        code: the cell as it was sent.
        count: the kernel's number of it, None if the kernel never began with it.
        outputs: in the order of their arrival.
        artifacts: files it created or changed in the working directory, stored.
        skipped: files it made that were not stored, each with the reason.
        installed: packages installed for it.
        state_lost: True if variables from before this cell, or from it, are gone.
        files_gone: what the message says of files that are gone; None if none are.
        message: one or more plain sentences for a person, where there is something to say.
        durations: how long each phase took.
    """

    status: Status
    code: str
    count: int | None = None
    outputs: tuple[Output, ...] = ()
    artifacts: tuple[StoredFile, ...] = ()
    skipped: tuple[SkippedArtifact, ...] = ()
    installed: tuple[str, ...] = ()
    state_lost: bool = False
    files_gone: str | None = None
    message: str | None = None
    durations: Durations = field(default_factory=Durations)

    @property
    def text(self) -> str:
        """What a reader of plain text sees: outputs with tracebacks, then the message. No ANSI."""
        text = text_of(self.outputs)
        if self.message is None:
            return text
        if text and not text.endswith("\n"):
            text += "\n"
        return text + self.message


@dataclass(frozen=True, slots=True)
class Clock:
    """How far a deadline's clock has come, in a form that outlasts the service.

    Attributes:
        elapsed_s: how long it had run when it was last set going or stopped, in seconds.
        since: when it was set going, in seconds of the machine's monotonic clock; None while it
            stands. That clock is the same for all processes, until the machine starts again.
    """

    elapsed_s: float = 0.0
    since: float | None = None

    def read(self, now: float) -> float:
        """How long it has run, in seconds.

        Args:
            now: ``time.monotonic()``.
        """
        return self.elapsed_s + (0.0 if self.since is None else max(0.0, now - self.since))


class Deadline:
    """A clock that runs down, and stands still while the cell waits for the service or a person."""

    def __init__(
        self,
        seconds: float,
        *,
        clock: Clock = Clock(),
        on_change: Callable[[Clock], None] | None = None,
    ) -> None:
        """Make the clock; it does nothing yet.

        Args:
            seconds: how long it may run altogether.
            clock: how far it has come already. One that was set going goes on from then.
            on_change: gets it whenever it is set going or stopped.
        """
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._clock = clock
        self._on_change = on_change
        self._timer: asyncio.TimerHandle | None = None
        self.expired: asyncio.Future[None] = self._loop.create_future()

    def run(self) -> None:
        """Start, or go on."""
        if self._timer is None:
            now = time.monotonic()
            elapsed_s = self._clock.read(now)
            self._timer = self._loop.call_later(max(self._seconds - elapsed_s, 0.0), self._expire)
            if self._clock.since is None:
                self._change(Clock(elapsed_s, now))

    def pause(self, at: float | None = None) -> None:
        """Stand still.

        Args:
            at: since when, in seconds of the monotonic clock; None for now. Not before the time at
                which it was last set going, nor after now.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._clock.since is not None:
            now = time.monotonic()
            self._change(Clock(self._clock.read(now if at is None else min(at, now))))

    @property
    def elapsed_s(self) -> float:
        """How long it has run, in seconds."""
        return self._clock.read(time.monotonic())

    def _change(self, clock: Clock) -> None:
        self._clock = clock
        if self._on_change is not None:
            self._on_change(clock)

    def _expire(self) -> None:
        if not self.expired.done():
            self.expired.set_result(None)
