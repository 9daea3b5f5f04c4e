"""The program around the kernel: made once in the fork server, begun in each process from it.

Most of a kernel is the same for everybody: IPython's configuration, its shell with all its magics,
plots inline. :func:`prepare` makes that before the fork, without a socket, a thread or an open
file, so that its memory is shared and a new kernel doesn't pay for it. What is left for
:func:`start_app` is what one process can't have of another: sockets, streams, a thread, a key.
"""

import gc
import importlib
import logging
import os
import random
import sys
import uuid
import warnings
from collections.abc import Sequence
from typing import Any

import zmq
from ipykernel.control import ControlThread
from ipykernel.kernelapp import IPKernelApp
from IPython.core.profiledir import ProfileDir
from traitlets import default
from zmq.eventloop.zmqstream import ZMQStream

from kernel_startup import prelude, requirements
from kernel_startup.connection import PORTS
from kernel_startup.importers import Owner
from kernel_startup.kernel import CellKernel
from kernel_startup.messages import CellSession
from kernel_startup.pip_commands import PipCommands
from kernel_startup.publishing import Publisher
from kernel_startup.sandboxes import Places
from kernel_startup.streams import CellBudget, CellStream


class CellKernelApp(IPKernelApp):  # type: ignore[misc]  # ipykernel ships no types
    """Starts a :class:`CellKernel` in this process, on Unix sockets, without reading any file."""

    profile_dir: Any

    @default("session")
    def _default_session(self) -> CellSession:
        return CellSession(parent=self)

    def initialize(self, argv: Any = None) -> None:
        """Make all that needs no process of its own."""
        super(IPKernelApp, self).initialize(argv)
        self.init_pdb()
        self.configure_tornado_logger()
        self.init_kernel()
        self.init_shell()
        self.init_extensions()
        self.init_code()

    def init_kernel(self) -> None:
        """Make the kernel, without a connection."""
        self.kernel = CellKernel.instance(
            parent=self,
            session=self.session,
            log=self.log,
            profile_dir=self.profile_dir,
            user_ns=self.user_ns,
        )

    def begin(self, *, key: str, sockets: str, home: str) -> None:
        """Become a kernel of its own: from here on there are sockets, streams and a thread.

        Args:
            key: signs the messages between the service and this kernel.
            sockets: what the paths of its sockets begin with.
            home: its home directory.
        """
        self.ip = sockets
        self.session.begin(key.encode("ascii"))
        self.init_path()
        self._begin_profile(os.path.join(home, ".ipython"))
        self.init_sockets()
        self.init_heartbeat()
        self.init_io()
        self.displayhook.get_execution_count = lambda: self.kernel.execution_count
        self.kernel.begin(
            ident=str(uuid.uuid4()),
            shell_stream=ZMQStream(self.shell_socket),
            control_stream=ZMQStream(self.control_socket, self.control_thread.io_loop),
            control_thread=self.control_thread,
            iopub_thread=self.iopub_thread,
            iopub_socket=self.iopub_socket,
            stdin_socket=self.stdin_socket,
        )
        self.iopub_thread.on_message = self.kernel.replay.record
        self.kernel.record_ports(dict(PORTS))
        self.control_thread.start()

    def _begin_profile(self, ipython_dir: str) -> None:
        """Have this kernel's own directory for what IPython keeps."""
        shell = self.kernel.shell
        if shell.ipython_dir != ipython_dir:
            shell.ipython_dir = self.ipython_dir = ipython_dir
        location = os.path.join(ipython_dir, "profile_default")
        os.makedirs(location, exist_ok=True)
        if location == self.profile_dir.location:  # the same, but in another home
            self.profile_dir.check_dirs()
            return
        self.profile_dir = ProfileDir(location=location, parent=self)
        shell.profile_dir = self.kernel.profile_dir = self.profile_dir

    def init_control(self, context: Any) -> None:
        """Make the control channel. No debugger is ever there: it gets no sockets."""
        self.control_thread = ControlThread(daemon=True)
        self.control_socket = context.socket(zmq.ROUTER)
        self.control_socket.linger = 1000
        self.control_socket.router_handover = 1
        self._bind_socket(self.control_socket, self.control_port)

    def init_iopub(self, context: Any) -> None:
        """Let outputs wait here, in the kernel's own memory, when the service is slow.

        At the usual bound of 1,000 messages the socket would throw away what follows, and with it
        the ``idle`` that ends a cell.
        """
        socket = context.socket(zmq.XPUB)
        socket.linger = 1000
        socket.sndhwm = 0
        # Each subscriber is welcomed. A service that has gone may still count as one when the next
        # one comes, if the kernel was busy meanwhile; that one's subscription would be no news.
        socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._bind_socket(socket, self.iopub_port)
        with warnings.catch_warnings():
            if not CellStream.has_pipe:  # it says that it can't open one
                warnings.simplefilter("ignore")
            self.iopub_thread = Publisher(socket, self.session, self.control_thread, has_pipe=True)
        self.iopub_socket = self.iopub_thread.background_socket

    def init_heartbeat(self) -> None:
        """Answer to clients that want to hear the kernel's heart. The service doesn't."""
        socket = self.context.socket(zmq.ROUTER)
        socket.linger = 1000
        self._bind_socket(socket, self.hb_port)
        self._heart = ZMQStream(socket, self.control_thread.io_loop)
        self._heart.on_recv(self._heart.send_multipart)


def prepare() -> CellKernelApp:
    """Make the kernel, in the process that others are forked from; or find it made."""
    if CellKernelApp.initialized():
        made: CellKernelApp = CellKernelApp.instance()
        return made
    app: CellKernelApp = CellKernelApp.instance(
        transport="ipc", outstream_class="kernel_startup.streams.CellStream", **PORTS
    )
    app.config.HistoryManager.enabled = False
    app.config.InteractiveShell.colors = "nocolor"
    app.config.Completer.use_jedi = False
    app.initialize([])
    # No handler takes less, and yet each message would be made a record of.
    app.log.setLevel(logging.WARNING)
    prelude.install(app.kernel.shell)
    app.kernel.shell.load_pip_magics()
    importlib.import_module("tornado.platform.asyncio")  # what a loop is made of, in the child
    return app


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
    app = prepare()
    _reseed()
    if not own_system:
        prelude.move_to(places)
    CellStream.budget = CellBudget(output_chars)
    CellStream.has_pipe = own_system
    app.begin(key=key, sockets=sockets, home=places.home)
    # IPython runs `!command` through a pseudo-terminal, where there are any.
    app.kernel.shell.has_terminals = own_system
    app.kernel.places = places
    _add_packages(app.kernel, places)
    prelude.settle()
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
