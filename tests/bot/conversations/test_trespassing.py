"""Nobody gets at what is somebody else's: not by buttons, not by ids, not by what they forge."""

from collections.abc import Mapping
from typing import Any

import pytest

from bot.discord.custom_ids import CustomId
from tests.bot.conversations.conftest import Lab
from tests.bot.conversations.reading import answer_to, text_of
from tests.bot.conversations.test_commands import run, stored
from tests.discord_double import Interaction, Message, Person
from tests.discord_double.interaction import COMPONENT, MODAL_SUBMIT


@pytest.fixture
def bert(lab: Lab) -> Person:
    """Another member of the guild, who moderates it."""
    return lab.guild.member("bert", permissions=["manage_messages", "send_messages"])


async def answer(lab: Lab) -> Message:
    """An answer to Anna with all its buttons, for everybody to see."""
    await lab.anna.slash(lab.channel, "run", code="mine = 4711")
    return await lab.channel.wait_for(lambda m: "Notebook" in m.buttons, timeout_s=20)


async def press(lab: Lab, person: Person, message: Message, custom_id: str) -> Interaction:
    """Press what isn't there: a made-up button below a message."""
    used = Interaction(lab.discord.world, COMPONENT, person, lab.channel)
    used.message = message
    used.data = {"custom_id": custom_id, "component_type": 2}
    return await used.send(wait=True, timeout_s=10)


async def test_others_buttons_do_nothing(lab: Lab, bert: Person) -> None:
    shown = await answer(lab)
    await stored(lab, "a.csv")
    for action in (
        *("files", "filesclear", "forget", "forgetyes", "never", "restart", "restartyes"),
        *("code", "notebook", "zip", "parts", "answer", "rerun", "kernels"),
    ):
        refused = await press(lab, bert, shown, str(CustomId(action, lab.anna.id, "0")))
        assert await text_of(lab, refused) == "That button is for the person who asked.", action
    session = lab.service.find_session(lab.anna.id)
    assert session is not None and len(await session.variables()) == 1
    assert len(await lab.service.files.list(user_id=lab.anna.id)) == 1


async def test_id_of_anothers_file_opens_nothing(lab: Lab, bert: Person) -> None:
    shown = await answer(lab)
    file = await stored(lab, "secret.csv", b"4711")
    got = await text_of(lab, await bert.slash(lab.channel, "files get", file=file.file_id))
    assert "You have no file" in got
    got = await text_of(lab, await bert.slash(lab.channel, "files delete", file=file.file_id))
    assert "You have no file" in got
    assert await bert.autocomplete(lab.channel, "files get", file=file.file_id) == []
    for action in ("zip", "parts"):
        made_up = await press(lab, bert, shown, str(CustomId(action, bert.id, file.file_id)))
        refusal = await answer_to(lab, made_up)
        assert "no file" in refusal.content and not refusal.attachments
    assert len(await lab.service.files.list(user_id=lab.anna.id)) == 1


async def test_code_of_anothers_turn_stays_theirs(lab: Lab, bert: Person) -> None:
    lab.openai.call("mine = 4711")
    lab.openai.say("Done.")
    await lab.channel.post(lab.anna, "go", mention_bot=True)
    shown = await lab.channel.wait_for(lambda m: "Show code" in m.buttons, timeout_s=20)
    own = CustomId.parse(shown.button("Show code")["custom_id"])
    assert own is not None
    made_up = await press(lab, bert, shown, str(CustomId("code", bert.id, own.ref)))
    assert "isn't kept any more" in await text_of(lab, made_up)


async def test_kernel_commands_reach_ones_own_kernel_alone(lab: Lab, bert: Person) -> None:
    await run(lab, "mine = 4711")
    for command in ("status", "variables"):
        text = await text_of(lab, await bert.slash(lab.channel, f"kernel {command}"))
        assert "You have no kernel running" in text
    text = await text_of(lab, await bert.slash(lab.channel, "kernel interrupt"))
    assert "Nothing was running" in text
    assert "Nothing has run" in await text_of(lab, await bert.slash(lab.channel, "notebook"))


async def test_conversation_of_another_in_the_same_channel_is_not_theirs(
    lab: Lab, bert: Person
) -> None:
    lab.openai.say("Noted.")
    await text_of(lab, await lab.anna.slash(lab.channel, "ask", prompt="My number is 4711"))
    assert "nothing to forget" in await text_of(lab, await bert.slash(lab.channel, "reset"))
    lab.openai.say("I don't know.")
    await text_of(lab, await bert.slash(lab.channel, "ask", prompt="What is the number?"))
    assert "4711" not in lab.openai.last.text


async def test_made_up_buttons_are_refused(lab: Lab, bert: Person) -> None:
    shown = await answer(lab)
    for custom_id in (
        *("cm:files:1:0:0", "cm:nothing:1:", "cm:files:x:0", "cm:files:\uff11:0"),
        "cm:" + "f" * 97,
    ):
        refused = await press(lab, bert, shown, custom_id)
        assert "please ask anew" in await text_of(lab, refused), custom_id


async def test_anothers_form_cannot_be_sent(lab: Lab, bert: Person) -> None:
    use = await lab.anna.slash(lab.channel, "run")
    assert use.modal is not None
    data: Mapping[str, Any] = use.modal.filled({"code": "print(1)"})
    forged = Interaction(lab.discord.world, MODAL_SUBMIT, bert, lab.channel)
    forged.opened_by = use
    forged.data = dict(data)
    await forged.send(wait=True, timeout_s=10)
    assert await text_of(lab, forged) == "That button is for the person who asked."
    assert lab.service.find_session(bert.id) is None


async def test_settings_are_for_those_who_manage_the_server(lab: Lab, bert: Person) -> None:
    boss = lab.guild.member("boss", permissions=["manage_guild"])
    use = await boss.slash(lab.channel, "settings threads", answers="off")
    await text_of(lab, use)
    forged = Interaction(
        lab.discord.world, use.kind, bert, lab.channel, name=use.name, data=use.data
    )
    await forged.send(wait=True, timeout_s=10)
    assert "may manage this server" in await text_of(lab, forged)
