"""Inputs: what a cell asks by ``input()``, answered with a button and a form, or in words."""

import asyncio
from dataclasses import dataclass, field
from secrets import token_hex

from interactions import Modal, ParagraphText, ShortText

from bot.discord.custom_ids import CustomId
from bot.discord.delivery import Delivery, DeliveryFailed, Destination, SentMessage
from bot.errors import Refusal
from bot.messages import code_block, visible
from bot.messages.lengths import last, shortened
from bot.messages.plain import bold
from bot.outgoing import Button, OutgoingMessage
from interpreter import OnInput
from interpreter.logs import get_logger

log = get_logger(__name__)

#: Source: Discord's documentation, "Text Input": a label has 45 characters, a value 4000.
_LABEL_CHARS, _VALUE_CHARS = 45, 4000
#: So that a message holds it where each of its characters has to be escaped.
_PROMPT_CHARS = 900
FIELD = "answer"


@dataclass(slots=True)
class _Question:
    """A cell that waits."""

    ref: str
    user_id: str
    channel_id: int
    prompt: str
    is_secret: bool
    answer: "asyncio.Future[str]"
    sent: SentMessage | None = None
    channel_ids: set[int] = field(default_factory=set)


class Inputs:
    """All cells that wait for somebody; at most one of each user."""

    def __init__(self, delivery: Delivery) -> None:
        """Make it; ``delivery`` sends the questions."""
        self._delivery = delivery
        self._waiting: dict[str, _Question] = {}
        #: Tasks that nobody waits for have to be held, or they may vanish.
        self._tidying: set[asyncio.Task[None]] = set()

    def asking(self, user_id: str, to: Destination) -> OnInput:
        """What answers ``input()`` in a turn.

        Args:
            user_id: who is asked.
            to: where.
        """

        async def ask(prompt: str, is_secret: bool) -> str:
            return await self._ask(user_id, to, prompt, is_secret)

        return ask

    def by_words(self, user_id: str, channel_id: int, text: str) -> bool:
        """Take words as the answer, if this user's cell waits for one there; says whether it did.

        A secret isn't taken from words: they stand in the channel.
        """
        question = self._waiting.get(user_id)
        if question is None or question.is_secret or channel_id not in question.channel_ids:
            return False
        return self._answer(question, text)

    def form(self, ref: str, user_id: str) -> Modal:
        """The form for an answer.

        Raises:
            Refusal: nothing waits for it any more.
        """
        question = self._found(ref, user_id)
        # No markdown there, and one line: of a menu the last one asks.
        label = " ".join(visible(question.prompt.strip()).rpartition("\n")[2].split())
        label = shortened(label, _LABEL_CHARS) or "Your answer"
        make = ShortText if question.is_secret else ParagraphText
        return Modal(
            make(label=label, custom_id=FIELD, required=False, max_length=_VALUE_CHARS),
            title="The code asks",
            custom_id=str(CustomId("answer", user_id, ref, is_form=True)),
        )

    def by_form(self, ref: str, user_id: str, text: str) -> None:
        """Take what was written in the form.

        Raises:
            Refusal: nothing waits for it any more.
        """
        self._answer(self._found(ref, user_id), text)

    def _found(self, ref: str, user_id: str) -> _Question:
        question = self._waiting.get(user_id)
        if question is None or question.ref != ref or question.answer.done():
            raise Refusal("The code no longer waits for an answer.")
        return question

    def _answer(self, question: _Question, text: str) -> bool:
        if question.answer.done():
            return False
        question.answer.set_result(text)
        return True

    async def _ask(self, user_id: str, to: Destination, prompt: str, is_secret: bool) -> str:
        loop = asyncio.get_running_loop()
        question = _Question(
            token_hex(6), user_id, to.channel_id, prompt, is_secret, loop.create_future()
        )
        question.channel_ids.add(to.channel_id)
        self._waiting[user_id] = question
        sending = asyncio.create_task(self._send(question, to))
        try:
            return await question.answer
        finally:
            if self._waiting.get(user_id) is question:
                del self._waiting[user_id]
            sending.add_done_callback(lambda _: self._tidy_up(question))

    async def _send(self, question: _Question, to: Destination) -> None:
        prompt = last(visible(question.prompt).strip(), _PROMPT_CHARS)
        asked = f"The code asks: {bold(prompt)}" if prompt else "The code waits for your input."
        if "\n" in prompt:
            asked = f"The code asks:\n{code_block(prompt)}"
        how = (
            "Press **Answer**; don't write it into the channel, since it is meant to be secret."
            if question.is_secret
            else "Press **Answer**, or reply with it here."
        )
        button = Button(
            "Answer", str(CustomId("answer", question.user_id, question.ref)), "primary"
        )
        try:
            question.sent = await self._delivery.send(
                to, OutgoingMessage(f"{asked}\n-# {how}", buttons=(button,))
            )
        except DeliveryFailed as error:
            log.info("question of a cell not delivered", reason=type(error).__name__)
            if not question.answer.done():
                question.answer.set_exception(EOFError("Discord took no question"))
        else:
            question.channel_ids.add(question.sent.channel_id)

    def _tidy_up(self, question: _Question) -> None:
        if question.sent is not None:
            task = asyncio.create_task(self._delivery.delete(question.sent))
            self._tidying.add(task)
            task.add_done_callback(self._tidying.discard)
