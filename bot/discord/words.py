"""Facts in words, as people read them in Discord."""

from datetime import UTC, datetime, timedelta


def age(since: datetime, now: datetime | None = None) -> str:
    """How long ago something was, roughly."""
    return span((now or datetime.now(UTC)) - since)


def span(time: timedelta) -> str:
    """A length of time, roughly: its largest unit or two."""
    seconds = max(0, int(time.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min" if minutes >= 10 or not rest else f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days"


def moment(time: datetime) -> str:
    """A moment as Discord shows it to each reader in their own time, as "in 2 days"."""
    return f"<t:{int(time.timestamp())}:R>"
