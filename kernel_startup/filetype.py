"""One row of the table of file types: how a type is called, recognised and loaded."""

from dataclasses import dataclass
from typing import Literal

#: One way for a file to begin: bytes at offsets, all of which must be there.
Signature = tuple[tuple[int, bytes], ...]

#: What a type is written in, where that is a format of its own.
Container = Literal["", "zip", "ole", "xml", "json"]


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity: rows are keys
class FileType:
    """One type of file.

    How it is recognised depends on what it is written in. A binary type has `signatures`, or else
    a `check`, or else is told by its name alone. A type in a container has what must be found
    there: `members`, `streams`, `roots` or `patterns`; one that has none of these is told by its
    name, if the container fits. A text has `patterns` where its content gives it away, and is
    otherwise told by its name.

    Attributes:
        name: Short lower-case name, unique in the table ("csv"); what the service records.
        family: The group it belongs to ("tabular").
        title: What a person calls it ("Comma-separated values"); no article, no full stop.
        extensions: Lower-case, without the leading dot, the usual one first. Types may share one.
        mime_type: The registered type, or the one in use.
        object: What `load_file` gives for it, in words that name the Python type first.
        loader: "module:function" inside `kernel_startup.loaders`; empty if it can't be loaded.
        signatures: The ways its content may begin.
        contains: Bytes that must all be in the head as well, at any place.
        check: "module:function" inside `kernel_startup.checks`, which takes the `Source` and says
            whether it is one; asked after the signatures, or instead of them, or after what must
            be found in a zip or an OLE file. Must be cheap.
        container: What it is written in.
        members: In a zip: names of members, all of which must be there; "*" stands for anything.
        streams: In an OLE file: names of streams or storages, all of which must be there.
        roots: In XML: names of the root element, any of which will do; "{namespace}name", or the
            name alone, without a prefix.
        patterns: In text or JSON: regular expressions, one of which must match at the beginning
            (after a byte order mark and blanks; MULTILINE, so that "[\\s\\S]*?^x" looks further).
        is_text: Whether the content is plain text that people can read (true of XML and JSON).
        is_generic: Its extensions say hardly anything (txt, dat): content may well say more.
        requires: Distributions the loader needs beyond the kernels' pinned ones, as requirements.
    """

    name: str
    family: str
    title: str
    extensions: tuple[str, ...]
    mime_type: str
    object: str
    loader: str
    signatures: tuple[Signature, ...] = ()
    contains: tuple[bytes, ...] = ()
    check: str = ""
    container: Container = ""
    members: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    is_text: bool = False
    is_generic: bool = False
    requires: tuple[str, ...] = ()


def starts(*magics: bytes) -> tuple[Signature, ...]:
    """Signatures of a type that begins with one of these."""
    return tuple(((0, magic),) for magic in magics)


def at(offset: int, *magics: bytes) -> tuple[Signature, ...]:
    """Signatures of a type that has one of these at an offset."""
    return tuple(((offset, magic),) for magic in magics)
