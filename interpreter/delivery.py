"""Delivery: handing a cell's live outputs to front ends that may be slower than the cell."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from interpreter.execution import OnOutput
from interpreter.logs import get_logger
from interpreter.outputs import ClearOutput, DisplayData, Output

log = get_logger(__name__)

_FINISH_S = 10.0
_MOST_WAITING_EVENTS = 2000


class Delivery:
    """Hands a cell's live events to those who follow it, each at a pace of its own.

    For those who come late nothing is kept here: what has come so far is asked for when they do.
    """

    def __init__(self, on_output: OnOutput | None = None) -> None:
        """Begin with one follower, or none.

        Args:
            on_output: takes the events; may be slow. If it raises, it gets no more of them.
        """
        self._followers: list[Follower] = []
        self._so_far: Callable[[], Iterable[Output]] | None = None
        self._is_over = False
        if on_output is not None:
            self.follow(on_output)

    def begin(self, so_far: Callable[[], Iterable[Output]]) -> None:
        """Say that the cell begins.

        Args:
            so_far: gives what followers have got until then, for one who comes late.
        """
        self._so_far = so_far

    def follow(self, on_output: OnOutput) -> "Follower | None":
        """Have one more follow; None once all is delivered: then the result has it."""
        if self._is_over:
            return None
        follower = Follower(on_output)
        self._followers = [*(other for other in self._followers if not other.has_left), follower]
        for output in self._so_far() if self._so_far is not None else ():
            follower.put(output)
        return follower

    def put(self, event: Output | ClearOutput) -> None:
        """Hand on an event; doesn't wait."""
        for follower in self._followers:
            follower.put(event)

    def abandon(self) -> None:
        """Deliver nothing more: nobody listens."""
        for follower in self._followers:
            follower.leave()

    async def finish(self) -> None:
        """Wait until all is delivered, or front ends take too long."""
        self._is_over, self._so_far = True, None
        if self._followers:
            await asyncio.gather(*(follower.finish() for follower in self._followers))
            self._followers.clear()


class Follower:
    """Hands live events to one front end, in order, without holding up the reading of messages.

    Bounded for a front end that is slower than the cell: an update that has not gone out is
    replaced by the next one of the same display, and nothing goes out that is cleared already.
    """

    def __init__(self, on_output: OnOutput) -> None:
        """Begin at once; :meth:`finish` or :meth:`leave` ends it."""
        self._events: deque[Output | ClearOutput] = deque()
        self._more = asyncio.Event()
        self._ended = False
        self._task = asyncio.create_task(self._deliver(on_output))

    def put(self, event: Output | ClearOutput) -> None:
        """Hand on an event; doesn't wait."""
        if self.has_left:
            return
        if isinstance(event, ClearOutput):
            self._events.clear()
        elif isinstance(event, DisplayData) and event.update:
            for index, waiting in enumerate(self._events):
                if isinstance(waiting, DisplayData) and waiting.display_id == event.display_id:
                    self._events[index] = replace(event, update=waiting.update)
                    return
        if len(self._events) < _MOST_WAITING_EVENTS:
            self._events.append(event)
            self._more.set()

    @property
    def has_left(self) -> bool:
        """Whether it takes nothing more: it was told to leave, or has failed."""
        return self._task.done()

    def leave(self) -> None:
        """Take nothing more."""
        self._task.cancel()

    async def finish(self) -> None:
        """Wait until all is taken, or that takes too long."""
        self._ended = True
        self._more.set()
        await asyncio.wait([self._task], timeout=_FINISH_S)
        self._task.cancel()

    async def _deliver(self, on_output: OnOutput) -> None:
        while self._events or not self._ended:
            if not self._events:
                self._more.clear()
                await self._more.wait()
                continue
            try:
                waiting = on_output(self._events.popleft())
                if waiting is not None:
                    await waiting
            except Exception as error:
                log.warning("the front end failed to take an output", reason=repr(error))
                return
