"""Types of video."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
