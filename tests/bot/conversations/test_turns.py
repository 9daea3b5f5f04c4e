"""Answers as they arrive: their size, their files, their buttons, whom they notify."""

import io
import zipfile

import pytest

from bot.discord import listener
from tests.bot.conversations.conftest import Lab, StartLab
from tests.bot.conversations.reading import answer_to, answered, said, text_of
from tests.discord_double import Channel, DiscordDouble

# -- Discord's limits ----------------------------------------------------------------------------


@pytest.mark.parametrize(("chars", "messages"), [(1999, 1), (2000, 1), (2001, 2)])
async def test_answer_of_as_many_characters_as_a_message_can_have(
    lab: Lab, chars: int, messages: int
) -> None:
    text = ("word " * 500)[: chars - 4] + "end."
    lab.openai.say(text, piece=500)
    use = await lab.anna.slash(lab.channel, "ask", prompt="talk")
    await said(lab, "end.")
    assert len(use.messages) == messages
    assert " ".join(m.content for m in use.messages) == text


@pytest.mark.parametrize(("count", "messages"), [(9, [9]), (10, [10]), (11, [10, 1])])
async def test_answer_with_as_many_files_as_a_message_can_have(
    lab: Lab, count: int, messages: list[int]
) -> None:
    make = "for n in range({}, {}): open(f'f{{n:02}}.txt', 'w').write(str(n));"
    lab.openai.call(make.format(0, 6), make.format(6, count))
    lab.openai.say("All of them.")
    await lab.channel.post(lab.anna, "make files", mention_bot=True)
    last = await answered(lab)
    sent = lab.channel.by_bot
    assert [len(m.attachments) for m in sent] == messages
    assert {name: content for m in sent for name, content in m.files.items()} == {
        f"f{n:02}.txt": str(n).encode() for n in range(count)
    }
    assert last is sent[-1] and sent[0].content == "All of them."


async def small_channel(lab: Lab, limit: int) -> Channel:
    """A channel where files can't be large."""
    guild = lab.discord.guild("small", attachment_size_limit=limit)
    guild.member("anna")
    return guild.text_channel("c")


async def test_file_larger_than_the_channel_takes_is_offered_and_had_in_other_ways(
    lab: Lab,
) -> None:
    limit = 100_000
    channel = await small_channel(lab, limit)
    lab.openai.call(
        f"for name, size in (('below', -1), ('at', 0), ('above', 1)):\n"
        f"    open(f'{{name}}.bin', 'wb').write(bytes(range(250)) * 400 + b'x' * size)\n"
        f"open('below.bin', 'r+b').truncate({limit - 1});"
    )
    lab.openai.say("Three files.")
    await lab.anna.slash(channel, "ask", prompt="make them")
    answer = await answered(lab, "Three files.", channel)
    assert {a.filename: a.size for a in answer.attachments} == {
        "below.bin": limit - 1,
        "at.bin": limit,
    }
    files = await lab.service.files.list(user_id=lab.anna.id)
    [above] = [file for file in files if file.filename == "above.bin"]
    assert above.file_id in answer.content and "larger than" in answer.content
    ben = channel.guild.member("ben") if channel.guild else lab.anna
    refused = await ben.press(answer, "Send above.bin in parts")
    assert await text_of(lab, refused) == "That button is for the person who asked."
    parts = await answer_to(lab, await lab.anna.press(answer, "Send above.bin in parts"))
    content = b"".join(a.content for a in parts.attachments)
    assert content == above.file_path.read_bytes() and len(content) == limit + 1
    packed = await answer_to(lab, await lab.anna.press(answer, "Send above.bin compressed"))
    with zipfile.ZipFile(io.BytesIO(packed.attachments[0].content)) as archive:
        assert archive.read("above.bin") == content
    assert parts.is_ephemeral and packed.is_ephemeral


@pytest.mark.parametrize(("boost", "limit"), [(0, 90_000), (1, 90_000), (2, 100_000), (3, 110_000)])
async def test_files_of_messages_may_be_as_large_as_the_guilds_boosts_allow(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, boost: int, limit: int
) -> None:
    # In true proportions, so many bytes would take too long.
    monkeypatch.setattr(listener, "_TIER_BYTES", {2: 100_000, 3: 110_000})
    monkeypatch.setattr(listener, "ATTACHMENT_BYTES", 90_000)
    guild = lab.discord.guild("boosted", boost=boost, attachment_size_limit=limit)
    channel = guild.text_channel("c")
    anna = guild.member("anna")
    lab.openai.call(
        f"for size in ({limit - 1}, {limit}, {limit + 1}):\n"
        "    open(f'{size}.bin', 'wb').write(bytes(size))"
    )
    lab.openai.say("Three files.")
    await channel.post(anna, "make them", mention_bot=True)
    answer = await answered(lab, "Three files.", channel)
    assert [a.filename for a in answer.attachments] == [f"{limit - 1}.bin", f"{limit}.bin"]
    assert f"Send {limit + 1}.bin in parts" in answer.buttons


async def test_file_that_discord_finds_too_large_after_all_is_named(lab: Lab) -> None:
    # A message, unlike a command, doesn't say how large files may be.
    channel = await small_channel(lab, 100_000)
    lab.openai.call("open('big.bin', 'wb').write(bytes(100_001)); open('a.txt', 'w').write('a');")
    lab.openai.say("Two files.")
    with lab.discord.allowing_violations():
        await channel.post(lab.anna, "make them", mention_bot=True)
        answer = await answered(lab, "Two files.", channel)
    assert answer.files == {"a.txt": b"a"}
    assert "`big.bin` (97.7 KiB) is too large to be attached here; it is kept" in answer.content


async def test_where_only_the_user_installed_it_the_rest_comes_directly(lab: Lab) -> None:
    guild = lab.discord.guild("elsewhere", has_bot=False)
    channel = guild.text_channel("general")
    anna = guild.member("anna")
    anna.has_installed = True
    paragraphs = [f"{n} " + "word " * 390 for n in range(6)]
    lab.openai.say("\n\n".join(paragraphs), piece=2000)
    use = await anna.slash(channel, "ask", prompt="talk")
    dm = lab.discord.dm(anna)
    await lab.discord.until(lambda: dm.by_bot, what="the rest")
    assert [m.content[0] for m in use.messages] == ["0", "1", "2", "3", "4"]
    assert [m.content[0] for m in dm.by_bot] == ["5"]


# -- where and to whom ---------------------------------------------------------------------------


async def test_result_after_fifteen_minutes_is_an_ordinary_message(lab: Lab) -> None:
    lab.openai.call("open('late.txt', 'w').write('late'); open('x.txt', 'w').write('x');")
    gate = lab.openai.hold("At last.")
    use = await lab.anna.slash(lab.channel, "ask", prompt="take your time")
    progress = await use.wait_for_message(lambda m: "At" in m.content, timeout_s=20)
    lab.discord.clock.advance(16 * 60)
    gate.set()
    answer = await answered(lab, "At last.")
    assert answer.files == {"late.txt": b"late", "x.txt": b"x"}
    assert answer is progress, "Discord lets a bot edit its own messages for longer"
    code = await lab.anna.press(answer, "Show code")
    assert "late.txt" in await text_of(lab, code)


async def test_words_of_the_model_and_of_cells_notify_nobody_but_the_asker(lab: Lab) -> None:
    ben = lab.guild.member("ben")
    words = f"@everyone @here {ben.mention} look"
    for question, pings in (("a message", {"anna"}), ("a command", set())):
        lab.openai.call(f"print('{words}'); display(Markdown('{words}'))", to=question)
        lab.openai.say(f"{words} at {question}", to=question)
        if pings:
            await lab.channel.post(lab.anna, question, mention_bot=True)
        else:
            await lab.anna.slash(lab.channel, "ask", prompt=question)
        answer = await answered(lab, f"at {question}")
        assert answer.pings == pings
    use = await lab.anna.slash(lab.channel, "run", code=f"print('{words}')")
    assert (await answer_to(lab, use)).pings == frozenset()
    assert not any(m.pings - {"anna"} for m in lab.channel.all_messages if m.author.is_bot)


async def test_acknowledged_at_once_whatever_the_turn_waits_for(lab: Lab) -> None:
    gate = lab.openai.hold("Done.")
    uses = [
        await lab.anna.slash(lab.channel, "ask", prompt="slow"),
        await lab.anna.slash(lab.channel, "run", code="1"),
        await lab.anna.slash(lab.channel, "run", code="2"),
    ]
    assert all(use.acknowledged_after_s is not None for use in uses)
    assert all(use.acknowledged_after_s < 3 for use in uses if use.acknowledged_after_s)
    gate.set()
    await said(lab, "Done.")


# -- buttons below an answer ---------------------------------------------------------------------


async def test_buttons_show_code_give_the_notebook_and_restart(lab: Lab) -> None:
    lab.openai.call("x = 6 * 7\nprint(x)")
    lab.openai.say("It is 42.")
    await lab.channel.post(lab.anna, "six times seven", mention_bot=True)
    answer = await answered(lab)
    code = await answer_to(lab, await lab.anna.press(answer, "Show code"))
    assert code.is_ephemeral and "```python\nx = 6 * 7\nprint(x)\n```" in code.content
    assert "42" in code.content
    notebook = await answer_to(lab, await lab.anna.press(answer, "Notebook"))
    assert notebook.is_ephemeral and b"x = 6 * 7" in notebook.files["cellmate.ipynb"]
    asked = await answer_to(lab, await lab.anna.press(answer, "Restart kernel"))
    assert asked.is_ephemeral and "All variables go" in asked.content
    await lab.anna.press(asked, "Never mind")
    await lab.discord.until(lambda: asked.content == "All right, nothing is changed.")
    session = await lab.service.session(user_id=lab.anna.id)
    assert [v.name for v in await session.variables()] == ["x"]
    asked = await answer_to(lab, await lab.anna.press(answer, "Restart kernel"))
    await lab.anna.press(asked, "Restart it")
    await lab.discord.until(lambda: "The kernel is new" in asked.content, timeout_s=20)
    assert await session.variables() == ()


# -- what people take for the bot ----------------------------------------------------------------


async def test_mention_of_the_bots_own_role_is_one_of_the_bot(
    discord: DiscordDouble, start_lab: StartLab
) -> None:
    guild = discord.guild("with roles")
    own = guild.role("cellmate", is_bots=True)
    other = guild.role("helpers", mentionable=True)
    channel = guild.text_channel("data")
    anna = guild.member("anna")
    discord.world.reads_content = True
    async with start_lab(message_content_intent=True) as lab:
        lab.openai.say("Four.")
        await channel.post(anna, f"<@&{other.id}> what is 1+1?")
        await channel.post(anna, f"<@&{own.id}> what is 2+2?")
        await said(lab, "Four.", channel)
        assert "\nwhat is 2+2?" in f"\n{lab.openai.last.question}"
        assert own.id not in lab.openai.last.question
        assert len(lab.openai.requests) == 1
    async with start_lab() as lab:
        await channel.post(anna, f"<@&{own.id}> what is 3+3?")
        message = await said(lab, "You mentioned my role", channel)
        assert "mention me, the bot of that name" in message.content
        assert len(lab.openai.requests) == 1
