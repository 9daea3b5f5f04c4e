"""What a scripted server answers: frozen values, and how each looks on the wire."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import uuid4


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as it stands in a reply.

    Attributes:
        name: of the tool.
        arguments: text as it is sent, or an object, which some servers send instead.
        call_id: None has the server give one; "" sends none.
        index: which of the calls it is; None counts; -1 sends none.
        whole: whether it comes in one piece, as from servers that don't stream calls.
    """

    name: str
    arguments: str | Mapping[str, Any]
    call_id: str | None = None
    index: int | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """An ordinary reply: words, calls, or both.

    Attributes:
        text: its words.
        calls: its calls.
        finish: the ``finish_reason``; None leaves the choice to what there is.
        refusal: what it says instead, where it declines.
        reasoning: what it thought, in a field of its own, as some servers send it.
        usage: whether the tokens are told.
        piece: how many characters come at a time.
        drop_after: after how many pieces the connection breaks; None for never.
        error_after: after how many pieces an error is sent instead of the rest; None for never.
        gate: awaited after the first piece, so that a test can hold the reply back.
        content_type: None for the right one.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    finish: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    usage: bool = True
    piece: int = 7
    drop_after: int | None = None
    error_after: int | None = None
    gate: asyncio.Event | None = None
    content_type: str | None = None

    @property
    def finish_reason(self) -> str:
        """As it is sent."""
        return self.finish or ("tool_calls" if self.calls else "stop")

    def deltas(self) -> Iterator[dict[str, Any]]:
        """The reply in pieces."""
        yield {"role": "assistant", "content": ""}
        for piece in _pieces(self.reasoning or "", self.piece):
            yield {"reasoning_content": piece}
        for piece in _pieces(self.text, self.piece):
            yield {"content": piece}
        for number, call in enumerate(self.calls):
            for delta in _call_deltas(number, call, self.piece):
                yield {"tool_calls": [delta]}
        for piece in _pieces(self.refusal or "", self.piece):
            yield {"refusal": piece}

    def message(self) -> dict[str, Any]:
        """The reply as a whole."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.calls:
            message["tool_calls"] = [_whole_call(call) for call in self.calls]
        if self.refusal:
            message["refusal"] = self.refusal
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        return message


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A refusal to answer.

    Attributes:
        status: of HTTP; 0 breaks the connection without a word.
        message, code, kind: of the error's JSON.
        headers: besides.
        raw: sent instead of JSON, such as a proxy's page.
    """

    status: int
    message: str = "scripted"
    code: str | None = None
    kind: str = "scripted_error"
    headers: Mapping[str, str] | None = None
    raw: str | None = None

    def body(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "error": {"message": self.message, "type": self.kind, "code": self.code, "param": None}
        }


@dataclass(frozen=True, slots=True)
class Chunks:
    """Chunks exactly as they are given, for what no other reply can say.

    Attributes:
        chunks: JSON values, or text that is sent as it is.
    """

    chunks: tuple[Any, ...]


Reply: TypeAlias = Words | Failure | Chunks


def _call_deltas(number: int, call: Call, piece: int) -> Iterator[dict[str, Any]]:
    whole = _whole_call(call)
    if call.index != -1:
        whole["index"] = number if call.index is None else call.index
    if call.whole or not isinstance(call.arguments, str):
        yield whole
        return
    arguments = call.arguments
    yield {**whole, "function": {"name": call.name, "arguments": ""}}
    for part in _pieces(arguments, piece):
        yield {"index": whole.get("index", 0), "function": {"arguments": part}}


def _whole_call(call: Call) -> dict[str, Any]:
    sent: dict[str, Any] = {
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
    call_id = f"call_{uuid4().hex[:20]}" if call.call_id is None else call.call_id
    if call_id:
        sent["id"] = call_id
    return sent


def _pieces(text: str, size: int) -> Iterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


def python_call(code: str) -> Call:
    """A proper call of ``execute_python_code``."""
    return Call("execute_python_code", json.dumps({"code": code}))
