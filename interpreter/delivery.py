"""Delivery: handing a cell's live outputs to a front end that may be slower than the cell."""

import asyncio
from collections import deque
from dataclasses import replace

from interpreter.execution import OnOutput
from interpreter.logs import get_logger
from interpreter.outputs import ClearOutput, DisplayData, Output

log = get_logger(__name__)

_FINISH_S = 10.0
_MOST_WAITING_EVENTS = 2000


class Delivery:
    """Hands live events to a front end, in order, without holding up the reading of messages.

    Bounded for a front end that is slower than the cell: an update that has not gone out is
    replaced by the next one of the same display, and nothing goes out that is cleared already.
    """

    def __init__(self, on_output: OnOutput | None) -> None:
        self._events: deque[Output | ClearOutput] = deque()
        self._more = asyncio.Event()
        self._ended = False
        self._task = asyncio.create_task(self._deliver(on_output)) if on_output else None

    def put(self, event: Output | ClearOutput) -> None:
        if self._task is None or self._task.done():
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

    def abandon(self) -> None:
        """Deliver nothing more: nobody listens."""
        if self._task is not None:
            self._task.cancel()

    async def finish(self) -> None:
        """Wait until all is delivered, or the front end takes too long."""
        if self._task is not None:
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
