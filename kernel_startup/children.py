"""Calling a function in a child process that may crash, hang or eat memory without harm.

The child is a fork: what it needs should be imported before. It is killed when its time is over,
when the user interrupts, and with its parent.
"""

import ctypes
import faulthandler
import mmap
import os
import pickle
import resource
import select
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from kernel_startup.fileinfo import size_in_words

#: Source: prctl(2).
_PR_SET_PDEATHSIG = 1
#: Of a process on a machine with 48-bit addresses.
_LARGEST_SPACE = 1 << 47


class ChildEnded(Exception):
    """A child came to nothing; the message says why."""


def call_in_child(call: Callable[[], Any], *, max_bytes: int, max_s: float) -> Any:
    """What `call()` returns or raises, pickled on its way.

    Args:
        call: What to do. What it prints is lost.
        max_bytes: Memory it may take beyond what this process has.
        max_s: Seconds it may take.

    Raises:
        ChildEnded: It crashed, or took more time or memory than it may.
        OSError: No further process can be started.
    """
    with tempfile.TemporaryFile(prefix="load_file-") as handed:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the child runs this thread only
            child = os.fork()
        if child == 0:
            _work(handed, max_bytes, call)
        status = _wait(child, max_s)
        if status:
            raise ChildEnded(_end(status, max_s))
        handed.seek(0)
        try:
            succeeded, result = pickle.load(handed)
        except (EOFError, pickle.UnpicklingError):
            if status == 0:
                raise
            raise ChildEnded("its reader ended too early") from None
    if succeeded:
        return result
    raise result


def _work(handed: BinaryIO, max_bytes: int, call: Callable[[], Any]) -> NoReturn:
    """What the child does: it never returns, as the kernel's own code would go on twice."""
    status = 1
    try:
        become_harmless(max_bytes)
        try:
            outcome = (True, call())
        except MemoryError:
            outcome = (False, MemoryError(f"it takes more than {size_in_words(max_bytes)}"))
        except Exception as error:
            outcome = (False, _plain(error))
        # Written as it is pickled: a table isn't held twice.
        pickle.dump(outcome, handed, protocol=5)
        handed.flush()
        status = 0
    finally:
        os._exit(status)


def become_harmless(max_bytes: int) -> None:
    """In a child: end with its parent, say nothing, and take no more memory than this on top."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setpgid(0, 0)  # an interrupt goes to the kernel's group, and is for the cell
    faulthandler.disable()  # its end is expected, and nobody's business
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    most = _mapped_bytes() + max_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # if memory runs out all the same, it isn't the kernel that goes
        Path("/proc/self/oom_score_adj").write_text("1000")
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 -- for good


def _mapped_bytes() -> int:
    """The size of this process's address space, in bytes."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # under Landlock there is no /proc
        return measured_bytes()
    return pages * resource.getpagesize()


def measured_bytes() -> int:
    """The same, found by the limit that leaves room for no further page. For a process of its own.

    Whatever else maps memory meanwhile would fail.
    """
    before = resource.getrlimit(resource.RLIMIT_AS)
    page = resource.getpagesize()
    most = _LARGEST_SPACE if before[1] == resource.RLIM_INFINITY else before[1]
    too_low, enough = 0, most // page
    try:
        while enough - too_low > 1:
            middle = (too_low + enough) // 2
            resource.setrlimit(resource.RLIMIT_AS, (middle * page, before[1]))
            try:
                mmap.mmap(-1, page).close()
                enough = middle
            except OSError:
                too_low = middle
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    return too_low * page


def _plain(error: Exception) -> Exception:
    """An error that can be handed over, which says the same."""
    error.__cause__ = error.__context__ = None
    try:
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return error
    except Exception:
        pass
    return ValueError(str(error) or type(error).__name__)


def _wait(child: int, max_s: float) -> int | None:
    """How the child ended; it's killed when its time is over or when the user interrupts.

    None if nobody knows: a cell may have the system bury all children.
    """
    over = False
    try:
        over = _ends_in(child, max_s)
    finally:
        if not over:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        status = _buried(child)
    return status if over else signal.SIGKILL


def _ends_in(child: int, max_s: float) -> bool:
    try:
        ended = os.pidfd_open(child)
    except ProcessLookupError:  # buried already
        return True
    try:
        return bool(select.select([ended], [], [], max_s)[0])
    finally:
        os.close(ended)


def _buried(child: int) -> int | None:
    try:
        return os.waitpid(child, 0)[1]
    except ChildProcessError:
        return None


def _end(status: int, max_s: float) -> str:
    if not os.WIFSIGNALED(status):
        return "its reader needs more memory than it may take"
    number = os.WTERMSIG(status)
    if number == signal.SIGKILL:
        return f"its reader was stopped: it took more than {max_s:.0f} s, or all the memory"
    return f"its reader was ended by signal {number}"
