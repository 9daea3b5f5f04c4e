"""A user's variables as a file, and back: for a kernel that takes another one's place.

Saving runs in a child, forked while no cell runs: cells go on meanwhile, and whatever a value does
when it is taken apart (it may run for ever, or end the process) costs only that. Each variable
is saved by itself, the smallest first. Nothing of a snapshot is trusted by anyone but the kernel of
the user whose it is: it is loaded there and nowhere else.

The file: what was pickled, one piece after another; an index in JSON; its length; a mark.
"""

import contextlib
import gc
import importlib
import json
import linecache
import os
import resource
import select
import signal
import stat
import struct
import sys
import time
import types
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from kernel_startup.children import become_harmless
from kernel_startup.pickling import (
    ValuePickler,
    ValueUnpickler,
    estimates,
    has_identity,
    is_imported,
    is_shared,
    why_not,
)

_MARK = b"cellmate snapshot 1\n"
_LENGTH = struct.Struct("<Q")
#: Seconds that one variable may take.
_VARIABLE_S = 10.0
#: Each variable that ends its child costs another one.
_MOST_CHILDREN = 12
_MOST_VARIABLES = 5_000
_MOST_SUBMODULES = 2_000
_MOST_SOURCE_CHARS = 2 << 20
_MOST_FILES = 60_000
#: Room on its disk that a kernel keeps for itself.
_DISK_RESERVE_BYTES = 16 << 20
#: What IPython calls its own in every namespace: inputs and outputs.
_SHELL_NAMES = frozenset({"In", "Out", "_", "__", "___", "_i", "_ii", "_iii", "_ih", "_oh", "_dh"})


@dataclass(frozen=True, slots=True)
class Bounds:
    """What saving may take.

    Attributes:
        file_bytes: the size of the file.
        memory_bytes: memory beyond what the kernel has.
        time_s: seconds, for all of it.
    """

    file_bytes: int
    memory_bytes: int
    time_s: float


@dataclass(frozen=True, slots=True)
class Loss:
    """A variable that isn't there afterwards.

    Attributes:
        name: of the variable.
        why: ``kind`` or ``holds`` if it is, or holds, what can't be saved; ``raises``, ``deep``,
            ``size``, ``full``, ``room``, ``memory``, ``time``, ``died``, ``many``; or what became
            of it when it was loaded: ``module``, ``refers``, ``broken``, ``memory``.
        detail: the type or error that is to blame, or the module or variable that is missing.
        size_bytes: how large it is, at least about.
    """

    name: str
    why: str
    detail: str = ""
    size_bytes: int = 0

    def as_list(self) -> list[Any]:
        """As it is written in JSON."""
        return [self.name, self.why, self.detail, self.size_bytes]


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a snapshot in a new kernel.

    Attributes:
        names: the user's own variables that are there again, in the order of their definition.
        lost: those that aren't, the largest first.
        count: the number of cells that had run.
    """

    names: tuple[str, ...]
    lost: tuple[Loss, ...]
    count: int


@dataclass(slots=True)
class _Progress:
    """How far the children have come.

    Attributes:
        values: all variables.
        todo: the names of those that have to be looked at yet.
        end: up to where the file is good.
        units: pieces of the file: where each begins and ends, and the variables in it.
        imported: names whose values are modules' own.
        sources: names of the sources of functions that were saved.
        lost: what couldn't be saved.
        sizes: about how large each variable is.
        at: the variable that a child is at.
        first: whether that is the child's first.
    """

    values: dict[str, Any]
    todo: dict[str, None]
    end: int = 0
    units: list[tuple[int, int, list[str]]] = field(default_factory=list)
    imported: set[str] = field(default_factory=set)
    sources: dict[str, None] = field(default_factory=dict)
    lost: list[Loss] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    at: str | None = None
    first: bool = True

    def begin(self) -> None:
        """Another child begins."""
        self.at, self.first = None, True

    def take(self, message: list[Any]) -> None:
        """Take in what a child reports."""
        kind, *rest = message
        if kind == "sizes":
            self.sizes = {str(name): int(size) for name, size in rest[0].items()}
        elif kind == "at":
            self.first, self.at = self.at is None, rest[0]
        elif kind == "saved":
            names, end, imported, sources = rest
            self.units.append((self.end, int(end), names))
            self.end = int(end)
            self.imported.update(names if imported else ())
            self.sources.update(dict.fromkeys(sources))
            for name in names:
                self.todo.pop(name, None)
        elif kind == "lost":
            self.lose(*rest)

    def lose(self, name: str, why: str, detail: str = "", size_bytes: int | None = None) -> None:
        """Give a variable up."""
        if name in self.todo:
            del self.todo[name]
            size = self.sizes.get(name, 0) if size_bytes is None else size_bytes
            self.lost.append(Loss(name, why, detail, size))


# -- saving ----------------------------------------------------------------------------------------


def save(
    namespace: dict[str, Any],
    path: str,
    *,
    bounds: Bounds,
    hidden: Mapping[str, Any] | None = None,
    numbers: Mapping[str, int] | None = None,
    count: int = 0,
) -> dict[str, Any]:
    """Save the variables, imports and working directory. Call it while no cell runs.

    Args:
        namespace: the user's.
        path: of the file to make; what is there goes.
        bounds: what it may take.
        hidden: what the shell put into the namespace itself.
        numbers: the numbers of cells, by the names under which their source is known.
        count: how many cells have run.

    Returns:
        ``bytes``, and how many variables were ``saved`` and ``lost``.

    Raises:
        OSError: the file can't be made, or no further process.
    """
    deadline = time.monotonic() + bounds.time_s
    modules, aliases, variables = _chosen(namespace, hidden or {})
    values = dict(variables[:_MOST_VARIABLES])
    progress = _Progress(values, dict.fromkeys(values))
    with _new_file(path) as descriptor:
        for _ in range(_MOST_CHILDREN):
            left_s = deadline - time.monotonic()
            if not progress.todo or left_s <= 0:
                break
            _have_some_saved(progress, namespace, descriptor, bounds, deadline)
        for name in list(progress.todo):
            progress.lose(name, "time")
        progress.lost += [Loss(name, "many") for name, _ in variables[_MOST_VARIABLES:]]
        index = {
            "python": sys.implementation.cache_tag,
            "count": count,
            "directory": _working_directory(),
            "order": [name for name in namespace if type(name) is str and name.isidentifier()],
            "modules": modules,
            "submodules": _submodules(set(modules.values())),
            "aliases": aliases,
            "units": progress.units,
            "imported": sorted(progress.imported),
            "lost": [loss.as_list() for loss in progress.lost],
            "sources": _sources(progress.sources, numbers or {}),
        }
        size = _finish(descriptor, progress.end, index)
    saved = len(values) - len(progress.imported.union(loss.name for loss in progress.lost))
    return {"bytes": size, "saved": saved, "lost": len(progress.lost)}


def room_left(directories: Sequence[str], *, most_bytes: int) -> int:
    """What may still be written, in bytes, of what directories may take together."""
    seen = used = 0
    for top in directories:
        for place, below, files in os.walk(top):
            seen += len(below) + len(files)
            if seen > _MOST_FILES:
                return 0
            for name in files:
                with contextlib.suppress(OSError):
                    used += os.lstat(os.path.join(place, name)).st_blocks * 512
    return max(0, most_bytes - used - _DISK_RESERVE_BYTES)


def _chosen(
    namespace: dict[str, Any], hidden: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, str], list[tuple[str, Any]]]:
    """Modules by their names, variables that are others', and variables with their values.

    Runs beside the user's threads: no code of theirs is called.
    """
    modules: dict[str, str] = {}
    aliases: dict[str, str] = {}
    variables: list[tuple[str, Any]] = []
    names: dict[int, str] = {}
    for name, value in list(namespace.items()):
        if type(name) is not str or not name.isidentifier() or _is_shells(name, value, hidden):
            continue
        if type(value) is types.ModuleType:
            called = value.__dict__.get("__name__")
            if type(called) is str and sys.modules.get(called) is value:
                modules[name] = called
                continue
        if value is namespace:
            aliases[name] = ""
        elif has_identity(value) and id(value) in names:
            aliases[name] = names[id(value)]
        else:
            names[id(value)] = name
            variables.append((name, value))
    return modules, aliases, variables


def _is_shells(name: str, value: Any, hidden: Mapping[str, Any]) -> bool:
    if name in _SHELL_NAMES or (name.startswith("__") and name.endswith("__")):
        return True
    if name.startswith("_") and name[1:].removeprefix("i").isdecimal():
        return True
    return name in hidden and hidden[name] is value


@contextlib.contextmanager
def _new_file(path: str) -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _have_some_saved(
    progress: _Progress,
    namespace: dict[str, Any],
    descriptor: int,
    bounds: Bounds,
    deadline: float,
) -> None:
    """Have a child save what is to do, and see to what becomes of it."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as reports:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # the child has one thread
                child = os.fork()
            if child == 0:
                _save_in_child(progress, namespace, descriptor, bounds, writing)
        finally:
            os.close(writing)
        progress.begin()
        why = "died"
        try:
            why = _listen(progress, reports, deadline)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # a cell has waited for it, or ignores it
                os.waitpid(child, 0)
    if progress.at in progress.todo and (why == "time" or progress.first):
        progress.lose(progress.at, why)
    elif progress.at is None and why != "end":  # it didn't even come to a variable
        for name in list(progress.todo):
            progress.lose(name, why)


def _listen(progress: _Progress, reports: Any, deadline: float) -> str:
    """Follow a child's reports. Returns how they ended: ``end``, ``died``, ``time``, ``memory``."""
    poll = select.poll()
    poll.register(reports, select.POLLIN)
    pending = b""
    variable_until = time.monotonic() + _VARIABLE_S
    while True:
        left_s = min(deadline, variable_until) - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000):
            return "time"
        piece = reports.read(1 << 16)
        if not piece:
            return "died"
        *lines, pending = (pending + piece).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
                if message[0] in ("end", "memory"):
                    return str(message[0])
                progress.take(message)
            except (ValueError, TypeError, IndexError, AttributeError):  # not said by us
                return "died"
            variable_until = time.monotonic() + _VARIABLE_S


def _save_in_child(
    progress: _Progress, namespace: dict[str, Any], descriptor: int, bounds: Bounds, reports: int
) -> NoReturn:
    try:
        gc.disable()  # it would write to all there is, and so copy it
        become_harmless(bounds.memory_bytes)
        values = progress.values
        names = {id(value): name for name, value in values.items() if is_shared(value)}
        for loss in progress.lost:
            names.pop(id(values[loss.name]), None)
        saved = {name for *_, unit in progress.units for name in unit}
        sizes = estimates({name: values[name] for name in progress.todo}, names)
        _report(reports, "sizes", sizes)
        file = _Target(descriptor, progress.end, bounds)
        for name in sorted(progress.todo, key=sizes.__getitem__):
            if name in saved:
                continue
            _report(reports, "at", name)
            pickler = ValuePickler(file, names=names, saved=saved, namespace=namespace)
            try:
                unit = _pickle(pickler, name, values)
            except MemoryError:
                _report(reports, "memory")
                break
            except BaseException as error:
                why_lost = ("room", "") if file.full else why_not(error, values[name])
                _report(reports, "lost", name, *why_lost, max(file.size, sizes[name]))
                unit = []
            if file.over:
                why = "size" if file.size > bounds.file_bytes else "full"
                _report(reports, "lost", name, why, "", file.size)
                unit = []
            if not unit:
                names.pop(id(values[name]), None)
                file.back()
                continue
            saved.update(unit)
            imported = is_imported(values[name])
            _report(reports, "saved", unit, file.go_on(), imported, list(pickler.sources))
        else:
            _report(reports, "end")
    finally:
        os._exit(0)


def _pickle(pickler: ValuePickler, name: str, values: Mapping[str, Any]) -> list[str]:
    """Pickle a variable, and those whose values it has turned out to hold. Their names."""
    unit = [name]
    pickler.dump(values[name])
    for other in pickler.met:
        if other != name and other in values:
            pickler.dump(values[other])
            unit.append(other)
    return unit


def _report(descriptor: int, *message: Any) -> None:
    _write_all(descriptor, json.dumps(message).encode() + b"\n")


class _Target:
    """What a pickler writes to: a part of a file, as long as there is room and memory."""

    def __init__(self, descriptor: int, start: int, bounds: Bounds) -> None:
        self.size = 0
        self.over = self.full = False
        self._descriptor, self._start, self._most = descriptor, start, bounds.file_bytes
        # Each page of the kernel's that is written to (a counted reference is enough) is copied.
        self._most_faults = _page_faults() + bounds.memory_bytes // resource.getpagesize()
        self.back()

    def write(self, piece: Any) -> int:
        """Called by pickle. Past the end it only counts."""
        if _page_faults() > self._most_faults:
            raise MemoryError
        size = memoryview(piece).nbytes
        self.size += size
        self.over = self.over or self._start + self.size > self._most
        if not self.over:
            try:
                _write_all(self._descriptor, piece)
            except OSError:
                self.full = True
                raise
        return size

    def back(self) -> None:
        """Forget what was written since the last good end."""
        self.size, self.over, self.full = 0, False, False
        os.ftruncate(self._descriptor, self._start)
        os.lseek(self._descriptor, self._start, os.SEEK_SET)

    def go_on(self) -> int:
        """Keep it. Returns where the next one begins."""
        self._start += self.size
        self.size = 0
        return self._start


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _write_all(descriptor: int, piece: Any) -> None:
    left = memoryview(piece).cast("B")
    while left.nbytes:
        left = left[os.write(descriptor, left) :]


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _submodules(roots: set[str]) -> list[str]:
    """Modules below these that somebody has imported: ``import a`` alone doesn't bring them."""
    found = []
    for name in list(sys.modules):
        parts = name.split(".")
        if len(parts) > 1 and not any(part.startswith("_") for part in parts):
            tops = {".".join(parts[:length]) for length in range(1, len(parts))}
            if tops & roots:
                found.append(name)
    return sorted(found, key=len)[:_MOST_SUBMODULES]


def _sources(wanted: Collection[str], numbers: Mapping[str, int]) -> dict[str, list[Any]]:
    """The source of cells that functions come from, so that tracebacks show it."""
    found: dict[str, list[Any]] = {}
    left = _MOST_SOURCE_CHARS
    for name in wanted:
        if name in numbers and name in linecache.cache:
            text = "".join(linecache.getlines(name))
            left -= len(text)
            if left < 0:
                break
            found[name] = [numbers[name], text]
    return found


def _finish(descriptor: int, end: int, index: Mapping[str, Any]) -> int:
    packed = json.dumps(index).encode()
    os.ftruncate(descriptor, end)
    os.lseek(descriptor, end, os.SEEK_SET)
    _write_all(descriptor, packed + _LENGTH.pack(len(packed)) + _MARK)
    return os.lseek(descriptor, 0, os.SEEK_CUR)


# -- restoring -------------------------------------------------------------------------------------


class SnapshotUnreadable(Exception):
    """A file is no snapshot, or one of another Python's; the message says which."""


class _Missing(Exception):
    """A value refers to a variable that isn't there."""


class _Values(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        raise _Missing(name)


def restore(
    namespace: dict[str, Any], path: str, *, numbers: dict[str, int] | None = None
) -> Restored:
    """Load a snapshot into a namespace. Runs code of the user's, on this thread.

    Args:
        namespace: the user's.
        path: of the file.
        numbers: the numbers of cells, to be added to.

    Raises:
        SnapshotUnreadable: nothing can be had of it.
        OSError: the file can't be read.
    """
    builtin = namespace.get("__builtins__")
    with open(path, "rb") as file:
        index = _read_index(file)
        _go_to(str(index["directory"]))
        lost = [Loss(str(n), str(why), str(what), int(s)) for n, why, what, s in index["lost"]]
        for name, (number, text) in index["sources"].items():
            linecache.cache[name] = (len(text), None, text.splitlines(True), name)
            if numbers is not None:
                numbers[name] = int(number)
        values = _Values()
        for name, module in index["modules"].items():
            try:
                values[name] = importlib.import_module(module)
            except BaseException as error:
                lost.append(_loss(name, error))
        _import_again(index["submodules"])
        for start, end, names in index["units"]:
            file.seek(start)
            unpickler = ValueUnpickler(file, values=values, namespace=namespace)
            try:
                loaded = {name: unpickler.load() for name in names}
            except BaseException as error:
                lost += [_loss(name, error, end - start) for name in names]
            else:
                values.update(loaded)
    for name, other in index["aliases"].items():
        if other == "" or other in values:
            values[name] = values[other] if other else namespace
        else:
            lost.append(Loss(name, "refers", other))
    order = [name for name in index["order"] if name in values]
    namespace.update({name: values[name] for name in order})
    if builtin is not None:
        namespace["__builtins__"] = builtin  # cloudpickle puts in another form of it
    imported = {*index["imported"], *index["modules"]}
    names = tuple(name for name in order if name not in imported)
    lost.sort(key=lambda loss: -loss.size_bytes)
    return Restored(names, tuple(lost), int(index["count"]))


def _read_index(file: Any) -> dict[str, Any]:
    try:
        end = os.fstat(file.fileno())
        tail = _LENGTH.size + len(_MARK)
        if not stat.S_ISREG(end.st_mode) or end.st_size < tail:
            raise ValueError
        file.seek(end.st_size - tail)
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        if file.read() != _MARK or length > end.st_size - tail:
            raise ValueError
        file.seek(end.st_size - tail - length)
        index = json.loads(file.read(length))
        if not isinstance(index, dict):
            raise ValueError
    except ValueError as error:
        raise SnapshotUnreadable("it is no snapshot") from error
    if index.get("python") != sys.implementation.cache_tag:
        raise SnapshotUnreadable("it was made by another version of Python")
    return index


def _go_to(directory: str) -> None:
    with contextlib.suppress(OSError):
        if directory and directory != _working_directory():
            os.chdir(directory)


def _import_again(modules: Sequence[str]) -> None:
    for name in modules:
        if name not in sys.modules:
            with contextlib.suppress(BaseException):
                importlib.import_module(name)


def _loss(name: str, error: BaseException, size_bytes: int = 0) -> Loss:
    if isinstance(error, _Missing):
        return Loss(name, "refers", str(error), size_bytes)
    if isinstance(error, ModuleNotFoundError):
        return Loss(name, "module", str(error.name), size_bytes)
    if isinstance(error, MemoryError):
        return Loss(name, "memory", "", size_bytes)
    return Loss(name, "broken", type(error).__name__, size_bytes)
