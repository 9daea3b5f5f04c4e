"""PackageInstaller: requirements to locks, locks to layers, and room kept for more."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

import uv

from interpreter.hosts.bubblewrap import find_bwrap
from interpreter.hosts.installing import bytecode, indexes
from interpreter.hosts.installing.core import Core
from interpreter.hosts.installing.flights import Flights
from interpreter.hosts.installing.layers import (
    Layers,
    empty_cache,
    remove_all,
    size_on_disk,
    unfinished,
)
from interpreter.hosts.installing.locks import name_of, read_lock, read_requirements
from interpreter.hosts.installing.proxy import Locate
from interpreter.hosts.installing.runs import SLACK_BYTES, Runner
from interpreter.hosts.installing.sandbox import Backend, UvSandbox
from interpreter.hosts.installing.terms import (
    IndexSettings,
    InstallFailed,
    InstallLimits,
    Layer,
    Locked,
)
from interpreter.kernel_env import KernelEnvironment
from interpreter.logs import get_logger

log = get_logger(__name__)

#: How long an answer of the index is taken to hold, unless an upgrade is asked for.
_FRESH_S = 2 * 3600.0
_REMEMBERED = 500
_WHEELS_ONLY = ("--only-binary", ":all:")
_LONGEST_LOCK = 4 << 20

_Question = tuple[tuple[str, ...], str, tuple[str, ...]]


@dataclass(slots=True)
class PackageInstaller:
    """Installs packages for the kernels of a host. Make one with `open`."""

    _root: Path
    _core: Core
    _layers: Layers
    _runner: Runner
    _reach: indexes.Reach
    _offline: bool
    _limits: InstallLimits
    _online_runs: asyncio.Semaphore
    _offline_runs: asyncio.Semaphore
    _pruning: asyncio.Lock = field(default_factory=asyncio.Lock)
    _resolving: Flights[Locked] = field(default_factory=Flights)
    _building: Flights[Layer] = field(default_factory=Flights)
    _downloading: dict[str, asyncio.Lock] = field(default_factory=dict)
    _remembered: OrderedDict[_Question, tuple[float, Locked]] = field(default_factory=OrderedDict)
    _compiling: set[asyncio.Task[None]] = field(default_factory=set)
    _one_compiler: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    _running: int = 0
    _untidy: bool = False
    _cache_bytes: int | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        root: Path,
        environment: KernelEnvironment,
        backend: str,
        index: IndexSettings,
        limits: InstallLimits,
    ) -> AsyncGenerator[Self]:
        """Open the installer of a host; at the end, what is under way is given up.

        Args:
            root: its directory, on one file system; made if missing.
            environment: the kernels'.
            backend: how uv is confined: ``namespaces``, ``landlock`` or ``none``.
            index: where packages come from.
            limits: what installations may take.

        Raises:
            InstallFailed: uv doesn't tell its index.
            OSError: the directory can't be used.
            SandboxUnavailable: there is no bubblewrap.
        """
        root, core = await asyncio.to_thread(_prepare, root, environment)
        layers = Layers(root, core, limits, environment.key)
        await asyncio.to_thread(layers.prepare)
        found = await indexes.find_indexes(index, root)
        sandbox = UvSandbox(
            backend=cast(Backend, backend),
            root=root,
            environment=environment,
            uv=_uv_program(),
            bwrap=find_bwrap() if backend == "namespaces" else None,
            certificates=indexes.certificates(),
            directories=tuple(found.directories()),
            file_bytes=limits.layer_bytes + SLACK_BYTES,
            timeout_s=limits.timeout_s,
        )
        installer = cls(
            root,
            core,
            layers,
            Runner(sandbox, limits, core.versions),
            indexes.Reach(found, indexes.canonical_hosts(index.file_hosts)),
            index.offline,
            limits,
            asyncio.Semaphore(limits.concurrent),
            asyncio.Semaphore(limits.concurrent),
        )
        try:
            yield installer
        finally:
            await installer._resolving.end()
            await installer._building.end()
            await installer._end_compiling()
            await asyncio.to_thread(layers.leave)

    async def _end_compiling(self) -> None:
        for task in self._compiling:
            task.cancel()
        await asyncio.gather(*self._compiling, return_exceptions=True)

    def core(self) -> Mapping[str, str]:
        """What all kernels have, by canonical name: the version."""
        return self._core.versions

    # -- resolving -------------------------------------------------------------------------------

    async def resolve(
        self, requirements: Sequence[str], *, keep: str = "", upgrade: Sequence[str] = ()
    ) -> Locked:
        """Find packages that meet requirements and go together with the kernels' own.

        Args:
            requirements: as in PEP 508, without URLs.
            keep: the text of an earlier lock; its versions are preferred.
            upgrade: names whose earlier versions are not preferred; the index is asked anew.

        Raises:
            InstallFailed: there are none, or the index doesn't answer.
        """
        wanted = read_requirements(requirements)
        if not wanted:
            return Locked("", ())
        newer = tuple(sorted({name_of(each) for each in read_requirements(upgrade)}))
        question = wanted, read_lock(keep).text, newer
        if remembered := self._recall(question):
            return remembered
        return await self._resolving.join(question, lambda: self._resolve(question))

    def _recall(self, question: _Question) -> Locked | None:
        if question[2] or (found := self._remembered.get(question)) is None:
            return None
        at, locked = found
        if time.monotonic() - at > _FRESH_S:
            del self._remembered[question]
            return None
        self._remembered.move_to_end(question)
        return locked

    async def _resolve(self, question: _Question) -> Locked:
        wanted, _, newer = question
        names = [name_of(each) for each in wanted]
        fresh = not newer and await asyncio.to_thread(self._are_fresh, names)
        if fresh or self._offline:
            try:
                return self._remember(question, await self._compile(question, None))
            except InstallFailed as failure:
                if self._offline or failure.kind in ("too_large", "timeout", "disk"):
                    raise
        locked = await self._compile(question, self._locate(names))
        await asyncio.to_thread(self._mark_fresh, names)
        return self._remember(question, locked)

    def _remember(self, question: _Question, locked: Locked) -> Locked:
        self._remembered[question] = time.monotonic(), locked
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        return locked

    async def _compile(self, question: _Question, locate: Locate | None) -> Locked:
        wanted, keep, newer = question
        async with self._turn(locate), self._runner.stage() as stage:
            here = self._runner.sandbox.inside("stage", stage.name)
            pins = "".join(f"{name}=={version}\n" for name, version in self.core().items())
            (stage / "wanted.txt").write_text("\n".join(wanted) + "\n")
            (stage / "core.txt").write_text(pins)
            (stage / "lock.txt").write_text(keep)
            arguments = ["pip", "compile", f"{here}/wanted.txt", "--output-file"]
            arguments += [f"{here}/lock.txt", "--constraints", f"{here}/core.txt", *_WHEELS_ONLY]
            arguments += ["--generate-hashes", "--no-header", "--no-annotate"]
            arguments += ["--python", self._runner.sandbox.python]
            for name in self.core():
                arguments += ["--no-emit-package", name]
            for name in newer:
                arguments += ["--upgrade-package", name]
            await self._run(arguments, stage, locate)
            text = await asyncio.to_thread(_read, stage / "lock.txt")
        return read_lock(text, without=self.core())

    def _are_fresh(self, names: Sequence[str]) -> bool:
        """Whether the index has been asked about all of these lately."""
        oldest = time.time() - _FRESH_S
        try:
            return all(self._mark(name).stat().st_mtime > oldest for name in names)
        except OSError:
            return False

    def _mark_fresh(self, names: Sequence[str]) -> None:
        for name in names:
            self._mark(name).touch()

    def _mark(self, name: str) -> Path:
        return self._root / "known" / "asked" / name[:200]

    # -- building --------------------------------------------------------------------------------

    async def build(self, locked: Locked) -> Layer:
        """Have a layer of these packages: the one there is, or a new one.

        Raises:
            InstallFailed: it can't be made.
        """
        checked = read_lock(locked.text)
        if checked.packages != locked.packages or any(n in self.core() for n, _ in locked.packages):
            raise InstallFailed("bad", "", "this is no lock")
        layer_id = self._layers.name(checked)
        return await self._building.join(layer_id, lambda: self._build(layer_id, checked))

    async def _build(self, layer_id: str, locked: Locked) -> Layer:
        found = await asyncio.to_thread(self._layers.find, layer_id)
        if found is not None:
            return found
        if not locked.packages:
            return await self._adopt(Path(), locked)
        try:
            return self._compiled_later(await self._install(locked, None))
        except InstallFailed as failure:
            # Whatever uv says of what it lacks: the network may have it.
            if self._offline or failure.kind in ("too_large", "timeout", "disk"):
                raise
            if failure.kind == "unsafe" and failure.subject in dict(locked.packages):
                raise
        names = sorted(name for name, _ in locked.packages)
        async with AsyncExitStack() as stack:
            for name in names:  # who wants the same file waits for it, and finds it in the cache
                lock = self._downloading.setdefault(name, asyncio.Lock())
                await stack.enter_async_context(lock)
            return self._compiled_later(await self._install(locked, self._locate(names)))

    def _compiled_later(self, layer: Layer) -> Layer:
        """Have the bytecode of a large layer written; nobody waits for that."""
        if layer.size_bytes > bytecode.WORTH_BYTES:
            task = asyncio.create_task(self._compile_layer(layer))
            self._compiling.add(task)
            task.add_done_callback(self._compiling.discard)
        return layer

    async def _compile_layer(self, layer: Layer) -> None:
        try:
            async with self._one_compiler:
                source = await asyncio.to_thread(bytecode.source_bytes, layer.path)
                if source < bytecode.WORTH_BYTES:
                    return
                async with self._runner.stage() as stage:
                    compiled = await self._runner.compile(layer.path, stage=stage)
                    count = await asyncio.to_thread(bytecode.put, compiled, layer.path)
                log.info("a layer was compiled", files=count)
        except InstallFailed as failure:
            log.info("a layer was not compiled", kind=failure.kind)
        except OSError:
            log.exception("a layer was not compiled")

    async def _install(self, locked: Locked, locate: Locate | None) -> Layer:
        async with self._turn(locate), self._runner.stage() as stage:
            here = self._runner.sandbox.inside("stage", stage.name)
            (stage / "lock.txt").write_text(locked.text)
            arguments = ["pip", "install", "--requirements", f"{here}/lock.txt"]
            arguments += ["--target", f"{here}/layer", "--no-deps", "--require-hashes"]
            arguments += [*_WHEELS_ONLY, "--python", self._runner.sandbox.python]
            await self._run(arguments, stage, locate)
            return await self._adopt(stage / "layer", locked)

    async def _adopt(self, staged: Path, locked: Locked) -> Layer:
        try:
            return await asyncio.to_thread(self._layers.adopt, staged, locked)
        except OSError as error:
            log.exception("a layer could not be made")
            raise InstallFailed("disk" if error.errno in (28, 122) else "internal") from error

    # -- both ------------------------------------------------------------------------------------

    def _turn(self, locate: Locate | None) -> asyncio.Semaphore:
        """Wait here for one's turn; what the cache has doesn't wait for downloads."""
        return self._offline_runs if locate is None else self._online_runs

    async def _run(self, arguments: Sequence[str], stage: Path, locate: Locate | None) -> None:
        core = f"file://{self._runner.sandbox.inside('known', self._core.index.name)}"
        environ = self._reach.indexes.environ(core)
        self._running += 1
        try:
            written = await self._runner.run(arguments, stage=stage, environ=environ, locate=locate)
        except BaseException:
            self._untidy = True
            raise
        finally:
            self._running -= 1
            if self._untidy and not self._running:
                # uv was ended in the middle: nobody else has use for what it was unpacking.
                self._untidy = False
                left = unfinished(self._root / "cache")
                await asyncio.shield(asyncio.to_thread(remove_all, left))
        if self._cache_bytes is not None:
            self._cache_bytes += written

    def _locate(self, names: Sequence[str]) -> Locate:
        """Who may be reached for these packages' sake."""

        async def locate(place: indexes.Place) -> tuple[str, ...] | None:
            if self._reach.configured(place):
                return ()
            return await self._reach.learn(place, names)

        return locate

    # -- room ------------------------------------------------------------------------------------

    async def prune(self, in_use: Collection[str]) -> None:
        """Remove what is too much: layers unused for longest, then the cache of downloads.

        Args:
            in_use: names of layers that stay, whatever they take.
        """
        async with self._pruning:
            await asyncio.to_thread(self._layers.prune, in_use, self._limits.layers)
            if not await self._cache_is_full():
                return
            # Only what no layer shares makes room when it goes.
            if await asyncio.to_thread(self._layers.prune, in_use, 0):
                self._cache_bytes = None
            await self._empty_cache()

    async def _cache_is_full(self) -> bool:
        if self._cache_bytes is None or self._cache_bytes > self._limits.cache_bytes:
            self._cache_bytes = await asyncio.to_thread(size_on_disk, self._root / "cache")
        return self._cache_bytes > self._limits.cache_bytes

    async def _empty_cache(self) -> None:
        """Remove all that was downloaded, while uv doesn't run."""
        async with AsyncExitStack() as stack:
            for semaphore in (self._online_runs, self._offline_runs):
                for _ in range(self._limits.concurrent):
                    await stack.enter_async_context(semaphore)
            await asyncio.to_thread(empty_cache, self._root / "cache")
            self._cache_bytes = None
            log.info("the cache of packages was emptied")


def _uv_program() -> Path:
    return Path(uv.find_uv_bin()).resolve()


def _prepare(root: Path, environment: KernelEnvironment) -> tuple[Path, Core]:
    root = root.resolve()
    for directory in (root, root / "known", root / "known" / "asked"):
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    return root, Core.read(environment, root / "known")


def _read(path: Path) -> str:
    if path.is_symlink() or path.stat().st_size > _LONGEST_LOCK:
        raise InstallFailed("internal", "", "uv wrote no lock")
    return path.read_text()
