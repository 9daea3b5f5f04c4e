"""What a file's type needs beyond the kernels' own packages: got before the file is loaded."""

import re
from collections.abc import Callable, Sequence
from importlib import metadata

from kernel_startup.errors import FileLoadError
from kernel_startup.filetype import FileType

_NAME = re.compile(r"[A-Za-z0-9._-]+")

#: Gets requirements; answers with what couldn't be had and why. A kernel puts its installer here.
Obtain = Callable[[Sequence[str]], "dict[str, str]"]
_obtain: list[Obtain] = []


def obtain_with(obtain: Obtain) -> None:
    """Have missing requirements got from now on; for the start of a kernel."""
    _obtain[:] = [obtain]


def missing_requirements(requirements: Sequence[str]) -> list[str]:
    """Those whose distribution isn't there."""
    return [one for one in requirements if not _is_there(one)]


def provide(file_type: FileType, filename: str) -> None:
    """Get what a type needs, off the cell's clock.

    Raises:
        FileLoadError: It can't be had; says why.
    """
    missing = missing_requirements(file_type.requires)
    if not missing:
        return
    failed = _obtain[0](missing) if _obtain else {}
    still = missing_requirements(missing)
    if still:
        reasons = " ".join(failed.get(one, f"{one} isn't installed.") for one in still)
        raise FileLoadError(
            filename,
            f"{file_type.title} ({file_type.name})",
            tried=f"installing {' and '.join(still)}, which reads it",
            reason=reasons,
        )


def _is_there(requirement: str) -> bool:
    name = _NAME.match(requirement)
    try:
        return name is not None and bool(metadata.version(name.group()))
    except metadata.PackageNotFoundError:
        return False
