"""The bytes of users' files on disk. Blocking calls only; what they mean is ``files.py``'s matter.

    {data_dir}/user_files/{user_id}/{file_id}.csv     a file, complete and synced
    {data_dir}/user_files/{user_id}/.{file_id}.part   a file being written

Whoever writes a file holds a lock (``flock``) on it from its first byte until it is recorded in the
database. So what is neither recorded nor locked is left over from a crash, and can go; whichever
process asks.

Every path is walked by descriptor, link by link, and none of the last two is followed: nothing
outside can be read, overwritten or deleted, whatever somebody puts there.
"""

import errno
import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Entries", "PartialFile", "SourceFile", "UserFiles"]

USER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Digits and small letters without 0, 1, i, l and o, which people confuse.
FILE_ID_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
FILE_ID = re.compile(f"[{FILE_ID_ALPHABET}]{{12}}")
_COMPLETE = re.compile(rf"({FILE_ID.pattern})(\.[a-z0-9]{{1,16}})?")
_PARTIAL = re.compile(rf"\.({FILE_ID.pattern})\.part")

_MARKER = ".database"
# Kernels read the files as another user; nobody but us may list the directories.
_DIRECTORY_MODE = 0o711
_FILE_MODE = 0o644
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Entries:
    """What lies in one user's directory, by name.

    Attributes:
        complete: Name of each complete file, and the id in it.
        partial: Names of files being written, or left over from that.
        strays: Names of what isn't ours; never touched.
    """

    complete: dict[str, str]
    partial: tuple[str, ...]
    strays: tuple[str, ...]


class UserFiles:
    """The directory with a directory of files for each user."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the directory, if it isn't there."""
        self.root.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        self.root.chmod(_DIRECTORY_MODE)

    def path(self, user_id: str, name: str) -> Path:
        return self.root / user_id / name

    def users(self) -> tuple[list[str], list[str]]:
        """The users that have a directory, and the names of what isn't ours."""
        users, strays = [], []
        with os.scandir(self.root) as entries:
            for entry in entries:
                if USER_ID.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    users.append(entry.name)
                elif not entry.name.startswith(_MARKER):
                    strays.append(entry.name)
        return users, strays

    def entries(self, user_id: str) -> Entries:
        """What lies in a user's directory, which need not exist."""
        complete: dict[str, str] = {}
        partial, strays = [], []
        with (
            suppress(FileNotFoundError),
            self._directory(user_id) as directory,
            os.scandir(directory) as entries,
        ):
            for entry in entries:
                regular = entry.is_file(follow_symlinks=False)
                if regular and (found := _COMPLETE.fullmatch(entry.name)):
                    complete[entry.name] = found[1]
                elif regular and _PARTIAL.fullmatch(entry.name):
                    partial.append(entry.name)
                else:
                    strays.append(entry.name)
        return Entries(complete, tuple(partial), tuple(strays))

    def owns(self, path: Path, user_id: str) -> bool:
        """Whether the path is one of a complete file of the user, in this very directory."""
        in_place = path.parent == self.root / user_id and USER_ID.fullmatch(user_id) is not None
        return in_place and _COMPLETE.fullmatch(path.name) is not None

    def delete(self, user_id: str, name: str) -> bool:
        """Delete a file; False if it isn't there."""
        try:
            with self._directory(user_id) as directory:
                os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            return False
        return True

    def delete_directory_if_empty(self, user_id: str) -> None:
        with suppress(OSError):
            os.rmdir(self.root / user_id)

    @contextmanager
    def claimed(self, user_id: str, name: str) -> Iterator[bool]:
        """Whether nobody is at work on a file; true stays true within the ``with``."""
        try:
            with self._directory(user_id) as directory:
                descriptor = os.open(
                    name,
                    os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                    dir_fd=directory,
                )
        except OSError:
            yield False
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
        finally:
            os.close(descriptor)

    # --- which database the files are recorded in ---

    def marker(self) -> str | None:
        """The mark of the database that records these files, or None if there is none yet."""
        try:
            return (self.root / _MARKER).read_text().strip() or None
        except FileNotFoundError:
            return None

    def set_marker(self, text: str) -> None:
        temporary = self.root / f"{_MARKER}.{os.getpid()}"
        temporary.write_text(text)
        os.replace(temporary, self.root / _MARKER)

    # --- internals ---

    @contextmanager
    def _directory(self, user_id: str, *, create: bool = False) -> Iterator[int]:
        if not USER_ID.fullmatch(user_id):
            raise FileNotFoundError(user_id)
        if create:
            self._make_directory(user_id)
        root = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            directory = os.open(user_id, _OPEN_DIRECTORY, dir_fd=root)
        finally:
            os.close(root)
        try:
            yield directory
        finally:
            os.close(directory)

    def _make_directory(self, user_id: str) -> None:
        path = self.root / user_id
        if not os.path.lexists(path):
            self.prepare()
            with suppress(FileExistsError):
                path.mkdir(mode=_DIRECTORY_MODE)
            path.chmod(_DIRECTORY_MODE)
            _sync_directory(self.root)


class PartialFile:
    """A file on its way to the disk; knows how to go away again at any moment.

    Making one does nothing yet, so that whoever made it can always ``discard`` it.
    """

    def __init__(
        self, files: UserFiles, user_id: str, file_id: str, checkpoint: Callable[[str], None]
    ) -> None:
        self._files = files
        self._user_id = user_id
        self._name = f".{file_id}.part"
        self._checkpoint = checkpoint
        self._descriptor: int | None = None
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def open(self) -> None:
        """Make the file and lock it.

        Raises:
            OSError: It can't be made.
        """
        for _ in range(5):
            # The clean-up may remove an empty directory before there is something in it, or the
            # new file before it is locked. Once more, then.
            with suppress(FileNotFoundError):
                if self._make():
                    break
        else:
            raise FileNotFoundError(errno.ENOENT, "the directory keeps disappearing")
        self._checkpoint("created")

    def _make(self) -> bool:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._files._directory(self._user_id, create=True) as directory:
            self._descriptor = os.open(self._name, flags, _FILE_MODE, dir_fd=directory)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        os.fchmod(self._descriptor, _FILE_MODE)
        if os.fstat(self._descriptor).st_nlink > 0:
            return True
        self.release()
        return False

    def write(self, piece: bytes) -> None:
        assert self._descriptor is not None
        self._digest.update(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self.size += len(piece)
        self._checkpoint("written")

    def finish(self, name: str) -> None:
        """Make sure that it survives a power failure, and give it its name."""
        assert self._descriptor is not None
        os.fsync(self._descriptor)
        self._checkpoint("synced")
        with self._files._directory(self._user_id) as directory:
            os.rename(self._name, name, src_dir_fd=directory, dst_dir_fd=directory)
            self._name = name
            self._checkpoint("renamed")
            os.fsync(directory)

    def release(self) -> None:
        """Let go of the file, which is recorded by now."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def discard(self) -> None:
        """Remove the file, however far it got."""
        if self._descriptor is not None:
            with suppress(OSError):
                self._files.delete(self._user_id, self._name)
            self.release()


class SourceFile:
    """A file a caller wants saved: a regular one, also through a link.

    Making one does nothing yet, so that whoever made it can always ``close`` it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def open(self) -> int:
        """Open it; gives its size in bytes.

        Raises:
            OSError: It can't be opened.
            ValueError: It is something else than a file; the message says what.
        """
        # Before opening, because opening some devices does something, and after, because the path
        # may lead elsewhere by then. Without O_NONBLOCK, a pipe without a writer would block.
        _check_regular(os.stat(self._path).st_mode)
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(self._descriptor)
        _check_regular(status.st_mode)
        return status.st_size

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many; none at the end."""
        assert self._descriptor is not None
        return os.read(self._descriptor, size)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _check_regular(mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    kinds = (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISCHR, "a device"),
    )
    kind = next((kind for is_kind, kind in kinds if is_kind(mode)), "something else")
    raise ValueError(f"it is {kind}, not a file")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
