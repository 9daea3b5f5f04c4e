"""What is said between a person, a model and the kernel: frozen values, of no one's protocol."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture for a model that can see.

    Attributes:
        content: the bytes.
        mime: "image/png", "image/jpeg", "image/webp" or "image/gif".
    """

    content: bytes
    mime: str


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What a person said, with what the model has to know of it (files, a message replied to)."""

    text: str
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's request to run something.

    Attributes:
        call_id: names the call in its answer; as the model gave it, unless it gave none or one
            twice.
        name: of the tool; may be one that doesn't exist.
        arguments: JSON as the model wrote it; may be broken.
    """

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """What a model answered: words, calls, or both."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The answer to a tool call, for the model."""

    call_id: str
    text: str
    pictures: tuple[Picture, ...] = ()


Message: TypeAlias = UserMessage | AssistantMessage | ToolResult


@dataclass(frozen=True, slots=True)
class Exchange:
    """One turn as history keeps it: a user's message, and all until the final answer.

    Kept and dropped whole, so that a tool call and its result are never parted.
    """

    messages: tuple[Message, ...]
