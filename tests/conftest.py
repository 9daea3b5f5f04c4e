"""What holds for every test."""

import os

# Nothing that a developer's shell has set may decide a test.
for name in ("PYTHON", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONWARNINGS"):
    os.environ.pop(name, None)
