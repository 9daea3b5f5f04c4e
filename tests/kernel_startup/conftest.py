"""Files for the loaders' tests, laid out as a kernel sees them."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_startup.files import Files, load_from


class Uploads:
    """A directory of files as the host makes it, and `load_file` over it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = Files(root)
        self._ids = (f"f{number}" for number in itertools.count(1))

    def add(self, name: str, content: bytes | str) -> str:
        file_id = next(self._ids)
        path = self.root / file_id / name
        path.parent.mkdir()
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file_id

    def load(self, name: str, content: bytes | str, **options: object) -> object:
        """Load a file that nothing has to be said about."""
        loaded, notes = self.load_with_notes(name, content, **options)
        assert notes == []
        return loaded

    def load_with_notes(
        self, name: str, content: bytes | str, **options: object
    ) -> tuple[object, list[str]]:
        return load_from(self.files, self.add(name, content), **options)  # type: ignore[arg-type]


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    root = tmp_path / "files"
    root.mkdir()
    return Uploads(root)


@pytest.fixture
def sample() -> Callable[[str], Path]:
    """Give a real file from beside the repository, or skip the test."""
    samples = Path(__file__).parents[3] / "shared" / "samples"

    def find(name: str) -> Path:
        if not (samples / name).is_file():
            pytest.skip("the samples aren't on this machine")
        return samples / name

    return find
