"""The time as the double's Discord has it: real, plus what a test has skipped."""

from datetime import UTC, datetime, timedelta


class Clock:
    """Goes with the real time, and further whenever a test says so."""

    def __init__(self) -> None:
        """Start with the real time."""
        self._ahead = timedelta()

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time pass at once: interactions, links and nonces grow older."""
        self._ahead += timedelta(seconds=seconds)
