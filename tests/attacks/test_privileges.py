"""Attacks on the system's own interface: no privilege, no namespace, no call that could give one."""

# ruff: noqa: E501 - lines of hostile code are left whole

from pathlib import Path

import pytest

from interpreter import Session
from tests.attacks.conftest import Arena
from tests.attacks.hostile import CALL, IN_CHILD

REFUSALS = {"EPERM", "ENOSYS", "EACCES", "EAFNOSUPPORT"}

STATUS = r'''
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
def own():
    """Of the thread that asks: its capabilities, no-new-privs, seccomp's mode."""
    sets = ctypes.create_string_buffer(24)
    assert libc.capget(struct.pack("=Ii", 0x20080522, 0), sets) == 0
    bounding = sum(libc.prctl(23, n, 0, 0, 0) == 1 for n in range(64))
    ambient = sum(libc.prctl(47, 1, n, 0, 0) == 1 for n in range(64))
    return (any(sets.raw), bounding, ambient, libc.prctl(39, 0, 0, 0, 0), libc.prctl(21, 0, 0, 0, 0))
'''
CONFINED = "(False, {bounding}, 0, 1, 2)"


def _told(lines: list[str]) -> str:
    fields = dict(line.split(":", 1) for line in lines)
    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    return " ".join(fields[name].strip().lstrip("0") or "0" for name in names)


def _bounding_set(arena: Arena) -> int:
    """What the kernels' bounding set is to be: nothing, where the service may take it away.

    A service that is no root and has no namespaces may not; no-new-privs has to do then.
    """
    if arena.backend == "namespaces" or arena.own_users:
        return 0
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["CapBnd"], 16)


async def test_every_thread_and_child_is_without_capabilities_and_filtered(
    arena: Arena, attacker: Session
) -> None:
    result = await arena.attack(
        attacker,
        STATUS + IN_CHILD + "import multiprocessing, subprocess, sys, threading\n"
        "kernel, kept = get_ipython().kernel, []\n"
        "print('cell', own())\n"
        "thread = threading.Thread(target=lambda: kept.append(own())); thread.start(); thread.join()\n"
        "for name in ('control_thread',):\n"  # the only one beside the main one and libzmq's
        "    loop = getattr(kernel, name).io_loop\n"
        "    loop = getattr(loop, 'asyncio_loop', loop)\n"
        "    done = threading.Event()\n"
        "    loop.call_soon_threadsafe(\n"
        "        lambda: (kept.append(threading.current_thread().name), kept.append(own()), done.set()))\n"
        "    assert done.wait(10), name\n"
        "print('helper threads', *kept)\n"
        "print('child', in_child(own))\n"
        f"program = {STATUS!r} + 'print(own())'\n"
        "print('program', subprocess.run([sys.executable, '-c', program], capture_output=True, text=True).stdout)\n"
        f"if {arena.shared_memory}:\n"  # pools need a lock in it
        "  with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "    print('spawned', pool.apply(eval, (f'exec({program!r}.replace(\"print(own())\", \"\"), globals()) or own()',)))\n",
    )
    assert result.status == "ok", result.text
    bounding = _bounding_set(arena)
    confined = CONFINED.format(bounding=bounding.bit_count())
    assert [line for line in result.text.splitlines() if line] == [
        f"cell {confined}",
        f"helper threads {confined} Control {confined}",
        f"child {confined}",
        f"program {confined}",
        *([f"spawned {confined}"] if arena.shared_memory else []),
    ]
    # As the host sees it, with the threads that no code of the user's runs on.
    tasks = Path(f"/proc/{arena.pid_of(attacker)}/task").iterdir()
    seen = [_told((task / "status").read_text().splitlines()) for task in tasks]
    assert len(seen) >= 4
    assert set(seen) == {f"0 0 0 {bounding:x} 0 1 2"}


async def test_capabilities_cannot_be_taken_back(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(
        attacker,
        CALL + "import struct\n"
        "header = struct.pack('=Ii', 0x20080522, 0)\n"
        "print('capset', _libc.capset(header, struct.pack('=6I', *[0xffffffff] * 6)))\n"
        "print('ambient', _libc.prctl(47, 2, 21, 0, 0))\n"
        "print('new privileges', _libc.prctl(38, 0, 0, 0, 0))\n"
        "for change in (os.setuid, os.setgid, os.seteuid, os.setegid):\n"
        "    try:\n        change(0); print('became 0', change)\n"
        "    except OSError:\n        pass\n"
        "try:\n    os.setgroups([0]); print('joined 0')\n"
        "except OSError:\n    pass\n"
        "print(os.getresuid() == (os.getuid(),) * 3, 0 in os.getresuid(), 0 in os.getgroups())\n",
    )
    assert result.text == "capset -1\nambient -1\nnew privileges -1\nTrue False False\n"


NAMESPACES = r"""
import struct
flags = dict(mnt=0x20000, cgroup=0x2000000, uts=0x4000000, ipc=0x8000000, user=0x10000000,
             pid=0x20000000, net=0x40000000, time=0x80)
def with_clone(flag):
    pid = raw(NUMBERS["clone"], flag | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    if pid > 0:
        os.waitpid(pid, 0)
    return outcome(pid)
def with_clone3(flag):
    arguments = ctypes.create_string_buffer(struct.pack("=8Q", flag, 0, 0, 0, 17, 0, 0, 0), 64)
    pid = raw(NUMBERS["clone3"], arguments, 64)
    if pid == 0:
        os._exit(0)
    if pid > 0:
        os.waitpid(pid, 0)
    return outcome(pid)
for name, flag in flags.items():
    print("unshare", name, in_child(lambda: call("unshare", flag)))
    if name != "time":
        print("clone", name, with_clone(flag))
        print("clone with user", name, with_clone(flag | flags["user"]))
    print("clone3", name, with_clone3(flag))
    print("clone3 with user", name, with_clone3(flag | flags["user"]))
for pid in ("self", "1"):
    for name in ("mnt", "user", "pid", "net", "ipc", "uts", "cgroup"):
        try:
            descriptor = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY)
        except OSError:
            continue
        print("setns", name, in_child(lambda: call("setns", descriptor, 0)))
        os.close(descriptor)
print("setns by pid", in_child(lambda: call("setns", os.pidfd_open(os.getpid()), 0x20000)))
"""


async def test_no_namespace_can_be_made_or_entered(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(attacker, CALL + IN_CHILD + NAMESPACES)
    assert result.status == "ok", result.text
    lines = result.text.splitlines()
    assert len(lines) > 35, result.text
    assert [line for line in lines if line.split()[-1] not in REFUSALS] == []


CALLS = r"""
tmp = tempfile.mkdtemp().encode()
own = os.getpid()
def in_memory(text): return ctypes.create_string_buffer(text)
buffer = ctypes.create_string_buffer(4096)
attempts = dict(
    mount=("mount", b"none", tmp, b"tmpfs", 0, None),
    bind=("mount", b"/", tmp, None, 4096, None),
    remount=("mount", b"none", b"/", None, 32 | 4096, None),
    umount2=("umount2", b"/proc", 2),
    pivot_root=("pivot_root", tmp, tmp),
    chroot=("chroot", tmp),
    move_mount=("move_mount", -100, tmp, -100, tmp, 0),
    open_tree=("open_tree", -100, b"/", 1),
    open_tree_attr=("open_tree_attr", -100, b"/", 1, buffer, 0),
    fsopen=("fsopen", b"tmpfs", 0),
    fspick=("fspick", -100, b"/", 0),
    mount_setattr=("mount_setattr", -100, b"/", 0, buffer, 32),
    ptrace_me=("ptrace", 0, 0, 0, 0),
    ptrace_attach=("ptrace", 16, os.getppid(), 0, 0),
    ptrace_seize=("ptrace", 0x4206, os.getppid(), 0, 0),
    process_vm_readv=("process_vm_readv", own, buffer, 0, buffer, 0, 0),
    process_vm_writev=("process_vm_writev", own, buffer, 0, buffer, 0, 0),
    kcmp=("kcmp", own, own, 0, 1, 2),
    pidfd_getfd=("pidfd_getfd", os.pidfd_open(own), 1, 0),
    process_madvise=("process_madvise", os.pidfd_open(own), buffer, 0, 4, 0),
    bpf=("bpf", 0, in_memory(b"\x02\0\0\0\x04\0\0\0\x04\0\0\0\x01\0\0\0"), 16),
    add_key=("add_key", b"user", b"planted", b"x", 1, -3),
    request_key=("request_key", b"user", b"planted", None, -3),
    keyctl=("keyctl", 0, -3, 1),
    io_uring_setup=("io_uring_setup", 1, ctypes.create_string_buffer(120)),
    userfaultfd=("userfaultfd", 1),
    perf_event_open=("perf_event_open", in_memory(b"\x01\0\0\0\x80" + bytes(123)), 0, -1, -1, 0),
    kexec_load=("kexec_load", 0, 0, None, 0),
    kexec_file_load=("kexec_file_load", -1, -1, 0, b"", 0),
    init_module=("init_module", buffer, 0, b""),
    finit_module=("finit_module", 0, b"", 0),
    delete_module=("delete_module", b"nosuchmodule", 0),
    iopl=("iopl", 3),
    ioperm=("ioperm", 0x80, 1, 1),
    swapon=("swapon", b"/nowhere", 0),
    swapoff=("swapoff", b"/nowhere"),
    reboot=("reboot", 0, 0, 0),
    settimeofday=("settimeofday", None, None),
    clock_settime=("clock_settime", 0, in_memory(struct.pack("=qq", int(time.time()), 0))),
    adjtimex=("adjtimex", in_memory(struct.pack("=I84xq", 0x4000, 10000) + bytes(128))),
    clock_adjtime=("clock_adjtime", 0, in_memory(struct.pack("=I84xq", 0x4000, 10000) + bytes(128))),
    sethostname=("sethostname", b"planted", 7),
    setdomainname=("setdomainname", b"planted", 7),
    acct=("acct", None),
    quotactl=("quotactl", 0x80000700, b"/dev/vda", 0, buffer),
    quotactl_fd=("quotactl_fd", 0, 0x80000700, 0, buffer),
    syslog=("syslog", 3, buffer, 4096),
    lookup_dcookie=("lookup_dcookie", 1, buffer, 4096),
    name_to_handle_at=("name_to_handle_at", -100, b"/", in_memory(struct.pack("=Ii", 128, 0) + bytes(128)),
                       ctypes.create_string_buffer(8), 0),
    open_by_handle_at=("open_by_handle_at", -100, in_memory(struct.pack("=Ii8s", 8, 1, b"\x02\0\0\0\0\0\0\0")), 0),
    personality=("personality", 0x0040000),
    move_pages=("move_pages", os.getppid(), 0, None, None, None, 0),
    migrate_pages=("migrate_pages", os.getppid(), 0, None, None),
    fanotify_init=("fanotify_init", 0, 0),
    memfd_secret=("memfd_secret", 0),
    process_mrelease=("process_mrelease", os.pidfd_open(own), 0),
    vhangup=("vhangup",),
    seccomp=("seccomp", 1, 0, in_memory(struct.pack("=HxxxxxxQ", 0, 0))),
    not_dumpable=("prctl", 4, 0, 0, 0, 0),
    seccomp_by_prctl=("prctl", 22, 0, 0, 0, 0),
    prctl_mm=("prctl", 35, 1, 0, 0, 0),
    dispatch=("prctl", 59, 1, 0, 1 << 46, 0),
    core_scheduling=("prctl", 62, 1, 0, 0, 0),
)
for name, (what, *arguments) in attempts.items():
    print(name, in_child(lambda: call(what, *arguments)))
os.rmdir(tmp)
"""


async def test_calls_that_could_give_power_are_refused(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(
        attacker, CALL + IN_CHILD + "import struct, tempfile, time\n" + CALLS
    )
    assert result.status == "ok", result.text
    lines = result.text.splitlines()
    assert len(lines) > 60, result.text
    assert [line for line in lines if line.split()[-1] not in REFUSALS] == []


SOCKETS = r"""
import socket, threading
AF = dict(packet=17, raw=2, raw6=10, alg=38, vsock=40, key=15, bluetooth=31, can=29, tipc=30,
          rds=21, kcm=41, xdp=44, qipcrtr=42, smc=43, phonet=35, caif=37, nfc=39, llc=26, x25=9,
          ax25=3, ipx=4, appletalk=5, ieee802154=36, mctp=45)
RAW_TYPES = dict(raw=3, raw6=3, packet=3, alg=5, can=3, key=3, bluetooth=3)
def make(family, kind, protocol=0):
    try:
        socket.socket(family, kind, protocol).close()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
def all_of_them():
    for name, number in AF.items():
        kinds = (RAW_TYPES[name],) if name.startswith("raw") else (1, 2, 3, 5)
        for kind in kinds:
            for protocol in ((1, 6, 255) if name.startswith("raw") else (0, 2)):
                yield f"{name} {kind} {protocol} {make(number, kind, protocol)}"
    yield f"ping {make(2, 2, 1)}"
    for protocol in range(1, 23):  # 0 is the one of routes
        yield f"netlink {protocol} {make(16, 3, protocol)}"
    for high in (1 << 8, 1 << 16, 1 << 31):
        yield f"high bits {high:#x} {outcome(raw(NUMBERS['socket'], 17 | high, 3, 0))}"
    yield f"high word {outcome(raw(NUMBERS['socket'], (1 << 32) | 17, 3, 0))}"
    yield f"flags {outcome(raw(NUMBERS['socket'], 17, 3 | 0o2000000, 0))}"
seen = list(all_of_them())
other = []
thread = threading.Thread(target=lambda: other.extend(all_of_them())); thread.start(); thread.join()
print(len(seen), seen == other)
for line in seen:
    print(line)
"""
SOCKET_REFUSALS = {*REFUSALS, "ENOTSUP", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT"}


async def test_raw_and_unusual_sockets_are_refused(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(attacker, CALL + SOCKETS)
    assert result.status == "ok", result.text
    first, *lines = result.text.splitlines()
    assert first == f"{len(lines)} True"
    assert len(lines) > 150
    assert [line for line in lines if line.split()[-1] not in SOCKET_REFUSALS] == []


TERMINAL = r"""
import fcntl, struct, termios
def into_terminal():
    leader, follower = os.openpty()
    os.setsid()
    fcntl.ioctl(follower, termios.TIOCSCTTY, 0)
    said = []
    for request, argument in ((0x5412, b"x"), (0x541C, b"\x0a" + bytes(7)), (0x541D, 0),
                              ((1 << 32) | 0x5412, b"x")):
        held = ctypes.create_string_buffer(argument, 8) if isinstance(argument, bytes) else 0
        said.append(outcome(_libc.ioctl(follower, ctypes.c_ulong(request), held)))
    return " ".join(said)
print(in_child(into_terminal))
"""


async def test_no_words_are_put_into_a_terminal(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(attacker, CALL + IN_CHILD + TERMINAL)
    if arena.backend != "namespaces" and "EPERM" not in result.text:
        assert "Error" in result.text  # there are no terminals at all
        return
    assert result.text == "EPERM EPERM EPERM EPERM\n"


OTHER_TABLES = r"""
import mmap, platform
def by_page(code):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)()
if platform.machine() == "x86_64":
    # mov eax, number; mov ebx, flags; int 0x80; ret  (with rbx kept)
    def old(number, argument):
        code = b"\x53\xb8" + number.to_bytes(4, "little") + b"\xbb" + argument.to_bytes(4, "little")
        return by_page(code + b"\xcd\x80\x5b\xc3")
    print("32 bits, getpid", in_child(lambda: old(20, 0) > 0))
    print("32 bits, unshare", in_child(lambda: old(310, 0x10000000) == 0))
    print("32 bits, socketcall", in_child(lambda: old(102, 1) >= 0))
    x32 = 0x40000000
    for name, number in dict(unshare=272, ptrace=521, mount=165, getpid=39, io_uring=425).items():
        flag = 0x10000000 if name == "unshare" else 0
        print("x32", name, in_child(lambda: raw(x32 | number, flag, 0, 0, 0, 0) >= 0))
print("no such call", in_child(lambda: outcome(raw(1 << 20))))
print("negative", in_child(lambda: outcome(raw(-2))))
"""


async def test_other_tables_of_system_calls_do_not_get_round_the_filter(
    arena: Arena, attacker: Session
) -> None:
    result = await arena.attack(attacker, CALL + IN_CHILD + OTHER_TABLES)
    assert result.status == "ok", result.text
    lines = result.text.splitlines()
    assert len(lines) >= 2
    assert [line for line in lines if line.endswith(("True", "done"))] == []


async def test_programs_with_the_setuid_bit_gain_nothing(arena: Arena, attacker: Session) -> None:
    code = r"""
import os, shutil, stat, subprocess, tempfile
def say(command, **options):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20,
                              stdin=subprocess.DEVNULL, **options)
    except OSError as error:
        return f"not run: {error.strerror}"
    return f"{done.returncode != 0} uid 0: {'uid=0' in done.stdout}"
found = 0
for top in ("/usr/bin", "/usr/sbin", "/bin", "/usr/lib"):
    for folder, _, names in os.walk(top):
        for name in names:
            try:
                mode = os.lstat(os.path.join(folder, name)).st_mode
            except OSError:
                continue
            found += bool(stat.S_ISREG(mode) and mode & 0o6000)
print("setuid programs", found > 0)
for command in (["su", "-c", "id"], ["mount", "-t", "tmpfs", "none", "/tmp"], ["umount", "/proc"],
                ["passwd", "-d", "root"], ["newgrp", "root"], ["chsh", "-s", "/bin/sh", "root"],
                ["newuidmap", "1", "0", "0", "1"], ["ping", "-c", "1", "127.0.0.1"],
                ["sudo", "-n", "id"], ["pkexec", "id"], ["chfn", "-f", "x", "root"]):
    if shutil.which(command[0]):
        print(command[0], say(command))
own = os.path.join(os.getcwd(), "own-id")
os.umask(0)
with open(os.open(own, os.O_CREAT | os.O_WRONLY, 0o6755), "wb") as copy:
    copy.write(open(shutil.which("id"), "rb").read())
os.chmod(own, 0o6755)
done = subprocess.run([own], capture_output=True, text=True)
print("own program", "uid=0" in done.stdout, "euid=" in done.stdout, done.returncode)
os.unlink(own)
"""
    result = await arena.attack(attacker, code)
    assert result.status == "ok", result.text
    first, *lines = result.text.splitlines()
    assert first == "setuid programs True"
    assert lines.pop() == "own program False False 0"
    assert lines
    assert [line for line in lines if not line.endswith("True uid 0: False")] == []


@pytest.mark.parametrize(
    ("way", "code"),
    [
        ("writing to its own memory", "os.pwrite(os.open('/proc/self/mem', os.O_RDWR), b'x', 0)"),
        ("its init's memory", "os.open('/proc/1/mem', os.O_RDONLY)"),
        ("its init's memory for writing", "os.open('/proc/1/mem', os.O_RDWR)"),
        ("a map of users", "os.write(os.open('/proc/self/uid_map', os.O_WRONLY), b'0 0 1')"),
        ("groups", "os.write(os.open('/proc/self/setgroups', os.O_WRONLY), b'allow')"),
        ("namespaces for all", "os.open('/proc/sys/user/max_user_namespaces', os.O_WRONLY)"),
        ("core pattern", "os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY)"),
        ("system request", "os.write(os.open('/proc/sysrq-trigger', os.O_WRONLY), b'h')"),
        ("its init's ns", "os.open('/proc/1/ns/mnt', os.O_RDONLY)"),
    ],
)
async def test_proc_is_no_way_up(arena: Arena, attacker: Session, way: str, code: str) -> None:
    result = await arena.attack(
        attacker,
        f"import os\ntry:\n    {code}\n    print('done')\nexcept OSError as e:\n    print(e.errno)",
    )
    assert result.text.strip().isdigit(), f"{way}: {result.text}"
