"""The session's notebook as a file."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bot.console.commands import UnusableCommand

if TYPE_CHECKING:
    from nbformat import NotebookNode


def check_target(path: Path) -> None:
    """Make sure that a notebook can be written there, and over nothing else.

    Raises:
        UnusableCommand: It can't.
    """
    try:
        if path.is_dir():
            raise UnusableCommand(f"{str(path)!r} is a directory; name the notebook in it.")
        if os.path.lexists(path):
            raise UnusableCommand(f"{str(path)!r} exists already; choose another name.")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UnusableCommand(f"{str(path)!r} can't be written: {error.strerror}.") from error


def write_notebook(notebook: "NotebookNode", path: Path) -> None:
    """Write a notebook, whole or not at all.

    Raises:
        UnusableCommand: It can't be written there.
    """
    # Loading it takes a tenth of a second that only this needs.
    import nbformat

    text = nbformat.writes(notebook)  # type: ignore[no-untyped-call]  # it has no annotations
    try:
        _write_whole(text, path)
    except OSError as error:  # its file name is that of a temporary file, which nobody knows
        raise UnusableCommand(f"{str(path)!r} can't be written: {error.strerror}.") from error


def _write_whole(text: str, path: Path) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}-")
    temporary = Path(name)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="replace") as target:
            target.write(text)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
