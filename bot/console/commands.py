"""The console's commands, as typed: what there is, and what a line asks for."""

import difflib
import glob
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class CommandHelp:
    """How a command is written and what it does.

    Attributes:
        arguments: What may follow the name, for people to read.
        summary: What it does, without a full stop.
        least: How many arguments it needs.
        most: How many it takes; None means any number.
        is_text: Whether all that follows is one argument, as it is.
    """

    arguments: str
    summary: str
    least: int = 0
    most: int | None = 0
    is_text: bool = False


COMMANDS: Mapping[str, CommandHelp] = MappingProxyType(
    {
        "ask": CommandHelp("QUESTION", "ask the language model, in words", 1, 1, is_text=True),
        "forget": CommandHelp("", "begin a new conversation with it"),
        "upload": CommandHelp("PATH [PATH...]", "give files to the kernel", 1, None),
        "files": CommandHelp("", "list your files"),
        "delete": CommandHelp("ID [ID...]", "delete files by id or unmistakable name", 1, None),
        "vars": CommandHelp("", "list the variables"),
        "restart": CommandHelp("", "start afresh: variables go, files stay"),
        "interrupt": CommandHelp("", "stop a cell that another program runs here"),
        "export": CommandHelp("[PATH]", "save the session as a notebook", 0, 1),
        "kernels": CommandHelp("", "list the live kernels"),
        "help": CommandHelp("", "this list"),
        "quit": CommandHelp("", "leave; so does Ctrl-D"),
    }
)

_ALIASES = MappingProxyType({"exit": "quit", "q": "quit", "h": "help", "?": "help"})
#: What people type to leave Python.
_LEAVING = frozenset({"exit", "quit", "exit()", "quit()"})
_COMMAND = re.compile(r":\s*(?P<name>\S*)\s*(?P<rest>.*)", re.DOTALL)


class UnusableCommand(Exception):
    """A command that can't be carried out; `str()` is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, taken apart."""

    name: str
    arguments: tuple[str, ...] = ()


def parse_command(line: str) -> Command | None:
    """Take a line apart; None if it is code.

    Raises:
        UnusableCommand: There is no such command, or it is written differently.
    """
    if line.strip() in _LEAVING:
        return Command("quit")
    match = _COMMAND.fullmatch(line.strip())
    if match is None:
        return None
    name = _ALIASES.get(match["name"].lower(), match["name"].lower())
    if name not in COMMANDS:
        raise UnusableCommand(_unknown(match["name"]))
    usage = COMMANDS[name]
    rest = match["rest"].strip()
    arguments = ((rest,) if rest else ()) if usage.is_text else _words(rest)
    if len(arguments) < usage.least or (usage.most is not None and len(arguments) > usage.most):
        raise UnusableCommand(f"It is written :{name} {usage.arguments}".rstrip() + ".")
    return Command(name, arguments)


def paths_of(words: tuple[str, ...]) -> tuple[Path, ...]:
    """The files that the words of an `:upload` name: "~", patterns such as `*.csv` and the
    addresses that file managers drop ("file:///...") are understood.

    Raises:
        UnusableCommand: A pattern fits no file.
    """
    # A name with blanks that nobody quoted is still the name of a file.
    whole = Path(" ".join(words)).expanduser()
    if len(words) > 1 and whole.is_file():
        return (whole,)
    return tuple(path for word in words for path in _paths_of_word(word))


def dropped_path(line: str) -> Path | None:
    """The file that a line consists of, if it is nothing but the path of one: that is what
    terminals type when a file is dropped on them."""
    line = line.strip()
    if "\n" in line or not line.startswith(("/", "~", "'", '"', "file://", "./", "../")):
        return None
    try:
        words = _words(line)
        path = _local_path(words[0]) if len(words) == 1 else Path(line)
        return path if path.is_absolute() or "/" in line else None
    except (UnusableCommand, OSError, ValueError, RuntimeError):
        return None


def help_text() -> str:
    """The list of commands and keys."""
    rows = [(f":{name} {usage.arguments}", usage.summary) for name, usage in COMMANDS.items()]
    rows += _KEYS
    width = max(len(left) for left, _ in rows)
    return "\n".join(f"  {left:<{width}}  {right}" for left, right in rows)


_KEYS = [
    ("Enter", "run a complete cell; a block needs a blank line"),
    ("Alt-Enter", "run the cell as it is"),
    ("Ctrl-O", "a new line, wherever the cursor is"),
    ("Tab", "complete names, commands, paths and file ids"),
    ("Ctrl-C", "interrupt the cell, variables stay; twice: restart"),
    ("Ctrl-R", "search what was typed before"),
]


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), [*COMMANDS, *_ALIASES], n=1)
    if close:
        return f"There is no command :{name}; did you mean :{_ALIASES.get(close[0], close[0])}?"
    return f"There is no command :{name}; :help lists them all."


def _words(rest: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(rest))
    except ValueError:
        raise UnusableCommand("A quotation mark in it is never closed.") from None


def _paths_of_word(word: str) -> tuple[Path, ...]:
    path = _local_path(word)
    if glob.has_magic(word) and not path.exists():
        found = tuple(Path(name) for name in sorted(glob.glob(str(path))))
        if not found:
            raise UnusableCommand(f"No file fits {word!r}.")
        return found
    return (path,)


def _local_path(word: str) -> Path:
    if word.startswith("file://"):
        return Path(unquote(urlsplit(word).path))
    try:
        return Path(word).expanduser()
    except RuntimeError:  # the home of an unknown user
        return Path(word)
