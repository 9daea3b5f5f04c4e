"""Reading in a child process, for parsers that a damaged file makes crash, hang or eat memory."""

from collections.abc import Callable
from typing import Any

from kernel_startup.children import ChildEnded, call_in_child
from kernel_startup.errors import FileLoadError
from kernel_startup.source import Source

#: What a child may take beyond what it begins with.
MAX_BYTES = 8 << 30
#: How long a child may take for a file of no size, and how much of a file it reads in a second
#: at the very least.
_LEAST_S = 60
_BYTES_PER_S = 1 << 20


def read_in_child(
    source: Source,
    read: Callable[..., Any],
    *arguments: Any,
    max_bytes: int = MAX_BYTES,
    max_s: float | None = None,
    **options: Any,
) -> Any:
    """What `read(*arguments, **options)` returns, called in a child that may die of it.

    What it returns or raises is pickled. The child lives as long as the file's size warrants, or
    for max_s.

    Raises:
        FileLoadError: The child crashed, or took more time or memory than it may.
    """
    limit_s = max_s or _LEAST_S + source.size_bytes / _BYTES_PER_S
    try:
        return call_in_child(
            lambda: read(*arguments, **options), max_bytes=max_bytes, max_s=limit_s
        )
    except BlockingIOError:  # no more processes: then without
        return read(*arguments, **options)
    except ChildEnded as error:
        raise FileLoadError(
            source.name, "damaged, or too large", "reading it", str(error)
        ) from error
