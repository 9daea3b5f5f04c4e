"""Reading in a child process, for parsers that a damaged file makes crash, hang or eat memory."""

import faulthandler
import os
import pickle
import resource
import select
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from kernel_startup.errors import FileLoadError
from kernel_startup.source import Source

#: What a child may take beyond what it begins with.
MAX_BYTES = 8 << 30
#: How long a child may take for a file of no size, and how much of a file it reads in a second
#: at the very least.
_LEAST_S = 60
_BYTES_PER_S = 1 << 20


def read_in_child(
    source: Source,
    read: Callable[..., Any],
    *arguments: Any,
    max_bytes: int = MAX_BYTES,
    max_s: float | None = None,
    **options: Any,
) -> Any:
    """What `read(*arguments, **options)` returns, called in a child that may die of it.

    What it returns or raises is pickled. The child lives as long as the file's size warrants, or
    for max_s.

    Raises:
        FileLoadError: The child crashed, or took more time or memory than it may.
    """
    limit_s = max_s or _LEAST_S + source.size_bytes / _BYTES_PER_S
    with tempfile.TemporaryFile(prefix="load_file-") as handed:
        try:
            child = os.fork()
        except OSError:  # no more processes: then without
            return read(*arguments, **options)
        if child == 0:
            _work(handed, max_bytes, lambda: read(*arguments, **options))
        status = _wait(child, limit_s)
        if status != 0:
            raise FileLoadError(
                source.name, "damaged, or too large", "reading it", _end(status, limit_s)
            )
        handed.seek(0)
        succeeded, result = pickle.load(handed)
    if succeeded:
        return result
    raise result


def _work(handed: BinaryIO, max_bytes: int, read: Callable[[], Any]) -> NoReturn:
    """What the child does: it never returns, as the kernel's own code would go on twice."""
    status = 1
    try:
        faulthandler.disable()  # its end is expected, and nobody's business
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + max_bytes
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            outcome = (True, read())
        except MemoryError:
            outcome = (False, MemoryError(f"it takes more than {max_bytes >> 30} GiB"))
        except Exception as error:
            outcome = (False, _plain(error))
        # Written as it is pickled: a table isn't held twice.
        pickle.dump(outcome, handed, protocol=5)
        handed.flush()
        status = 0
    finally:
        os._exit(status)


def _plain(error: Exception) -> Exception:
    """An error that can be handed over, which says the same."""
    error.__cause__ = error.__context__ = None
    try:
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return error
    except Exception:
        pass
    return ValueError(str(error) or type(error).__name__)


def _wait(child: int, limit_s: float) -> int:
    """How the child ended; it's killed when its time is over or when the user interrupts."""
    status = None
    try:
        ended = os.pidfd_open(child)
        try:
            if not select.select([ended], [], [], limit_s)[0]:
                return signal.SIGKILL
        finally:
            os.close(ended)
        _, status = os.waitpid(child, 0)
        return status
    finally:
        if status is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _end(status: int, limit_s: float) -> str:
    if not os.WIFSIGNALED(status):
        return "its reader needs more memory than it may take"
    number = os.WTERMSIG(status)
    if number == signal.SIGKILL:
        return f"its reader was stopped: it took more than {limit_s:.0f} s, or all the memory"
    return f"its reader was ended by signal {number}"
