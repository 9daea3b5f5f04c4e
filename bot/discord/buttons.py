"""Buttons: one way from a custom id to what it does, for those alone who may press it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from interactions import component_callback, modal_callback

from bot.discord.contexts import person_in
from bot.discord.custom_ids import COMPONENT, FORM, CustomId
from bot.errors import Refusal
from bot.people.gate import Gate
from bot.people.person import Person
from bot.settings import BotSettings

#: Gets the request, what the button says, and who pressed it.
Press: TypeAlias = Callable[[Any, CustomId, Person], Awaitable[None]]
MayPress: TypeAlias = Literal["asker", "moderators", "anybody"]

_NOT_YOURS = "That button is for the person who asked."
_OLD = "That button no longer does anything; please ask anew."


@dataclass(frozen=True, slots=True)
class _Action:
    press: Press
    may_press: MayPress
    also_blocked: bool


class Buttons:
    """What is done when a button is pressed or a form is sent."""

    def __init__(self, settings: BotSettings, gate: Gate) -> None:
        """Make it.

        Args:
            settings: who operates the bot.
            gate: who is blocked.
        """
        self._settings = settings
        self._gate = gate
        self._actions: dict[tuple[str, bool], _Action] = {}

    def on(
        self,
        action: str,
        press: Press,
        *,
        form: bool = False,
        may_press: MayPress = "asker",
        also_blocked: bool = False,
    ) -> None:
        """Say what an action does.

        Args:
            action: as in custom ids.
            press: does it; what it raises becomes a sentence for the person alone.
            form: whether it is a form's.
            may_press: the asker alone, moderators of the channel too, or anybody: then ``press``
                has to look itself.
            also_blocked: whether those who are blocked may, too: to have their data deleted.
        """
        assert (action, form) not in self._actions, f"{action} does something already"
        self._actions[action, form] = _Action(press, may_press, also_blocked)

    def register(self, client: Any) -> None:
        """Have the library's client send everything here."""

        @component_callback(COMPONENT)
        async def pressed(ctx: Any) -> None:
            await self._do(ctx, is_form=False)

        @modal_callback(FORM)
        async def sent(ctx: Any) -> None:
            await self._do(ctx, is_form=True)

        client.add_component_callback(pressed)
        client.add_modal_callback(sent)

    async def _do(self, ctx: Any, *, is_form: bool) -> None:
        """Do what a button says; the library's error listener tells what this raises."""
        found = CustomId.parse(ctx.custom_id)
        action = None if found is None else self._actions.get((found.action, is_form))
        if found is None or action is None or found.is_form != is_form:
            raise Refusal(_OLD)
        person = person_in(ctx, self._settings)
        is_asker = person.user_id == found.asker
        if action.may_press == "asker" and not is_asker:
            raise Refusal(_NOT_YOURS)
        if action.may_press == "moderators" and not (is_asker or person.is_moderator):
            raise Refusal("That button is for the person who asked, and for moderators.")
        if not action.also_blocked:
            await self._gate.check(person)
        await action.press(ctx, found, person)
