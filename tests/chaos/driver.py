"""``python -m tests.chaos.driver``: a service as a process of its own, to be killed.

Its first line of input is a JSON object of settings; then each line is a request with an ``id``
and an ``op``, answered as soon as it is done, in any order. Its output has one JSON object a line:
``{"id": 3, "value": ...}``, ``{"id": 3, "error": "NoCapacity", "text": "..."}`` or an event.
It leaves, and keeps or ends its kernels as it was told, when its input ends.
"""

import asyncio
import hashlib
import itertools
import json
import os
import resource
import sys
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from interpreter import Execution, Interpreter, InterpreterError, Phase, Settings, StoredFile
from interpreter.outputs import text_of

_MOST_LINE_BYTES = 1 << 22


class Driver:
    """Requests to one service."""

    def __init__(self, service: Interpreter, output: int) -> None:
        self._service = service
        self._output = output
        self._tasks: set[asyncio.Task[None]] = set()
        self._recovered = {recovered.cell_id: recovered for recovered in service.recovered}

    def say(self, **content: Any) -> None:
        """Write a line, whole or not at all as far as a reader can tell."""
        line = json.dumps(content).encode() + b"\n"
        while line:
            line = line[os.write(self._output, line) :]

    async def serve(self, requests: asyncio.StreamReader) -> None:
        """Answer requests until there are no more."""
        self.say(event="ready", pid=os.getpid(), reattached=self._service.reattached)
        for recovered in self._recovered.values():
            self._spawn(self._report(recovered))
        while line := await requests.readline():
            self._spawn(self._answer(json.loads(line)))

    async def end(self) -> None:
        """Give up what is under way. Not before the service has left: that would end cells."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _report(self, recovered: Any) -> None:
        result = await recovered.result
        self.say(
            event="recovered",
            cell_id=recovered.cell_id,
            user=recovered.user_id,
            note=dict(recovered.note),
            code=recovered.code,
            result=_plain(result),
        )

    async def _answer(self, request: dict[str, Any]) -> None:
        number, op = request.pop("id"), request.pop("op")
        try:
            value = await getattr(self, f"op_{op}")(number, **request)
        except Exception as error:  # also those that it should not raise: the client sees them
            if not isinstance(error, InterpreterError):
                traceback.print_exc()
            self.say(id=number, error=type(error).__name__, text=str(error))
        else:
            self.say(id=number, value=value)

    async def op_execute(
        self, number: int, *, user: str, code: str, note: dict[str, str], timeout_s: float
    ) -> dict[str, Any]:
        """Run a cell; its phases are told as events."""

        def tell(phase: Phase) -> None:
            self.say(event="phase", id=number, name=phase.name)

        session = await self._service.session(user_id=user)
        result = await session.execute(code, timeout_s=timeout_s, on_phase=tell, note=note)
        return _plain(result)

    async def op_interrupt(self, number: int, *, user: str) -> bool:
        """Interrupt what runs."""
        return await (await self._service.session(user_id=user)).interrupt()

    async def op_live(self, number: int, *, user: str) -> bool:
        """Whether there is a kernel of that user's."""
        session = self._service.find_session(user)
        return session is not None and session.live

    async def op_save(self, number: int, *, user: str, name: str, content: str) -> dict[str, str]:
        """Store an upload."""
        file = await self._service.files.save(user_id=user, filename=name, source=content.encode())
        return _named(file)

    async def op_files(self, number: int, *, user: str) -> list[dict[str, str]]:
        """All files of a user as they are on the disk."""
        found = []
        for file in await self._service.files.list(user_id=user):
            content = await asyncio.to_thread(file.file_path.read_bytes)
            head = content[:40].decode(errors="replace")
            sha256 = hashlib.sha256(content).hexdigest()
            found.append({**_named(file), "sha256": sha256, "head": head})
        return found

    async def op_acknowledge(self, number: int, *, cell_id: str) -> None:
        """A recovered result is safe."""
        await self._service.acknowledge(self._recovered[cell_id])

    async def op_limit(self, number: int, *, name: str, soft: int) -> int:
        """Set one of this process's limits; gives the soft one of before."""
        kind = getattr(resource, name)
        before, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (soft, hard))
        return before

    async def op_leave_descriptors(self, number: int, *, free: int) -> int:
        """Leave this process so many descriptors to open; gives the limit of before.

        The limit is one of their numbers, not of how many there are: the free ones are counted.
        """
        before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        numbers = (fd for fd in itertools.count() if not os.path.exists(f"/proc/self/fd/{fd}"))
        limit = next(itertools.islice(numbers, free, None))
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        return before

    async def op_spares(self, number: int) -> int:
        """How many kernels wait for newcomers."""
        return self._service._pool.ready

    async def op_use(self, number: int) -> dict[str, float]:
        """What this process uses: memory in bytes, open descriptors, tasks."""
        resident = int(Path("/proc/self/statm").read_text().split()[1])
        return {
            "memory_bytes": resident * os.sysconf("SC_PAGE_SIZE"),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "tasks": len(asyncio.all_tasks()),
            "kernels": len(self._service.kernels()),
        }

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _named(file: StoredFile) -> dict[str, str]:
    return {"file_id": file.file_id, "name": file.filename, "sha256": file.sha256}


def _plain(result: Execution) -> dict[str, Any]:
    return {
        "status": result.status,
        "text": text_of(result.outputs),
        "message": result.message,
        "state_lost": result.state_lost,
        "files": [_named(file) for file in result.artifacts],
        "run_s": result.durations.run_s,
    }


async def main() -> None:
    """Open the service that the first line describes, and serve."""
    # Whatever else is printed must not look like an answer.
    output = os.dup(1)
    os.dup2(2, 1)
    requests = asyncio.StreamReader(limit=_MOST_LINE_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    given = json.loads(await requests.readline())
    keep = given.pop("keep_kernels")
    async with Interpreter.open(Settings(**given), keep_kernels=keep) as service:
        driver = Driver(service, output)
        await driver.serve(requests)
    await driver.end()


if __name__ == "__main__":
    asyncio.run(main())
