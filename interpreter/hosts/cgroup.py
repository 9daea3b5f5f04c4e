"""Control groups: one for each kernel, to bound and measure memory, processes and processor time.

Version 2 where the service's own group is delegated to it, version 1 where that is what there is.
Where neither can be written, ``open_control_groups`` says so by returning None, and the host
watches the processes instead.

Source: the system's admin guide, cgroup-v2 and cgroup-v1 (memory, pids, cpuacct).
"""

import json
import os
import secrets
import signal
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from interpreter.hosts.held_process import boot_id
from interpreter.limits import Limits
from interpreter.logs import get_logger

log = get_logger(__name__)

_REMOVE_TRIES = 200
_REMOVE_PAUSE_S = 0.01
_CPU_PERIOD_US = 100_000
#: A group below that of all kernels says which process goes on with it, if not who made it.
_HELD = "held-by-"
_NEARLY_FULL_BYTES = 1 << 20
_SOCKET_BYTES = 64 << 20
#: What kernels may use of the machine's memory, all together: the service must live on.
_MEMORY_SHARE = 0.8


class KernelGroup(Protocol):
    """The control group of one kernel."""

    def add(self, pid: int) -> None:
        """Put a process in; what it forks from now on is in too."""

    def memory_bytes(self) -> int:
        """Memory charged to the group now."""

    def cpu_s(self) -> float:
        """Processor time used so far, in seconds."""

    def memory_kills(self) -> int:
        """How often the system ended a process in it for want of memory."""

    def was_full(self) -> bool:
        """Whether it was its own memory that ran out, not that of all kernels together."""

    def weigh(self, *, light: bool) -> None:
        """Have the kernel come first for the processor, or last: when others want it, too."""

    def unleash(self) -> None:
        """Bound processor time no more: what is being ended has to get to its end."""

    def remove(self) -> bool:
        """End what is left of its processes, and remove the group.

        Returns:
            False if some are still on their way out: try again.
        """


class ControlGroups(Protocol):
    """Makes the groups of kernels below one of the service's own."""

    version: int
    has_cpu: bool

    def create(self, name: str, limits: Limits) -> KernelGroup:
        """Make a kernel's group with its limits."""

    def find(self, name: str) -> KernelGroup | None:
        """A kernel's group that an earlier service has made, if it is there."""

    def sweep(self, keep: Collection[str]) -> None:
        """Remove the groups of all kernels but these, with what is in them."""

    def cpu_s(self) -> float:
        """Processor time used so far by all kernels together, also by those that have ended."""

    def directories(self) -> Mapping[str, Path]:
        """Controller -> the directory that kernels' groups are in."""

    def close(self) -> None:
        """Remove the service's own group."""


def open_control_groups(memory: Path | None = None, *, again: bool = False) -> ControlGroups | None:
    """The strongest version of control groups that this process may really use, or None.

    Args:
        memory: a file that remembers which ones they are, for a service whose kernels outlive it.
        again: go on with those that are remembered; else they are removed, and all in them ends.
    """
    own = _own_groups()
    kept = {}
    if memory is not None:
        if not again:
            remove_remembered_groups(memory)
        kept = _recall(memory)
    for kind in (_GroupsV2, _GroupsV1):
        try:
            groups = kind(own, kept)
        except (OSError, KeyError, ValueError) as error:
            log.debug("control groups not usable", version=kind.version, reason=str(error))
            continue
        if memory is not None:
            _remember(memory, groups)
        return groups
    return None


def remove_remembered_groups(memory: Path) -> None:
    """Remove the groups that a file remembers, with all that is in them, and the file."""
    for directory in set(_recall(memory).values()):
        _remove_own(directory)
    memory.unlink(missing_ok=True)


def _remember(memory: Path, groups: ControlGroups) -> None:
    directories = {name: str(path) for name, path in groups.directories().items()}
    memory.write_text(json.dumps({"boot": boot_id(), "directories": directories}))


def _recall(memory: Path) -> dict[str, Path]:
    """Controller -> directory, of those that are remembered and there."""
    try:
        record = json.loads(memory.read_text())
        if record["boot"] != boot_id():
            return {}
        found = {name: Path(path) for name, path in record["directories"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    return {name: path for name, path in found.items() if _is_ours(path)}


def _is_ours(directory: Path) -> bool:
    return directory.name.startswith("cellmate-") and (directory / "cgroup.procs").exists()


def _own_groups() -> dict[str, str]:
    """Controller -> this process's group; version 2 under the empty name."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            own[controller] = path
    return own


def _mount_points() -> dict[str, tuple[Path, str]]:
    """Controller -> (where its hierarchy is mounted, the group that is the mount's root)."""
    found: dict[str, tuple[Path, str]] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        root, where = left.split(" ")[3:5]
        if kind == "cgroup2":
            found.setdefault("", (Path(where), root))
        elif kind == "cgroup":
            for controller in options.split(" ")[-1].split(","):
                found.setdefault(controller, (Path(where), root))
    return found


def _directory(controller: str, own: dict[str, str]) -> Path:
    where, root = _mount_points()[controller]
    path = own[controller]
    if root != "/" and path.startswith(root):
        path = path[len(root) :]
    return where / path.lstrip("/")


def _write(path: Path, text: str) -> None:
    # Not Path.write_text: these files must not be truncated or created.
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _remove(directory: Path) -> bool:
    _kill_all(directory)
    try:
        directory.rmdir()
    except FileNotFoundError:
        pass
    except OSError:  # its last processes are still on their way out
        return False
    return True


def _remove_own(directory: Path) -> None:
    """Remove a group of the service's own, whose kernels have gone or are about to."""
    for _ in range(_REMOVE_TRIES):
        children = [*directory.glob("kernel-*"), *directory.glob(f"{_HELD}*")]
        if all([_remove(child) for child in children]) and _remove(directory):
            return
        time.sleep(_REMOVE_PAUSE_S)
    log.warning("a control group could not be removed", group=directory.name)


def _kill_all(group: Path) -> None:
    """End the processes of a group that outlived their kernel. None of ours is ever in one."""
    with suppress(OSError):
        for pid in (group / "cgroup.procs").read_text().split():
            if int(pid) != os.getpid():
                os.kill(int(pid), signal.SIGKILL)


def machine_memory_bytes() -> int:
    """How much memory this machine, or the container that the service runs in, has."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    own = _own_groups()
    for controller, name in (("", "memory.max"), ("memory", "memory.limit_in_bytes")):
        with suppress(OSError, KeyError, ValueError):
            top = _mount_points()[controller][0]
            directory = _directory(controller, own)
            while directory.is_relative_to(top):
                with suppress(OSError, ValueError):  # "max"
                    found.append(int((directory / name).read_text()))
                directory = directory.parent
    return min(found)


def _cpu_quota_us(limits: Limits) -> int:
    return _CPU_PERIOD_US * limits.cpu_percent // 100


def _sweep(parent: Path, keep: Collection[str]) -> None:
    for group in parent.glob("kernel-*"):
        if group.name.removeprefix("kernel-") not in keep:
            _remove(group)


def _remove_stale(parent: Path, kept: Collection[Path]) -> None:
    """Remove what killed services left behind: the groups named after processes that are gone.

    What has kernels in it that wait for the next service can't be removed, and stays.
    """
    for group in parent.glob("cellmate-*"):
        holders = [path.name.removeprefix(_HELD) for path in group.glob(f"{_HELD}*")]
        if group in kept or _is_any_alive(group.name.split("-")[1], *holders):
            continue
        for child in (*group.glob("kernel-*"), *group.glob(f"{_HELD}*")):
            with suppress(OSError):
                child.rmdir()
        with suppress(OSError):
            group.rmdir()


def _is_any_alive(*pids: str) -> bool:
    return any(Path("/proc", pid).exists() for pid in pids)


def _hold(group: Path) -> None:
    """Have a group that an earlier service has named after itself not be taken for left over."""
    for left in group.glob(f"{_HELD}*"):
        with suppress(OSError):
            left.rmdir()
    (group / f"{_HELD}{os.getpid()}").mkdir(exist_ok=True)


def _counter(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _base_of(own: Path) -> Path:
    """The group that groups of kernels are to be made in, by the one that this process is in.

    Where systemd has put the service into a group below the one it delegates (DelegateSubgroup),
    that group above, which says so itself. Source: systemd's CGROUP_DELEGATION.
    """
    if own.name == _leaf_name():  # this process was there before, and has replaced its program
        return own.parent
    return next((group for group in (own, own.parent) if _is_delegated(group)), own)


def _is_delegated(group: Path) -> bool:
    try:
        return os.getxattr(group, "user.delegate") == b"1"
    except OSError:
        return False


def _leaf_name() -> str:
    return f"cellmate-{os.getpid()}"


class _PlaceV2:
    """This process's place below a group, which has to be empty to hand controllers down."""

    def __init__(self, base: Path, own: Path) -> None:
        """Move there, unless it is beside the groups to be already.

        Raises:
            OSError: this account may not.
        """
        self._base = base
        self._handed: list[str] = []
        self._leaf = base / _leaf_name()
        self._origin = base if own == self._leaf else own
        if self._origin.parent != base:
            self._leaf.mkdir(exist_ok=True)
            _write(self._leaf / "cgroup.procs", str(os.getpid()))

    def hand_down(self, controllers: Collection[str]) -> None:
        """Have the groups below the base have controllers.

        Raises:
            OSError: they aren't there, or in use by processes in the base itself.
        """
        self._handed = [*controllers]
        _write(self._base / "cgroup.subtree_control", " ".join(f"+{name}" for name in controllers))

    def leave(self) -> None:
        """Go back, if all groups of kernels have gone."""
        if self._origin.parent == self._base:
            return
        with suppress(OSError):  # as long as another service's kernels have them
            if self._handed and self._origin == self._base:
                off = " ".join(f"-{name}" for name in self._handed)
                _write(self._base / "cgroup.subtree_control", off)
            _write(self._origin / "cgroup.procs", str(os.getpid()))
        with suppress(OSError):
            self._leaf.rmdir()


class _GroupsV2:
    version = 2

    def __init__(self, own: dict[str, str], kept: Mapping[str, Path]) -> None:
        here = _directory("", own)
        base = kept[""].parent if "" in kept else _base_of(here)
        offered = (base / "cgroup.controllers").read_text().split()
        if not {"memory", "pids"} <= set(offered):
            raise ValueError("the memory and pids controllers are not delegated to this service")
        self.has_cpu = "cpu" in offered
        wanted = ["memory", "pids", *(["cpu"] if self.has_cpu else [])]
        _remove_stale(base, kept.values())
        self._place = _PlaceV2(base, here)
        try:
            if "" in kept:
                self._all = kept[""]
                _hold(self._all)
                return
            self._place.hand_down(wanted)
            # One process may hold several services.
            self._all = base / f"{_leaf_name()}-{secrets.token_hex(4)}"
            self._all.mkdir()
            _write(self._all / "cgroup.subtree_control", " ".join(f"+{name}" for name in wanted))
            _write(self._all / "memory.max", str(int(machine_memory_bytes() * _MEMORY_SHARE)))
        except OSError:
            self._place.leave()
            raise

    def create(self, name: str, limits: Limits) -> KernelGroup:
        group = self._all / f"kernel-{name}"
        group.mkdir()
        _write(group / "memory.max", str(limits.memory_bytes))
        with suppress(OSError):
            _write(group / "memory.swap.max", "0")
        _write(group / "pids.max", str(limits.processes))
        if self.has_cpu:
            _write(group / "cpu.max", f"{_cpu_quota_us(limits)} {_CPU_PERIOD_US}")
        return _GroupV2(group)

    def find(self, name: str) -> KernelGroup | None:
        group = self._all / f"kernel-{name}"
        return _GroupV2(group) if group.is_dir() else None

    def sweep(self, keep: Collection[str]) -> None:
        _sweep(self._all, keep)

    def cpu_s(self) -> float:
        return _counter(self._all / "cpu.stat", "usage_usec") / 1e6

    def directories(self) -> Mapping[str, Path]:
        return {"": self._all}

    def close(self) -> None:
        _remove_own(self._all)
        self._place.leave()


class _GroupV2:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, pid: int) -> None:
        _write(self._directory / "cgroup.procs", str(pid))

    def memory_bytes(self) -> int:
        return int((self._directory / "memory.current").read_text())

    def cpu_s(self) -> float:
        return _counter(self._directory / "cpu.stat", "usage_usec") / 1e6

    def memory_kills(self) -> int:
        return _counter(self._directory / "memory.events", "oom_kill")

    def was_full(self) -> bool:
        return _counter(self._directory / "memory.events", "oom") > 0

    def weigh(self, *, light: bool) -> None:
        with suppress(OSError):
            _write(self._directory / "cpu.weight", "10" if light else "100")

    def unleash(self) -> None:
        with suppress(OSError):
            _write(self._directory / "cpu.max", "max")

    def remove(self) -> bool:
        with suppress(OSError):
            _write(self._directory / "cgroup.kill", "1")
        return _remove(self._directory)


class _GroupsV1:
    version = 1

    def __init__(self, own: dict[str, str], kept: Mapping[str, Path]) -> None:
        self._parents: dict[str, Path] = {}
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        for controller in ("memory", "pids", "cpuacct", "cpu"):
            if controller == "cpu" and controller not in own:
                continue
            base = _directory(controller, own)
            _remove_stale(base, kept.values())
            parent = kept.get(controller, base / f"cellmate-{name}")
            parent.mkdir(exist_ok=True)
            if controller in kept:
                _hold(parent)
            self._parents[controller] = parent
        quota = self._parents.get("cpu", Path()) / "cpu.cfs_quota_us"
        self.has_cpu = "cpu" in self._parents and quota.exists()
        _write(
            self._parents["memory"] / "memory.limit_in_bytes",
            str(int(machine_memory_bytes() * _MEMORY_SHARE)),
        )

    def create(self, name: str, limits: Limits) -> KernelGroup:
        directories = {}
        for controller, parent in self._parents.items():
            directories[controller] = parent / f"kernel-{name}"
            directories[controller].mkdir(exist_ok=True)  # cpu and cpuacct may be one
        memory = directories["memory"]
        _write(memory / "memory.limit_in_bytes", str(limits.memory_bytes))
        if (memory / "memory.memsw.limit_in_bytes").exists():
            _write(memory / "memory.memsw.limit_in_bytes", str(limits.memory_bytes))
        sockets = memory / "memory.kmem.tcp.limit_in_bytes"
        if sockets.exists():  # what sockets hold is counted apart, and only where it is bounded
            _write(sockets, str(min(_SOCKET_BYTES, limits.memory_bytes // 4)))
        _write(directories["pids"] / "pids.max", str(limits.processes))
        if self.has_cpu:
            _write(directories["cpu"] / "cpu.cfs_period_us", str(_CPU_PERIOD_US))
            _write(directories["cpu"] / "cpu.cfs_quota_us", str(_cpu_quota_us(limits)))
        return _GroupV1(directories)

    def find(self, name: str) -> KernelGroup | None:
        found = {c: parent / f"kernel-{name}" for c, parent in self._parents.items()}
        return _GroupV1(found) if all(path.is_dir() for path in found.values()) else None

    def sweep(self, keep: Collection[str]) -> None:
        for parent in self._parents.values():
            _sweep(parent, keep)

    def cpu_s(self) -> float:
        return int((self._parents["cpuacct"] / "cpuacct.usage").read_text()) / 1e9

    def directories(self) -> Mapping[str, Path]:
        return self._parents

    def close(self) -> None:
        for parent in self._parents.values():
            _remove_own(parent)


class _GroupV1:
    def __init__(self, directories: dict[str, Path]) -> None:
        self._directories = directories

    def add(self, pid: int) -> None:
        for directory in self._directories.values():
            _write(directory / "cgroup.procs", str(pid))

    def memory_bytes(self) -> int:
        return int((self._directories["memory"] / "memory.usage_in_bytes").read_text())

    def cpu_s(self) -> float:
        return int((self._directories["cpuacct"] / "cpuacct.usage").read_text()) / 1e9

    def memory_kills(self) -> int:
        return _counter(self._directories["memory"] / "memory.oom_control", "oom_kill")

    def was_full(self) -> bool:
        memory = self._directories["memory"]
        limit = int((memory / "memory.limit_in_bytes").read_text())
        names = ("memory.max_usage_in_bytes", "memory.memsw.max_usage_in_bytes")
        most = max(int((memory / n).read_text()) for n in names if (memory / n).exists())
        return most >= limit - _NEARLY_FULL_BYTES

    def weigh(self, *, light: bool) -> None:
        if "cpu" in self._directories:
            with suppress(OSError):
                _write(self._directories["cpu"] / "cpu.shares", "102" if light else "1024")

    def unleash(self) -> None:
        if "cpu" in self._directories:
            with suppress(OSError):
                _write(self._directories["cpu"] / "cpu.cfs_quota_us", "-1")

    def remove(self) -> bool:
        return all([_remove(directory) for directory in self._directories.values()])
