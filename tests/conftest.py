"""What holds for every test."""

import os
import signal

import hypothesis
import pytest

# Nothing that a developer's shell has set may decide a test.
for name in ("PYTHON", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONWARNINGS"):
    os.environ.pop(name, None)
# Nor whether it was started with nohup.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Developers' runs look for new cases; CI's must not depend on luck. Neither asserts a wall time.
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "search")


#: Files of long tests that share nothing. The largest groups are handed out first, so these come
#: last, one by one, and workers end at about the same time.
_APART = ("test_console_real.py", "test_fuzz.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each worker whole files, and all attacks on one backend: their services are shared."""
    for number, item in enumerate(items):
        arena = getattr(item, "callspec", None) and item.callspec.params.get("arena")
        group = f"attacks on {arena}" if arena else item.path.name
        if item.path.name in _APART:
            group += f" {number}"
        item.add_marker(pytest.mark.xdist_group(group))
