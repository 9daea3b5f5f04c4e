"""The admin socket: where it is, who is at its other end, and how to listen and connect there."""

import os
import pwd
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from interpreter.hosts.control import address_in

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
        """Who it is, for the audit log: who logged in, and as whom, where that is somebody else."""
        return actor_in_words(self.uid, self._login_uid())

    def _login_uid(self) -> int | None:
        """Who logged in before becoming another user; None if that isn't known."""
        with suppress(OSError, ValueError):
            login = int(Path(f"/proc/{self.pid}/loginuid").read_text())
            return None if login == _NO_LOGIN else login
        return None


def actor_in_words(uid: int, login_uid: int | None) -> str:
    """Who acts; first who logged in, since long names may be cut off.

    Args:
        uid: of the process.
        login_uid: of who logged in; None if that isn't known.
    """
    said = f"{_name_of(uid)} (uid {uid})"
    return said if login_uid in (None, uid) else f"{_name_of(login_uid)} as {said}"


def _name_of(uid: int | None) -> str:
    if uid is None:
        return "nobody"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def listen_in(directory: Path, name: str) -> socket.socket:
    """Listen at ``name`` in a private directory, in place of what an earlier service left there.

    Raises:
        OSError: the system refuses.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address_in(directory, name) as address:
            with suppress(FileNotFoundError):
                os.unlink(address)
            listening.setblocking(False)
            listening.bind(address)
            os.chmod(address, 0o600)
            listening.listen(_WAITING)
    except BaseException:
        listening.close()
        raise
    return listening


def connect_in(directory: Path, name: str) -> socket.socket:
    """Connect to what listens at ``name`` in a directory. May wait while others do as well.

    Raises:
        OSError: nobody listens there, or this account may not connect.
    """
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(5.0)
        with address_in(directory, name) as address:
            connected.connect(address)
        connected.setblocking(False)
    except BaseException:
        connected.close()
        raise
    return connected
