"""What the attacks on resources share: beginning a cell, and looking at the host."""

import asyncio
import os
from pathlib import Path
from typing import Any

from interpreter import Execution, Session
from interpreter.outputs import ClearOutput, Output
from tests.attacks.conftest import Arena

#: What a cell says once its kernel takes no more room on the disk.
ROOM, FILES_LIMIT = "more room than its limit", "more files than its limit"
MEMORY = "more memory than its limit"
PROCESSES = "more processes than its limit"


async def begin(session: Session, code: str, **options: Any) -> "asyncio.Task[Execution]":
    """Start a cell; returns once its first output has come, or it is over."""
    begun = asyncio.Event()

    def seen(_: Output | ClearOutput) -> None:
        begun.set()

    cell = asyncio.create_task(session.execute(code, on_output=seen, **options))
    cell.add_done_callback(lambda _: begun.set())
    await begun.wait()
    return cell


def slots(arena: Arena) -> set[str]:
    """The sandboxes' directories on the host."""
    return set(os.listdir(arena.data_dir / "sessions"))


def owned_slots(arena: Arena) -> set[str]:
    """Those of sessions, with a kernel or without, and of kernels that wait for a user."""
    host: Any = arena.service._host
    kernels = {fork.slot for fork in host._forks.values()}
    return kernels | {s.slot for s in arena.service._sessions.values() if s.slot is not None}


def used_bytes(top: Path) -> int:
    """What a directory takes on the disk, as the host counts."""
    total = 0
    for folder, _, names in os.walk(top):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:  # gone meanwhile
                continue
    return total
