"""What of a conversation a model gets to read, and what is kept of a turn. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from bot.conversation import AssistantMessage, Exchange, Message, ToolResult, UserMessage
from bot.reply_assembly import tokens_of
from interpreter.terminal import cut

#: What a message costs beside its text, and what a picture does.
_MESSAGE_TOKENS = 8
_PICTURE_TOKENS = 1_000
#: To what tool results are shortened, step by step, where a turn is too much by itself.
_STEPS = (4_000, 2_000, 1_000, 500, 200)
_KEPT_RESULT_CHARS = 2_000
_KEPT_CALL_CHARS = 8_000
_KEPT_WORDS_CHARS = 16_000


def cost_of(message: Message) -> int:
    """About how many tokens a message is."""
    tokens = _MESSAGE_TOKENS + tokens_of(message.text)
    if isinstance(message, AssistantMessage):
        return tokens + sum(_MESSAGE_TOKENS + tokens_of(call.arguments) for call in message.calls)
    return tokens + _PICTURE_TOKENS * len(message.pictures)


def fitted(
    history: Sequence[Exchange], turn: Sequence[Message], *, tokens: int
) -> tuple[Message, ...]:
    """The messages to send: the whole turn, and of what was before as much as there is room for.

    The oldest exchanges are dropped, each whole. If the turn itself is too much, its pictures but
    the latest go, then its tool results lose their middles, the earlier ones first.

    Args:
        history: earlier exchanges, the oldest first.
        turn: the messages of this turn, the oldest first.
        tokens: how many there is room for, about.
    """
    kept = _shortened(tuple(turn), tokens)
    left = tokens - sum(map(cost_of, kept))
    start = len(history)
    while start and (cost := sum(map(cost_of, history[start - 1].messages))) <= left:
        left -= cost
        start -= 1
    return (*(message for exchange in history[start:] for message in exchange.messages), *kept)


def kept_exchange(messages: Sequence[Message]) -> Exchange:
    """A turn as history keeps it: text only, results and calls of bounded length."""
    return Exchange(tuple(map(_kept, messages)))


def _kept(message: Message) -> Message:
    match message:
        case UserMessage(text):
            return UserMessage(cut(text, _KEPT_WORDS_CHARS))
        case ToolResult(call_id, text):
            return ToolResult(call_id, cut(text, _KEPT_RESULT_CHARS))
        case AssistantMessage(text, calls):
            # A call without its middle is no call any more: of a long one nothing is kept.
            short = (
                call if len(call.arguments) <= _KEPT_CALL_CHARS else replace(call, arguments="{}")
                for call in calls
            )
            return AssistantMessage(cut(text, _KEPT_WORDS_CHARS), tuple(short))


def _shortened(turn: tuple[Message, ...], tokens: int) -> tuple[Message, ...]:
    def fits() -> bool:
        return sum(map(cost_of, turn)) <= tokens

    if fits():
        return turn
    turn = _but_last(turn, lambda message: replace(message, pictures=()))
    for chars in _STEPS:
        if fits():
            return turn
        turn = _but_last(turn, lambda message, most=chars: _cut_to(message, most))  # type: ignore[misc]
    for chars in _STEPS:
        if fits():
            return turn
        turn = tuple(
            replace(_cut_to(message, chars), pictures=())
            if isinstance(message, ToolResult)
            else message
            for message in turn
        )
    over = sum(map(cost_of, turn)) - tokens
    return tuple(_shorter_question(message, over) for message in turn) if over > 0 else turn


def _but_last(
    turn: tuple[Message, ...], change: Callable[[ToolResult], ToolResult]
) -> tuple[Message, ...]:
    """Change all tool results but the latest."""
    results = [at for at, message in enumerate(turn) if isinstance(message, ToolResult)]
    earlier = set(results[:-1])
    return tuple(
        change(message) if at in earlier and isinstance(message, ToolResult) else message
        for at, message in enumerate(turn)
    )


def _cut_to(message: ToolResult, chars: int) -> ToolResult:
    return replace(message, text=cut(message.text, chars))


def _shorter_question(message: Message, over: int) -> Message:
    if not isinstance(message, UserMessage):
        return message
    chars = max(len(message.text) - 4 * over, 1_000)
    return replace(message, text=cut(message.text, chars))
