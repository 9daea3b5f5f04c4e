"""ChatModel on OpenAI's chat completions, as OpenAI and many others serve them."""

import asyncio
import base64
import email.utils
import json
import random
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import openai
from pydantic import SecretStr

from bot.chat_model import ModelReply, ModelRequest, Tool, Usage
from bot.conversation import AssistantMessage, Message, Picture, ToolCall, ToolResult, UserMessage
from bot.errors import (
    BadModelRequest,
    ContextTooLong,
    ModelError,
    ModelKeyRefused,
    ModelUnavailable,
    UnknownModel,
)
from bot.reply_assembly import ReplyAssembly, tokens_of
from interpreter.logs import get_logger
from interpreter.terminal import encodable

log = get_logger(__name__)

OnText: TypeAlias = Callable[[str], None]
OnWait: TypeAlias = Callable[[str, float], None]

OPENAI_URL = "https://api.openai.com/v1"

_TRIES = 5
#: A server that was silent for a whole time-out is asked once more, not four times.
_TRIES_AFTER_TIMEOUT = 2
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 20.0
#: A server that wants to be left alone for longer is no use to the person who waits.
_LONGEST_RETRY_AFTER_S = 60.0
_CONNECT_S = 10.0
_DETAIL_CHARS = 500
_PICTURE_TOKENS = 1_000

_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:sk|gsk|xai|key)-[\w*.-]{6,}")
_TOO_LONG = re.compile(
    r"context.?(?:length|window|size)|maximum.?context|exceed_context|string_above_max_length"
    r"|too many (?:input )?tokens|(?:prompt|input) is too long",
    re.IGNORECASE,
)
_NO_CREDIT = re.compile(
    r"insufficient.?(?:quota|balance|funds|credit)|exceeded your current quota|billing"
    r"|payment.?required|out of credits?",
    re.IGNORECASE,
)
_UNSUPPORTED = re.compile(
    r"unsupported|not (?:supported|permitted|allowed)|(?:does not|doesn't) support|unknown"
    r"|unrecognized|unexpected|extra (?:inputs|fields)|invalid|(?:can't|cannot) use|at most 0",
    re.IGNORECASE,
)
_FILTER_CODES = frozenset({"content_filter", "content_policy_violation"})

_UNAVAILABLE = (
    "The language model can't be reached at the moment; please try again in a few minutes."
)
_BUSY = "The language model is too busy at the moment; please try again in a few minutes."
_SLOW = "The language model took too long to answer; please try again."
_KEY = "The language model refuses our key; only the operator of this bot can mend that."
_CREDIT = "The language model's account has no credit left; only the operator can mend that."
_UNKNOWN = "There is no language model {!r} here; choose another, or tell the operator of this bot."
_TOO_MUCH = "That is more than the language model can read at once; please ask for less."
_REFUSED = "The language model's server didn't accept the request; the operator's log says why."


@dataclass(frozen=True, slots=True)
class _Dialect:
    """What a server takes, as far as it is known: it is learned from what it refuses.

    Attributes:
        limit: what it calls the limit of an answer.
        swapped: whether that was tried the other way before.
        counts: whether it tells the tokens used at the end of a stream.
        streams: whether it streams at all.
        streams_calls: whether it streams where there are tools.
        sees: whether it takes pictures.
    """

    limit: str
    swapped: bool = False
    counts: bool = True
    streams: bool = True
    streams_calls: bool = True
    sees: bool = True


@dataclass(frozen=True, slots=True)
class _Failure:
    """A try that gave no answer.

    Attributes:
        error: what it means, if nobody tries again.
        again: whether trying again may help.
        after_s: how long the server wants to be left alone, if it says so.
        timed_out: whether it was silent for too long.
        status: of HTTP, 0 if there was none.
        said: what the server wrote.
    """

    error: ModelError
    again: bool = False
    after_s: float | None = None
    timed_out: bool = False
    status: int = 0
    said: str = ""


class OpenAIModel:
    """Asks a server that speaks OpenAI's protocol. Made by :meth:`open`."""

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        *,
        own_url: bool,
        secret: SecretStr,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Use :meth:`open`."""
        self._client = client
        self._secret = secret
        self._sleep = sleep
        # Others often know only the older name, and ignore the newer one: no limit at all.
        self._first = _Dialect("max_tokens" if own_url else "max_completion_tokens")
        self._dialects: dict[str, _Dialect] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        api_key: str | None,
        base_url: str | None,
        timeout_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> AsyncGenerator["OpenAIModel"]:
        """Make the client; its connections end with the context.

        Args:
            api_key: None for servers that want none.
            base_url: None for OpenAI's own.
            timeout_s: how long the server may be silent.
            sleep: how to wait between tries.
        """
        client = openai.AsyncOpenAI(
            api_key=api_key or "none",
            base_url=base_url or OPENAI_URL,
            timeout=openai.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
            max_retries=0,  # we wait ourselves, and say so
        )
        async with client:
            yield cls(
                client, own_url=base_url is not None, secret=SecretStr(api_key or ""), sleep=sleep
            )

    async def reply(
        self,
        request: ModelRequest,
        *,
        on_text: OnText | None = None,
        on_wait: OnWait | None = None,
    ) -> ModelReply:
        """Answer; see ``ChatModel.reply``."""
        tries = 0
        began = time.monotonic()
        while True:
            tries += 1
            outcome = await self._try(request, on_text, accept_unfinished=tries > 1)
            if isinstance(outcome, ModelReply):
                log.info(
                    "model answered",
                    model=request.model,
                    finish=outcome.finish,
                    calls=len(outcome.calls),
                    tokens=outcome.usage.total,
                    tries=tries,
                    took_s=round(time.monotonic() - began, 3),
                )
                return outcome
            if self._adapt(request, outcome):
                tries -= 1
                continue
            wait_s = _wait_s(tries, outcome)
            if wait_s is None:
                log.warning(
                    "model gave no answer",
                    model=request.model,
                    error=type(outcome.error).__name__,
                    detail=outcome.error.detail,
                    tries=tries,
                )
                # Not from the library's error: that one holds the request, with our key in it.
                raise outcome.error
            log.info(
                "model is asked again",
                model=request.model,
                detail=outcome.error.detail,
                wait_s=round(wait_s, 3),
            )
            if on_wait is not None:
                on_wait(f"{str(outcome.error).partition(';')[0]}.", wait_s)
            await self._sleep(wait_s)

    # -- one try -------------------------------------------------------------------------------

    async def _try(
        self, request: ModelRequest, on_text: OnText | None, *, accept_unfinished: bool
    ) -> ModelReply | _Failure:
        dialect = self._dialects.get(request.model, self._first)
        assembly = ReplyAssembly()
        try:
            async with aclosing(self._chunks(request, dialect)) as chunks:
                async for chunk in chunks:
                    if assembly.add(chunk) and on_text is not None and (text := assembly.text):
                        on_text(text)
        except openai.OpenAIError as error:
            if _is_filtered(error):
                return ModelReply(finish="refused")
            return self._failure(error, request)
        except ValueError as error:  # not JSON, not UTF-8: half an answer, or no such server
            return _broken(f"an answer that is no JSON: {type(error).__name__}")
        if not assembly.finished and not (accept_unfinished and assembly.begun):
            return _broken("an answer without an end")
        return assembly.reply(estimate=Usage(_read_tokens(request)))

    async def _chunks(
        self, request: ModelRequest, dialect: _Dialect
    ) -> AsyncGenerator[Mapping[str, Any]]:
        body = _body(request, dialect)
        completions: Any = self._client.chat.completions
        answer = await completions.create(**body)
        if not body.get("stream"):
            yield _json(answer)
            return
        async with answer:
            if "json" in answer.response.headers.get("content-type", ""):
                # It can't stream, and didn't say so.
                yield json.loads(await answer.response.aread())
                return
            async for chunk in answer:
                yield _json(chunk)

    # -- what went wrong -----------------------------------------------------------------------

    def _adapt(self, request: ModelRequest, failure: _Failure) -> bool:
        """Learn from a refusal how this server wants to be asked; False if there is nothing new."""
        dialect = self._dialects.get(request.model, self._first)
        learned = _learned(dialect, failure, pictures=any(_pictures(request)))
        if learned is None or learned == dialect:
            return False
        log.info("model's server takes less than it was sent", model=request.model)
        self._dialects[request.model] = learned
        return True

    def _failure(self, error: openai.OpenAIError, request: ModelRequest) -> _Failure:
        """What an exception of the library's means."""
        said = self._said(error)
        match error:
            case openai.APITimeoutError():
                return _Failure(ModelUnavailable(_SLOW, said), again=True, timed_out=True)
            case openai.APIConnectionError():
                return _Failure(ModelUnavailable(_UNAVAILABLE, said), again=True)
            case openai.APIStatusError():
                return _status_failure(error, said, request.model)
            case openai.APIError():  # in the middle of a stream, without a status
                if _TOO_LONG.search(said):
                    return _Failure(ContextTooLong(_TOO_MUCH, said), said=said)
                return _Failure(ModelUnavailable(_BUSY, said), again=True, said=said)
            case _:
                return _Failure(ModelError(_REFUSED, said))

    def _said(self, error: openai.OpenAIError) -> str:
        """What the server wrote, for the log: bounded and without our key."""
        text = str(error)
        body = getattr(error, "body", None)
        if isinstance(body, Mapping) and (more := str(body.get("code") or "")):
            text = f"{text} ({more})"
        elif isinstance(body, str) and body not in text:
            text = f"{text}: {body}"
        if isinstance(cause := error.__cause__, Exception):
            text = f"{text} [{type(cause).__name__}: {cause}]"
        if key := self._secret.get_secret_value():
            text = text.replace(key, "[key]")
        text = _LOOKS_LIKE_A_KEY.sub("[key]", " ".join(text.split()))
        return text[:_DETAIL_CHARS]


def _broken(detail: str) -> _Failure:
    return _Failure(ModelUnavailable(_UNAVAILABLE, detail), again=True)


def _status_failure(error: openai.APIStatusError, said: str, model: str) -> _Failure:
    status = error.status_code
    after_s = _retry_after_s(error.response.headers)

    def failure(kind: type[ModelError], sentence: str, *, again: bool = False) -> _Failure:
        return _Failure(kind(sentence, said), again, after_s, status=status, said=said)

    if status in {401, 402, 403, 429} and _NO_CREDIT.search(said):
        return failure(ModelKeyRefused, _CREDIT)
    if error.code == "model_not_found" or (status == 404 and "model" in said.lower()):
        return failure(UnknownModel, _UNKNOWN.format(model))
    if status in {401, 403}:
        return failure(ModelKeyRefused, _KEY)
    if status == 402:
        return failure(ModelKeyRefused, _CREDIT)
    if status == 413 or (status != 429 and _TOO_LONG.search(said)):
        return failure(ContextTooLong, _TOO_MUCH)
    if status == 408:
        return failure(ModelUnavailable, _SLOW, again=True)
    if status == 429:
        return failure(ModelUnavailable, _BUSY, again=True)
    if status in {409, 425} or status >= 500:
        return failure(ModelUnavailable, _UNAVAILABLE, again=True)
    return failure(BadModelRequest, _REFUSED)


def _learned(dialect: _Dialect, failure: _Failure, *, pictures: bool) -> _Dialect | None:
    """How to ask a server that has refused something; None if the refusal says nothing of it."""
    said = failure.said.lower()
    if not _UNSUPPORTED.search(said):
        return None
    # llama.cpp answers 500 to pictures; from others, 500 says nothing of what they take.
    takes_pictures = pictures and dialect.sees
    if takes_pictures and failure.status >= 400 and re.search(r"image|vision|multi-?modal", said):
        return replace(dialect, sees=False)
    if failure.status not in {400, 404, 415, 422, 501}:
        return None
    if named := re.search(r"max_(?:completion_)?tokens", said):
        if named[0] != dialect.limit or dialect.swapped:
            return None
        other = (
            "max_tokens" if dialect.limit == "max_completion_tokens" else "max_completion_tokens"
        )
        return replace(dialect, limit=other, swapped=True)
    if "stream_options" in said or "include_usage" in said:
        return replace(dialect, counts=False)
    if "stream" in said:
        if dialect.streams_calls:
            return replace(dialect, streams_calls=False)
        return replace(dialect, streams=False)
    return None


def _wait_s(tries: int, failure: _Failure) -> float | None:
    """How long to wait before the next try, in seconds; None if there is to be none."""
    most = _TRIES_AFTER_TIMEOUT if failure.timed_out else _TRIES
    if not failure.again or tries >= most:
        return None
    if failure.after_s is not None:
        return failure.after_s if failure.after_s <= _LONGEST_RETRY_AFTER_S else None
    # Jitter: everybody's turns broke off at the same moment, and mustn't come back at one.
    return min(_FIRST_WAIT_S * 2.0 ** (tries - 1), _LONGEST_WAIT_S) * random.uniform(0.5, 1.0)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long a server wants to be left alone. Source: RFC 9110, 10.2.3: seconds, or a date."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit_s
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    date = email.utils.parsedate_tz(headers.get("retry-after", ""))
    if date is None:
        return None
    at: float = email.utils.mktime_tz(date)
    return max(at - time.time(), 0.0)


def _is_filtered(error: openai.OpenAIError) -> bool:
    return isinstance(error, openai.APIError) and error.code in _FILTER_CODES


# -- what is sent ------------------------------------------------------------------------------


def _body(request: ModelRequest, dialect: _Dialect) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": request.model,
        "messages": list(_messages(request, sees=dialect.sees)),
        dialect.limit: request.max_output_tokens,
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if dialect.streams and (dialect.streams_calls or not request.tools):
        body["stream"] = True
        if dialect.counts:
            body["stream_options"] = {"include_usage": True}
    return body


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _messages(request: ModelRequest, *, sees: bool) -> Iterator[dict[str, Any]]:
    yield {"role": "system", "content": encodable(request.system)}
    seen: list[Picture] = []
    for message in request.messages:
        if seen and not isinstance(message, ToolResult):
            yield _shown(seen)
            seen = []
        if isinstance(message, ToolResult) and sees:
            seen += message.pictures
        yield _message(message, sees=sees)
    if seen:
        yield _shown(seen)


def _message(message: Message, *, sees: bool) -> dict[str, Any]:
    match message:
        case UserMessage():
            text = encodable(message.text)
            pictures = message.pictures if sees else ()
            content = [_text_part(text), *map(_picture_part, pictures)] if pictures else text
            return {"role": "user", "content": content}
        case ToolResult():
            text = encodable(message.text)
            return {"role": "tool", "tool_call_id": message.call_id, "content": text}
        case AssistantMessage():
            sent: dict[str, Any] = {"role": "assistant", "content": encodable(message.text)}
            if message.calls:
                sent["tool_calls"] = [_call(call) for call in message.calls]
            return sent


def _shown(pictures: list[Picture]) -> dict[str, Any]:
    """Pictures that cells made: the answers to calls themselves can only hold text."""
    text = _text_part("(Shown by the cells above; the user sees them as well.)")
    return {"role": "user", "content": [text, *map(_picture_part, pictures)]}


def _call(call: ToolCall) -> dict[str, Any]:
    # Some servers read what the model wrote once more, and fail where it is no JSON object.
    try:
        well_formed = isinstance(json.loads(call.arguments), dict)
    except ValueError:
        well_formed = False
    arguments = call.arguments if well_formed else json.dumps({"unreadable": call.arguments})
    name = re.sub(r"[^\w-]", "_", call.name, flags=re.ASCII)[:64] or "unnamed"
    return {
        "id": call.call_id,
        "type": "function",
        "function": {"name": name, "arguments": encodable(arguments)},
    }


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _picture_part(picture: Picture) -> dict[str, Any]:
    content = base64.b64encode(picture.content).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{picture.mime};base64,{content}"}}


def _pictures(request: ModelRequest) -> Iterator[Picture]:
    for message in request.messages:
        if not isinstance(message, AssistantMessage):
            yield from message.pictures


def _read_tokens(request: ModelRequest) -> int:
    """About how many tokens a server reads that doesn't count them itself."""
    texts = [request.system]
    for message in request.messages:
        texts.append(message.text)
        if isinstance(message, AssistantMessage):
            texts += (call.arguments for call in message.calls)
    return sum(map(tokens_of, texts)) + _PICTURE_TOKENS * sum(1 for _ in _pictures(request))


def _json(value: object) -> Mapping[str, Any]:
    """What the library has read, as the JSON it was: servers leave out what its types promise."""
    dump = getattr(value, "to_dict", None)
    read = dump(mode="json", warnings=False) if callable(dump) else value
    return read if isinstance(read, Mapping) else {}
