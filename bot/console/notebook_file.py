"""The session's notebook as a file."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbformat import NotebookNode


def write_notebook(notebook: "NotebookNode", path: Path) -> None:
    """Write a notebook, whole or not at all.

    Raises:
        OSError: It can't be written there.
    """
    # Loading it takes a tenth of a second that only this needs.
    import nbformat

    text = nbformat.writes(notebook)  # type: ignore[no-untyped-call]  # it has no annotations
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
