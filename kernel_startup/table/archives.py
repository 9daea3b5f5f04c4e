"""Types of archives and compression."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
