"""Which process the service of a data directory is: the one that holds the directory's lock."""

import asyncio
import fcntl
import os
import signal
from contextlib import suppress
from pathlib import Path

from interpreter.admin.client import NoService, who_may_ask

_LOCK, _LOCKS = ".lock", Path("/proc/locks")


class RunningService:
    """The process of a service, held by a descriptor, so that it is never taken for another.

    Attributes:
        pid: its process id.
    """

    def __init__(self, pid: int, descriptor: int) -> None:
        """Use :func:`find_service`."""
        self.pid = pid
        self._descriptor = descriptor

    def signal(self, number: int) -> None:
        """Send it a signal. Does nothing if it has ended.

        Raises:
            PermissionError: this account may not.
        """
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    async def has_ended(self, within_s: float) -> bool:
        """Wait for its end, at most so long; says whether it has ended."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._descriptor, ended.cancel)  # readable for good, and so perhaps again
        try:
            await asyncio.wait({ended}, timeout=within_s)
        finally:
            loop.remove_reader(self._descriptor)
        return ended.cancelled()

    def close(self) -> None:
        """Let go of the descriptor."""
        os.close(self._descriptor)


def find_service(data_dir: Path) -> RunningService | None:
    """The service that uses a data directory; None if none does.

    That its process is the one that holds the lock says the system: a pid in a file may be that of
    anything by now.

    Raises:
        NoService: there may be one, but this account, or this container, can't tell.
    """
    try:
        lock = os.open(data_dir / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise NoService(
            data_dir,
            f"Whether a service runs in {str(data_dir)!r} can't be told: "
            f"{error.strerror or error}. Run this as {who_may_ask(data_dir)}.",
        ) from error
    try:
        written = os.pread(lock, 32, 0).strip()
        if written.isdigit():
            found = _holder(int(written), os.fstat(lock).st_ino)
            if found is not None:
                return found
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NoService(
                data_dir,
                f"The service in {str(data_dir)!r} runs in another container; run this there.",
            ) from None
        return None
    finally:
        os.close(lock)


def _holder(pid: int, inode: int) -> RunningService | None:
    """The process with this id, if it holds a lock on a file with this number."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    # Looked up once the descriptor holds on to the process.
    if _holds_lock(pid, inode) and Path(f"/proc/{pid}").exists():
        return RunningService(pid, descriptor)
    os.close(descriptor)
    return None


def _holds_lock(pid: int, inode: int) -> bool:
    # Source: proc_locks(5). The device isn't compared: some file systems have another one there.
    for line in _LOCKS.read_text().splitlines():
        fields = line.split()
        number = fields[5].rpartition(":")[2]
        if [fields[1], *fields[3:5], number] == ["FLOCK", "WRITE", str(pid), str(inode)]:
            return True
    return False
