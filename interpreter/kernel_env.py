"""The kernels' own Python environment: built once from a pinned list, sealed for the sandbox.

Inside the sandbox the environment is seen at `SANDBOX_ENV` and the Python it rests on at
`SANDBOX_PYTHON` (or, if that is one below /usr, where it is). Everything in the environment that
names a path names those: it works there and, on purpose, not on the host.

A finished environment is never changed. It appears under its key in one rename, so what is there is
whole, however its building was ended.
"""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uv

from interpreter import installer
from interpreter.errors import KernelEnvironmentFailed
from interpreter.logs import get_logger

log = get_logger(__name__)

SANDBOX_ENV = "/env"
SANDBOX_PYTHON = "/python"

# Where matplotlib finds its list of fonts, below the environment.
FONT_CACHE = "share/cellmate/matplotlib"

# Counts up when the same list has to be built in another way.
_BUILDER = 1
_REQUIREMENTS = Path(__file__).with_name("kernel-requirements.lock")
_PACKAGES_ROOT = Path(__file__).resolve().parents[1]
_FONTS = _PACKAGES_ROOT / "kernel_startup" / "fonts.py"
_OLDEST_PYTHON = (3, 11)
_PROBE_TIMEOUT_S = 30
_KEPT_ENVIRONMENTS = 2
_KEY = re.compile(r"[0-9a-f]{16}")
_STEPS = 5

# Asks a Python, also one of a virtual environment, about the installation below it. `-S` keeps
# out what a site's own start-up files might print.
_PROBE = """
import json, os, sys, sysconfig
base = os.path.realpath(sys.base_prefix)
scheme = {"base": base, "platbase": base, "installed_base": base, "installed_platbase": base}
print(json.dumps({
    "version": sys.version_info[:3], "soabi": sysconfig.get_config_var("SOABI"),
    "platform": sysconfig.get_platform(), "prefix": base,
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "libdir": sysconfig.get_config_var("LIBDIR"),
    "shared": bool(sysconfig.get_config_var("Py_ENABLE_SHARED")),
    "packages": [sysconfig.get_path(name, vars=scheme) for name in ("purelib", "platlib")],
}))
"""


@dataclass(frozen=True)
class KernelEnvironment:
    """A finished environment.

    Attributes:
        path: Its directory on the host, to be seen at `SANDBOX_ENV`, read-only.
        base_prefix: The installation of the Python it rests on. To be seen at `SANDBOX_PYTHON`,
            read-only, unless it is below /usr.
        key: What it was built from, as 16 hexadecimal digits.
        environ: Environment variables that its Python needs inside the sandbox.
        hidden: Directories as seen inside the sandbox with packages that are not the kernels'
            (those of the base Python); to be covered.
    """

    path: Path
    base_prefix: Path
    key: str
    environ: dict[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the environment from being removed as an old one while kernels run in it."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class _BasePython:
    """The installation an environment rests on, as its Python described it."""

    prefix: Path
    executable: Path
    abi: str
    shared_library_dir: Path | None
    packages: tuple[Path, ...]

    @property
    def mounted_prefix(self) -> Path:
        """Where the sandbox shows `prefix`."""
        return self.prefix if self.prefix.is_relative_to("/usr") else Path(SANDBOX_PYTHON)

    def mounted(self, path: Path) -> Path:
        return self.mounted_prefix / path.relative_to(self.prefix)

    def environ(self) -> dict[str, str]:
        directory = self.shared_library_dir
        if directory is None or directory.is_relative_to("/usr/lib"):
            return {}
        # Such a Python finds its library by a path on the host that was fixed when it was built.
        return {"LD_LIBRARY_PATH": str(self.mounted(directory))}

    def hidden(self) -> tuple[str, ...]:
        return tuple(str(self.mounted(path)) for path in self.packages)


async def ensure_kernel_environment(
    *,
    root: Path,
    python: Path | None = None,
    requirements: Path | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> KernelEnvironment:
    """Find the kernels' environment, or build it.

    Any number of processes may ask for it at once: one builds, the others wait. It may be killed at
    any point. Cancelling ends the building.

    Args:
        root: Directory of all environments, one below it for each key; made if missing.
        python: The Python to rest on; None takes the one this process runs on.
        requirements: The pinned and hashed list of packages; None takes the kernels' own.
        on_progress: Called with one line of text for each thing worth telling while it builds.

    Raises:
        KernelEnvironmentFailed: With the step, why, and what to do.
    """
    tell = on_progress or (lambda line: None)
    requirements = requirements or _REQUIREMENTS
    base = await asyncio.to_thread(_probe, Path(sys.executable) if python is None else python)
    key = _key(base, requirements)
    environment = KernelEnvironment(root / key, base.prefix, key, base.environ(), base.hidden())
    with _step("looking for it"):
        found = environment.path.is_dir()
    if found:
        with contextlib.suppress(OSError):  # another user's, or in an image that can't be written
            os.utime(environment.path)  # tells which ones are in use
        return environment

    with _step("making its directory"):
        await asyncio.to_thread(root.mkdir, parents=True, exist_ok=True)
    waiting = "Another process is building the kernels' environment; waiting for it"
    async with installer.exclusive(root / "lock", on_wait=lambda: tell(waiting)) as lock:
        if not environment.path.is_dir():
            started = time.monotonic()
            await _build(environment.path, base, requirements, lock, tell)
            duration_s = time.monotonic() - started
            log.info("kernel environment built", key=key, duration_s=round(duration_s, 1))
            tell(f"The kernels' environment is ready ({duration_s:.0f} s)")
        await asyncio.to_thread(_remove_old, root, key)
    return environment


async def _build(
    path: Path, base: _BasePython, requirements: Path, lock: int, tell: Callable[[str], None]
) -> None:
    for left in path.parent.glob("unfinished-*"):
        await asyncio.to_thread(shutil.rmtree, left)
    building = path.parent / f"unfinished-{path.name}"
    python = str(building / "bin" / "python")
    pinned = _pinned(requirements)

    def tell_step(number: int, what: str) -> None:
        tell(f"Kernels' environment, step {number} of {_STEPS}: {what}")

    async def run(*command: str, on_line: Callable[[str], None] = lambda line: None) -> None:
        await installer.run(command, cwd=path.parent, lock=lock, on_line=on_line)

    async def run_uv(*arguments: str, on_line: Callable[[str], None] = lambda line: None) -> None:
        command = installer.uv_command(uv.find_uv_bin(), *arguments)
        await run(*command, on_line=on_line)

    try:
        tell_step(1, "creating it (this is done once, and again when its list of packages changes)")
        with _step("creating the environment"):
            await run_uv("venv", "--no-project", "--python", str(base.executable), str(building))

        tell_step(2, f"installing {len(pinned)} packages (up to 190 MiB to download)")
        with _step("installing the packages"):
            downloads = installer.Downloads()

            def on_line(line: str) -> None:
                if progress := downloads.read(line):
                    tell(f"  downloaded {progress}")

            options = ["--require-hashes", "--only-binary", ":all:", "--python", python]
            await run_uv("pip", "sync", *options, str(requirements), on_line=on_line)

        tell_step(3, "compiling")
        with _step("compiling the packages"):
            # Never compared with the source again: in the sandbox nothing could be written anew.
            # Packages' own tests aren't compiled; nobody imports them.
            await run(
                *(python, "-I", "-m", "compileall", "-q", "-j", "0", "-x", r"/tests?/"),
                *("--invalidation-mode", "unchecked-hash"),
                *("-s", str(building), "-p", SANDBOX_ENV, str(building / "lib")),
            )

        tell_step(4, "listing the fonts")
        with _step("listing the fonts"):
            fonts = building / FONT_CACHE
            fonts.mkdir(parents=True)
            # Last on the path: the kernels' own packages come first.
            code = (
                "import pathlib, sys; sys.path.append(sys.argv[1]);"
                " from kernel_startup.fonts import build_font_cache;"
                " build_font_cache(pathlib.Path(sys.argv[2]))"
            )
            if _FONTS.exists() and "matplotlib" in pinned:
                await run(python, "-I", "-B", "-c", code, str(_PACKAGES_ROOT), str(fonts))

        tell_step(5, "sealing")
        with _step("sealing"):
            await asyncio.to_thread(_seal, building, base)
            # What a power cut leaves of the environment has to be all of it.
            await asyncio.to_thread(os.sync)
            building.rename(path)
    finally:
        await asyncio.to_thread(shutil.rmtree, building, ignore_errors=True)


def _seal(building: Path, base: _BasePython) -> None:
    """Make everything in the environment that names a path name the sandbox's paths."""
    home = base.mounted(base.executable).parent
    configuration = (building / "pyvenv.cfg").read_text("utf-8")
    (building / "pyvenv.cfg").write_text(
        re.sub(r"^home = .*$", f"home = {home}", configuration, flags=re.MULTILINE), "utf-8"
    )
    (building / ".lock").unlink(missing_ok=True)
    for program in (building / "bin").iterdir():
        if program.is_symlink():
            program.unlink()
            program.symlink_to(home / base.executable.name)
        elif re.search(r"activate|\.bat$", program.name):
            program.unlink()  # for a person's shell on the host
        else:
            _rewrite(program, building)
    for listing in (building / FONT_CACHE).iterdir():
        _rewrite(listing, building)
    # uv shares files with its cache, made under whatever umask; kernels run as another user.
    for directory, _, names in os.walk(building):
        for entry in (directory, *(os.path.join(directory, name) for name in names)):
            mode = os.lstat(entry).st_mode
            readable = 0o555 if mode & stat.S_IXUSR else 0o444
            if not stat.S_ISLNK(mode) and mode & readable != readable:
                os.chmod(entry, stat.S_IMODE(mode) | readable)


def _rewrite(file: Path, building: Path) -> None:
    content = file.read_bytes()
    sealed = content.replace(os.fsencode(building), os.fsencode(SANDBOX_ENV))
    if sealed != content:
        mode = file.stat().st_mode
        file.unlink()  # may be shared with uv's cache
        file.write_bytes(sealed)
        file.chmod(stat.S_IMODE(mode))


def _probe(python: Path) -> _BasePython:
    """Ask a Python about the installation it rests on."""
    remedy = "Set KERNEL_PYTHON to a Python of version 3.11 or newer, or leave it unset."
    command = [str(python), "-I", "-S", "-c", _PROBE]
    try:
        answer = subprocess.run(
            command, capture_output=True, check=True, timeout=_PROBE_TIMEOUT_S, encoding="utf-8"
        )
        found: dict[str, Any] = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise KernelEnvironmentFailed(
            f"asking {str(python)!r}", _why_no_python(error), remedy
        ) from error
    version = tuple(found["version"])
    prefix, executable = Path(found["prefix"]), Path(found["executable"])
    if version < _OLDEST_PYTHON:
        raise KernelEnvironmentFailed(
            f"using {str(python)!r}", f"it is Python {'.'.join(map(str, version))}", remedy
        )
    if not executable.is_relative_to(prefix):
        # Through the links of a distribution: inside the sandbox only the installation is there.
        executable = prefix / "bin" / f"python{version[0]}.{version[1]}"
        if not executable.exists():
            raise KernelEnvironmentFailed(
                f"using {str(python)!r}", f"its program isn't inside its prefix {prefix}", remedy
            )
    libdir = Path(os.path.realpath(found["libdir"])) if found["shared"] else None
    inside = libdir is not None and libdir.is_relative_to(prefix)
    packages = {Path(path) for path in found["packages"] if os.path.isdir(path)}
    return _BasePython(
        prefix=prefix,
        executable=executable,
        abi=f"{version} {found['soabi']} {found['platform']} {platform.libc_ver()}",
        shared_library_dir=libdir if inside else None,
        packages=tuple(
            sorted(path for path in packages if path.is_dir() and prefix in path.parents)
        ),
    )


def _why_no_python(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, subprocess.CalledProcessError):
        return f"it is no Python of ours: it ended with status {error.returncode}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it is no Python of ours: it did not answer within {_PROBE_TIMEOUT_S} s"
    return "it is no Python of ours: it answered with something else"


def _pinned(requirements: Path) -> list[str]:
    return re.findall(r"^[\w.-]+(?===)", requirements.read_text("utf-8"), re.MULTILINE)


def _key(base: _BasePython, requirements: Path) -> str:
    digest = hashlib.sha256(f"{_BUILDER}\n{base.abi}\n{base.prefix}\n{base.executable}\n".encode())
    digest.update(requirements.read_bytes())
    if _FONTS.exists():
        digest.update(_FONTS.read_bytes())
    return digest.hexdigest()[:16]


def _remove_old(root: Path, keep: str) -> None:
    """Remove all but the most recently used environments, and none that is held."""
    found = [path for path in root.iterdir() if _KEY.fullmatch(path.name) and path.name != keep]
    found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[_KEPT_ENVIRONMENTS - 1 :]:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            going = path.rename(root / f"unfinished-{path.name}")
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
        shutil.rmtree(going)
        log.info("old kernel environment removed", key=path.name)


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    """Turn what goes wrong in a step into the one error that names it."""
    try:
        yield
    except installer.InstallerFailed as error:
        log.info("kernel environment failed", step=what, output=error.output)
        remedy = f"{error.remedy[:1].upper()}{error.remedy[1:]}."
        raise KernelEnvironmentFailed(what, error.reason, remedy) from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        remedy = "Free some space, or set KERNEL_ENV_DIR to a directory on another disk."
        if error.errno != errno.ENOSPC:
            remedy = "Make that directory usable, or set KERNEL_ENV_DIR to another one."
        raise KernelEnvironmentFailed(what, f"{error.strerror or error}{where}", remedy) from error
