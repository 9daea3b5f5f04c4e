"""An execution as the parts that a message is made of: texts, pictures, documents and files.

Pure: nothing is read, written or decoded beyond base64. Texts are as the kernel gave them, so
each front end makes them safe for its own screen.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from bot.html_text import html_text
from interpreter import CellError, DisplayData, ExecuteResult, Execution, Output, StoredFile, Stream

TextKind = Literal["stdout", "stderr", "display", "result", "error", "note"]


@dataclass(frozen=True, slots=True)
class RichText:
    """What a text came with: the same thing for a reader that can draw; None for what it hadn't.

    Attributes:
        html: As a table or a page without anything live in it.
        csv: All of a table, or as much as was sent of it.
        latex: As a formula, or a document's part.
        markdown: As markdown.
    """

    html: str | None = None
    csv: str | None = None
    latex: str | None = None
    markdown: str | None = None


@dataclass(frozen=True, slots=True)
class TextPart:
    """A text to show.

    Attributes:
        text: As the kernel wrote it; streams keep their line ends.
        kind: Where it comes from. "note" is ours: what happened to the cell, in a sentence.
        count: The n of `Out[n]`, for kind "result".
        rich: Other representations of it, None if there are none.
    """

    text: str
    kind: TextKind
    count: int | None = None
    rich: RichText | None = None


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A picture to show.

    Attributes:
        content: The picture's bytes; they begin as `mime` says, the rest is unchecked.
        mime: "image/png", "image/jpeg", "image/gif", "image/webp" or "image/svg+xml".
        filename: What to call it.
        alt: What it is, in words.
        file: The artifact with the same bytes, when the cell both showed and saved the picture;
            there is no `FilePart` for it then.
    """

    content: bytes
    mime: str
    filename: str
    alt: str
    file: StoredFile | None = None


@dataclass(frozen=True, slots=True)
class DocumentPart:
    """Something shown that needs a program of its own: a web page, a PDF, a chart's source, sound.

    Attributes:
        content: Its bytes.
        mime: Its type.
        filename: What to call it.
        chart: For a page that came with the source of the chart it shows: that source, from which
            it is drawn more easily.
    """

    content: bytes
    mime: str
    filename: str
    chart: "DocumentPart | None" = None


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file the cell made."""

    file: StoredFile


Part = TextPart | ImagePart | DocumentPart | FilePart

#: Pictures, the best first, with what their bytes must begin with.
_RASTER_IMAGES: Mapping[str, tuple[str, re.Pattern[bytes]]] = {
    "image/png": ("png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    "image/jpeg": ("jpg", re.compile(rb"\xff\xd8\xff")),
    "image/webp": ("webp", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    "image/gif": ("gif", re.compile(rb"GIF8[79]a")),
}

#: What IPython and most libraries print for an object that is meant to be seen in another form.
_BARE_REPR = re.compile(r"<[^<>\n]*>")

#: HTML whose point is lost as text.
_LIVE_HTML = re.compile(r"<(?:script|iframe|svg|canvas|audio|video|img)\b", re.IGNORECASE)

#: Sound and video in a page that shows nothing else, as IPython and matplotlib make it.
_PLAYED = re.compile(
    r"""src\s*=\s*["']data:((?:audio|video)/[\w.+-]{1,40})(?:;[\w=., -]{1,80})?;base64,"""
    r"""([\w+/=\s]+)["']"""
)
_LIVE_TAG = re.compile(r"<(script|iframe|svg|canvas|audio|video|img)\b", re.IGNORECASE)
#: What to call such a file.
_PLAYED_SUFFIXES: Mapping[str, str] = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
    "audio/x-flac": "flac",
    "audio/mp4": "m4a",
    "audio/x-m4a": "m4a",
    "audio/aac": "aac",
    "audio/webm": "webm",
    "video/mp4": "mp4",
    "video/x-m4v": "m4v",
    "video/webm": "webm",
    "video/ogg": "ogv",
    "video/quicktime": "mov",
}

#: Charts sent as their own source, by what to call the file.
_CHARTS = (
    (re.compile(r"application/vnd\.plotly\.v\d+\+json", re.ASCII), "plotly.json"),
    (re.compile(r"application/vnd\.vegalite\.v\d+(\.\d+)*\+json", re.ASCII), "vl.json"),
    (re.compile(r"application/vnd\.vega\.v\d+(\.\d+)*\+json", re.ASCII), "vg.json"),
    (re.compile(r"application/geo\+json"), "geojson"),
)


def parts(execution: Execution) -> tuple[Part, ...]:
    """Everything of one execution that is worth showing, in the order to show it.

    Outputs come first, in the order they arrived; then the files the cell made, what was left
    out, and what happened to the cell.
    """
    artifacts = {file.file_id: file for file in execution.artifacts}
    shown: list[Part] = []
    figures = 0
    for output in execution.outputs:
        stem = _figure_stem(execution.count, figures + 1)
        new = output_parts(output, stem=stem, artifacts=artifacts)
        figures += any(isinstance(part, ImagePart | DocumentPart) for part in new)
        shown += new
    pictured = {part.file.file_id for part in shown if isinstance(part, ImagePart) and part.file}
    return (
        *shown,
        *(FilePart(file) for file in execution.artifacts if file.file_id not in pictured),
        *(TextPart(note, "note") for note in _notes(execution)),
    )


def output_parts(
    output: Output, *, stem: str, artifacts: Mapping[str, StoredFile] | None = None
) -> tuple[Part, ...]:
    """What to show of a single output, as soon as it is there.

    Args:
        output: The output.
        stem: What to call a picture or document in it, without suffix.
        artifacts: The cell's artifacts by id, once they are known.
    """
    match output:
        case Stream():
            return (TextPart(output.text, output.name),)
        case CellError():
            return (TextPart(output.text, "error"),)
        case ExecuteResult():
            bundle = _Bundle(output.data, stem)
            return tuple(bundle.parts("result", output.execution_count, None))
        case DisplayData():
            bundle = _Bundle(output.data, stem)
            file = (artifacts or {}).get(output.file_id or "")
            return tuple(bundle.parts("display", None, file))


def _notes(execution: Execution) -> Iterator[str]:
    """The sentences a person should read after the outputs."""
    if execution.message:
        yield execution.message
        return
    if execution.state_lost:
        yield (
            "The kernel had to be replaced: variables that were not restored are gone, your files "
            "are still there."
        )
    for skipped in execution.skipped:
        yield f"{skipped.name} was not kept: {skipped.reason}"


def _figure_stem(count: int | None, number: int) -> str:
    """What to call, without suffix, the `number`-th thing that a cell showed."""
    return f"cell-{count}-figure-{number}" if count else f"figure-{number}"


@dataclass(frozen=True, slots=True)
class _Bundle:
    """One MIME bundle: representations of the same thing, from which the best is chosen."""

    data: Mapping[str, Any]
    stem: str

    def parts(
        self, kind: TextKind, count: int | None, file: StoredFile | None
    ) -> Iterator[TextPart | ImagePart | DocumentPart]:
        image = self._image(file)
        chart = self._chart()
        played = self._played()
        page = None if played else self._page()
        document = replace(page, chart=chart) if page else played or chart or self._pdf()
        if image:
            yield image
        if document:
            yield document
        # A chart's text is its source once more, a picture's or a sound's says that it is one.
        text = "" if image or chart or played else self._text()
        if text and not (document and text == self._named()):
            yield TextPart(text, kind, count, self._rich())

    def _image(self, file: StoredFile | None) -> ImagePart | None:
        for mime, (suffix, beginning) in _RASTER_IMAGES.items():
            content = _decoded(self.data.get(mime))
            if content and beginning.match(content):
                name = file.filename if file else f"{self.stem}.{suffix}"
                return ImagePart(content, mime, name, self._alt(), file)
        svg = _joined(self.data.get("image/svg+xml"))
        if svg and "<svg" in svg:
            name = file.filename if file else f"{self.stem}.svg"
            return ImagePart(svg.encode(errors="replace"), "image/svg+xml", name, self._alt(), file)
        return None

    def _page(self) -> DocumentPart | None:
        html = _joined(self.data.get("text/html"))
        if not html or not _LIVE_HTML.search(html):
            return None
        return DocumentPart(html.encode(errors="replace"), "text/html", f"{self.stem}.html")

    def _played(self) -> DocumentPart | None:
        """Sound or video that a page is there for, as a file that plays by itself."""
        html = _joined(self.data.get("text/html")) or ""
        tags = [tag.lower() for tag in _LIVE_TAG.findall(html)]
        found = _PLAYED.search(html) if tags in (["audio"], ["video"]) else None
        if found is None or html_text(html[: found.start()] + html[found.end() :]):
            return None  # there is more to see than that
        mime, content = found[1].lower(), _decoded(found[2])
        suffix = _PLAYED_SUFFIXES.get(mime)
        if suffix is None or not content:
            return None
        stem = self.stem.replace("figure", mime.partition("/")[0])
        return DocumentPart(content, mime, f"{stem}.{suffix}")

    def _chart(self) -> DocumentPart | None:
        for mime, value in self.data.items():
            for pattern, suffix in _CHARTS:
                if pattern.fullmatch(mime):
                    source = json.dumps(value, ensure_ascii=False).encode(errors="replace")
                    return DocumentPart(source, mime, f"{self.stem}.{suffix}")
        return None

    def _pdf(self) -> DocumentPart | None:
        pdf = _decoded(self.data.get("application/pdf"))
        if not pdf or not pdf.startswith(b"%PDF-"):
            return None
        return DocumentPart(pdf, "application/pdf", f"{self.stem}.pdf")

    def _text(self) -> str:
        plain = _joined(self.data.get("text/plain"))
        if plain and not _is_bare(plain):
            return plain
        for mime in ("text/markdown", "text/latex"):
            if text := _joined(self.data.get(mime)):
                return text
        if (html := _joined(self.data.get("text/html"))) and (text := html_text(html)):
            return text
        if "application/json" in self.data:
            return json.dumps(self.data["application/json"], indent=2, ensure_ascii=False)
        return self._named()

    def _rich(self) -> RichText | None:
        rich = RichText(
            html=_joined(self.data.get("text/html")),
            csv=_joined(self.data.get("text/csv")),
            latex=_joined(self.data.get("text/latex")),
            markdown=_joined(self.data.get("text/markdown")),
        )
        return None if rich == RichText() else rich

    def _named(self) -> str:
        """For what can't be shown: what it would have been."""
        broken = [mime for mime in _RASTER_IMAGES if mime in self.data]
        if broken:
            return f"[a picture ({broken[0]}) that can't be decoded]"
        plain = _joined(self.data.get("text/plain"))
        return plain or (f"[{', '.join(sorted(self.data))}]" if self.data else "")

    def _alt(self) -> str:
        plain = (_joined(self.data.get("text/plain")) or "").strip()
        return plain.strip("<>").split("\n")[0][:200] or "picture"


def _is_bare(plain: str) -> bool:
    return _BARE_REPR.fullmatch(plain.strip()) is not None


def _joined(value: object) -> str | None:
    """A bundle's text; notebooks allow a list of lines. None for what is neither."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "".join(value)
    return None


def _decoded(value: object) -> bytes | None:
    """The bytes behind base64 text, or None: a kernel can send anything under any type."""
    text = _joined(value)
    if text is None:
        return None
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
