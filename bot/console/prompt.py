"""The prompt: where cells and commands are typed."""

import os
from collections.abc import Callable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import Completer
from prompt_toolkit.filters import Condition, has_completions, in_paste_mode
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import DynamicLexer, PygmentsLexer, SimpleLexer
from prompt_toolkit.output import Output
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style
from pygments.lexers.python import PythonLexer  # type: ignore[import-untyped]  # has no types

from bot.console.cell_source import is_complete, next_indent
from bot.console.inert import inert, inert_name

_STYLE = Style.from_dict({"prompt": "ansigreen", "number": "ansigreen bold", "dots": "ansigreen"})
_INDENT = "    "


class CellPrompt:
    """Asks for cells, and for answers while a cell runs."""

    def __init__(
        self,
        completer: Completer,
        *,
        history: Path | None,
        input: Input | None = None,
        output: Output | None = None,
        is_words: Callable[[str], bool] = lambda text: False,
    ) -> None:
        """Make a prompt.

        Args:
            completer: What Tab offers.
            history: File that keeps what was typed; None, or one that can't be written, keeps it
                for as long as the prompt exists.
            input: Where keys come from; None is the terminal.
            output: Where the prompt is drawn; None is the terminal.
            is_words: Tells what is no code, and isn't coloured as such.
        """
        self._input = input
        self._output = output
        code, command = PygmentsLexer(PythonLexer), SimpleLexer()
        self._session: PromptSession[str] = PromptSession(
            multiline=True,
            key_bindings=_key_bindings(),
            completer=completer,
            complete_while_typing=False,
            history=_history(history),
            lexer=DynamicLexer(
                lambda: command if _is_command(_typed()) or is_words(_typed()) else code
            ),
            style=_STYLE,
            prompt_continuation=_continuation,
            input=input,
            output=output,
        )

    async def read(self, number: int, *, default: str = "") -> str | None:
        """Ask for a cell or command.

        Args:
            number: The n of `In [n]`.
            default: What is there already, to be changed or run.

        Returns:
            What was typed, not blank; None when the person leaves (Ctrl-D). Ctrl-C begins anew.
        """
        message: StyleAndTextTuples = [
            ("class:prompt", "In ["),
            ("class:number", str(number)),
            ("class:prompt", "]: "),
        ]
        while True:
            try:
                # What is logged meanwhile appears above the prompt, not in it.
                with patch_stdout(raw=True):
                    text = await self._session.prompt_async(
                        message, default=default, handle_sigint=False
                    )
            except KeyboardInterrupt:
                default = ""
                continue
            except EOFError:
                return None
            if text.strip():
                return text.rstrip()

    async def ask(self, question: str, *, password: bool = False) -> str:
        """Ask for one line, which the history doesn't keep.

        Args:
            question: Shown in front; may come from a cell.
            password: Whether to hide what is typed.

        Raises:
            EOFError: Ctrl-D.
            KeyboardInterrupt: Ctrl-C.
        """
        return await ask_line(question, password=password, input=self._input, output=self._output)


async def ask_line(
    question: str, *, password: bool, input: Input | None = None, output: Output | None = None
) -> str:
    """Ask for one line at a terminal; see `CellPrompt.ask`."""
    *above, last = inert(question).split("\n")
    session: PromptSession[str] = PromptSession(
        history=InMemoryHistory(), input=input, output=output
    )
    return await session.prompt_async(
        "\n".join([*above, inert_name(last)]), is_password=password, handle_sigint=False
    )


def _history(path: Path | None) -> History:
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Code can hold secrets: nobody else reads it.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)


def _typed() -> str:
    return get_app().current_buffer.text


def _is_command(text: str) -> bool:
    return text.lstrip().startswith(":")


def _continuation(width: int, line_number: int, is_soft_wrap: int) -> StyleAndTextTuples:
    return [("class:dots", "...: ".rjust(width))]


@Condition
def _in_indentation() -> bool:
    document = get_app().current_buffer.document
    return not document.current_line_before_cursor.strip() and not _is_command(document.text)


@Condition
def _behind_indent() -> bool:
    before = get_app().current_buffer.document.current_line_before_cursor
    return bool(before) and not before.strip() and len(before) % len(_INDENT) == 0


def _key_bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter", filter=~in_paste_mode & ~has_completions)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        document = buffer.document
        at_end = not document.text_after_cursor.strip()
        if at_end and (_is_command(document.text) or is_complete(document.text)):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n" + next_indent(document.text_before_cursor))

    @bindings.add("enter", filter=has_completions)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.complete_state = None

    @bindings.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @bindings.add("c-o")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        buffer.insert_text("\n" + next_indent(buffer.document.text_before_cursor))

    @bindings.add("tab", filter=_in_indentation)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text(_INDENT)

    @bindings.add("backspace", filter=_behind_indent)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.delete_before_cursor(len(_INDENT))

    return bindings
