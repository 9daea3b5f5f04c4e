"""What is typed at the prompt: Python, or a question in words. Pure."""

import ast
import keyword
import re

from bot.console.cell_source import without_magic

#: Not Python any more, but still typed as if it were.
_FORMER = frozenset({"print", "exec"})
_KEYWORDS = frozenset(keyword.kwlist) | _FORMER
#: What begins a statement: "import pandas sa pd" is a slip, not a question.
_STATEMENTS = frozenset(
    {"assert", "async", "await", "class", "def", "del", "elif", "else", "except", "finally", "from"}
    | {"global", "import", "lambda", "nonlocal", "pass", "raise", "return", "try", "while", "with"}
    | {"yield", *_FORMER}
)
_STATEMENT_WORDS = 5
_ASKS = re.compile(r"\s*(?:how|what|when|where|which|who|why)\s+[^\W\d_]+\s+\S", re.IGNORECASE)
#: Of a shell; IPython runs some of them without a mark in front.
_COMMANDS = frozenset(
    {"cd", "conda", "cp", "git", "ls", "mkdir", "mv", "pip", "pip3", "pwd", "rm", "uv"}
)

_QUOTED = re.compile(r"\"\"\".*?\"\"\"|'''.*?'''|\"[^\"\n]*\"|(?<!\w)'[^'\n]*'(?!\w)", re.DOTALL)
_COMMENT = re.compile(r"#.*")
_WORD = re.compile(r"(?<![\w.@])[^\W\d_]+(?:['\u2019-][^\W\d_]+)*(?![\w(\[]|\.\w|\s*=)")
#: Scripts that put no blanks between words.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
#: A question mark or full stop of several scripts.
_ENDS = ("?", "!", "\uff1f", "\uff01", "\u3002", "\u061f")
_CODE_MARK = re.compile(r"\w[(\[]|[=;{}\\@]|->|:[ \t]*$", re.MULTILINE)
_FIRST_WORD = re.compile(r"\s*(\w+)")


def is_question(text: str) -> bool:
    """Whether a text is words rather than code, by its looks.

    What Python or IPython can read is code, but for what begins as English questions do. What they
    can't is words only if it has more of them than of what code is made of: who mistypes a line of
    code wants to hear that from Python.
    """
    if not text.strip() or text.lstrip().startswith((":", "%", "!", "?", "@", "#")):
        return False
    first = _FIRST_WORD.match(text)
    if _ASKS.match(text):
        return True  # also "what is 6 * 7", which Python could read
    if _is_code(text) or (first and first[1] in _COMMANDS):
        return False
    bare = _COMMENT.sub("", _QUOTED.sub(" ", text))
    words = _WORD.findall(bare)
    unspaced = len(_UNSPACED.findall(bare))
    plain = sum(len(word) > 1 and word not in _KEYWORDS for word in words) + unspaced // 2
    marks = len(_CODE_MARK.findall(bare))
    ends_as_words = text.rstrip().endswith(_ENDS)
    if first and first[1] in _STATEMENTS and not ends_as_words:
        return len(words) >= _STATEMENT_WORDS and plain > 2 * marks
    if first and first[1] not in _KEYWORDS and plain and not marks:
        return len(words) >= 2 or plain >= 2
    return plain >= 2 and plain > (marks if ends_as_words else 2 * marks)


def _is_code(text: str) -> bool:
    try:
        ast.parse(without_magic(text))
    except SyntaxError:
        return False
    except (ValueError, OverflowError, MemoryError, RecursionError):
        return True
    return True
