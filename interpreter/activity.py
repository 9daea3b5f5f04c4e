"""Activity: since when somebody has done nothing."""

import time
from datetime import UTC, datetime


class Activity:
    """When somebody was last at work: by the wall clock for people, and by one that never jumps.

    A machine's clock is set now and then, by an hour where it was wrong. That must not make anybody
    idle, and keep nobody.

    Attributes:
        at: UTC.
    """

    def __init__(self, at: datetime | None = None) -> None:
        """Begin with now, or with a time that was written down."""
        now = datetime.now(UTC)
        self.at = at or now
        self._since = time.monotonic() - max(0.0, (now - self.at).total_seconds())

    def mark(self) -> None:
        """Somebody is at work just now."""
        self.at, self._since = datetime.now(UTC), time.monotonic()

    @property
    def idle_s(self) -> float:
        """How long nobody has been, in seconds."""
        return time.monotonic() - self._since
