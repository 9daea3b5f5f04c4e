"""Types of camera raw pictures."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
