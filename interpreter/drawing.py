"""Drawing: a session's kernel makes pictures of what cells have shown in other forms."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from interpreter.errors import InterpreterError, PackagesDisabled
from interpreter.kernel import Kernel
from interpreter.logs import get_logger
from interpreter.packages import Installation
from interpreter.pictures import lacks_renderer, png_of_reply
from kernel_startup.picture_types import MOST_CONTENT_BYTES, RENDERERS, TIME_S, Kind, kind_of

log = get_logger(__name__)


class Drawing:
    """Has pictures drawn, one at a time, and what draws them installed when it is needed."""

    def __init__(
        self,
        user_id: str,
        *,
        live_kernel: Callable[[], Awaitable[Kernel]],
        install: Callable[[tuple[str, ...]], Awaitable[Installation]],
    ) -> None:
        """Get ready.

        Args:
            user_id: whose session it is.
            live_kernel: gives the session's kernel; starts one if there is none.
            install: installs packages for the user.
        """
        self._user_id = user_id
        self._live_kernel = live_kernel
        self._install = install
        self._not_to_be_had: set[Kind] = set()
        self._lock = asyncio.Lock()

    async def draw(self, content: bytes, mime: str) -> bytes | None:
        """See ``Session.picture``."""
        kind = kind_of(mime)
        if kind is None or not 0 < len(content) <= MOST_CONTENT_BYTES:
            return None
        began = time.monotonic()
        async with self._lock:  # one at a time: each may take a lot
            try:
                png = await self._draw(content.decode("utf-8", "replace"), mime, kind)
            except (TimeoutError, InterpreterError) as error:
                log.info("no picture drawn", user_id=self._user_id, reason=type(error).__name__)
                return None
        duration_s = round(time.monotonic() - began, 3)
        drawn = bool(png)
        log.info("picture", user_id=self._user_id, kind=kind, drawn=drawn, duration_s=duration_s)
        return png

    async def _draw(self, content: str, mime: str, kind: Kind) -> bytes | None:
        kernel = await self._live_kernel()
        make_do = kind in self._not_to_be_had
        reply = await kernel.picture(content, mime, time_s=TIME_S, make_do=make_do)
        if lacks_renderer(reply) and not make_do:
            make_do = not await self._get_renderer(kind)
            reply = await kernel.picture(content, mime, time_s=TIME_S, make_do=make_do)
        return png_of_reply(reply)

    async def _get_renderer(self, kind: Kind) -> bool:
        """Have what draws a kind of pictures installed. Returns False if it can't be had."""
        try:
            done = await self._install(RENDERERS.get(kind, ()))
        except (PackagesDisabled, ValueError):
            failed = True
        else:
            failed = bool(done.failed)
        if failed:
            self._not_to_be_had.add(kind)
        return not failed
