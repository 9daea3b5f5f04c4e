"""Past turns: what buttons below an answer are about, remembered for some days."""

from datetime import UTC, datetime, timedelta

from bot.messages import compose_cells
from bot.outgoing import Attachment, OutgoingMessage
from interpreter import DatabaseUnavailable, Execution, InvalidRecord, RecordStore
from interpreter.logs import get_logger

log = get_logger(__name__)

_KIND = "turns"
_KEPT = timedelta(days=7)
_MOST_BYTES = 1 << 20


class PastTurns:
    """The code of turns that are over, composed as it will be shown."""

    def __init__(self, records: RecordStore) -> None:
        """Make it; ``records`` is where it is kept."""
        self._records = records

    async def keep(self, turn_id: str, user_id: str, cells: tuple[Execution, ...]) -> None:
        """Remember what a turn ran. What can't be kept is said in the log."""
        messages = compose_cells(cells)
        value = {
            "messages": [
                {
                    "content": message.content,
                    "attachments": [
                        {"filename": a.filename, "content": a.source}
                        for a in message.attachments
                        if isinstance(a.source, bytes) and a.size <= _MOST_BYTES
                    ],
                }
                for message in messages
            ]
        }
        expires_at = datetime.now(UTC) + _KEPT
        try:
            await self._records.put(
                _KIND, _key(turn_id, user_id), value, owner=user_id, expires_at=expires_at
            )
        except (DatabaseUnavailable, InvalidRecord) as error:
            log.warning("code of a turn not kept", turn_id=turn_id, reason=type(error).__name__)

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


def _key(turn_id: str, user_id: str) -> str:
    """Of a record: with the user in it, another user's turn can't be asked for."""
    return f"{user_id}:{turn_id}"
