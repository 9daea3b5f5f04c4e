"""A model's reply, put together from what its server sends: pieces, or the whole at once. Pure.

Servers that speak OpenAI's protocol differ in what they leave out, so everything in a chunk is
taken as possibly missing, or of another type than it should be.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from bot.chat_model import ModelReply, Usage
from bot.conversation import ToolCall
from bot.thoughts import without_thoughts

Finish: TypeAlias = Literal["stop", "calls", "length", "filtered", "refused"]

_CUT_OFF = frozenset({"length", "max_tokens", "model_length"})
_FILTERED = frozenset({"content_filter", "safety", "recitation", "blocklist"})


@dataclass(slots=True)
class _Draft:
    """A call of which pieces are still to come."""

    index: object
    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class ReplyAssembly:
    """Takes chunks as JSON; gives the reply."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._drafts: list[_Draft] = []
        self._finish: str | None = None
        self._usage: Usage | None = None

    def add(self, chunk: Mapping[str, Any]) -> bool:
        """Take a chunk of a stream, or a whole completion.

        Returns:
            Whether there are more words than before.
        """
        if isinstance(counted := chunk.get("usage"), Mapping):
            self._usage = _usage(counted) or self._usage
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, Mapping):
            return False
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            self._finish = reason.lower()
        part = choice.get("delta") or choice.get("message")
        if not isinstance(part, Mapping):
            return False
        return self._add_part(part)

    @property
    def text(self) -> str:
        """The words so far, without thoughts."""
        return without_thoughts("".join(self._text))

    @property
    def finished(self) -> bool:
        """Whether the server has said that this is all."""
        return self._finish is not None

    @property
    def begun(self) -> bool:
        """Whether there is anything of an answer."""
        return bool(self._text or self._refusal or self._drafts or self._finish)

    def reply(self, *, estimate: Usage) -> ModelReply:
        """The reply.

        Args:
            estimate: what it cost, where the server doesn't count: without what was answered.
        """
        calls = self._calls()
        refusal = "".join(self._refusal).strip()
        return ModelReply(
            text=self.text or refusal,
            calls=calls,
            finish=self._why(bool(calls), refusal),
            usage=self._usage or Usage(estimate.input_tokens, self._output_estimate()),
        )

    def _add_part(self, part: Mapping[str, Any]) -> bool:
        if refusal := _text(part.get("refusal")):
            self._refusal.append(refusal)
        calls = part.get("tool_calls")
        for delta in calls if isinstance(calls, list) else ():
            if isinstance(delta, Mapping):
                self._add_call(delta)
        if isinstance(old := part.get("function_call"), Mapping):  # before there were several
            self._add_call({"index": 0, "function": old})
        if text := _text(part.get("content")):
            self._text.append(text)
            return True
        return False

    def _add_call(self, delta: Mapping[str, Any]) -> None:
        function = delta.get("function")
        function = function if isinstance(function, Mapping) else {}
        call_id = delta.get("id")
        call_id = call_id if isinstance(call_id, str) else ""
        name = function.get("name")
        name = name.strip() if isinstance(name, str) else ""
        draft = self._draft(delta.get("index"), call_id, name)
        draft.call_id = draft.call_id or call_id
        draft.name = draft.name or name
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            draft.arguments.append(arguments)
        elif arguments is not None:
            draft.arguments.append(json.dumps(arguments))

    def _draft(self, index: object, call_id: str, name: str) -> _Draft:
        """The call that a piece belongs to: a new one, or one begun."""
        for draft in reversed(self._drafts):
            if index is None:
                mine = not name and call_id in {"", draft.call_id}
            else:
                mine = draft.index == index and not _begins_another(draft, call_id, name)
            if mine:
                return draft
        draft = _Draft(index)
        self._drafts.append(draft)
        return draft

    def _calls(self) -> tuple[ToolCall, ...]:
        calls = []
        taken: set[str] = set()
        for draft in self._drafts:
            arguments = "".join(draft.arguments)
            if not draft.name and not arguments.strip():
                continue
            call_id = draft.call_id
            if not call_id or call_id in taken:
                call_id = new_call_id()
            taken.add(call_id)
            calls.append(ToolCall(call_id, draft.name, arguments))
        return tuple(calls)

    def _why(self, has_calls: bool, refusal: str) -> Finish:
        if self._finish in _CUT_OFF:
            return "length"
        if self._finish in _FILTERED and self.text:
            return "filtered"
        if self._finish in _FILTERED or (refusal and not has_calls and not self.text):
            return "refused"
        return "calls" if has_calls else "stop"

    def _output_estimate(self) -> int:
        written = "".join((*self._text, *self._refusal))
        arguments = "".join(piece for draft in self._drafts for piece in draft.arguments)
        return tokens_of(written) + tokens_of(arguments)


def new_call_id() -> str:
    """An id for a call that has none: 9 letters and digits, which every server takes."""
    return secrets.token_hex(5)[:9]


def tokens_of(text: str) -> int:
    """About how many tokens a text is: rather more than less."""
    plain = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return -(-plain // 3) + (len(text) - plain)


def _begins_another(draft: _Draft, call_id: str, name: str) -> bool:
    """Whether a piece begins a call of its own, though it has the number of this one: some servers
    number all of them 0."""
    if not name or not draft.name:
        return False
    if call_id and draft.call_id:
        return call_id != draft.call_id
    return _is_json("".join(draft.arguments))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _usage(counted: Mapping[str, Any]) -> Usage | None:
    read, written = counted.get("prompt_tokens"), counted.get("completion_tokens")
    if not isinstance(read, int) or not isinstance(written, int) or read + written <= 0:
        return None
    return Usage(max(read, 0), max(written, 0))


def _text(value: object) -> str:
    """Words, which some servers send as a list of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = (part.get("text") for part in value if isinstance(part, Mapping))
        return "".join(part for part in parts if isinstance(part, str))
    return ""
