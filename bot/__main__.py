"""The composition root: reads the environment, puts the program together, runs it."""

import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from bot.arguments import Arguments, parse_arguments

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from bot.console.cell_source import SourceCell
    from bot.console.interrupt_key import InterruptKey
    from bot.console.screen import Screen
    from bot.discord.signals import StopSignals
    from bot.settings import BotSettings
    from interpreter import Interpreter, OnInput, Settings

# Everything else is imported where it is used: --help and a mistyped option are answered at once.

_OK, _CELL_FAILED, _NOT_STARTED = 0, 1, 2
_INTERRUPTED, _BROKEN_PIPE, _TERMINATED = 130, 141, 143
# As sysexits.h has it for a wrong configuration: who restarts the program then only does harm.
_REFUSED = 78


def main(words: Sequence[str] | None = None) -> int:
    """Run the program and give its exit status.

    Args:
        words: The command line's words after the program's name; None takes this process's.
    """
    arguments = parse_arguments(words)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what can't be encoded must not end the program
            stream.reconfigure(errors="replace")

    from bot.console.commands import UnusableCommand
    from bot.errors import BotError
    from interpreter import InterpreterError

    try:
        return _start(arguments)
    except (BotError, InterpreterError, UnusableCommand) as error:
        _say(str(error))
        return _NOT_STARTED
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has left; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE


def _start(arguments: Arguments) -> int:
    import asyncio

    from bot.console.foreground import own_foreground
    from bot.console.notebook_file import check_target
    from bot.console.signals import run_until_told
    from bot.console.upload import check_path
    from bot.settings import BotSettings
    from interpreter import Settings
    from interpreter.environment import load_together, misspelt

    with _refusals_said():
        settings, bot_settings = load_together(Settings, BotSettings)
        for name, likely in misspelt(Settings, BotSettings).items():
            _say(f"{name} in .env is no setting and does nothing here: {likely} may be meant.")
        is_bot = bot_settings.discord_token is not None and not arguments.asks_for_cells
        _configure_logging(settings, default="INFO" if is_bot else "WARNING")
        screen = _screen(_environment())
    if is_bot:
        return _start_bot(settings, bot_settings)
    for path in arguments.files:
        check_path(path)
    if arguments.export:
        check_target(arguments.export)
    if arguments.run is None and sys.stdin is not None and sys.stdin.isatty():
        # At a prompt Ctrl-C ends nothing, and so it mustn't end the make that waits outside.
        from_make = "MAKELEVEL" in os.environ
        with own_foreground(sys.stdin.fileno()) if from_make else nullcontext():
            return asyncio.run(
                run_until_told(
                    lambda key: _run_console(arguments, settings, bot_settings, screen, key),
                    # Whoever ends a prompt wants it ended: nothing has failed.
                    terminated=_OK,
                )
            )
    cells = _read_cells(arguments.run or "-")
    return asyncio.run(run_until_told(lambda key: _run_batch(arguments, settings, screen, cells)))


@asynccontextmanager
async def _opened(settings: "Settings", *, but: str | None = None) -> "AsyncIterator[Interpreter]":
    """The service. What people have in it goes on afterwards, but for one user's session."""
    from interpreter import Interpreter

    async with AsyncExitStack() as stack:
        with _refusals_said():
            opening = Interpreter.open(settings, keep_kernels=True, but=but, on_progress=_say)
            service = await stack.enter_async_context(opening)
        yield service


@contextmanager
def _refusals_said() -> "Iterator[None]":
    """Make a sentence of what the system refuses while the program starts. Later on it would be
    a fault of ours, and that has to be seen."""
    import logging

    from bot.console.commands import UnusableCommand

    try:
        yield
    except BrokenPipeError:  # somebody has left; that refuses nothing
        raise
    except OSError as error:
        logging.getLogger(__name__).debug("the program could not start", exc_info=True)
        where = f": {str(error.filename)!r}" if error.filename else ""
        raise UnusableCommand(f"{error.strerror or error}{where}.") from error


def _start_bot(settings: "Settings", bot_settings: "BotSettings") -> int:
    import asyncio

    from bot.discord.signals import StopSignals

    signals = StopSignals()
    try:
        status = asyncio.run(_run_bot(settings, bot_settings, signals))
    except asyncio.CancelledError:  # told twice to stop, or before anything ran
        status = _TERMINATED
    if signals.again and status != _REFUSED:
        with _refusals_said():
            _start_again()
    return status


def _start_again() -> None:
    """Have this process go on as the program that is installed by now, with the same words.

    What it had open closes with that, the lock on the data directory among it.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


async def _run_bot(
    settings: "Settings", bot_settings: "BotSettings", signals: "StopSignals"
) -> int:
    from bot.discord.assembly import run
    from bot.discord.connection import CannotConnect

    try:
        with signals:
            async with _opened(settings) as service:
                keeps_cells = settings.orphan_s > 0
                await run(bot_settings, service, signals, keeps_cells=keeps_cells)
    except CannotConnect as error:
        _say(str(error))
        return _REFUSED
    return _OK


async def _run_console(
    arguments: Arguments,
    settings: "Settings",
    bot_settings: "BotSettings",
    screen: "Screen",
    key: "InterruptKey",
) -> int:
    from platformdirs import user_state_path
    from prompt_toolkit.output import create_output

    from bot.console.completion import ConsoleCompleter
    from bot.console.console import Console
    from bot.console.output_directory import OutputDirectory
    from bot.console.prompt import CellPrompt
    from bot.console.questions import is_question
    from bot.console.talk import open_talk

    directory = OutputDirectory(arguments.output)
    async with (
        _opened(settings, but=arguments.user) as service,
        open_talk(
            bot_settings, service, user_id=arguments.user, screen=screen, directory=directory
        ) as talk,
    ):
        session = await service.session(user_id=arguments.user)
        console = Console(
            service,
            session,
            prompt=CellPrompt(
                ConsoleCompleter(service, session),
                history=user_state_path("cellmate", appauthor=False) / "history",
                output=create_output(always_prefer_tty=True),
                is_words=is_question if talk else lambda text: False,
            ),
            screen=screen,
            directory=directory,
            interrupt_key=key,
            talk=talk,
        )
        await console.run(uploads=arguments.files)
        if arguments.export:
            await _export(arguments.export, await session.export_notebook())
    return _OK


async def _run_batch(
    arguments: Arguments,
    settings: "Settings",
    screen: "Screen",
    cells: "tuple[SourceCell, ...]",
) -> int:
    from bot.console.batch import run_cells, still_running_told
    from bot.console.evictions import evictions_told
    from bot.console.output_directory import OutputDirectory
    from bot.console.upload import upload
    from bot.console.views import PlainView, TerminalView

    directory = OutputDirectory(arguments.output)
    async with _opened(settings, but=arguments.user) as service:
        session = await service.session(user_id=arguments.user)
        await still_running_told(service, user_id=arguments.user, say=_say)
        for path in arguments.files:
            with evictions_told(service, user_id=arguments.user, say=_say):
                file = await upload(service.files, user_id=arguments.user, path=path)
                _say(f"{file.filename}: id {file.file_id}")
        with (
            evictions_told(service, user_id=arguments.user, say=_say),
            _answers(arguments) as on_input,
        ):
            all_ok = await run_cells(
                cells,
                session=session,
                name="standard input" if arguments.run in {None, "-"} else str(arguments.run),
                new_view=lambda: (
                    TerminalView(screen, directory)
                    if sys.stdout.isatty()
                    else PlainView(sys.stdout, sys.stderr, directory)
                ),
                err=sys.stderr,
                on_input=on_input,
                keep_going=arguments.keep_going,
            )
        if arguments.export:
            await _export(arguments.export, await session.export_notebook())
    return _OK if all_ok else _CELL_FAILED


async def _export(path: Path, notebook: "NotebookNode") -> None:
    import asyncio

    from bot.console.notebook_file import write_notebook

    await asyncio.to_thread(write_notebook, notebook, path)


def _read_cells(name: str) -> "tuple[SourceCell, ...]":
    from bot.console.cell_source import split_cells
    from bot.console.commands import UnusableCommand

    where = "standard input" if name == "-" else repr(name)
    try:
        if name != "-":
            source = Path(name).read_bytes()
        else:
            source = sys.stdin.buffer.read() if sys.stdin is not None else b""
        cells = split_cells(source.decode("utf-8-sig"))
    except OSError as error:
        raise UnusableCommand(f"{where} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UnusableCommand(f"{where} can't be read: it isn't UTF-8.") from error
    if not cells:
        hint = "; in a terminal, or with --run CELLS.py, there would be" if name == "-" else ""
        raise UnusableCommand(f"There are no cells in {where}{hint}.")
    return cells


@contextmanager
def _answers(arguments: Arguments) -> "Iterator[OnInput | None]":
    """What answers `input()`: standard input, unless the cells came from there."""
    if arguments.run in {None, "-"} or sys.stdin is None:
        yield None
    elif sys.stdin.isatty():
        from bot.console.terminal_input import answer_at_terminal

        yield answer_at_terminal
    else:
        from bot.console.standard_input import StandardInput

        with closing(StandardInput(sys.stdin, sys.stderr)) as answers:
            yield answers.answer


def _screen(environment: Mapping[str, str]) -> "Screen":
    from bot.console.images import image_protocol
    from bot.console.screen import Screen, TerminalSize

    if not sys.stdout.isatty():
        return Screen(sys.stdout)

    def size() -> TerminalSize:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
        return TerminalSize(columns or 80, rows or 24)

    plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
    return Screen(sys.stdout, size=size, colour=not plain, images=image_protocol(environment))


def _environment() -> Mapping[str, str]:
    from dotenv import dotenv_values

    from_file = {name: value for name, value in dotenv_values(".env").items() if value}
    return {**from_file, **os.environ}


def _configure_logging(settings: "Settings", *, default: str) -> None:
    """Log to stderr; at a prompt only what goes wrong, unless LOG_LEVEL says otherwise."""
    import logging

    from bot.console.stderr_handler import StderrHandler

    level = settings.log_level if "log_level" in settings.model_fields_set else default
    handler = StderrHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    for chatty in ("httpcore", "httpx", "httpx2", "openai"):  # a line for each request
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.root.level))


def _say(sentence: str) -> None:
    from bot.console.inert import inert

    print(inert(sentence), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
