"""Types of audio."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
