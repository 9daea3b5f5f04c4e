"""Limits: the numbers of a kernel's confinement."""

from dataclasses import dataclass
from typing import Self

from interpreter.settings import Settings

_MIB = 1 << 20
#: With less, a kernel may not start: with 80 MiB it didn't, with 96 it did.
MIN_MEMORY_BYTES = 128 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """What holds for one user in place of the settings; None leaves a setting as it is.

    Attributes:
        cell_timeout_s: the deadline of a cell that is given none, and the longest one a cell may
            be given; in seconds, greater than 0.
        memory_bytes: memory of the user's kernel; 128 MiB or more.
        max_files: how many files the user may keep; 1 or more.

    Raises:
        ValueError: a limit is out of its range.
    """

    cell_timeout_s: float | None = None
    memory_bytes: int | None = None
    max_files: int | None = None

    def __post_init__(self) -> None:
        """Refuse what can't be a limit."""
        if self.cell_timeout_s is not None and not 0 < self.cell_timeout_s < float("inf"):
            raise ValueError(f"cell_timeout_s is {self.cell_timeout_s!r}; it must be above 0.")
        if self.memory_bytes is not None and self.memory_bytes < MIN_MEMORY_BYTES:
            raise ValueError(
                f"memory_bytes is {self.memory_bytes!r}; it must be at least {MIN_MEMORY_BYTES}."
            )
        if self.max_files is not None and self.max_files < 1:
            raise ValueError(f"max_files is {self.max_files!r}; it must be at least 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one kernel may use.

    Attributes:
        memory_bytes: memory of the kernel and all it starts, together.
        processes: processes and threads at a time.
        cpu_percent: processor time, in percent of one processor.
        open_files: open files of one process.
        file_bytes: size of one file that it writes.
        tmp_bytes: size of its private /tmp, which counts as memory.
        shm_bytes: size of its private /dev/shm, which counts as memory.
        disk_bytes: room that its working directory and home take together.
        disk_files: files and directories in them.
        output_chars: characters of a cell's output that are sent as they come; as many more are
            kept for its end, and what is between is counted.
    """

    memory_bytes: int = 1024 * _MIB
    processes: int = 64
    cpu_percent: int = 100
    open_files: int = 1024
    file_bytes: int = 500 * _MIB
    tmp_bytes: int = 256 * _MIB
    shm_bytes: int = 256 * _MIB
    disk_bytes: int = 500 * _MIB
    disk_files: int = 50_000
    output_chars: int = 200_000

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The limits that an operator has set."""
        return cls(
            memory_bytes=settings.kernel_memory_bytes,
            processes=settings.kernel_processes,
            cpu_percent=settings.kernel_cpu_percent,
            open_files=settings.kernel_open_files,
            file_bytes=settings.kernel_file_bytes,
            tmp_bytes=settings.kernel_tmp_bytes,
            shm_bytes=settings.kernel_tmp_bytes,
            disk_bytes=settings.working_directory_bytes,
            disk_files=settings.working_directory_files,
            output_chars=settings.max_output_chars,
        )

    def for_kernel(self) -> dict[str, int]:
        """The numbers that the fork server sets."""
        return {
            "memory_bytes": self.memory_bytes,
            "processes": self.processes,
            "open_files": self.open_files,
            "file_bytes": self.file_bytes,
            "tmp_bytes": self.tmp_bytes,
            "shm_bytes": self.shm_bytes,
        }
