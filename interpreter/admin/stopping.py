"""Ending a service with all that it runs; and what is left of one that was killed."""

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from interpreter.admin.acting import acting_as_owner
from interpreter.admin.client import AdminClient, NoService, Refused, who_may_ask
from interpreter.admin.leftovers import clear_leftovers
from interpreter.admin.protocol import Request
from interpreter.admin.running import RunningService, find_service
from interpreter.admin.tables import span_text
from interpreter.errors import DataDirectoryInUse, DataDirectoryUnusable, InterpreterError
from interpreter.settings import Settings

#: How long running answers get to end, unless something else is asked for.
PATIENCE_S = 60.0
#: How long a service that is asked may take to answer,
_ASK_S = 10.0
#: to end at once when it is told a second time, and to be gone after being killed.
_AT_ONCE_S, _KILLED_S = 30.0, 10.0


class NotStopped(InterpreterError):
    """A service could not be ended; says in a sentence why."""


async def stop(settings: Settings, *, tell: Callable[[str], None], patience_s: float) -> None:
    """End the service of a data directory, and all that it or an earlier one has left running.

    Args:
        settings: as the service has them.
        tell: gets a sentence about each thing that is done.
        patience_s: how long running answers may take to end, in seconds.

    Raises:
        NotStopped: it goes on, or what is left can't be ended; says why.
        NoService: whether there is one can't be told.
    """
    data_dir = settings.data_dir
    running = find_service(data_dir)
    if running is not None:
        try:
            await _end(running, data_dir, tell=tell, patience_s=patience_s)
        finally:
            running.close()
    try:
        cleared = await _clear(settings, tell)
    except DataDirectoryInUse as error:
        raise NotStopped(
            f"A service is running in {str(data_dir)!r} again: something starts it whenever it "
            "ends, such as systemd or Docker. Stop it there."
        ) from error
    except (DataDirectoryUnusable, OSError) as error:
        reason = str(error).rstrip(".")
        raise NotStopped(
            f"Not all that a service has left in {str(data_dir)!r} could be ended: {reason}. Run "
            "this as root, or as the account that the directory belongs to."
        ) from error
    if running is None and not cleared:
        tell(f"No service is running in {str(data_dir)!r}, and nothing is left of one.")
    else:
        tell("Nothing is left running.")


async def _clear(settings: Settings, tell: Callable[[str], None]) -> bool:
    """End what is left, as the account that the service had; says whether there was anything."""
    if not await asyncio.to_thread(settings.data_dir.is_dir):
        return False
    with acting_as_owner(settings.data_dir):
        return await clear_leftovers(settings, tell=tell)


async def _end(
    running: RunningService, data_dir: Path, *, tell: Callable[[str], None], patience_s: float
) -> None:
    """End a service: ask it, tell it, kill it.

    Raises:
        NotStopped: this account may not, or it can't be killed.
    """
    began = time.monotonic()
    try:
        if not await _ask(running, data_dir, tell):
            tell(f"The service (process {running.pid}) can't be asked: sending it SIGTERM.")
            running.signal(signal.SIGTERM)
        if not await running.has_ended(patience_s):
            tell(f"It goes on after {span_text(patience_s)}: what still runs is cut off now.")
            running.signal(signal.SIGTERM)
            if not await running.has_ended(_AT_ONCE_S):
                tell("It doesn't end: killing it.")
                running.signal(signal.SIGKILL)
                if not await running.has_ended(_KILLED_S):
                    raise NotStopped(f"Process {running.pid} can't be killed: the system holds it.")
    except PermissionError as error:
        raise NotStopped(
            f"The service (process {running.pid}) can't be ended by this account: run this as "
            f"{who_may_ask(data_dir)}."
        ) from error
    tell(f"The service has ended, after {span_text(time.monotonic() - began)}.")


async def _ask(running: RunningService, data_dir: Path, tell: Callable[[str], None]) -> bool:
    """Ask a service to end; says whether it is going to."""
    with suppress(NoService, Refused, TimeoutError):
        async with asyncio.timeout(_ASK_S), AdminClient.connect(data_dir) as client:
            if client.peer.pid != running.pid:
                return False
            kernels = (await client.ask(Request("list")))["kernels"]
            how_many = "1 kernel" if len(kernels) == 1 else f"{len(kernels)} kernels"
            tell(f"Asking the service (process {running.pid}) to end, with its {how_many}.")
            await client.ask(Request("stop"))
            return True
    return False
