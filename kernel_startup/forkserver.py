"""The fork server: imports the heavy modules once, and forks a kernel whenever it is asked.

Runs inside the outer sandbox that the service has put around it (no network, a read-only system,
an empty environment), where the system allows such. It has one thread, never runs a user's code,
and hears only the service, over a socket it was started with. Each request brings a socket for one
kernel, and this way goes on:

    fork server ── fork ──> doorkeeper: enters the namespaces, forks, leaves
                                └─ fork ──> init (pid 1 of the sandbox): mounts, limits, gives up
                                            every privilege, waits for the kernel, reports its end
                                                └─ fork ──> the kernel

Without namespaces there is no doorkeeper, and the init itself ends what the kernel has left.

Messages are JSON in packets. To the server, first ``{"backend", "filters", "readable"}``, then for
each kernel an empty one with the kernel's socket attached. To init, over that socket: ``{"slot",
"sockets", "key", "limits", "output_chars", "uid"}``; the server itself, whose memory all kernels
inherit, never sees a key. From init: ``{"event": "confined"}``, then waits for ``{"go": true}``
(the service puts it into its control group meanwhile); at last ``{"event": "exited", "status":
<wait status>}``; when the service shuts its end for writing, the kernel is ended. From the kernel:
``{"event": "forked"}``, then waits for ``{"go": true}``; then ``{"event": "ready"}``. From either:
``{"event": "failed", "reason"}``. The service learns the two processes' pids from the credentials
that the system attaches to their packets.

Started with ``--trial`` it only tries to confine a process, and says how that went.
"""

import argparse
import base64
import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Any, NoReturn

from kernel_startup import confine
from kernel_startup.sandboxes import Backend

_MESSAGE_BYTES = 65_536
_CPU_NICE = 5
_POLL_S = 5.0
#: A doorkeeper that has left counts among its kernel's processes until it is buried.
_BURIAL_S = 0.1


def main() -> None:
    """Serve until the service closes its end of the socket."""
    parser = argparse.ArgumentParser(description="Forks Cellmate kernels.")
    parser.add_argument("--socket", type=int, required=True, help="descriptor of the service")
    parser.add_argument("--trial", action="store_true", help="only try to confine a process")
    options = parser.parse_args()
    confine.die_with_parent()
    server = socket.socket(fileno=options.socket)
    try:
        backend = _backend(json.loads(server.recv(_MESSAGE_BYTES)))
        if options.trial:
            return _serve(server, backend)
        _preload()
    except Exception as error:
        _send(server, event="failed", reason=_reason(error))
        raise SystemExit(1) from error
    _send(server, event="serving", threads=len(os.listdir("/proc/self/task")))
    _serve(server, backend)


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
    from kernel_startup import app, prelude

    prelude.preload()
    app.prepare()
    gc.collect()
    gc.freeze()


def _serve(server: socket.socket, backend: Backend) -> None:
    children = 0
    while True:
        # Doorkeepers leave at once; without namespaces the children are inits, which stay.
        poll_s = _BURIAL_S if children and backend.has_namespaces else _POLL_S
        readable, _, _ = select.select([server], [], [], poll_s)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                children -= 1
        if not readable:
            continue
        message, descriptors, _, _ = socket.recv_fds(server, _MESSAGE_BYTES, 4)
        if not message:
            return
        channel = socket.socket(fileno=descriptors[0])
        if os.fork() == 0:
            server.close()
            _run_child(channel, backend)
        channel.close()
        children += 1


def _run_child(channel: socket.socket, backend: Backend) -> NoReturn:
    """Be the doorkeeper, and in the processes below it the init and the kernel."""
    status = 1
    try:
        request = json.loads(channel.recv(_MESSAGE_BYTES))
        backend.enter(request)
        status = _init(channel, backend, request)
    except BaseException as error:
        with contextlib.suppress(OSError):
            _send(channel, event="failed", reason=_reason(error))
    finally:
        os._exit(status)


def _init(channel: socket.socket, backend: Backend, request: dict[str, Any]) -> int:
    """Build the sandbox around this process, start the kernel in it, and wait for its end."""
    backend.confine_init(request)
    _detach_streams(channel.fileno())
    _send(channel, event="confined")
    _wait_for_go(channel)
    kernel = os.fork()
    if kernel == 0:
        _kernel(channel, backend, request)
    backend.harden_init()
    status = _wait_for_end(channel, kernel)
    backend.end_processes(request)
    _send(channel, event="exited", status=status)
    return 0


def _wait_for_end(channel: socket.socket, kernel: int) -> int:
    """Wait until the kernel ends, or is to end; returns its wait status. Buries all others."""
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # The kernel reads from the same socket until it is ready: only its end is for this process.
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    poll.register(channel, select.POLLRDHUP)
    while True:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == kernel:
                    return ended[1]
        for descriptor, event in poll.poll():
            if descriptor == wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)
            elif event:
                poll.unregister(channel)
                os.kill(kernel, signal.SIGKILL)


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


def _detach_streams(keep: int) -> None:
    """Close what was inherited but ``keep``; standard streams lead nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor != keep:
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
