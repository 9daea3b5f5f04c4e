"""Servers that speak Discord's protocol, but not as Discord does: the bot works there, too.

What differs is what such servers were seen to do, one thing at a time.
"""

from functools import partial
from typing import Any

import pytest

from tests.bot.conversations.conftest import StartLab
from tests.bot.conversations.other_server import Difference, OtherServer
from tests.bot.conversations.reading import answered, text_of
from tests.discord_double import DiscordDouble, Message

_CSV = {"sales.csv": b"city,amount\nOslo,4\nLima,5\n"}
_COMMANDS = "/applications/{}/commands"
_LEFT_OUT = frozenset({
    "bot", "avatar", "discriminator", "verified", "summary", "owner", "proxy_url", "color",
    "position", "permissions", "preferred_locale", "locale", "premium_tier", "flags",
    "member_count", "mention_roles", "embeds", "components", "referenced_message",
    "session_start_limit", "attachment_size_limit", "authorizing_integration_owners",
    "context", "entitlements",
})  # fmt: skip


def _bare(value: Any) -> None:
    """Leave out what can be left out, everywhere."""
    if isinstance(value, list):
        for item in value:
            _bare(item)
    elif isinstance(value, dict):
        for key in [*value]:
            if key in _LEFT_OUT and not (key == "components" and value.get("type") == 5):
                del value[key]
        for item in value.values():
            _bare(item)


def _numbers(value: Any) -> Any:
    """Ids as numbers."""
    if isinstance(value, dict):
        return {
            key: int(item)
            if (key == "id" or key.endswith("_id")) and isinstance(item, str) and item.isdecimal()
            else _numbers(item)
            for key, item in value.items()
        }
    return [_numbers(item) for item in value] if isinstance(value, list) else value


def _nulls(value: Any) -> None:
    """Null in place of every empty list."""
    if isinstance(value, list):
        for item in value:
            _nulls(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if item == []:
                value[key] = None
            _nulls(item)


def _unplaced(name: str, data: dict[str, Any]) -> None:
    """Messages that don't say where they are, nor who is mentioned."""
    if name == "MESSAGE_CREATE":
        data.pop("guild_id", None)
        data.pop("member", None)
        data["mentions"] = []


def _relative(name: str, data: dict[str, Any]) -> None:
    """Files without a host."""
    for attachment in data.get("attachments", ()) if name == "MESSAGE_CREATE" else ():
        attachment["url"] = "/attachments/" + attachment["url"].partition("/attachments/")[2]


def _emptied(method: str, path: str, status: int, body: Any) -> tuple[int, Any]:
    return (204, None) if method == "POST" and path.endswith("/messages") else (status, body)


def _says(words: str, message: Message) -> bool:
    return message.author.is_bot and message.content == words


def _bare_answer(method: str, path: str, status: int, body: Any) -> tuple[int, Any]:
    _bare(body)
    return status, body


def _null_answer(method: str, path: str, status: int, body: Any) -> tuple[int, Any]:
    if not isinstance(body, list):
        _nulls(body)
    return status, body


DIFFERENCES = {
    "address without version": Difference(told="/api"),
    "address without path": Difference(told="/"),
    "mounted at the root": Difference(mounted="", told="", gateway="/socket/"),
    "another version": Difference(mounted="/api/v9", told="/api/v9/", gateway="/gateway?v=9"),
    "gateway elsewhere": Difference(gateway="/socket/?encoding=json"),
    "no old routes": Difference(
        missing=frozenset({"/gateway", "/oauth2/applications/@me", "/sticker-packs"})
    ),
    "types with a charset": Difference(content_type="application/json; charset=utf-8"),
    "little said": Difference(answer=_bare_answer, event=lambda name, data: _bare(data)),
    "ids are numbers": Difference(
        answer=lambda method, path, status, body: (status, _numbers(body)),
        event=lambda name, data: data.update(_numbers(data)),
    ),
    "nulls for nothing": Difference(answer=_null_answer, event=lambda name, data: _nulls(data)),
    "messages without a place": Difference(event=_unplaced),
    "files without a host": Difference(event=_relative),
    "edits without files": Difference(edits_files=False),
    "nothing said of what was sent": Difference(answer=_emptied),
}


@pytest.mark.parametrize("name", DIFFERENCES)
async def test_question_with_a_file_is_answered_with_a_picture(
    name: str, discord: DiscordDouble, start_lab: StartLab
) -> None:
    async with (
        OtherServer.open(discord, DIFFERENCES[name]) as server,
        start_lab(discord_api_url=server.told, discord_cdn_url=None) as lab,
    ):
        lab.openai.call("df = load_file('sales.csv')\nprint(df)\nplt.plot(df.amount);")
        lab.openai.say("It has two cities.")
        await lab.channel.post(lab.anna, "analyse this", files=_CSV, mention_bot=True)
        answer = await answered(lab, "two cities")
        [picture] = answer.attachments
        assert picture.content.startswith(b"\x89PNG")
        assert "city" in lab.openai.last.last_result
        assert server.identifies == 1
        run = await lab.anna.slash(lab.channel, "run", code="print(6 * 7)")
        assert "42" in await text_of(lab, run)


async def test_words_arrive_where_only_words_are_known(
    discord: DiscordDouble, start_lab: StartLab
) -> None:
    difference = Difference(knows=frozenset({"content", "allowed_mentions"}))
    async with (
        OtherServer.open(discord, difference) as server,
        start_lab(discord_api_url=server.told) as lab,
    ):
        lab.openai.say("Hello @everyone.")
        await lab.channel.post(lab.anna, "hello", mention_bot=True)
        answer = await lab.channel.wait_for(lambda m: "Hello" in m.content, timeout_s=20)
        assert not answer.pings


async def test_server_without_commands_has_questions_answered(
    discord: DiscordDouble, start_lab: StartLab
) -> None:
    commands = _COMMANDS.format(discord.application_id)
    discord.world.commands[""]["0"] = {"name": "of nobody"}  # for who waits until there are some
    async with (
        OtherServer.open(discord, Difference(missing=frozenset({commands}))) as server,
        start_lab(discord_api_url=server.told) as lab,
    ):
        lab.openai.say("Hello.")
        await lab.channel.post(lab.anna, "hello", mention_bot=True)
        await lab.channel.wait_for(lambda m: m.content == "Hello.", timeout_s=20)


async def test_question_is_answered_where_channels_cannot_be_looked_up(
    discord: DiscordDouble, start_lab: StartLab
) -> None:
    def answer(method: str, path: str, status: int, body: Any) -> tuple[int, Any]:
        is_look_up = method == "GET" and path.startswith("/channels/") and path.count("/") == 2
        return (404, {"message": "Not Found"}) if is_look_up else (status, body)

    async with (
        OtherServer.open(discord, Difference(answer=answer)) as server,
        start_lab(discord_api_url=server.told) as lab,
    ):
        dm = discord.world.dm(lab.anna)
        lab.openai.say("Hello.")
        await dm.post(lab.anna, "hello")
        await dm.wait_for(partial(_says, "Hello."))


async def test_own_message_is_no_question_where_bots_are_not_marked(
    discord: DiscordDouble, start_lab: StartLab
) -> None:
    async with (
        OtherServer.open(discord, DIFFERENCES["little said"]) as server,
        start_lab(discord_api_url=server.told) as lab,
    ):
        dm = discord.world.dm(lab.anna)
        for words in ("One.", "Two."):
            lab.openai.say(words)
            await dm.post(lab.anna, words)
            await dm.wait_for(partial(_says, words))
        assert len(lab.openai.requests) == 2


async def test_words_go_first_where_files_cannot_and_those_follow(
    discord: DiscordDouble, start_lab: StartLab
) -> None:
    async with (
        OtherServer.open(discord, Difference()) as server,
        start_lab(discord_api_url=server.told) as lab,
    ):
        server.takes_files = False
        lab.openai.call("plt.plot([1, 2]);")
        lab.openai.say("It rises.")
        await lab.channel.post(lab.anna, "draw", mention_bot=True)
        answer = await answered(lab, "It rises.")
        assert "these follow later: `cell-1-figure-1.png`" in answer.content
        assert not answer.attachments and server.uploads > 1
        lab.openai.say("Still here.")
        await lab.channel.post(lab.anna, "and now?", mention_bot=True)
        await lab.channel.wait_for(lambda m: m.content == "Still here.", timeout_s=20)
        server.takes_files = True
        follows = await lab.channel.wait_for(
            lambda m: m.author.is_bot and bool(m.attachments), timeout_s=20
        )
        assert [*follows.files] == ["cell-1-figure-1.png"]
