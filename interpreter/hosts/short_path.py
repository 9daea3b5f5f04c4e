"""ShortPath: a path to a directory that leaves room for the name of a socket."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

#: What a Unix socket's path may have, less what follows the directory of the slots.
_SOCKET_PATH_BYTES = 107 - len("/") - 16 - len("/run/s-5")
_PLACE = "/tmp"


class ShortPath:
    """The directory itself, or a link to it that goes with the ``with``."""

    def __init__(self, directory: Path) -> None:
        """Name the directory of all slots."""
        self._directory = directory.absolute()
        self._temporary: str | None = None

    def __enter__(self) -> Path:
        if len(os.fsencode(self._directory)) <= _SOCKET_PATH_BYTES:
            return self._directory
        remove_short_paths(self._directory)
        self._temporary = tempfile.mkdtemp(prefix=_prefix(self._directory), dir=_PLACE)
        os.chmod(self._temporary, 0o711)  # kernels without a file system of their own pass through
        link = Path(self._temporary) / "s"
        link.symlink_to(self._directory)
        return link

    def __exit__(self, *_: object) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _prefix(directory: Path) -> str:
    return f"cellmate-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:8]}-"


def remove_short_paths(directory: Path) -> None:
    """Remove links to a directory that a killed service has left: nobody follows them any more."""
    for path in Path(_PLACE).glob(f"{_prefix(directory.absolute())}*"):
        if not path.is_symlink() and path.lstat().st_uid == os.geteuid():
            shutil.rmtree(path, ignore_errors=True)
