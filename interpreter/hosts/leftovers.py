"""What an earlier service has left of its kernels, to be cleared away."""

import asyncio
from pathlib import Path

from interpreter.hosts import slots
from interpreter.hosts.cgroup import remove_remembered_groups
from interpreter.hosts.control import ControlDirectory
from interpreter.hosts.servers import end_earlier_servers
from interpreter.hosts.short_path import remove_links_into
from interpreter.hosts.strays import end_strays
from interpreter.logs import get_logger

log = get_logger(__name__)

#: What remembers the control groups for the next service.
GROUPS_FILE = "groups.json"


async def end_leftovers(data_dir: Path, *, keep_work: bool = False) -> None:
    """End all kernels of a data directory, and remove their slots, sockets and control groups.

    Nobody may use it now.

    Args:
        data_dir: as the earlier service had it.
        keep_work: keep working directories in which there is something; a later service removes
            those that are nobody's.

    Raises:
        OSError: it belongs to somebody else.
    """
    if not await asyncio.to_thread(data_dir.is_dir):
        return
    control = ControlDirectory(data_dir / "control")
    await end_strays(control)
    await end_earlier_servers(control)
    sessions = data_dir / "sessions"
    if await asyncio.to_thread(sessions.is_dir):
        await asyncio.to_thread(clear_slots, sessions, keep_work=keep_work)
    await asyncio.to_thread(remove_links_into, sessions)
    await asyncio.to_thread(remove_remembered_groups, control.path / GROUPS_FILE)


def clear_slots(sessions: Path, *, keep_work: bool = False) -> None:
    """Remove all slots, or all but their working directories. Their kernels must have ended."""
    for slot in sessions.iterdir():
        try:
            owner = slots.owner_of(slot)
            if owner is not None:
                slots.remove_shared_memory(owner)
        except OSError:  # half made
            pass
        try:
            if not (keep_work and slots.strip(slot)):
                slots.remove(slot)
        except OSError as error:  # it must not keep the service from starting
            log.warning("an old slot could not be removed", slot=slot.name, reason=str(error))
