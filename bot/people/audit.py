"""Audit: what admins did, written down before it is done."""

from dataclasses import dataclass
from datetime import datetime

from interpreter import RecordStore
from interpreter.admin.audit import AUDIT_KIND, write_audit


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action.

    Attributes:
        at: when; UTC.
        actor: who did it: a user's id, or in words who was at the command line.
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
        await write_audit(self._records, actor, action, target, detail, guild_id=guild_id)

    async def list(self, *, limit: int = 20, guild_id: str | None = None) -> tuple[AuditEntry, ...]:
        """The latest entries, the newest first.

        Args:
            limit: at most so many.
            guild_id: only those of this guild; None for all.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        records = await self._records.list(AUDIT_KIND, limit=1000 if guild_id else limit)
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
