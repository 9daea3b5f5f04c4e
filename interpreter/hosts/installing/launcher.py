"""Starts uv inside its sandbox; run by path with the kernels' base Python, standard library only.

In a network of its own it listens for uv on 127.0.0.1 there and hands the listening socket to the
service, whose proxy accepts on it. Without namespaces it gives up all files but uv's own.

    launcher.py listen CONTROL -- PROGRAM...
    launcher.py restrict STARTUP PORT READABLE WRITABLE -- PROGRAM...

CONTROL is the descriptor of a Unix socket to the service. STARTUP is the directory of landlock.py.
READABLE and WRITABLE are paths with line ends between. PORT is the proxy's, 0 for none.
"""

import os
import sys

_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def _listen(control: int) -> None:
    # The module below `socket`: importing that one would take longer than all the rest.
    import _socket

    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    port = listener.getsockname()[1]
    service = _socket.socket(fileno=control)
    descriptor = listener.fileno().to_bytes(4, sys.byteorder)
    service.sendmsg([b"listening"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor)])
    listener.close()
    service.close()
    token = os.environ.pop("PROXY_TOKEN")
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        os.environ[name] = f"http://uv:{token}@127.0.0.1:{port}"


def _restrict(startup: str, port: int, readable: list[str], writable: list[str]) -> None:
    sys.path.append(startup)
    import ctypes

    import landlock  # type: ignore[import-not-found]  # by its path: the package isn't there

    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    landlock.restrict(
        readable=readable,
        writable=writable,
        devices=_DEVICES,
        shared=(),
        connect_ports=[port] if port else [],
    )


def _main() -> None:
    mode, *words = sys.argv[1:]
    split = words.index("--")
    words, program = words[:split], words[split + 1 :]
    if mode == "listen":
        _listen(int(words[0]))
    else:
        startup, port, readable, writable = words
        _restrict(startup, int(port), readable.split("\n"), writable.split("\n"))
    os.execv(program[0], program)


if __name__ == "__main__":
    _main()
