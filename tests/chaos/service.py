"""The client of a driver: a service that may be killed at any moment, and started again."""

import asyncio
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.chaos.processes import database_of, family_of, kill

_ROOT = Path(__file__).resolve().parents[2]
_DRIVER = ("-m", "tests.chaos.driver")
_LEAVE_S = 60.0


class ServiceGone(Exception):
    """The service ended before it answered."""


class ServiceRefused(Exception):
    """The service answered with one of its errors; ``name`` is the error's class."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


class Service:
    """A service in a process of its own, one after the other on the same data directory.

    Attributes:
        data_dir: where it keeps everything.
        ready: set while it takes requests.
        reattached: how many kernels it found alive when it was started last.
        took_s: how long that start took.
        on_event: gets what it says without being asked.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        settings: Mapping[str, Any],
        log: Path,
        environment: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> None:
        """Describe it; :meth:`start` starts it.

        Args:
            data_dir: where it keeps everything.
            settings: further fields of ``Settings``, as JSON has them.
            log: gets what it writes to standard error.
            environment: what to add to its environment.
            before: a command that runs it; the rest of that command is given to it.
        """
        self.data_dir = data_dir
        self.ready = asyncio.Event()
        self.reattached = 0
        self.took_s = 0.0
        self._began = 0.0
        self._settings = dict(settings)
        self._log = log
        self.on_event: Callable[[dict[str, Any]], None] = lambda event: None
        self._before = before
        self._keeps_kernels = True
        self._environment = {**os.environ, **(environment or {})}
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._phases: dict[int, Callable[[str], None]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        data_dir: Path,
        *,
        settings: Mapping[str, Any],
        log: Path,
        keep_kernels: bool = True,
        **options: Any,
    ) -> AsyncIterator["Service"]:
        """One that is started, and leaves nothing behind, whatever happened to it."""
        service = cls(data_dir, settings=settings, log=log, **options)
        try:
            await service.start(keep_kernels=keep_kernels)
            yield service
        finally:
            await service.end()

    async def start(self, *, keep_kernels: bool = True) -> None:
        """Start it, and wait until it takes requests.

        Raises:
            ServiceGone: it ended instead; its log says why.
        """
        self._began = time.monotonic()
        with self._log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *(*self._before, sys.executable, *_DRIVER),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=_ROOT,
                env=self._environment,
                limit=1 << 22,
            )
        self._process = process
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read(process, ready))
        settings = {**self._settings, "data_dir": str(self.data_dir), "keep_kernels": keep_kernels}
        with suppress(ConnectionError):  # then the reading ends as well
            await self._write(settings)
        self._keeps_kernels = keep_kernels
        await ready
        self.ready.set()

    @property
    def pid(self) -> int:
        """The process id of the service."""
        assert self._process is not None
        return self._process.pid

    async def call(
        self, op: str, *, on_phase: Callable[[str], None] | None = None, **arguments: Any
    ) -> Any:
        """Have it do something, and wait for what it says.

        Raises:
            ServiceGone: it ended before it answered.
            ServiceRefused: it answered with one of its errors.
        """
        if not self.ready.is_set():
            raise ServiceGone
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        if on_phase is not None:
            self._phases[number] = on_phase
        try:
            with suppress(ConnectionError):  # then the reading ends, and says so
                await self._write({"id": number, "op": op, **arguments})
            return await answer
        finally:
            del self._waiting[number]
            self._phases.pop(number, None)

    async def kill(self) -> None:
        """End it with SIGKILL, and wait for its end."""
        assert self._process is not None and self._reading is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        await self._reading

    async def leave(self) -> None:
        """Have it leave by its own way, and wait for its end."""
        assert self._process is not None and self._reading is not None
        self.ready.clear()
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(self._reading), _LEAVE_S)
        except TimeoutError:
            await self.kill()
            raise

    async def end(self) -> None:
        """End it and all that earlier ones left running."""
        try:
            if not self.ready.is_set() or self._keeps_kernels:
                if self._reading is not None:
                    await self.kill()
                await self.start(keep_kernels=False)
            await self.leave()
        except BaseException:  # kernels would wait for a further service, which nobody starts
            for process in (*family_of(self.data_dir).all(), database_of(self.data_dir)):
                if process is not None:
                    kill(process)
            raise

    async def _write(self, content: Mapping[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(content).encode() + b"\n")
        await self._process.stdin.drain()

    async def _read(self, process: asyncio.subprocess.Process, ready: asyncio.Future[None]) -> None:
        assert process.stdout is not None
        try:
            while (line := await process.stdout.readline()).endswith(b"\n"):
                self._take(json.loads(line), ready)
        finally:
            self.ready.clear()
            await process.wait()
            if not ready.done():
                last = self._log.read_text(errors="replace").splitlines()[-1:]
                reason = f"it ended with {process.returncode}, and its last words were {last}"
                ready.set_exception(ServiceGone(reason))
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ServiceGone())

    def _take(self, said: dict[str, Any], ready: asyncio.Future[None]) -> None:
        if said.get("event") == "ready":
            self.took_s = round(time.monotonic() - self._began, 2)
            self.reattached = said["reattached"]
            ready.set_result(None)
            self.on_event(said)
        elif said.get("event") == "phase":
            if (tell := self._phases.get(said["id"])) is not None:
                tell(said["name"])
        elif "event" in said:
            self.on_event(said)
        elif (answer := self._waiting.get(said["id"])) is not None and not answer.done():
            if "error" in said:
                answer.set_exception(ServiceRefused(said["error"], said["text"]))
            else:
                answer.set_result(said["value"])
