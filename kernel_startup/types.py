"""The table of file types, and what a name tells of a file.

Pure standard library, because the service (which never loads a user's file) names uploads with
it. The rows are in `kernel_startup.table`, a module for each group of families; what a row says is
in `kernel_startup.filetype`. A type's loader is written as a string and imported when a file of
that type is first loaded, so that the table can hold hundreds of types and still cost nothing.
"""

import os
import re
import unicodedata
from types import MappingProxyType

from kernel_startup.filetype import FileType
from kernel_startup.table import ROWS, USUAL

UNKNOWN = FileType(
    name="unknown",
    family="unknown",
    title="a type that isn't known",
    extensions=(),
    mime_type="application/octet-stream",
    object='bytes, with as_="bytes"',
    loader="",
)

#: Every type by its name.
TYPES = MappingProxyType({file_type.name: file_type for file_type in (*ROWS, UNKNOWN)})


def _by_extension() -> dict[str, tuple[FileType, ...]]:
    found: dict[str, list[FileType]] = {}
    for file_type in TYPES.values():
        for extension in file_type.extensions:
            found.setdefault(extension, []).append(file_type)
    for extension, name in USUAL.items():
        found[extension].sort(key=lambda file_type: file_type.name != name)
    return {extension: tuple(types) for extension, types in found.items()}


#: The types that share an extension, the usual one first.
BY_EXTENSION = MappingProxyType(_by_extension())

#: Extensions that are whole names as well.
WHOLE_NAMES = frozenset(
    {"authors", "build", "changelog", "changes", "codeowners", "contributors", "copying", "crontab"}
    | {"fstab", "hosts", "kconfig", "licence", "license", "maintainers", "news", "notice", "passwd"}
    | {"pkgbuild", "readme", "sconscript", "sconstruct", "syslog", "todo", "unlicense", "workspace"}
    | {"wscript"}
)

#: Compressions that wrap a single file: the extension says nothing about what is inside.
WRAPPERS = frozenset({"gz", "gzip", "bz2", "xz", "lzma", "zst", "lz4", "br", "z", "lz", "bgz"})


def types_of_name(name: str) -> tuple[FileType, ...]:
    """Tell which types a file may have by its name alone, the usual one first; none if it says
    nothing.

    Case doesn't matter, the longest known suffix wins, and a compression around one file is
    looked through: "SALES.CSV" and "sales.csv.gz" are both csv.
    """
    parts = os.path.basename(name.strip()).lower().split(".")
    if len(parts) == 1:
        return BY_EXTENSION.get(parts[0], ()) if _is_whole_name(parts[0]) else ()
    if parts[-1] in WRAPPERS and ".".join(parts[-2:]) not in BY_EXTENSION and len(parts) > 2:
        parts.pop()
    for first in range(len(parts)):  # "cmakelists.txt" is a whole name, hence from the first
        types = BY_EXTENSION.get(".".join(parts[first:]))
        if types is not None:
            return types
    return BY_EXTENSION.get(parts[0], ()) if _is_whole_name(parts[0]) else ()  # "Dockerfile.dev"


def _is_whole_name(part: str) -> bool:
    """Whether an extension is a name of its own: "Makefile", "LICENSE"."""
    return part.endswith(("file", "rc")) or part in WHOLE_NAMES


def type_of_name(name: str) -> FileType:
    """The usual type of a file with this name; `UNKNOWN` if it says nothing."""
    return next(iter(types_of_name(name)), UNKNOWN)


# --- names that are safe on disk --------------------------------------------------------------

_MAX_NAME_BYTES = 255
#: A suffix longer than this isn't one, and is cut like the rest of the name.
_MAX_SUFFIX_BYTES = 40
# Blanks of any script and points: no system likes them at the end of a name.
_TRAILING = re.compile(r"[\s.]+\Z")
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)", re.IGNORECASE)
#: Marks that turn the direction of writing: "gpj.exe" can be made to read "exe.jpg".
_BIDI_CONTROLS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def safe_name(filename: str) -> str:
    """Make a name under which a file can lie in a directory of its own, as close to the given
    one as can be.

    Any script stays as it is. Separators become "_"; control characters, marks that turn the
    direction of writing, and lone surrogates go; "." and ".." and the device names of Windows
    (people download what they uploaded) are changed; at most 255 bytes of UTF-8 remain, the
    suffix among them. Making a safe name safe again changes nothing.
    """
    kept = "".join(
        "_" if character in "/\\" else character
        for character in filename
        if character not in _BIDI_CONTROLS
        # Cc control, Cs surrogate, Zl and Zp line and paragraph separators
        and unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"}
    )
    name = _as_safe(kept.strip())
    # Cutting a name can leave a new blank end or a device's name, hence once more.
    return _as_safe(name)


def _as_safe(name: str) -> str:
    name = _TRAILING.sub("", name)
    if not name:
        return "file"
    if _WINDOWS_DEVICES.match(name):
        name = f"_{name}"
    return _cut(name)


def _cut(name: str) -> str:
    if len(name.encode()) <= _MAX_NAME_BYTES:
        return name
    stem, suffix = _split_suffix(name)
    room = _MAX_NAME_BYTES - len(suffix.encode())
    return _TRAILING.sub("", stem.encode()[:room].decode(errors="ignore")) + suffix


def _split_suffix(name: str) -> tuple[str, str]:
    stem, suffix = os.path.splitext(name)
    if suffix.lower().lstrip(".") in WRAPPERS:
        stem, inner = os.path.splitext(stem)
        suffix = inner + suffix
    if len(suffix.encode()) > _MAX_SUFFIX_BYTES:
        return name, ""
    return stem, suffix
