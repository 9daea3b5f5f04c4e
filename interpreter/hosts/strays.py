"""Strays: kernels of an earlier service that nobody has adopted."""

import asyncio
import re
from collections.abc import Collection
from contextlib import suppress

from interpreter.hosts.control import ControlDirectory
from interpreter.hosts.held_process import HeldProcess
from interpreter.logs import get_logger

log = get_logger(__name__)

_KERNEL = re.compile(r"[0-9a-f]{16}")
_END_S, _KILLED_S = 10.0, 5.0


def strays_in(directory: ControlDirectory, *, but: Collection[str] = ()) -> list[str]:
    """The ids of the kernels that listen in the control directory; some may have ended.

    Args:
        directory: where their inits listen.
        but: the ids of those that somebody has.
    """
    return [name for name in directory.sockets() if _KERNEL.fullmatch(name) and name not in but]


async def end_strays(directory: ControlDirectory, *, but: Collection[str] = ()) -> list[str]:
    """End all kernels that listen in the control directory.

    Args:
        directory: where their inits listen.
        but: the ids of those that are to live.

    Returns:
        The ids of those that were there.
    """
    names = strays_in(directory, but=but)
    ended = await asyncio.gather(*(_end(directory, name) for name in names))
    found = [name for name, was_there in zip(names, ended, strict=True) if was_there]
    if found:
        log.info("kernels of an earlier service were ended", kernels=len(found))
    return found


async def _end(directory: ControlDirectory, name: str) -> bool:
    try:
        channel = directory.connect(name)
    except (ConnectionRefusedError, FileNotFoundError):  # it has ended long ago
        directory.remove(name)
        return False
    except OSError as error:  # of ours: it may live, and be found again
        log.error("a kernel of an earlier service can't be spoken to", reason=str(error))
        return False
    init: HeldProcess | None = None
    channel.finish()
    try:
        async with asyncio.timeout(_END_S):
            while (message := await channel.receive()) is not None:
                init = init or HeldProcess.hold(message.pid)
            if init is not None:  # its descriptors are closed before it ends
                await init.ended()
    except TimeoutError:
        log.warning("a kernel of an earlier service does not end", kernel_id=name)
        if init is None or not await _killed(init):
            return True  # it stays where the next service finds it
    finally:
        channel.close()
        if init is not None:
            init.close()
    directory.remove(name)
    return True


async def _killed(init: HeldProcess) -> bool:
    """Kill an init; tells whether it has ended then."""
    init.kill()
    with suppress(TimeoutError):
        async with asyncio.timeout(_KILLED_S):
            await init.ended()
            return True
    return False
