"""A program in a terminal of its own, for tests: what is typed, what is seen, how it ends."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """A pseudo-terminal with a program in it."""

    def __init__(self, program: "subprocess.Popen[bytes]", master: int) -> None:
        self.program = program
        self._raw = ""
        self._master = master
        self._at = 0

    @property
    def seen(self) -> str:
        """All that was written so far, but for colours."""
        return _COLOURS.sub("", self._raw)

    def type(self, text: str) -> None:
        """Type keys."""
        os.write(self._master, text.encode())

    def expect(self, text: str, *, timeout_s: float = 30.0) -> str:
        """Read until the text is seen, after what was expected before; give all in between."""
        deadline = time.monotonic() + timeout_s
        while (found := self.seen.find(text, self._at)) < 0:
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"{text!r} was never seen in {self.seen[self._at :]!r}")
        between = self.seen[self._at : found]
        self._at = found + len(text)
        return between

    def ends(self, *, timeout_s: float = 30.0) -> int:
        """Wait for the program's end, reading on; give its exit status."""
        deadline = time.monotonic() + timeout_s
        while self._read(deadline - time.monotonic()):
            pass
        return self.program.wait(timeout=max(deadline - time.monotonic(), 1))

    def modes(self) -> list[object]:
        """How the terminal is set: echo, line by line, what Ctrl-C does."""
        return termios.tcgetattr(self._master)[:4]

    def _read(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(timeout_s, 0))
        if not ready:
            return False
        try:
            piece = os.read(self._master, 65_536)
        except OSError:  # the program has left
            return False
        self._raw += piece.decode(errors="replace")
        return bool(piece)


@contextmanager
def program_in_terminal(
    *words: str, cwd: Path, environment: dict[str, str] | None = None
) -> Iterator[Terminal]:
    """Run `python WORDS` in a terminal of 80 by 24 characters."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    program = subprocess.Popen(
        [sys.executable, *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=cwd,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(cwd),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TERM": "xterm-256color",
            "NO_COLOR": "1",
            # This terminal doesn't answer when it is asked where the cursor is.
            "PROMPT_TOOLKIT_NO_CPR": "1",
            **(environment or {}),
        },
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    try:
        yield Terminal(program, master)
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        os.close(master)
