"""Uploads: what people attach becomes their stored files, at once, as Discord's links expire."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bot.discord.addresses import file_address, is_of_server
from bot.messages import plain_sentence
from bot.sizes import size_text
from interpreter import FileStore, FileTooLarge, InterpreterError, StoredFile, StoredFileNotFound
from interpreter.logs import get_logger

log = get_logger(__name__)

_HOSTS = frozenset({"cdn.discordapp.com", "media.discordapp.net"})
_AT_ONCE = 3
_TRIES = 2
_PIECE_BYTES = 1 << 18
_TIMEOUT = aiohttp.ClientTimeout(total=600, connect=15, sock_read=30)
_MOST_NAMED_CHARS, _MOST_LISTED = 100, 5
_MOST_REMEMBERED = 2_000
#: Source: Discord's documentation, "Signed Attachment CDN URLs". Other servers may have the file's
#: id in the query.
_SIGNATURE = frozenset({"ex", "is", "hm"})


@dataclass(frozen=True, slots=True)
class Incoming:
    """An attachment of a message, before its download.

    Attributes:
        filename: as its author called it.
        size: in bytes, as Discord says.
        url: where it is, for about a day.
    """

    filename: str
    size: int
    url: str

    @classmethod
    def of(cls, attachment: Any, title: str | None = None) -> "Incoming":
        """From the library's.

        Args:
            attachment: as the library knows it.
            title: what its author called it, if Discord had to change that; the library's commands
                have it in a field of its own.
        """
        title = title or getattr(attachment, "title", None)
        filename = _given_name(str(attachment.filename), title)
        return cls(filename, int(attachment.size), str(attachment.url))

    @classmethod
    def of_raw(cls, attachment: Mapping[str, Any]) -> "Incoming":
        """From JSON, as Discord has it.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: it isn't one.
        """
        filename = _given_name(str(attachment["filename"]), str(attachment.get("title") or ""))
        return cls(filename, int(attachment["size"]), str(attachment["url"]))


def _given_name(filename: str, title: str | None) -> str:
    """What an author called a file: Discord takes what isn't ASCII out of names, and keeps it as
    a title, without the suffix."""
    if not title:
        return filename
    suffix = PurePosixPath(filename).suffix
    return title if title.lower().endswith(suffix.lower()) else f"{title}{suffix}"


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of some attachments.

    Attributes:
        files: those that are stored, in their order.
        problems: a sentence for each that isn't, and for older files that had to go.
    """

    files: tuple[StoredFile, ...]
    problems: tuple[str, ...]


class Downloaded:
    """Which stored files the latest attachments became: who replies to a message, or forwards it,
    brings its files along each time."""

    def __init__(self) -> None:
        """Begin with none."""
        self._file_ids: OrderedDict[tuple[str, str], str] = OrderedDict()

    def note(self, user_id: str, attachment: Incoming, file_id: str) -> None:
        """Remember what an attachment became for a user."""
        self._file_ids[user_id, _unsigned(attachment)] = file_id
        while len(self._file_ids) > _MOST_REMEMBERED:
            self._file_ids.popitem(last=False)

    def file_id(self, user_id: str, attachment: Incoming) -> str | None:
        """The file that it became, which may be gone since; None if that isn't known."""
        return self._file_ids.get((user_id, _unsigned(attachment)))

    def forget(self, user_id: str) -> None:
        """Forget a user's."""
        for key in [key for key in self._file_ids if key[0] == user_id]:
            del self._file_ids[key]


def _unsigned(attachment: Incoming) -> str:
    """What stays of an attachment's address when its link is signed anew."""
    path, _, query = attachment.url.partition("?")
    rest = [part for part in query.split("&") if part.partition("=")[0] not in _SIGNATURE]
    return f"{path}?{'&'.join(rest)}"


class NotDownloaded(Exception):
    """Discord didn't give an attachment; says why."""


async def upload_discord_attachment(
    files: FileStore,
    *,
    user_id: str,
    attachment: Incoming,
    http: aiohttp.ClientSession,
    max_bytes: int,
    cdn_url: str | None = None,
    api_url: str | None = None,
) -> StoredFile:
    """Download an attachment straight into a user's stored files.

    Args:
        files: where it goes.
        user_id: whose it will be.
        attachment: what to download.
        http: with what.
        max_bytes: how large it may be; checked before, and held while it comes.
        cdn_url: another place that files may come from, besides Discord's own.
        api_url: where another server's REST interface is, if there is one: its files may be there.

    Raises:
        FileTooLarge: it is larger than a file may be.
        NotDownloaded: it could not be had.
        InterpreterError: it could not be stored.
    """
    if attachment.size > max_bytes:
        raise FileTooLarge(attachment.filename, attachment.size, max_bytes)
    url = file_address(attachment.url, api_url=api_url, cdn_url=cdn_url)
    if not (_is_discords(url) or is_of_server(url, api_url=api_url, cdn_url=cdn_url)):
        raise NotDownloaded("its address isn't one of Discord's")
    for last in (False, True):
        try:
            async with aclosing(_pieces(http, url)) as pieces:
                return await files.save(
                    user_id=user_id, filename=attachment.filename, source=pieces
                )
        except (aiohttp.ClientError, TimeoutError, NotDownloaded) as error:
            log.info("download failed", reason=type(error).__name__, again=not last)
            if last:
                reason = str(error) if isinstance(error, NotDownloaded) else "the line broke"
                raise NotDownloaded(reason) from error
    raise AssertionError("unreachable")


async def upload_all(
    files: FileStore,
    attachments: Sequence[Incoming],
    *,
    user_id: str,
    http: aiohttp.ClientSession,
    max_bytes: int,
    cdn_url: str | None = None,
    api_url: str | None = None,
    downloaded: Downloaded | None = None,
) -> Uploaded:
    """Store several attachments; what fails is a sentence, and the others go on.

    One that ``downloaded`` knows, and whose file is still there, is that file.
    """
    downloaded = Downloaded() if downloaded is None else downloaded
    places = asyncio.Semaphore(_AT_ONCE)
    before = {file.file_id: file for file in await files.list(user_id=user_id)}

    async def one(attachment: Incoming) -> StoredFile | str:
        name = plain_sentence(attachment.filename[:_MOST_NAMED_CHARS])
        known = before.get(downloaded.file_id(user_id, attachment) or "")
        async with places:
            try:
                if known is not None:
                    with suppress(StoredFileNotFound):  # it has just expired
                        return await files.touch(user_id=user_id, file_id=known.file_id)
                file = await upload_discord_attachment(
                    files,
                    user_id=user_id,
                    attachment=attachment,
                    http=http,
                    max_bytes=max_bytes,
                    cdn_url=cdn_url,
                    api_url=api_url,
                )
                downloaded.note(user_id, attachment, file.file_id)
                return file
            except FileTooLarge:
                most, size = size_text(max_bytes), size_text(attachment.size)
                # It is larger than Discord said, or by less than shows.
                is_told = attachment.size > max_bytes and size != most
                return (
                    f"{name} {f'has {size}' if is_told else 'is too large'}, and a file can have "
                    f"{most} here: send it in parts, or make it smaller."
                )
            except NotDownloaded as error:
                return f"{name} could not be had from Discord ({error}): please send it again."
            except InterpreterError as error:
                return f"{name} could not be kept: {plain_sentence(str(error))}"

    done = await asyncio.gather(*(one(attachment) for attachment in attachments))
    stored = tuple(item for item in done if isinstance(item, StoredFile))
    problems = [item for item in done if isinstance(item, str)]
    if stored:
        left = {file.file_id for file in await files.list(user_id=user_id)}
        problems += _gone([f.filename for file_id, f in before.items() if file_id not in left])
        if too_many := len([file for file in stored if file.file_id not in left]):
            problems.append(f"That was {too_many} more than you can keep at a time.")
            stored = tuple(file for file in stored if file.file_id in left)
    return Uploaded(stored, tuple(problems))


def _gone(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    listed = ", ".join(plain_sentence(name[:_MOST_NAMED_CHARS]) for name in names[:_MOST_LISTED])
    return [f"To make room, your oldest files had to go: {listed}{more}."]


def _is_discords(url: str) -> bool:
    """Whether an address is where Discord keeps files: nobody can have us fetch from elsewhere."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and parts.netloc in _HOSTS


async def _pieces(http: aiohttp.ClientSession, url: str) -> AsyncGenerator[bytes]:
    async with http.get(url, allow_redirects=False, timeout=_TIMEOUT) as response:
        if response.status != 200:
            raise NotDownloaded(f"it answered {response.status}")
        async for piece in response.content.iter_chunked(_PIECE_BYTES):
            yield piece
