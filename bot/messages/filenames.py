"""What attachments are called: names that Discord leaves as they are."""

import re
import unicodedata

_OTHER = re.compile(r"[^A-Za-z0-9._-]+")
_SPOILER = re.compile(r"\A(?:SPOILER_)+", re.IGNORECASE)
_SUFFIXES = re.compile(r"(\.[A-Za-z0-9]{1,10})?(\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{1,10})\Z")
#: What stands before the suffix of what is compressed, or of a chart's source.
_INNER = frozenset({".tar", ".nii", ".csv", ".json", ".plotly", ".vl", ".vg"})
_MAX_CHARS = 100


def attachment_name(filename: str) -> str:
    """A file's name in letters, digits, dots, dashes and underscores, as near to it as can be.

    Its suffix stays. It is never one that Discord would blur as a spoiler or take for hidden.
    """
    folded = unicodedata.normalize("NFKD", filename)
    folded = "".join(one for one in folded if not unicodedata.combining(one))
    suffix = _suffix_of(folded)
    stem = _OTHER.sub("_", folded[: len(folded) - len(suffix)])
    stem = _SPOILER.sub("", stem.strip("._-")).strip("._-")
    stem = stem[: _MAX_CHARS - len(suffix)].rstrip("._-")
    return f"{stem or 'file'}{suffix}"


class Names:
    """Names given so far in one answer: none is given twice."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def give(self, filename: str) -> str:
        """A name for one more file: its own, with a number if that one is taken."""
        name = attachment_name(filename)
        suffix = _suffix_of(name)
        stem = name[: len(name) - len(suffix)]
        number = 1
        while name.lower() in self._taken:
            number += 1
            name = f"{stem[: _MAX_CHARS - 12]}-{number}{suffix}"
        self._taken.add(name.lower())
        return name


def _suffix_of(name: str) -> str:
    """ ".csv", or ".tar.gz"; nothing for a name that has none."""
    found = _SUFFIXES.search(name)
    if found is None:
        return ""
    inner = found[1] if found[1] and found[1].lower() in _INNER else ""
    return inner + found[2]
