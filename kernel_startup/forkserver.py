"""The fork server: imports the heavy modules once, and forks a kernel whenever it is asked.

Runs inside the outer sandbox that the service has put around it (no network, a read-only system,
an empty environment). It has one thread, never runs a user's code, and hears only the service, over
a socket it was started with. Each request brings a socket for one kernel, and this way goes on:

    fork server ── fork ──> doorkeeper: enters the namespaces, forks, leaves
                                └─ fork ──> init (pid 1 of the sandbox): mounts, limits, gives up
                                            every privilege, waits for the kernel, reports its end
                                                └─ fork ──> the kernel

Messages are JSON in packets. To the server, with the kernel's socket attached:
``{"slot", "key", "limits", "output_chars"}``. From init: ``{"event": "confined"}``, then waits for
``{"go": true}`` (the service puts it into its control group meanwhile); at last
``{"event": "exited", "status": <wait status>}``. From the kernel: ``{"event": "forked"}``, then
waits for ``{"go": true}``; then ``{"event": "ready"}``. From either: ``{"event": "failed",
"reason"}``. The service learns the two processes' pids from the credentials that the system
attaches to their packets.
"""

import argparse
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

_MESSAGE_BYTES = 65_536
_CPU_NICE = 5


def main() -> None:
    """Serve until the service closes its end of the socket."""
    parser = argparse.ArgumentParser(description="Forks Cellmate kernels.")
    parser.add_argument("--socket", type=int, required=True, help="descriptor of the service")
    parser.add_argument("--uid", type=int, help="turn into this user first (when started as root)")
    options = parser.parse_args()
    if options.uid is not None:
        confine.become(options.uid, options.uid)
    confine.die_with_parent()
    server = socket.socket(fileno=options.socket)
    try:
        _preload()
    except Exception as error:
        _send(server, event="failed", reason=f"{type(error).__name__}: {error}")
        raise SystemExit(1) from error
    _send(server, event="serving", threads=len(os.listdir("/proc/self/task")))
    _serve(server)


def _preload() -> None:
    """Import what kernels need. Everything imported here is shared by all of them."""
    # The debugger costs a second and 30 MB, and nobody can attach to it from outside.
    sys.modules["debugpy"] = None  # type: ignore[assignment]
    import ipykernel.debugger  # noqa: F401

    del sys.modules["debugpy"]
    from kernel_startup import kernel, prelude  # noqa: F401

    prelude.preload()
    gc.collect()
    gc.freeze()


def _serve(server: socket.socket) -> None:
    while True:
        readable, _, _ = select.select([server], [], [], 5.0)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not readable:
            continue
        message, descriptors, _, _ = socket.recv_fds(server, _MESSAGE_BYTES, 4)
        if not message:
            return
        channel = socket.socket(fileno=descriptors[0])
        if os.fork() == 0:
            server.close()
            _run_child(channel, json.loads(message))
        channel.close()


def _run_child(channel: socket.socket, request: dict[str, Any]) -> NoReturn:
    """Be the doorkeeper, and in the processes below it the init and the kernel."""
    status = 1
    try:
        confine.enter_namespaces()
        if os.fork():
            os._exit(0)
        status = _init(channel, request)
    except BaseException as error:
        with contextlib.suppress(OSError):
            _send(channel, event="failed", reason=f"{type(error).__name__}: {error}")
    finally:
        os._exit(status)


def _init(channel: socket.socket, request: dict[str, Any]) -> int:
    """Build the sandbox around this process, start the kernel in it, and wait for its end."""
    limits = request["limits"]
    confine.mount_session(
        request["slot"], tmp_bytes=limits["tmp_bytes"], shm_bytes=limits["shm_bytes"]
    )
    confine.bring_up_loopback()
    confine.set_host_name("cellmate")
    confine.drop_privileges()
    confine.set_limits(limits)
    _detach_streams(channel.fileno())
    _send(channel, event="confined")
    _wait_for_go(channel)
    kernel = os.fork()
    if kernel == 0:
        _kernel(channel, request)
    confine.hide_memory()  # not earlier: the kernel would inherit it, and lose its own /proc/self
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except InterruptedError:
            continue
        if pid == kernel:
            _send(channel, event="exited", status=status)
            return 0


def _kernel(channel: socket.socket, request: dict[str, Any]) -> NoReturn:
    """Be the kernel until it ends."""
    status = 1
    try:
        os.setsid()
        os.nice(_CPU_NICE)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
        signal.set_wakeup_fd(-1)
        os.chdir("/work")
        os.umask(0o022)
        _send(channel, event="forked")
        _wait_for_go(channel)
        from kernel_startup import kernel

        app = kernel.start_app(key=request["key"], output_chars=request["output_chars"])
        _send(channel, event="ready")
        channel.close()
        app.start()
        status = 0
    except BaseException as error:
        with contextlib.suppress(OSError):
            _send(channel, event="failed", reason=f"{type(error).__name__}: {error}")
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


def _send(channel: socket.socket, **message: Any) -> None:
    channel.send(json.dumps(message).encode())


def _wait_for_go(channel: socket.socket) -> None:
    if not channel.recv(_MESSAGE_BYTES):
        os._exit(1)  # the service has gone or given up on this kernel


if __name__ == "__main__":
    main()
