"""Files that went because there were too many."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from bot.console.inert import inert_name
from interpreter import Interpreter, StoredFile
from interpreter.files import FileEvent


@contextmanager
def evictions_told(
    service: Interpreter, *, user_id: str, say: Callable[[str], object]
) -> Iterator[None]:
    """Say in the end which of the user's files went to make room for what was stored inside.

    Nobody deletes files meanwhile, so what goes before its time was pushed out.

    Args:
        service: Whose files.
        user_id: The user.
        say: Gets a sentence for each.
    """
    gone: list[StoredFile] = []

    def follow(event: FileEvent) -> None:
        file = event.file
        expired = file.expires_at is not None and file.expires_at <= datetime.now(UTC)
        if event.kind == "deleted" and file.user_id == user_id and not expired:
            gone.append(file)

    service.files.subscribe(follow)
    try:
        yield
    finally:
        service.files.unsubscribe(follow)
        most = service.settings.max_files_per_user
        kept = "1 file is the most that is" if most == 1 else f"{most} files are the most that are"
        for file in gone:
            say(f"{inert_name(file.filename)} (id {file.file_id}) went: {kept} kept.")
