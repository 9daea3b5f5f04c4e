"""What Tab offers: commands, paths, file ids, and what the kernel knows."""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable, Iterator
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from bot.console.commands import COMMANDS
from bot.console.inert import inert_name
from bot.sizes import size_text
from interpreter import Interpreter, InterpreterError, Session, StoredFile

#: A kernel that takes longer is busy, and the person has typed on.
_KERNEL_LIMIT_S = 1.5
_MAX_COMPLETIONS = 200

_COMMAND_NAME = re.compile(r"\s*:(?P<name>\w*)")
_PATH_ARGUMENT = re.compile(r"\s*:(?:upload|export)\s+(?:.*?(?<!\\)\s)?(?P<path>(?:\\.|\S)*)")
_DELETE_ARGUMENT = re.compile(r"\s*:delete\s+(?:.*\s)?(?P<id>\S*)")
_FILE_IN_CODE = re.compile(r".*(?:load_file\(|FILES\[)\s*[\"'](?P<id>[^\"']*)", re.DOTALL)
_SPECIAL = re.compile(r"([^\w@%+=:,./~-])")


class ConsoleCompleter(Completer):
    """Completes what is before the cursor, without ever holding up typing."""

    def __init__(self, service: Interpreter, session: Session) -> None:
        self._service = service
        self._session = session

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """Nothing: what is offered has to be awaited."""
        return ()

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """Offer what fits at the cursor."""
        for completion in await self._completions(document):
            yield completion

    async def _completions(self, document: Document) -> list[Completion]:
        before = document.text_before_cursor
        if match := _COMMAND_NAME.fullmatch(before):
            return list(_commands(match["name"]))
        if match := _PATH_ARGUMENT.fullmatch(before):
            return await asyncio.to_thread(_paths, match["path"])
        if match := _DELETE_ARGUMENT.fullmatch(before) or _FILE_IN_CODE.fullmatch(before):
            return list(_file_ids(match["id"], await self._files()))
        if before.lstrip().startswith(":"):
            return []
        return await self._kernel_completions(document)

    async def _files(self) -> tuple[StoredFile, ...]:
        try:
            return await self._service.files.list(user_id=self._session.user_id)
        except InterpreterError:
            return ()

    async def _kernel_completions(self, document: Document) -> list[Completion]:
        cursor = document.cursor_position
        try:
            async with asyncio.timeout(_KERNEL_LIMIT_S):
                found = await self._session.complete(document.text, cursor)
        except (InterpreterError, TimeoutError):
            return []
        replaced = document.text[found.start : found.end]
        return [
            Completion(text, start_position=found.start - cursor, display=_tail(text, replaced))
            for text in map(inert_name, found.matches[:_MAX_COMPLETIONS])
        ]


def _commands(start: str) -> Iterator[Completion]:
    for name, usage in COMMANDS.items():
        if name.startswith(start.lower()):
            yield Completion(name, start_position=-len(start), display_meta=usage.summary)


def _file_ids(start: str, files: Iterable[StoredFile]) -> Iterator[Completion]:
    for file in files:
        if file.file_id.startswith(start) or file.filename.lower().startswith(start.lower()):
            yield Completion(
                file.file_id,
                start_position=-len(start),
                display=inert_name(file.filename),
                display_meta=f"{file.file_id}  {size_text(file.file_size)}",
            )


def _paths(start: str) -> list[Completion]:
    """Files and directories, as a shell would write them: blanks and quotes behind backslashes."""
    typed = re.sub(r"\\(.)", r"\1", start)
    directory, slash, beginning = typed.rpartition("/")
    try:
        entries = sorted(
            (entry.name, entry.is_dir())
            for entry in Path(directory + slash or ".").expanduser().iterdir()
        )
    except (OSError, RuntimeError, ValueError):
        return []
    return [
        Completion(
            _SPECIAL.sub(r"\\\1", directory + slash + name) + ("/" if is_directory else ""),
            start_position=-len(start),
            display=inert_name(name) + ("/" if is_directory else ""),
        )
        for name, is_directory in entries
        if name.startswith(beginning)
        and (beginning or not name.startswith("."))
        and name.isprintable()
    ][:_MAX_COMPLETIONS]


def _tail(text: str, replaced: str) -> str:
    """A completion without what is there already up to its last dot, as in `df.head`."""
    kept = replaced.rpartition(".")[0]
    return text[len(kept) + 1 :] if kept and text.startswith(kept + ".") else text
