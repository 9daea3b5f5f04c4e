"""A process's connection with the service, where the system has no more descriptors."""

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel_startup import line
from kernel_startup.line import Line


@contextmanager
def _no_more_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_service_that_can_not_be_accepted_now_is_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "line")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen()
    ended = Line(ours, listener, orphan_s=3600, reads=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as service:
        theirs.close()
        assert ended.wait() == set()
        assert ended.is_alone
        service.connect(path)
        monkeypatch.setattr(line, "_PAUSE_S", 3600.0)
        with _no_more_descriptors():
            assert ended.wait() == set()
        assert ended.wait(timeout_s=0) == set(), "it is not asked again at once"
        monkeypatch.setattr(line, "_PAUSE_S", 0.05)
        while not (happened := ended.wait()):
            pass
        assert happened == {"joined"}
        service.send(b'{"orphan_s": 7}')
        assert ended.wait() == {"packet"}
        assert ended.receive() == ({"orphan_s": 7}, [])
    ended.close()
