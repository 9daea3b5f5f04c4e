"""A kernel as sessions run it, without a sandbox, and a client that answers what it asks for."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.blocking.client import BlockingKernelClient

from kernel_startup.connection import PORTS

_REPOSITORY = Path(__file__).parents[2]
_KEY = "a-key-for-tests"
_START = """
import sys
from kernel_startup.app import start_app
from kernel_startup.sandboxes import Places
root, key = sys.argv[1:]
places = Places(*(f"{root}/{name}" for name in ("work", "home", "tmp", "run", "files", "current")))
app = start_app(
    key=key, sockets=f"{root}/run/s", output_chars=100_000, places=places, own_system=False
)
app.start()
"""
_START_S = 60.0

Content = Mapping[str, Any]


@dataclass
class Ran:
    """What a cell did."""

    status: str = ""
    ename: str = ""
    evalue: str = ""
    traceback: str = ""
    stdout: str = ""
    stderr: str = ""
    requests: list[Content] = field(default_factory=list)

    @property
    def asked(self) -> list[list[str]]:
        """What each request asked for."""
        return [request["requirements"] for request in self.requests]


class Shelf:
    """Packages that can be installed: import name or distribution -> path -> text.

    Installing makes a new directory with all that is installed, and shows it in one step.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.packages: dict[str, dict[str, str]] = {}
        self.installed: dict[str, str] = {}
        self._numbers = itertools.count()

    def clear(self) -> None:
        self.packages.clear()
        self.installed.clear()
        self.show()

    def add(
        self, name: str, text: str = "", *, distribution: str = "", version: str = "1.0"
    ) -> None:
        """Put a module or a package (``a/b.py``) on the shelf, as a distribution's only one."""
        path = name if "/" in name else f"{name}.py"
        module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        distribution = distribution or name
        files = {
            path: text,
            f"{distribution}-{version}.dist-info/METADATA": (
                f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
                "Summary: of a test\n"
            ),
            f"{distribution}-{version}.dist-info/RECORD": f"{path},,\n",
        }
        self.packages[module] = self.packages[distribution] = files

    def answer(self, content: Content) -> Content:
        """What a service would do and reply."""
        failed, changed = {}, {}
        for wanted in content["requirements"]:
            name = self._known(wanted)
            if name is None:
                failed[wanted] = f"There is no package {wanted} on the index."
            elif content["action"] == "uninstall":
                changed[name] = "1.0"
                self.installed = {
                    path: text
                    for path, text in self.installed.items()
                    if path not in self.packages[name]
                }
            elif not self.packages[name].items() <= self.installed.items():
                changed[name] = "1.0"
                self.installed |= self.packages[name]
        self.show()
        names = [f"{name}=={version}" for name, version in changed.items()]
        return {
            "status": "error" if failed else "ok",
            "installed": names if content["action"] == "install" else [],
            "removed": names if content["action"] == "uninstall" else [],
            "failed": failed,
        }

    def show(self) -> None:
        layer = self.root / f"layer{next(self._numbers)}"
        layer.mkdir()
        for path, text in self.installed.items():
            (layer / path).parent.mkdir(parents=True, exist_ok=True)
            (layer / path).write_text(text)
        link = self.root / "link"
        link.symlink_to(layer)
        link.replace(self.root / "current")

    def _known(self, wanted: str) -> str | None:
        name = wanted.partition("=")[0].partition(">")[0].partition("[")[0]
        while name and name not in self.packages:
            name = name.rpartition(".")[0]
        return name or None


class LiveKernel:
    """A kernel and its only client."""

    def __init__(self, root: Path, process: "subprocess.Popen[bytes]") -> None:
        self.root = root
        self.work = root / "work"
        self.shelf = Shelf(root)
        self.process = process
        self.client = BlockingKernelClient()
        self.client.load_connection_info(
            {"transport": "ipc", "ip": f"{root}/run/s", "key": _KEY.encode(), **PORTS}
        )
        self.client.start_channels(hb=False)
        self.client.wait_for_ready(timeout=_START_S)

    def run(
        self,
        code: str,
        *,
        packages: object = True,
        answer: Callable[[Content], Content | None] | None = None,
        lines: Sequence[str] = (),
    ) -> Ran:
        """Run a cell to its end.

        Args:
            code: the cell.
            packages: what the request says about packages; None for nothing.
            answer: answers requests, instead of the shelf; None as an answer is none.
            lines: the answers to ``input()``.
        """
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": True}
        message = self.client.session.msg(
            "execute_request",
            {**content, "user_expressions": {}, "stop_on_error": False},
            metadata={} if packages is None else {"packages": packages},
        )
        self.client.shell_channel.send(message)
        self.running = ran = Ran()
        pending = iter(lines)
        ends = {"execute_reply", "idle"}
        while ends:
            for message_in in self._messages():
                if message_in["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                    self._take(message_in, ran, ends, answer or self.shelf.answer, pending)
        return ran

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def reply(self, content: Content, request: Mapping[str, Any] | None = None) -> None:
        """Send an ``install_reply``, to the last request unless another header is given."""
        message = self.client.session.msg("install_reply", dict(content))
        message["parent_header"] = request or self.last_request
        self.client.stdin_channel.send(message)

    def _messages(self) -> list[Any]:
        channels = [
            self.client.iopub_channel,
            self.client.shell_channel,
            self.client.stdin_channel,
        ]
        poller = zmq.Poller()
        for channel in channels:
            poller.register(channel.socket, zmq.POLLIN)
        ready = dict(poller.poll(100_000))
        assert ready, "the kernel has gone silent"
        return [channel.get_msg(timeout=1) for channel in channels if channel.socket in ready]

    def _take(
        self,
        message: Any,
        ran: Ran,
        ends: set[str],
        answer: Callable[[Content], Content | None],
        lines: Iterator[str],
    ) -> None:
        kind, content = message["header"]["msg_type"], message["content"]
        if kind == "stream":
            name = content["name"]
            setattr(ran, name, getattr(ran, name) + content["text"])
        elif kind == "error":
            ran.traceback = "\n".join(content["traceback"])
        elif kind == "execute_reply":
            ran.status = content["status"]
            ran.ename, ran.evalue = content.get("ename", ""), content.get("evalue", "")
            ends.discard(kind)
        elif kind == "status" and content["execution_state"] == "idle":
            ends.discard("idle")
        elif kind == "input_request":
            self.client.input(next(lines))
        elif kind == "install_request":
            ran.requests.append(content)
            self.last_request = message["header"]
            reply = answer(content)
            if reply is not None:
                self.reply(reply)


@contextlib.contextmanager
def running_kernel(root: Path) -> Iterator[LiveKernel]:
    """A kernel with its directories below ``root``, which must have a short path."""
    for name in ("work", "home", "tmp", "run", "files"):
        (root / name).mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", _START, str(root), _KEY],
        cwd=root / "work",
        env={"PATH": os.defpath, "HOME": str(root / "home"), "PYTHONPATH": str(_REPOSITORY)},
    )
    try:
        end = time.monotonic() + _START_S
        while len(list((root / "run").iterdir())) < len(PORTS):
            assert process.poll() is None, "the kernel did not start"
            assert time.monotonic() < end, "the kernel did not start in time"
            time.sleep(0.05)
        kernel = LiveKernel(root, process)
        try:
            yield kernel
        finally:
            kernel.client.stop_channels()
    finally:
        process.kill()
        process.wait()
