"""What is looked at when a disk is nearly full, and how little else."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel_startup import disk
from kernel_startup.sandboxes import descendants


def _used(directory: Path) -> int:
    files = disk._named([str(directory)])
    assert files is not None
    return sum(files.values())


def test_links_and_depth_do_not_lead_astray(tmp_path: Path) -> None:
    empty = _used(tmp_path)
    (tmp_path / "up").symlink_to("..")
    (tmp_path / "root").symlink_to("/")
    (tmp_path / "once").write_bytes(os.urandom(1 << 20))
    (tmp_path / "again").hardlink_to(tmp_path / "once")
    used = _used(tmp_path)
    assert 1 << 20 <= used - empty < 1.1 * (1 << 20)
    assert disk._named([str(tmp_path / "gone")]) == {}
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(50):  # deeper than a path can be long
            os.mkdir("d" * 200, dir_fd=here)
            below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
    finally:
        os.close(here)
    assert disk._named([str(tmp_path)]) is None


_MORE = (1 << 20) + 1


@pytest.mark.parametrize(
    ("room", "written", "used", "more"),
    [
        ((9, 0), (0, 1 << 20), (5, 5), False),
        ((9, 0), (0, _MORE), (5, 5), True),
        ((9, 0), (5, 0), (5, 5), False),
        ((9, 0), (0, 0), (0, _MORE), True),
        ((9, 0), (0, 0), (0, 1 << 20), False),
        ((_MORE, 0), (0, 0), (5, 5), False),  # somebody else does
        ((_MORE, 0), (0, 0), (5, None), True),
        ((_MORE, 0), (0, 0), (None, 5), True),
        ((_MORE, 0), (None, 5), (5, 5), True),
        ((_MORE, 0), (0, None), (5, None), True),
        ((_MORE, 1), (None, None), (None, None), False),
        ((0, _MORE), (0, _MORE), (None, None), True),
        ((0, _MORE), (None, None), (0, _MORE), True),
    ],
)
def test_a_kernel_writes_from_more_than_a_mebibyte_on(
    room: tuple[int, int],
    written: tuple[int | None, int | None],
    used: tuple[int | None, int | None],
    more: bool,
) -> None:
    before, now = (disk._Written(*look) for look in zip(room, written, used, strict=True))
    assert now.is_more_than(before) is more


#: Does on each line what it is told, and says so. Nobody is told what its children wrote.
_WRITER = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
unnamed = open("unnamed", "wb", buffering=0)
os.unlink("unnamed")
for line in sys.stdin:
    if line != "rest\\n":
        if os.fork() == 0:
            file = unnamed if line == "write unnamed\\n" else open("big", "ab", buffering=0)
            file.write(os.urandom(3 << 20))
            os._exit(0)
        try:
            os.wait()
        except ChildProcessError:  # so it has ended
            pass
    print("done", flush=True)
"""


@contextmanager
def _writer(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process below this one."""
    with subprocess.Popen(
        [sys.executable, "-I", "-c", _WRITER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=directory,
        text=True,
    ) as process:
        _tell(process, "rest")
        yield process
        assert process.stdin is not None
        process.stdin.close()


def _tell(process: subprocess.Popen[str], what: str) -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{what}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


@pytest.fixture
def nearly_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk has less room than the reserve, and each look is due at once."""
    monkeypatch.setattr(disk, "room_on_disk", lambda path: (10 << 20, 20 << 20))
    monkeypatch.setattr(disk, "_INTERVAL_S", 0.0)


@pytest.mark.parametrize("what", ["named", "unnamed"])
def test_what_children_wrote_that_nobody_waited_for_is_too_much(
    tmp_path: Path, nearly_full: None, what: str
) -> None:
    with _writer(tmp_path) as process:
        watch = disk.DiskWatch([str(tmp_path)], descendants)
        assert not watch.is_too_much()
        assert not watch.is_too_much(), "nobody has written"
        fitted_ns = watch.fitted_ns
        _tell(process, f"write {what}")
        assert watch.is_too_much()
        assert watch.fitted_ns == fitted_ns
        _tell(process, "rest")
        assert not watch.is_too_much()


def test_who_is_not_to_be_looked_at_has_what_the_disk_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nearly_full: None
) -> None:
    def blind() -> list[int]:
        raise OSError(24, "Too many open files")

    watch = disk.DiskWatch([str(tmp_path)], blind)
    assert not watch.is_too_much()
    assert not watch.is_too_much(), "nobody has written"
    monkeypatch.setattr(disk, "room_on_disk", lambda path: (8 << 20, 20 << 20))
    assert watch.is_too_much()


def test_directory_without_permissions_hides_nothing(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may look everywhere")
    dark = tmp_path / "dark"
    dark.mkdir()
    dark.chmod(0o300)
    try:
        assert disk._named([str(tmp_path)]) is None
    finally:
        dark.chmod(0o700)


def test_only_what_is_on_the_same_disk_is_measured(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    here, below = str(tmp_path), str(tmp_path / "tmp")
    assert disk.on_one_disk(here, below, "/proc") == (here, below)


def test_disk_with_much_room_is_all_that_is_looked_at(tmp_path: Path) -> None:
    room, reserve = disk.room_on_disk(tmp_path)
    if room < 8 * reserve:
        pytest.skip("this disk is nearly full")

    def never() -> list[int]:
        raise AssertionError("nobody is near its end")

    watch = disk.DiskWatch([str(tmp_path)], never)
    assert not watch.is_too_much()
    assert watch.wait_s > 0
    watch.rest()
    assert watch.wait_s == 0


def test_disk_that_can_not_be_asked_ends_nobody(tmp_path: Path) -> None:
    watch = disk.DiskWatch([str(tmp_path / "gone")], list)
    assert not watch.is_too_much()
    assert watch.wait_s > 0


def test_no_more_files_are_looked_at_than_take_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_MOST_FILES", 3)
    for number in range(9):
        (tmp_path / f"{number}").write_bytes(os.urandom(8192))
    assert disk._named([str(tmp_path)]) is None
    for number in range(3, 9):
        (tmp_path / f"{number}").unlink()
    assert _used(tmp_path) == 3 * 8192
