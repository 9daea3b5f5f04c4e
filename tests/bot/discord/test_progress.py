"""Progress: what a turn's message says, and that it is edited with measure."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.discord.delivery import Delivery, Destination
from bot.discord.metrics import Metrics
from bot.discord.posting import Backoff
from bot.discord.progress import Progress, ProgressState
from bot.discord.rest import DiscordHTTP
from bot.messages.lengths import length
from bot.outgoing import MESSAGE_CHARS, Button
from bot.turn_events import (
    AnswerText,
    CellDone,
    CellInstalling,
    CellOutput,
    CellRunning,
    CellWaiting,
    ModelWaiting,
    Thinking,
    TurnEvent,
)
from interpreter import ClearOutput, Execution, RecordStore, Stream
from tests.discord_double import Channel, DiscordDouble

DONE = Execution(status="ok", code="1")


def printed(text: str, number: int = 1) -> CellOutput:
    return CellOutput(number, Stream("stdout", text))


def told(*events: TurnEvent, at: float = 100.0, later: float = 0.0) -> str:
    """What the message says some time after the last of these events."""
    state = ProgressState()
    for event in events:
        state = state.after(event, at)
    return state.text(at + later)


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ((), "Thinking…"),
        ((Thinking(1),), "Thinking…"),
        ((Thinking(2),), "Looking at the results…"),
        ((CellWaiting(2, "x"),), "Getting ready for cell 2…"),
        ((CellInstalling(1, ("seaborn",)),), "Installing seaborn…"),
        ((CellInstalling(1, ("a", "b")),), "Installing a, b…"),
        ((CellInstalling(1, tuple("abcdef")),), "Installing a, b, c, d and 2 more…"),
        ((CellInstalling(1, ()),), "Installing packages…"),
        ((CellRunning(2, 300.0),), "Running cell 2 (0 s of 300 s)…"),
        ((CellRunning(2, 2.5),), "Running cell 2 (0 s of 2.5 s)…"),
        ((CellRunning(1, 300.0, run_s=12.9),), "Running cell 1 (12 s of 300 s)…"),
        ((CellRunning(1, 0.0),), "Running cell 1 (0 s)…"),
        ((CellRunning(1, 9.0), CellDone(1, DONE)), "Cell 1 is done…"),
        (
            (ModelWaiting("The model's server is busy.", 4.4),),
            "The model's server is busy; asking again in 4 s…",
        ),
        ((AnswerText("It is"), AnswerText("It is 4")), "It is 4\n-# Thinking…"),
        (
            (AnswerText("Let me see"), CellWaiting(1, "x")),
            "Let me see\n-# Getting ready for cell 1…",
        ),
        ((AnswerText("Let me see"), Thinking(2)), "Looking at the results…"),
        ((AnswerText("It"), ModelWaiting("busy", 1.0)), "busy; asking again in 1 s…"),
        (
            (CellRunning(1, 9.0), printed("one\ntwo\n")),
            "```\none\ntwo\n```\n-# Running cell 1 (0 s of 9 s)…",
        ),
        ((CellRunning(1, 9.0), printed("one"), CellDone(1, DONE)), "Cell 1 is done…"),
        (
            (CellRunning(1, 9.0), printed("one"), CellOutput(1, ClearOutput(wait=False))),
            "Running cell 1 (0 s of 9 s)…",
        ),
    ],
)
def test_message_says_what_the_turn_is_doing(events: tuple[TurnEvent, ...], text: str) -> None:
    assert told(*events) == text


@pytest.mark.parametrize(
    ("output", "tail"),
    [
        ("10%\r20%\r30%", "30%"),
        ("a\r\nb\r\n", "a\nb"),
        ("".join(f"{n}\n" for n in range(10)), "4\n5\n6\n7\n8\n9"),
        ("x" * 600, "x" * 500),
        ("one\n\n\n", "one"),
    ],
)
def test_output_is_shown_as_a_terminal_ends(output: str, tail: str) -> None:
    assert f"```\n{tail}\n```" in told(CellRunning(1, 9.0), printed(output))


def test_time_goes_on_while_a_cell_runs_but_not_past_its_limit() -> None:
    running = CellRunning(1, 300.0, run_s=10.0)
    assert "(14 s of 300 s)" in told(running, later=4.5)
    assert "(300 s of 300 s)" in told(running, later=1000.0)


def test_clock_stands_while_packages_are_installed_or_an_answer_is_awaited() -> None:
    running = ProgressState().after(CellRunning(1, 300.0), 0.0)
    assert running.ticks
    installing = running.after(CellInstalling(1, ("seaborn",)), 5.0)
    assert (installing.ticks, installing.text(9.0)) == (False, "Installing seaborn…")
    asked = running.after(printed("Hello"), 5.0).saying("The code waits for your answer…")
    assert not asked.ticks
    assert asked.text(9.0) == "```\nHello\n```\n-# The code waits for your answer…"
    assert "(5 s of" in asked.after(CellRunning(1, 300.0, run_s=5.0), 60.0).text(60.0)


def test_of_a_long_answer_the_newest_words_are_shown() -> None:
    text = told(AnswerText("\n\n".join(f"paragraph {n} " + "x " * 100 for n in range(30))))
    assert "paragraph 29" in text and "paragraph 0" not in text


def test_hostile_names_and_output_stay_what_they_are() -> None:
    assert told(CellInstalling(1, ("**a** <@1>",))) == r"Installing \*\*a\*\* <@​1>…"
    shown = told(CellRunning(1, 9.0), printed("```\n@everyone"))
    assert shown.count("```") == 2, "output can't end its block"


EVENTS = st.one_of(
    st.builds(Thinking, st.integers(1, 9)),
    st.builds(AnswerText, st.text(max_size=200).map(lambda text: text * 40)),
    st.builds(ModelWaiting, st.text(max_size=400), st.floats(0, 1e6)),
    st.builds(CellInstalling, st.just(1), st.lists(st.text(max_size=99), max_size=9).map(tuple)),
    st.builds(CellRunning, st.integers(1, 9), st.floats(0, 1e6), st.floats(0, 1e6)),
    st.builds(printed, st.text(max_size=100).map(lambda text: text * 20)),
)


@given(st.lists(EVENTS, max_size=6))
def test_message_fits_whatever_happens(events: list[TurnEvent]) -> None:
    text = told(*events, later=3.0)
    assert text.strip()
    assert length(text) <= MESSAGE_CHARS


def test_message_fits_with_much_of_everything() -> None:
    text = told(AnswerText("`x` 😀 " * 150), CellRunning(1, 9.0), printed("```😀" * 2000))
    assert "`x` 😀" in text and "Running cell 1" in text
    assert 1500 < length(text) <= MESSAGE_CHARS


# -- the message itself --------------------------------------------------------------------------


@pytest.fixture
def channel(discord: DiscordDouble) -> Channel:
    return discord.guild().text_channel("data")


@pytest.fixture
async def delivery(
    http: DiscordHTTP, records: RecordStore, tmp_path: Path
) -> AsyncIterator[Delivery]:
    opened = Delivery.open(
        http,
        records=records,
        directory=tmp_path / "outbox",
        metrics=Metrics(),
        backoff=Backoff(0.01, 0.05),
    )
    async with opened as delivery:
        yield delivery


def progress_in(delivery: Delivery, channel: Channel, *, tick_s: float = 60.0) -> Progress:
    button = Button("Stop", "cm:stop:1:x", "danger")
    to = Destination(int(channel.id))
    return Progress(delivery, to, stop_button=button, pause_s=0.01, tick_s=tick_s)


async def test_one_message_is_edited_and_ends_as_it_was_last_told(
    delivery: Delivery, channel: Channel
) -> None:
    async with progress_in(delivery, channel) as progress:
        message = await channel.wait_for()
        assert (message.content, message.buttons) == ("Thinking…", ("Stop",))
        progress.on_event(CellWaiting(1, "x"))
        progress.on_event(CellRunning(1, 300.0))
        await channel.wait_for(lambda m: "Running cell 1" in m.content)
    assert len(channel.messages) == 1
    assert progress.sent is not None and str(progress.sent.message_id) == message.id


async def test_nothing_is_edited_when_nothing_changes(
    discord: DiscordDouble, delivery: Delivery, channel: Channel
) -> None:
    async with progress_in(delivery, channel) as progress:
        message = await channel.wait_for()
        progress.on_event(Thinking(1))
        progress.on_event(Thinking(1))
        progress.say("Now something else…")
        await channel.wait_for(lambda m: m.content == "Now something else…")
    assert [edit.content for edit in message.edits] == ["Thinking…"]


async def test_time_is_told_anew_while_a_cell_runs(delivery: Delivery, channel: Channel) -> None:
    now = [0.0]
    button = Button("Stop", "cm:stop:1:x", "danger")
    progress = Progress(
        delivery,
        Destination(int(channel.id)),
        stop_button=button,
        now=lambda: now[0],
        pause_s=0.01,
        tick_s=0.01,
    )
    async with progress:
        progress.on_event(CellRunning(1, 300.0))
        await channel.wait_for(lambda m: "(0 s of" in m.content)
        now[0] = 7.0
        await channel.wait_for(lambda m: "(7 s of" in m.content)


async def test_edits_that_discord_refuses_are_made_up_for_by_later_ones(
    discord: DiscordDouble, delivery: Delivery, channel: Channel
) -> None:
    async with progress_in(delivery, channel) as progress:
        await channel.wait_for()
        fault = discord.faults.rest(status=429, method="PATCH", retry_after=0.01)
        progress.say("lost, perhaps")
        await discord.until(lambda: fault.hits)
        progress.say("the latest")
        await channel.wait_for(lambda m: m.content == "the latest")
    assert len(channel.messages) == 1


async def test_turn_goes_on_where_there_can_be_no_message(
    discord: DiscordDouble, delivery: Delivery, channel: Channel
) -> None:
    channel.deny_bot(["send_messages"])
    async with progress_in(delivery, channel) as progress:
        progress.say("nobody sees this")
        await discord.until(lambda: len(discord.requests) > 1)
    assert progress.sent is None


async def test_last_edit_never_comes_after_the_end(
    discord: DiscordDouble, delivery: Delivery, channel: Channel
) -> None:
    async with progress_in(delivery, channel) as progress:
        message = await channel.wait_for()
        progress.say("on its way")
        await asyncio.sleep(0)
    content, edits = message.content, len(message.edits)
    requests = len(discord.requests)
    progress.say("too late")
    await asyncio.sleep(0)
    assert (message.content, len(message.edits), len(discord.requests)) == (
        content,
        edits,
        requests,
    )


@pytest.mark.parametrize("comes", [True, False])
async def test_first_message_that_comes_after_the_end_is_taken_back(
    discord: DiscordDouble,
    delivery: Delivery,
    channel: Channel,
    monkeypatch: pytest.MonkeyPatch,
    comes: bool,
) -> None:
    monkeypatch.setattr("bot.discord.progress._LAST_EDIT_S", 0.01)
    fault = discord.faults.rest(status=503, times=10_000, method="POST", after=comes)
    async with progress_in(delivery, channel) as progress:
        await discord.until(lambda: fault.hits)
    assert progress.sent is None
    discord.faults.clear()
    await progress.take_back()
    assert channel.messages == []
    assert [message.content for message in channel.all_messages] == ["Thinking…"]
