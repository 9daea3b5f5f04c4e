"""How outputs and states leave the kernel: at once, in whatever thread they come about.

ipykernel hands each message to a thread, and waits for that thread four times in each cell so that
everything is sent before the cell is over. That waiting is most of what a small cell takes. Here
whoever has a message sends it, one at a time; so what was printed before something else is also
sent before it, without anybody waiting.
"""

import importlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context
from functools import partial
from operator import call
from types import FrameType
from typing import Any, TypeVar

import zmq
from ipykernel.iostream import BackgroundSocket, IOPubThread

T = TypeVar("T")

# As plain numbers, which are sooner put together than flags.
_MORE, _LAST = int(zmq.SNDMORE | zmq.DONTWAIT), int(zmq.DONTWAIT)
_EVENTS, _READABLE = int(zmq.EVENTS), int(zmq.POLLIN)
# The C module: the one above it makes an enum's member of each handler, by way of an exception.
_signal: Any = importlib.import_module("_signal")
_SIGINT = int(signal.SIGINT)

#: Gets the frames of each message that is sent, in order, before it goes; after an interrupt
#: perhaps once more. Must not raise.
OnMessage = Callable[[Sequence[bytes]], None]


class Publisher(IOPubThread):  # type: ignore[misc]  # ipykernel ships no types
    """The kernel's iopub socket, for all threads. It has no thread of its own.

    Attributes:
        thread: the one that looks after the socket meanwhile; ipykernel's streams ask for it.
        on_message: is told of each message, if there is anybody to be told.
    """

    def __init__(self, socket: Any, session: Any, thread: Any, *, has_pipe: bool) -> None:
        """Take over a bound socket.

        Args:
            socket: an XPUB.
            session: makes the message that greets a subscriber.
            thread: of ipykernel's, with a loop that has not been started.
            has_pipe: whether processes that a cell forks may send through this one, over loopback.
        """
        self.socket = socket
        self.session = session
        self.thread = thread
        self.io_loop = thread.io_loop
        self.background_socket = BackgroundSocket(self)
        self.on_message: OnMessage | None = None
        self._master_pid = os.getpid()
        self._pipe_flag = has_pipe
        self._lock = threading.RLock()
        #: Whether the very thread that asks is at work here: then a finalizer has come in between.
        self.is_held: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]
        self._waiting: deque[Sequence[bytes]] = deque()
        self._rest: Iterator[Callable[[], object]] | None = None
        self._sending = self._interrupted = False
        self._main_thread = threading.main_thread().ident
        # Of the C class. The method above it is Python, between whose lines a signal can come.
        self._send_frame = super(zmq.Socket, socket).send  # type: ignore[misc]  # socket is Any
        if has_pipe:
            self._setup_pipe_in()
        self.watch(socket.FD, self._greet)

    def watch(self, descriptor: int, react: Callable[[], None]) -> None:
        """Have the thread call ``react`` whenever something can be read. Not once it runs."""

        def add() -> None:
            self.io_loop.add_handler(descriptor, lambda *_: react(), self.io_loop.READ)

        # Not in this thread's context: that has the parent of messages, which is another by then.
        Context().run(add)

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""

    def schedule(self, f: Callable[[], object]) -> None:
        """Do at once what ipykernel's own would do in its thread."""
        f()

    def send_multipart(self, frames: Sequence[bytes], *_: Any, **__: Any) -> None:
        """Send a message."""
        if os.getpid() != self._master_pid:
            self._really_send(frames)  # to the kernel, which sends it
            return
        with self._lock:
            self._waiting.append(frames)
            if self._sending:
                return  # an object's end came in the midst of a message; that one goes on
            if threading.get_ident() != self._main_thread:
                self._send_waiting()
                return
            self.whole(self._send_waiting)

    def whole(self, send: Callable[[], T]) -> T:
        """Send something on the main thread. An interrupt meanwhile raises behind that."""
        before = _signal.getsignal(_SIGINT)
        try:
            _signal.signal(_SIGINT, self._keep_interrupt)
            return send()
        finally:
            if before is not None:  # else it isn't Python's
                _signal.signal(_SIGINT, before)
            if self._interrupted:
                self._interrupted = False
                signal.raise_signal(signal.SIGINT)

    def _keep_interrupt(self, signum: int, frame: FrameType | None) -> None:
        """Take an interrupt that comes in the midst of a message: it raises behind that.

        libzmq's binding looks for signals before it sends a frame, and after that, too. Nobody
        could tell afterwards whether the frame has gone, and a message that lacks one is no
        message.
        """
        self._interrupted = True

    def _send_waiting(self) -> None:
        self._sending = True
        try:
            while self._waiting or self._rest is not None:
                self._send_next()
        finally:
            self._sending = False
        self._greet()  # sending takes note of subscribers, and then nobody else is told

    def mark(self, frames: Sequence[bytes], look: Callable[[], T]) -> T:
        """Send a message, and look at something before, with nothing sent in between."""
        with self._lock:
            found = look()
            self.send_multipart(frames)
            return found

    def _send_next(self) -> None:
        """Send the first of those that wait, or the rest of it.

        Handlers of the user's for other signals may raise in any line of Python here, and after
        any frame. Half a message would garble all that follow. So what is left of it goes on from
        there, now or before the next one; and that a frame has been sent, or that the message is
        through, never has to be noted by a line of its own.
        """
        if self._rest is None:
            frames = self._waiting[0]
            if self.on_message is not None:
                self.on_message(frames)
            *first, last = frames
            steps: list[Callable[[], object]] = [
                partial(self._send_frame, frame, _MORE) for frame in first
            ]
            steps.append(partial(self._send_frame, last, _LAST))
            steps.append(self._waiting.popleft)
            steps.append(partial(setattr, self, "_rest", None))
            self._rest = iter(steps)
        deque(map(call, self._rest), maxlen=0)
        self._rest = None  # again: were the last step lost, this would go on for ever

    def _greet(self) -> None:
        """Welcome those that have subscribed."""
        with self._lock:
            while self.socket is not None and self.socket.get(_EVENTS) & _READABLE:
                self._handle_subscription(self.socket.recv_multipart(zmq.DONTWAIT))

    def _send_welcome_message(self, subscription: str) -> None:
        """Called by ipykernel for each new subscription."""
        message = self.session.msg("iopub_welcome", {"subscription": subscription})
        topic = [subscription.encode()] if subscription else []
        self.send_multipart(self.session.serialize(message, topic))
