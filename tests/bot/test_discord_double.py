"""The double of Discord: a real interactions.py gets on with it, and every limit is a limit."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def running(
    discord: DiscordDouble,
    monkeypatch: pytest.MonkeyPatch,
    *parts: Any,
    intents: Intents = Intents.DEFAULT,
) -> AsyncIterator[Client]:
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
        yield client
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
                form.add_field(f"files[{index}]", content, filename=name)
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
    async with running(discord, monkeypatch, *ALL) as client:
        await discord.ready()
        assert set(discord.commands) == {"hello", "files"}
        assert len(discord.identifies) == 1
        assert [g.name for g in client.guilds] == ["lab"]
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
    async with running(discord, monkeypatch, *ALL) as client:
        discord.faults.refuse_connections(times=1)
        await discord.faults.gateway.close(4000)
        await discord.until(lambda: client.http.closed is True or not discord.gateway.connected)
        assert not discord.gateway.connected
