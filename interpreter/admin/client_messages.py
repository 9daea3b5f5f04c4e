"""What Jupyter clients send to an attached kernel, without what would end it.

`exit` in a Jupyter console asks the kernel to shut down, which is not what an admin means who only
leaves; and ending a user's kernel is a deed of its own, which the audit log tells.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence

from interpreter.zmtp import Command, Decoder, encode_command, encode_message

#: Of one message: code that an admin sends is far smaller.
_MOST_BYTES = 8 << 20
_READ_BYTES = 64 << 10
_GREETING_BYTES = 64
#: Between a message's identities and its parts. Source: Jupyter, "The Wire Protocol".
_DELIMITER = b"<IDS|MSG>"
_HEADER_AFTER = 2


async def harmless(client: socket.socket) -> AsyncIterator[bytes]:
    """What a client sends on a channel for requests, piece by piece.

    Raises:
        OSError: the connection broke; as ``ConnectionBroken`` if the client speaks no ZMTP.
    """
    loop = asyncio.get_running_loop()
    decoder = Decoder(_MOST_BYTES)
    greeted = 0
    while greeted < _GREETING_BYTES:  # each end sends a part of it and waits for the other's
        received = await loop.sock_recv(client, _GREETING_BYTES - greeted)
        if not received:
            return
        greeted += len(received)
        decoder.feed(received)
        decoder.next()
        yield received
    while await receive(client, decoder):
        while True:
            item = decoder.next()
            if isinstance(item, Command):
                decoder.expects_ready = False  # the kernel is strict about what comes first
                yield encode_command(item.name, item.body)
            elif item is not None:
                if not _ends_the_kernel(item):
                    yield encode_message(item)
            elif decoder.wanted:
                decoder.grant()
            else:
                break


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


def _ends_the_kernel(frames: Sequence[bytes]) -> bool:
    try:
        header = json.loads(frames[frames.index(_DELIMITER) + _HEADER_AFTER])
        return bool(header["msg_type"] == "shutdown_request")
    except (ValueError, LookupError, TypeError, RecursionError):
        return False  # to the kernel it means nothing
