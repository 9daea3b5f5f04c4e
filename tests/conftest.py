"""What holds for every test."""

import os

import hypothesis

# Nothing that a developer's shell has set may decide a test.
for name in ("PYTHON", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONWARNINGS"):
    os.environ.pop(name, None)

# Developers' runs look for new cases; CI's must not depend on luck. Neither asserts a wall time.
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "search")
