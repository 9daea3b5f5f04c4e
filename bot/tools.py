"""The one tool that a model has, and the code in a call of it, however the call is written."""

import ast
import json
import re
from typing import Any

from bot.chat_model import Tool
from bot.conversation import ToolCall

EXECUTE = Tool(
    name="execute_python_code",
    description=(
        "Run Python in the user's IPython kernel, as a notebook cell. Variables, imports and files "
        "stay for later calls. Returns what it printed, its last expression's value, tracebacks, "
        "and the files it made; pictures and files are sent to the user by themselves."
    ),
    parameters={
        "type": "object",
        "properties": {"code": {"type": "string", "description": "Python as in a notebook cell"}},
        "required": ["code"],
        "additionalProperties": False,
    },
)

#: What models call it that have seen others' tools.
_OTHER_NAMES = frozenset(
    {
        *("", "python", "ipython", "python_interpreter", "code_interpreter", "execute_python"),
        *("execute_code", "run_python", "run_python_code", "run_code", "python_code"),
    }
)
_OTHER_ARGUMENTS = ("code", "python", "python_code", "script", "source", "input")
_MOST_CODE_CHARS = 200_000
_FENCED = re.compile(r"\s*```[\w+-]*[ \t]*\n(?P<inside>.*?)\n?[ \t]*```\s*", re.DOTALL)
#: A string, or a comment; those in three quotes may hold line breaks, and are passed over.
_BROKEN_STRING = re.compile(
    r"\"\"\".*?\"\"\"|\'\'\'.*?\'\'\'|#[^\n]*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.DOTALL
)
_MAGIC = re.compile(r"^[ \t]*[%!].*$", re.MULTILINE)


class UnusableCall(Exception):
    """A call that can't be carried out; ``str()`` tells the model what to do instead."""


def is_known(name: str) -> bool:
    """Whether a call of this name means our tool."""
    return name.rpartition(".")[2].strip().lower() in {EXECUTE.name, *_OTHER_NAMES}


def code_of(call: ToolCall) -> str:
    """The code that a call wants run. Only what is beyond doubt is repaired.

    Raises:
        UnusableCall: there is no such tool, or no code in it.
    """
    if not is_known(call.name):
        raise UnusableCall(
            f"There is no tool {call.name[:100]!r}. Call {EXECUTE.name}, or answer in words."
        )
    code = _code(call.arguments)
    if code is None:
        raise UnusableCall(
            "Nothing was run: the arguments are not valid JSON. Call "
            f'{EXECUTE.name} with {{"code": "..."}}.'
        )
    if not code.strip():
        raise UnusableCall("Nothing was run: the code is empty.")
    if len(code) > _MOST_CODE_CHARS:
        raise UnusableCall(
            f"Nothing was run: the code is longer than {_MOST_CODE_CHARS:,} characters."
        )
    return code


def is_python(text: str) -> bool:
    """Whether a text can be read as Python, IPython's lines of magic included."""
    try:
        ast.parse(_MAGIC.sub("pass", text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _code(arguments: str) -> str | None:
    text = _unfenced(arguments.strip())
    value = _value(text)
    if isinstance(value, str):  # JSON in JSON
        inner = _value(value.strip())
        value = inner if isinstance(inner, dict) else value
    if isinstance(value, dict):
        return _code_in(value)
    if isinstance(value, str):
        return _unescaped(_unfenced(value))
    # Not JSON: then perhaps the code itself. A dict that is broken would be Python as well.
    return text if not text.startswith(("{", "[", '"')) and is_python(text) else None


def _code_in(arguments: dict[Any, Any]) -> str | None:
    for name in _OTHER_ARGUMENTS:
        code = arguments.get(name)
        if isinstance(code, list) and all(isinstance(line, str) for line in code):
            code = "\n".join(line.rstrip("\n") for line in code)
        if isinstance(code, str):
            return _unescaped(_unfenced(code))
    return "" if not arguments else None


def _value(text: str) -> object:
    """The value that a text is in JSON, or nearly: None if it is none."""
    for candidate in (text, f"{text}}}"):
        try:
            return json.loads(candidate, strict=False)  # with line breaks in strings
        except (ValueError, RecursionError):
            continue
    if text.startswith("{"):
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            pass
    return None


def _unfenced(text: str) -> str:
    match = _FENCED.fullmatch(text)
    return match["inside"] if match else text


def _unescaped(code: str) -> str:
    r"""Code as it was meant, where it was escaped once too often or too little: with ``\n`` for its
    line breaks, or with line breaks for the ``\n`` in its strings."""
    if is_python(code):
        return code
    if "\n" not in code and "\\n" in code:
        meant = code.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"')
    else:
        meant = _BROKEN_STRING.sub(_on_one_line, code)
    return meant if is_python(meant) else code


def _on_one_line(part: re.Match[str]) -> str:
    text = part[0]
    return text if text.startswith(('"""', "'''")) else text.replace("\n", "\\n")
