"""AdminServer: the service's end of the admin socket."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpreter.admin.attachments import Attachments, Patience
from interpreter.admin.deeds import Deeds
from interpreter.admin.protocol import (
    MOST_REQUEST_BYTES,
    BadRequest,
    Request,
    encode_answer,
    encode_refusal,
)
from interpreter.admin.sockets import (
    ADMIN_SOCKET,
    CONTROL,
    Peer,
    listen_in,
)
from interpreter.errors import InterpreterError
from interpreter.hosts.base import KernelHost
from interpreter.hosts.control import make_private_directory
from interpreter.logs import get_logger
from interpreter.metrics import Metrics
from interpreter.records import RecordStore
from interpreter.zmtp import Intake

if TYPE_CHECKING:
    from interpreter.sessions import Session

log = get_logger(__name__)

_MOST_CLIENTS = 16
#: Who asks nothing for so long, or takes no answer, is hung up on.
_ASK_S, _TAKE_S = 300.0, 10.0
#: How long a client waits for what it asked for; what takes longer goes on.
_DEED_S = 60.0
_NOT_YOURS = "Only root, and the account that the service runs as, may do this."
_TOO_MANY = "Too many admins are connected; try again later."
_TOO_LONG = "The request is too long."
_GOES_ON = "This takes long and goes on by itself; `kernels list` shows what comes of it."
_FAILED = "Something went wrong in the service; its log says what."


class AdminServer:
    """Answers admins who connect to ``control/admin`` in the data directory."""

    def __init__(self, deeds: Deeds, on_stop: Callable[[], None]) -> None:
        """Use :meth:`open`."""
        self._deeds = deeds
        self._on_stop = on_stop
        self._clients: set[asyncio.Task[None]] = set()
        self._going_on: set[asyncio.Task[dict[str, Any]]] = set()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        data_dir: Path,
        *,
        records: RecordStore,
        host: KernelHost,
        intake: Intake,
        sessions: Callable[[], "Sequence[Session]"],
        spares: Callable[[], int],
        metrics: Metrics,
        on_stop: Callable[[], None],
        patience: Patience | None = None,
    ) -> AsyncIterator[None]:
        """Answer admins for as long as the context lasts.

        A service that can't open the socket goes on without it.

        Args:
            data_dir: of the service.
            records: where the audit log is.
            host: where kernels run.
            intake: shared by all that reads from kernels.
            sessions: gives all sessions there are.
            spares: says how many kernels are ready for newcomers.
            metrics: the service's.
            on_stop: called when the service is to end, with all of its kernels.
            patience: how long attachments stay.
        """
        control = data_dir / CONTROL
        try:
            make_private_directory(control)
            listening = listen_in(control, ADMIN_SOCKET)
        except OSError as error:
            log.warning("admins can't connect to this service", reason=str(error))
            yield
            return
        async with Attachments.open(
            control, host=host, intake=intake, patience=patience
        ) as attachments:
            deeds = Deeds(
                records=records,
                host=host,
                sessions=sessions,
                spares=spares,
                metrics=metrics,
                attachments=attachments,
            )
            server = cls(deeds, on_stop)
            # Not asyncio's server for Unix sockets: on its way out that unlinks by the path it
            # was bound to, which is another by then.
            serving = await asyncio.start_server(
                server._serve, sock=listening, limit=MOST_REQUEST_BYTES
            )
            try:
                yield
            finally:
                serving.close()
                await server._close()
                with suppress(OSError):
                    (control / ADMIN_SOCKET).unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            peer = Peer.of(writer.get_extra_info("socket"))
            if not peer.may_administer:
                await _refuse(reader, writer, _NOT_YOURS)
            elif len(self._clients) > _MOST_CLIENTS:
                await _refuse(reader, writer, _TOO_MANY)
            else:
                await self._converse(reader, writer, peer)
        except (OSError, TimeoutError):
            pass  # it has gone, or hangs
        except asyncio.CancelledError:
            pass  # the service ends
        finally:
            self._clients.discard(task)
            writer.close()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer
    ) -> None:
        while True:
            try:
                async with asyncio.timeout(_ASK_S):
                    line = await reader.readline()
            except ValueError:  # StreamReader's word for a line that is too long
                return await _send(writer, encode_refusal(_TOO_LONG))
            if not line.endswith(b"\n"):
                return
            try:
                request = Request.decoded(line)
            except BadRequest as refusal:
                await _send(writer, encode_refusal(str(refusal)))
                continue
            await _send(writer, await self._answer(request, peer))
            if request.do == "stop":
                return self._on_stop()

    async def _answer(self, request: Request, peer: Peer) -> bytes:
        deed = asyncio.create_task(self._deeds.do(request, peer))
        self._going_on.add(deed)
        deed.add_done_callback(self._going_on.discard)
        await asyncio.wait({deed}, timeout=_DEED_S)
        if not deed.done():
            return encode_refusal(_GOES_ON)
        if deed.cancelled():
            return encode_refusal(_FAILED)
        error = deed.exception()
        if error is None:
            return encode_answer(deed.result())
        if isinstance(error, InterpreterError):
            return encode_refusal(str(error))
        log.error("an admin's request failed", do=request.do, exc_info=error)
        return encode_refusal(_FAILED)

    async def _close(self) -> None:
        waiting = [*self._clients, *self._going_on]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _refuse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sentence: str
) -> None:
    """Answer whatever a client asks with a sentence.

    Raises:
        TimeoutError: it asks nothing, or doesn't read.
    """
    # A connection that is closed with something unread may take the answer along.
    with suppress(ValueError):
        async with asyncio.timeout(_TAKE_S):
            await reader.readline()
    await _send(writer, encode_refusal(sentence))


async def _send(writer: asyncio.StreamWriter, line: bytes) -> None:
    """Answer.

    Raises:
        TimeoutError: the client doesn't read.
    """
    writer.write(line)
    async with asyncio.timeout(_TAKE_S):
        await writer.drain()


def end_this_program(opener: "asyncio.Task[Any] | None") -> None:
    """Have the program that the service is part of end, as a signal from outside would.

    Args:
        opener: the task that opened the service; cancelled where nothing takes the signal.
    """
    if signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, signal.SIG_IGN, None):
        if opener is not None:
            opener.cancel()
    else:
        os.kill(os.getpid(), signal.SIGTERM)
