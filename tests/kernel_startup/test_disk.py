"""What is looked at when a disk is nearly full, and how little else."""

import os
from pathlib import Path

import pytest

from kernel_startup import disk


def test_links_and_depth_do_not_lead_astray(tmp_path: Path) -> None:
    empty = disk._used_bytes([str(tmp_path)])
    (tmp_path / "up").symlink_to("..")
    (tmp_path / "root").symlink_to("/")
    (tmp_path / "once").write_bytes(os.urandom(1 << 20))
    (tmp_path / "again").hardlink_to(tmp_path / "once")
    used = disk._used_bytes([str(tmp_path)])
    assert 1 << 20 <= used - empty < 1.1 * (1 << 20)
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(50):  # deeper than a path can be long
            os.mkdir("d" * 200, dir_fd=here)
            below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
    finally:
        os.close(here)
    assert disk._used_bytes([str(tmp_path)]) < 2 * used
    assert disk._used_bytes([str(tmp_path / "gone")]) == 0


@pytest.mark.parametrize(
    ("written", "used", "more"),
    [
        ((0, 1 << 20), (None, None), False),
        ((0, (1 << 20) + 1), (None, None), True),
        ((5, 0), (None, None), False),
        ((0, 0), (0, (1 << 20) + 1), True),
        ((0, 0), (0, 1 << 20), False),
        ((0, 0), (None, 1 << 30), False),  # hidden only now: nobody knows what was there before
    ],
)
def test_a_kernel_writes_from_more_than_a_mebibyte_on(
    written: tuple[int, int], used: tuple[int | None, int | None], more: bool
) -> None:
    before, now = (disk._Written(*pair) for pair in zip(written, used, strict=True))
    assert now.is_more_than(before) is more


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
    assert disk._used_bytes([str(tmp_path)]) == 3 * 8192
