import os
import sys
import threading
import time
from pathlib import Path

import pytest

from interpreter.hosts import startup


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of one module."""
    made = tmp_path / "some_startup"
    made.mkdir()
    (made / "__init__.py").write_text("")
    (made / "module.py").write_text("answer = 42\n")
    return made


def test_the_copy_is_compiled_and_kept_while_it_is_used(package: Path, tmp_path: Path) -> None:
    root = tmp_path / "copies"
    with startup.kept_startup(package, root) as first:
        assert (first / "module.py").read_text() == "answer = 42\n"
        assert list(first.glob(f"__pycache__/module.{sys.implementation.cache_tag}*.pyc"))
        (package / "module.py").write_text("answer = 43\n")
        with startup.kept_startup(package, root) as second:
            assert second != first
            assert first.is_dir()
    with startup.kept_startup(package, root) as third:
        assert third == second
    assert not first.exists()


def test_another_version_of_python_has_a_copy_of_its_own(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with startup.kept_startup(package, tmp_path / "copies") as ours:
        monkeypatch.setattr(sys.implementation, "cache_tag", "cpython-999")
        with startup.kept_startup(package, tmp_path / "copies") as theirs:
            assert ours != theirs
            assert ours.is_dir() and theirs.is_dir()


def test_services_that_start_at_once_are_not_in_each_others_way(
    package: Path, tmp_path: Path
) -> None:
    root = tmp_path / "copies"
    root.mkdir()
    over = threading.Event()

    def others() -> None:
        number = 0
        while not over.is_set():
            building = root / f"unfinished-{number % 7}"
            building.mkdir()
            building.rmdir()
            number += 1

    thread = threading.Thread(target=others)
    thread.start()
    try:
        ends = time.monotonic() + 1.0
        while time.monotonic() < ends:
            with startup.kept_startup(package, root) as copy:
                assert (copy / "module.py").is_file()
    finally:
        over.set()
        thread.join()
    assert os.listdir(copy.parent) == [package.name]
