"""ShownFiles: a session's sandbox directory follows what its user has stored."""

import asyncio
from collections.abc import Callable
from typing import Any

from interpreter.belongings import Belongings
from interpreter.files import FileEvent, StoredFile
from interpreter.hosts.base import KernelHost
from interpreter.logs import get_logger
from interpreter.packages import Packages
from interpreter.patience import Patience
from interpreter.tasks import Tasks

log = get_logger(__name__)


class ShownFiles:
    """Shows a user's files and packages to their kernel, at once and as they change."""

    def __init__(
        self,
        user_id: str,
        *,
        host: KernelHost,
        belongings: Belongings,
        packages: Packages | None,
        tasks: Tasks,
        on_upload: Callable[[StoredFile], None],
        on_removal: Callable[[str], None],
    ) -> None:
        """Begin with nothing shown.

        Args:
            user_id: whose they are.
            host: where the directory is.
            belongings: knows what the user has.
            packages: the service's; None if it installs none.
            tasks: the session's.
            on_upload: is told of each new upload once it is shown.
            on_removal: is told the id of each file that goes.
        """
        self._user_id = user_id
        self._host = host
        self._belongings = belongings
        self._packages = packages
        self._tasks = tasks
        self._on_upload = on_upload
        self._on_removal = on_removal
        self._due = False
        self._shown_before = False
        self._changes: set[asyncio.Task[Any]] = set()
        self._lock = asyncio.Lock()

    def expect(self, *, shown_before: bool) -> None:
        """Have everything shown before the next cell.

        Args:
            shown_before: whether an earlier service has shown something already.
        """
        self._due, self._shown_before = True, shown_before

    async def show(self, slot: str, patience: Patience) -> None:
        """Show all that the user has, if that is still to be done.

        Raises:
            DatabaseUnavailable: nobody can say what that is, and there is no patience left.
        """
        if not self._due:
            return
        owned = await patience.have(lambda: self._belongings.of(self._user_id))
        if self._shown_before:  # nobody saw to it that what has expired since is gone
            for file_id in {*await self._host.shown_files(slot)} - {f.file_id for f in owned.files}:
                await self._host.remove_file(slot, file_id)
            self._shown_before = False
        for file in owned.files:
            self.changed(slot, FileEvent("saved", file), is_new=False)
        self._due = False
        if owned.packages and self._packages is not None:
            await self._packages.show(self._user_id, slot)

    def changed(self, slot: str, event: FileEvent, *, is_new: bool) -> None:
        """Have the directory follow a change of the stored files."""
        is_upload = is_new and event.file.origin == "upload"
        change = self._tasks.spawn(self._follow(slot, event, is_upload=is_upload))
        self._changes.add(change)
        change.add_done_callback(self._changes.discard)

    async def followed(self) -> None:
        """Wait until all changes so far are shown."""
        if self._changes:
            await asyncio.wait(set(self._changes))

    def cancel(self) -> None:
        """Follow no longer: the directory goes."""
        for change in list(self._changes):
            change.cancel()

    async def _follow(self, slot: str, event: FileEvent, *, is_upload: bool) -> None:
        async with self._lock:  # in the order of the events
            try:
                if event.kind == "saved":
                    await self._host.put_file(slot, event.file)
                    if is_upload:
                        self._on_upload(event.file)
                else:
                    self._on_removal(event.file.file_id)
                    await self._host.remove_file(slot, event.file.file_id)
            except FileNotFoundError:
                pass  # deleted meanwhile
            except OSError as error:
                log.warning("a file could not be shown to a kernel", reason=str(error))
