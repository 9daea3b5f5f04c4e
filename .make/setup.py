"""Make .venv what requirements.lock says; see setup.sh, which finds the Python to run this with.

Standard library only. What doesn't need doing is found out before anything slow is imported.
"""

import hashlib
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
BOOT = os.path.join(ROOT, ".boot")
# Written last: says that .venv is complete, and what it was made from.
MARKER = os.path.join(VENV, ".cellmate")
# What decides the contents of .venv. The repository's own path is part of the key as well: a
# .venv doesn't survive being moved.
INPUTS = ("requirements.lock", "pyproject.toml", ".make/setup.py")


def key() -> str:
    digest = hashlib.sha256(f"{ROOT}\n{sys.version}\n{sys.base_prefix}\n".encode())
    for name in INPUTS:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read() + b"\0")
    return digest.hexdigest()


def is_current() -> bool:
    try:
        with open(MARKER, encoding="ascii") as file:
            return file.read() == key()
    except OSError:
        return False


if __name__ == "__main__" and sys.argv[1:] == ["--is-current"]:
    sys.exit(not is_current())

import asyncio  # noqa: E402
import contextlib  # noqa: E402
import importlib.util  # noqa: E402
import re  # noqa: E402
import shutil  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402


def _load_installer():  # type: ignore[no-untyped-def]
    # By its path: `import interpreter` needs packages that aren't there yet.
    spec = importlib.util.spec_from_file_location(
        "installer", os.path.join(ROOT, "interpreter", "installer.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


installer = _load_installer()
# The Python below a virtual environment, if this runs on one's (.venv's own, for instance).
PYTHON = getattr(sys, "_base_executable", None) or sys.executable


# Imports all of ours, and with it all that a start can need of others.
IMPORT_ALL = """
import importlib, pkgutil, bot, interpreter
for package in (bot, interpreter):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
"""


class StepFailed(Exception):
    pass


@contextlib.contextmanager
def step(number: str, title: str) -> Iterator[Callable[[str], None]]:
    """Show a step: a line that grows on a terminal, and is finished with how long it took."""
    start = f"[{number}] {title} ..."
    live = sys.stdout.isatty()
    print(start, end="", flush=True)
    began = time.monotonic()

    def show(detail: str) -> None:
        if live:
            room = shutil.get_terminal_size().columns - len(start) - 2
            print(f"\r\033[K{start} {detail[:room]}", end="", flush=True)

    clear = f"\r\033[K{start}" if live else ""
    try:
        yield show
    except installer.InstallerFailed as error:
        print(f"{clear} failed after {time.monotonic() - began:.0f} s\n")
        for line in error.output.splitlines()[-12:]:
            print(f"    {line}")
        print(
            f"\nSetting up stopped at step {number}, {title!r}: {error.reason}.\n"
            f"What to do: {error.remedy}; then run the same command again.",
            flush=True,
        )
        raise StepFailed from error
    except BaseException:
        print(f"{clear} stopped", flush=True)
        raise
    print(f"{clear} done in {time.monotonic() - began:.1f} s", flush=True)


def locked_uv() -> tuple[str, str]:
    """Read uv's version from the lock, and its lines: pip takes them as they are."""
    text = Path(ROOT, "requirements.lock").read_text(encoding="utf-8")
    found = re.search(r"^uv==(\S+).*(?:\n .*)*", text, re.MULTILINE)
    assert found is not None, "requirements.lock names no uv"
    return found[1], found[0]


async def fetch_uv(lock: int, show: Callable[[str], None]) -> str:
    """Get the locked uv with pip, to where it disturbs nothing.

    `--target` works where `ensurepip` or `venv` is missing, and with a pip that its distribution
    has marked as externally managed.
    """
    version, lines = locked_uv()
    target = Path(BOOT, f"uv-{version}")
    uv = target / "bin" / "uv"
    if uv.is_file():
        return str(uv)
    unfinished = Path(BOOT, "unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    requirements = unfinished / "uv.txt"
    requirements.write_text(lines + "\n", encoding="utf-8")
    # These settings of a person's pip contradict --target.
    environ = {**os.environ, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    try:
        await installer.run([*pip, "--version"], cwd=Path(ROOT), lock=lock)
    except installer.InstallerFailed as error:
        if there := shutil.which("uv"):
            return there
        raise installer.InstallerFailed(
            f"{PYTHON} has no pip",
            "install pip (Debian and Ubuntu: apt install python3-pip) or uv, or name another"
            " Python: make run PYTHON=/path/to/python3.12",
            error.output,
        ) from error
    install = [*pip, "install", "--target", str(unfinished), "--no-deps", "--require-hashes"]
    install += ["--only-binary", ":all:", "--no-compile", "--retries", "2", "-r", str(requirements)]
    bundle = installer.certificate_bundle()
    try:
        await installer.run(install, cwd=Path(ROOT), lock=lock, on_line=show, environ=environ)
    except installer.InstallerFailed as error:
        # pip before 24.2 knows only its own list of certificates, not the machine's.
        if "certificate" not in error.reason or bundle is None or "PIP_CERT" in environ:
            raise
        environ["PIP_CERT"] = bundle
        await installer.run(install, cwd=Path(ROOT), lock=lock, on_line=show, environ=environ)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
    return str(uv)


def keepable(maker: str) -> bool:
    """Tell whether .venv is whole, was made by the same Python, and with the locked uv.

    Such a one is brought up to date, which is quicker. One that was left half-way may hold halves
    of packages, and is made anew.
    """
    whole = Path(MARKER).is_file()
    Path(MARKER).unlink(missing_ok=True)
    made_by = Path(VENV, "pyvenv.cfg")
    if not whole or not made_by.is_file() or maker not in made_by.read_text("utf-8"):
        return False
    return any(Path(VENV).glob(f"lib/python3.*/site-packages/uv-{locked_uv()[0]}.dist-info"))


async def set_up(lock: int) -> None:
    python = os.path.join(VENV, "bin", "python")
    uv = os.path.join(VENV, "bin", "uv")

    async def run_uv(*arguments: str, on_line: Callable[[str], None] = lambda line: None) -> None:
        command = installer.uv_command(uv, *arguments)
        await installer.run(command, cwd=Path(ROOT), lock=lock, on_line=on_line)

    maker = f"cellmate = {sys.version} in {sys.base_prefix}".replace("\n", "")
    if keepable(maker):
        print("Bringing .venv up to date.", flush=True)
        numbers = iter(("1/2", "2/2"))
    else:
        print("Setting up Cellmate in .venv: once, with about 400 MB to download.", flush=True)
        numbers = iter(("1/4", "2/4", "3/4", "4/4"))
        with step(next(numbers), "Getting uv, the package installer") as show:
            uv = await fetch_uv(lock, show)
        with step(next(numbers), f"Creating .venv with Python {sys.version.split()[0]}"):
            await run_uv("venv", "--clear", "--no-project", "--python", PYTHON, VENV)
            with Path(VENV, "pyvenv.cfg").open("a", encoding="utf-8") as file:
                file.write(f"{maker}\n")

    with step(next(numbers), "Installing packages") as show:
        downloads = installer.Downloads()

        def on_line(line: str) -> None:
            if progress := downloads.read(line):
                show(progress)

        sync = ["--require-hashes", "--only-binary", ":all:", "requirements.lock"]
        await run_uv("pip", "sync", "--python", python, *sync, on_line=on_line)
        ours = ["--no-deps", "--no-build-isolation", "--offline", "--editable", "."]
        await run_uv("pip", "install", "--python", python, *ours)

    with step(next(numbers), "Preparing the first start"):
        # Compiles what is imported, and no more. If that fails, the start itself says it better.
        environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        with contextlib.suppress(installer.InstallerFailed):
            command = [python, "-c", IMPORT_ALL]
            await installer.run(command, cwd=Path(ROOT), lock=lock, environ=environ)
    Path(MARKER).write_text(key(), encoding="ascii")
    shutil.rmtree(Path(BOOT, f"uv-{locked_uv()[0]}"), ignore_errors=True)


async def main() -> None:
    Path(BOOT).mkdir(exist_ok=True)

    def on_wait() -> None:
        print("Another make is setting up .venv; waiting for it ...", flush=True)

    async with installer.exclusive(Path(BOOT, "lock"), on_wait=on_wait) as lock:
        if not is_current():
            await set_up(lock)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except StepFailed:
        sys.exit(1)
    except KeyboardInterrupt:
        print("Stopped. The same command starts it again.")
        sys.exit(130)
    except OSError as error:
        print(
            f"Setting up stopped: {error.strerror}: {error.filename}\n"
            "What to do: see whose that file or directory is and whether the disk is full."
        )
        sys.exit(1)
