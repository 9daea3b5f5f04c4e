"""The kernel's stdout and stderr: ipykernel's streams, bounded for each cell.

A cell that prints a gigabyte costs a few hundred kilobytes on the wire: the head goes out as it
comes, then only the newest part is kept and the middle is counted. What C code and subprocesses
write to the file descriptors takes the same way, and has all arrived before the cell is idle.
"""

import codecs
import os
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from ipykernel.iostream import OutStream

from kernel_startup.alarm import Alarm

_PIPE_READ_BYTES = 65_536
_DRAIN_LIMIT_S = 1.0
#: Most characters that one stream message carries; a larger one would stall its reader.
_MESSAGE_CHARS = 32_768


class CellBudget:
    """How much one cell may print, over both streams together."""

    def __init__(self, max_chars: int) -> None:
        """Start with a full budget.

        Args:
            max_chars: characters sent as they come, and as many kept for the end.
        """
        self.max_chars = max_chars
        self.lock = threading.RLock()
        self.renew()

    def renew(self) -> None:
        """Begin a new cell."""
        with self.lock:
            self._head_left = self.max_chars
            self._tail: deque[tuple[CellStream, str]] = deque()
            self._tail_chars = 0
            self._left_out = 0

    def take(self, stream: "CellStream", text: str) -> str:
        """Account for ``text``; returns the part to send now."""
        if self._head_left >= len(text):  # without the lock: a race costs one piece too many
            self._head_left -= len(text)
            return text
        with self.lock:
            now, later = text[: self._head_left], text[self._head_left :]
            self._head_left -= len(now)
            if len(later) > self.max_chars:
                self._left_out += len(later) - self.max_chars
                later = later[-self.max_chars :]
            self._tail.append((stream, later))
            self._tail_chars += len(later)
            # Many tiny pieces would cost more than their characters: the pieces are bounded too.
            # An interrupt between these lines leaves counts that don't quite fit, but no more.
            while self._tail and (self._tail_chars > self.max_chars or len(self._tail) > 10_000):
                dropped = self._tail.popleft()[1]
                self._tail_chars -= len(dropped)
                self._left_out += len(dropped)
            return now

    def close(self) -> tuple[int, list[tuple["CellStream", str]]]:
        """End the cell; returns how many characters were left out, and the kept tail in order."""
        with self.lock:
            left_out, tail = self._left_out, list(self._tail)
            self.renew()
            return left_out, tail


class CellStream(OutStream):  # type: ignore[misc]  # ipykernel ships no types
    """One of the two streams of a kernel."""

    #: Shared by the two streams of a kernel; set by the kernel before it makes them.
    budget = CellBudget(400_000)
    #: Whether processes that a cell forks have a way to the kernel: ipykernel's, over loopback.
    has_pipe = True
    _fid: int | None
    _flush_pending: bool

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take the arguments of ipykernel's ``OutStream``."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._reading = threading.RLock()
        self._flushing = threading.RLock()
        super().__init__(*args, **options)
        self._in_message = self.pub_thread.is_held
        self._alarm = Alarm(self.pub_thread.watch, self.flush)

    def write(self, string: str) -> int | None:
        """Write text; what is past the cell's budget is kept for its end or left out."""
        if isinstance(string, str) and self._is_master_process():
            now = self.budget.take(self, string)
            if now:
                self._send_later(now)
            return len(string)
        if not self.has_pipe and isinstance(string, str):
            with suppress(OSError):
                _write_all(1 if self.name == "stdout" else 2, string.encode(errors="replace"))
            return len(string)
        written: int | None = super().write(string)
        return written

    def _send_later(self, text: str) -> None:
        for start in range(0, len(text), _MESSAGE_CHARS):
            super().write(text[start : start + _MESSAGE_CHARS])
            if len(text) > _MESSAGE_CHARS:
                self.flush()

    def close(self) -> None:
        """Flush, and stay open: a user's ``sys.stdout.close()`` must not silence later cells."""
        if self.pub_thread is not None:
            self.flush()

    def flush(self) -> None:
        """Send what was written so far. Takes turns: text mustn't overtake what another sends."""
        if not self._is_master_process():
            super().flush()
            return
        if self._in_message() or self._buffer_lock._is_owned():
            # An object's end came in the midst of a message, or of a write, and prints. Waiting for
            # another thread's turn here could be for ever, and the buffer is in use.
            self._alarm.set(self.flush_interval)
            return
        with self._flushing:
            self._flush_pending = False  # first: what is written from here on sets the alarm again
            if self._buffers:
                self._flush()

    def _schedule_flush(self) -> None:
        """Called by ipykernel when something was written: send it soon."""
        if not self._flush_pending:
            self._flush_pending = True
            try:
                self._alarm.set(self.flush_interval)
            except BaseException:  # an interrupt: who catches it may go on printing
                self._flush_pending = False
                raise

    def _setup_stream_redirects(self, name: str) -> None:
        """Called by ipykernel: take in what is written to the file descriptor.

        By the thread that there is already, instead of one for each stream.
        """
        self._fid, into = os.pipe()
        os.set_blocking(self._fid, False)
        self._original_stdstream_fd = getattr(sys, name).fileno()
        self._original_stdstream_copy = os.dup(self._original_stdstream_fd)
        os.dup2(into, self._original_stdstream_fd)
        self.pub_thread.watch(self._fid, self._take_in)

    def _take_in(self) -> bool:
        """Take in a piece of what was written to the file descriptor; False if there was none."""
        if self._fid is None:
            return False
        with self._reading:
            try:
                piece = os.read(self._fid, _PIPE_READ_BYTES)
            except OSError:
                return False
            self.write(self._decoder.decode(piece))
            return bool(piece)

    def drain(self) -> None:
        """Take in what C code and ended subprocesses wrote so far."""
        end = time.monotonic() + _DRAIN_LIMIT_S
        while self._take_in() and time.monotonic() < end:
            pass

    def send_left_out(self, count: int) -> None:
        """Tell the service that ``count`` characters were left out here."""
        self.session.send(
            self.pub_thread,
            "stream",
            {"name": self.name, "text": ""},
            metadata={"cellmate": {"left_out": count}},
            parent=self.parent_header,
            ident=self.topic,
        )


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def end_cell(stdout: Any, stderr: Any) -> None:
    """Send what is kept of a cell's output; called after its code has run.

    Args:
        stdout, stderr: the kernel's own streams; users may have replaced ``sys.stdout``.
    """
    for stream in (stdout, stderr):
        if isinstance(stream, CellStream):
            stream.drain()
    left_out, tail = CellStream.budget.close()
    if left_out:
        for stream in (stdout, stderr):  # what still waits there came before what was left out
            if isinstance(stream, CellStream):
                stream.flush()
        cut = tail[0][0] if tail else stdout
        if isinstance(cut, CellStream):
            cut.send_left_out(left_out)
    for stream, text in tail:
        stream._send_later(text)
        stream.flush()
