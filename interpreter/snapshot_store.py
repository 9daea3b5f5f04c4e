"""SnapshotStore: the snapshots of all users on the disk, and the room that they may take."""

import asyncio
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from interpreter.user_files import USER_ID

_RECORD = "snapshot.json"
_RECORD_BYTES = 4_096
#: How the name of an empty file ends that says of a snapshot: a cell has begun since.
_MARK = ".outdated"
_FILE_NAME = re.compile(r"[0-9a-f]{16}")
#: Of the disk, so much is left to files: the smaller one counts.
_DISK_RESERVE_BYTES, _DISK_RESERVE_SHARE = 4 << 30, 0.1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that is kept.

    Attributes:
        path: the file.
        size_bytes: its size.
        cells: how many cells the session had run.
        saved_at: when, in seconds since 1970.
        variables: how many it holds, beside imports and the working directory; None if nobody
            wrote that down.
        outdated: whether a cell has begun since, counted or not.
    """

    path: Path
    size_bytes: int
    cells: int
    saved_at: float
    variables: int | None = None
    outdated: bool = False


class SnapshotStore:
    """The snapshots of all users, one for each, in a directory that is the service's alone."""

    def __init__(self, root: Path) -> None:
        """Keep them below ``root``."""
        self._root = root
        self._owners: set[str] = set()
        self._at_work: Counter[str] = Counter()
        self._kept_free: dict[object, int] = {}
        self._given_back = asyncio.Event()
        # What is free and what may go is read by one thread while another has something go.
        self._room_lock = threading.Lock()

    @contextmanager
    def at_work(self, user_id: str) -> Iterator[None]:
        """Have a user's snapshot stay meanwhile, whoever needs room."""
        self._at_work[user_id] += 1
        try:
            yield
        finally:
            self._at_work[user_id] -= 1
            if not self._at_work[user_id]:
                del self._at_work[user_id]

    def open(self) -> None:
        """Make the directory, and remove what a crash has left. Blocks.

        Raises:
            OSError: it can't be made.
        """
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root.chmod(0o700)
        for user_id in self._users():
            kept = self.find(user_id)
            if kept is None:
                self.delete(user_id)
                continue
            self._owners.add(user_id)
            for path in self._directory(user_id).iterdir():
                if path not in (kept.path, kept.path.with_suffix(_MARK)) and path.name != _RECORD:
                    path.unlink(missing_ok=True)

    def may_have(self, user_id: str) -> bool:
        """Whether to look for a user's snapshot. Answers at once."""
        return user_id in self._owners

    def find(self, user_id: str) -> Snapshot | None:
        """A user's snapshot, if there is one."""
        try:
            with open(self._directory(user_id) / _RECORD, "rb") as file:
                record = json.loads(file.read(_RECORD_BYTES))
            name = str(record["file"])
            if not _FILE_NAME.fullmatch(name):
                return None
            path = self._directory(user_id) / name
            size, cells, saved_at = record["bytes"], record["cells"], record["saved_at"]
            if path.stat().st_size != size:  # the machine broke down meanwhile
                return None
            variables = record.get("variables")
            return Snapshot(
                path,
                int(size),
                int(cells),
                float(saved_at),
                None if variables is None else int(variables),
                path.with_suffix(_MARK).exists(),
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def new(self, user_id: str) -> Path:
        """Where to write a snapshot to; :meth:`keep` makes it the user's.

        Raises:
            OSError: there can't be any.
        """
        self._owners.add(user_id)
        self._directory(user_id).mkdir(mode=0o700, exist_ok=True)
        return self._directory(user_id) / secrets.token_hex(8)

    def mark(self, user_id: str) -> None:
        """Write beside a user's snapshot, if there is one, that a cell has begun since.

        An empty file: on the disk with the file system's next commit, unlike what is in a file.

        Raises:
            OSError: it can't be written.
        """
        kept = self.find(user_id)
        if kept is not None:
            kept.path.with_suffix(_MARK).touch(mode=0o600)

    def unmark(self, user_id: str) -> None:
        """Take that back: the cell never began.

        Raises:
            OSError: it can't be removed.
        """
        kept = self.find(user_id)
        if kept is not None:
            kept.path.with_suffix(_MARK).unlink(missing_ok=True)

    def keep(
        self, user_id: str, path: Path, *, cells: int, variables: int, outdated: bool
    ) -> Snapshot:
        """Have what was written be the user's snapshot, in place of the last one.

        Args:
            user_id: whose it is.
            path: from :meth:`new`.
            cells: how many cells the session had run.
            variables: how many it holds.
            outdated: whether a cell has begun since it was made.

        Raises:
            OSError: it can't be kept.
        """
        before = self.find(user_id)
        kept = Snapshot(path, path.stat().st_size, cells, time.time(), variables, outdated)
        record = {
            "file": path.name,
            "bytes": kept.size_bytes,
            "cells": cells,
            "saved_at": kept.saved_at,
            "variables": variables,
        }
        if outdated:
            path.with_suffix(_MARK).touch(mode=0o600)
        coming = path.with_suffix(".json")
        coming.write_text(json.dumps(record))
        coming.replace(path.with_name(_RECORD))
        if before is not None:
            before.path.unlink(missing_ok=True)
        for mark in path.parent.glob(f"*{_MARK}"):
            if mark.stem != path.name:
                mark.unlink(missing_ok=True)
        return kept

    def delete(self, user_id: str) -> None:
        """Delete a user's snapshot, and what is left of others."""
        self._owners.discard(user_id)
        shutil.rmtree(self._directory(user_id), ignore_errors=True)

    def expire(self, *, older_than_s: float) -> int:
        """Delete what is older, unless it is at work. Returns how many there were."""
        end = time.time() - older_than_s
        with self._room_lock:
            old = [kept for _, kept in self._idle() if kept.saved_at < end]
            for kept in old:
                _evict(kept)
        return len(old)

    @asynccontextmanager
    async def room_for(self, user_id: str, most_bytes: int, *, wait_s: float) -> AsyncIterator[int]:
        """Keep room for a user's next snapshot, until it is written to the disk or has failed.

        Args:
            user_id: whose it is.
            most_bytes: how large it may be.
            wait_s: how long to wait, in seconds, for room that is kept for others, and which they
                rarely need all of.

        Yields:
            How large it may be, in bytes, if all that may go for it went.
        """
        until = asyncio.get_running_loop().time() + wait_s
        while True:
            given_back, others = self._given_back, self._kept_free
            # A file that is written meanwhile may not be seen yet: its room counts as kept.
            room = await asyncio.to_thread(self.most_room, user_id)
            kept_free = sum({**others, **self._kept_free}.values())
            most = max(0, min(most_bytes, room - kept_free))
            if most == most_bytes or not kept_free:
                break
            try:
                async with asyncio.timeout_at(until):
                    await given_back.wait()
            except TimeoutError:
                break
        claim = object()
        self._kept_free = {**self._kept_free, claim: most}
        try:
            yield most
        finally:
            self._kept_free = {c: size for c, size in self._kept_free.items() if c is not claim}
            given_back, self._given_back = self._given_back, asyncio.Event()
            given_back.set()

    def most_room(self, user_id: str) -> int:
        """How large a user's next snapshot may be, if all that may go for it went, in bytes."""
        with self._room_lock:
            may_go = sum(kept.size_bytes for owner, kept in self._idle() if owner != user_id)
            return max(0, self._room() + self._own_bytes(user_id) + may_go)

    def make_room(self, user_id: str) -> None:
        """Have room on the disk for what was written for a user, and isn't kept yet.

        Others' snapshots go for it if need be, the oldest first. None goes if that isn't enough.

        Raises:
            OSError: there is no room.
        """
        with self._room_lock:
            lacking = -self._room() - self._own_bytes(user_id)  # the one of before is replaced
            going: list[Snapshot] = []
            for owner, kept in sorted(self._idle(), key=lambda one: one[1].saved_at):
                if lacking <= 0:
                    break
                if owner != user_id:
                    going.append(kept)
                    lacking -= kept.size_bytes
            if lacking > 0:
                raise OSError("there is no room for it on the disk")
            for kept in going:
                _evict(kept)

    def _room(self) -> int:
        disk = shutil.disk_usage(self._root)
        return disk.free - int(min(_DISK_RESERVE_BYTES, disk.total * _DISK_RESERVE_SHARE))

    def _users(self) -> list[str]:
        return [entry.name for entry in os.scandir(self._root) if USER_ID.fullmatch(entry.name)]

    def _own_bytes(self, user_id: str) -> int:
        kept = self.find(user_id)
        return 0 if kept is None else kept.size_bytes

    def _idle(self) -> list[tuple[str, Snapshot]]:
        """All that nobody is about to replace or to load."""
        idle = (user_id for user_id in self._users() if not self._at_work[user_id])
        found = ((user_id, self.find(user_id)) for user_id in idle)
        return [(user_id, kept) for user_id, kept in found if kept is not None]

    def _directory(self, user_id: str) -> Path:
        return self._root / user_id


def _evict(kept: Snapshot) -> None:
    """Delete this one only: its owner may be writing another, or a record that names that."""
    kept.path.unlink(missing_ok=True)
