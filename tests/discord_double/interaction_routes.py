"""Routes that answer interactions. Source: "Receiving and Responding to Interactions"."""

from collections.abc import Iterator
from typing import Any

from tests.discord_double import commands, message_checks, messages, payloads
from tests.discord_double.call import Call
from tests.discord_double.errors import (
    TOKEN_EXPIRED,
    UNKNOWN_INTERACTION,
    UNKNOWN_MESSAGE,
    UNKNOWN_WEBHOOK,
    ApiError,
    Problem,
    invalid_form,
)
from tests.discord_double.interaction import (
    AUTOCOMPLETE,
    MODAL_SUBMIT,
    USER_INSTALLED_FOLLOWUPS,
    Interaction,
    Modal,
)
from tests.discord_double.message import EPHEMERAL, LOADING, Message
from tests.discord_double.messages import Sent
from tests.discord_double.world import World

MESSAGE, DEFER, DEFER_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9
_HOOK = "/webhooks/{webhook_id}/{webhook_token}"


class InteractionRoutes:
    """Callbacks, follow-ups, and edits of both."""

    def __init__(self, world: World) -> None:
        """See ``Rest``."""
        self._world = world

    def routes(self) -> Iterator[tuple[str, str, Any]]:
        """Methods, templates, functions."""
        yield "POST", "/interactions/{interaction_id}/{interaction_token}/callback", self._callback
        yield "POST", _HOOK, self._follow_up
        for which in ("@original", "{message_id}"):
            yield "GET", f"{_HOOK}/messages/{which}", self._get
            yield "PATCH", f"{_HOOK}/messages/{which}", self._edit
            yield "DELETE", f"{_HOOK}/messages/{which}", self._delete

    def _callback(self, call: Call) -> Any:
        used = self._world.interactions.get(call.params["interaction_token"])
        if used is None or used.id != call.params["interaction_id"]:
            raise ApiError(*UNKNOWN_INTERACTION)
        now = self._world.clock.now()
        if used.acknowledged:
            raise _refused(
                used,
                ApiError(
                    400, 40060, "Interaction has already been acknowledged.", is_violation=True
                ),
            )
        if used.is_late(now):
            raise _refused(used, ApiError(*UNKNOWN_INTERACTION))
        kind = call.payload.get("type")
        besides = sorted(set(call.payload) - {"type", "data"})
        if besides:
            raise invalid_form(*(Problem(key, "belongs into data, if anywhere") for key in besides))
        _check_kind(used, kind)
        self._answer(used, kind, call)
        used.callback = kind
        used.acknowledged_after_s = (now - used.at).total_seconds()
        self._world.changed()
        if call.query.get("with_response") in ("true", "True", "1"):
            return _callback_response(used)
        return None

    def _answer(self, used: Interaction, kind: int, call: Call) -> None:
        data = call.payload.get("data") or {}
        sent = Sent(data, call.files, call.size)
        if kind == MESSAGE:
            self._respond(used, sent)
        elif kind == DEFER:
            used.ephemeral = bool((data.get("flags") or 0) & EPHEMERAL)
            used.response = self._empty(used)
            _show(used, used.response)
        elif kind == DEFER_UPDATE:
            used.response = used.message
        elif kind == UPDATE:
            assert used.message
            used.response = messages.edit(used.message, sent)
        elif kind == CHOICES:
            used.choices = _choices(data)
        elif kind == MODAL:
            problems = list(message_checks.modal_problems(data))
            if problems:
                raise invalid_form(*problems)
            used.modal = Modal(used, data["custom_id"], data["title"], data["components"])

    def _respond(self, used: Interaction, sent: Sent) -> None:
        used.ephemeral = bool((sent.payload.get("flags") or 0) & EPHEMERAL)
        used.response = self._message(used, sent, ephemeral=used.ephemeral)
        _show(used, used.response)

    def _message(self, used: Interaction, sent: Sent, *, ephemeral: bool) -> Message:
        message = messages.new(used.channel, sent, ephemeral=ephemeral)
        message.interaction = used
        message.ephemeral_for = used.person if ephemeral else None
        message.flags = (message.flags & ~EPHEMERAL) | (EPHEMERAL if ephemeral else 0)
        found = messages.pings(self._world, used.channel, message, sent.payload)
        message.pings = frozenset() if ephemeral else found
        return message

    def _empty(self, used: Interaction) -> Message:
        message = Message(self._world.new_id(), used.channel, self._world.bot, used.at)
        message.interaction = used
        message.ephemeral_for = used.person if used.ephemeral else None
        message.flags = LOADING | (EPHEMERAL if used.ephemeral else 0)
        return message

    def _follow_up(self, call: Call) -> dict[str, Any]:
        used = self._used(call)
        if not used.acknowledged:
            raise ApiError(*UNKNOWN_WEBHOOK)
        if used.callback == DEFER and used.response and used.response.is_loading:
            # The first one takes the place of "is thinking", with what that said of who sees it.
            payload = {k: v for k, v in call.payload.items() if k != "flags"}
            flags = (call.payload.get("flags") or 0) & ~EPHEMERAL
            message = self._fill(used, Sent(payload | {"flags": flags}, call.files, call.size))
            return payloads.message(message)
        if used.only_user_installed and used.followups_sent >= USER_INSTALLED_FOLLOWUPS:
            raise ApiError(
                400,
                40094,
                "Reached maximum number of follow-up messages for this interaction",
                is_violation=True,
            )
        flags = call.payload.get("flags") or 0
        message = self._message(used, call.sent, ephemeral=bool(flags & EPHEMERAL))
        used.followups.append(message)
        used.followups_sent += 1
        _show(used, message)
        return payloads.message(message)

    def _get(self, call: Call) -> dict[str, Any]:
        return payloads.message(self._found(call))

    def _edit(self, call: Call) -> dict[str, Any]:
        used, message = self._used(call), self._found(call)
        if message.is_loading:
            return payloads.message(self._fill(used, call.sent))
        return payloads.message(messages.edit(message, call.sent))

    def _delete(self, call: Call) -> None:
        self._found(call).remove()

    def _fill(self, used: Interaction, sent: Sent) -> Message:
        """Put the answer where "is thinking" stood."""
        message = used.response
        assert message
        filled = messages.new(used.channel, sent, ephemeral=used.ephemeral)
        for key in ("content", "embeds", "components", "attachments"):
            setattr(message, key, getattr(filled, key))
        message.flags = (filled.flags & ~LOADING) | (message.flags & EPHEMERAL)
        found = messages.pings(self._world, used.channel, message, sent.payload)
        message.pings = frozenset() if used.ephemeral else found
        message.edited_at = self._world.clock.now()
        message.announce("MESSAGE_UPDATE")
        return message

    def _used(self, call: Call) -> Interaction:
        """The interaction that a token is of.

        Raises:
            ApiError: there is none, or not any more.
        """
        if call.params["webhook_id"] != self._world.bot.id:
            raise ApiError(*UNKNOWN_WEBHOOK)
        used = self._world.interactions.get(call.params["webhook_token"])
        if used is None:
            raise ApiError(*TOKEN_EXPIRED)
        if used.is_expired:
            raise _refused(used, ApiError(*TOKEN_EXPIRED))
        return used

    def _found(self, call: Call) -> Message:
        used = self._used(call)
        wanted = call.params.get("message_id")
        own = [*([used.response] if used.response else []), *used.followups]
        if wanted is None:
            found = used.response
        else:
            # The message with a pressed button can be reached by its id, too.
            source = [used.message] if used.message else []
            found = next((m for m in [*own, *source] if m.id == wanted), None)
        if found is None or found.deleted:
            raise ApiError(*UNKNOWN_MESSAGE)
        return found


def _check_kind(used: Interaction, kind: object) -> None:
    """Whether an interaction can be answered so."""
    if kind not in (MESSAGE, DEFER, DEFER_UPDATE, UPDATE, CHOICES, MODAL):
        raise invalid_form(Problem("type", f"callbacks of type {kind} can't be answers here"))
    if (kind == CHOICES) != (used.kind == AUTOCOMPLETE):
        raise invalid_form(Problem("type", "choices answer autocompletion, and nothing else does"))
    if kind in (DEFER_UPDATE, UPDATE) and used.message is None:
        raise invalid_form(Problem("type", "there is no message to update"))
    if kind == MODAL and used.kind == MODAL_SUBMIT:
        raise invalid_form(Problem("type", "a form can't answer a form"))


def _choices(data: dict[str, Any]) -> list[dict[str, Any]]:
    choices: list[dict[str, Any]] = data.get("choices") or []
    problems = [
        problem
        for index, choice in enumerate(choices)
        for problem in commands.autocomplete_problems(f"data.choices.{index}.", choice)
    ]
    if len(choices) > commands.MAX_CHOICES:
        problems.append(Problem("data.choices", "Must be 25 or fewer in length."))
    if problems:
        raise invalid_form(*problems)
    return choices


def _show(used: Interaction, message: Message) -> None:
    used.channel.add(message)


def _callback_response(used: Interaction) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": used.id,
        "type": used.kind,
        "response_message_loading": bool(used.response and used.response.is_loading),
    }
    resource: dict[str, Any] = {"type": used.callback}
    if used.response:
        told["response_message_id"] = used.response.id
        told["response_message_ephemeral"] = used.ephemeral
        resource["message"] = payloads.message(used.response)
    return {"interaction": told, "resource": resource}


def _refused(used: Interaction, error: ApiError) -> ApiError:
    used.refused.append(error.code)
    return error
