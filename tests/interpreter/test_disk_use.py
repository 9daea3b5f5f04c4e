"""Measuring and trimming what a kernel wrote to its slot."""

import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from interpreter.hosts import processes, slots

_MIB = 1 << 20


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    path = tmp_path / "slot"
    slots.create(path, owner=None)
    return path


def _write(path: Path, size: int) -> Path:
    with open(path, "wb") as file:
        file.write(os.urandom(size))
        os.fsync(file.fileno())
    return path


def _write_later(path: Path, before: Path, size: int = 1) -> Path:
    """Write a file that is newer than another: the clock of the file system is coarse."""
    while _write(path, size).stat().st_ctime_ns <= before.stat().st_ctime_ns:
        time.sleep(0.01)
    return path


def test_room_of_all_that_a_kernel_may_write_to_is_counted(slot: Path) -> None:
    for name in ("work", "home", "run", "tmp"):
        _write(slot / name / "x", _MIB)
    _write(slot / "files" / "stored", 8 * _MIB)
    use = slots.measure(slot, most_files=100)
    assert use.complete and use.files == 4
    assert 4 * _MIB <= use.room_bytes < 5 * _MIB


def test_holes_take_no_room_and_hard_links_take_it_once(slot: Path) -> None:
    with open(slot / "work" / "sparse", "wb") as file:
        file.truncate(1 << 40)
    _write(slot / "work" / "a", _MIB)
    os.link(slot / "work" / "a", slot / "work" / "b")
    use = slots.measure(slot, most_files=100)
    assert use.files == 3
    assert _MIB <= use.room_bytes < 2 * _MIB


@pytest.mark.parametrize(("files", "complete"), [(9, True), (10, True), (11, False)])
def test_files_are_counted_up_to_their_limit(slot: Path, files: int, complete: bool) -> None:
    for number in range(files):
        (slot / "work" / str(number)).touch()
    assert slots.measure(slot, most_files=10).complete is complete


@pytest.mark.parametrize(("below", "complete"), [(-1, True), (0, False)])
def test_directories_are_measured_down_to_a_depth(slot: Path, below: int, complete: bool) -> None:
    top = os.open(slot / "work", os.O_DIRECTORY)
    for _ in range(slots.MEASURED_DEPTH + below):
        os.mkdir("d", dir_fd=top)
        deeper = os.open("d", os.O_DIRECTORY, dir_fd=top)
        os.close(top)
        top = deeper
    os.close(top)
    assert slots.measure(slot, most_files=1000).complete is complete


def test_links_lead_nowhere_and_closed_directories_stop_nothing(slot: Path) -> None:
    (slot / "work" / "out").symlink_to("/usr")
    closed = slot / "work" / "closed"
    closed.mkdir()
    _write(slot / "work" / "seen", _MIB)
    closed.chmod(0)
    use = slots.measure(slot, most_files=1000)
    closed.chmod(0o700)
    assert use.complete and use.files == 3
    assert use.room_bytes < 2 * _MIB


def test_measuring_leaves_no_descriptor_open(slot: Path) -> None:
    for name in ("a/b/c", "d/e"):
        (slot / "work" / name).mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    for most_files in (1, 2, 100):
        slots.measure(slot, most_files=most_files)
    assert len(os.listdir("/proc/self/fd")) == before


def test_trimming_removes_what_was_written_since_and_keeps_the_rest(slot: Path) -> None:
    kept = _write(slot / "work" / "kept", _MIB)
    since_ns = kept.stat().st_ctime_ns + 1
    while (_write(slot / "work" / "new", _MIB)).stat().st_ctime_ns < since_ns:
        time.sleep(0.01)  # the clock of the file system is coarse
    os.utime(slot / "work" / "new", (0, 0))  # a time that anybody can set
    slots.trim(slot, since_ns=[since_ns], most_bytes=2 * _MIB, most_files=100)
    assert os.listdir(slot / "work") == ["kept"]


def test_trimming_takes_an_earlier_time_where_the_first_is_too_little(slot: Path) -> None:
    kept = _write(slot / "work" / "kept", 4096)
    for number in range(20):
        newest = _write_later(slot / "work" / f"new{number}", kept)
    times = [newest.stat().st_ctime_ns, kept.stat().st_ctime_ns + 1]
    assert slots.trim(slot, since_ns=times, most_bytes=4 * _MIB, most_files=10)
    assert os.listdir(slot / "work") == ["kept"]


def test_trimming_takes_the_newest_where_no_time_helps(slot: Path) -> None:
    first = _write(slot / "work" / "first", _MIB)
    (slot / "work" / "below").mkdir()
    second = _write_later(slot / "work" / "below" / "second", first, _MIB)
    _write_later(slot / "work" / "third", second, _MIB)
    ahead = time.time_ns() + 10**12
    for most, left in ((2, {"first", "second"}), (1, {"first"}), (0, set())):
        room = most * _MIB + 65_536
        assert slots.trim(slot, since_ns=[ahead], most_bytes=room, most_files=100)
        assert {path.name for path in (slot / "work").rglob("*") if path.is_file()} == left


def test_trimming_removes_from_directories_that_nobody_may_write_to(slot: Path) -> None:
    kept = _write(slot / "work" / "kept", 4096)
    since_ns = kept.stat().st_ctime_ns + 1
    closed = slot / "work" / "closed"
    closed.mkdir()
    for number in range(20):
        _write_later(closed / str(number), kept)
    closed.chmod(0o555)
    assert slots.trim(slot, since_ns=[since_ns], most_bytes=_MIB, most_files=10)
    assert os.listdir(slot / "work") == ["kept"]


def test_trimming_holds_no_list_of_all_that_is_there(slot: Path) -> None:
    for number in range(20_000):
        (slot / "work" / f"{number}").touch()
    tracemalloc.start()
    try:
        assert slots.trim(slot, since_ns=[0], most_bytes=_MIB, most_files=100)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < _MIB
    assert os.listdir(slot / "work") == []


def test_trimming_follows_no_link(slot: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (slot / "work" / "link").symlink_to(outside)
    slots.trim(slot, since_ns=[0], most_bytes=0, most_files=0)
    assert (outside / "precious").exists()
    assert os.listdir(slot / "work") == []


_HOLDS = """
import mmap, os, sys
file = open(sys.argv[1], "wb+")
file.write(os.urandom(1 << 20)); file.flush(); os.fsync(file.fileno())
os.unlink(sys.argv[1])
if sys.argv[2] == "mapped":
    mapped = mmap.mmap(file.fileno(), 1 << 20)
    file.close()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["open", "mapped"])
def test_files_without_a_name_are_found_while_they_take_room(tmp_path: Path, how: str) -> None:
    command = [sys.executable, "-c", _HOLDS, str(tmp_path / "gone"), how]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        device = tmp_path.stat().st_dev
        assert _MIB <= processes.deleted_bytes(holder.pid, device) < 2 * _MIB
        assert processes.deleted_bytes(holder.pid, device + 1) == 0
        holder.communicate("")
    assert processes.deleted_bytes(holder.pid, device) == 0


def test_use_of_a_tree_counts_threads_and_children() -> None:
    code = (
        "import subprocess, sys, threading\n"
        "wait = threading.Event()\n"
        "for _ in range(3): threading.Thread(target=wait.wait).start()\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "print('up', flush=True); sys.stdin.read(); child.kill(); child.wait(); wait.set()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        use = processes.use_of_tree(process.pid)
        assert use is not None and use.threads == 5
        assert use.resources.memory_bytes > _MIB
        process.communicate("")
    assert processes.use_of_tree(process.pid) is None
