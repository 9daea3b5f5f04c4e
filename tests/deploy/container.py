"""Runs a command in what a container engine gives a container, for machines that have no engine.

    python tests/deploy/container.py '{"command": ["id"], ...}'

Standard library and pyseccomp only. Needs root. What it makes: namespaces (mount, pid, ipc, uts,
network, cgroup), a /dev and a /proc of the container's own with the paths covered that engines
cover, a read-only /sys, the capabilities and the seccomp profile that are asked for, no new
privileges if asked for. Not made: a root file system of its own (it is the machine's, read-only if
asked for), AppArmor and SELinux.

Source: the OCI runtime specification (config-linux), Docker's documentation of its defaults.
"""

import ctypes
import errno
import fcntl
import json
import os
import platform
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn

#: The numbers of those that containers have unless told otherwise.
DEFAULT_CAPABILITIES = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "NET_RAW": 13,
    "SYS_CHROOT": 18,
    "MKNOD": 27,
    "AUDIT_WRITE": 29,
    "SETFCAP": 31,
}
CAPABILITIES = {**DEFAULT_CAPABILITIES, "SYS_PTRACE": 19, "SYS_ADMIN": 21}

_MASKED = (
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys"),
    *("/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list"),
    *("/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"),
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_GROUPS = "/sys/fs/cgroup"
_CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

#: What a container without CAP_SYS_ADMIN is refused, and is about in this test suite. An engine's
#: own profile is a list of what is allowed; here all else is.
_REFUSED = """
    acct add_key bpf clock_adjtime clock_settime delete_module fanotify_init finit_module fsconfig
    fsmount fsopen fspick get_mempolicy init_module io_uring_enter io_uring_register io_uring_setup
    ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind mount mount_setattr
    move_mount move_pages name_to_handle_at nfsservctl open_by_handle_at open_tree perf_event_open
    pidfd_getfd pivot_root process_madvise quotactl quotactl_fd reboot request_key set_mempolicy
    setdomainname sethostname setns settimeofday swapoff swapon syslog umount2 unshare userfaultfd
    vhangup
"""
REFUSING_PROFILE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        {
            "names": _REFUSED.split(),
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": errno.EPERM,
        },
        *(
            {
                "names": ["clone"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": errno.EPERM,
                "args": [
                    {"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": flag, "valueTwo": flag},
                ],
            }
            for flag in (
                *(0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000),
                *(0x1000_0000, 0x2000_0000, 0x4000_0000),
            )
        ),
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
    ],
}

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 4096, 16384, 1 << 18
_CLONE_NEWNS, _CLONE_NEWCGROUP, _CLONE_NEWUTS = 0x0002_0000, 0x0200_0000, 0x0400_0000
_CLONE_NEWIPC, _CLONE_NEWPID, _CLONE_NEWNET = 0x0800_0000, 0x2000_0000, 0x4000_0000
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38

_libc = ctypes.CDLL(None, use_errno=True)


def main(specification: dict[str, Any]) -> int:
    """Run a command in a container and give its exit status.

    Args:
        specification:
            command: the program and its arguments; it becomes process 1.
            environment: all of its environment.
            profile: a seccomp profile in Docker's form.
            capabilities: names without ``CAP_``.
            uid: the user id, and group id, of the command; 0 is the machine's root.
            whole_proc: whether /proc is shown as a whole (``systempaths=unconfined``).
            writable_groups: whether control groups may be made.
            no_new_privileges: as the option of that name.
            shown: directories of the image, which every user can reach wherever they are.
            volumes: directories that can be written to, and reached as well.
            read_only: whether nothing else can be written to but an empty /tmp.
    """
    with _groups() if specification["writable_groups"] else nullcontext(()) as groups:
        return _wait_for(_fork(lambda: _run(specification, groups)))


def _run(specification: dict[str, Any], groups: Iterable[Path]) -> int:
    for group in groups:
        (group / "cgroup.procs").write_text(str(os.getpid()))
    _call(
        "unshare",
        _libc.unshare(
            _CLONE_NEWNS
            | _CLONE_NEWPID
            | _CLONE_NEWIPC
            | _CLONE_NEWUTS
            | _CLONE_NEWNET
            | _CLONE_NEWCGROUP
        ),
    )
    return _wait_for(_fork(lambda: _be_first_process(specification)))


def _fork(function: Callable[[], int]) -> int:
    child = os.fork()
    if child == 0:
        status = 125
        try:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            status = function()
        except BaseException as error:
            print(f"container: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    return child


def _wait_for(child: int) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.kill(child, signal.SIGKILL))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if status >= 0 else 128 - status


def _be_first_process(given: dict[str, Any]) -> NoReturn:
    program = _compile(given["profile"], given["capabilities"])  # while this Python is in sight
    _bring_up_loopback()
    socket.sethostname("container")
    _mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
    _mount_files(given["shown"], given["volumes"], read_only=given["read_only"])
    _make_devices()
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    if given["writable_groups"]:
        _mount_groups()
    _protect_sys(writable_groups=given["writable_groups"])
    if not given["whole_proc"]:
        _cover_system_paths()
    os.chdir("/")
    _become(given, program)
    os.execvpe(given["command"][0], given["command"], given["environment"])


# --- files --------------------------------------------------------------------------------------


def _mount_files(shown: Iterable[str], volumes: Iterable[str], *, read_only: bool) -> None:
    """Mount directories where they are, on a way that everybody may go, and an empty /tmp."""
    opened = [
        (path, os.open(path, os.O_PATH | os.O_CLOEXEC), mounted_read_only)
        for paths, mounted_read_only in ((shown, read_only), (volumes, False))
        for path in paths
    ]
    blocked = {block for path, *_ in opened if (block := _first_blocked(path))}
    for path in blocked | {"/tmp"}:
        if path == "/tmp" or not path.startswith("/tmp/"):
            mode = "1777" if path == "/tmp" else "0755"
            _mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode={mode}")
    for path, descriptor, mounted_read_only in opened:
        os.makedirs(path, mode=0o755, exist_ok=True)
        _bind(f"/proc/self/fd/{descriptor}", path)
        if mounted_read_only:
            _mount("none", path, flags=_MS_BIND | _MS_REMOUNT | _MS_RDONLY)
        os.close(descriptor)
    if read_only:
        _mount("none", "/", flags=_MS_BIND | _MS_REMOUNT | _MS_RDONLY)


def _first_blocked(path: str) -> str | None:
    for parent in reversed(Path(path).parents):
        if not parent.stat().st_mode & stat.S_IXOTH:
            return str(parent)
    return None


def _make_devices() -> None:
    numbers = {name: os.stat(f"/dev/{name}").st_rdev for name in _DEVICES}
    _mount("tmpfs", "/dev", "tmpfs", _MS_NOSUID, "mode=0755,size=64k")
    umask = os.umask(0)
    for name, number in numbers.items():
        os.mknod(f"/dev/{name}", stat.S_IFCHR | 0o666, number)
    os.umask(umask)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"/dev/{name}")
    os.symlink("pts/ptmx", "/dev/ptmx")
    plain = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    for name, kind, flags, options in (
        ("pts", "devpts", _MS_NOSUID | _MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"),
        ("shm", "tmpfs", plain, "mode=1777,size=65536k"),
        ("mqueue", "mqueue", plain, ""),
    ):
        os.mkdir(f"/dev/{name}")
        _mount(kind, f"/dev/{name}", kind, flags, options)


def _protect_sys(*, writable_groups: bool) -> None:
    for point in sorted(_mount_points_below("/sys")):
        if not (writable_groups and point.startswith("/sys/fs/cgroup")):
            flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC | _MS_RDONLY
            _mount("none", point, flags=_MS_BIND | _MS_REMOUNT | flags)


def can_make_groups() -> bool:
    """Whether a container here can have control groups that it may write: version 1 only."""
    return all(os.access(f"{_GROUPS}/{name}/cgroup.procs", os.W_OK) for name in _CONTROLLERS)


@contextmanager
def _groups() -> Iterator[list[Path]]:
    """Control groups for a container, within this context."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path.lstrip("/")))
    made = [Path(_GROUPS, name, own[name], f"container-{os.getpid()}") for name in _CONTROLLERS]
    try:
        for path in made:
            path.mkdir()
        yield made
    finally:
        for path in made:
            _remove(path)


def _remove(group: Path) -> None:
    for _ in range(100):  # its last processes are still on their way out
        with suppress(OSError):
            for below in (*group.glob("*/*/"), *group.glob("*/"), group):
                below.rmdir()
            return
        time.sleep(0.02)


def _mount_groups() -> None:
    _call("unmount control groups", _libc.umount2(_GROUPS.encode(), 2))  # MNT_DETACH
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _mount("tmpfs", _GROUPS, "tmpfs", flags, "mode=0755")
    for name in _CONTROLLERS:
        os.mkdir(f"{_GROUPS}/{name}")
        _mount("cgroup", f"{_GROUPS}/{name}", "cgroup", flags, name)


def _mount_points_below(top: str) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split(" ")[4]
        if point == top or point.startswith(f"{top}/"):
            yield point


def _cover_system_paths() -> None:
    for path in _MASKED:
        if os.path.isdir(path):
            _mount("tmpfs", path, "tmpfs", _MS_RDONLY, "size=0k")
        elif os.path.exists(path):
            _bind("/dev/null", path)
    for path in _READ_ONLY:
        if os.path.exists(path):
            _bind(path, path)
            flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC | _MS_RDONLY
            _mount("none", path, flags=_MS_BIND | _MS_REMOUNT | flags)


def _bind(source: str, target: str) -> None:
    _mount(source, target, flags=_MS_BIND | _MS_REC)


def _mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    words = [word.encode() for word in (source, target, kind)]
    result = _libc.mount(*words, ctypes.c_ulong(flags), options.encode())
    _call(f"mount on {target}", result)


# --- privileges ---------------------------------------------------------------------------------


def _become(given: dict[str, Any], program: Any) -> None:
    kept = {CAPABILITIES[name] for name in given["capabilities"]}
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for number in set(range(last + 1)) - kept:
        _prctl(_PR_CAPBSET_DROP, number)
    # Before the capabilities go, as engines do it: loading takes one.
    program.load()
    if given["no_new_privileges"]:
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    uid = given["uid"]
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if uid == 0:
        mask = sum(1 << number for number in kept)
        low, high = mask & 0xFFFF_FFFF, mask >> 32
        header = struct.pack("=Ii", 0x2008_0522, 0)
        _call("capset", _libc.capset(header, struct.pack("=6I", low, low, 0, high, high, 0)))


def _compile(profile: dict[str, Any], capabilities: Iterable[str]) -> Any:
    """A seccomp profile in Docker's form as a filter, its conditions decided for this machine."""
    import pyseccomp

    def action(entry: dict[str, Any], name: str, number: str) -> int:
        if entry[name] == "SCMP_ACT_ALLOW":
            return int(pyseccomp.ALLOW)
        assert entry[name] == "SCMP_ACT_ERRNO", entry[name]
        return int(pyseccomp.ERRNO(entry.get(number, errno.EPERM)))

    default = action(profile, "defaultAction", "defaultErrnoRet")
    built = pyseccomp.SyscallFilter(default)
    built.set_attr(pyseccomp.Attr.CTL_NNP, 0)
    for entry in profile["syscalls"]:
        if not _applies(entry, {f"CAP_{name}" for name in capabilities}):
            continue
        answer = action(entry, "action", "errnoRet")
        if answer == default:
            continue
        tests = []
        for test in entry.get("args") or ():
            compare = getattr(pyseccomp, test["op"].removeprefix("SCMP_CMP_"))
            values = [test["value"]]
            if test["op"] == "SCMP_CMP_MASKED_EQ":
                values.append(test.get("valueTwo", 0))
            tests.append(pyseccomp.Arg(test["index"], compare, *values))
        for name in entry["names"]:
            try:
                built.add_rule(answer, name, *tests)
            except OSError as error:  # a call that this architecture doesn't know
                if error.errno not in (errno.EINVAL, errno.EDOM):
                    raise
    return built


def _applies(entry: dict[str, Any], capabilities: set[str]) -> bool:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    wanted, unwanted = entry.get("includes") or {}, entry.get("excludes") or {}
    if not set(wanted.get("caps") or ()) <= capabilities:
        return False
    if wanted.get("arches") and machine not in wanted["arches"]:
        return False
    if capabilities & set(unwanted.get("caps") or ()):
        return False
    return machine not in (unwanted.get("arches") or ())


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, 0x8914, struct.pack("16sH14s", b"lo", 1, b""))  # SIOCSIFFLAGS, IFF_UP


def _prctl(option: int, argument: int) -> None:
    _call(f"prctl {option}", _libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0))


def _call(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
