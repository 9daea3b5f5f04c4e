"""Recall: a kernel's record of its last cell, and what comes live, without a gap between them.

The kernel takes its record and sends a mark among its outputs in one step: what came live before
the mark is in the record, what comes after it isn't.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from interpreter.kernel_client import KernelClient, Message, order_of
from interpreter.replay import Replay

#: How long the shell may take to answer before it is asked what it does: first, doubled each time,
#: and at most.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


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

    async def ask(
        self,
        request: Callable[[dict[str, Any]], Awaitable[Message]],
        shell_answer: "asyncio.Future[None]",
    ) -> None:
        """Ask it for its record, until that has the last cell that it was sent.

        A cell may have been sent that it has yet to begin with, and that nobody has written down.
        Once the shell has answered what was sent after that, it has begun.

        Args:
            request: sends a message over the control channel, for the shell is deaf while a cell
                runs; gives the content of the reply.
            shell_answer: done once the shell has answered.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            await asyncio.wait([shell_answer], timeout=pause_s)
            has_answered = shell_answer.done()
            replay = await self._ask_once(request)
            if has_answered or replay.runs:
                break
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self._client.number_after(order_of(replay.cell))
        self.replay.set_result(replay)

    async def _ask_once(self, request: Callable[[dict[str, Any]], Awaitable[Message]]) -> Replay:
        message = self._client.message("replay_request", {})
        self._mark = message["header"]["msg_id"]
        self._mark_seen.clear()
        self._held.clear()  # the record will have it
        self.gate.set()
        reply = await request(message)
        await self._mark_seen.wait()
        buffers = [bytes(buffer) for buffer in reply.get("buffers", ())]
        # There may be much of it, and others are to be heard meanwhile.
        return await asyncio.to_thread(Replay.from_reply, reply, buffers)

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
