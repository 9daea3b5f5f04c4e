"""The fork server: imports the heavy modules once, and forks a kernel whenever it is asked.

Runs inside the outer sandbox that the service has put around it (no network, a read-only system,
an empty environment), where the system allows such. It has one thread, never runs a user's code,
and hears only the service, over a socket it was started with, or a later service on another (see
``line``). Each request brings the sockets for one kernel, and this way goes on:

    fork server ── fork ──> doorkeeper: enters the namespaces, forks, leaves
                                └─ fork ──> init (pid 1 of the sandbox): mounts, limits, gives up
                                            every privilege, waits for the kernel, reports its end
                                                └─ fork ──> the kernel

Without namespaces there is no doorkeeper, and the init itself ends what the kernel has left.

Messages are JSON in packets. To the server, first ``{"backend", "filters", "readable", "identity",
"orphan_s"}``, then for each kernel an empty one with the kernel's sockets attached: a connection,
and a listener where it may outlive the service. To init, over that connection: ``{"slot",
"sockets", "key", "limits", "output_chars", "uid", "orphan_s"}``; the server itself, whose memory
all kernels inherit, never sees a key. From init: ``{"event": "confined"}``, then waits for ``{"go":
true}`` (the service puts it into its control group meanwhile); at last ``{"event": "exited",
"status": <wait status>}``, until a service has heard it and says so by shutting its end for
writing; while the kernel lives, that ends it. With ``{"cause": "disk", "fitted_ns"}`` added, init
has ended it while no service was there (see ``disk``). From the kernel: ``{"event": "forked"}``,
then waits for ``{"go": true}``; then ``{"event": "ready"}``. From either: ``{"event": "failed",
"reason"}``. The service learns the two processes' pids from the credentials that the system
attaches to their packets.

A later service that connects says ``{"orphan_s"}``; the server answers ``{"event": "serving",
"identity", "threads"}``, an init ``{"event": "waiting"}``.

Started with ``--trial`` it only tries to confine a process, and says how that went.
"""

import argparse
import base64
import contextlib
import functools
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Collection
from typing import Any, NoReturn

from kernel_startup import confine
from kernel_startup.disk import DiskWatch, on_one_disk
from kernel_startup.line import Line
from kernel_startup.sandboxes import Backend

_MESSAGE_BYTES = 65_536
_CPU_NICE = 5
_POLL_S = 5.0
#: A doorkeeper that has left counts among its kernel's processes until it is buried.
_BURIAL_S = 0.01
#: What is kept of all that was said to standard error, in bytes.
_ERRORS_BYTES = 65_536


def main() -> None:
    """Serve until the service says its last word, or no service comes any more."""
    parser = argparse.ArgumentParser(description="Forks Cellmate kernels.")
    parser.add_argument("--socket", type=int, required=True, help="descriptor of the service")
    parser.add_argument("--listener", type=int, help="descriptor where later services connect")
    parser.add_argument("--trial", action="store_true", help="only try to confine a process")
    options = parser.parse_args()
    if options.listener is None:
        confine.die_with_parent()
    server = socket.socket(fileno=options.socket)
    listener = None if options.listener is None else socket.socket(fileno=options.listener)
    try:
        configuration = json.loads(server.recv(_MESSAGE_BYTES))
        line = Line(server, listener, orphan_s=configuration.get("orphan_s", 0.0), reads=True)
        backend = _backend(configuration)
        if options.trial:
            return _serve(line, backend, {})
        _preload()
    except Exception as error:
        _send(server, event="failed", reason=_reason(error))
        raise SystemExit(1) from error
    serving = {
        "event": "serving",
        "identity": configuration.get("identity", ""),
        "threads": len(os.listdir("/proc/self/task")),
    }
    line.send(**serving)
    _serve(line, backend, serving)


def _backend(configuration: dict[str, Any]) -> Backend:
    return Backend(
        name=configuration["backend"],
        filters=tuple(base64.b64decode(program) for program in configuration["filters"]),
        readable=tuple(configuration["readable"]),
    )


def _preload() -> None:
    """Import what kernels need. Everything imported here is shared by all of them."""
    # The debugger costs a second and 30 MB, and nobody can attach to it from outside.
    sys.modules["debugpy"] = None  # type: ignore[assignment]
    import ipykernel.debugger  # noqa: F401

    del sys.modules["debugpy"]
    from kernel_startup import app, immortals, prelude

    prelude.preload()
    app.prepare()
    gc.collect()
    immortals.make_immortal()
    gc.collect()
    gc.freeze()


def _serve(line: Line, backend: Backend, serving: dict[str, Any]) -> None:
    children = 0
    while not line.over:
        # Doorkeepers leave at once; without namespaces the children are inits, which stay.
        poll_s = _BURIAL_S if children and backend.has_namespaces else _POLL_S
        happened = line.wait(timeout_s=poll_s if children else None)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                children -= 1
        if "joined" in happened:
            line.send(**serving)
        if "packet" in happened:
            children += _answer(line, backend)
            _bound_errors()


def _answer(line: Line, backend: Backend) -> int:
    """Fork, if that is what a packet asks for; returns how many children have come of it."""
    message, sockets = line.receive()
    if message or not sockets:
        return 0
    channel, listener = sockets[0], sockets[1] if len(sockets) > 1 else None
    try:
        forked = os.fork()
    except OSError as error:  # no memory, or too many processes: the next one may be luckier
        with contextlib.suppress(OSError):
            _send(channel, event="failed", reason=f"fork: {_reason(error)}")
        forked = -1
    if forked == 0:
        line.close()
        _run_child(channel, listener, backend)
    for end in sockets:
        end.close()
    return int(forked > 0)


def _bound_errors() -> None:
    """Forget what was said to standard error, where a file gets it, when it has become much."""
    with contextlib.suppress(OSError):
        if os.fstat(2).st_size > _ERRORS_BYTES:
            os.ftruncate(2, 0)


def _run_child(
    channel: socket.socket, listener: socket.socket | None, backend: Backend
) -> NoReturn:
    """Be the doorkeeper, and in the processes below it the init and the kernel."""
    status = 1
    try:
        request = json.loads(channel.recv(_MESSAGE_BYTES))
        backend.enter(request)
        status = _init(channel, listener, backend, request)
    except BaseException as error:
        with contextlib.suppress(OSError):
            _send(channel, event="failed", reason=_reason(error))
    finally:
        os._exit(status)


def _init(
    channel: socket.socket,
    listener: socket.socket | None,
    backend: Backend,
    request: dict[str, Any],
) -> int:
    """Build the sandbox around this process, start the kernel in it, and wait for its end."""
    backend.confine_init(request)
    kept = [end.fileno() for end in (channel, listener) if end is not None]
    _detach_streams(kept)
    _send(channel, event="confined")
    _wait_for_go(channel)
    kernel = os.fork()
    if kernel == 0:
        if listener is not None:
            listener.close()
        _kernel(channel, backend, request)
    backend.harden_init()
    # The kernel reads from the same socket until it is ready.
    line = Line(channel, listener, orphan_s=request.get("orphan_s", 0.0), reads=False)
    places = backend.places(request)
    processes = functools.partial(backend.processes, request)
    # Temporary files are on another one, or in memory, where there are namespaces.
    writable = on_one_disk(places.work, places.home, places.run, places.tmp)
    disk = DiskWatch(writable, processes)
    ended = _wait_for_end(line, kernel, disk)
    backend.end_processes(request)
    _report(line, ended)
    return 0


def _wait_for_end(line: Line, kernel: int, disk: DiskWatch) -> dict[str, Any]:
    """Wait until the kernel ends, or is to end; returns what is to be reported. Buries all others.

    While no service is there, who fills the disk is to end.
    """
    why: dict[str, Any] = {}
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == kernel:
                    return {"status": ended[1], **why}
        happened = line.wait(wake, timeout_s=disk.wait_s if line.is_alone else None)
        if wake in happened:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
        if "joined" in happened:
            line.send(event="waiting")
        if "packet" in happened:
            line.receive()
        if "over" in happened:
            os.kill(kernel, signal.SIGKILL)
        if not line.is_alone:
            disk.rest()
        elif disk.is_too_much():
            why = {"cause": "disk", "fitted_ns": disk.fitted_ns}
            os.kill(kernel, signal.SIGKILL)


def _report(line: Line, ended: dict[str, Any]) -> None:
    """Tell how the kernel has ended, until somebody has heard it or nobody will."""
    line.send(event="exited", **ended)
    while not line.over:
        happened = line.wait()
        if "joined" in happened:
            line.send(event="waiting")
            line.send(event="exited", **ended)
        if "packet" in happened:
            line.receive()


def _kernel(channel: socket.socket, backend: Backend, request: dict[str, Any]) -> NoReturn:
    """Be the kernel until it ends."""
    status = 1
    try:
        os.setsid()
        os.nice(_CPU_NICE)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
        signal.set_wakeup_fd(-1)
        os.umask(0o022)
        backend.confine_kernel(request)
        places = backend.places(request)
        os.chdir(places.work)
        _send(channel, event="forked")
        _wait_for_go(channel)
        if request["key"] is None:  # a trial
            backend.check(request)
            _send(channel, event="ready")
            os._exit(0)
        from kernel_startup.app import start_app

        app = start_app(
            key=request["key"],
            sockets=request["sockets"],
            output_chars=request["output_chars"],
            places=places,
            own_system=backend.has_namespaces,
        )
        _send(channel, event="ready")
        channel.close()
        app.start()
        status = 0
    except BaseException as error:
        with contextlib.suppress(OSError):
            _send(channel, event="failed", reason=_reason(error))
    finally:
        os._exit(status)


def _detach_streams(keep: Collection[int]) -> None:
    """Close what was inherited but ``keep``; standard streams lead nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor not in keep:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _send(channel: socket.socket, **message: Any) -> None:
    channel.send(json.dumps(message).encode())


def _wait_for_go(channel: socket.socket) -> None:
    if not channel.recv(_MESSAGE_BYTES):
        os._exit(1)  # the service has gone or given up on this kernel


if __name__ == "__main__":
    main()
