"""What is to be sent: messages as values, before any of Discord's library knows of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ButtonStyle = Literal["primary", "secondary", "success", "danger"]

#: Characters of a message's content.
MESSAGE_CHARS = 2000
#: Attachments of one message.
MAX_ATTACHMENTS = 10
#: Characters of a picture's alt text.
MAX_ALT_CHARS = 1024
#: Size of a request, all its attachments and the rest together.
MAX_REQUEST_BYTES = 25 * 2**20
#: Buttons of one message, in rows of five.
MAX_BUTTONS = 25
BUTTONS_PER_ROW = 5
#: Characters of a button's label.
MAX_LABEL_CHARS = 80


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to attach.

    Attributes:
        filename: what to call it; safe for Discord.
        source: the bytes, or where on disk they are.
        size: in bytes.
        alt: what a picture shows, in words; at most 1024 characters.
        file_id: the stored file it is, None if it is no stored file.
    """

    filename: str
    source: bytes | Path
    size: int
    alt: str | None = None
    file_id: str | None = None


@dataclass(frozen=True, slots=True)
class Button:
    """A button below a message.

    Attributes:
        label: at most 80 characters.
        custom_id: at most 100; says what it does and for whom, see ``bot.discord.custom_ids``.
        style: its colour.
    """

    label: str
    custom_id: str
    style: ButtonStyle = "secondary"


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One message, within Discord's limits: 2000 characters, 10 attachments, 5 buttons a row.

    Mentions in it ping nobody, ever.
    """

    content: str = ""
    attachments: tuple[Attachment, ...] = ()
    buttons: tuple[Button, ...] = ()
