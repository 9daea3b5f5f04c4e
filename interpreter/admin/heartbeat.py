"""The heartbeat channel of an attached kernel, answered by the service.

What comes is sent back. That says that the service lives, which knows at once when a kernel has
ended; so kernels need no thread for it.
"""

import asyncio
import socket

from interpreter.admin.relay import receive
from interpreter.zmtp import Command, ConnectionBroken, Decoder, encode_handshake, encode_message

#: A heartbeat has a few bytes.
_MOST_BYTES = 4096


async def answer_heartbeats(connected: socket.socket) -> None:
    """Send back what a client sends, until it leaves.

    Raises:
        OSError: the connection broke; as ``ConnectionBroken`` if the client speaks no ZMTP.
    """
    loop = asyncio.get_running_loop()
    decoder = Decoder(_MOST_BYTES)
    await loop.sock_sendall(connected, encode_handshake([(b"Socket-Type", b"REP")]))
    while await receive(connected, decoder):
        while (item := decoder.next()) is not None:
            if not isinstance(item, Command):
                await loop.sock_sendall(connected, encode_message(item))
            elif item.name == b"READY":
                decoder.expects_ready = False
            elif item.name == b"ERROR":
                raise ConnectionBroken("it reported an error")
