"""Messages as Discord's REST interface takes them (pure)."""

from collections.abc import Sequence
from typing import Any

from bot.discord.destinations import Destination
from bot.discord.rest import FormFile
from bot.outgoing import BUTTONS_PER_ROW, Attachment, Button, ButtonStyle, OutgoingMessage

_ACTION_ROW, _BUTTON = 1, 2
_STYLES: dict[ButtonStyle, int] = {"primary": 1, "secondary": 2, "success": 3, "danger": 4}
_EPHEMERAL = 1 << 6


def new_message(to: Destination, message: OutgoingMessage) -> dict[str, Any]:
    """What every new message says, however it is sent."""
    body = _body(message, to)
    if not body["components"]:
        del body["components"]
    if message.attachments:
        body["attachments"] = _attachments(message)
    return body


def ordinary(to: Destination, message: OutgoingMessage, *, nonce: str) -> dict[str, Any]:
    """A message in a channel.

    Args:
        nonce: at most 25 characters; within some minutes Discord takes the same one only once.
    """
    body = new_message(to, message) | {"nonce": nonce, "enforce_nonce": True}
    if to.reply_to is not None:
        body["message_reference"] = {
            "message_id": str(to.reply_to),
            "channel_id": str(to.channel_id),
            "fail_if_not_exists": False,
        }
    return body


def plain(message: OutgoingMessage) -> dict[str, Any]:
    """A message for a server that doesn't know all that a message may say: words, that ping nobody.

    Nothing that is attached goes with it.
    """
    return {"content": message.content, "allowed_mentions": {"parse": []}}


def followup(to: Destination, message: OutgoingMessage) -> dict[str, Any]:
    """A message in answer to an interaction."""
    body = new_message(to, message)
    if to.is_private:
        body["flags"] = _EPHEMERAL
    return body


def edited(to: Destination, message: OutgoingMessage, kept: Sequence[int]) -> dict[str, Any]:
    """What a message is to become: whatever isn't listed goes.

    Args:
        kept: the ids of attachments that stay.
    """
    # The new ones are numbered by their place among the files, the kept ones have ids of Discord's.
    listed = [{"id": str(i)} for i in kept] + _attachments(message)
    return _body(message, to) | {"attachments": listed}


def form_files(attachments: Sequence[Attachment]) -> tuple[FormFile, ...]:
    """What has to be uploaded."""
    return tuple(FormFile(a.filename, a.source, a.size) for a in attachments)


def _body(message: OutgoingMessage, to: Destination) -> dict[str, Any]:
    return {
        "content": message.content,
        "allowed_mentions": {"parse": [], "replied_user": to.pings},
        "components": _rows(message.buttons),
    }


def _attachments(message: OutgoingMessage) -> list[dict[str, Any]]:
    return [
        {"id": str(number), "filename": attachment.filename}
        | ({"description": attachment.alt} if attachment.alt else {})
        for number, attachment in enumerate(message.attachments)
    ]


def _rows(buttons: Sequence[Button]) -> list[dict[str, Any]]:
    rows = [buttons[i : i + BUTTONS_PER_ROW] for i in range(0, len(buttons), BUTTONS_PER_ROW)]
    return [{"type": _ACTION_ROW, "components": [_button(b) for b in row]} for row in rows]


def _button(button: Button) -> dict[str, Any]:
    return {
        "type": _BUTTON,
        "style": _STYLES[button.style],
        "label": button.label,
        "custom_id": button.custom_id,
    }
