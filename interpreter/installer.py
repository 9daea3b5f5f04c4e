"""Run uv and pip: one at a time, with progress, and with failures a person can act on.

Standard library only, and imported by nothing at import time: `.make/setup.py` loads this file by
its path when nothing is installed yet; `kernel_env` uses it to build the kernels' environment.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

# Where Linux distributions keep the certificates they trust.
_CERTIFICATE_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

_DOWNLOAD_LINE = re.compile(r" ?Download(ing|ed) ")
_LOCK_POLL_S = 0.2
_KILL_GRACE_S = 2.0
_KEPT_LINES = 40

# What installers print -> (why it failed, what to do). The first match counts.
_FAILURES: tuple[tuple[str, str, str], ...] = (
    (
        r"no space left|disk quota exceeded",
        "the disk is full",
        "free about 2 GB (uv keeps its downloads in ~/.cache/uv, `uv cache clean` empties it)",
    ),
    (
        r"certificate|unknownissuer",
        "the package index's certificate isn't trusted",
        "behind a company's proxy, set SSL_CERT_FILE to a file with its certificates",
    ),
    (
        r"hash mismatch|do not match the hashes|hashes are required",
        "a downloaded package isn't the one that was locked",
        "try again; if it stays, the package index or a proxy alters files",
    ),
    (
        r"dns error|lookup address|name resolution|name or service not known|connection refused"
        r"|connection reset|network is unreachable|no route to host|timed out|timeout"
        r"|error sending request|failed to establish a new connection|could not connect"
        r"|tunnel|proxy",
        "the package index can't be reached",
        "check the network; behind a proxy set HTTPS_PROXY, for an index of your own"
        " UV_DEFAULT_INDEX and PIP_INDEX_URL",
    ),
    (
        r"permission denied|read-only file system|operation not permitted",
        "a file or directory can't be written",
        "see whose it is: it may be left from a run as another user",
    ),
    (
        r"no wheels|no matching distribution|no usable wheels|was not found in the package registry"
        r"|not supported|glibc|musl",
        "a locked package isn't offered for this Python on this machine",
        "use Python 3.11 to 3.13 on Linux with glibc, x86-64 or arm64",
    ),
)


class InstallerFailed(Exception):
    """A step that uv or pip carries out failed.

    Attributes:
        reason: Why, as a clause ("the disk is full").
        remedy: What a person can do about it, as a clause.
        output: The last lines the installer printed.
    """

    def __init__(self, reason: str, remedy: str, output: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy
        self.output = output


def certificate_bundle() -> str | None:
    """Find the machine's own certificates: a company's proxy is trusted there, if anywhere."""
    return next((path for path in _CERTIFICATE_BUNDLES if os.path.isfile(path)), None)


def uv_command(uv: str | Path, *arguments: str) -> list[str]:
    """Build the command line of a uv that says what it does and trusts whom the machine trusts."""
    # Without a bundle on the machine, uv's own list of certificates is the only one there is.
    trust = ["--system-certs"] if certificate_bundle() else []
    return [str(uv), *arguments, "--color", "never", "--no-python-downloads", *trust]


class Downloads:
    """Turns uv's lines about large downloads into how far they have come."""

    def __init__(self) -> None:
        self._pending: dict[str, float] = {}
        self._total_mib = 0.0

    def read(self, line: str) -> str | None:
        """Read a line uv printed; returns "78 of 167 MiB", or None if it says nothing new."""
        if found := re.fullmatch(r"Downloading (\S+) \(([\d.]+)(KiB|MiB|GiB)\)", line):
            size_mib = float(found[2]) * {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}[found[3]]
            self._pending[found[1]] = size_mib
            self._total_mib += size_mib
        elif found := re.fullmatch(r" Downloaded (\S+)", line):
            self._pending.pop(found[1], None)
        else:
            return None
        done_mib = self._total_mib - sum(self._pending.values())
        return f"{done_mib:.0f} of {self._total_mib:.0f} MiB"


def explain(output: str, returncode: int) -> tuple[str, str]:
    """Say why an installer failed and what to do, from what it printed."""
    if returncode < 0:
        name = signal.Signals(-returncode).name
        return f"it was ended by {name}", "see whether the machine ran out of memory, and try again"
    for pattern, reason, remedy in _FAILURES:
        if re.search(pattern, output, re.IGNORECASE):
            return reason, remedy
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "")
    return last.strip() or f"it ended with status {returncode}", "the output above may tell more"


@contextlib.asynccontextmanager
async def exclusive(path: Path, *, on_wait: Callable[[], None]) -> AsyncIterator[int]:
    """Hold a lock file, so that of several processes one works and the others wait.

    Args:
        path: The lock file; made if missing, never removed.
        on_wait: Called once if somebody else holds it.

    Yields:
        The file descriptor that holds the lock. Hand it to child processes: the lock then lasts
        until the last of them is gone, also if this process is killed and they live on.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        waited = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waited:
                    on_wait()
                    waited = True
                await asyncio.sleep(_LOCK_POLL_S)
        yield descriptor
    finally:
        os.close(descriptor)


async def run(
    command: Sequence[str],
    *,
    cwd: Path,
    lock: int,
    on_line: Callable[[str], None] = lambda line: None,
    environ: Mapping[str, str] | None = None,
) -> str:
    """Run an installer to its end.

    Args:
        command: Program and arguments.
        cwd: Its working directory.
        lock: Descriptor from `exclusive`, kept open by the program.
        on_line: Called with each line it prints, without the line's end.
        environ: Its environment; None hands on ours (proxies and indexes are set there).

    Returns:
        The last lines it printed.

    Raises:
        InstallerFailed: It can't be started, or ended with anything but 0.
    """
    kept: list[str] = []
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env=None if environ is None else dict(environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=(lock,),
            # Kernels run as another user: what is installed has to be readable by all.
            umask=0o022,
            limit=2**20,
        )
    except OSError as error:
        raise InstallerFailed(
            f"{command[0]} can't be started ({error.strerror})",
            "see whether that program is there and may be run",
            str(error),
        ) from error
    assert process.stdout is not None
    try:
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            on_line(line)
            if not _DOWNLOAD_LINE.match(line):  # would push out what says why it failed
                kept.append(line)
                del kept[:-_KEPT_LINES]
        returncode = await process.wait()
    finally:
        if process.returncode is None:
            await _end(process)
    output = "\n".join(kept).strip()
    if returncode != 0:
        raise InstallerFailed(*explain(output, returncode), output)
    return output


async def _end(process: asyncio.subprocess.Process) -> None:
    """End an installer whose caller gave up, so that it doesn't write on after us."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(asyncio.shield(process.wait()), _KILL_GRACE_S)
    except (TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
