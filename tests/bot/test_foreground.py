"""Who gets the terminal's keys while the program runs, and afterwards."""

from pathlib import Path

import pytest

from tests.bot.terminal import program_in_terminal

_INNER = """
import os
from bot.console.foreground import own_foreground
former = os.getpgrp()
with own_foreground(0):
    print("inside", os.getpgrp() == os.tcgetpgrp(0) == os.getpid() != former, flush=True)
print("after", os.getpgrp() == os.tcgetpgrp(0) == former, flush=True)
"""
#: With a group of its own, the inner program is a job in the background.
_OUTER = """
import subprocess, sys
sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1]], process_group={group}).returncode)
"""


def test_the_terminal_is_taken_and_given_back(tmp_path: Path) -> None:
    words = ("-c", _OUTER.format(group=-1), _INNER)
    with program_in_terminal(*words, cwd=tmp_path) as terminal:
        assert terminal.ends() == 0
        assert terminal.seen == "inside True\r\nafter True\r\n"


@pytest.mark.parametrize("outer", [_OUTER.format(group=0), None])
def test_a_leader_of_its_group_takes_nothing(tmp_path: Path, outer: str | None) -> None:
    inner = (
        "import os; from bot.console.foreground import own_foreground; before = os.tcgetpgrp(0)\n"
        "with own_foreground(0): print(os.tcgetpgrp(0) == before)"
    )
    words = ("-c", outer, inner) if outer else ("-c", inner)
    with program_in_terminal(*words, cwd=tmp_path) as terminal:
        assert terminal.ends() == 0
        assert terminal.seen == "True\r\n"
