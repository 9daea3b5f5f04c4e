"""Single flight: what several want at once is done once."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from interpreter.hosts.installing.terms import InstallFailed

_T = TypeVar("_T")


@dataclass(slots=True)
class _Flight(Generic[_T]):
    task: asyncio.Task[_T]
    waiting: int = 0


@dataclass(slots=True)
class Flights(Generic[_T]):
    """Work under way, by what it is for. It ends when nobody waits for it any more."""

    _flights: dict[Hashable, _Flight[_T]] = field(default_factory=dict)

    async def join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Wait for the work of a key; begin it if nobody has.

        Raises:
            InstallFailed: the work failed, or was given up because the installer closes.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(work()))
            flight.task.add_done_callback(lambda task: self._landed(key, task))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if flight.task.cancelled() and not (me and me.cancelling()):
                raise InstallFailed("internal", "", "the installer is closing") from None
            raise
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._forget(key, flight.task)
                flight.task.cancel()
                await asyncio.wait({flight.task})

    async def end(self) -> None:
        """Give up all work."""
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _landed(self, key: Hashable, task: asyncio.Task[_T]) -> None:
        self._forget(key, task)
        if not task.cancelled():
            task.exception()  # whoever waited has it, too

    def _forget(self, key: Hashable, task: asyncio.Task[_T]) -> None:
        if (flight := self._flights.get(key)) is not None and flight.task is task:
            del self._flights[key]
