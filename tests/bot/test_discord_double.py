"""The double of Discord: a real interactions.py gets on with it, and every limit is a limit."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import interactions
import pytest
import pytest_asyncio
from interactions import (
    ActionRow,
    Button,
    ButtonStyle,
    Client,
    Intents,
    Modal,
    OptionType,
    ParagraphText,
    component_callback,
    listen,
    modal_callback,
    slash_command,
    slash_option,
)
from interactions.api.http.route import Route
from interactions.models.discord.asset import Asset

from tests.discord_double import Channel, DiscordDouble, Guild, Person

NOBODY = {"parse": []}


@pytest_asyncio.fixture
async def discord() -> AsyncIterator[DiscordDouble]:
    async with DiscordDouble.open() as double:
        yield double


@dataclass(frozen=True, slots=True)
class Running:
    """A client, and the task that it runs in."""

    client: Client
    task: "asyncio.Task[None]"


@asynccontextmanager
async def running(
    discord: DiscordDouble,
    monkeypatch: pytest.MonkeyPatch,
    *parts: Any,
    intents: Intents = Intents.DEFAULT,
) -> AsyncIterator["Running"]:
    """A real client with listeners and commands, started and ready."""
    monkeypatch.setattr(Route, "BASE", discord.api_url)
    monkeypatch.setattr(Asset, "BASE", discord.cdn_url)
    client = Client(token=discord.token, intents=intents)
    started = asyncio.Event()

    @listen("startup")
    async def on_startup() -> None:
        started.set()

    client.add_listener(on_startup)
    for part in parts:
        if isinstance(part, interactions.Listener):
            client.add_listener(part)
        elif isinstance(part, interactions.ModalCommand):
            client.add_modal_callback(part)
        elif isinstance(part, interactions.ComponentCommand):
            client.add_component_callback(part)
        else:
            client.add_interaction(part)
    run = asyncio.create_task(client.astart())
    try:
        async with asyncio.timeout(10):
            await started.wait()
        yield Running(client, run)
    finally:
        # Client.stop closes HTTP first, and then goes round in circles for ever.
        await client._connection_state.stop()
        await client.http.close()
        await asyncio.gather(run, return_exceptions=True)


class Raw:
    """Requests as a bot without a library would send them."""

    def __init__(self, discord: DiscordDouble, session: aiohttp.ClientSession) -> None:
        self._discord = discord
        self._session = session

    async def __call__(
        self,
        method: str,
        path: str,
        payload: Any = None,
        *,
        files: dict[str, bytes] | None = None,
        token: str | None = None,
    ) -> tuple[int, Any]:
        headers = {
            "Authorization": f"Bot {token or self._discord.token}",
            "User-Agent": "DiscordBot (https://example.org, 1)",
        }
        body: dict[str, Any] = {}
        if files is not None:
            form = aiohttp.FormData()
            for index, (name, content) in enumerate(files.items()):
                form.add_field(f"files[{index}]", io.BytesIO(content), filename=name)
            form.add_field("payload_json", json.dumps(payload or {}))
            body["data"] = form
        elif payload is not None:
            body["json"] = payload
        url = self._discord.api_url + path
        async with self._session.request(method, url, headers=headers, **body) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None


@pytest_asyncio.fixture
async def raw(discord: DiscordDouble) -> AsyncIterator[Raw]:
    async with aiohttp.ClientSession() as session:
        yield Raw(discord, session)


@pytest.fixture
def guild(discord: DiscordDouble) -> Guild:
    return discord.guild("lab", attachment_size_limit=1000)


@pytest.fixture
def channel(guild: Guild) -> Channel:
    return guild.text_channel("data")


@pytest.fixture
def anna(guild: Guild) -> Person:
    return guild.member("anna")


@pytest.fixture
def bob(guild: Guild) -> Person:
    return guild.member("bob")


def codes(body: dict[str, Any]) -> set[str]:
    """The names of all that was wrong with a form."""
    found: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "_errors":
                    found.update(error["code"] for error in value)
                else:
                    walk(value)

    walk(body.get("errors", {}))
    return found


# A real client ----------------------------------------------------------------------------------


@listen("message_create")
async def echo(event: Any) -> None:
    """Answers whoever pings it, with what it could read."""
    message = event.message
    if message.author.bot or event.bot.user.id not in message._mention_ids:
        return
    names = [attachment.filename for attachment in message.attachments]
    await message.reply(f"read {message.content!r} {names}", allowed_mentions=NOBODY)


@slash_command(name="hello", description="Says hello")
@slash_option(name="file", description="a file", opt_type=OptionType.ATTACHMENT)
@slash_option(name="times", description="how often", opt_type=OptionType.INTEGER, max_value=9)
async def hello(ctx: Any, file: Any = None, times: int = 1) -> None:
    """Thinks, answers, edits, follows up."""
    await ctx.defer(ephemeral=True)
    message = await ctx.send(f"hello {file.filename if file else ''} {times}")
    await ctx.edit(message, content="hello again")
    await ctx.send("and again")


@slash_command(
    name="files", description="Your files", sub_cmd_name="get", sub_cmd_description="Get one"
)
@slash_option(
    name="name", description="which", opt_type=OptionType.STRING, required=True, autocomplete=True
)
async def files_get(ctx: Any, name: str) -> None:
    """Answers at once, with a button."""
    button = Button(style=ButtonStyle.PRIMARY, label="Ask", custom_id="ask")
    await ctx.send(f"got {name}", components=[ActionRow(button)])


@files_get.autocomplete("name")
async def files_names(ctx: Any) -> None:
    """Offers what was typed, completed."""
    await ctx.send([f"{ctx.input_text}es.csv"])


@component_callback("ask")
async def asked(ctx: Any) -> None:
    """Opens a form."""
    text = ParagraphText(label="What", custom_id="what", max_length=20)
    await ctx.send_modal(Modal(text, title="Your words", custom_id="words"))


@modal_callback("words")
async def said(ctx: Any, what: str) -> None:
    """Answers with what was filled in."""
    await ctx.send(f"you said {what}")


ALL = (echo, hello, files_get, asked, said)


async def test_real_client_starts_registers_commands_and_reads_messages(
    discord: DiscordDouble, channel: Channel, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(discord, monkeypatch, *ALL) as bot:
        await discord.ready()
        assert set(discord.commands) == {"hello", "files"}
        assert len(discord.identifies) == 1
        assert [g.name for g in bot.client.guilds] == ["lab"]
        await channel.post(anna, "hi", files={"my data.csv": b"1"}, mention_bot=True)
        answer = await channel.wait_for()
        assert answer.content == f"read '{discord.bot.mention} hi' ['my_data.csv']"
        assert answer.reply_to is not None and answer.reply_to.author is anna
        assert answer.pings == frozenset()
        dm = discord.dm(anna)
        question = await dm.post(anna, "in private", mention_bot=True)
        assert (await dm.wait_for(after=question)).content.startswith("read")
    assert "  read" in discord.transcript() and "📎 my_data.csv" in discord.transcript(channel)


async def test_real_client_answers_a_command_ephemerally_and_follows_up(
    discord: DiscordDouble,
    channel: Channel,
    anna: Person,
    bob: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(discord, monkeypatch, *ALL):
        used = await anna.slash(channel, "hello", file=("a.csv", b"12"), times=3)
        await used.wait_for_message(lambda message: message.content == "and again")
    assert used.deferred and used.ephemeral and used.response and not used.refused
    assert used.acknowledged_after_s is not None and used.acknowledged_after_s <= 3
    assert [version.content for version in used.response.edits] == ["hello a.csv 3"]
    assert used.response in channel.seen_by(anna) and used.response not in channel.seen_by(bob)
    assert [message.content for message in used.followups] == ["and again"]
    assert "only anna sees this" in channel.transcript()
    assert "hello again" not in channel.transcript(bob)


async def test_real_client_completes_options_opens_a_form_and_takes_it(
    discord: DiscordDouble, channel: Channel, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(discord, monkeypatch, *ALL):
        offered = await anna.autocomplete(channel, "files get", name="sal")
        assert offered == [{"name": "sales.csv", "value": "sales.csv"}]
        used = await anna.slash(channel, "files get", name="sales.csv")
        assert used.response and used.response.buttons == ("Ask",)
        pressed = await anna.press(used.response, "Ask")
        assert pressed.modal and pressed.modal.title == "Your words"
        with pytest.raises(AssertionError, match="has to be filled in"):
            await anna.submit(pressed.modal, {})
        with pytest.raises(AssertionError, match="0 to 20"):
            await anna.submit(pressed.modal, {"What": "x" * 21})
        sent = await anna.submit(pressed.modal, {"What": "x" * 20})
        assert sent.response and sent.response.content == f"you said {'x' * 20}"


async def test_real_client_uploads_and_edits_away(
    discord: DiscordDouble,
    channel: Channel,
    anna: Person,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    path = tmp_path / "plot.png"
    path.write_bytes(b"\x89PNG picture")

    @slash_command(name="plot", description="Draws")
    async def plot(ctx: Any) -> None:
        await ctx.defer()
        file = interactions.File(str(path), description="a curve")
        message = await ctx.send("drawn", file=file)
        kept = message.attachments[0]
        await ctx.edit(message, content="still there", attachments=[kept])
        await ctx.edit(message, content="gone", attachments=[])

    async with running(discord, monkeypatch, plot):
        used = await anna.slash(channel, "plot")
        shown = await used.wait_for_message(lambda message: message.content == "gone")
    drawn, still = shown.edits
    assert (drawn.attachments[0].content, drawn.attachments[0].alt) == (
        b"\x89PNG picture",
        "a curve",
    )
    assert still.content == "still there" and still.attachments == drawn.attachments
    assert shown.attachments == []


@pytest.mark.parametrize("how", ["close", "drop", "op7", "op9"])
async def test_real_client_resumes_without_losing_a_message(
    discord: DiscordDouble,
    channel: Channel,
    anna: Person,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    gateway = discord.faults.gateway
    async with running(discord, monkeypatch, *ALL):
        if how == "close":
            await gateway.close(4000)
        elif how == "drop":
            await gateway.drop()
        elif how == "op7":
            await gateway.op7()
        else:
            await gateway.op9(resumable=False)
            await discord.until(lambda: len(discord.identifies) == 2)
        await channel.post(anna, "hi", mention_bot=True)
        await channel.wait_for()
        assert len(discord.identifies) == (2 if how == "op9" else 1)
        assert len(discord.gateway.resumes) == (0 if how == "op9" else 1)


async def test_real_client_gives_up_when_a_reconnect_is_refused_once(
    discord: DiscordDouble, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(discord, monkeypatch, *ALL) as bot:
        discord.faults.refuse_connections(times=1)
        await discord.faults.gateway.close(4000)
        async with asyncio.timeout(10):
            await bot.task
    assert len(discord.identifies) == 1 and not discord.gateway.connected


# Limits of messages -----------------------------------------------------------------------------


def row(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": 1, "components": list(parts)}


def button(**changes: Any) -> dict[str, Any]:
    return {"type": 2, "style": 1, "label": "go", "custom_id": "go"} | changes


def buttons(count: int) -> list[dict[str, Any]]:
    parts = [button(custom_id=f"id{number}") for number in range(count)]
    return [row(*parts[start : start + 5]) for start in range(0, count, 5)]


def menu(count: int, **changes: Any) -> dict[str, Any]:
    options = [{"label": f"l{n}", "value": f"v{n}"} for n in range(count)]
    return {"type": 3, "custom_id": "menu", "options": options} | changes


def embed(characters: int) -> dict[str, Any]:
    """One with so many characters, all its parts within their own limits."""
    title, description = min(characters, 256), min(max(characters - 256, 0), 4096)
    rest = characters - title - description
    fields = []
    while rest > 0:
        size = min(rest, 1025)
        fields.append({"name": "n", "value": "v" * (size - 1)})
        rest -= size
    return {"title": "t" * title, "description": "d" * description, "fields": fields}


def named(**changes: str) -> dict[str, str]:
    return {"name": "n", "value": "v"} | changes


def v2(*parts: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"flags": 1 << 15, "components": list(parts)} | rest


def text(content: str = "t") -> dict[str, Any]:
    return {"type": 10, "content": content}


MESSAGES: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {
    "content": (lambda n: {"content": "x" * n}, 2000),
    "content of wide characters": (lambda n: {"content": "😀" * n}, 2000),
    "embeds": (lambda n: {"embeds": [{"title": "t"}] * n}, 10),
    "all of an embed": (lambda n: {"embeds": [embed(n)]}, 6000),
    "all of two embeds": (lambda n: {"embeds": [embed(3000), embed(n - 3000)]}, 6000),
    "an embed's title": (lambda n: {"embeds": [{"title": "t" * n}]}, 256),
    "an embed's description": (lambda n: {"embeds": [{"description": "t" * n}]}, 4096),
    "an embed's footer": (lambda n: {"embeds": [{"footer": {"text": "t" * n}}]}, 2048),
    "an embed's fields": (
        lambda n: {"embeds": [{"fields": [{"name": "n", "value": "v"}] * n}]},
        25,
    ),
    "a field's name": (lambda n: {"embeds": [{"fields": [{"name": "n" * n, "value": "v"}]}]}, 256),
    "a field's value": (
        lambda n: {"embeds": [{"fields": [{"name": "n", "value": "v" * n}]}]},
        1024,
    ),
    "rows": (lambda n: {"components": buttons(5 * n)}, 5),
    "buttons in a row": (
        lambda n: {"components": [row(*(button(custom_id=str(i)) for i in range(n)))]},
        5,
    ),
    "a button's label": (lambda n: {"components": [row(button(label="l" * n))]}, 80),
    "a custom_id": (lambda n: {"components": [row(button(custom_id="i" * n))]}, 100),
    "a menu's options": (lambda n: {"components": [row(menu(n))]}, 25),
    "components of a new layout": (lambda n: v2(*[text()] * n), 40),
    "texts of a new layout": (lambda n: v2(text("x" * (n - 1)), text("y")), 4000),
    "a nonce": (lambda n: {"content": "x", "nonce": "n" * n}, 25),
}


@pytest.mark.parametrize("what", MESSAGES)
async def test_limits_of_messages_hold_exactly(
    discord: DiscordDouble, channel: Channel, raw: Raw, what: str
) -> None:
    make, limit = MESSAGES[what]
    path = f"/channels/{channel.id}/messages"
    assert (await raw("POST", path, make(limit - 1)))[0] == 200
    assert (await raw("POST", path, make(limit)))[0] == 200
    assert discord.violations == []
    with discord.allowing_violations() as seen:
        status, body = await raw("POST", path, make(limit + 1))
    assert (status, body["code"]) == (400, 50035) and codes(body) and len(seen) == 1
    assert len(channel.messages) == 2


WRONG_MESSAGES: dict[str, tuple[dict[str, Any], int]] = {
    "nothing": ({}, 50006),
    "only blank": ({"content": ""}, 50006),
    "an unknown key": ({"content": "x", "colour": 1}, 50035),
    "a button without a custom_id": ({"components": [row(button(custom_id=None))]}, 50035),
    "a button without a label": ({"components": [row(button(label=None))]}, 50035),
    "a custom_id twice": ({"components": [row(button()), row(button())]}, 50035),
    "a link with a custom_id": (
        {"components": [row(button(style=5, url="https://example.org"))]},
        50035,
    ),
    "a link without a url": ({"components": [row(button(style=5, custom_id=None))]}, 50035),
    "a button beside a menu": ({"components": [row(button(), menu(1))]}, 50035),
    "a menu without options": ({"components": [row(menu(0))]}, 50035),
    "an option's value twice": (
        {"components": [row(menu(0, options=[{"label": "a", "value": "v"}] * 2))]},
        50035,
    ),
    "a button without its row": ({"components": [button()]}, 50035),
    "a new component without the flag": ({"components": [text()]}, 50035),
    "content beside the new layout": (v2(text(), content="x"), 50035),
    "an embed beside the new layout": (v2(text(), embeds=[{"title": "t"}]), 50035),
    "a file that isn't there": (v2({"type": 13, "file": {"url": "attachment://a.csv"}}), 50035),
    "the flag of ephemeral answers": ({"content": "x", "flags": 64}, 50035),
    "users allowed in both ways": (
        {"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}},
        50035,
    ),
    "an attachment that didn't come": ({"content": "x", "attachments": [{"id": 0}]}, 50035),
    "enforce_nonce without a nonce": ({"content": "x", "enforce_nonce": True}, 50035),
}


@pytest.mark.parametrize("what", WRONG_MESSAGES)
async def test_what_no_bot_should_send_is_refused_and_recorded(
    discord: DiscordDouble, channel: Channel, raw: Raw, what: str
) -> None:
    payload, code = WRONG_MESSAGES[what]
    with discord.allowing_violations() as seen:
        status, body = await raw("POST", f"/channels/{channel.id}/messages", payload)
    assert (status, body["code"]) == (400, code) and len(seen) == 1
    assert channel.messages == []


async def test_a_violation_fails_the_test_at_the_end() -> None:
    with pytest.raises(AssertionError, match="broke Discord's rules:\nPOST /channels"):
        async with DiscordDouble.open() as discord, aiohttp.ClientSession() as session:
            channel = discord.guild().text_channel("data")
            await Raw(discord, session)("POST", f"/channels/{channel.id}/messages", {})


@pytest.mark.parametrize("size", [999, 1000, 1001])
async def test_a_file_may_be_as_large_as_the_guild_allows(
    discord: DiscordDouble, channel: Channel, raw: Raw, size: int
) -> None:
    with discord.allowing_violations() as seen:
        status, body = await raw(
            "POST", f"/channels/{channel.id}/messages", {}, files={"a.bin": b"x" * size}
        )
    if size > 1000:
        assert (status, body["code"]) == (413, 40005) and len(seen) == 1
    else:
        assert status == 200 and channel.messages[0].files == {"a.bin": b"x" * size}


@pytest.mark.parametrize(("boost", "mebibytes"), [(0, 10), (1, 10), (2, 50), (3, 100)])
def test_boosted_guilds_allow_larger_files(boost: int, mebibytes: int) -> None:
    discord = DiscordDouble(message_content=False, bot_name="bot")
    assert discord.guild(boost=boost).attachment_bytes == mebibytes << 20


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_a_whole_request_may_have_25_mebibytes(
    discord: DiscordDouble, raw: Raw, over: int
) -> None:
    channel = discord.guild("large", boost=2).text_channel("data")
    payload = b"{}"
    content = b"x" * ((25 << 20) - len(payload) + over)
    with discord.allowing_violations():
        status, _ = await raw(
            "POST", f"/channels/{channel.id}/messages", {}, files={"a.bin": content}
        )
    assert status == (413 if over > 0 else 200)


@pytest.mark.parametrize("count", [9, 10, 11])
async def test_a_message_has_at_most_ten_files(
    discord: DiscordDouble, channel: Channel, raw: Raw, count: int
) -> None:
    files = {f"{number}.txt": b"x" for number in range(count)}
    with discord.allowing_violations():
        status, _ = await raw("POST", f"/channels/{channel.id}/messages", {}, files=files)
    assert status == (400 if count > 10 else 200)


@pytest.mark.parametrize("length", [1023, 1024, 1025])
async def test_alt_text_has_at_most_1024_characters(
    discord: DiscordDouble, channel: Channel, raw: Raw, length: int
) -> None:
    payload = {"attachments": [{"id": "0", "description": "x" * length}]}
    with discord.allowing_violations():
        status, _ = await raw(
            "POST", f"/channels/{channel.id}/messages", payload, files={"a": b"x"}
        )
    assert status == (400 if length > 1024 else 200)


async def test_files_that_are_not_listed_beside_listed_ones_are_refused(
    discord: DiscordDouble, channel: Channel, raw: Raw
) -> None:
    payload = {"attachments": [{"id": 0, "filename": "a.txt"}]}
    with discord.allowing_violations() as seen:
        status, _ = await raw(
            "POST", f"/channels/{channel.id}/messages", payload, files={"a": b"1", "b": b"2"}
        )
    assert status == 400 and "aren't listed" in seen[0]


async def test_an_edit_keeps_only_the_attachments_that_it_lists(channel: Channel, raw: Raw) -> None:
    path = f"/channels/{channel.id}/messages"
    _, sent = await raw("POST", path, {}, files={"a.txt": b"1", "b.txt": b"2"})
    message = channel.messages[0]
    await raw("PATCH", f"{path}/{sent['id']}", {"content": "same"})
    assert set(message.files) == {"a.txt", "b.txt"}
    await raw("PATCH", f"{path}/{sent['id']}", {"attachments": [{"id": message.attachments[1].id}]})
    assert message.files == {"b.txt": b"2"}
    listed = {"attachments": [{"id": 0, "filename": "c.txt"}]}
    await raw("PATCH", f"{path}/{sent['id']}", listed, files={"c.txt": b"3"})
    assert message.files == {"c.txt": b"3"} and len(message.edits) == 3


async def test_the_same_nonce_makes_one_message_for_a_few_minutes(
    discord: DiscordDouble, channel: Channel, raw: Raw
) -> None:
    path, payload = f"/channels/{channel.id}/messages", {"content": "x", "nonce": "n1"}
    _, first = await raw("POST", path, payload | {"enforce_nonce": True})
    _, again = await raw("POST", path, payload | {"enforce_nonce": True})
    assert again["id"] == first["id"] and len(channel.messages) == 1
    await raw("POST", path, payload)
    assert len(channel.messages) == 2
    discord.clock.advance(301)
    await raw("POST", path, payload | {"enforce_nonce": True})
    assert len(channel.messages) == 3


@pytest.mark.parametrize(
    ("allowed", "pinged"),
    [
        (None, {"anna", "bob", "carl", "@everyone"}),
        ({"parse": []}, set()),
        ({"parse": [], "replied_user": True}, {"anna"}),
        ({"parse": ["users"]}, {"anna", "bob"}),
        ({"parse": ["roles"]}, {"carl"}),
        ({"parse": ["everyone"]}, {"@everyone"}),
        ({"users": ["BOB"]}, {"bob"}),
    ],
)
async def test_mentions_ping_only_whom_they_may(
    channel: Channel,
    guild: Guild,
    anna: Person,
    bob: Person,
    raw: Raw,
    allowed: dict[str, Any] | None,
    pinged: set[str],
) -> None:
    role = guild.role("team")
    guild.member("carl", roles=[role])
    asked = await channel.post(anna, "?")
    payload: dict[str, Any] = {
        "content": f"{anna.mention} {bob.mention} <@&{role.id}> @everyone",
        "message_reference": {"message_id": asked.id},
    }
    if allowed is not None:
        named = [bob.id if user == "BOB" else user for user in allowed.get("users", [])]
        payload["allowed_mentions"] = allowed | ({"users": named} if named else {})
    await raw("POST", f"/channels/{channel.id}/messages", payload)
    assert channel.messages[-1].pings == pinged


async def test_a_reply_to_nothing_is_refused_unless_that_is_fine(
    discord: DiscordDouble, channel: Channel, raw: Raw
) -> None:
    path = f"/channels/{channel.id}/messages"
    reference = {"message_id": "1"}
    status, body = await raw("POST", path, {"content": "x", "message_reference": reference})
    assert status == 400 and codes(body) == {"REPLIES_UNKNOWN_MESSAGE"}
    reference = {"message_id": "1", "fail_if_not_exists": False}
    assert (await raw("POST", path, {"content": "x", "message_reference": reference}))[0] == 200


async def test_the_bot_does_only_what_it_may(
    discord: DiscordDouble, channel: Channel, anna: Person, raw: Raw
) -> None:
    path = f"/channels/{channel.id}/messages"
    message = await channel.post(anna, "mine")
    assert (await raw("PATCH", f"{path}/{message.id}", {"content": "x"}))[1]["code"] == 50005
    assert (await raw("GET", f"{path}/{int(message.id) + 1}"))[1]["code"] == 10008
    channel.deny_bot("attach_files")
    assert (await raw("POST", path, {}, files={"a": b"x"}))[1]["code"] == 50013
    channel.deny_bot("send_messages")
    assert (await raw("POST", path, {"content": "x"}))[1]["code"] == 50013
    channel.deny_bot("view_channel")
    assert (await raw("POST", path, {"content": "x"}))[1]["code"] == 50001
    assert (await raw("POST", "/channels/1/messages", {"content": "x"}))[1]["code"] == 10003
    assert (await raw("GET", "/users/@me", token="wrong"))[0] == 401


async def test_threads_start_from_messages_and_are_channels(
    discord: DiscordDouble, channel: Channel, anna: Person, raw: Raw
) -> None:
    message = await channel.post(anna, "?")
    path = f"/channels/{channel.id}/messages/{message.id}/threads"
    status, thread = await raw("POST", path, {"name": "x" * 100, "auto_archive_duration": 60})
    assert status == 201 and thread["id"] == message.id and thread["type"] == 11
    assert (await raw("POST", f"/channels/{thread['id']}/messages", {"content": "in"}))[0] == 200
    assert message.thread is channel.threads[0] and message.thread.by_bot[0].content == "in"
    with discord.allowing_violations() as seen:
        assert (await raw("POST", path, {"name": "again"}))[1]["code"] == 160004
        other = await channel.post(anna, "!")
        path = f"/channels/{channel.id}/messages/{other.id}/threads"
        assert (await raw("POST", path, {"name": "x" * 101}))[1]["code"] == 50035
        assert (await raw("POST", path, {"name": ""}))[1]["code"] == 50035
        wrong = {"name": "x", "auto_archive_duration": 61}
        assert (await raw("POST", path, wrong))[1]["code"] == 50035
    assert len(seen) == 4
