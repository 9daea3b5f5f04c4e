"""Relay: passes on what one end of a ZMTP connection says, message by message.

Each message is looked at on its way; what is passed on is encoded anew, so that no byte of either
end reaches the other one but in a message of bounded size.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeAlias

from interpreter.zmtp import (
    Command,
    ConnectionBroken,
    Decoder,
    Share,
    encode_command,
    encode_message,
)

#: Of one message: what an admin sends, and looks at, is far smaller.
MOST_BYTES = 8 << 20
_READ_BYTES = 64 << 10
_GREETING_BYTES = 64
#: Gets a message and gives what goes on in its place; None for nothing.
PassOn: TypeAlias = Callable[[Sequence[bytes]], Sequence[bytes] | None]


async def relay(
    connected: socket.socket, pass_on: PassOn, *, share: Share | None = None
) -> AsyncIterator[bytes]:
    """What is to be sent to the other end, piece by piece.

    Args:
        connected: to the end that speaks.
        pass_on: looks at each message.
        share: a kernel's part of the time for reading, where it is a kernel that speaks.

    Raises:
        OSError: the connection broke; as ``ConnectionBroken`` if it is no ZMTP, or out of bounds.
    """
    loop = asyncio.get_running_loop()
    decoder = Decoder(MOST_BYTES)
    greeted = 0
    while greeted < _GREETING_BYTES:  # each end sends a part of it and waits for the other's
        received = await loop.sock_recv(connected, _GREETING_BYTES - greeted)
        if not received:
            return
        greeted += len(received)
        decoder.feed(received)
        decoder.next()
        yield received
    while await receive(connected, decoder):
        more = True
        while more:
            if share is not None:
                await share.begin()
            began = time.monotonic()
            try:
                piece, more = _next(decoder, pass_on)
            finally:
                if share is not None:
                    share.end(time.monotonic() - began)
            if piece:
                yield piece


def _next(decoder: Decoder, pass_on: PassOn) -> tuple[bytes, bool]:
    """What is to be sent next, and whether to ask again before more is received."""
    item = decoder.next()
    if item is None:
        wanted = decoder.wanted > 0
        if wanted:
            decoder.grant()
        return b"", wanted
    if isinstance(item, Command):
        decoder.expects_ready = False  # both ends are strict about what comes first
        if item.name == b"ERROR":
            raise ConnectionBroken("it reported an error")
        return encode_command(item.name, item.body), True
    passed_on = pass_on(item)
    return (encode_message(passed_on) if passed_on else b""), True


async def receive(connected: socket.socket, decoder: Decoder) -> bool:
    """Take in what comes next; False at the end."""
    loop = asyncio.get_running_loop()
    rest = decoder.rest()
    if rest is not None:
        count = await loop.sock_recv_into(connected, rest)
        decoder.filled(count)
        return count > 0
    received = await loop.sock_recv(connected, _READ_BYTES)
    decoder.feed(received)
    return bool(received)
