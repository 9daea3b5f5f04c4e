"""ChatModel: the seam between the turn loop and whoever runs the language model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from bot.conversation import Message, ToolCall


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a model may call.

    Attributes:
        name: what the model calls it.
        description: what it does, for the model.
        parameters: JSON schema of its arguments.
    """

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One question to a model.

    Attributes:
        model: its name.
        system: the system prompt.
        messages: the conversation, the oldest first.
        tools: what it may call; empty where it has to answer in words.
        max_output_tokens: how much it may answer.
    """

    model: str
    system: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    max_output_tokens: int = 4096


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as the model's server counted them, or as estimated where it doesn't."""

    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReply:
    """What a model answered.

    Attributes:
        text: its words.
        calls: its tool calls, in order, each with an id of its own.
        finish: ``stop`` or ``calls`` where it was done; ``length`` where it was cut off, and
            ``filtered`` where a filter did that, after the words that there are;
            ``refused`` where it, or a filter, declined: then ``text`` is what it said of that.
        usage: what it cost.
    """

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    finish: Literal["stop", "calls", "length", "filtered", "refused"] = "stop"
    usage: Usage = Usage()


class ChatModel(Protocol):
    """Whoever answers."""

    async def reply(
        self,
        request: ModelRequest,
        *,
        on_text: Callable[[str], None] | None = None,
        on_wait: Callable[[str, float], None] | None = None,
    ) -> ModelReply:
        """Answer; tries again by itself what may pass.

        Args:
            request: the question.
            on_text: gets the words so far, each time all of them, while they come; after a try
                that broke off they begin anew.
            on_wait: gets why it has to be tried again, and in how many seconds.

        Raises:
            ModelError: see ``bot.errors``: what can't be mended by trying again.
        """
