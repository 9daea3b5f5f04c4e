"""The service as the front ends see it, without kernels: what each cell does is scripted."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nbformat

from interpreter import (
    CellError,
    ClearOutput,
    Completion,
    DisplayData,
    Durations,
    ExecuteResult,
    Execution,
    InterpreterError,
    KernelInfo,
    OnInput,
    OnOutput,
    Output,
    Recovered,
    Settings,
    SkippedArtifact,
    StoredFile,
    StoredFileNotFound,
    Stream,
    Variable,
)
from interpreter.execution import OnPhase, Phase, PhaseName, Status, telling
from interpreter.files import FileEvent, shown_name

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63f8cf"
    "c0f01f00050001ff56c72f0d0000000049454e44ae426082"
)


def stored_file(file_id: str, filename: str, *, path: Path = Path("/nowhere")) -> StoredFile:
    """A stored file with everything that doesn't matter filled in."""
    content = path.read_bytes() if path.exists() else b""
    return StoredFile(
        file_id=file_id,
        user_id="local",
        filename=filename,
        file_type="unknown",
        file_size=len(content),
        file_path=path,
        uploaded_at=datetime.now(UTC),
        expires_at=datetime.now(UTC) + timedelta(hours=48),
        sha256=hashlib.sha256(content).hexdigest(),
        origin="upload",
    )


class FakeFiles:
    """The stored files of one user, in memory."""

    def __init__(self) -> None:
        self.stored: list[StoredFile] = []
        self.saves = 0
        self.cap = 20
        self.refusal: InterpreterError | None = None
        self._callbacks: list[Callable[[FileEvent], None]] = []

    def subscribe(self, callback: Callable[[FileEvent], None]) -> None:
        self._callbacks.append(callback)

    def unsubscribe(self, callback: Callable[[FileEvent], None]) -> None:
        self._callbacks.remove(callback)

    def remove(self, file: StoredFile) -> None:
        """Remove a file for whatever reason, and say so."""
        self.stored.remove(file)
        for callback in self._callbacks:
            callback(FileEvent("deleted", file))

    async def save(self, *, user_id: str, filename: str, source: Path) -> StoredFile:
        if self.refusal:
            raise self.refusal
        self.saves += 1
        name = shown_name(filename)
        file = replace(stored_file(f"id{self.saves}", name, path=source), user_id=user_id)
        self.stored.append(file)
        if len(self.stored) > self.cap:
            self.remove(self.stored[0])
        return file

    async def list(self, *, user_id: str) -> tuple[StoredFile, ...]:
        return tuple(file for file in self.stored if file.user_id == user_id)

    async def find(self, *, user_id: str, sha256: str) -> tuple[StoredFile, ...]:
        return tuple(file for file in await self.list(user_id=user_id) if file.sha256 == sha256)

    async def touch(self, *, user_id: str, file_id: str) -> StoredFile:
        return next(file for file in self.stored if file.file_id == file_id)

    async def delete(self, *, user_id: str, file_id: str) -> StoredFile:
        for file in self.stored:
            if file.file_id == file_id:
                self.remove(file)
                return file
        raise StoredFileNotFound(file_id)


class FakeSession:
    """A session whose cells do what a test has scripted; any other cell is ok and silent."""

    def __init__(self) -> None:
        self.user_id = "local"
        self.ran: list[str] = []
        self.interrupts = 0
        self.restarts = 0
        self.answers: list[str] = []
        self.running = asyncio.Event()
        self.stopped = asyncio.Event()
        self.on_execute: Callable[[], object] = lambda: None
        self.on_interrupt: Callable[[], object] = lambda: None
        self.completions = Completion((), 0, 0)
        self.named: tuple[Variable, ...] = ()
        self.refusal: InterpreterError | None = None
        self.busy_with_others = False
        self.free = asyncio.Event()
        self.installs: dict[str, tuple[str, ...]] = {}
        self.cancelled: list[str] = []
        self.notes: list[Mapping[str, str] | None] = []
        self.kept = 0
        self.stays_in: PhaseName | None = None
        self.live = True
        self.described: list[str] = []
        self._scripts: dict[str, Execution] = {}
        self._events: dict[str, tuple[Output | ClearOutput, ...]] = {}
        self._questions: dict[str, tuple[str, bool]] = {}
        self._endless: dict[str, Status] = {}
        self._count = 0

    def will(
        self,
        code: str,
        *outputs: Output | ClearOutput,
        status: Status = "ok",
        artifacts: tuple[StoredFile, ...] = (),
        skipped: tuple[SkippedArtifact, ...] = (),
        installed: tuple[str, ...] = (),
        state_lost: bool = False,
        message: str | None = None,
        durations: Durations | None = None,
    ) -> None:
        """Script a cell; its outputs come live and in the result."""
        self._events[code] = outputs
        self._scripts[code] = Execution(
            status=status,
            code=code,
            outputs=tuple(output for output in outputs if not isinstance(output, ClearOutput)),
            artifacts=artifacts,
            skipped=skipped,
            installed=installed,
            state_lost=state_lost,
            message=message,
            durations=durations or Durations(),
        )

    def will_fail(self, code: str, ename: str = "ValueError", evalue: str = "bad") -> None:
        """Script a cell that raises."""
        error = CellError(ename, evalue, ("Traceback", f"{ename}: {evalue}"))
        self.will(code, error, status="error")

    def will_ask(self, code: str, question: str, *, password: bool = False) -> None:
        """Script a cell that calls input() and prints the answer."""
        self._questions[code] = (question, password)

    def will_run_on(self, code: str, *, after_interrupt: Status | None = "interrupted") -> None:
        """Script a cell that only ends when it is interrupted, or if None when restarted."""
        self._endless[code] = after_interrupt or "died"

    async def execute(
        self,
        code: str,
        *,
        timeout_s: float | None = None,
        on_output: OnOutput | None = None,
        on_input: OnInput | None = None,
        on_phase: OnPhase | None = None,
        note: Mapping[str, str] | None = None,
    ) -> Execution:
        self.notes.append(note)
        if self.refusal:
            raise self.refusal
        tell = telling(on_phase)
        tell(Phase("queued"))
        if self.busy_with_others:
            await self.free.wait()
        if packages := self.installs.get(code):
            tell(Phase("installing", packages, limit_s=60.0))
        tell(Phase("running", limit_s=timeout_s or 60.0))
        self.ran.append(code)
        self._count += 1
        if self.stays_in is not None:
            tell(Phase(self.stays_in))
        self.running.set()
        self.on_execute()
        execution = self._scripts.get(code) or Execution(status="ok", code=code)
        for output in self._events.get(code, ()):
            waiting = on_output(output) if on_output else None
            if isinstance(waiting, Awaitable):
                await waiting
        if code in self._endless:
            try:
                await self.stopped.wait()
            except asyncio.CancelledError:
                self.cancelled.append(code)
                raise
            self.stopped.clear()
            return Execution(status=self._endless[code], code=code, count=self._count)
        if code in self._questions:
            assert on_input
            self.answers.append(await on_input(*self._questions[code]))
        return replace(execution, count=self._count)

    def keep_result(self) -> bool:
        self.kept += 1
        return True

    async def interrupt(self) -> bool:
        self.interrupts += 1
        self.on_interrupt()
        if "interrupted" in self._endless.values():
            self.stopped.set()
        return True

    def info(self) -> KernelInfo | None:
        return None

    async def restart(self) -> None:
        self.restarts += 1
        self._count = 0
        self.stopped.set()

    async def describe_file(self, file_id: str) -> str:
        self.described.append(file_id)
        return f"a file, {file_id}"

    async def complete(self, code: str, cursor: int) -> Completion:
        return self.completions

    async def variables(self) -> tuple[Variable, ...]:
        return self.named

    async def export_notebook(self) -> nbformat.NotebookNode:
        # nbformat has no annotations there.
        cells = [nbformat.v4.new_code_cell(code) for code in self.ran]  # type: ignore[no-untyped-call]
        notebook: nbformat.NotebookNode = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
        return notebook


class FakeService:
    """A service with one session."""

    def __init__(self) -> None:
        self.settings = Settings(data_dir=Path("/nowhere"))
        self.files = FakeFiles()
        self.only_session = FakeSession()
        self.live: tuple[KernelInfo, ...] = ()
        self.recovered: tuple[Recovered, ...] = ()
        self.acknowledged: list[Recovered] = []

    async def acknowledge(self, recovered: Recovered) -> None:
        self.acknowledged.append(recovered)

    async def session(self, *, user_id: str) -> FakeSession:
        return self.only_session

    def kernels(self) -> tuple[KernelInfo, ...]:
        return self.live


def printed(text: str) -> Stream:
    """What a cell prints."""
    return Stream("stdout", text)


def result(text: str, count: int = 1) -> ExecuteResult:
    """The value of a cell's last expression."""
    return ExecuteResult({"text/plain": text}, {}, count)


def shown(data: dict[str, object], **rest: object) -> DisplayData:
    """What a cell displays."""
    return DisplayData(data, {}, **rest)  # type: ignore[arg-type]  # as the test gives it
