"""Unix sockets in directories that only admins can enter, whatever the length of their path.

A socket's address has room for 107 bytes. A directory that is open has a short path of its own.
"""

import os
import pwd
import socket
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: Where the service keeps what only it and admins may use, below the data directory.
CONTROL = "control"
ADMIN_SOCKET = "admin"
#: What a Unix socket's path may have. Source: unix(7), less the zero at the end.
MOST_PATH_BYTES = 107
_WAITING = 16
_NO_LOGIN = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a socket, as the system noted it.

    Attributes:
        pid: of the process that connected, or that listens.
        uid: whose it is.
    """

    pid: int
    uid: int

    @classmethod
    def of(cls, connected: socket.socket) -> "Peer":
        """The peer of a socket."""
        packed = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, _ = struct.unpack("=iII", packed)
        return cls(pid, uid)

    @property
    def may_administer(self) -> bool:
        """Whether it is root, or whoever this process runs as."""
        return self.uid in (0, os.geteuid())

    def in_words(self) -> str:
        """Who it is, for the audit log: also who logged in, where that is somebody else."""
        login = self._login_uid()
        said = f"{_name_of(self.uid)} (uid {self.uid})"
        return said if login in (None, self.uid) else f"{said}, logged in as {_name_of(login)}"

    def _login_uid(self) -> int | None:
        """Who logged in before becoming another user; None if that isn't known."""
        with suppress(OSError, ValueError):
            login = int(Path(f"/proc/{self.pid}/loginuid").read_text())
            return None if login == _NO_LOGIN else login
        return None


def _name_of(uid: int | None) -> str:
    if uid is None:
        return "nobody"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def make_private_directory(path: Path) -> None:
    """Make a directory that nobody else can enter, or make sure that the one there is such.

    Raises:
        OSError: it can't be made, or is somebody else's.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    there = path.lstat()
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid():
        raise PermissionError(f"{str(path)!r} is not a directory of this account's own")
    path.chmod(0o700)


def listen_in(directory: Path, name: str) -> socket.socket:
    """Listen at ``name`` in a private directory, in place of what an earlier service left there.

    Raises:
        OSError: the system refuses.
    """
    opened = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=opened)
        listening.setblocking(False)
        listening.bind(f"/proc/self/fd/{opened}/{name}")
        os.chmod(f"/proc/self/fd/{opened}/{name}", 0o600)
        listening.listen(_WAITING)
    except BaseException:
        listening.close()
        raise
    finally:
        os.close(opened)
    return listening


def connect_in(directory: Path, name: str) -> socket.socket:
    """Connect to what listens at ``name`` in a directory. May wait while others do as well.

    Raises:
        OSError: nobody listens there, or this account may not connect.
    """
    opened = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(5.0)
        connected.connect(f"/proc/self/fd/{opened}/{name}")
        connected.setblocking(False)
    except BaseException:
        connected.close()
        raise
    finally:
        os.close(opened)
    return connected
