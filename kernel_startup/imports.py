"""What code imports, read from its syntax tree, and which of that isn't there.

Nothing here runs the code or what it imports. The code is anyone's: what is too large or too deep
to be read imports nothing, as far as this module can tell.
"""

import ast
import importlib
import keyword
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

#: Longer code is not read: it would cost more than the look-up saves.
MOST_CHARS = 200_000
#: Imports of one cell that are looked up.
_MOST_IMPORTS = 200
#: A module's name is shorter.
_MOST_NAME_CHARS = 200
#: What one `from` may name and still be taken for modules, rather than for a library's functions.
_MOST_PARTS = 8

#: IPython's magics whose cells and lines are Python.
_PYTHON_MAGICS = frozenset({"time", "timeit", "capture", "prun"})
_IMPORT_ERRORS = frozenset({"ImportError", "ModuleNotFoundError"})
_NEVER = frozenset({"sitecustomize", "usercustomize"})


@dataclass(frozen=True, slots=True)
class Import:
    """One import.

    Attributes:
        name: the module, dotted.
        parts: what `from` takes out of it, with the module before it: perhaps modules too.
    """

    name: str
    parts: tuple[str, ...] = ()


def imported_names(code: str | ast.AST) -> tuple[Import, ...]:
    """What code imports, in its order and each once: also in functions, `try` and `if`.

    Left out are relative imports, those under `if TYPE_CHECKING`, and those that stand in for an
    import that failed (in an `except ImportError`): whether they are needed shows only then.

    Args:
        code: Python, or its tree. IPython's syntax must have been transformed.
    """
    found: dict[Import, None] = {}
    tree = code if isinstance(code, ast.AST) else parse(code)
    for one in _imports_of(tree) if tree is not None else ():
        found[one] = None
        if len(found) >= _MOST_IMPORTS:
            break
    return tuple(found)


def parse(code: str, *, most_chars: int = MOST_CHARS) -> ast.AST | None:
    """The tree of Python code; None if it is too large or too deep, or no Python."""
    if len(code) > most_chars:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as of escapes in strings: whoever runs it says so
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def missing(imports: Iterable[Import]) -> tuple[str, ...]:
    """The names of what isn't there, each once, with what may tell packages of one name apart.

    Of a package that lacks nothing but a module no name is given: to find that out, the package
    would have to be imported. One without code of its own, such as `google`, is only a place for
    others: there each module counts.
    """
    wanted: dict[str, None] = {}
    for one in imports:
        if may_be_asked_for(one.name):
            for name in _candidates(one):
                if not _is_there(name):
                    wanted[name] = None
    # `google.cloud` is there as soon as `google.cloud.storage` is.
    return tuple(
        name for name in wanted if not any(other.startswith(name + ".") for other in wanted)
    )


def may_be_asked_for(name: str) -> bool:
    """Whether a package can have this module, going by its name alone."""
    top, *rest = name[: _MOST_NAME_CHARS + 1].split(".")
    return (
        len(name) <= _MOST_NAME_CHARS
        and top.isidentifier()
        and not top.startswith("_")
        and not keyword.iskeyword(top)
        and top not in sys.stdlib_module_names
        and top not in _NEVER
        and all(part.isidentifier() for part in rest)
    )


def find(name: str, path: Any = None) -> ModuleSpec | None:
    """Find a module as `import` would, without importing what is above it.

    Args:
        name: of the module, dotted.
        path: where the package above it looks for its modules, None for a top-level module.
    """
    for finder in list(sys.meta_path):
        find_spec = getattr(finder, "find_spec", None)
        if find_spec is None or getattr(finder, "asks_for_packages", False):
            continue
        spec: ModuleSpec | None = find_spec(name, path)
        if spec is not None:
            return spec
    return None


def is_place_only(module: ModuleType | ModuleSpec) -> bool:
    """Whether a package has no code of its own, so that others can add modules to it."""
    spec = module if isinstance(module, ModuleSpec) else getattr(module, "__spec__", None)
    return (
        isinstance(spec, ModuleSpec)
        and spec.submodule_search_locations is not None
        and not spec.has_location
        and (spec.loader is None or type(spec.loader).__name__ == "NamespaceLoader")
    )


def _imports_of(tree: ast.AST) -> Iterator[Import]:
    pending = [tree]  # not by recursion: trees can be deep
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (Import(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from _from(node)
        elif isinstance(node, ast.Call):
            yield from _called(node)
        pending += reversed(_below(node))


def _below(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.If) and _name_of(node.test) == "TYPE_CHECKING":
        return [*node.orelse]
    if isinstance(node, ast.ExceptHandler) and _IMPORT_ERRORS & caught(node):
        return []
    return list(ast.iter_child_nodes(node))


def caught(handler: ast.ExceptHandler) -> frozenset[str]:
    """The names of what a handler catches; a bare one catches BaseException."""
    if handler.type is None:
        return frozenset({"BaseException"})
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return frozenset(_name_of(kind) for kind in kinds)


def _from(node: ast.ImportFrom) -> Iterator[Import]:
    if node.level or not node.module:
        return
    # A class or a constant is no module.
    names = [alias.name for alias in node.names if alias.name.islower()]
    parts = names if len(names) <= _MOST_PARTS else []
    yield Import(node.module, tuple(f"{node.module}.{name}" for name in parts))


def _called(node: ast.Call) -> Iterator[Import]:
    texts = [arg.value if isinstance(arg, ast.Constant) else None for arg in node.args]
    called = _name_of(node.func)
    if called in ("import_module", "__import__") and texts:
        name = texts[0]
        if isinstance(name, str) and not name.startswith("."):
            yield Import(name)
    elif called in ("run_cell_magic", "run_line_magic") and texts[:1]:
        magic, *pieces = texts
        if magic in _PYTHON_MAGICS:
            for piece in pieces:
                if isinstance(piece, str):
                    yield from imported_names(piece)


def _name_of(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _candidates(one: Import) -> Iterator[str]:
    """What to look for: the module, or each part of it that may be one."""
    parts = [part for part in one.parts if may_be_asked_for(part)]
    yield from parts or [one.name]


def _is_there(name: str) -> bool:
    """Whether a module is there, as far as can be told without importing it."""
    try:
        return _finds(name)
    except Exception:  # a broken finder, or a strange object in sys.modules: not our business
        return True


def _finds(name: str) -> bool:
    above = ""
    for part in name.split("."):
        parent = sys.modules.get(above)
        above = f"{above}.{part}" if above else part
        if above in sys.modules and sys.modules[above] is None:
            return True  # someone doesn't want it to be imported
        place: Any = sys.modules.get(above) or find(above, getattr(parent, "__path__", None))
        if place is None:
            return False
        if not is_place_only(place):
            return True
        path = [*getattr(place, "__path__", getattr(place, "submodule_search_locations", ()))]
        if is_own(path):
            return any(map(_holds_code, path))
        importlib.import_module(above)  # which runs nothing
    return True


def is_own(path: Iterable[str]) -> bool:
    """Whether a package's directories are all in the working directory."""
    work = os.path.join(os.path.realpath(os.getcwd()), "")
    places = [os.path.realpath(directory) for directory in path]
    return bool(places) and all(place.startswith(work) for place in places)


def _holds_code(directory: str) -> bool:
    """Whether there are modules in a directory, and not just a user's data."""
    with os.scandir(directory) as entries:
        return any(entry.name.endswith((".py", ".so")) or entry.is_dir() for entry in entries)
