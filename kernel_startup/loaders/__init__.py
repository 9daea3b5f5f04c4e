"""What turns a file into an object: one module a family, each imported when first needed.

A loader is a function `load_x(source, *, option=default, ...) -> object`, named in the type table
as "module:load_x". Its keyword-only parameters are the options it knows; if it takes `**reader`
too, `passes_on` names the library function that gets those. It raises `FileLoadError` where it can
say more than the library does, and lets the library's errors through otherwise.
"""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

Loader = Callable[..., object]
AnyLoader = TypeVar("AnyLoader", bound=Loader)

_PASSES_ON = "__passes_on_to__"


def passes_on(reader: str) -> Callable[[AnyLoader], AnyLoader]:
    """Say which function gets a loader's further options: "package.module:function"."""

    def mark(loader: AnyLoader) -> AnyLoader:
        setattr(loader, _PASSES_ON, reader)
        return loader

    return mark


def find_loader(name: str) -> Loader:
    """Import a loader by its name in the type table ("tabular:load_csv")."""
    return _import(f"{__name__}.{name}")


def known_options(loader: Loader) -> frozenset[str]:
    """Name the options a loader takes, those it passes on included."""
    options = set()
    for parameter in inspect.signature(loader).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            options.add(parameter.name)
    reader = getattr(loader, _PASSES_ON, None)
    if reader is not None:
        options.update(list(inspect.signature(_import(reader)).parameters)[1:])
    return frozenset(options)


def _import(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found
