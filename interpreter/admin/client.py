"""AdminClient: asks a running service, over the socket in its data directory."""

import asyncio
import json
import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from interpreter.admin.protocol import MOST_ANSWER_BYTES, Request
from interpreter.admin.sockets import ADMIN_SOCKET, CONTROL, Peer, connect_in
from interpreter.errors import InterpreterError

#: A little longer than the service itself lets anybody wait.
_ANSWER_S = 70.0


class NoService(InterpreterError):
    """No service can be asked.

    Attributes:
        data_dir: whose service it would be.
        reason: why not, as a sentence; "" if none is running.
    """

    def __init__(self, data_dir: Path, reason: str = "") -> None:
        super().__init__(data_dir, reason)
        self.data_dir = data_dir
        self.reason = reason

    def __str__(self) -> str:
        return self.reason or (
            f"No service is running in {str(self.data_dir)!r}. If yours keeps its data elsewhere, "
            "say where with DATA_DIR, in the environment or in .env."
        )


class Refused(InterpreterError):
    """The service did not do what it was asked for; says in a sentence why."""


def who_may_ask(data_dir: Path) -> str:
    """Whom to be where this account may not ask: for root without its rights, as in a container,
    only whose directory it is helps.
    """
    if os.geteuid() != 0:
        return "root, or as the account that it runs as"
    try:
        owner = os.stat(data_dir).st_uid
        return f"{pwd.getpwuid(owner).pw_name!r}, which root may not act for here"
    except KeyError:
        return f"the account with id {owner}, which root may not act for here"
    except OSError:
        return "the account that it runs as, which root may not act for here"


class AdminClient:
    """A connection to a running service. Made by :meth:`connect`.

    Attributes:
        peer: the service's process.
    """

    def __init__(
        self, data_dir: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Use :meth:`connect`."""
        self._data_dir = data_dir
        self._reader = reader
        self._writer = writer
        self.peer = Peer.of(writer.get_extra_info("socket"))

    @classmethod
    @asynccontextmanager
    async def connect(cls, data_dir: Path) -> AsyncIterator["AdminClient"]:
        """Connect for as long as the context lasts.

        Raises:
            NoService: none is running, or this account may not ask it.
        """
        try:
            connected = await asyncio.to_thread(connect_in, data_dir / CONTROL, ADMIN_SOCKET)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            raise NoService(data_dir) from None
        except PermissionError:
            raise NoService(
                data_dir,
                f"The service in {str(data_dir)!r} doesn't answer this account: run this as "
                f"{who_may_ask(data_dir)}.",
            ) from None
        except OSError as error:
            reason = f"The service in {str(data_dir)!r} can't be asked: {error.strerror or error}."
            raise NoService(data_dir, reason) from error
        owner = os.stat(data_dir).st_uid
        if Peer.of(connected).uid not in (0, owner, os.geteuid()):
            connected.close()
            reason = (
                f"What answers in {str(data_dir)!r} belongs to another account than that "
                "directory, so it was asked nothing."
            )
            raise NoService(data_dir, reason)
        reader, writer = await asyncio.open_connection(sock=connected, limit=2 * MOST_ANSWER_BYTES)
        try:
            yield cls(data_dir, reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def ask(self, request: Request) -> dict[str, Any]:
        """Have something done; gives what came of it.

        Raises:
            Refused: it was not done.
            NoService: the service has ended, or doesn't answer.
        """
        try:
            self._writer.write(request.encoded())
            async with asyncio.timeout(_ANSWER_S):
                await self._writer.drain()
                line = await self._reader.readline()
            answer = json.loads(line) if line else None
        except TimeoutError:
            raise NoService(self._data_dir, "The service doesn't answer.") from None
        except (OSError, ValueError):
            answer = None
        if not isinstance(answer, dict):
            raise NoService(self._data_dir, "The service has ended.")
        if "error" in answer:
            raise Refused(str(answer["error"]))
        done: dict[str, Any] = answer["ok"]
        return done
