"""Activity: since when somebody has done nothing."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from interpreter.hosts.held_process import boot_id


@dataclass(frozen=True, slots=True)
class Moment:
    """A time by the wall clock, for people, and by one that never jumps, in a form to write down.

    A machine's clock is set now and then, by hours where it was wrong: also between the end of one
    service and the start of the next. That must not make anybody idle, and keep nobody.

    Attributes:
        at: UTC.
        boot: the run of the machine that ``monotonic_s`` belongs to; empty if it isn't known.
        monotonic_s: seconds of its monotonic clock, which is the same for all processes.
    """

    at: datetime
    boot: str = ""
    monotonic_s: float = 0.0

    @classmethod
    def now(cls) -> Self:
        """This moment."""
        return cls(datetime.now(UTC), boot_id(), time.monotonic())

    @property
    def ago_s(self) -> float:
        """How long ago, in seconds; the wall clock tells what was in another run of the machine."""
        if self.boot == boot_id():
            return max(0.0, time.monotonic() - self.monotonic_s)
        return max(0.0, (datetime.now(UTC) - self.at).total_seconds())


class Activity:
    """When somebody was last at work.

    Attributes:
        last: that moment.
    """

    def __init__(self, last: Moment | None = None) -> None:
        """Begin with now, or with a moment that was written down."""
        self.last = last or Moment.now()

    def mark(self) -> None:
        """Somebody is at work just now."""
        self.last = Moment.now()

    @property
    def idle_s(self) -> float:
        """How long nobody has been, in seconds, whatever happens to the wall clock."""
        return self.last.ago_s
