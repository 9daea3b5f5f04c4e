"""Other code interpreters as the index has them, each in a throw-away environment of its own.

Each gets the job in its most favourable local mode: no container, no sandbox, no model, its servers
running, its libraries imported. What can't be had or doesn't run is said, and left out.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import uv

_INSTALL_S = 900.0
_RUN_S = 180.0

#: Times a newcomer's first table twice: with a kernel that is only started now (``cold``), and with
#: one that waits already (``waiting``). Then the same cell once more (``warm``).
_IPYBOX = """
import asyncio, json, sys, time
from pathlib import Path
from ipybox import CodeExecutor
from ipybox.kernel_mgr.client import KernelClient

async def timed(work):
    began = time.perf_counter()
    result = await work
    assert "mean" in result.text, result
    return time.perf_counter() - began

async def main(code):
    async with CodeExecutor() as executor:
        async def newcomer():
            async with KernelClient(port=executor.kernel_gateway_port) as client:
                return await client.execute(code), time.perf_counter()
        waiting = await timed(executor.execute(code))
        warm = await timed(executor.execute(code))
        began = time.perf_counter()
        result, ended = await newcomer()
        assert "mean" in result.text, result
        print(json.dumps({"cold": ended - began, "waiting": waiting, "warm": warm}))

asyncio.run(main(sys.argv[1]))
"""
_OPEN_INTERPRETER = """
import json, sys, time
from interpreter import OpenInterpreter

def made():
    return OpenInterpreter(offline=True, disable_telemetry=True, import_computer_api=False)

def timed(interpreter, code):
    began = time.perf_counter()
    said = interpreter.computer.run("python", code)
    took = time.perf_counter() - began
    assert any("mean" in str(part.get("content")) for part in said), said
    return took

code = sys.argv[1]
one = made()
cold = timed(one, code)
warm = timed(one, code)
one.computer.terminate()
other = made()
other.computer.run("python", "1+1")
waiting = timed(other, code)
other.computer.terminate()
print(json.dumps({"cold": cold, "waiting": waiting, "warm": warm}))
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """Something that does the same job.

    Attributes:
        name: as the index has it.
        requirements: what is installed. Beside the peer itself: versions of what it needs that it
            was made for, where it can't be imported with the newest ones.
        code: a program that does the job with the cell it gets, and prints seconds as JSON.
        mode: how it is run, for a person.
        left_out: what of it can't be measured here, for a person.
        environment: what is added to its environment.
    """

    name: str
    requirements: tuple[str, ...]
    code: str
    mode: str
    left_out: str
    environment: Mapping[str, str] = field(default_factory=dict)


PEERS = (
    Peer(
        name="ipybox",
        requirements=("ipybox", "mcp<2"),
        code=_IPYBOX,
        mode="its kernel gateway and tool server run; sandbox=False",
        left_out="its sandbox needs the npm package sandbox-runtime (`srt`), which is not on PyPI; "
        "up to version 0.6 it needed Docker. Both would only add to its times.",
    ),
    Peer(
        name="open-interpreter",
        requirements=("open-interpreter", "setuptools<81"),
        code=_OPEN_INTERPRETER,
        mode='`interpreter.computer.run("python", code)`, imported, without a model',
        left_out="its chat, which needs a model, and its Docker and E2B modes.",
        # litellm, which it imports, would else fetch a list from the network.
        environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "ANONYMIZED_TELEMETRY": "False"},
    ),
)


@dataclass(frozen=True, slots=True)
class InstalledPeer:
    """A peer that is ready to be measured.

    Attributes:
        peer: which one.
        python: of its environment.
        version: of the peer.
    """

    peer: Peer
    python: Path
    version: str

    def measure(self, cell: str) -> dict[str, float]:
        """Have it do the job once; gives seconds as ``cold``, ``waiting`` and ``warm``.

        Raises:
            RuntimeError: it did not do it; with what it said last.
        """
        # As in a shell where its environment is active, and none of ours: its package has the
        # name of our service's.
        environment = {
            "PATH": f"{self.python.parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.python.parents[1]),
            **self.peer.environment,
        }
        try:
            done = subprocess.run(
                [str(self.python), "-I", "-W", "ignore", "-c", self.peer.code, cell],
                cwd=self.python.parents[1],
                env=environment,
                capture_output=True,
                text=True,
                timeout=_RUN_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"it did not end within {_RUN_S:.0f} s") from None
        if done.returncode != 0:
            raise RuntimeError(_last_line(done.stderr))
        seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return seconds


def install(peer: Peer, root: Path, say: Callable[[str], None]) -> InstalledPeer:
    """Make an environment for a peer below ``root``, with our versions of numpy and pandas.

    Raises:
        RuntimeError: that can't be done here; says why.
    """
    directory = root / peer.name
    python = directory / "bin" / "python"
    # Copies, not links: it goes again, and uv's cache may be on another disk.
    environment = {**os.environ, "UV_LINK_MODE": "copy", "UV_NO_PROGRESS": "1"}
    data = [f"{name}=={version(name)}" for name in ("numpy", "pandas")]
    commands = [
        ["venv", "--quiet", "--clear", "--python", sys.executable, str(directory)],
        ["pip", "install", "--quiet", "--python", str(python), *peer.requirements, *data],
    ]
    say(f"installing {' '.join(peer.requirements)}")
    for command in commands:
        done = subprocess.run(
            [uv.find_uv_bin(), *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_INSTALL_S,
            check=False,
        )
        if done.returncode != 0:
            shutil.rmtree(directory, ignore_errors=True)
            raise RuntimeError(f"it can't be installed: {_last_line(done.stderr)}")
    code = f"from importlib.metadata import version; print(version({peer.name!r}))"
    asked = subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True)
    return InstalledPeer(peer, python, asked.stdout.strip())


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
