"""What a client asked, and what OpenAI's own server would have against it."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_DATA_URL = re.compile(r"data:image/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/]+=*")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request for a completion.

    Attributes:
        body: the JSON as it came.
        headers: with names in lower case.
    """

    body: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation, system prompt first."""
        return list(self.body["messages"])

    @property
    def system(self) -> str:
        """The system prompt."""
        return "\n".join(_text(m) for m in self.messages if m["role"] in {"system", "developer"})

    @property
    def question(self) -> str:
        """The text of the last message of a person."""
        return next((_text(m) for m in reversed(self.messages) if m["role"] == "user"), "")

    @property
    def last_result(self) -> str:
        """The text of the last tool result."""
        return next((_text(m) for m in reversed(self.messages) if m["role"] == "tool"), "")

    @property
    def text(self) -> str:
        """Everything that the model reads, but for pictures."""
        return "\n".join(_text(message) for message in self.messages)

    @property
    def pictures(self) -> list[str]:
        """The addresses of all pictures, in order."""
        return [
            part["image_url"]["url"]
            for message in self.messages
            for part in _parts(message)
            if part["type"] == "image_url"
        ]

    @property
    def tool_names(self) -> list[str]:
        """The tools that it may call."""
        return [tool["function"]["name"] for tool in self.body.get("tools", ())]

    @property
    def wants_stream(self) -> bool:
        """Whether it asked for pieces."""
        return bool(self.body.get("stream"))

    @property
    def wants_usage(self) -> bool:
        """Whether a stream is to end with the tokens used."""
        return bool((self.body.get("stream_options") or {}).get("include_usage"))


def violations(body: object) -> Iterator[str]:
    """What OpenAI's server would refuse a request for. Source: API reference, chat/create."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str) or not body["model"]:
        yield "you must provide a model parameter"
        return
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        yield "[] is too short - 'messages'"
        return
    open_calls: list[str] = []
    for index, message in enumerate(messages):
        role = message.get("role")
        if role not in {"system", "developer", "user", "assistant", "tool"}:
            yield f"messages[{index}].role {role!r} is not one of those allowed"
        if open_calls and role != "tool":
            yield f"tool_call_ids without an answer before messages[{index}]: {open_calls}"
            open_calls = []
        yield from _content_violations(index, message)
        if role == "tool":
            call_id = message.get("tool_call_id")
            if call_id not in open_calls:
                yield f"messages[{index}] answers {call_id!r}, which nothing before it called"
            else:
                open_calls.remove(call_id)
        elif role == "assistant" and "tool_calls" in message:
            open_calls = [call.get("id") for call in message["tool_calls"]]
            yield from _call_violations(index, message["tool_calls"])
    if open_calls:
        yield f"tool_call_ids without an answer at the end: {open_calls}"
    if "tools" in body and not body["tools"]:
        yield "[] is too short - 'tools'"
    if "tool_choice" in body and "tools" not in body:
        yield "tool_choice is only allowed when tools are specified"
    if "stream_options" in body and not body.get("stream"):
        yield "stream_options is only allowed when stream is enabled"


def _content_violations(index: int, message: Mapping[str, Any]) -> Iterator[str]:
    content = message.get("content")
    if content is None:
        if message.get("role") != "assistant" or not message.get("tool_calls"):
            yield f"messages[{index}].content is null"
    elif isinstance(content, list):
        if not content:
            yield f"messages[{index}].content is an empty list"
        for part in content:
            if part.get("type") == "image_url":
                if message["role"] != "user":
                    yield f"messages[{index}]: only users' messages may hold pictures"
                if not _DATA_URL.fullmatch(part["image_url"]["url"]):
                    yield f"messages[{index}] holds an invalid picture"
            elif part.get("type") != "text" or not isinstance(part.get("text"), str):
                yield f"messages[{index}] holds an invalid part"
    elif not isinstance(content, str):
        yield f"messages[{index}].content is neither text nor a list"


def _call_violations(index: int, calls: object) -> Iterator[str]:
    if not isinstance(calls, list) or not calls:
        yield f"messages[{index}].tool_calls is empty"
        return
    ids = [call.get("id") for call in calls]
    if len(set(ids)) < len(ids) or not all(isinstance(i, str) and 0 < len(i) <= 40 for i in ids):
        yield f"messages[{index}].tool_calls have ids that are no ids, or one twice: {ids}"
    for call in calls:
        function = call.get("function") or {}
        if call.get("type") != "function" or not _TOOL_NAME.fullmatch(str(function.get("name"))):
            yield f"messages[{index}] calls {function.get('name')!r}, which can't be a name"
        try:
            arguments = json.loads(str(function.get("arguments")))
        except ValueError:
            arguments = None
        # OpenAI takes any text here; llama.cpp and vLLM parse it, and fail where they can't.
        if not isinstance(arguments, dict):
            yield f"messages[{index}] holds a call whose arguments are no JSON object"


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in _parts(message) if part["type"] == "text")
