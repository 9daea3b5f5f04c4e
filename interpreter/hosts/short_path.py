"""ShortPath: a path to a directory that leaves room for the name of a socket."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

#: What a Unix socket's path may have, less what follows the directory of the slots.
_SOCKET_PATH_BYTES = 107 - len("/") - 16 - len("/run/s-5")
_PLACE, _PREFIX = "/tmp", "cellmate-"


class ShortPath:
    """The directory itself, or a link to it that goes with the ``with``."""

    def __init__(self, directory: Path) -> None:
        """Name the directory of all slots."""
        self._directory = directory.absolute()
        self._temporary: str | None = None

    def __enter__(self) -> Path:
        if len(os.fsencode(self._directory)) <= _SOCKET_PATH_BYTES:
            return self._directory
        remove_links_into(self._directory)
        self._temporary = tempfile.mkdtemp(prefix=_PREFIX, dir=_PLACE)
        os.chmod(self._temporary, 0o711)  # kernels without a file system of their own pass through
        link = Path(self._temporary) / "s"
        link.symlink_to(self._directory)
        return link

    def __exit__(self, *_: object) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


def remove_links_into(directory: Path) -> None:
    """Remove temporary directories of nothing but links into a directory.

    Services make them where its path is too long for sockets; when a service was killed, nobody
    follows them any more.
    """
    for found in Path(_PLACE).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # gone meanwhile, or not for us to look into
            if found.is_symlink() or found.lstat().st_uid != os.geteuid():
                continue
            targets = [path.readlink() for path in found.iterdir()]
            if targets and all(path.is_relative_to(directory.absolute()) for path in targets):
                shutil.rmtree(found, ignore_errors=True)
