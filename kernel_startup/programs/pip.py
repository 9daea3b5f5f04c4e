"""What `python -m pip` is in programs that a cell starts: they can't ask the service for anything.

This directory is on the path of those programs only, not on the kernel's own.
"""

import sys

if __name__ != "__main__":
    raise ModuleNotFoundError("No module named 'pip'", name="pip")

sys.exit(
    "pip can't be run as a program here. Write it as a line of the cell: %pip install NAME. "
    "An import of a package that isn't there installs it as well."
)
