"""Uploads: what people attach becomes their files, from Discord's servers and from nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pymongo.asynchronous.database import AsyncDatabase

from bot.discord.uploads import (
    Downloaded,
    Incoming,
    NotDownloaded,
    Uploaded,
    upload_all,
    upload_discord_attachment,
)
from interpreter import FileStore, FileTooLarge, Settings, StoredFile
from tests.discord_double import Channel, DiscordDouble, Upload

ANNA = "1067162944699961234"
MOST = 1000


@pytest.fixture
def channel(discord: DiscordDouble) -> Channel:
    return discord.guild().text_channel("data")


@pytest.fixture
async def files(
    settings: Settings, database: AsyncDatabase[dict[str, Any]]
) -> AsyncIterator[FileStore]:
    small = settings.model_copy(update={"max_file_bytes": MOST, "max_files_per_user": 3})
    async with FileStore.open(small, database=database) as store:
        yield store


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def attached(discord: DiscordDouble, channel: Channel, *given: Upload) -> list[Incoming]:
    """Files as Discord has them, and as the bot is told of them."""
    now = discord.clock.now()
    items = [channel.attach(upload) for upload in given]
    return [Incoming(i.filename, i.size, i.url(discord.cdn_url, now)) for i in items]


@pytest.fixture
def upload(
    discord: DiscordDouble, channel: Channel, files: FileStore, session: aiohttp.ClientSession
) -> "Any":
    async def upload(*given: Upload) -> Uploaded:
        return await upload_all(
            files,
            attached(discord, channel, *given),
            user_id=ANNA,
            http=session,
            max_bytes=MOST,
            cdn_url=discord.cdn_url,
        )

    return upload


async def test_files_are_stored_in_their_order_with_their_bytes(upload: Any) -> None:
    uploaded = await upload(*(Upload(f"{name}.csv", name.encode() * 50) for name in "abc"))
    assert [file.filename for file in uploaded.files] == ["a.csv", "b.csv", "c.csv"]
    assert [file.file_path.read_bytes()[:1] for file in uploaded.files] == [b"a", b"b", b"c"]
    assert uploaded.problems == ()


@pytest.mark.parametrize(("size", "fits"), [(MOST - 1, True), (MOST, True), (MOST + 1, False)])
async def test_size_is_checked_before_the_download(
    channel: Channel, discord: DiscordDouble, upload: Any, size: int, fits: bool
) -> None:
    uploaded = await upload(Upload("a.bin", bytes(size)))
    assert len(uploaded.files) == fits
    downloads = [item.downloads for item in discord.world.attachments.values()]
    assert downloads == [int(fits)]
    if not fits:
        assert uploaded.problems == (
            "a.bin has 1001 bytes, and a file can have 1000 bytes here: send it in parts, or make "
            "it smaller.",
        )


async def test_size_that_looks_like_the_limit_is_not_told_as_one_below_it(
    files: FileStore, session: aiohttp.ClientSession
) -> None:
    uploaded = await upload_all(
        files,
        [Incoming("a.bin", (1 << 20) + 1, "https://cdn.discordapp.com/a.bin")],
        user_id=ANNA,
        http=session,
        max_bytes=1 << 20,
    )
    assert uploaded.problems == (
        "a.bin is too large, and a file can have 1.0 MiB here: send it in parts, or make it "
        "smaller.",
    )


@pytest.mark.parametrize(("size", "fits"), [(MOST, True), (MOST + 1, False)])
async def test_size_is_held_when_discord_says_less(
    files: FileStore, upload: Any, size: int, fits: bool
) -> None:
    uploaded = await upload(Upload("a.bin", bytes(size), said_size=5))
    assert (len(uploaded.files), len(uploaded.problems)) == (int(fits), int(not fits))
    if not fits:
        assert uploaded.problems[0].startswith("a.bin is too large,")
        assert await files.list(user_id=ANNA) == (), "nothing is left of it"


async def test_download_that_breaks_off_is_tried_once_more(
    discord: DiscordDouble, upload: Any
) -> None:
    fault = discord.faults.cdn(status=0, times=1)
    uploaded = await upload(Upload("a.csv", b"x" * 900))
    assert fault.hits == 1
    assert [file.file_size for file in uploaded.files] == [900]


async def test_what_can_not_be_had_is_a_sentence_and_the_rest_goes_on(
    discord: DiscordDouble, files: FileStore, upload: Any
) -> None:
    discord.faults.cdn(status=0, times=2, path="broken")
    discord.faults.cdn(status=404, times=2, path="gone")
    uploaded = await upload(
        Upload("broken_*.csv", b"x" * 900), Upload("gone.csv", b"x"), Upload("good.csv", b"x")
    )
    assert [file.filename for file in uploaded.files] == ["good.csv"]
    assert uploaded.problems == (
        r"broken\_.csv could not be had from Discord (the line broke): please send it again.",
        "gone.csv could not be had from Discord (it answered 404): please send it again.",
    )
    assert len(await files.list(user_id=ANNA)) == 1


async def test_link_that_has_expired_is_told(
    discord: DiscordDouble,
    channel: Channel,
    files: FileStore,
    session: aiohttp.ClientSession,
) -> None:
    [incoming] = attached(discord, channel, Upload("a.csv", b"x"))
    discord.clock.advance(60 * 60 * 48)
    with pytest.raises(NotDownloaded, match="404"):
        await upload_discord_attachment(
            files,
            user_id=ANNA,
            attachment=incoming,
            http=session,
            max_bytes=MOST,
            cdn_url=discord.cdn_url,
        )


async def test_attachment_that_comes_again_is_the_file_it_became(
    discord: DiscordDouble, channel: Channel, files: FileStore, session: aiohttp.ClientSession
) -> None:
    downloaded = Downloaded()
    attachment = channel.attach(Upload("a.csv", b"x"))

    async def upload_for(user_id: str) -> StoredFile:
        url = attachment.url(discord.cdn_url, discord.clock.now())  # signed anew each time
        uploaded = await upload_all(
            files,
            [Incoming("a.csv", 1, url)],
            user_id=user_id,
            http=session,
            max_bytes=MOST,
            cdn_url=discord.cdn_url,
            downloaded=downloaded,
        )
        assert uploaded.problems == ()
        return uploaded.files[0]

    first = await upload_for(ANNA)
    discord.clock.advance(5)
    again = await upload_for(ANNA)
    assert again.file_id == first.file_id and attachment.downloads == 1
    assert again.uploaded_at > first.uploaded_at, "it is kept as long as if it were new"
    other = await upload_for("1067162944699969999")
    assert other.file_id != first.file_id, "somebody else's is their own"
    await files.delete(user_id=ANNA, file_id=first.file_id)
    second = await upload_for(ANNA)
    assert second.file_id != first.file_id, "it was deleted"
    downloaded.forget(ANNA)
    assert (await upload_for(ANNA)).file_id != second.file_id


def test_attachments_that_only_their_query_tells_apart_are_different_files() -> None:
    downloaded = Downloaded()
    url = "https://chat.example/files?id={}&ex=1&is=2&hm={}"
    downloaded.note(ANNA, Incoming("a.csv", 1, url.format(1, "a")), "aaaaaaaaaaaa")
    assert downloaded.file_id(ANNA, Incoming("a.csv", 1, url.format(1, "b"))) == "aaaaaaaaaaaa"
    assert downloaded.file_id(ANNA, Incoming("b.csv", 1, url.format(2, "a"))) is None


async def test_older_files_that_had_to_go_are_named(upload: Any) -> None:
    await upload(Upload("old_1.csv", b"1"), Upload("old_2.csv", b"2"))
    uploaded = await upload(Upload("new_1.csv", b"3"), Upload("new_2.csv", b"4"))
    assert len(uploaded.files) == 2
    [problem] = uploaded.problems
    assert problem.startswith("To make room, your oldest files had to go: old\\_")
    assert problem.count("old") == 2, "one of them, and the word oldest"


async def test_more_at_once_than_can_be_kept_is_told(files: FileStore, upload: Any) -> None:
    uploaded = await upload(*(Upload(f"{n}.csv", b"x") for n in range(5)))
    assert {file.file_id for file in uploaded.files} == {
        file.file_id for file in await files.list(user_id=ANNA)
    }
    assert uploaded.problems == ("That was 2 more than you can keep at a time.",)


class Elsewhere:
    """A server that isn't Discord's, or one of Discord's that sends us there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked = 0


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    async def get(request: web.Request) -> web.Response:
        place.asked += 1
        if request.path == "/redirect":
            raise web.HTTPFound("/secret")
        return web.Response(body=b"secret")

    application = web.Application()
    application.router.add_get("/{path:.*}", get)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    place = Elsewhere(f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield place
    await runner.cleanup()


@pytest.mark.parametrize(
    "url",
    [
        "{elsewhere}/secret",
        "http://cdn.discordapp.com/a",
        "https://cdn.discordapp.com@127.0.0.1/a",
        "https://cdn.discordapp.com.example.com/a",
        "https://cdn.discordapp.com:8443/a",
        "https://[/a",
        "file:///etc/passwd",
        "//cdn.discordapp.com/a",
        "",
    ],
)
async def test_nothing_is_fetched_from_elsewhere(
    discord: DiscordDouble,
    files: FileStore,
    session: aiohttp.ClientSession,
    elsewhere: Elsewhere,
    url: str,
) -> None:
    incoming = Incoming("a.csv", 5, url.format(elsewhere=elsewhere.url))
    with pytest.raises(NotDownloaded, match="isn't one of Discord's"):
        await upload_discord_attachment(
            files,
            user_id=ANNA,
            attachment=incoming,
            http=session,
            max_bytes=MOST,
            cdn_url=discord.cdn_url,
        )
    assert elsewhere.asked == 0


async def test_redirects_are_not_followed(
    files: FileStore, session: aiohttp.ClientSession, elsewhere: Elsewhere
) -> None:
    incoming = Incoming("a.csv", 5, f"{elsewhere.url}/redirect")
    with pytest.raises(NotDownloaded, match="it answered 302"):
        await upload_discord_attachment(
            files,
            user_id=ANNA,
            attachment=incoming,
            http=session,
            max_bytes=MOST,
            cdn_url=elsewhere.url,
        )
    assert await files.list(user_id=ANNA) == ()


async def test_too_large_is_an_error_that_says_so(
    files: FileStore, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(FileTooLarge):
        await upload_discord_attachment(
            files,
            user_id=ANNA,
            attachment=Incoming("a.csv", MOST + 1, "https://cdn.discordapp.com/a"),
            http=session,
            max_bytes=MOST,
        )


async def test_cancelled_upload_leaves_nothing(
    discord: DiscordDouble, channel: Channel, files: FileStore, session: aiohttp.ClientSession
) -> None:
    [incoming] = attached(discord, channel, Upload("a.csv", b"x" * 900))
    came = asyncio.Event()

    async def stall(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 900
        await response.prepare(request)
        await response.write(b"x" * 100)
        came.set()
        await asyncio.Event().wait()
        return response

    application = web.Application()
    application.router.add_get("/a", stall)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    uploading = asyncio.create_task(
        upload_all(
            files,
            [replace(incoming, url=f"{url}/a")],
            user_id=ANNA,
            http=session,
            max_bytes=MOST,
            cdn_url=url,
        )
    )
    await came.wait()
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await uploading
    assert await files.list(user_id=ANNA) == ()
    await runner.cleanup()


class LibraryAttachment:
    size, url = 5, "https://cdn.discordapp.com/a"

    def __init__(self, filename: str, title: str | None = None) -> None:
        self.filename = filename
        self.title = title


@pytest.mark.parametrize(
    ("filename", "title", "given"),
    [
        ("sales.csv", None, "sales.csv"),
        ("_.csv", "売上", "売上.csv"),
        ("_.csv", "売上.csv", "売上.csv"),
        ("bersicht_1.CSV", "Übersicht 1.csv", "Übersicht 1.csv"),
        ("README", "Read me", "Read me"),
        ("a.tar.gz", "ä.tar", "ä.tar.gz"),
    ],
)
def test_names_are_as_their_authors_gave_them(filename: str, title: str | None, given: str) -> None:
    assert Incoming.of(LibraryAttachment(filename, title)).filename == given
    assert Incoming.of(LibraryAttachment(filename), title).filename == given
