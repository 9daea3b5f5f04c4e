"""A local file on its way to the user's stored files."""

import asyncio
import hashlib
from pathlib import Path

from bot.console.commands import UnusableCommand
from interpreter import FileStore, StoredFile
from interpreter.files import shown_name


async def upload(files: FileStore, *, user_id: str, path: Path) -> StoredFile:
    """Store a file for the user; one already stored under the same name with the same content is
    used again, so that a command repeated ten times doesn't fill the store.

    Raises:
        UnusableCommand: There is no such file, or it can't be read.
        InterpreterError: It could not be stored.
    """
    await asyncio.to_thread(check_path, path)
    try:
        sha256 = await asyncio.to_thread(_sha256, path)
        for stored in await files.find(user_id=user_id, sha256=sha256):
            if stored.filename == shown_name(path.name):
                return await files.touch(user_id=user_id, file_id=stored.file_id)
        return await files.save(user_id=user_id, filename=path.name, source=path)
    except OSError as error:
        raise UnusableCommand(f"{str(path)!r} can't be read: {error.strerror}.") from error


def check_path(path: Path) -> None:
    """Make sure that there is a file to upload.

    Raises:
        UnusableCommand: There is none.
    """
    try:
        if path.is_dir():
            raise UnusableCommand(f"{str(path)!r} is a directory; name the files in it.")
        if not path.exists():
            raise UnusableCommand(f"There is no file {str(path)!r}.")
        if not path.is_file():
            raise UnusableCommand(f"{str(path)!r} isn't a regular file.")
    except (OSError, ValueError) as error:
        raise UnusableCommand(f"{str(path)!r} can't be read: {error}.") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
