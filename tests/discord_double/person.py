"""People, and how they use the bot's commands, buttons and forms."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.discord_double import commands
from tests.discord_double.interaction import (
    AUTOCOMPLETE,
    COMMAND,
    COMPONENT,
    MODAL_SUBMIT,
    Interaction,
    Modal,
)
from tests.discord_double.message import walk
from tests.discord_double.permissions import bits
from tests.discord_double.uploads import Upload

if TYPE_CHECKING:
    from tests.discord_double.channel import Channel
    from tests.discord_double.message import Message
    from tests.discord_double.world import World

_ANSWER_S = 10.0


@dataclass(slots=True, eq=False)
class Person:
    """A user of Discord; the bot is one too."""

    world: "World"
    id: str
    name: str
    is_bot: bool = False
    locale: str = "en-US"
    has_installed: bool = False
    accepts_dms: bool = True

    @property
    def global_name(self) -> str | None:
        """What is shown."""
        return None if self.is_bot else self.name.capitalize()

    @property
    def mention(self) -> str:
        """What mentions them in a message."""
        return f"<@{self.id}>"

    async def slash(
        self, channel: "Channel", command: str, *, wait: bool = True, **options: Any
    ) -> Interaction:
        """Use a command: its name, with those of its group and subcommand, and its options.

        Attachments are given as ``Upload`` or as ``(name, bytes)``, users as ``Person``. Option
        names that are Python keywords can be given with an underscore at the end.

        Args:
            channel: where.
            command: such as ``"kernel status"``.
            wait: until the bot has acknowledged it.
            options: by name.

        Raises:
            AssertionError: the person can't use such a command there with such options, or the
                bot doesn't acknowledge it.
        """
        found = commands.find(self.world, self, channel, command)
        given = {name.removesuffix("_"): value for name, value in options.items()}
        used = Interaction(self.world, COMMAND, self, channel, name=command)
        resolved: dict[str, dict[str, Any]] = {}
        values = [
            commands.fill(self.world, channel, option, given[option["name"]], resolved)
            for option in found.options
            if option["name"] in given
        ]
        unknown = set(given) - {option["name"] for option in found.options}
        assert not unknown, f"/{command} has no option {', '.join(sorted(unknown))}"
        missing = [o["name"] for o in found.options if o.get("required") and o["name"] not in given]
        assert not missing, f"/{command} needs {', '.join(missing)}"
        used.data = found.data(values)
        if resolved:
            used.data["resolved"] = resolved
        return await used.send(wait=wait, timeout_s=_ANSWER_S)

    async def autocomplete(
        self, channel: "Channel", command: str, **options: str
    ) -> list[dict[str, Any]]:
        """Type in an option, the last one given, and see what is offered.

        Returns:
            Choices, each with ``name`` and ``value``.
        """
        found = commands.find(self.world, self, channel, command)
        given = {name.removesuffix("_"): value for name, value in options.items()}
        focused = list(given)[-1]
        option = next(o for o in found.options if o["name"] == focused)
        assert option.get("autocomplete"), f"{focused} of /{command} has no autocompletion"
        values = []
        for item in found.options:
            if item["name"] in given:
                value = {"name": item["name"], "type": item["type"], "value": given[item["name"]]}
                values.append(value | ({"focused": True} if item["name"] == focused else {}))
        used = Interaction(self.world, AUTOCOMPLETE, self, channel, name=command)
        used.data = found.data(values)
        await used.send(wait=True, timeout_s=_ANSWER_S)
        assert used.choices is not None
        return used.choices

    async def press(
        self,
        message: "Message",
        label: str | None = None,
        *,
        custom_id: str | None = None,
        wait: bool = True,
    ) -> Interaction:
        """Press a button.

        Raises:
            AssertionError: there is no such button that this person can press, or the bot doesn't
                acknowledge it.
        """
        button = message.button(label, custom_id=custom_id)
        assert not button.get("disabled"), f"{label or custom_id!r} is disabled"
        assert "custom_id" in button, f"{label!r} is a link"
        data = {"custom_id": button["custom_id"], "component_type": 2}
        return await self._use_component(message, data, wait=wait)

    async def select(
        self, message: "Message", values: Iterable[str], *, custom_id: str | None = None
    ) -> Interaction:
        """Choose values in a select menu (of text)."""
        menus = [
            part
            for part in walk(message.components)
            if part["type"] == 3 and custom_id in (None, part["custom_id"])
        ]
        assert len(menus) == 1, f"{len(menus)} menus in {message!r}"
        chosen = list(values)
        offered = {option["value"] for option in menus[0]["options"]}
        assert set(chosen) <= offered, f"offered are {sorted(offered)}"
        low, high = menus[0].get("min_values", 1), menus[0].get("max_values", 1)
        assert low <= len(chosen) <= high, f"{low} to {high} can be chosen"
        data = {"custom_id": menus[0]["custom_id"], "component_type": 3, "values": chosen}
        return await self._use_component(message, data, wait=True)

    async def submit(
        self, modal: Modal, values: Mapping[str, str], *, wait: bool = True
    ) -> Interaction:
        """Fill in a form and send it: values by custom_id or by label; others stay as offered.

        Raises:
            AssertionError: a person couldn't send such a form.
        """
        assert modal.opened_by.person is self, "the form is somebody else's"
        used = Interaction(self.world, MODAL_SUBMIT, self, modal.opened_by.channel)
        used.message = modal.opened_by.message
        used.opened_by = modal.opened_by
        used.data = modal.filled(values)
        return await used.send(wait=wait, timeout_s=_ANSWER_S)

    async def react(self, message: "Message", emoji: str) -> None:
        """Put an emoji below a message."""
        from tests.discord_double.messages import add_reaction

        add_reaction(message, self, emoji)

    def may(self, channel: "Channel", permissions: str) -> bool:
        """Whether this person has permissions in a channel."""
        return channel.guild is None or (
            channel.guild.permissions(self) & bits(permissions) == bits(permissions)
        )

    async def _use_component(
        self, message: "Message", data: dict[str, Any], *, wait: bool
    ) -> Interaction:
        assert not message.deleted, "the message is gone"
        assert message.ephemeral_for in (None, self), f"{self.name} doesn't see the message"
        used = Interaction(self.world, COMPONENT, self, message.channel)
        used.message = message
        used.data = data
        return await used.send(wait=wait, timeout_s=_ANSWER_S)


def as_upload(value: object) -> Upload:
    """What was given for an attachment."""
    if isinstance(value, Upload):
        return value
    assert isinstance(value, tuple), "give attachments as Upload or as (name, bytes)"
    return Upload(*value)
