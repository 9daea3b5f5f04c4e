"""Each limit one below, at and one above; and no kernel's limits are another's trouble."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from interpreter import Interpreter, Session
from tests.attacks.conftest import DISK_BYTES, FILES, Arena
from tests.attacks.resources import FILES_LIMIT, MEMORY, PROCESSES, ROOM, begin
from tests.service.waiting import until

_FILE_BYTES = 8 << 20
_OPEN_FILES = 100
_PROCESSES = 40


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def strict(arena: Arena) -> AsyncIterator[Arena]:
    """An arena on the same backend whose limits are small and no round numbers."""
    settings = arena.service.settings.model_copy(
        update={
            "data_dir": arena.data_dir.with_name("strict"),
            "kernel_processes": _PROCESSES,
            "kernel_open_files": _OPEN_FILES,
            "kernel_file_bytes": _FILE_BYTES,
            "working_directory_bytes": 100 << 20,
            "warm_kernels": 0,
        }
    )
    async with Interpreter.open(settings) as service:
        bystander = await service.session(user_id="bystander")
        await bystander.execute("count = 0")
        yield Arena(arena.backend, service, bystander, settings.data_dir)


@pytest_asyncio.fixture(loop_scope="session")
async def user(strict: Arena) -> AsyncIterator[Session]:
    async with strict.user() as session:
        yield session


# -- processes and threads -----------------------------------------------------------------------

_MAKE = {
    "processes": "pid = os.fork()\n"
    "    if pid == 0: signal.pause(); os._exit(0)\n    pids.append(pid)",
    "threads": "threading.Thread(target=stop.wait, args=(30,), daemon=True).start()",
}


@pytest.mark.parametrize("kind", _MAKE)
async def test_processes_and_threads_are_limited_exactly(
    strict: Arena, user: Session, kind: str
) -> None:
    """At the limit there was room for one more, above it there was none; as the host counts."""
    async with strict.undisturbed():
        cell = await begin(
            user,
            "import os, signal, threading, time\nstop = threading.Event(); pids = []\n"
            f"def one():\n    {_MAKE[kind]}\n"
            "try:\n"
            f"    for _ in range({2 * _PROCESSES}): one()\n"
            "    print('never refused', flush=True)\n"
            "except (OSError, RuntimeError) as error: print(type(error).__name__, flush=True)\n"
            "try: time.sleep(30)\n"
            "finally:\n    stop.set()\n    for pid in pids: os.kill(pid, 9)\n",
            timeout_s=60,
        )
        if not strict.bounds_processes:  # the watcher ends it, while the cell still sleeps
            result = await cell
            assert (result.status, result.state_lost) == ("died", True), result.text
            assert result.message is not None and PROCESSES in result.message
            return
        counted = _tasks(strict.pid_of(user))
        await user.interrupt()
        result = await cell
    assert result.text.split()[0] in ("BlockingIOError", "RuntimeError"), result.text
    assert counted == _PROCESSES


def _tasks(kernel: int) -> int:
    """Processes and threads of a kernel's sandbox, its init among them."""
    stat = Path(f"/proc/{kernel}/stat").read_text()
    pending, found = [int(stat.rpartition(")")[2].split()[1])], 0
    while pending:
        for task in Path(f"/proc/{pending.pop()}/task").iterdir():
            found += 1
            pending += [int(pid) for pid in (task / "children").read_text().split()]
    return found


# -- open files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("above", [-1, 0, 1])
async def test_open_files_are_limited_exactly(strict: Arena, user: Session, above: int) -> None:
    """In a child with nothing but its standard streams: the kernel has some of its own."""
    wanted = _OPEN_FILES + above
    code = (
        "import os, resource\nheld = []\n"
        "def is_open(fd):\n"
        "    try: os.fstat(fd); return True\n"
        "    except OSError: return False\n"
        "have = sum(map(is_open, range(200)))\n"
        "try:\n"
        f"    while have + len(held) < {wanted}: held.append(os.open('/dev/null', os.O_RDONLY))\n"
        "except OSError as error: print(error.strerror)\n"
        "print(have + len(held), resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    result = await strict.attack(
        user,
        f"import subprocess, sys; print(subprocess.run([sys.executable, '-c', {code!r}],"
        " capture_output=True, text=True, close_fds=True).stdout)",
    )
    expected = "" if above <= 0 else "Too many open files\n"
    expected += f"{min(wanted, _OPEN_FILES)} ({_OPEN_FILES}, {_OPEN_FILES})\n"
    assert result.text.rstrip("\n") + "\n" == expected


async def test_no_limit_can_be_raised(strict: Arena, user: Session) -> None:
    result = await strict.attack(
        user,
        "import resource\n"
        "for name in ('CORE', 'NPROC', 'NOFILE', 'FSIZE', 'DATA', 'MEMLOCK', 'RTPRIO', 'NICE',\n"
        "             'SIGPENDING', 'MSGQUEUE'):\n"
        "    kind = getattr(resource, f'RLIMIT_{name}'); soft, hard = resource.getrlimit(kind)\n"
        "    if hard == resource.RLIM_INFINITY: print(name, 'has no limit'); continue\n"
        "    try: resource.setrlimit(kind, (hard + 1, hard + 1)); print(name, 'was raised')\n"
        "    except (OSError, ValueError): pass",
    )
    assert result.text == ""


# -- the size of a file --------------------------------------------------------------------------


@pytest.mark.parametrize("above", [-1, 0, 1])
@pytest.mark.parametrize(
    "write",
    [
        "os.write(file, bytes({size}))",
        "os.ftruncate(file, {size})",
        "os.pwrite(file, b'x', {size} - 1)",
        "os.lseek(file, {size} - 1, 0); os.write(file, b'x')",
    ],
    ids=["write", "truncate", "at", "seek"],
)
async def test_size_of_a_file_is_limited_exactly(
    strict: Arena, user: Session, write: str, above: int
) -> None:
    size = _FILE_BYTES + above
    result = await user.execute(
        "import os\nfile = os.open('f', os.O_RDWR | os.O_CREAT)\n"
        f"try:\n    {write.format(size=size)}\n"
        "except OSError as error: print(error.strerror)\n"
        "print(os.path.getsize('f'))\nos.close(file); os.unlink('f')"
    )
    lines = result.text.splitlines()
    if above <= 0:
        assert lines == [str(size)]
    elif write.startswith("os.write"):
        assert lines == [str(_FILE_BYTES)]  # as much of it as there is room for
    else:
        assert lines == ["File too large", "0"]


async def test_file_that_gets_too_large_does_not_end_the_kernel(
    strict: Arena, user: Session
) -> None:
    """The system's signal for it is not fatal: a child, too, gets an error."""
    result = await strict.attack(
        user,
        "import subprocess\n"
        "r = subprocess.run(['dd', 'if=/dev/zero', 'of=f', 'bs=1M', 'count=20'],"
        " capture_output=True, text=True)\n"
        "import os; print(os.path.getsize('f'), r.returncode)\nos.unlink('f')",
    )
    assert result.text.split()[0] == str(_FILE_BYTES)
    assert result.status == "ok"


# -- output --------------------------------------------------------------------------------------


@pytest.mark.parametrize("above", [-1, 0, 1, 1000])
async def test_output_is_limited_exactly(arena: Arena, attacker: Session, above: int) -> None:
    limit = arena.service.settings.max_output_chars
    result = await arena.attack(
        attacker, f"text = 'a' * {limit // 2} + 'b' * {limit // 2 + above}\nprint(text, end='')"
    )
    if above <= 0:
        assert result.text == "a" * (limit // 2) + "b" * (limit // 2 + above)
        return
    head, middle, tail = result.text.split("\n")
    assert (head, tail) == ("a" * (limit // 2), "b" * (limit // 2))
    assert f"{above:,} character" in middle and "left out" in middle


# -- the working directory -----------------------------------------------------------------------

#: Fills up to so much, as the system counts blocks, the home directory and /tmp's place too.
_FILL_TO = """
import os, tempfile, time
block = 4096
tops = [os.getcwd(), os.path.expanduser('~')]
def used():
    room = files = 0
    for top in tops:
        for folder, folders, names in os.walk(top):
            for name in folders + names:
                room += os.lstat(os.path.join(folder, name)).st_blocks * 512; files += 1
    return room, files
"""
_BUSY = "end = time.monotonic() + 2\nwhile time.monotonic() < end: pass\n"


@pytest.mark.parametrize("above", [-1, 0, 1])
async def test_room_on_the_disk_is_limited_to_the_block(
    arena: Arena, attacker: Session, above: int
) -> None:
    wanted = DISK_BYTES + 4096 * above
    result = await arena.attack(
        attacker,
        f"{_FILL_TO}\nfile = open('big', 'wb', buffering=0)\n"
        # Block by block at its end: the file system may need one for itself.
        f"file.write(os.urandom({wanted} - used()[0] - 40 * block)); os.fsync(file.fileno())\n"
        f"while used()[0] < {wanted}: file.write(os.urandom(block)); os.fsync(file.fileno())\n"
        f"print(used()[0] - {wanted}, flush=True)\n{_BUSY}print('lives')",
        timeout_s=60,
    )
    if above <= 0:
        assert result.text.startswith("0\nlives\n"), result.text
    else:
        assert result.status == "died"
        assert result.message is not None and ROOM in result.message


@pytest.mark.parametrize("above", [-1, 0, 1])
async def test_number_of_files_is_limited_exactly(
    arena: Arena, attacker: Session, above: int
) -> None:
    result = await arena.attack(
        attacker,
        f"{_FILL_TO}\nfor n in range({FILES + above} - used()[1]):\n"
        f"    os.close(os.open(f'n{{n}}', os.O_CREAT))\n"
        f"print(used()[1], flush=True)\n{_BUSY}print('lives')",
        timeout_s=60,
    )
    if above <= 0:
        assert result.text.startswith(f"{FILES + above}\nlives\n"), result.text
    else:
        assert result.status == "died", result.text
        assert result.message is not None and FILES_LIMIT in result.message


# -- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("above", [-1, 0, 1])
async def test_memory_of_one_process_is_limited_to_the_page(
    arena: Arena, attacker: Session, above: int
) -> None:
    """An allocation that doesn't fit is an error, at once, and the variables are kept."""
    result = await arena.attack(
        attacker,
        "import mmap, resource\nkept = 'kept'\n"
        "limit = resource.getrlimit(resource.RLIMIT_DATA)[0] // 4096\n"
        # Found by halving, so that nothing allocated on the way gets in between.
        "def fits(pages):\n"
        "    try: m = mmap.mmap(-1, pages * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "    except OSError: return False\n"
        "    m.close(); return True\n"
        "low, high = 1, limit + 1\n"
        "while high - low > 1:\n"
        "    middle = (low + high) // 2\n"
        "    low, high = (middle, high) if fits(middle) else (low, middle)\n"
        "with open('/proc/self/status') as file:\n"
        "    data = next(int(l.split()[1]) for l in file if l.startswith('VmData')) // 4\n"
        f"print(fits(low + {above}), abs(limit - data - low) < 1024, kept)",
    )
    assert result.text == f"{above <= 0} True kept\n"


# -- limits never leak ---------------------------------------------------------------------------

_HIT = {
    "memory": "import mmap\nm = mmap.mmap(-1, 1 << 30)\nfor i in range(0, 1 << 30, 4096): m[i] = 1",
    "processes": "import os, time\ntry:\n    for _ in range(200):\n"
    "        if os.fork() == 0: time.sleep(30); os._exit(0)\nexcept OSError: pass",
    "disk": "import os, time\nfile = open('big', 'wb', buffering=0)\n"
    "for _ in range(60): file.write(os.urandom(4 << 20))\ntime.sleep(10)",
    "files": "import os, time\nfor n in range(6000): os.close(os.open(f'n{n}', os.O_CREAT))\n"
    "time.sleep(10)",
}
#: Uses most of every limit; each line says what it got.
_USE_ALL = """
import mmap, os, subprocess
block = mmap.mmap(-1, 220 << 20)
for at in range(0, len(block), 4096): block[at] = 1
print('memory', len(block) >> 20); block.close()
children = [subprocess.Popen(['sleep', '30']) for _ in range(30)]
print('processes', len(children))
for child in children: child.kill(); child.wait()
held = [os.open('/dev/null', os.O_RDONLY) for _ in range(700)]
print('open files', len(held))
for fd in held: os.close(fd)
with open('.mine', 'wb') as file: file.write(os.urandom(40 << 20))
print('disk', os.path.getsize('.mine') >> 20); os.unlink('.mine')
os.mkdir('.many')
for n in range(500): os.close(os.open(f'.many/{n}', os.O_CREAT))
print('files', len(os.listdir('.many')))
for n in range(500): os.unlink(f'.many/{n}')
os.rmdir('.many')
for n in range(5): open(f'a{n}.txt', 'w').write(f'{n}' * 1000 + str(os.getpid()))
print('x' * 15_000)
"""
_ALL = "memory 220\nprocesses 30\nopen files 700\ndisk 40\nfiles 500\n" + "x" * 15_000 + "\n"


@pytest.mark.parametrize("limit", _HIT)
async def test_a_limit_that_one_kernel_hit_is_whole_for_the_next_and_for_others(
    arena: Arena, attacker: Session, limit: str
) -> None:
    async with arena.undisturbed(), arena.user() as other:
        hit = await attacker.execute(_HIT[limit], timeout_s=40)
        assert hit.status in ("ok", "died", "timeout"), hit.text
        if limit == "memory":
            assert hit.message is not None and MEMORY in hit.message
        await attacker.restart()
        await attacker.execute("import os\nfor name in os.listdir(): os.unlink(name)")
        for session in (attacker, other):
            result = await session.execute(_USE_ALL, timeout_s=60)
            assert (result.status, result.text) == ("ok", _ALL), result.text[:500]
            assert len(result.artifacts) == 5 and result.skipped == ()


# -- what kernels share of the machine -----------------------------------------------------------

#: Takes all there is of something that the system counts for all its namespaces together. (What it
#: counts by user id is in test_machine.py.)
_SHARED = {
    "message-queues": (
        "libc.syscall(240, b'q%d' % n, 0o102, 0o600, None) >= 0",
        "libc.syscall(240, b'q%d' % n, 0o102, 0o600, None) >= 0"
        " or errno.errorcode[ctypes.get_errno()] in ('ENOSYS', 'EMFILE')",
        300,
    ),
    "terminals": ("terminal()", "terminal()", 4000),
}
_TAKE = """
import ctypes, errno, os, time
libc = ctypes.CDLL(None, use_errno=True)
def terminal(): held.append(os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY)); return True
held = []; taken = 0
"""


@pytest.mark.parametrize("thing", _SHARED)
async def test_what_one_kernel_takes_of_the_system_is_not_missed_by_another(
    arena: Arena, attacker: Session, thing: str
) -> None:
    take, use, most = _SHARED[thing]
    if thing == "terminals" and arena.backend != "namespaces":
        pytest.skip("only namespaces promise this: a kernel can't use up the machine's terminals")
    greedy = (
        f"{_TAKE}\n"
        # In several processes, since each can have only so many files open.
        "reading, writing = os.pipe()\n"
        f"for _ in range({4 if thing == 'terminals' else 1}):\n"
        "    if os.fork() == 0:\n"
        "        try:\n"
        f"            for n in range({most}):\n"
        f"                if not ({take}): break\n"
        "                taken += 1\n"
        "        except OSError: pass\n"
        "        os.write(writing, b'%d ' % taken); time.sleep(30); os._exit(0)\n"
        f"got = b''\nwhile got.count(b' ') < {4 if thing == 'terminals' else 1}:\n"
        "    got += os.read(reading, 100)\n"
        "print(got.decode())"
    )
    modest = f"{_TAKE}\nn = 0\n{use}"
    async with arena.undisturbed(), arena.user() as other:
        taken = await attacker.execute(greedy, timeout_s=30)
        assert taken.status == "ok", taken.text
        result = await other.execute(modest)
        assert (result.status, result.text) == ("ok", "True"), f"{taken.text}\n{result.text}"
        await attacker.restart()


async def test_full_service_of_attackers_is_still_a_service(arena: Arena) -> None:
    """Eight users hit their limits in the same moment; all of them are well afterwards."""
    names = list(_HIT) * 2
    sessions = [await arena.service.session(user_id=f"crowd{n}") for n in range(len(names))]
    try:
        async with arena.undisturbed():
            results = await asyncio.gather(
                *(
                    s.execute(_HIT[name], timeout_s=60)
                    for s, name in zip(sessions, names, strict=True)
                )
            )
            assert {result.status for result in results} <= {"ok", "died"}
            await asyncio.gather(*(session.restart() for session in sessions))
            after = await asyncio.gather(*(session.execute("1 + 1") for session in sessions))
        assert [result.text.splitlines()[0] for result in after] == ["2"] * len(names)
    finally:
        await asyncio.gather(*(session.close() for session in sessions))
    await until(lambda: not [k for k in arena.service.kernels() if k.user_id.startswith("crowd")])
