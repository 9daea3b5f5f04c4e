"""What a file is: its content decides, its name refines the answer.

A name can choose among types that look alike (a table or a plain text), but it can't make a
picture of a zip. Reads a bounded head, and a container's directory.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib import import_module

from kernel_startup import containers, plaintext
from kernel_startup.filetype import FileType, Signature
from kernel_startup.source import Source
from kernel_startup.types import TYPES, UNKNOWN, types_of_name

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
#: A text can begin with a shorter signature by chance.
_CERTAIN_BYTES = 4


def type_of_content(path: str | os.PathLike[str], name: str = "") -> FileType:
    """Tell a file's type by what is in it. A compression around a single file is looked through.

    Args:
        path: Where the file lies.
        name: The name it was given, if that isn't the last part of `path`.

    Returns:
        Its type; `UNKNOWN` if neither content nor name tell.

    Raises:
        OSError: It can't be read.
    """
    with Source(path, name=name) as source:
        return type_of_source(source)


def type_of_source(source: Source) -> FileType:
    """`type_of_content` of a file that is already open. Loaders ask again: it is found once."""
    if source.file_type is None:
        found = _type_of_unpacked(source)
        # Nothing is known of what is inside: then it is what there is around it.
        wrapped = found is UNKNOWN and source.compression
        source.file_type = TYPES[wrapped] if wrapped else found
    return source.file_type


def _type_of_unpacked(source: Source) -> FileType:
    named = types_of_name(source.name)
    if not source.head:
        return _first(named)
    if source.head.startswith(_ZIP):
        return _type_of_zip(source, named)
    if source.head.startswith(_OLE):
        return _type_of_ole(source, named)
    encoding = plaintext.sniff_encoding(source.head, whole=source.is_whole_in_head)
    least = 1 if encoding is None else _CERTAIN_BYTES
    matched = _by_signature(source).items()
    matching = {t: n for t, n in matched if n >= least or t in named or t.check}
    if matching:
        # Of several that the name allows too, the one with most marks: a GeoTIFF is a TIFF as well.
        ranked = sorted(matching, key=lambda t: -matching[t])
        return _choose(sorted(named, key=lambda t: -matching.get(t, 0)), ranked)
    is_text = encoding is not None
    checked = [
        t for t in _checked_only() if (t.is_text == is_text or t in named) and _passes(t, source)
    ]
    if checked:
        return _choose(named, checked)
    if encoding is not None:
        found = _type_of_text(source, encoding, named)
        # The bytes of a plain picture may look like text.
        unsaid = not named and found is TYPES["text"]
        return next((t for t in _checked_only() if unsaid and _passes(t, source)), found)
    # Binary, and nothing in it tells: a type that has no mark of its own is what its name says.
    return _first(t for t in named if _is_told_by_name(t) and not t.is_text)


def _first(types: Iterable[FileType]) -> FileType:
    return next(iter(types), UNKNOWN)


def _choose(
    named: Sequence[FileType], fitting: Sequence[FileType], best: Sequence[FileType] = ()
) -> FileType:
    """Of the types that fit, the one that the name says too; else the best, or the first."""
    return next((t for t in named if t in fitting), (best or fitting)[0])


def _is_told_by_name(file_type: FileType) -> bool:
    return not (file_type.signatures or file_type.container or file_type.check)


# -- by bytes at fixed places --------------------------------------------------------------------


def _by_signature(source: Source) -> dict[FileType, int]:
    """The types whose signature fits, with the number of bytes that did; a check counts as one."""
    head = source.head
    sizes: dict[FileType, int] = {}
    for offset, by_byte in _signatures().items():
        for file_type, signature in by_byte.get(head[offset : offset + 1], ()):
            if _matches(signature, head):
                sizes[file_type] = max(sizes.get(file_type, 0), _size(signature))
    return {
        file_type: sizes[file_type] + sum(map(len, file_type.contains)) + bool(file_type.check)
        for file_type in sorted(sizes, key=_rank)
        if all(mark in head for mark in file_type.contains)
        and (not file_type.check or _passes(file_type, source))
    }


@lru_cache(maxsize=1)
def _signatures() -> dict[int, dict[bytes, list[tuple[FileType, Signature]]]]:
    """All signatures, by the place and the value of their first byte: few are left to compare."""
    found: dict[int, dict[bytes, list[tuple[FileType, Signature]]]] = {}
    for file_type in TYPES.values():
        for signature in file_type.signatures:
            offset, magic = signature[0]
            found.setdefault(offset, {}).setdefault(magic[:1], []).append((file_type, signature))
    return found


@lru_cache(maxsize=1)
def _ranks() -> dict[FileType, int]:
    return {file_type: rank for rank, file_type in enumerate(TYPES.values())}


def _rank(file_type: FileType) -> int:
    return _ranks()[file_type]


def _matches(signature: Signature, head: bytes) -> bool:
    return all(head.startswith(magic, offset) for offset, magic in signature)


def _size(signature: Signature) -> int:
    return sum(len(magic) for _, magic in signature)


@lru_cache(maxsize=1)
def _checked_only() -> tuple[FileType, ...]:
    return tuple(t for t in TYPES.values() if t.check and not t.signatures and not t.container)


def _passes(file_type: FileType, source: Source) -> bool:
    module, _, function = file_type.check.partition(":")
    try:
        check: Callable[[Source], bool] = getattr(
            import_module(f"kernel_startup.checks.{module}"), function
        )
        return check(source)
    except Exception:  # whatever strange bytes can provoke
        return False


# -- in containers -------------------------------------------------------------------------------


def _type_of_zip(source: Source, named: Sequence[FileType]) -> FileType:
    zipped = [t for t in TYPES.values() if t.container == "zip"]
    fallback = TYPES.get("zip", UNKNOWN)
    try:
        with source.open() as file:
            members, mimetype = containers.zip_members(file)
    except containers.BrokenContainer:
        # Cut off or damaged: the name is all that is left, and the loader will say so.
        return next((t for t in named if t in zipped), fallback)
    for file_type in zipped:
        if mimetype and file_type.mime_type == mimetype:
            return file_type
    fitting = [t for t in zipped if t.members and _has_all(members, t.members)]
    fitting = [t for t in fitting if not t.check or _passes(t, source)]
    if fitting:
        # The one that asks for most is the most particular: a workbook with macros is one too.
        most = max(len(t.members) + bool(t.check) for t in fitting)
        return _choose(named, [t for t in fitting if len(t.members) + bool(t.check) == most])
    return next((t for t in named if t in zipped and not t.members), fallback)


def _has_all(members: frozenset[str], wanted: Iterable[str]) -> bool:
    return all(
        any(fnmatchcase(m, name) for m in members) if "*" in name else name in members
        for name in wanted
    )


def _type_of_ole(source: Source, named: Sequence[FileType]) -> FileType:
    stored = [t for t in TYPES.values() if t.container == "ole"]
    try:
        with source.open() as file:
            streams = containers.ole_streams(file)
    except containers.BrokenContainer:
        return next((t for t in named if t in stored), TYPES.get("ole", UNKNOWN))
    if "EncryptedPackage" in streams:  # a password: what is inside can't be seen
        office = ("spreadsheet", "documents")
        return next((t for t in named if t.family in office), TYPES["xlsx"])
    fitting = [t for t in stored if t.streams and streams.issuperset(t.streams)]
    fitting = [t for t in fitting if not t.check or _passes(t, source)]
    if fitting:
        most = max(len(t.streams) for t in fitting)
        return _choose(named, fitting, [t for t in fitting if len(t.streams) == most])
    return next((t for t in named if t in stored and not t.streams), TYPES.get("ole", UNKNOWN))


# -- in text -------------------------------------------------------------------------------------


def _type_of_text(source: Source, encoding: str, named: Sequence[FileType]) -> FileType:
    text = source.head.decode(encoding, errors="ignore").lstrip("\ufeff")
    start = text.lstrip()
    said = [t for t in named if t.is_text and not t.is_generic]
    if not start:
        return _first(t for t in named if t.is_text)
    if any(t.name == "xls" for t in named) and _HTML_START.match(start):
        return TYPES["html-table"]  # what many web sites export
    # What a name says of a text that has no marks of its own (source code, a diary) is believed.
    if said and all(_is_unmarked(t) for t in said):
        return said[0]
    matching = [t for t in _with_patterns() if _fits(t, start)]
    if matching and (chosen := next((t for t in said if t in matching), None)) is not None:
        return chosen
    if not (matching or any(t.is_text for t in named)) and (guess := _guess(start)) is not None:
        return guess
    if (root := plaintext.xml_root(start)) is not None:
        return _type_of_xml(root, start, said, matching)
    if (json := plaintext.sniff_json(start)) is not None:
        return _type_of_json(json, start, said)
    unmarked = [t for t in said if _is_unmarked(t)]
    # Where a name is a generic one as well, a type whose marks are missing isn't what it says.
    vague = [t for t in named if t.is_generic]
    if unmarked or matching or (said and not vague):
        return (unmarked or matching or said)[0]
    return _type_of_plain_text(text, vague or named)


_HTML_START = re.compile(r"<(?:!doctype html|html|table|div|meta|head|style)\b", re.IGNORECASE)


def _guess(start: str) -> FileType | None:
    """The language of a text without a name, where it gives itself away."""
    from kernel_startup.checks import text

    return TYPES.get(text.guess_type(start) or "")


def _is_unmarked(file_type: FileType) -> bool:
    is_table = file_type.family == "tabular"
    return not (file_type.container or file_type.patterns or file_type.check or is_table)


@lru_cache(maxsize=1)
def _with_patterns() -> tuple[FileType, ...]:
    return tuple(t for t in TYPES.values() if t.is_text and t.patterns and not t.container)


def _fits(file_type: FileType, start: str) -> bool:
    return any(_compiled(pattern).match(start) for pattern in file_type.patterns)


@lru_cache(maxsize=2000)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.MULTILINE)


def _type_of_xml(
    root: tuple[str, str], start: str, said: Sequence[FileType], matching: Sequence[FileType]
) -> FileType:
    namespace, local = root
    names = {local, f"{{{namespace}}}{local}"}
    fitting = [t for t in TYPES.values() if t.container == "xml" and names.intersection(t.roots)]
    if fitting:
        # A root with its namespace is more particular than one without.
        best = [t for t in fitting if f"{{{namespace}}}{local}" in t.roots]
        return _choose(said, fitting, best)
    if matching:
        return matching[0]
    plain = TYPES.get("xml", TYPES["text"])
    return next((t for t in said if t.container == "xml" and not t.roots), plain)


def _type_of_json(kind: str, start: str, said: Sequence[FileType]) -> FileType:
    written = [t for t in TYPES.values() if t.container == "json"]
    fitting = [t for t in written if _fits(t, start)]
    if fitting:
        return _choose(said, fitting)
    named = (t for t in said if t in written and not t.patterns)
    return next((t for t in named if t.name not in ("json", "jsonl")), TYPES[kind])


def _type_of_plain_text(text: str, named: Sequence[FileType]) -> FileType:
    from kernel_startup import dialect

    delimiter = dialect.sniff_delimiter(text)
    # What is called a text has to be a table beyond doubt.
    is_called_text = any(t.name == "text" for t in named)
    if delimiter is not None and (not is_called_text or dialect.is_plain_table(text, delimiter)):
        return TYPES["tsv" if delimiter == "\t" else "csv"]
    if dialect.is_spaced_table(text):
        return TYPES["ssv"]
    return _first((*(t for t in named if t.is_text), TYPES["text"]))
