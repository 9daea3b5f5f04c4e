"""One request to the REST interface, read and taken apart."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from mimetypes import guess_type
from typing import Any

from aiohttp import BodyPartReader, web

from tests.discord_double.errors import Problem, invalid_form
from tests.discord_double.messages import Sent
from tests.discord_double.uploads import Upload


@dataclass(frozen=True, slots=True)
class Call:
    """A request.

    Attributes:
        template: the route, as the OpenAPI document writes it.
        params: the route's parts by name.
        payload: the JSON; None without a body.
        files: what came with it, by the number in ``files[n]``.
        size: of the body, in bytes.
    """

    method: str
    template: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    payload: Any = None
    files: Mapping[str, Upload] = field(default_factory=dict)
    size: int = 0

    @property
    def sent(self) -> Sent:
        """The body as a message."""
        return Sent(self.payload or {}, self.files, self.size)


async def read(request: web.Request, template: str) -> Call:
    """Take a request apart.

    Raises:
        ApiError: it isn't what it says that it is.
    """
    payload: Any = None
    files: dict[str, Upload] = {}
    size = 0
    if request.content_type.startswith("multipart/"):
        payload, files, size = await _read_multipart(request)
    elif request.can_read_body:
        raw = await request.read()
        size = len(raw)
        if raw:
            if request.content_type != "application/json":
                raise invalid_form(Problem("", f"Content-Type is {request.content_type!r}"))
            payload = _parse(raw)
    return Call(
        request.method,
        template,
        dict(request.match_info),
        dict(request.query),
        payload,
        files,
        size,
    )


async def _read_multipart(request: web.Request) -> tuple[Any, dict[str, Upload], int]:
    payload: Any = None
    files: dict[str, Upload] = {}
    size = 0
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        name = part.name or ""
        content = bytes(await part.read())
        size += len(content)
        if name == "payload_json":
            payload = _parse(content)
        elif name.startswith("files[") and name.endswith("]") and name[6:-1].isdecimal():
            # Discord goes by the name.
            kind = guess_type(part.filename or "")[0] or part.headers.get("Content-Type")
            if not part.filename:
                raise invalid_form(Problem(name, "the file has no name"))
            files[name[6:-1]] = Upload(part.filename, content, kind)
        else:
            raise invalid_form(Problem(name, "parts are payload_json and files[n]"))
    if payload is None:
        payload = {}
    return payload, files, size


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        raise invalid_form(Problem("", "The request body contains invalid JSON.")) from None
