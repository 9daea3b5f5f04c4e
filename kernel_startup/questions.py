"""Questions of a cell to the service, over the kernel's stdin channel: one at a time.

`input()` asks this way for a line, the import system for a package. Both may happen in any thread
of the user's, and an answer may come when nobody waits for it any more.

Source: Jupyter client documentation, "Messaging in Jupyter", messages on the stdin channel.
"""

import contextlib
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import zmq

#: How often to look whether the question still stands. A signal may have reached another thread.
_LOOK_MS = 50


class Questions:
    """Asks for a kernel."""

    def __init__(self, kernel: Any) -> None:
        """Ask by the stdin socket of ``kernel``, an ipykernel one."""
        self._kernel = kernel
        self._lock = threading.RLock()

    def ask(
        self,
        question: str,
        content: Mapping[str, Any],
        *,
        ident: Any,
        parent: Mapping[str, Any],
        stands: Callable[[], bool] = lambda: True,
    ) -> Mapping[str, Any] | None:
        """Send a question and wait for its answer, for as long as that takes.

        Args:
            question: its message type, ``x_request``; the answer's is ``x_reply``.
            content: of the message.
            ident: whom to ask: the identity of the sender of a cell.
            parent: the cell's message.
            stands: whether to go on waiting.

        Returns:
            The answer's content; None if the question stands no more.

        Raises:
            KeyboardInterrupt: on SIGINT, in the main thread.
        """
        _flush()
        while not self._lock.acquire(timeout=_LOOK_MS / 1000):
            if not stands():
                return None
        try:
            self._forget_late_answers()
            socket, session = self._kernel.stdin_socket, self._kernel.session
            asked = session.msg(question, dict(content), parent)
            answer = question.removesuffix("_request") + "_reply"
            # Kept before it is sent: a service that comes in between is to hear of it.
            with self._kernel.replay.question(session.serialize(asked)):
                self._send(lambda: session.send(socket, asked, ident=ident))
                while stands():
                    message = self._next_message()
                    if message is not None and _answers(message, answer, asked["header"]["msg_id"]):
                        found: Mapping[str, Any] = message["content"]
                        return found
            return None
        finally:
            self._lock.release()

    def _send(self, send: Callable[[], object]) -> None:
        """Send a question to its last frame: half a one would make the next unreadable."""
        if threading.current_thread() is threading.main_thread():
            self._kernel.iopub_thread.whole(send)
        else:
            send()

    def _forget_late_answers(self) -> None:
        with contextlib.suppress(zmq.Again):
            while True:
                self._kernel.stdin_socket.recv_multipart(zmq.NOBLOCK)

    def _next_message(self) -> Mapping[str, Any] | None:
        if not self._kernel.stdin_socket.poll(_LOOK_MS):
            return None
        try:
            message: Mapping[str, Any] | None = self._kernel.session.recv(
                self._kernel.stdin_socket
            )[1]
        except (ValueError, TypeError, zmq.ZMQError):  # not a message, or not from the service
            return None
        return message


def _answers(message: Mapping[str, Any], kind: str, question_id: str) -> bool:
    # Answers to input() don't say which question they are about.
    asked = message["parent_header"].get("msg_id", question_id)
    return bool(message["header"]["msg_type"] == kind and asked == question_id)


def _flush() -> None:
    """Show what was printed before the question; users may have put anything in place of these."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
