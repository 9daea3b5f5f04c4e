"""A slot: the directory on the host that one sandbox lives in.

    <slot>/work    the working directory, writable by the kernel
    <slot>/home    HOME, writable by the kernel
    <slot>/run     the kernel's sockets
    <slot>/files   the user's stored files, hard-linked; the kernel sees it read-only

``work`` and ``home`` belong to hostile code, which goes on running while they are read: every step
goes down from an open directory, and never through a link.
"""

import os
import secrets
import shutil
import stat
import time
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
#: What no directory of a user's is called.
_MOVED = f"moved-{secrets.token_hex(8)}"


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
        _make_directory(slot / name, owner)


def renew(slot: Path, *, owner: int | None) -> None:
    """Make a slot fit for a new kernel: working directory and files stay, the rest is made anew.

    Whatever the former kernel left in its home or in place of its sockets could keep the new one
    from starting, or run in it. Its processes must have ended.
    """
    os.chmod(slot / "work", 0o700)
    for name in ("home", "run"):
        remove_tree(slot / name)
        _make_directory(slot / name, owner)


def remove(slot: Path) -> None:
    """Remove a slot with everything in it. No process of its kernel may be left."""
    remove_tree(slot)


def remove_tree(top: Path) -> None:
    """Remove a directory, however deep it is and whatever permissions it has been left with.

    Never longer paths than two names: each directory found is first moved up to the top.

    Raises:
        OSError: something could not be removed.
    """
    os.chmod(top, 0o700)
    descriptor = os.open(top, _OPEN_DIRECTORY)
    try:
        pending = _empty(descriptor, descriptor, 0)
        moved = len(pending)
        while pending:
            name = pending.pop()
            below = os.open(name, _OPEN_DIRECTORY, dir_fd=descriptor)
            try:
                found = _empty(below, descriptor, moved)
            finally:
                os.close(below)
            moved += len(found)
            pending += found
            os.rmdir(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    os.rmdir(top)


def _empty(directory: int, top: int, moved: int) -> list[str]:
    """Unlink the files of a directory and move its subdirectories to the top; their new names."""
    names: list[str] = []
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
            continue
        os.chmod(name, 0o700, dir_fd=directory)  # moving a directory means writing to it
        new_name = f".{_MOVED}-{moved + len(names)}"
        os.rename(name, new_name, src_dir_fd=directory, dst_dir_fd=top)
        names.append(new_name)
    return names


def _make_directory(directory: Path, owner: int | None) -> None:
    directory.mkdir(mode=0o700)
    if owner is not None:
        os.chown(directory, owner, owner)


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
    taken_ns = time.time_ns()
    files: dict[str, WorkingFile] = {}
    complete = True
    seen = 0
    pending: list[tuple[int, str, int]] = []
    try:
        pending.append((os.open(slot / "work", _OPEN_DIRECTORY), "", 0))
    except OSError:  # the kernel has taken its own permissions away
        return WorkingDirectory({}, complete=True)
    try:
        while pending:
            descriptor, prefix, depth = pending.pop()
            try:
                with os.scandir(descriptor) as entries:
                    for entry in entries:
                        seen += 1
                        if seen > MAX_ENTRIES:
                            return WorkingDirectory(files, complete=False, taken_ns=taken_ns)
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
                            with suppress(OSError):  # unreadable, or gone meanwhile
                                below = os.open(entry.name, _OPEN_DIRECTORY, dir_fd=descriptor)
                                pending.append((below, f"{path}/", depth + 1))
            except OSError:  # gone or changed while it was read
                pass
            finally:
                os.close(descriptor)
    finally:
        for descriptor, _, _ in pending:
            os.close(descriptor)
    return WorkingDirectory(files, complete=complete, taken_ns=taken_ns)


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
