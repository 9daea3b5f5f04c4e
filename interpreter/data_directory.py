"""The directory everything of a service is kept in: made safely, used by one service at a time."""

import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from interpreter.errors import DataDirectoryInUse, DataDirectoryUnusable

__all__ = ["DataDirectoryLock", "prepare_data_directory"]

# Others may pass through to what they know the name of (kernels run as another user), not list.
_MODE = 0o711
# Of these one at least is wherever a service has ever run.
_MARKS = (".lock", ".database.lock", "sessions-mark")
# What a service writes over and clears up there, and other programs have directories of, too.
_OURS = ("control", "etc", "notebooks", "outbox", "packages", "sessions", "snapshots")


def prepare_data_directory(path: Path) -> None:
    """Make the directory, or make sure that nobody else can tamper with the one that is there.

    The default is in /tmp, where anybody could have been first to make it. And what is there must
    not be somebody else's: in ``/``, a service of root's would write over the machine's accounts.

    Raises:
        DataDirectoryUnusable: It can't be made, isn't ours alone, or serves something else.
    """
    try:
        if not os.path.lexists(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=_MODE, exist_ok=True)
            path.chmod(_MODE)  # Whatever the umask took away.
        link = path.lstat()
        directory = path.stat()
    except OSError as error:
        raise DataDirectoryUnusable(path, error.strerror or str(error)) from error
    if not stat.S_ISDIR(directory.st_mode):
        raise DataDirectoryUnusable(path, "it is not a directory")
    us = os.geteuid()
    if directory.st_uid != us:
        reason = f"it belongs to user id {directory.st_uid}, but the service runs as {us}"
        raise DataDirectoryUnusable(path, reason)
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in (us, 0):
        raise DataDirectoryUnusable(path, f"it is a link made by user id {link.st_uid}")
    if directory.st_mode & stat.S_IWOTH:
        raise DataDirectoryUnusable(path, "everybody may write to it")
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
        raise DataDirectoryUnusable(path, "the service may not write to it")
    try:
        foreign = _foreign(path)
    except OSError as error:
        raise DataDirectoryUnusable(path, error.strerror or str(error)) from error
    if foreign is not None:
        raise DataDirectoryUnusable(path, foreign)


def _foreign(path: Path) -> str | None:
    """What tells that the directory serves something else; None if nothing does."""
    if os.path.samefile(path, "/"):
        return "it is the root of the machine's files"
    if any(os.path.lexists(path / mark) for mark in _MARKS):
        return None
    for name in _OURS:
        inner = path / name  # which may be a link: it would be followed
        if inner.is_dir() and any(inner.iterdir()):
            return f"no service has run there, and yet it holds {name!r} with something in it"
    return None


class DataDirectoryLock:
    """Keeps a second service out of a data directory, for as long as the ``with`` lasts.

    The lock is the kernel's, so that it goes with the process that held it, however that ends.

    Args:
        path: The data directory; made if it doesn't exist.
        name: The file in it that is locked.
    """

    def __init__(self, path: Path, *, name: str = ".lock") -> None:
        self._path = path
        self._name = name
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            DataDirectoryInUse: Another service, or this one, has it.
            DataDirectoryUnusable: The directory can't be made or isn't safe.
        """
        prepare_data_directory(self._path)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self._path / self._name, flags, 0o600)
        except OSError as error:
            raise DataDirectoryUnusable(self._path, f"{self._name}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            pid = os.pread(descriptor, 32, 0).strip()
            os.close(descriptor)
            raise DataDirectoryInUse(self._path, int(pid) if pid.isdigit() else None) from None
        except OSError as error:
            os.close(descriptor)
            raise DataDirectoryUnusable(self._path, error.strerror or str(error)) from error
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The file stays: removing it would let a third service lock a new one of the same name
        # while a second still waits for this one.
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
