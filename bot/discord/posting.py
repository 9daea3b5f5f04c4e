"""Post: one message sent, edited or deleted, by whichever way is open."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, TypeVar

from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from bot.discord import payloads
from bot.discord.destinations import (
    DeliveryFailed,
    DeliveryLate,
    Destination,
    FilesLate,
    InteractionRef,
    MessageThere,
    SentMessage,
)
from bot.discord.metrics import Metrics
from bot.discord.rest import DiscordHTTP, Refused, Unanswered
from bot.outgoing import MESSAGE_CHARS, Attachment, OutgoingMessage
from bot.sizes import size_text
from interpreter.logs import get_logger

log = get_logger(__name__)

Way = Literal["interaction", "channel", "direct"]
T = TypeVar("T")

# Source: Discord's documentation, "JSON Error Codes".
_UNKNOWN_CHANNEL, _UNKNOWN_MESSAGE = 10003, 10008
_TOO_LARGE, _NO_DIRECT_MESSAGES, _INVALID_FORM, _EMPTY = 40005, 50007, 50035, 50006
_MISSING_ACCESS, _MISSING_PERMISSIONS, _NO_HISTORY = 50001, 50013, 160002
_EPOCH_MS = 1_420_070_400_000
#: How long Discord is sure to remember a nonce: "a few minutes", says the documentation.
_NONCE_S = 120.0
_MOST_REMEMBERED = 2000
#: After so long a message isn't edited any more, but sent anew: one that is older than an hour
#: takes few edits, and Discord then says only that there are too many of them.
_EDIT_S = 60.0
_QUICK_S = 5.0
#: How long it is tried to read a message before it is taken for one that nobody can read.
_LOOK_S = 60.0
#: So many failures in a row of a server that answers, but can't take files, and the words go first.
_UPLOAD_TRIES = 4
_SERVER_ERROR = "HTTP 500"
#: What a server answers that doesn't know a part of a message, or how it is sent.
_NOT_TAKEN = frozenset({400, 405, 411, 415, 422, 501})


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long is waited between two tries: a random time up to twice the last one's.

    Attributes:
        first_s: at most, after the first try.
        most_s: at most, ever.
    """

    first_s: float = 1.0
    most_s: float = 60.0


#: For Discord itself.
BACKOFF = Backoff()


class Post:
    """Sends, edits and deletes single messages.

    Args:
        http: Discord's REST interface.
        metrics: where tries in vain are counted.
        backoff: how long to wait between two tries.
        now: tells the time.
    """

    def __init__(
        self,
        http: DiscordHTTP,
        *,
        metrics: Metrics,
        backoff: Backoff = BACKOFF,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """See the class."""
        self._http = http
        self._metrics = metrics
        self._backoff = backoff
        self._now = now
        self._followups: OrderedDict[str, int] = OrderedDict()
        self._known: OrderedDict[int, None] = OrderedDict()
        self._direct: OrderedDict[int, int] = OrderedDict()

    async def send(
        self,
        to: Destination,
        message: OutgoingMessage,
        *,
        nonce: str,
        patience_s: float,
        first_try: datetime | None = None,
    ) -> SentMessage:
        """Send a message by the best way that is open.

        Args:
            to: where.
            message: what.
            nonce: at most 25 characters, the same for the same message.
            patience_s: how long to try.
            first_try: when it was first tried, if it was before.

        Raises:
            DeliveryFailed: Discord won't take it by any way.
            DeliveryLate: it wasn't possible in time.
            FilesLate: it can't take files just now.
        """
        deadline = time.monotonic() + patience_s
        before: frozenset[Way] = frozenset({"interaction"} if first_try else ())
        since = first_try or self._now()
        sending = _Sending(to, message, nonce, since, _Uploads(message), before)
        while True:
            try:
                sent = await self._patiently(partial(self._try, sending), deadline)
            except Refused as refused:
                sending = self._after(sending, refused)
                continue
            self._remember(sent.message_id)
            if sending.leftover:
                rest = OutgoingMessage(sending.leftover.strip())
                left_s = max(deadline - time.monotonic(), 0.0)
                await self.send(to, rest, nonce=f"{nonce[:24]}+", patience_s=left_s)
            return sent

    async def edit(
        self,
        sent: SentMessage,
        message: OutgoingMessage,
        *,
        keep_attachments: bool = False,
        patience_s: float | None = None,
    ) -> SentMessage:
        """Put a message in place of another; attachments that don't stay go.

        Args:
            sent: the one that is there.
            message: what it is to become.
            keep_attachments: whether its attachments stay.
            patience_s: how long to try; None for one quick try.

        Raises:
            DeliveryFailed: it can't be edited (any more).
            DeliveryLate: it wasn't possible in time.
            FilesLate: Discord can't take files just now.
        """
        uploads = _Uploads(message)
        while True:
            try:
                if patience_s is None:
                    return await self._edit(sent, message, keep_attachments, _QUICK_S)
                return await self._patiently(
                    partial(uploads.counted, partial(self._edit, sent, message, keep_attachments)),
                    time.monotonic() + min(patience_s, _EDIT_S),
                )
            except Unanswered as error:
                raise _late(error) from error
            except Refused as refused:
                token_is_over = sent.destination.interaction and refused.code != _TOO_LARGE
                if token_is_over and not sent.destination.is_private and patience_s is not None:
                    sent = replace(sent, destination=sent.destination.without_interaction())
                elif refused.code == _TOO_LARGE and message.attachments:
                    message, leftover = _without_largest(message)
                    if leftover:
                        raise DeliveryFailed(leftover, refused.detail) from refused
                else:
                    raise _failed(refused) from refused

    async def delete(self, sent: SentMessage) -> None:
        """Delete a message, if that is possible; a few tries."""
        if sent.message_id == 0:
            return
        method, path, parts = self._existing("DELETE", sent)
        try:
            await self._patiently(
                partial(self._http.attempt, method, path, parts),
                time.monotonic() + 2 * _QUICK_S,
            )
        except (Refused, DeliveryLate) as error:
            log.info("message not deleted", message_id=sent.message_id, reason=error.detail)

    # -- one try ---------------------------------------------------------------------------------

    async def _try(self, sending: "_Sending") -> SentMessage:
        """Send it once, unless it turns out to be there already."""
        way = self._way(sending)
        if sending.may_be_there and (there := await self._look_for(sending, way)):
            return there
        sending.last_way = way
        try:
            answer = await sending.uploads.counted(partial(self._post, sending, way))
        except Unanswered as error:
            if error.may_be_done:
                sending.may_be_there |= {way}
            raise
        return _sent(answer, self._reached(sending, way))

    def _way(self, sending: "_Sending") -> Way:
        to = sending.to
        if self._is_open(to) and "interaction" not in sending.closed:
            return "interaction"
        if not to.is_private and "channel" not in sending.closed:
            return "channel"
        if to.user_id is not None and "direct" not in sending.closed:
            return "direct"
        raise sending.reason or DeliveryFailed(
            "The answer was for your eyes only, and came too late to be shown here: ask again."
        )

    async def _post(self, sending: "_Sending", way: Way) -> Any:
        to, message = sending.to, sending.message
        files = payloads.form_files(message.attachments)
        if way == "interaction":
            assert to.interaction is not None
            answer = await self._http.attempt(
                "POST",
                "/webhooks/{webhook_id}/{webhook_token}",
                _webhook(to.interaction),
                params={"wait": "true"},
                payload=payloads.followup(to, message),
                files=files,
            )
            self._count_followup(to.interaction)
            return answer
        place = to if way == "channel" else await self._direct_destination(to)
        if sending.without_reference or sending.is_plain:
            place = replace(place, reply_to=None)
        return await self._http.attempt(
            "POST",
            "/channels/{channel_id}/messages",
            {"channel_id": place.channel_id},
            payload=payloads.plain(message)
            if sending.is_plain
            else payloads.ordinary(place, message, nonce=sending.nonce),
            files=files,
        )

    async def _edit(
        self,
        sent: SentMessage,
        message: OutgoingMessage,
        keep: bool,
        timeout_s: float = 4 * _QUICK_S,
    ) -> SentMessage:
        method, path, parts = self._existing("PATCH", sent)
        kept = sent.attachment_ids if keep else ()
        answer = await self._http.attempt(
            method,
            path,
            parts,
            payload=payloads.edited(sent.destination, message, kept),
            files=payloads.form_files(message.attachments),
            timeout_s=timeout_s,
        )
        edited = _sent(answer, sent.destination)
        if len(edited.attachment_ids) < len(kept) + len(message.attachments):
            # Some servers take no form for an edit, and say that all is well.
            raise DeliveryFailed("The message can't be edited.", "the files are missing")
        return edited

    def _existing(self, method: str, sent: SentMessage) -> tuple[str, str, dict[str, str | int]]:
        """The address of a message that is there."""
        interaction = sent.destination.interaction
        if interaction is not None and (
            interaction.is_open(self._now()) or sent.destination.is_private
        ):
            path = "/webhooks/{webhook_id}/{webhook_token}/messages/{message_id}"
            return method, path, {**_webhook(interaction), "message_id": sent.message_id}
        parts: dict[str, str | int] = {
            "channel_id": sent.channel_id,
            "message_id": sent.message_id,
        }
        return method, "/channels/{channel_id}/messages/{message_id}", parts

    # -- ways ------------------------------------------------------------------------------------

    def _is_open(self, to: Destination) -> bool:
        interaction = to.interaction
        if interaction is None or not interaction.is_open(self._now()):
            return False
        if interaction.followups_left is None:
            return True
        return self._followups.get(interaction.token, 0) < interaction.followups_left

    def _count_followup(self, interaction: InteractionRef) -> None:
        if interaction.followups_left is not None:
            self._followups[interaction.token] = self._followups.get(interaction.token, 0) + 1
            while len(self._followups) > _MOST_REMEMBERED:
                self._followups.popitem(last=False)

    async def _direct_destination(self, to: Destination) -> Destination:
        assert to.user_id is not None
        channel_id = self._direct.get(to.user_id)
        if channel_id is None:
            answer = await self._http.attempt(
                "POST", "/users/@me/channels", payload={"recipient_id": str(to.user_id)}
            )
            channel_id = self._direct[to.user_id] = int(answer["id"])
            while len(self._direct) > _MOST_REMEMBERED:
                self._direct.popitem(last=False)
        return Destination(channel_id, user_id=to.user_id)

    def _reached(self, sending: "_Sending", way: Way) -> Destination:
        to = sending.to
        if way == "interaction":
            return to
        if way == "channel":
            return to.without_interaction()
        assert to.user_id is not None
        return Destination(self._direct[to.user_id], user_id=to.user_id)

    def _after(self, sending: "_Sending", refused: Refused) -> "_Sending":
        """What to try next.

        Raises:
            DeliveryFailed: nothing.
        """
        message, way = sending.message, sending.last_way
        log.info("message refused", way=way, status=refused.status, code=refused.code)
        if refused.code == _TOO_LARGE or refused.status == 413:
            if not message.attachments:
                raise _failed(refused) from refused
            smaller, leftover = _without_largest(message)
            return sending.changed(message=smaller, leftover=sending.leftover + leftover)
        if way != "interaction" and not sending.without_reference and _about_reply(refused):
            return sending.changed(without_reference=True)
        is_not_taken = refused.code in (_INVALID_FORM, _EMPTY)
        if is_not_taken or (refused.status in _NOT_TAKEN and refused.code == 0):
            log.error("message malformed", detail=refused.detail)
            if message.attachments:
                return sending.changed(message=without_files(message, _NOT_ATTACHED))
            if not sending.is_plain and refused.code != _EMPTY:
                return sending.changed(is_plain=True)
            if is_not_taken:
                raise _failed(refused) from refused
        may_be_files = refused.code == _MISSING_PERMISSIONS and message.attachments
        if may_be_files and way == "channel" and sending.to.user_id is None:
            return sending.changed(message=without_files(message, _NOT_ALLOWED))
        return sending.changed(
            closed=sending.closed | {way}, reason=sending.reason or _failed(refused)
        )

    # -- did it arrive? --------------------------------------------------------------------------

    async def _look_for(self, sending: "_Sending", way: Way) -> SentMessage | None:
        """Look for a message that a lost answer may have been about: follow-ups have no nonce, and
        Discord doesn't remember one for long."""
        to = sending.to
        has_nonce = "interaction" not in sending.may_be_there
        if has_nonce and (self._now() - sending.first_try).total_seconds() < _NONCE_S:
            return None
        if to.is_private or (to.interaction and to.interaction.followups_left is not None):
            return None
        place = to if way != "direct" else await self._direct_destination(to)
        try:
            found = await self._messages_since(place, sending.first_try)
            me = await self._http.own_id()
        except Refused as refused:
            log.info("channel not readable", channel_id=place.channel_id, code=refused.code)
            return None
        for there in found:
            if self._is_same(there, sending.message, me):
                return _sent(there, self._reached(sending, way))
        return None

    async def _messages_since(self, place: Destination, since: datetime) -> Sequence[Any]:
        after = (int(since.timestamp() * 1000) - _EPOCH_MS - 5000) << 22
        found = await self._http.attempt(
            "GET",
            "/channels/{channel_id}/messages",
            {"channel_id": place.channel_id},
            params={"limit": "50", "after": str(after)},
        )
        return found if isinstance(found, list) else ()

    async def find(self, to: Destination, *, custom_id: str, since: datetime) -> SentMessage | None:
        """Look for a message of ours with a certain button; a few tries. See ``Delivery.find``."""
        deadline = time.monotonic() + 2 * _QUICK_S
        try:
            found = await self._patiently(partial(self._messages_since, to, since), deadline)
            me = await self._http.own_id()
        except (Refused, Unanswered, DeliveryLate) as error:
            log.info("channel not readable", channel_id=to.channel_id, reason=error.detail)
            return None
        for there in found:
            if _author_of(there) == me and custom_id in _buttons_of(there):
                return _sent(there, to.without_interaction())
        return None

    async def look(self, sent: SentMessage) -> MessageThere | None:
        """See what a message says now. See ``Delivery.look``."""
        # By its interaction: where only its user has the bot, it can't read the channel.
        reading = partial(self._http.attempt, *self._existing("GET", sent))
        try:
            there = await self._patiently(reading, time.monotonic() + _LOOK_S)
        except (Refused, DeliveryLate) as error:
            log.info("message not readable", message_id=sent.message_id, reason=error.detail)
            return None
        content = there.get("content") if isinstance(there, dict) else None
        return MessageThere(str(content or ""), _buttons_of(there))

    def _is_same(self, there: Any, message: OutgoingMessage, me: int) -> bool:
        try:
            author, number = int(there["author"]["id"]), int(there["id"])
            sizes = sorted(int(a["size"]) for a in there.get("attachments", ()))
        except (KeyError, TypeError, ValueError):
            return False
        return (
            author == me
            and number not in self._known
            and there.get("content", "").split() == message.content.split()
            and sizes == sorted(attachment.size for attachment in message.attachments)
        )

    def _remember(self, message_id: int) -> None:
        self._known[message_id] = None
        while len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)

    # -- patience --------------------------------------------------------------------------------

    async def _patiently(self, attempt: Callable[[], Awaitable[T]], deadline: float) -> T:
        """Try until it succeeds, it is refused, or it is too late.

        Raises:
            Refused: Discord won't.
            DeliveryLate: not in time.
        """
        retrying = AsyncRetrying(
            sleep=asyncio.sleep,
            stop=stop_after_delay(max(deadline - time.monotonic(), 0.0)),
            wait=wait_random_exponential(self._backoff.first_s, self._backoff.most_s),
            retry=retry_if_exception_type(Unanswered),
            before_sleep=lambda state: self._metrics.retry(),
            reraise=True,
        )
        try:
            return await retrying(attempt)
        except Unanswered as error:
            raise _late(error) from error


@dataclass(slots=True)
class _Sending:
    """A message on its way.

    Attributes:
        may_be_there: by which ways it may have been taken although no answer came.
        closed: ways that have been refused, and ``reason``: why.
        leftover: a sentence that no longer fits, and goes out by itself.
        without_reference: whether it can't reply to the message it is about.
        is_plain: whether it has to do without all that not every server knows.
        uploads: tells when it can't take files.
    """

    to: Destination
    message: OutgoingMessage
    nonce: str
    first_try: datetime
    uploads: "_Uploads"
    may_be_there: frozenset[Way]
    closed: frozenset[Way] = frozenset()
    reason: DeliveryFailed | None = None
    leftover: str = ""
    without_reference: bool = False
    is_plain: bool = False
    last_way: Way = "channel"

    def changed(self, **changes: Any) -> "_Sending":
        return replace(self, **changes)


class _Uploads:
    """Tells when a server answers, but can't take files.

    Args:
        message: what is sent.
    """

    def __init__(self, message: OutgoingMessage) -> None:
        # Without words there is nothing that could go first.
        self._could_part = bool(message.attachments and message.content)
        self._failures = 0

    async def counted(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Make an attempt.

        Raises:
            FilesLate: it failed once too often.
        """
        try:
            return await attempt()
        except Unanswered as error:
            self._failures = self._failures + 1 if error.detail == _SERVER_ERROR else 0
            if self._could_part and self._failures >= _UPLOAD_TRIES:
                raise FilesLate("Discord doesn't take files just now.", error.detail) from error
            raise


def _author_of(there: Any) -> int | None:
    try:
        return int(there["author"]["id"])
    except (KeyError, TypeError, ValueError):
        return None


def _buttons_of(there: Any) -> frozenset[str]:
    """The custom ids of a message's buttons."""
    try:
        rows = [row.get("components", ()) for row in there.get("components", ())]
        return frozenset(str(button.get("custom_id")) for row in rows for button in row)
    except (AttributeError, TypeError):
        return frozenset()


def _webhook(interaction: InteractionRef) -> dict[str, str | int]:
    return {"webhook_id": interaction.application_id, "webhook_token": interaction.token}


def _sent(answer: Any, destination: Destination) -> SentMessage:
    if not isinstance(answer, dict) or not answer.get("id"):
        # Other servers may say no more than that they took it. It isn't edited then.
        log.info("message sent, its id unknown", channel_id=destination.channel_id)
        return SentMessage(destination.channel_id, 0, destination)
    return SentMessage(
        channel_id=int(answer.get("channel_id") or destination.channel_id),
        message_id=int(answer["id"]),
        destination=destination,
        attachment_ids=tuple(int(a["id"]) for a in answer.get("attachments", ()) if "id" in a),
    )


def _about_reply(refused: Refused) -> bool:
    if refused.code == _NO_HISTORY:
        return True
    return refused.code == _INVALID_FORM and "message_reference" in refused.detail


def _without_largest(message: OutgoingMessage) -> tuple[OutgoingMessage, str]:
    """The message without its largest attachment, which it names; and the sentence that does so
    where it no longer fits."""
    largest = max(message.attachments, key=lambda attachment: attachment.size)
    rest = tuple(a for a in message.attachments if a is not largest)
    sentence = _too_large(largest)
    content = f"{message.content}\n{sentence}".strip()
    if len(content) <= MESSAGE_CHARS:
        return replace(message, content=content, attachments=rest), ""
    return replace(message, attachments=rest), f"{sentence}\n"


def _too_large(attachment: Attachment) -> str:
    kept = f"; it is kept as file `{attachment.file_id}`" if attachment.file_id else ""
    name = attachment.filename.replace("`", "'")
    return f"`{name}` ({size_text(attachment.size)}) is too large to be attached here{kept}."


_NOT_ALLOWED = "I am not allowed to attach files here, so these are missing"
_NOT_ATTACHED = "Discord doesn't take these files"


def without_files(message: OutgoingMessage, why: str) -> OutgoingMessage:
    """The message without its attachments, which it names.

    Args:
        why: half a sentence, before their names.
    """
    names = ", ".join(f"`{a.filename.replace('`', chr(39))}`" for a in message.attachments)
    content = f"{message.content}\n{why}: {names}.".strip()
    if len(content) > MESSAGE_CHARS:
        short = f"{why}."
        content = f"{message.content[: MESSAGE_CHARS - len(short) - 1]}\n{short}"
    return replace(message, content=content, attachments=())


def _failed(refused: Refused) -> DeliveryFailed:
    sentences = {
        _UNKNOWN_CHANNEL: "The channel is gone, so the answer can't be shown.",
        _UNKNOWN_MESSAGE: "The message is gone.",
        _MISSING_ACCESS: "I can't see that channel: let me in, or ask in another one.",
        _MISSING_PERMISSIONS: "I am not allowed to write there: let me, or ask in another channel.",
        _NO_DIRECT_MESSAGES: "I can't write to you directly: allow direct messages from members.",
        _TOO_LARGE: "The answer is too large for Discord.",
    }
    words = sentences.get(refused.code, "Discord doesn't take the answer.")
    return DeliveryFailed(words, refused.detail)


def _late(error: Unanswered) -> DeliveryLate:
    return DeliveryLate("Discord didn't take the message in time.", error.detail)
