"""IPython's shell as a session uses it: no copies of outputs, and its own answers to `pip`."""

import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any

from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.inputtransformer2 import (
    TokenTransformBase,
    assemble_continued_line,
    find_end_of_continued_line,
)
from IPython.utils.text import LSString, SList

from kernel_startup.pip_commands import PipCommands
from kernel_startup.tables_shown import TableFormatter
from kernel_startup.tracebacks import always_shown, text_of

#: The magics of this kind that IPython has, and the tool that each is taken for.
_MAGICS = {"pip": "pip", "uv": "uv", "conda": "conda", "mamba": "conda", "micromamba": "conda"}
#: Commands for a shell that people write as if cells were one. None of them can be Python.
_BARE = re.compile(
    r"(?P<tool>pip|uv|conda|mamba|micromamba)3?\s+(?:pip\s+)?"
    r"(?:install|uninstall|remove|list|freeze|show|update|upgrade|add)\b"
)
_BARE_BY_PYTHON = re.compile(r"python3?\s+-m\s+(?=pip\b)")


class _Forgetful(defaultdict[int, list[Any]]):
    """IPython's record of all that was shown, kept empty: the service has the outputs."""

    def __missing__(self, count: int) -> list[Any]:
        """A list that nobody keeps."""
        return []


class _Expanded(str):
    """A command whose variables have been put in."""


class CellShell(ZMQInteractiveShell):  # type: ignore[misc]  # ipykernel ships no types
    """IPython's shell, without its copies of all that was ever printed or displayed."""

    #: What answers `pip`; set by the kernel.
    pip: PipCommands | None = None
    #: Whether programs get a pseudo-terminal.
    has_terminals = True
    #: The cell in hand, and what it is in Python; IPython asks for that once more.
    _read: tuple[str, str] | None = None
    #: Python, and whether it awaits something; that, too.
    _known: tuple[str, bool] | None = None

    def init_history(self) -> None:
        """Keep the inputs only."""
        super().init_history()
        self.history_manager.outputs = _Forgetful()

    def _format_exception_for_storage(
        self, exception: BaseException, *args: Any, **options: Any
    ) -> dict[str, Any]:
        """Called by IPython with each error once it is shown, for a record of its own.

        It fails with what can't say what it is. All else is left to it: where memory is at its
        end, a cell was not always over without its failing once more.
        """
        try:
            str(exception)
        except Exception:
            return {}
        kept: dict[str, Any] = super()._format_exception_for_storage(exception, *args, **options)
        return kept

    def init_traceback_handlers(self, custom_exceptions: Any) -> None:
        """Have each error be shown."""
        super().init_traceback_handlers(custom_exceptions)
        formatter = self.InteractiveTB
        formatter.structured_traceback = always_shown(formatter.structured_traceback)

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        """Send an error; called by IPython, with one that may not be able to say what it is."""
        super()._showtraceback(etype, text_of(evalue), stb)

    def init_display_formatter(self) -> None:
        """Have large tables shown with all of their values."""
        self.display_formatter = TableFormatter(parent=self)
        self.configurables.append(self.display_formatter)

    @contextmanager
    def _tee(self, channel: str) -> Iterator[None]:
        """Leave the streams as they are; called by IPython around each cell."""
        yield

    @contextmanager
    def reading(self, code: str) -> Iterator[dict[str, Any]]:
        """Read a cell that is about to run; what is read again meanwhile costs nothing.

        Returns:
            What IPython calls the transformed cell, and the error if it is none.
        """
        error = None
        try:
            python = self.transform_cell(code)
        except Exception:
            python, error = code, sys.exc_info()
        else:
            self._read = code, python
        try:
            yield {"transformed_cell": python, "preprocessing_exc_tuple": error}
        finally:
            self._read = self._known = None

    def transform_cell(self, raw_cell: str) -> str:
        """Turn IPython's syntax into Python."""
        read, self._read = self._read, None  # for the cell itself, not for what runs within
        if read is not None and read[0] == raw_cell:
            return read[1]
        python: str = super().transform_cell(raw_cell)
        return python

    def should_run_async(
        self, raw_cell: str, *, transformed_cell: Any = None, preprocessing_exc_tuple: Any = None
    ) -> bool:
        """Whether a cell awaits something."""
        known, self._known = self._known, None
        if known is not None and known[0] == transformed_cell:
            return known[1]
        awaits: bool = super().should_run_async(
            raw_cell,
            transformed_cell=transformed_cell,
            preprocessing_exc_tuple=preprocessing_exc_tuple,
        )
        if self._read is not None:
            self._known = transformed_cell, awaits
        return awaits

    def load_pip_magics(self) -> None:
        """Import what :meth:`use_pip` takes the place of."""
        for name in _MAGICS:
            self.find_line_magic(name)

    def use_pip(self, pip: PipCommands) -> None:
        """Have ``pip`` answer such commands, in whatever way cells give them."""
        self.pip = pip
        self.input_transformer_manager.token_transformers.append(_BareCommand)
        for name, tool in _MAGICS.items():
            magic = self._pip_magic(pip, tool, self.find_line_magic(name))
            self.register_magic_function(magic, "line", name)

    def var_expand(self, cmd: str, depth: int = 0, *args: Any) -> str:
        """Put variables into a command. Called by all that runs one."""
        if isinstance(cmd, _Expanded):
            return str(cmd)
        expanded: str = super().var_expand(cmd, depth + 1, *args)
        return expanded

    def system(self, cmd: str) -> None:
        """Run `!cmd`."""
        command = _Expanded(self.var_expand(cmd, depth=1))
        if not self._answers(command):
            self._run(command)

    def getoutput(self, cmd: str, split: bool = True, depth: int = 0) -> Any:
        """Run `x = !cmd`."""
        command = _Expanded(self.var_expand(cmd, depth=depth + 1))
        if self.pip is None or not self.pip.is_open:
            return super().getoutput(command, split)
        said = StringIO()

        def run(following: str) -> None:
            said.write(super(CellShell, self).getoutput(_Expanded(following), False))

        if not self.pip.run_line(command, out=said, err=said, shell=run):
            return super().getoutput(command, split)
        text = said.getvalue()
        return SList(text.splitlines()) if split else LSString(text)

    def _answers(self, command: str) -> bool:
        """Answer a command, if it is one of those."""
        if self.pip is None or not self.pip.is_open:
            return False
        try:
            return self.pip.run_line(command, out=sys.stdout, err=sys.stderr, shell=self._run)
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None  # without the lines of ours that wait

    def _run(self, command: str) -> None:
        run = self.system_piped if self.has_terminals else self.system_raw
        run(_Expanded(command))

    def _pip_magic(
        self, pip: PipCommands, tool: str, usual: Callable[[str], Any] | None
    ) -> Callable[[str], Any]:
        """A line magic for ``tool``, which leaves to ``usual`` what isn't answered here."""

        def magic(line: str) -> Any:
            if not pip.is_open:
                return usual(line) if usual is not None else None
            if not self._answers(f"{tool} {line}"):
                pip.run([line.strip() or "help"], tool, out=sys.stdout, err=sys.stderr)
            return None

        magic.__doc__ = f"Install and remove packages as `{tool}` does."
        return magic


class _BareCommand(TokenTransformBase):
    """Makes `pip install x`, on a line of its own, what `%pip install x` is."""

    @classmethod
    def find(cls, tokens_by_line: Sequence[Sequence[tokenize.TokenInfo]]) -> Any:
        """Called by IPython: the first such line, if there is one."""
        for line in tokens_by_line:
            for token in line:
                if token.type in (tokenize.INDENT, tokenize.DEDENT):
                    continue
                if token.type == tokenize.NAME and _bare(token.line[token.start[1] :]):
                    return cls(token.start)
                break
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """Called by IPython: the cell with a call in place of the line that was found."""
        end = find_end_of_continued_line(lines, self.start_line)
        command = assemble_continued_line(lines, (self.start_line, self.start_col), end)
        tool, line = _bare(command) or ("pip", command)
        indent = lines[self.start_line][: self.start_col]
        call = f"{indent}get_ipython().run_line_magic({tool!r}, {line!r})\n"
        return [*lines[: self.start_line], call, *lines[end + 1 :]]


def _bare(text: str) -> tuple[str, str] | None:
    """The magic, and the rest of a command that is written as in a shell."""
    text = _BARE_BY_PYTHON.sub("", text, count=1) if text.startswith("python") else text
    found = _BARE.match(text)
    return (found["tool"], text[found.end("tool") :].lstrip("3").strip()) if found else None
