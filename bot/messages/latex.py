"""Formulas as plain text: x² instead of x^2, where that can be read."""

import re
import unicodedata
from functools import cache

# It comes without types.
from pylatexenc.latex2text import (  # type: ignore[import-untyped]
    LatexNodes2Text,
    get_default_latex_context_db,
)

_MAX_CHARS = 1_000
_MAX_DEPTH = 20

_SUPERSCRIPTS = dict(
    zip(
        "0123456789+-=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVWβγδθφ′",  # noqa: RUF001
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂᵝᵞᵟᶿᵠ′",  # noqa: RUF001
        strict=True,
    )
)
_SUBSCRIPTS = dict(
    zip(
        "0123456789+-=()aehijklmnoprstuvxβγρφχ",  # noqa: RUF001
        "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ",
        strict=True,
    )
)
_SPACES = {",": " ", ":": " ", ";": " ", " ": " ", "!": "", ">": " ", "/": ""}
_WORDS = {
    "quad": "  ",
    "qquad": "  ",
    "limits": "",
    "nolimits": "",
    "displaystyle": "",
    "textstyle": "",
    "bmod": " mod ",
    "mid": "|",
    "vert": "|",
    "lvert": "|",
    "rvert": "|",
    "Vert": "‖",
    "lVert": "‖",
    "rVert": "‖",
    "cdot": "·",
    "nonumber": "",
    "ne": "≠",
    "implies": "⟹",
    "iff": "⟺",
    "degree": "°",
    "dots": "…",
    "cdots": "⋯",
}
_SIZES = frozenset({"left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr"})
_PLAIN = frozenset(
    {
        *("text", "mathrm", "mathbf", "mathit", "mathsf", "mathtt", "textbf", "textit", "textrm"),
        *("texttt", "operatorname", "boldsymbol", "bm", "mbox", "hbox", "mathop", "mathbin"),
    }
)
_LETTERS = frozenset({"mathbb", "mathcal", "mathfrak", "mathscr"})
_ACCENTS = {
    "hat": "\u0302",
    "widehat": "\u0302",
    "bar": "\u0304",
    "overline": "\u0304",
    "tilde": "\u0303",
    "widetilde": "\u0303",
    "dot": "\u0307",
    "ddot": "\u0308",
    "vec": "\u20d7",
    "check": "\u030c",
}
_FRACTIONS = frozenset({"frac", "dfrac", "tfrac", "cfrac"})
_ROOTS = {"": "√", "2": "√", "3": "∛", "4": "∜"}
_LINES = frozenset({"aligned", "align", "align*", "equation", "equation*", "gathered", "split"})
_MATRICES = {
    "matrix": ("[", "]"),
    "pmatrix": ("(", ")"),
    "bmatrix": ("[", "]"),
    "vmatrix": ("|", "|"),
    "cases": ("{ ", ""),
}
_NAME = re.compile(r"[A-Za-z]+")
_ARGUMENT = re.compile(r"\s*")
_ENVIRONMENT = re.compile(r"\{([A-Za-z]+\*?)\}")
#: What a fraction before it would seem to reach into.
_FACTOR = re.compile(r"\s*(?:[A-Za-z0-9({^]|\\(?:sum|prod|int|left|sqrt|d?frac|math|text|[lb]ig))")
_ONE_TERM = re.compile(r"[\w.%∞°′]+|\([^()]*\)|[√∛∜]\([^()]*\)")  # noqa: RUF001


class _Unreadable(Exception):
    """It has no form as plain text that says the same."""


def unicode_math(source: str) -> str | None:
    """A formula as plain text; None where only its source says what it means.

    Args:
        source: LaTeX, without the dollars or brackets around it.
    """
    if len(source) > _MAX_CHARS:
        return None
    reader = _Reader(source)
    try:
        text = reader.expression(0)
    except _Unreadable:
        return None
    if reader.position < len(source):
        return None
    lines = (re.sub(r" {2,}", " ", line).strip() for line in text.split("\n"))
    return unicodedata.normalize("NFC", "\n".join(line for line in lines if line)) or None


@cache
def _symbols() -> object:
    return get_default_latex_context_db()


def _symbol(name: str) -> str:
    """What a macro without arguments stands for."""
    spec = _symbols().get_macro_spec(name)  # type: ignore[attr-defined]  # no types
    replacement = getattr(spec, "simplify_repl", None)
    if not isinstance(replacement, str) or "%" in replacement or not replacement.strip():
        raise _Unreadable
    return replacement


def _letters(macro: str, letters: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]{1,20}", letters):
        raise _Unreadable
    return str(LatexNodes2Text().latex_to_text(f"\\{macro}{{{letters}}}"))


class _Reader:
    """Goes through a formula once, from the left to the right."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.position = 0

    def expression(self, depth: int, end: str = "") -> str:
        """Everything up to a closing brace, an ``end``, or the end of all."""
        if depth > _MAX_DEPTH:
            raise _Unreadable
        read: list[str] = []
        while self.position < len(self._source):
            if end and self._source.startswith(end, self.position):
                break
            if self._source[self.position] == "}":
                break
            read.append(self._next(depth))
        return "".join(read)

    def _next(self, depth: int) -> str:
        character = self._source[self.position]
        self.position += 1
        match character:
            case "{":
                return self._group(depth)
            case "\\":
                return self._macro(depth)
            case "^":
                return _script(self._argument(depth), "^", _SUPERSCRIPTS)
            case "_":
                return _script(self._argument(depth), "_", _SUBSCRIPTS)
            case "'":
                return "′"  # noqa: RUF001
            case "&" | "$" | "#" | "%":
                raise _Unreadable
            case "~":
                return " "
            case _ if character.isspace():
                return " "
            case _:
                return character

    def _group(self, depth: int) -> str:
        text = self.expression(depth + 1)
        if not self._source.startswith("}", self.position):
            raise _Unreadable
        self.position += 1
        return text

    def _argument(self, depth: int) -> str:
        """What a macro or a script applies to: a group, a macro or one character."""
        blanks = _ARGUMENT.match(self._source, self.position)
        self.position = blanks.end() if blanks else self.position
        if self.position >= len(self._source) or self._source[self.position] in "}^_":
            raise _Unreadable
        if depth > _MAX_DEPTH:
            raise _Unreadable
        return self._next(depth + 1).strip()

    def _raw_argument(self) -> str:
        """The text of a group as it stands."""
        end = self._source.find("}", self.position)
        if not self._source.startswith("{", self.position) or end < 0:
            raise _Unreadable
        text = self._source[self.position + 1 : end]
        if re.search(r"[\\{$]", text):
            raise _Unreadable
        self.position = end + 1
        return text

    def _macro(self, depth: int) -> str:
        name = _NAME.match(self._source, self.position)
        if name is None:
            return self._escaped()
        self.position = name.end()
        macro = name[0]
        if macro in _SIZES:
            return self._delimiter()
        if macro in _FRACTIONS:
            return self._fraction(depth)
        if macro == "sqrt":
            return self._root(depth)
        if macro == "binom":
            return f"C({self._argument(depth)}, {self._argument(depth)})"
        if macro in _ACCENTS:
            return self._accented(_ACCENTS[macro], depth)
        if macro in _LETTERS:
            return _letters(macro, self._argument(depth))
        if macro in _PLAIN:
            if macro in {"text", "mbox", "hbox", "textbf", "textit", "textrm", "texttt"}:
                return self._raw_argument()
            return self._argument(depth)
        if macro == "begin":
            return self._environment(depth)
        if macro in _WORDS:
            return _WORDS[macro]
        return self._spaced(_symbol(macro))

    def _fraction(self, depth: int) -> str:
        fraction = f"{_term(self._argument(depth))}/{_term(self._argument(depth))}"
        return f"({fraction})" if _FACTOR.match(self._source, self.position) else fraction

    def _spaced(self, symbol: str) -> str:
        """A symbol, or a word such as ``sin`` parted from what follows it."""
        following = self._source[self.position : self.position + 1]
        if len(symbol) > 1 and symbol.isalpha() and (following.isalnum() or following == "\\"):
            return symbol + " "
        return symbol

    def _escaped(self) -> str:
        character = self._source[self.position : self.position + 1]
        self.position += 1
        if character == "\\":
            return "\n"
        if character in _SPACES:
            return _SPACES[character]
        if character == "|":
            return "‖"
        if character and character in "{}%$&#_":
            return character
        raise _Unreadable

    def _delimiter(self) -> str:
        """What follows ``\\left`` and the like; a dot stands for nothing."""
        blanks = _ARGUMENT.match(self._source, self.position)
        self.position = blanks.end() if blanks else self.position
        if self._source.startswith(".", self.position):
            self.position += 1
            return ""
        if self.position >= len(self._source):
            raise _Unreadable
        return self._next(_MAX_DEPTH)

    def _root(self, depth: int) -> str:
        index = ""
        if self._source.startswith("[", self.position):
            end = self._source.find("]", self.position)
            index = self._source[self.position + 1 : end] if end > 0 else "?"
            self.position = end + 1
        if index not in _ROOTS:
            raise _Unreadable
        radicand = self._argument(depth)
        return _ROOTS[index] + (radicand if len(radicand) == 1 else f"({radicand})")

    def _accented(self, accent: str, depth: int) -> str:
        base = self._argument(depth)
        if not base or len(base) > 12:
            raise _Unreadable
        return "".join(letter + accent for letter in base)

    def _environment(self, depth: int) -> str:
        named = _ENVIRONMENT.match(self._source, self.position)
        if named is None:
            raise _Unreadable
        self.position = named.end()
        end = f"\\end{{{named[1]}}}"
        rows = [[""]]
        while not self._source.startswith(end, self.position):
            if self.position >= len(self._source) or depth > _MAX_DEPTH:
                raise _Unreadable
            if self._source.startswith("&", self.position):
                self.position += 1
                rows[-1].append("")
            elif self._source.startswith("\\\\", self.position):
                self.position += 2
                rows.append([""])
            else:
                rows[-1][-1] += self._next(depth + 1)
        self.position += len(end)
        return _arranged(named[1], [[cell.strip() for cell in row] for row in rows if any(row)])


def _arranged(environment: str, rows: list[list[str]]) -> str:
    if environment in _LINES:
        return "\n".join(" ".join(row) for row in rows)
    if environment not in _MATRICES:
        raise _Unreadable
    opening, closing = _MATRICES[environment]
    return opening + "; ".join(" ".join(row) for row in rows if any(row)) + closing


def _script(text: str, mark: str, table: dict[str, str]) -> str:
    compact = text.replace(" ", "").replace("∗", "*")  # noqa: RUF001
    if compact and all(character in table for character in compact):
        return "".join(table[character] for character in compact)
    if compact == "⊤":  # noqa: RUF001
        return "ᵀ"
    if compact in {"*", "∘", "°"}:
        return "°" if compact != "*" else "*"
    return f"{mark}{text}" if len(text) == 1 else f"{mark}({text})"


def _term(text: str) -> str:
    """Numerator or denominator, in brackets where they are needed."""
    return text if _ONE_TERM.fullmatch(text) else f"({text})"
