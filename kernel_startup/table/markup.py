"""Types of configuration, markup, graphs and notebooks."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
