"""What holds for every test."""

import os
from pathlib import Path

# Nothing that a developer's shell has set may decide a test.
for name in ("PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHON"):
    os.environ.pop(name, None)
# For the programs that tests start, also in other directories. Without it, `tests` would be the
# package of that name that discord-py-interactions installs.
os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
