"""Types of structured data."""

from kernel_startup.filetype import FileType

TYPES = (
    FileType(
        name="json",
        family="structured",
        title="JSON",
        extensions=("json",),
        mime_type="application/json",
        object="pandas.DataFrame for a list of records, otherwise the dict, list or value itself",
        loader="structured:load_json",
        container="json",
        is_text=True,
    ),
    FileType(
        name="jsonl",
        family="structured",
        title="JSON lines",
        extensions=("jsonl", "ndjson"),
        mime_type="application/jsonl",
        object="pandas.DataFrame; a list if the lines aren't all records",
        loader="structured:load_jsonl",
        container="json",
        is_text=True,
    ),
)
