"""What the tests of file types share."""

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.formats.uploads import Loading

_CORE = Path(__file__).resolve().parents[2] / "interpreter" / "kernel-requirements.lock"


@pytest.fixture
def load(tmp_path: Path) -> Loading:
    """Upload a file and load it."""
    root = tmp_path / "files"
    root.mkdir()
    return Loading(root)


@pytest.fixture
def on_demand() -> Iterator[Callable[..., None]]:
    """Have packages importable that kernels install on demand, as they would: wheels only, beside
    the core, which is pinned. Each set is installed once for all workers.

    Use it as `on_demand("pydicom>=3")`. Skips where no index can be reached.
    """
    before = list(sys.path)

    def have(*requirements: str) -> None:
        key = hashlib.sha256("\n".join(sorted(requirements)).encode()).hexdigest()[:16]
        python = sys.implementation.cache_tag
        shared = Path(tempfile.gettempdir()) / f"cellmate-test-packages-{python}-{os.getuid()}"
        shared.mkdir(mode=0o700, exist_ok=True)
        layer = shared / key
        with (shared / f"{key}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (layer / ".complete").exists():
                _install(layer, requirements)
        if str(layer) not in sys.path:
            sys.path.append(str(layer))

    yield have
    sys.path[:] = before


def _install(layer: Path, requirements: tuple[str, ...]) -> None:
    uv = Path(sys.executable).parent / "uv"
    options = ["--quiet", "--only-binary", ":all:", "--constraints", _CORE, "--target", layer]
    run = subprocess.run(
        [uv, "pip", "install", "--python", sys.executable, *options, *requirements],
        capture_output=True,
        text=True,
    )
    if run.returncode:
        unreachable = ("dns error", "error sending request", "tcp connect", "offline")
        if any(sign in run.stderr.lower() for sign in unreachable):
            pytest.skip(f"no index can be reached: {run.stderr.strip()[:200]}")
        pytest.fail(run.stderr)
    (layer / ".complete").touch()
