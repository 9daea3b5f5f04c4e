"""One run of uv: started in its sandbox, watched, and ended with all that it started."""

import array
import asyncio
import os
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from interpreter.hosts.installing import bytecode
from interpreter.hosts.installing.failures import explain
from interpreter.hosts.installing.proxy import Locate, Proxy
from interpreter.hosts.installing.sandbox import UvSandbox
from interpreter.hosts.installing.terms import InstallFailed, InstallLimits
from interpreter.logs import get_logger

log = get_logger(__name__)

_POLL_S = 0.2
_LAUNCH_S = 15.0
_KEPT_BYTES = 64 << 10
#: What uv writes besides packages: pages of the index, records of what it installed.
SLACK_BYTES = 64 << 20
_SLACK_FILES = 2
_TOO_LONG = {128 + signal.SIGXFSZ, -signal.SIGXFSZ}
_MEMORY = {128 + signal.SIGABRT, -signal.SIGABRT}


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs uv.

    Attributes:
        sandbox: what it runs in.
        limits: what a run may take.
        core: versions of the kernels' packages, to explain conflicts with.
    """

    sandbox: UvSandbox
    limits: InstallLimits
    core: Mapping[str, str]

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Path]:
        """A directory for one run, removed at the end."""
        stage = Path(tempfile.mkdtemp(dir=self.sandbox.root / "stage"))
        try:
            yield stage
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, stage, ignore_errors=True))

    async def run(
        self,
        arguments: Sequence[str],
        *,
        stage: Path,
        environ: Mapping[str, str],
        locate: Locate | None,
    ) -> int:
        """Run uv to its end.

        Args:
            arguments: uv's.
            stage: the directory of this run.
            environ: of uv, in addition to what it always has.
            locate: who may be reached; None runs without network.

        Returns:
            How many bytes it wrote at least, if it took long enough to be looked at.

        Raises:
            InstallFailed: it failed, or went beyond a limit.
        """
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                if locate is None:
                    program = self.sandbox.uv_program([*arguments, "--offline"])
                    return await self._go(self.sandbox.command(program), stage, environ, None)
                async with self._online(locate) as (proxy, control, port):
                    command = self.sandbox.command(
                        self.sandbox.uv_program(arguments),
                        control=control.fileno() if control else None,
                        port=port,
                    )
                    signed = {**environ, **_proxy_environ(proxy, port)}
                    return await self._go(command, stage, signed, proxy, control)
        except TimeoutError as error:
            raise InstallFailed("timeout") from error

    async def compile(self, layer: Path, *, stage: Path) -> Path:
        """Compile what is in a layer, as far as it can be, and in no hurry.

        Returns:
            The tree of bytecode, below the stage.

        Raises:
            InstallFailed: it went beyond a limit.
        """
        here, there = self.sandbox.inside("stage", stage.name), self.sandbox.layer_inside(layer)
        program = ["/usr/bin/nice", "-n", "19", self.sandbox.python]
        program += bytecode.command(there, f"{here}/bytecode")
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                await self._go(self.sandbox.command(program, layer=layer), stage, {}, None)
        except TimeoutError as error:
            raise InstallFailed("timeout") from error
        except InstallFailed as failure:
            if failure.kind == "too_large":
                raise
            # Some packages have files that are no Python of this version.
        return stage / "bytecode" / there.lstrip("/")

    @asynccontextmanager
    async def _online(
        self, locate: Locate
    ) -> AsyncGenerator[tuple[Proxy, socket.socket | None, int]]:
        """A proxy, and how uv gets to it: a socket to hear from the launcher on, or a port."""
        proxy = Proxy(locate, self.limits.download_bytes)
        if self.sandbox.wrapped:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                ours.setblocking(False)
                accepting = asyncio.create_task(_serve_inside(proxy, ours))
                try:
                    yield proxy, theirs, 0
                finally:
                    accepting.cancel()
                    await asyncio.gather(accepting, return_exceptions=True)
        else:
            listener = socket.create_server(("127.0.0.1", 0), backlog=64)
            port = listener.getsockname()[1]
            async with proxy.serve(listener):
                yield proxy, None, port

    async def _go(
        self,
        command: Sequence[str],
        stage: Path,
        environ: Mapping[str, str],
        proxy: Proxy | None,
        control: socket.socket | None = None,
    ) -> int:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=stage,
            env={**self.sandbox.environ(), **environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=() if control is None else (control.fileno(),),
            start_new_session=True,
            umask=0o022,
        )
        if control is not None:
            control.close()
        reading = asyncio.create_task(_read_end(process))
        watch = _Watch(self, process, stage, proxy)
        watching = asyncio.create_task(watch.watch())
        try:
            await asyncio.wait({reading, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
            output = await reading
            code = await process.wait()
        finally:
            watching.cancel()
            await asyncio.shield(_end(process, reading))
            await asyncio.gather(watching, return_exceptions=True)
        if code != 0:
            raise self._failure(code, output, proxy)
        return watch.written_bytes

    def _failure(self, code: int, output: str, proxy: Proxy | None) -> InstallFailed:
        if proxy is not None and proxy.exceeded.is_set():
            return self.too_much_downloaded()
        failure = explain(output, self.core)
        if code in _TOO_LONG or (code in _MEMORY and "memory" in output):
            failure = InstallFailed("too_large", failure.subject)
        elif proxy is not None and proxy.refused:
            places = sorted({f"{host}:{port}" for host, port in proxy.refused})
            log.warning("uv wanted to reach others than the index", places=places[:5])
            detail = "its files are in a place that packages aren't taken from"
            failure = InstallFailed("unsafe", failure.subject, detail)
        told = re.sub(r"//[^/@\s]+@", "//***@", output[-2000:])
        say = log.debug if proxy is None else log.info  # without network it is often but a try
        say("uv failed", kind=failure.kind, subject=failure.subject, code=code, output=told)
        return failure

    def too_much_downloaded(self) -> InstallFailed:
        """More came from the network than may."""
        return InstallFailed(
            "too_large", "", f"more than {self.limits.download_bytes / 2**20:g} MB to download"
        )


def _proxy_environ(proxy: Proxy | None, port: int) -> dict[str, str]:
    if proxy is None:
        return {}
    if not port:  # the launcher makes the rest of it
        return {"PROXY_TOKEN": proxy.token}
    return dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"), proxy.url(port))


async def _serve_inside(proxy: Proxy, control: socket.socket) -> None:
    """Take the socket that the launcher listens on inside, and be the proxy there."""
    listener = await _receive_socket(control)
    if listener is None:  # it ended before: its output says why
        return
    async with proxy.serve(listener):
        await asyncio.Event().wait()


async def _receive_socket(control: socket.socket) -> socket.socket | None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(control, readable.set)
    try:
        await asyncio.wait_for(readable.wait(), _LAUNCH_S)
    except TimeoutError:
        return None
    finally:
        loop.remove_reader(control)
    size = array.array("i").itemsize
    _, ancillary, _, _ = control.recvmsg(64, socket.CMSG_SPACE(size))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            listener = socket.socket(fileno=array.array("i", data[:size])[0])
            listener.setblocking(False)
            return listener
    return None


async def _read_end(process: asyncio.subprocess.Process) -> str:
    """The end of what a process prints."""
    assert process.stdout is not None
    kept = b""
    while chunk := await process.stdout.read(1 << 16):
        kept = (kept + chunk)[-_KEPT_BYTES:]
    return kept.decode(errors="replace")


async def _end(process: asyncio.subprocess.Process, reading: asyncio.Task[str]) -> None:
    """End a process with all that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


@dataclass(slots=True)
class _Watch:
    """Looks after a run while it goes on."""

    runner: Runner
    process: asyncio.subprocess.Process
    stage: Path
    proxy: Proxy | None
    written_bytes: int = 0

    async def watch(self) -> None:
        """Return never.

        Raises:
            InstallFailed: the run has gone beyond a limit.
        """
        exceeded = asyncio.create_task(self.proxy.exceeded.wait()) if self.proxy else None
        try:
            while True:
                if exceeded is None:
                    await asyncio.sleep(_POLL_S)
                else:
                    await asyncio.wait({exceeded}, timeout=_POLL_S)
                    if exceeded.done():
                        raise self.runner.too_much_downloaded()
                await asyncio.to_thread(self._look)
        finally:
            if exceeded is not None:
                exceeded.cancel()

    def _look(self) -> None:
        limits = self.runner.limits
        most_bytes = limits.layer_bytes + limits.download_bytes + SLACK_BYTES
        pids = _tree(self.process.pid)
        self.written_bytes = max(self.written_bytes, sum(map(_written_bytes, pids)))
        if self.written_bytes > most_bytes:
            raise InstallFailed("too_large", "", f"more than {limits.layer_bytes / 2**20:g} MB")
        most_files = limits.layer_files * _SLACK_FILES
        unpacking = _open_below(pids, self.runner.sandbox.root / "cache")
        if any(_more_files(path, most_files) for path in (self.stage, *unpacking)):
            raise InstallFailed("too_large", "", f"more than {limits.layer_files} files")


def _tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found, pending = [], [pid]
    while pending:
        found.append(pending.pop())
        with suppress(OSError, ValueError):
            for task in Path(f"/proc/{found[-1]}/task").iterdir():
                pending += [int(child) for child in (task / "children").read_text().split()]
    return found


def _written_bytes(pid: int) -> int:
    """What a process has written so far."""
    with suppress(OSError, ValueError):
        found = re.search(r"^wchar: (\d+)", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def _open_below(pids: Sequence[int], cache: Path) -> list[Path]:
    """The temporary directories of the cache that processes have files open in.

    Several runs share the cache: this tells whose a directory is.
    """
    names = set()
    for pid in pids:
        with suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    path = os.readlink(f"/proc/{pid}/fd/{descriptor}")
                    names.update(re.findall(r"/cache/(\.tmp\w+)", path))
    return [cache / name for name in names]


def _more_files(directory: Path, most: int) -> bool:
    """Whether there are more files and directories than so many; stops counting then."""
    count = 0
    for _, directories, files in os.walk(directory):
        count += len(directories) + len(files)
        if count > most:
            return True
    return False
