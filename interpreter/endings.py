"""How a cell ended, as a status, and as sentences for the person who sent it. Pure."""

from dataclasses import replace

from interpreter.execution import Execution, SkippedArtifact, Status
from interpreter.hosts.base import KernelExit
from interpreter.kernel import CellEnd
from interpreter.limits import Limits

_SIGNAL_NAMES = {
    4: "an illegal instruction",
    6: "an abort from C code",
    7: "a bus error",
    8: "a floating-point trap",
    9: "signal 9 (kill)",
    11: "a segmentation fault",
    15: "signal 15 (terminate)",
}
_MOST_NAMED_FILES = 3
_DISK_CAUSES = ("room", "files", "disk")

CLOSED = "The session was closed while the cell ran."
RESTARTED = "The kernel was restarted while the cell ran: the variables are gone."
ABANDONED = "An earlier cell was given up and had to be ended with its kernel."
NOT_RUN = "Nothing of the cell was run."
NEVER_BEGUN = "The cell was interrupted before it began."
LEFT = "The kernel ended with a cell that ran while the service was being restarted."
ENDED_MEANWHILE = "The kernel ended while the service was not running."
DEAF = "The kernel did not answer after the service had been restarted, so it was ended."
#: How a sentence ends that says why a kernel was stopped, if no file is gone.
FILES_STAY = "; the files stay."
_RESULT_LOST = "The service was restarted before this cell's result was handed on, and it is lost"
_NOBODY_THERE = (
    "The cell asked for input() when the service was restarted, and nobody could answer: run it "
    "again."
)
DIRECTORY_GONE = (
    "The working directory is gone, with the files in it; what was uploaded or handed out is still "
    "there."
)
_GONE = "The variables are gone; the files are still there."
_VARIABLES_GONE = "The variables are gone."
_GONE_IN_PART = (
    "The variables are gone; what was saved of them is restored with the next cell, if possible."
)
_FILES_THERE = "The files are still there."
_LAST_FILES_GONE = "files that were written last are gone; earlier ones are still there."


def status_of(end: CellEnd) -> Status:
    """The status of a cell that ended so."""
    if end.timed_out:
        return "timeout"
    if end.exit is not None:
        return "died"
    reply = end.reply or {}
    if reply.get("status") == "ok":
        return "ok"
    stopped = end.interrupted or end.input_timed_out
    # Code that is interrupted may well turn that into an exception of its own.
    return "interrupted" if stopped else "error"


def sentence_about(
    end: CellEnd,
    *,
    timeout_s: float,
    input_timeout_s: float,
    limits: Limits,
    has_saved: bool = False,
) -> str | None:
    """What a person should know about how the cell ended; None if nothing needs saying.

    Args:
        end: how it ended.
        timeout_s: the deadline it had, in seconds.
        input_timeout_s: how long an answer to its ``input()`` could take, in seconds.
        limits: the kernel's.
        has_saved: whether a new kernel gets variables that were saved.
    """
    if end.timed_out:
        limit = f"{timeout_s:g} s"
        if end.exit is None:
            return f"The cell was stopped after {limit}, the time limit. The variables are kept."
        how = (
            f"The cell ran past the time limit of {limit} and could not be interrupted, so the "
            "kernel was replaced by a new one"
        )
        if (files := sentence_about_left_files(end.exit, limits=limits)) is not None:
            return f"{how}. {_GONE_IN_PART if has_saved else _VARIABLES_GONE} {files}"
        if has_saved:
            return f"{how}. {_GONE_IN_PART} {_FILES_THERE}"
        return f"{how}: the variables are gone, the files are still there."
    if end.exit is not None:
        how = sentence_about_death(end.exit, limits=limits)
        lost = " What it printed last is missing." if end.output_lost else ""
        gone = f"{_GONE_IN_PART} {_FILES_THERE}" if has_saved else _GONE
        if end.exit.cause in _DISK_CAUSES and not _ended_itself(end.exit):
            gone = (
                f"{_GONE_IN_PART} The files that the cell wrote last are gone; earlier ones are "
                "still there."
                if has_saved
                else "The variables and the files it wrote last are gone; earlier files are still "
                "there."
            )
        elif (files := sentence_about_left_files(end.exit, limits=limits)) is not None:
            gone = f"{_GONE_IN_PART if has_saved else _VARIABLES_GONE} {files}"
        return f"{how} {gone}{lost}"
    if end.input_timed_out:
        waited = f"{input_timeout_s:g} s"
        return f"Nobody answered the cell's input() within {waited}, so it was interrupted."
    if end.output_lost:
        if has_saved:
            return (
                "The connection to the kernel broke, so it was replaced by a new one, and some of "
                f"the cell's output may be missing. {_GONE_IN_PART} {_FILES_THERE}"
            )
        return (
            "The connection to the kernel broke, so it was replaced by a new one: the variables "
            "are gone, the files are still there, and some of the cell's output may be missing."
        )
    if status_of(end) == "interrupted":
        return "The cell was interrupted. The variables are kept."
    return None


def with_nobody_there(execution: Execution) -> Execution:
    """The result of a cell that was interrupted because there was nobody to answer it."""
    if execution.status not in ("error", "interrupted"):
        return execution
    message = " ".join(filter(None, (_NOBODY_THERE, execution.message)))
    return replace(execution, status="interrupted", message=message)


def lost_result(
    code: str, how: str | None, *, has_saved: bool = False, has_files: bool = True
) -> Execution:
    """The result of a cell that ran when an earlier service ended, and of which nothing is left.

    Args:
        code: the cell.
        how: how its kernel ended, in a sentence; None if it lives.
        has_saved: whether a new kernel gets variables that were saved.
        has_files: whether the working directory is there with its files; what is gone of them is
            told with the next cell, since a result may be given more than once.
    """
    if how is None:
        files = "; the files are still there." if has_files else "."
        return Execution(status="died", code=code, message=f"{_RESULT_LOST}{files}")
    if has_files:
        gone = f"{_GONE_IN_PART} {_FILES_THERE}" if has_saved else _GONE
    else:
        gone = _GONE_IN_PART if has_saved else _VARIABLES_GONE
    return Execution(status="died", code=code, state_lost=True, message=f"{how} {gone}")


def sentence_about_death(how: KernelExit, *, limits: Limits) -> str:
    """Why a kernel ended.

    Args:
        how: what its host reported.
        limits: the kernel's.
    """
    if _ended_itself(how):
        if how.signal is None:
            return f"The kernel ended itself (exit status {how.code})."
        name = _SIGNAL_NAMES.get(how.signal, f"signal {how.signal}")
        return f"The kernel was ended by {name}."
    reason = {
        "memory": f"it used more memory than its limit of {_megabytes(limits.memory_bytes)}",
        "room": f"its files took more room than its limit of {_megabytes(limits.disk_bytes)}",
        "files": (
            f"it made more files than its limit of {limits.disk_files}, or directories in "
            "directories without end"
        ),
        "processes": f"it had more processes than its limit of {limits.processes}",
        "machine": "all kernels together used more memory than this machine has for them",
        "disk": "the disk of this machine is nearly full, and it was writing most to it",
    }.get(how.cause)
    return (
        "The kernel was stopped." if reason is None else f"The kernel was ended because {reason}."
    )


def _ended_itself(how: KernelExit) -> bool:
    """Whether no limit ended it; it may have left too many files all the same."""
    if how.cause in _DISK_CAUSES:
        return how.code is not None or how.signal not in (None, 9)
    return how.cause == "exited" or (how.cause == "signal" and how.signal is not None)


def sentence_about_lost_files(how: KernelExit, *, limits: Limits) -> str | None:
    """What is gone of the files where a kernel ended between cells; None for nothing.

    Said after :func:`sentence_about_death`, whose reason it doesn't repeat.
    """
    files = sentence_about_left_files(how, limits=limits)
    return files if files is None or _ended_itself(how) else f"The {_LAST_FILES_GONE}"


def sentence_about_left_files(how: KernelExit | None, *, limits: Limits) -> str | None:
    """The same where something else is told of its end, such as that it was stopped: with why.

    Args:
        how: what its host reported: a limit, if it had left more than that allows; None while it
            lives.
        limits: the kernel's.
    """
    reason = {
        "room": (
            "The last kernel's files took more room than its limit of "
            f"{_megabytes(limits.disk_bytes)}"
        ),
        "files": (
            f"The last kernel had left more files than its limit of {limits.disk_files}, or "
            "directories in directories without end"
        ),
        "disk": "The last kernel was writing most to this machine's disk when that was nearly full",
    }.get("" if how is None else how.cause)
    return None if reason is None else f"{reason}: the {_LAST_FILES_GONE}"


def with_more_files_gone(untold: str | None, sentence: str | None) -> str | None:
    """What is to be told of files that are gone.

    Args:
        untold: what was to be told before.
        sentence: what has come to it, if anything.
    """
    if untold is None or sentence is None:
        return untold or sentence
    return untold if sentence in untold else f"{untold} {sentence}"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):g} MB"


def sentence_about_skipped(skipped: tuple[SkippedArtifact, ...]) -> str | None:
    """Which files were not handed out, and why; None if there are none."""
    if not skipped:
        return None
    named = "; ".join(f"{file.name}: {file.reason}" for file in skipped[:_MOST_NAMED_FILES])
    rest = len(skipped) - _MOST_NAMED_FILES
    more = f"; and {rest} more" if rest > 0 else ""
    return f"Not handed out: {named}{more}."
