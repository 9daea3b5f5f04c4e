"""The seccomp filters as they are compiled; what they do to a kernel is tested by attacks."""

import base64
import errno
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pyseccomp
import pytest

from interpreter.hosts import seccomp
from interpreter.hosts.seccomp import build_filters

ROOT = Path(__file__).resolve().parents[2]

_TABLES = {
    name: value
    for name, value in vars(seccomp).items()
    if name.startswith("_") and name.isupper() and isinstance(value, str)
}
#: Newer than the libseccomp of some systems, or of one architecture only.
_MAY_BE_UNKNOWN = {"mseal", "cachestat", "fchmodat2", "futex_wait", "futex_wake", "futex_requeue"}
_MAY_BE_UNKNOWN |= {"quotactl_fd", "process_mrelease", "mount_setattr"}


def _names(*tables: str) -> set[str]:
    return {name for table in tables for name in _TABLES[table].split()}


def _resolves(name: str) -> bool:
    try:
        number: int = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    except (OSError, ValueError):
        return False
    return number >= 0


def test_every_name_in_the_tables_is_a_system_call() -> None:
    assert len(_names(*_TABLES)) > 300
    unknown = {name for name in _names(*_TABLES) if not _resolves(name)}
    assert unknown <= _MAY_BE_UNKNOWN


def test_no_call_is_both_allowed_and_refused() -> None:
    allowed = set(_TABLES) - {"_REFUSED", "_IGNORED"}
    assert not _names(*allowed) & _names("_REFUSED", "_IGNORED")


#: A process of its own: a fork of this one, which has threads, could do nothing safely.
_CONFINED = """
import base64, ctypes, json, sys
root, programs, number, arguments = json.loads(sys.argv[1])
sys.path.insert(0, root)
from kernel_startup import confine
libc = ctypes.CDLL(None, use_errno=True)
confine.drop_capabilities()
confine.load_filters([base64.b64decode(program) for program in programs])
result = libc.syscall(number, *(ctypes.c_ulong(value) for value in arguments))
sys.exit(ctypes.get_errno() if result < 0 else 0)
"""


def _call(number: int, arguments: tuple[int, ...], **options: bool) -> int:
    """The exit status of a process that makes a call behind the filters: 0, or the errno."""
    given = {"own_network": True, "own_processes": True, "own_user": True, "counted": True}
    programs = build_filters(**{**given, **options})
    encoded = [base64.b64encode(program).decode() for program in programs]
    argument = json.dumps([str(ROOT), encoded, number, arguments])
    command = [sys.executable, "-I", "-S", "-c", _CONFINED, argument]
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode


def _confined(call: str, *arguments: int, **options: bool) -> int:
    number: int = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, call)
    return _call(number, arguments, **options)


@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        ("getpid", (), 0),
        ("unshare", (0x10000000,), errno.EPERM),
        ("bpf", (0, 0, 0), errno.EPERM),
        ("io_uring_setup", (1, 0), errno.ENOSYS),
        ("userfaultfd", (0,), errno.ENOSYS),
        ("clone3", (0, 0), errno.ENOSYS),
        ("sync", (), 0),
        ("socket", (1, 1, 0), 0),
        ("socket", (2, 1, 0), 0),
        ("socket", (2, 2, 0), 0),
        ("socket", (2, 3, 1), errno.EPERM),
        ("socket", (2, 10, 0), errno.EPERM),
        ("socket", (16, 3, 0), 0),
        ("socket", (16, 3, 9), errno.EPERM),
        ("socket", (17, 3, 0), errno.EAFNOSUPPORT),
        ("socket", (38, 5, 0), errno.EAFNOSUPPORT),
        ("personality", (0xFFFFFFFF,), 0),
        ("personality", (0x0040000,), errno.ENOSYS),
        ("prctl", (4, 1), errno.EPERM),
        ("clone", (0x10000000 | 17, 0, 0, 0, 0), errno.EPERM),
        ("clone", (0x20000000 | 17, 0, 0, 0, 0), errno.EPERM),
        ("prlimit64", (0, 7, 0, 0), 0),
        ("prlimit64", (1, 7, 0, 0), errno.EPERM),
        ("setpriority", (0, 0, 19), 0),
        ("setpriority", (0, 1, 0), errno.EPERM),
        ("setpriority", (1, 0, 19), errno.EPERM),
        ("setpriority", (2, 0, 19), errno.EPERM),
        ("ioprio_set", (1, 0, 0), 0),
        ("ioprio_set", (1, 1, 0), errno.EPERM),
        ("ioprio_set", (2, 0, 0), errno.EPERM),
        ("ioprio_set", (3, 0, 0), errno.EPERM),
        ("sched_setaffinity", (1, 0, 0), errno.EPERM),
        ("sched_setattr", (1, 0, 0), errno.EPERM),
        ("sched_setparam", (1, 0), errno.EPERM),
        ("sched_setscheduler", (1, 0, 0), errno.EPERM),
        ("ioctl", (0, 0x40305828, 0), errno.EOPNOTSUPP),
        ("ioctl", (0, 0x4030582A, 0), errno.EOPNOTSUPP),
        ("ioctl", (0, 0x40305839, 0), errno.EOPNOTSUPP),
    ],
)
def test_call_meets_the_answer_meant_for_it(
    call: str, arguments: tuple[int, ...], expected: int
) -> None:
    assert _confined(call, *arguments) == expected


@pytest.mark.parametrize("high", [1 << 32, 1 << 63])
def test_the_upper_half_of_an_argument_hides_nothing(high: int) -> None:
    """The system drops it, so that a filter which compares all 64 bits would be passed by."""
    assert _confined("socket", high | 17, 3, 0) == errno.EAFNOSUPPORT
    assert _confined("socket", 2, high | 3, 0) == errno.EPERM
    assert _confined("ioctl", 0, high | 0x5412, 0) == errno.EPERM
    assert _confined("prctl", high | 22, 2, 0) == errno.EPERM
    assert _confined("prlimit64", high | 1, 7, 0, 0) == errno.EPERM
    assert _confined("setpriority", high, high | 1, 0) == errno.EPERM
    assert _confined("ioctl", 0, high | 0x4030582A, 0) == errno.EOPNOTSUPP


@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        ("socket", (1, 1, 0), 0),
        ("socket", (1, 2, 0), errno.EPERM),
        ("socket", (2, 1, 0), errno.EAFNOSUPPORT),
        ("socket", (10, 1, 0), errno.EAFNOSUPPORT),
        ("socket", (16, 3, 0), errno.EOPNOTSUPP),
        ("connect", (0, 0, 0), errno.EACCES),
        ("prlimit64", (0, 7, 0, 0), 0),
        ("prlimit64", (1, 7, 0, 0), errno.EPERM),
        ("setpriority", (0, 0, 19), 0),
        ("setpriority", (2, 0, 19), errno.EPERM),
        ("setpriority", (0, 1, 19), errno.EPERM),
        ("ioprio_set", (3, 0, 0), errno.EPERM),
        ("shmget", (0, 4096, 0o1600), errno.ENOSYS),
        ("memfd_create", (0, 0), errno.ENOSYS),
        ("chmod", (0, 0), 0),
        ("inotify_add_watch", (0, 0, 0), errno.ENOSYS),
    ],
)
def test_without_namespaces_more_is_refused(
    call: str, arguments: tuple[int, ...], expected: int
) -> None:
    without = {"own_network": False, "own_processes": False, "own_user": False, "counted": False}
    assert _confined(call, *arguments, **without) == expected


def test_another_architectures_calls_end_the_process() -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("only x86-64 has the x32 numbers")
    number_of_getpid_for_x32 = 0x40000000 + 39
    assert _call(number_of_getpid_for_x32, ()) == -signal.SIGSYS


def test_programs_are_whole_instructions() -> None:
    for options in ((True, True, True, True), (False, False, False, False)):
        names = ("own_network", "own_processes", "own_user", "counted")
        for program in build_filters(**dict(zip(names, options, strict=True))):
            assert len(program) % struct.calcsize("HBBI") == 0
            assert 8 < len(program) < 4096 * 8  # BPF_MAXINSNS
