"""Zips of XML (docx, odt, epub, xps, ...): members and trees, with bounds on both."""

import re
import zipfile
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.source import Source

#: What all members of a document may unpack to, and one that is parsed as a tree, which takes up
#: to twenty times as much memory.
MAX_UNPACKED_BYTES = 512 * 1024 * 1024
MAX_TREE_BYTES = 64 * 1024 * 1024
#: One long row makes every row of its table as long.
MAX_CELLS = 2_000_000


class Package:
    """A document's zip; a context manager."""

    def __init__(self, source: Source, seems: str) -> None:
        self.source = source
        self.seems = seems
        if source.head.startswith(b"\xd0\xcf\x11\xe0"):  # Office encrypts into an OLE file
            raise FileLoadError(
                source.name,
                f"{seems} protected by a password",
                remedy="Saving it without one would help, or the package msoffcrypto-tool",
            )
        self._file = source.open()
        try:
            self._zip = zipfile.ZipFile(self._file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            self._file.close()
            raise FileLoadError(
                source.name, f"{seems} that is cut off or damaged", reason=str(error)
            ) from error
        self.names = self._zip.namelist()
        self._lower = {name.lower().lstrip("/"): name for name in reversed(self.names)}
        unpacked = sum(info.file_size for info in self._zip.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            self.__exit__()
            raise FileLoadError(
                source.name,
                f"{seems} whose parts unpack to {unpacked >> 20:,} MiB",
                reason=f"more than {MAX_UNPACKED_BYTES >> 20} MiB aren't unpacked",
            )

    def __enter__(self) -> "Package":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name.lower().lstrip("/") in self._lower

    def read(self, name: str) -> bytes:
        """Read a member, whatever case its name is written in.

        Raises:
            FileLoadError: It isn't there, is encrypted or is damaged.
        """
        try:
            return self._zip.read(self._lower[name.lower().lstrip("/")])
        except KeyError:
            raise FileLoadError(
                self.source.name, self.seems, reason=f"it has no {name!r} in it"
            ) from None
        except Exception as error:  # zlib, lzma, a bad CRC, a password, an unheard-of method
            reason = str(error)
            if isinstance(error, RuntimeError) and "encrypted" in reason:
                reason = f"its part {name!r} is encrypted"
            raise FileLoadError(
                self.source.name, f"{self.seems} that is damaged or protected", reason=reason
            ) from error

    def tree(self, name: str) -> Any:
        """Parse a member as XML; gives its root element."""
        return parse_xml(self.read(name), self.source, self.seems)


def parse_xml(content: bytes, source: Source, seems: str) -> Any:
    """Parse XML: no entities, no network, a bounded tree; gives the root element.

    Raises:
        FileLoadError: It is too large, or isn't XML at all.
    """
    from lxml import etree

    if len(content) > MAX_TREE_BYTES:
        raise FileLoadError(
            source.name,
            f"{seems} with {len(content) >> 20:,} MiB of XML in one part",
            reason=f"no more than {MAX_TREE_BYTES >> 20} MiB are parsed",
        )
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, recover=True, remove_comments=True
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise FileLoadError(source.name, f"{seems}, damaged", reason=str(error)) from error
    if root is None:
        raise FileLoadError(source.name, f"{seems}, damaged", reason="there is no XML in it")
    return root


def local(element: Any) -> str:
    """An element's name without its namespace; empty for what isn't an element."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def html_text(content: bytes | str, encoding: str | None = None) -> str:
    """The text of a page of HTML: a line for each block, none of scripts and styles."""
    from lxml import html

    if len(content) > MAX_TREE_BYTES:
        content = content[:MAX_TREE_BYTES]
    if isinstance(content, str):
        content, encoding = content.encode("utf-8", "replace"), "utf-8"
    if not content.strip():
        return ""
    parser = html.HTMLParser(encoding=encoding, no_network=True, remove_comments=True)
    try:
        root = html.document_fromstring(content, parser=parser)
    except Exception:  # an empty page, in lxml's many words
        return ""
    return element_text(root)


_BLOCKS = frozenset(
    (
        *("p", "div", "br", "h1", "h2", "h3", "h4", "h5", "h6", "li", "tr"),
        *(
            "table",
            "ul",
            "ol",
            "dl",
            "dt",
            "dd",
            "blockquote",
            "pre",
            "section",
            "article",
            "header",
        ),
        *(
            "footer",
            "hr",
            "title",
            "caption",
            "figcaption",
            "form",
            "address",
            "nav",
            "aside",
            "main",
            "body",
        ),
        *("subtitle", "v", "text-author", "stanza", "epigraph", "empty-line"),
    )
)
_HIDDEN = frozenset(("script", "style", "head", "noscript", "template", "binary"))


def element_text(root: Any) -> str:
    """The text below an element of HTML, a line for each block."""
    parts: list[str] = []
    # Not recursive: pages are nested as deeply as somebody likes.
    stack: list[tuple[Any, bool]] = [(root, True)]
    while stack:
        element, opening = stack.pop()
        name = local(element).lower()
        if opening:
            if name and name not in _HIDDEN:
                if name in _BLOCKS:
                    parts.append("\n")
                elif name in ("td", "th"):
                    parts.append("\t")
                parts.append(_blanks(element.text))
                stack.append((element, False))
                stack += [(child, True) for child in reversed(element)]
                continue
        elif name in _BLOCKS:
            parts.append("\n")
        if element is not root:
            parts.append(_blanks(element.tail))
    return tidy("".join(parts))


def _blanks(text: str | None) -> str:
    return re.sub(r"\s+", " ", text) if text else ""


def tidy(text: str) -> str:
    """Take out blanks at the ends of lines, and empty lines but one."""
    lines = [line.strip(" \t\r\f\v") for line in text.split("\n")]
    kept = [line for index, line in enumerate(lines) if line or (index and lines[index - 1])]
    return "\n".join(kept).strip()


def frame_of(rows: list[list[str]]) -> Any:
    """A DataFrame of a document's table: the first row names the columns if it can."""
    import pandas as pd

    width = min(max(map(len, rows), default=0), MAX_CELLS)
    rows = [row[:width] for row in rows[: MAX_CELLS // max(width, 1)]]
    filled = [row + [""] * (width - len(row)) for row in rows]
    if len(filled) > 1 and all(filled[0]) and len(set(filled[0])) == width:
        return pd.DataFrame(filled[1:], columns=pd.Index(filled[0]), dtype=object)
    return pd.DataFrame(filled, dtype=object)
