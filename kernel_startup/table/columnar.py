"""Types of columnar data."""

from kernel_startup.filetype import FileType, starts

TYPES = (
    FileType(
        name="parquet",
        family="columnar",
        title="Apache Parquet",
        extensions=("parquet", "pq"),
        mime_type="application/vnd.apache.parquet",
        object="pandas.DataFrame",
        loader="columnar:load_parquet",
        signatures=starts(b"PAR1"),
    ),
    FileType(
        name="feather",
        family="columnar",
        title="Feather or Arrow IPC",
        extensions=("feather", "arrow", "ipc"),
        mime_type="application/vnd.apache.arrow.file",
        object="pandas.DataFrame",
        loader="columnar:load_feather",
        # The last is the stream variant: a continuation marker and the schema's length.
        signatures=(
            *starts(b"ARROW1\0\0", b"FEA1"),
            ((0, b"\xff\xff\xff\xff"), (6, b"\0\0\x10\0\0\0")),
        ),
    ),
)
