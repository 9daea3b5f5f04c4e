"""KernelClient: the connections to one kernel, and its messages as they can be trusted.

Speaks the Jupyter messaging protocol, version 5.4, through jupyter_client's client, on connections
of our own (``zmtp.py``). Every message comes from a process that runs hostile code.

Source: Jupyter client documentation, "Messaging in Jupyter".
"""

import time
from collections.abc import Mapping
from typing import Any, TypeAlias

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.session import Session as MessageSession
from traitlets import Type

from interpreter.hosts.base import HostedKernel
from interpreter.logs import get_logger
from interpreter.zmtp import Connection, Intake, Share, open_socket

log = get_logger(__name__)

#: A larger message ends the connection: nothing honest sends one. Replies can be large too: the
#: message of an exception is in them, and the completions of a dictionary's keys are.
MAX_MESSAGE_BYTES = 24 << 20
#: Questions are short.
_MAX_QUESTION_BYTES = 2 << 20
#: More than this is read only of what is shown or drawn; other messages of ours are far smaller.
_CONTENT_BYTES = 1 << 20
#: Of a message's header, parent and metadata; ours have a few hundred bytes each.
_HEADER_BYTES = 1 << 16
#: Frames of one message: five, and buffers that nothing here asks for.
_MOST_FRAMES = 16
#: Values in one message. Small ones become large in memory: 24 MB of ``[],`` would be a gigabyte.
_MOST_VALUES = 1_000_000
#: Of messages, as ``order_of`` has it: microseconds, of some 30,000 years.
_MOST_NUMBER = 10**18

SHOWN_TYPES = frozenset({"display_data", "update_display_data", "execute_result"})
_LARGE_TYPES = SHOWN_TYPES | {"picture_reply"}

Message: TypeAlias = Mapping[str, Any]


def connection_info(hosted: HostedKernel) -> Any:
    """A kernel's connection as jupyter_client's classes take it."""
    return {**hosted.connection, "key": str(hosted.connection["key"]).encode()}


def order_of(message_id: str) -> int:
    """A number that is higher for the later of two messages to one kernel; -1 for nonsense."""
    number = message_id.rpartition("_")[2]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 20 else -1


class _Channel:
    """One of a client's channels, as jupyter_client uses them."""

    def __init__(self, connection: Connection, session: MessageSession, loop: object) -> None:
        self.connection = connection
        self._session = session

    def start(self) -> None:
        """Nothing to do: it is connected, and the kernel's own object reads from it."""

    def stop(self) -> None:
        """Close the connection."""
        self.connection.close()

    def is_alive(self) -> bool:
        """Whether the connection is neither broken nor closed."""
        return self.connection.alive

    def send(self, message: dict[str, Any]) -> None:
        """Send a message at once or as soon as the kernel takes it; never waits."""
        self.connection.send(self._session.serialize(message))


class KernelClient(AsyncKernelClient):
    """jupyter_client's client on connections of ours instead of libzmq's.

    All but iopub give the session's id as their identity: by it the kernel finds the stdin
    connection of whoever sent the cell.
    """

    # jupyter_client's annotations name libzmq's class, but any that has these methods will do.
    shell_channel_class = Type(_Channel)  # type: ignore[assignment]  # see above
    iopub_channel_class = Type(_Channel)  # type: ignore[assignment]
    stdin_channel_class = Type(_Channel)  # type: ignore[assignment]
    control_channel_class = Type(_Channel)  # type: ignore[assignment]

    def __init__(self, hosted: HostedKernel, intake: Intake, identity: str | None = None) -> None:
        """Get ready; ``start_channels`` connects.

        Args:
            hosted: the kernel.
            intake: shared by all kernels of the service.
            identity: of a connection of before that this one takes the place of.
        """
        super().__init__()
        if identity is not None:
            self.session.session = identity
        # So no id comes twice, though there be several services, all of one identity and one pid;
        # and the later of two messages has the higher number.
        self.session.message_count = time.time_ns() // 1000
        self.load_connection_info(connection_info(hosted))
        self.connections: dict[str, Connection] = {}
        self._pid = hosted.pid
        self.share = Share(intake)

    def connect_iopub(self, identity: bytes | None = None) -> Any:
        """Called by jupyter_client; its own asks libzmq for a subscription."""
        return self._create_connected_socket("iopub", identity)

    def _create_connected_socket(self, channel: str, identity: bytes | None = None) -> Any:
        """Called by jupyter_client for each channel that is started."""
        path = f"{self.ip}-{getattr(self, channel + '_port')}"
        self.connections[channel] = connection = Connection(
            open_socket(path, pid=self._pid),
            "SUB" if channel == "iopub" else "DEALER",
            share=self.share,
            most_bytes=_MAX_QUESTION_BYTES if channel == "stdin" else MAX_MESSAGE_BYTES,
            identity=identity or b"",
        )
        return connection

    @property
    def identity(self) -> str:
        """By which the kernel knows this connection, and any later one in its place."""
        return str(self.session.session)

    def number_after(self, last: int) -> None:
        """Give what is sent from now on higher numbers: the clock may have been set back."""
        if last < _MOST_NUMBER:  # one that a kernel has invented would leave none that count
            self.session.message_count = max(self.session.message_count, last + 1)

    def message(self, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """A message of ours, to be sent."""
        message: dict[str, Any] = self.session.msg(kind, dict(content))
        return message

    def parse(self, frames: list[bytes]) -> Message | None:
        """A message with its content still in bytes; None if it can't be one."""
        try:
            _, parts = self.session.feed_identities(frames)
            if len(parts) > _MOST_FRAMES or any(len(p) > _HEADER_BYTES for p in parts[1:4]):
                raise ValueError("out of all proportion")
            message: dict[str, Any] = self.session.deserialize(parts, content=False)
        except Exception as error:  # whatever hostile bytes can provoke in the parsers
            log.debug("a kernel sent an unreadable message", reason=type(error).__name__)
            return None
        return message

    def content(self, message: Message) -> Message:
        """The content of a message that is meant for us.

        Raises:
            ValueError: it would take too much to read, or is no object.
        """
        packed: bytes = message["content"]
        if len(packed) > _CONTENT_BYTES:
            if message["header"]["msg_type"] not in _LARGE_TYPES:
                raise ValueError("larger than any of its type")
            if packed.count(b",") + packed.count(b"[") + packed.count(b"{") > _MOST_VALUES:
                raise ValueError("more values than anything shows")
        content = self.session.unpack(packed)
        if not isinstance(content, dict):
            raise ValueError("no object")
        return content
