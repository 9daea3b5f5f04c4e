"""The scripted server itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiohttp import web

from tests.openai_server.replies import Call, Chunks, Failure, Reply, Words, python_call
from tests.openai_server.requests import ChatRequest, violations

Answer: TypeAlias = Callable[[ChatRequest], Reply | str | Awaitable[Reply | str]]


@dataclass(slots=True)
class _Scripted:
    answer: Answer
    to: str | None


class OpenAIServer:
    """Answers requests with what the test has queued, in that order.

    Every request is checked as OpenAI's server would; one that it would refuse fails the test at
    the end, and so does one that nothing was scripted for.

    Attributes:
        requests: all that came, the oldest first.
        unknown: parameters that this server refuses, as older and newer ones do.
        streams: whether it can stream; if not, it answers with the whole all the same.
        streams_tools: whether it takes a stream together with tools.
        came: a request came; tests clear it.
        problems: what was wrong with requests; tests that want such clear it.
    """

    def __init__(self) -> None:
        """Use :meth:`open`."""
        self.requests: list[ChatRequest] = []
        self.unknown: set[str] = set()
        self.streams = True
        self.streams_tools = True
        self.came = asyncio.Event()
        self.problems: list[str] = []
        self._queue: list[_Scripted] = []
        self._otherwise: Answer | None = None
        self._port = 0

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["OpenAIServer"]:
        """Serve on a free port of loopback until the context ends.

        Raises:
            AssertionError: at the end: a request broke the protocol, or was not expected.
        """
        server = cls()
        application = web.Application(client_max_size=64 << 20)
        application.router.add_post("/v1/chat/completions", server._complete)
        application.router.add_get("/v1/models", server._models)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            server._port = runner.addresses[0][1]
            yield server
        finally:
            await runner.cleanup()
        assert not server.problems, server.problems

    @property
    def base_url(self) -> str:
        """What OPENAI_BASE_URL is to be."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def last(self) -> ChatRequest:
        """The latest request."""
        return self.requests[-1]

    @property
    def left(self) -> int:
        """How many scripted replies nobody asked for yet."""
        return len(self._queue)

    # -- the script ----------------------------------------------------------------------------
    # ``to`` keeps a reply for a request whose question holds these words: for several users.

    def say(self, text: str, *, to: str | None = None, **how: Any) -> None:
        """Answer in words; see ``Words`` for how."""
        self.reply(Words(text=text, **how), to=to)

    def call(self, *codes: str, text: str = "", to: str | None = None, **how: Any) -> None:
        """Call ``execute_python_code`` properly, once for each code."""
        self.reply(Words(text=text, calls=tuple(map(python_call, codes)), **how), to=to)

    def call_tools(self, *calls: Call, text: str = "", to: str | None = None, **how: Any) -> None:
        """Call tools in any way at all."""
        self.reply(Words(text=text, calls=calls, **how), to=to)

    def empty(self) -> None:
        """Answer with nothing."""
        self.reply(Words())

    def refuse(self, text: str = "I can't help with that.") -> None:
        """Decline, as models do."""
        self.reply(Words(refusal=text))

    def filtered(self, text: str = "") -> None:
        """Cut the answer off, as content filters do."""
        self.reply(Words(text=text, finish="content_filter"))

    def fail(
        self,
        status: int,
        *,
        times: int = 1,
        message: str = "scripted",
        code: str | None = None,
        retry_after: str | None = None,
        raw: str | None = None,
    ) -> None:
        """Fail with a status of HTTP; 0 breaks the connection."""
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        for _ in range(times):
            self.reply(Failure(status=status, message=message, code=code, headers=headers, raw=raw))

    def too_long(self) -> None:
        """Say that the model can't read so much."""
        self.fail(
            400,
            code="context_length_exceeded",
            message="This model's maximum context length is 8192 tokens.",
        )

    def drop(self, text: str = "It is 4", *, after: int = 2, times: int = 1) -> None:
        """Break the connection in the middle of an answer."""
        for _ in range(times):
            self.reply(Words(text=text, drop_after=after))

    def hold(self, text: str = "Let me think about it.") -> asyncio.Event:
        """Begin an answer and go on with it when the event given is set."""
        gate = asyncio.Event()
        self.reply(Words(text=text, gate=gate))
        return gate

    def send(self, *chunks: Any) -> None:
        """Stream chunks exactly as given."""
        self.reply(Chunks(chunks))

    def reply(self, reply: Reply, *, to: str | None = None) -> None:
        """Queue any reply."""
        self._queue.append(_Scripted(lambda _: reply, to))

    def answer(self, answer: Answer, *, to: str | None = None) -> None:
        """Have the next request answered by a function, which gets it."""
        self._queue.append(_Scripted(answer, to))

    def otherwise(self, answer: Answer) -> None:
        """Have a function answer whatever nothing is queued for."""
        self._otherwise = answer

    # -- the wire ------------------------------------------------------------------------------

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "scripted"}]})

    async def _complete(self, http: web.Request) -> web.StreamResponse:
        body = await http.json()
        request = ChatRequest(body, {k.lower(): v for k, v in http.headers.items()})
        self.requests.append(request)
        self.came.set()
        if refused := self._refused(request):
            return self._failed(http, refused)
        if wrong := list(violations(body)):
            self.problems += wrong
            return self._failed(http, Failure(status=400, message="; ".join(wrong)))
        reply = await self._next(request)
        match reply:
            case Failure():
                return self._failed(http, reply)
            case Words() if not (request.wants_stream and self.streams):
                return await self._whole(request, reply)
            case _:
                return await self._stream(http, request, reply)

    def _refused(self, request: ChatRequest) -> Failure | None:
        for name in sorted(self.unknown & request.body.keys()):
            return Failure(
                status=400,
                message=f"Unsupported parameter: '{name}' is not supported with this model.",
                code="unsupported_parameter",
            )
        if request.wants_stream and request.tool_names and not self.streams_tools:
            return Failure(status=400, message="Cannot use tools with stream=true")
        return None

    async def _next(self, request: ChatRequest) -> Reply:
        for scripted in self._queue:
            if scripted.to is None or scripted.to in request.question:
                self._queue.remove(scripted)
                answer = scripted.answer
                break
        else:
            if self._otherwise is None:
                self.problems.append(f"nothing was scripted for {request.question!r}")
                return Failure(status=400, message="nothing is scripted")
            answer = self._otherwise
        reply = answer(request)
        if isinstance(reply, Awaitable):
            reply = await reply
        return Words(text=reply) if isinstance(reply, str) else reply

    def _failed(self, http: web.Request, failure: Failure) -> web.Response:
        if failure.status == 0:
            assert http.transport is not None
            http.transport.abort()
            return web.Response()
        headers = dict(failure.headers or {})
        if failure.raw is not None:
            return web.Response(
                status=failure.status, text=failure.raw, content_type="text/html", headers=headers
            )
        return web.json_response(failure.body(), status=failure.status, headers=headers)

    async def _whole(self, request: ChatRequest, reply: Words) -> web.Response:
        if reply.gate:
            await reply.gate.wait()
        choice = {"index": 0, "message": reply.message(), "finish_reason": reply.finish_reason}
        body = {**_frame(request, "chat.completion"), "choices": [choice]}
        if reply.usage:
            body["usage"] = usage_of(request, reply)
        return web.Response(
            text=json.dumps(body), content_type=reply.content_type or "application/json"
        )

    async def _stream(
        self, http: web.Request, request: ChatRequest, reply: Words | Chunks
    ) -> web.StreamResponse:
        content_type = getattr(reply, "content_type", None) or "text/event-stream"
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(http)
        try:
            if isinstance(reply, Chunks):
                for chunk in reply.chunks:
                    await _send(response, chunk)
            elif not await self._send_words(http, response, request, reply):
                return response
            await _send(response, "[DONE]")
            await response.write_eof()
        except ConnectionError:
            pass  # the client has left, as it may
        return response

    async def _send_words(
        self,
        http: web.Request,
        response: web.StreamResponse,
        request: ChatRequest,
        reply: Words,
    ) -> bool:
        """Send an answer piece by piece; False if it breaks off."""
        frame = _frame(request, "chat.completion.chunk")
        deltas = list(reply.deltas())
        for number, delta in enumerate(deltas[: reply.drop_after]):
            if number == reply.error_after:
                await _send(response, {"error": {"message": "overloaded", "code": "server_error"}})
                return False
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            await _send(response, {**frame, "choices": [choice]})
            if number == 1 and reply.gate:
                await reply.gate.wait()
        if reply.drop_after is not None:
            assert http.transport is not None
            http.transport.abort()
            return False
        last = {"index": 0, "delta": {}, "finish_reason": reply.finish_reason}
        await _send(response, {**frame, "choices": [last]})
        if reply.usage and request.wants_usage:
            await _send(response, {**frame, "choices": [], "usage": usage_of(request, reply)})
        return True


def usage_of(request: ChatRequest, reply: Words) -> dict[str, int]:
    """Tokens: a character of the conversation is one, so is one of the answer."""
    output = len(json.dumps(reply.message()))
    read = len(request.text)
    return {"prompt_tokens": read, "completion_tokens": output, "total_tokens": read + output}


def _frame(request: ChatRequest, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 0, "model": request.body["model"]}


async def _send(response: web.StreamResponse, chunk: object) -> None:
    text = chunk if isinstance(chunk, str) else json.dumps(chunk, ensure_ascii=False)
    await response.write(f"data: {text}\n\n".encode())
