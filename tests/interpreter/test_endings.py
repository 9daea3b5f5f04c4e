"""What is said of how cells and kernels ended; no kernel is needed."""

import pytest

from interpreter import endings
from interpreter.hosts.base import ExitCause, KernelExit
from interpreter.kernel import CellEnd
from interpreter.limits import Limits

LIMITS = Limits(disk_bytes=64 << 20, disk_files=50_000)
ROOM = (
    "The last kernel's files took more room than its limit of 64 MB: the files that were written "
    "last are gone; earlier ones are still there."
)
FILES = (
    "The last kernel had left more files than its limit of 50000, or directories in directories "
    "without end: the files that were written last are gone; earlier ones are still there."
)
LATE = (
    "The cell ran past the time limit of 2 s and could not be interrupted, so the kernel was "
    "replaced by a new one"
)


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        ("room", ROOM),
        ("files", FILES),
        ("stopped", None),
        ("exited", None),
        ("memory", None),
    ],
)
def test_files_that_a_stopped_kernel_left_too_many_are_told_with_the_reason(
    cause: ExitCause, sentence: str | None
) -> None:
    assert endings.sentence_about_left_files(KernelExit(cause), limits=LIMITS) == sentence


@pytest.mark.parametrize(
    ("untold", "sentence", "told"),
    [
        (None, None, None),
        (None, ROOM, ROOM),
        (ROOM, None, ROOM),
        (ROOM, ROOM, ROOM),
        (ROOM, FILES, f"{ROOM} {FILES}"),
        (f"{ROOM} {FILES}", ROOM, f"{ROOM} {FILES}"),
        (endings.DIRECTORY_GONE, ROOM, f"{endings.DIRECTORY_GONE} {ROOM}"),
    ],
)
def test_no_loss_of_files_hides_another(
    untold: str | None, sentence: str | None, told: str | None
) -> None:
    assert endings.with_more_files_gone(untold, sentence) == told


@pytest.mark.parametrize(
    ("cause", "has_saved", "sentence"),
    [
        ("stopped", False, f"{LATE}: the variables are gone, the files are still there."),
        ("files", False, f"{LATE}. The variables are gone. {FILES}"),
        (
            "room",
            True,
            f"{LATE}. The variables are gone; what was saved of them is restored with the next "
            f"cell, if possible. {ROOM}",
        ),
    ],
)
def test_cell_past_its_deadline_says_what_became_of_the_files(
    cause: ExitCause, has_saved: bool, sentence: str
) -> None:
    end = CellEnd(None, 1, KernelExit(cause), True, False, False, False, 2.0)
    said = endings.sentence_about(
        end, timeout_s=2.0, input_timeout_s=60.0, limits=LIMITS, has_saved=has_saved
    )
    assert said == sentence


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        (
            KernelExit("files", code=3),
            f"The kernel ended itself (exit status 3). The variables are gone. {FILES}",
        ),
        (
            KernelExit("room", signal=11),
            f"The kernel was ended by a segmentation fault. The variables are gone. {ROOM}",
        ),
        (
            KernelExit("room", signal=9),
            "The kernel was ended because its files took more room than its limit of 64 MB. The "
            "variables and the files it wrote last are gone; earlier files are still there.",
        ),
        (
            KernelExit("exited", code=3),
            "The kernel ended itself (exit status 3). The variables are gone; the files are still "
            "there.",
        ),
    ],
)
def test_kernel_that_ends_itself_over_a_limit_is_not_said_to_be_ended_for_it(
    how: KernelExit, sentence: str
) -> None:
    end = CellEnd(None, 1, how, False, False, False, False, 2.0)
    said = endings.sentence_about(end, timeout_s=2.0, input_timeout_s=60.0, limits=LIMITS)
    assert said == sentence


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        (KernelExit("files", code=3), FILES),
        (KernelExit("room", signal=9), f"The{ROOM.partition(': the')[2]}"),
        (KernelExit("exited", code=3), None),
    ],
)
def test_loss_between_cells_is_told_without_repeating_the_reason(
    how: KernelExit, sentence: str | None
) -> None:
    assert endings.sentence_about_lost_files(how, limits=LIMITS) == sentence


LOST = "The service was restarted before this cell's result was handed on, and it is lost"
PART = "The variables are gone; what was saved of them is restored with the next cell, if possible."


@pytest.mark.parametrize(
    ("how", "has_saved", "has_files", "sentence"),
    [
        (None, False, True, f"{LOST}; the files are still there."),
        (None, False, False, f"{LOST}."),
        (
            "It ended.",
            False,
            True,
            "It ended. The variables are gone; the files are still there.",
        ),
        ("It ended.", False, False, "It ended. The variables are gone."),
        ("It ended.", True, True, f"It ended. {PART} The files are still there."),
        ("It ended.", True, False, f"It ended. {PART}"),
    ],
)
def test_result_that_is_lost_says_nothing_of_files_that_are_gone(
    how: str | None, has_saved: bool, has_files: bool, sentence: str
) -> None:
    lost = endings.lost_result("x", how, has_saved=has_saved, has_files=has_files)
    assert (lost.message, lost.state_lost) == (sentence, how is not None)
