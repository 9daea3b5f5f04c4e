"""Recovery: what an earlier run of the program left comes to its end, once.

The service is scripted here; a real one, killed, is in ``tests/bot/conversations``.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.conversation import ToolResult
from bot.discord.delivery import Delivery, Destination
from bot.discord.inputs import Inputs
from bot.discord.metrics import Metrics
from bot.discord.past_turns import PastTurns
from bot.discord.posting import Backoff
from bot.discord.recovery import Recovery
from bot.discord.rest import DiscordHTTP
from bot.discord.turns import Asked, Turns, stop_button, written
from bot.errors import Refusal
from bot.outgoing import OutgoingMessage
from bot.people.activity import Activity
from bot.people.conversations import Conversations
from bot.people.person import Person
from bot.settings import BotSettings
from interpreter import DatabaseUnavailable, Execution, RecordStore
from tests.bot.discord.test_turns import ANNA, BEN, Assistant, Gate
from tests.bot.fakes import FakeService, printed
from tests.discord_double import Channel, DiscordDouble

TURN = "0123456789ab"


@dataclass(frozen=True)
class Cell:
    """A cell that was running when the earlier run ended."""

    result: "asyncio.Future[Execution]"
    user_id: str = ANNA
    cell_id: str = "c1"
    note: Mapping[str, str] = field(default_factory=lambda: {"turn": TURN})
    code: str = "slow()"
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def ends(self, text: str = "done\n") -> None:
        execution = Execution(status="ok", code=self.code, outputs=(printed(text),), count=2)
        self.result.set_result(execution)


class Service(FakeService):
    """A service that has recovered cells."""

    def __init__(self) -> None:
        super().__init__()
        self.recovered: tuple[Cell, ...] = ()
        self.acknowledged: list[Cell] = []
        self.was_acknowledged = asyncio.Event()
        self.has_session = True

    def find_session(self, user_id: str) -> Any:
        return self.only_session if self.has_session else None

    async def acknowledge(self, cell: Cell) -> None:
        self.acknowledged.append(cell)
        self.was_acknowledged.set()


@dataclass
class Lab:
    """Discord, records and a service that outlast runs of the program."""

    http: DiscordHTTP
    records: Any
    directory: Path
    discord: DiscordDouble
    channel: Channel
    service: Service
    conversations: Conversations
    assistant: Assistant = field(default_factory=Assistant)
    metrics: Metrics = field(default_factory=Metrics)
    grace_s: float = 6.0
    delivery: Delivery = field(init=False)
    turns: Turns = field(init=False)

    @property
    def to(self) -> Destination:
        return Destination(int(self.channel.id))

    async def leave_turn(self, *, shown: bool = True, key: str = TURN, **changes: Any) -> Asked:
        """What a run leaves that is killed in the middle of a turn."""
        user_id = changes.pop("user_id", ANNA)
        asked = Asked(
            person=Person(user_id=user_id, name="x", guild_id="1"),
            destination=self.to,
            channel_id=self.channel.id,
            **{"question": "what is it?", **changes},
        )
        async with self.delivering() as delivery:
            await delivery.promise(key, self.to, owner=user_id, note=written(asked))
            progress = OutgoingMessage("Running cell 1", buttons=(stop_button(user_id, key),))
            sent = await delivery.send(self.to, progress)
            if shown:
                delivery.show(key, sent)
        return asked

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[Delivery]:
        opened = Delivery.open(
            self.http,
            records=self.records,
            directory=self.directory,
            metrics=self.metrics,
            backoff=Backoff(0.01, 0.05),
        )
        async with opened as delivery:
            yield delivery

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """A run of the program."""
        past = PastTurns(self.records)
        async with AsyncExitStack() as stack:
            self.delivery = await stack.enter_async_context(self.delivering())
            self.turns = await stack.enter_async_context(
                Turns.open(
                    settings=BotSettings(),
                    service=self.service,
                    assistant=self.assistant,
                    gate=Gate(),
                    conversations=self.conversations,
                    activity=Activity(self.records),
                    past=past,
                    inputs=Inputs(self.delivery),
                    delivery=self.delivery,
                    metrics=self.metrics,
                    keeps_cells=True,
                )
            )
            await stack.enter_async_context(
                Recovery.open(
                    self.service,  # type: ignore[arg-type]  # scripted
                    turns=self.turns,
                    delivery=self.delivery,
                    conversations=self.conversations,
                    past=past,
                    metrics=self.metrics,
                    again_s=0.01,
                    grace_s=self.grace_s,
                )
            )
            await self.delivery.resume()
            yield

    async def shows(self, words: str) -> Any:
        return await self.channel.wait_for(
            lambda m: words in m.content and "Stop" not in m.buttons, timeout_s=15
        )

    def ask(self, question: str, user_id: str = ANNA) -> None:
        person = Person(user_id=user_id, name="x", guild_id="1")
        self.turns.ask(
            Asked(person=person, destination=self.to, channel_id=self.channel.id, question=question)
        )

    async def over(self) -> None:
        """Wait until nothing is on its way."""
        while self.turns.running:
            await self.turns.wait(next(iter(self.turns._tasks)))
        assert await self.delivery.flush(10) == 0


@pytest.fixture
def lab(discord: DiscordDouble, http: DiscordHTTP, records: RecordStore, tmp_path: Path) -> Lab:
    return Lab(
        http,
        records,
        tmp_path / "outbox",
        discord,
        discord.guild().text_channel("data"),
        Service(),
        Conversations(records, kept=timedelta(hours=1)),
    )


def running_cell(lab: Lab, **changes: Any) -> Cell:
    cell = Cell(asyncio.get_running_loop().create_future(), **changes)
    lab.service.recovered = (*lab.service.recovered, cell)
    return cell


async def test_a_cell_that_went_on_gives_the_answer_in_place_of_the_progress(lab: Lab) -> None:
    await lab.leave_turn()
    cell = running_cell(lab)
    async with lab.run():
        progress = await lab.channel.wait_for(lambda m: "the code goes on" in m.content)
        assert lab.service.acknowledged == []
        cell.ends("the result\n")
        message = await lab.shows("the result")
        await lab.over()
    assert message is progress and len(lab.channel.by_bot) == 1
    assert message.content.startswith("-# I was restarted meanwhile")
    assert message.buttons == ("Show code", "Notebook", "Restart kernel")
    assert lab.service.acknowledged == [cell]
    assert await lab.records.list("outbox") == ()


async def test_code_of_ones_own_is_shown_above_its_result(lab: Lab) -> None:
    await lab.leave_turn(question="slow()", is_code=True)
    running_cell(lab).ends()
    async with lab.run():
        message = await lab.shows("done")
        await lab.over()
    assert "slow()" in message.content and message.buttons == ("Notebook", "Restart kernel")
    assert await lab.conversations.load(lab.channel.id, ANNA) == ()


async def test_the_conversation_knows_what_was_asked_and_what_came_of_it_once(lab: Lab) -> None:
    await lab.leave_turn()
    running_cell(lab).ends("the result\n")
    async with lab.run():
        await lab.shows("the result")
        await lab.over()
    (exchange,) = await lab.conversations.load(lab.channel.id, ANNA)
    assert exchange.messages[0].text == "what is it?"
    (result,) = (m for m in exchange.messages if isinstance(m, ToolResult))
    assert "the result" in result.text


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_the_conversation_knows_nothing_of_what_was_to_be_forgotten(
    lab: Lab, is_restarted: bool
) -> None:
    await lab.leave_turn()
    cell = running_cell(lab)
    async with lab.run():
        await lab.channel.wait_for(lambda m: "the code goes on" in m.content)
        assert lab.turns.leave_out(lab.channel.id, ANNA)
        if is_restarted:
            await lab.turns.drain(0.01)
        else:
            cell.ends()
            await lab.shows("done")
            await lab.over()
    if is_restarted:
        cell.ends()
        async with lab.run():
            await lab.shows("done")
            await lab.over()
    assert await lab.conversations.load(lab.channel.id, ANNA) == ()


@pytest.mark.parametrize("has_kernel", [True, False])
async def test_a_question_without_a_running_cell_was_cut_off_and_that_is_told(
    lab: Lab, has_kernel: bool
) -> None:
    lab.service.has_session = has_kernel
    lab.service.only_session.live = True
    await lab.leave_turn()
    async with lab.run():
        message = await lab.shows("I was restarted before this was done.")
        await lab.over()
    assert len(lab.channel.by_bot) == 1 and message.buttons == ()
    assert ("variables" in message.content) is has_kernel
    async with lab.run():
        await lab.over()
    assert len(lab.channel.by_bot) == 1, "it is told once"


async def test_another_turn_s_cell_of_the_same_user_is_no_answer(lab: Lab) -> None:
    await lab.leave_turn()
    cell = running_cell(lab, note={"turn": "ffffffffffff"})
    cell.ends("of another\n")
    async with lab.run():
        await lab.shows("I was restarted before this was done.")
        await lab.over()
        await asyncio.wait_for(lab.service.was_acknowledged.wait(), 10)
    assert "of another" not in lab.discord.transcript()


async def test_of_several_cells_each_is_forgotten_in_the_end(lab: Lab) -> None:
    await lab.leave_turn()
    cells = [
        running_cell(lab, cell_id="a", code="earlier()"),
        running_cell(lab, cell_id="b"),
        running_cell(lab, cell_id="c", note={}),
        running_cell(lab, cell_id="d", note={}),
    ]
    async with lab.run():
        for cell in cells:
            cell.ends(f"of {cell.cell_id}\n")
        message = await lab.shows("of b")
        await lab.over()
        async with asyncio.timeout(10):
            while len(lab.service.acknowledged) < len(cells):
                lab.service.was_acknowledged.clear()
                await lab.service.was_acknowledged.wait()
    assert lab.channel.by_bot == [message] and "of a" not in message.content
    assert {cell.cell_id for cell in lab.service.acknowledged} == {"a", "b", "c", "d"}


@pytest.mark.parametrize("has_cell", [False, True])
async def test_an_answer_that_nobody_could_write_down_is_not_written_over(
    lab: Lab, has_cell: bool
) -> None:
    asked = await lab.leave_turn()
    real, away = lab.records, [False]

    class Records:
        def __getattr__(self, name: str) -> Any:
            async def call(*args: Any, **options: Any) -> Any:
                if away[0]:
                    raise DatabaseUnavailable("mongodb://…", "away")
                return await getattr(real, name)(*args, **options)

            return call

    lab.records = Records()
    async with lab.delivering() as delivery:
        (promise,) = await delivery.promised()
        away[0] = True
        answer = OutgoingMessage("The answer")
        await delivery.deliver(
            lab.to, (answer,), replacing=promise.shown, owner=ANNA, key=promise.key
        )
    away[0] = False
    if has_cell:  # its end could be written down nowhere either
        running_cell(lab).ends()
    async with lab.run():
        await lab.over()
        if has_cell:
            await asyncio.wait_for(lab.service.was_acknowledged.wait(), 10)
        while await lab.records.list("outbox"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # it is struck off
    assert [message.content for message in lab.channel.by_bot] == ["The answer"]
    assert await lab.conversations.load(asked.channel_id, ANNA) == ()


async def test_a_message_that_can_t_be_read_is_not_written_over(lab: Lab) -> None:
    await lab.leave_turn()
    lab.channel.deny_bot(["read_message_history"])
    async with lab.run():
        await lab.shows("I was restarted before this was done.")
        await lab.over()
    assert len(lab.channel.by_bot) == 2


async def test_another_user_s_cell_is_no_answer_whatever_its_note_says(lab: Lab) -> None:
    await lab.leave_turn()
    running_cell(lab, user_id=BEN).ends("of another\n")
    async with lab.run():
        await lab.shows("I was restarted before this was done.")
        await lab.over()
    assert "of another" not in lab.discord.transcript()


async def test_progress_nobody_had_written_down_is_found_by_its_button(lab: Lab) -> None:
    await lab.leave_turn(shown=False)
    async with lab.run():
        await lab.shows("I was restarted before this was done.")
        await lab.over()
    assert len(lab.channel.by_bot) == 1


async def test_progress_that_is_gone_costs_nobody_the_answer(lab: Lab) -> None:
    await lab.leave_turn()
    lab.channel.by_bot[-1].remove()
    running_cell(lab).ends()
    async with lab.run():
        await lab.shows("done")
        await lab.over()
    assert len(lab.channel.by_bot) == 1


async def test_the_next_question_waits_behind_the_cell(lab: Lab) -> None:
    await lab.leave_turn()
    cell = running_cell(lab)
    async with lab.run():
        lab.ask("and now?")
        await lab.channel.wait_for(lambda m: "next, after your other" in m.content)
        with pytest.raises(Refusal, match="waiting already"):
            lab.ask("a third")
        lab.ask("ben's", BEN)
        await lab.shows("Answer to ben's")
        assert "and now?" not in lab.assistant.questions
        cell.ends()
        await lab.shows("Answer to and now?")
        await lab.over()


async def test_stop_still_stops_the_cell(lab: Lab) -> None:
    await lab.leave_turn()
    cell = running_cell(lab)
    async with lab.run():
        turn = lab.turns.find(TURN)
        assert turn is not None
        lab.service.only_session.on_interrupt = lambda: cell.ends("interrupted\n")
        lab.turns.stop(turn)
        await lab.shows("interrupted")
        await lab.over()


async def test_a_cell_that_doesn_t_heed_stop_is_ended_with_its_kernel(lab: Lab) -> None:
    lab.grace_s = 0.01
    await lab.leave_turn()
    cell = running_cell(lab)
    session = lab.service.only_session
    async with lab.run():
        turn = lab.turns.find(TURN)
        assert turn is not None
        lab.turns.stop(turn)
        await session.stopped.wait()
        cell.ends("ended with its kernel\n")
        await lab.shows("ended with its kernel")
        await lab.over()
    assert (session.interrupts, session.restarts) == (1, 1)


async def test_a_run_that_ends_before_the_cell_leaves_it_to_the_next_one(lab: Lab) -> None:
    await lab.leave_turn()
    cell = running_cell(lab)
    async with lab.run():
        await lab.channel.wait_for(lambda m: "the code goes on" in m.content)
        await lab.turns.drain(0.01)
        await lab.shows("the code goes on")
    assert (lab.service.acknowledged, lab.service.only_session.interrupts) == ([], 0)
    cell.ends()
    async with lab.run():
        await lab.shows("done")
        await lab.over()
    assert len(lab.channel.by_bot) == 1 and lab.service.acknowledged == [cell]


async def test_killed_between_the_outbox_and_the_acknowledgement_it_is_delivered_once(
    lab: Lab,
) -> None:
    await lab.leave_turn()
    cell = running_cell(lab)
    cell.ends()
    killed = asyncio.Event()

    async def never_done(recovered: Cell) -> None:
        killed.set()
        await asyncio.Event().wait()

    acknowledge = lab.service.acknowledge
    lab.service.acknowledge = never_done  # type: ignore[method-assign]  # as far as a killed one gets
    async with lab.run():
        await asyncio.wait_for(killed.wait(), 10)
    assert "done" not in lab.discord.transcript()
    lab.service.acknowledge = acknowledge  # type: ignore[method-assign]
    async with lab.run():
        await lab.shows("done")
        await lab.over()
        await asyncio.wait_for(lab.service.was_acknowledged.wait(), 10)
    async with lab.run():
        await lab.over()
    assert len(lab.channel.by_bot) == 1
    assert lab.channel.by_bot[0].content.count("done") == 1


async def test_a_database_that_is_away_at_the_start_is_waited_for(lab: Lab) -> None:
    await lab.leave_turn()
    running_cell(lab).ends()
    real, away = lab.records, [True]

    class Records:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        async def list(self, *args: Any, **options: Any) -> Any:
            if away[0]:
                raise DatabaseUnavailable("mongodb://…", "away")
            return await real.list(*args, **options)

    lab.records = Records()
    async with lab.run():
        assert lab.turns.running == 0
        away[0] = False
        await lab.shows("done")
        await lab.over()


async def test_a_cell_without_a_result_is_told_as_a_fault(lab: Lab) -> None:
    await lab.leave_turn()
    cell = running_cell(lab)
    cell.result.set_exception(DatabaseUnavailable("mongodb://…", "away"))
    async with lab.run():
        message = await lab.shows("")
        await lab.over()
    assert message.content and len(lab.channel.by_bot) == 1
    assert lab.service.acknowledged == [cell]
