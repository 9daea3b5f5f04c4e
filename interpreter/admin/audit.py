"""The audit log: what admins did, written down before it is done.

At the command line or in a front end: all of it has one form, and is read as one.
"""

from datetime import UTC, datetime, timedelta
from secrets import token_hex

from interpreter.logs import get_logger
from interpreter.records import RecordStore

log = get_logger(__name__)

AUDIT_KIND = "audit"
#: How long entries are kept.
AUDIT_KEPT = timedelta(days=365)
_NAME_CHARS, _DETAIL_CHARS = 128, 500


async def write_audit(
    records: RecordStore,
    actor: str,
    action: str,
    target: str = "",
    detail: str = "",
    *,
    guild_id: str | None = None,
) -> None:
    """Write down what is about to be done; if that fails, it must not be done.

    Entries have no owner: deleting one's data doesn't delete what one did to others.

    Args:
        records: where it is kept.
        actor: who: a user's id, or the system's user in words.
        action: what, such as "kernel interrupt".
        target: on what: a user's or role's id, or "".
        detail: more about it.
        guild_id: from where in Discord, None for elsewhere.

    Raises:
        DatabaseUnavailable: it could not be written.
    """
    now = datetime.now(UTC)
    value = {
        "actor": actor[:_NAME_CHARS],
        "action": action[:_NAME_CHARS],
        "target": target[:_NAME_CHARS],
        "detail": detail[:_DETAIL_CHARS],
        "guild_id": guild_id,
        "at": now,
    }
    key = f"{now:%Y%m%dT%H%M%S%f}-{token_hex(4)}"
    await records.put(AUDIT_KIND, key, value, expires_at=now + AUDIT_KEPT)
    log.info("admin action", actor=actor, action=action, target=target)
