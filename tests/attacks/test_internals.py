"""Attacks on the kernel's own machinery, all of which user code can reach: only its owner suffers."""

# ruff: noqa: E501 - lines of hostile code are left whole

import asyncio

import pytest

from interpreter import Session
from tests.attacks.conftest import Arena
from tests.attacks.resources import MEMORY

KERNEL = "kernel = get_ipython().kernel\napp, session = kernel.parent, kernel.session\n"

OF_IPYKERNEL = {
    "do_execute": "async def no(*a, **k): raise RuntimeError\nkernel.do_execute = no",
    "do_execute that answers nonsense": "async def no(*a, **k): return 5\nkernel.do_execute = no",
    "do_execute that never ends": "import asyncio\nasync def no(*a, **k): await asyncio.sleep(10**6)\nkernel.do_execute = no",
    "execute_request": "async def no(*a, **k): pass\nkernel.execute_request = no\nkernel.shell_handlers['execute_request'] = no",
    "handlers": "kernel.shell_handlers.clear(); kernel.control_handlers.clear()",
    "send": "session.send = lambda *a, **k: None",
    "send that raises": "def no(*a, **k): raise SystemExit\nsession.send = no",
    "the key": "session.key = b'another'",
    "the shell's loop": "kernel.io_loop.stop() if hasattr(kernel, 'io_loop') else None",
    "run_cell": "get_ipython().run_cell = get_ipython().run_cell_async = lambda *a, **k: 1 / 0",
    "the shell itself": "kernel.shell = None",
    "its user's names": "get_ipython().user_ns.clear()",
    "comms": "kernel.comm_manager = None; kernel.shell_handlers['comm_open'] = None",
    "input": "kernel._allow_stdin = True; kernel.stdin_socket.close(0); kernel.raw_input = 5",
    "cells' budget": "from kernel_startup import streams\nstreams.CellStream.budget = None; streams.end_cell = None",
    "interrupts": "kernel._interrupts = None",
    "variables": "from kernel_startup import variables\nvariables.summarise = None; import kernel_startup.kernel as k; k.summarise = lambda *a, **o: 5",
}  # fmt: skip
OF_PYTHON = {
    "streams": "import sys\nsys.stdout = sys.stderr = sys.__stdout__ = None",
    "closed streams": "import sys\nsys.stdout.close(); sys.stderr.close(); kernel._stdout.close()",
    "hooks": "import sys\nsys.displayhook = sys.excepthook = sys.unraisablehook = None\nget_ipython().displayhook = None",
    "open and print": "import builtins\nbuiltins.open = builtins.print = None",
    "__import__": "import builtins\nbuiltins.__import__ = None",
    "len, type and isinstance": "import builtins\nbuiltins.len = builtins.isinstance = lambda *a: 1 / 0",
    "all builtins": "import builtins\nvars(builtins).clear()",
    "all modules": "import sys\nsys.modules.clear()",
    "json": "import json\njson.dumps = json.loads = None; json.JSONEncoder.encode = None",
    "tracing": "import sys, threading\ndef t(*a): raise SystemExit\nthreading.settrace(t); sys.settrace(t)",
    "profiling": "import sys\ndef p(*a): 1 / 0\nsys.setprofile(p)",
    "recursion": "import sys\nsys.setrecursionlimit(60)",
    "every object": "import gc\nfor o in gc.get_objects():\n    if isinstance(o, dict) and 'msg_id' in o: o.clear()",
    "the collector": "import gc\ngc.disable(); gc.set_threshold(1, 1, 1); gc.callbacks.append(lambda *a: 1 / 0); gc.freeze()",
    "what happens at exit": "import atexit, os, signal, time\natexit.register(lambda: time.sleep(10**6))",
}  # fmt: skip
OF_THE_SYSTEM = {
    "a quiet end": "import os; os._exit(0)",
    "an end by a signal": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "being stopped": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "its leader's stop": "import os, signal; os.killpg(0, signal.SIGSTOP)",
    "a jump into nowhere": "import ctypes; ctypes.CFUNCTYPE(None)(1)()",
    "signals ignored": "import signal\nfor s in range(1, 32):\n    try:\n        signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError):\n        pass\nwhile True: pass",
    "signals blocked": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\nwhile True: pass",
    "its sockets closed": "import os\nfor n in os.listdir('/proc/self/fd'):\n    try:\n        if os.readlink('/proc/self/fd/' + n).startswith('socket'): os.close(int(n))\n    except OSError: pass",
    "all descriptors closed": "import os\nos.closerange(0, 1024)",
    "all descriptors replaced": "import os\nd = os.open('/dev/null', os.O_RDWR)\nfor n in range(d): os.dup2(d, n)",
    "an end of the publishing thread": "kernel.iopub_thread.io_loop.add_callback(kernel.iopub_thread.io_loop.stop)",
    "an end of the control thread": "kernel.control_thread.io_loop.add_callback(kernel.control_thread.io_loop.stop)",
    "a busy control thread": "def spin():\n    while True: pass\nkernel.control_thread.io_loop.add_callback(spin)",
    "its context's end": "import threading, zmq\nthreading.Thread(target=kernel.iopub_thread.socket.context.term, daemon=True).start()",
    "a raise in every thread": "import ctypes, threading\nfor t in threading.enumerate():\n    if t is not threading.current_thread(): ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(t.ident), ctypes.py_object(SystemExit))",
    "its limits": "import resource\nfor k in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC): resource.setrlimit(k, (0, 0))",
    "no time": "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass",
    "another program in its place": "import os; os.execvp('sleep', ['sleep', '1000'])",
    "a copy that goes on in its place": "import os, time\nif os.fork(): os._exit(0)\ntime.sleep(1000)",
    "a copy that speaks for it": "import os\nif os.fork() == 0:\n    for i in range(20): session.send(kernel.iopub_socket, 'status', {'execution_state': 'idle'}, parent=kernel.get_parent('shell'))\n    os._exit(0)",
    "its directories": "import os\nfor p in (os.getcwd(), os.environ['HOME'], os.path.dirname(app.ip)): os.chmod(p, 0)",
    "its directory gone": "import os, shutil\nshutil.rmtree(os.path.dirname(app.ip), ignore_errors=True); os.chdir('/')",
}  # fmt: skip
#: What may become of a kernel that can't answer any more.
SENTENCES = ("time limit", "The kernel ", "The connection to the kernel broke")
_AT_ONCE = 6


async def _attack(arena: Arena, what: str, code: str, turn: asyncio.Semaphore) -> None:
    """Run one attack, by a user of its own, and see to it that the session goes on."""
    async with turn, arena.user() as attacker:
        result = await attacker.execute(KERNEL + code, timeout_s=1.5)
        if result.state_lost:
            assert result.message is not None, what
            assert any(sentence in result.message for sentence in SENTENCES), (what, result.message)
        # A kernel that is broken by now may cost one more cell, and says so; then all is well.
        after = await attacker.execute("print('own'); 6 * 7", timeout_s=1.5)
        if after.status != "ok" or not after.text.startswith("own\n42"):
            if not after.state_lost:
                await attacker.restart()  # as a user does whose kernel answers nonsense
            else:
                assert after.message is not None, what
        told = await attacker.execute("print('own'); 6 * 7", timeout_s=30)
        assert (told.status, told.text.splitlines()[:2]) == ("ok", ["own", "42"]), (what, told)


@pytest.mark.parametrize(
    "attacks", [OF_IPYKERNEL, OF_PYTHON, OF_THE_SYSTEM], ids=["ipykernel", "python", "system"]
)
async def test_session_is_usable_after_attacks_on_its_own_kernel(
    arena: Arena, attacks: dict[str, str]
) -> None:
    turn = asyncio.Semaphore(_AT_ONCE)
    async with arena.undisturbed():
        running = [_attack(arena, what, code, turn) for what, code in attacks.items()]
        failures = await asyncio.gather(*running, return_exceptions=True)
    assert [failure for failure in failures if failure is not None] == []


async def test_variables_and_completions_of_a_hostile_kernel_are_bounded(
    arena: Arena, attacker: Session
) -> None:
    await arena.attack(
        attacker,
        KERNEL + "import kernel_startup.kernel as k\n"
        "bad = [{'name': 'x' * 100_000, 'type': ['a'], 'summary': None}] * 5000 + [5, None, 'x', {'name': {}}]\n"
        "k.summarise = lambda *a, **o: bad\n"
        "kernel.do_complete = lambda *a: {'matches': ['m' * 10_000] * 500 + [5, None, {}], 'cursor_start': -10**9,\n"
        "                                 'cursor_end': 'x', 'metadata': 5, 'status': 'ok'}",
    )
    async with arena.undisturbed():
        variables, completion = await asyncio.gather(
            attacker.variables(), attacker.complete("x.", 2)
        )
    assert sum(len(repr(variable)) for variable in variables) < 4 << 20
    assert len(repr(completion)) < 8 << 20
    after = await attacker.execute("1")
    if after.message is not None:  # the reply took half a gigabyte of its own memory to write
        assert MEMORY in after.message, after.text
        after = await attacker.execute("1")
    assert after.text == "1"
