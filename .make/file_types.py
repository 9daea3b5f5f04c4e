"""Print docs/file-types.md: the table of file types, as kernel_startup has it."""

import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kernel_startup.filetype import FileType
from kernel_startup.types import TYPES, UNKNOWN


def page() -> str:
    """The whole page, in Markdown."""
    types = sorted((t for t in TYPES.values() if t is not UNKNOWN), key=lambda t: t.family)
    extensions = {extension for t in types for extension in t.extensions}
    families = [(family, [*rows]) for family, rows in groupby(types, key=lambda t: t.family)]
    lines = [
        "# File types",
        "",
        f"`load_file` knows {len(types)} types with {len(extensions)} extensions in "
        f"{len(families)} families. What a file is gets decided by its content; its name refines "
        "that. Around any of them may be a compression (gz, bz2, xz, zst, lz4, br, Z, lz).",
        "",
        "What isn't in every kernel installs itself at first use, off the cell's clock; a type "
        "whose object is a FileInfo is recognised and described, and nothing here parses it.",
        "",
        "This page is made by `make docs` from `kernel_startup/table`.",
    ]
    for family, rows in families:
        lines += ["", f"## {family}", "", "| type | extensions | what comes back | installs |"]
        lines += ["| --- | --- | --- | --- |", *map(_row, rows)]
    return "\n".join(lines) + "\n"


def _row(file_type: FileType) -> str:
    cells = (
        file_type.title,
        " ".join(file_type.extensions),
        file_type.object,
        ", ".join(file_type.requires),
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    sys.stdout.write(page())
