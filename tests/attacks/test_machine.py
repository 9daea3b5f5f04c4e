"""Attacks on the machine itself: its clock, its schedule, its control groups; and on what it tells."""

# ruff: noqa: E501 - lines of hostile code are left whole

import errno
import os
import secrets
import time
from pathlib import Path

import pytest

from interpreter import Session, StoredFileNotFound
from tests.attacks.conftest import Arena
from tests.attacks.hostile import ATTEMPT, CALL


async def test_clock_and_names_cannot_be_changed(arena: Arena, attacker: Session) -> None:
    host = os.uname().nodename
    result = await arena.attack(
        attacker,
        CALL + ATTEMPT + "import socket, struct, time\nbefore = socket.gethostname()\n"
        "print(attempt(time.clock_settime, time.CLOCK_REALTIME, time.time()),\n"
        "      call('settimeofday', None, None), attempt(socket.sethostname, 'planted'))\n"
        "print(attempt(open, '/dev/rtc', 'w'), attempt(open, '/proc/sys/kernel/hostname', 'w'),\n"
        "      attempt(lambda: os.write(os.open('/proc/self/timens_offsets', os.O_WRONLY), b'monotonic 9 0')))\n"
        "print(socket.gethostname() == before)",
    )
    lines = result.text.splitlines()
    assert lines.pop() == "True"
    assert "done" not in " ".join(lines).split(), result.text
    assert os.uname().nodename == host


async def test_limits_cannot_be_raised(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(
        attacker,
        "import resource\n"
        "raised = []\n"
        "for name in dir(resource):\n"
        "    if not name.startswith('RLIMIT_'): continue\n"
        "    kind = getattr(resource, name)\n"
        "    before = resource.getrlimit(kind)\n"
        "    if before[1] == resource.RLIM_INFINITY: continue\n"
        "    for wanted in (before[1] + 1, resource.RLIM_INFINITY):\n"
        "        for call in (lambda: resource.setrlimit(kind, (wanted, wanted)),\n"
        "                     lambda: resource.prlimit(0, kind, (wanted, wanted))):\n"
        "            try:\n                call()\n"
        "            except (OSError, ValueError):\n                pass\n"
        "    if resource.getrlimit(kind) != before: raised.append((name, before, resource.getrlimit(kind)))\n"
        "print(raised)\n"
        "bounded = ('CORE', 'NPROC', 'NOFILE', 'FSIZE', 'DATA', 'MEMLOCK', 'NICE', 'RTPRIO', 'MSGQUEUE', 'SIGPENDING')\n"
        "print([n for n in bounded if resource.getrlimit(getattr(resource, 'RLIMIT_' + n))[1] == resource.RLIM_INFINITY])",
    )
    assert result.text == "[]\n[]\n"


async def test_kernel_gets_no_more_of_the_processor_by_asking(
    arena: Arena, attacker: Session
) -> None:
    pid = arena.pid_of(arena.bystander)
    bystanders = os.getpriority(os.PRIO_PROCESS, pid)
    code = r"""
import os, struct, subprocess
before = os.getpriority(os.PRIO_PROCESS, 0)
for policy in (os.SCHED_FIFO, os.SCHED_RR):
    print(attempt(os.sched_setscheduler, 0, policy, os.sched_param(1)))
deadline = ctypes.create_string_buffer(struct.pack("=IIQiIQQQ", 48, 6, 0, 0, 0, 10**7, 10**8, 10**8))
number = 314 if platform.machine() == "x86_64" else 274
print(outcome(raw(number, 0, deadline, 0)))
print(attempt(os.setpriority, os.PRIO_PROCESS, 0, before - 1), attempt(os.setpriority, os.PRIO_PROCESS, 0, -20))
print(attempt(os.nice, -1))
io = 251 if platform.machine() == "x86_64" else 30
print(outcome(raw(io, 1, 0, 1 << 13)))
print(attempt(open, "/proc/self/autogroup", "w"))
print(os.getpriority(os.PRIO_PROCESS, 0) == before, os.sched_getscheduler(0) == os.SCHED_OTHER)
"""
    result = await arena.attack(attacker, CALL + ATTEMPT + code)
    assert result.status == "ok", result.text
    lines = result.text.splitlines()
    assert lines.pop() == "True True"
    autogroup = lines.pop()  # weighs within its own control group only
    assert autogroup in ("done", "ENOENT", "EACCES", "EPERM")
    assert set(" ".join(lines).split()) <= {"EPERM", "EACCES"}, result.text
    assert os.getpriority(os.PRIO_PROCESS, pid) == bystanders


_CAP_SYS_RESOURCE = 24


def _service_has(capability: int) -> bool:
    status = Path("/proc/self/status").read_text()
    (effective,) = [line for line in status.splitlines() if line.startswith("CapEff:")]
    return bool(int(effective.split()[1], 16) >> capability & 1)


async def test_kernel_cannot_be_made_harder_to_end(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(
        attacker,
        ATTEMPT + "def score(value, pid='self', name='oom_score_adj'):\n"
        "    d = os.open(f'/proc/{pid}/{name}', os.O_WRONLY)\n"
        "    try:\n        os.write(d, str(value).encode())\n"
        "    finally:\n        os.close(d)\n"
        "print(*(attempt(score, v) for v in (999, 500, 0, -1, -1000)))\n"
        "print(*(attempt(score, v, '1') for v in (0, -1, -1000)))\n"
        "print(attempt(score, -17, 'self', 'oom_adj'))\n"
        "print(open('/proc/self/oom_score_adj').read().strip())",
    )
    assert result.status == "ok", result.text
    lines = result.text.splitlines()
    refused = {"EACCES", "EPERM", "ENOENT"}
    assert set(" ".join(lines[1:3]).split()) <= refused, result.text
    below_zero = lines[0].split()[3:]
    assert set(below_zero) <= refused, result.text
    score = int(Path(f"/proc/{arena.pid_of(attacker)}/oom_score_adj").read_text())
    least = 1000 if _service_has(_CAP_SYS_RESOURCE) else 0
    assert score >= least, result.text


async def test_kernels_have_control_groups_where_the_service_may_make_them(arena: Arena) -> None:
    """Other attacks are skipped where there are none: that must not hide that they were lost."""
    hierarchies = [Path("/sys/fs/cgroup", name) for name in ("memory", "pids", "cpuacct")]
    if not all(os.access(hierarchy / "cgroup.procs", os.W_OK) for hierarchy in hierarchies):
        pytest.skip("the service may make no control groups of version 1 here")
    assert arena.control_groups


async def test_control_groups_are_out_of_reach(arena: Arena, attacker: Session) -> None:
    await attacker.execute("1")
    pid = arena.pid_of(attacker)
    before = Path(f"/proc/{pid}/cgroup").read_text()
    result = await arena.attack(
        attacker,
        ATTEMPT + "import glob, tempfile\n"
        "print(glob.glob('/sys/fs/cgroup/*'), glob.glob('/sys/*'))\n"
        "try:\n    mounts = open('/proc/self/mounts').readlines()\n"
        "except OSError:\n    mounts = []\n"
        "print([l.split()[1:3] for l in mounts if 'cgroup' in l.split()[2]])\n"
        "for path in ('/sys/fs/cgroup/cgroup.procs', '/sys/fs/cgroup/memory/tasks', '/sys/fs/cgroup/cpu/tasks',\n"
        "             '/sys/fs/cgroup/pids/cgroup.procs', '/sys/fs/cgroup/memory/memory.limit_in_bytes',\n"
        "             '/sys/fs/cgroup/release_agent'):\n"
        "    print(attempt(os.open, path, os.O_WRONLY), attempt(os.open, path, os.O_RDONLY))",
    )
    lines = result.text.splitlines()
    assert lines[:2] == ["[] []", "[]"], result.text
    assert set(" ".join(lines[2:]).split()) <= {"ENOENT", "EACCES", "EPERM"}
    assert Path(f"/proc/{pid}/cgroup").read_text() == before


async def test_no_core_is_dumped(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(
        attacker,
        ATTEMPT + "import resource, subprocess, sys\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE))\n"
        "attempt(lambda: open('/proc/self/coredump_filter', 'w').write('0xff'))\n"
        "p = subprocess.run([sys.executable, '-c', 'import os; os.abort()'])\n"
        "print(p.returncode, os.listdir())",
    )
    assert result.text.splitlines() == ["(0, 0)", "-6 []"]


# What the system counts for each user id as the host sees it, over all of that user's processes.
BY_USER = {
    "pending signals": (
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])\n"
        "def take():\n"
        "    if libc.sigqueue(os.getpid(), int(signal.SIGRTMIN), None): raise OSError(ctypes.get_errno(), '')\n"
        "    return 1\n"
    ),
    "timers": (
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "event = (ctypes.c_int * 16)(0, 0, int(signal.SIGRTMIN), 0)\n"
        "def take():\n"
        "    timer = ctypes.c_void_p()\n"
        "    if libc.timer_create(1, event, ctypes.byref(timer)): raise OSError(ctypes.get_errno(), '')\n"
        "    return timer\n"
    ),
    "watchers of files": (
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def take():\n"
        "    d = libc.inotify_init1(0)\n"
        "    if d < 0: raise OSError(ctypes.get_errno(), '')\n"
        "    return d\n"
    ),
    "descriptors on their way": (
        "a, b = socket.socketpair()\n"
        "def take():\n"
        "    global a, b\n"
        "    try:\n        socket.send_fds(a, [b'x'], [1] * 200, socket.MSG_DONTWAIT)\n"
        "    except BlockingIOError:\n"
        "        full.append((a, b)); a, b = socket.socketpair()\n"
        "full = []\n"
    ),
}


@pytest.mark.parametrize("what", BY_USER)
async def test_what_the_system_counts_by_user_is_not_used_up_for_others(
    arena: Arena, attacker: Session, what: str
) -> None:
    """Kernels share a user id of the host where the service isn't root: one must not take it all.

    What can't be kept apart there harms nobody who doesn't use the very same.
    """
    shared = not arena.own_users and (
        what == "descriptors on their way"
        or (what in ("pending signals", "timers") and arena.backend == "landlock")
    )
    refused = not arena.own_users and arena.backend == "landlock" and what == "watchers of files"
    begin = "import ctypes, os, signal, socket\n" + BY_USER[what]
    hold = (
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    held = []\n"
        "    try:\n"
        "        for _ in range(150_000): held.append(take())\n"
        "    except OSError: pass\n"
        "    os.write(told, b'x'); signal.pause(); os._exit(0)\n"
    )
    await attacker.execute(
        begin
        + "said, told = os.pipe()\nchildren = []\nfor _ in range(4):\n"
        + "".join(f"    {line}\n" for line in hold.splitlines())
        + "    children.append(pid); os.read(said, 1)\n",
        timeout_s=40,
    )
    async with arena.user() as neighbour:
        try:
            await neighbour.execute("1")
            await neighbour.restart()  # the service talks to its fork server, too
            ordinary = await neighbour.execute(
                "import os, signal, subprocess\nheard = []\n"
                "signal.signal(signal.SIGUSR1, lambda *_: heard.append('heard'))\n"
                "os.kill(os.getpid(), signal.SIGUSR1)\n"
                "print(subprocess.run(['echo', 'x'], capture_output=True).stdout, *heard)"
            )
            looping = await neighbour.execute("while True: pass", timeout_s=1)
            got = await neighbour.execute(
                begin + "pid = os.fork()\n"
                "if pid == 0:\n"
                "    code = 0\n"
                "    try:\n        held = [take() for _ in range(3)]\n"
                "    except OSError as e:\n        code = e.errno\n"
                "    os._exit(code)\n"
                "print('errno', os.waitpid(pid, 0)[1] >> 8)"
            )
        finally:
            result = await arena.attack(
                attacker,
                "for c in children:\n    os.kill(c, 9); os.waitpid(c, 0)\nprint(len(children))",
            )
    assert result.text == "4\n"
    assert ordinary.text == "b'x\\n' heard\n"
    assert (looping.status, looping.state_lost) == ("timeout", False)
    if shared:
        pytest.skip(f"without root, kernels share what the system allows their user of {what}")
    assert got.text == f"errno {errno.ENOSYS if refused else 0}\n"


async def test_another_users_file_and_one_that_never_was_look_the_same_to_a_cell(
    arena: Arena, attacker: Session
) -> None:
    theirs = await arena.service.files.save(
        user_id=arena.bystander.user_id, filename="private.csv", source=b"a,b\n1,2\n"
    )
    never = "".join(secrets.choice("abcdefghjkmnpqrstuvwxyz23456789") for _ in theirs.file_id)
    result = await arena.attack(
        attacker,
        f"for file_id in ({theirs.file_id!r}, {never!r}, {theirs.filename!r}):\n"
        "    try:\n        load_file(file_id)\n"
        "    except Exception as e:\n        print(type(e).__name__, str(e).replace(file_id, 'ID'))\n"
        f"print({theirs.file_id!r} in FILES, {never!r} in FILES, len(FILES))",
    )
    lines = result.text.splitlines()
    assert lines.pop() == "False False 0"
    half = len(lines) // 3
    assert half > 0 and lines[:half] == lines[half : 2 * half] == lines[2 * half :], result.text
    await arena.service.files.delete(user_id=arena.bystander.user_id, file_id=theirs.file_id)


@pytest.mark.parametrize("method", ["get", "delete", "touch"])
async def test_another_users_file_and_one_that_never_was_look_the_same_to_the_service(
    arena: Arena, attacker: Session, method: str
) -> None:
    theirs = await arena.service.files.save(
        user_id=arena.bystander.user_id, filename="private.csv", source=b"a,b\n1,2\n"
    )
    never = "".join(secrets.choice("abcdefghjkmnpqrstuvwxyz23456789") for _ in theirs.file_id)
    said = []
    async with arena.undisturbed():
        for file_id in (theirs.file_id, never):
            with pytest.raises(StoredFileNotFound) as refused:
                await getattr(arena.service.files, method)(
                    user_id=attacker.user_id, file_id=file_id
                )
            said.append((type(refused.value), str(refused.value).replace(file_id, "ID")))
        assert said[0] == said[1]
        assert await arena.service.files.list(user_id=attacker.user_id) == ()
        digest = theirs.sha256
        assert await arena.service.files.find(user_id=attacker.user_id, sha256=digest) == ()
        assert Path(theirs.file_path).read_bytes() == b"a,b\n1,2\n"
    await arena.service.files.delete(user_id=arena.bystander.user_id, file_id=theirs.file_id)


async def test_clock_of_the_machine_went_on(arena: Arena, attacker: Session) -> None:
    before, monotonic = time.time(), time.monotonic()
    result = await arena.attack(
        attacker,
        ATTEMPT + "import time\n"
        "print(attempt(time.clock_settime_ns, time.CLOCK_REALTIME, time.time_ns() + 3_600_000_000_000))",
    )
    assert result.text in ("EPERM\n", "ENOSYS\n")
    assert abs((time.time() - before) - (time.monotonic() - monotonic)) < 60
