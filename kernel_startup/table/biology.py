"""Types of biology and chemistry."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
