"""Names of distributions: which one an import means, which one a misspelt name means.

Pure, except that the two tables in `interpreter/names` are read when they are first needed.
"""

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rapidfuzz import process
from rapidfuzz.distance import OSA

from kernel_startup.types import TYPES

# Longer ones are nobody's: the popular distributions' names have 73 characters at most.
_LONGEST_NAME = 128

# The distributions that a name may be a slip of: (its least length, how many of the most
# downloaded). Names of few letters are near to each other without meaning each other.
_TARGETS = ((6, 3000), (4, 1000))

# Two slips count as one name's from this length on.
_TWO_SLIPS_LENGTH = 12

# What people put around the name of a library, and how popular that one must be: for the
# less popular ones, such names are most often those of libraries of their own.
_WRAPPINGS = re.compile(r"(?:python3?-|py-)(.+)|(.+)-(?:python3?|py|lib|library|package)")
_WRAPPED = 300

# The index takes these for the same characters, too, when it guards against look-alikes.
_LOOK_ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "-": None})


def distribution_for(import_name: str) -> str | None:
    """Find the distribution that gives an import name.

    Args:
        import_name: As in an import statement, dotted or not; of a dotted one the longest known
            part counts.

    Returns:
        The distribution's canonical name, or None if no popular one is known to give it.
    """
    if len(import_name) > _LONGEST_NAME or not import_name.isascii():
        return None
    parts = import_name.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    table = _imports()
    for length in range(len(parts), 0, -1):
        if length == 1 < len(parts) and is_shared(parts[0]):
            return None
        if found := table.get(fold_import(".".join(parts[:length]))):
            return found
    own = canonicalize_name(parts[0])
    return own if own in _popular() else None


def is_shared(top: str) -> bool:
    """Whether a top-level name, such as ``google``, is one that many distributions are below."""
    return f"{top}.*" in _imports()


def likely_meant(distribution: str) -> str | None:
    """Find the popular distribution that a name looks like a slip of.

    Returns:
        The canonical name of the one that was likely meant, or None if the name is a popular one
        itself or isn't near to any.
    """
    if len(distribution) > _LONGEST_NAME:
        return None
    name = canonicalize_name(distribution)
    return None if name in _popular() or name in _readers() else look_alike(name)


@cache
def _readers() -> frozenset[str]:
    """What `load_file` itself asks for."""
    required = (Requirement(r).name for t in TYPES.values() for r in t.requires)
    return frozenset(map(canonicalize_name, required))


def look_alike(name: str) -> str | None:
    """Find another name, of the most popular, that one would read or type a canonical name for.

    Letters that are missing, added, swapped or wrong, separators left out or put in, digits in
    place of letters, and a needless `python-` before the name of a library everybody uses.
    """
    found = _folded().get(_fold(name))
    return found if found and found != name else _nearest(name) or _unwrapped(name)


def fold_import(name: str) -> str:
    """Make the key under which the table has an import name.

    A top-level name stays as it is. Below it, separators, case and the version of an interface
    don't count, as distributions' names have none of them: `google.cloud.secretmanager_v1` and
    google-cloud-secret-manager have the same key, `google.cloudsecretmanager`.
    """
    top, _, below = name.partition(".")
    folded = re.sub(r"[-_.]", "", re.sub(r"_v\d+\w*$", "", below)).lower()
    return f"{top}.{folded}" if folded else top


def _nearest(name: str) -> str | None:
    """Find the distribution that is the fewest slips away; of several the most popular one."""
    count = next((count for length, count in _TARGETS if len(name) >= length), 0)
    slips = 2 if len(name) >= _TWO_SLIPS_LENGTH else 1
    near = process.extract(
        name, _most_popular(count), scorer=OSA.distance, score_cutoff=slips, limit=None
    )
    convincing = [
        (distance, rank, found) for found, distance, rank in near if _is_slip(name, found)
    ]
    return min(convincing)[2] if convincing else None


def _is_slip(name: str, meant: str) -> bool:
    """Tell a slip from another name that happens to be near.

    Only one of the parts between hyphens may differ, as `azure-mgmt-iothub` is no slip of
    `azure-mgmt-eventhub`, and that part must be long enough for what is changed in it. Digits
    tell versions and forks apart, first letters families (`grequests`, `uvicorn`).
    """
    ours, theirs = name.split("-"), meant.split("-")
    if len(ours) != len(theirs):
        return False
    different = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    if len(different) != 1:
        return False
    typed, right = different[0]
    if re.sub(r"\d", "", typed) == re.sub(r"\d", "", right) or not right:
        return False
    return min(len(typed), len(right)) >= _least_length(typed, right)


def _least_length(typed: str, right: str) -> int:
    """Say how long a part of a name must be for this difference to be taken for a slip."""
    if OSA.distance(typed, right) > 1:
        return _TWO_SLIPS_LENGTH if typed[:1] == right[:1] else _LONGEST_NAME
    if sorted(typed) == sorted(right) or _undouble(typed) == _undouble(right):
        return 4
    if typed[:1] != right[:1]:
        return 7 if right[1:] == typed else _LONGEST_NAME
    return 5 if len(typed) == len(right) else 4


def _fold(name: str) -> str:
    return name.translate(_LOOK_ALIKE)


def _undouble(text: str) -> str:
    return re.sub(r"(.)\1", r"\1", text)


def _unwrapped(name: str) -> str | None:
    found = _WRAPPINGS.fullmatch(name)
    inner = (found[1] or found[2]) if found else None
    return inner if inner in _most_popular(_WRAPPED) else None


@cache
def _popular() -> dict[str, None]:
    """Read the names of the popular distributions, as an ordered set: the most popular first."""
    return dict.fromkeys(_lines("popular.txt"))


@cache
def _most_popular(count: int) -> tuple[str, ...]:
    return tuple(_popular())[:count]


@cache
def _folded() -> dict[str, str]:
    """Map what is left of each name when look-alike characters are one to the most popular."""
    return {_fold(name): name for name in reversed(_most_popular(_TARGETS[0][1]))}


@cache
def _imports() -> dict[str, str]:
    """Read the table of import names: key -> distribution."""
    rows = (line.partition("\t") for line in _lines("import-names.tsv"))
    return {key: distribution for key, _, distribution in rows}


def _lines(file: str) -> Iterator[str]:
    text = resources.files("interpreter.names").joinpath(file).read_text("utf-8")
    return (line for line in text.splitlines() if not line.startswith("#"))
