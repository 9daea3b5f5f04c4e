"""Types of meshes, CAD and point clouds."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
