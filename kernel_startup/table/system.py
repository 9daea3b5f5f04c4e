"""Types of programs and of the system, which are named but not loaded."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
