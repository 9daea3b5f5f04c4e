"""Types of documents and e-books."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
