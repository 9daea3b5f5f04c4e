"""``python -m tests.service.earlier_service``: a service that is to be killed.

Its first line of input is a JSON object of settings; ``keep_kernels`` among them has it leave its
kernels on SIGTERM. Each further line is a cell: ``user``, ``code``, and more arguments of
``Session.execute``; ``asks`` has its ``input()`` wait for ever. It says ``{"begun": user}`` once a
cell runs, and ``{"ended": user, "text": ...}`` at its end. With ``save`` in place of ``code`` the
user's session is saved, which ends like a cell.
"""

import asyncio
import json
import signal
import sys
from contextlib import suppress
from typing import Any

from interpreter import Interpreter, Phase, Settings


def say(**content: Any) -> None:
    """Write a line."""
    print(json.dumps(content), flush=True)


async def wait_for_ever(prompt: str, is_secret: bool) -> str:
    """Nobody answers."""
    await asyncio.Event().wait()
    return prompt


async def run(service: Interpreter, cell: dict[str, Any]) -> None:
    """Run a cell, and say what becomes of it."""
    user_id = cell.pop("user")
    asks = cell.pop("asks", False)

    def tell(phase: Phase) -> None:
        if phase.name in ("running", "input", "installing"):
            say(begun=user_id, phase=phase.name)

    session = await service.session(user_id=user_id)
    if cell.pop("save", False):
        say(begun=user_id, phase="running")
        say(ended=user_id, text=str(await session.save_state()))
        return
    on_input = wait_for_ever if asks else None
    result = await session.execute(**cell, on_phase=tell, on_input=on_input)
    say(ended=user_id, text=result.text)


async def main() -> None:
    """Open a service, and run cells until there are no more lines."""
    requests = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    options = json.loads(await requests.readline())
    keep_kernels = options.pop("keep_kernels", False)
    if keep_kernels:
        main_task = asyncio.current_task()
        assert main_task is not None
        loop.add_signal_handler(signal.SIGTERM, main_task.cancel)
    async with (
        Interpreter.open(Settings(**options), keep_kernels=keep_kernels) as service,
        asyncio.TaskGroup() as cells,
    ):
        say(open=True)
        while line := await requests.readline():
            cells.create_task(run(service, json.loads(line)))


if __name__ == "__main__":
    with suppress(asyncio.CancelledError):
        asyncio.run(main())
