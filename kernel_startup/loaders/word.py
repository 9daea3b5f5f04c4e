"""Word documents and templates: python-docx's object, with the text and the tables at hand."""

from typing import Any

import docx.document
from docx.opc.part import PartFactory
from docx.package import Package as WordPackage
from docx.parts.document import DocumentPart

from kernel_startup.document import Document
from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.packed import Package, frame_of, local, tidy
from kernel_startup.source import Source

# python-docx knows these parts, but not by the names that templates and macros give them.
for _kind in (
    "application/vnd.ms-word.document.macroEnabled.main+xml",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml",
    "application/vnd.ms-word.template.macroEnabledTemplate.main+xml",
):
    PartFactory.part_type_for[_kind] = DocumentPart


class WordDocument(docx.document.Document):
    """`docx.document.Document` with a little more at hand: `text`, and `frames` (its tables as
    DataFrames).
    """

    @property
    def text(self) -> str:
        """All of its text, a line for each paragraph, text boxes and tables among them."""
        return body_text(self.element.body)

    @property
    def frames(self) -> list[Any]:
        """Its tables as DataFrames."""
        return body_tables(self.element.body)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        count = len(self.paragraphs)
        return f"<Word document: {count:,} paragraphs, {len(self.tables)} tables; .text has them>"


def load_docx(source: Source) -> object:
    """Open a Word document, template or one with macros, which aren't run."""
    with Package(source, "a Word document") as package:
        try:
            with source.open() as file:
                part = WordPackage.open(file).main_document_part
            document = part.document
            opened = WordDocument(document.element, document.part)
            opened.element.body.tag  # noqa: B018 - a document without a body can't be used
            return opened
        except Exception as error:  # a strict one, or one that lacks what python-docx relies on
            return _read_ourselves(package, error)


def _read_ourselves(package: Package, error: Exception) -> Document:
    name = next(
        (n for n in package.names if n.lower().startswith("word/document") and n.endswith(".xml")),
        "",
    )
    if not name:
        raise FileLoadError(
            package.source.name, "a Word document without a main part", reason=str(error)
        )
    root = package.tree(name)
    bodies = [element for element in root if local(element) == "body"]
    body = bodies[0] if bodies else root
    package.source.note(
        f"{package.source.name!r} isn't as python-docx expects it: .text and .tables have what is "
        "in it, styles are left out."
    )
    return Document(package.source.name, "Word document", body_text(body), tables=body_tables(body))


# What a tracked deletion took away, a field's instruction, and the copy of a drawing for old
# programs, aren't what a reader sees.
_SKIPPED = frozenset(("Fallback", "del", "moveFrom", "instrText", "delText", "pPr", "rPr", "tblPr"))


def body_text(body: Any) -> str:
    """The text of a body or a cell in WordprocessingML."""
    parts: list[str] = []
    stack: list[tuple[Any, bool]] = [(body, True)]
    while stack:
        element, opening = stack.pop()
        name = local(element)
        if not opening:
            parts.append({"p": "\n", "tc": "\t", "tr": "\n"}[name])
        elif name == "t":
            parts.append(element.text or "")
        elif name in ("tab", "ptab"):
            parts.append("\t")
        elif name in ("br", "cr"):
            parts.append("\n")
        elif name == "noBreakHyphen":
            parts.append("-")
        elif name and name not in _SKIPPED:
            if name in ("tc", "tr") or (name == "p" and not _is_last_in_cell(element)):
                stack.append((element, False))
            stack += [(child, True) for child in reversed(element)]
    return tidy("".join(parts))


def _is_last_in_cell(paragraph: Any) -> bool:
    parent = paragraph.getparent()
    return parent is not None and local(parent) == "tc" and paragraph.getnext() is None


def body_tables(body: Any) -> list[Any]:
    """The tables of a body as DataFrames; those within tables are text of their cells."""
    tables = []
    stack = [body]
    while stack:
        element = stack.pop()
        if local(element) == "tbl":
            rows = [
                [body_text(cell) for cell in row if local(cell) in ("tc", "sdt")]
                for row in element
                if local(row) == "tr"
            ]
            if rows:
                tables.append(frame_of(rows))
        else:
            stack += reversed(element)
    return tables
