"""Identifies: how often a session may be asked of Discord's gateway.

A thousand in a day, and Discord resets the bot's token. The library asks as fast as it is refused.
Source: Discord's documentation, "Gateway", "Session Start Limit Object".
"""

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IdentifyLimits:
    """How often, and how far apart.

    Attributes:
        burst: how many in vain in a row are no reason to wait.
        first_wait_s: how long is waited after those; twice as long after each one more.
        most_wait_s: how long at most.
        spacing_s: between any two: Discord takes one in 5 seconds.
        a_day: how many in 24 hours.
    """

    burst: int = 5
    first_wait_s: float = 15.0
    most_wait_s: float = 900.0
    spacing_s: float = 5.0
    a_day: int = 900


#: For Discord itself.
IDENTIFY_LIMITS = IdentifyLimits()


class IdentifyRefused(Exception):
    """It is too early to ask for a session.

    Attributes:
        wait_s: how long to wait, in seconds.
    """

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"the next session may be asked for in {wait_s:.1f} s")
        self.wait_s = wait_s


class Identifies:
    """Counts them, for all connections of the bot together.

    Args:
        limits: how often.
        on_identify: is told of each.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        limits: IdentifyLimits,
        *,
        on_identify: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """See the class."""
        self._limits = limits
        self._on_identify = on_identify
        self._clock = clock
        self._times: deque[float] = deque()
        self._in_vain: dict[int, int] = {}
        self._not_before: dict[int, float] = {}
        self._closed_until = 0.0

    @property
    def last_day(self) -> int:
        """How many there were in the last 24 hours."""
        self._forget()
        return len(self._times)

    def wait_s(self, shard: int) -> float:
        """How long to wait before the next one of a connection; 0 for not at all."""
        self._forget()
        now = self._clock()
        until = max(self._not_before.get(shard, 0.0), self._closed_until)
        if self._times:
            until = max(until, self._times[-1] + self._limits.spacing_s)
        if len(self._times) >= self._limits.a_day:
            until = max(until, self._times[0] + 86_400)
        return max(0.0, until - now)

    def take(self, shard: int) -> None:
        """Count one that is about to be sent.

        Raises:
            IdentifyRefused: it mustn't be.
        """
        wait_s = self.wait_s(shard)
        if wait_s > 0:
            raise IdentifyRefused(wait_s)
        limits = self._limits
        in_vain = self._in_vain[shard] = self._in_vain.get(shard, 0) + 1
        if in_vain >= limits.burst:
            # The exponent is bounded: a float isn't.
            doubled = limits.first_wait_s * 2 ** min(in_vain - limits.burst, 20)
            wait_s = min(doubled, limits.most_wait_s) * random.uniform(0.75, 1.25)
            self._not_before[shard] = self._clock() + wait_s
        self._times.append(self._clock())
        self._on_identify()

    def succeeded(self, shard: int) -> None:
        """A session has proved to last: those before it weren't in vain."""
        self._in_vain.pop(shard, None)
        self._not_before.pop(shard, None)

    def close(self, seconds: float) -> None:
        """Let none pass for a while: Discord says that it has had enough."""
        self._closed_until = max(self._closed_until, self._clock() + seconds)

    def _forget(self) -> None:
        while self._times and self._times[0] <= self._clock() - 86_400:
            self._times.popleft()
