"""The layers: what uv staged is looked through, made unchangeable, and kept under a new name.

A layer's name is made from its lock with a secret of this host, so that nobody can guess which
layers others have. What is written down about a layer lies in ``known``, where uv can't write.
"""

import hashlib
import hmac
import json
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PathDistribution
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from interpreter.hosts.installing.core import Core, module_of
from interpreter.hosts.installing.terms import InstallFailed, InstallLimits, Layer, Locked
from interpreter.logs import get_logger

log = get_logger(__name__)

_ID_DIGITS = 32
_SECRET_BYTES = 32
_UNDER_WAY = ".checking-"
_BLOCK_BYTES = 512  # the unit of st_blocks
#: Data that wheels put beside the modules, for a prefix that layers don't have.
_DROPPED_DIRECTORIES = frozenset({"bin", "etc", "include", "man", "sbin", "share"})
#: Imported by Python itself at start; in a layer they have no business.
_START_MODULES = frozenset({"sitecustomize", "usercustomize"})
_OWN_MODULES = frozenset({"kernel_startup"})
_LONGEST_RECORD = 16 << 20


@dataclass(slots=True)
class Layers:
    """The layers of a host.

    Attributes:
        root: the installer's directory.
        core: what kernels have already.
        limits: how large layers may be.
        environment_key: of the kernels' environment that layers are for.
    """

    root: Path
    core: Core
    limits: InstallLimits
    environment_key: str
    _secret: bytes = field(default=b"", repr=False)

    def prepare(self) -> None:
        """Make the directories, and remove what an earlier service left unfinished.

        Raises:
            OSError: they can't be made.
        """
        for name, mode in (("cache", 0o700), ("stage", 0o700), ("known", 0o700), ("layers", 0o711)):
            directory = self.root / name
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(mode)
        (self.root / "known" / "layers").mkdir(exist_ok=True)
        remove_all((self.root / "stage").iterdir())
        remove_all(unfinished(self.root / "cache"))
        remove_all((self.root / "layers").glob(f"{_UNDER_WAY}*"))
        self._secret = _read_secret(self.root / "secret")
        marker = self.root / "known" / "running"
        with suppress(OSError):
            if marker.read_text() != boot():
                # After a power cut, what was downloaded last may be empty files.
                empty_cache(self.root / "cache")
                log.info("the cache of packages was emptied: the machine stopped while in use")
        marker.write_text(boot())

    def leave(self) -> None:
        """Say that nothing is being written any more."""
        with suppress(OSError):
            (self.root / "known" / "running").unlink()

    def name(self, locked: Locked) -> str:
        """The name of the layer for a lock."""
        text = f"{self.environment_key}\n{locked.text}".encode()
        return hmac.digest(self._secret, text, hashlib.sha256).hex()[:_ID_DIGITS]

    def find(self, layer_id: str) -> Layer | None:
        """A layer that is there; it counts as used now."""
        path = self.root / "layers" / layer_id
        try:
            known = json.loads(self._note(layer_id).read_text())
            os.utime(path)
            size, files, modules = known["size_bytes"], known["files"], tuple(known["modules"])
            if known["boot"] != boot():
                # Written before the machine last started: after a power cut, files may be empty.
                if not path.is_dir() or _weigh(path) != (size, files):
                    raise ValueError("the layer is not what was written")
                self._write_note(Layer(layer_id, path, size, files, modules))
        except (OSError, ValueError, KeyError, TypeError):
            self._remove(path)
            return None
        if size > self.limits.layer_bytes or files > self.limits.layer_files:
            raise _too_large(self.limits)
        return Layer(layer_id, path, size, files, modules)

    def adopt(self, staged: Path, locked: Locked) -> Layer:
        """Make a layer of what uv staged, or of nothing.

        Raises:
            InstallFailed: there is something in it that may not be.
            OSError: the disk fails.
        """
        layer_id = self.name(locked)
        path = self.root / "layers" / layer_id
        # First to where uv can't go: what is looked through stays as it is.
        checking = self.root / "layers" / f"{_UNDER_WAY}{secrets.token_hex(16)}"
        try:
            if locked.packages:
                staged.rename(checking)
            else:
                checking.mkdir()
            found = _Inspection(checking, self.core, self.limits, dict(locked.packages))
            found.inspect()
            layer = Layer(
                layer_id, path, found.size_bytes, found.files, tuple(sorted(found.modules))
            )
            self._write_note(layer)
            checking.rename(path)
        finally:
            remove(checking)
        log.info("a layer was made", files=layer.files, size_bytes=layer.size_bytes)
        return layer

    def prune(self, in_use: Collection[str], most: int) -> int:
        """Remove the layers unused for longest, until there are so many.

        Args:
            in_use: names of layers that stay.
            most: how many layers may be left, if they are not in use.

        Returns:
            How many were removed.
        """
        found = [path for path in (self.root / "layers").iterdir() if path.name[0] != "."]
        unused = [(_modified(path), path) for path in found if path.name not in in_use]
        unused.sort(reverse=True)
        too_many = unused[max(0, most - (len(found) - len(unused))) :]
        for _, path in too_many:
            self._remove(path)
        if too_many:
            log.info("layers removed", layers=len(too_many))
        return len(too_many)

    def _remove(self, path: Path) -> None:
        if os.path.lexists(path):
            # Its name goes at once: nobody gets half of it.
            going = path.with_name(f"{_UNDER_WAY}{secrets.token_hex(16)}")
            with suppress(OSError):
                path.rename(going)
                remove(going)
        with suppress(OSError):
            self._note(path.name).unlink()

    def _note(self, layer_id: str) -> Path:
        return self.root / "known" / "layers" / f"{layer_id}.json"

    def _write_note(self, layer: Layer) -> None:
        facts: dict[str, object] = {
            "boot": boot(),
            "size_bytes": layer.size_bytes,
            "files": layer.files,
            "modules": layer.modules,
        }
        writing = self._note(f"{layer.layer_id}.{secrets.token_hex(4)}")
        writing.write_text(json.dumps(facts))
        writing.replace(self._note(layer.layer_id))


@dataclass(slots=True)
class _Inspection:
    """Looks through what uv staged: drops what has no business there, refuses what does harm.

    Attributes:
        root: the directory.
        core: what kernels have already.
        limits: how much it may be.
        packages: canonical names and versions that were locked.
        size_bytes: of all files.
        files: how many.
        modules: top-level names that can be imported.
    """

    root: Path
    core: Core
    limits: InstallLimits
    packages: Mapping[str, str]
    size_bytes: int = 0
    files: int = 0
    modules: set[str] = field(default_factory=set)

    def inspect(self) -> None:
        """Look at everything.

        Raises:
            InstallFailed: there is something that may not be, or too much of it.
        """
        if not stat.S_ISDIR(self.root.lstat().st_mode):
            raise self._unsafe("", "it isn't a directory")
        self.root.chmod(0o755)
        distributions = set()
        with os.scandir(self.root) as entries:
            found = sorted(entries, key=lambda each: each.name)
        for entry in found:
            if self._dropped(entry):
                remove(Path(entry.path))
            elif entry.name.endswith(".dist-info"):
                distributions.add(self._distribution(Path(entry.path)))
            else:
                self._check_name(entry)
        if lacking := set(self.packages) - distributions:
            raise self._unsafe(min(lacking), "it says that it is another package")
        self._walk(self.root, "")
        self.root.chmod(0o555)

    def _dropped(self, entry: os.DirEntry[str]) -> bool:
        """Whether something at the top is taken out."""
        name = entry.name
        if entry.is_symlink():
            return False
        if entry.is_dir():
            start = name in _START_MODULES
            return start or name in _DROPPED_DIRECTORIES or name.endswith(".egg-info")
        return name == ".lock" or name.endswith(".pth") or module_of(name) in _START_MODULES

    def _distribution(self, path: Path) -> str:
        """Check what a package says of itself; returns its canonical name."""
        name, _, version = path.name.removesuffix(".dist-info").partition("-")
        name = canonicalize_name(name)
        if path.is_symlink() or not _same_version(self.packages.get(name, ""), version):
            raise self._unsafe(path.name, "it says that it is another package")
        metadata = path / "METADATA"
        if not metadata.is_file() or metadata.stat().st_size > _LONGEST_RECORD:
            raise self._unsafe(path.name, "it says nothing of itself")
        try:
            told = PathDistribution(path).metadata["Name"]
        except (OSError, KeyError, ValueError) as error:
            raise self._unsafe(path.name, "it says nothing of itself") from error
        if not told or canonicalize_name(told) != name:
            raise self._unsafe(path.name, "it says that it is another package")
        return name

    def _check_name(self, entry: os.DirEntry[str]) -> None:
        """Refuse what would stand for a module that is there already."""
        name, path = entry.name, Path(entry.path)
        if entry.is_symlink():
            raise self._unsafe(name, "it has links in it")
        module = name if entry.is_dir() else module_of(name)
        if module in sys.stdlib_module_names or module in sys.builtin_module_names:
            raise self._unsafe(name, f"it brings a {module} of its own, which is Python's")
        if module in _OWN_MODULES or self.core.shadowed(name, path):
            raise self._unsafe(name, f"it brings a {module} of its own, which all kernels have")

    def _walk(self, directory: Path, top: str) -> None:
        """Count files, see that they are files, and make them readable and unchangeable."""
        with os.scandir(directory) as entries:
            for entry in entries:
                module = top or (entry.name if entry.is_dir() else module_of(entry.name))
                if not entry.is_dir(follow_symlinks=False):
                    self._file(entry, module)
                elif entry.name == "__pycache__":
                    remove(Path(entry.path))
                else:
                    os.chmod(entry.path, 0o755)
                    self._walk(Path(entry.path), module)
                    os.chmod(entry.path, 0o555)

    def _file(self, entry: os.DirEntry[str], module: str) -> None:
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise self._unsafe(entry.name, "it has links or devices in it")
        if module.isidentifier() and module_of(entry.name):
            self.modules.add(module)
        wanted = 0o555 if status.st_mode & 0o111 else 0o444
        if stat.S_IMODE(status.st_mode) != wanted:
            os.chmod(entry.path, wanted)
        self._count(status.st_size)

    def _count(self, size_bytes: int) -> None:
        self.files += 1
        self.size_bytes += size_bytes
        if self.files > self.limits.layer_files or self.size_bytes > self.limits.layer_bytes:
            raise _too_large(self.limits)

    def _unsafe(self, name: str, detail: str) -> InstallFailed:
        return InstallFailed("unsafe", self._owner(name), detail)

    def _owner(self, name: str) -> str:
        """The locked package that something at the top came with; "" if that can't be told."""
        if name in self.packages:
            return name
        if len(self.packages) == 1:
            return next(iter(self.packages))
        for record in self.root.glob("*.dist-info/RECORD"):
            with suppress(OSError):
                if record.is_symlink() or record.stat().st_size > _LONGEST_RECORD:
                    continue
                lines = record.read_text(errors="replace").splitlines()
                if any(line.startswith((f"{name}/", f"{name},")) for line in lines):
                    return canonicalize_name(record.parent.name.partition("-")[0])
        return ""


def _same_version(one: str, other: str) -> bool:
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return False


def _too_large(limits: InstallLimits) -> InstallFailed:
    detail = f"more than {limits.layer_bytes / 2**20:g} MB or {limits.layer_files} files"
    return InstallFailed("too_large", "", detail)


def _weigh(path: Path) -> tuple[int, int]:
    """Bytes and number of files below a directory, bytecode left out."""
    size = files = 0
    for directory, _, names in os.walk(path):
        if not directory.endswith("/__pycache__"):
            for name in names:
                size += os.lstat(os.path.join(directory, name)).st_size
                files += 1
    return size, files


def size_on_disk(path: Path) -> int:
    """Room that a directory takes, in bytes; files with several names count once."""
    seen: set[int] = set()
    size = 0
    for directory, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                status = os.lstat(os.path.join(directory, name))
                if status.st_nlink == 1 or status.st_ino not in seen:
                    seen.add(status.st_ino)
                    size += status.st_blocks * _BLOCK_BYTES
    return size


def remove(path: Path) -> None:
    """Remove a file, or a directory whose parts may be read-only; what is gone is gone."""
    with suppress(OSError):
        if not path.is_symlink() and path.is_dir():
            path.chmod(0o700)
            for directory, directories, _ in os.walk(path):
                for name in directories:
                    inner = os.path.join(directory, name)
                    if not os.path.islink(inner):
                        os.chmod(inner, 0o700)
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _modified(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


def unfinished(cache: Path) -> list[Path]:
    """What uv was unpacking when it was ended."""
    return list(cache.glob(".tmp*"))


def remove_all(paths: Iterable[Path]) -> None:
    """Remove several."""
    for path in paths:
        remove(path)


def empty_cache(cache: Path) -> None:
    """Remove all that was downloaded; uv must not be running."""
    for path in cache.iterdir():
        if not path.name.startswith("interpreter-"):  # small, and costs a run of Python
            remove(path)


def boot() -> str:
    """Tells one run of the machine from another."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _read_secret(path: Path) -> bytes:
    with suppress(FileNotFoundError):
        secret = path.read_bytes()
        if len(secret) == _SECRET_BYTES:
            return secret
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(secrets.token_bytes(_SECRET_BYTES))
        file.flush()
        os.fsync(descriptor)
    return path.read_bytes()
