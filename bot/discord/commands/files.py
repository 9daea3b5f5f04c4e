"""/files: one's own stored files."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from interactions import OptionType, SlashCommand, SlashCommandOption

from bot.discord.answering import deliver, replace_origin, say
from bot.discord.commands.common import EVERYWHERE, admitted
from bot.discord.context import Bot
from bot.discord.custom_ids import CustomId
from bot.discord.pages import page_of
from bot.discord.words import moment
from bot.errors import Refusal
from bot.messages import attachment_name, most_file_bytes
from bot.messages.offers import TooLarge, offers
from bot.messages.plain import bold
from bot.outgoing import Attachment, Button, OutgoingMessage
from bot.people.person import Person
from bot.sizes import size_text
from interpreter import StoredFile, StoredFileNotFound

_ON_A_PAGE = 10
#: Source: Discord's documentation, "Application Command Option Choice".
_MOST_CHOICES, _CHOICE_CHARS = 25, 100
_NAME_CHARS, _SHOWN_CHARS = 80, 100


def register(client: Any, bot: Bot) -> None:
    """Register the commands and their buttons."""
    base = SlashCommand(name="files", description="Your files", **EVERYWHERE)
    which = SlashCommandOption(
        name="file",
        description="Which one: its name or id",
        type=OptionType.STRING,
        required=True,
        autocomplete=True,
    )

    @base.subcommand(sub_cmd_name="list", sub_cmd_description="The files that are kept for you")
    async def list_files(ctx: Any) -> None:
        await ctx.defer(ephemeral=True)
        person = await admitted(ctx, bot)
        text, buttons = await _listed(bot, person.user_id, 0)
        await say(ctx, text, buttons=buttons)

    @base.subcommand(
        sub_cmd_name="get", sub_cmd_description="Get one of your files", options=[which]
    )
    async def get(ctx: Any, file: str) -> None:
        await ctx.defer(ephemeral=True)
        person = await admitted(ctx, bot)
        found = await find_file(bot, person.user_id, file)
        most = most_file_bytes(ctx.attachment_bytes)
        if found.file_size > most:
            ways = tuple(
                Button(offer.label, str(CustomId(offer.action, person.user_id, found.file_id)))
                for offer in offers(found)
            )
            too_large = TooLarge(found.filename, found.file_size, found)
            await say(ctx, too_large.sentence(most, offered=True), buttons=ways)
            return
        attachment = Attachment(
            attachment_name(found.filename),
            found.file_path,
            found.file_size,
            file_id=found.file_id,
        )
        message = OutgoingMessage(f"{_named(found)}, {_kept(found)}:", (attachment,))
        await deliver(ctx, bot.delivery, [message])

    @base.subcommand(
        sub_cmd_name="delete", sub_cmd_description="Delete one of your files", options=[which]
    )
    async def delete(ctx: Any, file: str) -> None:
        await ctx.defer(ephemeral=True)
        person = await admitted(ctx, bot)
        found = await find_file(bot, person.user_id, file)
        await bot.service.files.delete(user_id=person.user_id, file_id=found.file_id)
        await say(ctx, f"{_named(found)} is deleted.")

    @base.subcommand(sub_cmd_name="clear", sub_cmd_description="Delete all of your files")
    async def clear(ctx: Any) -> None:
        await ctx.defer(ephemeral=True)
        person = await admitted(ctx, bot)
        count = len(await bot.service.files.list(user_id=person.user_id))
        if not count:
            await say(ctx, "You have no files here.")
            return
        what = "your only file" if count == 1 else f"all your {count} files"
        buttons = (
            Button("Delete", str(CustomId("filesclear", person.user_id)), "danger"),
            Button("Never mind", str(CustomId("never", person.user_id))),
        )
        await say(ctx, f"Delete {what}? They can't be had back.", buttons=buttons)

    async def choices(ctx: Any) -> None:
        typed = str(ctx.input_text or "").casefold()
        files = await bot.service.files.list(user_id=str(ctx.author_id))
        offered = [
            {"name": _choice(file), "value": file.file_id}
            for file in reversed(files)
            if typed in file.filename.casefold() or typed in file.file_id
        ]
        await ctx.send(offered[:_MOST_CHOICES])

    _ = get.autocomplete("file")(choices)
    _ = delete.autocomplete("file")(choices)

    async def turn_page(ctx: Any, pressed: CustomId, person: Person) -> None:
        await ctx.defer(edit_origin=True)
        number = int(pressed.ref) if pressed.ref.isdecimal() else 0
        text, buttons = await _listed(bot, person.user_id, number)
        await replace_origin(ctx, text, buttons=buttons)

    async def clear_for_certain(ctx: Any, pressed: CustomId, person: Person) -> None:
        await ctx.defer(edit_origin=True)
        files = await bot.service.files.list(user_id=person.user_id)
        for file in files:
            with suppress(StoredFileNotFound):  # gone meanwhile
                await bot.service.files.delete(user_id=person.user_id, file_id=file.file_id)
        await replace_origin(ctx, f"{len(files)} file{'s' * (len(files) != 1)} deleted.")

    bot.buttons.on("files", turn_page)
    bot.buttons.on("filesclear", clear_for_certain)
    for command in (list_files, get, delete, clear):
        client.add_interaction(command)


async def find_file(bot: Bot, user_id: str, wanted: str) -> StoredFile:
    """One of a user's files by its id or name; the newest of that name.

    Raises:
        Refusal: there is none.
    """
    files = await bot.service.files.list(user_id=user_id)
    word = wanted.strip()
    for file in reversed(files):
        if word in (file.file_id, file.filename):
            return file
    for file in reversed(files):
        if word.casefold() == file.filename.casefold():
            return file
    raise Refusal(
        f"You have no file {bold(_cut(word, _NAME_CHARS))} here; /files list shows yours."
    )


async def _listed(bot: Bot, user_id: str, number: int) -> tuple[str, Sequence[Button]]:
    files = await bot.service.files.list(user_id=user_id)
    if not files:
        return "You have no files here; attach one to a message, and it is kept for you.", ()
    page = page_of([_line(file) for file in reversed(files)], number, size=_ON_A_PAGE)
    text = "\n".join([*page.lines, *([page.footer] if page.footer else [])])
    return text, page.buttons("files", user_id)


def _line(file: StoredFile) -> str:
    kind = "" if file.file_type == "unknown" else f"{file.file_type}, "
    origin = "" if file.origin == "upload" else ", made by a cell"
    facts = f"{kind}{size_text(file.file_size)}{origin}, {_kept(file)}, `{file.file_id}`"
    return f"- {_named(file)}, {facts}"


def _named(file: StoredFile) -> str:
    """A file's name, in no more characters than ten of them in one message allow."""
    name = bold(_cut(file.filename, _NAME_CHARS))
    return name if len(name) <= _SHOWN_CHARS else bold(_cut(file.filename, _NAME_CHARS // 2))


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _kept(file: StoredFile) -> str:
    return "kept" if file.expires_at is None else f"goes {moment(file.expires_at)}"


def _choice(file: StoredFile) -> str:
    facts = f" ({size_text(file.file_size)})"
    return file.filename[: _CHOICE_CHARS - len(facts)] + facts
