"""Packages that a cell lacks, asked of the service: before the cell runs, and while it imports.

The service installs what it is asked for in a directory at the end of the kernel's path, while the
deadline's clock stands still. What it can't or won't install it explains in a sentence, which is
then part of the ImportError.
"""

import importlib
import importlib.abc
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any, Literal

from kernel_startup.importers import Owner, needed_imports
from kernel_startup.imports import (
    MOST_CHARS,
    Import,
    find,
    imported_names,
    is_own,
    is_place_only,
    may_be_asked_for,
    missing,
    parse,
)
from kernel_startup.questions import Questions

log = logging.getLogger(__name__)

#: What one request asks for at most.
_MOST_NAMES = 50
_SENTENCE_CHARS = 1_000
_FAILED = "It could not be installed."

#: A cell that installs by hand knows better what, and in which version.
_INSTALLS = re.compile(
    r"^[^#\n\"']{0,100}\b(?:pip3?|uv|conda|mamba)\b.{0,100}\b(?:install|add)\b", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a request.

    Attributes:
        installed, removed: ``name==version`` each.
        failed: requirement -> one sentence for a person.
        changed: names of packages that were there before, in another version.
        restart: modules in memory whose files were changed.
    """

    installed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


@dataclass(slots=True)
class _Cell:
    """The cell that runs now.

    Attributes:
        ident: who sent it.
        parent: its message.
        failed: what it lacks and can't get -> why.
        over: whether it has ended.
    """

    ident: Any
    parent: Mapping[str, Any]
    failed: dict[str, str] = field(default_factory=dict)
    over: bool = False


class Installer:
    """Asks the service for packages, in the name of the cell that runs now."""

    def __init__(self, questions: Questions) -> None:
        """Ask by ``questions``, in this process only."""
        self._questions = questions
        self._pid = os.getpid()
        self._cell: _Cell | None = None
        self._look_up = threading.Lock()
        self._busy = threading.local()

    @contextmanager
    def cell(self, ident: Any, parent: Mapping[str, Any]) -> Iterator[None]:
        """Ask for a cell while it runs, if its sender has said that it would answer."""
        metadata = parent.get("metadata")
        if not isinstance(metadata, Mapping) or metadata.get("packages") is not True:
            yield
            return
        cell = self._cell = _Cell(ident, parent)
        try:
            yield
        finally:
            cell.over = True
            self._cell = None

    @property
    def is_open(self) -> bool:
        """Whether anybody would answer: a cell runs, in this process, and doesn't ask already."""
        return (
            self._cell is not None
            and os.getpid() == self._pid
            and not sys.is_finalizing()
            and not getattr(self._busy, "asking", False)
        )

    def request(
        self,
        action: Literal["install", "uninstall"],
        kind: Literal["import", "command"],
        requirements: Sequence[str],
        *,
        upgrade: bool = False,
    ) -> Reply:
        """Have packages installed or removed, and wait for that.

        Args:
            action: what to do.
            kind: what the requirements are: names of modules, or requirements as pip takes them.
            requirements: of what.
            upgrade: whether to take newer versions of what is there.

        Raises:
            KeyboardInterrupt: on SIGINT, in the main thread.
        """
        cell = self._cell
        if cell is None or not self.is_open:
            return Reply(failed=dict.fromkeys(requirements, "No cell is running."))
        self._busy.asking = True
        try:
            content = self._questions.ask(
                "install_request",
                {
                    "action": action,
                    "kind": kind,
                    "requirements": list(requirements),
                    "upgrade": upgrade,
                },
                ident=cell.ident,
                parent=cell.parent,
                stands=lambda: not cell.over,
            )
        finally:
            self._busy.asking = False
            importlib.invalidate_caches()
        return _reply(content, requirements)

    def prepare(self, code: str, transform: Callable[[str], str]) -> None:
        """Get what a cell is about to import.

        Args:
            code: of the cell.
            transform: turns IPython's syntax into Python.

        Raises:
            KeyboardInterrupt: on SIGINT.
        """
        if "import" not in code or len(code) > MOST_CHARS:
            return
        if not self.is_open or _INSTALLS.search(code):
            return
        try:
            imports = _imports_of(code, transform)
            if missing(imports):
                with self._look_up:
                    self._obtain(imports)
        except Exception:  # the cell will say itself what it can't import
            log.debug("a cell's imports could not be looked up", exc_info=True)

    def find(self, name: str, path: Any, frame: FrameType | None) -> "ModuleSpec | _Absent | None":
        """Get a module that no finder has found.

        Args:
            name: of the module, dotted.
            path: where the package above it looks for its modules, None for a top-level module.
            frame: of the finder's caller.

        Returns:
            Where it is now, or why it isn't there; None if there is nothing to be said.
        """
        cell = self._cell
        if cell is None or not (
            self.is_open and may_be_asked_for(name) and _takes_others(name, path)
        ):
            return None
        needed = needed_imports(frame, self._owner)
        if not needed:
            return None
        with self._look_up:
            self._obtain(needed)
        found = find(name, path)
        if found is not None:
            return found
        for one in needed:
            for wanted in (*one.parts, one.name):
                if wanted in cell.failed and f"{wanted}.".startswith(f"{name}."):
                    # `from a import b` ignores an error that is about `a.b`.
                    return _Absent(one.name if name in one.parts else name, cell.failed[wanted])
        return None

    def join(self, owner: Owner) -> None:
        """Become part of this process's import system, after all that finds modules now."""
        self._owner = owner
        sys.meta_path.append(_PackageFinder(self))

    def _obtain(self, imports: Sequence[Import]) -> None:
        """Ask for what is missing, unless it was in vain already; note what can't be had."""
        importlib.invalidate_caches()  # it may have come since
        cell = self._cell
        if cell is None:
            return
        wanted = [name for name in missing(imports) if name not in cell.failed][:_MOST_NAMES]
        if not wanted:
            return
        reply = self.request("install", "import", wanted)
        cell.failed.update({name: reply.failed[name] for name in wanted if name in reply.failed})
        for name in missing(imports):
            if name in wanted:
                cell.failed.setdefault(name, "What was installed for it doesn't have it.")


@dataclass(frozen=True, slots=True)
class _Absent:
    """Why a module isn't there.

    Attributes:
        name: what the error is about, for those that catch it.
        reason: a sentence.
    """

    name: str
    reason: str


class _PackageFinder(importlib.abc.MetaPathFinder):
    """The import system's last resort."""

    asks_for_packages = True

    def __init__(self, installer: Installer) -> None:
        self._installer = installer

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Called by the import system for what all other finders have not found."""
        try:
            found = self._installer.find(fullname, path, sys._getframe(1))
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None
        except Exception:
            return None
        if isinstance(found, _Absent):
            message = f"No module named {fullname!r}. {found.reason}"
            raise ModuleNotFoundError(message, name=found.name)
        return found


# Python leaves the import system's own lines out of the traceback of an ImportError: ours as well.
_PackageFinder.find_spec.__code__ = _PackageFinder.find_spec.__code__.replace(
    co_filename=importlib.import_module.__globals__["_bootstrap"]._find_spec.__code__.co_filename
)


def _imports_of(code: str, transform: Callable[[str], str]) -> tuple[Import, ...]:
    # Most cells are plain Python, which is sooner seen than transformed.
    tree = parse(code) or parse(transform(code))
    return imported_names(tree) if tree is not None else ()


def _takes_others(name: str, path: Any) -> bool:
    """Whether what is above a module takes modules of others."""
    above = name.rpartition(".")[0]
    if not above:
        return True
    return above in sys.modules and is_place_only(sys.modules[above]) and not is_own(path)


def _reply(content: Mapping[str, Any] | None, requirements: Sequence[str]) -> Reply:
    """Read an answer. What failed as a whole failed for each requirement."""
    if content is None:
        content = {"status": "error", "message": "The cell ended before it was installed."}
    failed = content.get("failed")
    if not isinstance(failed, Mapping):
        failed = {}
    if content.get("status") != "ok" and not failed:
        failed = dict.fromkeys(requirements, content.get("message"))
    return Reply(
        installed=_texts(content.get("installed")),
        removed=_texts(content.get("removed")),
        failed={str(name): _sentence(why) or _FAILED for name, why in failed.items()},
        changed=_texts(content.get("changed")),
        restart=_texts(content.get("restart")),
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def _sentence(value: Any) -> str:
    return " ".join(str(value or "").split())[:_SENTENCE_CHARS]
