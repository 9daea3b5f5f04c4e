"""Kernels that end in every way that a process can end in, or pretend to."""

import os
import sys
from pathlib import Path

import pytest

from interpreter import Session
from tests.attacks.conftest import Arena
from tests.attacks.resources import owned_slots, slots
from tests.service.waiting import until

_GONE = "The variables are gone; the files are still there."
_DEATHS = {
    "segfault": ("import ctypes; ctypes.string_at(0)", "a segmentation fault"),
    "abort": ("import os; os.abort()", "an abort from C code"),
    "stack": ("import faulthandler; faulthandler._stack_overflow()", "a segmentation fault"),
    "kill": ("import os; os.kill(os.getpid(), 9)", "signal 9 (kill)"),
    "kill-all": (
        "import os\ntry: os.kill(-1, 9)\nexcept OSError: pass\nos.kill(os.getpid(), 9)",
        "signal 9 (kill)",
    ),
    "kill-init": (
        "import os\nfor n in range(1, 65):\n    try: os.kill(os.getppid(), n)\n"
        "    except OSError: pass\nos.kill(os.getpid(), 9)",
        "signal 9 (kill)",
    ),
    "terminate": (
        "import os, signal; signal.signal(15, signal.SIG_DFL); os.kill(os.getpid(), 15)",
        "signal 15 (terminate)",
    ),
    "illegal": ("import os; os.kill(os.getpid(), 4)", "an illegal instruction"),
    "trap": ("import os; os.kill(os.getpid(), 8)", "a floating-point trap"),
    "real-time": ("import os; os.kill(os.getpid(), 63)", "signal 63"),
    "exit-0": ("import os; os._exit(0)", "ended itself (exit status 0)"),
    "exit-137": ("import os; os._exit(137)", "ended itself (exit status 137)"),
    "program": ("import os; os.execv('/bin/true', ['true'])", "ended itself (exit status 0)"),
    "thread": (
        "import os, threading, time\nthreading.Thread(target=os._exit, args=(5,)).start()\n"
        "time.sleep(30)",
        "ended itself (exit status 5)",
    ),
}
if sys.version_info < (3, 12):  # later ones bound how deep their own C code goes
    _DEATHS["recursion"] = (
        "import sys; sys.setrecursionlimit(10**9)\nx = []\n"
        "for _ in range(300_000): x = [x]\nrepr(x)",
        "a segmentation fault",
    )


@pytest.mark.parametrize("death", _DEATHS)
async def test_death_is_told_and_leaves_no_core(
    arena: Arena, attacker: Session, death: str
) -> None:
    code, sentence = _DEATHS[death]
    made = await attacker.execute("kept = 1\nimport os\nopen('kept.txt', 'w').write('kept');")
    assert made.status == "ok"
    result = await arena.attack(attacker, code, timeout_s=30)
    assert (result.status, result.state_lost) == ("died", True)
    assert result.message is not None
    assert sentence in result.message and _GONE in result.message, result.message
    left = await attacker.execute("import os; print(sorted(os.listdir()), 'kept' in globals())")
    assert left.text.splitlines()[0] == "['kept.txt'] False"


async def test_kernel_that_stops_itself_meets_the_deadline(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(
        attacker,
        "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
        timeout_s=1,
    )
    assert (result.status, result.state_lost) == ("timeout", True)


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.closerange(0, 1024)",
        "import os\nfor n in os.listdir('/proc/self/fd'):\n"
        "    try: os.dup2(os.open('/dev/null', os.O_RDWR), int(n))\n    except OSError: pass",
        "import os; os.execv('/bin/sleep', ['sleep', '100'])",
        "import os, shutil\nos.execv('/bin/sh', ['sh', '-c', 'kill -STOP $$'])",
        "get_ipython().kernel.io_loop.stop(); import time; time.sleep(60)",
        "import os, time\nif os.fork():\n    os._exit(0)\ntime.sleep(60)",
        "import gc\nfor o in gc.get_objects():\n"
        "    if type(o).__name__ == 'Context' and hasattr(o, 'destroy'): o.destroy(linger=0)",
    ],
    ids=["closed", "nulled", "sleep", "stopped", "no-loop", "fork-on", "no-context"],
)
async def test_kernel_that_is_no_kernel_any_more_is_replaced(
    arena: Arena, attacker: Session, code: str
) -> None:
    """At once, or, if the kernel ends only after the cell, by the cell that finds it ending."""
    await attacker.execute("kept = 1")
    async with arena.undisturbed():
        result = await attacker.execute(f"print('begun', flush=True)\n{code}", timeout_s=2)
    assert result.status in ("died", "timeout", "ok", "error")
    after = await attacker.execute("'kept' in globals()")
    if after.status == "died":
        assert not result.state_lost and after.state_lost
        after = await attacker.execute("'kept' in globals()")
        assert after.text.splitlines()[0] == "False"
    elif result.state_lost:
        assert after.text.splitlines()[0] == "False"
    assert (await attacker.execute("2 + 2")).text == "4"


async def test_child_that_answers_in_place_of_the_kernel_harms_only_itself(
    arena: Arena, attacker: Session
) -> None:
    """The cell goes on in a child, which holds the kernel's sockets, and the kernel is gone."""
    result = await arena.attack(
        attacker,
        "import os\nif os.fork():\n    os.kill(os.getpid(), 9)\nprint('the child speaks')",
        timeout_s=5,
    )
    assert (result.status, result.state_lost) == ("died", True)


async def test_no_core_file_is_left_anywhere(arena: Arena, attacker: Session) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    where = [Path(arena.data_dir), Path.cwd(), Path("/tmp"), Path("/var/crash"), Path("/cores")]
    if pattern.startswith("/"):
        where.append(Path(pattern).parent)

    def cores() -> set[str]:
        found = set()
        for top in where[1:]:
            if top.is_dir():
                found |= {str(top / n) for n in os.listdir(top) if n.startswith("core")}
        return found | {str(p) for p in where[0].rglob("core*") if p.is_file()}

    before = cores()
    limit = await attacker.execute(
        "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))\n"
        "try: resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20)); print('raised')\n"
        "except (OSError, ValueError) as error: print(type(error).__name__)"
    )
    assert limit.text == "(0, 0)\nValueError\n"
    result = await arena.attack(attacker, "import ctypes; ctypes.string_at(0)")
    assert result.status == "died"
    listed = await attacker.execute("import os; os.listdir()")
    assert listed.text.splitlines()[0] == "[]"
    assert cores() - before == set()


async def test_kernels_that_die_again_and_again_leave_nothing(
    arena: Arena, attacker: Session
) -> None:
    await attacker.execute("1")
    async with arena.undisturbed():
        for _ in range(5):
            result = await attacker.execute("import os; os.kill(os.getpid(), 11)")
            assert result.status == "died"
    # Those who come often have more spares made: each directory belongs to a session or a kernel.
    await until(lambda: slots(arena) <= owned_slots(arena))
    await attacker.close()
    await until(lambda: not [k for k in arena.service.kernels() if k.user_id == attacker.user_id])
