"""A user's file opened for loading: its bytes, looked at through a compression around them."""

import atexit
import io
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from kernel_startup.compression import BrokenStream, Unpacked, compression_of, unpacked
from kernel_startup.errors import FileLoadError
from kernel_startup.filetype import FileType

#: What is read to tell a file's type, encoding and dialect: a few hundred rows of a table.
HEAD_BYTES = 64 * 1024
#: What a compressed file may unpack to: a kilobyte of zeros can ask for gigabytes of memory.
MAX_UNPACKED_BYTES = 512 * 1024 * 1024

#: Compressions around each other that are looked through; some files unpack to themselves.
_MAX_COMPRESSIONS = 3
#: What is unpacked in memory; more goes to a temporary file.
_MAX_IN_MEMORY = 8 * 1024 * 1024


def kept_directory() -> Path:
    """Make a directory for as long as this process lives: what is read lazily needs its file.

    A process forked from it leaves the directory alone when it ends.
    """
    directory = tempfile.mkdtemp(prefix="load_file-")
    atexit.register(_remove, directory, os.getpid())
    return Path(directory)


def _remove(directory: str, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(directory, ignore_errors=True)


class Source:
    """One file, its name, and its bytes as if it weren't compressed.

    A context manager. The head is read at once and kept; the rest only when asked for.

    Attributes:
        path: Where it lies.
        name: What it is called.
        size_bytes: Its size as stored.
        compression: The type of compression around it ("gzip"), the outermost one; or None.
        compressions: All of them, the outermost one first; empty if it isn't compressed.
        head: The first `HEAD_BYTES` of its uncompressed content.
        neighbours: Where the user's other files lie, for types that are several files (shp, mhd).
        notes: Sentences about what was left out or changed in loading it, for the user.
        file_type: What `kernel_startup.recognition` has found it to be; None before.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "",
        neighbours: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        self.path = Path(path)
        self.neighbours = tuple(map(Path, neighbours))
        self.name = name or self.path.name
        self.notes: list[str] = []
        self.file_type: FileType | None = None
        self._unpacked: bytes | Path | None = None
        self._file = self.path.open("rb")
        try:
            self.size_bytes = os.fstat(self._file.fileno()).st_size
            stored = self._file.read(HEAD_BYTES)
            self.head, self.compressions = self._look_through(stored)
            self.compression = next(iter(self.compressions), None)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if isinstance(self._unpacked, Path):
            self._unpacked.unlink(missing_ok=True)  # whoever has it open still has it
        self._unpacked = None

    @property
    def is_whole_in_head(self) -> bool:
        """Whether `head` is all there is."""
        return len(self.head) < HEAD_BYTES

    def note(self, sentence: str) -> None:
        """Tell the user something about the file that doesn't keep it from being loaded."""
        self.notes.append(sentence)

    def open(self) -> BinaryIO:
        """Give the uncompressed content as a file of its own, at its beginning.

        What is compressed and large is unpacked into a temporary file, once.

        Raises:
            FileLoadError: As `read`.
        """
        if self.compression is None:
            return self.path.open("rb")
        content = self._unpack()
        return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")

    def stream(self) -> BinaryIO:
        """Give the uncompressed content as a file that can't be rewound, however large it is.

        Reading raises `kernel_startup.compression.BrokenStream` where it is cut off or damaged.
        """
        if self.compression is None:
            return self.path.open("rb")
        return io.BufferedReader(Unpacked(self._unpack_all()))

    def read(self) -> bytes:
        """Read the whole uncompressed content.

        Raises:
            FileLoadError: It unpacks to more than `MAX_UNPACKED_BYTES`, or is cut off or damaged.
        """
        if self.compression is None:
            return self.path.read_bytes()
        if self._unpacked is None:
            return b"".join(self._pieces())
        with self.open() as file:
            return file.read()

    def as_path(self, suffix: str = "") -> Path:
        """Give a path to the uncompressed content, for libraries that take nothing else.

        Args:
            suffix: What the path has to end in (".las"), for libraries that go by the name.

        Raises:
            FileLoadError: As `read`.
        """
        if self.compression is None and self.path.name.lower().endswith(suffix):
            return self.path
        place = kept_directory() / f"file{suffix}"
        if self.compression is None:
            place.symlink_to(self.path.absolute())
        else:
            with self.open() as file, place.open("wb") as copy:
                shutil.copyfileobj(file, copy, 1024 * 1024)
        return place

    def samples(self, *, count: int = 8, size_bytes: int = 8 * 1024) -> list[bytes]:
        """Read pieces spread over what comes after `head`, the last one at the end.

        Nothing of a compressed file, in which one can't jump.
        """
        if self.compression is not None or self.is_whole_in_head:
            return []
        span = max(self.size_bytes - HEAD_BYTES - size_bytes, 0)
        pieces = []
        for offset in sorted({HEAD_BYTES + span * step // count for step in range(1, count + 1)}):
            self._file.seek(offset)
            pieces.append(self._file.read(size_bytes))
        return pieces

    def _look_through(self, stored: bytes) -> tuple[bytes, tuple[str, ...]]:
        """Unpack the head, and tell through which compressions."""
        head, found, name = stored, tuple[str, ...](), self.name
        while len(found) < _MAX_COMPRESSIONS and (kind := compression_of(head, name)):
            found = (*found, kind)
            head = self._unpack_head(found)
            name = os.path.splitext(name)[0]
        return head, found

    def _unpack_head(self, compressions: tuple[str, ...]) -> bytes:
        head = b""
        self._file.seek(0)
        try:
            inner = unpacked(self._file, compressions)
            while len(head) < HEAD_BYTES and (piece := inner.read1(HEAD_BYTES - len(head))):
                head += piece
        except BrokenStream:
            pass  # what came before the damage tells the type; reading it all will say so
        return head

    def _unpack(self) -> bytes | Path:
        if self._unpacked is None:
            pieces, start = self._pieces(), b""
            for piece in pieces:
                start += piece
                if len(start) > _MAX_IN_MEMORY:
                    self._unpacked = _write_temporary(itertools.chain([start], pieces))
                    return self._unpacked
            self._unpacked = start
        return self._unpacked

    def _pieces(self) -> Iterator[bytes]:
        size = 0
        try:
            for piece in self._unpack_all():
                size += len(piece)
                if size > MAX_UNPACKED_BYTES:
                    raise self._too_large()
                yield piece
        except BrokenStream as error:
            raise FileLoadError(
                self.name,
                f"a {self.compression} file that is cut off or damaged",
                tried="unpacking it",
                reason=str(error),
            ) from error

    def _unpack_all(self) -> Iterator[bytes]:
        with self.path.open("rb") as stored:
            inner = unpacked(stored, self.compressions)
            while piece := inner.read1(1024 * 1024):
                yield piece

    def _too_large(self) -> FileLoadError:
        return FileLoadError(
            self.name,
            f"{self.size_bytes:,} bytes of {self.compression} that unpack to more than "
            f"{MAX_UNPACKED_BYTES >> 20} MiB",
            remedy="Reading it piece by piece would help, with a library that unpacks "
            f'{self.compression}, from the path that load_file(..., as_="path") gives',
        )


def _write_temporary(pieces: Iterable[bytes]) -> Path:
    with tempfile.NamedTemporaryFile(prefix="load_file-", delete=False) as file:
        try:
            file.writelines(pieces)
        except BaseException:
            os.unlink(file.name)
            raise
    return Path(file.name)
