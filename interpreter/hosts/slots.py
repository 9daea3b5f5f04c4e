"""A slot: the directory on the host that one sandbox lives in.

    <slot>/work    the working directory, writable by the kernel
    <slot>/home    HOME, writable by the kernel
    <slot>/tmp     for temporary files, where the kernel has no /tmp of its own
    <slot>/run     the kernel's sockets
    <slot>/files   the user's stored files, hard-linked; the kernel sees it read-only
    <slot>/packages  a link, ``current``, to the layer of the user's packages; read-only as well

``work`` and ``home`` belong to hostile code, which goes on running while they are read: every step
goes down from an open directory, and never through a link.
"""

import heapq
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from interpreter.files import StoredFile
from interpreter.hosts.base import LACKS, WorkingDirectory, WorkingFile
from kernel_startup.connection import PORTS, SNAPSHOT
from kernel_startup.types import safe_name

#: A scan looks at no more entries, and no deeper, than this.
MAX_ENTRIES = 10_000
MAX_DEPTH = 16

#: A measurement goes no deeper than this, and holds as many directories open.
MEASURED_DEPTH = 200

_CHUNK_BYTES = 1 << 20
_BLOCK_BYTES = 512  # the unit of st_blocks
_SHARED_MEMORY = "/dev/shm"
_RENEWED = ("home", "run", "tmp")
_MEASURED = ("work", "home", "run", "tmp")
#: More entries of a working directory are not gone through to find out which came last.
_MOST_SEEN = 1_000_000
#: What a kernel in a slot leaves to the next one.
KEPT = ("work",)
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
    for name in ("files", "packages"):
        (slot / name).mkdir(mode=0o755)
        (slot / name).chmod(0o755)
    for name in ("work", *_RENEWED):
        _make_directory(slot / name, owner)


def owner_of(slot: Path) -> int | None:
    """The user id that kernels in a slot run as, when it isn't the service's own.

    Raises:
        OSError: there is no such slot.
    """
    status = (slot / "work").lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(f"{slot.name} is no slot")
    return None if status.st_uid == os.geteuid() else status.st_uid


def renew(slot: Path, *, owner: int | None) -> None:
    """Make a slot fit for a new kernel: working directory and files stay, the rest is made anew.

    Whatever the former kernel left in its home or in place of its sockets could keep the new one
    from starting, or run in it. Its processes must have ended.
    """
    os.chmod(slot / "work", 0o700)
    for name in _RENEWED:
        with suppress(FileNotFoundError):  # not made again, on a full disk; or stripped
            remove_tree(slot / name)
        _make_directory(slot / name, owner)


def strip(slot: Path) -> bool:
    """Leave nothing of a slot but its working directory, fit for being renewed.

    Returns:
        Whether there is anything in that.
    """
    os.chmod(slot / "work", 0o700)
    with os.scandir(slot / "work") as entries:
        if next(entries, None) is None:
            return False
    for name in _RENEWED:
        with suppress(FileNotFoundError):
            remove_tree(slot / name)
    for shown in (slot / "files").iterdir():
        remove_tree(shown)
    show_layer(slot, None)
    return True


def is_stripped(slot: Path) -> bool:
    """Whether no kernel has been in a slot since it was stripped."""
    return not os.path.lexists(slot / "run")


def remove(slot: Path) -> None:
    """Remove a slot with everything in it. No process of its kernel may be left."""
    remove_tree(slot)


def remove_tree(top: Path) -> None:
    """Remove a directory, however deep it is and whatever permissions it has been left with.

    Never longer paths than two names: each directory found is first moved up to the top, under a
    name that none has there: neither one of a user's, nor one left by a removal that failed.

    Raises:
        OSError: something could not be removed.
    """
    os.chmod(top, 0o700)
    token = secrets.token_hex(8)
    moved, emptied = _Moved(f".moved-{token}-"), 0
    descriptor = os.open(top, _OPEN_DIRECTORY)
    try:
        moved.empty(descriptor, descriptor)
        while emptied < moved.count:
            name = f"{moved.prefix}{emptied}"
            below = os.open(name, _OPEN_DIRECTORY, dir_fd=descriptor)
            try:
                moved.empty(below, descriptor)
            finally:
                os.close(below)
            os.rmdir(name, dir_fd=descriptor)
            emptied += 1
    finally:
        os.close(descriptor)
    os.rmdir(top)


@dataclass(slots=True)
class _Moved:
    """Directories that were moved up to be removed: numbers in place of names, as many as there be.

    Attributes:
        prefix: what comes before the number.
        count: how many have been moved so far.
    """

    prefix: str
    count: int = 0

    def empty(self, directory: int, top: int) -> None:
        """Unlink the files of a directory and move its subdirectories to the top."""
        while self._empty_once(directory, top):
            pass  # once more: what goes while it is read may hide something

    def _empty_once(self, directory: int, top: int) -> bool:
        found = False
        with os.scandir(directory) as entries:
            for entry in entries:
                name = entry.name
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(name, dir_fd=directory)
                elif directory == top and name.startswith(self.prefix):
                    continue
                else:
                    os.chmod(name, 0o700, dir_fd=directory)  # moving it means writing to it
                    new_name = f"{self.prefix}{self.count}"
                    os.rename(name, new_name, src_dir_fd=directory, dst_dir_fd=top)
                    self.count += 1
                found = True
        return found


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


def shown_files(slot: Path) -> list[str]:
    """The ids of the files that :func:`put_file` has shown."""
    try:
        return os.listdir(slot / "files")
    except OSError:
        return []


def show_layer(slot: Path, target: str | None) -> None:
    """Have ``packages/current`` lead to a layer, from one moment to the next; None for nowhere.

    Args:
        slot: where.
        target: the layer's path as the kernel sees it.
    """
    link = slot / "packages" / "current"
    if target is None:
        link.unlink(missing_ok=True)
        return
    coming = slot / ".current"
    coming.unlink(missing_ok=True)
    coming.symlink_to(target)
    coming.rename(link)


def shown_layer(slot: Path) -> str | None:
    """The name of the layer that :func:`show_layer` has shown; None without one."""
    try:
        return os.path.basename(os.readlink(slot / "packages" / "current"))
    except OSError:
        return None


def has_snapshot(slot: Path) -> bool:
    """Whether a kernel has left a snapshot in its home."""
    return os.path.lexists(slot / "home" / SNAPSHOT)


def take_snapshot(slot: Path, target: Path, *, most_bytes: int) -> int:
    """Copy the snapshot that a kernel has left in its home, and remove it there.

    A copy, since whoever wrote the file may still have it open.

    Returns:
        Its size in bytes.

    Raises:
        OSError: there is none, it is no regular file, or too large.
    """
    home = os.open(slot / "home", _OPEN_DIRECTORY)
    try:
        try:
            source = os.open(SNAPSHOT, _OPEN_FILE, dir_fd=home)
            try:
                return _copy(source, target, most_bytes)
            finally:
                os.close(source)
        finally:
            with suppress(OSError):
                os.unlink(SNAPSHOT, dir_fd=home)
    finally:
        os.close(home)


def drop_snapshot(slot: Path) -> None:
    """Remove the snapshot that a kernel has left in its home, if it has."""
    with suppress(OSError):
        home = os.open(slot / "home", _OPEN_DIRECTORY)
        try:
            os.unlink(SNAPSHOT, dir_fd=home)
        finally:
            os.close(home)


def _copy(source: int, target: Path, most_bytes: int) -> int:
    status = os.fstat(source)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("no regular file")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    copy = os.open(target, flags, 0o600)
    try:
        size = 0
        while piece := os.sendfile(copy, source, None, _CHUNK_BYTES):
            size += piece
            if size > most_bytes:
                raise OSError(f"more than {most_bytes} bytes")
        os.fchmod(copy, 0o644)  # the directory it is in is closed; a slot's kernel has to read it
        return size
    except BaseException:
        os.unlink(target)
        raise
    finally:
        os.close(copy)


def give_snapshot(slot: Path, snapshot: Path | None) -> None:
    """Show a kernel a snapshot beside its packages, where it can only read; None takes it away.

    Raises:
        OSError: it can't be shown.
    """
    shown = slot / "packages" / SNAPSHOT
    shown.unlink(missing_ok=True)
    if snapshot is not None:
        os.link(snapshot, shown)


def scan(slot: Path) -> WorkingDirectory:
    """List the regular files of the working directory and its subdirectories.

    Raises:
        OSError: this process lacks what it takes to look, such as descriptors.
    """
    taken_ns = time.time_ns()
    files: dict[str, WorkingFile] = {}
    complete = True
    seen = 0
    pending: list[tuple[int, str, int]] = []
    try:
        pending.append((os.open(slot / "work", _OPEN_DIRECTORY), "", 0))
    except OSError as error:
        if error.errno in LACKS:
            raise
        # The kernel has taken its own permissions away.
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
                            files[path] = WorkingFile(
                                path, status.st_size, version, status.st_ctime_ns
                            )
                        elif stat.S_ISDIR(status.st_mode):
                            if entry.name in _SKIPPED_DIRECTORIES:
                                continue
                            if depth + 1 > MAX_DEPTH or len(pending) > MAX_ENTRIES // 50:
                                complete = False
                                continue
                            below = _opened_below(descriptor, entry.name)
                            if below is not None:
                                pending.append((below, f"{path}/", depth + 1))
            except OSError as error:
                if error.errno in LACKS:
                    raise
                # Gone or changed while it was read.
            finally:
                os.close(descriptor)
    finally:
        for descriptor, _, _ in pending:
            os.close(descriptor)
    return WorkingDirectory(files, complete=complete, taken_ns=taken_ns)


def _opened_below(directory: int, name: str) -> int | None:
    """A directory in a directory; None if it can't be read, or is gone by now."""
    try:
        return os.open(name, _OPEN_DIRECTORY, dir_fd=directory)
    except OSError as error:
        if error.errno in LACKS:
            raise
        return None


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What a kernel's own files take.

    Attributes:
        room_bytes: on the disk; less than their sizes where they have holes.
        files: how many files and directories.
        complete: False if there was too much to look at, or too deep.
    """

    room_bytes: int
    files: int
    complete: bool


def measure(slot: Path, *, most_files: int, tops: Sequence[str] = _MEASURED) -> DiskUse:
    """Add up what a kernel has written, but not further than ``most_files`` files.

    As many sockets as each kernel has by itself don't count.

    Args:
        slot: the kernel's.
        most_files: how many files and directories there may be.
        tops: the directories to look into.
    """
    room = files = sockets = 0
    linked: set[int] = set()
    for entry in _walk(slot, tops):
        if entry is None:
            return DiskUse(room, files, complete=False)
        status = entry.status
        if stat.S_ISSOCK(status.st_mode) and sockets < len(PORTS):
            sockets += 1
            continue
        files += 1
        if files > most_files:
            return DiskUse(room, files, complete=False)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if status.st_ino in linked:
                continue
            linked.add(status.st_ino)
        room += status.st_blocks * _BLOCK_BYTES
    return DiskUse(room, files, complete=True)


def shared_memory(owner: int) -> list[os.DirEntry[str]]:
    """The files that a user has in the machine's shared memory."""
    found = []
    with suppress(OSError), os.scandir(_SHARED_MEMORY) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_uid == owner:
                    found.append(entry)
    return found


def shared_memory_bytes(owner: int) -> int:
    """How much memory those files take."""
    room = 0
    for entry in shared_memory(owner):
        with suppress(OSError):
            room += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
    return room


def remove_shared_memory(owner: int) -> None:
    """Remove what a kernel with a user id of its own has left there."""
    for entry in shared_memory(owner):
        with suppress(OSError):
            os.unlink(entry.path)


def trim(slot: Path, *, since_ns: Sequence[int], most_bytes: int, most_files: int) -> bool:
    """Remove what was written last to the working directory, until the rest fits.

    The kernel's processes must have ended. Its home is made anew with the next one anyway.

    Args:
        slot: the kernel's.
        since_ns: times from which on it may have been too much, in nanoseconds since 1970: one
            after the other is tried. If that's too little, the newest files go until the rest fits.
        most_bytes: how much room all may take.
        most_files: how many files and directories there may be.

    Returns:
        False if nothing less helped than to empty the directory.
    """
    for name in _MEASURED:
        if name != "work":
            _replace(slot / name)
    for since in since_ns:
        if _fits_without_newer(slot, since, most_bytes, most_files):
            return True
    for part in (1, 2, 4):  # directories stay as long as something older is in them
        found = _since_too_much(slot, most_bytes // part, most_files // part)
        if found is not None and _fits_without_newer(slot, found, most_bytes, most_files):
            return True
    _replace(slot / "work")
    return False


def _fits_without_newer(slot: Path, since_ns: int, most_bytes: int, most_files: int) -> bool:
    with suppress(OSError):
        work = _open_to_measure(slot / "work", writable=True)
        try:
            _remove_newer(work, since_ns, most_files, depth=1)
        finally:
            os.close(work)
    left = measure(slot, most_files=most_files)
    return left.complete and left.room_bytes <= most_bytes and left.files <= most_files


def _remove_newer(directory: int, since_ns: int, most_files: int, *, depth: int) -> None:
    """Remove what has changed since then below a directory, and what is too deep to be measured."""
    below: list[tuple[str, bool]] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                is_newer = status.st_ctime_ns >= since_ns
                if stat.S_ISDIR(status.st_mode):
                    below.append((entry.name, is_newer))
                elif is_newer:
                    os.unlink(entry.name, dir_fd=directory)
            if len(below) > most_files:
                break  # that is too much in any case
    for name, is_newer in below:
        with suppress(OSError):
            if depth >= MEASURED_DEPTH:
                remove_tree(Path(f"/proc/self/fd/{directory}/{name}"))
                continue
            opened = _open_to_measure(name, dir_fd=directory, writable=True)
            try:
                _remove_newer(opened, since_ns, most_files, depth=depth + 1)
            finally:
                os.close(opened)
            if is_newer:
                os.rmdir(name, dir_fd=directory)  # which fails where something older is in it


def _since_too_much(slot: Path, most_bytes: int, most_files: int) -> int | None:
    """Since when the working directory has been too full, by the ages of what is there.

    Returns:
        In nanoseconds since 1970; None if that can't be told.
    """
    oldest: list[tuple[int, int]] = []  # a heap, the newest first
    room = seen = 0
    since: int | None = None
    for entry in _walk(slot, KEPT):
        seen += 1
        if seen > _MOST_SEEN:
            return None
        if entry is None:
            continue
        size = entry.status.st_blocks * _BLOCK_BYTES
        heapq.heappush(oldest, (-entry.status.st_ctime_ns, size))
        room += size
        while oldest and (room > most_bytes or len(oldest) > most_files):
            newest, size = heapq.heappop(oldest)
            room -= size
            since = -newest if since is None else min(since, -newest)
    return since


def _replace(directory: Path) -> None:
    """Put an empty directory in place of this one."""
    owner = directory.lstat().st_uid
    remove_tree(directory)
    _make_directory(directory, owner if owner != os.geteuid() else None)


@dataclass(slots=True)
class _Entry:
    """Something in a directory that is open."""

    directory: int
    name: str
    status: os.stat_result


def _walk(slot: Path, tops: Sequence[str] = _MEASURED) -> Iterator[_Entry | None]:
    """Everything in some of a slot's directories; None where it is too deep or hidden to go on."""
    own = os.geteuid() != 0  # then all of it is the service's: hidden only by somebody quick
    for top in tops:
        try:
            descriptor = _open_to_measure(slot / top)
        except OSError as error:  # the kernel has taken its own permissions away
            if own and isinstance(error, PermissionError):
                yield None
            continue
        levels: list[tuple[int, list[str]]] = [(descriptor, [""])]
        try:
            while levels:
                descriptor, below = levels[-1]
                if not below:
                    os.close(levels.pop()[0])
                    continue
                name = below.pop()
                if name:
                    if len(levels) >= MEASURED_DEPTH:
                        yield None
                        continue
                    try:
                        descriptor = _open_to_measure(name, dir_fd=descriptor)
                    except OSError as error:  # unreadable, or gone meanwhile
                        if own and isinstance(error, PermissionError):
                            yield None
                        continue
                    below = []
                    levels.append((descriptor, below))
                with suppress(OSError), os.scandir(descriptor) as entries:
                    for entry in entries:
                        try:
                            status = entry.stat(follow_symlinks=False)
                        except OSError as error:
                            if own and isinstance(error, PermissionError):
                                yield None
                            continue
                        if stat.S_ISDIR(status.st_mode):
                            below.append(entry.name)
                        yield _Entry(descriptor, entry.name, status)
        finally:
            for descriptor, _ in levels:
                os.close(descriptor)


def _open_to_measure(name: str | Path, dir_fd: int | None = None, *, writable: bool = False) -> int:
    """Open a directory of a live kernel's; without root, take back what it has forbidden itself.

    Where kernels have the service's own user id, a directory without permissions would hide from
    the service, too, what is in it.
    """
    found = os.open(name, _OPEN_DIRECTORY | os.O_PATH, dir_fd=dir_fd)
    try:
        status = os.fstat(found)
        wanted = 0o700 if writable else 0o500
        if status.st_uid == os.geteuid() and status.st_mode & wanted != wanted:
            # The directory that was found, whatever has its name by now.
            os.chmod(f"/proc/self/fd/{found}", stat.S_IMODE(status.st_mode) | 0o700)
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(found)


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
