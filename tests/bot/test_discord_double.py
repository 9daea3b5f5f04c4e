"""The double of Discord: a real interactions.py gets on with it, and every limit is a limit."""

import asyncio
import io
import json
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
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

from tests.discord_double import Channel, DiscordDouble, Guild, Interaction, Person, Upload
from tests.discord_double.intents import MESSAGE_CONTENT

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
    if what == "an unknown key" and not discord.checks_openapi:
        pytest.skip("only Discord's own document tells")
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


# Limits of interactions -------------------------------------------------------------------------


async def use(channel: Channel, person: Person, kind: int = 2) -> Interaction:
    """A command that somebody has used, without any bot there to answer it."""
    used = Interaction(channel.world, kind, person, channel, name="hello")
    used.data = {"id": "1", "name": "hello", "type": 1, "options": []}
    return await used.send(wait=False, timeout_s=0)


def callback(used: Interaction) -> str:
    return f"/interactions/{used.id}/{used.token}/callback"


def hook(used: Interaction, rest: str = "") -> str:
    return f"/webhooks/{used.world.bot.id}/{used.token}{rest}"


@pytest.mark.parametrize(("late_s", "status"), [(2, 204), (2.9, 204), (3.1, 404)])
async def test_an_interaction_is_acknowledged_within_three_seconds_or_never(
    discord: DiscordDouble,
    channel: Channel,
    anna: Person,
    raw: Raw,
    late_s: float,
    status: int,
) -> None:
    used = await use(channel, anna)
    # Exactly three seconds can't be had on a clock that goes on.
    discord.clock.advance(late_s)
    answered, body = await raw("POST", callback(used), {"type": 5})
    assert answered == status
    if status == 404:
        assert body["code"] == 10062 and used.refused == [10062] and not used.acknowledged
    else:
        assert used.deferred and used.acknowledged_after_s == pytest.approx(late_s, abs=0.1)


def test_the_deadlines_of_interactions_are_exact(discord_world: DiscordDouble) -> None:
    channel = discord_world.guild().text_channel("data")
    anna = discord_world.person("anna")
    used = Interaction(discord_world.world, 2, anna, channel)
    assert not used.is_late(used.at + timedelta(seconds=3))
    assert used.is_late(used.at + timedelta(seconds=3, microseconds=1))
    assert not used.is_over(used.at + timedelta(minutes=15))
    assert used.is_over(used.at + timedelta(minutes=15, microseconds=1))


@pytest.fixture
def discord_world() -> DiscordDouble:
    """The double without its server."""
    return DiscordDouble(message_content=False, bot_name="bot")


async def test_a_token_lives_for_15_minutes(
    discord: DiscordDouble, channel: Channel, anna: Person, raw: Raw
) -> None:
    used = await use(channel, anna)
    await raw("POST", callback(used), {"type": 5})
    discord.clock.advance(899)
    assert (await raw("PATCH", hook(used, "/messages/@original"), {"content": "x"}))[0] == 200
    discord.clock.advance(2)
    for method, rest in (
        ("PATCH", "/messages/@original"),
        ("GET", "/messages/@original"),
        ("POST", ""),
    ):
        payload = None if method == "GET" else {"content": "x"}
        status, body = await raw(method, hook(used, rest), payload)
        assert (status, body["code"]) == (401, 50027)
    assert used.refused == [50027] * 3
    assert used.response and used.response.content == "x"


async def test_a_second_acknowledgement_is_refused(
    discord: DiscordDouble, channel: Channel, anna: Person, raw: Raw
) -> None:
    used = await use(channel, anna)
    await raw("POST", callback(used), {"type": 4, "data": {"content": "x"}})
    with discord.allowing_violations() as seen:
        status, body = await raw("POST", callback(used), {"type": 5})
    assert (status, body["code"]) == (400, 40060) and len(seen) == 1


async def test_what_is_ephemeral_is_out_of_reach_for_others(
    discord: DiscordDouble, channel: Channel, anna: Person, bob: Person, raw: Raw
) -> None:
    used = await use(channel, anna)
    data = {"content": "secret", "flags": 64, "components": [row(button())]}
    await raw("POST", callback(used), {"type": 4, "data": data})
    assert used.ephemeral and used.response
    path = f"/channels/{channel.id}/messages"
    assert (await raw("GET", f"{path}/{used.response.id}"))[1]["code"] == 10008
    assert (await raw("PATCH", f"{path}/{used.response.id}", {"content": "x"}))[0] == 404
    assert (await raw("GET", path))[1] == []
    assert (await raw("GET", hook(used, "/messages/@original")))[1]["content"] == "secret"
    with pytest.raises(AssertionError, match="bob doesn't see the message"):
        await bob.press(used.response, "go", wait=False)


async def test_the_first_follow_up_takes_the_place_of_is_thinking(
    channel: Channel, anna: Person, raw: Raw
) -> None:
    used = await use(channel, anna)
    await raw("POST", callback(used), {"type": 5, "data": {"flags": 64}})
    assert used.response and used.response.is_loading and channel.by_bot == []
    await raw("POST", hook(used), {"content": "answer"})
    assert used.response.content == "answer" and used.response.is_ephemeral
    await raw("POST", hook(used), {"content": "more"})
    assert [message.content for message in used.messages] == ["answer", "more"]
    assert not used.followups[0].is_ephemeral


async def test_responses_and_follow_ups_are_edited_and_deleted(
    channel: Channel, anna: Person, raw: Raw
) -> None:
    used = await use(channel, anna)
    await raw("POST", callback(used), {"type": 4, "data": {"content": "one"}})
    _, more = await raw("POST", hook(used), {"content": "two"}, files={"a.txt": b"1"})
    await raw("PATCH", hook(used, f"/messages/{more['id']}"), {"attachments": []})
    assert used.followups[0].files == {} and len(used.followups[0].edits) == 1
    assert (await raw("DELETE", hook(used, "/messages/@original")))[0] == 204
    assert (await raw("DELETE", hook(used, f"/messages/{more['id']}")))[0] == 204
    assert channel.messages == []
    status, body = await raw("PATCH", hook(used, "/messages/@original"), {"content": "x"})
    assert (status, body["code"]) == (404, 10008)


@pytest.mark.parametrize("count", [4, 5, 6])
async def test_apps_installed_by_users_have_five_follow_ups(
    discord: DiscordDouble, raw: Raw, count: int
) -> None:
    elsewhere = discord.guild("elsewhere", has_bot=False)
    channel, anna = elsewhere.text_channel("data"), elsewhere.member("anna")
    used = await use(channel, anna)
    assert used.owners == {"1": anna.id}
    await raw("POST", callback(used), {"type": 4, "data": {"content": "answer"}})
    with discord.allowing_violations():
        answers = [await raw("POST", hook(used), {"content": "x"}) for _ in range(count)]
    assert [status for status, _ in answers] == [200] * min(count, 5) + [400] * max(0, count - 5)
    assert count < 6 or answers[-1][1]["code"] == 40094
    status, body = await raw("POST", f"/channels/{channel.id}/messages", {"content": "x"})
    assert (status, body["code"]) == (403, 50001)


def form(**changes: Any) -> dict[str, Any]:
    rows = [row({"type": 4, "custom_id": "a", "label": "A", "style": 1})]
    return {"custom_id": "f", "title": "F", "components": rows} | changes


def inputs(count: int, **changes: Any) -> list[dict[str, Any]]:
    common = {"type": 4, "label": "A", "style": 1} | changes
    return [row({"custom_id": f"a{number}"} | common) for number in range(count)]


FORMS: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {
    "title": (lambda n: form(title="t" * n), 45),
    "custom_id": (lambda n: form(custom_id="i" * n), 100),
    "rows": (lambda n: form(components=inputs(n)), 5),
    "label": (lambda n: form(components=inputs(1, label="l" * n)), 45),
    "placeholder": (lambda n: form(components=inputs(1, placeholder="p" * n)), 100),
    "value": (lambda n: form(components=inputs(1, value="v" * n)), 4000),
    "value of a short input": (
        lambda n: form(components=inputs(1, max_length=10, value="v" * n)),
        10,
    ),
}


@pytest.mark.parametrize("what", FORMS)
async def test_limits_of_forms_hold_exactly(
    discord: DiscordDouble, channel: Channel, anna: Person, raw: Raw, what: str
) -> None:
    make, limit = FORMS[what]
    for size in (limit - 1, limit):
        used = await use(channel, anna)
        assert (await raw("POST", callback(used), {"type": 9, "data": make(size)}))[0] == 204
        assert used.modal and used.modal.title
    used = await use(channel, anna)
    with discord.allowing_violations() as seen:
        status, _ = await raw("POST", callback(used), {"type": 9, "data": make(limit + 1)})
    assert status == 400 and len(seen) == 1 and used.modal is None


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (2, {"type": 8, "data": {"choices": []}}),
        (4, {"type": 4, "data": {"content": "x"}}),
        (4, {"type": 8, "data": {"choices": [{"name": str(n), "value": "v"} for n in range(26)]}}),
        (4, {"type": 8, "data": {"choices": [{"name": "n" * 101, "value": "v"}]}}),
        (4, {"type": 8, "data": {"choices": [{"name": "n", "value": "v" * 101}]}}),
        (2, {"type": 6}),
        (2, {"type": 7, "data": {"content": "x"}}),
        (5, {"type": 9, "data": form()}),
        (2, {"type": 4, "data": {}}),
        (2, {"type": 4, "data": {"content": "x" * 2001}}),
        (2, {"type": 4, "data": {"content": "x"}, "attachments": []}),
        (2, {"type": 1}),
        (2, {"type": 99}),
    ],
)
async def test_callbacks_that_fit_no_interaction_are_refused_and_recorded(
    discord: DiscordDouble, channel: Channel, anna: Person, raw: Raw, kind: int, payload: Any
) -> None:
    used = await use(channel, anna, kind)
    with discord.allowing_violations() as seen:
        status, _ = await raw("POST", callback(used), payload)
    assert status == 400 and len(seen) == 1 and not used.acknowledged


@pytest.mark.parametrize("count", [24, 25])
async def test_up_to_25_choices_can_be_offered(
    channel: Channel, anna: Person, raw: Raw, count: int
) -> None:
    used = await use(channel, anna, kind=4)
    choices = [{"name": "n" * 100, "value": "v" * 100} for _ in range(count)]
    assert (await raw("POST", callback(used), {"type": 8, "data": {"choices": choices}}))[0] == 204
    assert used.choices == choices


# Limits of commands -----------------------------------------------------------------------------


def command(**changes: Any) -> dict[str, Any]:
    return {"name": "c", "description": "d", "type": 1} | changes


def option(**changes: Any) -> dict[str, Any]:
    return {"type": 3, "name": "o", "description": "d"} | changes


def choices(count: int) -> list[dict[str, str]]:
    return [{"name": f"n{number}", "value": f"v{number}"} for number in range(count)]


def large(characters: int) -> dict[str, Any]:
    """A command with so many characters: name, description, names and values of choices."""
    options: list[dict[str, Any]] = []
    left = characters - 2
    while left > 0:
        size = min(left, 2 + 24 * 200)
        item = option(name=chr(ord("a") + len(options)), choices=[])
        rest = size - 2
        for number in range(25):
            part = min(rest, 200)
            if part < 8:
                break
            half = part // 2
            item["choices"].append(
                {
                    "name": f"{number:02}".ljust(half, "n"),
                    "value": f"{number:02}".ljust(part - half, "v"),
                }
            )
            rest -= part
        item["description"] = "d" * (1 + rest)
        options.append(item)
        left -= size
    return command(options=options)


COMMANDS: dict[str, tuple[Callable[[int], list[dict[str, Any]]], int]] = {
    "commands": (lambda n: [command(name=f"c{number}") for number in range(n)], 100),
    "name": (lambda n: [command(name="n" * n)], 32),
    "description": (lambda n: [command(description="d" * n)], 100),
    "options": (
        lambda n: [command(options=[option(name=f"o{number}") for number in range(n)])],
        25,
    ),
    "an option's name": (lambda n: [command(options=[option(name="n" * n)])], 32),
    "an option's description": (lambda n: [command(options=[option(description="d" * n)])], 100),
    "choices": (lambda n: [command(options=[option(choices=choices(n))])], 25),
    "a choice's name": (
        lambda n: [command(options=[option(choices=[{"name": "n" * n, "value": "v"}])])],
        100,
    ),
    "a choice's value": (
        lambda n: [command(options=[option(choices=[{"name": "n", "value": "v" * n}])])],
        100,
    ),
    "all characters": (lambda n: [large(n)], 8000),
}


@pytest.mark.parametrize("what", COMMANDS)
async def test_limits_of_commands_hold_exactly(discord: DiscordDouble, raw: Raw, what: str) -> None:
    make, limit = COMMANDS[what]
    path = f"/applications/{discord.application_id}/commands"
    for size in (limit - 1, limit):
        status, body = await raw("PUT", path, make(size))
        assert status == 200, body
        # A day passes, so that creations don't add up.
        discord.clock.advance(86_401)
    with discord.allowing_violations() as seen:
        status, _ = await raw("PUT", path, make(limit + 1))
    assert status == 400 and len(seen) == 1


WRONG_COMMANDS: dict[str, list[dict[str, Any]]] = {
    "a name with capitals": [command(name="Hello")],
    "a name with a blank": [command(name="a b")],
    "no name": [command(name="")],
    "no description": [command(description="")],
    "a name twice": [command(), command()],
    "an option twice": [command(options=[option(), option()])],
    "a required option after an optional one": [
        command(options=[option(), option(name="p", required=True)])
    ],
    "an option beside a subcommand": [command(options=[option(), option(type=1, name="s")])],
    "a group in a group": [
        command(options=[option(type=2, options=[option(type=2, options=[option(type=1)])])])
    ],
    "choices and completion": [command(options=[option(autocomplete=True, choices=choices(1))])],
    "a choice twice": [command(options=[option(choices=choices(1) * 2)])],
    "completion of a yes or no": [command(options=[option(type=5, autocomplete=True)])],
    "an unknown key": [command(colour=1)],
    "a context twice": [command(contexts=[0, 0])],
}


@pytest.mark.parametrize("what", WRONG_COMMANDS)
async def test_commands_that_no_bot_should_register_are_refused_and_recorded(
    discord: DiscordDouble, raw: Raw, what: str
) -> None:
    if what in ("an unknown key", "a context twice") and not discord.checks_openapi:
        pytest.skip("only Discord's own document tells")
    with discord.allowing_violations() as seen:
        path = f"/applications/{discord.application_id}/commands"
        status, _ = await raw("PUT", path, WRONG_COMMANDS[what])
    assert status == 400 and len(seen) == 1 and not discord.commands


async def test_200_commands_can_be_created_a_day(discord: DiscordDouble, raw: Raw) -> None:
    path = f"/applications/{discord.application_id}/commands"
    for start in (0, 100):
        body = [command(name=f"c{start + number}") for number in range(100)]
        assert (await raw("PUT", path, body))[0] == 200
    assert (await raw("PUT", path, body))[0] == 200, "none of these is new"
    with discord.allowing_violations() as seen:
        status, answer = await raw("PUT", path, [*body[1:], command(name="c200")])
        assert (status, answer["code"]) == (429, 30034) and len(seen) == 1
    discord.clock.advance(86_401)
    assert (await raw("PUT", path, [*body[1:], command(name="c200")]))[0] == 200


async def test_people_use_only_commands_that_they_see(
    discord: DiscordDouble, guild: Guild, channel: Channel, anna: Person, raw: Raw
) -> None:
    path = f"/applications/{discord.application_id}/commands"
    admin = guild.member("admin", permissions="administrator")
    required = option(type=4, required=True, min_value=1, max_value=3)
    await raw(
        "PUT",
        path,
        [
            command(name="open", options=[required]),
            command(name="secret", default_member_permissions="8"),
            command(name="private", contexts=[1]),
            command(name="mine", integration_types=[1]),
            command(name="many", options=[option(type=1, name="one")]),
        ],
    )

    async def used(person: Person, name: str, where: Channel = channel, **options: Any) -> None:
        await person.slash(where, name, wait=False, **options)

    await used(anna, "open", o=3)
    await used(admin, "secret")
    await used(anna, "private", discord.dm(anna))
    await used(anna, "many one")
    for person, name, options in (
        (anna, "nothing", {}),
        (anna, "open", {}),
        (anna, "open", {"o": 0}),
        (anna, "open", {"o": 4}),
        (anna, "open", {"o": "1"}),
        (anna, "open", {"o": 1, "p": 1}),
        (anna, "secret", {}),
        (anna, "private", {}),
        (anna, "mine", {}),
        (anna, "many", {}),
        (anna, "many two", {}),
    ):
        with pytest.raises(AssertionError):
            await used(person, name, **options)
    anna.has_installed = True
    await used(anna, "mine")
    assert len(discord.interactions) == 5


# The gateway ------------------------------------------------------------------------------------


class RawGateway:
    """A connection to the gateway, read as a bot without a library would."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self._stream = zlib.decompressobj()

    async def read(self) -> dict[str, Any]:
        """The next frame; ``{"close": code}`` at the end."""
        async with asyncio.timeout(5):
            message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            return {"close": self.socket.close_code}
        assert message.data.endswith(b"\x00\x00\xff\xff")
        frame: dict[str, Any] = json.loads(self._stream.decompress(message.data))
        return frame

    async def until(self, event: str) -> dict[str, Any]:
        """The next event of a name."""
        while True:
            frame = await self.read()
            assert "close" not in frame
            if frame["t"] == event:
                return frame

    async def send(self, op: int, data: Any) -> None:
        await self.socket.send_json({"op": op, "d": data})

    async def identify(self, discord: DiscordDouble, **changes: Any) -> None:
        assert (await self.read())["op"] == 10
        data = {"token": discord.token, "intents": 1 << 9 | 1 << 12 | 1, "properties": {}}
        await self.send(2, data | changes)


@asynccontextmanager
async def connected(discord: DiscordDouble) -> AsyncIterator[RawGateway]:
    url = discord.gateway.url + "?v=10&encoding=json&compress=zlib-stream"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        yield RawGateway(socket)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"token": "wrong"}, 4004),
        ({"intents": 1 << 15}, 4014),
        ({"intents": 1 << 1}, 4014),
        ({"shard": [1, 1]}, 4010),
    ],
)
async def test_wrong_identifies_are_answered_with_their_codes(
    discord: DiscordDouble, changes: dict[str, Any], code: int
) -> None:
    with discord.allowing_violations():
        async with connected(discord) as gateway:
            await gateway.identify(discord, **changes)
            assert await gateway.read() == {"close": code}
    assert len(discord.identifies) == 1 and discord.gateway.refusals == [code]


async def test_bytes_and_sends_of_the_gateway_are_limited(discord: DiscordDouble) -> None:
    def sized(size: int) -> str:
        frame = json.dumps({"op": 1, "d": ""})
        return json.dumps({"op": 1, "d": "x" * (size - len(frame))})

    with discord.allowing_violations() as seen:
        async with connected(discord) as gateway:
            await gateway.identify(discord)
            await gateway.until("READY")
            for size in (4095, 4096):
                await gateway.socket.send_str(sized(size))
                assert (await gateway.read())["op"] == 11
            await gateway.socket.send_str(sized(4097))
            assert await gateway.read() == {"close": 4002}
        async with connected(discord) as gateway:
            await gateway.identify(discord)
            await gateway.until("READY")
            for _ in range(119):
                await gateway.send(1, None)
                assert (await gateway.read())["op"] == 11
            assert len(seen) == 1
            await gateway.send(1, None)
            assert await gateway.read() == {"close": 4008}
    assert len(seen) == 2


async def test_a_thousand_identifies_cost_the_token(discord: DiscordDouble) -> None:
    discord.identifies.extend([discord.clock.now()] * 999)
    async with connected(discord) as gateway:
        await gateway.identify(discord)
        await gateway.until("READY")
    async with connected(discord) as gateway:
        await gateway.identify(discord)
        assert await gateway.read() == {"close": 4004}


async def test_sessions_of_shards_hear_of_their_guilds_alone(discord: DiscordDouble) -> None:
    guilds = []
    while len({(int(guild.id) >> 22) % 2 for guild in guilds}) < 2:
        discord.clock.advance(0.001)
        guilds.append(discord.guild(f"guild {len(guilds)}"))
    heard = set()
    for number in (0, 1):
        async with connected(discord) as gateway:
            await gateway.identify(discord, shard=[number, 2])
            ready = await gateway.until("READY")
            mine = {guild["id"] for guild in ready["d"]["guilds"]}
            assert all((int(guild_id) >> 22) % 2 == number for guild_id in mine)
            heard |= mine
    assert heard == {guild.id for guild in guilds}


async def test_what_happens_meanwhile_comes_with_the_resumption(
    discord: DiscordDouble, channel: Channel, anna: Person
) -> None:
    async with connected(discord) as gateway:
        await gateway.identify(discord)
        session = (await gateway.until("READY"))["d"]["session_id"]
        await gateway.until("GUILD_CREATE")
        await discord.faults.gateway.close(4000)
    await channel.post(anna, "meanwhile", mention_bot=True)
    async with connected(discord) as gateway:
        assert (await gateway.read())["op"] == 10
        data = {"token": discord.token, "session_id": session, "seq": 2}
        await gateway.send(6, data)
        missed = await gateway.read()
        assert (missed["t"], missed["s"]) == ("MESSAGE_CREATE", 3)
        assert (await gateway.read())["t"] == "RESUMED"
        discord.faults.gateway.forget_sessions()
    async with connected(discord) as gateway:
        assert (await gateway.read())["op"] == 10
        await gateway.send(6, data)
        assert await gateway.read() == {"op": 9, "d": False, "s": None, "t": None}


@pytest.mark.parametrize("reads", [False, True])
async def test_content_is_blank_without_the_intent_but_where_the_bot_is_meant(reads: bool) -> None:
    async with DiscordDouble.open(message_content=reads) as discord:
        guild = discord.guild("lab")
        channel, anna, bob = guild.text_channel("data"), guild.member("anna"), guild.member("bob")
        async with connected(discord) as gateway, aiohttp.ClientSession() as session:
            intents = 1 << 9 | 1 << 12 | (MESSAGE_CONTENT if reads else 0)
            await gateway.identify(discord, intents=intents)
            await gateway.until("READY")
            raw = Raw(discord, session)

            async def told(content: str, where: Channel = channel, **rest: Any) -> dict[str, Any]:
                await where.post(anna, content, files={"a.txt": b"1"}, **rest)
                return (await gateway.until("MESSAGE_CREATE"))["d"]

            plain = await told("plain")
            assert (plain["content"], len(plain["attachments"])) == (
                ("plain", 1) if reads else ("", 0)
            )
            assert (await told("dm", discord.dm(anna)))["content"] == "dm"
            assert (await told("ask", mention_bot=True))["content"].endswith("ask")
            await raw("POST", f"/channels/{channel.id}/messages", {"content": "by the bot"})
            assert (await gateway.until("MESSAGE_CREATE"))["d"]["content"] == "by the bot"
            bots = channel.messages[-1]
            assert (await told("reply", reply_to=bots))["content"] == "reply"
            quiet = await told("quiet", reply_to=bots, ping_reply=False)
            assert quiet["content"] == ("quiet" if reads else "")
            others = await channel.post(bob, "by bob")
            await gateway.until("MESSAGE_CREATE")
            nested = await told("what is this?", reply_to=others, mention_bot=True)
            assert nested["referenced_message"]["content"] == ("by bob" if reads else "")
            path = f"/channels/{channel.id}/messages/{others.id}"
            assert (await raw("GET", path))[1]["content"] == ("by bob" if reads else "")


async def test_edits_deletions_and_reactions_are_told(
    discord: DiscordDouble, channel: Channel, anna: Person, raw: Raw
) -> None:
    async with connected(discord) as gateway:
        await gateway.identify(discord, intents=1 << 9 | 1 << 10)
        await gateway.until("READY")
        message = await channel.post(anna, "one", mention_bot=True)
        await message.edit(f"{discord.bot.mention} two")
        assert (await gateway.until("MESSAGE_UPDATE"))["d"]["content"].endswith("two")
        await anna.react(message, "👍")
        assert (await gateway.until("MESSAGE_REACTION_ADD"))["d"]["user_id"] == anna.id
        path = f"/channels/{channel.id}/messages/{message.id}/reactions/%F0%9F%91%8D/@me"
        assert (await raw("PUT", path))[0] == 204
        assert message.reactions == [("👍", anna), ("👍", discord.bot)]
        assert (await raw("DELETE", path))[0] == 204
        assert (await raw("POST", f"/channels/{channel.id}/typing"))[0] == 204
        assert channel.typing == 1
        await message.delete()
        assert (await gateway.until("MESSAGE_DELETE"))["d"]["id"] == message.id


# Downloads --------------------------------------------------------------------------------------


async def test_links_of_attachments_work_for_a_day(
    discord: DiscordDouble, channel: Channel, anna: Person, raw: Raw
) -> None:
    message = await channel.post(
        anna, "?", files=[Upload("a b.csv", b"x" * 70_000, said_size=5)], mention_bot=True
    )
    _, told = await raw("GET", f"/channels/{channel.id}/messages/{message.id}")
    attachment = told["attachments"][0]
    assert (attachment["filename"], attachment["size"]) == ("a_b.csv", 5)
    async with aiohttp.ClientSession() as session:

        async def get(url: str) -> tuple[int, bytes]:
            async with session.get(url) as response:
                return response.status, await response.read()

        assert await get(attachment["url"]) == (200, b"x" * 70_000)
        assert (await get(attachment["url"].split("?")[0]))[0] == 404
        assert (await get(attachment["url"].replace("ex=", "ex=f")))[0] == 200
        discord.faults.cdn(status=503, times=1)
        assert (await get(attachment["url"]))[0] == 503
        discord.faults.cdn(status=0, times=1)
        with pytest.raises(aiohttp.ClientError):
            await get(attachment["url"])
        discord.clock.advance(86_390)
        assert (await get(attachment["url"]))[0] == 200
        discord.clock.advance(20)
        assert (await get(attachment["url"]))[0] == 404


# Faults -----------------------------------------------------------------------------------------


async def test_requests_fail_as_often_as_they_are_told_to(
    discord: DiscordDouble, channel: Channel, raw: Raw
) -> None:
    path = f"/channels/{channel.id}/messages"
    for status in (500, 502, 503):
        fault = discord.faults.rest(status=status, times=2, path="messages", method="POST")
        assert (await raw("GET", path))[0] == 200
        assert [(await raw("POST", path, {"content": "x"}))[0] for _ in range(3)] == [
            status,
            status,
            200,
        ]
        assert fault.hits == 2
    assert len(channel.messages) == 3
    discord.faults.rest(status=500, times=5)
    discord.faults.clear()
    assert (await raw("GET", path))[0] == 200


@pytest.mark.parametrize("is_global", [False, True])
@pytest.mark.parametrize("headers", [False, True])
async def test_rate_limits_come_with_and_without_headers(
    discord: DiscordDouble, channel: Channel, is_global: bool, headers: bool
) -> None:
    discord.faults.rest(status=429, headers=headers, is_global=is_global, retry_after=0.25)
    url = f"{discord.api_url}/channels/{channel.id}/messages"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        body = await response.json()
        assert response.status == 429
        assert (body["retry_after"], body["global"]) == (0.25, is_global)
        assert ("Retry-After" in response.headers) == headers
        assert ("X-RateLimit-Global" in response.headers) == (headers and is_global)
        assert ("X-RateLimit-Reset-After" in response.headers) == (headers and not is_global)
    assert discord.rest.invalid == 1


async def test_a_broken_upload_leaves_nothing_and_a_lost_answer_leaves_all(
    discord: DiscordDouble, channel: Channel, raw: Raw
) -> None:
    path = f"/channels/{channel.id}/messages"
    discord.faults.drop_upload(times=1)
    assert (await raw("POST", path, {"content": "no upload"}))[0] == 200
    with pytest.raises(aiohttp.ClientError):
        await raw("POST", path, {}, files={"a": b"x" * 1000})
    assert len(channel.messages) == 1
    discord.faults.drop_answer(times=1)
    with pytest.raises(aiohttp.ClientError):
        await raw("POST", path, {}, files={"a": b"x" * 1000})
    assert len(channel.messages) == 2
    assert [request.status for request in discord.requests] == [200, 0, 0]


async def test_nothing_listens_during_an_outage(
    discord: DiscordDouble, channel: Channel, raw: Raw
) -> None:
    async with connected(discord) as gateway:
        await gateway.identify(discord)
        await gateway.until("GUILD_CREATE")
        async with discord.faults.outage():
            assert "close" in await gateway.read()
            with pytest.raises(aiohttp.ClientConnectorError):
                await raw("GET", "/gateway")
        assert (await raw("GET", "/gateway"))[0] == 200


@pytest.mark.parametrize("count", [49, 50, 51])
async def test_50_requests_a_second_are_taken_but_interactions_are_exempt(
    discord: DiscordDouble, channel: Channel, anna: Person, raw: Raw, count: int
) -> None:
    discord.rest.second = lambda: 7.0
    answers = [await raw("GET", "/gateway") for _ in range(count)]
    assert [status for status, _ in answers] == [200] * min(count, 50) + [429] * (count - 50)
    used = await use(channel, anna)
    assert (await raw("POST", callback(used), {"type": 5}))[0] == 204
    discord.rest.second = lambda: 8.0
    assert (await raw("GET", "/gateway"))[0] == 200


async def test_buckets_hold_where_a_test_wants_them(channel: Channel) -> None:
    async with DiscordDouble.open(buckets=True) as discord, aiohttp.ClientSession() as session:
        raw = Raw(discord, session)
        discord.rest.second = lambda: 7.0
        guild = discord.guild()
        paths = [f"/channels/{guild.text_channel(name).id}/messages" for name in ("a", "b")]
        statuses = [(await raw("POST", paths[0], {"content": "x"}))[0] for _ in range(6)]
        assert statuses == [200] * 5 + [429]
        assert (await raw("POST", paths[1], {"content": "x"}))[0] == 200
        discord.rest.second = lambda: 12.0
        assert (await raw("POST", paths[0], {"content": "x"}))[0] == 200


async def test_unknown_routes_and_unknown_queries_are_violations(
    discord: DiscordDouble, channel: Channel, raw: Raw
) -> None:
    with discord.allowing_violations() as seen:
        assert (await raw("GET", "/nothing"))[0] == 404
        assert len(seen) == 1
        status, _ = await raw("GET", f"/channels/{channel.id}/messages?colour=1")
        assert (status, len(seen)) == ((400, 2) if discord.checks_openapi else (200, 1))


async def test_the_transcript_shows_what_people_see(
    discord: DiscordDouble, channel: Channel, anna: Person, raw: Raw
) -> None:
    asked = await channel.post(anna, "what is in it?", files={"a.csv": b"x,y"}, mention_bot=True)
    path = f"/channels/{channel.id}/messages"
    payload = {
        "content": "Two columns.",
        "message_reference": {"message_id": asked.id},
        "attachments": [{"id": 0, "filename": "plot.png", "description": "a curve"}],
        "components": [
            row(button(label="Show code"), button(label="Stop", custom_id="s", style=4))
        ],
    }
    _, sent = await raw("POST", path, payload, files={"plot.png": b"png"})
    await raw("PATCH", f"{path}/{sent['id']}", {"content": "Three columns."})
    await raw("POST", path, v2(text("laid out")), files={"b.txt": b"1"})
    shown = discord.transcript(channel)
    for line in (
        "📎 a.csv (3 bytes, text/csv)",
        "cellmate BOT ↪ anna:",
        "  (edited 1 times; pings anna)",
        "  Three columns.",
        '📎 plot.png (3 bytes, image/png) alt="a curve"',
        "[Show code]{blue}  [Stop]{red}",
        "laid out",
        "(attached, but not to be seen: b.txt)",
    ):
        assert line in shown, shown
    assert "Two columns" not in shown
