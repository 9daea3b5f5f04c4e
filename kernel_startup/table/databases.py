"""Types of databases."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
