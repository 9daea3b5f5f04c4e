"""Recall: a kernel's record of its last cell, and what comes live, without a gap between them.

The kernel takes its record and sends a mark among its outputs in one step: what came live before
the mark is in the record, what comes after it isn't.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from interpreter.kernel_client import KernelClient, Message, order_of
from interpreter.replay import Replay


class Recall:
    """Asks an attached kernel what it did, and holds back what it sends to all until it is heard.

    Attributes:
        replay: what it has said.
        gate: set while what it sends to all may be read.
    """

    def __init__(self, client: KernelClient, *, attached: bool) -> None:
        """Hold back nothing of a kernel that was just started; all of one that was attached.

        Args:
            client: of the kernel.
            attached: whether an earlier service has started it.
        """
        self.replay: asyncio.Future[Replay] = asyncio.get_running_loop().create_future()
        self.gate = asyncio.Event()
        self.gate.set()
        self._client = client
        self._mark = "" if attached else None
        self._mark_seen = asyncio.Event()
        self._held: list[Message] = []

    async def ask(self, request: Callable[[dict[str, Any]], Awaitable[Message]]) -> None:
        """Ask it for its record.

        Args:
            request: sends a message over the control channel, for the shell is deaf while a cell
                runs; gives the content of the reply.
        """
        message = self._client.message("replay_request", {})
        self._mark = message["header"]["msg_id"]
        reply = await request(message)
        await self._mark_seen.wait()
        buffers = [bytes(buffer) for buffer in reply.get("buffers", ())]
        # There may be much of it, and others are to be heard meanwhile.
        replay = await asyncio.to_thread(Replay.from_reply, reply, buffers)
        self._client.number_after(order_of(replay.cell))
        self.replay.set_result(replay)

    def holds(self, message: Message) -> bool:
        """Whether a message that the kernel sends to all is not to be taken in, or not yet."""
        if self._mark is None:
            return False
        kind, parent = message["header"]["msg_type"], message["parent_header"].get("msg_id")
        if not self.gate.is_set():
            self._held.append(message)
        elif kind == "replay_mark" and self._mark and parent == self._mark:
            self.gate.clear()  # what follows waits, mostly with the kernel
            self._mark_seen.set()
        return True

    def release(self) -> list[Message]:
        """Hold back nothing any more; gives what was held back."""
        self._mark = None
        held, self._held = self._held, []
        self.gate.set()
        return held
