"""Who imports a module that isn't there, and whether they can do without it.

Libraries try many imports that they don't need: a quicker parser, another library's types. Whether
they do shows in the frames between the import and the user's own code.
"""

import ast
import importlib
import linecache
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

from kernel_startup.imports import Import, caught, imported_names, parse

_FROZEN = "<frozen importlib."
#: Its own package: what asks there only wants to know, except `import_module`.
_IMPORTLIB = str(Path(importlib.__file__).parent)
#: These ask where a module is without importing it.
_PROBING = frozenset({"importlib.util", "pkgutil", "importlib.metadata", "importlib.resources"})
#: Code of these that nobody's cell has called is the kernel's own work.
_KERNEL = frozenset({"ipykernel", "IPython", "kernel_startup", "tornado", "zmq"})
#: Larger files aren't read.
_MOST_FILE_CHARS = 2_000_000
_CATCHES_IT = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_MOST_FRAMES = 500

_HERE = Path(__file__).parent
#: What a cell's `load_file` runs: it needs what it imports.
_LOADING = (str(_HERE / "loaders"), str(_HERE / "files.py"))


@dataclass(frozen=True, slots=True)
class Owner:
    """How the user's own code is told from a library's.

    Attributes:
        namespace: the globals of cells.
        directories: where the user's own modules are.
    """

    namespace: dict[str, Any]
    directories: tuple[str, ...]

    def wrote(self, frame: FrameType) -> bool:
        """Whether the code of a frame is the user's own, or `load_file`'s."""
        name = frame.f_code.co_filename
        return frame.f_globals is self.namespace or name.startswith((*self.directories, *_LOADING))


def needed_imports(frame: FrameType | None, owner: Owner) -> tuple[Import, ...]:
    """What the import needs that a frame below the import system's is looking for.

    Args:
        frame: of a finder's caller.
        owner: of the kernel.

    Returns:
        The imports of the statement; none if nobody needs them: if the module is only looked for,
        if a library is ready to do without it, or if it is the kernel itself that imports.
    """
    sought: set[str] = set()
    while frame is not None and frame.f_code.co_filename.startswith(_FROZEN):
        if frame.f_code.co_name == "_find_and_load":
            sought.add(str(frame.f_locals.get("name")))
        frame = frame.f_back
    if frame is None or not sought or frame.f_globals.get("__name__") in _PROBING:
        return ()
    if frame.f_code.co_filename.startswith(_IMPORTLIB):  # import_module
        frame = frame.f_back
    if not _is_needed(frame, owner):
        return ()
    return _imports_at(frame, sought)


def _is_needed(frame: FrameType | None, owner: Owner) -> bool:
    is_kernels = False
    for above in _frames(frame):
        if owner.wrote(above):
            return True
        if _does_without(above):
            return False
        package = str(above.f_globals.get("__name__")).partition(".")[0]
        is_kernels |= package in _KERNEL
    # A library's own thread, working for a cell, has none of its frames.
    return not is_kernels and threading.current_thread() is not threading.main_thread()


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return
        if not frame.f_code.co_filename.startswith((_FROZEN, _IMPORTLIB)):
            yield frame
        frame = frame.f_back


def _does_without(frame: FrameType) -> bool:
    """Whether the code of a frame, where it is now, goes on after an ImportError."""
    if frame.f_code.co_name == "import_optional_dependency":  # pandas' name for it
        return bool(frame.f_locals.get("errors", "raise") != "raise")
    if not frame.f_code.co_exceptiontable:  # no `try` in it: its file needn't be read
        return False
    line = frame.f_lineno or 0
    functions, guards = _guards_in(frame.f_code.co_filename)
    function = _innermost(functions, line)
    return any(
        first <= line <= last and _innermost(functions, first) == function for first, last in guards
    )


_Lines = tuple[int, int]


def _innermost(functions: tuple[_Lines, ...], line: int) -> _Lines | None:
    inside = [lines for lines in functions if lines[0] < line <= lines[1]]
    return max(inside, default=None)  # the one that begins last


@lru_cache(maxsize=256)
def _guards_in(filename: str) -> tuple[tuple[_Lines, ...], tuple[_Lines, ...]]:
    """The lines of a file's functions, and those where a failed import does no harm."""
    functions: list[_Lines] = []
    guards: list[_Lines] = []
    tree = _tree_of(filename)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.append((node.lineno, node.end_lineno or node.lineno))
        elif (isinstance(node, ast.Try) and _passes(node.handlers)) or (
            isinstance(node, ast.With) and any(map(_suppresses, node.items))
        ):
            guards.append((node.body[0].lineno, node.body[-1].end_lineno or node.lineno))
    return tuple(functions), tuple(guards)


def _tree_of(filename: str) -> ast.AST | None:
    return parse("".join(linecache.getlines(filename)), most_chars=_MOST_FILE_CHARS)


def _passes(handlers: list[ast.ExceptHandler]) -> bool:
    """Whether the first handler that catches an ImportError raises nothing itself."""
    catching = next((handler for handler in handlers if _CATCHES_IT & caught(handler)), None)
    return catching is not None and not any(map(_raises, catching.body))


def _raises(statement: ast.stmt) -> bool:
    # Not in a `try` of its own: that is the next thing it tries.
    if isinstance(statement, ast.Try | ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return isinstance(statement, ast.Raise) or any(
        _raises(below) for below in ast.iter_child_nodes(statement) if isinstance(below, ast.stmt)
    )


def _suppresses(item: ast.withitem) -> bool:
    call = item.context_expr
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name | ast.Attribute)
        and ast.unparse(call.func).endswith("suppress")
        and any(ast.unparse(argument) in _CATCHES_IT for argument in call.args)
    )


def _imports_at(frame: FrameType | None, sought: set[str]) -> tuple[Import, ...]:
    """What the statement where a frame is now imports; at least what is sought."""
    if frame is not None:
        tree = _tree_at(frame)
        found = imported_names(tree) if tree is not None else ()
        found = tuple(one for one in found if sought & {one.name, *one.parts})
        if found:
            return found
    return (Import(max(sought, key=len)),)


def _tree_at(frame: FrameType) -> ast.AST | None:
    tree = _tree_of(frame.f_code.co_filename)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import | ast.ImportFrom) and (
            node.lineno <= frame.f_lineno <= (node.end_lineno or node.lineno)
        ):
            return node
    return None
