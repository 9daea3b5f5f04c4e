"""The processes of one service's kernels, found from outside: also while no service runs."""

import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Family:
    """What lives below a data directory. A process that has ended can't be mistaken for another:
    psutil compares when it was started.

    Attributes:
        outer: bubblewrap as the service started it, of each fork server.
        servers: the fork servers.
        inits: process 1 of each kernel's sandbox.
        kernels: the kernels, each with its init's process id.
    """

    outer: tuple[psutil.Process, ...]
    servers: tuple[psutil.Process, ...]
    inits: tuple[psutil.Process, ...]
    kernels: tuple[psutil.Process, ...]

    def all(self) -> tuple[psutil.Process, ...]:
        """Every one of them."""
        return (*self.outer, *self.servers, *self.inits, *self.kernels)


def family_of(data_dir: Path) -> Family:
    """Look at what lives there now."""
    mark = str(data_dir)
    children: dict[int, list[psutil.Process]] = {}
    outer = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            children.setdefault(process.ppid(), []).append(process)
            if _is_outer(process, mark):
                outer.append(process)
    servers: list[psutil.Process] = []
    inits: list[psutil.Process] = []
    kernels: list[psutil.Process] = []
    for inner in (child for process in outer for child in children.get(process.pid, ())):
        # The fork server came first. What it forks is adopted by process 1, beside it.
        forks = sorted(children.get(inner.pid, ()), key=_started)
        servers += forks[:1]
        inits += forks[1:]
        kernels += [kernel for init in forks[1:] for kernel in children.get(init.pid, ())[:1]]
    return Family(tuple(outer), tuple(servers), tuple(inits), tuple(kernels))


def _started(process: psutil.Process) -> tuple[float, int]:
    # Process ids begin again at a time; times of the same tick don't tell.
    with suppress(psutil.NoSuchProcess):
        return process.create_time(), process.pid
    return 0.0, process.pid


def database_of(data_dir: Path) -> psutil.Process | None:
    """The embedded database server, if it lives."""
    try:
        record = json.loads((data_dir / "database" / "server.json").read_text())
        process = psutil.Process(int(record["pid"]))
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return None
    return process if str(data_dir) in " ".join(_command(process)) else None


def kill(process: psutil.Process, number: int = signal.SIGKILL) -> bool:
    """Send a signal to exactly this process. Returns whether it was there."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
        return True
    return False


def left_over(data_dir: Path) -> list[str]:
    """Processes, mounts and control groups that are still there and named after the directory."""
    mark = str(data_dir)
    found = [
        f"process {process.pid}"
        for process in psutil.process_iter()
        if process.pid != os.getpid() and mark in " ".join(_command(process))
    ]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return found + [f"mount {line}" for line in mounts if mark in line]


def _is_outer(process: psutil.Process, mark: str) -> bool:
    command = _command(process)
    if not command or not command[0].endswith("bwrap"):
        return False
    with suppress(psutil.NoSuchProcess):
        parent = process.parent()
        mine = any(mark in word for word in command) and "kernel_startup.forkserver" in command
        # Its process 1, inside, has the same command line.
        return mine and (parent is None or _command(parent) != command)
    return False


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return list(process.cmdline())
    return []
