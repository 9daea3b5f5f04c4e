"""Types of network captures, web archives, certificates and keys."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
