"""Running cells: what comes back, in which order, and what stays."""

import asyncio
import base64
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from interpreter import Interpreter, Session
from interpreter.outputs import (
    CellError,
    ClearOutput,
    DisplayData,
    ExecuteResult,
    Output,
    Stream,
)
from tests.service.waiting import until


async def test_variables_last_from_cell_to_cell(session: Session) -> None:
    first = await session.execute("total = 20\ntotal + 1")
    second = await session.execute("total * 2")
    assert (first.status, first.text, first.count) == ("ok", "21", 1)
    assert (second.status, second.text, second.count) == ("ok", "40", 2)
    assert isinstance(second.outputs[0], ExecuteResult)
    assert not second.state_lost


async def test_error_is_a_result_with_a_readable_traceback(session: Session) -> None:
    result = await session.execute("def f(x):\n    return 1 / x\n\nf(0)")
    assert result.status == "error"
    (error,) = result.outputs
    assert isinstance(error, CellError)
    assert error.ename == "ZeroDivisionError"
    assert "return 1 / x" in result.text and "division by zero" in result.text
    assert "\x1b" not in result.text


async def test_error_that_can_not_say_what_it_is_is_shown_once(session: Session) -> None:
    result = await session.execute(
        "class Odd(Exception):\n    def __str__(self): return 1 / 0\nraise Odd()"
    )
    (error,) = result.outputs
    assert isinstance(error, CellError)
    assert (error.ename, error.evalue) == ("Odd", "<its __str__ raised ZeroDivisionError>")
    assert "raise Odd()" in result.text and "ipykernel" not in result.text
    assert (await session.execute("1")).text == "1"


async def test_syntax_error_is_a_result(session: Session) -> None:
    result = await session.execute("for for")
    assert result.status == "error"
    assert "SyntaxError" in result.text


async def test_failed_cell_does_not_skip_the_one_behind_it(session: Session) -> None:
    failed, next_one = await asyncio.gather(session.execute("1/0"), session.execute("'still here'"))
    assert (failed.status, next_one.status, next_one.text) == ("error", "ok", "'still here'")


async def test_outputs_keep_their_order(session: Session) -> None:
    result = await session.execute(
        "import sys\n"
        "from IPython.display import display, HTML\n"
        "print('one'); print('two')\n"
        "sys.stderr.write('three\\n')\n"
        "display(HTML('<b>four</b>'))\n"
        "print('five')\n"
        "'six'"
    )
    kinds = [type(output).__name__ for output in result.outputs]
    assert kinds == ["Stream", "Stream", "DisplayData", "Stream", "ExecuteResult"]
    streams = [output for output in result.outputs if isinstance(output, Stream)]
    assert [(stream.name, stream.text) for stream in streams] == [
        ("stdout", "one\ntwo\n"),
        ("stderr", "three\n"),
        ("stdout", "five\n"),
    ]


async def test_live_outputs_come_in_order_and_add_up(session: Session) -> None:
    seen: list[Output | ClearOutput] = []
    result = await session.execute(
        "import time\nfor i in range(3):\n    print(i); time.sleep(0.25)\n'end'",
        on_output=seen.append,
    )
    texts = "".join(event.text for event in seen if isinstance(event, Stream))
    assert texts == "0\n1\n2\n"
    assert len([event for event in seen if isinstance(event, Stream)]) > 1
    assert isinstance(seen[-1], ExecuteResult)
    assert result.text == "0\n1\n2\n'end'"


async def test_front_end_that_fails_does_not_fail_the_cell(session: Session) -> None:
    async def broken(_: Output | ClearOutput) -> None:
        raise RuntimeError("the front end is gone")

    result = await session.execute("print('x')\n'y'", on_output=broken)
    assert (result.status, result.text) == ("ok", "x\n'y'")


async def test_output_of_subprocesses_and_c_code_belongs_to_the_cell(session: Session) -> None:
    result = await session.execute(
        "import os, subprocess\n"
        "os.system('echo from the shell')\n"
        "subprocess.run(['sh', '-c', 'echo more; echo wrong >&2'])\n"
        "os.write(1, 'grüße aus C\\n'.encode());"
    )
    assert result.status == "ok"
    for text in ("from the shell", "more", "wrong", "grüße aus C"):
        assert text in result.text
    following = await session.execute("1")
    assert following.text == "1"


async def test_shell_escape_runs_in_the_working_directory(session: Session) -> None:
    result = await session.execute("!pwd")
    assert result.text.strip() == "/work"


async def test_gigabyte_of_output_keeps_head_and_tail(session: Session) -> None:
    seen: list[Output | ClearOutput] = []
    result = await session.execute(
        "print('the head')\n"
        "block = ('x' * 99 + '\\n') * 10_000\n"
        "for _ in range(1000):\n    print(block, end='')\n"
        "print('the tail')",
        on_output=seen.append,
        timeout_s=120,
    )
    assert result.status == "ok"
    assert result.text.startswith("the head\n")
    assert result.text.endswith("the tail\n")
    assert len(result.text) < 201_000
    left_out = 1_000_000_000 + len("the head\nthe tail\n") - 200_000
    assert f"{left_out:,}"[:5] in result.text  # the count is exact up to the cut's line ends
    live = "".join(event.text for event in seen if isinstance(event, Stream))
    assert live.startswith("the head\n") and live.endswith("the tail\n")
    assert len(live) < 201_000


async def test_million_pieces_of_output_stay_bounded(session: Session) -> None:
    result = await session.execute(
        "import sys\n"
        "for i in range(300_000):\n"
        "    (sys.stdout if i % 2 else sys.stderr).write('ab\\n')\n"
        "print('end')",
        timeout_s=120,
    )
    assert result.status == "ok"
    assert result.text.endswith("end\n")
    assert len(result.text) < 210_000


async def test_carriage_returns_show_the_last_state(session: Session) -> None:
    result = await session.execute(
        "import sys\n"
        "for i in range(101):\n    sys.stdout.write(f'\\r{i:3d}%'); sys.stdout.flush()\n"
        "print(' done\\b\\b\\b\\bDONE')"
    )
    assert result.text == "100% DONE\n"


async def test_ansi_sequences_are_removed(session: Session) -> None:
    result = await session.execute("print('\\x1b[31mred\\x1b[0m \\x1b]0;title\\x07plain')")
    assert result.text == "red plain\n"


async def test_updated_display_replaces_the_first_one(session: Session) -> None:
    result = await session.execute(
        "from IPython.display import display\n"
        "h = display('first', display_id=True)\n"
        "print('between')\n"
        "h.update('second')"
    )
    displays = [output for output in result.outputs if isinstance(output, DisplayData)]
    assert [display.text for display in displays] == ["'second'"]
    later = await session.execute("h.update('third')")
    assert [output.text for output in later.outputs] == ["'third'"]


async def test_clear_output_clears(session: Session) -> None:
    result = await session.execute(
        "from IPython.display import clear_output\n"
        "print('old')\nclear_output()\nprint('new')\n"
        "clear_output(wait=True)\nprint('newest')"
    )
    assert result.text == "newest\n"


async def test_every_mime_bundle_is_kept_whole(session: Session) -> None:
    result = await session.execute(
        "from IPython.display import display\n"
        "bundle = {\n"
        "  'text/plain': 'p', 'text/html': '<p>', 'text/latex': '$x$', 'text/markdown': '*m*',\n"
        "  'application/json': {'a': [1, None]}, 'image/svg+xml': '<svg/>',\n"
        "  'image/png': 'iVBORw0KGgo=', 'image/jpeg': '/9j/4A==', 'application/pdf': 'JVBERi0=',\n"
        "  'application/vnd.plotly.v1+json': {'data': [], 'layout': {}},\n"
        "  'application/vnd.vegalite.v5+json': {'mark': 'bar'},\n"
        "}\n"
        "display(bundle, raw=True, metadata={'image/png': {'width': 3}})"
    )
    (output,) = result.outputs
    assert isinstance(output, DisplayData)
    assert len(output.data) == 11
    assert output.data["application/json"] == {"a": [1, None]}
    assert output.data["application/vnd.plotly.v1+json"] == {"data": [], "layout": {}}
    assert output.metadata == {"image/png": {"width": 3}}


async def test_plot_is_shown_without_asking(session: Session) -> None:
    result = await session.execute("plt.plot([1, 4, 9])\nplt.title('Ünïcödé 漢字 😀');")
    assert result.status == "ok", result.text
    pictures = [output for output in result.outputs if isinstance(output, DisplayData)]
    assert len(pictures) == 1
    picture = base64.b64decode(pictures[0].data["image/png"])
    width, height = struct.unpack(">II", picture[16:24])
    assert picture.startswith(b"\x89PNG") and width > 400 and height > 300
    assert "Glyph" not in result.text  # a font for every character
    following = await session.execute("'no figure left over'")
    assert len(following.outputs) == 1


async def test_preloaded_modules_need_no_import_and_leave_no_clutter(session: Session) -> None:
    assert (await session.execute("dir()")).text.count("load_file") == 0
    result = await session.execute(
        "print([n for n in dir() if not n.startswith('_') and n not in "
        "('In', 'Out', 'exit', 'quit', 'get_ipython', 'open')])\n"
        "import pandas as pd, numpy as np, matplotlib.pyplot as plt\n"
        "print(pd.DataFrame({'a': [1]}).shape, np.arange(3).sum(), plt.__name__)\n"
        "print(len(FILES.__doc__) > 40, len(load_file.__doc__) > 200)"
    )
    assert result.text == "[]\n(1, 1) 3 matplotlib.pyplot\nTrue True\n"


async def test_kernels_have_random_numbers_of_their_own(service: Interpreter) -> None:
    code = "import random, numpy\n(random.random(), numpy.random.rand())"
    texts = []
    for name in ("random1", "random2"):
        session = await service.session(user_id=name)
        texts.append((await session.execute(code)).text)
        await session.close()
    first, second = (text.strip("()").split(", ") for text in texts)
    assert first[0] != second[0] and first[1] != second[1]


async def test_await_at_top_level_works(session: Session) -> None:
    result = await session.execute("import asyncio\nawait asyncio.sleep(0.01)\n'awaited'")
    assert (result.status, result.text) == ("ok", "'awaited'")


async def test_threads_subprocesses_and_pools_work(session: Session) -> None:
    result = await session.execute(
        "import multiprocessing, threading, subprocess, sys\n"
        "def square(x):\n    return x * x\n"
        "with multiprocessing.Pool(2) as pool:\n    print(pool.map(square, [1, 2, 3]))\n"
        "thread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()\n"
        "print(subprocess.run([sys.executable, '-c', 'print(6 * 7)'], "
        "capture_output=True, text=True).stdout)"
    )
    assert result.status == "ok", result.text
    assert "[1, 4, 9]" in result.text and "thread" in result.text and "42" in result.text


async def test_closing_the_standard_streams_does_not_silence_later_cells(session: Session) -> None:
    await session.execute("import sys; sys.stdout.close(); sys.stderr.close()")
    assert (await session.execute("print('still heard')")).text == "still heard\n"


@pytest.mark.parametrize("code", ["", "   ", "# nothing", "x = '\ud800'", "\x00"])
async def test_odd_code_is_a_result(session: Session, code: str) -> None:
    assert (await session.execute(code)).status in ("ok", "error")
    assert (await session.execute("1")).text == "1"


@pytest.mark.parametrize(
    ("code", "timeout_s", "error"),
    [
        (None, None, TypeError),
        (b"1", None, TypeError),
        ("1", "5", TypeError),
        ("1", 0, ValueError),
        ("1", -1, ValueError),
        ("1", float("nan"), ValueError),
    ],
)
async def test_what_is_no_cell_is_refused_at_once(
    session: Session, code: Any, timeout_s: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await session.execute(code, timeout_s=timeout_s)
    assert not session.live


async def test_durations_are_reported_apart(session: Session) -> None:
    result = await session.execute("import time; time.sleep(0.3); open('x.txt', 'w').write('x');")
    assert result.durations.run_s >= 0.3
    assert result.durations.queue_s >= 0 and result.durations.collect_s > 0
    assert result.durations.install_s == 0


async def test_exception_with_a_huge_message_keeps_the_variables(session: Session) -> None:
    await session.execute("kept = 1")
    result = await session.execute("raise ValueError('x' * 1_500_000)", timeout_s=30)
    assert (result.status, result.state_lost) == ("error", False)
    assert (await session.execute("kept")).text == "1"


# Runs in the kernel: speak for its iopub socket, beside libzmq.
SEIZE_IOPUB = """
import os, socket, threading, time
def seize():
    for number in map(int, os.listdir('/proc/self/fd')):
        try:
            found = socket.socket(fileno=os.dup(number))
            if found.getsockname() == '/run/kernel/s-2' and found.getpeername() is not None:
                found.setblocking(True)
                return found
        except OSError:
            pass
def flood(piece):
    time.sleep(0.5)  # libzmq's own thread is done by then: it would write in the midst of a frame
    try:
        while True:
            seized.sendall(piece)
    except OSError:
        pass
seized = seize()
"""


@pytest.mark.parametrize(
    "piece",
    [
        "b'\\x01\\xff' + b'x' * 255",  # frames of a message without an end
        "b'\\x03' + (23 << 20).to_bytes(8, 'big') + bytes(23 << 20)",  # large ones
        "b'\\x02' + (1 << 62).to_bytes(8, 'big') + bytes(1 << 20)",  # one that is too large
    ],
)
async def test_kernel_that_floods_its_connection_is_replaced_at_once(
    service: Interpreter, session: Session, piece: str
) -> None:
    def memory() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    await session.execute(SEIZE_IOPUB)
    before = memory()
    result = await session.execute(f"flood({piece})\nimport time; time.sleep(60)")
    assert memory() - before < 100 << 20
    assert (result.status, result.state_lost) == ("error", True), result.message
    assert result.message is not None
    assert result.message.startswith("The connection to the kernel broke")
    assert result.durations.run_s < 30
    assert (await session.execute("1")).text == "1"


async def test_kernel_whose_connection_broke_while_idle_is_gone_before_the_next_cell(
    service: Interpreter, session: Session
) -> None:
    def live() -> bool:
        return any(kernel.user_id == session.user_id for kernel in service.kernels())

    await session.execute(SEIZE_IOPUB)
    result = await session.execute(
        "threading.Timer(0.5, flood, [b'\\xff' * 1000]).start()", timeout_s=30
    )
    assert result.status == "ok"
    await until(lambda: not live())
    following = await session.execute("1 + 1")
    assert (following.status, following.state_lost) == ("ok", True)
    assert following.text.startswith("2\n")
