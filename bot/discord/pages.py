"""Pages: long lists, some lines at a time, with buttons for the next ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.discord.custom_ids import CustomId
from bot.outgoing import MESSAGE_CHARS, Button

#: Room for how many lines are left out.
_REST_CHARS = 30


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list.

    Attributes:
        lines: what stands on it.
        number: which it is, from 0.
        count: how many there are; at least 1.
    """

    lines: tuple[str, ...]
    number: int
    count: int

    @property
    def footer(self) -> str:
        """Which page it is; "" if it is the only one."""
        return "" if self.count == 1 else f"-# Page {self.number + 1} of {self.count}"

    def buttons(self, action: str, asker: str, *, ref: str = "") -> tuple[Button, ...]:
        """The buttons to the pages before and after; none if it is the only one.

        Args:
            action: what their custom ids say.
            asker: for whom.
            ref: what stands before the page's number there, with a "." between.
        """
        if self.count == 1:
            return ()

        def button(label: str, number: int) -> Button:
            place = f"{ref}.{number}" if ref else str(number)
            return Button(label, str(CustomId(action, asker, place)))

        found = []
        if self.number > 0:
            found.append(button("Previous", self.number - 1))
        if self.number + 1 < self.count:
            found.append(button("Next", self.number + 1))
        return tuple(found)


def page_of(lines: Sequence[str], number: int, *, size: int) -> Page:
    """One page of a list; the last one where there are no longer so many."""
    count = max(1, -(-len(lines) // size))
    number = min(max(number, 0), count - 1)
    return Page(tuple(lines[number * size : (number + 1) * size]), number, count)


def as_many_as_fit(lines: Sequence[str], *, most_chars: int = MESSAGE_CHARS) -> str:
    """Whole lines from the first on, as many as a message takes, and how many more there are."""
    if len("\n".join(lines)) <= most_chars:
        return "\n".join(lines)
    kept: list[str] = []
    room = most_chars - _REST_CHARS
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join([*kept, f"-# and {len(lines) - len(kept)} more"])
