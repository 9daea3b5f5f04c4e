"""Reruns: which edits are new questions. Pressing the button is in ``conversations``."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from bot.discord.custom_ids import CustomId
from bot.discord.destinations import DeliveryFailed, Destination, SentMessage
from bot.discord.reruns import Reruns
from bot.discord.turns import Asked, RunningTurn
from bot.errors import Refusal
from bot.outgoing import OutgoingMessage
from bot.people.person import Person

ANNA, BEN, MESSAGE = "1067162944699961234", "1067162944699969999", 77
PERSON = Person(user_id=ANNA, name="anna")


@dataclass
class Delivery:
    """Keeps what is sent."""

    sent: list[tuple[Destination, OutgoingMessage]] = field(default_factory=list)
    failure: DeliveryFailed | None = None

    async def send(self, to: Destination, message: OutgoingMessage) -> SentMessage:
        if self.failure:
            raise self.failure
        self.sent.append((to, message))
        return SentMessage(1, len(self.sent), to)


@dataclass
class Turns:
    """Keeps what is asked."""

    asked: list[Asked] = field(default_factory=list)
    stopped: list[RunningTurn] = field(default_factory=list)
    refusal: Refusal | None = None

    def stop(self, turn: RunningTurn) -> None:
        self.stopped.append(turn)

    async def wait(self, turn: RunningTurn) -> None:
        assert turn in self.stopped
        await asyncio.sleep(0)

    def ask(self, asked: Asked) -> RunningTurn:
        if self.refusal:
            raise self.refusal
        self.asked.append(asked)
        return RunningTurn("new", asked)


@dataclass
class Press:
    """A press of the button, as the library brings it."""

    shown: str = ""

    async def defer(self, *, edit_origin: bool) -> None:
        assert edit_origin

    async def edit_origin(self, *, content: str, **_: Any) -> None:
        self.shown = content


@dataclass
class Lab:
    """Anna has asked something."""

    delivery: Delivery = field(default_factory=Delivery)
    turns: Turns = field(default_factory=Turns)
    now: float = 1000.0
    reruns: Reruns = field(init=False)
    turn: RunningTurn = field(init=False)

    def __post_init__(self) -> None:
        self.reruns = Reruns(self.turns, self.delivery, now=lambda: self.now)  # type: ignore[arg-type]  # scripted
        asked = Asked(
            person=PERSON,
            destination=Destination(5, reply_to=MESSAGE),
            channel_id="5",
            question="tpyo?",
            context="(about something)",
        )
        self.turn = RunningTurn("old", asked)
        self.reruns.remember(MESSAGE, self.turn)

    async def edited(self, text: str, *, by: str = ANNA, message: int = MESSAGE) -> int:
        """How many offers there are after an edit."""
        await self.reruns.edited(message, by, text)
        return len(self.delivery.sent)

    async def press(self, ref: str = str(MESSAGE), asker: str = ANNA) -> str:
        ctx = Press()
        await self.reruns.press(ctx, CustomId("rerun", asker, ref), PERSON)
        return ctx.shown


@pytest.fixture
def lab() -> Lab:
    return Lab()


async def test_edit_offers_to_answer_the_new_text(lab: Lab) -> None:
    assert await lab.edited("typo?") == 1
    [(to, offer)] = lab.delivery.sent
    assert to == Destination(5, reply_to=MESSAGE)
    [button] = offer.buttons
    assert CustomId.parse(button.custom_id) == CustomId("rerun", ANNA, str(MESSAGE))


@pytest.mark.parametrize(
    "changes",
    [{"text": "tpyo?"}, {"text": ""}, {"by": BEN}, {"message": MESSAGE + 1}],
    ids=["the same", "nothing", "somebody else", "another message"],
)
async def test_what_is_no_new_question_offers_nothing(lab: Lab, changes: dict[str, Any]) -> None:
    assert await lab.edited(**{"text": "typo?", **changes}) == 0


@pytest.mark.parametrize(("after_s", "offers"), [(599.0, 1), (600.0, 1), (600.1, 0)])
async def test_offer_is_made_for_ten_minutes(lab: Lab, after_s: float, offers: int) -> None:
    lab.now += after_s
    assert await lab.edited("typo?") == offers


async def test_one_offer_stands_and_takes_the_newest_text(lab: Lab) -> None:
    for text in ("typo", "typo?", "tpyo?"):
        assert await lab.edited(text) == 1
    assert await lab.press() == "Answering the new question…"
    [asked] = lab.turns.asked
    assert asked.question == "tpyo?", "what the message says now"


async def test_new_turn_is_the_old_one_but_for_the_text(lab: Lab) -> None:
    await lab.edited("typo?")
    await lab.press()
    [asked] = lab.turns.asked
    assert (asked.question, asked.context) == ("typo?", "(about something)")
    assert asked.destination == lab.turn.asked.destination
    assert asked.replacing is lab.turn and lab.turns.stopped == [lab.turn]


async def test_it_can_be_edited_again_after_that(lab: Lab) -> None:
    await lab.edited("typo?")
    await lab.press()
    assert await lab.edited("typo?") == 1
    assert await lab.edited("typo!") == 2
    await lab.press()
    assert [asked.question for asked in lab.turns.asked] == ["typo?", "typo!"]


async def test_button_pressed_twice_asks_once(lab: Lab) -> None:
    await lab.edited("typo?")
    first, second = await asyncio.gather(lab.press(), lab.press(), return_exceptions=True)
    assert first == "Answering the new question…"
    assert isinstance(second, Refusal) and str(second) == "I am about to answer that."
    assert [asked.question for asked in lab.turns.asked] == ["typo?"]


async def test_question_that_is_forgotten_while_the_last_answer_ends_is_not_asked(lab: Lab) -> None:
    await lab.edited("typo?")
    pressing = asyncio.create_task(lab.press())
    await asyncio.sleep(0)
    assert lab.turns.stopped == [lab.turn]
    lab.reruns.forget(ANNA)
    with pytest.raises(Refusal, match="no longer remember"):
        await pressing
    assert lab.turns.asked == []


async def test_question_that_can_not_be_asked_now_can_be_later(lab: Lab) -> None:
    await lab.edited("typo?")
    lab.turns.refusal = Refusal("not now")
    with pytest.raises(Refusal, match="not now"):
        await lab.press()
    lab.turns.refusal = None
    assert await lab.press() == "Answering the new question…"


@pytest.mark.parametrize(
    ("ref", "asker"), [("78", ANNA), ("x", ANNA), ("", ANNA), ("٣", ANNA), (str(MESSAGE), BEN)]
)
async def test_forged_button_does_nothing(lab: Lab, ref: str, asker: str) -> None:
    await lab.edited("typo?")
    with pytest.raises(Refusal, match="no longer remember"):
        await lab.press(ref, asker)
    assert lab.turns.asked == []


async def test_without_an_edit_there_is_nothing_to_run(lab: Lab) -> None:
    with pytest.raises(Refusal, match="no longer remember"):
        await lab.press()


async def test_offer_that_can_not_be_sent_is_no_fault(lab: Lab) -> None:
    lab.delivery.failure = DeliveryFailed("no")
    assert await lab.edited("typo?") == 0


async def test_only_the_latest_questions_are_remembered(lab: Lab) -> None:
    for number in range(2000):
        lab.reruns.remember(1000 + number, lab.turn)
    assert await lab.edited("typo?") == 0
    assert await lab.edited("typo?", message=1000) == 1


async def test_deleted_users_questions_are_forgotten(lab: Lab) -> None:
    lab.reruns.forget("999")
    assert await lab.edited("typo?") == 1
    lab.reruns.forget(ANNA)
    with pytest.raises(Refusal):
        await lab.press()
    assert await lab.edited("typo? no") == 1
