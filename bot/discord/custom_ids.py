"""Custom ids: what a button does, and for whom, in the 100 characters that Discord keeps for us."""

import re
from dataclasses import dataclass
from typing import Self

#: Components' and forms' ids begin differently: the library keeps both in one table.
COMPONENT = re.compile(r"cm:.+", re.DOTALL)
FORM = re.compile(r"cmm:.+", re.DOTALL)
_MOST_CHARS = 100
_PARTS = re.compile(r"cmm?:([a-z]{1,16}):([0-9]{1,20}):([\w.-]{0,56})", re.ASCII)


@dataclass(frozen=True, slots=True)
class CustomId:
    """What stands in a custom id.

    Attributes:
        action: what is to be done: up to 16 small letters.
        asker: the id of the user whose button it is.
        ref: to what: up to 56 letters, digits and any of _ . -
        is_form: whether it is a form's.
    """

    action: str
    asker: str
    ref: str = ""
    is_form: bool = False

    def __str__(self) -> str:
        """The id itself.

        Raises:
            ValueError: it can't be one.
        """
        text = f"{'cmm' if self.is_form else 'cm'}:{self.action}:{self.asker}:{self.ref}"
        if _PARTS.fullmatch(text) is None or len(text) > _MOST_CHARS:
            raise ValueError(f"no custom id: {text!r}")
        return text

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what Discord hands back, which anybody may have made up; None if it is none."""
        if len(text) > _MOST_CHARS or (found := _PARTS.fullmatch(text)) is None:
            return None
        return cls(found[1], found[2], found[3], text.startswith("cmm:"))
