"""The way to MongoDB: one that the operator runs, or the embedded server."""

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pymongo
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from interpreter.data_directory import DataDirectoryLock
from interpreter.embedded_server import EmbeddedServer, keep_server, refusals_in_words
from interpreter.errors import DatabaseUnavailable
from interpreter.settings import Settings

__all__ = ["DataDirectoryLock", "database_address", "one_call", "open_database", "unavailable"]

Database = AsyncDatabase[dict[str, Any]]
Client = AsyncMongoClient[dict[str, Any]]

_CONNECT_TIMEOUT_S = 5.0
# Bounds a whole call, with every further try that pymongo makes of it: a server that hangs has
# connections open on which it never answers, and a bound for each answer would count for each try.
_CALL_TIMEOUT_S = 5.0
_USER = "cellmate"
# Source: MongoDB manual, "Error Codes"; 8000 is Atlas's.
_UNAUTHORIZED, _AUTHENTICATION_FAILED, _ATLAS_ERROR = 13, 18, 8000


@asynccontextmanager
async def open_database(
    settings: Settings,
    on_progress: Callable[[str], None] | None = None,
    *,
    on_lost: Callable[[DatabaseUnavailable], None] | None = None,
) -> AsyncIterator[Database]:
    """Connect to the operator's MongoDB, or start the embedded server and connect to that.

    The embedded server lives as long as the ``async with``; what it stores stays. Should it end by
    itself, it is started again, and the connection finds it.

    Args:
        settings: Where the database is, or, without an address, which data directory to keep it in.
        on_progress: Called with a sentence when something takes long enough to be told.
        on_lost: Called each time that the embedded server has ended by itself. (That a MongoDB of
            the operator's is gone shows when it is used.)

    Raises:
        DatabaseUnavailable: It can't be reached within about 5 s, refuses us, or did not start.
        DataDirectoryInUse: Another service's embedded server uses the data directory.
        DataDirectoryUnusable: The embedded server's directory can't be made.
    """
    async with AsyncExitStack() as stack:
        if settings.mongodb_uri is not None:
            client = _connect(settings, settings.mongodb_uri.get_secret_value())
        else:
            client = await stack.enter_async_context(_embedded(settings, on_progress, on_lost))
        stack.push_async_callback(client.close)
        database = client[settings.mongodb_database]
        await _check(settings, database)
        yield database


def database_address(settings: Settings) -> str:
    """Which database it is, for people: never with a user name, a password or options."""
    if settings.mongodb_uri is None:
        return f"embedded in {str(settings.data_dir / 'database')!r}"
    scheme, _, rest = settings.mongodb_uri.get_secret_value().partition("://")
    # Up to the last @: a password that someone forgot to encode may hold any of these characters.
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def one_call() -> AbstractContextManager[None]:
    """Have all calls in a ``with`` share the time that one may take."""
    return pymongo.timeout(_CALL_TIMEOUT_S)


def unavailable(settings: Settings, error: Exception) -> DatabaseUnavailable:
    """Say in one sentence what one of pymongo's errors means; raise it ``from`` that error."""
    return DatabaseUnavailable(database_address(settings), _reason(settings, error))


def _reason(settings: Settings, error: Exception) -> str:
    detail = f" ({_detail(error)})"
    if _may_quote_password(settings):
        detail = "; any of : / ? [ ] @ % in the user name or password must be percent-encoded"
    match error:
        case ConnectionFailure() if settings.mongodb_uri is None:
            return (
                "its server does not answer; it is started again if it has ended, so try again "
                "in a moment"
            )
        case ServerSelectionTimeoutError():
            return f"nothing answered within {_CONNECT_TIMEOUT_S:g} s{detail}"
        case TimeoutError() | PyMongoError(timeout=True):
            return "it did not answer in time"
        case OperationFailure(code=code) if code in (_AUTHENTICATION_FAILED, _ATLAS_ERROR):
            return "it refused the user name or the password"
        case OperationFailure(code=code) if code == _UNAUTHORIZED:
            return "it wants a user name and a password, or grants this user too little"
        case ConnectionFailure():
            return f"the connection was lost{detail}"
        case _ if _may_quote_password(settings):
            return f"it can't be used{detail}"
        case _:
            return _detail(error)


def _may_quote_password(settings: Settings) -> bool:
    """Whether pymongo may take a piece of a password for a host, and name it in its errors."""
    uri = settings.mongodb_uri.get_secret_value() if settings.mongodb_uri else ""
    return not {"@", "/", "?"}.isdisjoint(uri.partition("://")[2].rpartition("@")[0])


def _detail(error: Exception) -> str:
    """What pymongo says, without the details of its configuration and topology."""
    text = re.split(r", Timeout: |, full error: | \(configured timeouts: ", str(error))[0]
    # asyncio's "[Errno 111] Connect call failed ('127.0.0.1', 27017)" says it for programmers.
    text = re.sub(r"\[Errno (\d+)\] [^,;(]*(\([^)]*\))?", lambda m: os.strerror(int(m[1])), text)
    return text.strip().rstrip(".") or type(error).__name__


def _connect(settings: Settings, uri: str, **options: Any) -> Client:
    try:
        return AsyncMongoClient(
            uri,
            tz_aware=True,
            appname="cellmate",
            serverSelectionTimeoutMS=int(_CONNECT_TIMEOUT_S * 1000),
            # Also how long it takes to notice that one which hung answers again.
            connectTimeoutMS=int(_CONNECT_TIMEOUT_S * 1000),
            timeoutMS=int(_CALL_TIMEOUT_S * 1000),
            **options,
        )
    except (PyMongoError, ValueError, TypeError, OSError) as error:
        # pymongo quotes the part it could not read, which may be half a password: with one in
        # the address, neither its words nor its traceback are passed on.
        detail = "" if "@" in uri else f" ({_detail(error)})"
        reason = (
            f"its address is not of the right form{detail}; "
            "it looks like mongodb://user:password@host:27017, with any of : / ? [ ] @ % in the "
            "user name or password percent-encoded"
        )
        raise DatabaseUnavailable(database_address(settings), reason) from None


async def _check(settings: Settings, database: Database) -> None:
    """Read something, which a server answers only if it is there and lets us in."""
    try:
        # pymongo's own limit doesn't cover looking up a mongodb+srv name.
        async with asyncio.timeout(_CONNECT_TIMEOUT_S + 1):
            await database["stored_files"].find_one({}, {"_id": True})
    except ConfigurationError as error:
        if "@" in (settings.mongodb_uri.get_secret_value() if settings.mongodb_uri else ""):
            raise unavailable(settings, error) from None
        raise unavailable(settings, error) from error
    except (PyMongoError, TimeoutError) as error:
        cause = None if _may_quote_password(settings) else error
        raise unavailable(settings, error) from cause


# --- embedded ---------------------------------------------------------------------------------


@asynccontextmanager
async def _embedded(
    settings: Settings,
    on_progress: Callable[[str], None] | None,
    on_lost: Callable[[DatabaseUnavailable], None] | None,
) -> AsyncIterator[Client]:
    directory = settings.data_dir / "database"

    def ended(reason: str) -> None:
        if on_lost is not None:
            on_lost(DatabaseUnavailable(database_address(settings), reason))

    with DataDirectoryLock(settings.data_dir, name=".database.lock"):
        if on_progress is not None:
            on_progress("Starting the embedded database.")
        with refusals_in_words(directory):
            password = await asyncio.to_thread(_read_password, directory)
        if password is None:
            password = await _first_start(settings, directory)
        async with keep_server(directory, on_ended=ended) as port:
            yield _connect_embedded(settings, port, username=_USER, password=password)


def _connect_embedded(settings: Settings, port: int, **options: Any) -> Client:
    uri = f"mongodb://127.0.0.1:{port}/"
    return _connect(settings, uri, directConnection=True, **options)


async def _first_start(settings: Settings, directory: Path) -> str:
    """Give the server its user, so that no other program of this machine gets in.

    It takes users only while it lets everybody in, so this start is apart from the next.
    """
    password = secrets.token_urlsafe(24)
    async with (
        EmbeddedServer.start(directory, require_password=False) as server,
        _connect_embedded(settings, server.port) as client,
    ):
        try:
            known = await client.admin.command("usersInfo", _USER)
            # A user without a password file is one of a first start that was cut short.
            command = "updateUser" if known["users"] else "createUser"
            await client.admin.command(command, _USER, pwd=password, roles=["root"])
        except PyMongoError as error:
            raise unavailable(settings, error) from error
    with refusals_in_words(directory):
        await asyncio.to_thread(_write_password, directory, password)
    return password


def _read_password(directory: Path) -> str | None:
    try:
        # Whoever removed what is stored, to start anew, removed the user with it.
        stored = (directory / "storage").is_dir()
        return ((directory / "password").read_text().strip() or None) if stored else None
    except FileNotFoundError:
        return None


def _write_password(directory: Path, password: str) -> None:
    path = directory / "password"
    path.touch(mode=0o600)
    path.write_text(password)
