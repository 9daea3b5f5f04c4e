"""What a service has left running, killed or not: kernels, its database, sockets."""

import asyncio
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from interpreter.admin.attachments import DIRECTORY_PREFIX, clear_attachments
from interpreter.admin.sockets import ADMIN_SOCKET, CONTROL
from interpreter.data_directory import DataDirectoryLock
from interpreter.embedded_server import end_leftover_server
from interpreter.hosts.leftovers import end_leftovers
from interpreter.hosts.slots import is_stripped
from interpreter.settings import Settings


async def clear_leftovers(settings: Settings, *, tell: Callable[[str], None]) -> bool:
    """End what is left of a service, and remove what it left outside of its stores.

    Nothing is started, and nothing built, where nothing is left. Working directories stay, for
    when their users come back.

    Args:
        settings: as the service had them.
        tell: gets a sentence about each thing that is done.

    Returns:
        Whether there was anything.

    Raises:
        DataDirectoryInUse: a service is running there.
        DataDirectoryUnusable: the directory is another account's.
        OSError: what is left of the kernels belongs to somebody else.
    """
    if not await asyncio.to_thread(_is_anything_left, settings.data_dir):
        return False
    with DataDirectoryLock(settings.data_dir):
        if await asyncio.to_thread(_may_kernels_live, settings.data_dir):
            tell("Kernels of an earlier service may live on: ending them.")
            await end_leftovers(settings.data_dir, keep_work=True)
        await asyncio.to_thread(_clear_rest, settings.data_dir)
    return True


def _is_anything_left(data_dir: Path) -> bool:
    names = set(_names(data_dir / CONTROL))
    rest = ADMIN_SOCKET in names or any(name.startswith(DIRECTORY_PREFIX) for name in names)
    return rest or _database_record(data_dir).exists() or _may_kernels_live(data_dir)


def _may_kernels_live(data_dir: Path) -> bool:
    """Whether there are slots that kernels were in, or sockets of fork servers and kernels."""
    control, sessions = data_dir / CONTROL, data_dir / "sessions"
    sockets = [name for name in _names(control) if _is_socket(control / name)]
    used = [name for name in _names(sessions) if not is_stripped(sessions / name)]
    return bool({*sockets} - {ADMIN_SOCKET} or used)


def _clear_rest(data_dir: Path) -> None:
    end_leftover_server(data_dir / "database")
    clear_attachments(data_dir / CONTROL)
    with suppress(OSError):
        (data_dir / CONTROL / ADMIN_SOCKET).unlink()


def _database_record(data_dir: Path) -> Path:
    return data_dir / "database" / "server.json"


def _names(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir()]
    except OSError:
        return []


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False
