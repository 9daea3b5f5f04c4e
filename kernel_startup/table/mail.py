"""Types of e-mail, calendars and address books."""

from kernel_startup.filetype import FileType

TYPES: tuple[FileType, ...] = ()
