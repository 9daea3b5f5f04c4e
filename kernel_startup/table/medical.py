"""Types of medical images."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
