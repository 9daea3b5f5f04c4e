"""What a session's kernels used, over the last half hour."""

import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from interpreter.hosts.base import Resources

#: How long a sample is kept, and how many of them in any case.
_KEPT = timedelta(minutes=30)
_MOST_SAMPLES = 400
#: Over less time than this, a share of a processor is chance.
_SHORTEST_S = 0.5


@dataclass(frozen=True, slots=True)
class ResourceSample:
    """What a kernel used at a moment.

    Attributes:
        at: UTC.
        memory_bytes: memory of its own.
        cpu_percent: processor time since the sample before, in percent of one processor; None for
            the first one of a kernel.
    """

    at: datetime
    memory_bytes: int
    cpu_percent: float | None


class ResourceHistory:
    """Samples of a session's kernels, one after the other."""

    def __init__(self) -> None:
        self._samples: deque[ResourceSample] = deque(maxlen=_MOST_SAMPLES)
        self._kernel_id = ""
        self._latest = Resources(0, 0.0)
        self._taken_s = 0.0

    def add(self, kernel_id: str, used: Resources) -> None:
        """Take in what a kernel uses now."""
        percent = self.cpu_percent(kernel_id, used)
        now = datetime.now(UTC)
        while self._samples and self._samples[0].at < now - _KEPT:
            self._samples.popleft()
        self._samples.append(ResourceSample(now, used.memory_bytes, percent))
        self._kernel_id, self._latest, self._taken_s = kernel_id, used, time.monotonic()

    def latest(self, kernel_id: str) -> tuple[Resources, float | None] | None:
        """What a kernel used at its last sample, and its percentage; None if it has none yet."""
        if kernel_id != self._kernel_id:
            return None
        return self._latest, self._samples[-1].cpu_percent if self._samples else None

    def cpu_percent(self, kernel_id: str, used: Resources) -> float | None:
        """Its processor time since the last sample, in percent of one; None without a sample."""
        if kernel_id != self._kernel_id:
            return None
        passed_s = time.monotonic() - self._taken_s
        if passed_s < _SHORTEST_S:
            return self._samples[-1].cpu_percent if self._samples else None
        return round(max(0.0, used.cpu_s - self._latest.cpu_s) / passed_s * 100, 1)

    def samples(self) -> tuple[ResourceSample, ...]:
        """All of the last half hour, the oldest first."""
        oldest = datetime.now(UTC) - _KEPT
        return tuple(sample for sample in self._samples if sample.at >= oldest)
