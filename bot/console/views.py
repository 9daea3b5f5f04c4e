"""A cell's outputs as they come: on a terminal, or as plain text."""

from typing import TextIO

from bot.console.commands import UnusableCommand
from bot.console.inert import inert, inert_stream
from bot.console.line_folder import LineFolder
from bot.console.output_directory import OutputDirectory
from bot.console.screen import Mark, Screen
from bot.console.summary import save_and_sum_up
from bot.render import DocumentPart, FilePart, ImagePart, Part, TextPart, output_parts
from interpreter import ClearOutput, DisplayData, Execution, Output


class TerminalView:
    """One cell's outputs on a terminal: progress bars move, what is cleared goes away."""

    def __init__(self, screen: Screen, directory: OutputDirectory) -> None:
        self._screen = screen
        self._directory = directory
        self._start = screen.mark()
        self._last: tuple[str, Mark, Mark] | None = None
        self._late: dict[str, DisplayData] = {}

    def show(self, output: Output | ClearOutput) -> None:
        """Show one output, or clear what was shown; for `on_output`."""
        match output:
            case ClearOutput():
                if not self._screen.clear_to(self._start):
                    self._start = self._screen.mark()
                self._last = None
                self._late.clear()
            case DisplayData(update=True, display_id=str(display_id)):
                self._replace(display_id, output)
            case _:
                self._show_parts(output)

    async def finish(self, execution: Execution) -> None:
        """Save pictures and files, and say what there is to say about the whole."""
        for output in self._late.values():
            self._show_parts(output)
        for line in await save_and_sum_up(execution, self._directory):
            self._screen.line(line.text, line.tone)
        self._screen.line("")

    def _replace(self, display_id: str, output: DisplayData) -> None:
        """Replace a display in its place if it is the last thing on the screen; otherwise its
        final form is shown when the cell is done: a hundred updates aren't a hundred displays."""
        if self._last:
            shown_id, before, after = self._last
            in_place = shown_id == display_id and after == self._screen.mark()
            if in_place and self._screen.clear_to(before):
                self._show_parts(output)
                return
        self._late[display_id] = output

    def _show_parts(self, output: Output) -> None:
        before = self._screen.mark()
        for part in output_parts(output, stem=""):
            self._show_part(part)
        if isinstance(output, DisplayData) and output.display_id:
            self._last = (output.display_id, before, self._screen.mark())

    def _show_part(self, part: Part) -> None:
        match part:
            case TextPart(text, "stdout" | "stderr"):
                self._screen.write(text)
            case TextPart(text, "error"):
                self._screen.line(text, "error")
            case TextPart(text, "result", count):
                self._screen.start_line()
                self._screen.write(f"Out[{count}]:", "result")
                # A value of several lines, such as a table, begins below, where it stays aligned.
                text = inert(text.rstrip())
                self._screen.write(f"\n{text}\n" if "\n" in text else f" {text}\n")
            case TextPart(text):
                self._screen.line(text)
            case ImagePart():
                if not self._screen.image(part.content):
                    self._screen.line(f"[{part.alt}]", "faint")
            case DocumentPart() | FilePart():
                pass


class PlainView:
    """One cell's outputs as plain text, for files and pipes.

    What went to the cell's stderr and its traceback go to `err`, everything else to `out`. Lines
    come as soon as they are complete, the way a terminal would show them in the end: a progress
    bar is one line.
    """

    def __init__(self, out: TextIO, err: TextIO, directory: OutputDirectory) -> None:
        self._out = out
        self._err = err
        self._directory = directory
        self._folders = {"stdout": LineFolder(), "stderr": LineFolder()}
        self._late: dict[str, DisplayData] = {}
        self._failure: BrokenPipeError | UnusableCommand | None = None

    def show(self, output: Output | ClearOutput) -> None:
        """Write one output; for `on_output`."""
        if self._failure:
            return
        try:
            self._show(output)
        except (BrokenPipeError, UnusableCommand) as error:  # here the service would hear it
            self._failure = error

    async def finish(self, execution: Execution) -> None:
        """Save pictures and files, and say what there is to say about the whole.

        Raises:
            BrokenPipeError: Whoever read the outputs has left.
            UnusableCommand: They could not be written.
        """
        if self._failure:
            raise self._failure
        for output in self._late.values():
            self._write_parts(output)
        self._end_lines()
        for line in await save_and_sum_up(execution, self._directory):
            _write(self._out if line.tone == "plain" else self._err, f"{inert(line.text)}\n")

    def _show(self, output: Output | ClearOutput) -> None:
        match output:
            case ClearOutput():
                self._late.clear()  # what is written is written
            case DisplayData(update=True, display_id=str(display_id)):
                self._late[display_id] = output
            case _:
                self._write_parts(output)

    def _write_parts(self, output: Output) -> None:
        for part in output_parts(output, stem=""):
            match part:
                case TextPart(text, ("stdout" | "stderr") as name):
                    lines = self._folders[name].fold(inert_stream(text))
                    _write(self._out if name == "stdout" else self._err, lines)
                case TextPart(text, kind):
                    self._end_lines()
                    end = "" if text.endswith("\n") else "\n"
                    _write(self._err if kind == "error" else self._out, inert(text) + end)
                case _:
                    pass

    def _end_lines(self) -> None:
        _write(self._out, self._folders["stdout"].end())
        _write(self._err, self._folders["stderr"].end())


def _write(target: TextIO, text: str) -> None:
    if not text:
        return
    try:
        target.write(text)
        target.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UnusableCommand(f"The output can't be written: {error.strerror}.") from error
