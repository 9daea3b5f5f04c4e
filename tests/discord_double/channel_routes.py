"""Routes for channels and what is in them."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from tests.discord_double import messages, payloads
from tests.discord_double.call import Call
from tests.discord_double.channel import Channel
from tests.discord_double.errors import (
    MISSING_ACCESS,
    UNKNOWN_CHANNEL,
    UNKNOWN_MESSAGE,
    ApiError,
    Problem,
    invalid_form,
)
from tests.discord_double.message import Message
from tests.discord_double.world import World

_CHANNEL = "/channels/{channel_id}"
_MESSAGE = _CHANNEL + "/messages/{message_id}"
_REACTION = _MESSAGE + "/reactions/{emoji_name}"
_ARCHIVE_MINUTES = (60, 1440, 4320, 10080)


class ChannelRoutes:
    """Channels, messages, reactions, threads."""

    def __init__(self, world: World) -> None:
        """See ``Rest``."""
        self._world = world

    def routes(self) -> Iterator[tuple[str, str, Any]]:
        """Methods, templates, functions."""
        yield "GET", _CHANNEL, lambda call: payloads.channel(self._channel(call))
        yield "PATCH", _CHANNEL, self._edit_channel
        yield "GET", _CHANNEL + "/messages", self._history
        yield "POST", _CHANNEL + "/messages", self._create
        yield "POST", _CHANNEL + "/messages/bulk-delete", self._delete_many
        yield "GET", _MESSAGE, self._get
        yield "PATCH", _MESSAGE, self._edit
        yield "DELETE", _MESSAGE, self._delete
        yield "POST", _CHANNEL + "/typing", self._type
        yield "PUT", _REACTION + "/@me", self._react
        yield "DELETE", _REACTION + "/@me", self._take_back
        yield "POST", _CHANNEL + "/threads", self._thread
        yield "POST", _MESSAGE + "/threads", self._thread_of_message
        yield "PUT", _CHANNEL + "/thread-members/@me", self._nothing
        yield "PUT", _CHANNEL + "/thread-members/{user_id}", self._nothing

    def _history(self, call: Call) -> list[dict[str, Any]]:
        channel = self._channel(call)
        messages.may(channel, "read_message_history")
        limit = int(call.query.get("limit", 50))
        if not 1 <= limit <= 100:
            raise invalid_form(Problem("limit", "Must be between 1 and 100."))
        found = [m for m in channel.messages if not m.is_ephemeral]
        if "before" in call.query:
            found = [m for m in found if int(m.id) < int(call.query["before"])]
        if "after" in call.query:
            found = [m for m in found if int(m.id) > int(call.query["after"])][:limit]
        return [self._shown(message) for message in reversed(found[-limit:])]

    def _create(self, call: Call) -> dict[str, Any]:
        channel = self._channel(call)
        if channel.archived and channel.locked:
            raise ApiError(400, 160005, "Thread is locked")
        channel.archived = False
        return payloads.message(messages.create(channel, call.sent))

    def _get(self, call: Call) -> dict[str, Any]:
        message = self._message(call)
        messages.may(message.channel, "read_message_history")
        return self._shown(message)

    def _edit(self, call: Call) -> dict[str, Any]:
        return payloads.message(messages.edit(self._message(call), call.sent))

    def _delete(self, call: Call) -> None:
        message = self._message(call)
        if not message.author.is_bot:
            messages.may(message.channel, "manage_messages")
        message.remove()

    def _delete_many(self, call: Call) -> None:
        channel = self._channel(call)
        messages.may(channel, "manage_messages")
        ids = [str(i) for i in call.payload["messages"]]
        if not 2 <= len(ids) <= 100:
            raise invalid_form(Problem("messages", "Must be between 2 and 100 in length."))
        for message_id in ids:
            message = channel.find(message_id)
            if message:
                message.remove()

    def _type(self, call: Call) -> None:
        channel = self._channel(call)
        messages.may(channel, "send_messages_in_threads" if channel.is_thread else "send_messages")
        channel.typing += 1
        self._world.changed()

    def _react(self, call: Call) -> None:
        message = self._message(call)
        messages.may(message.channel, "add_reactions", "read_message_history")
        messages.add_reaction(message, self._world.bot, unquote(call.params["emoji_name"]))

    def _take_back(self, call: Call) -> None:
        emoji = unquote(call.params["emoji_name"])
        messages.remove_reaction(self._message(call), self._world.bot, emoji)

    def _thread(self, call: Call) -> tuple[int, dict[str, Any]]:
        kind = call.payload.get("type") or payloads.PRIVATE_THREAD
        return 201, payloads.channel(self._new_thread(call, kind, self._world.new_id()))

    def _thread_of_message(self, call: Call) -> tuple[int, dict[str, Any]]:
        message = self._message(call)
        if message.thread:
            raise ApiError(
                400, 160004, "A thread has already been created for this message", is_violation=True
            )
        # A thread has the id of the message that it starts from.
        thread = self._new_thread(call, payloads.PUBLIC_THREAD, message.id)
        message.thread = thread
        message.flags |= 1 << 5
        message.announce("MESSAGE_UPDATE")
        return 201, payloads.channel(thread)

    def _new_thread(self, call: Call, kind: int, thread_id: str) -> Channel:
        parent = self._channel(call)
        private = kind == payloads.PRIVATE_THREAD
        messages.may(parent, "create_private_threads" if private else "create_public_threads")
        name, minutes = call.payload.get("name") or "", call.payload.get("auto_archive_duration")
        if not 1 <= len(name) <= 100:
            raise invalid_form(Problem("name", "Must be between 1 and 100 in length."))
        if minutes is not None and minutes not in _ARCHIVE_MINUTES:
            raise invalid_form(Problem("auto_archive_duration", "no such duration"))
        if parent.guild is None or parent.is_thread:
            raise ApiError(400, 50024, "Cannot execute action on this channel type")
        thread = Channel(self._world, thread_id, kind, name=name, guild=parent.guild, parent=parent)
        thread.owner = self._world.bot
        thread.auto_archive_minutes = minutes or 1440
        parent.guild.add(thread, "THREAD_CREATE")
        return thread

    def _edit_channel(self, call: Call) -> dict[str, Any]:
        channel = self._channel(call)
        messages.may(channel, "manage_threads" if channel.is_thread else "manage_channels")
        if call.payload.get("name") is not None:
            channel.name = call.payload["name"]
        for key in ("archived", "locked"):
            if key in call.payload:
                setattr(channel, key, bool(call.payload[key]))
        return payloads.channel(channel)

    def _nothing(self, call: Call) -> None:
        self._channel(call)

    def _shown(self, message: Message) -> dict[str, Any]:
        return payloads.message(message, reads_content=self._world.reads_content)

    def _channel(self, call: Call) -> Channel:
        channel = self._world.channels.get(call.params["channel_id"])
        if channel is None:
            raise ApiError(*UNKNOWN_CHANNEL)
        if channel.guild and not channel.guild.has_bot:
            raise ApiError(*MISSING_ACCESS)
        messages.may(channel)
        return channel

    def _message(self, call: Call) -> Message:
        message = self._channel(call).find(call.params["message_id"])
        # What only one person sees can't be reached this way.
        if message is None or message.is_ephemeral:
            raise ApiError(*UNKNOWN_MESSAGE)
        return message
