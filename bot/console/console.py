"""The console: cells and commands typed at a prompt, results below them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from bot.chat import TurnControl
from bot.console.actions import Actions
from bot.console.commands import Command, UnusableCommand, dropped_path, parse_command
from bot.console.evictions import evictions_told
from bot.console.interrupt_key import InterruptKey
from bot.console.output_directory import OutputDirectory
from bot.console.prompt import CellPrompt
from bot.console.questions import is_question
from bot.console.screen import Screen
from bot.console.standard_input import END_OF_INPUT
from bot.console.talk import Talk
from bot.console.views import TerminalView
from interpreter import Execution, Interpreter, InterpreterError, Recovered, Session
from interpreter.logs import get_logger

log = get_logger(__name__)

HINT = "Type Python; :upload FILE gives it your data, :help tells more, Ctrl-D leaves."
HINT_WITH_MODEL = (
    "Type Python, or ask in words; :upload FILE gives it your data, :help tells more, "
    "Ctrl-D leaves."
)
_NO_MODEL = "There is no language model: set OPENAI_API_KEY or OPENAI_BASE_URL to ask in words."

#: A second Ctrl-C within this time asks for more than an interrupt.
_TWICE_S = 2.0
#: A cell that has ended gives its result within this time.
_ENDED_S = 0.5
#: Of the first line of a cell that is told of.
_LINE_CHARS = 60


class Console:
    """One person's prompt, from the first to the last cell."""

    def __init__(
        self,
        service: Interpreter,
        session: Session,
        *,
        prompt: CellPrompt,
        screen: Screen,
        directory: OutputDirectory,
        interrupt_key: InterruptKey,
        talk: Talk | None = None,
    ) -> None:
        """Make a console; `run` is it.

        Args:
            service: Where everything happens.
            session: The person's session.
            prompt: Where the person types.
            screen: Where results are written.
            directory: Where pictures and files are saved.
            interrupt_key: What Ctrl-C does between prompts.
            talk: Who answers questions in words; None if nobody does.
        """
        self._service = service
        self._session = session
        self._prompt = prompt
        self._screen = screen
        self._directory = directory
        self._interrupt_key = interrupt_key
        self._talk = talk
        self._number = 1
        self._default = ""
        self._asking = asyncio.Lock()
        self._actions = Actions(
            service,
            session,
            screen=screen,
            directory=directory,
            on_restart=self._restarted,
            on_upload=talk.add_file if talk else lambda file: None,
        )

    async def run(self, *, uploads: tuple[Path, ...] = ()) -> None:
        """Take cells and commands until the person leaves.

        Args:
            uploads: Files to upload before the first prompt.
        """
        with self._interrupt_key.handled_by(lambda: None):
            if uploads:
                with self._reported():
                    await self._actions.upload_all(uploads)
            self._screen.line(HINT_WITH_MODEL if self._talk else HINT, "faint")
            for cell in self._service.recovered:
                if cell.user_id == self._session.user_id:
                    with self._reported():
                        await self._show_recovered(cell)
            while True:
                default, self._default = self._default, ""
                text = await self._prompt.read(self._number, default=default)
                if text is None:
                    return
                if not await self._take(text):
                    return

    async def _take(self, text: str) -> bool:
        """Run one cell or command; False if it was the last."""
        with self._reported():
            command = parse_command(text)
            if command and command.name == "quit":
                return False
            if command and command.name in {"ask", "forget"}:
                await self._run_talk_command(command)
            elif command:
                await self._stoppable(asyncio.create_task(self._actions.run(command)))
            elif (path := dropped_path(text)) and path.is_file():
                self._screen.line("That is a file; Enter uploads it.", "note")
                self._default = f":upload {text.strip()}"
            elif self._talk and is_question(text):
                await self._ask_model(self._talk, text)
            else:
                await self._run_cell(text)
        return True

    async def _run_talk_command(self, command: Command) -> None:
        if self._talk is None:
            raise UnusableCommand(_NO_MODEL)
        if command.name == "ask":
            await self._ask_model(self._talk, command.arguments[0])
        else:
            self._talk.forget()
            self._screen.line("A new conversation begins; variables and files are still there.")

    async def _ask_model(self, talk: Talk, question: str) -> None:
        control = TurnControl()
        with (
            evictions_told(self._service, user_id=self._session.user_id, say=self._warn),
            self._interrupt_key.handled_by(control.stop),
        ):
            await talk.ask(question, control=control, on_input=self._answer, on_cell=self._count)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Say what went wrong, and go on: the variables are worth more than a clean end."""
        try:
            yield
        except (UnusableCommand, InterpreterError) as error:
            self._screen.line(str(error), "error")
        except Exception:
            log.exception("the console failed")
            self._screen.line("That failed for a reason of its own; the log has it.", "error")

    async def _stoppable(self, action: "asyncio.Task[None]") -> None:
        try:
            with self._interrupt_key.handled_by(action.cancel):
                await asyncio.wait([action])
        finally:
            action.cancel()
        if action.cancelled():
            self._screen.line("Stopped.", "note")
        else:
            action.result()

    async def _run_cell(self, code: str) -> None:
        view = TerminalView(self._screen, self._directory)
        user_id = self._session.user_id
        with evictions_told(self._service, user_id=user_id, say=self._warn):
            async with self._interruptible():
                execution = await self._session.execute(
                    code, on_output=view.show, on_input=self._answer
                )
        self._count(execution)
        await view.finish(execution)

    async def _show_recovered(self, cell: Recovered) -> None:
        """Show the outputs of a cell that was running when this program ended last time."""
        line = next(filter(None, map(str.strip, cell.code.splitlines())), "")
        self._screen.line(f"Last time this cell was still running: {_shortened(line)}", "note")
        async with self._interruptible():
            await asyncio.wait({cell.result}, timeout=_ENDED_S)
            if not cell.result.done():
                self._screen.line("It goes on; Ctrl-C stops it.", "note")
            view = TerminalView(self._screen, self._directory)
            execution = await cell.follow(view.show)
        self._count(execution)
        await view.finish(execution)
        await self._service.acknowledge(cell)

    def _count(self, execution: Execution) -> None:
        if execution.count is not None:
            self._number = execution.count + 1
        if execution.state_lost and execution.status in {"died", "timeout"}:
            self._restarted()

    def _warn(self, sentence: str) -> None:
        self._screen.line(sentence, "note")

    def _restarted(self) -> None:
        self._number = 1

    @asynccontextmanager
    async def _interruptible(self) -> AsyncIterator[None]:
        """Let Ctrl-C interrupt the cell that is run inside, and twice restart its kernel."""
        pressed: asyncio.Queue[None] = asyncio.Queue()
        watching = asyncio.create_task(self._watch(pressed))
        try:
            with self._interrupt_key.handled_by(lambda: pressed.put_nowait(None)):
                yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _watch(self, pressed: "asyncio.Queue[None]") -> None:
        clock = asyncio.get_running_loop().time
        before = float("-inf")
        while True:
            await pressed.get()
            if clock() - before > _TWICE_S:
                before = clock()
                self._screen.line("interrupting; Ctrl-C once more to restart the kernel", "faint")
                await self._session.interrupt()
            else:
                before = float("-inf")
                await self._offer_restart()

    async def _offer_restart(self) -> None:
        question = "Restart the kernel? Its variables will be gone, files stay. [y/N] "
        try:
            answer = await self._ask(question, password=False)
        except (EOFError, KeyboardInterrupt):
            return
        if answer.strip().lower() in {"y", "yes"}:
            with self._reported():
                await self._session.restart()
                self._restarted()

    async def _answer(self, question: str, password: bool) -> str:
        """Answer a cell's `input()`."""
        try:
            return await self._ask(question, password=password)
        except EOFError:
            return END_OF_INPUT
        except KeyboardInterrupt:
            await self._session.interrupt()
            return ""

    async def _ask(self, question: str, *, password: bool) -> str:
        async with self._asking:
            self._screen.start_line()
            with self._screen.held():
                return await self._prompt.ask(question, password=password)


def _shortened(line: str) -> str:
    return line if len(line) <= _LINE_CHARS else f"{line[: _LINE_CHARS - 1]}…"
