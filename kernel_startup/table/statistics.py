"""Types of statistics programs."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
