"""Tell whether the service of this container is up: exit status 0, else 1 and a sentence.

It is up when a process holds the lock of the data directory, and the process that kernels are
forked from lives. Nothing is asked of the service itself, which may be busy. Standard library only.

Source: proc(5), "/proc/locks".
"""

import os
import sys
from pathlib import Path

_FORK_SERVER = b"kernel_startup.forkserver"


def problem(data_dir: Path) -> str | None:
    """What is wrong, as a sentence; None if nothing is."""
    try:
        inode = str((data_dir / ".lock").stat().st_ino)
    except OSError as error:
        return f"no service has used {data_dir} yet ({error.strerror})."
    # "1: FLOCK ADVISORY WRITE <pid> <device>:<inode> 0 EOF"; some file systems name another device
    # there than stat does.
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    if not any(inode in words[-3].split(":") for words in locks if "FLOCK" in words):
        return "the service does not run."
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # gone meanwhile
            continue
        if _FORK_SERVER in words:
            return None
    return "the process that kernels are forked from does not run."


if __name__ == "__main__":
    said = problem(Path(os.environ["DATA_DIR"]))
    if said is not None:
        sys.exit(said)
