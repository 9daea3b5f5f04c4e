"""Types of vector graphics."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
