"""Audit: what admins did, written down before it is done."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex

from interpreter import RecordStore
from interpreter.logs import get_logger

log = get_logger(__name__)

_KIND = "audit"
#: How long entries are kept.
AUDIT_KEPT = timedelta(days=365)
_MOST_CHARS = 500


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action.

    Attributes:
        at: when; UTC.
        actor: who did it: a user's id.
        action: what, such as "kernel restart".
        target: on what: a user's or role's id, or "".
        detail: more about it, or "".
        guild_id: from where, None for a direct message.
    """

    at: datetime
    actor: str
    action: str
    target: str
    detail: str
    guild_id: str | None


class Audit:
    """The list of what admins did."""

    def __init__(self, records: RecordStore) -> None:
        """Make it; ``records`` is where it is kept."""
        self._records = records

    async def write(
        self,
        actor: str,
        action: str,
        target: str = "",
        detail: str = "",
        *,
        guild_id: str | None = None,
    ) -> None:
        """Write down what is about to be done; if that fails, it must not be done.

        Entries have no owner: deleting one's data doesn't delete what one did to others.

        Raises:
            DatabaseUnavailable: it could not be written.
        """
        now = datetime.now(UTC)
        value = {
            "actor": actor[:64],
            "action": action[:64],
            "target": target[:64],
            "detail": detail[:_MOST_CHARS],
            "guild_id": guild_id,
            "at": now,
        }
        key = f"{now:%Y%m%dT%H%M%S%f}-{token_hex(4)}"
        await self._records.put(_KIND, key, value, expires_at=now + AUDIT_KEPT)
        log.info("admin action", actor=actor, action=action, target=target)

    async def list(self, *, limit: int = 20, guild_id: str | None = None) -> tuple[AuditEntry, ...]:
        """The latest entries, the newest first.

        Args:
            limit: at most so many.
            guild_id: only those of this guild; None for all.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        records = await self._records.list(_KIND, limit=1000 if guild_id else limit)
        entries = [
            AuditEntry(
                at=record.value.get("at", record.updated_at),
                actor=str(record.value.get("actor", "")),
                action=str(record.value.get("action", "")),
                target=str(record.value.get("target", "")),
                detail=str(record.value.get("detail", "")),
                guild_id=record.value.get("guild_id"),
            )
            for record in records
            if guild_id is None or record.value.get("guild_id") == guild_id
        ]
        return tuple(entries[:limit])
