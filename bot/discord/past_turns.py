"""Past turns: what buttons below an answer are about, remembered for some days."""

from datetime import UTC, datetime, timedelta
from typing import Any

from bot.messages import compose_cells
from bot.outgoing import Attachment, OutgoingMessage
from interpreter import DatabaseUnavailable, Execution, InvalidRecord, RecordStore
from interpreter.logs import get_logger

log = get_logger(__name__)

_KIND, _LISTS = "turns", "turn_lists"
_KEPT = timedelta(days=7)
#: Of one user; the oldest go.
_MOST_KEPT = 100
#: Of one turn's files together.
_MOST_BYTES = 1 << 19


class PastTurns:
    """The code of turns that are over, composed as it will be shown."""

    def __init__(self, records: RecordStore) -> None:
        """Make it; ``records`` is where it is kept."""
        self._records = records

    async def keep(self, turn_id: str, user_id: str, cells: tuple[Execution, ...]) -> None:
        """Remember what a turn ran. What can't be kept is said in the log."""
        value = _value(compose_cells(cells))
        expires_at = datetime.now(UTC) + _KEPT
        try:
            await self._records.put(
                _KIND, _key(turn_id, user_id), value, owner=user_id, expires_at=expires_at
            )
            await self._make_room(turn_id, user_id, expires_at)
        except (DatabaseUnavailable, InvalidRecord) as error:
            log.warning("code of a turn not kept", turn_id=turn_id, reason=type(error).__name__)

    async def _make_room(self, turn_id: str, user_id: str, expires_at: datetime) -> None:
        known = await self._records.get(_LISTS, user_id) or {"turns": []}
        turns = [*known["turns"], turn_id]
        for old in turns[:-_MOST_KEPT]:
            await self._records.delete(_KIND, _key(old, user_id))
        await self._records.put(
            _LISTS, user_id, {"turns": turns[-_MOST_KEPT:]}, owner=user_id, expires_at=expires_at
        )

    async def code(self, turn_id: str, user_id: str) -> tuple[OutgoingMessage, ...] | None:
        """What a user's turn ran, as messages; None if that isn't known any more.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        value = await self._records.get(_KIND, _key(turn_id, user_id))
        if value is None:
            return None
        return tuple(
            OutgoingMessage(
                str(message["content"]),
                tuple(
                    Attachment(str(a["filename"]), bytes(a["content"]), len(a["content"]))
                    for a in message["attachments"]
                ),
            )
            for message in value["messages"]
        )


def _value(messages: tuple[OutgoingMessage, ...]) -> dict[str, Any]:
    left = _MOST_BYTES
    kept: list[dict[str, Any]] = []
    for message in messages:
        files = []
        for attachment in message.attachments:
            if isinstance(attachment.source, bytes) and attachment.size <= left:
                files.append({"filename": attachment.filename, "content": attachment.source})
                left -= attachment.size
        kept.append({"content": message.content, "attachments": files})
    return {"messages": kept}


def _key(turn_id: str, user_id: str) -> str:
    """Of a record: with the user in it, another user's turn can't be asked for."""
    return f"{user_id}:{turn_id}"
