"""A conversation at the console: a question asked, what happens shown as it happens."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from bot import turn_events as events
from bot.assistant import Assistant
from bot.chat import TurnControl, TurnResult
from bot.console.inert import inert_name
from bot.console.output_directory import OutputDirectory
from bot.console.screen import Mark, Screen
from bot.console.views import TerminalView
from bot.conversation import Exchange
from bot.models import open_model
from bot.settings import BotSettings
from bot.sizes import span_text
from bot.turn_events import TurnEvent
from interpreter import Execution, Interpreter, OnInput, StoredFile

_MOST_EXCHANGES = 30


class Talk:
    """One person's conversation with the model, remembered for as long as the console runs."""

    def __init__(
        self, assistant: Assistant, *, user_id: str, screen: Screen, directory: OutputDirectory
    ) -> None:
        self._assistant = assistant
        self._user_id = user_id
        self._screen = screen
        self._directory = directory
        self._history: deque[Exchange] = deque(maxlen=_MOST_EXCHANGES)
        self._new_files: list[StoredFile] = []

    def add_file(self, file: StoredFile) -> None:
        """Have the next question be about a file that was just uploaded."""
        self._new_files.append(file)

    def forget(self) -> None:
        """Begin anew."""
        self._history.clear()

    async def ask(
        self,
        question: str,
        *,
        control: TurnControl,
        on_input: OnInput,
        on_cell: Callable[[Execution], None],
    ) -> None:
        """Ask a question and show the answer.

        Args:
            question: what was typed.
            control: with which it can be stopped.
            on_input: answers ``input()`` in cells.
            on_cell: gets each cell when it is done.
        """
        happened: asyncio.Queue[TurnEvent | None] = asyncio.Queue()
        view = _TurnView(self._screen, self._directory, on_cell)
        showing = asyncio.create_task(_show(happened, view))
        try:
            turn = await self._assistant.turn(
                user_id=self._user_id,
                question=question,
                history=tuple(self._history),
                new_files=tuple(self._new_files),
                on_event=happened.put_nowait,
                on_input=on_input,
                control=control,
            )
            happened.put_nowait(None)
            await showing
        finally:
            showing.cancel()
        self._new_files.clear()
        self._history.append(turn.exchange)
        view.end(turn)


@asynccontextmanager
async def open_talk(
    settings: BotSettings,
    service: Interpreter,
    *,
    user_id: str,
    screen: Screen,
    directory: OutputDirectory,
) -> AsyncGenerator[Talk | None]:
    """A conversation with the model that the settings name; None if they name none."""
    async with open_model(settings) as model:
        if model is None:
            yield None
            return
        assistant = Assistant(service=service, model=model, settings=settings, at_console=True)
        yield Talk(assistant, user_id=user_id, screen=screen, directory=directory)


async def _show(happened: "asyncio.Queue[TurnEvent | None]", view: "_TurnView") -> None:
    while (event := await happened.get()) is not None:
        await view.show(event)


class _TurnView:
    """One turn on a terminal."""

    def __init__(
        self, screen: Screen, directory: OutputDirectory, on_cell: Callable[[Execution], None]
    ) -> None:
        self._screen = screen
        self._directory = directory
        self._on_cell = on_cell
        self._cell: TerminalView | None = None
        self._passing: Mark | None = None
        self._words = ""

    async def show(self, event: TurnEvent) -> None:
        """Show one thing that happened."""
        if not isinstance(event, events.CellRunning):
            self._take_back()
        match event:
            case events.Thinking():
                self._words = ""
                self._say_for_now("thinking; Ctrl-C stops")
            case events.AnswerText(text):
                self._show_words(text)
            case events.ModelWaiting(reason, wait_s):
                self._screen.line(f"{reason} Trying again in {span_text(wait_s)}.", "note")
            case events.CellWaiting(number, code):
                self._screen.line(_marked(code, number), "faint")
                self._cell = TerminalView(self._screen, self._directory)
            case events.CellInstalling(_, names):
                self._say_for_now(f"installing {inert_name(', '.join(names))}")
            case events.CellRunning():
                pass
            case events.CellOutput(_, output):
                if self._cell is not None:
                    self._cell.show(output)
            case events.CellDone(_, execution):
                if self._cell is not None:
                    await self._cell.finish(execution)
                self._cell = None
                self._on_cell(execution)

    def end(self, turn: TurnResult) -> None:
        """Say what hasn't been said yet."""
        self._take_back()
        self._show_words(turn.answer)
        self._screen.start_line()
        if turn.note is not None:
            self._screen.line(turn.note, "note" if turn.answer else "error")
        self._screen.line("")

    def _show_words(self, text: str) -> None:
        """Go on with the words; begin anew where they are others."""
        if text == self._words or not text:
            return
        if not self._words or not text.startswith(self._words):
            self._screen.start_line()
            self._screen.write(text)
        else:
            self._screen.write(text[len(self._words) :])
        self._words = text

    def _say_for_now(self, text: str) -> None:
        self._screen.start_line()
        self._passing = self._screen.mark()
        self._screen.write(text, "faint")

    def _take_back(self) -> None:
        if self._passing is not None and not self._screen.clear_to(self._passing):
            self._screen.start_line()
        self._passing = None


def _marked(code: str, number: int) -> str:
    """A cell's code as it is shown before its outputs."""
    lines = code.strip("\n").split("\n")
    return "\n".join([f"cell {number}", *(f"  | {line}" for line in lines)])
