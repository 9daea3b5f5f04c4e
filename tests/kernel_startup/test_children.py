"""Calls in a child process: what comes back, and that nothing of a bad end does."""

import os
import resource
import signal
import sys
import time
from pathlib import Path

import pytest

from kernel_startup.children import ChildEnded, call_in_child, measured_bytes

ROOM = 256 << 20


def test_results_and_errors_come_back() -> None:
    assert call_in_child(lambda: {"a": [1, b"x"]}, max_bytes=ROOM, max_s=20) == {"a": [1, b"x"]}
    with pytest.raises(ZeroDivisionError):
        call_in_child(lambda: 1 // 0, max_bytes=ROOM, max_s=20)


def test_what_cannot_be_pickled_is_an_end_or_the_same_words() -> None:
    class Strange(Exception):
        pass

    def fail() -> None:
        raise Strange("so it is")

    with pytest.raises(ValueError, match="so it is"):
        call_in_child(fail, max_bytes=ROOM, max_s=20)
    with pytest.raises(ChildEnded):
        call_in_child(lambda: lambda: None, max_bytes=ROOM, max_s=20)


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGSEGV, "ended by signal 11"), (signal.SIGKILL, "was stopped")]
)
def test_crash_is_told(number: int, said: str) -> None:
    with pytest.raises(ChildEnded, match=said):
        call_in_child(lambda: os.kill(os.getpid(), number), max_bytes=ROOM, max_s=20)


def test_child_that_the_system_buries_is_no_trouble() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert call_in_child(lambda: 7, max_bytes=ROOM, max_s=20) == 7
        with pytest.raises(ZeroDivisionError):
            call_in_child(lambda: 1 // 0, max_bytes=ROOM, max_s=20)
        with pytest.raises(ChildEnded, match="ended too early"):
            call_in_child(lambda: os._exit(0), max_bytes=ROOM, max_s=20)
        with pytest.raises(ChildEnded, match="more than 0 s"):
            call_in_child(lambda: time.sleep(60), max_bytes=ROOM, max_s=0.3)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_time_and_memory_are_limited() -> None:
    with pytest.raises(ChildEnded, match="more than 0 s"):
        call_in_child(lambda: time.sleep(60), max_bytes=ROOM, max_s=0.3)
    with pytest.raises(MemoryError):
        call_in_child(lambda: bytes(2 * ROOM), max_bytes=ROOM, max_s=20)
    assert call_in_child(lambda: len(bytes(ROOM // 2)), max_bytes=ROOM, max_s=20) == ROOM // 2


def test_address_space_is_measured_without_proc() -> None:
    def both() -> tuple[int, int]:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return measured_bytes(), pages * resource.getpagesize()

    measured, told = call_in_child(both, max_bytes=ROOM, max_s=20)
    assert abs(measured - told) < 8 << 20


def test_what_it_prints_is_lost(capfd: pytest.CaptureFixture[str]) -> None:
    def talk() -> None:
        print("hello")
        os.write(2, b"hello")
        sys.stderr.write("hello")

    call_in_child(talk, max_bytes=ROOM, max_s=20)
    assert capfd.readouterr() == ("", "")


def test_children_of_a_child_end_with_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def nest() -> None:
        def wait() -> None:
            note.write_text(str(os.getpid()))
            time.sleep(60)

        call_in_child(wait, max_bytes=ROOM, max_s=60)

    with pytest.raises(ChildEnded):
        call_in_child(nest, max_bytes=ROOM, max_s=2)
    pid = int(note.read_text())
    for _ in range(500):
        if not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text():
            return
        time.sleep(0.01)
    pytest.fail("the grandchild lives")
