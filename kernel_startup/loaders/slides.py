"""PowerPoint presentations, shows and templates: python-pptx's object, with the text at hand."""

import re
from typing import Any

import pptx.presentation
from pptx.opc.package import PartFactory
from pptx.package import Package as SlidesPackage
from pptx.parts.presentation import PresentationPart

from kernel_startup.document import Document
from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.packed import Package, frame_of, local, tidy
from kernel_startup.source import Source

# python-pptx knows these parts, but not by the names that templates and shows give them.
for _kind in (
    "application/vnd.ms-powerpoint.presentation.macroEnabled.main+xml",
    "application/vnd.ms-powerpoint.slideshow.macroEnabled.main+xml",
    "application/vnd.ms-powerpoint.template.macroEnabled.main+xml",
    "application/vnd.openxmlformats-officedocument.presentationml.slideshow.main+xml",
    "application/vnd.openxmlformats-officedocument.presentationml.template.main+xml",
):
    PartFactory.part_type_for[_kind] = PresentationPart


class Presentation(pptx.presentation.Presentation):
    """`pptx.presentation.Presentation` with a little more at hand: `text`, `slide_texts`, `notes`
    (one for each slide) and `frames` (its tables as DataFrames).
    """

    @property
    def slide_texts(self) -> list[str]:
        """The text of each slide."""
        return [drawing_text(slide.element) for slide in self.slides]

    @property
    def notes(self) -> list[str]:
        """The speaker's notes of each slide; empty where there are none."""
        return [_notes_of(slide) for slide in self.slides]

    @property
    def text(self) -> str:
        """The text of all slides, an empty line between them."""
        return "\n\n".join(filter(None, self.slide_texts))

    @property
    def frames(self) -> list[Any]:
        """The tables of all slides as DataFrames."""
        return [table for slide in self.slides for table in drawing_tables(slide.element)]

    def __len__(self) -> int:
        return len(self.slides)

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Presentation: {len(self.slides)} slides; .text, .slides, .notes have them>"


def load_pptx(source: Source) -> object:
    """Open a presentation, a show or a template, macros or not, which aren't run."""
    with Package(source, "a PowerPoint presentation") as package:
        try:
            with source.open() as file:
                part = SlidesPackage.open(file).main_document_part
            presentation = part.presentation
            opened = Presentation(presentation.element, presentation.part)
            for slide in opened.slides:
                slide.element.tag  # noqa: B018 - each slide must be there
            return opened
        except Exception as error:  # a strict one, or one that lacks what python-pptx relies on
            return _read_ourselves(package, error)


def _notes_of(slide: Any) -> str:
    if not slide.has_notes_slide or slide.notes_slide.notes_text_frame is None:
        return ""
    return str(slide.notes_slide.notes_text_frame.text)


def _read_ourselves(package: Package, error: Exception) -> Document:
    pattern = re.compile(r"ppt/slides/slide(\d+)\.xml", re.IGNORECASE)
    found = [(int(m.group(1)[:9]), n) for n in package.names if (m := pattern.fullmatch(n))]
    if not found and "ppt/presentation.xml" not in package:
        raise FileLoadError(
            package.source.name, "a presentation without its main part", reason=str(error)
        )
    roots = [package.tree(name) for _, name in sorted(found)]
    package.source.note(
        f"{package.source.name!r} isn't as python-pptx expects it: .slides and .text have the "
        "text of its slides."
    )
    slides = [drawing_text(root) for root in roots]
    return Document(
        package.source.name,
        "PowerPoint presentation",
        "\n\n".join(filter(None, slides)),
        slides=slides,
        tables=[table for root in roots for table in drawing_tables(root)],
    )


def drawing_text(root: Any) -> str:
    """The text of a slide in DrawingML."""
    parts: list[str] = []
    for element in root.iter():
        name = local(element)
        if name == "t":
            parts.append(element.text or "")
        elif name == "br" or name in ("p", "tr", "sp"):
            parts.append("\n")
        elif name == "tc":
            parts.append("\t")
    return tidy(re.sub(r"\t\n", "\t", "".join(parts)))


def drawing_tables(root: Any) -> list[Any]:
    """The tables of a slide as DataFrames."""
    tables = []
    for table in root.iter("{*}tbl"):
        rows = [
            [drawing_text(cell) for cell in row if local(cell) == "tc"]
            for row in table
            if local(row) == "tr"
        ]
        if rows:
            tables.append(frame_of(rows))
    return tables
