"""The IPython kernel as a session runs it: ipykernel's own, with what a service needs added.

Nothing here needs privileges, and nothing here protects anyone: user code can change all of it.
"""

import asyncio
import base64
import gc
import os
import random
import signal
import sys
import warnings
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import zmq
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from traitlets import Type

from kernel_startup import prelude, requirements
from kernel_startup.connection import PORTS, SNAPSHOT
from kernel_startup.describe import describe_file
from kernel_startup.importers import Owner
from kernel_startup.interrupts import Interrupts
from kernel_startup.packages import Installer
from kernel_startup.pictures import RendererMissing, picture_of
from kernel_startup.pip_commands import PipCommands
from kernel_startup.questions import Questions
from kernel_startup.sandboxes import Places
from kernel_startup.shell import CellShell
from kernel_startup.snapshot import Bounds, SnapshotUnreadable, restore, room_left, save
from kernel_startup.streams import CellBudget, CellStream, end_cell
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
    ]
    #: Its directories; set before it starts.
    places: Places

    def __init__(self, **options: Any) -> None:
        """Take the arguments of ipykernel's kernel."""
        self._interrupts = Interrupts()
        self._interrupts.ignore()
        self._cells = 0
        self._answering: set[asyncio.Task[None]] = set()
        self._questions = Questions(self)
        self.installer = Installer(self._questions)
        super().__init__(**options)

    def pre_handler_hook(self) -> None:
        """Leave SIGINT alone: only a cell's code may be interrupted."""

    def post_handler_hook(self) -> None:
        """Leave SIGINT alone."""

    async def execute_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Handle a cell from here on; an interrupt now is one of this cell."""
        self._interrupts.expect_cell()
        try:
            with self.installer.cell(ident, parent):
                await super().execute_request(stream, ident, parent)
        finally:
            self._cells += 1
            self._interrupts.ignore()

    async def do_execute(self, code: str, silent: bool, *args: Any, **options: Any) -> Any:
        """Run a cell, then send what is kept of its output."""
        CellStream.budget.renew()
        try:
            try:
                self._interrupts.begin()
                self.installer.prepare(code, self.shell.transform_cell)
                return await super().do_execute(code, silent, *args, **options)
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

    async def describe_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Answer with what a file holds; others are answered meanwhile."""
        self._answer_meanwhile(self._describe(stream, ident, parent))

    async def picture_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Answer with a picture of what a cell showed; others are answered meanwhile."""
        self._answer_meanwhile(self._draw(stream, ident, parent))

    async def save_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Save the user's variables, while no cell runs; others are answered meanwhile."""
        self._answer_meanwhile(self._save(stream, ident, parent))

    async def restore_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Load the snapshot that the service has put beside the packages; before the first cell."""
        content: dict[str, Any]
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
        written = (places.work, places.home, places.tmp)
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


class CellKernelApp(IPKernelApp):  # type: ignore[misc]  # ipykernel ships no types
    """Starts a :class:`CellKernel` in this process, on Unix sockets, without reading any file."""

    def init_poller(self) -> None:
        """Watch no parent: a kernel ends with its sandbox."""

    def init_connection_file(self) -> None:
        """Read no connection file: the connection is given."""

    def write_connection_file(self, **_: Any) -> None:
        """Write no connection file: the service knows the connection."""

    def init_iopub(self, context: Any) -> None:
        """Let outputs wait here, in the kernel's own memory, when the service is slow.

        At the usual bound of 1,000 messages the socket would throw away what follows, and with it
        the ``idle`` that ends a cell.
        """
        context.setsockopt(zmq.SNDHWM, 0)
        with warnings.catch_warnings():
            if not CellStream.has_pipe:  # it says that it can't open one
                warnings.simplefilter("ignore")
            super().init_iopub(context)

    def init_signal(self) -> None:
        """Leave SIGINT to the kernel's own handler."""

    def init_gui_pylab(self) -> None:
        """Leave matplotlib to the prelude."""


def start_app(
    *, key: str, sockets: str, output_chars: int, places: Places, own_system: bool
) -> CellKernelApp:
    """Initialise the kernel in this process; its sockets are bound on return.

    Args:
        key: signs the messages between the service and this kernel.
        sockets: what the paths of its sockets begin with.
        output_chars: characters of output a cell may send as they come, and keep for its end.
        places: its directories.
        own_system: whether it has namespaces of its own.
    """
    _reseed()
    if not own_system:
        prelude.move_to(places)
    CellStream.budget = CellBudget(output_chars)
    CellStream.has_pipe = own_system
    app: CellKernelApp = CellKernelApp.instance(
        kernel_class=CellKernel,
        transport="ipc",
        ip=sockets,
        outstream_class="kernel_startup.streams.CellStream",
        **PORTS,
    )
    app.session.key = key.encode("ascii")
    # A cell that failed must not make the next one, already sent, be skipped.
    app.config.HistoryManager.enabled = False
    app.config.InteractiveShell.colors = "nocolor"
    app.config.InteractiveShell.term_title = False
    app.config.Completer.use_jedi = False
    app.initialize([])
    # IPython runs `!command` through a pseudo-terminal, where there are any.
    app.kernel.shell.has_terminals = own_system
    app.kernel.places = places
    _add_packages(app.kernel, places)
    app.debug_shell_socket.close()  # no debugger is ever there; it would try for ever to connect
    prelude.install(app.kernel.shell)
    gc.collect(0)
    return app


def _add_packages(kernel: CellKernel, places: Places) -> None:
    """Let the kernel and what it starts find the user's own packages, behind all else."""
    sys.path.append(places.packages)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    programs = os.path.join(os.path.dirname(__file__), "programs")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*paths, places.packages, programs]))
    own = tuple(os.path.join(path, "") for path in (places.work, places.home, places.tmp))
    kernel.installer.join(Owner(kernel.shell.user_ns, own))
    kernel.shell.use_pip(PipCommands(kernel.installer))

    def obtain(wanted: Sequence[str]) -> dict[str, str]:
        return dict(kernel.installer.request("install", "command", wanted).failed)

    requirements.obtain_with(obtain)


def _reseed() -> None:
    """Give this kernel random numbers of its own: forked siblings start with the same state."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
