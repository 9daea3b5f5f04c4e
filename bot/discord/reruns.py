"""Reruns: whoever edits a question soon after asking it may have it answered again."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bot.discord.answering import replace_origin
from bot.discord.custom_ids import CustomId
from bot.discord.delivery import Delivery, DeliveryFailed
from bot.discord.turns import RunningTurn, Turns
from bot.errors import Refusal
from bot.outgoing import Button, OutgoingMessage
from bot.people.person import Person
from interpreter.logs import get_logger

log = get_logger(__name__)

_WITHIN_S = 600.0
_MOST_REMEMBERED = 2_000
_FORGOTTEN = "I no longer remember that question; please ask anew."


@dataclass(slots=True)
class _Question:
    """A question as it was asked.

    Attributes:
        text: as the message said it when it was answered.
        wanted: as it says it now; None if nobody has changed it.
        is_taken: whether it is about to be asked again.
    """

    turn: RunningTurn
    asked_at: float
    text: str
    wanted: str | None = None
    is_taken: bool = False


class Reruns:
    """Questions of the last minutes, by the message they were asked in."""

    def __init__(
        self,
        turns: Turns,
        delivery: Delivery,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it.

        Args:
            turns: where questions are asked again.
            delivery: sends the offer.
            now: tells the time in seconds.
        """
        self._turns = turns
        self._delivery = delivery
        self._now = now
        self._questions: OrderedDict[int, _Question] = OrderedDict()

    def remember(self, message_id: int, turn: RunningTurn) -> None:
        """Remember in which message a question was asked."""
        self._questions[message_id] = _Question(turn, self._now(), turn.asked.question)
        while len(self._questions) > _MOST_REMEMBERED:
            self._questions.popitem(last=False)

    def forget(self, user_id: str) -> None:
        """Forget a user's questions."""
        self._questions = OrderedDict(
            (message_id, known)
            for message_id, known in self._questions.items()
            if known.turn.asked.person.user_id != user_id
        )

    async def edited(self, message_id: int, author_id: str, question: str) -> None:
        """Offer to ask again, if a message was a question of late and says something else now."""
        known = self._questions.get(message_id)
        if known is None or self._now() - known.asked_at > _WITHIN_S:
            return
        asked = known.turn.asked
        if author_id != asked.person.user_id or not question:
            return
        is_offered = known.wanted is not None
        if question == known.text and not is_offered:  # a preview was added, or the like
            return
        known.wanted = question
        if is_offered:  # the offer stands already, and takes the newest text
            return
        button = Button(
            "Run it again", str(CustomId("rerun", author_id, str(message_id))), "primary"
        )
        offer = OutgoingMessage(
            "You changed your question. Shall I answer the new one?", buttons=(button,)
        )
        try:
            await self._delivery.send(asked.destination.without_interaction(), offer)
        except DeliveryFailed as error:
            log.info("rerun not offered", reason=type(error).__name__)

    async def press(self, ctx: Any, pressed: CustomId, person: Person) -> None:
        """Ask the question again as it stands now; its answer replaces the last one in memory."""
        known = self._questions.get(int(pressed.ref)) if pressed.ref.isdecimal() else None
        if (
            known is None
            or known.wanted is None
            or known.turn.asked.person.user_id != pressed.asker
        ):
            raise Refusal(_FORGOTTEN)
        if known.is_taken:
            raise Refusal("I am about to answer that.")
        known.is_taken = True
        try:
            await ctx.defer(edit_origin=True)
            await self._ask_again(int(pressed.ref), known, person)
        finally:
            known.is_taken = False
        await replace_origin(ctx, "Answering the new question…")

    async def _ask_again(self, message_id: int, known: _Question, person: Person) -> None:
        earlier = known.turn
        self._turns.stop(earlier)
        await self._turns.wait(earlier)
        if self._questions.get(message_id) is not known:  # its asker has everything deleted
            raise Refusal(_FORGOTTEN)
        asked = replace(
            earlier.asked,
            person=person,
            destination=earlier.asked.destination.without_interaction(),
            question=known.wanted or known.text,
            # What came with it is stored; if it isn't yet, it is downloaded once more.
            incoming=() if earlier.files else earlier.asked.incoming,
            files=earlier.files,
            replacing=earlier,
        )
        self.remember(message_id, self._turns.ask(asked))
