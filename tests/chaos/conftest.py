"""A place for a service that is started and killed by a test."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def work() -> Iterator[Path]:
    """An empty directory; not below pytest's own, which others may not pass through."""
    with tempfile.TemporaryDirectory(prefix="cellmate-chaos-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)
