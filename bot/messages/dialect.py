"""A model's markdown in Discord's dialect of it.

Discord shows no tables, no headings beyond the third, no pictures by address, no HTML, footnotes
or formulas, and no code inside lists: each becomes what Discord can show and a person can read.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from bot.html_text import html_text
from bot.messages.latex import unicode_math
from bot.messages.plain import (
    code_block,
    code_span,
    escape_markdown,
    escape_mentions,
    visible,
    without_fences,
)
from bot.messages.tables import markdown_table

#: Gets a link's target, its words, and whether it is a picture's; gives what to put in its place,
#: or None if it leads to no file.
FileLink = Callable[[str, str, bool], str | None]

_MAX_CHARS = 100_000
_WEB = re.compile(r"https?://[^\s<>]+", re.IGNORECASE)
_BARE_FILE = re.compile(
    r"(?:sandbox|attachment|file):/{0,3}[^\s<>()\[\]\"'`,;]*[^\s<>()\[\]\"'`,;.!?:]"
)
_HTML_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:\s[^<>]*)?)/?>|<!--.*?-->", re.DOTALL)
_TASK = re.compile(r"\[([ xX])\] ")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")
_SCRIPTS = {"<sup>": "^", "<sub>": "_"}
_MARKS = {"b": "**", "strong": "**", "i": "*", "em": "*", "u": "__", "s": "~~", "del": "~~"}
_GONE = frozenset(
    {
        *("a", "abbr", "center", "cite", "div", "font", "h1", "h2", "h3", "h4", "h5", "h6", "ins"),
        *("p", "small", "span", "details", "summary", "big", "sub", "sup", "mark", "kbd", "code"),
        *("table", "thead", "tbody", "tr", "td", "th", "ul", "ol", "li", "img", "hr", "pre"),
        *("script", "style", "iframe", "section", "article", "header", "footer", "blockquote"),
    }
)
_SUPERSCRIPT_DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_FOOTNOTE = re.compile(r"\[\^([^\]\s]{1,40})\]:[ \t]*")
_MATHS = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}
#: What tells a formula from a price.
_FORMULA = re.compile(r"[\\^_=+<>*/|]|^[A-Za-z]'?$|^[A-Za-z]\([A-Za-z, ]+\)$|^\d*[A-Za-z]\d*$")


def discord_markdown(text: str, file_link: FileLink = lambda target, words, picture: None) -> str:
    """Put markdown, as models write it, into Discord's dialect.

    Nobody is called by it, nothing is hidden in it, and it never fails: what can't be understood
    stays as it was written.

    Args:
        text: Markdown with tables, HTML, footnotes and LaTeX.
        file_link: Says what a link to a file becomes.
    """
    text = visible(text[:_MAX_CHARS])
    tokens = _parser().parse(text)
    return _Writer(file_link).blocks(tokens).strip("\n")


def has_table(text: str) -> bool:
    """Whether there is a table in the markdown."""
    return any(token.type == "table_open" for token in _parser().parse(text[:_MAX_CHARS]))


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    # What was escaped has to stay so.
    parser.disable("text_join")
    parser.block.ruler.before("fence", "formula", _formula_block, {"alt": ["paragraph", "list"]})
    parser.block.ruler.before("reference", "footnote", _footnote, {"alt": ["paragraph"]})
    parser.inline.ruler.before("escape", "formula", _formula)
    parser.inline.ruler.before("link", "footnote", _footnote_mark)
    # Files may be linked to in any way; what becomes of a link is decided below.
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # the documented way
    return parser


def _formula_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    r"""``$$`` or ``\[`` at the beginning of a line, up to its counterpart."""
    position = state.bMarks[start] + state.tShift[start]
    opening = state.src[position : position + 2]
    if opening not in ("$$", "\\[") or state.is_code_block(start):
        return False
    closing = _MATHS[opening]
    for line in range(start, end):
        found = state.src.find(closing, position + 2 if line == start else 0, state.eMarks[line])
        if line > start:
            found = state.src.find(closing, state.bMarks[line], state.eMarks[line])
            if state.isEmpty(line):
                return False
        if found < 0:
            continue
        if state.src[found + 2 : state.eMarks[line]].strip(" .,;"):
            return False
        if not silent:
            token = state.push("formula_block", "", 0)
            token.content = state.src[position + 2 : found]
            token.map = [start, line + 1]
        state.line = line + 1
        return True
    return False


def _footnote(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    position = state.bMarks[start] + state.tShift[start]
    mark = _FOOTNOTE.match(state.src, position, state.eMarks[start])
    if mark is None:
        return False
    if not silent:
        opening = state.push("footnote_open", "", 1)
        opening.info = mark[1]
        words = state.push("inline", "", 0)
        words.content = state.src[mark.end() : state.eMarks[start]].strip()
        words.children = []
        state.push("footnote_close", "", -1)
    state.line = start + 1
    return True


def _footnote_mark(state: StateInline, silent: bool) -> bool:
    if not state.src.startswith("[^", state.pos):
        return False
    end = state.src.find("]", state.pos, state.pos + 42)
    name = state.src[state.pos + 2 : end]
    if end < 0 or not name or any(character.isspace() or character in "[^" for character in name):
        return False
    if not silent:
        state.push("footnote_mark", "", 0).info = name
    state.pos = end + 1
    return True


def _formula(state: StateInline, silent: bool) -> bool:
    opening = next(
        (mark for mark in ("$$", "\\(", "\\[", "$") if state.src.startswith(mark, state.pos)), None
    )
    if opening is None:
        return False
    start = state.pos + len(opening)
    end = state.src.find(_MATHS[opening], start, min(state.posMax, start + 2_000))
    content = state.src[start:end]
    if end < 0 or not content.strip() or "\n\n" in content:
        return False
    if opening == "$" and not _is_formula(content, state.src[end + 1 : end + 2]):
        return False
    if not silent:
        token = state.push("formula", "", 0)
        token.content = content
        token.markup = opening
    state.pos = end + len(_MATHS[opening])
    return True


def _is_formula(content: str, following: str) -> bool:
    """Whether what stands between two dollars is a formula, and not the way from price to price."""
    if content != content.strip() or following.isdigit() or "`" in content or "\n" in content:
        return False
    return _FORMULA.search(content) is not None


class _Writer:
    """Writes what was parsed."""

    def __init__(self, file_link: FileLink) -> None:
        self._file_link = file_link

    def blocks(self, tokens: Sequence[Token]) -> str:
        """Blocks one below the other, with a blank line where one belongs."""
        written: list[str] = []
        last = ""
        for kind, text in self._each(tokens):
            if not text.strip():
                continue
            if written:
                # Discord has space of its own around headings and code.
                tight = kind == "footnote" or kind == "heading" == last
                written.append("\n" if tight or last == "heading" else "\n\n")
            written.append(text)
            last = kind
        return "".join(written)

    def _each(self, tokens: Sequence[Token]) -> Iterator[tuple[str, str]]:
        index = 0
        while index < len(tokens):
            token = tokens[index]
            end = _closing(tokens, index)
            yield self._block(token, tokens[index + 1 : end])
            index = end + 1

    def _block(self, token: Token, inside: Sequence[Token]) -> tuple[str, str]:
        match token.type:
            case "heading_open":
                return "heading", self._heading(int(token.tag[1]), self._words_of(inside))
            case "paragraph_open":
                return "paragraph", self._words_of(inside)
            case "bullet_list_open" | "ordered_list_open":
                return "list", self._list(token, inside)
            case "blockquote_open":
                return "quote", self._quote(self.blocks(inside))
            case "fence" if token.info.strip() == "math":
                return "paragraph", _shown_formula(token.content)
            case "fence" | "code_block":
                language = (token.info.split() or [""])[0].strip("{}.")
                return "code", code_block(token.content, language)
            case "table_open":
                return "code", markdown_table(*self._table(inside))
            case "formula_block":
                return "paragraph", _shown_formula(token.content)
            case "footnote_open":
                return "footnote", f"-# {_note_mark(token.info)} {self._words_of(inside)}"
            case "html_block":
                return self._html(token.content)
            case "hr":
                return "rule", "⸻"
            case _:
                return "paragraph", token.content

    def _heading(self, level: int, words: str) -> str:
        words = " ".join(words.split())
        if level <= 3:
            return f"{'#' * level} {words}"
        return f"**{words.replace('**', '')}**" if words.strip("* ") else ""

    def _quote(self, text: str) -> str:
        """Quoted line by line; code stands outside, where a message can be cut within it."""
        quoted: list[str] = []
        in_code = False
        for line in text.split("\n"):
            fence = line.startswith("```")
            if fence and not in_code and quoted and quoted[-1] == "> ":
                quoted.pop()
            after_code = bool(quoted) and quoted[-1] == "```"
            if in_code or fence:
                quoted.append(line)
            elif line or not after_code:
                quoted.append(f"> {line.removeprefix('> ')}")
            in_code ^= fence
        return "\n".join(quoted)

    def _list(self, token: Token, inside: Sequence[Token]) -> str:
        items: list[str] = []
        index = 0
        while index < len(inside):
            end = _closing(inside, index)
            item = inside[index]
            mark = "- " if token.type.startswith("bullet") else f"{item.info or 1}. "
            items.append(self._item(mark, inside[index + 1 : end]))
            index = end + 1
        return "\n".join(items)

    def _item(self, mark: str, inside: Sequence[Token]) -> str:
        """One item; code in it stands at the margin, since Discord would indent it."""
        indent = " " * len(mark)
        written = ""
        for kind, text in self._each(inside):
            if not text.strip():
                continue
            if kind == "code":
                written = f"{written or mark.rstrip()}\n{text}"
                continue
            text = _TASK.sub(lambda box: "☐ " if box[1] == " " else "☑ ", text, count=1)
            lines = _indented(text, indent)
            written = f"{written}\n{indent}{lines}" if written else mark + lines
        return written or mark.rstrip()

    def _table(self, inside: Sequence[Token]) -> tuple[list[list[str]], list[str]]:
        rows: list[list[str]] = []
        aligned: list[str] = []
        for index, token in enumerate(inside):
            if token.type == "tr_open":
                rows.append([])
            elif token.type in {"th_open", "td_open"}:
                words = self._plain_words(inside[index + 1].children or ())
                rows[-1].append(" ".join(visible(words).split()))
                if token.type == "th_open":
                    style = str(token.attrGet("style") or "")
                    aligned.append(style.removeprefix("text-align:"))
        return rows, aligned

    def _html(self, html: str) -> tuple[str, str]:
        known = [match for match in _HTML_TAG.finditer(html) if _is_known(match)]
        if not known:
            return "paragraph", escape_mentions(escape_markdown(html.rstrip("\n")))
        if "<table" in html.lower():
            return "code", code_block(html_text(html))
        return "paragraph", escape_mentions(escape_markdown(html_text(html)))

    def _words_of(self, inside: Sequence[Token]) -> str:
        return "\n".join(self._words(token.children or ()) for token in inside).strip()

    def _words(self, tokens: Sequence[Token]) -> str:
        # Emphasis is written as it opens and closes: it can be nested thousandfold.
        written: list[str] = []
        index = 0
        while index < len(tokens):
            token = tokens[index]
            if token.type == "link_open":
                end = _closing(tokens, index)
                written.append(self._link(token, tokens[index + 1 : end]))
                index = end + 1
            elif special := self._three(tokens[index : index + 3]):
                written.append(special)
                index += 3
            else:
                written.append(self._word(token))
                index += 1
        return "".join(written)

    def _three(self, tokens: Sequence[Token]) -> str | None:
        """What becomes of a pair of marks around one text, where that is something else."""
        if len(tokens) < 3 or tokens[1].type != "text":
            return None
        opening, (words, closing) = tokens[0], (tokens[1].content, tokens[2])
        if opening.type == "strong_open" and opening.markup == "__":
            # __init__ is a name here, not a shout.
            named = closing.type == "strong_close" and _IDENTIFIER.fullmatch(words)
            return f"\\_\\_{words}\\_\\_" if named else None
        script = _SCRIPTS.get(opening.content.lower()) if opening.type == "html_inline" else None
        if script and closing.content.lower() == opening.content.lower().replace("<", "</"):
            raised = unicode_math(f"{script}{{{words}}}") or f"{script}({words})"
            return escape_mentions(escape_markdown(raised))
        return None

    def _word(self, token: Token) -> str:
        match token.type:
            case "text":
                return self._text(token.content)
            case "text_special":
                return _special(token)
            case "softbreak" | "hardbreak":
                return "\n"
            case "code_inline":
                return code_span(token.content)
            case "formula":
                return _formula_text(token.content, display=token.markup in {"$$", "\\["})
            case "footnote_mark":
                return _note_mark(token.info)
            case "strong_open" | "strong_close":
                return "**"
            case "em_open" | "em_close":
                return token.markup
            case "s_open" | "s_close":
                return "~~"
            case "image":
                target = str(token.attrGet("src") or "")
                words = self._plain_words(token.children or ())
                return self._target(target, words, escape_markdown(words), picture=True)
            case "html_inline":
                return self._tag(token.content)
            case _:
                return escape_markdown(token.content)

    def _text(self, text: str) -> str:
        # A spoiler is never meant: models write || for "or".
        text = without_fences(text.replace("||", "\\|\\|"))
        position = 0
        written = []
        for match in _BARE_FILE.finditer(text):
            written.append(escape_mentions(text[position : match.start()]))
            words = match[0].rsplit("/", 1)[-1]
            replacement = self._file_link(match[0], words, False)
            written.append(match[0] if replacement is None else replacement)
            position = match.end()
        written.append(escape_mentions(text[position:]))
        return "".join(written)

    def _link(self, token: Token, inside: Sequence[Token]) -> str:
        target = str(token.attrGet("href") or "")
        if token.markup == "autolink":
            return target if _WEB.fullmatch(target) else self._plain_words(inside)
        plain = self._plain_words(inside)
        return self._target(target, plain, self._words(inside), picture=False)

    def _target(self, target: str, plain: str, words: str, *, picture: bool) -> str:
        if _WEB.fullmatch(target):
            words = " ".join(words.split())
            if not words:
                return target
            if plain == target or _WEB.match(plain):
                return target if plain == target else f"{plain} ({target})"
            return f"[{words}]({target.replace('(', '%28').replace(')', '%29')})"
        replacement = self._file_link(target, plain, picture)
        return words if replacement is None else replacement

    def _tag(self, html: str) -> str:
        tag = _HTML_TAG.fullmatch(html)
        if tag is None or not _is_known(tag):
            return escape_mentions(escape_markdown(html))
        name = (tag[2] or "").lower()
        if name == "br":
            return "\n"
        return _MARKS.get(name, "")

    def _plain_words(self, tokens: Sequence[Token]) -> str:
        """Words without any marks, for where none are shown."""
        written = []
        for token in tokens:
            match token.type:
                case "text" | "text_special" | "code_inline":
                    written.append(token.content)
                case "softbreak" | "hardbreak":
                    written.append(" ")
                case "formula":
                    written.append(unicode_math(token.content) or token.content)
                case "footnote_mark":
                    written.append(_note_mark(token.info))
                case "image":
                    written.append(token.content)
                case "html_inline":
                    tag = _HTML_TAG.fullmatch(token.content)
                    if tag is None or not _is_known(tag):
                        written.append(token.content)
                    elif (tag[2] or "").lower() == "br":
                        written.append(" ")
        return "".join(written)


def _closing(tokens: Sequence[Token], index: int) -> int:
    """Where what opens at ``index`` is closed; the same place for what holds nothing."""
    depth = 0
    for end in range(index, len(tokens)):
        depth += tokens[end].nesting
        if depth <= 0:
            return end
    return len(tokens)


def _indented(text: str, indent: str) -> str:
    """All lines but the first indented, except those of code."""
    first, *rest = text.split("\n")
    in_code = first.startswith("```")
    lines = [first]
    for line in rest:
        fence = line.startswith("```")
        lines.append(line if in_code or fence or not line else indent + line)
        in_code ^= fence
    return "\n".join(lines)


def _is_known(tag: re.Match[str]) -> bool:
    name = (tag[2] or "").lower()
    return not name or name == "br" or name in _MARKS or name in _GONE


def _special(token: Token) -> str:
    """A character that was escaped, or written as an entity."""
    escaped = token.info == "escape" and token.content in "#>()-.!<@"
    return f"\\{token.content}" if escaped or token.content in "\\*_~`|[]" else token.content


def _note_mark(name: str) -> str:
    if name.isascii() and name.isdigit():
        return name.translate(_SUPERSCRIPT_DIGITS)
    return escape_markdown(f"[{name}]")


def _formula_text(source: str, *, display: bool) -> str:
    if display:
        shown = _shown_formula(source)
        return shown if "\n" not in shown else f"\n{shown}\n"
    text = unicode_math(source)
    if text is None or "\n" in text:
        return code_span(source)
    return escape_markdown(text)


def _shown_formula(source: str) -> str:
    """A formula on lines of its own."""
    text = unicode_math(source.strip())
    if text is None:
        return code_block(source.strip(), "latex")
    return "\n".join(f"> {escape_markdown(line)}" for line in text.split("\n"))
