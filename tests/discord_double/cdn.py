"""Where attachments are downloaded from: links that expire."""

from datetime import UTC, datetime

from aiohttp import web

from tests.discord_double.faults import Faults
from tests.discord_double.world import World

_CHUNK = 64 << 10


class Cdn:
    """Serves what was attached."""

    def __init__(self, world: World, faults: Faults) -> None:
        """See ``DiscordDouble.open``."""
        self._world = world
        self._faults = faults

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register its routes."""
        for place in ("attachments", "ephemeral-attachments"):
            router.add_get(f"/{place}/{{channel_id}}/{{attachment_id}}/{{filename}}", self._get)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        fault = self._faults.take_cdn(request.path)
        if fault and fault.status > 0:
            return web.Response(status=fault.status)
        attachment = self._world.attachments.get(request.match_info["attachment_id"])
        if attachment is None or attachment.channel_id != request.match_info["channel_id"]:
            return web.Response(status=404, text="")
        if not self._is_signed(request) or attachment.filename != request.match_info["filename"]:
            return web.Response(status=404, text="This content is no longer available.")
        attachment.downloads += 1
        kind = attachment.content_type or "application/octet-stream"
        response = web.StreamResponse(headers={"Content-Type": kind})
        response.content_length = len(attachment.content)
        await response.prepare(request)
        half = len(attachment.content) // 2
        if fault:
            await response.write(attachment.content[:half])
            assert request.transport is not None
            request.transport.abort()
            return response
        for start in range(0, len(attachment.content), _CHUNK):
            await response.write(attachment.content[start : start + _CHUNK])
        await response.write_eof()
        self._world.changed()
        return response

    def _is_signed(self, request: web.Request) -> bool:
        """Whether the link is one that was given out, and not yet too old."""
        attachment_id = request.match_info["attachment_id"]
        try:
            expires = datetime.fromtimestamp(int(request.query["ex"], 16), UTC)
            signed = int(request.query["hm"], 16) == int(attachment_id)
        except (KeyError, ValueError):
            return False
        return signed and self._world.clock.now() < expires
