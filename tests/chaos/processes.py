"""The processes of one service's kernels, found from outside: also while no service runs."""

import glob
import json
import os
import signal
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

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


@dataclass(frozen=True, slots=True)
class Standing:
    """What a service has on the machine, found by the name of its data directory.

    Attributes:
        processes: ids of those that were given, or have mounted, something of it: in whichever
            namespace.
        sockets: paths that are bound.
        mounts: of this process's own namespace.
        links: temporary directories that lead there.
        groups: control groups that its kernels are in, with the one above, which is for them all.
    """

    processes: frozenset[int]
    sockets: frozenset[str]
    mounts: frozenset[str]
    links: frozenset[str]
    groups: frozenset[Path]

    @classmethod
    def of(cls, data_dir: Path) -> Self:
        """Look."""
        name = str(data_dir)
        processes = frozenset(pid for pid in psutil.pids() if _is_of(pid, name))
        bound = Path("/proc/net/unix").read_text().splitlines()
        links = glob.glob("/tmp/cellmate-*/*")  # which passes over what is gone by now
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        return cls(
            processes=processes,
            sockets=frozenset(
                [*(line.split()[-1] for line in bound if name in line), *_sockets_below(data_dir)]
            ),
            mounts=frozenset(line for line in mounts if name in line),
            links=frozenset(link for link in links if _target_of(link).startswith(name)),
            groups=frozenset(group for pid in processes for group in _groups_of(pid)),
        )


def left_over(data_dir: Path, groups: Iterable[Path]) -> list[str]:
    """What is still there of a service that has ended with its kernels.

    Args:
        data_dir: of that service.
        groups: of its kernels, noted before the end: without processes they tell nobody whose
            they are.
    """
    standing = Standing.of(data_dir)
    return [
        *(f"process {pid}: {' '.join(_command_of(pid))[:200]}" for pid in standing.processes),
        *(f"socket {path}" for path in standing.sockets),
        *(f"mount {line}" for line in standing.mounts),
        *(f"link {path}" for path in standing.links),
        *(f"group {group}" for group in groups if group.exists()),
    ]


def _sockets_below(directory: Path) -> Iterator[str]:
    """Sockets in a directory that a service may be at work in: names come and go meanwhile."""
    for folder, _, names in os.walk(directory):
        for path in (os.path.join(folder, name) for name in names):
            with suppress(FileNotFoundError):
                if stat.S_ISSOCK(os.lstat(path).st_mode):
                    yield path


def _target_of(link: str) -> str:
    with suppress(OSError):  # no link, or gone by now
        return os.readlink(link)
    return ""


def _is_of(pid: int, name: str) -> bool:
    if pid == os.getpid():
        return False
    for file in ("cmdline", "mountinfo", "environ"):
        with suppress(OSError):
            if name in Path(f"/proc/{pid}/{file}").read_text(errors="replace"):
                return True
    return False


def _groups_of(pid: int) -> Iterator[Path]:
    """A kernel's groups of each controller, and those above."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            controllers, path = line.split(":", 2)[1:]
            group = Path("/sys/fs/cgroup") / controllers / path.lstrip("/")
            if group.name.startswith("kernel-") and group.parent.name.startswith("cellmate-"):
                yield group
                yield group.parent


def _command_of(pid: int) -> list[str]:
    with suppress(psutil.NoSuchProcess):
        return _command(psutil.Process(pid))
    return []


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
