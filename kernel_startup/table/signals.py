"""Types of signals and measurements."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
