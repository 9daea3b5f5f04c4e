"""Damaged and misnamed files: only objects or FileLoadError come back, within a memory limit."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.formats.test_made import GROUPS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("group", GROUPS)
def test_damaged_files_give_an_object_or_a_file_load_error(
    group: str, tmp_path: Path, on_demand: Callable[..., None]
) -> None:
    for made in importlib.import_module(f"tests.formats.made.{group}").MADE:
        if made.requires:
            on_demand(*made.requires)
    run = subprocess.run(
        [sys.executable, "-m", "tests.formats.fuzz", group, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        errors="replace",
    )
    last = "\n".join(run.stderr.splitlines()[-40:])
    assert run.returncode == 0, f"{run.stdout}\n...\n{last}"
    assert run.stdout.endswith(" 0 faults\n")
