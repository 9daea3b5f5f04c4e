"""Archives: a listing whose members load as if they had been uploaded, each only when asked for."""

import difflib
import functools
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from kernel_startup import containers, requirements
from kernel_startup.compression import BrokenStream
from kernel_startup.errors import FileLoadError, FileNotKnown, FileWarning, WrongArgument
from kernel_startup.fileinfo import FileInfo, size_in_words
from kernel_startup.filetype import FileType
from kernel_startup.loaders.described import source_info
from kernel_startup.loaders.unpacking import ArchiveError, Contents, Member
from kernel_startup.recognition import type_of_source
from kernel_startup.source import MAX_UNPACKED_BYTES, Source, kept_directory
from kernel_startup.types import safe_name

#: Members listed; an archive may have millions.
MAX_MEMBERS = 100_000
#: Archives within archives that one `member=` may lead through.
_MAX_DEPTH = 8
_MAX_SHOWN = 20
#: Files beside a member that have its stem and may belong to it (shp, shx, dbf, prj).
_MAX_SIBLINGS = 16
#: Unpacking to more than this, and to so many times its size, is worth a sentence.
_LARGE_BYTES, _LARGE_RATIO = 1 << 30, 100
_NESTED = "!/"

_READERS = {
    "tar": "tars:read_tar",
    "ar": "unix:read_ar",
    "deb": "unix:read_ar",
    "cpio": "unix:read_cpio",
    "rpm": "unix:read_rpm",
    "cab": "windows:read_cab",
    "lzh": "windows:read_lzh",
    "iso": "discs:read_iso",
    "xar": "discs:read_xar",
    "7z": "others:read_7z",
    "rar": "others:read_rar",
}
#: What broken bytes provoke.
_BROKEN = (
    *(struct.error, ValueError, LookupError, OverflowError, EOFError, OSError, RecursionError),
    *(zlib.error, BrokenStream, MemoryError, ArithmeticError, ImportError),
)


class Archive(Mapping[str, Member]):
    """What is in an archive: member name -> `Member`, in the archive's order, without directories.

    Nothing is unpacked until asked for; then it is read from the archive's file, which has to be
    there still. Of members with the same name the last one counts, as when unpacking.

    Attributes:
        name: What the archive is called.
        path: Where it lies.
        type: The name of its type in the table.
        facts: What it says of itself ({"name": "zlib", "version": "1.3"}); may be empty.
        notes: Sentences about what isn't there, or isn't listed.
    """

    def __init__(self, path: Path, name: str, file_type: FileType, password: str | None) -> None:
        self.path = path
        self.name = name
        self.type = file_type.name
        self._title = file_type.title
        self._password = password
        self._reader = _find_reader(file_type)
        if file_type.name == "7z":  # its listing may be encrypted as well
            self._reader = functools.partial(self._reader, password=password)  # type: ignore[call-arg]
        with self._reading() as file:
            self._contents = self._reader(file, MAX_MEMBERS)
        self.facts = self._contents.facts
        self.notes = self._contents.notes
        files = [m for m in self._contents.members if m.kind != "directory"]
        self._by_name = {member.name: member for member in files}
        self._twice = len(files) - len(self._by_name)
        self._note_what_is_odd()

    def __getitem__(self, name: str) -> Member:
        try:
            return self._by_name[name]
        except KeyError:
            raise FileNotKnown(name, self._not_there(name)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        count, total = len(self), self.size_bytes
        head = f"{self.name}: {self._title}, {count:,} member{'s' * (count != 1)}"
        head += f", {size_in_words(total)} unpacked" if total else ""
        rows = [("name", "size", "modified"), *map(_row, list(self.values())[:_MAX_SHOWN])]
        width = min(max(len(row[0]) for row in rows), 80)
        lines = [f"{name:<{width}}  {size:>10}  {date}".rstrip() for name, size, date in rows]
        if count > _MAX_SHOWN:
            lines.append(f"... and {count - _MAX_SHOWN:,} more; to_frame() has them all")
        return "\n".join([head, *(lines if count else [])])

    @property
    def size_bytes(self) -> int:
        """What all of it unpacks to, as the archive says."""
        return sum(member.size or 0 for member in self._contents.members)

    @property
    def members(self) -> list[Member]:
        """All members, also directories, and those whose name comes again."""
        return list(self._contents.members)

    def to_frame(self) -> Any:
        """Give the listing as a pandas.DataFrame: name, size, modified, kind, packed, ..."""
        import pandas as pd

        columns = ["name", "size", "modified", "kind", "packed", "method", "is_encrypted", "target"]
        table: dict[str, Any] = {
            column: [getattr(member, column) for member in self._contents.members]
            for column in columns
        }
        table["modified"] = pd.to_datetime(pd.Series(table["modified"], dtype="object"))
        for column in ("size", "packed"):
            table[column] = pd.array(table[column], dtype="Int64")
        return pd.DataFrame(table)

    @property
    def table(self) -> Any:
        """`to_frame()`."""
        return self.to_frame()

    def read(self, name: str, *, password: str | None = None) -> bytes:
        """Read a member's content.

        Raises:
            FileNotKnown: There is no such member (a KeyError that names similar ones).
            FileLoadError: It is damaged, encrypted, a link, or larger than 512 MiB.
        """
        return b"".join(self._pieces(self[name], password))

    def load(self, name: str, **options: Any) -> Any:
        """Load a member as `load_file` would if it had been uploaded; options as there."""
        from kernel_startup.files import load_from

        loaded, notes = load_from({}, self.path, member=name, **{**self._own(), **options})
        for note in notes:
            warnings.warn(note, FileWarning, stacklevel=2)
        return loaded

    def extract(
        self,
        name: str | Iterable[str] | None = None,
        directory: str | os.PathLike[str] = ".",
        *,
        password: str | None = None,
        limit_bytes: int = MAX_UNPACKED_BYTES,
    ) -> list[Path]:
        """Unpack one member, several, or all, below a directory; never anywhere else.

        Links, devices, and members whose names lead out of the directory are left out, with a
        warning. Files that are there already are replaced.

        Args:
            name: A member's name, several, or None for all.
            directory: Where to; made if it isn't there.
            password: For what is encrypted.
            limit_bytes: What may be written in all.

        Returns:
            The files written.

        Raises:
            FileNotKnown: There is no such member.
            FileLoadError: One is damaged or encrypted, or there is more than `limit_bytes`.
        """
        names = list(self) if name is None else [name] if isinstance(name, str) else list(name)
        wanted = [self[each] for each in names]
        root = Path(directory).resolve()
        root.mkdir(parents=True, exist_ok=True)
        written, left_out = [], []
        for member in wanted:
            place = _place_below(root, member.name)
            if place is None or member.kind in ("link", "device"):
                left_out.append(member.name)
            elif member.kind == "directory":
                place.mkdir(parents=True, exist_ok=True)
            else:
                limit_bytes -= self._write(member, place, password, limit_bytes)
                written.append(place)
        if left_out:
            warnings.warn(
                f"{len(left_out):,} members of {self.name!r} weren't unpacked, being links or "
                f"devices or having names that lead elsewhere: {left_out[:5]}",
                FileWarning,
                stacklevel=2,
            )
        return written

    def _write(self, member: Member, place: Path, password: str | None, limit_bytes: int) -> int:
        place.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        size = 0
        with os.fdopen(os.open(place, flags, 0o644), "wb") as file:
            for piece in self._pieces(member, password, limit_bytes):
                size += file.write(piece)
        return size

    def _own(self) -> dict[str, Any]:
        return {} if self._password is None else {"password": self._password}

    def _pieces(
        self, member: Member, password: str | None = None, limit_bytes: int = MAX_UNPACKED_BYTES
    ) -> Iterator[bytes]:
        if member.kind != "file":
            target = f" to {member.target!r}" if member.target else ""
            raise FileLoadError(
                f"{self.name}{_NESTED}{member.name}", f"a {member.kind}{target}, not a file"
            )
        size = 0
        if (member.size or 0) > limit_bytes:
            raise self._too_large(member, limit_bytes)
        with self._reading() as file:
            password = password or self._password
            for piece in self._contents.pieces(file, member, password):
                size += len(piece)
                if size > limit_bytes:
                    raise self._too_large(member, limit_bytes)
                yield piece

    def _too_large(self, member: Member, limit_bytes: int) -> FileLoadError:
        return FileLoadError(
            f"{self.name}{_NESTED}{member.name}",
            f"a member that unpacks to more than {limit_bytes:,} bytes "
            f"(it says {member.size or 0:,}, packed in {member.packed or 0:,})",
            remedy="extract(name, directory, limit_bytes=...) unpacks it to disk",
        )

    @contextmanager
    def _reading(self) -> Iterator[BinaryIO]:
        """Open the archive's file; whatever broken bytes provoke becomes a `FileLoadError`."""
        try:
            with Source(self.path, name=self.name) as source:
                # A tar goes from its beginning to its end: no need to have it all unpacked.
                opened = source.stream() if self.type == "tar" else source.open()
                with opened as file:
                    yield file
        except ArchiveError as error:
            raise FileLoadError(
                self.name, self._title, reason=error.reason, remedy=error.remedy
            ) from error
        except _BROKEN as error:
            reason = str(error) or type(error).__name__
            raise FileLoadError(
                self.name, f"{self._title} that is cut off or damaged", reason=reason
            ) from error

    def _not_there(self, name: object) -> str:
        if not self._by_name:
            return f"{self.name!r} has no member {name!r}: it is empty."
        wanted = str(name)
        ends = [n for n in self if n.rstrip("/").lower().endswith("/" + wanted.lower())]
        close = [*ends, *difflib.get_close_matches(wanted, list(self)[:5000], n=3, cutoff=0.6)]
        if close:
            return f"{self.name!r} has no member {name!r}; did you mean {close[0]!r}?"
        some = ", ".join(map(repr, list(self)[:10]))
        return f"{self.name!r} has no member {name!r}. Its {len(self):,} members: {some}" + (
            ", ..." if len(self) > 10 else ""
        )

    def _note_what_is_odd(self) -> None:
        if self._twice:
            self.notes.append(
                f"{self._twice:,} members have a name that comes again: the last of each counts."
            )
        stored = max(self.path.stat().st_size, 1)
        if self.size_bytes > _LARGE_BYTES and self.size_bytes > _LARGE_RATIO * stored:
            self.notes.append(
                f"It says that it unpacks to {size_in_words(self.size_bytes)}, "
                f"{self.size_bytes // stored:,} times its size."
            )


def load_archive(source: Source, *, password: str | None = None) -> Archive:
    """List an archive."""
    archive = Archive(source.path, source.name, type_of_source(source), password)
    for note in archive.notes:
        source.note(f"{source.name!r}: {note}")
    return archive


def load_inner(source: Source) -> bytes:
    """Unpack a compressed file of whose content nothing is known."""
    if source.compression is None:
        raise FileLoadError(
            source.name,
            f"{source.size_bytes:,} bytes that begin with {source.head[:16]!r}, which isn't how "
            "what its name says begins",
        )
    return source.read()


def load_named(source: Source) -> FileInfo:
    """Tell what the header of an archive or a disk image does that nothing here unpacks."""
    from kernel_startup.loaders.unpacking.headers import header_facts

    file_type = type_of_source(source)
    try:
        facts = header_facts(file_type.name, source)
    except _BROKEN:
        facts = {}
    return source_info(source, facts, "Nothing here unpacks it; its content in a zip would load.")


def take_out(
    path: str, member: object, options: dict[str, Any]
) -> tuple[str, list[Path], list[str]]:
    """Unpack one member into a place of its own, with what may belong to it.

    Args:
        path: Where the archive lies.
        member: A member's name; "inner.zip!/x.csv" or a list of names leads through archives.
        options: Of `load_file`; the password is taken from them if the archive needs it.

    Returns:
        Where the member lies now, where others with its stem do, and notes.

    Raises:
        FileNotKnown: There is no such member.
        FileLoadError: It isn't an archive, or the member can't be unpacked.
        WrongArgument: `member` is no name.
    """
    names: list[Any] = list(member) if isinstance(member, list | tuple) else [member]
    if not names or len(names) > _MAX_DEPTH or not all(isinstance(n, str) and n for n in names):
        raise WrongArgument(
            f"member={member!r}: a member's name, or a list of at most {_MAX_DEPTH} names that "
            "lead through archives"
        )
    notes: list[str] = []
    siblings: list[Path] = []
    for depth in range(_MAX_DEPTH):
        archive = _open(path, options.get("password"))
        name = names.pop(0)
        if name not in archive and _NESTED in name:
            name, _, rest = name.partition(_NESTED)
            names.insert(0, rest)
        found = archive[name]
        place, siblings = _keep(archive, found)
        if found.is_encrypted and not names:
            options.pop("password", None)
        notes += archive.notes if depth == 0 else []
        path = str(place)
        if not names:
            break
    return path, siblings, notes


def _open(path: str, password: str | None) -> Archive:
    with Source(path) as source:
        file_type = type_of_source(source)
        requirements.provide(file_type, source.name)
        if _reader_name(file_type) is None:
            with source.open() as file:
                try:
                    containers.zip_directory(file, most=1)  # a program that unpacks itself
                except containers.BrokenContainer:
                    raise FileLoadError(
                        source.name,
                        f"{file_type.title}, which has no members",
                        remedy="Leave member= out",
                    ) from None
    return Archive(Path(path), os.path.basename(path), file_type, password)


def _keep(archive: Archive, member: Member) -> tuple[Path, list[Path]]:
    root = kept_directory()
    place = root / safe_name(os.path.basename(member.name.rstrip("/")))
    archive._write(member, place, None, MAX_UNPACKED_BYTES)
    siblings = []
    for other in _siblings(archive, member):
        beside = root / safe_name(os.path.basename(other.name))
        if not beside.exists():
            archive._write(other, beside, None, MAX_UNPACKED_BYTES)
            siblings.append(beside)
    return place, siblings


def _siblings(archive: Archive, member: Member) -> list[Member]:
    """The files in a member's directory that have its stem: a shapefile's other parts."""
    parent, _, base = member.name.rpartition("/")
    stem = base.partition(".")[0].lower()
    found = []
    for other in archive.values():
        other_parent, _, other_base = other.name.rpartition("/")
        if other is not member and other.kind == "file" and other_parent == parent:
            small = (other.size or 0) <= MAX_UNPACKED_BYTES // _MAX_SIBLINGS
            if other_base.partition(".")[0].lower() == stem and small:
                found.append(other)
    return found[:_MAX_SIBLINGS]


def _reader_name(file_type: FileType) -> str | None:
    if file_type.name in _READERS:
        return _READERS[file_type.name]
    of_zip = ("crx", "jmod", "zip_with_prefix")
    return "zips:read_zip" if file_type.container == "zip" or file_type.name in of_zip else None


def _find_reader(file_type: FileType) -> Callable[[BinaryIO, int], Contents]:
    module, _, function = (_reader_name(file_type) or "zips:read_zip").partition(":")
    found: Callable[[BinaryIO, int], Contents] = getattr(
        import_module(f"kernel_startup.loaders.unpacking.{module}"), function
    )
    return found


def _place_below(root: Path, name: str) -> Path | None:
    """Where a member goes below a directory; None if its name leads elsewhere."""
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or ".." in parts or "\0" in name or name[1:2] == ":":
        return None
    place = root.joinpath(*parts)
    # A link that is there already may lead elsewhere as well.
    if place == root or not place.parent.resolve().is_relative_to(root) or place.is_symlink():
        return None
    return place


def _row(member: Member) -> tuple[str, str, str]:
    name = member.name.encode("utf-8", "replace").decode().translate(_UNPRINTABLE)
    name = name if len(name) <= 80 else f"{name[:40]}...{name[-37:]}"
    size = {"directory": "", "link": "link", "device": "device"}.get(
        member.kind, "?" if member.size is None else size_in_words(member.size)
    )
    date = "" if member.modified is None else f"{member.modified:%Y-%m-%d %H:%M}"
    return name, size, date + (" encrypted" if member.is_encrypted else "")


_UNPRINTABLE = {code: "?" for code in (*range(32), *range(127, 160))}
