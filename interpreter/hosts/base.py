"""KernelHost: the interface to a machine that runs kernels."""

import errno
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from interpreter.files import StoredFile
from interpreter.hosts.installing import Layer, Locked

ExitCause: TypeAlias = Literal[
    "exited", "signal", "stopped", "memory", "room", "files", "processes", "machine", "disk"
]


#: Errors of the system's that are due to what a process or its machine lacks, and may get again:
#: they say nothing of the file or directory.
LACKS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class HostedKernel:
    """One live kernel on a host.

    Attributes:
        kernel_id: names the kernel on its host.
        slot: names the sandbox directory it lives in; a restarted kernel keeps its slot.
        pid: the kernel's process id as the host's system sees it.
        connection: what a Jupyter client needs to connect, as in a connection file.
        started_at: UTC.
    """

    kernel_id: str
    slot: str
    pid: int
    connection: Mapping[str, str | int]
    started_at: datetime


@dataclass(frozen=True, slots=True)
class KernelExit:
    """How a kernel's process ended.

    Attributes:
        cause: ``exited`` by itself, killed by a ``signal``, ``stopped`` by the service, or ended at
            a limit: its ``memory``, the ``room`` or the number of ``files`` on the disk, its
            number of ``processes``; or because the ``machine`` had no memory, or the ``disk`` no
            room left for anybody. ``room`` and ``files`` also where it ended otherwise, but has
            left more than the next kernel in its slot may have: what it wrote last goes.
        code: the exit status when it exited by itself.
        signal: the signal's number when a signal ended it.
    """

    cause: ExitCause
    code: int | None = None
    signal: int | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """What a kernel and its children use now.

    Attributes:
        memory_bytes: memory of its own, what is shared with other kernels counted in part.
        cpu_s: processor time so far, in seconds.
    """

    memory_bytes: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class WorkingFile:
    """A regular file in a kernel's working directory.

    Attributes:
        path: relative to the working directory, with ``/``.
        size: bytes.
        version: changes whenever the file was written, replaced or touched; only to be compared.
        changed_ns: when anything of it was last changed, in nanoseconds since 1970 by the host's
            clock; nobody but the system sets that.
    """

    path: str
    size: int
    version: tuple[int, ...]
    changed_ns: int = 0


@dataclass(frozen=True, slots=True)
class WorkingDirectory:
    """What a scan of a kernel's working directory found.

    Attributes:
        files: by relative path; no hidden ones, no links, devices or FIFOs.
        complete: False when there was too much to look at all of it.
        taken_ns: when the scan began, in nanoseconds since 1970 by the host's clock.
    """

    files: Mapping[str, WorkingFile]
    complete: bool
    taken_ns: int = 0


class KernelHost(Protocol):
    """A machine that runs kernels, each in a sandbox with a directory (a slot) of its own.

    Everything passed in and out is a plain value, so that a host may be another machine. Methods
    that name a kernel which has ended raise ``KernelStartFailed`` or do nothing, as each one says.
    """

    async def open_slot(self) -> str:
        """Make an empty sandbox directory and return its name."""

    async def close_slot(self, slot: str) -> None:
        """Remove a sandbox directory with all that is in it. Its kernel must have ended."""

    async def has_slot(self, slot: str) -> bool:
        """Whether a sandbox directory is there."""

    async def start(
        self, slot: str | None, *, memory_bytes: int | None = None, background: bool = False
    ) -> HostedKernel:
        """Start a kernel.

        Args:
            slot: the sandbox directory to start it in, or None for a new one (faster).
            memory_bytes: memory that it may use; None for as much as every kernel.
            background: whether nobody waits for it: at low priority until it is ready.

        Raises:
            KernelStartFailed: no kernel could be made, with the reason.
        """

    async def signal(self, kernel_id: str, signum: int) -> bool:
        """Send a signal to the kernel and its process group. False if the kernel has ended."""

    async def kill(self, kernel_id: str) -> None:
        """End a kernel and everything it started. Does nothing if it has ended."""

    async def wait(self, kernel_id: str) -> KernelExit:
        """Wait until a kernel has ended, and say how."""

    def provisioner_info(self, kernel_id: str) -> Mapping[str, Any] | None:
        """All that a later service needs to adopt a kernel, for JSON; None if it has ended.

        It holds the kernel's key: a secret.
        """

    async def adopt(self, info: Mapping[str, Any]) -> HostedKernel | None:
        """Have a kernel again that an earlier service has started.

        One that has ended meanwhile is adopted too, if somebody still waits to tell how it ended:
        :meth:`wait` then says so at once.

        Args:
            info: of :meth:`provisioner_info`; may be stale, or anything.

        Returns:
            None if it isn't there any more, or isn't the same.
        """

    async def settle(self, keep: Collection[str]) -> None:
        """After adopting: end all kernels that nobody has adopted, and remove their slots.

        To be called once, before the first kernel is started.

        Args:
            keep: slots without a kernel, whose working directories are to stay.
        """

    def detach(self) -> None:
        """From now on, have kernels live on when the host closes, for the next one to adopt."""

    @property
    def measures_cheaply(self) -> bool:
        """Whether what a kernel uses can be asked for as often as one likes."""

    def resources(self, kernel_id: str) -> Resources | None:
        """What a kernel uses, or None if it has ended. Answers at once; may be seconds old."""

    async def put_file(self, slot: str, file: StoredFile) -> None:
        """Show a stored file under /files, at once, also in a running kernel."""

    async def remove_file(self, slot: str, file_id: str) -> None:
        """Take a file away from /files."""

    async def shown_files(self, slot: str) -> Collection[str]:
        """The ids of the files that are under /files."""

    def core_packages(self) -> Mapping[str, str]:
        """What all kernels have, by canonical name: the version."""

    async def lock_packages(
        self, requirements: Sequence[str], *, keep: str = "", upgrade: Sequence[str] = ()
    ) -> Locked:
        """Find versions that go together, and with what all kernels have.

        Args:
            requirements: as in requirement files, without addresses or paths.
            keep: an earlier lock, whose versions are preferred.
            upgrade: canonical names of packages to take the newest version of.

        Raises:
            InstallFailed: there are none, or the index doesn't answer.
        """

    async def install(self, locked: Locked) -> Layer:
        """Have a layer of these packages: the one there is, or a new one.

        Raises:
            InstallFailed: it can't be made.
        """

    async def show_layer(self, slot: str, layer: Layer | None) -> None:
        """Show a layer to the kernel of a slot, from one moment to the next; None for no layer."""

    async def has_snapshot(self, slot: str) -> bool:
        """Whether there is a snapshot in a kernel's home, perhaps one that it is still writing."""

    async def take_snapshot(self, slot: str, target: Path, *, most_bytes: int) -> int:
        """Copy the snapshot that a kernel has left in its home, and remove it there.

        Args:
            slot: the kernel's.
            target: the file to make, out of the reach of any kernel.
            most_bytes: how large it may be.

        Returns:
            Its size in bytes.

        Raises:
            OSError: there is none, it is no regular file, or too large.
        """

    def allow(self, kernel_id: str, extra_bytes: int, *, for_s: float) -> Callable[[], None]:
        """Let a kernel have more room on its disk, and a file more, while it saves its variables.

        When its time is over, a snapshot that nobody has taken goes. Nothing happens to a kernel
        that has ended.

        Args:
            kernel_id: the kernel.
            extra_bytes: how much more; of several allowances the largest counts.
            for_s: how long, in seconds: as long as it may be saving, also if nobody waits for it.

        Returns:
            What ends it before.
        """

    async def give_snapshot(self, slot: str, snapshot: Path | None) -> None:
        """Show the kernel of a slot a snapshot, which it can only read; None takes it away again.

        Raises:
            OSError: it can't be shown.
        """

    async def scan(self, slot: str) -> WorkingDirectory:
        """List the files of the working directory.

        Raises:
            OSError: it can't be looked at just now.
        """

    def read(self, slot: str, path: str) -> AsyncIterator[bytes]:
        """The bytes of a file of the working directory, in pieces.

        Raises:
            OSError: it can't be read (any more), or is no regular file.
        """
