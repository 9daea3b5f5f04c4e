"""Turns: one after the other for each user, whatever happens in them.

The assistant, the gate and the kernel are scripted here; the rest is real. Whole conversations are
in ``tests/bot/conversations``.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.chat import TurnResult
from bot.chat_model import Usage
from bot.conversation import AssistantMessage, Exchange, UserMessage
from bot.discord.custom_ids import CustomId
from bot.discord.delivery import Delivery, Destination
from bot.discord.inputs import Inputs
from bot.discord.metrics import Metrics
from bot.discord.own_code import GivenUp, run_own_code
from bot.discord.past_turns import PastTurns
from bot.discord.posting import Backoff
from bot.discord.progress import Progress
from bot.discord.rest import DiscordHTTP
from bot.discord.turns import Asked, RunningTurn, Turns
from bot.discord.uploads import Incoming
from bot.errors import ModelUnavailable, Refusal
from bot.outgoing import Button
from bot.people.activity import Activity
from bot.people.conversations import Conversations
from bot.people.gate import Grant
from bot.people.person import Person
from bot.settings import BotSettings
from interpreter import DatabaseUnavailable, Execution, RecordStore, SessionLimits
from interpreter.execution import PhaseName
from tests.bot.fakes import FakeService, FakeSession, printed
from tests.discord_double import Channel, DiscordDouble

ANNA, BEN = "1067162944699961234", "1067162944699969999"


class Gate:
    """Lets in whoever isn't to be refused."""

    def __init__(self) -> None:
        self.admitted: list[str] = []
        self.charged: list[int] = []
        self.refusal: Exception | None = None

    async def admit(self, person: Person, *, needs_model: bool = True) -> Grant:
        if self.refusal is not None:
            raise self.refusal
        self.admitted.append(person.user_id)
        return Grant(model="model-a", tokens=None, limits=SessionLimits())

    async def charge(self, person: Person, usage: Usage) -> None:
        self.charged.append(usage.total)


class Assistant:
    """Answers each question as a test says, once it may."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.results: dict[str, TurnResult | Exception] = {}
        self.ignores_stop = False
        self.changed = asyncio.Condition()

    def hold(self, question: str) -> asyncio.Event:
        """Answer a question only when the event is set, or the turn stopped."""
        return self.gates.setdefault(question, asyncio.Event())

    async def until_asked(self, question: str) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: question in self.questions)

    @property
    def questions(self) -> list[str]:
        return [asked["question"] for asked in self.asked]

    async def turn(self, **asked: Any) -> TurnResult:
        self.asked.append(asked)
        question, control = asked["question"], asked["control"]
        async with self.changed:
            self.changed.notify_all()
        if question in self.gates:
            waits = [asyncio.create_task(self.gates[question].wait())]
            if not self.ignores_stop:
                waits.append(asyncio.create_task(control.wait()))
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        if control.stopped:
            return result_of(question, status="stopped", answer="", note="Stopped.")
        scripted = self.results.get(question, result_of(question))
        if isinstance(scripted, Exception):
            raise scripted
        return scripted


def result_of(question: str, **changes: Any) -> TurnResult:
    answer = changes.pop("answer", f"Answer to {question}")
    options: dict[str, Any] = {
        "status": "answered",
        "answer": answer,
        "cells": (),
        "exchange": exchange(question, answer),
        "usage": Usage(5, 2),
        "note": None,
        "error": None,
        **changes,
    }
    return TurnResult(**options)


def exchange(question: str, answer: str) -> Exchange:
    return Exchange((UserMessage(question), AssistantMessage(answer)))


@dataclass
class Lab:
    """Turns, and everything about them."""

    discord: DiscordDouble
    channel: Channel
    conversations: Conversations
    past: PastTurns
    delivery: Delivery
    inputs: Inputs
    records: RecordStore
    gate: Gate = field(default_factory=Gate)
    assistant: Assistant = field(default_factory=Assistant)
    service: FakeService = field(default_factory=FakeService)
    metrics: Metrics = field(default_factory=Metrics)
    turns: Turns = field(init=False)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def open(self, **options: Any) -> Turns:
        self.turns = await self.stack.enter_async_context(
            Turns.open(
                settings=BotSettings(),
                service=self.service,
                assistant=self.assistant,
                gate=self.gate,
                conversations=self.conversations,
                activity=Activity(self.records),
                past=self.past,
                inputs=self.inputs,
                delivery=self.delivery,
                metrics=self.metrics,
                **options,
            )
        )
        return self.turns

    def ask(self, question: str, user_id: str = ANNA, **changes: Any) -> RunningTurn:
        asked = Asked(
            person=Person(user_id=user_id, name="somebody", guild_id="1"),
            destination=Destination(int(self.channel.id)),
            channel_id=self.channel.id,
            question=question,
            **changes,
        )
        return self.turns.ask(asked)

    async def shows(self, words: str) -> Any:
        """The message that says this at the end of a turn."""
        return await self.channel.wait_for(
            lambda m: words in m.content and "Stop" not in m.buttons, timeout_s=15
        )


@pytest_asyncio.fixture
async def lab(
    discord: DiscordDouble, http: DiscordHTTP, records: RecordStore, tmp_path: Path
) -> AsyncIterator[Lab]:
    channel = discord.guild().text_channel("data")
    opened = Delivery.open(
        http,
        records=records,
        directory=tmp_path / "outbox",
        metrics=Metrics(),
        backoff=Backoff(0.01, 0.05),
    )
    async with opened as delivery:
        lab = Lab(
            discord,
            channel,
            Conversations(records, kept=timedelta(hours=1)),
            PastTurns(records),
            delivery,
            Inputs(delivery),
            records,
        )
        async with lab.stack:
            yield lab


async def test_answer_takes_the_place_of_the_progress(lab: Lab) -> None:
    await lab.open()
    gate = lab.assistant.hold("what is it?")
    turn = lab.ask("what is it?")
    progress = await lab.channel.wait_for()
    assert (progress.content, progress.buttons) == ("Thinking…", ("Stop",))
    gate.set()
    answer = await lab.shows("Answer to what is it?")
    assert answer is progress and answer.buttons == ()
    await lab.turns.wait(turn)
    assert lab.gate.charged == [7]
    assert await lab.conversations.load(lab.channel.id, ANNA) == (
        exchange("what is it?", "Answer to what is it?"),
    )


async def test_conversation_and_context_go_to_the_assistant(lab: Lab) -> None:
    await lab.open()
    await lab.turns.wait(lab.ask("first"))
    await lab.turns.wait(lab.ask("second", context="(about this)"))
    asked = lab.assistant.asked[1]
    assert asked["question"] == "second\n\n(about this)"
    assert asked["history"] == (exchange("first", "Answer to first"),)
    assert asked["model"] == "model-a"


async def test_second_question_waits_in_sight_and_a_third_is_refused(lab: Lab) -> None:
    await lab.open()
    gate = lab.assistant.hold("one")
    lab.ask("one")
    await lab.assistant.until_asked("one")
    lab.ask("two")
    waiting = await lab.channel.wait_for(lambda m: "next, after your other" in m.content)
    assert waiting.buttons == ("Stop",)
    with pytest.raises(Refusal, match="a question waiting already"):
        lab.ask("three")
    assert lab.assistant.questions == ["one"]
    gate.set()
    await lab.shows("Answer to one")
    assert await lab.shows("Answer to two") is waiting
    lab.ask("four")
    await lab.shows("Answer to four")


async def test_question_that_is_made_ready_has_its_place(lab: Lab) -> None:
    await lab.open()
    gate = lab.assistant.hold("one")
    lab.ask("one")
    with lab.turns.reserved(ANNA):
        with pytest.raises(Refusal, match="a question waiting already"):
            lab.ask("three")
        with pytest.raises(Refusal), lab.turns.reserved(ANNA):
            pytest.fail("there was no place")
        with lab.turns.reserved("999"):
            pass
    lab.ask("two")
    gate.set()
    await lab.shows("Answer to two")


async def test_waiting_question_can_be_stopped_by_itself(lab: Lab) -> None:
    await lab.open()
    gate = lab.assistant.hold("one")
    lab.ask("one")
    await lab.assistant.until_asked("one")
    waiting = lab.ask("two")
    lab.turns.stop(waiting)
    await lab.shows("Stopped before it began.")
    assert lab.gate.admitted == [ANNA], "it isn't counted"
    lab.ask("three")
    gate.set()
    await lab.shows("Answer to three")
    assert lab.assistant.questions == ["one", "three"]


async def test_others_need_not_wait(lab: Lab) -> None:
    await lab.open()
    gate = lab.assistant.hold("anna's")
    lab.ask("anna's")
    await lab.assistant.until_asked("anna's")
    lab.ask("ben's", BEN)
    await lab.shows("Answer to ben's")
    gate.set()
    await lab.shows("Answer to anna's")


async def test_places_are_given_in_turn(lab: Lab) -> None:
    await lab.open(most_turns=1)
    gate = lab.assistant.hold("anna 1")
    lab.ask("anna 1")
    await lab.assistant.until_asked("anna 1")
    lab.ask("anna 2")
    lab.ask("ben", BEN)
    await lab.channel.wait_for(lambda m: "Many people are asking" in m.content)
    gate.set()
    await lab.shows("Answer to anna 2")
    await lab.shows("Answer to ben")
    assert lab.assistant.questions == ["anna 1", "ben", "anna 2"]


async def test_stop_delivers_what_there_is(lab: Lab) -> None:
    await lab.open()
    lab.assistant.hold("long")
    turn = lab.ask("long")
    await lab.assistant.until_asked("long")
    lab.turns.stop(turn)
    await lab.shows("Stopped.")
    await lab.turns.wait(turn)
    assert lab.turns.find(turn.turn_id) is None and lab.turns.running == 0


async def test_buttons_name_the_turn_and_its_asker(lab: Lab) -> None:
    await lab.open()
    cell = Execution(status="ok", code="1 + 1", count=1)
    lab.assistant.results["count"] = result_of("count", cells=(cell,))
    gate = lab.assistant.hold("count")
    turn = lab.ask("count")
    progress = await lab.channel.wait_for()
    stop = CustomId.parse(progress.button("Stop")["custom_id"])
    assert stop == CustomId("stop", ANNA, turn.turn_id)
    gate.set()
    answer = await lab.shows("Answer to count")
    assert answer.buttons == ("Show code", "Notebook", "Restart kernel")
    for label in answer.buttons:
        found = CustomId.parse(answer.button(label)["custom_id"])
        assert found is not None and (found.asker, found.ref) == (ANNA, turn.turn_id)
    [code] = await lab.past.code(turn.turn_id, ANNA) or ()
    assert "1 + 1" in code.content
    assert await lab.past.code(turn.turn_id, BEN) is None, "it is nobody else's"


# -- when something goes wrong -------------------------------------------------------------------


async def test_refusal_takes_the_place_of_the_progress(lab: Lab) -> None:
    await lab.open()
    lab.gate.refusal = Refusal("You have used up your questions for today.")
    lab.ask("more")
    await lab.shows("You have used up your questions for today.")
    assert len(lab.channel.messages) == 1
    assert lab.assistant.asked == []


async def test_fault_of_ours_is_one_sentence_with_an_id_that_the_log_has(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    await lab.open()
    lab.assistant.results["break"] = ZeroDivisionError("sk-secret")
    lab.ask("break")
    message = await lab.shows("That went wrong here")
    assert len(lab.channel.messages) == 1 and message.buttons == ()
    assert "sk-secret" not in message.content
    found = re.search(r"\b[0-9a-f]{8}\b", message.content)
    assert found and found[0] in caplog.text
    lab.ask("again")
    await lab.shows("Answer to again")


async def test_fault_in_a_turn_gets_an_id_too_and_its_cells_are_kept(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    await lab.open()
    cell = Execution(status="ok", code="x = 1", outputs=(printed("kept\n"),), count=1)
    lab.assistant.results["break"] = result_of(
        "break", status="failed", answer="", cells=(cell,), note="?", error=KeyError("x")
    )
    turn = lab.ask("break")
    message = await lab.channel.wait_for(lambda m: "Show code" in m.buttons)
    found = re.search(r"\b[0-9a-f]{8}\b", message.content)
    assert found and found[0] in caplog.text
    [code] = await lab.past.code(turn.turn_id, ANNA) or ()
    assert "kept" in code.content


async def test_what_the_model_fails_by_is_said_as_it_is(lab: Lab) -> None:
    await lab.open()
    error = ModelUnavailable("The model's server is down; please try later.", "503 from ...")
    lab.assistant.results["hm"] = result_of(
        "hm", status="failed", answer="", note=str(error), error=error
    )
    lab.ask("hm")
    message = await lab.shows("The model's server is down; please try later.")
    assert "503" not in message.content
    assert await lab.conversations.load(lab.channel.id, ANNA) == (), "nothing to remember"


async def test_service_that_is_away_is_said_as_it_is(lab: Lab) -> None:
    await lab.open()
    lab.service.only_session.refusal = DatabaseUnavailable("mongodb://…", "away")
    lab.ask("1 + 1", is_code=True)
    message = await lab.shows(str(lab.service.only_session.refusal))
    assert message.buttons == ()


async def test_files_that_could_not_be_had_are_told_and_the_question_answered(lab: Lab) -> None:
    await lab.open()
    lab.ask("what is it?", incoming=(Incoming("a.csv", 5, "https://example.com/a.csv"),))
    await lab.shows("Answer to what is it?")
    first, second = lab.channel.by_bot
    assert first.content.startswith("a.csv could not be had from Discord")
    assert second.content == "Answer to what is it?"


async def test_outage_keeps_the_next_question_waiting_no_longer(lab: Lab) -> None:
    await lab.open()
    gate = lab.assistant.hold("one")
    lab.ask("one")
    await lab.channel.wait_for()
    await lab.assistant.until_asked("one")
    fault = lab.discord.faults.rest(status=503, times=10_000, method="PATCH")
    gate.set()
    await lab.discord.until(lambda: fault.hits > 1)
    lab.ask("two")
    await lab.assistant.until_asked("two")
    lab.discord.faults.clear()
    await lab.shows("Answer to one")
    await lab.shows("Answer to two")


# -- a question that is asked again --------------------------------------------------------------


async def test_rerun_takes_the_place_of_the_last_exchange(lab: Lab) -> None:
    await lab.open()
    await lab.turns.wait(lab.ask("before"))
    first = lab.ask("tpyo")
    await lab.turns.wait(first)
    await lab.turns.wait(lab.ask("typo", replacing=first))
    assert lab.assistant.asked[-1]["history"] == (exchange("before", "Answer to before"),)
    kept = await lab.conversations.load(lab.channel.id, ANNA)
    assert [e.messages[0].text for e in kept] == ["before", "typo"]


async def test_rerun_leaves_alone_what_was_said_since(lab: Lab) -> None:
    await lab.open()
    first = lab.ask("tpyo")
    await lab.turns.wait(first)
    await lab.turns.wait(lab.ask("since"))
    await lab.turns.wait(lab.ask("typo", replacing=first))
    kept = await lab.conversations.load(lab.channel.id, ANNA)
    assert [e.messages[0].text for e in kept] == ["tpyo", "since", "typo"]


# -- the end of the program ----------------------------------------------------------------------


async def test_drained_turns_finish_and_no_new_ones_are_taken(lab: Lab) -> None:
    await lab.open()
    gate = lab.assistant.hold("one")
    lab.ask("one")
    await lab.assistant.until_asked("one")
    draining = asyncio.create_task(lab.turns.drain(60))
    await asyncio.sleep(0)
    with pytest.raises(Refusal, match="being restarted"):
        lab.ask("two", BEN)
    gate.set()
    await draining
    assert lab.channel.by_bot[-1].content == "Answer to one", "delivered, not only answered"


async def test_turns_that_take_too_long_are_stopped(lab: Lab) -> None:
    await lab.open()
    lab.assistant.hold("one")
    lab.ask("one")
    await lab.assistant.until_asked("one")
    await lab.turns.drain(0.01)
    assert lab.channel.by_bot[-1].content == "Stopped."


async def test_those_whose_turn_does_not_stop_are_told(lab: Lab) -> None:
    await lab.open()
    lab.assistant.hold("one")
    lab.assistant.ignores_stop = True
    lab.ask("one")
    await lab.assistant.until_asked("one")
    await lab.channel.wait_for()
    await lab.turns.drain(0.01, stopping_s=0.01)
    assert lab.turns.running == 0
    [message] = lab.channel.by_bot
    assert "restarted before this was done" in message.content and message.buttons == ()


async def test_a_cell_that_runs_on_is_left_to_the_next_run_of_the_program(lab: Lab) -> None:
    await lab.open(keeps_cells=True)
    session = lab.service.only_session
    session.will_run_on("loop()")
    turn = lab.ask("loop()", is_code=True)
    await session.running.wait()
    await lab.channel.wait_for(lambda m: "Running cell" in m.content)
    await lab.turns.drain(0.01)
    [message] = lab.channel.by_bot
    assert "the code goes on meanwhile" in message.content and message.buttons == ()
    assert (session.interrupts, session.cancelled) == (0, [])
    [promise] = await lab.records.list("outbox")
    assert promise.key == turn.turn_id
    assert (session.notes, session.kept) == ([{"turn": turn.turn_id}], 1)
    assert promise.value["promise"]["question"] == "loop()"
    assert promise.value["replacing"]["message_id"] == message.id
    session.stopped.set()


async def test_a_turn_without_a_cell_is_stopped_although_cells_are_kept(lab: Lab) -> None:
    await lab.open(keeps_cells=True)
    lab.assistant.hold("one")
    lab.ask("one")
    await lab.assistant.until_asked("one")
    await lab.turns.drain(0.01)
    await lab.shows("Stopped.")
    assert await lab.records.list("outbox") == ()


@pytest.mark.parametrize("phase", ["starting", "input"])
async def test_own_code_that_can_t_go_on_is_told_of_the_restart(lab: Lab, phase: PhaseName) -> None:
    await lab.open(keeps_cells=True)
    session = lab.service.only_session
    session.will_run_on("loop()")
    session.stays_in = phase
    lab.ask("loop()", is_code=True)
    await session.running.wait()
    await lab.turns.drain(0.01)
    message = await lab.shows("I had to be restarted before this was done")
    assert "loop()" in message.content and (session.interrupts, session.kept) == (1, 0)


async def test_a_question_that_waits_is_told_of_the_restart(lab: Lab) -> None:
    await lab.open(keeps_cells=True)
    lab.service.only_session.will_run_on("loop()")
    lab.ask("loop()", is_code=True)
    await lab.service.only_session.running.wait()
    lab.ask("two")
    await lab.channel.wait_for(lambda m: "next, after your other" in m.content)
    await lab.turns.drain(0.01)
    await lab.shows("I had to be restarted before this was done")
    assert "Stopped" not in lab.discord.transcript()
    lab.service.only_session.stopped.set()


async def test_a_turn_is_written_down_before_it_is_shown_and_no_longer_than_it_lasts(
    lab: Lab,
) -> None:
    await lab.open()
    gate = lab.assistant.hold("why?")
    turn = lab.ask("why?")
    await lab.channel.wait_for()
    [promise] = await lab.records.list("outbox", owner=ANNA)
    assert (promise.key, promise.value["promise"]["question"]) == (turn.turn_id, "why?")
    gate.set()
    await lab.shows("Answer to why?")
    await lab.delivery.flush(10)
    assert await lab.records.list("outbox") == ()


# -- code of one's own ---------------------------------------------------------------------------


async def test_own_code_is_run_without_the_assistant(lab: Lab) -> None:
    await lab.open()
    lab.service.only_session.will("print(1)", printed("one\n"))
    lab.ask("print(1)", is_code=True)
    message = await lab.shows("one")
    assert "print(1)" in message.content and message.buttons == ("Notebook", "Restart kernel")
    assert lab.assistant.asked == []


async def test_own_code_is_interrupted_by_stop(lab: Lab) -> None:
    await lab.open()
    session = lab.service.only_session
    session.will_run_on("loop()")
    turn = lab.ask("loop()", is_code=True)
    await session.running.wait()
    lab.turns.stop(turn)
    await lab.channel.wait_for(lambda m: "Notebook" in m.buttons)
    assert (session.interrupts, session.restarts) == (1, 0)


async def test_own_code_asks_for_input(lab: Lab) -> None:
    await lab.open()
    session = lab.service.only_session
    session.will_ask("input()", "Your name?")
    lab.ask("input()", is_code=True)
    await lab.channel.wait_for(lambda m: "Your name?" in m.content)
    await lab.channel.wait_for(lambda m: "waits for your answer" in m.content)
    assert lab.inputs.by_words(ANNA, int(lab.channel.id), "Anna")
    await lab.channel.wait_for(lambda m: "Notebook" in m.buttons)
    assert session.answers == ["Anna"]


@pytest.mark.parametrize("busy", [False, True])
async def test_own_code_that_can_not_be_interrupted_is_given_up(lab: Lab, busy: bool) -> None:
    session = FakeSession()
    session.will_run_on("loop()", after_interrupt=None)
    session.busy_with_others = busy
    turn = RunningTurn("x", None)  # type: ignore[arg-type]  # only its control is of interest

    async def on_input(prompt: str, is_secret: bool) -> str:
        raise AssertionError

    progress = Progress(
        lab.delivery, Destination(int(lab.channel.id)), stop_button=Button("Stop", "cm:stop:1:x")
    )
    running = asyncio.create_task(
        run_own_code(
            session,  # type: ignore[arg-type]  # scripted
            "loop()",
            progress=progress,
            on_input=on_input,
            control=turn.control,
            grace_s=0.01,
        )
    )
    if not busy:
        await session.running.wait()
    turn.control.stop()
    with pytest.raises(GivenUp) as given_up:
        await running
    assert given_up.value.had_begun is not busy
    assert session.interrupts == (0 if busy else 1), "else another cell would be hit"
    assert session.cancelled == ([] if busy else ["loop()"])
