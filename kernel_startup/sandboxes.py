"""The ways to confine a kernel: what its processes do on their way down, for each backend.

A kernel has an *init* above it: trusted code that waits for the kernel's end and sees to it that
nothing of it is left. ``forkserver`` calls the steps in order, always in a process with a single
thread.
"""

import contextlib
import os
import resource
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_startup import confine, landlock

#: How long the processes of a kernel are hunted down one by one, where nothing ends them at once.
_HUNT_S = 5.0
_HUNT_PAUSE_S = 0.005
#: Where the calls that count processes count those of one user: all kernels and the service.
_SHARED_PROCESSES_FACTOR = 16

#: What a process may know of the machine and of itself, where /proc is the host's.
_PROC_FILES = (
    *("cpuinfo", "filesystems", "loadavg", "meminfo", "stat", "uptime", "version"),
    *("sys/kernel/cap_last_cap", "sys/kernel/ngroups_max", "sys/kernel/osrelease"),
    *("sys/kernel/random", "sys/vm/overcommit_memory", "sys/vm/max_map_count"),
)
_OWN_PROC_FILES = (
    *("auxv", "cmdline", "comm", "environ", "fd", "io", "limits", "maps", "oom_score_adj"),
    *("smaps", "smaps_rollup", "stat", "statm", "status"),
)
_SHARED_MEMORY = "/dev/shm"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


@dataclass(frozen=True, slots=True)
class Places:
    """The directories of one kernel, as it sees them.

    Attributes:
        work: the working directory.
        home: HOME.
        tmp: for temporary files.
        run: where its sockets are.
        files: the user's files.
        packages: the user's own packages, while there are any.
    """

    work: str
    home: str
    tmp: str
    run: str
    files: str
    packages: str


@dataclass(frozen=True, slots=True)
class Backend:
    """How this fork server's kernels are confined.

    Attributes:
        name: ``namespaces``, ``landlock`` or ``none``.
        filters: seccomp programs, loaded by each kernel.
        readable: with ``landlock``, what kernels may read of the system.
    """

    name: str
    filters: tuple[bytes, ...]
    readable: tuple[str, ...]

    @property
    def has_namespaces(self) -> bool:
        """Whether each kernel sees a system of its own."""
        return self.name == "namespaces"

    def enter(self, request: Mapping[str, Any]) -> None:
        """Go from the fork server's child to the init."""
        if not self.has_namespaces:
            os.setsid()
            confine.adopt_orphans()
            return
        if request["uid"] is not None:
            # What the system counts by user, such as descriptors under way, is then its own.
            confine.become(request["uid"], request["uid"])
        confine.enter_namespaces()
        if os.fork():
            os._exit(0)

    def confine_init(self, request: Mapping[str, Any]) -> None:
        """In the init, before it reports: all that must hold for it and the kernel."""
        limits = request["limits"]
        if not self.has_namespaces:
            return
        confine.mount_session(
            request["slot"], tmp_bytes=limits["tmp_bytes"], shm_bytes=limits["shm_bytes"]
        )
        confine.bring_up_loopback()
        confine.set_host_name("cellmate")
        confine.drop_privileges()
        confine.set_limits(limits)

    def harden_init(self) -> None:
        """In the init, when the kernel has been forked: the kernel must not inherit this."""
        confine.hide_memory()
        if self.has_namespaces:
            confine.load_filters(self.filters)

    def confine_kernel(self, request: Mapping[str, Any]) -> None:
        """In the kernel, at last: what remains to be given up."""
        if self.has_namespaces:
            confine.load_filters(self.filters)
            return
        limits = dict(request["limits"])
        uid = request["uid"]
        if uid is not None:
            with contextlib.suppress(OSError):  # not everywhere may root do that
                confine.drop_bounding_set()
            confine.become(uid, uid)
        else:
            limits["processes"] *= _SHARED_PROCESSES_FACTOR
            limits["processes"] += _processes_of(os.getuid())
        confine.set_limits(limits)
        confine.drop_capabilities()
        if self.name == "landlock":
            self._restrict(request)
            confine.load_filters(self.filters)

    def _restrict(self, request: Mapping[str, Any]) -> None:
        places = self.places(request)
        # The rule is about the directory as it was found; held open, it is not found anew.
        os.open("/proc/self", os.O_PATH)
        landlock.restrict(
            readable=[
                *self.readable,
                places.files,
                os.path.dirname(places.packages),
                *(f"/proc/{name}" for name in _PROC_FILES),
                *(f"/proc/self/{name}" for name in _OWN_PROC_FILES),
            ],
            writable=[places.work, places.home, places.tmp, places.run],
            devices=_DEVICES,
            # What others have there has their user id, if each kernel has its own.
            shared=[] if request["uid"] is None else [_SHARED_MEMORY],
        )

    def check(self, request: Mapping[str, Any]) -> None:
        """In a confined process: what must work does, and what must not doesn't.

        Raises:
            OSError: something that kernels need can't be read; names it.
            RuntimeError: something that the backend promises to refuse is not refused.
        """
        if self.name != "landlock":
            return
        places = self.places(request)
        for path in (*self.readable, places.files, places.work):
            if os.path.isdir(path) or not os.path.lexists(path):
                try:
                    os.listdir(path)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    if os.access(path, os.X_OK) and not os.access(path, os.R_OK):
                        continue  # to pass through, not to list: what the layers are in
                    raise OSError(f"kernels can't read {path} ({error.strerror})") from error
        for forbidden in ("/", places.work + "/../.."):
            with contextlib.suppress(OSError):
                os.listdir(forbidden)
                raise RuntimeError(f"Landlock does not keep kernels out of {forbidden}")
        with contextlib.suppress(OSError):
            socket.socket(socket.AF_INET)
            raise RuntimeError("the seccomp filters do not keep kernels off the network")
        if landlock.version() >= landlock.SIGNALS_VERSION:
            with contextlib.suppress(OSError):
                os.kill(os.getppid(), 0)
                raise RuntimeError("Landlock does not keep kernels from sending signals")

    def places(self, request: Mapping[str, Any]) -> Places:
        """Where the kernel's directories are."""
        if self.has_namespaces:
            return Places(
                "/work", "/home/user", "/tmp", "/run/kernel", "/files", "/packages/own/current"
            )
        slot = request["slot"]
        names = ("work", "home", "tmp", "run", "files", "packages/current")
        return Places(*(os.path.join(slot, name) for name in names))

    def processes(self, request: Mapping[str, Any]) -> list[int]:
        """In the init: all processes of the kernel."""
        if self.has_namespaces:
            return [pid for pid in _pids() if pid != os.getpid()]
        if request["uid"] is not None:
            return [pid for pid in _pids() if _owner_of(pid) == request["uid"]]
        return descendants()

    def end_processes(self, request: Mapping[str, Any]) -> None:
        """In the init: end all that is left of the kernel."""
        if self.has_namespaces:
            # They end with this process at the latest, but that may wait for a service.
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            return
        end = time.monotonic() + _HUNT_S
        while time.monotonic() < end:
            if request["uid"] is not None:
                _kill_user(request["uid"])
            _kill_descendants()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
                time.sleep(_HUNT_PAUSE_S)
                continue
            return


def _kill_user(uid: int) -> None:
    """Kill all processes of a user in one step, which no fork can outrun."""
    os.setresuid(uid, uid, 0)
    try:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
    finally:
        os.setresuid(0, 0, 0)


def _kill_descendants() -> None:
    """Kill all processes below this one; what they fork meanwhile is found in the next round."""
    found = descendants()
    for pid in found:
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_NPROC, (0, 0))
    for pid in found:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGSTOP)
    for pid in found:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def descendants() -> list[int]:
    """All processes below this one."""
    parents: dict[int, list[int]] = {}
    for pid in _pids():
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name, in brackets, may hold anything: look behind it.
            text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            fields = text.rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(pid)
    found: list[int] = []
    pending = [os.getpid()]
    while pending:
        below = parents.pop(pending.pop(), [])
        found += below
        pending += below
    return found


def _processes_of(uid: int) -> int:
    """How many threads a user has now."""
    count = 0
    for pid in _pids():
        if _owner_of(pid) == uid:
            with contextlib.suppress(OSError):
                count += len(os.listdir(f"/proc/{pid}/task"))
    return count


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _owner_of(pid: int) -> int | None:
    """The user that a process runs as; None if it has ended."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
