"""How Discord says no. Source: Discord's documentation, "Opcodes and Status Codes"."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a request.

    Attributes:
        path: where, such as ``embeds.0.title``; "" for the whole.
        message: what, in words.
        code: Discord's name for it.
    """

    path: str
    message: str
    code: str = "BASE_TYPE_BAD_VALUE"

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ApiError(Exception):
    """An answer that isn't a success.

    Attributes:
        status: of HTTP.
        code: Discord's own.
        problems: for forms that aren't valid.
        is_violation: whether no well-written bot would have got it, so that the test has to fail.
    """

    def __init__(
        self,
        status: int,
        code: int,
        message: str,
        problems: Iterable[Problem] = (),
        *,
        is_violation: bool = False,
    ) -> None:
        """See the class."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.problems = tuple(problems)
        self.is_violation = is_violation

    def body(self) -> dict[str, Any]:
        """As JSON."""
        body: dict[str, Any] = {"message": self.message, "code": self.code}
        if self.problems:
            body["errors"] = _tree(self.problems)
        return body

    def __str__(self) -> str:
        details = "; ".join(map(str, self.problems))
        return f"{self.message} ({self.code}){': ' if details else ''}{details}"


def invalid_form(*problems: Problem) -> ApiError:
    """A form that isn't valid."""
    return ApiError(400, 50035, "Invalid Form Body", problems, is_violation=True)


def too_large() -> ApiError:
    """A file, or a request, above the limit."""
    return ApiError(413, 40005, "Request entity too large", is_violation=True)


UNKNOWN_CHANNEL = (404, 10003, "Unknown Channel")
UNKNOWN_GUILD = (404, 10004, "Unknown Guild")
UNKNOWN_MEMBER = (404, 10007, "Unknown Member")
UNKNOWN_MESSAGE = (404, 10008, "Unknown Message")
UNKNOWN_USER = (404, 10013, "Unknown User")
UNKNOWN_WEBHOOK = (404, 10015, "Unknown Webhook")
UNKNOWN_INTERACTION = (404, 10062, "Unknown interaction")
UNKNOWN_COMMAND = (404, 10063, "Unknown application command")
MISSING_ACCESS = (403, 50001, "Missing Access")
MISSING_PERMISSIONS = (403, 50013, "Missing Permissions")
TOKEN_EXPIRED = (401, 50027, "Invalid Webhook Token")
CANNOT_DM = (403, 50007, "Cannot send messages to this user")
NOT_THE_AUTHOR = (403, 50005, "Cannot edit a message authored by another user")


def _tree(problems: Iterable[Problem]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for problem in problems:
        node = tree
        for part in filter(None, problem.path.split(".")):
            node = node.setdefault(part, {})
        node.setdefault("_errors", []).append({"code": problem.code, "message": problem.message})
    return tree
