"""What the console's commands do."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bot.columns import columns, shortened
from bot.console.commands import Command, UnusableCommand, help_text, paths_of
from bot.console.evictions import evictions_told
from bot.console.inert import inert_name
from bot.console.notebook_file import check_target, write_notebook
from bot.console.output_directory import OutputDirectory
from bot.console.screen import Screen
from bot.console.upload import upload
from bot.sizes import size_text, span_text
from interpreter import Interpreter, Session, StoredFile

_NAME_COLUMNS = 40
_PREVIEW_COLUMNS = 50


class Actions:
    """Carries out commands, one method each; `run` finds the one for a command."""

    def __init__(
        self,
        service: Interpreter,
        session: Session,
        *,
        screen: Screen,
        directory: OutputDirectory,
        on_restart: Callable[[], object],
        on_upload: Callable[[StoredFile], object] = lambda file: None,
    ) -> None:
        self._service = service
        self._session = session
        self._screen = screen
        self._directory = directory
        self._on_restart = on_restart
        self._on_upload = on_upload
        self._exported: set[Path] = set()

    async def run(self, command: Command) -> None:
        """Carry out any command but `quit`, `ask` and `forget`.

        Raises:
            UnusableCommand: It can't be, and why.
            InterpreterError: The service refused.
        """
        actions: dict[str, Callable[[tuple[str, ...]], Awaitable[None]]] = {
            "upload": self._upload,
            "files": self._files,
            "delete": self._delete,
            "vars": self._variables,
            "restart": self._restart,
            "interrupt": self._interrupt,
            "export": self._export,
            "kernels": self._kernels,
            "help": self._help,
        }
        await actions[command.name](command.arguments)

    async def upload_all(self, paths: tuple[Path, ...]) -> None:
        """Upload files, saying how each can be loaded."""
        user_id = self._session.user_id
        for path in paths:
            with evictions_told(self._service, user_id=user_id, say=self._warn):
                file = await upload(self._service.files, user_id=user_id, path=path)
                self._on_upload(file)
                self._screen.line(
                    f"{inert_name(file.filename)} ({size_text(file.file_size)}): "
                    f'load_file("{file.file_id}")'
                )

    async def _upload(self, arguments: tuple[str, ...]) -> None:
        await self.upload_all(await asyncio.to_thread(paths_of, arguments))

    async def _files(self, arguments: tuple[str, ...]) -> None:
        files = await self._list()
        if not files:
            self._screen.line("There are no files yet; :upload PATH gives some.")
            return
        now = datetime.now(UTC)
        rows = [("id", "name", "type", "size", "from", "stored", "expires")]
        for file in files:
            expires = "never"
            if file.expires_at:
                expires = f"in {span_text((file.expires_at - now).total_seconds())}"
            rows.append(
                (
                    file.file_id,
                    _name(file.filename),
                    file.file_type,
                    size_text(file.file_size),
                    file.origin,
                    f"{span_text((now - file.uploaded_at).total_seconds())} ago",
                    expires,
                )
            )
        self._table(rows, right=frozenset({3}))

    async def _delete(self, arguments: tuple[str, ...]) -> None:
        for word in arguments:
            file = _chosen(word, await self._list())
            await self._service.files.delete(user_id=self._session.user_id, file_id=file.file_id)
            self._screen.line(f"deleted {inert_name(file.filename)} ({file.file_id})")

    async def _variables(self, arguments: tuple[str, ...]) -> None:
        variables = await self._session.variables()
        if not variables:
            self._screen.line("There are no variables yet.")
            return
        rows = [("name", "type", "shape", "size", "value")]
        rows += (
            (
                _name(variable.name),
                _name(variable.type),
                _name(variable.shape or ""),
                size_text(variable.size_bytes),
                shortened(inert_name(variable.preview), _PREVIEW_COLUMNS),
            )
            for variable in variables
        )
        self._table(rows, right=frozenset({2, 3}))

    async def _restart(self, arguments: tuple[str, ...]) -> None:
        await self._session.restart()
        self._on_restart()
        self._screen.line("A new kernel is ready: the variables are gone, the files are here.")

    async def _interrupt(self, arguments: tuple[str, ...]) -> None:
        stopped = await self._session.interrupt()
        self._screen.line("Interrupted." if stopped else "No cell is running.")

    async def _export(self, arguments: tuple[str, ...]) -> None:
        notebook = await self._session.export_notebook()
        try:
            path = self._notebook_path(arguments)
        except OSError as error:
            where = error.filename or self._directory.path
            raise UnusableCommand(f"{str(where)!r} can't be written: {error.strerror}.") from error
        await asyncio.to_thread(write_notebook, notebook, path)
        self._exported.add(path.resolve())
        self._screen.line(f"notebook saved: {inert_name(str(path))}")

    async def _kernels(self, arguments: tuple[str, ...]) -> None:
        kernels = self._service.kernels()
        if not kernels:
            self._screen.line("No kernel is alive; the first cell starts one.")
            return
        now = datetime.now(UTC)
        rows = [("user", "state", "pid", "age", "idle", "cells", "memory", "cpu")]
        rows += (
            (
                _name(kernel.user_id),
                kernel.state,
                str(kernel.pid),
                span_text((now - kernel.started_at).total_seconds()),
                span_text((now - kernel.last_active_at).total_seconds()),
                str(kernel.cells),
                size_text(kernel.memory_bytes),
                "" if kernel.cpu_s is None else span_text(kernel.cpu_s),
            )
            for kernel in kernels
        )
        self._table(rows, right=frozenset(range(2, 8)))

    async def _help(self, arguments: tuple[str, ...]) -> None:
        self._screen.line(
            "Python goes to your kernel; its variables stay from cell to cell. FILES holds\n"
            'your files (id -> path), load_file("ID or name") loads one. With a language model\n'
            "(OPENAI_API_KEY), what is plainly words and not code is a question to it.\n"
        )
        self._screen.line(help_text())

    async def _list(self) -> tuple[StoredFile, ...]:
        return await self._service.files.list(user_id=self._session.user_id)

    def _notebook_path(self, arguments: tuple[str, ...]) -> Path:
        if not arguments:
            return self._directory.reserve("session.ipynb")
        path = Path(arguments[0]).expanduser()
        if path.suffix != ".ipynb" and not path.is_dir():
            path = path.with_name(f"{path.name}.ipynb")
        # What this console wrote itself may be written again, after every step.
        if not (path.is_file() and path.resolve() in self._exported):
            check_target(path)
        return path

    def _warn(self, sentence: str) -> None:
        self._screen.line(sentence, "note")

    def _table(self, rows: Sequence[Sequence[str]], *, right: frozenset[int]) -> None:
        heading, *lines = columns(rows, right=right).split("\n")
        self._screen.line(heading, "heading")
        for line in lines:
            self._screen.line(line)


def _name(text: str) -> str:
    return shortened(inert_name(text), _NAME_COLUMNS)


def _chosen(word: str, files: tuple[StoredFile, ...]) -> StoredFile:
    """The file that an id, or a name that only one has, stands for."""
    for file in files:
        if file.file_id == word:
            return file
    named = [file for file in files if file.filename == word]
    if len(named) > 1:
        ids = ", ".join(file.file_id for file in named)
        raise UnusableCommand(f"{len(named)} files are called {word!r}; choose one by id: {ids}.")
    if not named:
        raise UnusableCommand(f"No file has the id or name {word!r}; :files lists them.")
    return named[0]
