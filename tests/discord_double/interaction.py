"""Interactions: what a person did, and everything that the bot answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from tests.discord_double import payloads

if TYPE_CHECKING:
    from tests.discord_double.channel import Channel
    from tests.discord_double.message import Message
    from tests.discord_double.person import Person
    from tests.discord_double.world import World

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 2, 3, 4, 5
ACKNOWLEDGE_WITHIN = timedelta(seconds=3)
TOKEN_LIVES = timedelta(minutes=15)
USER_INSTALLED_FOLLOWUPS = 5


@dataclass(slots=True, eq=False)
class Modal:
    """A form that the bot has opened for a person."""

    opened_by: "Interaction"
    custom_id: str
    title: str
    components: list[dict[str, Any]]

    @property
    def fields(self) -> dict[str, dict[str, Any]]:
        """Its text inputs by custom_id, each with its ``label``."""
        found = {}
        for row in self.components:
            if row["type"] == 18:
                found[row["component"]["custom_id"]] = {"label": row["label"], **row["component"]}
            for item in row.get("components", ()):
                found[item["custom_id"]] = item
        return found

    def filled(self, values: Mapping[str, str]) -> dict[str, Any]:
        """What is sent.

        Raises:
            AssertionError: Discord's form wouldn't let it be sent.
        """
        left = dict(values)
        for key, item in self.fields.items():
            self._check(item, self._value(key, item, left, take=False))
        rows = []
        for row in self.components:
            if row["type"] == 18:
                rows.append({"type": 18, "id": 1, "component": self._item(row["component"], left)})
            elif row["type"] == 1:
                items = [self._item(item, left) for item in row["components"]]
                rows.append({"type": 1, "id": 1, "components": items})
        assert not left, f"the form has no {', '.join(left)}; it has {list(self.fields)}"
        return {"custom_id": self.custom_id, "components": rows}

    def _item(self, item: dict[str, Any], left: dict[str, str]) -> dict[str, Any]:
        key = item["custom_id"]
        value = self._value(key, self.fields[key], left, take=True)
        return {"type": item["type"], "id": 2, "custom_id": key, "value": value}

    def _value(self, key: str, item: dict[str, Any], left: dict[str, str], *, take: bool) -> str:
        for name in (key, item.get("label")):
            if name in left:
                return left.pop(name) if take else left[name]
        return item.get("value") or ""

    def _check(self, item: dict[str, Any], value: str) -> None:
        required = item.get("required")
        assert value or required is False, f"{item['label']!r} has to be filled in"
        low, high = item.get("min_length") or 0, item.get("max_length") or 4000
        assert not value or low <= len(value) <= high, f"{item['label']!r}: {low} to {high}"
        assert "\n" not in value or item["style"] == 2, f"{item['label']!r} has one line"


@dataclass(slots=True, eq=False)
class Interaction:
    """One use of a command, component or form.

    Attributes:
        message: the message with the component.
        response: the answer to the interaction itself; None while there is none.
        followups: further messages.
        deferred: whether the bot first said that it is thinking.
        ephemeral: whether the answer is only for the person.
        acknowledged_after_s: how long that took, in seconds of Discord's time.
        choices: for autocompletion: what was offered.
        modal: the form that was opened.
        data: what was sent to the bot.
    """

    world: "World"
    kind: int
    person: "Person"
    channel: "Channel"
    name: str = ""
    message: "Message | None" = None
    opened_by: "Interaction | None" = None
    data: dict[str, Any] = field(default_factory=dict)
    response: "Message | None" = None
    followups: "list[Message]" = field(default_factory=list)
    followups_sent: int = 0
    callback: int | None = None
    ephemeral: bool = False
    acknowledged_after_s: float | None = None
    choices: list[dict[str, Any]] | None = None
    modal: Modal | None = None
    refused: list[int] = field(default_factory=list)
    id: str = field(init=False)
    token: str = field(init=False)
    at: datetime = field(init=False)

    def __post_init__(self) -> None:
        """Give it an identity."""
        self.id = self.world.new_id()
        self.token = f"aW50ZXJhY3Rpb246{self.id}{token_urlsafe(96)}"
        self.at = self.world.clock.now()

    @property
    def deferred(self) -> bool:
        """Whether the bot took its time."""
        return self.callback in (5, 6)

    @property
    def acknowledged(self) -> bool:
        """Whether the bot has reacted."""
        return self.callback is not None

    @property
    def is_expired(self) -> bool:
        """Whether its token is no longer good."""
        return self.is_over(self.world.clock.now())

    def is_late(self, now: datetime) -> bool:
        """Whether it can't be acknowledged any more."""
        return now - self.at > ACKNOWLEDGE_WITHIN

    def is_over(self, now: datetime) -> bool:
        """Whether its token is no longer good, at that time."""
        return now - self.at > TOKEN_LIVES

    @property
    def only_user_installed(self) -> bool:
        """Whether the bot is there only because the person has installed it for themselves."""
        return self.channel.guild is not None and not self.channel.guild.has_bot

    @property
    def owners(self) -> dict[str, str]:
        """For whom the app is installed, by kind of installation."""
        owners = {}
        if self.channel.guild and self.channel.guild.has_bot:
            owners["0"] = self.channel.guild.id
        if self.channel.guild is None:
            owners["0"] = "0"
        if self.person.has_installed or self.only_user_installed:
            owners["1"] = self.person.id
        return owners

    @property
    def messages(self) -> "list[Message]":
        """The response, once it says something, and the follow-ups."""
        own = [self.response] if self.response and self._says_something(self.response) else []
        return own + self.followups

    def _says_something(self, response: "Message") -> bool:
        """Whether the response is more than a promise to answer, or to change a message."""
        if self.callback == 6:
            return response.edited_at is not None and response.edited_at >= self.at
        return not response.is_loading

    async def send(self, *, wait: bool, timeout_s: float) -> "Interaction":
        """Send it to the bot.

        Raises:
            AssertionError: the bot doesn't acknowledge it.
        """
        self.world.interactions[self.token] = self
        self.world.dispatch(
            "INTERACTION_CREATE",
            lambda reads: self.payload(),
            guild_id=self.channel.guild.id if self.channel.guild else None,
            intent=0,
        )
        if wait:
            await self.wait_for(lambda used: used.acknowledged, timeout_s=timeout_s)
        return self

    async def wait_for(
        self, check: "Callable[[Interaction], object]", *, timeout_s: float = 10
    ) -> "Interaction":
        """Wait until the check holds.

        Raises:
            AssertionError: not in time (seconds of real time).
        """
        await self.world.until(lambda: bool(check(self)), timeout_s, f"{self!r} as awaited")
        return self

    async def wait_for_message(
        self, check: "Callable[[Message], object]" = lambda message: True, *, timeout_s: float = 10
    ) -> "Message":
        """The first message in answer to it for which the check holds, now or later."""
        return await self.world.until(
            lambda: next((m for m in self.messages if not m.deleted and check(m)), None),
            timeout_s,
            f"no such answer to {self!r}",
        )

    def payload(self) -> dict[str, Any]:
        """As the gateway tells it."""
        guild = self.channel.guild
        body: dict[str, Any] = {
            "id": self.id,
            "application_id": self.world.bot.id,
            "type": self.kind,
            "token": self.token,
            "version": 1,
            "data": self.data,
            "channel_id": self.channel.id,
            "channel": payloads.channel(self.channel),
            "locale": self.person.locale,
            "app_permissions": str(self.channel.app_permissions),
            "entitlements": [],
            "entitlement_sku_ids": [],
            "authorizing_integration_owners": self.owners,
            "context": 0 if guild else 1,
            "attachment_size_limit": self.channel.attachment_bytes,
        }
        if guild:
            permissions = str(guild.permissions(self.person))
            body |= {
                "guild_id": guild.id,
                "guild": {"id": guild.id, "locale": guild.locale, "features": []},
                "guild_locale": guild.locale,
                "member": payloads.member(self.person, guild) | {"permissions": permissions},
            }
        else:
            body["user"] = payloads.user(self.person)
        if self.message:
            body["message"] = payloads.message(self.message)
        return body

    def __repr__(self) -> str:
        kinds = {COMMAND: "command", COMPONENT: "component", AUTOCOMPLETE: "autocompletion"}
        what = self.name or self.data.get("custom_id")
        answer = f"callback {self.callback}, {len(self.followups)} follow-ups"
        return f"<{kinds.get(self.kind, 'form')} {what!r} by {self.person.name}: {answer}>"
