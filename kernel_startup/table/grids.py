"""Types of matrices and grids."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
