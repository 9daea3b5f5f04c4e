"""Cells that never end, and cells that never stop talking."""

import asyncio

import pytest

from interpreter import Session
from interpreter.outputs import DisplayData
from tests.attacks.conftest import Arena
from tests.attacks.resources import begin

_OUTPUT_CHARS = 20_000
#: What the lines about left-out output may add.
_REMARKS_CHARS = 2_000


async def test_endless_loop_ends_at_the_deadline_and_keeps_the_variables(
    arena: Arena, attacker: Session
) -> None:
    result = await arena.attack(attacker, "x = 1\nprint('begun')\nwhile True: pass", timeout_s=1)
    assert (result.status, result.state_lost) == ("timeout", False)
    assert result.text.startswith("begun\n")
    assert (await attacker.execute("x")).text == "1"


@pytest.mark.parametrize(
    "code",
    [
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
        "import signal; signal.signal(signal.SIGINT, lambda *_: None)\nwhile True: pass",
        "import signal, threading\n"
        "for t in threading.enumerate(): pass\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nsum(range(10**12))",
        "sum(range(10**12))",  # C code that never looks for signals and never lets go of the lock
        "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    ],
    ids=["ignored", "handled", "blocked", "in-c", "stopped"],
)
async def test_loop_that_cannot_be_interrupted_costs_only_its_kernel(
    arena: Arena, attacker: Session, code: str
) -> None:
    result = await arena.attack(attacker, f"print('begun', flush=True)\n{code}", timeout_s=1)
    assert (result.status, result.state_lost) == ("timeout", True)
    assert result.message is not None and "could not be interrupted" in result.message


_BURN = """
import os, resource, time
end = time.monotonic() + {seconds}
children = []
for _ in range({workers}):
    pid = os.fork()
    if pid == 0:
        os.setsid()  # Linux shares the processor by sessions, where nobody has set up anything else
        while time.monotonic() < end: pass
        os._exit(0)
    children.append(pid)
for pid in children: os.waitpid(pid, 0)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print((used.ru_utime + used.ru_stime) / {seconds})
"""


async def test_children_get_no_more_processor_time_than_the_kernels_limit(
    arena: Arena, attacker: Session
) -> None:
    result = await arena.attack(attacker, _BURN.format(workers=8, seconds=3), timeout_s=30)
    assert result.status == "ok", result.text
    assert arena.service.settings.kernel_cpu_percent == 100
    if not arena.control_groups:
        pytest.skip("without control groups nothing bounds processor time")
    assert float(result.text) < 1.25, f"{result.text.strip()} processors at a limit of 1"


async def test_many_busy_processes_get_no_more_than_one_honest_one(arena: Arena) -> None:
    """Three kernels with twelve processes each, and one with a single process, which is honest."""
    async with arena.user() as a, arena.user() as b, arena.user() as c, arena.user() as honest:
        users = [(a, 12), (b, 12), (c, 12), (honest, 1)]
        await asyncio.gather(*(user.execute("1") for user, _ in users))
        results = await asyncio.gather(
            *(
                user.execute(_BURN.format(workers=workers, seconds=4), timeout_s=60)
                for user, workers in users
            )
        )
    *greedy, single = [float(result.text) for result in results]
    assert single > 0
    if not arena.control_groups:
        pytest.skip("without control groups processors aren't shared evenly by users")
    assert single > 0.5 * sum(greedy) / len(greedy), f"{single} against {greedy}"


async def test_loop_that_catches_every_interrupt_ends_at_the_deadline(
    arena: Arena, attacker: Session
) -> None:
    """Whether it costs the kernel depends on where the second interrupt meets it."""
    result = await arena.attack(
        attacker,
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        timeout_s=1,
    )
    assert result.status == "timeout"


async def test_loop_in_a_thread_goes_on_within_the_share_and_later_cells_work(
    arena: Arena, attacker: Session
) -> None:
    async with arena.undisturbed():
        begun = await attacker.execute(
            "import os, threading, time\nstop = False\n"
            "def spin():\n    while not stop: pass\n"
            "threads = [threading.Thread(target=spin) for _ in range(4)]\n"
            "for t in threads: t.start()\nprint('spinning')"
        )
        assert begun.text == "spinning\n"
        measured = await attacker.execute(
            "a, begun = time.process_time(), time.monotonic(); time.sleep(1)\n"
            "print((time.process_time() - a) / (time.monotonic() - begun))",
            timeout_s=30,
        )
        assert 0 < float(measured.text) < 1.25, measured.text
    stopped = await attacker.execute("stop = True\nfor t in threads: t.join()\n'quiet'")
    assert stopped.text == "'quiet'"


_STREAM_FLOODS = {
    "stdout": "import sys\nfor _ in range(1 << 14): sys.stdout.write('x' * (1 << 16))",
    "stderr": "import sys\nfor _ in range(1 << 14): sys.stderr.write('x' * (1 << 16))",
    "descriptor": "import os\nblock = b'x' * (1 << 20)\nfor _ in range(512): os.write(1, block)",
    "child": "import subprocess\n"
    "subprocess.run('yes xxxxxxxxxxxxxxxxxxxxxxxx | head -c 40000000', shell=True)",
    "lines": "for _ in range(100_000): print('xxx')",
    "carriage-returns": "print('\\r'.join(['x' * 99] * 1_000_000))",
    "backspaces": "print('x\\b' * 20_000_000)",
    "escapes": "print('\\x1b[2K\\x1b[A' * 10_000_000)",
}


@pytest.mark.parametrize("flood", _STREAM_FLOODS)
async def test_flood_of_text_keeps_its_head_and_its_tail(
    arena: Arena, attacker: Session, flood: str
) -> None:
    # What goes through the descriptor keeps its order there, not with what is printed.
    through = flood in ("descriptor", "child")
    last = "import os; os.write(1, b'\\nthe tail')" if through else "print('\\nthe tail')"
    code = f"print('the head', flush=True)\n{_STREAM_FLOODS[flood]}\n{last}"
    result = await arena.attack(attacker, code, timeout_s=60)
    assert result.status == "ok", result.message
    assert result.text.startswith("the head\n")
    assert result.text.rstrip().endswith("the tail")
    assert len(result.text) < _OUTPUT_CHARS + _REMARKS_CHARS
    if flood in ("stdout", "stderr", "descriptor", "child", "lines"):
        assert "characters left out" in result.text


async def test_endless_flood_is_stopped_with_head_and_tail(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(
        attacker,
        "print('the head')\nn = 0\nwhile True:\n    n += 1; print(n, '.' * n)",
        timeout_s=2,
    )
    assert result.status == "timeout"
    assert result.text.startswith("the head\n1 .\n")
    assert len(result.text) < _OUTPUT_CHARS + _REMARKS_CHARS
    assert not result.state_lost


_SEND_RAW = """
kernel = get_ipython().kernel
def send(kind, content, count):
    for _ in range(count):
        kernel.session.send(kernel.iopub_socket, kind, content, parent=kernel.get_parent())
"""


@pytest.mark.parametrize(
    "flood",
    [
        "from IPython.display import display\n"
        "for i in range(5000): display({'text/plain': f'<{i}>'}, raw=True)",
        "from IPython.display import display\n"
        "for _ in range(20): display({'text/html': 'x' * (10 << 20)}, raw=True)",
        "from IPython.display import display\nh = display('x', display_id=True)\n"
        "for i in range(3000): h.update(str(i))",
        "from IPython.display import display\n"
        "display({f'text/x{i}': 'x' for i in range(100_000)}, raw=True)",
        f"{_SEND_RAW}send('stream', {{'name': 'stdout', 'text': 'x' * (4 << 20)}}, 60)",
        f"{_SEND_RAW}send('stream', {{'name': 'x' * (1 << 20), 'text': 'x'}}, 60)",
        f"{_SEND_RAW}send('error', {{'ename': 'x', 'evalue': 'x' * (1 << 20),"
        " 'traceback': ['x' * 1000] * 1000}, 60)",
        f"{_SEND_RAW}send('status', {{'execution_state': 'x' * (1 << 20)}}, 60)",
    ],
    ids=["displays", "html", "updates", "types", "streams", "names", "errors", "states"],
)
async def test_flood_of_messages_is_bounded(arena: Arena, attacker: Session, flood: str) -> None:
    result = await arena.attack(attacker, f"print('the head')\n{flood}", timeout_s=60)
    assert result.status == "ok", result.message
    assert "the head\n" in result.text
    assert len(result.text) < 2 * _OUTPUT_CHARS + _REMARKS_CHARS
    shown = [output for output in result.outputs if isinstance(output, DisplayData)]
    assert len(shown) <= 50
    assert sum(len(str(output.data)) for output in shown) < 64 << 20


async def test_display_larger_than_a_connection_takes_costs_only_the_kernel(
    arena: Arena, attacker: Session
) -> None:
    result = await arena.attack(
        attacker,
        "from IPython.display import display\ndisplay({'text/html': 'x' * (60 << 20)}, raw=True)",
        timeout_s=30,
    )
    assert result.state_lost
    assert result.message is not None and "The connection to the kernel broke" in result.message


async def test_what_a_thread_prints_after_its_cell_cannot_flood_the_next(
    arena: Arena, attacker: Session
) -> None:
    async with arena.undisturbed():
        await attacker.execute(
            "import threading\nstop = False\n"
            "def flood():\n    while not stop: print('y' * 10_000)\n"
            "thread = threading.Thread(target=flood); thread.start()"
        )
        result = await attacker.execute(
            "import time; time.sleep(1); stop = True; thread.join()\nprint('\\nthe tail')"
        )
    assert result.status == "ok", result.message
    assert "the tail" in result.text
    assert len(result.text) < _OUTPUT_CHARS + _REMARKS_CHARS


async def test_several_attackers_at_once_leave_an_honest_user_alone(arena: Arena) -> None:
    attacks = [
        "while True: pass",
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nsum(range(10**12))",
        "while True: print('x' * 10_000)",
        "import os\nfor _ in range(500):\n    try:\n        if os.fork() == 0:\n"
        "            while True: pass\n    except OSError: pass",
        "import mmap\nm = mmap.mmap(-1, 1 << 30)\n"
        "for i in range(0, 1 << 30, 1 << 20): m[i : i + (1 << 20)] = bytes(1 << 20)",
    ]
    deadlines = [3, 3, 3, 3, 3]
    if not arena.control_groups:  # it holds on to it until the watcher gets round to it
        attacks[4] += "\nimport time; time.sleep(40)"
        deadlines[4] = 60
    async with (
        arena.user() as a,
        arena.user() as b,
        arena.user() as c,
        arena.user() as d,
        arena.user() as e,
    ):
        attackers = [a, b, c, d, e]
        async with arena.undisturbed():
            cells = [
                await begin(user, f"print('begun', flush=True)\n{code}", timeout_s=deadline)
                for user, code, deadline in zip(attackers, attacks, deadlines, strict=True)
            ]
            honest = await arena.bystander.execute("sum(range(10**6))")
            assert honest.text == "499999500000"
            results = await asyncio.gather(*cells)
        assert [result.status for result in results[:3]] == ["timeout"] * 3
        ends = ("died", "timeout") if arena.control_groups else ("died",)
        assert results[4].status in ends, results[4].text
        await d.restart()  # what it has forked goes on until then
        after = await asyncio.gather(*(user.execute("1 + 1") for user in attackers))
        assert [result.text.splitlines()[0] for result in after] == ["2"] * 5
