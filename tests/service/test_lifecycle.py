"""Interrupting, restarting, closing, cancelling; and kernels that die."""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from interpreter import (
    Execution,
    Interpreter,
    QueueFull,
    SandboxUnavailable,
    Session,
    SessionClosed,
    Settings,
)
from interpreter.outputs import ClearOutput, Output
from kernel_startup import immortals
from tests.service.waiting import until


async def _begin(session: Session, code: str) -> "asyncio.Task[Execution]":
    """Start a cell that prints first; returns once its output has come."""
    begun = asyncio.Event()

    def seen(_: Output | ClearOutput) -> None:
        begun.set()

    task = asyncio.create_task(session.execute(f"print('begun')\n{code}", on_output=seen))
    await begun.wait()
    return task


LOOP = "import time\nwhile True: time.sleep(0.05)"


async def test_interrupt_keeps_the_variables(session: Session) -> None:
    await session.execute("x = 41")
    cell = await _begin(session, LOOP)
    assert await session.interrupt()
    result = await cell
    assert (result.status, result.state_lost) == ("interrupted", False)
    assert "KeyboardInterrupt" in result.text
    assert "interrupts.py" not in result.text and "raise KeyboardInterrupt" not in result.text
    assert (await session.execute("x + 1")).text == "42"


async def test_interrupt_without_a_cell_does_nothing(session: Session) -> None:
    assert not await session.interrupt()
    await session.execute("x = 1")
    assert not await session.interrupt()
    assert (await session.execute("x")).text == "1"


async def test_interrupt_before_the_kernel_is_ready_stops_the_cell(session: Session) -> None:
    cell = asyncio.create_task(session.execute("ran = True"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await session.interrupt()
    result = await cell
    assert (result.status, result.count) == ("interrupted", None)
    assert result.message == "The cell was interrupted before it began."
    assert (await session.execute("'ran' in globals()")).text == "False"


async def test_interrupt_twice_is_safe(session: Session) -> None:
    cell = await _begin(session, LOOP)
    await asyncio.gather(session.interrupt(), session.interrupt())
    assert (await cell).status == "interrupted"
    assert (await session.execute("1")).text == "1"


async def test_interrupt_reaches_a_child_process(session: Session) -> None:
    cell = await _begin(session, "import os; os.system('sleep 60')")
    await session.interrupt()
    assert (await cell).status in ("ok", "interrupted")
    assert (await session.execute("1")).text == "1"


async def test_restart_gives_a_clean_kernel_and_keeps_files(
    service: Interpreter, session: Session
) -> None:
    stored = await service.files.save(user_id=session.user_id, filename="a.txt", source=b"hello")
    await session.execute("x = 1; open('made.txt', 'w').write('made');")
    await session.restart()
    result = await session.execute(
        f"import os; print('x' in globals(), load_file('{stored.file_id}'), os.listdir())"
    )
    assert result.text == "False hello ['made.txt']\n"
    assert (result.count, result.state_lost, result.artifacts) == (1, False, ())


async def test_restart_while_a_cell_runs_ends_the_cell(session: Session) -> None:
    cell = await _begin(session, LOOP)
    await session.restart()
    result = await cell
    assert (result.status, result.state_lost) == ("died", True)
    assert result.message == (
        "The kernel was restarted while the cell ran: the variables are gone."
    )
    assert result.text.startswith("begun\n")
    assert (await session.execute("1 + 1")).text == "2"


async def test_restart_twice_at_once_is_safe(service: Interpreter, session: Session) -> None:
    await session.execute("x = 1")
    await asyncio.gather(session.restart(), session.restart(), session.execute("2"))
    assert (await session.execute("'x' in globals()")).text == "False"
    mine = [kernel for kernel in service.kernels() if kernel.user_id == session.user_id]
    assert len(mine) == 1


async def test_restart_whose_caller_gives_up_leaves_the_session_usable(session: Session) -> None:
    await session.execute("x = 1")
    for wait_s in (0, 0, 0.002, 0.005, 0.01, 0.02, 0.05):
        restart = asyncio.create_task(session.restart())
        await asyncio.sleep(wait_s)
        restart.cancel()
        result = await session.execute("'x' in globals()")
        assert (result.status, result.text) == ("ok", "False")


async def test_start_whose_caller_gives_up_leaves_the_slot_usable(
    service: Interpreter, session: Session
) -> None:
    await session.execute("open('kept.txt', 'w').write('kept');")
    host = service._host
    kernel = session._life.kernel
    assert kernel is not None
    slot = kernel.hosted.slot
    await host.kill(kernel.hosted.kernel_id)
    for wait_s in (0, 0, 0.001, 0.002, 0.005, 0.01):
        start = asyncio.create_task(host.start(slot))
        await asyncio.sleep(wait_s)
        start.cancel()
        await asyncio.wait([start])
        if not start.cancelled():
            await host.kill(start.result().kernel_id)
    assert (await session.execute("open('kept.txt').read()")).text.startswith("'kept'")


async def test_cancelled_caller_leaves_the_session_usable(session: Session) -> None:
    await session.execute("x = 5")
    cell = await _begin(session, LOOP)
    cell.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cell
    assert (await session.execute("x")).text == "5"


async def test_cancelled_caller_of_a_stubborn_cell_gets_a_new_kernel(session: Session) -> None:
    stubborn = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    cell = await _begin(session, stubborn)
    cell.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cell
    after = await session.execute("1")
    assert after.status == "ok" and after.text.startswith("1\n")


async def test_loss_of_variables_in_a_cancelled_cell_is_told_with_the_next(
    session: Session,
) -> None:
    cell = await _begin(
        session, "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    )
    cell.cancel()
    await asyncio.wait([cell])
    told = await session.execute("1")
    assert told.state_lost
    assert told.message is not None and "given up" in told.message
    assert (await session.execute("1")).message is None


async def _die_between_cells(session: Session) -> str:
    """Have the kernel end; gives what the next cell tells of that."""
    await session.execute("import threading, os\nthreading.Timer(0.2, lambda: os._exit(7)).start()")
    await until(lambda: not session.live)
    return "The kernel ended itself (exit status 7). The variables of before are gone."


async def test_loss_that_a_cancelled_cell_was_to_tell_is_told_with_the_next(
    session: Session,
) -> None:
    died = await _die_between_cells(session)
    cell = await _begin(session, LOOP)
    cell.cancel()
    await asyncio.wait([cell])
    told = await session.execute("1")
    assert (told.message, told.state_lost) == (died, True)
    assert (await session.execute("1")).message is None


async def test_loss_that_a_cell_was_to_tell_whose_result_is_kept_names_no_other(
    session: Session,
) -> None:
    died = await _die_between_cells(session)
    cell = await _begin(session, "import time; time.sleep(0.5)")
    assert session.keep_result()
    assert (await cell).message == died
    assert (await session.execute("1")).message == died  # the other result may not be found
    assert (await session.execute("1")).message is None


async def test_cancelled_caller_with_a_slow_front_end_keeps_the_kernel(session: Session) -> None:
    await session.execute("kept = 1")
    shown = asyncio.Event()

    async def slow(_: Output | ClearOutput) -> None:
        shown.set()
        await asyncio.sleep(3600)

    cell = asyncio.create_task(session.execute("print('x')", on_output=slow))
    await shown.wait()
    cell.cancel()
    await asyncio.wait([cell])
    assert (await session.execute("kept")).text == "1"


async def test_last_words_of_a_dying_kernel_are_kept_or_said_to_be_missing(
    session: Session,
) -> None:
    few = await session.execute(
        "import os, sys\nfor i in range(2000): print(i)\nsys.stdout.flush()\n"
        "import time; time.sleep(0.3); os._exit(1)"  # what was handed to ZeroMQ needs a moment
    )
    assert few.text.split("\n")[1999] == "1999"
    many = await session.execute(
        "import os, sys\nfor i in range(400_000): print(i)\nsys.stdout.flush(); os._exit(1)",
        timeout_s=120,
    )
    assert many.status == "died"
    assert many.message is not None and many.message.endswith("What it printed last is missing.")


async def test_kernel_that_closes_its_connection_is_replaced(session: Session) -> None:
    await session.execute("kernel = get_ipython().kernel")
    result = await session.execute(
        "import os\nfor n in os.listdir('/run/kernel'): os.unlink('/run/kernel/' + n)\n"
        "import threading\n"
        "kernel.iopub_thread.io_loop.add_callback(kernel.iopub_thread.socket.close, 0)\n"
        "import time; time.sleep(0.5)",
        timeout_s=30,
    )
    assert result.state_lost
    assert (await session.execute("1")).text == "1"


async def test_service_that_has_ended_refuses(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", warm_kernels=0)
    async with Interpreter.open(settings) as service:
        session = await service.session(user_id="1")
        await session.execute("1")
    with pytest.raises(SessionClosed):
        await session.execute("1")
    with pytest.raises(SessionClosed):
        await service.session(user_id="1")


async def test_cancelled_while_waiting_is_never_run(session: Session) -> None:
    running = await _begin(session, "import time; time.sleep(1)")
    waiting = asyncio.create_task(session.execute("ran = True"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await running).status == "ok"
    assert (await session.execute("'ran' in globals()")).text == "False"


async def test_cells_queue_in_order_up_to_the_limit(session: Session) -> None:
    order: list[int] = []

    async def run(number: int) -> None:
        result = await session.execute(f"import time; time.sleep(0.2); {number}")
        order.append(int(result.text))

    cells = [asyncio.create_task(run(number)) for number in range(4)]  # one runs, three wait
    await asyncio.sleep(0)
    with pytest.raises(QueueFull) as refused:
        await session.execute("'one too many'")
    assert refused.value.limit == 3
    await asyncio.gather(*cells)
    assert order == [0, 1, 2, 3]
    assert (await session.execute("'room again'")).status == "ok"


async def test_closed_session_refuses_and_a_new_one_is_made(
    service: Interpreter, session: Session
) -> None:
    await session.execute("x = 1")
    await session.close()
    await session.close()
    with pytest.raises(SessionClosed):
        await session.execute("x")
    again = await service.session(user_id=session.user_id)
    assert again is not session
    assert (await again.execute("'x' in globals()")).text == "False"
    await again.close()


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import os; os._exit(3)", "The kernel ended itself (exit status 3)."),
        ("exit()", "The kernel ended itself (exit status 0)."),
        ("quit()", "The kernel ended itself (exit status 0)."),
        ("import os; os.kill(os.getpid(), 9)", "The kernel was ended by signal 9 (kill)."),
        ("import ctypes; ctypes.string_at(0)", "The kernel was ended by a segmentation fault."),
        ("import os; os.abort()", "The kernel was ended by an abort from C code."),
    ],
)
async def test_death_is_reported_with_its_reason(
    session: Session, code: str, sentence: str
) -> None:
    await session.execute("x = 1")
    result = await session.execute(f"print('last words', flush=True)\n{code}")
    assert (result.status, result.state_lost) == ("died", True)
    assert result.message == f"{sentence} The variables are gone; the files are still there."
    after = await session.execute("'x' in globals()")
    assert (after.text, after.message) == ("False", None)


async def test_memory_limit_is_named_when_it_ends_the_kernel(session: Session) -> None:
    result = await session.execute(
        "import mmap\n"
        "block = mmap.mmap(-1, 900 << 20)\n"  # shared memory: no allocation that could fail
        "for page in range(0, 900 << 20, 4096):\n    block[page] = 1"
    )
    assert (result.status, result.state_lost) == ("died", True)
    assert result.message is not None
    assert result.message.startswith(
        "The kernel was ended because it used more memory than its limit of 512 MB."
    )
    assert (await session.execute("1")).text == "1"


async def test_too_large_an_allocation_is_an_error_that_keeps_the_variables(
    session: Session,
) -> None:
    await session.execute("x = 1")
    result = await session.execute("import numpy as np\nnp.ones(200_000_000)")
    assert result.status == "error"
    assert "MemoryError" in result.text
    assert (await session.execute("x")).text == "1"


async def test_kernel_that_died_between_cells_is_told_with_the_next(session: Session) -> None:
    await session.execute(
        "import threading, os\nx = 1\nthreading.Timer(0.2, lambda: os._exit(7)).start()"
    )
    await until(lambda: not session.live)
    result = await session.execute("'x' in globals()")
    assert (result.status, result.state_lost) == ("ok", True)
    assert result.message == (
        "The kernel ended itself (exit status 7). The variables of before are gone."
    )
    assert "False" in result.text
    assert (await session.execute("1")).message is None


async def test_processes_of_a_cell_end_with_the_kernel(session: Session) -> None:
    await session.execute(
        "import subprocess\n"
        "subprocess.Popen(['setsid', 'sh', '-c', "
        "'(while true; do echo x >> /work/beat; sleep 0.05; done) &'])"
    )
    await session.restart()
    before = await session.execute("import os, time; time.sleep(0.3); os.path.getsize('beat')")
    after = await session.execute("time.sleep(0.4); os.path.getsize('beat')")
    assert before.text == after.text


async def test_interrupts_at_any_moment_lose_neither_the_cell_nor_the_kernel(
    session: Session,
) -> None:
    moments = random.Random(7)
    await session.execute("import time\nkept = 1")
    seen = set()
    for round_ in range(60):
        code = ("1", "print('x')\n2", "time.sleep(0.01)", "plt.plot([1, 2]);")[round_ % 4]
        cell = asyncio.create_task(session.execute(code))
        await asyncio.sleep(moments.random() * (0.15 if round_ % 4 == 3 else 0.02))
        await session.interrupt()
        result = await cell
        assert result.status in ("ok", "interrupted"), (code, result)
        assert not result.state_lost
        seen.add(result.status)
    assert seen == {"ok", "interrupted"}
    assert (await session.execute("kept")).text == "1"


@pytest.mark.parametrize(
    "poison",
    [
        "import os, shutil\nfor n in os.listdir('/run/kernel'): os.unlink('/run/kernel/' + n)\n"
        "os.mkdir('/run/kernel/s-1')",
        "import os\nos.chmod('/run/kernel', 0)",
        "import os\nos.chmod('/work', 0); os.chmod('/home/user', 0)",
        "import pathlib\np = pathlib.Path.home() / '.ipython/profile_default/startup/x.py'\n"
        "p.parent.mkdir(parents=True, exist_ok=True); p.write_text('import os; os._exit(5)')",
        "import pathlib\np = pathlib.Path.home() / '.ipython/profile_default/ipython_config.py'\n"
        "p.parent.mkdir(parents=True, exist_ok=True); p.write_text('while True: pass')",
    ],
)
async def test_nothing_a_kernel_leaves_behind_keeps_the_next_from_starting(
    session: Session, poison: str
) -> None:
    assert (await session.execute(poison)).status == "ok"
    await session.restart()
    assert (await session.execute("open('x', 'w').write('1')")).text == "1"


async def test_directory_of_any_depth_can_be_left_behind(session: Session) -> None:
    result = await session.execute(
        "import os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')\n"
        "open('x', 'w').close(); os.chmod('.', 0)"
    )
    # The watcher may see it while the cell runs, or find the kernel idle: what it can't measure, it
    # ends. Either way nothing of it is in the way of the next kernel, and it is told once.
    await session.restart()
    after = await session.execute("1")
    assert (after.status, after.text.splitlines()[0], after.state_lost) == ("ok", "1", False)
    told = " ".join(filter(None, (result.message, after.message)))
    assert told.count("directories without end") == 1, told
    assert (await session.execute("1")).text == "1"
    await session.close()


async def test_cancelled_while_the_kernel_starts_leaves_no_slot_behind(
    service: Interpreter, session: Session
) -> None:
    slots = service.settings.data_dir / "sessions"
    before = {slot.name for slot in slots.iterdir()}
    for pause in (0.0, 0.01, 0.05, 0.1):
        cell = asyncio.create_task(session.execute("1"))
        await asyncio.sleep(pause)
        cell.cancel()
        await asyncio.wait([cell])
        await session.close()
        session = await service.session(user_id=session.user_id)
    spares = service.settings.warm_kernels
    await until(lambda: len({slot.name for slot in slots.iterdir()} - before) <= spares)


async def test_kernel_that_lies_about_its_reply_harms_only_itself(session: Session) -> None:
    lie = (
        "kernel = get_ipython().kernel\n"
        "async def lie(*_, **__):\n"
        "    return {'status': ['no', 'status'], 'ename': ['a', 'list'], 'execution_count': 'x'}\n"
        "kernel.do_execute = lie"
    )
    assert (await session.execute(lie)).status == "ok"
    assert (await session.execute("1")).status == "error"
    await session.restart()
    assert (await session.execute("1")).text == "1"


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_service_outlives_its_fork_server(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", warm_kernels=1)
    async with Interpreter.open(settings) as service:
        first, second = [await service.session(user_id=name) for name in ("a", "b")]
        await second.execute("x = 1")
        cell = await _begin(first, LOOP)
        sandbox = _parent(_parent(service.kernels()[0].pid))
        os.kill(sandbox, 9)  # the first process of the outer sandbox: all of it ends
        assert (await cell).status == "died"
        await until(lambda: not service.kernels() or service.kernels()[0].user_id == "a")
        told = await second.execute("'x' in globals()")
        assert (told.status, told.state_lost) == ("ok", True)
        assert told.text.startswith("False\n")
        assert (await first.execute("1")).text == "1"


async def test_sandbox_that_does_not_start_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = tmp_path / "bwrap"
    refusing.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    refusing.chmod(0o755)
    monkeypatch.setattr("interpreter.hosts.backends.find_bwrap", lambda: refusing)
    async with Interpreter.open(Settings(data_dir=tmp_path / "data")) as service:
        session = await service.session(user_id="1")
        with pytest.raises(SandboxUnavailable) as refused:
            await session.execute("1")
    assert "No permissions to create new namespace" in str(refused.value)
    assert "sysctl" in str(refused.value)


async def test_idle_kernel_is_culled_and_its_files_stay(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", kernel_idle_s=1.0, warm_kernels=0)
    async with Interpreter.open(settings) as service:
        session = await service.session(user_id="1")
        await session.execute("x = 1; open('kept.txt', 'w').write('kept');")
        assert len(service.kernels()) == 1
        await until(lambda: not service.kernels())
        result = await session.execute("import os; print(os.listdir(), 'x' in globals())")
        assert result.text.startswith("['kept.txt'] True\n")
        assert not result.state_lost
        assert result.message is not None and "idle" in result.message


async def test_what_the_fork_server_has_made_is_not_counted_where_that_is_possible(
    session: Session,
) -> None:
    result = await session.execute(
        "import sys\n"
        "things = (pd, pd.DataFrame, pd.DataFrame.describe.__code__, plt.plot, get_ipython())\n"
        "print(*{sys.getrefcount(thing) == sys.getrefcount(None) for thing in things})\n"
        "print(sys.getrefcount(object()) == sys.getrefcount(None))"
    )
    assert result.text.split() == [str(immortals.is_possible()), "False"]


async def test_deaf_kernel_keeps_no_other_from_being_culled(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", kernel_idle_s=1.0, warm_kernels=0)
    async with Interpreter.open(settings) as service:
        deaf, other = [await service.session(user_id=name) for name in ("deaf", "other")]
        await deaf.execute("x = 1")
        assert deaf.hosted is not None
        os.kill(deaf.hosted.pid, signal.SIGSTOP)
        await until(lambda: deaf._saved._lock.locked())
        await other.execute("x = 1")  # its turn comes while the deaf one is being saved
        await until(lambda: not other.live)
        assert deaf.live


async def test_longest_idle_kernel_makes_room(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", max_kernels=2, warm_kernels=0)
    async with Interpreter.open(settings) as service:
        sessions = [await service.session(user_id=name) for name in ("a", "b", "c")]
        for session in sessions:
            await session.execute("x = 1")
        assert [kernel.user_id for kernel in service.kernels()] == ["b", "c"]
        told = await sessions[0].execute("1")
        assert told.message is not None and "make room" in told.message
