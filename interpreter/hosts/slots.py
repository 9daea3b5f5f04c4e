"""A slot: the directory on the host that one sandbox lives in.

    <slot>/work    the working directory, writable by the kernel
    <slot>/home    HOME, writable by the kernel
    <slot>/run     the kernel's sockets
    <slot>/files   the user's stored files, hard-linked; the kernel sees it read-only

``work`` and ``home`` belong to hostile code, which goes on running while they are read: every step
goes down from an open directory, and never through a link.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from interpreter.files import StoredFile
from interpreter.hosts.base import WorkingDirectory, WorkingFile
from kernel_startup.types import safe_name

#: A scan looks at no more entries, and no deeper, than this.
MAX_ENTRIES = 10_000
MAX_DEPTH = 16

_CHUNK_BYTES = 1 << 20
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO would wait for a writer for ever.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SKIPPED_DIRECTORIES = {"__pycache__"}


def create(slot: Path, *, owner: int | None) -> None:
    """Make an empty slot.

    Args:
        slot: where; must not exist.
        owner: the user id that kernels run as, when it isn't the service's own.
    """
    slot.mkdir(mode=0o711)
    slot.chmod(0o711)
    (slot / "files").mkdir(mode=0o755)
    (slot / "files").chmod(0o755)
    for name in ("work", "home", "run"):
        directory = slot / name
        directory.mkdir(mode=0o700)
        if owner is not None:
            os.chown(directory, owner, owner)


def remove(slot: Path) -> None:
    """Remove a slot with everything in it."""
    shutil.rmtree(slot, onerror=_make_removable)


def _make_removable(function: object, path: str, error: object) -> None:
    """Give a directory its permissions back, that hostile code took, and try again."""
    parent = os.path.dirname(path)
    with suppress(OSError):
        for directory in (parent, path):
            if not os.path.islink(directory) and os.path.isdir(directory):
                os.chmod(directory, 0o700)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)


def clear_sockets(slot: Path) -> None:
    """Remove the sockets of the slot's former kernel."""
    descriptor = os.open(slot / "run", _OPEN_DIRECTORY)
    try:
        for name in os.listdir(descriptor):
            with suppress(OSError):
                os.unlink(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def put_file(slot: Path, file: StoredFile) -> None:
    """Link a stored file to ``files/<id>/<name>``, so that it appears whole at once."""
    final = slot / "files" / file.file_id
    if final.exists():
        return
    hidden = slot / f".{file.file_id}"
    hidden.mkdir(mode=0o755, exist_ok=True)
    hidden.chmod(0o755)
    with suppress(FileExistsError):
        os.link(file.file_path, hidden / safe_name(file.filename))
    hidden.rename(final)


def remove_file(slot: Path, file_id: str) -> None:
    """Take a stored file out of ``files`` again."""
    shutil.rmtree(slot / "files" / file_id, ignore_errors=True)


def scan(slot: Path) -> WorkingDirectory:
    """List the regular files of the working directory and its subdirectories."""
    files: dict[str, WorkingFile] = {}
    complete = True
    seen = 0
    pending: list[tuple[int, str, int]] = []
    try:
        pending.append((os.open(slot / "work", _OPEN_DIRECTORY), "", 0))
    except OSError:
        return WorkingDirectory({}, complete=False)
    try:
        while pending:
            descriptor, prefix, depth = pending.pop()
            try:
                with os.scandir(descriptor) as entries:
                    for entry in entries:
                        seen += 1
                        if seen > MAX_ENTRIES:
                            return WorkingDirectory(files, complete=False)
                        if entry.name.startswith("."):
                            continue
                        path = f"{prefix}{entry.name}"
                        status = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            version = (status.st_ino, status.st_size, status.st_mtime_ns)
                            files[path] = WorkingFile(path, status.st_size, version)
                        elif stat.S_ISDIR(status.st_mode):
                            if entry.name in _SKIPPED_DIRECTORIES:
                                continue
                            if depth + 1 > MAX_DEPTH or len(pending) > MAX_ENTRIES // 50:
                                complete = False
                                continue
                            below = os.open(entry.name, _OPEN_DIRECTORY, dir_fd=descriptor)
                            pending.append((below, f"{path}/", depth + 1))
            except OSError:  # unreadable, or gone meanwhile
                complete = False
            finally:
                os.close(descriptor)
    finally:
        for descriptor, _, _ in pending:
            os.close(descriptor)
    return WorkingDirectory(files, complete=complete)


def open_file(slot: Path, path: str) -> int:
    """Open a file of the working directory for reading, without following any link.

    Returns:
        The descriptor of a regular file.

    Raises:
        OSError: it is gone, unreadable, or no regular file (any more).
    """
    *directories, name = path.split("/")
    descriptor = os.open(slot / "work", _OPEN_DIRECTORY)
    try:
        for directory in directories:
            below = os.open(directory, _OPEN_DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        file = os.open(name, _OPEN_FILE, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(f"{path!r} is no regular file")
    return file


def read(slot: Path, path: str) -> Iterator[bytes]:
    """The bytes of a file of the working directory, in pieces of at most 1 MiB.

    Raises:
        OSError: as in :func:`open_file`.
    """
    with open(open_file(slot, path), "rb", buffering=0) as source:
        while piece := source.read(_CHUNK_BYTES):
            yield piece
