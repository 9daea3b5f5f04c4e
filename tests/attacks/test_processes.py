"""Too many processes, and processes that want to outlive their kernel."""

import asyncio
import secrets

import pytest

from interpreter import Session
from tests.attacks.conftest import Arena, processes_with
from tests.attacks.resources import MEMORY, PROCESSES
from tests.service.waiting import until

#: Attacks stop by themselves after so many, so that a broken sandbox doesn't take the machine down.
_MOST = 400

_BOMBS = {
    "forks": f"""
import os, time
made = 0
try:
    while made < {_MOST}:
        if os.fork() == 0: time.sleep(20); os._exit(0)
        made += 1
except OSError as error: print(type(error).__name__)
print(made)
""",
    "tree": """
import os, signal, time
reading, writing = os.pipe()
if os.fork() == 0:
    made = 0
    try:
        for _ in range(8):  # doubles each time
            os.fork(); os.write(writing, b'x')
    except OSError: pass
    time.sleep(20); os._exit(0)
os.close(writing); time.sleep(1); os.set_blocking(reading, False)
print('BlockingIOError')
print(len(os.read(reading, 100_000)) // 2)
""",
    "threads": f"""
import threading, time
stop = threading.Event(); made = 0
try:
    while made < {_MOST}:
        threading.Thread(target=stop.wait, args=(20,), daemon=True).start(); made += 1
except RuntimeError as error: print(type(error).__name__)
stop.set()
print(made)
""",
    "zombies": f"""
import os, time
made = 0
try:
    while made < {_MOST}:
        if os.fork() == 0: os._exit(0)
        made += 1
except OSError as error: print(type(error).__name__)
print(made)
""",
    "programs": f"""
import subprocess, time
made = 0
try:
    while made < {_MOST}: subprocess.Popen(['sleep', '20']); made += 1
except OSError as error: print(type(error).__name__)
print(made)
""",
    "pool": f"""
import multiprocessing, time
made = 0
start = multiprocessing.get_context('fork').Process
try:
    while made < {_MOST}:
        start(target=time.sleep, args=(20,), daemon=True).start()
        made += 1
except OSError as error: print(type(error).__name__)
print(made)
""",
}


def _bomb(arena: Arena, bomb: str) -> str:
    """A bomb; where a watcher has to end what is too much, it is still there to be seen."""
    if arena.bounds_processes:
        return _BOMBS[bomb]
    most = arena.service.settings.kernel_processes
    return f"{_BOMBS[bomb]}\nif globals().get('made', {most}) >= {most}: time.sleep(30)\n"


@pytest.mark.parametrize("bomb", _BOMBS)
async def test_bomb_meets_the_limit_and_the_next_kernel_has_room_again(
    arena: Arena, attacker: Session, bomb: str
) -> None:
    async with arena.undisturbed():
        result = await attacker.execute(_bomb(arena, bomb), timeout_s=60)
        if result.status == "died":  # where the system doesn't hold it, the watcher ends it
            assert result.message is not None
            # So many that their memory may be too much as well, and is seen first.
            either = (PROCESSES,) if arena.control_groups else (PROCESSES, MEMORY)
            assert any(words in result.message for words in either), result.message
        else:
            kind, made = result.text.splitlines()[:2]
            assert kind in ("BlockingIOError", "RuntimeError")
            assert 0 < int(made) < arena.service.settings.kernel_processes
        await attacker.restart()
    after = await attacker.execute("import subprocess; subprocess.check_output(['echo', 'room'])")
    assert after.text == "b'room\\n'", after.text


async def test_full_house_still_answers_the_next_cell(arena: Arena, attacker: Session) -> None:
    """A kernel whose processes are all taken runs Python, and says why a program can't start."""
    bombed = await arena.attack(attacker, _bomb(arena, "forks"), timeout_s=60)
    if not arena.bounds_processes:
        assert (bombed.status, bombed.state_lost) == ("died", True), bombed.text
        assert bombed.message is not None and PROCESSES in bombed.message
        again = await attacker.execute("import subprocess; subprocess.run(['true']).returncode")
        assert again.text == "0"
        pytest.skip("without root, only namespaces or control groups refuse processes one by one")
    refused = await attacker.execute("import subprocess; subprocess.run(['true'])")
    assert refused.status == "error"
    assert "BlockingIOError" in refused.text
    async with arena.user() as other:
        fine = await other.execute("import subprocess; subprocess.run(['true']).returncode")
    assert fine.text == "0"


_DAEMONS = {
    "double-fork": """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        daemon()
    os._exit(0)
os.wait()
""",
    "ignores-signals": """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    for number in range(1, 65):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    daemon()
""",
    "own-group": """
import os, time
if os.fork() == 0:
    os.setpgid(0, 0)
    daemon()
""",
    "death-signal": """
import ctypes, os, time
if os.fork() == 0:
    os.setsid(); ctypes.CDLL(None).prctl(1, 0); ctypes.CDLL(None).prctl(36, 1)
    daemon()
""",
    "chain": """
import os, time
if os.fork() == 0:
    # Moves on to a new process again and again, so that whoever looks finds the one before.
    os.setsid()
    for _ in range(30):
        if os.fork(): os._exit(0)
        time.sleep(0.002)
    daemon()
""",
    "stopped": """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: daemon()
    os.kill(os.getpid(), signal.SIGSTOP)
""",
    "thread-of-dead-leader": """
import ctypes, os, threading, time
if os.fork() == 0:
    os.setsid()
    threading.Thread(target=daemon).start()
    ctypes.CDLL(None).syscall(60, 0)  # exit(): the first thread only
""",
}


@pytest.mark.parametrize("end", ["restart", "close", "death"])
@pytest.mark.parametrize("kind", _DAEMONS)
async def test_no_daemon_outlives_its_kernel(
    arena: Arena, attacker: Session, kind: str, end: str
) -> None:
    marker = f"marked-{secrets.token_hex(8)}"
    # Another program in place of the process: nothing of the kernel's code is left in it.
    daemon = (
        "def daemon():\n    import os\n"
        f"    loop = 'trap \"\" 1 2 3 15; while :; do sleep 1; done'\n"
        f"    os.execv('/bin/sh', ['sh', '-c', loop, {marker!r}])\n"
    )
    async with arena.undisturbed():
        begun = await attacker.execute(daemon + _DAEMONS[kind] + "\nprint('begun')")
        assert begun.text == "begun\n"
        await until(lambda: bool(processes_with(marker)))
        assert (await attacker.execute("1")).text == "1"
        if end == "restart":
            await attacker.restart()
        elif end == "close":
            await attacker.close()
        else:
            assert (await attacker.execute("import os; os._exit(1)")).status == "died"
        await until(lambda: not processes_with(marker))


async def test_daemon_that_outlives_its_cell_ends_with_the_deadline_of_another(
    arena: Arena, attacker: Session
) -> None:
    marker = f"marked-{secrets.token_hex(8)}"
    await attacker.execute(
        "import subprocess\nsubprocess.Popen(['setsid', 'sh', '-c', "
        f"'while :; do sleep 1; done', {marker!r}]);"
    )
    await until(lambda: bool(processes_with(marker)))
    ended = await arena.attack(
        attacker,
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nsum(range(10**12))",
        timeout_s=1,
    )
    assert (ended.status, ended.state_lost) == ("timeout", True)
    await until(lambda: not processes_with(marker))


async def test_fork_storm_does_not_keep_the_session_from_closing(
    arena: Arena, attacker: Session
) -> None:
    """Processes that fork anew as fast as others are ended."""
    marker = f"marked-{secrets.token_hex(8)}"
    storm = (
        "import os, sys, time\n"
        "end = time.monotonic() + 20\n"  # a broken sandbox is rid of it then
        "for _ in range(4): os.fork()\n"
        "os.setsid() if os.getpid() != os.getsid(0) else None\n"
        "while time.monotonic() < end:\n"
        "    try:\n        if os.fork(): os._exit(0)\n"
        "    except OSError: pass\n"
    )
    async with arena.undisturbed():
        await attacker.execute(
            "import subprocess, sys\n"
            f"subprocess.Popen([sys.executable, '-c', {storm!r}, {marker!r}]);"
        )
        await until(lambda: bool(processes_with(marker)))
        await asyncio.wait_for(attacker.close(), 15)
        await until(lambda: not processes_with(marker))
    async with arena.user() as next_one:
        assert (await next_one.execute("1")).text == "1"
