"""The user's files as a cell sees them: `FILES` and `load_file`."""

import difflib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from kernel_startup import loaders, requirements
from kernel_startup.errors import FileLoadError, FileNotKnown, FileWarning, WrongArgument
from kernel_startup.fileinfo import size_in_words
from kernel_startup.filetype import FileType
from kernel_startup.loaders.text import decode
from kernel_startup.recognition import type_of_source
from kernel_startup.source import Source
from kernel_startup.types import UNKNOWN, type_of_name

#: Where the host puts the user's files: a directory for each, named by its id.
FILES_ROOT = Path("/files")
_MAX_LISTED = 50

As = Literal["auto", "text", "bytes", "path"]


class Files(Mapping[str, str]):
    """The user's files, id -> path; read-only, and always as they are at this moment.

    A file uploaded while the kernel lives is there at the next look, a deleted one is gone.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root)

    @property
    def root(self) -> Path:
        """The directory that they are in."""
        return self._root

    def move_to(self, root: str | os.PathLike[str]) -> None:
        """Look in another directory from now on; for the start of a kernel."""
        self._root = Path(root)

    def __getitem__(self, file_id: str) -> str:
        path = self._path(file_id)
        if path is None:
            raise FileNotKnown(file_id, _not_known(self, file_id))
        return path

    def __iter__(self) -> Iterator[str]:
        try:
            # By age, then by id: the order in which they were uploaded.
            entries = sorted(os.scandir(self._root), key=lambda entry: (_age(entry), entry.name))
        except OSError:
            return
        for entry in entries:
            if self._path(entry.name) is not None:
                yield entry.name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, file_id: object) -> bool:
        return self._path(file_id) is not None

    def __repr__(self) -> str:
        rows = [
            (file_id, os.path.basename(path), file_size(path)) for file_id, path in self.items()
        ]
        if not rows:
            return "FILES: no files yet"
        table = [("id", "name", "size"), *rows[:_MAX_LISTED]]
        widths = [max(len(row[column]) for row in table) for column in range(2)]
        lines = [f"{i:<{widths[0]}}  {name:<{widths[1]}}  {size}" for i, name, size in table]
        if len(rows) > _MAX_LISTED:
            lines.append(f"... and {len(rows) - _MAX_LISTED} more")
        return "\n".join(lines)

    def _path(self, file_id: object) -> str | None:
        if not isinstance(file_id, str) or not file_id or file_id[0] == "." or "/" in file_id:
            return None
        directory = self._root / file_id
        try:
            names = os.listdir(directory)
        except (OSError, ValueError):
            return None
        # None yet, for a moment: the directory is made before the file is linked into it.
        return str(directory / names[0]) if len(names) == 1 else None


FILES = Files(FILES_ROOT)


def load_file(file_id: str, *, as_: As = "auto", **options: Any) -> Any:
    """Load one of the user's files as the object that suits its type.

    What the file is gets decided by its content, its name only helps; a compression around it
    (gz, bz2, xz, zst, ...) is looked through. What comes back, by family:

    - tables (csv, xlsx, parquet, json records, sas, ...): pandas.DataFrame; several sheets or
      tables a dict of them by name. Ids with leading zeros stay text.
    - text and source code: str; other json, yaml, toml: the dict, list or value.
    - images: PIL.Image.Image; scientific, medical, spatial and media files: what their libraries
      give.
    - archives (zip, tar, 7z, iso, ...): an Archive, a Mapping of member name -> Member with load(),
      read() and extract().
    - what nothing reads: a FileInfo with what its header tells.

    `describe_file(id)` tells in words what a file is and holds, without loading all of it;
    docs/file-types.md has the whole table.

    Args:
        file_id: The file's id as listed by `FILES`. Its exact name does, if only one file has it.
        as_: "auto" for the above; "text" for a str; "bytes" for the content as it is stored; "path"
            for the path, to open it yourself.
        **options: member= loads one member of an archive ("data/x.csv"; "inner.zip!/x.csv" leads
            through archives), password= opens what is encrypted. Others depend on the type, for
            example encoding=, sep=, header=, nrows=, columns=, sheet_name=; what a library's
            reader takes beyond them is passed on (dtype=, skiprows=, parse_dates=).

    Returns:
        The object.

    Raises:
        FileNotKnown: No file has this id (a KeyError; the message lists those there are).
        FileLoadError: It can't be turned into an object; as_="bytes" still works.
        WrongArgument: An option that this type doesn't have (a TypeError).

    Examples:
        >>> df = load_file("k3x9", nrows=1000)
        >>> df = load_file("k3x9", encoding="cp1252", sep=";", dtype={"zip": str})
        >>> sales = load_file("w7d2", sheet_name="2024")
        >>> inner = load_file("z4q8", member="data/x.csv", password="secret")
        >>> raw = load_file("p5m1", as_="bytes")
    """
    __tracebackhide__ = True
    loaded, notes = load_from(FILES, file_id, as_=as_, **options)
    for note in notes:
        warnings.warn(note, FileWarning, stacklevel=2)
    return loaded


def load_from(
    files: Mapping[str, str], file_id: object, *, as_: str = "auto", **options: Any
) -> tuple[Any, list[str]]:
    """`load_file` of the files given.

    Returns:
        The object, and sentences about what was left out or changed in loading it.
    """
    __tracebackhide__ = True  # so that tracebacks end in the user's own line
    path = find_file(files, file_id)
    if as_ not in ("auto", "text", "bytes", "path"):
        raise WrongArgument(f'as_={as_!r}: as_ is "auto", "text", "bytes" or "path"')
    if options.get("member") is not None:
        return _load_member(path, files, as_, options)
    if as_ in ("bytes", "path"):
        _refuse_unknown(options, frozenset(), f"as_={as_!r}")
        return (path if as_ == "path" else Path(path).read_bytes()), []
    return load_path(path, [*files.values()], options, as_text=as_ == "text")


def _load_member(
    path: str, files: Mapping[str, str], as_: str, options: dict[str, Any]
) -> tuple[Any, list[str]]:
    __tracebackhide__ = True
    from kernel_startup.loaders.archives import take_out

    try:
        place, siblings, notes = take_out(path, options.pop("member"), options)
    except FileLoadError as error:
        raise error.with_traceback(None) from _without_frames(error.__cause__)
    if as_ in ("bytes", "path"):
        return (place if as_ == "path" else Path(place).read_bytes()), notes
    beside = [*map(str, siblings), *files.values()]
    loaded, more = load_path(place, beside, options, as_text=as_ == "text")
    return loaded, [*notes, *more]


def load_path(
    path: str, neighbours: Sequence[str], options: dict[str, Any], *, as_text: bool = False
) -> tuple[Any, list[str]]:
    """`load_from` of the file at a path."""
    __tracebackhide__ = True
    try:
        with Source(path, neighbours=neighbours) as source:
            if as_text:
                _refuse_unknown(options, frozenset({"encoding"}), 'as_="text"')
                return decode(source, **options), source.notes
            return _load(source, options), source.notes
    except FileLoadError as error:
        raise error.with_traceback(None) from _without_frames(error.__cause__)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileLoadError(os.path.basename(path), "unreadable", reason=reason) from None


def _load(source: Source, options: dict[str, Any]) -> object:
    file_type = type_of_source(source)
    if file_type is UNKNOWN:
        named = type_of_name(source.name)
        lie = "" if named is UNKNOWN else f" (its name says {named.title}, which it isn't)"
        raise FileLoadError(
            source.name,
            f"{UNKNOWN.title}: {source.size_bytes:,} bytes that begin with "
            f"{source.head[:16]!r}{lie}",
            remedy='as_="path" gives its path, for a library that reads it',
        )
    requirements.provide(file_type, source.name)
    loader = loaders.find_loader(file_type.loader)
    if options:
        _refuse_unknown(options, loaders.known_options(loader), f"{file_type.name} files")
    try:
        return loader(source, **options)
    except (FileLoadError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of a reader in Rust isn't an Exception
        raise _load_error(source, file_type, options, error) from error


def _without_frames(error: BaseException | None) -> BaseException | None:
    """Leave of an error what it says: the frames of five libraries help nobody here."""
    if error is not None:
        error.__cause__ = error.__context__ = error.__traceback__ = None
    return error


def _load_error(
    source: Source, file_type: FileType, options: dict[str, Any], error: BaseException
) -> FileLoadError:
    """Say in one sentence what five libraries say in forty frames."""
    library = type(error).__module__.partition(".")[0]
    said = str(error).strip() or type(error).__name__
    tried = f"reading it as {file_type.name}"
    if options:
        tried += " with " + ", ".join(f"{name}={value!r}"[:60] for name, value in options.items())
    if library not in ("builtins", "kernel_startup"):
        tried += f" ({library})"
    remedy = "If an option is wrong, leave it out" if options else "It may be cut off or damaged"
    return FileLoadError(
        source.name, f"{file_type.title} ({file_type.name})", tried, said[:500], remedy
    )


def _refuse_unknown(options: dict[str, Any], known: frozenset[str], what: str) -> None:
    for name in options.keys() - known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}=?" if close else ""
        common = sorted(known & _COMMON_OPTIONS)
        takes = f" It takes {', '.join(f'{o}=' for o in common)}." if common and not close else ""
        raise WrongArgument(f"load_file: {what} have no option {name}={hint or '.'}{takes}")


_COMMON_OPTIONS = frozenset(
    {"encoding", "sep", "delimiter", "header", "nrows", "columns", "sheet_name", "mode"}
    | {"dtype", "skiprows"}
)


def find_file(files: Mapping[str, str], wanted: object) -> str:
    """Find a file's path by its id, by its exact name, or by its path."""
    if isinstance(wanted, os.PathLike):
        wanted = os.fspath(wanted)
    if not isinstance(wanted, str):
        raise WrongArgument(
            f"load_file takes a file's id (a str), not {type(wanted).__name__} {wanted!r}."
            f"\n{_listing(files)}"
        )
    if "/" in wanted and os.path.isfile(wanted):
        return wanted  # people pass FILES[id], or a file their code has written
    if wanted in files:
        return files[wanted]
    named = {i: path for i, path in files.items() if os.path.basename(path) == wanted}
    if len(named) == 1:
        return next(iter(named.values()))
    if named:
        ids = ", ".join(map(repr, named))
        several = f"{len(named)} files are called {wanted!r}: say which by id, {ids}."
        raise FileNotKnown(wanted, several)
    raise FileNotKnown(wanted, _not_known(files, wanted))


def _not_known(files: Mapping[str, str], wanted: object) -> str:
    return f"no file has the id {wanted!r}.\n{_listing(files)}"


def _listing(files: Mapping[str, str]) -> str:
    return "There are no files yet." if not files else f"The files are:\n{files!r}"


def _age(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat().st_ctime
    except OSError:
        return 0.0


def file_size(path: str) -> str:
    """The size of a file as people say it; "?" if it isn't there."""
    try:
        return size_in_words(os.path.getsize(path))
    except OSError:
        return "?"
