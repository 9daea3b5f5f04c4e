"""Values to bytes and back, one variable at a time: one that can't be saved costs only itself.

Functions and classes that cells have defined are saved as they are (cloudpickle), and functions go
on using the user's variables: these are found by name in whatever kernel they are loaded into. A
value that is another variable's stays the same object in both.
"""

import io
import itertools
import marshal
import pickle
import re
import sys
import types
from collections.abc import Callable, Container, Mapping
from typing import Any

import cloudpickle

from kernel_startup.variables import size_of, type_name

#: What a file that is open is called in errors.
_OPEN_FILE = "file"
#: Stands for the namespace where others are called by their variable's name.
_NAMESPACE = ""
#: Whose identity nobody asks for. Not shared: a number that two variables have makes them no pair.
_ATOMS = frozenset(
    {type(None), bool, int, float, complex, range, slice, type(...), type(NotImplemented)}
)
_SMALL_TEXT = 1_000
_REFUSED = re.compile(r"(?i)can(?:not|'t) pickle '?([A-Za-z_][\w.]*)'? objects?")
#: Of a value that holds others, so many are looked at, so deep.
_SAMPLE, _DEPTH = 8, 4
_CONTAINERS = frozenset({list, tuple, set, frozenset, dict})


class ValuePickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Saves one variable after another's have been.

    Attributes:
        used: names of variables, saved before, that this one can't do without.
        met: names of variables whose values it holds, too: they are to be dumped with this pickler.
        sources: names under which the source of its functions is known.
    """

    def __init__(
        self,
        file: Any,
        *,
        names: Mapping[int, str],
        saved: Container[str],
        namespace: Mapping[str, Any],
    ) -> None:
        """Write to ``file``.

        Args:
            file: has a ``write``.
            names: what the values are called that are saved as variables, by their ids.
            saved: which of them are.
            namespace: the user's.
        """
        super().__init__(file, protocol=5)
        self.used: dict[str, None] = {}
        self.met: dict[str, None] = {}
        self.sources: dict[str, None] = {}
        self._names, self._saved, self._namespace = names, saved, namespace

    def persistent_id(self, value: Any) -> str | None:
        """The name of a variable that has been saved, in place of its value. Called by pickle."""
        name = self._names.get(id(value))
        if name is None:
            return _NAMESPACE if value is self._namespace else None
        if name in self._saved:
            self.used[name] = None
            return name
        self.met[name] = None
        return None

    def reducer_override(self, value: Any) -> Any:
        """How to take a value apart. Called by pickle for all that it doesn't know by itself."""
        known = type(value)
        if known is types.CodeType:
            self.sources[value.co_filename] = None
            return marshal.loads, (marshal.dumps(value),)
        if isinstance(value, io.IOBase) and not isinstance(value, io.BytesIO | io.StringIO):
            raise TypeError(f"cannot pickle '{_OPEN_FILE}' object")  # cloudpickle would read it
        return super().reducer_override(value)

    def _function_getnewargs(self, function: types.FunctionType) -> Any:
        """Called by cloudpickle: what a function is made of; its globals come second."""
        code, scope, *rest = super()._function_getnewargs(function)
        if function.__globals__ is self._namespace:
            scope = self._namespace
        return (code, scope, *rest)

    def _dynamic_function_reduce(self, function: types.FunctionType) -> Any:
        """Called by cloudpickle for functions that cells defined."""
        reduced = super()._dynamic_function_reduce(function)
        if function.__globals__ is self._namespace:
            reduced[2][1]["__globals__"] = {}  # they are variables by themselves
        return reduced


class ValueUnpickler(pickle.Unpickler):
    """Loads what :class:`ValuePickler` saved."""

    def __init__(self, file: Any, *, values: Mapping[str, Any], namespace: dict[str, Any]) -> None:
        """Read from ``file``, with the variables loaded before, and the user's namespace."""
        super().__init__(file)
        self._values, self._namespace = values, namespace

    def persistent_load(self, name: str) -> Any:
        """The value of a variable that was loaded before. Called by pickle."""
        return self._namespace if name == _NAMESPACE else self._values[name]


def has_identity(value: Any) -> bool:
    """Whether it matters that two variables have the very same value. Calls no code of anyone's."""
    known = type(value)
    if known is str or known is bytes:
        return len(value) >= _SMALL_TEXT
    return not any(known is atom for atom in _ATOMS)  # to look it up, its hash would be asked for


def is_shared(value: Any) -> bool:
    """Whether a value that a variable has should stay one with what others hold."""
    return has_identity(value) and not is_imported(value)


def is_imported(value: Any) -> bool:
    """Whether a value belongs to a module other than the user's cells: it is saved as a name."""
    try:
        return _is_imported(value)
    except BaseException:  # a class may answer anything in any way
        return False


def _is_imported(value: Any) -> bool:
    if isinstance(value, types.ModuleType):
        return True
    if not isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return False
    module = getattr(value, "__module__", None)
    found: Any = sys.modules.get(module) if isinstance(module, str) else None
    if module == "__main__" or found is None:
        return False
    for part in str(getattr(value, "__qualname__", "")).split("."):
        found = getattr(found, part, None)
    return found is value


def why_not(error: BaseException, value: Any) -> tuple[str, str]:
    """Why a value could not be saved: a word for it, and the type (or error) that is to blame."""
    own = type_name(type(value))
    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        return "deep", own
    if not isinstance(error, TypeError | AttributeError | pickle.PicklingError):
        return "raises", type_name(type(error))
    refused = _REFUSED.search(str(error)[:500])
    if refused is None:
        return ("holds", "") if type(value) in _CONTAINERS else ("kind", own)
    kind = refused[1]
    is_itself = kind.rpartition(".")[2] == type(value).__name__ or (
        kind == _OPEN_FILE and isinstance(value, io.IOBase)
    )
    return ("kind" if is_itself else "holds"), kind


# -- sizes -----------------------------------------------------------------------------------------


def estimates(values: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, int]:
    """About how many bytes each of these values takes; one that holds another's takes more."""
    known: dict[str, int] = {}

    def of(value: Any, depth: int, within: str) -> int:
        name = names.get(id(value))
        if name is not None and name != within:
            if name not in known:
                known[name] = 0  # for one that holds itself by way of others
                known[name] = _estimate(value, lambda held, d: of(held, d, name), _DEPTH)
            return known[name] + 64
        return _estimate(value, lambda held, d: of(held, d, within), depth)

    sizes = {}
    for name, value in values.items():
        try:
            if known.get(name) is None:
                known[name] = 0
                known[name] = of(value, _DEPTH, name)
            sizes[name] = known[name]
        except BaseException:  # it may be anything
            sizes[name] = 0
    return sizes


def _estimate(value: Any, of: Callable[[Any, int], int], depth: int) -> int:
    known = type(value)
    if known in _ATOMS or known in (str, bytes, bytearray):
        return sys.getsizeof(value)
    own = size_of(value)
    if depth <= 0:
        return own or 64
    if known in _CONTAINERS:
        seen, held = _some_held(value)
        share = len(value) / max(1, seen)
        return (own or 64) + int(share * sum(of(one, depth - 1) for one in held))
    if own is not None:
        return own
    attributes = getattr(value, "__dict__", None)
    held = list(attributes.values())[:64] if isinstance(attributes, dict) else []
    return 64 + sum(of(one, depth - 1) for one in held)


def _some_held(value: Any) -> tuple[int, list[Any]]:
    """Some entries of a container, from all over it: how many, and what is in them."""
    if type(value) in (list, tuple):
        found = list(value[:: max(1, len(value) // _SAMPLE)])
        return len(found), found
    if type(value) is dict:
        pairs = list(itertools.islice(value.items(), _SAMPLE))
        return len(pairs), [part for pair in pairs for part in pair]
    found = list(itertools.islice(value, _SAMPLE))
    return len(found), found
