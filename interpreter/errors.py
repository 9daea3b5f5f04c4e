"""Every error the interpreter raises on purpose.

    InterpreterError
     ├ SettingsError            settings that can't be used, all of them together
     ├ DatabaseUnavailable      MongoDB can't be reached, started or used
     ├ InvalidRecord            something can't be kept as a record
     ├ DataDirectoryUnusable    the data directory can't be made, or isn't safe to use
     ├ DataDirectoryInUse       another service is using the data directory
     ├ FileStoreError
     │   ├ StoredFileNotFound   unknown, expired or somebody else's: no caller can tell which
     │   ├ FileTooLarge
     │   ├ InvalidName          an id that can't be one of a user
     │   ├ UnusableSource       what was to be saved isn't a file that can be read
     │   └ StorageFailed        the disk refused
     ├ HostError
     │   ├ SandboxUnavailable
     │   ├ KernelEnvironmentFailed
     │   └ KernelStartFailed
     └ SessionError
         ├ QueueFull
         ├ SessionClosed
         └ NoCapacity

Code of a user that raises is a result, not one of these. The facts are attributes; ``str()`` is one
plain sentence that says what was wrong and, where something can be done, what.
"""

import errno
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "DataDirectoryInUse",
    "DataDirectoryUnusable",
    "DatabaseUnavailable",
    "FileStoreError",
    "FileTooLarge",
    "HostError",
    "InterpreterError",
    "InvalidName",
    "InvalidRecord",
    "KernelEnvironmentFailed",
    "KernelStartFailed",
    "NoCapacity",
    "PackagesDisabled",
    "QueueFull",
    "SandboxUnavailable",
    "SessionClosed",
    "SessionError",
    "SettingProblem",
    "SettingsError",
    "StorageFailed",
    "StoredFileNotFound",
    "UnusableSource",
]


class InterpreterError(Exception):
    """Root of the errors of this package.

    Each class hands its facts, in the order of its parameters, to ``Exception``: that is what lets
    the errors be pickled, and so cross from one process to another.
    """


# --- settings ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One setting that can't be used.

    Attributes:
        name: The name it was given under: the environment's in ``Settings.load()``, else the
            field's.
        value: The value as given, or None if it is a secret.
        allowed: What may stand there; completes the sentence "it must be ...".
    """

    name: str
    value: str | None
    allowed: str

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.name} (its value is not shown) must be {self.allowed}."
        # Of an address with a user name and a password neither is anybody's business.
        shown = re.sub(r"//.*@", "//...@", self.value, flags=re.DOTALL)
        return f"{self.name} is {shown!r}, but it must be {self.allowed}."


class SettingsError(InterpreterError):
    """Settings that can't be used; names every mistake, so that one edit mends them all."""

    def __init__(self, problems: Iterable[SettingProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        lines = [f"{len(self.problems)} settings can't be used:"]
        return "\n".join([*lines, *(f"  {problem}" for problem in self.problems)])


# --- database and data directory --------------------------------------------------------------


class DatabaseUnavailable(InterpreterError):
    """MongoDB can't be reached, started or used.

    Attributes:
        uri: Which database, without user name, password or options.
        reason: What is wrong, as the end of a sentence, without a full stop.
    """

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(uri, reason)
        self.uri = uri
        self.reason = reason

    def __str__(self) -> str:
        return f"The database {self.uri} is not available: {self.reason}."


class InvalidRecord(InterpreterError):
    """Something can't be kept as a record, or no record can have such a kind, key or owner.

    Attributes:
        reason: What is wrong, as a sentence without a full stop; never holds what was to be kept.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"This can't be kept as a record: {self.reason}."


class DataDirectoryUnusable(InterpreterError):
    """The data directory can't be made, or others could tamper with what is in it."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"The data directory {str(self.path)!r} can't be used: {self.reason}. "
            "Change that, or set DATA_DIR to another directory."
        )


class DataDirectoryInUse(InterpreterError):
    """Another running service uses the data directory.

    Attributes:
        path: The directory.
        pid: Process id of the other service, or None if it could not be told.
    """

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(path, pid)
        self.path = path
        self.pid = pid

    def __str__(self) -> str:
        other = "another process" if self.pid is None else f"process {self.pid}"
        return (
            f"The data directory {str(self.path)!r} is in use by {other}. "
            "Stop it, or set DATA_DIR to another directory."
        )


# --- files ------------------------------------------------------------------------------------


class FileStoreError(InterpreterError):
    """A file could not be saved, found or deleted."""


class StoredFileNotFound(FileStoreError):
    """The user has no such file.

    Raised alike for an id that never was, one that expired, one of another user and one that can't
    be an id, so that nobody learns from the answer which ids exist.
    """

    def __init__(self, file_id: str) -> None:
        super().__init__(file_id)
        self.file_id = file_id

    def __str__(self) -> str:
        return f"There is no file with the id {self.file_id!r}; it may have expired."


class FileTooLarge(FileStoreError):
    """A file is larger than one file may be; nothing was saved or evicted for it.

    Attributes:
        filename: The name as given.
        size_bytes: How large it is, or None where reading stopped at the limit.
        limit_bytes: How large it may be.
    """

    def __init__(self, filename: str, size_bytes: int | None, limit_bytes: int) -> None:
        super().__init__(filename, size_bytes, limit_bytes)
        self.filename = filename
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        limit = _size(self.limit_bytes)
        size = "too large" if self.size_bytes is None else f"too large ({_size(self.size_bytes)})"
        return f"The file {self.filename!r} is {size}: at most {limit} can be stored."


class InvalidName(FileStoreError):
    """A name, such as a user's id, that is not of the form such names have."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name!r} can't be used: {self.reason}."


class UnusableSource(FileStoreError):
    """What was to be saved is not a file that can be read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{str(self.path)!r} can't be saved: {self.reason}."


class StorageFailed(FileStoreError):
    """The disk refused to keep a file.

    Attributes:
        filename: The name as given.
        reason: What the operating system says.
        disk_full: Whether room on the disk, or a quota, is what is missing.
    """

    def __init__(self, filename: str, reason: str, disk_full: bool = False) -> None:
        super().__init__(filename, reason, disk_full)
        self.filename = filename
        self.reason = reason
        self.disk_full = disk_full

    @classmethod
    def from_os_error(cls, filename: str, error: OSError) -> "StorageFailed":
        """Make one of what the operating system reported."""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = os.strerror(error.errno) if error.errno else str(error)
        return cls(filename, reason, full)

    def __str__(self) -> str:
        if self.disk_full:
            return f"The file {self.filename!r} could not be stored: the disk is full."
        return f"The file {self.filename!r} could not be stored: {self.reason}."


# --- hosts ------------------------------------------------------------------------------------


class HostError(InterpreterError):
    """A machine can't run kernels as it should."""


class SandboxUnavailable(HostError):
    """Kernels can't be confined here, and so are not started.

    Attributes:
        reason: What is missing, as the end of a sentence, without a full stop.
        remedy: What to do about it, as a sentence or more.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason, remedy)
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"Kernels can't be sandboxed on this machine: {self.reason}. {self.remedy}".rstrip()


class KernelEnvironmentFailed(HostError):
    """The kernels' Python environment could not be made.

    Attributes:
        step: What was being done, such as "installing the packages".
        reason: What went wrong, as the end of a sentence, without a full stop.
        remedy: What to do about it, as a sentence or more.
    """

    def __init__(self, step: str, reason: str, remedy: str) -> None:
        super().__init__(step, reason, remedy)
        self.step = step
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return (
            f"The kernels' environment could not be made: {self.step} failed: {self.reason}. "
            f"{self.remedy}"
        ).rstrip()


class KernelStartFailed(HostError):
    """A kernel did not start."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"The kernel did not start: {self.reason}."


# --- sessions ---------------------------------------------------------------------------------


class SessionError(InterpreterError):
    """A session can't take the cell."""


class QueueFull(SessionError):
    """As many cells as allowed are waiting in this session already."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        if self.limit == 0:
            return "A cell is running; wait until it is done, or interrupt it."
        waiting = "1 cell is" if self.limit == 1 else f"{self.limit} cells are"
        return f"{waiting} waiting already; wait until one is done, or interrupt the running one."


class SessionClosed(SessionError):
    """The session was closed; ask the service for a new one."""

    def __init__(self, user_id: str) -> None:
        super().__init__(user_id)
        self.user_id = user_id

    def __str__(self) -> str:
        return f"The session of user {self.user_id!r} is closed; open a new one."


class PackagesDisabled(SessionError):
    """This service installs no packages."""

    def __str__(self) -> str:
        return "This service installs no packages; its operator has switched that off."


class NoCapacity(SessionError):
    """As many kernels as this machine may run are all in use."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        if self.limit == 1:
            return "The only kernel this service may run is in use; try again later."
        return f"All {self.limit} kernels this service may run are in use; try again later."


def _size(size_bytes: int) -> str:
    """Say a size as a person would: never as less than it is."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size_bytes >= unit:
            # Rounded up, so that what is one byte too large never reads as just the limit.
            tenths = -(-size_bytes * 10 // unit)
            return f"{tenths // 10} {name}" if tenths % 10 == 0 else f"{tenths / 10:.1f} {name}"
    return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"
