"""HeldProcess: nobody else is ever taken for it."""

import subprocess
from collections.abc import Iterator

import pytest

from interpreter.hosts.held_process import HeldProcess


@pytest.fixture
def two() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two processes that last."""
    processes = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
    yield processes
    for process in processes:
        process.kill()
        process.wait()


async def test_one_that_was_let_go_of_harms_nobody_who_got_its_descriptor_s_number(
    two: list[subprocess.Popen[bytes]],
) -> None:
    first = HeldProcess.hold(two[0].pid)
    assert first is not None
    number = first._descriptor
    first.close()
    second = HeldProcess.hold(two[1].pid)
    assert second is not None and second._descriptor == number
    first.kill()
    with pytest.raises(ProcessLookupError):
        first.signal(0)
    await first.ended()
    first.close()
    second.signal(0)
    assert two[1].poll() is None
    second.kill()
    await second.ended()
    assert two[1].wait() == -9 and two[0].poll() is None
    second.close()
