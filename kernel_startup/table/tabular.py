"""Types that are text tables."""

from kernel_startup.filetype import FileType

TYPES = (
    FileType(
        name="csv",
        family="tabular",
        title="Comma-separated values",
        extensions=("csv",),
        mime_type="text/csv",
        object="pandas.DataFrame",
        loader="tabular:load_csv",
        is_text=True,
    ),
    FileType(
        name="tsv",
        family="tabular",
        title="Tab-separated values",
        extensions=("tsv", "tab"),
        mime_type="text/tab-separated-values",
        object="pandas.DataFrame",
        loader="tabular:load_csv",
        is_text=True,
    ),
)
