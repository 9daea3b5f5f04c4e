"""Errors: one sentence for a person, facts for a program."""

import errno
import pickle
from pathlib import Path

import pytest

from interpreter import errors
from interpreter.errors import (
    DatabaseUnavailable,
    DataDirectoryInUse,
    DataDirectoryUnusable,
    FileTooLarge,
    InterpreterError,
    InvalidName,
    InvalidRecord,
    KernelEnvironmentFailed,
    KernelStartFailed,
    NoCapacity,
    PackagesDisabled,
    QueueFull,
    SandboxUnavailable,
    SessionClosed,
    SettingProblem,
    SettingsError,
    StorageFailed,
    StoredFileNotFound,
    UnusableSource,
)

EXAMPLES: list[InterpreterError] = [
    SettingsError([SettingProblem("WARM_KERNELS", "x", "a whole number")]),
    DatabaseUnavailable("mongodb://db", "nothing answered"),
    DataDirectoryUnusable(Path("/d"), "it is not a directory"),
    DataDirectoryInUse(Path("/d"), 7),
    DataDirectoryInUse(Path("/d"), None),
    StoredFileNotFound("abc"),
    FileTooLarge("a.csv", 11, 10),
    FileTooLarge("a.csv", None, 10),
    InvalidName("../x", "it has a slash"),
    InvalidRecord("a value is a mapping"),
    UnusableSource(Path("/d"), "it is a directory, not a file"),
    StorageFailed("a.csv", "Input/output error"),
    StorageFailed("a.csv", "No space left on device", disk_full=True),
    SandboxUnavailable("bwrap is missing", "Install bubblewrap."),
    KernelEnvironmentFailed("installing", "no network", "Try again."),
    KernelStartFailed("it died"),
    QueueFull(0),
    QueueFull(1),
    QueueFull(5),
    SessionClosed("42"),
    PackagesDisabled(),
    NoCapacity(1),
    NoCapacity(4),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_error_crosses_processes_with_its_facts(error: InterpreterError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_error_reads_as_one_sentence_or_more_of_plain_text(error: InterpreterError) -> None:
    text = str(error)
    assert text.endswith(".")
    assert ".." not in text.replace("'../x'", "")
    assert "None" not in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (1, "The only kernel this service may run is in use; try again later."),
        (2, "All 2 kernels this service may run are in use; try again later."),
    ],
)
def test_user_without_a_place_reads_a_whole_sentence(limit: int, said: str) -> None:
    assert str(NoCapacity(limit)) == said


def test_every_error_is_an_interpreter_error_and_has_an_example() -> None:
    public = [getattr(errors, name) for name in errors.__all__ if name != "SettingProblem"]
    assert all(issubclass(error, InterpreterError) for error in public)
    # Those that people meet: one may have kinds of its own for who raises it.
    leaves = {error for error in public if not {*error.__subclasses__()} & {*public}}
    assert leaves == {type(error) for error in EXAMPLES}


def test_settings_error_names_every_problem_on_a_line_of_its_own() -> None:
    error = SettingsError(
        [SettingProblem("A", "1", "a number above 1"), SettingProblem("B", None, "an address")]
    )
    assert str(error).splitlines() == [
        "2 settings can't be used:",
        "  A is '1', but it must be a number above 1.",
        "  B (its value is not shown) must be an address.",
    ]


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1025, "1.1 KiB"),
        (50 << 20, "50 MiB"),
        ((50 << 20) + 1, "50.1 MiB"),
        (3 << 30, "3 GiB"),
    ],
)
def test_size_is_never_said_to_be_less_than_it_is(size: int, said: str) -> None:
    assert f"({said})" in str(FileTooLarge("a", size, 1))


@pytest.mark.parametrize(
    ("number", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)]
)
def test_full_disk_is_told_from_a_broken_one(number: int, full: bool) -> None:
    error = StorageFailed.from_os_error("a.csv", OSError(number, "whatever"))
    assert error.disk_full is full
    assert ("the disk is full" in str(error)) is full
