"""PDF, OpenDocument, XPS, Visio, Hangul and other documents that are pages of text."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, overload

from kernel_startup.document import Document
from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.loaders.described import source_info
from kernel_startup.loaders.packed import (
    Package,
    frame_of,
    html_text,
    local,
    parse_xml,
    tidy,
)
from kernel_startup.source import Source

#: A text that is taken from a document without end must end somewhere.
MAX_TEXT_CHARACTERS = 200_000_000


# -- PDF -----------------------------------------------------------------------------------------


class PdfPage:
    """One page of a PDF.

    Attributes:
        number: Its place, from 1.
    """

    def __init__(self, document: Any, index: int, name: str) -> None:
        self._document = document
        self._index = index
        self._name = name
        self.number = index + 1

    def _open(self) -> Any:
        import pypdfium2

        try:
            return self._document[self._index]
        except pypdfium2.PdfiumError as error:
            raise FileLoadError(
                self._name, f"a PDF whose page {self.number} is damaged", reason=str(error)
            ) from error

    @property
    def text(self) -> str:
        """Its text; empty if it is a picture of a text."""
        page = self._open()
        try:
            text_page = page.get_textpage()
            try:
                return str(text_page.get_text_bounded()).replace("\r\n", "\n")
            finally:
                text_page.close()
        finally:
            page.close()

    @property
    def size(self) -> tuple[float, float]:
        """Its width and height in points (1/72 inch)."""
        page = self._open()
        try:
            width, height = page.get_size()
        finally:
            page.close()
        return float(width), float(height)

    def render(self, dpi: float = 150) -> Any:
        """Draw it as a PIL.Image; the dots are made fewer where it would be enormous."""
        width, height = self.size
        most = 50_000_000  # pixels
        scale = min(dpi / 72, (most / max(width * height, 1)) ** 0.5)
        page = self._open()
        try:
            return page.render(scale=scale).to_pil()
        finally:
            page.close()

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<page {self.number}; .text, .render()>"


class PdfPages(Sequence[PdfPage]):
    """The pages of a PDF, each opened when it is asked for."""

    def __init__(self, document: Any, name: str) -> None:
        self._document = document
        self._name = name

    def __len__(self) -> int:
        return len(self._document)

    @overload
    def __getitem__(self, index: int) -> PdfPage: ...
    @overload
    def __getitem__(self, index: slice) -> list[PdfPage]: ...
    def __getitem__(self, index: int | slice) -> PdfPage | list[PdfPage]:
        numbers = range(len(self))[index]
        if isinstance(numbers, int):
            return PdfPage(self._document, numbers, self._name)
        return [PdfPage(self._document, number, self._name) for number in numbers]

    def __repr__(self) -> str:
        return f"<{len(self)} pages>"


class PdfDocument:
    """A PDF, opened by pypdfium2 and read page by page.

    Attributes:
        pages: Its pages: `pdf.pages[0].text`, `pdf.pages[0].render(dpi=150)`.
        pdfium: The `pypdfium2.PdfDocument`, for all the rest.
    """

    def __init__(self, name: str, pdfium: Any) -> None:
        self.name = name
        self.pdfium = pdfium
        self.pages = PdfPages(pdfium, name)

    @property
    def text(self) -> str:
        """The text of all pages, a form feed between them."""
        pieces = []
        left = MAX_TEXT_CHARACTERS
        for page in self.pages:
            try:
                pieces.append(page.text[:left])
            except FileLoadError:  # the others may be whole
                pieces.append("")
            left -= len(pieces[-1])
            if left <= 0:
                break
        return "\f".join(pieces)

    @property
    def metadata(self) -> dict[str, str]:
        """What it says of itself: "Title", "Author", "CreationDate", ..."""
        return {name: value for name, value in self.pdfium.get_metadata_dict().items() if value}

    @property
    def outline(self) -> list[tuple[int, str, int | None]]:
        """Its bookmarks: level from 0, title, page number from 1 (None if it leads elsewhere)."""
        found = []
        for bookmark in self.pdfium.get_toc(max_depth=15):
            target = bookmark.get_dest()
            index = target.get_index() if target else None
            found.append(
                (bookmark.level, bookmark.get_title(), None if index is None else index + 1)
            )
            if len(found) >= 100_000:
                break
        return found

    def render(self, page: int = 1, dpi: float = 150) -> Any:
        """Draw a page, counted from 1, as a PIL.Image."""
        if not 1 <= page <= len(self.pages):
            raise IndexError(f"page={page}: {self.name!r} has {len(self.pages)} pages, from 1")
        return self.pages[page - 1].render(dpi)

    def __len__(self) -> int:
        return len(self.pages)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, index: int) -> PdfPage:
        return self.pages[index]

    def __iter__(self) -> Iterator[PdfPage]:
        return iter(self.pages)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<PDF {self.name!r}: {len(self)} pages; .text, .pages[0].text, .render(page=1)>"


def load_pdf(source: Source, *, password: str | None = None) -> PdfDocument:
    """Open a PDF; its pages are read when they are asked for."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(str(source.as_path()), password=password)
        len(document)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            given = "the password isn't right" if password else "it asks for a password"
            raise FileLoadError(
                source.name,
                "a PDF protected by a password",
                reason=given,
                remedy='With password="..." it opens',
            ) from error
        raise FileLoadError(
            source.name, "a PDF that is cut off or damaged", "pypdfium2", str(error)
        ) from error
    return PdfDocument(source.name, document)


def load_illustrator(source: Source, *, password: str | None = None) -> object:
    """Open an Illustrator file: since version 9 it has a PDF in it; before, it is PostScript."""
    if b"%PDF-" in source.head[:1024]:
        return load_pdf(source, password=password)
    facts: dict[str, object] = {}
    head = source.head[:20_000].decode("latin-1")
    for field in ("Creator", "Title", "For", "CreationDate", "BoundingBox", "Pages"):
        if found := re.search(rf"(?m)^%%{field}:[ \t]*+([^\r\n]{{1,200}})", head):
            facts[field] = found.group(1).strip()
    return source_info(source, facts, "It is PostScript: Ghostscript turns it into a PDF.")


# -- OpenDocument --------------------------------------------------------------------------------

_ODF_TITLES = {
    "text": "OpenDocument text",
    "presentation": "OpenDocument presentation",
    "drawing": "OpenDocument drawing",
    "graphics": "OpenDocument drawing",
    "formula": "OpenDocument formula",
    "chart": "OpenDocument chart",
    "math": "OpenDocument formula",
    "spreadsheet": "OpenDocument spreadsheet",
}
# OpenOffice 1 doesn't say in the content what it is.
_OLD_KINDS = {
    "presentation": "presentation",
    "impress": "presentation",
    "xml.draw": "drawing",
    "xml.math": "formula",
}


def load_odf(source: Source) -> Document:
    """Read an OpenDocument text, presentation, drawing or formula, or one of OpenOffice 1."""
    seems = "an OpenDocument file"
    with Package(source, seems) as package:
        mime_type = ""
        if "META-INF/manifest.xml" in package:
            manifest = package.read("META-INF/manifest.xml")
            if stated := re.search(rb'media-type="(application/vnd\.[\w.+-]{1,100})"', manifest):
                mime_type = stated.group(1).decode()  # the first entry is the whole
            if b"encryption-data" in manifest:
                raise FileLoadError(
                    source.name,
                    f"{seems} protected by a password",
                    remedy="Saving it without one, in LibreOffice, would help",
                )
        content = package.tree("content.xml")
        if "mimetype" in package:
            mime_type = package.read("mimetype")[:200].decode("ascii", "replace").strip()
        metadata = _odf_metadata(package.tree("meta.xml")) if "meta.xml" in package else {}
    return _odf_document(source, content, mime_type, metadata)


def load_flat_odf(source: Source) -> Document:
    """Read an OpenDocument file that is a single XML file."""
    root = parse_xml(source.read(), source, "a flat OpenDocument file")
    mime_type = next((v for k, v in root.attrib.items() if k.endswith("}mimetype")), "")
    return _odf_document(source, root, mime_type, _odf_metadata(root))


def _odf_document(source: Source, root: Any, mime_type: str, metadata: dict[str, Any]) -> Document:
    body = next(root.iter("{*}body"), root)
    kind = next((local(child) for child in body if local(child) in _ODF_TITLES), "")
    kind = kind or (local(root) if local(root) == "math" else "text")
    pages = [odf_text(page) for page in body.iter("{*}page")]
    kind = next((k for mark, k in _OLD_KINDS.items() if mark in mime_type), kind)
    is_presentation = kind == "presentation"
    return Document(
        source.name,
        _ODF_TITLES.get(kind, "OpenDocument file"),
        odf_text(body),
        tables=_odf_tables(body),
        slides=pages if is_presentation else [],
        pages=[] if is_presentation else pages,
        metadata=metadata,
        mime_type=mime_type,
    )


def _odf_metadata(root: Any) -> dict[str, Any]:
    meta = next(root.iter("{*}meta"), None)
    found: dict[str, Any] = {}
    if meta is not None:
        for element in list(meta)[:200]:
            name, text = local(element), (element.text or "").strip()
            if name and text and name != "user-defined":
                found.setdefault(name, text)
    return found


_ODF_BLOCKS = frozenset(("p", "h", "table-row", "page", "list-item", "math", "annotation"))
# A change that is kept on record, and what the program needs.
_ODF_SKIPPED = frozenset(
    (
        *("tracked-changes", "forms", "scripts", "binary-data", "event-listeners"),
        *("sequence-decls", "variable-decls", "user-field-decls", "settings", "automatic-styles"),
        *("styles", "font-face-decls", "annotation-xml", "notes"),
    )
)


def odf_text(root: Any) -> str:
    """The text below an element of OpenDocument, a line for each paragraph."""
    parts: list[str] = []
    stack: list[tuple[Any, bool]] = [(root, True)]
    while stack:
        element, opening = stack.pop()
        name = local(element)
        if opening and name and name not in _ODF_SKIPPED:
            parts.append(_odf_mark(element, name))
            parts.append(element.text or "")
            stack.append((element, False))
            stack += [(child, True) for child in reversed(element)]
            continue
        if not opening:
            if name in _ODF_BLOCKS:
                parts.append("\n")
            elif name == "table-cell":
                parts.append("\t")
        if element is not root:
            parts.append(element.tail or "")
    # A cell's paragraph ends its line; the tab after it belongs to the same row.
    return tidy("".join(parts).replace("\n\t", "\t"))


def _odf_mark(element: Any, name: str) -> str:
    if name == "s":
        count = next((v for k, v in element.attrib.items() if k.endswith("}c")), "1")
        return " " * (min(int(count), 1000) if count.isdecimal() and len(count) < 9 else 1)
    return {"tab": "\t", "tab-stop": "\t", "line-break": "\n"}.get(name, "")


def _odf_tables(body: Any) -> list[Any]:
    tables = []
    for table in body.iter("{*}table"):
        rows = []
        for row in table.iter("{*}table-row"):
            cells = [c for c in row if local(c) in ("table-cell", "covered-table-cell")]
            rows.append([odf_text(cell) for cell in cells])
        if rows:
            tables.append(frame_of(rows))
        if len(tables) >= 10_000:
            break
    return tables


# -- other zips of XML ---------------------------------------------------------------------------


def load_xps(source: Source) -> Document:
    """Read the text of an XPS document, page by page, in the order it is drawn in."""
    with Package(source, "an XPS document") as package:
        names = sorted(
            (name for name in package.names if name.lower().endswith(".fpage")), key=_number_order
        )
        pages = [_xps_text(_xps_page(package, name)) for name in names]
    if not names:
        raise FileLoadError(source.name, "an XPS document without pages")
    return Document(source.name, "XPS document", "\n\n".join(pages), pages=pages)


def _xps_page(package: Package, name: str) -> Any:
    content = package.read(name)
    return parse_xml(content, package.source, package.seems)


def _xps_text(page: Any) -> str:
    lines: list[tuple[str, list[str]]] = []
    for glyphs in page.iter("{*}Glyphs"):
        text = glyphs.get("UnicodeString") or ""
        text = text.removeprefix("{}")
        height = glyphs.get("OriginY") or ""
        if not lines or lines[-1][0] != height:
            lines.append((height, []))
        lines[-1][1].append(text)
    return tidy("\n".join("".join(pieces) for _, pieces in lines))


def load_visio(source: Source) -> Document:
    """Read the text of a Visio drawing, page by page."""
    with Package(source, "a Visio drawing") as package:
        pattern = re.compile(r"visio/pages/page(\d+)\.xml", re.IGNORECASE)
        names = sorted((n for n in package.names if pattern.fullmatch(n)), key=_number_order)
        titles = _visio_titles(package)
        pages = []
        for name in names:
            texts = [_joined(text) for text in package.tree(name).iter("{*}Text")]
            pages.append(tidy("\n".join(filter(None, texts))))
    return Document(
        source.name,
        "Visio drawing",
        "\n\n".join(filter(None, pages)),
        pages=pages,
        metadata={"pages": titles} if titles else {},
    )


def _visio_titles(package: Package) -> list[str]:
    if "visio/pages/pages.xml" not in package:
        return []
    pages = package.tree("visio/pages/pages.xml").iter("{*}Page")
    return [page.get("Name") or "" for page in pages]


def _joined(element: Any) -> str:
    return "".join(element.itertext()).strip()


def load_hwpx(source: Source) -> Document:
    """Read the text of a Hangul document of the new format."""
    with Package(source, "a Hangul document") as package:
        pattern = re.compile(r"contents/section(\d+)\.xml", re.IGNORECASE)
        names = sorted((n for n in package.names if pattern.fullmatch(n)), key=_number_order)
        lines: list[str] = []
        for name in names:
            for paragraph in package.tree(name).iter("{*}p"):
                runs = [r for r in paragraph if local(r) == "run"]
                texts = [_joined_raw(t) for r in runs for t in r if local(t) == "t"]
                lines.append("".join(texts))
    return Document(source.name, "Hangul document", tidy("\n".join(lines)))


def _joined_raw(element: Any) -> str:
    return "".join(element.itertext())


def _number_order(name: str) -> list[tuple[int, str]]:
    """Sort page10 after page2, in whatever directories they lie."""
    pieces = re.findall(r"\d+|\D+", name.lower())
    return [(int(p[:18]), "") if p.isdecimal() and p.isascii() else (-1, p) for p in pieces]


def load_iwork(source: Source) -> object:
    """Say what Apple's Pages, Keynote or Numbers document holds; those of before 2013 give text.

    Later ones are in a format of Apple's own, but many have a preview as a PDF in them.
    """
    with Package(source, "an iWork document") as package:
        for name in ("index.xml", "index.apxl", "index.xml.gz", "index.apxl.gz"):
            if name in package:
                content = _perhaps_gzipped(package.read(name), source)
                text = _iwork_text(parse_xml(content, source, package.seems))
                return Document(source.name, "iWork '09 document", text)
        preview = next((n for n in package.names if n.lower().endswith("preview.pdf")), "")
        facts: dict[str, object] = {"members": len(package.names)}
        if preview:
            facts["preview"] = preview
    advice = "Pages, Keynote and Numbers export it as PDF, Word, PowerPoint or Excel."
    if preview:
        advice += f" The zip has {preview} in it."
    return source_info(source, facts, advice)


def _perhaps_gzipped(content: bytes, source: Source) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    import zlib

    limit = 64 * 1024 * 1024
    unpacked = zlib.decompressobj(31).decompress(content, limit)
    if len(unpacked) >= limit:
        raise FileLoadError(source.name, "an iWork document with far too large an index")
    return unpacked


def _iwork_text(root: Any) -> str:
    lines: list[str] = []
    for element in root.iter("{http://developer.apple.com/namespaces/sf}p"):
        lines.append("".join(element.itertext()))
    return tidy("\n".join(lines))


# -- plain XML -----------------------------------------------------------------------------------


def load_word_xml(source: Source) -> Document:
    """Read a Word document that is a single XML file: of Word 2003, or a flat docx."""
    from kernel_startup.loaders.word import body_tables, body_text

    root = parse_xml(source.read(), source, "a Word document in XML")
    body = next(root.iter("{*}body"), root)
    return Document(source.name, "Word document in XML", body_text(body), tables=body_tables(body))


# -- named, with what the header tells -----------------------------------------------------------


def load_djvu(source: Source) -> FileInfo:
    """Count the pages of a DjVu document."""
    head = source.head
    facts: dict[str, object] = {}
    if head[12:16] == b"DJVM":
        content = source.read()
        facts["pages"] = sum(
            content[place + 8 : place + 12] == b"DJVU" for place in _places(content, b"FORM")
        )
    else:
        facts["pages"] = 1
        at = head.find(b"INFO")
        if 0 < at <= len(head) - 18:
            facts["width"] = int.from_bytes(head[at + 8 : at + 10], "big")
            facts["height"] = int.from_bytes(head[at + 10 : at + 12], "big")
    return source_info(source, facts, "DjVuLibre's ddjvu turns it into a PDF.")


def _places(content: bytes, mark: bytes) -> Iterator[int]:
    place = content.find(mark)
    while place >= 0:
        yield place
        place = content.find(mark, place + 1)


def load_indesign(source: Source) -> FileInfo:
    """Say what an InDesign document's header tells."""
    order = "big" if source.head[24:25] == b"\2" else "little"
    return source_info(source, {"byte order": order}, "InDesign exports it as PDF or IDML.")


def load_idml(source: Source) -> Document:
    """Read the text of an InDesign markup package, story by story."""
    with Package(source, "an InDesign markup package") as package:
        pattern = re.compile(r"Stories/Story_[^/]{1,100}\.xml")
        stories = []
        for name in sorted(n for n in package.names if pattern.fullmatch(n)):
            pieces = [
                "\n" if local(e) == "Br" else e.text or ""
                for e in package.tree(name).iter("{*}Content", "{*}Br")
            ]
            stories.append("".join(pieces))
    return Document(source.name, "InDesign markup package", tidy("\n\n".join(stories)))


def load_html_text(source: Source) -> Document:
    """Read a document that is HTML underneath."""
    return Document(source.name, "document in HTML", html_text(source.read()))
