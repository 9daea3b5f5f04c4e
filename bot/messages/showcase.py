"""What cells showed and made, as words for a message and files to attach."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from bot.html_text import html_text
from bot.messages.archives import zip_bytes
from bot.messages.dialect import discord_markdown
from bot.messages.filenames import Names
from bot.messages.latex import unicode_math
from bot.messages.lengths import (
    first,
    from_line_start,
    last,
    length,
    shortened,
    to_line_end,
)
from bot.messages.offers import TooLarge, name_suffix
from bot.messages.plain import code_block, plain_sentence, visible
from bot.messages.tables import fits_block
from bot.outgoing import MAX_ALT_CHARS, Attachment
from bot.render import DocumentPart, FilePart, ImagePart, Part, RichText, TextPart
from interpreter import Execution, InterpreterError, StoredFile

#: Draws what is given, of this MIME type, as PNG; None if it can't be drawn.
Picture: TypeAlias = Callable[[bytes, str], Awaitable[bytes | None]]

#: Each picture may take seconds to draw.
_MAX_DRAWN = 10
_MAX_DRAWN_BYTES = 8 * 2**20
#: Files that Discord shows as pictures, and those that can be drawn as one.
_SHOWN_SUFFIXES = frozenset({"png", "jpg", "jpeg", "gif", "webp"})
_DRAWN_SUFFIXES = {"svg": "image/svg+xml", "html": "text/html", "htm": "text/html"}
#: What is shown of a long text: of its beginning and of its end.
_HEAD_CHARS, _TAIL_CHARS = 900, 500
_MAX_TRACEBACK_CHARS = 1_200
_MAX_LINES = 40
_MAX_MARKDOWN_CHARS = 6_000
_TABLE = re.compile(r"<table\b", re.IGNORECASE)
#: Where pandas goes on with the other columns below.
_FOLDED = re.compile(r"(?m) \\\s*$")
#: A pandas Styler's rules; a plain DataFrame has none with an id.
_STYLED = re.compile(r"#T_\w+[^{}]*\{\s*[a-z-]+\s*:")
#: What a picture's text is where it says nothing of what is to be seen.
_MUTE = re.compile(
    r"Figure size \d+x\d+ with \d+ Axes|picture|[\w.]+ (?:object|at 0x\w+)(?: at 0x\w+)?|"
)
_TITLE = re.compile(
    r"""(?:\b(?:sup|set_)?title\(\s*|\btitle\s*=\s*)(?P<quote>["'])(?P<title>[^"'\n{}]{3,200})(?P=quote)"""
)
_DRAWABLE = re.compile(r"text/html|application/vnd\.(?:plotly|vega|vegalite)\.v[\d.]+\+json")
#: What makes html a page, whose look says more than its words; tables are seen to before.
_PAGE = re.compile(
    r"<(?:h[1-6]|style|section|article|ul|ol|dl|details|progress|meter)\b|<\w+[^<>]*\bstyle\s*=",
    re.IGNORECASE,
)
_DATAFRAME = re.compile(r"""<table[^<>]*class=["'][^"']*\bdataframe\b""", re.IGNORECASE)
_MATH_MARKS = re.compile(r"^\s*(?:\$\$?|\\\[|\\\()|(?:\$\$?|\\\]|\\\))\s*$")


@dataclass(frozen=True, slots=True)
class Exhibit:
    """What became of one part: words in Discord's markdown, and files."""

    text: str = ""
    attachments: tuple[Attachment, ...] = ()


@dataclass(slots=True)
class Showcase:
    """Turns parts of cells into exhibits; knows what it has shown already.

    Attributes:
        picture: draws what Discord can't show.
        file_bytes: how large one file may be.
        too_large: what could not be attached.
        shown: the files attached so far, by what they are called where they come from.
        renamed: stored files of whose names little is left, with what they are called now.
    """

    picture: Picture
    file_bytes: int
    too_large: list[TooLarge] = field(default_factory=list)
    shown: dict[str, Attachment] = field(default_factory=dict)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    _names: Names = field(default_factory=Names)
    _digests: dict[str, Attachment | None] = field(default_factory=dict)
    _drawn: int = 0
    _numbers: dict[str, int] = field(default_factory=dict)

    async def show(self, part: Part, execution: Execution) -> Exhibit:
        """What becomes of a part of an execution."""
        match part:
            case TextPart():
                return await self._text(part, execution)
            case ImagePart():
                return await self._image(part, execution)
            case DocumentPart():
                return await self._document(part, execution)
            case FilePart():
                return await self._saved(part.file, execution)

    def file(self, file: StoredFile, *, alt: str | None = None) -> tuple[Attachment, ...]:
        """A stored file; nothing if its bytes are attached already, or if it is too large."""
        if file.sha256 in self._digests:
            if known := self._digests[file.sha256]:
                self.shown.setdefault(file.filename, known)
            return ()
        self._digests[file.sha256] = None
        if file.file_size > self.file_bytes:
            self.too_large.append(TooLarge(file.filename, file.file_size, file))
            return ()
        name = self._names.give(file.filename.rpartition("/")[2])
        attachment = Attachment(name, file.file_path, file.file_size, alt, file.file_id)
        self._digests[file.sha256] = attachment
        self.shown[file.filename] = attachment
        if name.startswith("file") and not file.filename.rpartition("/")[2].startswith("file"):
            self.renamed.append((file.filename, name))
        return (attachment,)

    async def made(
        self, content: bytes, filename: str, alt: str | None = None
    ) -> tuple[Attachment, ...]:
        """A file that is nowhere stored; compressed, if it is too large else."""
        digest = hashlib.sha256(content).hexdigest()
        if digest in self._digests:
            return ()
        self._digests[digest] = None
        if len(content) > self.file_bytes:
            name, size = filename, len(content)
            packed = await asyncio.to_thread(zip_bytes, content, name, self.file_bytes)
            if packed is None:
                self.too_large.append(TooLarge(name, size))
                return ()
            content, filename, alt = packed, f"{filename}.zip", None
        attachment = Attachment(self._names.give(filename), content, len(content), alt)
        self._digests[digest] = attachment
        self.shown[filename] = attachment
        return (attachment,)

    async def _drawing(
        self, content: bytes, mime: str, stem: str, alt: str
    ) -> tuple[Attachment, ...]:
        """A picture of what Discord can't show; nothing if it can't be drawn or sent."""
        if self._drawn >= _MAX_DRAWN:
            return ()
        self._drawn += 1
        try:
            png = await self.picture(content, mime)
        except InterpreterError:
            return ()
        if not png or len(png) > self.file_bytes:
            return ()
        return await self.made(png, f"{stem}.png", alt)

    async def _image(self, part: ImagePart, execution: Execution) -> Exhibit:
        alt = _alt_of_image(part, execution)
        drawing: tuple[Attachment, ...] = ()
        if part.mime == "image/svg+xml":
            stem = part.filename.rpartition("/")[2].removesuffix(".svg")
            drawing = await self._drawing(part.content, part.mime, stem, alt)
        own = None if drawing else alt
        if part.file:
            return Exhibit("", (*drawing, *self.file(part.file, alt=own)))
        return Exhibit("", (*drawing, *await self.made(part.content, part.filename, own)))

    async def _saved(self, file: StoredFile, execution: Execution) -> Exhibit:
        """A file that a cell wrote; a drawing or a page also as a picture."""
        alt = _alt_of_image_file(file, execution)
        suffix = name_suffix(file.filename)
        if suffix in _SHOWN_SUFFIXES:
            return Exhibit("", self.file(file, alt=alt))
        attachments = self.file(file)
        drawing: tuple[Attachment, ...] = ()
        mime = _DRAWN_SUFFIXES.get(suffix)
        if mime and attachments and file.file_size <= _MAX_DRAWN_BYTES:
            stem = file.filename.rpartition("/")[2].rpartition(".")[0]
            try:
                content = await asyncio.to_thread(file.file_path.read_bytes)
            except OSError:  # it may have been deleted meanwhile: whoever sends it will tell
                return Exhibit("", attachments)
            drawing = await self._drawing(content, mime, stem, alt)
        return Exhibit("", (*drawing, *attachments))

    async def _document(self, part: DocumentPart, execution: Execution) -> Exhibit:
        source = part.chart or part
        drawing: tuple[Attachment, ...] = ()
        if _DRAWABLE.fullmatch(source.mime):
            stem = part.filename.partition(".")[0]
            alt = _titles(execution) or f"Chart {_made_by(execution)}"
            drawing = await self._drawing(source.content, source.mime, stem, alt)
        return Exhibit("", (*drawing, *await self.made(part.content, part.filename)))

    async def _text(self, part: TextPart, execution: Execution) -> Exhibit:
        rich = part.rich or RichText()
        if rich.html and _is_page(rich.html, part.text):
            return await self._page(part.text, rich.html, execution)
        if rich.html and _TABLE.search(rich.html):
            return await self._table(part.text, rich, execution)
        if rich.latex:
            return await self._formula(rich.latex, execution)
        if rich.markdown and part.text == rich.markdown:
            return Exhibit(discord_markdown(rich.markdown[:_MAX_MARKDOWN_CHARS]))
        if part.kind == "error":
            return await self._traceback(part.text, execution)
        if part.kind == "note":
            return Exhibit(plain_sentence(part.text))
        return await self.long_text(part.text, self.stem(execution, part.kind))

    async def long_text(self, text: str, stem: str) -> Exhibit:
        """A text in a block of code; of a long one the beginning and the end, and all as a file.

        Args:
            text: As a cell put it out.
            stem: What to call the file, without suffix.
        """
        text = visible(text).rstrip()
        lines = text.split("\n")
        if length(text) <= _HEAD_CHARS + _TAIL_CHARS and len(lines) <= _MAX_LINES:
            return Exhibit(code_block(text))
        head = first("\n".join(lines[: _MAX_LINES // 2]), _HEAD_CHARS)
        tail = last("\n".join(lines[-(_MAX_LINES // 2) :]), _TAIL_CHARS)
        head, tail = to_line_end(head, text), from_line_start(tail, text)
        files = await self.made(text.encode(), f"{stem}.txt")
        missing = length(text) - length(head) - length(tail)
        block = code_block(f"{head}\n… {missing:,} characters left out\n{tail}")
        return Exhibit(_with_note(block, "All of it is in", files), files)

    async def _traceback(self, text: str, execution: Execution) -> Exhibit:
        """The end of a traceback, where it says what went wrong; all of a long one as a file."""
        text = visible(text).strip("\n")
        if length(text) <= _MAX_TRACEBACK_CHARS:
            return Exhibit(code_block(text))
        files = await self.made(text.encode(), self.stem(execution, "traceback") + ".txt")
        tail = from_line_start(last(text, _MAX_TRACEBACK_CHARS), text)
        block = code_block(f"…\n{tail}")
        return Exhibit(_with_note(block, "The whole traceback is in", files), files)

    async def _table(self, text: str, rich: RichText, execution: Execution) -> Exhibit:
        """A table as a block of code while it is small, else drawn, with all of it as a file."""
        html = rich.html or ""
        plain = visible(text).rstrip()
        stem = self.stem(execution, "table")
        if fits_block(plain) and not _STYLED.search(html) and not _FOLDED.search(plain):
            return Exhibit(code_block(plain), await self._csv(rich, stem))
        alt = shortened(f"Table {_made_by(execution)}:\n{plain}", MAX_ALT_CHARS)
        drawing = await self._drawing(html.encode(errors="replace"), "text/html", stem, alt)
        if not drawing and rich.csv:
            drawing = await self._drawing(rich.csv.encode(errors="replace"), "text/csv", stem, alt)
        files = await self._csv(rich, stem)
        if drawing:
            return Exhibit("", (*drawing, *files))
        exhibit = await self.long_text(plain, stem)
        return replace(exhibit, attachments=(*exhibit.attachments, *files))

    async def _page(self, text: str, html: str, execution: Execution) -> Exhibit:
        """A page, drawn and as the file; its words where it can't be drawn."""
        stem = self.stem(execution, "page")
        content = html.encode(errors="replace")
        alt = shortened(f"Page {_made_by(execution)}:\n{visible(text).strip()}", MAX_ALT_CHARS)
        drawing = await self._drawing(content, "text/html", stem, alt)
        files = await self.made(content, f"{stem}.html")
        if drawing:
            return Exhibit("", (*drawing, *files))
        exhibit = await self.long_text(text, stem)
        return replace(exhibit, attachments=(*exhibit.attachments, *files))

    async def _csv(self, rich: RichText, stem: str) -> tuple[Attachment, ...]:
        if not rich.csv:
            return ()
        return await self.made(rich.csv.encode(errors="replace"), f"{stem}.csv")

    async def _formula(self, latex: str, execution: Execution) -> Exhibit:
        source = visible(latex).strip()
        alt = shortened(source, MAX_ALT_CHARS)
        stem = self.stem(execution, "formula")
        if drawing := await self._drawing(latex.encode(errors="replace"), "text/latex", stem, alt):
            return Exhibit("", drawing)
        formula = _MATH_MARKS.sub("", _MATH_MARKS.sub("", source, count=1), count=1)
        if text := unicode_math(formula):
            return Exhibit(code_block(text))
        if length(source) > _HEAD_CHARS:
            return await self.long_text(source, stem)
        return Exhibit(code_block(source, "latex"))

    def stem(self, execution: Execution, what: str) -> str:
        """What to call something of a cell, without suffix; numbered from the second on."""
        stem = f"cell-{execution.count}-{what}" if execution.count else what
        self._numbers[stem] = number = self._numbers.get(stem, 0) + 1
        return stem if number == 1 else f"{stem}-{number}"


def _is_page(html: str, text: str) -> bool:
    """Whether html is meant to be looked at: no table of pandas', and nothing says it in words."""
    if _DATAFRAME.search(html) or _STYLED.search(html) or not _PAGE.search(html):
        return False
    return text == html_text(html)


def _with_note(block: str, where: str, files: tuple[Attachment, ...]) -> str:
    return f"{block}\n-# {where} {files[0].filename}." if files else block


def _made_by(execution: Execution) -> str:
    return f"made by cell {execution.count}" if execution.count else "made by a cell"


def _alt_of_image(part: ImagePart, execution: Execution) -> str:
    """What a picture shows, as far as that can be told without looking at it."""
    own = visible(part.alt).strip()
    if not _MUTE.fullmatch(own):
        return shortened(own, MAX_ALT_CHARS)
    if titles := _titles(execution):
        return titles
    name = f"{part.file.filename}, " if part.file else "Picture "
    return shortened(f"{name}{_made_by(execution)}", MAX_ALT_CHARS)


def _alt_of_image_file(file: StoredFile, execution: Execution) -> str:
    saved = [one for one in execution.artifacts if name_suffix(one.filename) in _SHOWN_SUFFIXES]
    titles = _titles(execution) if len(saved) <= 1 else ""
    return titles or shortened(f"{visible(file.filename)}, {_made_by(execution)}", MAX_ALT_CHARS)


def _titles(execution: Execution) -> str:
    """The titles that a cell's code gives its figures; nothing if they could be another's."""
    figures = sum("image/png" in getattr(output, "data", ()) for output in execution.outputs)
    found = [match["title"] for match in _TITLE.finditer(execution.code)]
    if not found or figures > 1:
        return ""
    return shortened(visible("; ".join(dict.fromkeys(found))), MAX_ALT_CHARS)
