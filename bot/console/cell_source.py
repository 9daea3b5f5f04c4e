"""Cells as people type and keep them: is one complete, how is it indented, where does one end.

Everything here parses; nothing is ever run in this process.
"""

import ast
import codeop
import re
import warnings
from dataclasses import dataclass

#: Parse only, tell what is unfinished from what is wrong, and allow await as IPython does.
_FLAGS = (
    ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | codeop.PyCF_ALLOW_INCOMPLETE_INPUT  # type: ignore[attr-defined]  # the stubs lack it
)

#: What IPython understands and Python doesn't: magics, shell lines, help, by line.
_IPYTHON_LINE = re.compile(
    r"^(?P<indent>[ \t]*)(?:(?:[%!?](?!=)|[\w.]+\s*=\s*[%!]).*|[%\w.*]+\?\??[ \t]*)$", re.MULTILINE
)
_ENDS_BLOCK = re.compile(r"\s*(?:return|raise|pass|break|continue)\b")
_CELL_MARK = re.compile(r"^#[ \t]*%%(?P<title>.*)$", re.MULTILINE)
_INDENT = "    "


@dataclass(frozen=True, slots=True)
class SourceCell:
    """One cell of a file.

    Attributes:
        code: The cell without its mark.
        line: The number, from 1, of its first line in the file.
    """

    code: str
    line: int


def is_complete(code: str) -> bool:
    """Whether Enter should run the code, as IPython decides it.

    What can't become right by typing on counts as complete: the kernel says what is wrong with
    it. A statement with an indented block is complete after a blank line.
    """
    ends_blank = not code.rpartition("\n")[2].strip()
    if code.lstrip().startswith("%%"):
        return "\n" in code and ends_blank
    code = without_magic(code)
    try:
        with warnings.catch_warnings():
            # The kernel will say it, once; here it would be said in the middle of typing.
            warnings.simplefilter("ignore")
            tree = compile(code, "<cell>", "exec", flags=_FLAGS, dont_inherit=True)
    except SyntaxError as error:
        return error.msg != "incomplete input"
    except (ValueError, OverflowError, MemoryError, RecursionError):
        return True
    return ends_blank or not _ends_in_block(tree)


def without_magic(code: str) -> str:
    """The code with a statement of Python in place of what only IPython understands."""
    return _IPYTHON_LINE.sub(r"\g<indent>pass", code)


def next_indent(code: str) -> str:
    """The indentation of the line that follows the given ones."""
    line = code.rpartition("\n")[2]
    indent = line[: len(line) - len(line.lstrip())]
    if line.split("#")[0].rstrip().endswith((":", "(", "[", "{")):
        return indent + _INDENT
    if _ENDS_BLOCK.match(line):
        return indent.removesuffix(_INDENT)
    return indent


def split_cells(source: str) -> tuple[SourceCell, ...]:
    """Split a file at its `# %%` lines; without any, the whole is one cell.

    Cells without code are left out, and so are those marked `# %% [markdown]`.
    """
    source = source.replace("\r\n", "\n")
    marks = list(_CELL_MARK.finditer(source))
    starts = [0, *(mark.end() + 1 for mark in marks)]
    ends = [*(mark.start() for mark in marks), len(source)]
    titles = ["", *(mark["title"] for mark in marks)]
    return tuple(
        SourceCell(source[start:end].rstrip(), source.count("\n", 0, start) + 1)
        for start, end, title in zip(starts, ends, titles, strict=True)
        if source[start:end].strip() and "[markdown]" not in title
    )


def _ends_in_block(tree: object) -> bool:
    """Whether the last statement is one with a block below it, which could still go on."""
    if not isinstance(tree, ast.Module) or not tree.body:
        return False
    last = tree.body[-1]
    return hasattr(last, "body") and last.end_lineno != last.lineno
