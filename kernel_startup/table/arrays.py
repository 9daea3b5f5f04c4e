"""Types of arrays and models."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
