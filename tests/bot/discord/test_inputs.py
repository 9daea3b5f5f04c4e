"""Inputs: what a cell asks, and the ways to answer it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.discord.custom_ids import CustomId
from bot.discord.delivery import Delivery, Destination
from bot.discord.inputs import FIELD, Inputs
from bot.discord.metrics import Metrics
from bot.discord.posting import Backoff
from bot.discord.rest import DiscordHTTP
from bot.errors import Refusal
from interpreter import RecordStore
from tests.discord_double import Channel, DiscordDouble, Message

ANNA, OTHER = "1067162944699961234", "1067162944699969999"


@pytest.fixture
def channel(discord: DiscordDouble) -> Channel:
    return discord.guild().text_channel("data")


@pytest.fixture
async def inputs(http: DiscordHTTP, records: RecordStore, tmp_path: Path) -> AsyncIterator[Inputs]:
    opened = Delivery.open(
        http,
        records=records,
        directory=tmp_path / "outbox",
        metrics=Metrics(),
        backoff=Backoff(0.01, 0.05),
    )
    async with opened as delivery:
        yield Inputs(delivery)


def asking(
    inputs: Inputs, channel: Channel, prompt: str, *, is_secret: bool = False
) -> "asyncio.Task[str]":
    """A cell that asks Anna."""

    async def ask() -> str:
        return await inputs.asking(ANNA, Destination(int(channel.id)))(prompt, is_secret)

    return asyncio.create_task(ask())


def form_of(inputs: Inputs, ref: str) -> Any:
    return inputs.form(ref, ANNA).to_dict()["data"]


def ref_of(question: Message) -> str:
    found = CustomId.parse(question.button("Answer")["custom_id"])
    assert found is not None and (found.action, found.asker) == ("answer", ANNA)
    return found.ref


async def test_question_names_its_prompt_and_is_answered_in_words(
    discord: DiscordDouble, inputs: Inputs, channel: Channel
) -> None:
    cell = asking(inputs, channel, "Your name? ")
    question = await channel.wait_for(lambda m: "Answer" in m.buttons)
    assert question.content.startswith("The code asks: **Your name?**\n")
    assert "or reply" in question.content
    assert inputs.by_words(ANNA, int(channel.id), "Anna")
    assert await cell == "Anna"
    await discord.until(lambda: question.deleted, what="the question is gone")


async def test_question_is_answered_by_its_form(inputs: Inputs, channel: Channel) -> None:
    cell = asking(inputs, channel, "How many?")
    ref = ref_of(await channel.wait_for(lambda m: "Answer" in m.buttons))
    form = form_of(inputs, ref)
    assert CustomId.parse(form["custom_id"]) == CustomId("answer", ANNA, ref, is_form=True)
    [field] = form["components"][0]["components"]
    assert (field["label"], field["custom_id"]) == ("How many?", FIELD)
    assert (field["style"], field["required"]) == (2, False)
    inputs.by_form(ref, ANNA, "two\nlines")
    assert await cell == "two\nlines"


async def test_answer_may_be_empty(inputs: Inputs, channel: Channel) -> None:
    cell = asking(inputs, channel, "Enter to go on")
    inputs.by_form(ref_of(await channel.wait_for()), ANNA, "")
    assert await cell == ""


async def test_secret_is_taken_from_the_form_alone(inputs: Inputs, channel: Channel) -> None:
    cell = asking(inputs, channel, "Password:", is_secret=True)
    question = await channel.wait_for()
    assert "secret" in question.content
    assert not inputs.by_words(ANNA, int(channel.id), "hunter2"), "it stands in the channel"
    [field] = form_of(inputs, ref_of(question))["components"][0]["components"]
    assert field["style"] == 1
    inputs.by_form(ref_of(question), ANNA, "hunter2")
    assert await cell == "hunter2"


async def test_nobody_else_answers(inputs: Inputs, channel: Channel) -> None:
    cell = asking(inputs, channel, "Your name?")
    ref = ref_of(await channel.wait_for())
    assert not inputs.by_words(OTHER, int(channel.id), "Mallory")
    for call in (lambda: inputs.form(ref, OTHER), lambda: inputs.by_form(ref, OTHER, "Mallory")):
        with pytest.raises(Refusal, match="no longer waits"):
            call()
    assert not cell.done()
    assert inputs.by_words(ANNA, int(channel.id), "Anna")
    assert await cell == "Anna"


async def test_words_in_another_channel_are_no_answer(
    discord: DiscordDouble, inputs: Inputs, channel: Channel
) -> None:
    cell = asking(inputs, channel, "Your name?")
    await channel.wait_for()
    assert not inputs.by_words(ANNA, int(channel.id) + 1, "a question of its own")
    assert inputs.by_words(ANNA, int(channel.id), "Anna")
    await cell


async def test_first_answer_counts_and_a_late_one_is_told(inputs: Inputs, channel: Channel) -> None:
    cell = asking(inputs, channel, "Your name?")
    ref = ref_of(await channel.wait_for())
    inputs.by_form(ref, ANNA, "first")
    assert not inputs.by_words(ANNA, int(channel.id), "second")
    with pytest.raises(Refusal, match="no longer waits"):
        inputs.by_form(ref, ANNA, "third")
    assert await cell == "first"
    with pytest.raises(Refusal, match="no longer waits"):
        inputs.form(ref, ANNA)


async def test_question_goes_when_the_cell_no_longer_waits(
    discord: DiscordDouble, inputs: Inputs, channel: Channel
) -> None:
    cell = asking(inputs, channel, "Your name?")
    question = await channel.wait_for()
    cell.cancel()  # as its time-out does, and Stop
    with pytest.raises(asyncio.CancelledError):
        await cell
    assert not inputs.by_words(ANNA, int(channel.id), "a new question")
    await discord.until(lambda: question.deleted, what="the question is gone")


async def test_button_of_an_earlier_question_does_not_answer_the_next(
    inputs: Inputs, channel: Channel
) -> None:
    first = asking(inputs, channel, "one")
    ref = ref_of(await channel.wait_for())
    assert inputs.by_words(ANNA, int(channel.id), "1")
    await first
    second = asking(inputs, channel, "two")
    await channel.wait_for(lambda m: "two" in m.content)
    with pytest.raises(Refusal, match="no longer waits"):
        inputs.by_form(ref, ANNA, "1 again")
    assert inputs.by_words(ANNA, int(channel.id), "2")
    assert await second == "2"


@pytest.mark.parametrize(
    ("prompt", "label", "said"),
    [
        ("", "Your answer", "The code waits for your input."),
        ("  \n ", "Your answer", "The code waits for your input."),
        ("x" * 45, "x" * 45, f"The code asks: **{'x' * 45}**"),
        ("x" * 46, "x" * 44 + "…", f"The code asks: **{'x' * 46}**"),
        ("x" * 9999, "x" * 44 + "…", f"The code asks: **{'x' * 900}**"),
        ("*" * 9999, "*" * 44 + "…", "The code asks: **"),
        ("**bold**", "**bold**", r"The code asks: **\*\*bold\*\***"),
        ("a\x00b @everyone", "ab @everyone", "The code asks: **ab @​everyone**"),
        ("1) one\n2) two\nWhich? ", "Which?", "The code asks:\n```\n1) one\n2) two\nWhich?\n```"),
    ],
)
async def test_any_prompt_can_be_asked(
    inputs: Inputs, channel: Channel, prompt: str, label: str, said: str
) -> None:
    cell = asking(inputs, channel, prompt)
    question = await channel.wait_for()
    assert question.content.startswith(said)
    [field] = form_of(inputs, ref_of(question))["components"][0]["components"]
    assert field["label"] == label
    assert inputs.by_words(ANNA, int(channel.id), "x")
    await cell


async def test_where_nothing_can_be_asked_there_is_no_input(
    inputs: Inputs, channel: Channel
) -> None:
    channel.deny_bot(["send_messages"])
    with pytest.raises(EOFError):
        await asking(inputs, channel, "Your name?")
    assert not inputs.by_words(ANNA, int(channel.id), "a question of its own")
