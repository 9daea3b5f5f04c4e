"""Attacks on other users' kernels and on the service, through whatever the system shares."""

# ruff: noqa: E501 - lines of hostile code are left whole

import ast
import asyncio
import ctypes
import os
import secrets
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from interpreter import Session
from tests.attacks.conftest import Arena
from tests.attacks.hostile import ATTEMPT, CALL, IN_CHILD

_libc = ctypes.CDLL(None, use_errno=True)


def _ancestors(pid: int) -> list[int]:
    """The processes above one: its init, the fork server, bubblewrap, the service."""
    found = []
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(pid)
    return [pid for pid in found if pid > 1]


def _scheduling(pid: int) -> tuple[object, ...]:
    """What others could change about a process, as the host sees it."""
    limits = Path(f"/proc/{pid}/limits").read_text()
    io = _libc.syscall(252 if os.uname().machine == "x86_64" else 31, 1, pid)
    return (
        os.getpriority(os.PRIO_PROCESS, pid),
        os.sched_getaffinity(pid),
        os.sched_getscheduler(pid),
        io,
        limits,
        Path(f"/proc/{pid}/oom_score_adj").read_text(),
    )


KILL_ALL = "import os\ntry:\n    os.kill(-1, 9)\nexcept OSError:\n    pass\n"
SIGNALS = r"""
import ctypes, fcntl, signal, socket
quiet = signal.SIGURG  # ignored by whoever doesn't expect it
signal.signal(quiet, signal.SIG_IGN)
own = {os.getpid(), os.getppid(), 1}
if attempt(os.listdir, "/proc/self/task") == "done":
    own |= {*map(int, os.listdir("/proc/self/task"))}
reached = set()
for pid in pids:
    if pid in own:
        continue
    if attempt(os.kill, pid, 0) == "done": reached.add(("kill 0", pid))
    if attempt(os.kill, pid, quiet) == "done": reached.add(("kill", pid))
    if attempt(os.killpg, pid, quiet) == "done": reached.add(("killpg", pid))
    if call("pidfd_open", pid, 0) == "done": reached.add(("pidfd", pid))
    try:
        descriptor = os.pidfd_open(pid)
        signal.pidfd_send_signal(descriptor, quiet)
        reached.add(("signal by pidfd", pid))
    except OSError:
        pass
    info = ctypes.create_string_buffer(128)
    ctypes.memmove(info, quiet.to_bytes(4, "little") + bytes(4) + (-1).to_bytes(4, "little", signed=True), 12)
    if outcome(_libc.sigqueue(pid, int(quiet), None)) == "done": reached.add(("sigqueue", pid))
    a, b = socket.socketpair()
    try:
        fcntl.fcntl(a, fcntl.F_SETOWN, pid)
        fcntl.fcntl(a, fcntl.F_SETSIG, int(quiet))
        fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        b.send(b"x")
    except OSError:
        pass
    a.close(); b.close()
print(attempt(os.kill, -1, quiet), sorted(reached))
"""


async def test_no_signal_reaches_others(arena: Arena, attacker: Session) -> None:
    # Without namespaces a descriptor of any process can be had, and does nothing.
    harmless = set() if arena.backend == "namespaces" else {"pidfd"}
    await arena.bystander.execute(
        "import signal; got = []\nsignal.signal(signal.SIGURG, lambda *_: got.append(1));"
    )
    service_got: list[int] = []
    before = signal.signal(signal.SIGURG, lambda *_: service_got.append(1))
    bystander = arena.pid_of(arena.bystander)
    every = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    try:
        result = await arena.attack(
            attacker,
            CALL + ATTEMPT + f"pids = {[bystander, *_ancestors(bystander), *every]}\n" + SIGNALS,
        )
    finally:
        signal.signal(signal.SIGURG, before)
    assert result.status == "ok", result.text
    # The attacker's own number inside may be a small one of the host's.
    said, _, reached = result.text.partition(" ")
    assert said in ("done", "EPERM", "ESRCH")
    assert [entry for entry in ast.literal_eval(reached) if entry[0] not in harmless] == []
    assert service_got == []
    assert (await arena.bystander.execute("got")).text == "[]"


async def test_kill_of_everything_ends_only_the_attackers_own(
    arena: Arena, attacker: Session
) -> None:
    pids = [arena.pid_of(arena.bystander), *_ancestors(arena.pid_of(arena.bystander))]
    result = await arena.attack(
        attacker,
        ATTEMPT + f"import signal\npids = {pids}\n"
        "children = [os.fork() for _ in range(1)]\n"
        "if 0 in children:\n    import time; time.sleep(60); os._exit(0)\n"
        "for pid in pids:\n"
        "    if pid not in (os.getpid(), os.getppid(), 1, *children): print(attempt(os.kill, pid, signal.SIGKILL))\n"
        "print(attempt(os.kill, 1, signal.SIGKILL))\n"
        "os.kill(children[0], 9); print(os.waitpid(children[0], 0)[1])\n",
    )
    assert result.status == "ok", result.text
    lines = result.text.splitlines()
    assert lines.pop() == "9"
    lines = [line for line in lines if line != "done"]  # init of a pid namespace ignores it
    assert set(lines) <= {"ESRCH", "EPERM"}
    assert lines
    everything = await arena.attack(attacker, f"{KILL_ALL}os.kill(os.getpid(), 9)")
    assert everything.status == "died"


TRACE = r"""
readings = []
for pid in pids:
    if pid in (os.getpid(), os.getppid(), 1):
        continue
    here = (ctypes.c_char * 64)()
    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
    local = Vector(ctypes.addressof(here), 64)
    remote = Vector(address, 64)
    readings += [
        ("attach", in_child(lambda: call("ptrace", 16, pid, 0, 0))),
        ("seize", in_child(lambda: call("ptrace", 0x4206, pid, 0, 0))),
        ("read memory", outcome(_libc.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0))),
        ("write memory", outcome(_libc.process_vm_writev(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0))),
        ("compare", call("kcmp", os.getpid(), pid, 0, 0, 0)),
        ("open memory", attempt(open, f"/proc/{pid}/mem", "rb")),
        ("open maps", attempt(open, f"/proc/{pid}/maps")),
        ("environment", attempt(open, f"/proc/{pid}/environ")),
        ("descriptors", attempt(os.listdir, f"/proc/{pid}/fd")),
        ("descriptor", attempt(os.open, f"/proc/{pid}/fd/0", os.O_RDONLY)),
        ("nice", attempt(os.setpriority, os.PRIO_PROCESS, pid, 19)),
        ("group nice", attempt(os.setpriority, os.PRIO_PGRP, pid, 19)),
        ("affinity", attempt(os.sched_setaffinity, pid, {0})),
        ("scheduler", attempt(os.sched_setscheduler, pid, os.SCHED_IDLE, os.sched_param(0))),
        ("limits", attempt(resource.prlimit, pid, resource.RLIMIT_NOFILE, (16, 16))),
        ("io priority", outcome(raw(251 if platform.machine() == "x86_64" else 30, 1, pid, 3 << 13))),
        ("move pages", call("move_pages", pid, 0, None, None, None, 0)),
        ("migrate pages", call("migrate_pages", pid, 1, ctypes.create_string_buffer(8), ctypes.create_string_buffer(8))),
        ("process group", attempt(os.setpgid, pid, os.getpgrp())),
        ("score", attempt(open, f"/proc/{pid}/oom_score_adj", "w")),
        ("name", attempt(open, f"/proc/{pid}/comm", "w")),
        ("references", attempt(open, f"/proc/{pid}/clear_refs", "w")),
        ("schedule", call("pidfd_open", pid, 0) if own_processes else "EPERM"),
    ]
print(len(readings) > 0)
# Answered with success and not done, where processes of others have numbers: see what the host sees.
answered = () if own_processes else ("affinity", "scheduler")
for what, said in readings:
    if what not in answered and said not in ("ESRCH", "EPERM", "ENOENT", "EACCES", "ENOSYS", "ProcessLookupError"):
        print(what, said)
# By user: whoever has the same user id as the host counts.
for which, who in ((os.PRIO_USER, 0), (os.PRIO_USER, os.getuid())):
    attempt(os.setpriority, which, who, 19)
raw(251 if platform.machine() == "x86_64" else 30, 3, os.getuid(), 3 << 13);
"""


async def test_others_are_neither_traced_nor_slowed_nor_bound(
    arena: Arena, attacker: Session
) -> None:
    bystander = arena.pid_of(arena.bystander)
    targets = [bystander, *_ancestors(bystander)]
    before = {pid: _scheduling(pid) for pid in targets}
    address = await arena.bystander.execute(
        "import ctypes; held = ctypes.create_string_buffer(b'memory of the bystander', 64)\n"
        "ctypes.addressof(held)"
    )
    code = (
        CALL + ATTEMPT + IN_CHILD + "import resource\n"
        f"pids, address = {targets}, {address.text}\n"
        f"own_processes = {arena.backend == 'namespaces'}\n" + TRACE
    )
    result = await arena.attack(attacker, code)
    assert result.text == "True\n"
    assert {pid: _scheduling(pid) for pid in targets} == before
    held = await arena.bystander.execute("held.value")
    assert held.text == "b'memory of the bystander'"


OWN_INIT = r"""
import os, pathlib, resource
X86 = platform.machine() == "x86_64"
ioprio, prlimit, attr = (251, 302, 314) if X86 else (30, 261, 274)
done = []
def tried(what, said):
    if said == "done": done.append(what)
for kind in range(16):
    most = resource.prlimit(0, kind)
    tried(f"limit {kind}", attempt(resource.prlimit, init, kind, (min(3, most[0]) if most[0] >= 0 else 3, most[1])))
few = (ctypes.c_ulong * 2)(3, 3)
tried("limit", outcome(raw(prlimit, init | 1 << 32, resource.RLIMIT_NOFILE, few, None)))
for which, who in ((os.PRIO_PROCESS, init), (os.PRIO_PGRP, init), (os.PRIO_PGRP, os.getpgid(init)),
                   (os.PRIO_USER, 0), (os.PRIO_USER, os.getuid())):
    tried(f"nice {which}", attempt(os.setpriority, which, who, 19))
for which, who in ((1, init), (1, init | 1 << 32), (2, os.getpgid(init)), (3, os.getuid()), (3, 0)):
    tried(f"io priority {which}", outcome(raw(ioprio, which, who, 3 << 13)))
idle = (ctypes.c_uint * 14)(56, os.SCHED_IDLE)
tried("attributes", outcome(raw(attr, init, idle, 0)))
tried("scheduler", attempt(os.sched_setscheduler, init, os.SCHED_IDLE, os.sched_param(0)))
tried("parameter", attempt(os.sched_setparam, init, os.sched_param(0)))
tried("affinity", attempt(os.sched_setaffinity, init, {min(os.sched_getaffinity(0))}))
for name in ("oom_score_adj", "autogroup", "timerslack_ns", "coredump_filter", "comm", "sched"):
    tried(name, attempt(pathlib.Path(f"/proc/{init}/{name}").write_text, "19"))
# Answered with success and not done, where others have numbers.
print([what for what in done if own_processes or what not in ("attributes", "scheduler", "parameter", "affinity")])
"""


async def test_own_init_is_neither_slowed_nor_bound(arena: Arena, attacker: Session) -> None:
    """It looks after its kernel while no service is there, so its kernel may not hinder it."""
    await attacker.execute("1")
    init = _ancestors(arena.pid_of(attacker))[0]
    before = _scheduling(init)
    own_processes = arena.backend == "namespaces"
    code = (
        CALL + ATTEMPT + f"init = {1 if own_processes else init}\n"
        f"own_processes = {own_processes}\n" + OWN_INIT
    )
    result = await arena.attack(attacker, code)
    assert result.text == "[]\n"
    assert _scheduling(init) == before


@pytest.fixture
def listening() -> Iterator[tuple[str, str, list[socket.socket]]]:
    """Unix sockets of the host that everybody may connect to: a named one, and one without a file."""
    directory = Path(tempfile.mkdtemp(prefix="cellmate-attack-", dir="/tmp"))
    directory.chmod(0o755)
    path, name = str(directory / "socket"), f"cellmate-attack-{secrets.token_hex(8)}"
    sockets = []
    for kind, suffix in ((socket.SOCK_STREAM, ""), (socket.SOCK_DGRAM, "-packets")):
        for address in (path + suffix, f"\0{name}{suffix}"):
            opened = socket.socket(socket.AF_UNIX, kind)
            opened.bind(address)
            if kind == socket.SOCK_STREAM:
                opened.listen()
            opened.setblocking(False)
            sockets.append(opened)
            if address[0] != "\0":
                os.chmod(address, 0o777)
    yield path, name, sockets
    for opened in sockets:
        opened.close()
    for file in directory.iterdir():
        file.unlink()
    directory.rmdir()


async def test_no_socket_of_the_host_or_of_others_can_be_reached(
    arena: Arena, attacker: Session, listening: tuple[str, str, list[socket.socket]]
) -> None:
    path, name, sockets = listening
    run = arena.data_dir / "sessions" / str(arena.bystander.slot) / "run"
    kernel_sockets = sorted(str(file) for file in run.iterdir())
    assert kernel_sockets
    result = await arena.attack(
        attacker,
        ATTEMPT + "import glob, socket\n"
        f"path, name, others = {path!r}, {name!r}, {kernel_sockets!r}\n"
        "inside = [p.replace(os.path.dirname(os.path.dirname(os.path.dirname(p))), '/sessions') for p in others]\n"
        "def reach(address, kind):\n"
        "    with socket.socket(socket.AF_UNIX, kind) as s:\n"
        "        s.settimeout(5); s.connect(address); s.send(b'planted')\n"
        "def send(address):\n"
        "    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:\n        s.sendto(b'planted', address)\n"
        "stream, packets = socket.SOCK_STREAM, socket.SOCK_DGRAM\n"
        "for address in (path, '\\0' + name, *others, *inside, '/run/docker.sock', '/run/dbus/system_bus_socket',\n"
        "                '/var/run/nscd/socket', '/run/systemd/private'):\n"
        "    print(attempt(reach, address, stream), repr(address))\n"
        "    print(attempt(reach, address, socket.SOCK_SEQPACKET), repr(address))\n"
        "for address in (path + '-packets', '\\0' + name + '-packets'):\n"
        "    print(attempt(reach, address, packets), attempt(send, address), repr(address))\n"
        "def bind():\n"
        "    with socket.socket(socket.AF_UNIX) as s:\n        s.bind('\\0' + name + '-taken'); s.listen()\n"
        "print(attempt(bind), 'bound')\n"
        "try:\n    names = [l.split()[-1] for l in open('/proc/net/unix') if name in l and 'taken' not in l]\n"
        "except OSError:\n    names = []\n"
        "print('names', names)",
    )
    assert result.status == "ok", result.text
    lines = result.text.splitlines()
    assert lines.pop() == "names []"
    assert lines.pop().endswith("bound")
    assert len(lines) > 20
    assert [line for line in lines if "done" in line.split()[:2]] == []
    for opened in sockets:
        with pytest.raises(BlockingIOError):
            opened.recv(1) if opened.type == socket.SOCK_DGRAM else opened.accept()


@pytest.fixture
def shared_objects(arena: Arena) -> Iterator[dict[str, int | str]]:
    """Shared memory, semaphores and queues of the host, open to everybody.

    All but the file in /dev/shm: without namespaces, what is left there open to all is open to kernels.
    """
    key = 0x43000000 | secrets.randbits(24)
    create = 0o1000 | 0o666
    memory = _libc.shmget(key, 4096, create)
    semaphores = _libc.semget(key, 1, create)
    queue = _libc.msgget(key, create)
    name = f"cellmate-attack-{secrets.token_hex(8)}"
    posix = _libc.mq_open(f"/{name}".encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
    file = Path("/dev/shm") / name
    file.write_text("words of the host")
    file.chmod(0o666 if arena.backend == "namespaces" else 0o600)
    assert min(memory, semaphores, queue, posix) >= 0
    yield {"key": key, "name": name, "memory": memory, "semaphores": semaphores, "queue": queue}
    _libc.shmctl(memory, 0, None)
    _libc.semctl(semaphores, 0, 0)
    _libc.msgctl(queue, 0, None)
    _libc.mq_close(posix)
    _libc.mq_unlink(f"/{name}".encode())
    with suppress(FileNotFoundError):
        file.unlink()


async def test_shared_memory_semaphores_and_queues_of_others_are_out_of_reach(
    arena: Arena, attacker: Session, shared_objects: dict[str, int | str]
) -> None:
    # The same key in two kernels must be two objects.
    mine = (
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True); libc.shmat.restype = ctypes.c_void_p\n"
        f"key = {shared_objects['key']} ^ 0x1000000\n"
        "shm = libc.shmget(key, 4096, 0o1666)\n"
        "if shm >= 0: ctypes.memmove(libc.shmat(shm, None, 0), b'mine', 5)\n"
        "mq = libc.mq_open(b'/between-kernels', 0o102, 0o666, None)"
    )
    await arena.bystander.execute(mine)
    result = await arena.attack(
        attacker,
        CALL + ATTEMPT + f"o = {shared_objects!r}\n"
        "_libc.shmat.restype = ctypes.c_void_p\n"
        "print('by key', outcome(_libc.shmget(o['key'], 0, 0)), outcome(_libc.semget(o['key'], 0, 0)),\n"
        "      outcome(_libc.msgget(o['key'], 0)))\n"
        "print('of a kernel', outcome(_libc.shmget(o['key'] ^ 0x1000000, 0, 0)),\n"
        "      outcome(_libc.mq_open(b'/between-kernels', os.O_RDWR)))\n"
        "room = ctypes.create_string_buffer(512)\n"
        "seen = []\n"
        "for i in range(64):\n"
        "    for what in (13, 15):  # SHM_STAT, SHM_STAT_ANY\n"
        "        if _libc.shmctl(i, what, room) >= 0: seen.append(('shm', i))\n"
        "    if _libc.semctl(i, 0, 18, room) >= 0: seen.append(('sem', i))\n"
        "    if _libc.msgctl(i, 11, room) >= 0: seen.append(('msg', i))\n"
        "print('seen', seen)\n"
        "for kind in ('shm', 'sem', 'msg'):\n"
        "    try:\n        print(kind, len(open(f'/proc/sysvipc/{kind}').readlines()))\n"
        "    except OSError:\n        print(kind, 1)\n"
        "print('removed', outcome(_libc.shmctl(o['memory'], 0, None)), outcome(_libc.semctl(o['semaphores'], 0, 0)),\n"
        "      outcome(_libc.msgctl(o['queue'], 0, None)))\n"
        "print('posix', outcome(_libc.mq_open(('/' + o['name']).encode(), os.O_RDWR)),\n"
        "      outcome(_libc.mq_unlink(('/' + o['name']).encode())), attempt(open, '/dev/mqueue/' + o['name']))\n"
        "try:\n    listed = os.listdir('/dev/shm')\n"
        "except OSError:\n    listed = []\n"
        "print('file', attempt(open, '/dev/shm/' + o['name']), attempt(open, '/dev/shm/' + o['name'], 'r+'), listed)",
    )
    await arena.bystander.execute(
        "libc.shmctl(shm, 0, None), libc.mq_close(mq), libc.mq_unlink(b'/between-kernels');"
    )
    assert result.status == "ok", result.text
    refused = {"ENOENT", "EACCES", "EPERM", "ENOSYS", "EINVAL", "EIDRM"}
    for line in result.text.splitlines():
        what, *said = line.split()
        if what == "seen":
            assert said == ["[]"], result.text
        elif what in ("shm", "sem", "msg"):
            assert said == ["1"], result.text
        else:
            words = [word for word in said if word not in ("key", "a", "of", "kernel", "[]")]
            assert words and set(words) <= refused, result.text
    assert _libc.shmget(shared_objects["key"], 0, 0) == shared_objects["memory"]
    assert (Path("/dev/shm") / str(shared_objects["name"])).read_text() == "words of the host"


async def test_shared_memory_of_another_kernel_is_out_of_reach(
    arena: Arena, attacker: Session, request: pytest.FixtureRequest
) -> None:
    name = f"between{secrets.token_hex(4)}"
    made = await arena.bystander.execute(
        "from multiprocessing import shared_memory\n"
        f"held = shared_memory.SharedMemory({name!r}, create=True, size=64); held.buf[:4] = b'mine'"
    )
    of_the_host = Path("/dev/shm") / name
    if arena.shared_memory:
        assert made.status == "ok", made.text
    else:  # then nobody has any; what the service's own user has there is as much out of reach
        assert made.status == "error" and "PermissionError" in made.text, made.text
        of_the_host.write_bytes(b"mine".ljust(64, b"\0"))
        request.addfinalizer(lambda: of_the_host.unlink(missing_ok=True))
    result = await arena.attack(
        attacker,
        ATTEMPT + "from multiprocessing import shared_memory\n"
        "try:\n    listed = os.listdir('/dev/shm')\n"
        "except OSError:\n    listed = []\n"
        f"name = {name!r}\n"
        "print(name in listed, attempt(open, '/dev/shm/' + name), attempt(open, '/dev/shm/' + name, 'r+'),\n"
        "      attempt(os.unlink, '/dev/shm/' + name), attempt(os.rename, '/dev/shm/' + name, '/dev/shm/x'),\n"
        "      attempt(shared_memory.SharedMemory, name))",
    )
    listed, *said = result.text.split()
    assert listed == "False"
    assert set(said) <= {"ENOENT", "EACCES", "EPERM", "PermissionError"}, result.text
    if not arena.shared_memory:
        assert of_the_host.read_bytes()[:4] == b"mine"
        return
    kept = await arena.bystander.execute(
        "said = bytes(held.buf[:4]); held.close(); held.unlink(); said"
    )
    assert kept.text == "b'mine'"


async def test_shared_memory_goes_with_its_kernel(arena: Arena, attacker: Session) -> None:
    name = f"left{secrets.token_hex(4)}"
    made = await arena.attack(
        attacker,
        "from multiprocessing import resource_tracker, shared_memory\n"
        f"held = shared_memory.SharedMemory({name!r}, create=True, size=1 << 20)\n"
        "resource_tracker.unregister(held._name, 'shared_memory'); open('/dev/shm/' + held.name + 'x', 'w').close()\n"
        "print('made')",
    )
    if arena.shared_memory:
        assert made.text == "made\n"
    else:
        assert made.status == "error" and "PermissionError" in made.text, made.text
    await attacker.close()
    assert [left for left in os.listdir("/dev/shm") if left.startswith(name)] == []


async def test_list_of_processes_shows_no_others(arena: Arena, attacker: Session) -> None:
    bystander = arena.pid_of(arena.bystander)
    targets = [pid for pid in (bystander, *_ancestors(bystander), os.getpid()) if pid > 20]
    result = await arena.attack(
        attacker,
        "import os, glob, subprocess\n"
        f"targets = {targets}\n"
        "try:\n    listed = [int(n) for n in os.listdir('/proc') if n.isdigit()]\n"
        "except OSError:\n    listed = []\n"
        "print(sorted(set(listed) & set(targets)))\n"
        "said = []\n"
        "for pid in targets:\n"
        "    for name in ('cmdline', 'comm', 'stat', 'status', 'cgroup', 'environ', 'wchan', 'io', 'sched'):\n"
        "        try:\n            said.append((pid, name, open(f'/proc/{pid}/{name}').read()[:80]))\n"
        "        except OSError: pass\n"
        "    for call in (os.getsid, os.getpgid, os.sched_getaffinity, lambda p: os.getpriority(0, p)):\n"
        "        try:\n            said.append((pid, str(call), call(pid)))\n"
        "        except OSError: pass\n"
        "print(said if own else [s for s in said if not callable(s[1]) and s[1] in ('cmdline', 'environ', 'status')])\n".replace(
            "if own", f"if {arena.backend == 'namespaces'}"
        ),
    )
    assert result.text == "[]\n[]\n"


async def test_attack_by_many_at_once_leaves_the_others_alone(arena: Arena) -> None:
    async with arena.user() as first, arena.user() as second, arena.undisturbed():
        code = f"{KILL_ALL}os._exit(9)"
        ends = await asyncio.gather(*(session.execute(code) for session in (first, second)))
        assert [end.status for end in ends] == ["died", "died"]
        again = await asyncio.gather(*(session.execute("1") for session in (first, second)))
        assert [end.status for end in again] == ["ok", "ok"]
