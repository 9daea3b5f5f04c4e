"""Answering a request: at once, and within Discord's rules."""

from collections.abc import Sequence
from typing import Any

from interactions import ActionRow
from interactions import Button as LibraryButton
from interactions.models.discord.enums import ButtonStyle

from bot.discord.contexts import destination_of
from bot.discord.delivery import Delivery, SentMessage
from bot.outgoing import BUTTONS_PER_ROW, Button, OutgoingMessage

_STYLES = {
    "primary": ButtonStyle.PRIMARY,
    "secondary": ButtonStyle.SECONDARY,
    "success": ButtonStyle.SUCCESS,
    "danger": ButtonStyle.DANGER,
}
NO_MENTIONS: dict[str, list[str]] = {"parse": []}


async def say(
    ctx: Any, text: str, *, buttons: Sequence[Button] = (), ephemeral: bool = True
) -> None:
    """Answer a request with words, for that person alone unless told otherwise."""
    await ctx.send(
        text,
        ephemeral=ephemeral,
        components=rows(buttons),
        allowed_mentions=NO_MENTIONS,
    )


async def replace_origin(ctx: Any, text: str, *, buttons: Sequence[Button] = ()) -> None:
    """Put words in place of the message whose button was pressed."""
    await ctx.edit_origin(content=text, components=rows(buttons), allowed_mentions=NO_MENTIONS)


async def deliver(
    ctx: Any,
    delivery: Delivery,
    messages: Sequence[OutgoingMessage],
    *,
    ephemeral: bool = True,
) -> tuple[SentMessage, ...]:
    """Answer a request that was deferred with messages that may have files."""
    to = destination_of(ctx, ephemeral=ephemeral)
    return tuple([await delivery.send(to, message) for message in messages])


def rows(buttons: Sequence[Button]) -> list[ActionRow]:
    """Buttons as the library takes them."""
    made = [
        LibraryButton(style=_STYLES[b.style], label=b.label, custom_id=b.custom_id) for b in buttons
    ]
    return [
        ActionRow(*made[at : at + BUTTONS_PER_ROW]) for at in range(0, len(made), BUTTONS_PER_ROW)
    ]
