"""WarmPool: connected kernels that are there before anybody asks for one."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from interpreter.errors import HostError
from interpreter.hosts.base import KernelHost
from interpreter.kernel import Kernel
from interpreter.logs import get_logger
from interpreter.zmtp import Intake

log = get_logger(__name__)

#: Over what time newcomers are counted: for how many come a second,
_RATE_S = 120.0
#: for how many come together,
_TOGETHER_S = 2.0
#: and how long that is remembered: a class that has come once may come again.
_REMEMBERED_S = 600.0
#: What a refill is taken to last before one has been seen, in seconds.
_REFILL_S = 0.5
_REFILL_SHARE = 0.3
#: How often it is looked whether fewer will do; each time one spare goes, at most.
_SHRINK_S = 15.0
#: A newcomer's first cell comes first: refilling waits so long, but not much longer in all.
_AFTER_CLAIM_S, _MOST_AFTER_CLAIM_S = 0.3, 1.5
#: After failures in a row: the first pause, doubled with each further one, and the longest one.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 60.0
#: A spare that lives for so long shows that the trouble is over.
_SETTLED_S = 10.0
_WARM_UP_S = 15.0


@dataclass(frozen=True, slots=True)
class Demand:
    """How newcomers have come of late.

    Attributes:
        rate_per_s: how many come a second, as an average over the last minutes.
        now: how many have come together just now, fading within seconds.
        together: how many have ever come together, fading within tens of minutes.
    """

    rate_per_s: float = 0.0
    now: float = 0.0
    together: float = 0.0

    def after(self, passed_s: float) -> "Demand":
        """What it is when nobody has come for ``passed_s`` seconds."""
        return Demand(
            self.rate_per_s * math.exp(-passed_s / _RATE_S),
            self.now * math.exp(-passed_s / _TOGETHER_S),
            self.together * math.exp(-passed_s / _REMEMBERED_S),
        )

    def with_one_more(self) -> "Demand":
        """What it is when somebody has just come."""
        now = self.now + 1.0
        return Demand(self.rate_per_s + 1.0 / _RATE_S, now, max(self.together, now))


def spares_wanted(demand: Demand, refill_s: float, *, floor: int, ceiling: int, room: int) -> int:
    """How many spare kernels there should be.

    As many as newcomers came together, and those who come while one is made.

    Args:
        demand: how newcomers have come.
        refill_s: how long it takes to make a spare, in seconds.
        floor: as many as that in any case;
        ceiling: no more, in any case, unless the floor is higher.
        room: how many kernels may live beside those of users; 0 or less for none.
    """
    wanted = round(demand.rate_per_s * refill_s + demand.together)
    return max(0, min(max(floor, min(wanted, ceiling)), room))


@dataclass(slots=True, eq=False)
class _Spare:
    """A spare kernel, and since when it is one."""

    kernel: Kernel
    since: float
    warm: bool = False


class WarmPool:
    """Kernels that are started, connected and warmed up for users yet to come.

    A spare lives in a slot of its own; whoever claims it takes over both. Spares are made one at a
    time, in the background, within :meth:`filled`.
    """

    def __init__(
        self,
        host: KernelHost,
        intake: Intake,
        *,
        floor: int,
        ceiling: int,
        memory_bytes: int,
        room: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a pool; it is empty outside of :meth:`filled`.

        Args:
            host: where they run.
            intake: shared by all kernels of the service.
            floor: how many there are when nobody comes.
            ceiling: how many there may be when many come.
            memory_bytes: memory that each may use: as much as every kernel without limits of its
                own.
            room: says how many kernels may live beside those of users.
            clock: seconds that never go back.
        """
        self._host = host
        self._intake = intake
        self._floor = floor
        self._ceiling = ceiling
        self._memory_bytes = memory_bytes
        self._room = room
        self._clock = clock
        self._spares: list[_Spare] = []
        self._filling: asyncio.Task[Kernel] | None = None
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._demand = Demand()
        self._demand_at = clock()
        self._refill_s = _REFILL_S
        self._forking = 0
        self._claimed_at = -math.inf
        self._lacking_since: float | None = None
        self._shrunk_at = -math.inf
        self._failures = 0
        self._failed_at = -math.inf
        self._cold_told = False

    @asynccontextmanager
    async def filled(self) -> AsyncGenerator[None]:
        """Keep spare kernels as long as the context lasts; those that are left end with it."""
        filling = asyncio.create_task(self._keep_filled())
        try:
            yield
        finally:
            filling.cancel()
            await asyncio.wait([filling])
            await self._empty()

    @property
    def size(self) -> int:
        """How many spares there are, with one that is being made."""
        return len(self._spares) + (self._filling is not None)

    @property
    def ready(self) -> int:
        """How many spares are warm; one that is still warming up can be claimed as well."""
        return sum(spare.warm and spare.kernel.usable for spare in self._spares)

    @property
    def wanted(self) -> int:
        """How many spares there should be now."""
        return spares_wanted(
            self._demand_now(),
            self._refill_s,
            floor=self._floor,
            ceiling=self._ceiling,
            room=self._room(),
        )

    def claim(self, memory_bytes: int | None = None) -> Kernel | None:
        """Take a spare for a newcomer, with its slot; at once, or None if there is none.

        Args:
            memory_bytes: memory that it may use; None for as much as every kernel. Others get none:
                a spare's limits were set when it was started.
        """
        if memory_bytes not in (None, self._memory_bytes):
            return None
        self._demand = self._demand_now().with_one_more()
        self._claimed_at = self._clock()
        self._changed.set()
        usable = [spare for spare in self._spares if spare.kernel.usable]
        if not usable:
            return None
        # What still warms up answers a little later, yet sooner than a kernel that isn't there.
        spare = next((spare for spare in usable if spare.warm), usable[0])
        self._spares.remove(spare)
        self._failures = 0
        return spare.kernel

    @contextmanager
    def forking(self) -> Iterator[None]:
        """Refill nothing meanwhile: a user's kernel is being started."""
        self._forking += 1
        try:
            yield
        finally:
            self._forking -= 1
            self._changed.set()

    def look_again(self) -> None:
        """Take note that a user's kernel has ended: there may be room for a spare."""
        self._changed.set()

    async def give_up(self) -> bool:
        """End a spare, or the making of one, for a kernel that is needed. False without any."""
        filling = self._filling
        if filling is not None:
            self._filling = None
            filling.cancel()
            await asyncio.wait([filling])
            return True
        if not self._spares:
            return False
        await self._end(self._spares.pop())
        return True

    # -- keeping it filled -----------------------------------------------------------------------

    async def _keep_filled(self) -> None:
        while True:
            self._changed.clear()
            lacking = self.wanted - len(self._spares)
            if lacking <= 0:
                self._lacking_since = None
                wait_s = await self._shrink(-lacking)
            elif (wait_s := self._pause_s()) == 0:
                await self._add_spare()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wait_s == math.inf else wait_s):
                    await self._changed.wait()

    def _pause_s(self) -> float:
        """How long to wait before the next spare is made; 0 to make it now."""
        now = self._clock()
        if self._lacking_since is None:
            self._lacking_since = now
        if self._forking:
            return math.inf  # until the last of them is there
        newcomers_s = min(
            self._claimed_at + _AFTER_CLAIM_S, self._lacking_since + _MOST_AFTER_CLAIM_S
        )
        return max(0.0, newcomers_s - now, self._trouble_s(now))

    def _trouble_s(self, now: float) -> float:
        """How long to wait because spares could not be made, or died."""
        if any(now - spare.since > _SETTLED_S for spare in self._spares):
            self._failures = 0
        if not self._failures:
            return 0.0
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 16))
        return self._failed_at + pause_s - now

    async def _shrink(self, surplus: int) -> float:
        """End spares that there is no room for, and now and then one that nobody needs.

        Returns:
            After how many seconds to look again.
        """
        while self._spares and len(self._spares) > self._room():
            await self._end(self._spares.pop())
            surplus -= 1
        if len(self._spares) <= self._floor:
            # A kernel that ends by itself makes room without saying so.
            return math.inf if len(self._spares) == self._floor else _SHRINK_S
        now = self._clock()
        if surplus > 0 and now - self._shrunk_at >= _SHRINK_S:
            self._shrunk_at = now
            await self._end(self._spares.pop())
        return _SHRINK_S

    async def _add_spare(self) -> None:
        began = self._clock()
        filling = self._filling = asyncio.create_task(
            Kernel.start(self._host, None, self._intake, background=True)
        )
        try:
            await asyncio.wait([filling])
        except asyncio.CancelledError:
            filling.cancel()
            await asyncio.wait([filling])
            self._take_in(filling)  # if it was there already; whoever cancels this empties the pool
            raise
        finally:
            if self._filling is filling:
                self._filling = None
        spare = self._take_in(filling)
        if spare is None:
            return
        await self._warm_up(spare)
        took_s = self._clock() - began
        self._refill_s += _REFILL_SHARE * (took_s - self._refill_s)
        log.debug("spare kernel", kernel_id=spare.kernel.hosted.kernel_id, took_s=round(took_s, 3))

    async def _warm_up(self, spare: _Spare) -> None:
        """Have a spare use what first cells use; if it can't, it is as good as one just forked."""
        try:
            await spare.kernel.warm_up(timeout_s=_WARM_UP_S)
        except (TimeoutError, HostError) as error:
            # One that was claimed, or ended by the pool, says nothing of others.
            if spare not in self._spares or spare.kernel.exit.done() or self._cold_told:
                return
            self._cold_told = True  # once, until one succeeds: it would be the same with each
            log.warning("spare kernels can't be warmed up", reason=str(error) or "timeout")
        else:
            spare.warm = True
            self._cold_told = False

    def _take_in(self, filling: "asyncio.Task[Kernel]") -> _Spare | None:
        """Make a kernel that has been started a spare; None if it has not."""
        if filling.cancelled():
            return None
        error = filling.exception()
        if error is not None:  # whatever it is: users' own starts say so, this goes on
            self._note_failure()
            log.warning("no spare kernel could be started", reason=str(error))
            return None
        spare = _Spare(filling.result(), self._clock())
        self._spares.append(spare)
        self._lacking_since = None
        spare.kernel.exit.add_done_callback(lambda _: self._lost(spare))
        return spare

    def _lost(self, spare: _Spare) -> None:
        """Replace a spare that has ended by itself."""
        if spare not in self._spares:
            return
        self._spares.remove(spare)
        self._note_failure()
        log.info("a spare kernel ended", kernel_id=spare.kernel.hosted.kernel_id)
        self._spawn(self._end(spare))
        self._changed.set()

    def _note_failure(self) -> None:
        self._failures += 1
        self._failed_at = self._clock()

    def _demand_now(self) -> Demand:
        now = self._clock()
        self._demand = self._demand.after(now - self._demand_at)
        self._demand_at = now
        return self._demand

    # -- the end ---------------------------------------------------------------------------------

    async def _empty(self) -> None:
        spares, self._spares = self._spares, []
        if self._filling is not None:
            await self.give_up()
        await asyncio.gather(*map(self._end, spares))
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _end(self, spare: _Spare) -> None:
        """End a spare and remove its slot; goes on to its end if the caller gives up."""
        await asyncio.shield(self._spawn(self._end_kernel(spare.kernel)))

    async def _end_kernel(self, kernel: Kernel) -> None:
        await kernel.kill()
        await self._host.close_slot(kernel.hosted.slot)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
