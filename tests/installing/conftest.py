"""A yard for each backend: an installer with a misbehaving index, and what must not be touched.

Whatever a test does, afterwards nothing is left in the stage, no process runs, files outside and
the layer that was there before are as they were, the other server was never asked, and the
installer still installs.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from interpreter.hosts.installing import (
    IndexSettings,
    InstallFailed,
    InstallLimits,
    Layer,
    Locked,
    PackageInstaller,
)
from interpreter.hosts.slots import remove_tree
from interpreter.kernel_env import KernelEnvironment, ensure_kernel_environment
from interpreter.settings import Settings
from tests.installing.index import PackageIndex, make_wheel

LIMITS = InstallLimits(
    download_bytes=32 << 20,
    layer_bytes=48 << 20,
    layer_files=3000,
    timeout_s=60.0,
    layers=20,
    cache_bytes=1 << 30,
)
_FINE = make_wheel("fine", files={"fine.py": "value = 'fine'\n"})
_EARLIER = make_wheel("earlier", files={"earlier/__init__.py": "value = 'earlier'\n"})
_NOTHING_LEFT_S = 5.0


@dataclass(slots=True)
class Yard:
    """An installer on one backend, and what surrounds it.

    Attributes:
        backend: how uv is confined.
        environment: the kernels'.
        index: the index that the installer is configured with.
        stranger: a server that it has no business with.
        root: the installer's directory.
        outside: a directory with files that are none of the installer's.
        installer: the installer.
        earlier: a layer that was there before.
    """

    backend: str
    environment: KernelEnvironment
    index: PackageIndex
    stranger: PackageIndex
    root: Path
    outside: Path
    installer: PackageInstaller = field(init=False)
    earlier: Layer = field(init=False)
    _opened: AsyncExitStack = field(default_factory=AsyncExitStack)
    #: Of services that other tests of this process share.
    _others: set[psutil.Process] = field(
        default_factory=lambda: set(psutil.Process().children(recursive=True))
    )

    async def install(self, *requirements: str) -> Layer:
        """Resolve and build."""
        return await self.installer.build(await self.installer.resolve(requirements))

    async def failure(self, *requirements: str) -> InstallFailed:
        """How resolving and building fails."""
        with pytest.raises(InstallFailed) as caught:
            await self.install(*requirements)
        assert str(self.root) not in f"{caught.value} {caught.value.detail}"
        return caught.value

    async def reopen(
        self, limits: InstallLimits = LIMITS, index: IndexSettings | None = None
    ) -> PackageInstaller:
        """Open the installer anew on the same directory, with these settings."""
        await self.close()
        index = index or IndexSettings(self.index.url, extra=(), file_hosts=(), offline=False)
        self.installer = await self._opened.enter_async_context(
            PackageInstaller.open(
                root=self.root,
                environment=self.environment,
                backend=self.backend,
                index=index,
                limits=limits,
            )
        )
        return self.installer

    async def close(self) -> None:
        """Close the installer."""
        await self._opened.aclose()

    def staged(self) -> list[str]:
        """What lies in the stage."""
        return sorted(path.name for path in (self.root / "stage").iterdir())

    def processes(self) -> list[str]:
        """Command lines of programs that the installer started and that still run."""
        found = set(psutil.Process().children(recursive=True)) - self._others
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(str(self.root) in word for word in process.cmdline()):
                    found.add(process)
        lines = []
        for process in found:
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE:
                    lines.append(" ".join(process.cmdline()))
        return [line for line in lines if "uv" in line or "bwrap" in line or "launcher" in line]

    async def nothing_left(self) -> None:
        """Nothing is staged and nothing runs, now or very soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_NOTHING_LEFT_S):
                while self.processes() or self.staged():  # noqa: ASYNC110 -- nobody tells
                    await asyncio.sleep(0.02)
        assert (self.processes(), self.staged()) == ([], [])


def contents(directory: Path) -> dict[str, str]:
    """Mode and hash of everything below a directory, by path; links aren't followed."""
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = f"{status.st_mode:o} {hashlib.sha256(data).hexdigest()}"
    return found


@pytest.fixture(scope="session")
def environment() -> KernelEnvironment:
    """The kernels' environment, built if it isn't there."""
    return asyncio.run(ensure_kernel_environment(root=Settings().kernel_env_dir))


@pytest.fixture(scope="session")
def installed() -> Iterator[tuple[Path, dict[str, Locked]]]:
    """By backend, a directory of an installer that has installed once, and what it had locked."""
    made = Path(tempfile.mkdtemp(prefix="cellmate-installed-"))
    yield made, {}
    remove_tree(made)  # of which layers are read-only


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that others may pass through, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="cellmate-installing-"))
    made.chmod(0o711)
    yield made
    remove_tree(made)  # of which layers are read-only


@pytest.fixture(params=["namespaces", "landlock"])
async def yard(
    request: pytest.FixtureRequest,
    environment: KernelEnvironment,
    directory: Path,
    installed: tuple[Path, dict[str, Locked]],
) -> AsyncIterator[Yard]:
    """A yard, looked over after the test."""
    before_us, locked = installed[0] / request.param, installed[1]
    outside = directory / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "canary").write_text("sings")
    (outside / "deep" / "canary.py").write_text("sings = True\n")
    async with PackageIndex.open() as index, PackageIndex.open() as stranger:
        index.add(_FINE, _EARLIER)
        yard = Yard(request.param, environment, index, stranger, directory / "packages", outside)
        try:
            if request.param not in locked:
                installer = await yard.reopen()
                locked[request.param] = await installer.resolve(["earlier"])
                await installer.build(locked[request.param])
                await yard.close()
                shutil.rmtree(yard.root / "cache")
                yard.root.rename(before_us)
            shutil.copytree(before_us, yard.root, symlinks=True)
            installer = await yard.reopen()
            yard.earlier = await installer.build(locked[request.param])
            before = contents(yard.earlier.path), contents(outside), sorted(os.listdir(directory))
            yield yard
            await yard.nothing_left()
            index.password = ""
            await yard.reopen()
            fine = await yard.install("fine")
            assert (fine.path / "fine.py").read_text() == "value = 'fine'\n"
        finally:
            await yard.close()
        after = contents(yard.earlier.path), contents(outside), sorted(os.listdir(directory))
        assert after == before
        assert not stranger.requests


def with_limits(**limits: float) -> InstallLimits:
    """The usual limits, some changed."""
    return replace(LIMITS, **limits)  # type: ignore[arg-type]  # all of them are numbers
