"""RawParts: what of people's messages came over the gateway, and the library drops."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from bot.discord.uploads import Incoming
from interpreter.logs import get_logger

log = get_logger(__name__)

_K = TypeVar("_K")
_V = TypeVar("_V")

#: Source: Discord's documentation, "Message Reference Types".
_FORWARD: Final = 1
_MOST_TITLES, _MOST_FORWARDS = 2_000, 200
_MOST_SNAPSHOTS, _MOST_ATTACHMENTS, _MOST_CHARS = 5, 20, 8_000


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A message as somebody forwarded it; who wrote it isn't told.

    Attributes:
        content: its words; "" if there are none, or Discord doesn't show them.
        incoming: its files.
    """

    content: str
    incoming: tuple[Incoming, ...]


class RawParts:
    """Remembers them for messages that came lately; what isn't as documented is left out."""

    def __init__(self) -> None:
        """Begin with none."""
        self._titles: OrderedDict[int, str] = OrderedDict()
        self._forwards: OrderedDict[int, Forwarded] = OrderedDict()

    def note(self, message: Any) -> None:
        """Remember the parts of a message, and of the one that it replies to.

        Args:
            message: as it came as JSON.
        """
        for part in (message, _get(message, "referenced_message")):
            if isinstance(part, dict):
                self._note(part)

    def title(self, attachment_id: int) -> str | None:
        """What the author of a file called it, if that isn't its name; None if it is."""
        return self._titles.get(attachment_id)

    def forwarded(self, message_id: int) -> Forwarded | None:
        """What a message forwards; None if it forwards nothing."""
        return self._forwards.get(message_id)

    def _note(self, message: dict[str, Any]) -> None:
        for attachment in _dicts(message.get("attachments")):
            title, number = attachment.get("title"), _number(attachment.get("id"))
            if title and number is not None:
                _put(self._titles, number, str(title), _MOST_TITLES)
        number = _number(message.get("id"))
        if number is not None and _get(message.get("message_reference"), "type") == _FORWARD:
            snapshots = [_get(snapshot, "message") for snapshot in _snapshots(message)]
            _put(self._forwards, number, _forwarded(snapshots), _MOST_FORWARDS)


def _forwarded(messages: list[Any]) -> Forwarded:
    contents = (_get(message, "content") for message in messages)
    content = "\n\n".join(content for content in contents if content and isinstance(content, str))
    incoming = (one for message in messages for one in _incoming(message))
    return Forwarded(content[:_MOST_CHARS], tuple(incoming)[:_MOST_ATTACHMENTS])


def _snapshots(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [*_dicts(message.get("message_snapshots"))][:_MOST_SNAPSHOTS]


def _incoming(message: Any) -> Iterator[Incoming]:
    for attachment in _dicts(_get(message, "attachments")):
        try:
            yield Incoming.of_raw(attachment)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            log.info("forwarded file unreadable", reason=type(error).__name__)


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    return (item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict))


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _put(remembered: OrderedDict[_K, _V], key: _K, value: _V, most: int) -> None:
    remembered[key] = value
    remembered.move_to_end(key)
    while len(remembered) > most:
        remembered.popitem(last=False)
