"""Types of geospatial data."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
