"""A user's file opened for loading: its bytes, looked at through a compression around them."""

import io
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from kernel_startup.errors import FileLoadError

#: What is read to tell a file's type, encoding and dialect: a few hundred rows of a table.
HEAD_BYTES = 64 * 1024
#: What a compressed file may unpack to: a kilobyte of zeros can ask for gigabytes of memory.
MAX_UNPACKED_BYTES = 512 * 1024 * 1024

_COMPRESSIONS = ((b"\x1f\x8b\x08", "gzip"), (b"BZh", "bz2"), (b"\xfd7zXZ\0", "lzma"))

_KEPT: list[tempfile.TemporaryDirectory[str]] = []


class Source:
    """One file, its name, and its bytes as if it weren't compressed.

    A context manager. The head is read at once and kept; the rest only when asked for.

    Attributes:
        path: Where it lies.
        name: What it is called.
        size_bytes: Its size as stored.
        compression: Python's module for the compression around it, or None.
        head: The first `HEAD_BYTES` of its uncompressed content.
        neighbours: Where the user's other files lie, for types that are several files (shp, mhd).
        notes: Sentences about what was left out or changed in loading it, for the user.
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
        self._file = self.path.open("rb")
        try:
            self.size_bytes = os.fstat(self._file.fileno()).st_size
            stored = self._file.read(HEAD_BYTES)
            self.compression = _compression_of(stored)
            self.head = stored if self.compression is None else self._unpack_head()
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

    @property
    def is_whole_in_head(self) -> bool:
        """Whether `head` is all there is."""
        return len(self.head) < HEAD_BYTES

    def note(self, sentence: str) -> None:
        """Tell the user something about the file that doesn't keep it from being loaded."""
        self.notes.append(sentence)

    def open(self) -> BinaryIO:
        """Give the uncompressed content as a file of its own, at its beginning.

        Raises:
            FileLoadError: As `read`.
        """
        return self.path.open("rb") if self.compression is None else io.BytesIO(self.read())

    def read(self) -> bytes:
        """Read the whole uncompressed content.

        Raises:
            FileLoadError: It unpacks to more than `MAX_UNPACKED_BYTES`, or is cut off or damaged.
        """
        if self.compression is None:
            return self.path.read_bytes()
        try:
            with self._unpacked() as unpacked:
                content = unpacked.read(MAX_UNPACKED_BYTES + 1)
        except _broken_compression() as error:
            raise FileLoadError(
                self.name,
                f"a {self.compression} file that is cut off or damaged",
                tried="unpacking it",
                reason=str(error),
            ) from error
        if len(content) > MAX_UNPACKED_BYTES:
            raise FileLoadError(
                self.name,
                f"{self.size_bytes:,} bytes of {self.compression} that unpack to more than "
                f"{MAX_UNPACKED_BYTES >> 20} MiB",
                remedy=f"Reading it piece by piece would help: {self.compression}.open("
                'load_file(..., as_="path"))',
            )
        return content

    def as_path(self, suffix: str = "") -> Path:
        """Give a path to the uncompressed content, for libraries that take nothing else.

        Args:
            suffix: What the path has to end in (".las"), for libraries that go by the name.

        Raises:
            FileLoadError: As `read`.
        """
        if self.compression is None and self.path.name.lower().endswith(suffix):
            return self.path
        directory = tempfile.TemporaryDirectory(prefix="load_file-")
        _KEPT.append(directory)  # what is read lazily needs it for as long as the kernel lives
        place = Path(directory.name) / f"file{suffix}"
        if self.compression is None:
            place.symlink_to(self.path.absolute())
        else:
            place.write_bytes(self.read())
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

    def _unpack_head(self) -> bytes:
        head = b""
        try:
            with self._unpacked() as unpacked:
                while len(head) < HEAD_BYTES and (piece := unpacked.read1(HEAD_BYTES - len(head))):
                    head += piece
        except _broken_compression():
            pass  # what came before the damage tells the type; reading it all will say so
        return head

    def _unpacked(self) -> io.BufferedIOBase:
        # Imported here because most files aren't compressed.
        if self.compression == "gzip":
            import gzip

            return gzip.GzipFile(self.path)
        if self.compression == "bz2":
            import bz2

            return bz2.BZ2File(self.path)
        import lzma

        return lzma.LZMAFile(self.path)


def _compression_of(stored: bytes) -> str | None:
    return next((module for magic, module in _COMPRESSIONS if stored.startswith(magic)), None)


def _broken_compression() -> tuple[type[Exception], ...]:
    import lzma
    import zlib

    return (EOFError, OSError, zlib.error, lzma.LZMAError)
