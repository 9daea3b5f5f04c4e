"""What goes over the admin socket: one line of JSON asks, one line answers.

A request is ``{"do": "interrupt", "target": "42"}``. An answer is ``{"ok": {...}}``, or
``{"error": "One plain sentence."}``. Nothing here does any I/O.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

from interpreter.inspection import KernelInfo

#: Of a request, and of an answer; both with the line's end.
MOST_REQUEST_BYTES, MOST_ANSWER_BYTES = 8 << 10, 4 << 20
#: Kernels in one list.
MOST_LISTED = 5_000
_TARGET_CHARS = 256

Deed: TypeAlias = Literal["list", "inspect", "interrupt", "shutdown", "attach", "stop"]
_DEEDS = get_args(Deed)
_ABOUT_ONE = ("inspect", "interrupt", "shutdown", "attach")


class BadRequest(ValueError):
    """A request that makes no sense; says in a sentence why."""


@dataclass(frozen=True, slots=True)
class Request:
    """What an admin asks for.

    Attributes:
        do: what to do.
        target: the user or kernel it is about; "" for none.
        all: whether it is about all kernels.
        idle_only: with all of them: only those that have nothing to do.
    """

    do: Deed
    target: str = ""
    all: bool = False
    idle_only: bool = False

    def encoded(self) -> bytes:
        """As a line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decoded(cls, line: bytes) -> "Request":
        """From a line.

        Raises:
            BadRequest: it isn't one.
        """
        try:
            asked = json.loads(line)
        except (ValueError, RecursionError):
            raise BadRequest("A request is one line of JSON.") from None
        if not isinstance(asked, dict) or asked.get("do") not in _DEEDS:
            raise BadRequest(f"A request says in `do` what to do: {', '.join(_DEEDS)}.")
        target = asked.get("target", "")
        if not isinstance(target, str) or len(target) > _TARGET_CHARS:
            raise BadRequest(f"`target` is a text of at most {_TARGET_CHARS} characters.")
        wants_all, idle_only = asked.get("all", False), asked.get("idle_only", False)
        if not isinstance(wants_all, bool) or not isinstance(idle_only, bool):
            raise BadRequest("`all` and `idle_only` are true or false.")
        about_all = asked["do"] == "shutdown" and wants_all
        if asked["do"] in _ABOUT_ONE and not target and not about_all:
            raise BadRequest("Say which one: the id of a user or of a kernel.")
        return cls(asked["do"], target, wants_all, idle_only)


def encode_answer(content: Mapping[str, Any]) -> bytes:
    """What was done, as a line."""
    line = json.dumps({"ok": content}).encode() + b"\n"
    if len(line) > MOST_ANSWER_BYTES:
        return encode_refusal("The answer is too long to send.")
    return line


def encode_refusal(sentence: str) -> bytes:
    """Why something was not done, as a line."""
    return json.dumps({"error": sentence}).encode() + b"\n"


def kernel_to_json(info: KernelInfo) -> dict[str, Any]:
    """A kernel as it goes over the socket."""
    plain = asdict(info)
    for name in ("started_at", "last_active_at"):
        plain[name] = plain[name].isoformat()
    return plain


def kernel_from_json(plain: Mapping[str, Any]) -> KernelInfo:
    """A kernel as it came over the socket."""
    fields = {name: plain[name] for name in KernelInfo.__dataclass_fields__}
    for name in ("started_at", "last_active_at"):
        fields[name] = datetime.fromisoformat(fields[name])
    return KernelInfo(**fields)
