"""Slots: what hostile code can leave in a directory, and reading it safely."""

import os
import resource
from pathlib import Path

import pytest

from interpreter.hosts import slots


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    """An empty slot."""
    path = tmp_path / "slot"
    slots.create(path, owner=None)
    return path


def test_new_slot_has_its_directories(slot: Path) -> None:
    assert sorted(path.name for path in slot.iterdir()) == [
        *("files", "home", "packages", "run", "tmp", "work")
    ]


def test_tree_without_permissions_is_removed(slot: Path) -> None:
    deep = slot / "work" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    (deep / "link").symlink_to("/")
    for directory in (deep, deep.parent, slot / "work", slot / "run"):
        directory.chmod(0)
    slots.remove(slot)
    assert not slot.exists()
    assert Path("/etc").is_dir()  # the link was removed, not what it leads to


def test_tree_deeper_than_paths_can_name_is_removed(slot: Path) -> None:
    before = os.getcwd()
    os.chdir(slot / "work")
    try:
        for _ in range(3000):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(before)
    slots.remove(slot)
    assert not slot.exists()


def test_removal_that_failed_is_in_nobody_s_way(slot: Path) -> None:
    for number in range(20):
        (slot / "work" / str(number) / "below").mkdir(parents=True)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 2, most[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            slots.remove_tree(slot / "work")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
    assert len(os.listdir(slot / "work")) == 20
    slots.remove_tree(slot / "work")
    assert not (slot / "work").exists()


def test_renewed_slot_keeps_the_working_directory_only(slot: Path) -> None:
    for name in ("work", "home", "run"):
        (slot / name / "x").write_text("x")
        (slot / name).chmod(0)
    slots.renew(slot, owner=None)
    assert [(slot / name / "x").exists() for name in ("work", "home", "run")] == [
        True,
        False,
        False,
    ]


def test_scan_finds_regular_files_below_and_nothing_else(slot: Path) -> None:
    work = slot / "work"
    (work / "sub").mkdir()
    (work / "sub" / "a.txt").write_text("abc")
    (work / ".hidden").write_text("x")
    (work / "link").symlink_to(work / "sub" / "a.txt")
    (work / "linked").symlink_to("/etc")
    os.mkfifo(work / "fifo")
    found = slots.scan(slot)
    assert found.complete
    assert {path: file.size for path, file in found.files.items()} == {"sub/a.txt": 3}


@pytest.mark.parametrize("free", [0, 1, 2, 3])
def test_scan_says_so_if_descriptors_are_missing(slot: Path, free: int) -> None:
    (slot / "work" / "sub").mkdir()
    for path in ("a.txt", "sub/b.txt"):
        (slot / "work" / path).write_text("abc")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    first = os.dup(0)
    os.close(first)
    filled = [os.dup(0) for _ in range(len(os.listdir("/proc/self/fd")))]  # no number is left out
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(filled) + 1 + free, most[1]))
    try:
        if free < 3:  # one for each directory, and one that is read through
            with pytest.raises(OSError, match="Too many open files"):
                slots.scan(slot)
        else:
            assert {*slots.scan(slot).files} == {"a.txt", "sub/b.txt"}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
        for descriptor in filled:
            os.close(descriptor)


@pytest.mark.parametrize(("extra", "complete"), [(-1, True), (0, True), (1, False)])
def test_scan_looks_at_so_many_entries_exactly(slot: Path, extra: int, complete: bool) -> None:
    for number in range(slots.MAX_ENTRIES + extra):
        os.close(os.open(slot / "work" / str(number), os.O_CREAT))
    assert slots.scan(slot).complete is complete


@pytest.mark.parametrize(("depth", "complete"), [(15, True), (16, True), (17, False)])
def test_scan_goes_so_deep_exactly(slot: Path, depth: int, complete: bool) -> None:
    (slot / "work").joinpath(*["d"] * depth).mkdir(parents=True)
    assert slots.scan(slot).complete is complete


@pytest.mark.parametrize("name", ["link", "fifo", "dir", "linked/passwd", "gone", "sub/../a"])
def test_only_regular_files_are_opened(slot: Path, name: str) -> None:
    work = slot / "work"
    (work / "a").write_text("x")
    (work / "link").symlink_to(work / "a")
    (work / "linked").symlink_to("/etc")
    (work / "dir").mkdir()
    os.mkfifo(work / "fifo")
    with pytest.raises(OSError):
        list(slots.read(slot, name))
