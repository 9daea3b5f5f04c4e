"""Each slash command as its user meets it."""

import nbformat
import pytest

from bot.people.limit_rules import LimitRule, LimitRules
from interpreter import StoredFile
from tests.bot.conversations.conftest import Lab, StartLab
from tests.bot.conversations.reading import answer_to, text_of
from tests.discord_double import Interaction


async def stored(lab: Lab, name: str, content: bytes = b"x") -> StoredFile:
    """A file that Anna keeps."""
    return await lab.service.files.save(user_id=lab.anna.id, filename=name, source=content)


async def run(lab: Lab, code: str) -> None:
    """Run a cell in Anna's kernel."""
    session = await lab.service.session(user_id=lab.anna.id)
    result = await session.execute(code)
    assert result.status == "ok", result.text


async def slash(lab: Lab, command: str, **options: object) -> Interaction:
    return await lab.anna.slash(lab.channel, command, **options)


async def test_all_commands_of_the_issue_are_there(lab: Lab) -> None:
    names = {"ask", "run", "files", "kernel", "notebook", "model", "reset", "privacy", "help"}
    assert names | {"admin", "settings"} == set(lab.discord.commands)
    for name in names:
        command = lab.discord.commands[name]
        assert command["integration_types"] == [0, 1] and command["contexts"] == [0, 1, 2]
        assert command["default_member_permissions"] is None
    assert int(lab.discord.commands["admin"]["default_member_permissions"]) == 1 << 3


async def test_files_are_listed_in_pages_the_newest_first(lab: Lab) -> None:
    assert "You have no files" in await text_of(lab, await slash(lab, "files list"))
    for number in range(11):
        await stored(lab, f"f{number}.csv")
    use = await slash(lab, "files list")
    first = await answer_to(lab, use)
    assert first.is_ephemeral
    lines = first.content.splitlines()
    assert lines[0].startswith("- **f10.csv**, csv, 1 byte") and "<t:" in lines[0]
    assert len(lines) == 11 and lines[-1] == "-# Page 1 of 2"
    await lab.anna.press(first, "Next")
    await lab.discord.until(lambda: "f0.csv" in first.content, what="the next page")
    assert first.content.endswith("-# Page 2 of 2")
    await lab.anna.press(first, "Previous")
    await lab.discord.until(lambda: "f10.csv" in first.content, what="the page before")


async def test_list_of_long_names_fits_into_a_message(lab: Lab) -> None:
    for number in range(10):
        await stored(lab, f"{number}" + "_*" * 60 + ".geojson", b"x" * 1020)
    text = await text_of(lab, await slash(lab, "files list"))
    assert len(text.splitlines()) == 10 and len(text) <= 2000
    assert text.startswith("- **9")


async def test_file_is_got_by_name_and_by_what_is_typed(lab: Lab) -> None:
    await stored(lab, "sales.csv", b"old")
    newer = await stored(lab, "Sales.csv", b"new")
    choices = await lab.anna.autocomplete(lab.channel, "files get", file="SAL")
    assert choices[0] == {"name": "Sales.csv (3 bytes)", "value": newer.file_id}
    assert len(choices) == 2
    got = await answer_to(lab, await slash(lab, "files get", file=newer.file_id))
    assert [a.content for a in got.attachments] == [b"new"] and got.is_ephemeral
    got = await answer_to(lab, await slash(lab, "files get", file="sales.csv"))
    assert [a.content for a in got.attachments] == [b"old"]
    text = await text_of(lab, await slash(lab, "files get", file="@everyone"))
    assert "You have no file" in text and "@everyone" not in text and "/files list" in text


async def test_too_large_file_is_offered_in_parts(lab: Lab) -> None:
    guild = lab.discord.guild("small", attachment_size_limit=300_000)
    channel = guild.text_channel("c")
    anna = guild.member("anna")
    content = bytes(range(256)) * 2400
    file = await stored(lab, "big.bin", content)
    use = await anna.slash(channel, "files get", file="big.bin")
    offer = await answer_to(lab, use)
    assert file.file_id in offer.content
    assert [*offer.buttons] == ["Send big.bin compressed", "Send big.bin in parts"]
    parts = await anna.press(offer, "Send big.bin in parts")
    first = await answer_to(lab, parts)
    await lab.discord.until(lambda: len(first.attachments) == 3, what="all parts")
    assert b"".join(a.content for a in first.attachments) == content
    zipped = await answer_to(lab, await anna.press(offer, "Send big.bin compressed"))
    assert zipped.attachments[0].filename == "big.bin.zip"


async def test_file_is_deleted_and_all_are_only_after_asking(lab: Lab) -> None:
    for name in ("a.csv", "b.csv", "c.csv"):
        await stored(lab, name)
    assert "**a.csv** is deleted" in await text_of(
        lab, await slash(lab, "files delete", file="a.csv")
    )
    asked = await answer_to(lab, await slash(lab, "files clear"))
    assert "all your 2 files" in asked.content
    await lab.anna.press(asked, "Never mind")
    assert len(await lab.service.files.list(user_id=lab.anna.id)) == 2
    asked = await answer_to(lab, await slash(lab, "files clear"))
    await lab.anna.press(asked, "Delete")
    await lab.discord.until(lambda: "2 files deleted" in asked.content, what="they are gone")
    assert await lab.service.files.list(user_id=lab.anna.id) == ()


async def test_kernel_is_shown_interrupted_and_restarted(lab: Lab) -> None:
    assert "no kernel running" in await text_of(lab, await slash(lab, "kernel status"))
    assert "no kernel running" in await text_of(lab, await slash(lab, "kernel variables"))
    await run(lab, "answer = 42\nwords = ['a'] * 10")
    status = await text_of(lab, await slash(lab, "kernel status"))
    assert "it has run 1 cell and is idle" in status
    table = await text_of(lab, await slash(lab, "kernel variables"))
    assert "answer  int" in table and "words" in table and "42" not in table
    assert "Nothing was running" in await text_of(lab, await slash(lab, "kernel interrupt"))
    asked = await answer_to(lab, await slash(lab, "kernel restart"))
    await lab.anna.press(asked, "Restart it")
    await lab.discord.until(lambda: "The kernel is new" in asked.content, what="the restart")
    assert "There are no variables" in await text_of(lab, await slash(lab, "kernel variables"))


async def test_notebook_is_sent(lab: Lab) -> None:
    assert "Nothing has run" in await text_of(lab, await slash(lab, "notebook"))
    await run(lab, "6 * 7")
    sent = await answer_to(lab, await slash(lab, "notebook"))
    notebook = nbformat.reads(sent.attachments[0].content.decode(), as_version=4)
    nbformat.validate(notebook)
    assert any(cell.source == "6 * 7" for cell in notebook.cells)


async def test_model_is_chosen_from_those_allowed(lab: Lab) -> None:
    assert "`model-a` answers you" in await text_of(lab, await slash(lab, "model"))
    choices = await lab.anna.autocomplete(lab.channel, "model", name="B")
    assert [choice["value"] for choice in choices] == ["model-b"]
    assert "From now on `model-b`" in await text_of(lab, await slash(lab, "model", name="model-b"))
    assert "no such model" in await text_of(lab, await slash(lab, "model", name="gpt-99"))
    lab.openai.say("Hello.")
    use = await slash(lab, "ask", prompt="hi")
    assert await text_of(lab, use) == "Hello."
    assert lab.openai.last.body["model"] == "model-b"


async def test_conversation_is_forgotten(lab: Lab) -> None:
    assert "nothing to forget" in await text_of(lab, await slash(lab, "reset"))
    lab.openai.say("Blue, then.")
    await text_of(lab, await slash(lab, "ask", prompt="My favourite colour is blue"))
    assert "is forgotten" in await text_of(lab, await slash(lab, "reset"))
    lab.openai.say("You never told me.")
    await text_of(lab, await slash(lab, "ask", prompt="Which is my favourite colour?"))
    assert "is blue" not in lab.openai.last.text


async def test_question_that_is_being_answered_is_forgotten_as_well(lab: Lab) -> None:
    gate = lab.openai.hold("Blue, then.")
    await lab.anna.slash(lab.channel, "ask", prompt="My favourite colour is blue")
    await lab.openai.came.wait()
    assert "is forgotten" in await text_of(lab, await slash(lab, "reset"))
    gate.set()
    await lab.channel.wait_for(lambda m: m.content == "Blue, then." and not m.buttons)
    lab.openai.say("You never told me.")
    await text_of(lab, await slash(lab, "ask", prompt="Which is my favourite colour?"))
    assert "is blue" not in lab.openai.last.text


async def test_deletion_leaves_no_progress_that_seems_to_go_on(lab: Lab) -> None:
    lab.openai.call("import time\ntime.sleep(15)")
    await lab.channel.post(lab.anna, "sleep", mention_bot=True)
    progress = await lab.channel.wait_for(lambda m: "Running cell" in m.content, timeout_s=20)
    await lab.channel.post(lab.anna, "and then?", mention_bot=True)
    asked = await answer_to(lab, await slash(lab, "privacy"))
    sure = await answer_to(lab, await lab.anna.press(asked, "Delete everything of mine"))
    await lab.anna.press(sure, "Delete it all")
    await lab.discord.until(lambda: "is deleted" in sure.content, what="the deletion", timeout_s=20)
    await lab.discord.until(lambda: not progress.buttons, what="its end")
    assert progress.content == "The answer was given up."
    await lab.discord.until(
        lambda: not any("Stop" in m.buttons for m in lab.channel.messages), what="the other's end"
    )
    assert len(lab.openai.requests) == 1, "the other question was not begun"


async def test_deletion_ends_progress_where_only_the_user_installed_it(lab: Lab) -> None:
    guild = lab.discord.guild("elsewhere", has_bot=False)
    channel, anna = guild.text_channel("general"), guild.member("anna")
    anna.has_installed = True
    lab.openai.call("import time\ntime.sleep(15)")
    use = await anna.slash(channel, "ask", prompt="sleep")
    progress = await use.wait_for_message(lambda m: "Running cell" in m.content, timeout_s=20)
    asked = await answer_to(lab, await anna.slash(channel, "privacy"))
    sure = await answer_to(lab, await anna.press(asked, "Delete everything of mine"))
    await anna.press(sure, "Delete it all")
    await lab.discord.until(lambda: not progress.buttons, what="its end", timeout_s=20)
    assert progress.content == "The answer was given up."


async def test_everything_of_a_user_is_deleted(lab: Lab) -> None:
    await stored(lab, "a.csv")
    await run(lab, "x = 1")
    lab.openai.call("x")
    lab.openai.say("It is 1.")
    await lab.anna.slash(lab.channel, "ask", prompt="what is x?")
    await lab.channel.wait_for(lambda m: "Show code" in m.buttons, timeout_s=20)
    asked = await answer_to(lab, await slash(lab, "privacy"))
    assert asked.is_ephemeral and "2 days" in asked.content
    sure = await answer_to(lab, await lab.anna.press(asked, "Delete everything of mine"))
    await lab.anna.press(sure, "Delete it all")
    await lab.discord.until(lambda: "is deleted" in sure.content, what="the deletion")
    assert await lab.service.files.list(user_id=lab.anna.id) == ()
    assert lab.service.find_session(lab.anna.id) is None
    for kind in (
        "conversations",
        "turns",
        "turn_lists",
        "activity",
        "preferences",
        "threads",
        "outbox",
    ):
        assert await lab.service.records.list(kind, owner=lab.anna.id) == ()


async def test_help_tells_this_services_limits(lab: Lab) -> None:
    text = await text_of(lab, await slash(lab, "help"))
    assert "20.0 s" in text and "1.0 MiB" in text and len(text) <= 2000


async def test_threads_are_switched_by_those_who_manage_the_server(lab: Lab) -> None:
    boss = lab.guild.member("boss", permissions=["manage_guild", "send_messages"])
    assert "threads of their own" in await text_of(
        lab, await boss.slash(lab.channel, "settings threads", answers="on")
    )
    lab.openai.say("Hello.")
    await lab.channel.post(lab.anna, "say hello", mention_bot=True)
    await lab.discord.until(lambda: bool(lab.channel.threads), what="a thread")
    thread = lab.channel.threads[0]
    assert thread.name == "say hello"
    await thread.wait_for(lambda m: m.content == "Hello.")
    text = await text_of(lab, await boss.slash(lab.channel, "settings threads", answers="off"))
    assert "the channel itself" in text


async def test_blocked_user_is_told_so_everywhere(lab: Lab) -> None:
    await lab.service.records.put("blocks", lab.anna.id, {})
    for command, options in (("ask", {"prompt": "hi"}), ("files list", {}), ("kernel status", {})):
        assert "can't use this bot" in await text_of(lab, await slash(lab, command, **options))
    await lab.channel.post(lab.anna, "hi", mention_bot=True)
    await lab.channel.wait_for(lambda m: "can't use this bot" in m.content and not m.is_ephemeral)


async def test_blocked_user_can_still_have_everything_deleted(lab: Lab) -> None:
    await stored(lab, "a.csv")
    await lab.service.records.put("blocks", lab.anna.id, {})
    asked = await answer_to(lab, await slash(lab, "privacy"))
    sure = await answer_to(lab, await lab.anna.press(asked, "Delete everything of mine"))
    await lab.anna.press(sure, "Delete it all")
    await lab.discord.until(lambda: "is deleted" in sure.content, what="the deletion")
    assert await lab.service.files.list(user_id=lab.anna.id) == ()
    assert "can't use this bot" in await text_of(lab, await slash(lab, "files list"))


async def test_limits_a_minute_are_told(start_lab: StartLab) -> None:
    async with start_lab(user_turns_per_minute=1) as lab:
        lab.openai.say("Hello.")
        await text_of(lab, await slash(lab, "ask", prompt="hi"))
        text = await text_of(lab, await slash(lab, "ask", prompt="hi again"))
        assert "please go on in" in text


@pytest.mark.parametrize("code", ["", "  "])
async def test_run_without_code_opens_a_form(lab: Lab, code: str) -> None:
    use = await slash(lab, "run", **({"code": code} if code else {}))
    assert use.modal is not None
    sent = await lab.anna.submit(use.modal, {"code": "```py\nprint('a')\nprint('b')\n```"})
    assert "a\nb" in await text_of_answer(lab, sent)


async def text_of_answer(lab: Lab, use: Interaction) -> str:
    await lab.discord.until(
        lambda: any("Notebook" in m.buttons for m in lab.channel.by_bot), what="the answer"
    )
    return await text_of(lab, use)


async def test_run_of_what_takes_too_long_says_so(lab: Lab) -> None:
    await LimitRules(lab.service.records).set("user", lab.anna.id, LimitRule(cell_timeout_s=0.5))
    use = await slash(lab, "run", code="kept = 1; import time; time.sleep(60)")
    assert "time limit" in await text_of_answer(lab, use)
    assert "kept" in await text_of(lab, await slash(lab, "kernel variables"))


async def test_without_a_model_questions_are_answered_by_a_sentence(start_lab: StartLab) -> None:
    async with start_lab(openai_api_key=None, openai_base_url=None) as lab:
        assert "no language model" in await text_of(lab, await slash(lab, "ask", prompt="hi"))
        assert "no language model" in await text_of(lab, await slash(lab, "model"))
        use = await slash(lab, "run", code="6 * 7")
        assert "42" in await text_of_answer(lab, use)
