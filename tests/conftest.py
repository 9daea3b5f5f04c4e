"""What holds for every test."""

import os

import hypothesis
import pytest

# Nothing that a developer's shell has set may decide a test.
for name in ("PYTHON", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONWARNINGS"):
    os.environ.pop(name, None)

# Developers' runs look for new cases; CI's must not depend on luck. Neither asserts a wall time.
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "search")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each worker whole files, and all attacks on one backend: their services are shared."""
    for item in items:
        arena = getattr(item, "callspec", None) and item.callspec.params.get("arena")
        item.add_marker(pytest.mark.xdist_group(f"attacks on {arena}" if arena else item.path.name))
