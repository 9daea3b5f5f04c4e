"""Delivery: messages get there whatever Discord does, or it is said why not."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from interactions.api.http.route import Route

from bot.discord.delivery import Delivery
from bot.discord.destinations import DeliveryFailed, Destination, InteractionRef, SentMessage
from bot.discord.metrics import Metrics
from bot.discord.posting import Backoff
from bot.discord.rest import DiscordHTTP, Unanswered
from bot.outgoing import Attachment, Button, OutgoingMessage
from tests.discord_double import Channel, DiscordDouble, Guild, Interaction, Message, Person

QUICK = Backoff(first_s=0.005, most_s=0.02)


class NoRecords:
    """A database that isn't needed here."""

    async def put(self, *args: Any, **options: Any) -> None:
        """Nothing."""

    async def delete(self, *args: Any) -> bool:
        """Nothing."""
        return True


@dataclass
class Place:
    """A channel with someone in it."""

    guild: Guild
    channel: Channel
    anna: Person

    @property
    def destination(self) -> Destination:
        return Destination(int(self.channel.id), int(self.guild.id))

    async def ask(self, **options: Any) -> Message:
        return await self.channel.post(self.anna, "what is it?", mention_bot=True, **options)


@pytest.fixture
def place(discord: DiscordDouble) -> Place:
    guild = discord.guild("lab")
    return Place(guild, guild.text_channel("data"), guild.member("anna"))


@pytest_asyncio.fixture
async def delivery(
    discord: DiscordDouble, http: DiscordHTTP, tmp_path: Path
) -> AsyncIterator[Delivery]:
    nothing: Any = NoRecords()
    async with Delivery.open(
        http,
        records=nothing,
        directory=tmp_path / "outbox",
        metrics=Metrics(),
        backoff=QUICK,
        now=discord.clock.now,
    ) as opened:
        yield opened


def attached(content: bytes = b"a,b\n1,2\n", name: str = "a.csv", **more: Any) -> OutgoingMessage:
    return OutgoingMessage("here", (Attachment(name, content, len(content), **more),))


def contents(message: Message) -> list[tuple[str, bytes]]:
    return [(attachment.filename, attachment.content) for attachment in message.attachments]


async def deferred(place: Place, http: DiscordHTTP, *, ephemeral: bool = False) -> Interaction:
    """Someone has used a command; the bot has said that it is thinking."""
    used = Interaction(place.channel.world, 2, place.anna, place.channel, "ask")
    await used.send(wait=False, timeout_s=1)
    await http.attempt(
        "POST",
        "/interactions/{interaction_id}/{token}/callback",
        {"interaction_id": used.id, "token": used.token},
        payload={"type": 5, "data": {"flags": 64 if ephemeral else 0}},
    )
    return used


def answering(place: Place, used: Interaction, **options: Any) -> Destination:
    reference = InteractionRef(int(used.world.bot.id), used.token, used.at, **options)
    return replace(place.destination, interaction=reference, user_id=int(place.anna.id))


# --- sending ----------------------------------------------------------------------------------


async def test_message_arrives_with_its_files_alt_text_and_buttons_and_pings_nobody(
    delivery: Delivery, place: Place
) -> None:
    asked = await place.ask()
    message = OutgoingMessage(
        f"for @everyone and {place.anna.mention}",
        (Attachment("plot.png", b"\x89PNG", 4, alt="a line"), Attachment("a.csv", b"1", 1)),
        tuple(Button(f"b{i}", f"id{i}", "danger") for i in range(6)),
    )
    sent = await delivery.send(replace(place.destination, reply_to=int(asked.id)), message)
    there = place.channel.by_bot[-1]
    assert (int(there.id), len(sent.attachment_ids)) == (sent.message_id, 2)
    assert contents(there) == [("plot.png", b"\x89PNG"), ("a.csv", b"1")]
    assert there.attachments[0].alt == "a line"
    assert [len(row["components"]) for row in there.components] == [5, 1]
    assert there.reply_to is asked
    assert not there.pings


async def test_only_who_asked_is_pinged_and_only_if_wanted(
    delivery: Delivery, place: Place
) -> None:
    asked = await place.ask()
    to = replace(place.destination, reply_to=int(asked.id), pings=True)
    await delivery.send(to, OutgoingMessage("@everyone"))
    assert place.channel.by_bot[-1].pings == {"anna"}


async def test_reply_to_a_deleted_message_arrives_all_the_same(
    delivery: Delivery, place: Place
) -> None:
    asked = await place.ask()
    asked.remove()
    await delivery.send(replace(place.destination, reply_to=int(asked.id)), OutgoingMessage("here"))
    assert place.channel.by_bot[-1].reply_to is None


async def test_reply_where_history_can_t_be_read_is_an_ordinary_message(
    delivery: Delivery, place: Place
) -> None:
    asked = await place.ask()
    place.channel.deny_bot(["read_message_history"])
    await delivery.send(replace(place.destination, reply_to=int(asked.id)), OutgoingMessage("here"))
    assert place.channel.by_bot[-1].content == "here"


# --- faults -----------------------------------------------------------------------------------

FAULTS: list[dict[str, Any]] = [
    {"status": 429, "times": 3, "retry_after": 0.02},
    {"status": 429, "times": 3, "retry_after": 0.02, "headers": False},
    {"status": 429, "times": 2, "retry_after": 0.02, "is_global": True},
    {"status": 503, "times": 4},
    {"status": 0, "times": 3},
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("from_disk", [True, False])
async def test_bytes_arrive_intact_after_faults(
    discord: DiscordDouble,
    delivery: Delivery,
    place: Place,
    tmp_path: Path,
    fault: dict[str, Any],
    from_disk: bool,
) -> None:
    content = bytes(range(256)) * 5000
    source: bytes | Path = content
    if from_disk:
        source = tmp_path / "upload"
        source.write_bytes(content)
    struck = discord.faults.rest(**fault, method="POST", path="/messages")
    message = OutgoingMessage("here", (Attachment("a.bin", source, len(content)),))
    await delivery.send(place.destination, message)
    assert struck.hits == fault["times"]
    assert [contents(m) for m in place.channel.by_bot] == [[("a.bin", content)]]


async def test_three_internal_errors_lose_nothing(
    discord: DiscordDouble, delivery: Delivery, place: Place
) -> None:
    struck = discord.faults.rest(status=500, times=3, method="POST", path="/messages")
    await delivery.send(place.destination, attached())
    assert struck.hits == 3
    assert [contents(m) for m in place.channel.by_bot] == [[("a.csv", b"a,b\n1,2\n")]]


async def test_upload_broken_off_half_way_arrives_whole(
    discord: DiscordDouble, delivery: Delivery, place: Place
) -> None:
    struck = discord.faults.drop_upload(times=2)
    content = b"x" * 3_000_000
    await delivery.send(place.destination, attached(content))
    assert struck.hits == 2
    assert [contents(m) for m in place.channel.by_bot] == [[("a.csv", content)]]


async def test_message_whose_answer_got_lost_is_there_once(
    discord: DiscordDouble, delivery: Delivery, place: Place
) -> None:
    struck = discord.faults.drop_answer(times=2, method="POST", path="/messages")
    sent = await delivery.send(place.destination, attached())
    assert struck.hits == 2
    assert [int(m.id) for m in place.channel.by_bot] == [sent.message_id]


async def test_follow_up_whose_answer_got_lost_is_there_once(
    discord: DiscordDouble, delivery: Delivery, place: Place, http: DiscordHTTP
) -> None:
    to = answering(place, await deferred(place, http))
    await delivery.send(to, OutgoingMessage("same words"))
    struck = discord.faults.drop_answer(times=1, method="POST", path="/webhooks/")
    second = await delivery.send(to, OutgoingMessage("same words"))
    assert struck.hits == 1
    assert [m.content for m in place.channel.by_bot] == ["same words"] * 2
    assert int(place.channel.by_bot[-1].id) == second.message_id


async def test_page_of_a_proxy_is_no_answer_of_discord(
    discord: DiscordDouble, delivery: Delivery, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def page(request: web.Request) -> web.Response:
        monkeypatch.setattr(Route, "BASE", discord.api_url)
        return web.Response(status=429, text="<p>slow down</p>", content_type="text/html")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", page)
    async with TestServer(application) as proxy:
        monkeypatch.setattr(Route, "BASE", str(proxy.make_url("")).rstrip("/"))
        await delivery.send(place.destination, attached())
    assert [contents(m) for m in place.channel.by_bot] == [[("a.csv", b"a,b\n1,2\n")]]


async def test_outage_is_waited_for(
    discord: DiscordDouble, delivery: Delivery, place: Place
) -> None:
    async with discord.faults.outage():  # type: ignore[attr-defined]
        sending = asyncio.create_task(delivery.send(place.destination, attached()))
        await asyncio.sleep(0.05)
        assert not sending.done()
    await sending
    assert len(place.channel.by_bot) == 1


@pytest.mark.parametrize(
    "fault",
    [{"status": 429, "times": 2}, {"status": 503, "times": 2}, {"status": 0, "times": 2}],
    ids=str,
)
async def test_handlers_own_requests_outlast_a_fault_or_two(
    discord: DiscordDouble, place: Place, http: DiscordHTTP, fault: dict[str, Any]
) -> None:
    struck = discord.faults.rest(**fault, headers=False, path="/users")
    await http.request(Route("GET", "/users/@me"))
    assert struck.hits == 2


async def test_acknowledgement_whose_answer_got_lost_counts(
    discord: DiscordDouble, place: Place, http: DiscordHTTP
) -> None:
    used = Interaction(discord.world, 2, place.anna, place.channel, "ask")
    await used.send(wait=False, timeout_s=1)
    discord.faults.drop_answer(times=1, path="/callback")
    with discord.allowing_violations():  # asked for twice, as nobody knows better
        await http.post_initial_response({"type": 5}, used.id, used.token)
    assert used.deferred


async def test_message_of_a_handler_is_never_sent_twice(
    discord: DiscordDouble, place: Place, http: DiscordHTTP
) -> None:
    discord.faults.drop_answer(times=1, path="/messages")
    with pytest.raises(Unanswered):
        await http.create_message({"content": "once"}, place.channel.id)
    discord.faults.rest(status=429, times=1, path="/messages")
    await http.create_message({"content": "twice"}, place.channel.id)
    assert [m.content for m in place.channel.by_bot] == ["once", "twice"]


# --- interactions -----------------------------------------------------------------------------


async def test_answer_to_an_interaction_takes_the_place_of_thinking(
    delivery: Delivery, place: Place, http: DiscordHTTP
) -> None:
    used = await deferred(place, http)
    sent = await delivery.send(answering(place, used), attached())
    assert used.response is not None
    assert int(used.response.id) == sent.message_id
    assert contents(used.response) == [("a.csv", b"a,b\n1,2\n")]


async def test_answer_after_fifteen_minutes_is_a_message_that_replies(
    discord: DiscordDouble, delivery: Delivery, place: Place, http: DiscordHTTP
) -> None:
    asked = await place.ask()
    to = replace(answering(place, await deferred(place, http)), reply_to=int(asked.id))
    discord.clock.advance(15 * 60 - 31)
    await delivery.send(to, OutgoingMessage("in time"))
    discord.clock.advance(2)
    sent = await delivery.send(to, attached())
    assert place.channel.by_bot[-1].reply_to is asked
    assert sent.destination.interaction is None


async def test_token_that_discord_no_longer_knows_is_no_hindrance(
    delivery: Delivery, place: Place, http: DiscordHTTP
) -> None:
    to = answering(place, await deferred(place, http))
    assert to.interaction
    unknown = replace(to.interaction, token="nonsense")
    await delivery.send(replace(to, interaction=unknown), OutgoingMessage("here"))
    assert place.channel.by_bot[-1].content == "here"


async def test_what_was_for_one_person_s_eyes_never_comes_up_in_the_channel(
    discord: DiscordDouble, delivery: Delivery, place: Place, http: DiscordHTTP
) -> None:
    to = answering(place, await deferred(place, http, ephemeral=True), ephemeral=True)
    await delivery.send(to, OutgoingMessage("secret 1"))
    discord.clock.advance(16 * 60)
    await delivery.send(to, OutgoingMessage("secret 2"))
    assert [m.ephemeral_for for m in place.channel.by_bot] == [place.anna]
    assert [m.content for m in discord.dm(place.anna).by_bot] == ["secret 2"]
    with pytest.raises(DeliveryFailed, match="for your eyes only"):
        await delivery.send(replace(to, user_id=None), OutgoingMessage("secret 3"))


async def test_where_only_the_person_installed_the_bot_the_sixth_message_comes_directly(
    discord: DiscordDouble, delivery: Delivery, http: DiscordHTTP
) -> None:
    guild = discord.guild("abroad", has_bot=False)
    place = Place(guild, guild.text_channel("data"), guild.member("anna"))
    used = await deferred(place, http)
    to = answering(place, used, followups_left=5)
    for number in range(6):
        await delivery.send(to, OutgoingMessage(str(number)))
    assert [m.content for m in place.channel.by_bot] == list("01234")
    assert [m.content for m in discord.dm(place.anna).by_bot] == ["5"]


# --- refusals ---------------------------------------------------------------------------------


async def test_closed_channel_sends_the_answer_to_the_person_or_says_why_not(
    discord: DiscordDouble, delivery: Delivery, place: Place
) -> None:
    place.channel.deny_bot(["send_messages"])
    to = replace(place.destination, user_id=int(place.anna.id))
    await delivery.send(to, attached())
    assert [contents(m) for m in discord.dm(place.anna).by_bot] == [[("a.csv", b"a,b\n1,2\n")]]
    with pytest.raises(DeliveryFailed, match="not allowed to write there"):
        await delivery.send(place.destination, OutgoingMessage("here"))
    ben = place.guild.member("ben")
    ben.accepts_dms = False
    with pytest.raises(DeliveryFailed, match="not allowed to write there"):
        await delivery.send(replace(to, user_id=int(ben.id)), OutgoingMessage("here"))
    assert len(discord.requests) < 12, "what is certain isn't tried again"


async def test_deleted_channel_is_said_at_once(delivery: Delivery, place: Place) -> None:
    with pytest.raises(DeliveryFailed, match="channel is gone"):
        await delivery.send(replace(place.destination, channel_id=1), OutgoingMessage("here"))


async def test_where_files_aren_t_allowed_they_are_named(delivery: Delivery, place: Place) -> None:
    place.channel.deny_bot(["attach_files"])
    await delivery.send(place.destination, attached(name="a`b.csv"))
    assert place.channel.by_bot[-1].content == (
        "here\nI am not allowed to attach files here, so these are missing: `a'b.csv`."
    )


@pytest.mark.parametrize("words", ["here", "w" * 2000])
async def test_attachment_that_is_too_large_is_named_and_the_rest_arrives(
    discord: DiscordDouble, delivery: Delivery, words: str
) -> None:
    guild = discord.guild("small", attachment_size_limit=1000)
    channel = guild.text_channel("data")
    message = OutgoingMessage(
        words,
        (
            Attachment("at.bin", b"x" * 1000, 1000),
            Attachment("above.bin", b"x" * 1001, 1001, file_id="f17"),
        ),
    )
    with discord.allowing_violations():
        await delivery.send(Destination(int(channel.id), int(guild.id)), message)
    sentence = (
        "`above.bin` (1001 bytes) is too large to be attached here; it is kept as file `f17`."
    )
    assert [a.filename for a in channel.by_bot[0].attachments] == ["at.bin"]
    assert "\n".join(m.content for m in channel.by_bot) == f"{words}\n{sentence}"


# --- editing ----------------------------------------------------------------------------------


async def test_edit_keeps_or_replaces_attachments_as_told(delivery: Delivery, place: Place) -> None:
    sent = await delivery.send(place.destination, attached(name="one.csv"))
    there = place.channel.by_bot[-1]
    sent = await delivery.edit(sent, attached(name="two.csv"), keep_attachments=True)
    assert [a.filename for a in there.attachments] == ["one.csv", "two.csv"]
    sent = await delivery.edit(sent, OutgoingMessage("words"), keep_attachments=True)
    assert [a.filename for a in there.attachments] == ["one.csv", "two.csv"]
    sent = await delivery.edit(sent, attached(name="three.csv"))
    assert [a.filename for a in there.attachments] == ["three.csv"]
    await delivery.edit(sent, OutgoingMessage("words"))
    assert not there.attachments
    assert place.channel.by_bot == [there]


async def test_edit_of_an_answer_goes_on_when_its_token_is_over(
    discord: DiscordDouble, delivery: Delivery, place: Place, http: DiscordHTTP
) -> None:
    to = answering(place, await deferred(place, http))
    sent = await delivery.send(to, OutgoingMessage("1"))
    sent = await delivery.edit(sent, OutgoingMessage("2"))
    discord.clock.advance(16 * 60)
    await delivery.edit(sent, attached())
    assert [m.content for m in place.channel.by_bot] == ["here"]


async def test_edit_of_a_deleted_message_sends_it_anew_if_it_has_to_arrive(
    delivery: Delivery, place: Place
) -> None:
    sent = await delivery.send(place.destination, OutgoingMessage("1"))
    place.channel.by_bot[-1].remove()
    with pytest.raises(DeliveryFailed, match="message is gone"):
        await delivery.edit(sent, OutgoingMessage("2"), patient=False)
    again = await delivery.edit(sent, OutgoingMessage("3"))
    assert again.message_id != sent.message_id
    assert [m.content for m in place.channel.by_bot] == ["3"]


async def test_progress_that_can_t_be_told_is_given_up_after_one_try(
    discord: DiscordDouble, delivery: Delivery, place: Place
) -> None:
    sent = await delivery.send(place.destination, OutgoingMessage("1"))
    struck = discord.faults.rest(status=503, times=9, method="PATCH")
    with pytest.raises(DeliveryFailed):
        await delivery.edit(sent, OutgoingMessage("2"), patient=False)
    assert struck.hits == 1


async def test_patient_edit_outlasts_faults(
    discord: DiscordDouble, delivery: Delivery, place: Place
) -> None:
    sent = await delivery.send(place.destination, OutgoingMessage("1"))
    discord.faults.rest(status=503, times=4, method="PATCH")
    await delivery.edit(sent, attached())
    assert contents(place.channel.by_bot[-1]) == [("a.csv", b"a,b\n1,2\n")]


async def test_deleting_is_never_a_mistake(
    discord: DiscordDouble, delivery: Delivery, place: Place, http: DiscordHTTP
) -> None:
    sent = await delivery.send(place.destination, OutgoingMessage("1"))
    await delivery.delete(sent)
    await delivery.delete(sent)
    to = answering(place, await deferred(place, http))
    answer = await delivery.send(to, OutgoingMessage("2"))
    discord.clock.advance(16 * 60)
    await delivery.delete(answer)
    assert place.channel.by_bot == []


# --- secrets ----------------------------------------------------------------------------------


def test_token_of_an_interaction_is_in_no_repr() -> None:
    reference = InteractionRef(1, "hunter2", datetime.now(UTC))
    to = Destination(1, interaction=reference)
    assert "hunter2" not in f"{to!r} {SentMessage(1, 2, to)!r}"


def test_interaction_is_open_until_shortly_before_fifteen_minutes() -> None:
    then = datetime(2026, 1, 1, tzinfo=UTC)
    reference = InteractionRef(1, "t", then)
    closing = then + timedelta(minutes=14, seconds=30)
    assert reference.is_open(closing - timedelta(microseconds=1))
    assert not reference.is_open(closing)
