"""What a request of Discord's tells: who it is, where the answer goes, how large it may be.

The library drops how large attachments may be; these contexts keep it.
"""

from typing import Any, Self

from interactions import (
    AutocompleteContext,
    ComponentContext,
    IntegrationType,
    ModalContext,
    SlashContext,
)

from bot.discord.destinations import ATTACHMENT_BYTES, Destination, InteractionRef
from bot.discord.permissions import person_of
from bot.people.person import Person
from bot.settings import BotSettings

_LARGEST_BYTES = 500 * 2**20
#: Source: Discord's documentation, "User Installable Apps": where the app isn't installed besides.
_FOLLOWUPS = 5


class _Limits:
    """Keeps what the library drops."""

    attachment_bytes: int = ATTACHMENT_BYTES

    @classmethod
    def from_dict(cls, client: Any, payload: dict[str, Any]) -> Self:
        instance: Self = super().from_dict(client, payload)  # type: ignore[misc]  # mixed in
        said = payload.get("attachment_size_limit")
        if isinstance(said, int) and 0 < said <= _LARGEST_BYTES:
            instance.attachment_bytes = said
        resolved = payload.get("data", {}).get("resolved", {}).get("attachments", {})
        for attachment in instance.resolved.attachments.values():  # type: ignore[attr-defined]  # the library's
            attachment.title = resolved.get(str(attachment.id), {}).get("title")
        return instance


class BotSlashContext(_Limits, SlashContext):
    """Of a slash command."""


class BotComponentContext(_Limits, ComponentContext):
    """Of a button."""


class BotModalContext(_Limits, ModalContext):
    """Of a form."""


class BotAutocompleteContext(_Limits, AutocompleteContext):
    """Of what somebody is typing."""


CONTEXTS: dict[str, type] = {
    "slash_context": BotSlashContext,
    "component_context": BotComponentContext,
    "modal_context": BotModalContext,
    "autocomplete_context": BotAutocompleteContext,
}


def person_in(ctx: Any, settings: BotSettings) -> Person:
    """Who made a request."""
    author = ctx.author
    return person_of(
        settings,
        user_id=str(ctx.author_id),
        name=str(getattr(author, "display_name", "")),
        guild_id=None if ctx.guild_id is None else str(ctx.guild_id),
        role_ids=[str(role_id) for role_id in getattr(author, "_role_ids", ())],
        permissions=int(ctx.author_permissions),
    )


def destination_of(ctx: Any, *, ephemeral: bool = False) -> Destination:
    """Where the answer to a request goes.

    Args:
        ctx: the request.
        ephemeral: whether only that person is to see it.
    """
    owners = ctx.authorizing_integration_owners
    only_user = IntegrationType.GUILD_INSTALL not in owners and bool(owners)
    return Destination(
        channel_id=int(ctx.channel_id),
        guild_id=None if ctx.guild_id is None else int(ctx.guild_id),
        interaction=InteractionRef(
            application_id=int(ctx.client.app.id),
            token=ctx.token,
            created_at=ctx.id.created_at,
            ephemeral=ephemeral,
            followups_left=_FOLLOWUPS if only_user else None,
        ),
        attachment_bytes=ctx.attachment_bytes,
        user_id=int(ctx.author_id),
    )
