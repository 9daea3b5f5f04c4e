"""The IPython kernel as a session runs it: ipykernel's own, with what a service needs added.

Nothing here needs privileges, and nothing here protects anyone: user code can change all of it.
"""

import asyncio
import base64
import os
import signal
import sys
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ipykernel.ipkernel import IPythonKernel, _asyncio_runner
from traitlets import Type

from kernel_startup.connection import SNAPSHOT
from kernel_startup.describe import describe_file
from kernel_startup.interrupts import Interrupts
from kernel_startup.packages import Installer
from kernel_startup.pictures import RendererMissing, picture_of
from kernel_startup.questions import Questions
from kernel_startup.replay import Replay, packed
from kernel_startup.sandboxes import Places
from kernel_startup.shell import CellShell
from kernel_startup.snapshot import Bounds, SnapshotUnreadable, restore, room_left, save
from kernel_startup.streams import CellStream, end_cell
from kernel_startup.tidying import Tidying
from kernel_startup.tracebacks import text_of
from kernel_startup.variables import summarise
from kernel_startup.warm_up import warm_up

#: Variables that are named when a snapshot has been restored; the others are counted.
_MOST_TOLD = 20


class CellKernel(IPythonKernel):  # type: ignore[misc]  # ipykernel ships no types
    """An IPython kernel that gets the packages it lacks, and lists its variables at any time."""

    shell_class = Type(CellShell)
    msg_types = [*IPythonKernel.msg_types, "warm_up_request", "restore_request"]  # noqa: RUF012
    control_msg_types = [  # noqa: RUF012
        *IPythonKernel.control_msg_types,
        "variables_request",
        "describe_request",
        "picture_request",
        "save_request",
        "replay_request",
    ]
    #: ipykernel waits half a millisecond before each reply, for outputs that aren't sent yet. Here
    #: they have been.
    _execute_sleep = 0.0
    #: Its directories; set before it starts.
    places: Places

    def __init__(self, **options: Any) -> None:
        """Take the arguments of ipykernel's kernel."""
        self._interrupts = Interrupts()
        self._tidying = Tidying()
        self._cells = 0
        self._is_fresh = True
        self._answering: set[asyncio.Task[None]] = set()
        self.replay = Replay(lambda parts: self.session.sign(parts))
        self._questions = Questions(self)
        super().__init__(**options)

    def begin(self, *, iopub_socket: Any, **connection: Any) -> None:
        """Be the kernel of this process.

        Args:
            iopub_socket: what outputs are sent with.
            connection: the other sockets, streams and threads, as ipykernel's kernel has them.
        """
        self._interrupts.ignore()
        self.installer = Installer(self._questions)
        for name, value in {"iopub_socket": iopub_socket, **connection}.items():
            setattr(self, name, value)
        self._stdout, self._stderr = sys.stdout, sys.stderr
        self.shell.display_pub.pub_socket = iopub_socket
        self.shell.displayhook.pub_socket = iopub_socket
        self.shell.displayhook.topic = self._topic("execute_result")

    def pre_handler_hook(self) -> None:
        """Leave SIGINT alone: only a cell's code may be interrupted."""

    def post_handler_hook(self) -> None:
        """Leave SIGINT alone."""

    async def execute_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Handle a cell from here on; an interrupt now is one of this cell."""
        self._is_fresh = False
        self._interrupts.expect_cell()
        ident = self._return_address(ident, parent)
        self._tidying.put_off()
        try:
            with self.installer.cell(ident, parent), self.replay.cell(parent):
                await super().execute_request(stream, ident, parent)
        finally:
            self._cells += 1
            self._interrupts.ignore()
            self._tidying.plan()

    def _return_address(self, ident: list[bytes], parent: Any) -> list[bytes]:
        """Where answers to a service's cell go: to the connection that has its session's name.

        A cell that had to wait may have come over one that is gone, and whose name another has now.
        """
        own = [parent["header"]["session"].encode()]
        if ident == own or "limit" not in parent["metadata"]:
            return ident
        self.set_parent(own, parent, channel="shell")  # where its questions go
        return own

    async def do_execute(self, code: str, silent: bool, *args: Any, **options: Any) -> Any:
        """Run a cell, then send what is kept of its output."""
        CellStream.budget.renew()
        try:
            try:
                self._interrupts.begin()
                self.installer.prepare(code, self.shell.transform_cell)
                return await self._run(code, silent, *args, **options)
            finally:
                self._interrupts.ignore()
        except KeyboardInterrupt as interrupt:
            # It came between our or IPython's own lines, which are of no use to anyone.
            self._interrupts.ignore()
            self.shell.showtraceback((KeyboardInterrupt, interrupt, None))
            return {
                "status": "error",
                "ename": "KeyboardInterrupt",
                "evalue": "",
                "traceback": [],
                "execution_count": self.execution_count,
                "user_expressions": {},
                "payload": [],
            }
        finally:
            end_cell(self._stdout, self._stderr)

    async def _run(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: Mapping[str, str] | None = None,
        allow_stdin: bool = False,
        *,
        cell_meta: Any = None,
        cell_id: Any = None,
    ) -> dict[str, Any]:
        """Run a cell, as ipykernel's kernel does; makes the content of its reply.

        Not by that: it looks at what IPython can do anew for each cell, and reads each cell twice.
        """
        shell = self.shell
        self._forward_input(allow_stdin)
        try:
            told = {
                "store_history": store_history,
                "silent": silent,
                "cell_id": cell_id,
                "cell_meta": cell_meta,
            }
            with shell.reading(code) as read:
                if shell.loop_runner is _asyncio_runner and shell.should_run_async(code, **read):
                    cell = shell.run_cell_async(code, **told, **read)
                    result = await self._run_async(cell, silent)
                else:
                    result = shell.run_cell(code, **told)
        finally:
            self._restore_input()
        content: dict[str, Any] = {"status": "ok", "user_expressions": {}}
        if result.success and not shell._last_traceback_during_displayhook:
            content["user_expressions"] = shell.user_expressions(dict(user_expressions or {}))
        else:
            error = result.error_before_exec or result.error_in_exec
            content |= {
                "status": "error",
                "ename": type(error).__name__,
                "evalue": text_of(error),
                "traceback": shell._last_traceback or [],
            }
        self.replay.note_reply(content["status"])
        content["execution_count"] = shell.execution_count - 1
        content["payload"] = shell.payload_manager.read_payload()
        shell.payload_manager.clear_payload()
        return content

    async def _run_async(self, cell: Coroutine[Any, Any, Any], silent: bool) -> Any:
        """Run a cell that awaits something on this thread's loop."""
        self.shell._last_traceback = None
        self.shell._last_traceback_during_displayhook = False
        running = asyncio.ensure_future(cell)
        result = None
        with self._cancel_on_sigint(running):
            try:
                result = await running
                return result
            finally:
                self.shell.events.trigger("post_execute")
                if not silent:
                    self.shell.events.trigger("post_run_cell", result)

    def _input_request(self, prompt: str, ident: Any, parent: Any, password: bool = False) -> str:
        """Ask for a line of input; called by `input()` and `getpass()`."""
        cell = self._cells
        try:
            answer = self._questions.ask(
                "input_request",
                {"prompt": prompt, "password": password},
                ident=ident,
                parent=parent,
                stands=lambda: self._cells == cell,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Interrupted by user") from None
        line = "\x04" if answer is None else str(answer.get("value", ""))
        if line == "\x04":
            raise EOFError
        return line

    @contextmanager
    def _cancel_on_sigint(self, future: "asyncio.Future[Any]") -> Iterator[None]:
        """Cancel a cell's coroutine at SIGINT; ipykernel's own way doesn't wake a waiting loop."""
        loop = asyncio.get_running_loop()

        def cancel(signum: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(future.cancel)

        before = signal.signal(signal.SIGINT, cancel)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    async def warm_up_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Use what first cells use; asked for before the kernel is given to a user."""
        content: dict[str, Any] = {"status": "ok"}
        try:
            await warm_up(self)
        except Exception as error:
            content = {"status": "error", "ename": type(error).__name__, "evalue": str(error)[:500]}
        self.session.send(stream, "warm_up_reply", content, parent, ident)

    async def variables_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Answer with the user's variables; runs on the control thread, beside a running cell."""
        content: dict[str, Any]
        try:
            hidden = set(self.shell.user_ns_hidden)
            content = {"status": "ok", "variables": summarise(self.shell.user_ns, hidden=hidden)}
        except Exception as error:
            content = {"status": "error", "ename": type(error).__name__, "evalue": str(error)}
        self.session.send(stream, "variables_reply", content, parent, ident)

    async def replay_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Answer with what the last cell has sent; a mark among the outputs says how far."""
        mark = self.session.msg("replay_mark", {}, parent)
        frames = self.session.serialize(mark, self._topic("replay_mark"))
        told, messages, question = self.iopub_thread.mark(frames, self.replay.told)
        pieces = [packed(messages), packed([question] if question else [])]
        content = {"status": "ok", "fresh": self._is_fresh, **told}
        self.session.send(stream, "replay_reply", content, parent, ident, buffers=pieces)

    async def describe_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Answer with what a file holds; others are answered meanwhile."""
        self._answer_meanwhile(self._describe(stream, ident, parent))

    async def picture_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Answer with a picture of what a cell showed; others are answered meanwhile."""
        self._answer_meanwhile(self._draw(stream, ident, parent))

    async def save_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Save the user's variables, while no cell runs; others are answered meanwhile."""
        self._is_fresh = False
        self._answer_meanwhile(self._save(stream, ident, parent))

    async def restore_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Load the snapshot that the service has put beside the packages; before the first cell."""
        content: dict[str, Any]
        self._is_fresh = False
        given = os.path.join(os.path.dirname(self.places.packages), SNAPSHOT)
        try:
            done = restore(self.shell.user_ns, given, numbers=self._cell_numbers())
            self.shell.execution_count = max(self.shell.execution_count, done.count)
            content = {
                "status": "ok",
                "restored": list(done.names[:_MOST_TOLD]),
                "restored_count": len(done.names),
                "lost": [loss.as_list() for loss in done.lost[:_MOST_TOLD]],
                "lost_count": len(done.lost),
            }
        except (SnapshotUnreadable, OSError, ValueError, TypeError, KeyError) as error:
            content = {"status": "error", "ename": type(error).__name__, "evalue": str(error)[:500]}
        self.session.send(stream, "restore_reply", content, parent, ident)

    def _cell_numbers(self) -> dict[str, int]:
        """The numbers of cells, by the names under which IPython knows their source."""
        numbers = self.shell.compile._filename_map
        return numbers if isinstance(numbers, dict) else {}

    def _save_variables(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        places = self.places
        written = (places.work, places.home, places.run, places.tmp)
        room_bytes = room_left(written, most_bytes=int(asked["disk_bytes"]))
        return save(
            self.shell.user_ns,
            os.path.join(places.home, SNAPSHOT),
            bounds=Bounds(
                file_bytes=min(int(asked["file_bytes"]), room_bytes),
                memory_bytes=int(asked["memory_bytes"]),
                time_s=float(asked["time_s"]),
            ),
            hidden=dict(self.shell.user_ns_hidden),
            numbers=self._cell_numbers(),
            count=self.shell.execution_count,
        )

    async def _save(self, stream: Any, ident: Any, parent: Any) -> None:
        content: dict[str, Any]
        try:
            done = await asyncio.to_thread(self._save_variables, parent["content"])
            content = {"status": "ok", **done}
        except Exception as error:
            content = {"status": "error", "ename": type(error).__name__, "evalue": str(error)[:500]}
        self.session.send(stream, "save_reply", content, parent, ident)

    def _answer_meanwhile(self, answer: Coroutine[Any, Any, None]) -> None:
        answering = asyncio.create_task(answer)
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

    async def _describe(self, stream: Any, ident: Any, parent: Any) -> None:
        content: dict[str, Any]
        try:
            asked = parent["content"]
            file_id, time_s = str(asked["file_id"]), float(asked["time_s"])
            text = await asyncio.to_thread(describe_file, file_id, time_s=time_s)
            content = {"status": "ok", "text": text}
        except Exception as error:
            content = {"status": "error", "ename": type(error).__name__, "evalue": str(error)}
        self.session.send(stream, "describe_reply", content, parent, ident)

    async def _draw(self, stream: Any, ident: Any, parent: Any) -> None:
        content: dict[str, Any]
        try:
            asked = parent["content"]
            png = await asyncio.to_thread(
                picture_of,
                str(asked["content"]),
                str(asked["mime"]),
                time_s=float(asked["time_s"]),
                make_do=bool(asked["make_do"]),
            )
            content = {"status": "ok", "png": base64.b64encode(png).decode("ascii")}
        except RendererMissing:
            content = {"status": "lacking"}
        except Exception as error:
            content = {"status": "error", "ename": type(error).__name__, "evalue": str(error)[:500]}
        self.session.send(stream, "picture_reply", content, parent, ident)
