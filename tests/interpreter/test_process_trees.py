"""Processes are seen and counted whatever they call themselves."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from interpreter.hosts import processes
from kernel_startup.sandboxes import descendants

_NAMED = """
import ctypes, sys
ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]), 0, 0, 0)
block = b"x" * (32 << 20)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def _process_named(name: bytes) -> Iterator[int]:
    command = (sys.executable, "-c", _NAMED, name.hex())
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"\n"
        yield process.pid


@pytest.mark.parametrize("name", [b"plain", b") R 1 (", b"\xff\xfe", b"\xc3", b"a\nb c\\"])
def test_no_name_hides_a_process(name: bytes) -> None:
    with _process_named(name) as pid:
        assert pid in descendants()
        load, use = processes.load_of_tree(pid), processes.use_of_tree(pid)
        assert load is not None and load[0] > 0
        assert use is not None and use.threads == 1 and use.resources.memory_bytes > 32 << 20
        few = {"most_bytes": 1 << 40, "most_threads": 0}
        assert processes.limit_broken_by_tree(pid, **few) == "processes"
        little = {"most_bytes": 16 << 20, "most_threads": 100}
        assert processes.limit_broken_by_tree(pid, **little) == "memory"
