"""Types that are named but not parsed."""

from kernel_startup.fileinfo import FileInfo
from kernel_startup.source import Source


def load_info(source: Source) -> FileInfo:
    """Say what the file is; its bytes are a call away."""
    return source_info(source)


def source_info(
    source: Source, facts: dict[str, object] | None = None, advice: str = ""
) -> FileInfo:
    """A `FileInfo` of a file, with what a loader has found out about it."""
    from kernel_startup.recognition import type_of_source

    file_type = type_of_source(source)
    return FileInfo(
        name=source.name,
        path=str(source.path),
        type=file_type.name,
        title=file_type.title,
        size_bytes=source.size_bytes,
        facts=facts or {},
        advice=advice,
    )
