"""What could be asked about a file, by what kind of file it is. Pure."""

from collections.abc import Mapping, Sequence

from bot.prompts import clean, one_line
from bot.sizes import size_text
from interpreter import StoredFile
from kernel_startup.types import TYPES

_MOST_FILES = 5
_DESCRIPTION_CHARS = 500

_TABLE = (
    "Give me an overview: types, missing values, statistics.",
    "Plot the distribution of each numeric column.",
    "Which columns are correlated?",
)
_TEXT = ("Summarise it.", "Which words are the most frequent?", "Find all dates in it.")
_PICTURE = ("How large is it, and in which colours?", "Make it half as large.", "Turn it grey.")
_OTHER = ("What is in it?", "Show its structure.", "Convert it to a table, if that makes sense.")
#: By the beginning of what `load_file` gives.
_BY_OBJECT = (("pandas.DataFrame", _TABLE), ("str", _TEXT), ("PIL", _PICTURE))


def about_files(files: Sequence[StoredFile], descriptions: Mapping[str, str]) -> str:
    """What files are, and what could be asked about them, where there is no model to say it."""
    lines: list[str] = []
    for file in files[:_MOST_FILES]:
        lines.append(f"**{one_line(file.filename)}** ({size_text(file.file_size)})")
        if described := descriptions.get(file.file_id):
            told = clean(described, chars=_DESCRIPTION_CHARS).strip().replace("```", "'''")
            lines.append(f"```\n{told}\n```")
    if len(files) > _MOST_FILES:
        lines.append(f"and {len(files) - _MOST_FILES} more")
    asked = "\n".join(f"- {question}" for question in _questions(files[0]))
    return "\n".join([*lines, "You could ask, for example:", asked])


def _questions(file: StoredFile) -> tuple[str, ...]:
    loaded = TYPES[file.file_type].object if file.file_type in TYPES else ""
    return next((asked for start, asked in _BY_OBJECT if loaded.startswith(start)), _OTHER)
