"""``python -m benchmarks.packages``: our installer beside ``pip install --target``, one index.

In one run, in turn, each with a warm cache of its own: how long until a package is importable that
nobody has a layer of. Ours starts without a layer and without a memory of resolutions, and uv asks
in its sandbox; pip comes from a fresh virtual environment, without anybody's configuration. Then
ten users who ask for the same set at once beside one, and both installers with nothing cached.
Exit status 1 if a promise is broken.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
import venv
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measures import Result
from interpreter.hosts.installing import IndexSettings, InstallLimits, Layer, PackageInstaller
from interpreter.installer import certificate_bundle
from interpreter.kernel_env import KernelEnvironment, ensure_kernel_environment
from interpreter.settings import Settings

#: Small, middling and large, with a dependency: none needs what kernels have anyway, which pip
#: would install a second time.
_PACKAGES = ("humanize", "networkx", "sympy")
_SHARE_OF_PIP = 0.1
_TEN_OF_ONE = 2.0
_USERS = 10
#: No layer is kept that nobody uses: each round builds its own.
_LIMITS = InstallLimits(
    download_bytes=512 << 20,
    layer_bytes=1 << 30,
    layer_files=50_000,
    timeout_s=300.0,
    layers=0,
    cache_bytes=4 << 30,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """What the measurements need.

    Attributes:
        work: an empty directory.
        environment: the kernels'.
        backend: how uv is confined.
        index: URL of the index for both; None is each one's default.
        rounds: how often each is measured.
        say: tells a person what goes on.
    """

    work: Path
    environment: KernelEnvironment
    backend: str
    index: str | None
    rounds: int
    say: Callable[[str], None]

    @asynccontextmanager
    async def installer(self, root: str = "packages") -> AsyncGenerator[PackageInstaller]:
        """An installer that remembers nothing but what its cache holds."""
        async with PackageInstaller.open(
            root=self.work / root,
            environment=self.environment,
            backend=self.backend,
            index=IndexSettings(self.index, extra=(), file_hosts=(), offline=False),
            limits=_LIMITS,
        ) as installer:
            await installer.prune(in_use=())
            yield installer

    async def pip(self, package: str, *options: str) -> float:
        """Have pip install a package; returns how long it took, in seconds."""
        target = self.work / "target"
        await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
        certificates = certificate_bundle()
        command = [str(self.work / "venv" / "bin" / "python"), "-I", "-m", "pip"]
        command += ["install", "--isolated", "--disable-pip-version-check", "--quiet"]
        command += ["--only-binary", ":all:", "--target", str(target), *options]
        command += ["--cert", certificates] if certificates else []
        command += ["--index-url", self.index] if self.index else []
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command, package, env={**os.environ, "PIP_CONFIG_FILE": os.devnull}
        )
        if await process.wait() != 0:
            raise SystemExit(f"pip could not install {package!r}")
        duration_s = time.perf_counter() - began
        await self._import(package, target)
        return duration_s

    async def ours(self, package: str, root: str = "packages") -> float:
        """Resolve and build; returns how long it took, in seconds."""
        async with self.installer(root) as installer:
            began = time.perf_counter()
            layer = await _install(installer, package)
            duration_s = time.perf_counter() - began
            await self._import(package, layer.path)
        return duration_s

    async def _import(self, package: str, path: Path) -> None:
        """See whether a package that was installed is really importable from there."""
        code = f"import sys; sys.path.append(sys.argv[1]); import {package}"
        python = str(self.work / "venv" / "bin" / "python")
        process = await asyncio.create_subprocess_exec(python, "-I", "-B", "-c", code, str(path))
        if await process.wait() != 0:
            raise SystemExit(f"{package!r} is installed, but can't be imported")


async def _install(installer: PackageInstaller, package: str) -> Layer:
    return await installer.build(await installer.resolve([package]))


async def cold(bench: Bench, package: str) -> Result:
    """The first time ever, with nothing cached; it fills the caches for what comes after."""
    pip = await bench.pip(package, "--cache-dir", str(bench.work / "pip-cache"))
    ours = await bench.ours(package)
    return _result(f"{package}, nothing cached", [ours], [pip], None)


async def warm(bench: Bench, package: str) -> list[Result]:
    """With the package in both caches, and no layer of it."""
    cache = ("--cache-dir", str(bench.work / "pip-cache"))
    ours, pip, pip_lean = [], [], []
    for _ in range(bench.rounds):
        ours.append(await bench.ours(package))
        pip.append(await bench.pip(package, *cache))
        pip_lean.append(await bench.pip(package, *cache, "--no-compile"))
        bench.say(f"  {ours[-1]:.3f} s against {pip[-1]:.3f} s ({pip_lean[-1]:.3f} s lean)")
    return [
        _result(f"{package}, cached", ours, pip, _SHARE_OF_PIP),
        _result(f"{package}, cached, pip without compiling", ours, pip_lean, None),
    ]


async def ten_at_once(bench: Bench, package: str) -> Result:
    """Ten users who want the same set in the same moment, until the last one has it."""
    one, ten = [], []
    for _ in range(bench.rounds):
        one.append(await bench.ours(package))
        async with bench.installer() as installer:
            began = time.perf_counter()
            layers = await asyncio.gather(*(_install(installer, package) for _ in range(_USERS)))
            ten.append(time.perf_counter() - began)
            assert len({layer.layer_id for layer in layers}) == 1
        bench.say(f"  {_USERS} in {ten[-1]:.3f} s, one in {one[-1]:.3f} s")
    return _result(f"{package}, {_USERS} users at once beside one", ten, one, _TEN_OF_ONE)


def _result(name: str, ours: list[float], other: list[float], target: float | None) -> Result:
    return Result(
        name=name,
        unit="s",
        ours=statistics.median(ours),
        stock=statistics.median(other),
        sense="share",
        target=target,
        samples=len(ours),
    )


async def measure(bench: Bench, packages: list[str]) -> list[Result]:
    """Run every measurement."""
    await asyncio.to_thread(venv.create, bench.work / "venv", with_pip=True)
    results = []
    for package in packages:
        bench.say(f"measuring: {package} with nothing cached")
        results.append(await cold(bench, package))
    for package in packages:
        bench.say(f"measuring: {package} with warm caches")
        results += await warm(bench, package)
    bench.say(f"measuring: {_USERS} users at once")
    results.append(await ten_at_once(bench, packages[-1]))
    return results


def table(results: list[Result]) -> str:
    """The results for a person."""
    rows = [("what", "ours", "other", "ours/other", "promise", "kept")]
    for result in results:
        promised = result.target is not None
        rows.append(
            (
                result.name,
                f"{result.ours * 1e3:.0f} ms",
                f"{result.stock * 1e3:.0f} ms",
                f"{result.ratio:.3f}",
                f"<= {result.target:g}" if promised else "-",
                ("yes" if result.met else "NO") if promised else "-",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


async def _run(work: Path, options: argparse.Namespace) -> list[Result]:
    environment = await ensure_kernel_environment(
        root=Settings().kernel_env_dir, on_progress=lambda line: print(line, flush=True)
    )
    with environment.hold():
        bench = Bench(
            work,
            environment,
            options.backend,
            options.index,
            options.rounds,
            lambda text: print(text, flush=True),
        )
        return await measure(bench, options.packages)


def main() -> int:
    """Parse the arguments, measure, report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.packages", description=__doc__)
    parser.add_argument(
        "packages", nargs="*", default=list(_PACKAGES), help="each as it's imported"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--backend", default="namespaces", choices=("namespaces", "landlock"))
    parser.add_argument("--index", default=os.environ.get("UV_DEFAULT_INDEX"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/packages.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cellmate-packages-") as work:
        os.chmod(work, 0o711)
        results = asyncio.run(_run(Path(work), options))
    print(f"\nCellmate's installer ({options.backend}) beside pip\n\n{table(results)}")
    record = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "backend": options.backend,
        "results": [
            {**asdict(result), "ratio": result.ratio, "met": result.met} for result in results
        ],
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
