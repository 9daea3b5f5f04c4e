"""Running uv and pip: progress, failures in plain words, one at a time."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from interpreter.installer import Downloads, InstallerFailed, exclusive, explain, run


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-c", code]


@pytest.fixture
def lock(tmp_path: Path) -> int:
    descriptor = os.open(tmp_path / "held", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("error: failed to write `x`: No space left on device (os error 28)", "the disk is full"),
        ("OSError: [Errno 122] Disk quota exceeded", "the disk is full"),
        (
            "  Caused by: client error (Connect)\n  Caused by: dns error\n  Caused by: failed to"
            " lookup address information: Temporary failure in name resolution",
            "the package index can't be reached",
        ),
        (
            "  Caused by: error sending request for url\n  Caused by: invalid peer certificate:"
            " UnknownIssuer",
            "the package index's certificate isn't trusted",
        ),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError:"
            " Failed to establish a new connection: [Errno 111] Connection refused'\nERROR: No"
            " matching distribution found for uv",
            "the package index can't be reached",
        ),
        (
            "error: Failed to download `six==1.16.0`\n  Caused by: Hash mismatch for `six`",
            "a downloaded package isn't the one that was locked",
        ),
        ("error: Permission denied (os error 13)", "a file or directory can't be written"),
        (
            "  x No solution found: because secantusdb==0.6.0b17 has no wheels with a matching"
            " Python ABI tag",
            "a locked package isn't offered for this Python on this machine",
        ),
        ("first\nsomething new went wrong\n\n", "something new went wrong"),
        ("", "it ended with status 2"),
    ],
)
def test_failures_are_explained_in_plain_words(output: str, reason: str) -> None:
    why, what_to_do = explain(output, 2)
    assert why == reason
    assert what_to_do


def test_an_installer_that_was_killed_is_not_blamed_on_its_output() -> None:
    why, what_to_do = explain("Downloading: timed out once, going on", -signal.SIGKILL)
    assert why == "it was ended by SIGKILL"
    assert "memory" in what_to_do


def test_downloads_are_summed_up_to_how_far_they_have_come() -> None:
    downloads = Downloads()
    lines = [
        "Resolved 50 packages in 1s",
        "Downloading pyarrow (52.5MiB)",
        "Downloading small (512.0KiB)",
        "Downloading huge (1.0GiB)",
        " Downloaded pyarrow",
        "Prepared 50 packages in 2s",
        " Downloaded huge",
        " Downloaded small",
    ]
    assert [downloads.read(line) for line in lines] == [
        *(None, "0 of 52 MiB", "0 of 53 MiB", "0 of 1077 MiB", "52 of 1077 MiB"),
        *(None, "1076 of 1077 MiB", "1077 of 1077 MiB"),
    ]


async def test_lines_come_as_they_are_printed_and_the_last_ones_are_returned(
    tmp_path: Path, lock: int
) -> None:
    seen: list[str] = []
    code = "import sys; print('one'); print('two', file=sys.stderr, flush=True)"
    output = await run(python(code), cwd=tmp_path, lock=lock, on_line=seen.append)
    assert sorted(seen) == sorted(output.splitlines()) == ["one", "two"]


async def test_failure_carries_what_was_printed(tmp_path: Path, lock: int) -> None:
    with pytest.raises(InstallerFailed) as failed:
        await run(python("print('disk: no space left'); exit(3)"), cwd=tmp_path, lock=lock)
    assert failed.value.reason == "the disk is full"
    assert failed.value.output == "disk: no space left"


async def test_a_program_that_is_not_there_is_a_failure_like_others(
    tmp_path: Path, lock: int
) -> None:
    with pytest.raises(InstallerFailed, match="can't be started"):
        await run([str(tmp_path / "uv")], cwd=tmp_path, lock=lock)


async def test_what_is_installed_can_be_read_by_all_whatever_the_umask(
    tmp_path: Path, lock: int
) -> None:
    before = os.umask(0o077)
    try:
        await run(python("open('made', 'w')"), cwd=tmp_path, lock=lock)
    finally:
        os.umask(before)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o644


async def test_cancelling_ends_the_program(tmp_path: Path, lock: int) -> None:
    started = asyncio.Event()
    pid: list[int] = []

    def on_line(line: str) -> None:
        pid.append(int(line))
        started.set()

    code = "import os, signal, time; print(os.getpid(), flush=True); time.sleep(600)"
    running = asyncio.create_task(run(python(code), cwd=tmp_path, lock=lock, on_line=on_line))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(ProcessLookupError):
        os.kill(pid[0], 0)


async def test_the_second_waits_until_the_first_is_done(tmp_path: Path) -> None:
    waiting = asyncio.Event()
    order: list[str] = []

    async def second() -> None:
        async with exclusive(tmp_path / "lock", on_wait=waiting.set):
            order.append("second")

    async with exclusive(tmp_path / "lock", on_wait=lambda: order.append("must not wait")):
        task = asyncio.create_task(second())
        await waiting.wait()
        order.append("first")
    await task
    assert order == ["first", "second"]


async def test_the_lock_outlives_its_holder_as_long_as_the_program_runs(tmp_path: Path) -> None:
    # As after a kill -9 of the holder: its installer still writes, so nobody else may.
    path = tmp_path / "lock"
    read_end, write_end = os.pipe()
    async with exclusive(path, on_wait=lambda: None) as held:
        program = await asyncio.create_subprocess_exec(
            *python("import sys; sys.stdin.read()"), stdin=read_end, pass_fds=(held,)
        )
    os.close(read_end)
    waiting = asyncio.Event()

    async def next_one() -> None:
        async with exclusive(path, on_wait=waiting.set):
            assert program.returncode is not None or await program.wait() == 0

    task = asyncio.create_task(next_one())
    await waiting.wait()
    assert not task.done()
    os.close(write_end)
    await task
    await program.wait()
