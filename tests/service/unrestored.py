"""A service that ends with a kernel in which what was saved is yet to be restored."""

import asyncio
from typing import Any

import pytest

from interpreter import Interpreter, Settings
from interpreter.snapshots import SavedState


async def leave_unrestored(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    """Leave a kernel of anna's to the next service; her `x` was 41, and is saved."""
    restoring = asyncio.Event()

    async def wait(*_: Any, **__: Any) -> None:
        restoring.set()
        await asyncio.Event().wait()

    async with Interpreter.open(settings, keep_kernels=True) as service:
        session = await service.session(user_id="anna")
        await session.execute("x = 41")
        assert await session.cull("It was stopped.")
        with patch.context() as patched:
            patched.setattr(SavedState, "restore", wait)
            asking = asyncio.create_task(session.execute("x = 42"))
            await restoring.wait()
    await asyncio.gather(asking, return_exceptions=True)
