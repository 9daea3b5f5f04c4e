"""A copy of kernel_startup that no upgrade of the service changes.

Kernels import modules of it for as long as they live. If these changed beneath a running kernel, it
would get new modules to go with old ones. So each version is kept as long as a fork server runs it.
"""

import compileall
import fcntl
import hashlib
import os
import py_compile
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from interpreter.logs import get_logger

log = get_logger(__name__)

_UNFINISHED = "unfinished-"
#: Making a copy takes a second; what is older was left by a service that was killed.
_BUILDING_S = 3600.0
_NO_SOURCES = shutil.ignore_patterns("__pycache__", "*.pyc")


@contextmanager
def kept_startup(package: Path, root: Path) -> Iterator[Path]:
    """A copy of the package, compiled; kept at least as long as the ``with`` lasts.

    Args:
        package: the kernel_startup package.
        root: where copies are kept; kernels must be able to read there. Where nothing can be
            written, the package itself has to do.
    """
    try:
        copy = _copied(package, root)
        descriptor = os.open(copy, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        log.warning("kernels run the service's own files", reason=str(error))
        yield package
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        _remove_others(root, copy)
        # Between finding and locking it, another service may have removed it.
        yield copy / package.name if (copy / package.name).is_dir() else package
    finally:
        os.close(descriptor)


def _copied(package: Path, root: Path) -> Path:
    root.mkdir(mode=0o755, parents=True, exist_ok=True)
    root.chmod(0o755)
    final = root / _digest(package)
    if final.exists():
        return final
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=root) as temporary:
        building = Path(temporary) / "it"
        shutil.copytree(package, building / package.name, ignore=_NO_SOURCES)
        compileall.compile_dir(
            str(building),
            quiet=2,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        for directory, _, files in os.walk(building):
            os.chmod(directory, 0o755)
            for file in files:
                os.chmod(os.path.join(directory, file), 0o644)
        try:
            building.rename(final)
        except OSError:  # another service was quicker
            if not final.exists():
                raise
    return final


def _digest(package: Path) -> str:
    # It is compiled by the Python that runs this.
    digest = hashlib.sha256(f"{sys.implementation.cache_tag}\n".encode())
    for path in sorted(package.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            name = path.relative_to(package).as_posix()
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()[:16]


def _remove_others(root: Path, keep: Path) -> None:
    """Remove copies that no service and no fork server has."""
    for path in root.iterdir():
        if path == keep:
            continue
        with suppress(OSError):  # it may be gone by now: another service does the same
            unfinished = path.name.startswith(_UNFINISHED)
            if unfinished and time.time() - path.stat().st_mtime < _BUILDING_S:
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            except BlockingIOError:
                pass
            finally:
                os.close(descriptor)
