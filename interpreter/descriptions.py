"""Descriptions: what a user's files are and hold, as their kernel sees it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from interpreter.errors import DatabaseUnavailable, HostError, SessionError
from interpreter.files import StoredFile
from interpreter.kernel import Kernel
from interpreter.tasks import Tasks
from kernel_startup.types import TYPES

#: What looking into a file may take.
_DESCRIBE_S = 15.0
_MOST_CHARS = 1_000
_MOST_KEPT = 200


class Descriptions:
    """Has the kernel look into files, each once: at the upload, or when it is asked for."""

    def __init__(self, *, live_kernel: Callable[[], Awaitable[Kernel]], tasks: Tasks) -> None:
        """Begin with none.

        Args:
            live_kernel: gives the session's kernel; starts one if there is none.
            tasks: the session's.
        """
        self._live_kernel = live_kernel
        self._tasks = tasks
        self._found: dict[str, asyncio.Task[str]] = {}
        self._lock = asyncio.Lock()

    def get(self, file_id: str) -> "asyncio.Task[str] | None":
        """The description of a file if it is on its way, or there."""
        return self._found.get(file_id)

    def begin(self, file: StoredFile) -> "asyncio.Task[str]":
        """The description of a file, on its way or there; of the latest ones, at most."""
        found = self._found.get(file.file_id)
        if found is None:
            while len(self._found) >= _MOST_KEPT:
                del self._found[next(iter(self._found))]
            found = self._found[file.file_id] = self._tasks.spawn(self._describe(file))
            # Begun at an upload, it may fail with nobody there to be told.
            found.add_done_callback(lambda task: task.cancelled() or task.exception())
        return found

    async def of(self, file: StoredFile) -> str:
        """The description of a file. See ``Session.describe_file`` for what is raised."""
        try:
            return await asyncio.shield(self.begin(file))
        except (HostError, SessionError, DatabaseUnavailable):
            self.forget(file.file_id)  # the next call may be luckier
            raise

    def forget(self, file_id: str) -> None:
        """Describe a file anew if it is asked for again."""
        self._found.pop(file_id, None)

    async def _describe(self, file: StoredFile) -> str:
        async with self._lock:  # one at a time: each may take a lot
            kernel = await self._live_kernel()
            text = None
            with suppress(TimeoutError, HostError):
                text = await kernel.describe(file.file_id, time_s=_DESCRIBE_S)
        described = _clean(text)
        if not described:
            self.forget(file.file_id)  # it may have been the kernel's fault
            title = TYPES[file.file_type].title if file.file_type in TYPES else "A file"
            described = f"{title}, {file.file_size:,} bytes. It could not be looked into."
        return described


def _clean(text: str | None) -> str:
    """A description as it may be shown: bounded, and without what isn't text."""
    kept = (c if c == "\n" or c.isprintable() else " " for c in (text or "")[:_MOST_CHARS])
    return "".join(kept).strip()
