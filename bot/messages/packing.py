"""Texts, files and buttons as messages within Discord's limits."""

from collections.abc import Iterator, Sequence

from bot.outgoing import MAX_ATTACHMENTS, MAX_BUTTONS, MAX_REQUEST_BYTES, Attachment, Button
from bot.outgoing import OutgoingMessage as Message

#: What a request holds besides the files: its text, its buttons, the files' names and alt texts.
_REQUEST_OVERHEAD_BYTES = 256 * 2**10


def most_file_bytes(attachment_bytes: int) -> int:
    """How large one file may be where a channel takes ``attachment_bytes`` a file."""
    return min(attachment_bytes, MAX_REQUEST_BYTES - _REQUEST_OVERHEAD_BYTES)


def pack(
    texts: Sequence[str], attachments: Sequence[Attachment] = (), buttons: Sequence[Button] = ()
) -> tuple[Message, ...]:
    """Make messages: the texts, the files below the last text, the buttons below everything.

    Args:
        texts: Each within a message's limit.
        attachments: Each within the channel's limit; as many messages are made as they need.
        buttons: Those beyond a message's limit are left out.
    """
    batches = list(_batches(attachments)) or [()]
    last_text = texts[-1] if texts else ""
    messages = [Message(text) for text in texts[:-1]]
    messages.append(Message(last_text, batches[0]))
    messages += (Message("", batch) for batch in batches[1:])
    last = messages.pop()
    if not (last.content.strip() or last.attachments):
        return tuple(messages)
    return (*messages, Message(last.content, last.attachments, tuple(buttons[:MAX_BUTTONS])))


def _batches(attachments: Sequence[Attachment]) -> Iterator[tuple[Attachment, ...]]:
    batch: list[Attachment] = []
    room = MAX_REQUEST_BYTES - _REQUEST_OVERHEAD_BYTES
    size = 0
    for attachment in attachments:
        if batch and (len(batch) == MAX_ATTACHMENTS or size + attachment.size > room):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(attachment)
        size += attachment.size
    if batch:
        yield tuple(batch)
