"""What is meant for the bot, what it makes of it, and where it answers."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.bot.conversations.conftest import Lab, StartLab
from tests.bot.conversations.reading import answer_to, text_of
from tests.discord_double import Channel, DiscordDouble, Message, Upload


async def answer(lab: Lab, words: str, channel: Channel | None = None) -> Message:
    """The answer with these words, once it is there for good."""
    return await (channel or lab.channel).wait_for(
        lambda m: words in m.content and "Stop" not in m.buttons, timeout_s=20
    )


def question_of(lab: Lab) -> str:
    """What the model was asked last, without what it is told besides."""
    return lab.openai.last.question


@pytest_asyncio.fixture(loop_scope="session")
async def reading_lab(discord: DiscordDouble, start_lab: StartLab) -> AsyncIterator[Lab]:
    """A bot that may read everybody's messages."""
    discord.world.reads_content = True
    async with start_lab(message_content_intent=True) as opened:
        yield opened


# -- what is meant for the bot -------------------------------------------------------------------


async def test_mention_is_answered_and_is_no_part_of_the_question(lab: Lab) -> None:
    lab.openai.say("Four.")
    asked = await lab.channel.post(lab.anna, f"what {lab.discord.bot.mention} is 2+2?")
    said = await answer(lab, "Four.")
    assert "what is 2+2?" in question_of(lab)
    assert lab.discord.bot.id not in lab.openai.last.text
    assert said.reply_to is asked and said.pings == {"anna"}, "the asker, and nobody else"


async def test_reply_to_the_bot_needs_no_mention(lab: Lab) -> None:
    lab.openai.say("Four.")
    await lab.channel.post(lab.anna, "2+2?", mention_bot=True)
    first = await answer(lab, "Four.")
    lab.openai.say("Five.")
    await lab.channel.post(lab.anna, "and one more?", reply_to=first)
    await answer(lab, "Five.")
    assert "2+2?" in lab.openai.last.text, "the conversation goes on"
    assert "This replies to" not in question_of(lab), "it is part of the conversation already"


async def test_direct_message_needs_no_mention(lab: Lab) -> None:
    channel = lab.discord.dm(lab.anna)
    lab.openai.say("Hello.")
    await channel.post(lab.anna, "hi")
    said = await answer(lab, "Hello.", channel)
    assert said.channel is channel


async def test_nothing_else_is_answered(lab: Lab) -> None:
    ben, robot = lab.guild.member("ben"), lab.guild.member("robot")
    robot.is_bot = True
    other = await lab.channel.post(ben, "what do you think?")
    await lab.channel.post(lab.anna, "not much", reply_to=other)
    await lab.channel.post(lab.anna, f"ask {ben.mention}")
    await lab.channel.post(robot, "hello", mention_bot=True)
    pinned = Message(
        lab.discord.world.new_id(), lab.channel, lab.anna, lab.discord.clock.now(), kind=6
    )
    pinned.mentions = [lab.discord.bot]
    lab.channel.add(pinned)
    dm = lab.discord.dm(lab.anna)
    dm.add(Message(lab.discord.world.new_id(), dm, lab.anna, lab.discord.clock.now(), kind=6))
    # What comes later is answered, so all of that has been read.
    lab.openai.say("Only this.")
    await lab.channel.post(lab.anna, "now?", mention_bot=True)
    await answer(lab, "Only this.")
    assert len(lab.openai.requests) == 1
    assert [m.author for m in lab.channel.by_bot if m.author is not robot] == [lab.discord.bot]
    assert dm.by_bot == []


async def test_mention_alone_is_asked_what_it_wants(lab: Lab) -> None:
    await lab.channel.post(lab.anna, "", mention_bot=True)
    await answer(lab, "What would you like to know?")
    assert lab.openai.requests == []


# -- what comes with it --------------------------------------------------------------------------


async def test_message_replied_to_is_context_with_its_files(reading_lab: Lab) -> None:
    lab, ben = reading_lab, reading_lab.guild.member("ben")
    post = await lab.channel.post(ben, "our sales\n@everyone", files={"sales.csv": b"x\n7\n"})
    lab.openai.say("Seven.")
    files = {"costs.csv": b"y\n3\n"}
    asked = f"{lab.discord.bot.mention} what is in there?"
    await lab.channel.post(lab.anna, asked, reply_to=post, files=files)
    await answer(lab, "Seven.")
    question = question_of(lab)
    assert "what is in there?\n\n(This replies to a message by Ben:)\n> our sales\n>" in question
    assert "sales.csv" in question and "costs.csv" in question
    kept = await lab.service.files.list(user_id=lab.anna.id)
    assert {file.filename for file in kept} == {"sales.csv", "costs.csv"}
    assert await lab.service.files.list(user_id=ben.id) == ()


async def test_message_replied_to_that_can_not_be_read_is_told(lab: Lab) -> None:
    ben = lab.guild.member("ben")
    post = await lab.channel.post(ben, "our sales", files={"sales.csv": b"x\n7\n"})
    lab.openai.say("I can't see it.")
    asked = f"{lab.discord.bot.mention} what is in there?"
    await lab.channel.post(lab.anna, asked, reply_to=post)
    await answer(lab, "I can't see it.")
    assert "by Ben that Discord doesn't let the bot read" in question_of(lab)


async def test_reply_to_somebody_elses_answer_brings_it_along(lab: Lab) -> None:
    ben = lab.guild.member("ben")
    lab.openai.say("Ben's number is 9.")
    await lab.channel.post(ben, "my number?", mention_bot=True)
    first = await answer(lab, "Ben's number is 9.")
    await lab.discord.until(lambda: not lab.discord.rest.is_busy)
    lab.openai.say("It is odd.")
    await lab.channel.post(lab.anna, "is that odd?", reply_to=first)
    await answer(lab, "It is odd.")
    assert "> Ben's number is 9." in question_of(lab)
    assert "my number?" not in lab.openai.last.text, "but not their conversation"


async def test_forwarded_file_is_looked_at_like_one_that_is_sent(lab: Lab) -> None:
    ben, channel = lab.guild.member("ben"), lab.discord.dm(lab.anna)
    post = await lab.channel.post(ben, "", files={"Übersicht.csv": b"x\n7\n"})
    lab.openai.say("A table with one column.")
    await channel.post(lab.anna, forward=post)
    await answer(lab, "A table with one column.", channel)
    assert "sent these files without a question" in question_of(lab)
    kept = await lab.service.files.list(user_id=lab.anna.id)
    assert [file.filename for file in kept] == ["Übersicht.csv"]
    assert await lab.service.files.list(user_id=ben.id) == ()
    lab.openai.say("Seven.")
    await channel.post(lab.anna, "what is in there?")
    await answer(lab, "Seven.", channel)


async def test_forwarded_words_are_read_as_somebody_elses(lab: Lab) -> None:
    ben, channel = lab.guild.member("ben"), lab.discord.dm(lab.anna)
    post = await lab.channel.post(ben, "what is 2+2?\nand 3+3?", files={"a.csv": b"x\n7\n"})
    lab.openai.say("Four, and six.")
    await channel.post(lab.anna, forward=post)
    await answer(lab, "Four, and six.", channel)
    said = "(A forwarded message, which somebody else may have written:)\n"
    assert f"{said}> what is 2+2?\n> and 3+3?" in question_of(lab)
    assert "a.csv" in question_of(lab)
    assert not [r for r in lab.discord.requests if r.method == "GET" and "/messages/" in r.path]


async def test_reply_to_ones_own_file_is_about_the_file_that_is_kept(lab: Lab) -> None:
    lab.openai.say("One column.")
    files = {"a.csv": b"x\n7\n"}
    post = await lab.channel.post(lab.anna, "what is it?", files=files, mention_bot=True)
    await answer(lab, "One column.")
    [kept] = await lab.service.files.list(user_id=lab.anna.id)
    lab.openai.say("Seven.")
    await lab.channel.post(lab.anna, "and its sum?", reply_to=post, mention_bot=True)
    await answer(lab, "Seven.")
    assert f"a.csv (id {kept.file_id}" in question_of(lab)
    assert "sent with this question" in question_of(lab)
    [still] = await lab.service.files.list(user_id=lab.anna.id)
    assert still.file_id == kept.file_id
    await lab.service.files.delete(user_id=lab.anna.id, file_id=kept.file_id)
    lab.openai.say("Still seven.")
    await lab.channel.post(lab.anna, "and now?", reply_to=post, mention_bot=True)
    await answer(lab, "Still seven.")
    [again] = await lab.service.files.list(user_id=lab.anna.id)
    assert again.file_id != kept.file_id, "it is downloaded once more"


async def test_forward_is_asked_about_by_a_reply(reading_lab: Lab) -> None:
    lab, ben = reading_lab, reading_lab.guild.member("ben")
    elsewhere = lab.guild.text_channel("elsewhere")
    post = await elsewhere.post(ben, "our sales", files={"sales.csv": b"x\n7\n"})
    forward = await lab.channel.post(ben, forward=post)
    lab.openai.say("Seven.")
    asked = f"{lab.discord.bot.mention} what is in there?"
    await lab.channel.post(lab.anna, asked, reply_to=forward)
    await answer(lab, "Seven.")
    question = question_of(lab)
    assert "what is in there?\n\n(This replies to a message by Ben:)\n> our sales" in question
    assert "sales.csv" in question


async def test_forward_without_anything_is_asked_what_it_is_for(lab: Lab) -> None:
    channel = lab.discord.dm(lab.anna)
    await channel.post(lab.anna, forward=await lab.channel.post(lab.guild.member("ben"), ""))
    await answer(lab, "What would you like to know?", channel)
    assert lab.openai.requests == []


async def test_file_alone_is_answered(lab: Lab) -> None:
    lab.openai.say("A table with one column.")
    await lab.channel.post(lab.anna, "", files={"a.csv": b"x\n1\n"}, mention_bot=True)
    await answer(lab, "A table with one column.")
    assert "a.csv" in question_of(lab)


async def test_too_large_file_is_told_and_the_question_answered(lab: Lab) -> None:
    files = {"large.bin": bytes((1 << 20) + 1), "a.csv": b"x\n1\n"}
    lab.openai.say("One.")
    await lab.channel.post(lab.anna, "x?", files=files, mention_bot=True)
    await answer(lab, "One.")
    assert "large.bin is too large, and a file can have 1.0 MiB here" in lab.channel.transcript()
    kept = await lab.service.files.list(user_id=lab.anna.id)
    assert [file.filename for file in kept] == ["a.csv"]


async def test_slash_command_takes_files_under_the_names_they_were_given(lab: Lab) -> None:
    lab.openai.say("Both.")
    use = await lab.anna.slash(
        lab.channel,
        "ask",
        prompt="what are these?",
        file=("Übersicht (neu).csv", b"x\n1\n"),
        file2=Upload("b.csv", b"y\n2\n"),
    )
    assert use.deferred and not use.ephemeral
    assert (await answer_to(lab, use)).content == "Both."
    kept = await lab.service.files.list(user_id=lab.anna.id)
    assert {file.filename for file in kept} == {"Übersicht (neu).csv", "b.csv"}


async def test_names_of_posted_files_are_as_they_were_given(lab: Lab) -> None:
    lab.openai.say("A table.")
    await lab.channel.post(
        lab.anna, "what is it?", files={"Übersicht (neu).csv": b"x\n1\n"}, mention_bot=True
    )
    await answer(lab, "A table.")
    kept = await lab.service.files.list(user_id=lab.anna.id)
    assert [file.filename for file in kept] == ["Übersicht (neu).csv"]


# -- where it answers ----------------------------------------------------------------------------


async def test_thread_is_opened_and_goes_on_without_mentions(reading_lab: Lab) -> None:
    lab = reading_lab
    await threads_on(lab)
    lab.openai.say("In here.")
    asked = await lab.channel.post(lab.anna, "what about **2024**?", mention_bot=True)
    await lab.discord.until(lambda: asked.thread, what="a thread")
    thread = asked.thread
    assert thread is not None and thread.name == "what about **2024**?"
    said = await answer(lab, "In here.", thread)
    assert said.reply_to is None
    assert all(m.is_ephemeral for m in lab.channel.by_bot), "nothing of it in the channel"
    lab.openai.say("Still here.")
    await thread.post(lab.anna, "and 2025?")
    await answer(lab, "Still here.", thread)
    assert "2024" in lab.openai.last.text
    ben = lab.guild.member("ben")
    await thread.post(ben, "I am only talking")
    lab.openai.say("To you, too.")
    await thread.post(ben, "me too?", mention_bot=True)
    await answer(lab, "To you, too.", thread)
    assert len(lab.openai.requests) == 3


async def test_without_permission_for_threads_it_answers_in_the_channel(lab: Lab) -> None:
    await threads_on(lab)
    lab.channel.deny_bot(["create_public_threads"])
    lab.openai.say("Here then.")
    asked = await lab.channel.post(lab.anna, "where?", mention_bot=True)
    with lab.discord.allowing_violations():
        said = await answer(lab, "Here then.")
    assert said.reply_to is asked and asked.thread is None


async def test_refused_question_opens_no_thread(lab: Lab) -> None:
    await threads_on(lab)
    gate = lab.openai.hold("First.")
    lab.openai.say("Second.")
    for text in ("one", "two"):
        await lab.channel.post(lab.anna, text, mention_bot=True)
    await lab.discord.until(lambda: len(lab.channel.threads) == 2, what="two threads")
    third = await lab.channel.post(lab.anna, "three", mention_bot=True)
    refusal = await answer(lab, "You have a question waiting already")
    assert refusal.reply_to is third and third.thread is None
    gate.set()
    for thread, words in zip(lab.channel.threads, ("First.", "Second."), strict=True):
        await answer(lab, words, thread)


async def threads_on(lab: Lab) -> None:
    owner = lab.guild.member("olga", permissions=1 << 5)
    use = await owner.slash(lab.channel, "settings threads", answers="on")
    assert "threads of their own" in await text_of(lab, use)


async def test_result_outlasts_its_interaction(lab: Lab) -> None:
    gate = lab.openai.hold("At last.")
    use = await lab.anna.slash(lab.channel, "ask", prompt="take your time")
    await use.wait_for_message(lambda m: "Stop" in m.buttons)
    lab.discord.clock.advance(16 * 60)
    gate.set()
    await answer(lab, "At last.")


async def test_app_that_only_its_user_installed_answers(lab: Lab) -> None:
    guild = lab.discord.guild("elsewhere", has_bot=False)
    channel = guild.text_channel("general")
    anna = guild.member("anna")
    anna.has_installed = True
    lab.openai.say("Here I am.")
    use = await anna.slash(channel, "ask", prompt="are you here?")
    assert (await answer_to(lab, use)).content == "Here I am."


# -- at the same time ----------------------------------------------------------------------------


async def test_two_users_at_once_have_variables_of_their_own(lab: Lab) -> None:
    ben = lab.guild.member("ben")
    for number in (1, 2):
        lab.openai.call(f"x = {number}", to=f"remember {number}")
        lab.openai.say(f"Kept {number}.", to=f"remember {number}")
    await lab.channel.post(lab.anna, "remember 1", mention_bot=True)
    await lab.channel.post(ben, "remember 2", mention_bot=True)
    await answer(lab, "Kept 1.")
    await answer(lab, "Kept 2.")
    for person, number in ((lab.anna, 1), (ben, 2)):
        session = await lab.service.session(user_id=person.id)
        [x] = [v for v in await session.variables() if v.name == "x"]
        assert x.preview == str(number)


# -- while it works ------------------------------------------------------------------------------


async def test_stop_is_for_the_asker_and_moderators(lab: Lab) -> None:
    ben = lab.guild.member("ben")
    mona = lab.guild.member("mona", permissions=1 << 13 | 1 << 10 | 1 << 11)
    lab.openai.call("kept = 5\nprint('begun', flush=True)\nimport time\ntime.sleep(600)")
    await lab.channel.post(lab.anna, "wait for ever", mention_bot=True)
    progress = await lab.channel.wait_for(lambda m: "begun" in m.content, timeout_s=20)
    assert "Running cell 1" in progress.content
    refused = await ben.press(progress, "Stop")
    assert "for the person who asked, and for moderators" in await text_of(lab, refused)
    assert refused.ephemeral
    stopped = await mona.press(progress, "Stop")
    assert "the variables stay" in await text_of(lab, stopped)
    said = await lab.channel.wait_for(lambda m: "Show code" in m.buttons, timeout_s=20)
    assert said is progress and "Stopped" in said.content
    session = await lab.service.session(user_id=lab.anna.id)
    assert "kept" in {variable.name for variable in await session.variables()}


async def by_words(lab: Lab, question: Message) -> None:
    await lab.channel.post(lab.anna, "Anna", reply_to=question)


async def by_form(lab: Lab, question: Message) -> None:
    ben = lab.guild.member("ben")
    refused = await ben.press(question, "Answer")
    assert refused.modal is None and "for the person who asked" in await text_of(lab, refused)
    pressed = await lab.anna.press(question, "Answer")
    assert pressed.modal is not None
    await lab.anna.submit(pressed.modal, {"Your name?": "Anna"})


@pytest.mark.parametrize("give", [by_words, by_form])
async def test_cell_asks_and_is_answered(
    lab: Lab, give: Callable[[Lab, Message], Awaitable[None]]
) -> None:
    lab.openai.call("name = input('Your name? ')\nprint('hello', name)")
    lab.openai.say("Greeted.")
    await lab.channel.post(lab.anna, "greet me", mention_bot=True)
    question = await lab.channel.wait_for(lambda m: "Answer" in m.buttons, timeout_s=20)
    await give(lab, question)
    await answer(lab, "Greeted.")
    assert "hello Anna" in lab.openai.last.last_result
    await lab.discord.until(lambda: question.deleted, what="the question is gone")
    assert len(lab.openai.requests) == 2, "the answer was no question of its own"


@pytest.mark.parametrize("is_forwarded", [True, False])
async def test_file_sent_while_a_cell_asks_is_kept_as_a_question(
    lab: Lab, is_forwarded: bool
) -> None:
    channel = lab.discord.dm(lab.anna)
    lab.openai.call("print('hello', input('Your name? '))")
    lab.openai.say("Greeted.")
    await channel.post(lab.anna, "greet me")
    await channel.wait_for(lambda m: "Answer" in m.buttons, timeout_s=20)
    files = {"a.csv": b"x\n7\n"}
    if is_forwarded:
        post = await lab.channel.post(lab.guild.member("ben"), "what is in it?", files=files)
        await channel.post(lab.anna, forward=post)
    else:
        await channel.post(lab.anna, "what is in it?", files=files)
    lab.openai.say("Seven.")
    await channel.post(lab.anna, "Anna")
    await answer(lab, "Seven.", channel)
    assert "a.csv" in question_of(lab) and "what is in it?" in question_of(lab)
    assert "hello Anna" in lab.openai.requests[1].last_result


# -- /run and /reset -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", ["print(6 * 7)", "```py\nprint(6 * 7)\n```", "```\nx = 6 * 7\n\nprint(x)```"]
)
async def test_form_runs_code_without_the_model(lab: Lab, code: str) -> None:
    use = await lab.anna.slash(lab.channel, "run")
    assert use.modal is not None
    sent = await lab.anna.submit(use.modal, {"Python": code})
    said = await answer_to(lab, sent)
    assert "42" in said.content and said.buttons == ("Notebook", "Restart kernel")
    assert lab.openai.requests == []


async def test_form_without_code_says_so(lab: Lab) -> None:
    use = await lab.anna.slash(lab.channel, "run")
    assert use.modal is not None
    sent = await lab.anna.submit(use.modal, {"Python": "```python\n\n```"})
    assert "no code in that" in await text_of(lab, sent)


async def test_reset_forgets_this_channels_conversation(lab: Lab) -> None:
    lab.openai.say("Noted.")
    await lab.channel.post(lab.anna, "my word is plum", mention_bot=True)
    await answer(lab, "Noted.")
    use = await lab.anna.slash(lab.channel, "reset")
    assert "is forgotten" in await text_of(lab, use) and use.ephemeral
    lab.openai.say("I don't know.")
    await lab.channel.post(lab.anna, "my word?", mention_bot=True)
    await answer(lab, "I don't know.")
    assert "plum" not in lab.openai.last.text


# -- an edited question --------------------------------------------------------------------------


async def test_edited_question_is_offered_and_answered_anew(lab: Lab) -> None:
    lab.openai.say("Old answer.")
    asked = await lab.channel.post(lab.anna, "tpyo?", files={"a.csv": b"x\n1\n"}, mention_bot=True)
    await answer(lab, "Old answer.")
    asked.announce("MESSAGE_UPDATE")  # as when Discord adds a preview
    await asked.edit(f"{lab.discord.bot.mention} typo?")
    offer = await answer(lab, "You changed your question.")
    assert list(offer.buttons) == ["Run it again"]
    ben = lab.guild.member("ben")
    assert "for the person who asked" in await text_of(lab, await ben.press(offer, "Run it again"))
    lab.openai.say("New answer.")
    await asked.edit(f"{lab.discord.bot.mention} typo, really?")
    await lab.anna.press(offer, "Run it again")
    await answer(lab, "New answer.")
    assert list(offer.buttons) == []
    assert "Answering the new question" in offer.content
    text = lab.openai.last.text
    assert "typo, really?" in text and "a.csv" in text
    assert "tpyo" not in text and "Old answer." not in text
    assert len([m for m in lab.channel.messages if "You changed" in m.content]) == 0


async def test_preview_of_a_reply_is_no_new_question(lab: Lab) -> None:
    ben = lab.guild.member("ben")
    post = await lab.channel.post(ben, "https://example.com")
    lab.openai.say("A page.")
    asked = await lab.channel.post(
        lab.anna, f"{lab.discord.bot.mention} what is it?", reply_to=post
    )
    await answer(lab, "A page.")
    asked.announce("MESSAGE_UPDATE")
    lab.openai.say("Done.")
    await lab.channel.post(lab.anna, "next", mention_bot=True)
    await answer(lab, "Done.")
    assert not any("You changed" in m.content for m in lab.channel.all_messages)
