"""HTML as text that people can read.

Cells can show any HTML. The standard library's parser takes time that grows with the square of a
hostile page (20 s for 30 kB on Python 3.11.7), hence a tokenizer of its own: each character is
looked at a bounded number of times.
"""

import html as entities
import re

from bot.columns import columns

_MAX_HTML_CHARS = 500_000
_MAX_TABLE_ROWS = 200
_MAX_ROW_CELLS = 200
_MAX_SPAN = 50

_BLOCKS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "dd", "details", "div", "dl", "dt"),
        *("fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6"),
        *("header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "summary", "ul"),
    }
)
_UNSEEN = frozenset({"head", "template", "noscript", "iframe", "svg", "canvas", "audio", "video"})
#: What is in these is no HTML.
_RAW = frozenset({"script", "style"})

# A tag that isn't closed ends where the next begins: going back to read it as text instead would
# be what takes the square of the time.
_TAG = re.compile(
    r"""<!--(?s:.*?)(?:-->|\Z)
    |   <[!?][^>]*+>?
    |   <(?P<end>/?)(?P<name>[a-zA-Z][^\s/<>]*+)
        (?P<attributes>(?>(?:[^<>"']++|"[^"]*+"|'[^']*+'|["'])*))>?""",
    re.VERBOSE,
)
_ATTRIBUTE = re.compile(
    r"""(?<![\w-])(?P<name>colspan|alt)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE
)
#: Too long for a character, and beyond some length for int() as well.
_ENDLESS_REFERENCE = re.compile(r"&#[xX]?[0-9a-fA-F]{8,};?")


def html_text(html: str) -> str:
    """Turn HTML into plain text: tables aligned, list items marked, scripts and styles left out.

    It never fails: what isn't proper HTML is read as far as it goes.
    """
    reader = _Reader()
    position = 0
    text = html[:_MAX_HTML_CHARS]
    while match := _TAG.search(text, position):
        reader.take_text(_unescaped(text[position : match.start()]))
        position = match.end()
        if match["name"] is None:
            continue
        tag = match["name"].lower()
        if match["end"]:
            reader.take_end(tag)
        elif tag in _RAW:
            end = re.compile(rf"</{tag}[^>]*>?", re.IGNORECASE).search(text, position)
            position = end.end() if end else len(text)
        else:
            reader.take_start(tag, _attributes(match["attributes"]))
    reader.take_text(_unescaped(text[position:]))
    cut = "\n[cut]" if len(html) > _MAX_HTML_CHARS else ""
    return reader.text() + cut


def _attributes(text: str) -> dict[str, str]:
    return {
        match["name"].lower(): _unescaped(match[2] or match[3] or match[4] or "")
        for match in _ATTRIBUTE.finditer(text)
    }


def _unescaped(text: str) -> str:
    return entities.unescape(_ENDLESS_REFERENCE.sub("\ufffd", text)) if "&" in text else text


class _Reader:
    """Collects blocks of text; a table's cells are kept apart until the table ends."""

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._words: list[str] = []
        self._unseen: list[str] = []
        self._pre = 0
        self._tables = 0
        self._rows: list[list[str]] = []

    def text(self) -> str:
        self._end_table()
        self._end_block()
        return "\n".join(self._blocks)

    def take_start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._unseen:
            if tag == self._unseen[0]:
                self._unseen.append(tag)
        elif tag in _UNSEEN:
            self._unseen.append(tag)
        elif tag == "table":
            self._start_table()
        elif tag == "tr" and self._tables:
            self._end_cell()
            self._rows.append([])
        elif tag in {"td", "th"} and self._tables:
            self._start_cell(attributes)
        elif tag == "br":
            self._words.append(" " if self._tables else "\n")
        elif tag == "img":
            self._words.append(f"[{attributes.get('alt') or 'image'}]")
        elif tag in _BLOCKS and not self._tables:
            self._end_block()
            self._pre += tag == "pre"
            if tag == "li":
                self._words.append("- ")

    def take_end(self, tag: str) -> None:
        if self._unseen:
            if tag == self._unseen[-1]:
                self._unseen.pop()
        elif tag == "table" and self._tables:
            self._tables -= 1
            if not self._tables:
                self._end_table()
        elif tag in {"td", "th", "tr"} and self._tables:
            self._end_cell()
        elif tag in _BLOCKS and not self._tables:
            self._end_block()
            if tag == "pre":
                self._pre = max(self._pre - 1, 0)

    def take_text(self, text: str) -> None:
        if self._unseen:
            return
        if self._tables and not (self._rows and self._rows[-1]) and not text.strip():
            return
        # Line ends of the source mean nothing outside <pre>; those of <br> stay.
        self._words.append(text if self._pre else text.replace("\n", " "))

    def _start_table(self) -> None:
        if not self._tables:
            self._end_block()
        self._tables += 1

    def _start_cell(self, attributes: dict[str, str]) -> None:
        self._end_cell()
        if not self._rows:
            self._rows.append([])
        span = attributes.get("colspan", "")
        width = int(span) if span.isascii() and span.isdigit() and len(span) < 5 else 1
        if len(self._rows[-1]) >= _MAX_ROW_CELLS:
            return
        # The text goes into the last of the columns it spans, next to what it heads.
        self._rows[-1].extend([""] * min(max(width, 1), _MAX_SPAN))

    def _end_cell(self) -> None:
        text = self._taken(keep_blanks=False)
        if not text:
            return
        if self._rows and self._rows[-1]:
            self._rows[-1][-1] = f"{self._rows[-1][-1]} {text}".strip()
        else:  # a caption, or text that has strayed into the table
            self._blocks.append(text)

    def _end_table(self) -> None:
        if self._rows:
            self._end_cell()
            rows = [row for row in self._rows if any(row)]
            self._blocks.append(columns(rows[:_MAX_TABLE_ROWS]))
            if len(rows) > _MAX_TABLE_ROWS:
                self._blocks.append(f"[{len(rows) - _MAX_TABLE_ROWS} more rows]")
        self._rows = []
        self._tables = 0

    def _end_block(self) -> None:
        text = self._taken(keep_blanks=self._pre > 0)
        if text.strip() not in {"", "-"}:
            self._blocks.append(text)

    def _taken(self, *, keep_blanks: bool) -> str:
        text = "".join(self._words)
        self._words = []
        if keep_blanks:
            return text.strip("\n")
        return "\n".join(line for part in text.split("\n") if (line := " ".join(part.split())))
