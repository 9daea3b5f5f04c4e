"""Confines a freshly forked kernel: namespaces, mounts, limits, and the loss of every privilege.

Each function is one step of the way down; ``forkserver`` calls them in order, in a process with a
single thread. Capabilities belong to threads, so all of this must be over before the first thread
of the kernel exists.

Source: namespaces(7), user_namespaces(7), capabilities(7), mount_namespaces(7), prctl(2).
"""

import ctypes
import fcntl
import os
import resource
import socket
import struct
from collections.abc import Iterable, Mapping

_libc = ctypes.CDLL(None, use_errno=True)

_CLONE_NEWNS = 0x00020000
_CLONE_NEWCGROUP = 0x02000000
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000

_MS_RDONLY = 1
_MS_NOSUID = 2
_MS_NODEV = 4
_MS_NOEXEC = 8
_MS_REMOUNT = 32
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4

_SECCOMP_MODE_FILTER = 2

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1

#: An instance for each kernel, and not all that there are.
_OWN_TERMINALS, _TERMINALS = "newinstance,ptmxmode=0666", 64
#: Signals and timers that may wait; one process needs a few.
_PENDING_SIGNALS = 512
_INOTIFY_INSTANCES = "4"

#: The user and group a kernel sees itself as.
INSIDE_UID = 1000
INSIDE_GID = 1000


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _prctl(option: int, argument: int = 0, *, what: str) -> None:
    _check(_libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0), what)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()
    )
    _check(result, f"mount {kind or 'bind'} on {target}")


def become(uid: int, gid: int) -> None:
    """Turn from root into an unprivileged user, for good.

    The process stays dumpable, since otherwise /proc/self/uid_map would belong to root and no
    user namespace could be entered any more.
    """
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _prctl(_PR_SET_DUMPABLE, 1, what="stay dumpable")


def die_with_parent() -> None:
    """Have the kernel of the system end this process when its parent ends."""
    _prctl(_PR_SET_PDEATHSIG, 9, what="die with parent")


def enter_namespaces() -> None:
    """Enter user, mount, pid, ipc, uts, network and cgroup namespaces of its own.

    The next child this process forks is the first process of the new pid namespace.

    Raises:
        OSError: the system refuses namespaces; says which step.
    """
    uid, gid = os.geteuid(), os.getegid()
    flags = (
        _CLONE_NEWUSER
        | _CLONE_NEWNS
        | _CLONE_NEWPID
        | _CLONE_NEWIPC
        | _CLONE_NEWUTS
        | _CLONE_NEWNET
        | _CLONE_NEWCGROUP
    )
    _check(_libc.unshare(flags), "enter namespaces")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{INSIDE_UID} {uid} 1")
    _write("/proc/self/gid_map", f"{INSIDE_GID} {gid} 1")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def mount_session(slot: str, *, tmp_bytes: int, shm_bytes: int) -> None:
    """Give the session its own view of the file system.

    Args:
        slot: the session's directory as the fork server sees it, with ``work``, ``home``,
            ``files``, ``packages`` and ``run`` inside.
        tmp_bytes: size of the private /tmp.
        shm_bytes: size of the private /dev/shm.
    """
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    private = _MS_NOSUID | _MS_NODEV
    for name, target in (("work", "/work"), ("home", "/home/user"), ("run", "/run/kernel")):
        _mount(f"{slot}/{name}", target, "", _MS_BIND)
        _mount("none", target, "", _MS_BIND | _MS_REMOUNT | private)
    _mount(f"{slot}/files", "/files", "", _MS_BIND)
    _mount("none", "/files", "", _MS_BIND | _MS_REMOUNT | private | _MS_RDONLY | _MS_NOEXEC)
    _mount(f"{slot}/packages", "/packages/own", "", _MS_BIND)
    _mount("none", "/packages/own", "", _MS_BIND | _MS_REMOUNT | private | _MS_RDONLY)
    _mount("tmpfs", "/tmp", "tmpfs", private, f"size={tmp_bytes},mode=1777")
    _mount("tmpfs", "/dev/shm", "tmpfs", private, f"size={shm_bytes},mode=1777")
    # A pseudo-terminal of another kernel must not be reachable: an instance for each.
    _mount(
        "devpts",
        "/dev/pts",
        "devpts",
        _MS_NOSUID | _MS_NOEXEC,
        f"{_OWN_TERMINALS},max={_TERMINALS}",
    )
    # Covers what belongs to the others. A mount that came with the user namespace can't be taken
    # off again, not even in a further namespace.
    _mount("tmpfs", "/sessions", "tmpfs", private | _MS_RDONLY, "size=4k,mode=0555")
    _mount("proc", "/proc", "proc", private | _MS_NOEXEC)
    # User code can't make namespaces of its own, and so can't get capabilities back in one.
    _write("/proc/sys/user/max_user_namespaces", "0")
    _write("/proc/sys/user/max_inotify_instances", _INOTIFY_INSTANCES)


def bring_up_loopback() -> None:
    """Switch on ``lo``: ipykernel and multiprocessing speak over 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(probe, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | _IFF_UP, b""))


def set_host_name(name: str) -> None:
    """Show ``name`` instead of the host's name."""
    socket.sethostname(name)


def drop_privileges() -> None:
    """Give up every capability, and the means to get one back, for this and all later threads."""
    os.setresgid(INSIDE_GID, INSIDE_GID, INSIDE_GID)
    os.setresuid(INSIDE_UID, INSIDE_UID, INSIDE_UID)
    drop_bounding_set()
    drop_capabilities()


def drop_bounding_set() -> None:
    """Give up the means to get a capability back through a program. Needs CAP_SETPCAP."""
    last = int(_read("/proc/sys/kernel/cap_last_cap"))
    for capability in range(last + 1):
        _prctl(_PR_CAPBSET_DROP, capability, what=f"drop capability {capability}")


def drop_capabilities() -> None:
    """Give up every capability, and forbid gaining any by running a program."""
    _check(
        _libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0),
        "clear ambient capabilities",
    )
    header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    nothing = struct.pack("=6I", 0, 0, 0, 0, 0, 0)
    _check(_libc.capset(header, nothing), "drop capabilities")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, what="no new privileges")


class _SockFprog(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def load_filters(programs: Iterable[bytes]) -> None:
    """Load seccomp filters for this process and all that it starts. Needs no-new-privs.

    The last one may refuse to load another: they are loaded in the given order.

    Args:
        programs: each an array of ``struct sock_filter``.
    """
    for program in programs:
        loaded = _SockFprog(len(program) // 8, program)
        result = _libc.prctl(
            _PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(loaded), 0, 0
        )
        _check(result, "load a seccomp filter")


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, where there is no pid namespace."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, what="adopt orphans")


def _read(path: str) -> str:
    with open(path, encoding="ascii") as source:
        return source.read()


def hide_memory() -> None:
    """Make this process unreadable for others of the same user (its memory, descriptors)."""
    _prctl(_PR_SET_DUMPABLE, 0, what="hide memory")


def set_limits(limits: Mapping[str, int]) -> None:
    """Set the resource limits of this process and its children.

    Args:
        limits: ``processes``, ``open_files``, ``file_bytes`` and ``memory_bytes``. The last is what
            one process may allocate beyond what it has now: a cell that asks for more gets a
            MemoryError and keeps its variables, where the control group would end the kernel.
    """
    data = resource.getpagesize() * int(_read("/proc/self/statm").split()[5])
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_DATA, data + limits["memory_bytes"]),
        (resource.RLIMIT_MEMLOCK, 0),
        # Where kernels share a user, so that none uses up what the system has for all of them.
        (resource.RLIMIT_SIGPENDING, _PENDING_SIGNALS),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))
