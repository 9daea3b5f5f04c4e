"""The table of file types: what a file is, by its name and by its content.

Pure standard library, because the service (which never loads a user's file) names uploads with
it. A type is one `FileType` in its family's tuple below; its loader is written as a string and
imported when a file of that type is first loaded, so that the table can hold hundreds of types
and still cost nothing.
"""

import os
import re
import unicodedata
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernel_startup.source import Source

#: One way for a file to begin: bytes at offsets, all of which must be there.
Signature = tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class FileType:
    """One type of file, and how it is recognised and loaded.

    Attributes:
        name: Short lower-case name, unique in the table ("csv"); what the service records.
        family: The group it belongs to ("tabular").
        title: What a person calls it ("Comma-separated values").
        extensions: Lower-case, without the leading dot, the usual one first.
        mime_type: The registered type, or the one in use.
        object: What `load_file` gives for it, in words.
        loader: "module:function" inside `kernel_startup.loaders`; empty if it can't be loaded.
        signatures: The ways its content may begin. Empty for plain text, and for types that only
            a look inside their container tells.
        members: For types inside a zip: names of members, all of which must be there.
        is_text: Whether the content is plain text that people can read.
        requires: Distributions the loader needs beyond the kernels' pinned ones.
    """

    name: str
    family: str
    title: str
    extensions: tuple[str, ...]
    mime_type: str
    object: str
    loader: str
    signatures: tuple[Signature, ...] = ()
    members: tuple[str, ...] = ()
    is_text: bool = False
    requires: tuple[str, ...] = ()


def _starts(*magics: bytes) -> tuple[Signature, ...]:
    return tuple(((0, magic),) for magic in magics)


_ZIP = _starts(b"PK\x03\x04")
_OLE = _starts(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")

_TABULAR = (
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

_SHEETS = "pandas.DataFrame; with several sheets a dict of sheet name -> pandas.DataFrame"
_SPREADSHEET = (
    FileType(
        name="xlsx",
        family="spreadsheet",
        title="Excel workbook",
        extensions=("xlsx",),
        mime_type="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        object=_SHEETS,
        loader="spreadsheet:load_workbook",
        signatures=_ZIP,
        members=("xl/workbook.xml",),
    ),
    FileType(
        name="xlsm",
        family="spreadsheet",
        title="Excel workbook with macros",
        extensions=("xlsm",),
        mime_type="application/vnd.ms-excel.sheet.macroEnabled.12",
        object=_SHEETS,
        loader="spreadsheet:load_workbook",
        signatures=_ZIP,
        members=("xl/workbook.xml", "xl/vbaProject.bin"),
    ),
    FileType(
        name="xlsb",
        family="spreadsheet",
        title="Excel binary workbook",
        extensions=("xlsb",),
        mime_type="application/vnd.ms-excel.sheet.binary.macroEnabled.12",
        object=_SHEETS,
        loader="spreadsheet:load_workbook",
        signatures=_ZIP,
        members=("xl/workbook.bin",),
    ),
    FileType(
        name="xls",
        family="spreadsheet",
        title="Excel 97-2003 workbook",
        extensions=("xls",),
        mime_type="application/vnd.ms-excel",
        object=_SHEETS,
        loader="spreadsheet:load_workbook",
        signatures=_OLE,
    ),
    FileType(
        name="ods",
        family="spreadsheet",
        title="OpenDocument spreadsheet",
        extensions=("ods",),
        mime_type="application/vnd.oasis.opendocument.spreadsheet",
        object=_SHEETS,
        loader="spreadsheet:load_workbook",
        signatures=_ZIP,
    ),
)

_STRUCTURED = (
    FileType(
        name="json",
        family="structured",
        title="JSON",
        extensions=("json",),
        mime_type="application/json",
        object="pandas.DataFrame for a list of records, otherwise the dict, list or value itself",
        loader="structured:load_json",
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
        is_text=True,
    ),
)

_COLUMNAR = (
    FileType(
        name="parquet",
        family="columnar",
        title="Apache Parquet",
        extensions=("parquet", "pq"),
        mime_type="application/vnd.apache.parquet",
        object="pandas.DataFrame",
        loader="columnar:load_parquet",
        signatures=_starts(b"PAR1"),
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
            *_starts(b"ARROW1\0\0", b"FEA1"),
            ((0, b"\xff\xff\xff\xff"), (6, b"\0\0\x10\0\0\0")),
        ),
    ),
)


def _image(
    name: str, title: str, extensions: tuple[str, ...], signatures: tuple[Signature, ...], mime: str
) -> FileType:
    return FileType(
        name=name,
        family="image",
        title=title,
        extensions=extensions,
        mime_type=mime,
        object="PIL.Image.Image",
        loader="images:load_image",
        signatures=signatures,
    )


_IMAGE = (
    _image("png", "PNG image", ("png", "apng"), _starts(b"\x89PNG\r\n\x1a\n"), "image/png"),
    _image(
        "jpeg",
        "JPEG image",
        ("jpg", "jpeg", "jpe", "jfif"),
        _starts(b"\xff\xd8\xff"),
        "image/jpeg",
    ),
    _image("gif", "GIF image", ("gif",), _starts(b"GIF87a", b"GIF89a"), "image/gif"),
    _image(
        "bmp",
        "Windows bitmap",
        ("bmp", "dib"),
        # "BM" alone begins many texts: four reserved bytes and the header's size settle it.
        tuple(
            ((0, b"BM"), (6, b"\0\0\0\0"), (14, bytes([size]) + b"\0\0\0"))
            for size in (12, 40, 52, 56, 64, 108, 124)
        ),
        "image/bmp",
    ),
    _image("webp", "WebP image", ("webp",), (((0, b"RIFF"), (8, b"WEBP")),), "image/webp"),
    _image(
        "tiff",
        "TIFF image",
        ("tiff", "tif"),
        _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        "image/tiff",
    ),
    _image(
        "ico",
        "Windows icon",
        ("ico",),
        # No more than 255 pictures, and the reserved byte of the first one.
        (((0, b"\0\0\1\0"), (5, b"\0"), (9, b"\0")),),
        "image/vnd.microsoft.icon",
    ),
)

_TEXT = (
    FileType(
        name="text",
        family="text",
        title="Plain text",
        extensions=(
            *("txt", "text", "log", "md", "markdown", "rst", "adoc", "org", "tex", "bib", "diff"),
            *("patch", "ini", "cfg", "conf", "env", "toml", "yaml", "yml", "properties", "xml"),
            *("html", "htm", "css", "js", "mjs", "ts", "tsx", "jsx", "vue", "svelte", "py", "pyi"),
            *("r", "rmd", "jl", "c", "h", "cc", "cpp", "cxx", "hpp", "cs", "java", "kt", "scala"),
            *("go", "rs", "swift", "rb", "php", "pl", "lua", "sh", "bash", "zsh", "fish", "ps1"),
            *("bat", "sql", "graphql", "proto", "hs", "ml", "ex", "exs", "erl", "clj", "dart"),
            *("srt", "vtt", "ics", "eml", "gitignore", "dockerfile", "makefile"),
        ),
        mime_type="text/plain",
        object="str",
        loader="text:load_text",
        is_text=True,
    ),
)

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
TYPES = MappingProxyType(
    {
        file_type.name: file_type
        for family in (_TABULAR, _SPREADSHEET, _STRUCTURED, _COLUMNAR, _IMAGE, _TEXT, (UNKNOWN,))
        for file_type in family
    }
)

_BY_EXTENSION = MappingProxyType(
    {extension: file_type for file_type in TYPES.values() for extension in file_type.extensions}
)

#: Compressions that wrap a single file: the extension says nothing about what is inside.
_WRAPPERS = frozenset({"gz", "bz2", "xz", "zst"})


def type_of_name(name: str) -> FileType:
    """Tell a file's type by its name alone, as for a file whose content isn't at hand.

    Case doesn't matter, the longest known suffix wins, and a compression around one file is
    looked through: "SALES.CSV" and "sales.csv.gz" are both csv. `UNKNOWN` if the name says nothing.
    """
    parts = os.path.basename(name.strip()).lower().split(".")
    if len(parts) == 1:  # "Makefile" and "Dockerfile" are their own extension
        return _BY_EXTENSION.get(parts[0], UNKNOWN) if parts[0].endswith("file") else UNKNOWN
    if parts[-1] in _WRAPPERS and ".".join(parts[-2:]) not in _BY_EXTENSION:
        parts.pop()
    for first in range(1, len(parts)):
        file_type = _BY_EXTENSION.get(".".join(parts[first:]))
        if file_type is not None:
            return file_type
    return UNKNOWN


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
    if suffix.lower().lstrip(".") in _WRAPPERS:
        stem, inner = os.path.splitext(stem)
        suffix = inner + suffix
    if len(suffix.encode()) > _MAX_SUFFIX_BYTES:
        return name, ""
    return stem, suffix


# --- what a file is, by its content -----------------------------------------------------------


def type_of_content(path: str | os.PathLike[str], name: str = "") -> FileType:
    """Tell a file's type by what is in it; its name only refines the answer.

    A name can choose among types that look alike (a table or a plain text), but it can't make a
    picture of a zip. A compression around a single file is looked through. Reads a bounded head.

    Args:
        path: Where the file lies.
        name: The name it was given, if that isn't the last part of `path`.

    Raises:
        OSError: It can't be read, or its compression is broken.
    """
    from kernel_startup.source import Source

    with Source(path, name=name) as source:
        return type_of_source(source)


def type_of_source(source: "Source") -> FileType:
    """`type_of_content` of a file that is already open."""
    head = source.head
    named = type_of_name(source.name)
    if not head:
        return named
    matching = [
        file_type
        for file_type in TYPES.values()
        if any(_matches(signature, head) for signature in file_type.signatures)
    ]
    if not matching:
        return _type_of_text(source, named)
    if matching[0].signatures in (_ZIP, _OLE):
        return _type_in_container(source, named, matching)
    return named if named in matching else matching[0]


def _matches(signature: Signature, head: bytes) -> bool:
    return all(head.startswith(magic, offset) for offset, magic in signature)


def _type_in_container(source: "Source", named: FileType, matching: list[FileType]) -> FileType:
    from kernel_startup import containers

    try:
        if matching[0].signatures is _OLE:
            with source.open() as file:
                streams = containers.ole_streams(file)
            if "EncryptedPackage" in streams:  # a password: what is inside can't be seen
                return named if named.family == "spreadsheet" else TYPES["xlsx"]
            return TYPES["xls"] if streams & {"Workbook", "Book"} else UNKNOWN
        with source.open() as file:
            members, mimetype = containers.zip_members(file)
    except containers.BrokenContainer:
        # Cut off or damaged: the name is all that is left, and the loader will say so.
        return named if named in matching else UNKNOWN
    for file_type in matching:
        if file_type.mime_type == mimetype:
            return file_type
    fitting = [t for t in matching if t.members and members.issuperset(t.members)]
    # The one that asks for most is the most particular: a workbook with macros is a workbook too.
    return max(fitting, key=lambda t: len(t.members), default=UNKNOWN)


def _type_of_text(source: "Source", named: FileType) -> FileType:
    from kernel_startup import dialect, plaintext

    encoding = plaintext.sniff_encoding(source.head, whole=source.is_whole_in_head)
    if encoding is None:
        return UNKNOWN
    if named is TYPES["text"]:
        return named
    text = source.head.decode(encoding, errors="ignore")
    if (json := plaintext.sniff_json(text)) is not None:
        return TYPES[json]
    if named in (TYPES["csv"], TYPES["tsv"]):
        return TYPES["text"] if plaintext.looks_like_markup(text) else named
    delimiter = dialect.sniff_delimiter(text)
    if delimiter is not None:
        return TYPES["tsv" if delimiter == "\t" else "csv"]
    return named if named.is_text else TYPES["text"]
