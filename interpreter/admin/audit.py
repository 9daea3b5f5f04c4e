"""The audit log: what admins did at the command line, written down before it is done.

The records are those that the Discord bot writes of its admins, so that both are read as one.
"""

from datetime import UTC, datetime, timedelta
from secrets import token_hex

from interpreter.logs import get_logger
from interpreter.records import RecordStore

log = get_logger(__name__)

_KIND = "audit"
_KEPT = timedelta(days=365)
_NAME_CHARS, _DETAIL_CHARS = 64, 500


async def write_audit(
    records: RecordStore, actor: str, action: str, target: str = "", detail: str = ""
) -> None:
    """Write down what is about to be done; if that fails, it must not be done.

    Args:
        records: where it is kept.
        actor: the system's user, in words.
        action: what, such as "kernel interrupt".
        target: on what: a user's id, or "".
        detail: more about it.

    Raises:
        DatabaseUnavailable: it could not be written.
    """
    now = datetime.now(UTC)
    value = {
        "actor": actor[:_NAME_CHARS],
        "action": action,
        "target": target[:_NAME_CHARS],
        "detail": f"command line{'; ' if detail else ''}{detail}"[:_DETAIL_CHARS],
        "guild_id": None,
        "at": now,
    }
    key = f"{now:%Y%m%dT%H%M%S%f}-{token_hex(4)}"
    await records.put(_KIND, key, value, expires_at=now + _KEPT)
    log.info("admin action", actor=actor, action=action, target=target)
