"""Landlock: gives a process a list of files and directories, and nothing else of the file system.

For systems that refuse namespaces. What Landlock doesn't look at (permissions, sockets, memory) the
seccomp filters of such kernels refuse.

Source: landlock(7), linux/landlock.h.
"""

import ctypes
import os
import struct
from collections.abc import Iterable

_libc = ctypes.CDLL(None, use_errno=True)

# The same on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_NET_PORT = 2

_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_REMOVE_DIR = 1 << 4
_REMOVE_FILE = 1 << 5
_MAKE_CHAR = 1 << 6
_MAKE_DIR = 1 << 7
_MAKE_REG = 1 << 8
_MAKE_SOCK = 1 << 9
_MAKE_FIFO = 1 << 10
_MAKE_BLOCK = 1 << 11
_MAKE_SYM = 1 << 12
_REFER = 1 << 13
_TRUNCATE = 1 << 14
_IOCTL_DEV = 1 << 15

_READ = _READ_FILE | _READ_DIR | _EXECUTE
_CHANGE = (
    _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _MAKE_FIFO
) | (_MAKE_SYM | _REFER | _TRUNCATE)
_OWN_FILES = _READ_FILE | _WRITE_FILE | _MAKE_REG | _REMOVE_FILE | _REFER | _TRUNCATE
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

_NET_TCP = 3  # bind and connect, since version 4
_NET_CONNECT = 2
_SCOPES = 3  # abstract Unix sockets and signals, since version 6

#: Version 3 is the first that sees a file cut short.
OLDEST_VERSION = 3
#: From this version on, signals to processes outside are refused.
SIGNALS_VERSION = 6


def version() -> int:
    """The version of Landlock this system offers; 0 if it has none."""
    found = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    return max(0, int(found))


def restrict(
    *,
    readable: Iterable[str],
    writable: Iterable[str],
    devices: Iterable[str],
    shared: Iterable[str],
    connect_ports: Iterable[int] = (),
) -> None:
    """Leave this process, and all that it starts, nothing but these. Needs no-new-privs.

    Args:
        readable: files and directories to read and execute; what doesn't exist is passed over.
        writable: directories to do everything in but make devices.
        devices: files to read and write.
        shared: directories to have files of one's own in, without seeing which others there are.
        connect_ports: TCP ports to connect to, of any host. From version 4 on there are no others;
            older ones don't look at the network.

    Raises:
        OSError: the system has no Landlock, or an older one than ``OLDEST_VERSION``.
    """
    offered = version()
    if offered < OLDEST_VERSION:
        raise OSError(f"Landlock version {OLDEST_VERSION} is needed, this system has {offered}")
    handled = (1 << (16 if offered >= 5 else 15)) - 1
    network = _NET_TCP if offered >= 4 else 0
    scopes = _SCOPES if offered >= SIGNALS_VERSION else 0
    attributes = struct.pack("=QQQ", handled, network, scopes)
    known = 24 if offered >= 6 else 16 if offered >= 4 else 8
    ruleset = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(known), 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ & handled)
        for path in writable:
            _allow(ruleset, path, (_READ | _CHANGE) & handled)
        for path in devices:
            _allow(ruleset, path, (_READ_FILE | _WRITE_FILE | _IOCTL_DEV) & handled)
        for path in shared:
            _allow(ruleset, path, _OWN_FILES & handled)
        for port in connect_ports if network else ():
            rule = struct.pack("=QQ", _NET_CONNECT, port)
            _call(_ADD_RULE, ruleset, _NET_PORT, rule, 0)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(f"/proc/self/fd/{descriptor}"):
            access &= _OF_A_FILE
        rule = struct.pack("=Qi", access, descriptor)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock: {os.strerror(error)}")
    return result
