"""How a kernel sends what cells show: in order, in whole messages, with few threads."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from tests.kernel_startup.live_kernel import LiveKernel, running_kernel

_WAIT_S = 30.0


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveKernel]:
    with running_kernel(tmp_path_factory.mktemp("k")) as live:
        yield live


def _wait_for(path: Path) -> None:
    end = time.monotonic() + _WAIT_S
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} didn't come"
        time.sleep(0.01)


def _send(kernel: LiveKernel, code: str) -> str:
    message_id: str = kernel.client.execute(code)
    return message_id


def _next(
    kernel: LiveKernel, message_id: str, kind: str, wait_s: float = _WAIT_S
) -> dict[str, object]:
    """The next iopub message of a cell that is of this kind."""
    while True:
        message = kernel.client.get_iopub_msg(timeout=wait_s)
        mine = message["parent_header"].get("msg_id") == message_id
        if mine and message["header"]["msg_type"] == kind:
            content: dict[str, object] = message["content"]
            return content


def _interrupt(kernel: LiveKernel, message_id: str) -> object:
    """Interrupt a cell. What it raises."""
    kernel.interrupt()
    return _next(kernel, message_id, "error")["ename"]


def _finish(kernel: LiveKernel, message_id: str) -> None:
    while _next(kernel, message_id, "status")["execution_state"] != "idle":
        pass
    while kernel.client.get_shell_msg(timeout=_WAIT_S)["parent_header"]["msg_id"] != message_id:
        pass


def test_text_arrives_while_its_cell_runs(kernel: LiveKernel) -> None:
    for number in range(2):  # the second time, text of the first was sent by the cell's end
        cell = _send(
            kernel,
            f"import os, time\nprint('early {number}')\n"
            f"while not os.path.exists('go{number}'): time.sleep(0.01)",
        )
        assert _next(kernel, cell, "stream")["text"] == f"early {number}\n"
        (kernel.work / f"go{number}").touch()
        _finish(kernel, cell)


def test_all_that_a_cell_shows_comes_in_its_order(kernel: LiveKernel) -> None:
    cell = _send(
        kernel,
        "import sys\nfor n in range(5):\n"
        "    print('out', n)\n    print('err', n, file=sys.stderr)\n    display(n)\n'end'",
    )
    shown: list[str] = []
    kinds = {"stream", "display_data", "execute_result"}
    while True:
        message = kernel.client.get_iopub_msg(timeout=_WAIT_S)
        if message["parent_header"].get("msg_id") != cell:
            continue
        kind, content = message["header"]["msg_type"], message["content"]
        if kind in kinds:
            shown.append(content.get("text") or content["data"]["text/plain"])
        elif kind == "status" and content["execution_state"] == "idle":
            break
    order = [text for n in range(5) for text in (f"out {n}\n", f"err {n}\n", str(n))]
    assert shown == [*order, "'end'"]
    kernel.client.get_shell_msg(timeout=_WAIT_S)


def test_what_a_finalizer_prints_in_the_midst_of_a_message_garbles_nothing(
    kernel: LiveKernel,
) -> None:
    ran = kernel.run(
        """
import gc, sys
class Speaking:
    def __init__(self): self.me = self
    def __del__(self):
        print("bye", flush=True)
before = gc.get_threshold()
gc.set_threshold(1)
for n in range(100):
    Speaking()
    print("x" * 50, flush=True)
gc.set_threshold(*before)
gc.collect()
"""
    )
    assert ran.status == "ok"
    assert ran.stdout.count("bye") == 100
    assert ran.stdout.count("x" * 50) == 100
    assert kernel.run("print(1)").stdout == "1\n"


def test_a_finalizer_that_prints_in_the_midst_of_a_message_waits_for_nobody(
    kernel: LiveKernel,
) -> None:
    ran = kernel.run(
        """
import gc, sys, time
class Speaking:
    def __init__(self): self.me = self
    def __del__(self):
        print("closing"); time.sleep(0.3); print("closed", flush=True)  # the alarm rings meanwhile
gc.disable()
Speaking()
publisher = sys.stdout.pub_thread
record = publisher.on_message
def collect(frames):
    publisher.on_message = record
    record(frames)
    gc.collect()
publisher.on_message = collect
display(1)
gc.enable()
print("after")
"""
    )
    assert ran.status == "ok"
    assert ran.stdout == "closing\nclosed\nafter\n"


def test_a_finalizer_that_prints_in_the_midst_of_a_print_breaks_neither(kernel: LiveKernel) -> None:
    ran = kernel.run(
        """
import sys
class Between(type(sys.stdout._buffers)):
    def __getitem__(self, key):
        buffer = super().__getitem__(key)
        if not self.done:
            self.done = True
            print("closed", flush=True)
        return buffer
before = sys.stdout._buffers
sys.stdout._buffers = between = Between(before.default_factory, before)
between.done = False
print("printed")
"""
    )
    assert ran.status == "ok", ran.traceback
    assert sorted(ran.stdout.split()) == ["closed", "printed"]


def test_interrupts_in_the_midst_of_messages_garble_nothing(kernel: LiveKernel) -> None:
    for number in range(15):
        cell = _send(
            kernel, f"print('begun')\nwhile True: print('x' * 100 + '{number}', flush=True)"
        )
        _next(kernel, cell, "stream")
        assert _interrupt(kernel, cell) == "KeyboardInterrupt"
        _finish(kernel, cell)
        assert kernel.run(f"print({number})").stdout == f"{number}\n"


def test_a_kernel_has_few_threads(kernel: LiveKernel) -> None:
    ran = kernel.run(
        "import os, threading\nprint(threading.active_count(), len(os.listdir('/proc/self/task')))"
    )
    assert ran.stdout == "2 4\n"  # libzmq's own two among them


def test_what_a_cell_leaves_is_tidied_up_when_nothing_else_is_to_be_done(
    kernel: LiveKernel,
) -> None:
    ran = kernel.run(
        "class Circle:\n    def __init__(self): self.me = self\n"
        "    def __del__(self): open('collected', 'w').close()\n"
        "import gc; gc.collect()\nCircle() and None"
    )
    assert ran.status == "ok"
    _wait_for(kernel.work / "collected")


def test_nothing_is_collected_for_who_has_turned_that_off(kernel: LiveKernel) -> None:
    kernel.run(
        "import gc; gc.disable()\nclass C: pass\nc = C(); c.me = c\nimport weakref\n"
        "r = weakref.ref(c); del c"
    )
    time.sleep(0.6)  # a little more than it would take
    assert kernel.run("print(r() is None)\ngc.enable()").stdout == "False\n"


def test_the_heart_beats(kernel: LiveKernel) -> None:
    context = zmq.Context()
    with context, context.socket(zmq.REQ) as heart:
        heart.linger = 0
        heart.connect(f"ipc://{kernel.root}/run/s-5")
        heart.send(b"ping")
        assert heart.poll(int(_WAIT_S * 1000))
        assert heart.recv() == b"ping"
