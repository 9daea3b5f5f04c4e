"""Belongings: what a newcomer has, asked of the database before a first cell waits for it."""

import asyncio
import time
from dataclasses import dataclass

from interpreter.errors import DatabaseUnavailable, InvalidName
from interpreter.files import FileStore, StoredFile
from interpreter.packages import Packages

#: For how many users at once, and for how long: an upload is followed by a question about it.
_MOST_USERS = 256
_KEPT_S = 300.0


@dataclass(frozen=True, slots=True)
class Owned:
    """What a user has.

    Attributes:
        files: the stored files, the oldest first.
        packages: whether there are packages of the user's own.
    """

    files: tuple[StoredFile, ...]
    packages: bool


@dataclass(slots=True)
class _Asked:
    """A question to the database, and whether something has changed since."""

    answer: "asyncio.Task[Owned]"
    at: float
    outdated: bool = False


class Belongings:
    """Finds out what users have; ahead of time for those who have just uploaded something."""

    def __init__(self, files: FileStore, packages: Packages | None) -> None:
        """Find it out from these two; None where no packages are installed."""
        self._files = files
        self._packages = packages
        self._asked: dict[str, _Asked] = {}

    def expect(self, user_id: str) -> None:
        """Find out what a user has, whose files have changed, and who may come any moment."""
        asked = self._asked.get(user_id)
        if asked is not None and not asked.answer.done():
            asked.outdated = True  # asked once more when it is there
            return
        self.forget(user_id)
        while len(self._asked) >= _MOST_USERS:
            self.forget(next(iter(self._asked)))
        answer = asyncio.create_task(self._find_out(user_id))
        asked = self._asked[user_id] = _Asked(answer, time.monotonic())
        answer.add_done_callback(lambda _: self._answered(user_id, asked))

    def _answered(self, user_id: str, asked: _Asked) -> None:
        if asked.answer.cancelled() or asked.answer.exception() is not None:
            if self._asked.get(user_id) is asked:
                del self._asked[user_id]
        elif asked.outdated and self._asked.get(user_id) is asked:
            self.expect(user_id)

    async def of(self, user_id: str) -> Owned:
        """What a user has. Whoever calls it hears of later changes by themselves.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        asked = self._asked.pop(user_id, None)
        if asked is not None and not asked.outdated and time.monotonic() - asked.at < _KEPT_S:
            try:
                return await asked.answer
            except (DatabaseUnavailable, InvalidName):
                pass  # by now it may be there again
        return await self._find_out(user_id)

    def forget(self, user_id: str) -> None:
        """Take no earlier answer for true: something else than files has changed."""
        asked = self._asked.pop(user_id, None)
        if asked is not None:
            asked.answer.cancel()

    async def _find_out(self, user_id: str) -> Owned:
        if self._packages is None:
            return Owned(await self._files.list(user_id=user_id), packages=False)
        files, packages = await asyncio.gather(
            self._files.list(user_id=user_id), self._packages.installed(user_id)
        )
        return Owned(files, packages=bool(packages))

    async def close(self) -> None:
        """End what is under way."""
        answers = [asked.answer for asked in self._asked.values()]
        for user_id in list(self._asked):
            self.forget(user_id)
        await asyncio.gather(*answers, return_exceptions=True)
