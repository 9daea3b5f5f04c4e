"""Types of fonts."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
