"""Types of subtitles and lyrics."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
